// torch's thread pool, in the form that kernels ask for threads.
#pragma once

#include <torch/csrc/stable/ops.h>

#include "common/parallel.h"

namespace pyadx {

inline const ParallelFor kTorchThreads = [](int64_t items, int64_t grain, const RangeBody& body) {
  torch::stable::parallel_for(0, items, grain, body);
};

}  // namespace pyadx
