// The torch-free core without Python: for sanitizers, which want a program of their own.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <stdexcept>
#include <thread>

#include "ucm/affinity.h"
#include "ucm/chi_square.h"
#include "ucm/edge_table.h"
#include "ucm/gradient.h"
#include "ucm/graph_based.h"
#include "ucm/merge_tree.h"
#include "ucm/region_graph.h"
#include "ucm/threads.h"
#include "ucm/tree.h"
#include "ucm/watershed.h"

using namespace pyadx::ucm;

namespace {

struct Segmentation {
  Shape shape;
  std::vector<uint16_t> relief;
  std::vector<uint8_t> mask;
  std::vector<int32_t> labels;
  int32_t basins = 0;
  std::vector<Edge> edges;
  Regions regions;
};

Segmentation segment(Shape shape, unsigned seed, int heights, int threads) {
  Segmentation s{shape, {}, {}, {}, 0, {}, {}};
  std::mt19937 random(seed);
  for (int64_t i = 0; i < shape.size(); ++i) {
    s.relief.push_back(static_cast<uint16_t>(random() % static_cast<unsigned>(heights)));
    s.mask.push_back(random() % 8 != 0);
  }
  s.labels.resize(s.relief.size());
  s.basins = watershed(s.relief.data(), s.mask.data(), shape, threads, {}, s.labels.data());
  const FaceWeights faces{{1, 1, 1}, nullptr, {}};
  s.edges = region_graph(s.relief.data(), s.labels.data(), shape, faces, threads, {});
  s.regions.size.assign(static_cast<size_t>(s.basins), 0);
  s.regions.intensity.assign(static_cast<size_t>(s.basins), 0);
  for (size_t i = 0; i < s.labels.size(); ++i) {
    if (s.labels[i] < 0) continue;
    ++s.regions.size[static_cast<size_t>(s.labels[i])];
    s.regions.intensity[static_cast<size_t>(s.labels[i])] += s.relief[i];
  }
  return s;
}

std::vector<int64_t> histograms(const Segmentation& s, int64_t bins) {
  std::vector<int64_t> counts(s.regions.size.size() * static_cast<size_t>(bins), 0);
  for (size_t i = 0; i < s.labels.size(); ++i) {
    if (s.labels[i] >= 0) ++counts[static_cast<size_t>(s.labels[i] * bins + s.relief[i] % bins)];
  }
  return counts;
}

}  // namespace

TEST_CASE("watershed labels the mask and nothing else, whatever the shape and the threads") {
  for (const Shape shape : {Shape{1, 1, 1}, Shape{1, 9, 1}, Shape{7, 8, 9}, Shape{33, 5, 6}}) {
    for (const int heights : {1, 3, 60000}) {
      const Segmentation one = segment(shape, 1, heights, 1), many = segment(shape, 1, heights, 4);
      CHECK(one.labels == many.labels);
      std::set<int32_t> used;
      for (size_t i = 0; i < one.labels.size(); ++i) {
        CHECK((one.labels[i] >= 0) == (one.mask[i] != 0));
        if (one.labels[i] >= 0) used.insert(one.labels[i]);
      }
      CHECK(used.size() == static_cast<size_t>(one.basins));
      CHECK((used.empty() || *used.rbegin() == one.basins - 1));
    }
  }
}

TEST_CASE("region graphs are sorted and do not depend on threads") {
  const Segmentation one = segment({40, 9, 8}, 2, 50, 1), many = segment({40, 9, 8}, 2, 50, 5);
  REQUIRE(one.edges.size() == many.edges.size());
  REQUIRE(one.edges.size() > 100);
  for (size_t i = 0; i < one.edges.size(); ++i) {
    CHECK(one.edges[i].sum == many.edges[i].sum);
    CHECK(one.edges[i].weight == many.edges[i].weight);
    CHECK(one.edges[i].lo < one.edges[i].hi);
  }
}

TEST_CASE("every linkage gives a tree with rising altitudes, in depth-first order") {
  const Segmentation s = segment({14, 13, 12}, 3, 500, 2);
  std::vector<std::vector<Merge>> trees;
  for (const Linkage linkage : {Linkage::kBoundary, Linkage::kWard, Linkage::kHybrid}) {
    MergeOptions options;
    options.linkage = linkage;
    options.min_size = 6;
    trees.push_back(merge_regions(s.edges, s.regions, options, {}));
  }
  trees.push_back(merge_graph_based(s.edges, s.regions.size, histograms(s, 7), 7, {}, {}));
  for (const std::vector<Merge>& merges : trees) {
    REQUIRE(merges.size() == s.regions.size.size() - 1);
    for (size_t k = 1; k < merges.size(); ++k) CHECK(merges[k].altitude >= merges[k - 1].altitude);
    const Tree tree = depth_first(merges, s.regions.size);
    const size_t leaves = s.regions.size.size();
    std::set<int32_t> positions(tree.position.begin(), tree.position.end());
    CHECK(positions.size() == leaves);
    for (size_t node = 0; node < tree.parent.size(); ++node) {
      const auto parent = static_cast<size_t>(tree.parent[node]);
      CHECK(tree.first[parent] <= tree.first[node]);
      CHECK(tree.last[node] <= tree.last[parent]);
      CHECK(tree.area[node] <= tree.area[parent]);
    }
    CHECK(tree.last.back() == static_cast<int32_t>(leaves));
  }
}

TEST_CASE("regions that nothing connects are joined last") {
  const Regions regions{{3, 4, 5}, {0, 0, 0}};
  const std::vector<Merge> merges =
      merge_regions({{0, 2, 8, 2}}, regions, {Linkage::kBoundary, 0, 1, 1}, {});
  REQUIRE(merges.size() == 2);
  CHECK(merges[0].altitude == 4.0);
  CHECK(std::isinf(merges[1].altitude));
  CHECK(merge_regions({}, {}, {}, {}).empty());
  CHECK(merge_regions({}, {{1}, {0}}, {}, {}).empty());
}

TEST_CASE("the edge table remembers, forgets and grows") {
  EdgeTable table(4);
  std::mt19937 random(4);
  std::set<std::pair<int32_t, int32_t>> held;
  for (int i = 0; i < 20000; ++i) {
    auto a = static_cast<int32_t>(random() % 60), b = static_cast<int32_t>(random() % 60);
    if (a > b) std::swap(a, b);
    if (random() % 3 == 0) {
      table.erase(a, b);
      held.erase({a, b});
    } else {
      CHECK(table.insert(b, a, a * 60 + b).second == held.insert({a, b}).second);
    }
  }
  for (const auto& [a, b] : held) CHECK(table.insert(a, b, -7).first == a * 60 + b);
}

TEST_CASE("cues stay within the volume and do not depend on threads") {
  const Shape shape{6, 7, 8};
  std::mt19937 random(5);
  std::vector<uint8_t> bins, mask;
  std::vector<float> volume;
  std::vector<int32_t> number;
  for (int64_t i = 0; i < shape.size(); ++i) {
    bins.push_back(static_cast<uint8_t>(random() % 11));
    mask.push_back(bins.back() != kOutsideBin);
    volume.push_back(static_cast<float>(random() % 100));
    number.push_back(mask.back() ? static_cast<int32_t>(i) : -1);
  }
  const double spacing[3] = {1.0, 2.0, 1.5};
  std::vector<float> strength[2], magnitude[2];
  std::vector<uint8_t> direction[2];
  for (int run = 0; run < 2; ++run) {
    strength[run].resize(bins.size());
    direction[run].resize(bins.size());
    magnitude[run].resize(bins.size());
    const int threads = 1 + 3 * run;
    chi_square(bins.data(), shape, spacing, {1.0, 2.5, 9.0}, threads, {}, strength[run].data(),
               direction[run].data());
    gradient(volume.data(), mask.data(), shape, spacing, threads, {}, magnitude[run].data());
  }
  CHECK(strength[0] == strength[1]);
  CHECK(direction[0] == direction[1]);
  CHECK(magnitude[0] == magnitude[1]);
  const AffinityInput input{strength[0].data(), direction[0].data(), number.data(), 2, 0.1};
  const Affinities one = affinities(input, shape, 1, {}), many = affinities(input, shape, 4, {});
  CHECK(one.pairs == many.pairs);
  CHECK(one.weight == many.weight);
  CHECK(one.pairs.size() == 2 * one.weight.size());
}

TEST_CASE("chunks are all done once; cancelling and failing stop the others and arrive") {
  std::vector<std::atomic<int>> done(1000);
  for_chunks(1000, 4, {}, [&](int64_t i) { ++done[static_cast<size_t>(i)]; });
  for (const std::atomic<int>& count : done) CHECK(count == 1);
  for_chunks(0, 4, {}, [&](int64_t) { CHECK(false); });
  // Slow enough for the calling thread, which asks, to get a chunk of its own.
  const auto slow = [](int64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); };
  CHECK_THROWS_AS(for_chunks(1000, 4, [](double) { return false; }, slow), Cancelled);
  CHECK_THROWS_AS(for_chunks(1000, 4, {},
                             [](int64_t i) {
                               if (i == 500) throw std::runtime_error("chunk");
                             }),
                  std::runtime_error);
  int polls = 0;
  const Progress stop = [&](double) { return ++polls < 3; };
  const Segmentation s = segment({20, 20, 20}, 6, 60000, 1);
  CHECK_THROWS_AS(merge_regions(s.edges, s.regions, {}, stop), Cancelled);
}
