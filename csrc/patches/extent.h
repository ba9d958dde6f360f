// The cells of a row that change. A segment fills only part of its bounding box, and its changes
// keep its shape from layer to layer. Cells beside them stay zero and are skipped.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace pyadx {

// Cells [first, last) of a row. No other cell of the row changes.
struct Extent {
  int64_t first, last;

  bool empty() const { return first >= last; }
};

inline Extent joined(const Extent& one, const Extent& other) {
  if (one.empty()) return other;
  if (other.empty()) return one;
  return {std::min(one.first, other.first), std::max(one.last, other.last)};
}

// Whether any bit of 64 bytes is set. If not, none of the numbers in them is a change.
inline bool any_bit(const void* bytes) {
  uint64_t words[8];
  std::memcpy(words, bytes, sizeof(words));
  uint64_t any = 0;
  for (const uint64_t word : words) any |= word;
  return any != 0;
}

// Finds the changed part of a row. NaN is a change. A row that changes from end to end takes two
// tests.
template <typename T>
Extent changed_cells(const T* row, int64_t cells, int64_t channels) {
  constexpr int64_t kStep = 64 / static_cast<int64_t>(sizeof(T));
  int64_t low = 0, high = cells * channels;
  while (low + kStep <= high && !any_bit(row + low)) low += kStep;
  while (low < high && row[low] == T(0)) ++low;
  if (low == high) return {0, 0};
  while (high - kStep >= low && !any_bit(row + high - kStep)) high -= kStep;
  while (row[high - 1] == T(0)) --high;
  return {low / channels, (high - 1) / channels + 1};
}

}  // namespace pyadx
