// Shape of a volume in memory order, and its six neighbours.
#pragma once

#include <cstdint>

namespace pyadx::ucm {

struct Shape {
  int64_t depth, height, width;

  int64_t size() const { return depth * height * width; }
  int64_t plane() const { return height * width; }
};

// Calls visit(neighbour index, axis) for the up to six neighbours of a voxel: -z, -y, -x, +x, +y,
// +z.
template <typename Visit>
inline void for_neighbours(const Shape& shape, int64_t z, int64_t y, int64_t x, Visit&& visit) {
  const int64_t voxel = (z * shape.height + y) * shape.width + x;
  if (z > 0) visit(voxel - shape.plane(), 0);
  if (y > 0) visit(voxel - shape.width, 1);
  if (x > 0) visit(voxel - 1, 2);
  if (x + 1 < shape.width) visit(voxel + 1, 2);
  if (y + 1 < shape.height) visit(voxel + shape.width, 1);
  if (z + 1 < shape.depth) visit(voxel + shape.plane(), 0);
}

}  // namespace pyadx::ucm
