// Functions of pyadx._ucm on region graphs: merging, depth-first order.
#include "bindings/ucm_trees.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "bindings/ucm_arrays.h"
#include "bindings/ucm_progress.h"
#include "ucm/graph_based.h"
#include "ucm/merge_tree.h"
#include "ucm/tree.h"

namespace pyadx::bindings {
namespace {

namespace py = pybind11;

bool any_pair_twice(const std::vector<ucm::Edge>& edges) {
  const auto before = [](const ucm::Edge& a, const ucm::Edge& b) {
    return std::tie(a.lo, a.hi) < std::tie(b.lo, b.hi);
  };
  const auto not_before = [&](const ucm::Edge& a, const ucm::Edge& b) { return !before(a, b); };
  // Edges from region_graph are sorted: no copy is needed to check them.
  if (std::adjacent_find(edges.begin(), edges.end(), not_before) == edges.end()) return false;
  std::vector<ucm::Edge> sorted = edges;
  std::sort(sorted.begin(), sorted.end(), before);
  return std::adjacent_find(sorted.begin(), sorted.end(), not_before) != sorted.end();
}

std::vector<ucm::Edge> edges_from(const Array<int32_t>& pairs, const Array<int64_t>& sums,
                                  const Array<int64_t>& weights, int64_t regions) {
  if (pairs.ndim() != 2 || pairs.shape(1) != 2)
    throw py::value_error("pairs must have shape [E, 2]");
  const int64_t count = pairs.shape(0);
  check_length(sums, count, "sums");
  check_length(weights, count, "weights");
  std::vector<ucm::Edge> edges;
  edges.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int32_t lo = pairs.data()[2 * i], hi = pairs.data()[2 * i + 1];
    if (lo < 0 || lo >= hi || hi >= regions || weights.data()[i] <= 0) {
      throw py::value_error(
          "pairs must be (lo, hi) with 0 <= lo < hi < number of regions, and weights positive");
    }
    edges.push_back({lo, hi, sums.data()[i], weights.data()[i]});
  }
  if (any_pair_twice(edges)) throw py::value_error("pairs must list every pair of regions once");
  return edges;
}

ucm::Regions regions_from(const Array<int64_t>& sizes, const Array<int64_t>& intensities) {
  const int64_t count = sizes.size();
  check_length(sizes, count, "sizes");
  check_length(intensities, count, "intensities");
  if (count > std::numeric_limits<int32_t>::max() / 2)
    throw py::value_error("more than 2^30 - 1 regions are not supported");
  ucm::Regions regions;
  regions.size.assign(sizes.data(), sizes.data() + count);
  regions.intensity.assign(intensities.data(), intensities.data() + count);
  for (const int64_t size : regions.size) {
    if (size <= 0) throw py::value_error("sizes must be positive: every region has a voxel");
  }
  return regions;
}

py::tuple merges_to_numpy(const std::vector<ucm::Merge>& merges) {
  const auto count = static_cast<py::ssize_t>(merges.size());
  Array<int32_t> pairs({count, py::ssize_t{2}});
  Array<double> altitudes(count);
  for (py::ssize_t i = 0; i < count; ++i) {
    const ucm::Merge& merge = merges[static_cast<size_t>(i)];
    pairs.mutable_data()[2 * i] = merge.a;
    pairs.mutable_data()[2 * i + 1] = merge.b;
    altitudes.mutable_data()[i] = merge.altitude;
  }
  return py::make_tuple(pairs, altitudes);
}

py::tuple merge_regions(const Array<int32_t>& pairs, const Array<int64_t>& sums,
                        const Array<int64_t>& weights, const Array<int64_t>& sizes,
                        const Array<int64_t>& intensities, const std::string& linkage,
                        int64_t min_size, double strength_unit, double intensity_unit,
                        py::object progress) {
  ucm::MergeOptions options;
  options.min_size = min_size;
  options.strength_unit = strength_unit;
  options.intensity_unit = intensity_unit;
  if (linkage == "boundary") {
    options.linkage = ucm::Linkage::kBoundary;
  } else if (linkage == "ward") {
    options.linkage = ucm::Linkage::kWard;
  } else if (linkage == "hybrid") {
    options.linkage = ucm::Linkage::kHybrid;
  } else {
    throw py::value_error("linkage must be boundary, ward or hybrid, got " + linkage);
  }
  const ucm::Regions regions = regions_from(sizes, intensities);
  const std::vector<ucm::Edge> edges = edges_from(pairs, sums, weights, regions.count());
  std::vector<ucm::Merge> merges;
  Listener(std::move(progress)).run([&](const ucm::Progress& report) {
    merges = ucm::merge_regions(edges, regions, options, report);
  });
  return merges_to_numpy(merges);
}

py::tuple merge_graph_based(const Array<int32_t>& pairs, const Array<int64_t>& sizes,
                            const Array<int64_t>& histograms, double constant, double min_size,
                            py::object progress) {
  const ucm::Regions regions = regions_from(sizes, sizes);
  const Array<int64_t> ones(pairs.shape(0));
  std::fill_n(const_cast<int64_t*>(ones.data()), ones.size(), 1);
  const std::vector<ucm::Edge> edges = edges_from(pairs, ones, ones, regions.count());
  if (histograms.ndim() != 2 || histograms.shape(0) != regions.count()) {
    throw py::value_error("histograms must have shape [regions, bins]");
  }
  if (!(constant > 0.0)) throw py::value_error("constant must be positive");
  ucm::GraphBasedOptions options;
  options.constant = constant;
  options.min_size = min_size;
  std::vector<int64_t> counts(histograms.data(), histograms.data() + histograms.size());
  const int64_t bins = histograms.shape(1);
  std::vector<ucm::Merge> merges;
  Listener(std::move(progress)).run([&](const ucm::Progress& report) {
    merges = ucm::merge_graph_based(edges, regions.size, std::move(counts), bins, options, report);
  });
  return merges_to_numpy(merges);
}

py::dict depth_first(const Array<int32_t>& pairs, const Array<double>& altitudes,
                     const Array<int64_t>& sizes) {
  const int64_t regions = sizes.size(), count = altitudes.size();
  check_length(altitudes, count, "altitudes");
  if (pairs.ndim() != 2 || pairs.shape(0) != count || pairs.shape(1) != 2 || count != regions - 1) {
    throw py::value_error("R regions need R - 1 merges: pairs [R - 1, 2] and altitudes [R - 1]");
  }
  std::vector<ucm::Merge> merges;
  std::vector<bool> used(static_cast<size_t>(regions + count), false);
  for (int64_t i = 0; i < count; ++i) {
    const int32_t ends[2] = {pairs.data()[2 * i], pairs.data()[2 * i + 1]};
    for (const int32_t node : ends) {
      if (node < 0 || node >= regions + i || used[static_cast<size_t>(node)]) {
        throw py::value_error("pairs must join nodes that exist and were not merged before");
      }
      used[static_cast<size_t>(node)] = true;
    }
    merges.push_back({ends[0], ends[1], altitudes.data()[i]});
  }
  const std::vector<int64_t> size(sizes.data(), sizes.data() + regions);
  const ucm::Tree tree = ucm::depth_first(merges, size);
  py::dict found;
  found["position"] = to_numpy(tree.position);
  found["parent"] = to_numpy(tree.parent);
  found["altitude"] = to_numpy(tree.altitude);
  found["area"] = to_numpy(tree.area);
  found["first"] = to_numpy(tree.first);
  found["last"] = to_numpy(tree.last);
  return found;
}

}  // namespace

void define_tree_functions(py::module_& module) {
  using py::arg;
  module.def("merge_regions", &merge_regions, arg("pairs").noconvert(), arg("sums").noconvert(),
             arg("weights").noconvert(), arg("sizes").noconvert(), arg("intensities").noconvert(),
             arg("linkage"), arg("min_size"), arg("strength_unit"), arg("intensity_unit"),
             arg("progress") = py::none());
  module.def("merge_graph_based", &merge_graph_based, arg("pairs").noconvert(),
             arg("sizes").noconvert(), arg("histograms").noconvert(), arg("constant"),
             arg("min_size"), arg("progress") = py::none());
  module.def("depth_first", &depth_first, arg("pairs").noconvert(), arg("altitudes").noconvert(),
             arg("sizes").noconvert());
}

}  // namespace pyadx::bindings
