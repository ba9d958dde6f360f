// The matrix product of one tile of the patch convolution, by tensor cores.
//
// The sum over (tap, channel) is computed in chunks of kDepth, which pass through stages in shared
// memory. Each float32 is split into two TF32 numbers of 11 bits. Of the four products of two such
// pairs, the smallest is dropped (3xTF32). Tensor cores truncate when they add, so each chunk is
// summed by itself and then added with rounding.
#pragma once

#include <cmath>

#include "common/mma.h"
#include "patches/conv_layer_cuda.h"

namespace pyadx {
namespace {

template <int kColumns, int kPack>
struct alignas(16) Stage {
  static constexpr int kRow = kDepth + (kPack == 4 ? 4 : 5);  // padding against bank conflicts
  static constexpr int kColumn = kColumns == 8 ? 8 : kColumns + 8;
  float cells[kTile * kRow], weights[kDepth * kColumn];
};

// The part of a number that TF32 can hold, and the rest.
struct Split {
  uint32_t high, low;
  __device__ explicit Split(float value) : high(to_tf32(value)) {
    low = to_tf32(value - float_from_bits(high));
  }
  Split() = default;
};

template <int kColumns, int kPack>
struct Product {
  using Memory = Stage<kColumns, kPack>;
  static constexpr int kAcross = kColumns >= 32 ? 2 : 1;  // warps side by side, along columns
  static constexpr int kRows = kTile / 16 * kAcross / 4, kWide = kColumns / 8 / kAcross;
  static constexpr int kParts = kDepth / kPack, kLoads = kTile * kParts / kBlock;

  const Tile<float>& tile;
  int32_t thread, group, member, row, column;
  Place32 from[kLoads];
  float sums[kRows][kWide][4] = {};

  __device__ explicit Product(const Tile<float>& t)
      : tile(t), thread(static_cast<int32_t>(threadIdx.x)) {
    const int32_t warp = thread / 32, lane = thread % 32;
    group = lane / 4, member = lane % 4;
    row = warp / kAcross * kRows * 16, column = warp % kAcross * kWide * 8;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int32_t cell = tile.first + (thread + i * kBlock) / kParts;
      from[i] = {-(1 << 24), 0, 0};
      if (cell < tile.cells) from[i] = tile.origin(tile.place(cell));
    }
  }

  // Whether any tap of the chunk may read inside the box for any cell of the tile.
  __device__ bool live(int32_t chunk, const Place32& first, const Place32& last) const {
    const Layer<float>& l = tile.layer;
    const auto divided = [&](int32_t k) {
      return static_cast<int32_t>(l.by_channel.quotient(static_cast<uint32_t>(k)));
    };
    const int32_t end = min((chunk + 1) * kDepth, l.depth) - 1;
    for (int32_t t = divided(chunk * kDepth); t <= divided(end); ++t) {
      const Place32 tap = l.tap(t);
      const int32_t z = tap.z * l.dilation[0], y = tap.y * l.dilation[1];
      if (last.z + z < 0 || first.z + z >= tile.size[0]) continue;
      if (first.z == last.z && (last.y + y < 0 || first.y + y >= tile.size[1])) continue;
      return true;
    }
    return false;
  }

  __device__ void load(int32_t chunk, Memory& memory) const {
    const Layer<float>& l = tile.layer;
    const int32_t k = chunk * kDepth + thread % kParts * kPack;
    const int32_t number = static_cast<int32_t>(l.by_channel.quotient(static_cast<uint32_t>(k)));
    const int32_t channel = k - number * l.group_in;
    const Place32 tap = l.tap(number);
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      int32_t index;
      const bool wanted = tile.find(from[i], tap, &index) && k < l.depth;
      float* to =
          memory.cells + (thread + i * kBlock) / kParts * Memory::kRow + thread % kParts * kPack;
      copy_to_shared<kPack>(to, wanted ? tile.patch + index + channel : tile.patch, wanted);
    }
    constexpr int kPacks = kColumns / 4;
#pragma unroll
    for (int32_t i = thread; i < kDepth * kPacks; i += kBlock) {
      const int32_t own = chunk * kDepth + i / kPacks;
      const int64_t at = static_cast<int64_t>(own) * kColumns + i % kPacks * 4;
      float* to = memory.weights + i / kPacks * Memory::kColumn + i % kPacks * 4;
      copy_to_shared<4>(to, own < l.depth ? tile.weights + at : tile.weights, own < l.depth);
    }
  }

  __device__ void multiply(const Memory& memory) {
    float part[kRows][kWide][4] = {};
#pragma unroll
    for (int k = 0; k < kDepth; k += 8) {
      uint32_t high[kRows][4], low[kRows][4];
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int32_t r = row + m * 16 + group + i % 2 * 8;
          const Split split(load_shared(memory.cells + r * Memory::kRow + k + member + i / 2 * 4));
          high[m][i] = split.high, low[m][i] = split.low;
        }
      }
#pragma unroll
      for (int n = 0; n < kWide; ++n) {
        uint32_t b[2], rest[2];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int32_t r = k + member + i * 4;
          const Split split(
              load_shared(memory.weights + r * Memory::kColumn + column + n * 8 + group));
          b[i] = split.high, rest[i] = split.low;
        }
#pragma unroll
        for (int m = 0; m < kRows; ++m) {
          add_products(part[m][n], low[m], b);
          add_products(part[m][n], high[m], rest);
          add_products(part[m][n], high[m], b);
        }
      }
    }
    finish_products();
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
#pragma unroll
      for (int n = 0; n < kWide; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[m][n][i] += part[m][n][i];
      }
    }
  }

  __device__ void write() const {
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int32_t cell = tile.first + row + m * 16 + group + half * 8;
        if (cell >= tile.cells) continue;
        const Place32 p = tile.place(cell);
#pragma unroll
        for (int n = 0; n < kWide; ++n) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const int32_t lane = column + n * 8 + member * 2 + i;
            if (tile.column + lane >= tile.layer.group_out) continue;
            float value = sums[m][n][half * 2 + i];
            if (!(fabsf(value) < INFINITY)) value = tile.sum(tile.origin(p), lane);
            tile.write(p, lane, value);
          }
        }
      }
    }
  }
};

}  // namespace
}  // namespace pyadx
