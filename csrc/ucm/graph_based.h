// Graph-based hierarchy: the criterion of Felzenszwalb and Huttenlocher, level upon level.
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

// On every level the regions of the level below are joined along edges of rising chi-square
// distance between their intensity histograms, w, wherever w <= mst(r) + c / |r| holds for both
// sides; then regions below the minimum size are joined along the same edges. Altitude is the
// number of the level, from 1 (Felzenszwalb and Huttenlocher, IJCV 2004; with histograms as in
// Grundmann et al., CVPR 2010). Components that nothing connects are joined last, at infinity.
//
// histogram: [regions, bins], counts.
std::vector<Merge> merge_graph_based(const std::vector<Edge>& edges,
                                     const std::vector<int64_t>& size,
                                     std::vector<int64_t> histogram, int64_t bins,
                                     const GraphBasedOptions& options, const Progress& progress);

}  // namespace pyadx::ucm
