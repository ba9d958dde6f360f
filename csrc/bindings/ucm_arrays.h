// Conversion of NumPy arrays for the core: without copies, and with errors for arrays that do not
// fit.
#pragma once

#include <pybind11/numpy.h>

#include <array>
#include <string>

#include "ucm/volume.h"

namespace pyadx::bindings {

template <typename T>
using Array = pybind11::array_t<T, pybind11::array::c_style>;

inline ucm::Shape shape_of(const pybind11::array& volume) {
  if (volume.ndim() != 3)
    throw pybind11::value_error("expected a three-dimensional array [D, H, W]");
  return {volume.shape(0), volume.shape(1), volume.shape(2)};
}

inline void check_same_shape(const pybind11::array& a, const pybind11::array& b) {
  const ucm::Shape p = shape_of(a), q = shape_of(b);
  if (p.depth != q.depth || p.height != q.height || p.width != q.width) {
    throw pybind11::value_error("arrays of one volume have different shapes");
  }
}

template <typename T>
Array<T> like(const pybind11::array& volume) {
  return Array<T>({volume.shape(0), volume.shape(1), volume.shape(2)});
}

inline void check_length(const pybind11::array& array, int64_t length, const char* name) {
  if (array.ndim() != 1 || array.shape(0) != length) {
    throw pybind11::value_error(
        std::string(name) + " must be one-dimensional, with one value per region, edge or merge");
  }
}

template <typename T>
Array<T> to_numpy(const std::vector<T>& values) {
  return Array<T>(static_cast<pybind11::ssize_t>(values.size()), values.data());
}

}  // namespace pyadx::bindings
