// All 26 half balls are counted at once. Every voxel of the ball has a vector of 0s and 1s, one per
// half ball that may contain it. This vector is added to the counters of the voxel's bin.
#include "ucm/chi_square.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/vector_clones.h"
#include "ucm/threads.h"

namespace pyadx::ucm {
namespace {

constexpr int kLanes = 16;  // directions, rounded up to whole vectors
constexpr int kCounters = 2 * kLanes;
constexpr double kPi = 3.14159265358979323846;

// The ball in the form that the inner loop reads.
struct Table {
  std::vector<int64_t> offset;   // of each voxel from the centre, in memory
  std::vector<uint16_t> halves;  // [voxels, kCounters]: d.n > 0, then d.n < 0
  std::vector<size_t> ends;      // number of voxels within each radius
};

struct Row {
  const uint8_t* bin;  // of the first voxel of the row, in the padded volume
  int64_t width;
  const Table* ball;
  float* strength;
  uint8_t* direction;
};

PYADX_VECTOR_CLONES void chi_square_row(const Row& row) {
  const Table& ball = *row.ball;
  for (int64_t x = 0; x < row.width; ++x) {
    if (row.bin[x] == kOutsideBin) {
      row.strength[x] = 0.0f;
      row.direction[x] = 0;
      continue;
    }
    alignas(64) uint16_t count[kBins + 1][kCounters];
    alignas(64) float total[kLanes];
    std::memset(count, 0, sizeof(count));
    for (int i = 0; i < kLanes; ++i) total[i] = 0.0f;
    size_t begin = 0;
    for (const size_t end : ball.ends) {
      for (size_t i = begin; i < end; ++i) {
        uint16_t* counters = count[row.bin[x + ball.offset[i]]];
        const uint16_t* halves = &ball.halves[i * kCounters];
        for (int lane = 0; lane < kCounters; ++lane) {
          counters[lane] = static_cast<uint16_t>(counters[lane] + halves[lane]);
        }
      }
      begin = end;
      alignas(64) float sums[kCounters];
      alignas(64) float distance[kLanes];
      for (int lane = 0; lane < kCounters; ++lane) {
        int sum = 0;
        for (int bin = 0; bin < kBins; ++bin) sum += count[bin][lane];
        sums[lane] = static_cast<float>(sum);
      }
      for (int lane = 0; lane < kLanes; ++lane) distance[lane] = 0.0f;
      for (int bin = 0; bin < kBins; ++bin) {
        for (int lane = 0; lane < kLanes; ++lane) {
          // With p of np and q of nq counts, h+ = p / np and h- = q / nq. All is multiplied by np
          // nq here, so that a bin takes one division. Where both counts are 0, so is the result.
          const float p = static_cast<float>(count[bin][lane]) * sums[kLanes + lane];
          const float q = static_cast<float>(count[bin][kLanes + lane]) * sums[lane];
          distance[lane] += (p - q) * (p - q) / std::max(p + q, 1.0f);
        }
      }
      for (int lane = 0; lane < kLanes; ++lane) {
        total[lane] += 0.5f * distance[lane] / std::max(sums[lane] * sums[kLanes + lane], 1.0f);
      }
    }
    int best = 0;
    for (int lane = 1; lane < kDirections; ++lane) {
      if (total[lane] > total[best]) best = lane;
    }
    row.strength[x] = total[best];
    row.direction[x] = static_cast<uint8_t>(best);
  }
}

}  // namespace

const std::vector<Direction>& directions() {
  static const std::vector<Direction> all = [] {
    std::vector<Direction> found;
    for (int polar = 1; polar <= 3; ++polar) {
      for (int azimuth = 0; azimuth < 4; ++azimuth) {
        const double theta = polar * kPi / 4, phi = azimuth * kPi / 4;
        found.push_back(
            {std::cos(theta), std::sin(theta) * std::sin(phi), std::sin(theta) * std::cos(phi)});
      }
    }
    found.push_back({1.0, 0.0, 0.0});
    return found;
  }();
  return all;
}

Ball make_ball(const double spacing[3], const std::vector<double>& radii) {
  Ball ball;
  for (int axis = 0; axis < 3; ++axis) {
    ball.reach[axis] = static_cast<int64_t>(std::floor(radii.back() / spacing[axis] + 1e-9));
  }
  for (int64_t z = -ball.reach[0]; z <= ball.reach[0]; ++z) {
    for (int64_t y = -ball.reach[1]; y <= ball.reach[1]; ++y) {
      for (int64_t x = -ball.reach[2]; x <= ball.reach[2]; ++x) {
        const double dz = static_cast<double>(z) * spacing[0],
                     dy = static_cast<double>(y) * spacing[1],
                     dx = static_cast<double>(x) * spacing[2];
        const double distance = std::sqrt(dz * dz + dy * dy + dx * dx);
        if (distance > radii.back() + 1e-9 || (z == 0 && y == 0 && x == 0)) continue;
        BallVoxel voxel{distance, z, y, x, 0};
        for (int n = 0; n < kDirections; ++n) {
          const Direction& d = directions()[static_cast<size_t>(n)];
          const double side = dz * d.z + dy * d.y + dx * d.x;
          if (side > 1e-9) voxel.halves |= 1u << n;
          if (side < -1e-9) voxel.halves |= 1u << (16 + n);
        }
        ball.voxels.push_back(voxel);
      }
    }
  }
  std::stable_sort(ball.voxels.begin(), ball.voxels.end(),
                   [](const BallVoxel& a, const BallVoxel& b) { return a.distance < b.distance; });
  for (const double radius : radii) {
    ball.ends.push_back(
        std::count_if(ball.voxels.begin(), ball.voxels.end(),
                      [&](const BallVoxel& v) { return v.distance <= radius + 1e-9; }));
  }
  return ball;
}

namespace {

Table make_table(const Ball& ball, const Shape& padded) {
  Table table;
  table.ends.assign(ball.ends.begin(), ball.ends.end());
  for (const BallVoxel& v : ball.voxels) {
    table.offset.push_back((v.z * padded.height + v.y) * padded.width + v.x);
    for (int counter = 0; counter < kCounters; ++counter) {
      table.halves.push_back(static_cast<uint16_t>(v.halves >> counter & 1u));
    }
  }
  return table;
}

}  // namespace

void chi_square(const uint8_t* bin, const Shape& shape, const double spacing[3],
                const std::vector<double>& radii, int threads, const Progress& progress,
                float* strength, uint8_t* direction) {
  const Ball ball = make_ball(spacing, radii);
  const int64_t* reach = ball.reach;
  const Shape padded{shape.depth + 2 * reach[0], shape.height + 2 * reach[1],
                     shape.width + 2 * reach[2]};
  std::vector<uint8_t> bins(static_cast<size_t>(padded.size()), static_cast<uint8_t>(kOutsideBin));
  for (int64_t z = 0; z < shape.depth; ++z) {
    for (int64_t y = 0; y < shape.height; ++y) {
      std::memcpy(&bins[static_cast<size_t>(
                      ((z + reach[0]) * padded.height + y + reach[1]) * padded.width + reach[2])],
                  bin + (z * shape.height + y) * shape.width, static_cast<size_t>(shape.width));
    }
  }
  const Table table = make_table(ball, padded);
  for_chunks(shape.depth * shape.height, threads, progress, [&](int64_t line) {
    const int64_t z = line / shape.height, y = line % shape.height;
    const int64_t from = ((z + reach[0]) * padded.height + y + reach[1]) * padded.width + reach[2];
    const int64_t to = line * shape.width;
    chi_square_row(
        {&bins[static_cast<size_t>(from)], shape.width, &table, strength + to, direction + to});
  });
}

}  // namespace pyadx::ucm
