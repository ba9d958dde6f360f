// The inner loops of the patch convolution: sums over one row of a patch, kept in registers.
//
// Included once per instruction set, by conv_avx512.cpp, conv_avx2.cpp and conv_portable.cpp. Each
// defines PYADX_ISA, the name of its namespace; row_tables.cpp picks one at run time. Everything
// here has internal linkage, so that the linker never uses code compiled for another instruction
// set.
//
// Channels are innermost. A vector holds neighbouring output channels; one input value is broadcast
// and multiplied into all outputs that it reaches. A changed row of n cells reaches n + 2 outputs
// through three taps. The loop runs over inputs, not outputs, so no time goes to the zeros around
// them. After a ReLU, many channels do not change along a whole row; they are skipped.
#pragma once

#include <cstdint>

#include "patches/conv.h"

namespace pyadx {
namespace PYADX_ISA {
namespace {

template <typename T, int kBytes>
struct VectorOf {
  typedef T type __attribute__((vector_size(kBytes), aligned(sizeof(T)), may_alias));
};

template <typename T, int kBytes>
using Vector = typename VectorOf<T, kBytes>::type;

// Sets sums to zero one by one. The array is kept in registers, and `= {}` would write it to memory
// too.
template <typename V, int kCells, int kUnits>
inline void clear(V (&sums)[kCells][kUnits]) {
  for (int64_t x = 0; x < kCells; ++x) {
    for (int64_t u = 0; u < kUnits; ++u) sums[x][u] = V{};
  }
}

// Adds sums in registers to those in memory, after every run of at most kRun channels of an input
// row: a sum of short sums loses fewer digits than one long sum.
template <typename V, int kCells, int kUnits, typename T>
inline void flush(const V (&sums)[kCells][kUnits], T* to) {
  constexpr int64_t kLanes = sizeof(V) / sizeof(T);
  for (int64_t x = 0; x < kCells; ++x) {
    for (int64_t u = 0; u < kUnits; ++u) {
      *reinterpret_cast<V*>(to + (x * kUnits + u) * kLanes) += sums[x][u];
    }
  }
}

// Calls `visit(c)` for the channels of one run that change. In narrow layers usually all of them
// do; a plain loop, without looking at bits, is faster then.
template <typename Visit>
inline __attribute__((always_inline)) void for_changes(uint64_t changes, int64_t channels,
                                                       const Visit& visit) {
  if (channels < kRun && changes == (uint64_t(1) << channels) - 1) {
    for (int64_t c = 0; c < channels; ++c) visit(c);
    return;
  }
  for (; changes != 0; changes &= changes - 1) visit(__builtin_ctzll(changes));
}

// Three neighbouring taps, stride one: input x reaches outputs x, x + 1 and x + 2.
template <typename T, int kBytes, int kCells, int kUnits>
void three_taps(const RowJob<T>& job) {
  using V = Vector<T, kBytes>;
  for (int64_t r = 0; r < job.rows; ++r) {
    for (int64_t run = 0; run * kRun < job.channels; ++run) {
      const T* in = job.in[r] + run * kRun;
      const T* first = job.weights[r] + run * kRun * job.channel_step;
      const int64_t channels = job.channels - run * kRun;
      V sums[kCells + 2][kUnits];
      clear(sums);
      for_changes(job.changes[r][run], channels, [&](int64_t c) __attribute__((always_inline)) {
        const T* weights = first + c * job.channel_step;
        V taps[3][kUnits];
        for (int64_t k = 0; k < 3; ++k) {
          for (int64_t u = 0; u < kUnits; ++u) {
            taps[k][u] =
                *reinterpret_cast<const V*>(weights + k * job.tap_step + u * job.unit_step);
          }
        }
        for (int64_t x = 0; x < kCells; ++x) {
          const V value = in[x * job.cell_step + c] - V{};
          for (int64_t u = 0; u < kUnits; ++u) {
            sums[x + 2][u] += value * taps[0][u];
            sums[x + 1][u] += value * taps[1][u];
            sums[x][u] += value * taps[2][u];
          }
        }
      });
      flush(sums, job.sums);
    }
  }
}

// One tap of any convolution: output x reads the input cell_step * x elements further on.
template <typename T, int kBytes, int kCells, int kUnits>
void one_tap(const RowJob<T>& job) {
  using V = Vector<T, kBytes>;
  for (int64_t r = 0; r < job.rows; ++r) {
    for (int64_t run = 0; run * kRun < job.channels; ++run) {
      const T* in = job.in[r] + run * kRun;
      const T* first = job.weights[r] + run * kRun * job.channel_step;
      const int64_t channels = job.channels - run * kRun;
      V sums[kCells][kUnits];
      clear(sums);
      for_changes(job.changes[r][run], channels, [&](int64_t c) __attribute__((always_inline)) {
        const T* weights = first + c * job.channel_step;
        V tap[kUnits];
        for (int64_t u = 0; u < kUnits; ++u) {
          tap[u] = *reinterpret_cast<const V*>(weights + u * job.unit_step);
        }
        for (int64_t x = 0; x < kCells; ++x) {
          const V value = in[x * job.cell_step + c] - V{};
          for (int64_t u = 0; u < kUnits; ++u) sums[x][u] += value * tap[u];
        }
      });
      flush(sums, job.sums);
    }
  }
}

template <typename T, int kBytes, int kUnits>
constexpr RowTable<T> table_of() {
  return {
      {three_taps<T, kBytes, 1, kUnits>, three_taps<T, kBytes, 2, kUnits>,
       three_taps<T, kBytes, 3, kUnits>, three_taps<T, kBytes, 4, kUnits>,
       three_taps<T, kBytes, 5, kUnits>, three_taps<T, kBytes, 6, kUnits>,
       three_taps<T, kBytes, 7, kUnits>, three_taps<T, kBytes, 8, kUnits>,
       three_taps<T, kBytes, 9, kUnits>, three_taps<T, kBytes, 10, kUnits>},
      {one_tap<T, kBytes, 1, kUnits>, one_tap<T, kBytes, 2, kUnits>, one_tap<T, kBytes, 3, kUnits>,
       one_tap<T, kBytes, 4, kUnits>, one_tap<T, kBytes, 5, kUnits>, one_tap<T, kBytes, 6, kUnits>,
       one_tap<T, kBytes, 7, kUnits>, one_tap<T, kBytes, 8, kUnits>, one_tap<T, kBytes, 9, kUnits>,
       one_tap<T, kBytes, 10, kUnits>},
      kBytes / static_cast<int64_t>(sizeof(T)),
      kUnits};
}

}  // namespace
}  // namespace PYADX_ISA
}  // namespace pyadx
