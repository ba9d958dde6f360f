// CUDA side of the chi-square cue (see chi_square.h).
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace pyadx::ucm {

constexpr int kMostRadii = 10;
constexpr int64_t kMostBallVoxels = 4095;  // counters have twelve bits

struct ChiSquareCudaArgs {
  const uint8_t* bin;            // [padded]: 0 to 9, or 10 outside the mask and in the margin
  int64_t depth, height, width;  // without the margin
  int64_t reach[3];              // the margin on either side
  const int32_t* offset;         // [ball voxels]: into the padded bins, nearest first
  const int32_t* halves;         // [ball voxels]: bit n for d.n > 0, bit 16 + n for d.n < 0
  int radii;
  int64_t ends[kMostRadii];  // number of voxels in the ball of each radius
  float* strength;           // [depth, height, width]
  uint8_t* direction;
};

cudaError_t chi_square_cuda(const ChiSquareCudaArgs& args, cudaStream_t stream);

}  // namespace pyadx::ucm
