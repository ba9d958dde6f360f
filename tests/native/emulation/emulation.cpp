#include <cuda_runtime_api.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <numeric>
#include <vector>

#include "memory_log.h"

std::string emulation::found;
dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace emulation {
namespace {

constexpr unsigned kWarp = 32, kMostThreads = 1024;
constexpr size_t kStackBytes = 128 << 10;
constexpr int kNowhere = -1, kWholeBlock = -2;

// A stack that runs threads of the block one after the other, until one of them has to wait.
struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  unsigned thread = 0;
  int waits_for = kNowhere;  // warp number, or the whole block
};

std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Fiber*> idle, ready, waiting;
Fiber* running = nullptr;
ucontext_t scheduler;
const std::function<void()>* body = nullptr;
unsigned next_thread = 0, thread_count = 0;
unsigned finished_in_block = 0, finished_in_warp[kMostThreads / kWarp];
uint64_t slots[kMostThreads];
std::mutex one_at_a_time;

// Only blocks with these numbers run, so that tests reach the far end of tensors of many gigabytes.
unsigned first_x = 0, last_x = ~0u, first_y = 0, last_y = ~0u;
uint64_t blocks_started = 0;

void fail(const char* words) {
  std::fprintf(stderr, "emulated kernel: %s\n", words);
  std::abort();
}

void run_threads() {
  for (;;) {
    while (next_thread < thread_count) {
      const unsigned thread = next_thread++;
      running->thread = thread;
      threadIdx = dim3(thread, 0, 0);
      (*body)();
      ++finished_in_block;
      ++finished_in_warp[thread / kWarp];
    }
    idle.push_back(running);
    swapcontext(&running->context, &scheduler);
  }
}

Fiber* new_fiber() {
  fibers.emplace_back(new Fiber);
  Fiber& fiber = *fibers.back();
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, run_threads, 0);
  return fibers.back().get();
}

Fiber* some_fiber() {
  if (idle.empty()) return new_fiber();
  Fiber* fiber = idle.back();
  idle.pop_back();
  return fiber;
}

void resume(Fiber* fiber) {
  running = fiber;
  threadIdx = dim3(fiber->thread, 0, 0);
  swapcontext(&scheduler, &fiber->context);
  running = nullptr;
}

// Releases every group of waiting threads that is complete; says whether there was one.
bool release() {
  unsigned in_block = 0, in_warp[kMostThreads / kWarp] = {};
  for (const Fiber* fiber : waiting) {
    if (fiber->waits_for == kWholeBlock) {
      ++in_block;
    } else {
      ++in_warp[fiber->waits_for];
    }
  }
  std::vector<Fiber*> still;
  bool passed = false;
  for (Fiber* fiber : waiting) {
    bool complete;
    if (fiber->waits_for == kWholeBlock) {
      complete = in_block + finished_in_block == thread_count;
    } else {
      const auto warp = static_cast<unsigned>(fiber->waits_for);
      const unsigned begin = warp * kWarp;
      const unsigned lanes = thread_count - begin < kWarp ? thread_count - begin : kWarp;
      complete = in_warp[warp] + finished_in_warp[warp] == lanes;
    }
    passed = passed || (complete && fiber->waits_for == kWholeBlock);
    (complete ? ready : still).push_back(fiber);
  }
  const bool some = still.size() < waiting.size();
  waiting.swap(still);
  if (passed) pass_barrier();
  return some;
}

void run_block(unsigned threads) {
  next_thread = 0, thread_count = threads, finished_in_block = 0;
  for (unsigned& count : finished_in_warp) count = 0;
  begin_block();
  while (finished_in_block < thread_count) {
    if (!ready.empty()) {
      Fiber* fiber = ready.back();
      ready.pop_back();
      fiber->waits_for = kNowhere;
      resume(fiber);
    } else if (next_thread < thread_count) {
      resume(some_fiber());
    } else if (!release()) {
      fail("threads wait for others that never come");
    }
  }
  end_block();
}

void wait(int group) {
  running->waits_for = group;
  waiting.push_back(running);
  swapcontext(&running->context, &scheduler);
}

}  // namespace

// How many of the blocks first to last, ends included, a grid of `size` has.
static uint64_t chosen(unsigned first, unsigned last, unsigned size) {
  const uint64_t end = uint64_t(last) + 1 < size ? uint64_t(last) + 1 : size;
  return end > first ? end - first : 0;
}

uint64_t& slot(unsigned thread) { return slots[thread]; }

void wait_for_warp() { wait(static_cast<int>(threadIdx.x / kWarp)); }

void wait_for_block() { wait(kWholeBlock); }

cudaError_t run(const dim3& grid, unsigned threads, const std::function<void()>& kernel) {
  const bool fits = grid.x > 0 && grid.x <= 2147483647u && grid.y > 0 && grid.y <= 65535u &&
                    grid.z > 0 && grid.z <= 65535u && threads > 0 && threads <= kMostThreads;
  if (!fits) return cudaErrorInvalidConfiguration;
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  gridDim = grid;
  blockDim = dim3(threads);
  body = &kernel;
  const uint64_t columns = chosen(first_x, last_x, grid.x), rows = chosen(first_y, last_y, grid.y);
  const uint64_t blocks = columns * rows * grid.z;
  if (blocks == 0) return cudaSuccess;
  // Blocks come in no order that a kernel may count on, and in another one at every launch.
  uint64_t step = (2654435761u + 2 * blocks_started) % (blocks + 1) + 1;
  while (std::gcd(step, blocks) != 1) ++step;
  for (uint64_t k = 0, at = blocks_started; k < blocks; ++k, at += step) {
    const uint64_t block = at % blocks;
    blockIdx = dim3(first_x + static_cast<unsigned>(block % columns),
                    first_y + static_cast<unsigned>(block / columns % rows),
                    static_cast<unsigned>(block / columns / rows));
    run_block(threads);
  }
  blocks_started += blocks;
  found = take_finding();
  return found.empty() ? cudaSuccess : cudaErrorLaunchFailure;
}

}  // namespace emulation

extern "C" {
// For tests, through ctypes.
__attribute__((visibility("default"))) void emulation_only_blocks(unsigned x0, unsigned x1,
                                                                  unsigned y0, unsigned y1) {
  emulation::first_x = x0, emulation::last_x = x1, emulation::first_y = y0, emulation::last_y = y1;
}
__attribute__((visibility("default"))) uint64_t emulation_blocks_started() {
  return emulation::blocks_started;
}
}
