// How the work of the patch operators on the CPU is divided: one item is one plane of one patch.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/dtype.h"
#include "common/parallel.h"

namespace pyadx {

constexpr int64_t kElementsPerThread = 8192;

inline int64_t planes_per_thread(int64_t elements_per_plane) {
  return std::max<int64_t>(1, kElementsPerThread / std::max<int64_t>(1, elements_per_plane));
}

template <typename Body>
void over_planes(int64_t batch, int64_t planes, int64_t elements_per_plane,
                 const ParallelFor& parallel, const Body& body) {
  parallel(batch * planes, planes_per_thread(elements_per_plane), [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) body(item / planes, item % planes);
  });
}

template <typename Float, typename Double>
void by_dtype(DType dtype, const Float& as_float, const Double& as_double) {
  if (dtype == DType::kFloat64) {
    as_double();
  } else {
    as_float();
  }
}

}  // namespace pyadx
