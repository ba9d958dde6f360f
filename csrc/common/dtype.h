// Element types of the kernels, without any framework's header.
//
// Half and BFloat16 are 16-bit storage types that are widened to float: kernels compute in float.
// Bit layouts: IEEE 754-2008 binary16, and the upper half of binary32. The conversions are
// branch-free, so that compilers vectorise the loops around them.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define PYADX_HOST_DEVICE __host__ __device__
#else
#define PYADX_HOST_DEVICE
#endif

namespace pyadx {

enum class DType { kFloat16, kBFloat16, kFloat32, kFloat64 };

PYADX_HOST_DEVICE inline float float_from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

PYADX_HOST_DEVICE inline uint32_t bits_from_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

struct Half {
  uint16_t bits;
};

struct BFloat16 {
  uint16_t bits;
};

PYADX_HOST_DEVICE inline float widen(BFloat16 value) {
  return float_from_bits(static_cast<uint32_t>(value.bits) << 16);
}

PYADX_HOST_DEVICE inline float widen(Half value) {
  const uint32_t sign = (static_cast<uint32_t>(value.bits) & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(value.bits) & 0x7fffu;
  // Shift exponent and mantissa into place, then rescale by 2^112: the product also normalises
  // subnormals. Values at or above 2^16 were infinities or NaNs: give them a full exponent.
  const float scaled = float_from_bits(magnitude << 13) * float_from_bits(0x77800000u);
  const uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u : 0u;
  return float_from_bits(bits_from_float(scaled) | special | sign);
}

PYADX_HOST_DEVICE inline float widen(float value) { return value; }
PYADX_HOST_DEVICE inline double widen(double value) { return value; }

// The type of sums and results: float for elements of up to 32 bits, double for float64.
template <typename T>
struct Accumulate {
  using type = float;
};
template <>
struct Accumulate<double> {
  using type = double;
};
template <typename T>
using AccumulateT = typename Accumulate<T>::type;

}  // namespace pyadx
