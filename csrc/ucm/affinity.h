// Pairwise affinities of neighbouring voxels: is there a boundary between them?
#pragma once

#include <cstdint>
#include <vector>

#include "ucm/chi_square.h"
#include "ucm/progress.h"
#include "ucm/volume.h"

namespace pyadx::ucm {

struct AffinityInput {
  const float* strength;     // [size]: oriented boundary strength
  const uint8_t* direction;  // [size]: index into directions()
  const int32_t* number;     // [size]: of the voxels inside the mask, from 0; -1 outside
  int reach;                 // pairs up to so many voxels apart along each axis
  double scale;              // rho
};

struct Affinities {
  std::vector<int32_t> pairs;  // [pairs, 2]: numbers of two voxels
  std::vector<float> weight;   // [pairs]
};

// exp(-max_s |u.n(s)| strength(s) / rho) for every pair of voxels inside the mask, each once; s
// runs over the voxels nearest to the segment between them, u is its direction (the intervening
// contour of Arbelaez et al., PAMI 2011, in 3D). In the order of the first voxel.
Affinities affinities(const AffinityInput& input, const Shape& shape, int threads,
                      const Progress& progress);

}  // namespace pyadx::ucm
