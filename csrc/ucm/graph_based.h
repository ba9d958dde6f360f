// Graph-based hierarchy: the criterion of Felzenszwalb and Huttenlocher, applied level by level.
#pragma once

#include <cstdint>
#include <vector>

#include "ucm/merge_tree.h"

namespace pyadx::ucm {

struct GraphBasedOptions {
  double constant = 1.0;         // c of the first level
  double constant_growth = 1.4;  // per level
  double min_size = 20.0;        // voxels, of the first level
  double size_growth = 1.2;      // per level
};

// The weight w of an edge is the chi-square distance between the intensity histograms of its two
// regions. Every level starts from the regions of the level below and visits its edges by ascending
// weight. It merges two regions if w <= mst(r) + c / |r| holds for both; mst(r) is the largest
// weight in the minimum spanning tree of region r on this level. Then it merges regions below the
// minimum size along the same edges. The altitude of a merge is the number of its level, from 1
// (Felzenszwalb and Huttenlocher, IJCV 2004; with histograms as in Grundmann et al., CVPR 2010).
// Components that no edge connects are merged last, at an altitude of infinity.
//
// histogram: [regions, bins], counts.
std::vector<Merge> merge_graph_based(const std::vector<Edge>& edges,
                                     const std::vector<int64_t>& size,
                                     std::vector<int64_t> histogram, int64_t bins,
                                     const GraphBasedOptions& options, const Progress& progress);

}  // namespace pyadx::ucm
