// Finds the cells and channels of a patch that change at all.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "patches/conv.h"
#include "patches/extent.h"

namespace pyadx {

// The bits of a number without its sign: 0 for both +0 and -0. The bitwise or of several numbers
// tells whether any of them is a change.
inline uint32_t magnitude_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits << 1;
}
inline uint64_t magnitude_bits(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits << 1;
}

// With fewer channels, looking for those that do not change costs more than it saves.
constexpr int64_t kLeastChannels = 16;

template <typename T>
inline bool any_change(const T* cell, int64_t channels) {
  if (channels < kLeastChannels) {
    for (int64_t c = 0; c < channels; ++c) {
      if (cell[c] != T(0)) return true;  // NaN is a change
    }
    return false;
  }
  decltype(magnitude_bits(T())) any = 0;
  for (int64_t c = 0; c < channels; ++c) any |= magnitude_bits(cell[c]);
  return any != 0;
}

// Finds where a row changes in the channels of one group.
template <typename T>
inline Extent changed_cells(const T* row, int64_t cells, int64_t cell_step, int64_t channels) {
  if (cell_step == channels) return changed_cells(row, cells, channels);
  Extent extent{0, cells};
  while (!extent.empty() && !any_change(row + extent.first * cell_step, channels)) ++extent.first;
  while (!extent.empty() && !any_change(row + (extent.last - 1) * cell_step, channels)) {
    --extent.last;
  }
  return extent;
}

// Sets bit c of words[run] where channel run * kRun + c changes in one of the cells.
template <typename T>
inline void find_channels(const T* cells, int64_t count, int64_t cell_step, int64_t channels,
                          uint64_t* words) {
  using Bits = decltype(magnitude_bits(T()));
  if (channels < kLeastChannels) {
    *words = (uint64_t(1) << channels) - 1;
    return;
  }
  for (int64_t start = 0; start < channels; start += kRun) {
    const int64_t length = std::min(kRun, channels - start);
    Bits any[kRun] = {};
    for (int64_t x = 0; x < count; ++x) {
      const T* cell = cells + x * cell_step + start;
      for (int64_t c = 0; c < length; ++c) any[c] |= magnitude_bits(cell[c]);
    }
    uint64_t word = 0;
    for (int64_t c = 0; c < length; ++c) word |= static_cast<uint64_t>(any[c] != 0) << c;
    *words++ = word;
  }
}

}  // namespace pyadx
