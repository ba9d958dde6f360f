// Functions of pyadx._ucm on volumes: cues, watershed, region graph.
#include "bindings/ucm_volumes.h"

#include <pybind11/stl.h>

#include <limits>

#include "bindings/ucm_arrays.h"
#include "bindings/ucm_progress.h"
#include "ucm/affinity.h"
#include "ucm/chi_square.h"
#include "ucm/gradient.h"
#include "ucm/region_graph.h"
#include "ucm/watershed.h"

namespace pyadx::bindings {
namespace {

namespace py = pybind11;
using Triple = std::array<double, 3>;

Array<float> gradient(const Array<float>& volume, const Array<uint8_t>& mask, const Triple& spacing,
                      int threads, py::object progress) {
  check_same_shape(volume, mask);
  Array<float> out = like<float>(volume);
  const float* values = volume.data();
  const uint8_t* inside = mask.data();
  float* result = out.mutable_data();
  const ucm::Shape shape = shape_of(volume);
  Listener(std::move(progress)).run([&](const ucm::Progress& report) {
    ucm::gradient(values, inside, shape, spacing.data(), threads, report, result);
  });
  return out;
}

void check_balls(const Triple& spacing, const std::vector<double>& radii) {
  if (radii.empty() || radii.size() > 10)
    throw py::value_error("radii must have one to ten values");
  for (size_t i = 0; i < radii.size(); ++i) {
    if (!(radii[i] > (i > 0 ? radii[i - 1] : 0.0)))
      throw py::value_error("radii must be positive and ascending");
  }
  double voxels = 4.2 * radii.back() * radii.back() * radii.back();
  for (const double step : spacing) {
    if (!(step > 0.0)) throw py::value_error("spacing must be positive");
    voxels /= step;
  }
  // Counters have 16 bits.
  if (!(voxels < 50000.0))
    throw py::value_error("the largest ball has 50,000 voxels or more: choose smaller radii");
}

py::tuple chi_square(const Array<uint8_t>& bins, const Triple& spacing,
                     const std::vector<double>& radii, int threads, py::object progress) {
  const ucm::Shape shape = shape_of(bins);
  check_balls(spacing, radii);
  Array<float> strength = like<float>(bins);
  Array<uint8_t> direction = like<uint8_t>(bins);
  const uint8_t* values = bins.data();
  for (int64_t i = 0; i < shape.size(); ++i) {
    if (values[i] > ucm::kOutsideBin)
      throw py::value_error("bins must be from 0 to 9, or 10 outside the mask");
  }
  float* s = strength.mutable_data();
  uint8_t* d = direction.mutable_data();
  Listener(std::move(progress)).run([&](const ucm::Progress& report) {
    ucm::chi_square(values, shape, spacing.data(), radii, threads, report, s, d);
  });
  return py::make_tuple(strength, direction);
}

py::dict ball(const Triple& spacing, const std::vector<double>& radii) {
  check_balls(spacing, radii);
  const ucm::Ball found = ucm::make_ball(spacing.data(), radii);
  std::vector<int64_t> steps;
  std::vector<int32_t> halves;
  for (const ucm::BallVoxel& v : found.voxels) {
    steps.insert(steps.end(), {v.z, v.y, v.x});
    halves.push_back(static_cast<int32_t>(v.halves));
  }
  py::dict tables;
  tables["steps"] = to_numpy(steps);
  tables["halves"] = to_numpy(halves);
  tables["ends"] = found.ends;
  tables["reach"] = std::vector<int64_t>(found.reach, found.reach + 3);
  return tables;
}

py::tuple watershed(const Array<uint16_t>& relief, const Array<uint8_t>& mask, int threads,
                    py::object progress) {
  check_same_shape(relief, mask);
  const ucm::Shape shape = shape_of(relief);
  if (shape.size() > std::numeric_limits<int32_t>::max()) {
    throw py::value_error("the volume must have fewer than 2^31 voxels");
  }
  Array<int32_t> labels = like<int32_t>(relief);
  const uint16_t* values = relief.data();
  const uint8_t* inside = mask.data();
  int32_t* result = labels.mutable_data();
  int32_t basins = 0;
  Listener(std::move(progress)).run([&](const ucm::Progress& report) {
    basins = ucm::watershed(values, inside, shape, threads, report, result);
  });
  return py::make_tuple(labels, basins);
}

py::tuple region_graph(const Array<uint16_t>& relief, const Array<int32_t>& labels,
                       const std::array<int64_t, 3>& area, const py::object& direction,
                       const std::vector<std::vector<int64_t>>& cosine, int threads,
                       py::object progress, int64_t unit) {
  check_same_shape(relief, labels);
  ucm::FaceWeights faces{{area[0], area[1], area[2]}, nullptr, {}, unit};
  Array<uint8_t> directions;
  if (!direction.is_none()) {
    directions = py::cast<Array<uint8_t>>(direction);
    check_same_shape(relief, directions);
    faces.direction = directions.data();
    if (cosine.size() != 3)
      throw py::value_error("cosine must have one list for each of three axes");
    if (unit < 1 || unit > 1 << 20)
      throw py::value_error("unit must be the unit of the cosines, from 1 to 2^20");
    for (size_t axis = 0; axis < 3; ++axis) {
      faces.cosine[axis] = cosine[axis];
      if (cosine[axis].size() < 256)
        throw py::value_error("cosine must have at least 256 values per axis");
    }
  }
  const uint16_t* values = relief.data();
  const int32_t* ids = labels.data();
  const ucm::Shape shape = shape_of(relief);
  std::vector<ucm::Edge> edges;
  Listener(std::move(progress)).run([&](const ucm::Progress& report) {
    edges = ucm::region_graph(values, ids, shape, faces, threads, report);
  });
  const auto count = static_cast<py::ssize_t>(edges.size());
  Array<int32_t> pairs({count, py::ssize_t{2}});
  Array<int64_t> sums(count), weights(count);
  int32_t* p = pairs.mutable_data();
  int64_t* s = sums.mutable_data();
  int64_t* w = weights.mutable_data();
  for (const ucm::Edge& edge : edges) {
    *p++ = edge.lo;
    *p++ = edge.hi;
    *s++ = edge.sum;
    *w++ = edge.weight;
  }
  return py::make_tuple(pairs, sums, weights);
}

py::tuple affinities(const Array<float>& strength, const Array<uint8_t>& direction,
                     const Array<int32_t>& number, int reach, double scale, int threads,
                     py::object progress) {
  check_same_shape(strength, direction);
  check_same_shape(strength, number);
  if (reach < 1 || reach > 5 || !(scale > 0.0))
    throw py::value_error("reach must be from 1 to 5, and scale positive");
  const ucm::Shape shape = shape_of(strength);
  const ucm::AffinityInput input{strength.data(), direction.data(), number.data(), reach, scale};
  for (int64_t i = 0; i < shape.size(); ++i) {
    if (input.direction[i] >= ucm::kDirections)
      throw py::value_error("direction must be from 0 to 12, an index into directions()");
  }
  ucm::Affinities found;
  Listener(std::move(progress)).run([&](const ucm::Progress& report) {
    found = ucm::affinities(input, shape, threads, report);
  });
  return py::make_tuple(to_numpy(found.pairs), to_numpy(found.weight));
}

}  // namespace

void define_volume_functions(py::module_& module) {
  using py::arg;
  const auto direction_list = [] {
    std::vector<std::array<double, 3>> found;
    for (const ucm::Direction& d : ucm::directions()) found.push_back({d.z, d.y, d.x});
    return found;
  };
  module.def("gradient", &gradient, arg("volume").noconvert(), arg("mask").noconvert(),
             arg("spacing"), arg("threads"), arg("progress") = py::none());
  module.def("chi_square", &chi_square, arg("bins").noconvert(), arg("spacing"), arg("radii"),
             arg("threads"), arg("progress") = py::none());
  module.def("directions", direction_list);
  module.def("ball", &ball, arg("spacing"), arg("radii"));
  module.def("affinities", &affinities, arg("strength").noconvert(), arg("direction").noconvert(),
             arg("number").noconvert(), arg("reach"), arg("scale"), arg("threads"),
             arg("progress") = py::none());
  module.def("watershed", &watershed, arg("relief").noconvert(), arg("mask").noconvert(),
             arg("threads"), arg("progress") = py::none());
  module.def("region_graph", &region_graph, arg("relief").noconvert(), arg("labels").noconvert(),
             arg("area"), arg("direction"), arg("cosine"), arg("threads"),
             arg("progress") = py::none(), arg("unit") = 0);
}

}  // namespace pyadx::bindings
