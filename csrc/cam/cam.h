// Class activation maps: rectified weighted channel sum, then trilinear upsampling.
//
//   low[b, x]  = r(sum_k weights[b, k] * features[b, k, x]),   r = identity, |.|, max(., 0)
//   out[b, v]  = low[b] read by trilinear interpolation at scale * v + offset, clamped to the grid
//
// Each feature is read once. Temporary memory: one value per feature voxel (no channel axis). Cost:
// B*K*d*h*w multiply-adds + O(B*D*H*W). Sums and results are float, or double for float64 features.
#pragma once

#include <cstdint>

#include "common/dtype.h"
#include "common/parallel.h"

#ifdef PYADX_WITH_CUDA
#include <cuda_runtime_api.h>
#endif

namespace pyadx {

enum class Rectify { kNone = 0, kAbs = 1, kRelu = 2 };

struct CamArgs {
  const void* features;  // element (b, k, n) at b*stride_b + k*stride_k + n*stride_n
  DType dtype;
  int64_t batch, channels;
  int64_t in_size[3];
  int64_t stride_b, stride_k, stride_n;  // n is the flat index over d, h, w
  const void* weights;                   // [B, K], accumulate type, contiguous
  Rectify rectify;
  int64_t out_size[3];
  double scale[3], offset[3];  // feature coordinate of voxel v: scale * v + offset
  void* low;                   // [B, d, h, w], accumulate type
  void* out;                   // [B, D, H, W], accumulate type

  PYADX_HOST_DEVICE int64_t in_voxels() const { return in_size[0] * in_size[1] * in_size[2]; }
  PYADX_HOST_DEVICE int64_t out_voxels() const { return out_size[0] * out_size[1] * out_size[2]; }
};

template <typename T>
PYADX_HOST_DEVICE inline T rectified(T value, Rectify rectify) {
  // Comparisons are written so that NaN stays NaN.
  if (rectify == Rectify::kAbs) return value < T(0) ? -value : value;
  if (rectify == Rectify::kRelu) return value < T(0) ? T(0) : value;
  return value;
}

// The two cells that surround one voxel along one axis, and the weight of the second.
template <typename T>
struct Tap {
  int64_t lower, upper;
  T weight;
};

template <typename T>
PYADX_HOST_DEVICE inline Tap<T> tap_at(int64_t voxel, double scale, double offset, int64_t size) {
  const double last = static_cast<double>(size - 1);
  double at = scale * static_cast<double>(voxel) + offset;
  at = at < 0.0 ? 0.0 : (at > last ? last : at);
  const int64_t lower = static_cast<int64_t>(at);
  const int64_t upper = lower + 1 < size ? lower + 1 : lower;
  return {lower, upper, static_cast<T>(at - static_cast<double>(lower))};
}

template <typename T>
PYADX_HOST_DEVICE inline T lerp(T a, T b, T weight) {
  return a + (b - a) * weight;
}

void weighted_cam_cpu(const CamArgs& args, const ParallelFor& parallel_for);
#ifdef PYADX_WITH_CUDA
cudaError_t weighted_cam_cuda(const CamArgs& args, cudaStream_t stream);
#endif

}  // namespace pyadx
