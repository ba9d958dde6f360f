// A binary heap with lazy updates. An entry carries the version of its boundary. If the score of a
// boundary rises, its entry stays, and is pushed again with the new score when it reaches the top.
// If the score falls, the boundary gets a new version and a new entry.
#include "ucm/merge_tree.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <tuple>
#include <utility>

#include "ucm/edge_table.h"

namespace pyadx::ucm {
namespace {

struct Candidate {
  double score;
  int32_t lo, hi;  // largest leaves of the two regions when this was pushed
  int32_t edge;
  uint32_t version;

  bool operator>(const Candidate& other) const {
    return std::tie(score, lo, hi) > std::tie(other.score, other.lo, other.hi);
  }
};

struct Boundary {
  int32_t a, b;
  int64_t sum, weight;
  double queued;  // score of its entry in the heap, at most the current one
  uint32_t version;
  bool alive;
};

struct Region {
  int64_t size, intensity;
  int32_t largest_leaf;
  int32_t node;  // of the tree
  bool alive;
  std::vector<int32_t> boundaries;  // some may be dead
};

class Agglomeration {
 public:
  Agglomeration(const std::vector<Edge>& edges, const Regions& regions, const MergeOptions& options,
                const Progress& progress)
      : options_(options), progress_(progress), table_(edges.size()) {
    regions_.reserve(static_cast<size_t>(regions.count()));
    for (int32_t i = 0; i < regions.count(); ++i) {
      const auto k = static_cast<size_t>(i);
      regions_.push_back({regions.size[k], regions.intensity[k], i, i, true, {}});
    }
    boundaries_.reserve(edges.size());
    for (const Edge& edge : edges) {
      const auto index = static_cast<int32_t>(boundaries_.size());
      boundaries_.push_back({edge.lo, edge.hi, edge.sum, edge.weight, 0.0, 0, true});
      table_.insert(edge.lo, edge.hi, index);
      region(edge.lo).boundaries.push_back(index);
      region(edge.hi).boundaries.push_back(index);
    }
    if (!regions_.empty()) merges_.reserve(regions_.size() - 1);
  }

  std::vector<Merge> run() {
    absorb_small_regions();
    fill_heap();
    double altitude = 0.0;
    while (!heap_.empty()) {
      const Candidate top = heap_.top();
      heap_.pop();
      const Boundary& edge = boundary(top.edge);
      if (!edge.alive || edge.version != top.version) continue;
      const Candidate now = candidate(top.edge);
      if (now > top) {  // its score or largest leaves have risen since: too early
        boundary(top.edge).queued = now.score;
        heap_.push(now);
        continue;
      }
      altitude = std::max(altitude, top.score);
      merge(top.edge, altitude);
    }
    join_components();
    return std::move(merges_);
  }

 private:
  Region& region(int32_t index) { return regions_[static_cast<size_t>(index)]; }
  Boundary& boundary(int32_t index) { return boundaries_[static_cast<size_t>(index)]; }

  std::pair<int32_t, int32_t> leaves_of(const Boundary& edge) {
    return std::minmax({region(edge.a).largest_leaf, region(edge.b).largest_leaf});
  }

  double score(const Boundary& edge) {
    const double strength =
        static_cast<double>(edge.sum) / static_cast<double>(edge.weight) * options_.strength_unit;
    if (options_.linkage == Linkage::kBoundary) return strength;
    // In the order of the leaves, so that rounding does not depend on which region was kept.
    const Region* first = &region(edge.a);
    const Region* second = &region(edge.b);
    if (first->largest_leaf > second->largest_leaf) std::swap(first, second);
    const double a = static_cast<double>(first->size);
    const double b = static_cast<double>(second->size);
    const double difference =
        (static_cast<double>(first->intensity) / a - static_cast<double>(second->intensity) / b) *
        options_.intensity_unit;
    const double squared = difference * difference;
    const double mass = a * b / (a + b);
    if (options_.linkage == Linkage::kWard) return squared * mass;
    return (strength * strength + squared) * mass;
  }

  Candidate candidate(int32_t index) {
    const Boundary& edge = boundary(index);
    const auto [lo, hi] = leaves_of(edge);
    return {score(edge), lo, hi, index, edge.version};
  }

  void fill_heap() {
    std::vector<Candidate> all;
    all.reserve(boundaries_.size());
    for (size_t i = 0; i < boundaries_.size(); ++i) {
      if (!boundaries_[i].alive) continue;
      all.push_back(candidate(static_cast<int32_t>(i)));
      boundaries_[i].queued = all.back().score;
    }
    heap_ = decltype(heap_)(std::greater<>(), std::move(all));
    listening_ = true;
  }

  // Called when a boundary has changed: if its score fell below that of its entry, it needs a new
  // entry.
  void renew(int32_t index) {
    if (!listening_) return;
    Boundary& edge = boundary(index);
    const double current = score(edge);
    if (current >= edge.queued) return;
    ++edge.version;
    edge.queued = current;
    heap_.push(candidate(index));
  }

  void absorb_small_regions() {
    using Small = std::tuple<int64_t, int32_t, int32_t>;  // size, largest leaf, region
    std::priority_queue<Small, std::vector<Small>, std::greater<>> small;
    const auto offer = [&](int32_t index) {
      if (region(index).size < options_.min_size) {
        small.emplace(region(index).size, region(index).largest_leaf, index);
      }
    };
    for (size_t i = 0; i < regions_.size(); ++i) offer(static_cast<int32_t>(i));
    while (!small.empty()) {
      const auto [size, leaf, index] = small.top();
      small.pop();
      const Region& own = region(index);
      if (!own.alive || own.size != size || own.largest_leaf != leaf) continue;
      Candidate best{std::numeric_limits<double>::infinity(), 0, 0, -1, 0};
      for (const int32_t i : own.boundaries) {
        if (!boundary(i).alive) continue;
        const auto [lo, hi] = leaves_of(boundary(i));
        const Candidate candidate{score(boundary(i)), lo, hi, i, 0};
        if (best.edge < 0 || best > candidate) best = candidate;
      }
      if (best.edge >= 0) offer(merge(best.edge, 0.0));
    }
  }

  // Merges the two sides of a boundary. The region with the shorter list moves into the other,
  // which is returned.
  int32_t merge(int32_t index, double altitude) {
    int32_t keep = boundary(index).a;
    int32_t gone = boundary(index).b;
    if (region(keep).boundaries.size() < region(gone).boundaries.size()) std::swap(keep, gone);
    boundary(index).alive = false;
    table_.erase(keep, gone);
    Region& into = region(keep);
    Region& from = region(gone);
    record(into, from, altitude);
    into.size += from.size;
    into.intensity += from.intensity;
    into.largest_leaf = std::max(into.largest_leaf, from.largest_leaf);
    from.alive = false;

    const bool every = options_.linkage != Linkage::kBoundary;
    for (const int32_t i : from.boundaries) {
      Boundary& edge = boundary(i);
      if (!edge.alive) continue;
      const int32_t other = edge.a == gone ? edge.b : edge.a;
      table_.erase(gone, other);
      const auto [existing, fresh] = table_.insert(keep, other, i);
      if (fresh) {
        edge.a = keep;
        edge.b = other;
        into.boundaries.push_back(i);
      } else {
        edge.alive = false;
        boundary(existing).sum += edge.sum;
        boundary(existing).weight += edge.weight;
        if (!every) renew(existing);
      }
    }
    from.boundaries = {};
    if (every) {
      size_t kept = 0;
      for (const int32_t i : into.boundaries) {
        if (!boundary(i).alive) continue;
        into.boundaries[kept++] = i;
        renew(i);
      }
      into.boundaries.resize(kept);
    }
    return keep;
  }

  void record(Region& into, const Region& from, double altitude) {
    const auto node = static_cast<int32_t>(regions_.size() + merges_.size());
    merges_.push_back({std::min(into.node, from.node), std::max(into.node, from.node), altitude});
    into.node = node;
    if ((merges_.size() & 0xff) == 0) {
      report(progress_, static_cast<double>(merges_.size()) / static_cast<double>(regions_.size()));
    }
  }

  void join_components() {
    std::vector<std::pair<int32_t, int32_t>> left;  // largest leaf, region
    for (size_t i = 0; i < regions_.size(); ++i) {
      if (regions_[i].alive) left.emplace_back(regions_[i].largest_leaf, static_cast<int32_t>(i));
    }
    std::sort(left.begin(), left.end());
    for (size_t i = 1; i < left.size(); ++i) {
      record(region(left[0].second), region(left[i].second),
             std::numeric_limits<double>::infinity());
    }
  }

  const MergeOptions& options_;
  const Progress& progress_;
  std::vector<Region> regions_;
  std::vector<Boundary> boundaries_;
  EdgeTable table_;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap_;
  std::vector<Merge> merges_;
  bool listening_ = false;  // whether changed boundaries go to the heap
};

}  // namespace

std::vector<Merge> merge_regions(const std::vector<Edge>& edges, const Regions& regions,
                                 const MergeOptions& options, const Progress& progress) {
  return Agglomeration(edges, regions, options, progress).run();
}

}  // namespace pyadx::ucm
