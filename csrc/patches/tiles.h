// Convolution of patches by overlap-add Toom-Cook: fewer products for 3x3x3 kernels of stride one.
//
// A patch is zero outside its box, so the *input* is cut into tiles of m cells per axis; tile by
// tile, the convolution is a product of polynomials of degrees m - 1 and 2 per axis. It is found
// from the values of both at m + 2 points per axis: (m + 2)^3 products per tile and pair of
// channels instead of 27 m^3. Outputs of neighbouring tiles overlap by two cells and are added. The
// border of a box costs nothing extra; with the classical Winograd tiles of the output it would. A.
// L. Toom (1963), S. A. Cook (1966); for networks: A. Lavin and S. Gray, "Fast algorithms for
// convolutional neural networks", CVPR 2016.
//
// y = I [(G w) . (E x)]: E evaluates a tile, G the taps (once per layer, in float64, in Python),
// and I interpolates. The order of all sums is fixed; it does not depend on other patches or on
// threads. Tiles without a change are skipped.
#pragma once

#include <cstdint>
#include <vector>

#include "patches/conv.h"

namespace pyadx {

// One tile of one patch, evaluated at all points. Steps are in elements.
template <typename T>
struct TileJob {
  const T* in;      // its first cell
  int64_t size[3];  // cells that lie inside the box
  int64_t plane_step, row_step, channels;
  T* out;
  int64_t point_step;  // from the values at one point to those at the next
};

// Values of many tiles times transformed weights, point by point.
template <typename T>
struct ProductJob {
  const T* in;  // [points, rows, channels]
  int64_t rows, channels, in_step;
  const T* weights;  // [points, blocks, channels, lanes]
  int64_t points, blocks, lanes;
  T* out;  // [points, rows, blocks * lanes]
  int64_t out_step;
};

// One row of tiles, to be interpolated and added to the overlap with the tiles before.
template <typename T>
struct InterpolateJob {
  const T* products;  // of ProductJob
  int64_t point_step, width;
  const int32_t* rows;  // of each tile, in the products; -1 where nothing changes
  int64_t tiles;
  T* layer_carry;         // [tiles, 2, points of two axes, width]: overlap with the layer before
  uint8_t* carried;       // [tiles]: whether that overlap is not zero
  T* row_carry;           // [tiles, m, 2, points of one axis, width]: overlap with the row before
  bool first_row;         // there is no row before
  int64_t planes, lines;  // outputs wanted along z and y; at most m
  bool carry_only;        // write layer_carry only: the outputs belong to another thread
  T* sums;                // [m, m, tiles * m, width], written
};

// Inner loops for tiles of one size. Blocks of output channels are 32, 64 or 128 bytes.
template <typename T>
struct TileKernels {
  bool (*evaluate)(const TileJob<T>&);  // false if the tile has NaN, infinity or huge values
  void (*multiply[3])(const ProductJob<T>&);
  void (*interpolate[3])(const InterpolateJob<T>&);
};

// For tiles of two and of four cells per axis.
template <typename T>
struct TileTables {
  TileKernels<T> two, four;
};

// Whether to convolve a patch by tiles: it is marked in args.tiled, is not empty, and has no output
// beyond the reach of its box.
bool by_tiles(const PatchConvArgs& args, int64_t index);

// Convolves the patches that args.tiled marks. Returns those with values that are not finite or
// huge, which have to be convolved directly: their sums would spread NaN over whole tiles.
template <typename T>
std::vector<int64_t> tiled_conv_cpu(const PatchConvArgs& args, const ParallelFor& parallel);

}  // namespace pyadx
