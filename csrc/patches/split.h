// Convolution of patches by products of bfloat16, for kernels of 3x3x3 with stride one (AMX).
//
// Changes and weights are split into three parts of 8 binary digits each, together the 24 of
// float32: x = x0 + x1 + x2 with x0 = bfloat16(x), x1 = bfloat16(x - x0), x2 = bfloat16(x - x0 -
// x1). Of the nine products of parts the six largest are summed, in float32: x0 w0, x0 w1, x1 w0,
// x0 w2, x2 w0, x1 w1. What is left out is 2^-24 of a product. Two parts and three products would
// leave out 2^-17: 15 times the error of the direct convolution or more (benchmarks/NOTES.md). As
// oneMKL's "bf16x3"; G. Henry, P. Tang and A. Heinecke, "Leveraging the bfloat16 artificial
// intelligence datatype for higher-precision computations", ARITH 2019.
//
// Rows of changes lie in a buffer, channels innermost, with the zeros around the box. The three
// taps of one row of weights and all channels are then neighbours there, and 16 outputs of a row
// are a matrix of 16 rows that begin one cell after another: no copies per tap. Depths are cut into
// 32 numbers; those beyond the last meet weights of zero.
//
// Bits are lost only where parts leave the range of bfloat16: patches whose largest change is below
// 2^-60 or above 2^60 are not taken, neither are NaN and infinity; of weights Python sees to it.
#pragma once

#include <cstdint>
#include <vector>

#include "common/dtype.h"
#include "patches/conv.h"

namespace pyadx {

constexpr int64_t kParts = 3;

// Up to 16 neighbouring outputs of one or two rows, for one or two blocks of 16 output channels.
struct SplitJob {
  // Of every step (a plane and a row of taps), and in it of each row of outputs: the first part of
  // the first input.
  const BFloat16* const* in;
  const BFloat16* const* weights;  // of every step: [chunks, parts, 16 pairs, 16, 2]
  int64_t steps, chunks;
  int64_t outputs;     // of a row
  int64_t cell_bytes;  // from one input cell to the next
  int64_t part_step;   // from one part of the inputs to the next
  int64_t block_step;  // from one block of output channels to the next
  float* sums;         // [rows, blocks, 16, 16], written
};

struct SplitKernels {
  void (*begin)(int64_t outputs);           // by each thread, before jobs with so many outputs
  void (*products[2][2])(const SplitJob&);  // for so many rows and blocks, less one
  void (*end)();
};

// The processor's instructions, or what stands in for them.
const SplitKernels& split_kernels();

// Whether a patch is convolved in this way: asked for, and not empty.
bool by_split(const PatchConvArgs& args, int64_t index);

// Convolves the patches that args.tiled asks for. Returns those that it could not, for values out
// of the range above.
std::vector<int64_t> split_conv_cpu(const PatchConvArgs& args, const ParallelFor& parallel);

// How products of bfloat16 are worked out: "amx" or "emulated".
const char* split_arithmetic();

}  // namespace pyadx
