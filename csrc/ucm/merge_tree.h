// Agglomeration of a region graph into a binary merge tree.
#pragma once

#include <cstdint>
#include <vector>

#include "ucm/progress.h"
#include "ucm/region_graph.h"

namespace pyadx::ucm {

// What neighbouring regions are merged by, lowest first; m is the mean strength of their common
// boundary, dmu the difference of their mean intensities, a and b their sizes.
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
  int64_t min_size = 0;         // smaller regions are merged first, into their nearest neighbour
  double strength_unit = 1.0;   // what one quantum of the relief is worth
  double intensity_unit = 1.0;  // what one quantum of intensity is worth
};

// Merge k makes node R + k of nodes a and b; leaves are nodes 0 to R - 1.
struct Merge {
  int32_t a, b;
  double altitude;
};

// Merges all regions, in the order of their linkage; ties go to the pair (i, j), i < j, that comes
// first, where a region is known by its largest leaf. Regions are merged at altitude 0 until all
// have `min_size` voxels. Linkages that could fall are made to rise: an altitude is the running
// maximum. Components that nothing connects are joined last, at infinity. The result does not
// depend on the order of the edges.
std::vector<Merge> merge_regions(const std::vector<Edge>& edges, const Regions& regions,
                                 const MergeOptions& options, const Progress& progress);

}  // namespace pyadx::ucm
