// CUDA side of weighted_cam (see cam.h).
//
// Two or three launches on the caller's stream. The channel sum reads every feature once (a pack of
// 16 bytes per thread and channel where alignment allows; one warp per voxel for channels-last
// features). A small map would fill few multiprocessors. Its channels are therefore divided among
// rows of blocks; their partial sums are kept in `out`, which is still free, and an additional
// launch adds them in a fixed order. The upsampling reads B*d*h*w sums back from the L2 cache.
// Memory offsets have 64 bits, indices within a plane 32, and all divisions use FastDivide.
//
// PYADX_CAM_SPLIT=0 in the environment keeps all channels together, for measurements.
#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "cam/cam.h"
#include "common/fast_divide.h"
#include "common/launch.h"
#include "common/pack.h"

namespace pyadx {
namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr int64_t kEnoughBlocks = 256;    // two for each multiprocessor of a large GPU
constexpr int64_t kLeastChannels = 4;     // of a part, so that a thread has several loads in flight
constexpr int64_t kLargest = 2147483647;  // number of voxels of a plane

// Number of parts that the channels are divided into, and channels per part; the last may have
// fewer.
struct Parts {
  int64_t count, channels;
};

// Thread = one pack of voxels of one batch item; loops over the channels of its part with several
// loads in flight, and writes their sum into `low`, [parts, B, d, h, w]. Grid (packs, parts,
// items).
template <typename T, int kPack>
__global__ void __launch_bounds__(kThreads)
    sum_planar_kernel(const CamArgs args, int64_t packs, int64_t channels_of_part) {
  using Acc = AccumulateT<T>;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= packs) return;
  const int64_t first = blockIdx.y * channels_of_part, past = first + channels_of_part;
  const int64_t last = past < args.channels ? past : args.channels;
  for (int64_t item = blockIdx.z; item < args.batch; item += gridDim.z) {
    const T* features = static_cast<const T*>(args.features) + item * args.stride_b + index * kPack;
    const Acc* weights = static_cast<const Acc*>(args.weights) + item * args.channels;
    Acc sums[kPack] = {};
#pragma unroll 8
    for (int64_t k = first; k < last; ++k) {
      const auto pack = *reinterpret_cast<const Pack<T, kPack>*>(features + k * args.stride_k);
      const Acc weight = weights[k];
#pragma unroll
      for (int i = 0; i < kPack; ++i) sums[i] += weight * widen(pack.values[i]);
    }
    const int64_t row = blockIdx.y * args.batch + item;
    Acc* low = static_cast<Acc*>(args.low) + row * args.in_voxels() + index * kPack;
#pragma unroll
    for (int i = 0; i < kPack; ++i) low[i] = rectified(sums[i], args.rectify);
  }
}

// Thread = one voxel of the batch. Adds its partial sums, which are in `out`, in a fixed order.
template <typename Acc>
__global__ void __launch_bounds__(kThreads) add_parts_kernel(const CamArgs args, int64_t parts) {
  const int64_t v = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t voxels = args.batch * args.in_voxels();
  if (v >= voxels) return;
  const Acc* own = static_cast<const Acc*>(args.out) + v;
  Acc sum(0);
#pragma unroll 8
  for (int64_t p = 0; p < parts; ++p) sum += own[p * voxels];
  static_cast<Acc*>(args.low)[v] = rectified(sum, args.rectify);
}

// Warp = one voxel. Its channels are neighbours in memory. Grid (voxels, items).
template <typename T>
__global__ void __launch_bounds__(kThreads) sum_channels_last_kernel(const CamArgs args) {
  using Acc = AccumulateT<T>;
  const int lane = threadIdx.x % kWarp;
  const int64_t warp = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kWarp;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * (kThreads / kWarp);
  const int64_t voxels = args.in_voxels();
  for (int64_t item = blockIdx.y; item < args.batch; item += gridDim.y) {
    const T* scan = static_cast<const T*>(args.features) + item * args.stride_b;
    const Acc* weights = static_cast<const Acc*>(args.weights) + item * args.channels;
    for (int64_t v = warp; v < voxels; v += warps) {
      const T* features = scan + v * args.stride_n;
      Acc sum(0);
      for (int64_t k = lane; k < args.channels; k += kWarp) {
        sum += weights[k] * widen(features[k]);
      }
#pragma unroll
      for (int step = kWarp / 2; step > 0; step /= 2) {
        sum += __shfl_down_sync(0xffffffffu, sum, step);
      }
      if (lane == 0) static_cast<Acc*>(args.low)[item * voxels + v] = rectified(sum, args.rectify);
    }
  }
}

// Thread = one voxel of a plane of the result; neighbours along x share their cache lines.
// Grid (voxels of a plane, planes, items).
template <typename Acc>
__global__ void __launch_bounds__(kThreads)
    upsample_kernel(const CamArgs args, int32_t voxels, const FastDivide by_row) {
  const uint32_t v = blockIdx.x * kThreads + threadIdx.x;
  if (v >= static_cast<uint32_t>(voxels)) return;
  const uint32_t row = by_row.quotient(v);
  const uint32_t column = v - row * by_row.divisor;
  const Tap<Acc> x = tap_at<Acc>(column, args.scale[2], args.offset[2], args.in_size[2]);
  const Tap<Acc> y = tap_at<Acc>(row, args.scale[1], args.offset[1], args.in_size[1]);
  const int32_t width = static_cast<int32_t>(args.in_size[2]);
  const int32_t x0 = static_cast<int32_t>(x.lower), x1 = static_cast<int32_t>(x.upper);
  const int32_t y0 = static_cast<int32_t>(y.lower) * width;
  const int32_t y1 = static_cast<int32_t>(y.upper) * width;
  const int64_t plane = args.in_size[1] * args.in_size[2];
  for (int64_t item = blockIdx.z; item < args.batch; item += gridDim.z) {
    const Acc* low = static_cast<const Acc*>(args.low) + item * args.in_voxels();
    Acc* out = static_cast<Acc*>(args.out) + item * args.out_voxels() + v;
    for (int64_t d = blockIdx.y; d < args.out_size[0]; d += gridDim.y) {
      const Tap<Acc> z = tap_at<Acc>(d, args.scale[0], args.offset[0], args.in_size[0]);
      const auto along_x = [&](const Acc* line) { return lerp(line[x0], line[x1], x.weight); };
      const auto along_y = [&](const Acc* slab) {
        return lerp(along_x(slab + y0), along_x(slab + y1), y.weight);
      };
      out[d * voxels] =
          lerp(along_y(low + z.lower * plane), along_y(low + z.upper * plane), z.weight);
    }
  }
}

bool may_split() {
  const char* asked = std::getenv("PYADX_CAM_SPLIT");
  return asked == nullptr || std::strcmp(asked, "0") != 0;
}

// Chooses enough parts to fill the GPU with blocks, as far as the number of channels and the size
// of `out` allow it.
Parts parts_of(const CamArgs& args, int64_t blocks) {
  int64_t count = may_split() ? blocks_covering(kEnoughBlocks, blocks) : 1;
  const int64_t most = args.channels / kLeastChannels, room = args.out_voxels() / args.in_voxels();
  if (count > most) count = most;
  if (count > room) count = room;
  if (count <= 1) return {1, args.channels};
  const int64_t channels = blocks_covering(args.channels, count);
  return {blocks_covering(args.channels, channels), channels};
}

template <typename T, int kPack>
cudaError_t sum_planar(const CamArgs& args, cudaStream_t stream) {
  const int64_t packs = args.in_voxels() / kPack;
  const int64_t columns = blocks_covering(packs, kThreads);
  if (columns > kMostBlocksX) return cudaErrorInvalidValue;
  const Parts parts = parts_of(args, columns * args.batch);
  const dim3 grid(static_cast<unsigned>(columns), static_cast<unsigned>(parts.count),
                  blocks_in_strides(args.batch, 1, kMostBlocksY));
  CamArgs sums = args;
  if (parts.count > 1) {
    sums.low = args.out;
    sums.rectify = Rectify::kNone;
  }
  const cudaError_t error = launch_kernel(sum_planar_kernel<T, kPack>, grid, kThreads, stream, sums,
                                          packs, parts.channels);
  if (error != cudaSuccess || parts.count == 1) return error;
  const dim3 blocks(
      static_cast<unsigned>(blocks_covering(args.batch * args.in_voxels(), kThreads)));
  return launch_kernel(add_parts_kernel<AccumulateT<T>>, blocks, kThreads, stream, args,
                       parts.count);
}

template <typename T>
cudaError_t sum_channels_last(const CamArgs& args, cudaStream_t stream) {
  const dim3 grid(blocks_in_strides(args.in_voxels() * kWarp, kThreads),
                  blocks_in_strides(args.batch, 1, kMostBlocksY));
  return launch_kernel(sum_channels_last_kernel<T>, grid, kThreads, stream, args);
}

template <typename Acc>
cudaError_t upsample(const CamArgs& args, cudaStream_t stream) {
  const int64_t voxels = args.out_size[1] * args.out_size[2];
  const int64_t read = args.in_size[1] * args.in_size[2];
  if (voxels > kLargest || read > kLargest) return cudaErrorInvalidValue;
  const dim3 grid(static_cast<unsigned>(blocks_covering(voxels, kThreads)),
                  blocks_in_strides(args.out_size[0], 1, kMostBlocksY),
                  blocks_in_strides(args.batch, 1, kMostBlocksY));
  return launch_kernel(upsample_kernel<Acc>, grid, kThreads, stream, args,
                       static_cast<int32_t>(voxels),
                       FastDivide(static_cast<uint32_t>(args.out_size[2])));
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
  return upsample<AccumulateT<T>>(args, stream);
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
