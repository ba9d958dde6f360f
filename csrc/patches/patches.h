// Patches: what changes in the maps of a network when a small box of its input changes.
//
// A patch holds, for every cell of a box of a map, the difference from its value in the unperturbed
// scan. Batches of patches are [B, D, H, W, C], channels innermost, with boxes int32 [B, 6] (z0 y0
// x0 z1 y1 x1) in cells of the map. The cell of index 0 is at the low corner of the box, and all
// cells outside the box are zero. Maps are [D, H, W, C]. Every operator is one pass over its output
// without temporary memory. Thread-safe: inputs are only read.
#pragma once

#include <cstdint>

#include "common/dtype.h"
#include "common/parallel.h"

#ifdef PYADX_WITH_CUDA
#include <cuda_runtime_api.h>
#endif

namespace pyadx {

// The functions below treat NaN and infinity as operations on whole maps do. A comparison with NaN
// is false, and all comparisons are written so that the result is NaN then. They select instead of
// branching, so that compilers vectorise the loops around them.

// The change of a ReLU's output when its input changes from `before` by `change`. There is no
// cancellation where the input stays positive.
template <typename T>
PYADX_HOST_DEVICE inline T relu_change(T before, T change) {
  const T moved = change + (before > T(0) ? T(0) : before);
  const T lowest = before > T(0) ? -before : T(0);
  return moved < lowest ? lowest : moved;
}

// The larger one; NaN if either is NaN.
template <typename T>
PYADX_HOST_DEVICE inline T larger(T most, T value) {
  return value != value ? value : (value > most ? value : most);
}

// A value minus the largest of its window: zero for the largest itself, even if it is infinite.
template <typename T>
PYADX_HOST_DEVICE inline T below(T value, T most) {
  return value == most ? T(0) : value - most;
}

struct Cell {
  int64_t z, y, x;
};

// A batch of patches in memory.
struct PatchBatch {
  const void* data;  // null where there are none
  const int32_t* boxes;
  int64_t size[3], channels;

  PYADX_HOST_DEVICE bool holds(int64_t b, const Cell& cell) const {
    const int32_t* box = boxes + 6 * b;
    return cell.z >= box[0] && cell.z < box[3] && cell.y >= box[1] && cell.y < box[4] &&
           cell.x >= box[2] && cell.x < box[5];
  }
  // Index of the first channel of a map cell that the patch holds.
  PYADX_HOST_DEVICE int64_t index(int64_t b, const Cell& cell) const {
    const int32_t* box = boxes + 6 * b;
    return (((b * size[0] + cell.z - box[0]) * size[1] + cell.y - box[1]) * size[2] + cell.x -
            box[2]) *
           channels;
  }
};

struct PatchMap {
  const void* data;  // [D, H, W, C]; null where there is none
  int64_t size[3];

  PYADX_HOST_DEVICE bool holds(const Cell& cell) const {
    return cell.z >= 0 && cell.z < size[0] && cell.y >= 0 && cell.y < size[1] && cell.x >= 0 &&
           cell.x < size[2];
  }
  PYADX_HOST_DEVICE int64_t index(const Cell& cell, int64_t channels) const {
    return ((cell.z * size[1] + cell.y) * size[2] + cell.x) * channels;
  }
};

// out[b, cell] = map + patch inside the frame and the map, `pad` elsewhere.
struct PatchGatherArgs {
  DType dtype;
  PatchMap map;
  PatchBatch patches;
  double pad;
  const int32_t* frames;  // [B, 6]; may reach beyond the map
  int64_t batch, out_size[3], channels;
  void* out;
};

// out = relu(before + scale * patch) - relu(before). `out` may be the memory of the patches.
struct PatchReluArgs {
  DType dtype;
  PatchBatch patches;
  PatchMap before;
  const void* scale;  // [C], or null for one
  int64_t batch;
  void* out;
};

// out = max over the window of (before + patch) - max over the window of before. With `rectify`, a
// ReLU follows both maxima. Cells outside the map are left out.
struct PatchMaxPoolArgs {
  DType dtype;
  PatchBatch patches;
  PatchMap before;
  int64_t kernel[3], stride[3], padding[3], dilation[3];
  bool rectify;
  const int32_t* out_boxes;
  int64_t batch, out_size[3];
  void* out;
};

// Writes patches into channels [channel, channel + C) of larger ones, or adds them there.
struct PatchPlaceArgs {
  DType dtype;
  PatchBatch patches;
  const int32_t* out_boxes;
  int64_t batch, out_size[3], out_channels, channel;
  bool add;
  void* out;
};

// out[b] = map with the patch added.
struct PatchScatterArgs {
  DType dtype;
  PatchBatch patches;
  PatchMap map;
  int64_t batch;
  void* out;  // [B, D, H, W, C]
};

// out[b] = sum of the patch over its box.
struct PatchSumArgs {
  DType dtype;
  PatchBatch patches;
  int64_t batch;
  void* out;  // [B, C]
};

void patch_gather_cpu(const PatchGatherArgs& args, const ParallelFor& parallel);
void patch_relu_cpu(const PatchReluArgs& args, const ParallelFor& parallel);
void patch_max_pool_cpu(const PatchMaxPoolArgs& args, const ParallelFor& parallel);
void patch_place_cpu(const PatchPlaceArgs& args, const ParallelFor& parallel);
void patch_scatter_cpu(const PatchScatterArgs& args, const ParallelFor& parallel);
void patch_sum_cpu(const PatchSumArgs& args, const ParallelFor& parallel);

#ifdef PYADX_WITH_CUDA
cudaError_t patch_gather_cuda(const PatchGatherArgs& args, cudaStream_t stream);
cudaError_t patch_relu_cuda(const PatchReluArgs& args, cudaStream_t stream);
cudaError_t patch_max_pool_cuda(const PatchMaxPoolArgs& args, cudaStream_t stream);
cudaError_t patch_place_cuda(const PatchPlaceArgs& args, cudaStream_t stream);
cudaError_t patch_scatter_cuda(const PatchScatterArgs& args, cudaStream_t stream);
cudaError_t patch_sum_cuda(const PatchSumArgs& args, cudaStream_t stream);
#endif

}  // namespace pyadx
