// Which regions of a label volume touch, and how strong the relief is along their common boundary.
#pragma once

#include <cstdint>
#include <vector>

#include "ucm/progress.h"
#include "ucm/volume.h"

namespace pyadx::ucm {

// The common boundary of regions lo < hi. Its strength is sum / weight. Both are integers, so they
// do not depend on the order of summation.
struct Edge {
  int32_t lo, hi;
  int64_t sum;
  int64_t weight;
};

// Weights of the faces between voxels, per axis (z, y, x).
struct FaceWeights {
  int64_t area[3];  // of a face across the axis; equal for cubic voxels

  // Optional: the direction (normal) of the boundary at every voxel, an index into cosine[axis].
  // The strength of a face is scaled by cosine[axis][direction], the cosine of the angle between
  // axis and normal, times `unit`. So a face counts in full where the boundary is parallel to it,
  // and not at all where the boundary is perpendicular to it.
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
