// torch's thread pool as a ParallelFor, the form in which kernels take it.
#pragma once

#include <torch/csrc/stable/ops.h>

#include "common/parallel.h"

namespace pyadx {

inline const ParallelFor kTorchThreads = [](int64_t items, int64_t grain, const RangeBody& body) {
  torch::stable::parallel_for(0, items, grain, body);
};

}  // namespace pyadx
