// A log of what the threads of a block do to shared memory, and of what they read from global
// memory.
//
// Found are: words that are read before they are written, while a copy into them is under way, or
// in the same interval between barriers in which another thread writes them; accesses of a warp
// that meet in more than two words of one bank; and lanes that part at an access. The n-th access
// of each lane since the last barrier belongs to one instruction.
#pragma once

#include <cstdint>
#include <string>

namespace emulation {

void add_products(float* sums, const uint32_t* a, const uint32_t* b);
void finish_products();
void copy_to_shared(float* to, const float* from, int floats, bool wanted);
void wait_for_copies();
float load_shared(const float* from);

// Called by the emulation: as a block begins and ends, and as all of it passes a barrier.
void begin_block();
void pass_barrier();
void end_block();

// What was found since the last call, or nothing.
std::string take_finding();

}  // namespace emulation
