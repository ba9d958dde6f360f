// Several neighbouring elements that a CUDA thread loads or stores with one instruction.
//
// The widest access of the hardware has 16 bytes. Memory must be aligned to the size of the pack.
#pragma once

#include <cstdint>

namespace pyadx {

constexpr int kPackBytes = 16;

template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T values[kCount];
};

inline bool aligned_for_packs(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % kPackBytes == 0;
}

}  // namespace pyadx
