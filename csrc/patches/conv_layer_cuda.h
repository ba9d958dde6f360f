// The work of a thread block of the patch convolution on CUDA: a layer, and a tile of one of its
// patches.
//
// A tile is kTile consecutive output cells of one patch, in the order of its box, for one block of
// output channels.
#pragma once

#include "common/fast_divide.h"
#include "patches/conv.h"
#include "patches/packs_cuda.h"

namespace pyadx {
namespace {

constexpr int kTile = kConvTile, kDepth = 32, kBlock = 128;

template <typename T>
struct Layer {
  const T *patches, *weights, *before;
  const int32_t *boxes, *out_boxes, *work;
  T* out;
  int32_t batch, in_size[3], out_size[3], map_size[3];
  int32_t kernel[3], stride[3], padding[3], dilation[3];
  int32_t channels, out_channels, group_in, group_out, blocks, lanes, depth;
  FastDivide by_channel, by_kx, by_ky;

  explicit Layer(const PatchConvArgs& a)
      : patches(static_cast<const T*>(a.patches)),
        weights(static_cast<const T*>(a.weights)),
        before(static_cast<const T*>(a.before)),
        boxes(a.boxes),
        out_boxes(a.out_boxes),
        work(a.work),
        out(static_cast<T*>(a.out)),
        batch(static_cast<int32_t>(a.batch)) {
    for (int d = 0; d < 3; ++d) {
      in_size[d] = static_cast<int32_t>(a.in_size[d]);
      out_size[d] = static_cast<int32_t>(a.out_size[d]);
      map_size[d] = static_cast<int32_t>(a.map_size[d]);
      kernel[d] = static_cast<int32_t>(a.kernel[d]);
      stride[d] = static_cast<int32_t>(a.stride[d]);
      padding[d] = static_cast<int32_t>(a.padding[d]);
      dilation[d] = static_cast<int32_t>(a.dilation[d]);
    }
    channels = static_cast<int32_t>(a.channels);
    out_channels = static_cast<int32_t>(a.out_channels);
    group_in = static_cast<int32_t>(a.channels / a.groups);
    group_out = static_cast<int32_t>(a.out_channels / a.groups);
    blocks = static_cast<int32_t>(a.blocks);
    lanes = static_cast<int32_t>(a.lanes);
    depth = kernel[0] * kernel[1] * kernel[2] * group_in;
    by_channel = FastDivide(static_cast<uint32_t>(group_in));
    by_kx = FastDivide(static_cast<uint32_t>(kernel[2]));
    by_ky = FastDivide(static_cast<uint32_t>(kernel[1]));
  }

  __device__ Place32 tap(int32_t number) const {
    const uint32_t row = by_kx.quotient(static_cast<uint32_t>(number)), z = by_ky.quotient(row);
    return {static_cast<int32_t>(z),
            static_cast<int32_t>(row) - static_cast<int32_t>(z) * kernel[1],
            number - static_cast<int32_t>(row) * kernel[2]};
  }
};

// The tile of a patch that a block owns.
template <typename T>
struct Tile {
  const Layer<T>& layer;
  int32_t b, first, cells, height, width, low[3], size[3], group, column;
  const int32_t* out_box;
  const T *patch, *weights;

  __device__ explicit Tile(const Layer<T>& l) : layer(l), cells(0) {
    b = l.work[2 * static_cast<int64_t>(blockIdx.x)];
    first = l.work[2 * static_cast<int64_t>(blockIdx.x) + 1] * kTile;
    if (b < 0 || b >= l.batch || first < 0) return;
    out_box = l.out_boxes + 6 * static_cast<int64_t>(b);
    const int32_t* box = l.boxes + 6 * static_cast<int64_t>(b);
    height = out_box[4] - out_box[1], width = out_box[5] - out_box[2];
    if (out_box[3] <= out_box[0] || height <= 0 || width <= 0) return;
    cells = (out_box[3] - out_box[0]) * height * width;
    for (int d = 0; d < 3; ++d) {
      low[d] = out_box[d] * l.stride[d] - l.padding[d] - box[d];
      size[d] = box[d + 3] - box[d];
    }
    group = static_cast<int32_t>(blockIdx.y) / l.blocks;
    column = (static_cast<int32_t>(blockIdx.y) % l.blocks) * l.lanes;
    const int64_t cube = static_cast<int64_t>(l.in_size[0]) * l.in_size[1] * l.in_size[2];
    patch = l.patches + b * cube * l.channels + group * l.group_in;
    weights = l.weights + static_cast<int64_t>(blockIdx.y) * l.depth * l.lanes;
  }
  __device__ Place32 place(int32_t cell) const {  // in the out box
    const int32_t row = cell / width, z = row / height;
    return {z, row - z * height, cell - row * width};
  }
  __device__ Place32 origin(const Place32& p) const {  // of the first tap, in the patch
    return {p.z * layer.stride[0] + low[0], p.y * layer.stride[1] + low[1],
            p.x * layer.stride[2] + low[2]};
  }
  __device__ bool find(const Place32& from, const Place32& tap, int32_t* index) const {
    const int32_t z = from.z + tap.z * layer.dilation[0], y = from.y + tap.y * layer.dilation[1],
                  x = from.x + tap.x * layer.dilation[2];
    const bool inside = static_cast<uint32_t>(z) < static_cast<uint32_t>(max(size[0], 0)) &&
                        static_cast<uint32_t>(y) < static_cast<uint32_t>(max(size[1], 0)) &&
                        static_cast<uint32_t>(x) < static_cast<uint32_t>(max(size[2], 0));
    *index = inside ? ((z * layer.in_size[1] + y) * layer.in_size[2] + x) * layer.channels : 0;
    return inside;
  }
  // Sums tap by tap, in a fixed order.
  __device__ T sum(const Place32& from, int32_t lane) const {
    T total = 0;
    for (int32_t t = 0; t < layer.kernel[0] * layer.kernel[1] * layer.kernel[2]; ++t) {
      int32_t index;
      if (!find(from, layer.tap(t), &index)) continue;
      const T* own = weights + static_cast<int64_t>(t) * layer.group_in * layer.lanes + lane;
      for (int32_t c = 0; c < layer.group_in; ++c) {
        total += patch[index + c] * own[static_cast<int64_t>(c) * layer.lanes];
      }
    }
    return total;
  }
  __device__ void write(const Place32& p, int32_t lane, T value) const {
    const int32_t channel = group * layer.group_out + column + lane;
    if (layer.before != nullptr) {
      const int64_t row =
          static_cast<int64_t>(out_box[0] + p.z) * layer.map_size[1] + out_box[1] + p.y;
      const int64_t cell = row * layer.map_size[2] + out_box[2] + p.x;
      value = relu_change(layer.before[cell * layer.out_channels + channel], value);
    }
    const int64_t plane = static_cast<int64_t>(b) * layer.out_size[0] + p.z;
    const int64_t row = plane * layer.out_size[1] + p.y;
    layer.out[(row * layer.out_size[2] + p.x) * layer.out_channels + channel] = value;
  }
};

}  // namespace
}  // namespace pyadx
