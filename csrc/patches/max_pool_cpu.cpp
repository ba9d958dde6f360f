// Max pooling of patches on the CPU (see patches.h). Outputs without a change in their window are
// zero.
#include <algorithm>
#include <limits>
#include <vector>

#include "patches/extent.h"
#include "patches/patches.h"
#include "patches/planes.h"

namespace pyadx {
namespace {

// Computes one cell of the pooled map. `scratch` has a zero per channel, and then room for the
// maxima before the change.
template <typename T>
void pool_cell(const PatchMaxPoolArgs& a, int64_t b, const Cell& o, T* scratch, T* out) {
  const int64_t channels = a.patches.channels;
  const T* still = scratch;
  T* most = scratch + channels;
  const T lowest = -std::numeric_limits<T>::infinity();
  std::fill_n(most, channels, lowest);
  std::fill_n(out, channels, lowest);
  const T* map = static_cast<const T*>(a.before.data);
  for (int pass = 0; pass < 2; ++pass) {
    for (int64_t kz = 0; kz < a.kernel[0]; ++kz) {
      for (int64_t ky = 0; ky < a.kernel[1]; ++ky) {
        for (int64_t kx = 0; kx < a.kernel[2]; ++kx) {
          const Cell in{o.z * a.stride[0] - a.padding[0] + kz * a.dilation[0],
                        o.y * a.stride[1] - a.padding[1] + ky * a.dilation[1],
                        o.x * a.stride[2] - a.padding[2] + kx * a.dilation[2]};
          if (!a.before.holds(in)) continue;
          const T* before = map + a.before.index(in, channels);
          if (pass == 0) {
            for (int64_t c = 0; c < channels; ++c) most[c] = larger(most[c], before[c]);
            continue;
          }
          const T* moved = still;
          if (a.patches.holds(b, in)) {
            moved = static_cast<const T*>(a.patches.data) + a.patches.index(b, in);
          }
          // Relative to the old maximum, so that small changes of large values keep their digits.
          for (int64_t c = 0; c < channels; ++c) {
            out[c] = larger(out[c], below(before[c], most[c]) + moved[c]);
          }
        }
      }
    }
  }
  if (!a.rectify) return;
  for (int64_t c = 0; c < channels; ++c) out[c] = relu_change(most[c], out[c]);
}

// The buffers of one thread.
template <typename T>
struct PoolScratch {
  std::vector<T> values;       // zeros, and room for maxima
  std::vector<Extent> inputs;  // changed part of every input row of a plane
};

// Finds the changed part of every input row of an output plane, in cells of the patch. It is joined
// over all planes of the window.
template <typename T>
void find_inputs(const PatchMaxPoolArgs& a, int64_t b, int64_t oz, std::vector<Extent>& rows) {
  const PatchBatch& p = a.patches;
  const int32_t* box = p.boxes + 6 * b;
  rows.assign(static_cast<size_t>(std::max(0, box[4] - box[1])), Extent{0, 0});
  for (int64_t k = 0; k < a.kernel[0]; ++k) {
    const int64_t z = oz * a.stride[0] - a.padding[0] + k * a.dilation[0];
    if (z < box[3] && z >= box[0] && box[5] > box[2]) {
      const T* row = static_cast<const T*>(p.data) + p.index(b, {z, box[1], box[2]});
      for (Extent& own : rows) {
        own = joined(own, changed_cells(row, box[5] - box[2], p.channels));
        row += p.size[2] * p.channels;
      }
    }
  }
}

// Outputs [first, last) of row `oy` of the pooled map, counted from the output box. No other output
// of the row has a change in its window.
Extent reached(const PatchMaxPoolArgs& a, int64_t b, int64_t oy, const std::vector<Extent>& rows) {
  const int32_t *in_box = a.patches.boxes + 6 * b, *out_box = a.out_boxes + 6 * b;
  Extent changed{0, 0};
  for (int64_t k = 0; k < a.kernel[1]; ++k) {
    const int64_t y = oy * a.stride[1] - a.padding[1] + k * a.dilation[1] - in_box[1];
    if (y >= 0 && y < static_cast<int64_t>(rows.size())) {
      changed = joined(changed, rows[static_cast<size_t>(y)]);
    }
  }
  if (changed.empty()) return {0, 0};
  // The window of output o begins at input o * stride - padding and ends (kernel - 1) * dilation
  // cells later. Counting from the first output of the box avoids dividing negative numbers.
  const int64_t start = out_box[2] * a.stride[2] - a.padding[2] - in_box[2];
  const int64_t reach = (a.kernel[2] - 1) * a.dilation[2];
  const int64_t before = std::max<int64_t>(0, changed.first - reach - start);
  const int64_t behind = std::max<int64_t>(0, changed.last - start);
  const int64_t cells = std::max(0, out_box[5] - out_box[2]);
  const int64_t last = std::min(cells, (behind + a.stride[2] - 1) / a.stride[2]);
  return {std::min(last, (before + a.stride[2] - 1) / a.stride[2]), last};
}

template <typename T>
void pool_plane(const PatchMaxPoolArgs& a, int64_t b, int64_t plane, PoolScratch<T>& scratch) {
  const int32_t* box = a.out_boxes + 6 * b;
  const int64_t channels = a.patches.channels, length = a.out_size[2] * channels;
  const int64_t z = box[0] + plane;
  T* out = static_cast<T*>(a.out) + (b * a.out_size[0] + plane) * a.out_size[1] * length;
  if (z >= box[3]) {
    std::fill_n(out, a.out_size[1] * length, T(0));
    return;
  }
  find_inputs<T>(a, b, z, scratch.inputs);
  for (int64_t row = 0; row < a.out_size[1]; ++row, out += length) {
    const int64_t y = box[1] + row;
    const Extent cells = y < box[4] ? reached(a, b, y, scratch.inputs) : Extent{0, 0};
    std::fill(out, out + cells.first * channels, T(0));
    for (int64_t x = cells.first; x < cells.last; ++x) {
      pool_cell(a, b, {z, y, box[2] + x}, scratch.values.data(), out + x * channels);
    }
    std::fill(out + cells.last * channels, out + length, T(0));
  }
}

template <typename T>
void max_pool_all(const PatchMaxPoolArgs& a, const ParallelFor& parallel) {
  const int64_t cells = a.out_size[1] * a.out_size[2];
  const int64_t window = a.kernel[0] * a.kernel[1] * a.kernel[2];
  parallel(a.batch * a.out_size[0], planes_per_thread(cells * window * a.patches.channels),
           [&](int64_t begin, int64_t end) {
             PoolScratch<T> scratch;
             scratch.values.assign(static_cast<size_t>(2 * a.patches.channels), T(0));
             for (int64_t item = begin; item < end; ++item) {
               pool_plane<T>(a, item / a.out_size[0], item % a.out_size[0], scratch);
             }
           });
}

}  // namespace

void patch_max_pool_cpu(const PatchMaxPoolArgs& a, const ParallelFor& parallel) {
  by_dtype(
      a.dtype, [&] { max_pool_all<float>(a, parallel); },
      [&] { max_pool_all<double>(a, parallel); });
}

}  // namespace pyadx
