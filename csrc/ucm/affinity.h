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
  const int32_t* number;     // [size]: numbers the voxels inside the mask from 0; -1 outside
  int reach;                 // largest distance of a pair along each axis, in voxels
  double scale;              // rho of the formula below
};

struct Affinities {
  std::vector<int32_t> pairs;  // [pairs, 2]: numbers of two voxels
  std::vector<float> weight;   // [pairs]
};

// The affinity exp(-max_s |u.n(s)| strength(s) / rho) of every pair of voxels inside the mask, each
// pair once. s runs over the voxels nearest to the line between the two, u is the direction of the
// line, and n(s) the normal of the boundary at s. This is the intervening contour of Arbelaez et
// al., PAMI 2011, in 3D. Pairs are sorted by their first voxel.
Affinities affinities(const AffinityInput& input, const Shape& shape, int threads,
                      const Progress& progress);

}  // namespace pyadx::ucm
