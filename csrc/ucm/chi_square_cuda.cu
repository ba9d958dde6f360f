// One warp per voxel and one lane per half ball: lanes 0 to 12 count the halves d.n > 0, lanes 16
// to 28 the halves d.n < 0.
//
// All lanes read the same voxel of the ball at the same time, so bins and tables are broadcast from
// the L1 cache. The ten counters of a lane are 12-bit fields of two registers. The arithmetic and
// its order are those of the CPU, and counts are small enough for every product of two of them to
// be exact, so both sides give the same bits. One launch, no temporary memory.
#include <cmath>

#include "common/launch.h"
#include "ucm/chi_square_cuda.h"

namespace pyadx::ucm {
namespace {

constexpr int kWarpsPerBlock = 8;
constexpr int kLaneDirections = 13;
constexpr int kFieldBits = 12;
constexpr int kBinsPerRegister = 5;
constexpr int kBinCount = 10;
constexpr unsigned kEveryLane = 0xffffffffu;

__device__ float count_of(uint64_t low, uint64_t high, int bin) {
  const uint64_t fields = bin < kBinsPerRegister ? low : high;
  const int shift = kFieldBits * (bin < kBinsPerRegister ? bin : bin - kBinsPerRegister);
  return static_cast<float>((fields >> shift) & ((1u << kFieldBits) - 1u));
}

__global__ void __launch_bounds__(kWarpsPerBlock * 32) chi_square_kernel(ChiSquareCudaArgs args) {
  const int64_t voxel =
      static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + static_cast<int64_t>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (voxel >= args.depth * args.height * args.width) return;
  const int64_t x = voxel % args.width, y = voxel / args.width % args.height;
  const int64_t z = voxel / args.width / args.height;
  const uint8_t* centre =
      args.bin +
      ((z + args.reach[0]) * (args.height + 2 * args.reach[1]) + y + args.reach[1]) *
          (args.width + 2 * args.reach[2]) +
      x + args.reach[2];
  float total = 0.0f;
  if (*centre < kBinCount) {  // for the whole warp or for no lane of it
    uint64_t low = 0, high = 0;
    int64_t i = 0;
    for (int radius = 0; radius < args.radii; ++radius) {
      for (; i < args.ends[radius]; ++i) {
        const int bin = centre[args.offset[i]];
        const uint64_t inside =
            bin < kBinCount ? (static_cast<uint32_t>(args.halves[i]) >> lane) & 1u : 0u;
        if (bin < kBinsPerRegister) {
          low += inside << (kFieldBits * bin);
        } else if (bin < kBinCount) {
          high += inside << (kFieldBits * (bin - kBinsPerRegister));
        }
      }
      float own = 0.0f;
#pragma unroll
      for (int bin = 0; bin < kBinCount; ++bin) own += count_of(low, high, bin);
      const float other = __shfl_xor_sync(kEveryLane, own, 16);
      float distance = 0.0f;
#pragma unroll
      for (int bin = 0; bin < kBinCount; ++bin) {
        const float count = count_of(low, high, bin);
        const float p = count * other;
        const float q = __shfl_xor_sync(kEveryLane, count, 16) * own;
        distance += (p - q) * (p - q) / fmaxf(p + q, 1.0f);
      }
      total += 0.5f * distance / fmaxf(own * other, 1.0f);
    }
  }
  float best = lane < kLaneDirections ? total : -1.0f;
  int first = lane;
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const float value = __shfl_xor_sync(kEveryLane, best, step);
    const int from = __shfl_xor_sync(kEveryLane, first, step);
    if (value > best || (value == best && from < first)) {
      best = value;
      first = from;
    }
  }
  if (lane == 0) {
    args.strength[voxel] = best;
    args.direction[voxel] = static_cast<uint8_t>(first);
  }
}

}  // namespace

cudaError_t chi_square_cuda(const ChiSquareCudaArgs& args, cudaStream_t stream) {
  const int64_t voxels = args.depth * args.height * args.width;
  if (voxels == 0) return cudaSuccess;
  const int64_t blocks = blocks_covering(voxels, kWarpsPerBlock);
  if (blocks > kMostBlocksX) return cudaErrorInvalidValue;
  return launch_kernel(chi_square_kernel, dim3(static_cast<unsigned>(blocks)), kWarpsPerBlock * 32,
                       stream, args);
}

}  // namespace pyadx::ucm
