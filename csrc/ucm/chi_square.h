// Boundary cue of the paper's segmentation: do the two halves of a ball look alike?
//
// For 13 directions n and balls of radius r, the normalised histograms h+ and h- of the half balls
// d.n > 0 and d.n < 0 are compared by G = 1/2 sum_b (h+ - h-)^2 / (h+ + h-); the strength of a
// direction is the sum over the radii, that of a voxel the maximum over the directions (the 3D form
// of Arbelaez et al., PAMI 2011).
#pragma once

#include <cstdint>
#include <vector>

#include "ucm/progress.h"
#include "ucm/volume.h"

namespace pyadx::ucm {

constexpr int kDirections = 13;
constexpr int kBins = 10;
constexpr int kOutsideBin = kBins;  // of voxels outside the mask; no histogram counts them

// A unit vector. directions() lists 13: polar angles of pi/4, pi/2 and 3 pi/4, each with azimuths
// of 0, pi/4, pi/2 and 3 pi/4, and last the pole.
struct Direction {
  double z, y, x;
};
const std::vector<Direction>& directions();

// A voxel of the largest ball.
struct BallVoxel {
  double distance;
  int64_t z, y, x;
  uint32_t halves;  // bit n: d.n > 0 for direction n; bit 16 + n: d.n < 0
};

struct Ball {
  std::vector<BallVoxel> voxels;  // nearest first, without the centre
  std::vector<int64_t> ends;      // how many of these the ball of each radius contains
  int64_t reach[3];               // voxels from the centre to the border, along each axis
};

Ball make_ball(const double spacing[3], const std::vector<double>& radii);

// bin: [size], 0 to 9, or kOutsideBin. radii: at most ten, ascending, in the unit of `spacing`.
// spacing: of voxels, (z, y, x). strength: [size], 0 outside the mask. direction: [size], index of
// the strongest direction, the first of them on ties. A ball with an empty half adds nothing.
void chi_square(const uint8_t* bin, const Shape& shape, const double spacing[3],
                const std::vector<double>& radii, int threads, const Progress& progress,
                float* strength, uint8_t* direction);

}  // namespace pyadx::ucm
