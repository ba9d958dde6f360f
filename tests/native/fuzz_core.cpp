// The segmentation core under libFuzzer with ASan and UBSan: `make fuzz-native`.
//
// Bytes say the shape, options, relief and mask of a small volume; every stage runs on it, and what
// must hold of its result is checked.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "ucm/gradient.h"
#include "ucm/graph_based.h"
#include "ucm/merge_tree.h"
#include "ucm/region_graph.h"
#include "ucm/tree.h"
#include "ucm/watershed.h"

using namespace pyadx::ucm;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  // The bytes over and over, so that short inputs make whole volumes.
  uint8_t next() { return size_ == 0 ? uint8_t{0} : data_[at_++ % size_]; }

 private:
  const uint8_t* data_;
  size_t size_, at_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes bytes(data, size);
  const Shape shape{1 + bytes.next() % 9, 1 + bytes.next() % 9, 1 + bytes.next() % 9};
  const int threads = 1 + bytes.next() % 3;
  const uint8_t options_byte = bytes.next();
  const auto voxels = static_cast<size_t>(shape.size());
  std::vector<uint16_t> relief(voxels);
  std::vector<uint8_t> mask(voxels);
  for (size_t i = 0; i < voxels; ++i) {
    const uint8_t value = bytes.next();
    relief[i] = static_cast<uint16_t>(value * (options_byte & 1 ? 257 : 1));
    mask[i] = (options_byte & 2) != 0 || value % 5 != 0;
  }
  std::vector<int32_t> labels(voxels);
  const int32_t basins = watershed(relief.data(), mask.data(), shape, threads, {}, labels.data());
  Regions regions;
  regions.size.assign(static_cast<size_t>(basins), 0);
  regions.intensity.assign(static_cast<size_t>(basins), 0);
  for (size_t i = 0; i < voxels; ++i) {
    require((labels[i] >= 0) == (mask[i] != 0) && labels[i] < basins);
    if (labels[i] < 0) continue;
    ++regions.size[static_cast<size_t>(labels[i])];
    regions.intensity[static_cast<size_t>(labels[i])] += relief[i];
  }
  const FaceWeights faces{{1, 1, 1}, nullptr, {}};
  const std::vector<Edge> edges =
      region_graph(relief.data(), labels.data(), shape, faces, threads, {});
  std::vector<Merge> merges;
  if (options_byte % 4 == 3) {
    std::vector<int64_t> counts(regions.size.size() * 4, 0);
    for (size_t i = 0; i < voxels; ++i) {
      if (labels[i] >= 0) ++counts[static_cast<size_t>(labels[i]) * 4 + relief[i] % 4];
    }
    merges = merge_graph_based(edges, regions.size, counts, 4, {}, {});
  } else {
    MergeOptions options;
    const Linkage linkages[] = {Linkage::kBoundary, Linkage::kWard, Linkage::kHybrid};
    options.linkage = linkages[options_byte % 4];
    options.min_size = bytes.next() % 12;
    merges = merge_regions(edges, regions, options, {});
  }
  if (basins == 0) return 0;
  require(merges.size() + 1 == regions.size.size());
  for (size_t k = 1; k < merges.size(); ++k) {
    require(!(merges[k].altitude < merges[k - 1].altitude));
  }
  depth_first(merges, regions.size);
  return 0;
}
