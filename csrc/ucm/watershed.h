// Watershed basins of a relief, without line voxels, in time linear in the number of voxels.
//
// Method: drop of water (Cousty, Bertrand, Najman, Couprie, "Watershed cuts: minimum spanning
// forests and the drop of water principle", PAMI 2009): every voxel flows to its lowest neighbour;
// plateaus drain towards their nearest outlet; what does not drain is a minimum.
#pragma once

#include <cstdint>

#include "ucm/progress.h"
#include "ucm/volume.h"

namespace pyadx::ucm {

// Labels the basins of `relief` within `mask` (non-zero is inside), 6-adjacency.
//
// labels: int32 of the volume's size; -1 outside the mask, basins from 0 in the order of their
// minima in memory. Returns the number of basins. Volumes must have fewer than 2^31 voxels. Of
// several lowest neighbours the first of -z, -y, -x, +x, +y, +z is taken.
int32_t watershed(const uint16_t* relief, const uint8_t* mask, const Shape& shape, int threads,
                  const Progress& progress, int32_t* labels);

}  // namespace pyadx::ucm
