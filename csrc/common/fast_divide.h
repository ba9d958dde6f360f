// Division by a number that the host knows: one multiplication and one shift. A GPU needs tens of
// instructions for an integer division.
//
// Granlund T, Montgomery PL (1994). Division by invariant integers using multiplication. PLDI,
// 61-72.
#pragma once

#include <cstdint>

#include "common/dtype.h"  // PYADX_HOST_DEVICE

namespace pyadx {

struct FastDivide {
  uint32_t divisor = 1, multiplier = 1, shift = 0;

  FastDivide() = default;
  // For dividing numbers below 2^31; `by` is from 1 to 2^31 - 1.
  explicit FastDivide(uint32_t by) : divisor(by) {
    while ((uint64_t(1) << shift) < by) ++shift;
    multiplier =
        static_cast<uint32_t>(((uint64_t(1) << 32) * ((uint64_t(1) << shift) - by)) / by + 1);
  }

  PYADX_HOST_DEVICE uint32_t quotient(uint32_t n) const {
    const uint32_t high = static_cast<uint32_t>((static_cast<uint64_t>(n) * multiplier) >> 32);
    return (high + n) >> shift;
  }
};

}  // namespace pyadx
