// Threads take chunks in order from one counter. Results must not depend on which thread takes
// which chunk.
#include "ucm/threads.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace pyadx::ucm {

void for_chunks(int64_t chunks, int threads, const Progress& progress,
                const std::function<void(int64_t index)>& body) {
  std::atomic<int64_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr failure;
  std::mutex guard;

  const auto fail = [&] {
    const std::lock_guard<std::mutex> lock(guard);
    if (!failure) failure = std::current_exception();
    stop = true;
  };
  const auto work = [&](bool caller) {
    try {
      while (!stop) {
        const int64_t index = next++;
        if (index >= chunks) break;
        body(index);
        if (caller) report(progress, static_cast<double>(index + 1) / static_cast<double>(chunks));
      }
    } catch (...) {
      fail();
    }
  };

  std::vector<std::thread> pool;
  const int64_t helpers = std::min<int64_t>(std::max(threads, 1), chunks) - 1;
  try {
    for (int64_t i = 0; i < helpers; ++i) pool.emplace_back(work, false);
  } catch (...) {  // the system has no more threads: fewer do the work
  }
  work(true);
  for (std::thread& thread : pool) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace pyadx::ucm
