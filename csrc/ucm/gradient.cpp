// Planes are independent items of work.
#include "ucm/gradient.h"

#include <cmath>

#include "ucm/threads.h"

namespace pyadx::ucm {
namespace {

double squared_gradient(const float* volume, const uint8_t* mask, const Shape& shape,
                        const double spacing[3], int64_t z, int64_t y, int64_t x) {
  const int64_t at[3] = {z, y, x};
  const int64_t length[3] = {shape.depth, shape.height, shape.width};
  const int64_t stride[3] = {shape.plane(), shape.width, 1};
  const int64_t voxel = (z * shape.height + y) * shape.width + x;
  double sum = 0.0;
  for (int axis = 0; axis < 3; ++axis) {
    const bool below = at[axis] > 0 && mask[voxel - stride[axis]];
    const bool above = at[axis] + 1 < length[axis] && mask[voxel + stride[axis]];
    const int steps = int{below} + int{above};
    if (steps == 0) continue;
    const double lower = volume[below ? voxel - stride[axis] : voxel];
    const double upper = volume[above ? voxel + stride[axis] : voxel];
    const double slope = (upper - lower) / (steps * spacing[axis]);
    sum += slope * slope;
  }
  return sum;
}

}  // namespace

void gradient(const float* volume, const uint8_t* mask, const Shape& shape, const double spacing[3],
              int threads, const Progress& progress, float* magnitude) {
  for_chunks(shape.depth, threads, progress, [&](int64_t z) {
    for (int64_t y = 0; y < shape.height; ++y) {
      for (int64_t x = 0; x < shape.width; ++x) {
        const int64_t voxel = (z * shape.height + y) * shape.width + x;
        magnitude[voxel] = mask[voxel] ? static_cast<float>(std::sqrt(squared_gradient(
                                             volume, mask, shape, spacing, z, y, x)))
                                       : 0.0f;
      }
    }
  });
}

}  // namespace pyadx::ucm
