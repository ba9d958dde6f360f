// CUDA side of weighted_cam (see cam.h).
//
// Two launches on the caller's stream. The channel sum reads every feature once (a pack of 16 bytes
// per thread and channel where alignment allows; one warp per voxel for channels-last features) and
// writes B*d*h*w sums, which the upsampling launch reads back from the L2 cache. 64-bit offsets.
#include <type_traits>

#include "cam/cam.h"
#include "common/launch.h"
#include "common/pack.h"

namespace pyadx {
namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;

// Thread = one pack of voxels of one batch item; loops over channels with several loads in flight.
template <typename T, int kPack>
__global__ void __launch_bounds__(kThreads) sum_planar_kernel(const CamArgs args, int64_t packs) {
  using Acc = AccumulateT<T>;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= packs) return;
  for (int64_t item = blockIdx.y; item < args.batch; item += gridDim.y) {
    const T* features = static_cast<const T*>(args.features) + item * args.stride_b + index * kPack;
    const Acc* weights = static_cast<const Acc*>(args.weights) + item * args.channels;
    Acc sums[kPack] = {};
#pragma unroll 8
    for (int64_t k = 0; k < args.channels; ++k) {
      const auto pack = *reinterpret_cast<const Pack<T, kPack>*>(features + k * args.stride_k);
      const Acc weight = weights[k];
#pragma unroll
      for (int i = 0; i < kPack; ++i) sums[i] += weight * widen(pack.values[i]);
    }
    Acc* low = static_cast<Acc*>(args.low) + item * args.in_voxels() + index * kPack;
#pragma unroll
    for (int i = 0; i < kPack; ++i) low[i] = rectified(sums[i], args.rectify);
  }
}

// Warp = one voxel whose channels lie side by side in memory.
template <typename T>
__global__ void __launch_bounds__(kThreads) sum_channels_last_kernel(const CamArgs args) {
  using Acc = AccumulateT<T>;
  const int lane = threadIdx.x % kWarp;
  const int64_t warp = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kWarp;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * (kThreads / kWarp);
  const int64_t voxels = args.in_voxels();
  for (int64_t v = warp; v < args.batch * voxels; v += warps) {
    const int64_t item = v / voxels;
    const T* features =
        static_cast<const T*>(args.features) + item * args.stride_b + (v % voxels) * args.stride_n;
    const Acc* weights = static_cast<const Acc*>(args.weights) + item * args.channels;
    Acc sum(0);
    for (int64_t k = lane; k < args.channels; k += kWarp) sum += weights[k] * widen(features[k]);
#pragma unroll
    for (int step = kWarp / 2; step > 0; step /= 2) {
      sum += __shfl_down_sync(0xffffffffu, sum, step);
    }
    if (lane == 0) static_cast<Acc*>(args.low)[v] = rectified(sum, args.rectify);
  }
}

// Thread = one output voxel; neighbours along x share their cache lines.
template <typename Acc>
__global__ void __launch_bounds__(kThreads) upsample_kernel(const CamArgs args) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  const int64_t out_voxels = args.out_voxels();
  const int64_t width = args.in_size[2], plane = args.in_size[1] * width;
  for (int64_t v = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
       v < args.batch * out_voxels; v += step) {
    const int64_t item = v / out_voxels;
    int64_t rest = v % out_voxels;
    const Tap<Acc> x =
        tap_at<Acc>(rest % args.out_size[2], args.scale[2], args.offset[2], args.in_size[2]);
    rest /= args.out_size[2];
    const Tap<Acc> y =
        tap_at<Acc>(rest % args.out_size[1], args.scale[1], args.offset[1], args.in_size[1]);
    const Tap<Acc> z =
        tap_at<Acc>(rest / args.out_size[1], args.scale[0], args.offset[0], args.in_size[0]);
    const Acc* low = static_cast<const Acc*>(args.low) + item * args.in_voxels();
    const auto along_x = [&](int64_t row) {
      return lerp(low[row + x.lower], low[row + x.upper], x.weight);
    };
    const auto along_y = [&](int64_t slab) {
      return lerp(along_x(slab + y.lower * width), along_x(slab + y.upper * width), y.weight);
    };
    static_cast<Acc*>(args.out)[v] =
        lerp(along_y(z.lower * plane), along_y(z.upper * plane), z.weight);
  }
}

template <typename T, int kPack>
cudaError_t sum_planar(const CamArgs& args, cudaStream_t stream) {
  const int64_t packs = args.in_voxels() / kPack;
  const int64_t columns = blocks_covering(packs, kThreads);
  if (columns > kMostBlocksX) return cudaErrorInvalidValue;
  const dim3 grid(static_cast<unsigned>(columns), blocks_in_strides(args.batch, 1, kMostBlocksY));
  return launch_kernel(sum_planar_kernel<T, kPack>, grid, kThreads, stream, args, packs);
}

template <typename T>
cudaError_t sum_channels_last(const CamArgs& args, cudaStream_t stream) {
  const unsigned blocks = blocks_in_strides(args.batch * args.in_voxels() * kWarp, kThreads);
  return launch_kernel(sum_channels_last_kernel<T>, dim3(blocks), kThreads, stream, args);
}

template <typename T>
bool packs_of_16_bytes(const CamArgs& args) {
  constexpr int64_t kPack = kPackBytes / sizeof(T);
  return args.in_voxels() % kPack == 0 && args.stride_k % kPack == 0 &&
         args.stride_b % kPack == 0 && aligned_for_packs(args.features);
}

template <typename T>
cudaError_t run(const CamArgs& args, cudaStream_t stream) {
  cudaError_t error;
  if (args.stride_n != 1) {  // channels last: stride_k == 1
    error = sum_channels_last<T>(args, stream);
  } else if (packs_of_16_bytes<T>(args)) {
    error = sum_planar<T, kPackBytes / sizeof(T)>(args, stream);
  } else {
    error = sum_planar<T, 1>(args, stream);
  }
  if (error != cudaSuccess) return error;
  const unsigned blocks = blocks_in_strides(args.batch * args.out_voxels(), kThreads);
  return launch_kernel(upsample_kernel<AccumulateT<T>>, dim3(blocks), kThreads, stream, args);
}

}  // namespace

cudaError_t weighted_cam_cuda(const CamArgs& args, cudaStream_t stream) {
  if (args.batch * args.out_voxels() == 0) return cudaSuccess;
  switch (args.dtype) {
    case DType::kFloat16:
      return run<Half>(args, stream);
    case DType::kBFloat16:
      return run<BFloat16>(args, stream);
    case DType::kFloat32:
      return run<float>(args, stream);
    case DType::kFloat64:
      return run<double>(args, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace pyadx
