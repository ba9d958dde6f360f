// Affinity is symmetric, so half of the neighbourhood is enough. The pairs of all planes are joined
// in the order of the planes, so they do not depend on the number of threads.
#include "ucm/affinity.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "ucm/threads.h"

namespace pyadx::ucm {
namespace {

struct Step {
  int64_t z, y, x;
  std::vector<std::array<int64_t, 3>> between;  // voxels near the segment, both ends included
  std::array<float, kDirections> cosine;        // |u.n|
};

std::vector<Step> half_neighbourhood(int reach) {
  std::vector<Step> steps;
  for (int64_t z = 0; z <= reach; ++z) {
    for (int64_t y = -reach; y <= reach; ++y) {
      for (int64_t x = -reach; x <= reach; ++x) {
        if (z == 0 && (y < 0 || (y == 0 && x <= 0))) continue;
        Step step{z, y, x, {}, {}};
        const int64_t samples = std::max({z, std::abs(y), std::abs(x)});
        for (int64_t i = 0; i <= samples; ++i) {
          const double t = static_cast<double>(i) / static_cast<double>(samples);
          step.between.push_back({std::llround(t * static_cast<double>(z)),
                                  std::llround(t * static_cast<double>(y)),
                                  std::llround(t * static_cast<double>(x))});
        }
        const double length = std::sqrt(static_cast<double>(z * z + y * y + x * x));
        for (size_t n = 0; n < kDirections; ++n) {
          const Direction& d = directions()[n];
          step.cosine[n] = static_cast<float>(std::abs(static_cast<double>(z) * d.z +
                                                       static_cast<double>(y) * d.y +
                                                       static_cast<double>(x) * d.x) /
                                              length);
        }
        steps.push_back(step);
      }
    }
  }
  return steps;
}

void plane(const AffinityInput& input, const Shape& shape, const std::vector<Step>& steps,
           int64_t z, Affinities& found) {
  for (int64_t y = 0; y < shape.height; ++y) {
    for (int64_t x = 0; x < shape.width; ++x) {
      const int64_t voxel = (z * shape.height + y) * shape.width + x;
      if (input.number[voxel] < 0) continue;
      for (const Step& step : steps) {
        const int64_t tz = z + step.z, ty = y + step.y, tx = x + step.x;
        if (tz >= shape.depth || ty < 0 || ty >= shape.height || tx < 0 || tx >= shape.width)
          continue;
        const int64_t other = (tz * shape.height + ty) * shape.width + tx;
        if (input.number[other] < 0) continue;
        float highest = 0.0f;
        for (const auto& s : step.between) {
          const int64_t at = voxel + (s[0] * shape.height + s[1]) * shape.width + s[2];
          highest = std::max(highest, step.cosine[input.direction[at]] * input.strength[at]);
        }
        found.pairs.push_back(input.number[voxel]);
        found.pairs.push_back(input.number[other]);
        found.weight.push_back(
            static_cast<float>(std::exp(-static_cast<double>(highest) / input.scale)));
      }
    }
  }
}

}  // namespace

Affinities affinities(const AffinityInput& input, const Shape& shape, int threads,
                      const Progress& progress) {
  const std::vector<Step> steps = half_neighbourhood(input.reach);
  std::vector<Affinities> planes(static_cast<size_t>(shape.depth));
  for_chunks(shape.depth, threads, progress,
             [&](int64_t z) { plane(input, shape, steps, z, planes[static_cast<size_t>(z)]); });
  Affinities all;
  for (Affinities& part : planes) {
    all.pairs.insert(all.pairs.end(), part.pairs.begin(), part.pairs.end());
    all.weight.insert(all.weight.end(), part.weight.begin(), part.weight.end());
    part = Affinities();
  }
  return all;
}

}  // namespace pyadx::ucm
