// While basins are found, labels[v] holds the voxel that v flows to; a minimum flows to itself.
#include "ucm/watershed.h"

#include <vector>

#include "ucm/threads.h"

namespace pyadx::ucm {
namespace {

constexpr int32_t kOutside = -1;
constexpr int32_t kUnset = -2;
constexpr int32_t kFirstBasin = -3;  // basin k is written as kFirstBasin - k until all are known

struct Position {
  int64_t z, y, x;
};

Position position(const Shape& shape, int64_t voxel) {
  return {voxel / shape.plane(), voxel / shape.width % shape.height, voxel % shape.width};
}

void flow_to_lowest_neighbour(const uint16_t* relief, const uint8_t* mask, const Shape& shape,
                              int64_t z, int32_t* labels) {
  for (int64_t y = 0; y < shape.height; ++y) {
    for (int64_t x = 0; x < shape.width; ++x) {
      const int64_t voxel = (z * shape.height + y) * shape.width + x;
      if (!mask[voxel]) {
        labels[voxel] = kOutside;
        continue;
      }
      uint16_t lowest = relief[voxel];
      int32_t target = kUnset;
      for_neighbours(shape, z, y, x, [&](int64_t neighbour, int) {
        if (mask[neighbour] && relief[neighbour] < lowest) {
          lowest = relief[neighbour];
          target = static_cast<int32_t>(neighbour);
        }
      });
      labels[voxel] = target;
    }
  }
}

// Calls visit for the neighbours of a voxel that are unset and of the same height.
template <typename Visit>
void for_unset_level(const uint16_t* relief, const Shape& shape, const int32_t* labels,
                     int64_t voxel, Visit&& visit) {
  const Position p = position(shape, voxel);
  for_neighbours(shape, p.z, p.y, p.x, [&](int64_t neighbour, int) {
    if (labels[neighbour] == kUnset && relief[neighbour] == relief[voxel]) visit(neighbour);
  });
}

class Poll {
 public:
  explicit Poll(const Progress& progress) : progress_(progress) {}
  void operator()() {
    if ((++count_ & 0xffff) == 0) report(progress_, 0.5);
  }

 private:
  const Progress& progress_;
  uint32_t count_ = 0;
};

// Voxels of a plateau drain, breadth first, to the nearest of its voxels that has a lower
// neighbour.
void drain_plateaus(const uint16_t* relief, const Shape& shape, const Progress& progress,
                    int32_t* labels) {
  Poll poll(progress);
  std::vector<int32_t> queue;
  for (int64_t voxel = 0; voxel < shape.size(); ++voxel) {
    poll();
    if (labels[voxel] < 0) continue;
    bool outlet = false;
    for_unset_level(relief, shape, labels, voxel, [&](int64_t) { outlet = true; });
    if (outlet) queue.push_back(static_cast<int32_t>(voxel));
  }
  for (size_t head = 0; head < queue.size(); ++head) {
    poll();
    const int32_t voxel = queue[head];
    for_unset_level(relief, shape, labels, voxel, [&](int64_t neighbour) {
      labels[neighbour] = voxel;
      queue.push_back(static_cast<int32_t>(neighbour));
    });
  }
}

// Voxels that are still unset form the minima. Each minimum flows to its first voxel.
void flood_minima(const uint16_t* relief, const Shape& shape, const Progress& progress,
                  int32_t* labels) {
  Poll poll(progress);
  std::vector<int32_t> stack;
  for (int64_t voxel = 0; voxel < shape.size(); ++voxel) {
    poll();
    if (labels[voxel] != kUnset) continue;
    const int32_t root = static_cast<int32_t>(voxel);
    labels[voxel] = root;
    stack.assign(1, root);
    while (!stack.empty()) {
      poll();
      const int32_t from = stack.back();
      stack.pop_back();
      for_unset_level(relief, shape, labels, from, [&](int64_t neighbour) {
        labels[neighbour] = root;
        stack.push_back(static_cast<int32_t>(neighbour));
      });
    }
  }
}

void follow_to_minima(const Shape& shape, const Progress& progress, int32_t* labels) {
  Poll poll(progress);
  for (int64_t voxel = 0; voxel < shape.size(); ++voxel) {
    poll();
    if (labels[voxel] < 0) continue;
    int32_t root = labels[voxel];
    while (labels[root] != root) root = labels[root];
    for (int32_t at = static_cast<int32_t>(voxel); labels[at] != root;) {
      const int32_t next = labels[at];
      labels[at] = root;
      at = next;
    }
  }
}

int32_t number_basins(const Shape& shape, int32_t* labels) {
  int32_t basins = 0;
  for (int64_t voxel = 0; voxel < shape.size(); ++voxel) {
    if (labels[voxel] == voxel) labels[voxel] = kFirstBasin - basins++;
  }
  for (int64_t voxel = 0; voxel < shape.size(); ++voxel) {
    if (labels[voxel] >= 0) labels[voxel] = labels[labels[voxel]];
  }
  for (int64_t voxel = 0; voxel < shape.size(); ++voxel) {
    if (labels[voxel] != kOutside) labels[voxel] = kFirstBasin - labels[voxel];
  }
  return basins;
}

}  // namespace

int32_t watershed(const uint16_t* relief, const uint8_t* mask, const Shape& shape, int threads,
                  const Progress& progress, int32_t* labels) {
  for_chunks(shape.depth, threads, progress,
             [&](int64_t z) { flow_to_lowest_neighbour(relief, mask, shape, z, labels); });
  drain_plateaus(relief, shape, progress, labels);
  flood_minima(relief, shape, progress, labels);
  follow_to_minima(shape, progress, labels);
  return number_basins(shape, labels);
}

}  // namespace pyadx::ucm
