// Boundary cue of the paper's segmentation: do the two halves of a ball look alike?
//
// For 13 directions n and balls of radius r, the histograms of the half balls d.n > 0 and d.n < 0
// are compared by G = 1/2 sum_b (h+ - h-)^2 / (h+ + h-); the strength of a direction is the sum
// over the radii, that of a voxel the maximum over the directions (the 3D form of Arbelaez et al.,
// PAMI 2011).
#pragma once

#include <cstdint>
#include <vector>

#include "ucm/progress.h"
#include "ucm/volume.h"

namespace pyadx::ucm {

constexpr int kDirections = 13;
constexpr int kBins = 10;
constexpr int kOutsideBin = kBins;  // for voxels outside the mask, which no histogram counts

// Unit vectors (z, y, x): polar angle 1, 2, 3 quarters of pi by azimuth 0 to 3 quarters of pi, then
// the pole.
struct Direction {
  double z, y, x;
};
const std::vector<Direction>& directions();

// The voxels of the largest ball but its centre, nearest first.
struct BallVoxel {
  double distance;
  int64_t z, y, x;
  uint32_t halves;  // bit n: d.n > 0 for direction n; bit 16 + n: d.n < 0
};

struct Ball {
  std::vector<BallVoxel> voxels;
  std::vector<int64_t> ends;  // how many of them the ball of each radius has
  int64_t reach[3];           // how far it goes along each axis
};

Ball make_ball(const double spacing[3], const std::vector<double>& radii);

// bin: [size], 0 to 9, or kOutsideBin. radii: rising, in voxels of spacing 1; at most 10. `spacing`
// (z, y, x) stretches the balls on anisotropic grids. strength: [size], 0 outside; direction:
// [size], the first of the strongest; either half empty counts as no boundary.
void chi_square(const uint8_t* bin, const Shape& shape, const double spacing[3],
                const std::vector<double>& radii, int threads, const Progress& progress,
                float* strength, uint8_t* direction);

}  // namespace pyadx::ucm
