// Inner products of patches with weights as large as the map: a linear layer for changes.
#pragma once

#include "patches/patches.h"

namespace pyadx {

// out[b, k] = sum over the box of patch * weight[k].
struct PatchDotArgs {
  DType dtype;
  PatchBatch patches;
  const void* weight;  // [K, D, H, W, C]
  int64_t map_size[3], outputs, batch;
  void* out;  // [B, K]
};

// The order in which an entry is summed does not depend on the rest of the batch.
void patch_dot_cpu(const PatchDotArgs& args, const ParallelFor& parallel);

#ifdef PYADX_WITH_CUDA
cudaError_t patch_dot_cuda(const PatchDotArgs& args, cudaStream_t stream);
#endif

}  // namespace pyadx
