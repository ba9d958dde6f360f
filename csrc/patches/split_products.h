// The inner loop of split.h. It is compiled once with AMX instructions (conv_amx.cpp), and with
// their emulation once per instruction set (conv_avx512.cpp, conv_avx2.cpp, conv_portable.cpp).
#pragma once

#include <cstring>
#include <type_traits>

#include "common/amx.h"
#include "patches/split.h"

namespace pyadx {
namespace PYADX_ISA {
namespace {

template <int kIndex>
using Index = std::integral_constant<int, kIndex>;

// Calls `visit` with the indices of all tiles of sums, as types.
template <int kRows, int kBlocks, typename Visit>
inline __attribute__((always_inline)) void for_sums(const Visit& visit) {
  visit(Index<0>{}, Index<0>{});
  if constexpr (kBlocks == 2) visit(Index<0>{}, Index<1>{});
  if constexpr (kRows == 2) visit(Index<1>{}, Index<0>{});
  if constexpr (kRows == 2 && kBlocks == 2) visit(Index<1>{}, Index<1>{});
}

// The small products, that is, all but that of the two first parts: pairs of a part of the changes
// (left) and a part of the weights (right). From one to the next, only one side has to be loaded.
constexpr int kSmall[][2] = {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}};
// Chunks that are summed in tiles before they are added up in memory.
constexpr int64_t kChunksTogether = 12;

template <typename Tiles, int kRows, int kBlocks>
class SplitProducts {
 public:
  // For a few steps at a time, first the small products are summed, then the large ones. These sums
  // are then added up. One long sum would lose digits of every small product.
  static void run(const SplitJob& job) {
    Tiles tiles(job.outputs);
    const int64_t together = kChunksTogether < job.chunks ? 1 : kChunksTogether / job.chunks;
    std::memset(job.sums, 0, kRows * kBlocks * sizeof(float) * kTileSums);
    for (int64_t first = 0; first < job.steps; first += together) {
      const int64_t last = first + together < job.steps ? first + together : job.steps;
      for_sums<kRows, kBlocks>([&](auto m, auto n) { tiles.template clear<m, n>(); });
      for (int64_t step = first; step < last; ++step) small(job, step, tiles);
      for (int64_t step = first; step < last; ++step) large(job, step, tiles);
      add(job, tiles);
    }
  }

 private:
  static constexpr int64_t kTileSums = kTileRows * kTileRows;

  static void small(const SplitJob& job, int64_t step, Tiles& tiles) {
    for (int64_t chunk = 0; chunk < job.chunks; ++chunk) {
      int left = -1, right = -1;
      for (const auto& product : kSmall) {
        if (product[0] != left) load_left(job, step, chunk, left = product[0], tiles);
        if (product[1] != right) load_right(job, step, chunk, right = product[1], tiles);
        multiply(tiles);
      }
    }
  }

  static void large(const SplitJob& job, int64_t step, Tiles& tiles) {
    for (int64_t chunk = 0; chunk < job.chunks; ++chunk) {
      load_left(job, step, chunk, 0, tiles);
      load_right(job, step, chunk, 0, tiles);
      multiply(tiles);
    }
  }

  static void load_left(const SplitJob& job, int64_t step, int64_t chunk, int64_t part,
                        Tiles& tiles) {
    const BFloat16* const* in = job.in + step * kRows;
    const int64_t shift = part * job.part_step + chunk * kTileDepth;
    tiles.template load_left<0>(in[0] + shift, job.cell_bytes);
    if constexpr (kRows == 2) tiles.template load_left<1>(in[1] + shift, job.cell_bytes);
  }

  static void load_right(const SplitJob& job, int64_t step, int64_t chunk, int64_t part,
                         Tiles& tiles) {
    const BFloat16* weights = job.weights[step] + (chunk * kParts + part) * kTileSize;
    tiles.template load_right<0>(weights);
    if constexpr (kBlocks == 2) tiles.template load_right<1>(weights + job.block_step);
  }

  static void multiply(Tiles& tiles) {
    for_sums<kRows, kBlocks>([&](auto m, auto n) { tiles.template multiply<m, n>(); });
  }

  static void add(const SplitJob& job, const Tiles& tiles) {
    for_sums<kRows, kBlocks>([&](auto m, auto n) {
      alignas(64) float own[kTileSums];
      tiles.template store<m, n>(own);
      float* sums = job.sums + (m * kBlocks + n) * kTileSums;
      for (int64_t i = 0; i < job.outputs * kTileRows; ++i) sums[i] += own[i];
    });
  }
};

template <typename Tiles>
constexpr SplitKernels split_kernels_of() {
  return {Tiles::begin,
          {{SplitProducts<Tiles, 1, 1>::run, SplitProducts<Tiles, 1, 2>::run},
           {SplitProducts<Tiles, 2, 1>::run, SplitProducts<Tiles, 2, 2>::run}},
          Tiles::end};
}

}  // namespace
}  // namespace PYADX_ISA
}  // namespace pyadx
