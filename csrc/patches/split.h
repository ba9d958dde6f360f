// Convolution of patches by products of bfloat16, for kernels of 3x3x3 with stride one (AMX).
//
// Changes and weights are split into three parts of 8 binary digits each, together the 24 of
// float32: x = x0 + x1 + x2 with x0 = bfloat16(x), x1 = bfloat16(x - x0), x2 = bfloat16(x - x0 -
// x1). Of the nine products of parts the six largest are summed, in float32: x0 w0, x0 w1, x1 w0,
// x0 w2, x2 w0, x1 w1. The three others are some 2^-24 of the whole product. With two parts and
// three products, the rest would be 2^-17, and the error at least 15 times that of the direct
// convolution (benchmarks/NOTES.md). The same scheme as oneMKL's "bf16x3"; G. Henry, P. Tang and A.
// Heinecke, "Leveraging the bfloat16 artificial intelligence datatype for higher-precision
// computations", ARITH 2019.
//
// Rows of changes are copied to a buffer, channels innermost, with the zeros around the box. There,
// the inputs of an output for one row of three taps and all channels are contiguous. 16 outputs of
// a row therefore read a matrix of 16 overlapping rows, each beginning one cell after the one
// before, and no copies per tap are needed. The sum over taps and channels is cut into chunks of 32
// numbers; in the last chunk, the numbers beyond the end are multiplied with weights of zero.
//
// Bits are lost only where parts leave the range of bfloat16. So patches whose largest change is
// below 2^-60 or above 2^60, and patches with NaN or infinity, are convolved directly. Python
// checks the range of weights.
#pragma once

#include <cstdint>
#include <vector>

#include "common/dtype.h"
#include "patches/conv.h"

namespace pyadx {

constexpr int64_t kParts = 3;

// Up to 16 neighbouring outputs of one or two rows, for one or two blocks of 16 output channels.
struct SplitJob {
  // For every step (one plane and one row of taps) and every row of outputs in it: where the first
  // part of the first input begins.
  const BFloat16* const* in;
  const BFloat16* const* weights;  // for every step: [chunks, parts, 16 pairs, 16, 2]
  int64_t steps, chunks;
  int64_t outputs;     // per row
  int64_t cell_bytes;  // from one input cell to the next
  int64_t part_step;   // from one part of the inputs to the next
  int64_t block_step;  // from one block of output channels to the next
  float* sums;         // [rows, blocks, 16, 16], written
};

struct SplitKernels {
  void (*begin)(int64_t outputs);  // every thread calls it before jobs with this many outputs
  void (*products[2][2])(const SplitJob&);  // by rows - 1 and blocks - 1
  void (*end)();
};

// The kernels with AMX instructions or, without AMX, their emulation.
const SplitKernels& split_kernels();

// Whether to convolve a patch in this way: it is marked in args.tiled, and its boxes are not empty.
bool by_split(const PatchConvArgs& args, int64_t index);

// Convolves the patches that args.tiled marks. Returns those with values outside the range above,
// which it leaves to the direct convolution.
std::vector<int64_t> split_conv_cpu(const PatchConvArgs& args, const ParallelFor& parallel);

// How products of bfloat16 are computed: "amx" or "emulated".
const char* split_arithmetic();

}  // namespace pyadx
