// Convolution of patches by overlap-add Toom-Cook: fewer products for 3x3x3 kernels of stride one.
//
// A patch is zero outside its box, so the *input* is cut into tiles of m cells per axis; tile by
// tile, the convolution is a product of polynomials of degrees m - 1 and 2 per axis. It is found
// from the values of both at m + 2 points: (m + 2)^3 products per tile and pair of channels, where
// taps one by one take 27 m^3. Outputs of neighbouring tiles overlap by two cells and are added;
// the border of a box costs nothing more, whereas classical Winograd tiles of the output would. A.
// L. Toom (1963), S. A. Cook (1966); for networks: A. Lavin and S. Gray, "Fast algorithms for
// convolutional neural networks", CVPR 2016.
//
// y = I [(G w) . (E x)]: E evaluates a tile, G the taps (once per layer, in float64, in Python), I
// interpolates. Every tile and every output is summed in one order, whichever patches and threads
// there are. Tiles without a change are left out.
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

// One row of tiles, interpolated and added to what its neighbours left.
template <typename T>
struct InterpolateJob {
  const T* products;  // of ProductJob
  int64_t point_step, width;
  const int32_t* rows;  // of each tile in the products; -1 where nothing changes
  int64_t tiles;
  T* layer_carry;    // [tiles, 2, points of two axes, width]: what the layer of tiles before leaves
  uint8_t* carried;  // [tiles]: whether it leaves anything
  T* row_carry;      // [tiles, m, 2, points of one axis, width]: what the row before leaves
  bool first_row;    // no row before
  int64_t planes, lines;  // of the outputs, that are wanted; at most m
  bool carry_only;        // the outputs belong to another thread
  T* sums;                // [m, m, tiles * m, width], written
};

// Inner loops for tiles of one size. Blocks of output channels are 32, 64 or 128 bytes.
template <typename T>
struct TileKernels {
  bool (*evaluate)(const TileJob<T>&);  // false if the tile holds NaN, infinity or next to it
  void (*multiply[3])(const ProductJob<T>&);
  void (*interpolate[3])(const InterpolateJob<T>&);
};

// For tiles of two and of four cells per axis.
template <typename T>
struct TileTables {
  TileKernels<T> two, four;
};

// Whether a patch is convolved by tiles: asked for, and no output beyond what its box reaches.
bool by_tiles(const PatchConvArgs& args, int64_t index);

// Convolves the patches that args.tiled asks for. Returns those that it could not, for values that
// are not finite: sums of them would spread NaN over whole tiles.
template <typename T>
std::vector<int64_t> tiled_conv_cpu(const PatchConvArgs& args, const ParallelFor& parallel);

}  // namespace pyadx
