// Products of tiles of bfloat16, as the matrix unit of Intel's processors (AMX) computes them.
//
// Two implementations of one interface. `HardwareTiles` uses the instructions, in files compiled
// with -mamx-tile -mamx-bf16. `EmulatedTiles` does the same on every machine, following Intel's
// description of TDPBF16PS. Denormal inputs count as zero and denormal results become zero. The
// first and the second numbers of the pairs are summed separately, each step a fused multiply-add
// rounded to nearest even. The two sums are added, and the result is added to the tile of sums.
// Intel does not say whether a result is tested for being denormal before or after rounding; here
// it is after.
//
// There are two tiles for left factors, each of up to 16 rows of 32 numbers, two for right factors,
// each of 16 pairs of rows of 16 numbers, and four for the sums of their products. The hardware has
// these eight tiles and no more. Everything has internal linkage, so that the linker never uses
// code compiled for another instruction set.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __AMX_BF16__
#include <immintrin.h>
#endif

#include "common/dtype.h"

namespace pyadx {

constexpr int64_t kTileRows = 16;               // sums of one tile: 16 x 16
constexpr int64_t kTileDepth = 32;              // products that one step adds up
constexpr int64_t kTileSize = 16 * kTileDepth;  // numbers of a tile on the right

// Whether the processor has these instructions and the operating system lets this process use them.
// The system is asked once.
bool amx_usable();

namespace {

class EmulatedTiles {
 public:
  static void begin(int64_t) {}
  static void end() {}

  // `rows`: number of rows of the left factors and of the sums.
  explicit EmulatedTiles(int64_t rows) : rows_(rows) {}

  template <int kM, int kN>
  void clear() {
    std::memset(sums_[kM][kN], 0, sizeof(sums_[kM][kN]));
  }

  // Row r begins r * step bytes after `from`.
  template <int kM>
  void load_left(const BFloat16* from, int64_t step) {
    for (int64_t r = 0; r < rows_; ++r) {
      load(reinterpret_cast<const char*>(from) + r * step, left_[kM][0][r], left_[kM][1][r]);
    }
  }

  template <int kN>
  void load_right(const BFloat16* from) {
    for (int64_t k = 0; k < kPairs; ++k) {
      load(from + 2 * kTileRows * k, right_[kN][0][k], right_[kN][1][k]);
    }
  }

  template <int kM, int kN>
  void multiply() {
    for (int64_t r = 0; r < kTileRows; r += kTogether) {
      if (r < rows_) multiply_rows(left_[kM], right_[kN], sums_[kM][kN], r);
    }
  }

  template <int kM, int kN>
  void store(float* to) const {
    std::memcpy(to, sums_[kM][kN], sizeof(float) * static_cast<size_t>(kTileRows * rows_));
  }

 private:
  static constexpr int64_t kPairs = kTileDepth / 2;
  static constexpr int64_t kTogether = 4;  // rows whose sums are independent of each other
  using Tile = float[kTileRows][kTileRows];

  static void multiply_rows(const Tile (&left)[2], const Tile (&right)[2], Tile& total, int64_t r) {
    float sums[2][kTogether][kTileRows] = {};
    for (int64_t k = 0; k < kPairs; ++k) {
      for (int64_t half = 0; half < 2; ++half) {
        for (int64_t own = 0; own < kTogether; ++own) {
          const float value = left[half][r + own][k];
#ifndef __CUDACC__    // nvcc, which reads this file for its sizes, does not know the pragma
#pragma GCC unroll 1  // unrolled, the loop is not vectorised
#endif
          for (int64_t n = 0; n < kTileRows; ++n) {
            sums[half][own][n] = flushed(fused(value, right[half][k][n], sums[half][own][n]));
          }
        }
      }
    }
    for (int64_t own = 0; own < kTogether; ++own) {
      for (int64_t n = 0; n < kTileRows; ++n) {
        const float both = flushed(sums[0][own][n] + sums[1][own][n]);
        total[r + own][n] = flushed(total[r + own][n] + both);
      }
    }
  }

  static float flushed(float value) {
    const uint32_t bits = bits_from_float(value);
    return float_from_bits((bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits);
  }

  // Without an FMA instruction, std::fma is a slow function call. The product of two bfloat16
  // numbers has 16 significant bits, so in float32 it is exact unless it leaves the range.
  static float fused(float a, float b, float c) {
#ifndef __FMA__
    const float product = a * b;
    const uint32_t exponent = bits_from_float(product) & 0x7f800000u;
    if (exponent != 0 && exponent != 0x7f800000u) return product + c;
#endif
    return std::fma(a, b, c);
  }

  static void load(const void* from, float* first, float* second) {
    uint32_t pairs[kPairs];
    std::memcpy(pairs, from, sizeof(pairs));
    for (int64_t k = 0; k < kPairs; ++k) {
      first[k] = flushed(float_from_bits(pairs[k] << 16));
      second[k] = flushed(float_from_bits(pairs[k] & 0xffff0000u));
    }
  }

  int64_t rows_;
  // Rows from rows_ on stay zero.
  Tile left_[2][2] = {}, right_[2][2], sums_[2][2];
};

#ifdef __AMX_BF16__
// Tiles 0 to 3 hold sums, 4 and 5 left factors, 6 and 7 right factors. GCC's intrinsics put the
// number of a tile into assembler text, so it must be a literal. They also do not tell the compiler
// which memory they read; the empty asm statements do.
class HardwareTiles {
 public:
  // Sets the shape of this thread's tiles.
  static void begin(int64_t rows) {
    struct {
      uint8_t palette, start_row, reserved[14];
      uint16_t row_bytes[16];
      uint8_t rows[16];
    } shape{};
    shape.palette = 1;
    for (int tile = 0; tile < 8; ++tile) {
      shape.row_bytes[tile] = 64;
      shape.rows[tile] = static_cast<uint8_t>(tile < 6 ? rows : kTileRows);
    }
    __asm__ volatile("" : : "r"(&shape) : "memory");
    _tile_loadconfig(&shape);
  }
  static void end() { _tile_release(); }

  explicit HardwareTiles(int64_t) { __asm__ volatile("" : : : "memory"); }

  template <int kM, int kN>
  void clear() {
    if constexpr (kM == 0 && kN == 0) _tile_zero(0);
    if constexpr (kM == 0 && kN == 1) _tile_zero(1);
    if constexpr (kM == 1 && kN == 0) _tile_zero(2);
    if constexpr (kM == 1 && kN == 1) _tile_zero(3);
  }

  template <int kM>
  void load_left(const BFloat16* from, int64_t step) {
    if constexpr (kM == 0) _tile_loadd(4, from, step);
    if constexpr (kM == 1) _tile_loadd(5, from, step);
  }

  template <int kN>
  void load_right(const BFloat16* from) {
    if constexpr (kN == 0) _tile_loadd(6, from, 64);
    if constexpr (kN == 1) _tile_loadd(7, from, 64);
  }

  template <int kM, int kN>
  void multiply() {
    if constexpr (kM == 0 && kN == 0) _tile_dpbf16ps(0, 4, 6);
    if constexpr (kM == 0 && kN == 1) _tile_dpbf16ps(1, 4, 7);
    if constexpr (kM == 1 && kN == 0) _tile_dpbf16ps(2, 5, 6);
    if constexpr (kM == 1 && kN == 1) _tile_dpbf16ps(3, 5, 7);
  }

  template <int kM, int kN>
  void store(float* to) const {
    if constexpr (kM == 0 && kN == 0) _tile_stored(0, to, 64);
    if constexpr (kM == 0 && kN == 1) _tile_stored(1, to, 64);
    if constexpr (kM == 1 && kN == 0) _tile_stored(2, to, 64);
    if constexpr (kM == 1 && kN == 1) _tile_stored(3, to, 64);
  }
};
#endif

}  // namespace
}  // namespace pyadx
