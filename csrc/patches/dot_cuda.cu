// CUDA side of patch_dot: one warp per output and patch; its lanes read neighbouring elements.
#include "patches/dot.h"
#include "patches/packs_cuda.h"

namespace pyadx {
namespace {

constexpr int kWarp = 32;
constexpr int kWarps = kThreads / kWarp;
constexpr unsigned kEveryLane = 0xffffffffu;

// Grid (runs of outputs, patches). Sums are float64 and in a fixed order.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    dot_kernel(const Batch32<T> patches, const Map32<T> weight, int32_t outputs, int32_t batch,
               T* out) {
  const int32_t lane = static_cast<int32_t>(threadIdx.x % kWarp);
  const int32_t k = static_cast<int32_t>(blockIdx.x * kWarps + threadIdx.x / kWarp);
  if (k >= outputs) return;  // the same for the whole warp
  const int64_t cells = static_cast<int64_t>(weight.size[0]) * weight.size[1] * weight.size[2];
  const int64_t first = k * cells * patches.channels;
  for (int32_t b = static_cast<int32_t>(blockIdx.y); b < batch; b += gridDim.y) {
    const int32_t* box = patches.box(b);
    const int32_t count = (box[5] - box[2]) * patches.channels;
    double sum = 0;
    for (Place32 c{box[0], 0, box[2]}; c.z < box[3]; ++c.z) {
      for (c.y = box[1]; c.y < box[4]; ++c.y) {
        const T* change = patches.at(b, c);
        const T* own = weight.at(c, patches.channels) + first;
        for (int32_t i = lane; i < count; i += kWarp) {
          sum += static_cast<double>(change[i]) * static_cast<double>(own[i]);
        }
      }
    }
#pragma unroll
    for (int step = kWarp / 2; step > 0; step /= 2) sum += __shfl_xor_sync(kEveryLane, sum, step);
    if (lane == 0) out[static_cast<int64_t>(b) * outputs + k] = static_cast<T>(sum);
  }
}

template <typename T>
cudaError_t launch_dot(const PatchDotArgs& a, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(blocks_covering(a.outputs, kWarps)),
                  at_most(a.batch, kMostBlocksY));
  const PatchMap weight{a.weight, {a.map_size[0], a.map_size[1], a.map_size[2]}};
  return launch_kernel(dot_kernel<T>, grid, kThreads, stream, Batch32<T>(a.patches),
                       Map32<T>(weight), static_cast<int32_t>(a.outputs),
                       static_cast<int32_t>(a.batch), static_cast<T*>(a.out));
}

}  // namespace

cudaError_t patch_dot_cuda(const PatchDotArgs& a, cudaStream_t stream) {
  if (a.batch * a.outputs == 0) return cudaSuccess;
  const int64_t row = a.map_size[2] * a.patches.channels;
  if (a.batch > kLargest || a.outputs > kLargest || row > kLargest) return cudaErrorInvalidValue;
  return a.dtype == DType::kFloat64 ? launch_dot<double>(a, stream) : launch_dot<float>(a, stream);
}

}  // namespace pyadx
