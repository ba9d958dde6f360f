// Sizes of subtrees are computed bottom up, then positions top down. There is no recursion, since
// trees may be deep.
#include "ucm/tree.h"

#include <algorithm>

namespace pyadx::ucm {

Tree depth_first(const std::vector<Merge>& merges, const std::vector<int64_t>& region_size) {
  const size_t regions = region_size.size();
  const size_t nodes = regions + merges.size();
  std::vector<int32_t> leaves(nodes, 1), smallest(nodes), first(nodes, 0), parent(nodes);
  std::vector<int64_t> area(nodes);
  for (size_t i = 0; i < regions; ++i) {
    smallest[i] = static_cast<int32_t>(i);
    area[i] = region_size[i];
  }
  for (size_t k = 0; k < merges.size(); ++k) {
    const auto a = static_cast<size_t>(merges[k].a);
    const auto b = static_cast<size_t>(merges[k].b);
    const size_t node = regions + k;
    leaves[node] = leaves[a] + leaves[b];
    smallest[node] = std::min(smallest[a], smallest[b]);
    area[node] = area[a] + area[b];
    parent[a] = parent[b] = static_cast<int32_t>(node);
  }
  for (size_t k = merges.size(); k-- > 0;) {
    auto a = static_cast<size_t>(merges[k].a);
    auto b = static_cast<size_t>(merges[k].b);
    if (smallest[b] < smallest[a]) std::swap(a, b);
    first[a] = first[regions + k];
    first[b] = first[a] + leaves[a];
  }

  Tree tree;
  tree.position.assign(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(regions));
  tree.parent.resize(nodes);
  tree.altitude.assign(nodes, 0.0);
  tree.area.resize(nodes);
  tree.first.resize(nodes);
  tree.last.resize(nodes);
  for (size_t i = 0; i < nodes; ++i) {
    const size_t node = i < regions ? static_cast<size_t>(first[i]) : i;
    tree.parent[node] = i + 1 == nodes ? static_cast<int32_t>(i) : parent[i];
    tree.area[node] = area[i];
    tree.first[node] = first[i];
    tree.last[node] = first[i] + leaves[i];
    if (i >= regions) tree.altitude[node] = merges[i - regions].altitude;
  }
  return tree;
}

}  // namespace pyadx::ucm
