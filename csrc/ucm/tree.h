// A merge tree whose leaves are numbered in depth-first order, so that every node is an interval of
// leaves.
#pragma once

#include <cstdint>
#include <vector>

#include "ucm/merge_tree.h"

namespace pyadx::ucm {

// Nodes 0 to R - 1 are the leaves; node R + k is merge k of R - 1.
struct Tree {
  std::vector<int32_t> position;  // [R]: the leaf that each region becomes
  std::vector<int32_t> parent;    // [2R - 1]: the root is its own parent
  std::vector<double> altitude;   // [2R - 1]: leaves 0
  std::vector<int64_t> area;      // [2R - 1]: voxels
  std::vector<int32_t> first;     // [2R - 1]: first leaf
  std::vector<int32_t> last;      // [2R - 1]: one past the last leaf
};

// Of two children, the one that contains the smallest region number comes first. `merges` must form
// a single tree.
Tree depth_first(const std::vector<Merge>& merges, const std::vector<int64_t>& region_size);

}  // namespace pyadx::ucm
