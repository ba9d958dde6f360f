// How a torch-free kernel asks its caller for threads.
//
// A kernel receives a ParallelFor and hands it the number of independent work items, the smallest
// number worth a thread of its own, and the body; the caller maps it to its thread pool. The body
// is called with disjoint half-open ranges that cover [0, items).
#pragma once

#include <cstdint>
#include <functional>

namespace pyadx {

using RangeBody = std::function<void(int64_t begin, int64_t end)>;
using ParallelFor = std::function<void(int64_t items, int64_t grain, const RangeBody& body)>;

}  // namespace pyadx
