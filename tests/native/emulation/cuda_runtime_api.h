// CUDA's words for the host: kernels become functions that `emulation.cpp` calls once per thread.
//
// Blocks run one after the other, in an order that changes. Threads of a block run one after the
// other, too, each on a stack of its own only where it waits for others: at a shuffle of its warp,
// or at __syncthreads. Thus addresses, grids, tails and exchanges between threads are those of the
// device; its memory model and its speed are not.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__
#define __shared__ static  // blocks do not overlap in time

using cudaStream_t = void*;
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorLaunchFailure = 719
};

struct dim3 {
  unsigned x, y, z;
  explicit dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

extern dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace emulation {

// What the log of memory found in the last launch.
extern std::string found;

cudaError_t run(const dim3& grid, unsigned threads, const std::function<void()>& kernel);

// Waits until every live thread of the warp, or of the block, is here.
void wait_for_warp();
void wait_for_block();

// One word per thread of the block, for values that threads hand to each other.
uint64_t& slot(unsigned thread);

template <typename T>
T exchange(T value, unsigned source_lane) {
  static_assert(sizeof(T) <= sizeof(uint64_t) && std::is_trivially_copyable<T>::value, "a word");
  std::memcpy(&slot(threadIdx.x), &value, sizeof(T));
  wait_for_warp();
  T found;
  std::memcpy(&found, &slot(threadIdx.x / 32 * 32 + source_lane), sizeof(T));
  wait_for_warp();
  return found;
}

}  // namespace emulation

template <typename T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulation::exchange(value, (threadIdx.x % 32) ^ static_cast<unsigned>(mask));
}

template <typename T>
T __shfl_down_sync(unsigned, T value, unsigned delta) {
  const unsigned lane = threadIdx.x % 32;
  return emulation::exchange(value, lane + delta < 32 ? lane + delta : lane);
}

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline void __syncthreads() { emulation::wait_for_block(); }
enum cudaMemcpyKind { cudaMemcpyDeviceToHost = 2 };
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorLaunchFailure) return emulation::found.c_str();
  return error == cudaSuccess ? "no error" : "invalid launch";
}
