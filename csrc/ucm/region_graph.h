// Which regions of a label volume touch, and how strong the relief is along their common boundary.
#pragma once

#include <cstdint>
#include <vector>

#include "ucm/progress.h"
#include "ucm/volume.h"

namespace pyadx::ucm {

// The common boundary of regions lo < hi. All sums are integers, so that they do not depend on the
// order of summation: strength is sum / weight.
struct Edge {
  int32_t lo, hi;
  int64_t sum;
  int64_t weight;
};

// What a face between two voxels weighs, per axis (z, y, x), and how a direction crosses it.
struct FaceWeights {
  int64_t area[3];  // of a face across the axis; equal numbers for cubic voxels

  // Optional: the direction of every voxel's boundary, an index into `cosine`; face strength is
  // scaled by cosine[axis][direction], a cosine times `unit`, so that faces along a boundary do not
  // count as part of it.
  const uint8_t* direction = nullptr;
  std::vector<int64_t> cosine[3] = {};
  int64_t unit = 1;
};

// Faces between neighbouring voxels p, q of different regions add area * (relief[p] + relief[q]) to
// the sum and 2 * area to the weight of their edge (with directions: each relief times its cosine,
// and 2 * unit * area). Labels below zero belong to no region. Edges are sorted by (lo, hi).
std::vector<Edge> region_graph(const uint16_t* relief, const int32_t* labels, const Shape& shape,
                               const FaceWeights& faces, int threads, const Progress& progress);

}  // namespace pyadx::ucm
