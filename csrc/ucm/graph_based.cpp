// Regions are sets of a union-find forest; edges between the same two sets are kept once per level.
#include "ucm/graph_based.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

namespace pyadx::ucm {
namespace {

struct Link {
  double weight;
  int32_t lo, hi;  // largest leaf of either set
  int32_t a, b;    // the two sets at the beginning of the level

  bool operator<(const Link& other) const {
    return std::tie(weight, lo, hi) < std::tie(other.weight, other.lo, other.hi);
  }
};

class Forest {
 public:
  Forest(const std::vector<int64_t>& size, std::vector<int64_t> histogram, int64_t bins,
         const Progress& progress)
      : size_(size),
        histogram_(std::move(histogram)),
        bins_(static_cast<size_t>(bins)),
        progress_(progress) {
    const size_t count = size.size();
    for (size_t i = 0; i < count; ++i) {
      root_.push_back(static_cast<int32_t>(i));
      node_.push_back(static_cast<int32_t>(i));
      largest_.push_back(static_cast<int32_t>(i));
    }
    spread_.assign(count, 0.0);
  }

  int32_t find(int32_t i) {
    while (root_[at(i)] != i) {
      root_[at(i)] = root_[at(root_[at(i)])];
      i = root_[at(i)];
    }
    return i;
  }

  double distance(int32_t a, int32_t b) const {
    if (largest_[at(a)] > largest_[at(b)]) std::swap(a, b);  // so that rounding is symmetric
    const double na = static_cast<double>(size_[at(a)]);
    const double nb = static_cast<double>(size_[at(b)]);
    double sum = 0.0;
    for (size_t i = 0; i < bins_; ++i) {
      const double p = static_cast<double>(histogram_[at(a) * bins_ + i]) / na;
      const double q = static_cast<double>(histogram_[at(b) * bins_ + i]) / nb;
      if (p + q > 0.0) sum += (p - q) * (p - q) / (p + q);
    }
    return 0.5 * sum;
  }

  Link link(int32_t a, int32_t b) const {
    const auto [lo, hi] = std::minmax({largest_[at(a)], largest_[at(b)]});
    return {distance(a, b), lo, hi, a, b};
  }

  bool alike(int32_t a, int32_t b, double weight, double constant) const {
    return weight <= spread_[at(a)] + constant / static_cast<double>(size_[at(a)]) &&
           weight <= spread_[at(b)] + constant / static_cast<double>(size_[at(b)]);
  }

  bool below(int32_t a, double size) const { return static_cast<double>(size_[at(a)]) < size; }

  void join(int32_t a, int32_t b, double weight, double altitude) {
    if (size_[at(a)] < size_[at(b)]) std::swap(a, b);
    root_[at(b)] = a;
    size_[at(a)] += size_[at(b)];
    for (size_t i = 0; i < bins_; ++i)
      histogram_[at(a) * bins_ + i] += histogram_[at(b) * bins_ + i];
    largest_[at(a)] = std::max(largest_[at(a)], largest_[at(b)]);
    spread_[at(a)] = std::max(std::max(spread_[at(a)], spread_[at(b)]), weight);
    const auto node = static_cast<int32_t>(root_.size() + merges_.size());
    merges_.push_back(
        {std::min(node_[at(a)], node_[at(b)]), std::max(node_[at(a)], node_[at(b)]), altitude});
    node_[at(a)] = node;
    if ((merges_.size() & 0xff) == 0) {
      report(progress_, static_cast<double>(merges_.size()) / static_cast<double>(root_.size()));
    }
  }

  void forget_spread() { std::fill(spread_.begin(), spread_.end(), 0.0); }

  std::vector<Merge> finish() {
    std::vector<std::pair<int32_t, int32_t>> left;  // largest leaf, set
    for (size_t i = 0; i < root_.size(); ++i) {
      if (root_[i] == static_cast<int32_t>(i))
        left.emplace_back(largest_[i], static_cast<int32_t>(i));
    }
    std::sort(left.begin(), left.end());
    for (size_t i = 1; i < left.size(); ++i) {
      join(find(left[0].second), left[i].second, 0.0, std::numeric_limits<double>::infinity());
    }
    return std::move(merges_);
  }

 private:
  static size_t at(int32_t i) { return static_cast<size_t>(i); }

  std::vector<int64_t> size_, histogram_;
  size_t bins_;
  const Progress& progress_;
  std::vector<int32_t> root_, node_, largest_;
  std::vector<double> spread_;  // largest weight in the minimum spanning tree of a set
  std::vector<Merge> merges_;
};

// The edges between different sets, each once, lightest first.
std::vector<Link> links_of(Forest& forest, const std::vector<std::pair<int32_t, int32_t>>& pairs) {
  std::vector<std::pair<int32_t, int32_t>> sets;
  for (const auto& [a, b] : pairs) {
    const auto ends = std::minmax({forest.find(a), forest.find(b)});
    if (ends.first != ends.second) sets.push_back(ends);
  }
  std::sort(sets.begin(), sets.end());
  sets.erase(std::unique(sets.begin(), sets.end()), sets.end());
  std::vector<Link> links;
  links.reserve(sets.size());
  for (const auto& [a, b] : sets) links.push_back(forest.link(a, b));
  std::sort(links.begin(), links.end());
  return links;
}

}  // namespace

std::vector<Merge> merge_graph_based(const std::vector<Edge>& edges,
                                     const std::vector<int64_t>& size,
                                     std::vector<int64_t> histogram, int64_t bins,
                                     const GraphBasedOptions& options, const Progress& progress) {
  Forest forest(size, std::move(histogram), bins, progress);
  std::vector<std::pair<int32_t, int32_t>> pairs;
  for (const Edge& edge : edges) pairs.emplace_back(edge.lo, edge.hi);
  double constant = options.constant;
  double min_size = options.min_size;
  for (double level = 1.0; !pairs.empty(); level += 1.0) {
    report(progress, 0.5);
    const std::vector<Link> links = links_of(forest, pairs);
    forest.forget_spread();
    for (const Link& link : links) {
      const int32_t a = forest.find(link.a);
      const int32_t b = forest.find(link.b);
      if (a != b && forest.alike(a, b, link.weight, constant))
        forest.join(a, b, link.weight, level);
    }
    for (const Link& link : links) {
      const int32_t a = forest.find(link.a);
      const int32_t b = forest.find(link.b);
      if (a != b && (forest.below(a, min_size) || forest.below(b, min_size))) {
        forest.join(a, b, link.weight, level);
      }
    }
    pairs.clear();
    for (const Link& link : links) {
      if (forest.find(link.a) != forest.find(link.b)) pairs.emplace_back(link.a, link.b);
    }
    constant *= options.constant_growth;
    min_size *= options.size_growth;
  }
  return forest.finish();
}

}  // namespace pyadx::ucm
