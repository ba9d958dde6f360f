// How many blocks a kernel needs, within the limits of the hardware.
//
// Kernels with a grid-stride loop take any number of blocks; others need a block for every element.
#pragma once

#include <cstdint>

namespace pyadx {

constexpr int64_t kMostBlocksX = 2147483647;
constexpr int64_t kMostBlocksY = 65535;

// Blocks that cover `elements` one to one.
constexpr int64_t blocks_covering(int64_t elements, int64_t per_block) {
  return (elements + per_block - 1) / per_block;
}

// The same for a kernel with a grid-stride loop: at least one block, and at most `most`.
constexpr unsigned blocks_in_strides(int64_t elements, int64_t per_block,
                                     int64_t most = kMostBlocksX) {
  const int64_t blocks = blocks_covering(elements, per_block);
  return static_cast<unsigned>(blocks < 1 ? 1 : (blocks > most ? most : blocks));
}

}  // namespace pyadx
