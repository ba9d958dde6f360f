// The tiled convolution on the CPU: lists tiles and writes their outputs. tile_kernels.h has the
// inner loops.
#include <algorithm>
#include <atomic>
#include <vector>

#include "patches/changes.h"
#include "patches/patches.h"
#include "patches/row_tables.h"
#include "patches/tiles.h"

namespace pyadx {
namespace {

// Tiles that are multiplied together: enough of them share every weight that is read, and they are
// few enough for the values between input and output to stay in the L2 cache.
constexpr int64_t kTilesTogether = 32;

int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A patch that is convolved by tiles. Cells of its output are counted from the first one that its
// box reaches, which is `skip` cells before the first one wanted.
struct TiledPatch {
  int64_t index, first_layer;     // number of tile layers in all patches before
  int64_t in_size[3];             // cells of the box
  int64_t skip[3], out_size[3];   // cells that are wanted
  int64_t tiles[3], in_tiles[3];  // that cover the output, and the input
};

TiledPatch tiled_patch(const PatchConvArgs& args, int64_t index) {
  const int32_t* in = args.boxes + 6 * index;
  const int32_t* out = args.out_boxes + 6 * index;
  TiledPatch patch{};
  patch.index = index;
  for (int axis = 0; axis < 3; ++axis) {
    patch.in_size[axis] = in[axis + 3] - in[axis];
    patch.out_size[axis] = out[axis + 3] - out[axis];
    patch.skip[axis] = out[axis] - (in[axis] + args.padding[axis] - 2);
    patch.tiles[axis] = up(patch.skip[axis] + patch.out_size[axis], args.tile);
    patch.in_tiles[axis] = up(patch.in_size[axis], args.tile);
  }
  return patch;
}

// A row of tiles that waits for its products.
struct PendingRow {
  const TiledPatch* patch;
  int64_t z, y, first_tile;  // first_tile: index in the list of tiles
  bool carry_only;
};

// The buffers of a thread. They are kept between calls: page faults in new memory would take longer
// than much of the work.
template <typename T>
struct TileBuffers {
  std::vector<T> values, products, layer_carry, row_carry, sums;
  std::vector<uint8_t> carried;
};

template <typename V>
void at_least(std::vector<V>& buffer, int64_t count) {
  if (static_cast<int64_t>(buffer.size()) < count) buffer.resize(static_cast<size_t>(count));
}

template <typename T>
TileBuffers<T>& buffers_of_thread() {
  thread_local TileBuffers<T> buffers;
  return buffers;
}

// The work of one thread.
template <typename T>
class TileConvolver {
 public:
  TileConvolver(const PatchConvArgs& args, const std::vector<TiledPatch>& patches,
                std::atomic<bool>* refused)
      : a_(args),
        patches_(patches),
        refused_(refused),
        kernels_(args.tile == 2 ? tile_tables<T>().two : tile_tables<T>().four),
        tile_(args.tile),
        edge_(args.tile + 2),
        points_(edge_ * edge_ * edge_),
        width_(args.tiled_blocks * args.tiled_lanes),
        kind_(args.tiled_lanes * static_cast<int64_t>(sizeof(T)) / 64) {
    int64_t layer = 0;  // tiles of the largest layer
    for (const TiledPatch& patch : patches) {
      longest_ = std::max(longest_, patch.tiles[2]);
      layer = std::max(layer, patch.tiles[1] * patch.tiles[2]);
    }
    capacity_ = std::max(kTilesTogether, longest_);
    // Steps are odd numbers of cache lines. Otherwise the points of a tile would compete for a few
    // sets of the cache.
    const auto padded = [](int64_t count) { return (up(count, 16) | 1) * 16; };
    in_step_ = padded(capacity_ * args.channels);
    out_step_ = padded(capacity_ * width_);
    at_least(buffers_.values, points_ * in_step_);
    at_least(buffers_.products, points_ * out_step_);
    at_least(buffers_.layer_carry, layer * 2 * edge_ * edge_ * width_);
    at_least(buffers_.carried, layer);
    at_least(buffers_.row_carry, longest_ * tile_ * 2 * edge_ * width_);
    at_least(buffers_.sums, tile_ * tile_ * longest_ * tile_ * width_);
  }

  // Layers [begin, end) of all patches, one after another.
  void run(int64_t begin, int64_t end) {
    auto patch = std::upper_bound(
                     patches_.begin(), patches_.end(), begin,
                     [](int64_t layer, const TiledPatch& own) { return layer < own.first_layer; }) -
                 1;
    for (int64_t item = begin; item < end; ++item) {
      while (item - patch->first_layer >= patch->tiles[0]) ++patch;
      const int64_t z = item - patch->first_layer;
      // A thread that begins inside a patch needs the overlap with the layer before.
      if (item == begin && z > 0) layer(*patch, z - 1, true);
      layer(*patch, z, false);
    }
    flush();
  }

 private:
  void layer(const TiledPatch& patch, int64_t z, bool carry_only) {
    for (int64_t y = 0; y < patch.tiles[1]; ++y) {
      if (used_ + patch.tiles[2] > capacity_) flush();
      pending_.push_back({&patch, z, y, static_cast<int64_t>(rows_.size()), carry_only});
      for (int64_t x = 0; x < patch.tiles[2]; ++x) rows_.push_back(evaluate(patch, z, y, x));
    }
  }

  // Evaluates a tile. Returns its row among the values, or -1 if nothing changes in it.
  int32_t evaluate(const TiledPatch& patch, int64_t z, int64_t y, int64_t x) {
    const int64_t at[3] = {z, y, x};
    TileJob<T> job{};
    for (int axis = 0; axis < 3; ++axis) {
      if (at[axis] >= patch.in_tiles[axis]) return -1;
      job.size[axis] = std::min(tile_, patch.in_size[axis] - at[axis] * tile_);
    }
    job.channels = a_.channels;
    job.row_step = a_.in_size[2] * a_.channels;
    job.plane_step = a_.in_size[1] * job.row_step;
    job.in = static_cast<const T*>(a_.patches) + patch.index * a_.in_size[0] * job.plane_step +
             tile_ * (z * job.plane_step + y * job.row_step + x * a_.channels);
    if (!changes(job)) return -1;
    job.out = buffers_.values.data() + used_ * a_.channels;
    job.point_step = in_step_;
    if (!kernels_.evaluate(job)) refused_[patch.index].store(true, std::memory_order_relaxed);
    return static_cast<int32_t>(used_++);
  }

  static bool changes(const TileJob<T>& job) {
    for (int64_t z = 0; z < job.size[0]; ++z) {
      for (int64_t y = 0; y < job.size[1]; ++y) {
        const T* row = job.in + z * job.plane_step + y * job.row_step;
        for (int64_t x = 0; x < job.size[2]; ++x) {
          if (any_change(row + x * job.channels, job.channels)) return true;
        }
      }
    }
    return false;
  }

  // Multiplies all pending tiles, and finishes their rows in order.
  void flush() {
    if (used_ > 0) {
      const ProductJob<T> job{buffers_.values.data(),
                              used_,
                              a_.channels,
                              in_step_,
                              static_cast<const T*>(a_.tiled_weights),
                              points_,
                              a_.tiled_blocks,
                              a_.tiled_lanes,
                              buffers_.products.data(),
                              out_step_};
      kernels_.multiply[kind_](job);
    }
    for (const PendingRow& row : pending_) finish(row);
    pending_.clear();
    rows_.clear();
    used_ = 0;
  }

  void finish(const PendingRow& row) {
    const TiledPatch& patch = *row.patch;
    const int64_t tiles = patch.tiles[2];
    if (row.y == 0 && (row.z == 0 || row.carry_only)) {
      std::fill(buffers_.carried.begin(), buffers_.carried.end(), uint8_t(0));
    }
    const InterpolateJob<T> job{
        buffers_.products.data(),
        out_step_,
        width_,
        rows_.data() + row.first_tile,
        tiles,
        buffers_.layer_carry.data() + row.y * tiles * 2 * edge_ * edge_ * width_,
        buffers_.carried.data() + row.y * tiles,
        buffers_.row_carry.data(),
        row.y == 0,
        wanted(patch, 0, row.z),
        wanted(patch, 1, row.y),
        row.carry_only,
        buffers_.sums.data()};
    kernels_.interpolate[kind_](job);
    if (!row.carry_only) write(patch, row);
  }

  // Number of outputs along one axis of the tiles at position `at`, up to the last one wanted.
  int64_t wanted(const TiledPatch& patch, int axis, int64_t at) const {
    return std::min(tile_, patch.skip[axis] + patch.out_size[axis] - at * tile_);
  }

  // Writes the wanted outputs of a row of finished tiles, after the ReLU if there is one.
  void write(const TiledPatch& patch, const PendingRow& row) {
    const int32_t* box = a_.out_boxes + 6 * patch.index;
    const int64_t length = patch.tiles[2] * tile_ * width_, channels = a_.out_channels;
    for (int64_t plane = 0; plane < wanted(patch, 0, row.z); ++plane) {
      const int64_t z = row.z * tile_ + plane - patch.skip[0];
      if (z < 0) continue;
      for (int64_t line = 0; line < wanted(patch, 1, row.y); ++line) {
        const int64_t y = row.y * tile_ + line - patch.skip[1];
        if (y < 0) continue;
        const T* from =
            buffers_.sums.data() + (plane * tile_ + line) * length + patch.skip[2] * width_;
        T* to =
            static_cast<T*>(a_.out) +
            ((patch.index * a_.out_size[0] + z) * a_.out_size[1] + y) * a_.out_size[2] * channels;
        const T* before =
            a_.before == nullptr
                ? nullptr
                : static_cast<const T*>(a_.before) +
                      (((box[0] + z) * a_.map_size[1] + box[1] + y) * a_.map_size[2] + box[2]) *
                          channels;
        for (int64_t x = 0; x < patch.out_size[2]; ++x) {
          write_cell(from + x * width_, before == nullptr ? nullptr : before + x * channels,
                     to + x * channels);
        }
      }
    }
  }

  void write_cell(const T* from, const T* before, T* to) const {
    if (before == nullptr) {
      std::copy_n(from, a_.out_channels, to);
    } else {
      for (int64_t c = 0; c < a_.out_channels; ++c) to[c] = relu_change(before[c], from[c]);
    }
  }

  const PatchConvArgs& a_;
  const std::vector<TiledPatch>& patches_;
  std::atomic<bool>* refused_;
  const TileKernels<T>& kernels_;
  const int64_t tile_, edge_, points_, width_, kind_;
  int64_t longest_ = 0, capacity_ = 0, in_step_ = 0, out_step_ = 0, used_ = 0;
  TileBuffers<T>& buffers_ = buffers_of_thread<T>();
  std::vector<int32_t> rows_;
  std::vector<PendingRow> pending_;
};

}  // namespace

bool by_tiles(const PatchConvArgs& args, int64_t index) {
  if (args.tiled == nullptr || args.tiled[index] == 0) return false;
  const TiledPatch patch = tiled_patch(args, index);
  for (int axis = 0; axis < 3; ++axis) {
    if (patch.in_size[axis] <= 0 || patch.out_size[axis] <= 0 || patch.skip[axis] < 0 ||
        patch.skip[axis] + patch.out_size[axis] > patch.in_size[axis] + 2) {
      return false;
    }
  }
  return true;
}

template <typename T>
std::vector<int64_t> tiled_conv_cpu(const PatchConvArgs& args, const ParallelFor& parallel) {
  std::vector<TiledPatch> patches;
  int64_t layers = 0;
  for (int64_t b = 0; b < args.batch; ++b) {
    if (!by_tiles(args, b)) continue;
    patches.push_back(tiled_patch(args, b));
    patches.back().first_layer = layers;
    layers += patches.back().tiles[0];
  }
  std::vector<std::atomic<bool>> refused(static_cast<size_t>(args.batch));
  for (int64_t b = 0; b < args.batch; ++b) refused[static_cast<size_t>(b)] = false;
  parallel(layers, 1, [&](int64_t begin, int64_t end) {
    TileConvolver<T>(args, patches, refused.data()).run(begin, end);
  });
  std::vector<int64_t> again;
  for (const TiledPatch& patch : patches) {
    if (refused[static_cast<size_t>(patch.index)]) again.push_back(patch.index);
  }
  return again;
}

template std::vector<int64_t> tiled_conv_cpu<float>(const PatchConvArgs&, const ParallelFor&);
template std::vector<int64_t> tiled_conv_cpu<double>(const PatchConvArgs&, const ParallelFor&);

}  // namespace pyadx
