// Threads of the core: independent chunks of work, with progress and cancelling.
#pragma once

#include <cstdint>
#include <functional>

#include "ucm/progress.h"

namespace pyadx::ucm {

// Calls body(index) for every index in [0, chunks), on `threads` threads of which the caller is
// one. The caller reports progress between its chunks. An exception in a chunk, or Cancelled, is
// thrown again in the caller once all threads have stopped.
void for_chunks(int64_t chunks, int threads, const Progress& progress,
                const std::function<void(int64_t index)>& body);

}  // namespace pyadx::ucm
