// A flat hash table from pairs of regions to a number, for region graphs.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace pyadx::ucm {

// Open addressing with linear probing. Erasing shifts later entries back, so that no tombstones
// pile up while regions merge.
class EdgeTable {
 public:
  static constexpr int32_t kAbsent = -1;

  explicit EdgeTable(size_t expected = 16) { resize(expected); }

  // Returns the value of the pair (a, b), in either order. If there is none, inserts `fresh`; the
  // second result says whether it did.
  std::pair<int32_t, bool> insert(int32_t a, int32_t b, int32_t fresh) {
    if (2 * (used_ + 1) > keys_.size()) grow();
    const uint64_t key = key_of(a, b);
    size_t slot = home(key);
    while (keys_[slot] != kEmpty && keys_[slot] != key) slot = (slot + 1) & mask_;
    if (keys_[slot] == key) return {values_[slot], false};
    keys_[slot] = key;
    values_[slot] = fresh;
    ++used_;
    return {fresh, true};
  }

  void erase(int32_t a, int32_t b) {
    const uint64_t key = key_of(a, b);
    size_t slot = home(key);
    while (keys_[slot] != key) {
      if (keys_[slot] == kEmpty) return;
      slot = (slot + 1) & mask_;
    }
    for (size_t next = (slot + 1) & mask_; keys_[next] != kEmpty; next = (next + 1) & mask_) {
      // An entry may move back unless its home lies between the hole and itself.
      if (((next - home(keys_[next])) & mask_) >= ((next - slot) & mask_)) {
        keys_[slot] = keys_[next];
        values_[slot] = values_[next];
        slot = next;
      }
    }
    keys_[slot] = kEmpty;
    --used_;
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};  // not a pair: region numbers are below 2^31

  static uint64_t key_of(int32_t a, int32_t b) {
    const uint64_t lo = static_cast<uint32_t>(a < b ? a : b);
    const uint64_t hi = static_cast<uint32_t>(a < b ? b : a);
    return lo << 32 | hi;
  }

  size_t home(uint64_t key) const {
    return static_cast<size_t>((key * uint64_t{0x9e3779b97f4a7c15}) >> 20) & mask_;
  }

  void resize(size_t expected) {
    size_t slots = 16;
    while (slots < 2 * expected + 2) slots *= 2;
    keys_.assign(slots, kEmpty);
    values_.assign(slots, kAbsent);
    mask_ = slots - 1;
    used_ = 0;
  }

  void grow() {
    std::vector<uint64_t> keys = std::move(keys_);
    std::vector<int32_t> values = std::move(values_);
    resize(keys.size());
    for (size_t i = 0; i < keys.size(); ++i) {
      if (keys[i] == kEmpty) continue;
      size_t slot = home(keys[i]);
      while (keys_[slot] != kEmpty) slot = (slot + 1) & mask_;
      keys_[slot] = keys[i];
      values_[slot] = values[i];
      ++used_;
    }
  }

  std::vector<uint64_t> keys_;
  std::vector<int32_t> values_;
  size_t mask_ = 0;
  size_t used_ = 0;
};

}  // namespace pyadx::ucm
