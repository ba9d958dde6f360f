// Convolution of many small patches of changes: out = conv(patch), without bias.
//
// A patch holds the differences between the cells of a box and those of the unperturbed scan, and
// is zero outside the box. So only taps inside the box are visited: n^3 k^3 multiplications for a
// box of n^3 cells. A convolution with a halo of unchanged cells would need (n + k - 1)^3 k^3. With
// `before`, the unperturbed input of the ReLU that follows, the change after that ReLU is written
// instead.
//
// Layout: patches [B, D, H, W, C], channels innermost; the cell of index 0 is at the low corner of
// the patch's box. Boxes are int32 [B, 6] (z0 y0 x0 z1 y1 x1) in the cells of the map. Weights are
// packed [groups, blocks, kd, kh, C / groups, kw, lanes], in blocks of 32 or 64 bytes of output
// channels; the last block is padded with zeros. Complexity: see above; memory: one row of sums per
// thread. Thread-safe. The order in which a patch is summed does not depend on the rest of the
// batch.
//
// On CUDA (conv_cuda.cu) the sum is a matrix product, on tensor cores, of all cells of the box with
// all taps. There, weights are packed [groups, blocks, kd, kh, kw, C / groups, lanes].
#pragma once

#include <cstdint>

#include "common/dtype.h"
#include "common/parallel.h"

#ifdef PYADX_WITH_CUDA
#include <cuda_runtime_api.h>
#endif

namespace pyadx {

constexpr int kConvTile = 64;       // output cells that a block of threads owns on CUDA
constexpr int64_t kMostCells = 10;  // longest row segment kept in registers
// Channels of an input row that are summed in registers before the sum is added to memory.
constexpr int64_t kRun = 64;

// One segment of one output row for one or two vectors of output channels. Steps are in elements.
template <typename T>
struct RowJob {
  const T* const* in;       // first cell of every input row that is visited
  const T* const* weights;  // the taps that belong to it
  // For every input row, one word per kRun channels: bit c says whether channel c changes in any
  // cell.
  const uint64_t* const* changes;
  int64_t rows;
  int64_t channels;
  int64_t cell_step;     // from one input cell to the next that is visited
  int64_t channel_step;  // from the taps of one input channel to those of the next
  int64_t tap_step;      // from one tap along the row to the next
  int64_t unit_step;     // from one vector of output channels to the next
  T* sums;               // read, added to and written back
};

template <typename T>
using RowFunction = void (*)(const RowJob<T>&);

template <typename T>
struct RowTable {
  RowFunction<T> three_taps[kMostCells];
  RowFunction<T> one_tap[kMostCells];
  int64_t lanes;  // output channels per vector
  int64_t units;  // vectors summed together
};

// Wide tables are for blocks of 64 bytes of output channels, narrow ones for 32 bytes. They sum
// several vectors together, or a single one.
template <typename T>
struct RowTables {
  RowTable<T> wide, wide_single, narrow, narrow_single;
};

struct PatchConvArgs {
  const void* patches;
  const int32_t* boxes;
  int64_t batch, in_size[3], channels;
  const void* weights;
  int64_t groups, blocks, lanes, kernel[3];
  int64_t stride[3], padding[3], dilation[3];
  const int32_t* out_boxes;
  const void* before;  // [map, out_channels], or null
  int64_t map_size[3];
  void* out;
  int64_t out_size[3], out_channels;
  // For 3x3x3 kernels with stride one: marks the patches to convolve by tiles (tiles.h) or, if
  // `tile` is zero, by products of bfloat16 (split.h; float32 only). May be null.
  const uint8_t* tiled;  // [batch]
  const void* tiled_weights;
  int64_t tile, tiled_blocks, tiled_lanes;
  // On CUDA: pairs (patch, tile of kConvTile cells of its out box), and the type of the patches.
  const int32_t* work;
  int64_t work_count;
  DType dtype;
};

template <typename T>
void patch_conv_cpu(const PatchConvArgs& args, const ParallelFor& parallel);

#ifdef PYADX_WITH_CUDA
// Weights are packed [groups, blocks, kd, kh, kw, C / groups, lanes] with 8, 16, 32 or 64 lanes.
cudaError_t patch_conv_cuda(const PatchConvArgs& args, cudaStream_t stream);
#endif

// Name of the instruction set in use: "avx512", "avx2" or "portable".
const char* patch_conv_instruction_set();

}  // namespace pyadx
