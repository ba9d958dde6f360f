// PTX instructions for tensor-core kernels: products of tiles, and asynchronous copies into shared
// memory. Tests replace this header to run such kernels on the host and log every access.
//
// Lane l of a warp holds, with g = l / 4 and t = l % 4: of a tile A of 16 x 8 the elements (g, t),
// (g + 8, t), (g, t + 4), (g + 8, t + 4); of B of 8 x 8 (t, g), (t + 4, g); of the sums of 16 x 8
// (g, 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1).
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace pyadx {

// Rounds to TF32, the input type of tensor cores: the nearest number with 11 significant bits.
__device__ inline uint32_t to_tf32(float value) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
}

// sums += A B for one warp. Sums may be read once `finish_products` has returned.
__device__ inline void add_products(float (&sums)[4], const uint32_t (&a)[4],
                                    const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ inline void finish_products() {}

// Copies floats from global to shared memory, or writes zeros if they are not `wanted`. A thread
// can read its own copies after `wait_for_copies`, and those of other threads after a barrier that
// follows it.
template <int kFloats>
__device__ inline void copy_to_shared(float* to, const float* from, bool wanted) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(from),
               "n"(kFloats * 4), "r"(wanted ? kFloats * 4 : 0)
               : "memory");
}
__device__ inline void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

__device__ inline float load_shared(const float* from) { return *from; }

}  // namespace pyadx
