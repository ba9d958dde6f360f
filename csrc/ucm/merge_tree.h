// Agglomeration of a region graph into a binary merge tree.
#pragma once

#include <cstdint>
#include <vector>

#include "ucm/progress.h"
#include "ucm/region_graph.h"

namespace pyadx::ucm {

// The score by which neighbouring regions are merged, lowest first. m is the mean strength of their
// common boundary, dmu the difference of their mean intensities, and a and b are their sizes.
enum class Linkage {
  kBoundary,  // m (Arbelaez et al., PAMI 2011)
  kWard,      // dmu^2 ab / (a + b) (Ward 1963)
  kHybrid,    // (m^2 + dmu^2) ab / (a + b)
};

struct Regions {
  std::vector<int64_t> size;       // voxels
  std::vector<int64_t> intensity;  // sum of quantised intensities

  int32_t count() const { return static_cast<int32_t>(size.size()); }
};

struct MergeOptions {
  Linkage linkage = Linkage::kHybrid;
  int64_t min_size = 0;         // voxels; smaller regions are merged first
  double strength_unit = 1.0;   // strength of one step of the quantised relief
  double intensity_unit = 1.0;  // intensity of one step of the quantised intensities
};

// Merge k makes node R + k from nodes a and b. The R leaves are nodes 0 to R - 1.
struct Merge {
  int32_t a, b;
  double altitude;
};

// First merges regions of fewer than `min_size` voxels with the neighbour of lowest score, at
// altitude 0. Then merges all regions, lowest score first. Of pairs with equal scores, the first
// pair (i, j), i < j, is merged, where i and j are the largest leaves of the two regions. A score
// may be lower than that of an earlier merge, so an altitude is the running maximum of the scores.
// Components that no edge connects are merged last, at an altitude of infinity. The result does not
// depend on the order of the edges.
std::vector<Merge> merge_regions(const std::vector<Edge>& edges, const Regions& regions,
                                 const MergeOptions& options, const Progress& progress);

}  // namespace pyadx::ucm
