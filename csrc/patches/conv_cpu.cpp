// The patch convolution on the CPU: finds the input rows and taps of every output row. conv_rows.h
// has the inner loops.
#include <algorithm>
#include <vector>

#include "patches/conv.h"
#include "patches/conv_plane.h"
#include "patches/patches.h"
#include "patches/row_tables.h"
#include "patches/split.h"
#include "patches/tiles.h"

namespace pyadx {
namespace {

template <typename T>
class PlaneConvolver {
 public:
  PlaneConvolver(const PatchConvArgs& args, const RowTables<T>& tables)
      : a_(args),
        several_(args.lanes * sizeof(T) == 64 ? tables.wide : tables.narrow),
        single_(args.lanes * sizeof(T) == 64 ? tables.wide_single : tables.narrow_single),
        group_in_(args.channels / args.groups),
        group_out_(args.out_channels / args.groups),
        channel_step_(args.kernel[2] * args.lanes),
        row_step_(group_in_ * channel_step_),
        block_step_(args.kernel[0] * args.kernel[1] * row_step_) {}

  // Writes zeros to the part of plane `z` of patch `b` that is outside the box.
  void clear_beyond(int64_t b, int64_t z) const {
    const int32_t* out_box = a_.out_boxes + 6 * b;
    const int64_t plane = a_.out_size[1] * a_.out_size[2] * a_.out_channels;
    T* out = static_cast<T*>(a_.out) + (b * a_.out_size[0] + z) * plane;
    if (z >= out_box[3] - out_box[0]) {
      std::fill_n(out, plane, T(0));
    } else {
      zero_around(out, out_box[4] - out_box[1], out_box[5] - out_box[2]);
    }
  }

  // Writes plane `z` (index in the slot) of patch `b`.
  void run(int64_t b, int64_t z, Scratch<T>& scratch) const {
    const int32_t* in_box = a_.boxes + 6 * b;
    const int32_t* out_box = a_.out_boxes + 6 * b;
    const int64_t plane = a_.out_size[1] * a_.out_size[2] * a_.out_channels;
    T* out = static_cast<T*>(a_.out) + (b * a_.out_size[0] + z) * plane;
    const int64_t height = out_box[4] - out_box[1], width = out_box[5] - out_box[2];
    if (z >= out_box[3] - out_box[0] || height <= 0 || width <= 0) {
      std::fill_n(out, plane, T(0));
      return;
    }
    zero_around(out, height, width);
    const int64_t units_per_block = a_.lanes / several_.lanes;
    const int64_t units = ceil_div(group_out_, several_.lanes);
    for (int64_t g = 0; g < a_.groups; ++g) {
      find_extents(b, g, in_box, out_box[0] + z, scratch);
      for (int64_t u = 0; u < units;) {
        const RowTable<T>& table = u + several_.units <= units ? several_ : single_;
        const Pass pass{g, u, units_per_block, &table};
        for (int64_t y = 0; y < height; ++y) {
          row(b, in_box, out_box, z, y, width, pass, scratch);
          finish(out + y * a_.out_size[2] * a_.out_channels, out_box, z, y, width, pass, scratch);
        }
        u += table.units;
      }
    }
  }

 private:
  struct Pass {
    int64_t group, unit, units_per_block;
    const RowTable<T>* table;
  };

  void zero_around(T* out, int64_t height, int64_t width) const {
    const int64_t row_length = a_.out_size[2] * a_.out_channels, used = width * a_.out_channels;
    for (int64_t y = 0; y < height && used < row_length; ++y) {
      std::fill_n(out + y * row_length + used, row_length - used, T(0));
    }
    std::fill_n(out + height * row_length, (a_.out_size[1] - height) * row_length, T(0));
  }

  const T* input(int64_t b, int64_t group) const {
    return static_cast<const T*>(a_.patches) +
           b * a_.in_size[0] * a_.in_size[1] * a_.in_size[2] * a_.channels + group * group_in_;
  }

  // Finds the changed part of every input row of an output plane. A segment fills only part of its
  // box, and its changes keep its shape from layer to layer.
  void find_extents(int64_t b, int64_t group, const int32_t* in_box, int64_t oz,
                    Scratch<T>& scratch) const {
    const TapRange kz = taps_inside(oz, in_box[0], in_box[3], a_, 0);
    const int64_t rows = in_box[4] - in_box[1], cells = in_box[5] - in_box[2];
    const int64_t words = ceil_div(group_in_, kRun);
    scratch.extents.clear();
    scratch.channels.resize(static_cast<size_t>((kz.last - kz.first) * rows * words));
    uint64_t* channels = scratch.channels.data();
    for (int64_t k = kz.first; k < kz.last; ++k) {
      const int64_t iz = oz * a_.stride[0] - a_.padding[0] + k * a_.dilation[0] - in_box[0];
      for (int64_t iy = 0; iy < rows; ++iy) {
        const T* row = input(b, group) + (iz * a_.in_size[1] + iy) * a_.in_size[2] * a_.channels;
        const Extent extent = changed_cells(row, cells, a_.channels, group_in_);
        scratch.extents.push_back(extent);
        find_channels(row + extent.first * a_.channels, extent.last - extent.first, a_.channels,
                      group_in_, channels);
        channels += words;
      }
    }
  }

  // Sums one output row into scratch.sums. The outputs of the box begin at cell scratch.skip.
  void row(int64_t b, const int32_t* in_box, const int32_t* out_box, int64_t z, int64_t y,
           int64_t width, const Pass& pass, Scratch<T>& scratch) const {
    const int64_t oz = out_box[0] + z, oy = out_box[1] + y;
    const TapRange kz = taps_inside(oz, in_box[0], in_box[3], a_, 0);
    const TapRange ky = taps_inside(oy, in_box[1], in_box[4], a_, 1);
    const T* patch = input(b, pass.group);
    const int64_t rows = in_box[4] - in_box[1], words = ceil_div(group_in_, kRun);
    const RowTable<T>& table = *pass.table;
    const T* taps = static_cast<const T*>(a_.weights) +
                    (pass.group * a_.blocks + pass.unit / pass.units_per_block) * block_step_ +
                    pass.unit % pass.units_per_block * table.lanes;
    scratch.in.clear();
    scratch.weights.clear();
    scratch.row_extents.clear();
    scratch.row_channels.clear();
    for (int64_t k = kz.first; k < kz.last; ++k) {
      const int64_t iz = oz * a_.stride[0] - a_.padding[0] + k * a_.dilation[0] - in_box[0];
      for (int64_t j = ky.first; j < ky.last; ++j) {
        const int64_t iy = oy * a_.stride[1] - a_.padding[1] + j * a_.dilation[1] - in_box[1];
        const int64_t seen = (k - kz.first) * rows + iy;
        const Extent& extent = scratch.extents[static_cast<size_t>(seen)];
        if (extent.first == extent.last) continue;
        scratch.row_channels.push_back(scratch.channels.data() + seen * words);
        scratch.row_extents.push_back(extent);
        scratch.in.push_back(patch + (iz * a_.in_size[1] + iy) * a_.in_size[2] * a_.channels);
        scratch.weights.push_back(taps + (k * a_.kernel[1] + j) * row_step_);
      }
    }
    RowJob<T> job{scratch.in.data(),
                  scratch.weights.data(),
                  scratch.row_channels.data(),
                  static_cast<int64_t>(scratch.in.size()),
                  group_in_,
                  a_.channels,
                  channel_step_,
                  a_.lanes,
                  pass.units_per_block > 1 ? table.lanes : block_step_,
                  nullptr};
    scratch.reached = {0, scratch.in.empty() ? 0 : width};
    if (scratch.in.empty()) return;
    if (a_.kernel[2] == 3 && a_.stride[2] == 1 && a_.dilation[2] == 1) {
      three_taps(in_box, out_box, width, table, job, scratch);
    } else {
      tap_by_tap(in_box, out_box, width, table, job, scratch);
    }
  }

  void three_taps(const int32_t* in_box, const int32_t* out_box, int64_t width,
                  const RowTable<T>& table, RowJob<T> job, Scratch<T>& scratch) const {
    const int64_t cells = in_box[5] - in_box[2], cell = table.lanes * table.units;
    // The first output that the first cell of the input box reaches can be outside the map, and the
    // box of outputs can begin before or after it.
    const int64_t reached = out_box[2] - (in_box[2] + a_.padding[2] - 2);
    const int64_t lead = std::max<int64_t>(0, -reached);
    scratch.skip = reached + lead;
    const int64_t length = std::max(lead + cells + 2, scratch.skip + width);
    scratch.sums.assign(static_cast<size_t>(length * cell), T(0));
    // Consecutive rows with the same extent are handled together.
    const std::vector<Extent>& extents = scratch.row_extents;
    const auto rows = static_cast<int64_t>(extents.size());
    Extent all = extents.front();
    for (const Extent& own : extents) all = joined(all, own);
    scratch.reached = {std::clamp<int64_t>(all.first - reached, 0, width),
                       std::clamp<int64_t>(all.last + 2 - reached, 0, width)};
    for (int64_t r = 0, next = 0; r < rows; r = next) {
      const Extent own = extents[static_cast<size_t>(r)];
      while (next < rows && extents[static_cast<size_t>(next)].first == own.first &&
             extents[static_cast<size_t>(next)].last == own.last) {
        ++next;
      }
      RowJob<T> same = job;
      same.in += r;
      same.weights += r;
      same.changes += r;
      same.rows = next - r;
      const int64_t segments = ceil_div(own.last - own.first, kMostCells);
      for (int64_t s = 0, x = own.first; s < segments; ++s) {
        const int64_t part_cells = (own.last - x) / (segments - s);
        RowJob<T> part = same;
        shift_rows(scratch, same, x * a_.channels, 0, part);
        part.sums = scratch.sums.data() + (lead + x) * cell;
        table.three_taps[part_cells - 1](part);
        x += part_cells;
      }
    }
  }

  void tap_by_tap(const int32_t* in_box, const int32_t* out_box, int64_t width,
                  const RowTable<T>& table, RowJob<T> job, Scratch<T>& scratch) const {
    const int64_t cell = table.lanes * table.units, stride = a_.stride[2];
    scratch.skip = 0;
    scratch.sums.assign(static_cast<size_t>(width * cell), T(0));
    job.cell_step = stride * a_.channels;
    for (int64_t k = 0; k < a_.kernel[2]; ++k) {
      // Outputs x whose input is in the box: 0 <= x * stride + start < cells of the box.
      const int64_t start = out_box[2] * stride - a_.padding[2] + k * a_.dilation[2] - in_box[2];
      const int64_t first = std::max<int64_t>(0, ceil_div(-start, stride));
      const int64_t last = std::min(width, ceil_div(in_box[5] - in_box[2] - start, stride));
      for (int64_t x = first; x < last;) {
        const int64_t length = std::min(kMostCells, last - x);
        RowJob<T> part = job;
        shift_rows(scratch, job, (x * stride + start) * a_.channels, k * a_.lanes, part);
        part.sums = scratch.sums.data() + x * cell;
        table.one_tap[length - 1](part);
        x += length;
      }
    }
  }

  static void shift_rows(Scratch<T>& scratch, const RowJob<T>& job, int64_t in_shift,
                         int64_t weight_shift, RowJob<T>& part) {
    const size_t rows = static_cast<size_t>(job.rows);
    scratch.shifted_in.resize(rows);
    scratch.shifted_weights.resize(rows);
    for (size_t r = 0; r < rows; ++r) {
      scratch.shifted_in[r] = job.in[r] + in_shift;
      scratch.shifted_weights[r] = job.weights[r] + weight_shift;
    }
    part.in = scratch.shifted_in.data();
    part.weights = scratch.shifted_weights.data();
  }

  // Writes one row of sums, after the ReLU if there is one; zero where nothing changes.
  void finish(T* out, const int32_t* out_box, int64_t z, int64_t y, int64_t width, const Pass& pass,
              const Scratch<T>& scratch) const {
    const int64_t cell = pass.table->lanes * pass.table->units;
    const int64_t first = pass.unit * pass.table->lanes;
    const int64_t count = std::min(cell, group_out_ - first);
    const int64_t channel = pass.group * group_out_ + first, step = a_.out_channels;
    const Extent own = scratch.reached;
    out += channel;
    fill_zero(out, own.first, count);
    fill_zero(out + own.last * step, width - own.last, count);
    if (own.empty()) return;
    out += own.first * step;
    const T* sums = scratch.sums.data() + (scratch.skip + own.first) * cell;
    const T* before = nullptr;
    if (a_.before != nullptr) {
      const int64_t row = ((out_box[0] + z) * a_.map_size[1] + out_box[1] + y) * a_.map_size[2];
      before = static_cast<const T*>(a_.before) + (row + out_box[2] + own.first) * step + channel;
    }
    const int64_t cells = own.last - own.first;
    if (count == cell && count == step) {  // contiguous
      write(out, sums, before, cells * count);
    } else {
      for (int64_t x = 0; x < cells; ++x, out += step, sums += cell) {
        write(out, sums, before, count);
        if (before != nullptr) before += step;
      }
    }
  }

  void fill_zero(T* out, int64_t cells, int64_t count) const {
    if (count == a_.out_channels) {
      std::fill_n(out, cells * count, T(0));
    } else {
      for (int64_t x = 0; x < cells; ++x) std::fill_n(out + x * a_.out_channels, count, T(0));
    }
  }

  static void write(T* to, const T* sums, const T* before, int64_t count) {
    if (before == nullptr) std::copy_n(sums, count, to);
    for (int64_t i = 0; before != nullptr && i < count; ++i)
      to[i] = relu_change(before[i], sums[i]);
  }

  const PatchConvArgs& a_;
  const RowTable<T>& several_;
  const RowTable<T>& single_;
  const int64_t group_in_, group_out_, channel_step_, row_step_, block_step_;
};

// Whether tiled_conv_cpu or split_conv_cpu convolves a patch.
bool elsewhere(const PatchConvArgs& args, int64_t index) {
  return args.tile > 0 ? by_tiles(args, index) : by_split(args, index);
}

}  // namespace

template <typename T>
void patch_conv_cpu(const PatchConvArgs& args, const ParallelFor& parallel) {
  const PlaneConvolver<T> convolver(args, row_tables<T>());
  const int64_t planes = args.out_size[0];
  parallel(args.batch * planes, 1, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch;
    for (int64_t item = begin; item < end; ++item) {
      if (elsewhere(args, item / planes)) {
        convolver.clear_beyond(item / planes, item % planes);
      } else {
        convolver.run(item / planes, item % planes, scratch);
      }
    }
  });
  if (args.tiled == nullptr) return;
  const std::vector<int64_t> refused =
      args.tile > 0 ? tiled_conv_cpu<T>(args, parallel) : split_conv_cpu(args, parallel);
  parallel(static_cast<int64_t>(refused.size()) * planes, 1, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch;
    for (int64_t item = begin; item < end; ++item) {
      convolver.run(refused[static_cast<size_t>(item / planes)], item % planes, scratch);
    }
  });
}

template void patch_conv_cpu<float>(const PatchConvArgs&, const ParallelFor&);
template void patch_conv_cpu<double>(const PatchConvArgs&, const ParallelFor&);

}  // namespace pyadx
