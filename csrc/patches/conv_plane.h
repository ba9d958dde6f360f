// The buffers of the patch convolution on the CPU for one plane, and the taps that meet a box.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "patches/changes.h"
#include "patches/conv.h"

namespace pyadx {

inline int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

// Taps of one axis that meet the box [low, high) for output o: k in [first, last).
struct TapRange {
  int64_t first, last;
};

inline TapRange taps_inside(int64_t o, int64_t low, int64_t high, const PatchConvArgs& args,
                            int axis) {
  const int64_t start = o * args.stride[axis] - args.padding[axis];
  const int64_t step = args.dilation[axis];
  const int64_t first = std::max<int64_t>(0, ceil_div(low - start, step));
  const int64_t last = std::min(args.kernel[axis], ceil_div(high - start, step));
  return {first, std::max(first, last)};
}

// The buffers of one thread for one plane.
template <typename T>
struct Scratch {
  std::vector<const T*> in, weights, shifted_in, shifted_weights;
  std::vector<const uint64_t*> row_channels;  // of the rows in `in`
  std::vector<Extent> extents;                // of every input row that the plane sees
  std::vector<uint64_t> channels;             // which of them change, as in RowJob
  std::vector<Extent> row_extents;            // of the rows in `in`
  std::vector<T> sums;
  int64_t skip = 0;  // sums before the first output of the box
  Extent reached;    // outputs of a row that a change reaches; the others are zero
};

}  // namespace pyadx
