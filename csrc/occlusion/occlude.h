// Batched occlusion: B copies of one volume, each with one region replaced by a fill.
//
// Regions are boxes (six integers) or intervals of a label volume (two integers). The fill is any
// array that broadcasts to the volume, given by its strides: a scalar, one value per channel, or a
// whole volume. Data is only moved, so elements are opaque words of 2, 4 or 8 bytes. Cost:
// B*C*D*H*W elements written; no temporary memory. Thread-safe: inputs are only read.
#pragma once

#include <cstdint>

#include "common/dtype.h"
#include "common/parallel.h"

#ifdef PYADX_WITH_CUDA
#include <cuda_runtime_api.h>
#endif

namespace pyadx {

struct OccludeArgs {
  const void* volume;  // [C, D, H, W], contiguous
  int64_t element_size;
  int64_t channels, depth, height, width;
  const void* fill;
  int64_t fill_strides[4];  // in elements along C, D, H, W; 0 where the fill is broadcast
  int64_t batch;
  void* out;  // [B, C, D, H, W], contiguous

  PYADX_HOST_DEVICE int64_t plane() const { return height * width; }
  PYADX_HOST_DEVICE int64_t voxels() const { return depth * plane(); }
  bool fill_is_uniform() const {
    return fill_strides[1] == 0 && fill_strides[2] == 0 && fill_strides[3] == 0;
  }
};

// Half-open box z0, y0, x0, z1, y1, x1 clipped to the volume. A box that misses the volume is
// empty.
struct ClippedBox {
  int64_t begin[3], end[3];
};

PYADX_HOST_DEVICE inline int64_t clip_index(int64_t index, int64_t size) {
  return index < 0 ? 0 : (index > size ? size : index);
}

PYADX_HOST_DEVICE inline ClippedBox clip_box(const int64_t* box, int64_t depth, int64_t height,
                                             int64_t width) {
  const int64_t sizes[3] = {depth, height, width};
  ClippedBox clipped{};
  for (int axis = 0; axis < 3; ++axis) {
    clipped.begin[axis] = clip_index(box[axis], sizes[axis]);
    clipped.end[axis] = clip_index(box[axis + 3], sizes[axis]);
  }
  return clipped;
}

// The interval lo <= label < hi, prepared for a test with one comparison: first = lo, span = hi - 1
// - lo, and label - first, as an unsigned number, is at most span.
struct LabelInterval {
  uint32_t first, span;
  bool empty;

  PYADX_HOST_DEVICE bool holds(int32_t label) const {
    return static_cast<uint32_t>(label) - first <= span;
  }
};

PYADX_HOST_DEVICE inline LabelInterval make_interval(const int64_t* interval) {
  const int64_t lowest = -2147483648LL, highest = 2147483647LL;
  const int64_t first = interval[0] < lowest ? lowest : interval[0];
  const int64_t last = interval[1] > highest ? highest : interval[1] - 1;
  if (interval[0] >= interval[1] || first > highest || last < lowest) return {0, 0, true};
  return {static_cast<uint32_t>(first), static_cast<uint32_t>(last - first), false};
}

// boxes: [B, 6] int64.
void occlude_boxes_cpu(const OccludeArgs& args, const int64_t* boxes,
                       const ParallelFor& parallel_for);
// labels: [D, H, W] int32; intervals: [B, 2] int64.
void occlude_labels_cpu(const OccludeArgs& args, const int32_t* labels, const int64_t* intervals,
                        const ParallelFor& parallel_for);

#ifdef PYADX_WITH_CUDA
cudaError_t occlude_boxes_cuda(const OccludeArgs& args, const int64_t* boxes, cudaStream_t stream);
cudaError_t occlude_labels_cuda(const OccludeArgs& args, const int32_t* labels,
                                const int64_t* intervals, cudaStream_t stream);
#endif

}  // namespace pyadx
