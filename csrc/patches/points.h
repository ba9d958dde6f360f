// Polynomials along one axis: values at the points of a Toom-Cook tile, and back.
//
// Included by tile_kernels.h, once per instruction set. The transformed weights
// (pyadx/ops/toom_cook.py) must use the same points, and include the scales of the interpolation's
// columns.
#pragma once

#include <type_traits>

namespace pyadx {
namespace PYADX_ISA {
namespace {

inline float element(float value) { return value; }
inline double element(double value) { return value; }
template <typename V>
inline auto element(const V& vector) {
  return vector[0];
}

template <int kTile>
struct Points;

// 0, 1, -1 and infinity: additions only.
template <>
struct Points<2> {
  // Values of x[0] + x[1] t.
  template <typename V>
  static void evaluate(const V (&x)[2], V (&at)[4]) {
    at[0] = x[0];
    at[1] = x[0] + x[1];
    at[2] = x[0] - x[1];
    at[3] = x[1];
  }
  // Coefficients of the polynomial of degree 3. Expects the values at 1 and -1 halved.
  template <typename V>
  static void interpolate(const V (&at)[4], V (&y)[4]) {
    y[0] = at[0];
    y[1] = (at[1] - at[2]) - at[3];
    y[2] = (at[1] + at[2]) - at[0];
    y[3] = at[3];
  }
};

// 0, +-sqrt(1/2), +-sqrt(2) and infinity. Even and odd parts are shared between the points of a
// pair. Rounding errors are a third of those of the usual 0, +-1, +-2 (measured,
// benchmarks/NOTES.md).
template <>
struct Points<4> {
  static constexpr double kNear = 0.70710678118654752440, kFar = 1.41421356237309504880;

  // Values of x[0] + x[1] t + x[2] t^2 + x[3] t^3.
  template <typename V>
  static void evaluate(const V (&x)[4], V (&at)[6]) {
    using T = std::decay_t<decltype(element(x[0]))>;
    const V near_even = x[0] + T(0.5) * x[2], near_odd = x[1] + T(0.5) * x[3];
    const V far_even = x[0] + T(2) * x[2], far_odd = x[1] + T(2) * x[3];
    at[0] = x[0];
    at[1] = near_even + T(kNear) * near_odd;
    at[2] = near_even - T(kNear) * near_odd;
    at[3] = far_even + T(kFar) * far_odd;
    at[4] = far_even - T(kFar) * far_odd;
    at[5] = x[3];
  }
  // Coefficients of the polynomial of degree 5. Expects the values times 1, 4/3, 4/3, 1/6, 1/6, 1.
  template <typename V>
  static void interpolate(const V (&at)[6], V (&y)[6]) {
    using T = std::decay_t<decltype(element(at[0]))>;
    const V near_even = at[1] + at[2], near_odd = at[1] - at[2];
    const V far_even = at[3] + at[4], far_odd = at[3] - at[4];
    y[0] = at[0];
    y[1] = at[5] + T(kNear) * (near_odd - far_odd);
    y[2] = (near_even - T(2.5) * at[0]) - T(0.5) * far_even;
    y[3] = (T(kFar) * far_odd - T(2.5) * at[5]) - T(kFar / 4) * near_odd;
    y[4] = (at[0] + far_even) - T(0.5) * near_even;
    y[5] = at[5];
  }
};

}  // namespace
}  // namespace PYADX_ISA
}  // namespace pyadx
