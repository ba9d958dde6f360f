// Every slab of planes fills its own table; tables are merged in the order of the slabs.
#include "ucm/region_graph.h"

#include <algorithm>

#include "ucm/edge_table.h"
#include "ucm/threads.h"

namespace pyadx::ucm {
namespace {

constexpr int64_t kPlanesPerSlab = 8;

// Sorts edges by (lo, hi): into one bucket per lo, and the few edges of a bucket by hi.
std::vector<Edge> in_order(const std::vector<Edge>& edges) {
  int32_t regions = 0;
  for (const Edge& edge : edges) regions = std::max(regions, edge.lo + 1);
  std::vector<size_t> start(static_cast<size_t>(regions) + 1, 0);
  for (const Edge& edge : edges) ++start[static_cast<size_t>(edge.lo) + 1];
  for (size_t i = 1; i < start.size(); ++i) start[i] += start[i - 1];
  std::vector<Edge> sorted(edges.size());
  std::vector<size_t> next(start.begin(), start.end() - 1);
  for (const Edge& edge : edges) sorted[next[static_cast<size_t>(edge.lo)]++] = edge;
  for (size_t i = 0; i + 1 < start.size(); ++i) {
    std::sort(sorted.begin() + static_cast<std::ptrdiff_t>(start[i]),
              sorted.begin() + static_cast<std::ptrdiff_t>(start[i + 1]),
              [](const Edge& a, const Edge& b) { return a.hi < b.hi; });
  }
  return sorted;
}

struct EdgeSums {
  EdgeTable table;
  std::vector<Edge> edges;

  void add(int32_t a, int32_t b, int64_t sum, int64_t weight) {
    const auto [index, fresh] = table.insert(a, b, static_cast<int32_t>(edges.size()));
    if (fresh) {
      edges.push_back({std::min(a, b), std::max(a, b), sum, weight});
    } else {
      edges[static_cast<size_t>(index)].sum += sum;
      edges[static_cast<size_t>(index)].weight += weight;
    }
  }
};

class Scan {
 public:
  Scan(const uint16_t* relief, const int32_t* labels, const Shape& shape, const FaceWeights& faces)
      : relief_(relief), labels_(labels), shape_(shape), faces_(faces) {}

  // Faces from the voxels of one plane to their neighbours at +x, +y and +z.
  void plane(int64_t z, EdgeSums& found) const {
    for (int64_t y = 0; y < shape_.height; ++y) {
      for (int64_t x = 0; x < shape_.width; ++x) {
        const int64_t voxel = (z * shape_.height + y) * shape_.width + x;
        if (labels_[voxel] < 0) continue;
        if (x + 1 < shape_.width) face(voxel, voxel + 1, 2, found);
        if (y + 1 < shape_.height) face(voxel, voxel + shape_.width, 1, found);
        if (z + 1 < shape_.depth) face(voxel, voxel + shape_.plane(), 0, found);
      }
    }
  }

 private:
  void face(int64_t p, int64_t q, int axis, EdgeSums& found) const {
    if (labels_[q] < 0 || labels_[p] == labels_[q]) return;
    const int64_t area = faces_.area[axis];
    if (faces_.direction == nullptr) {
      found.add(labels_[p], labels_[q], area * (int64_t{relief_[p]} + relief_[q]), 2 * area);
      return;
    }
    const std::vector<int64_t>& cosine = faces_.cosine[axis];
    const int64_t sum =
        relief_[p] * cosine[faces_.direction[p]] + relief_[q] * cosine[faces_.direction[q]];
    found.add(labels_[p], labels_[q], area * sum, 2 * faces_.unit * area);
  }

  const uint16_t* relief_;
  const int32_t* labels_;
  const Shape& shape_;
  const FaceWeights& faces_;
};

}  // namespace

std::vector<Edge> region_graph(const uint16_t* relief, const int32_t* labels, const Shape& shape,
                               const FaceWeights& faces, int threads, const Progress& progress) {
  const Scan scan(relief, labels, shape, faces);
  const int64_t slabs = (shape.depth + kPlanesPerSlab - 1) / kPlanesPerSlab;
  // A single thread fills a single table. All sums are integers, so the result is the same.
  std::vector<EdgeSums> parts(threads == 1 ? 1 : static_cast<size_t>(slabs));
  for_chunks(slabs, threads, progress, [&](int64_t slab) {
    const int64_t end = std::min((slab + 1) * kPlanesPerSlab, shape.depth);
    EdgeSums& part = parts[threads == 1 ? 0 : static_cast<size_t>(slab)];
    for (int64_t z = slab * kPlanesPerSlab; z < end; ++z) scan.plane(z, part);
  });
  if (parts.size() == 1) return in_order(parts[0].edges);
  EdgeSums all;
  for (EdgeSums& part : parts) {
    for (const Edge& edge : part.edges) all.add(edge.lo, edge.hi, edge.sum, edge.weight);
    part = EdgeSums();
  }
  return in_order(all.edges);
}

}  // namespace pyadx::ucm
