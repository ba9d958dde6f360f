// Boundary cue: how fast intensity changes at a voxel.
#pragma once

#include <cstdint>

#include "ucm/progress.h"
#include "ucm/volume.h"

namespace pyadx::ucm {

// Gradient magnitude by central differences between neighbours inside the mask (one-sided at its
// border), per unit of `spacing` (z, y, x). Zero outside the mask.
void gradient(const float* volume, const uint8_t* mask, const Shape& shape, const double spacing[3],
              int threads, const Progress& progress, float* magnitude);

}  // namespace pyadx::ucm
