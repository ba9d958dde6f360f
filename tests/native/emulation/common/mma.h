// In place of csrc/common/mma.h: the same on the host, with a log of shared and global accesses.
#pragma once

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "memory_log.h"

namespace pyadx {

inline uint32_t to_tf32(float value) {
  if (value != value) return 0x7fffffffu;
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return (bits + 0x1000u) & 0xffffe000u;
}

inline void add_products(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulation::add_products(sums, a, b);
}
inline void finish_products() { emulation::finish_products(); }

template <int kFloats>
void copy_to_shared(float* to, const float* from, bool wanted) {
  emulation::copy_to_shared(to, from, kFloats, wanted);
}
inline void wait_for_copies() { emulation::wait_for_copies(); }

inline float load_shared(const float* from) { return emulation::load_shared(from); }

}  // namespace pyadx
