// From tensors to the plain arguments of the patch convolution, which runs on the CPU only.
#pragma once

#include "common/amx.h"
#include "patches/bindings/arguments.h"
#include "patches/conv.h"
#include "patches/split.h"

namespace pyadx {

inline PatchConvArgs conv_of(const Tensor& patches, const Tensor& boxes, const Tensor& weight,
                             const Sizes& stride, const Sizes& padding, const Sizes& dilation,
                             const Tensor& out_boxes, const OptionalTensor& before,
                             const Tensor& out) {
  PatchConvArgs args{};
  patch_dtype(patches);
  const PatchBatch batch = patches_of(patches, boxes, patches, nullptr, true);
  args.patches = batch.data, args.boxes = batch.boxes;
  args.batch = patches.size(0), args.channels = batch.channels;
  copy_sizes(patches, 1, args.in_size);
  args.weights = dense(weight, 7, patches, "weight");
  args.groups = weight.size(0), args.blocks = weight.size(1), args.lanes = weight.size(6);
  args.kernel[0] = weight.size(2), args.kernel[1] = weight.size(3), args.kernel[2] = weight.size(5);
  const int64_t block_bytes = args.lanes * static_cast<int64_t>(weight.element_size());
  STD_TORCH_CHECK(block_bytes == 32 || block_bytes == 64, "weight must be packed");
  copy_triple(stride, 1, "stride", args.stride);
  copy_triple(padding, 0, "padding", args.padding);
  copy_triple(dilation, 1, "dilation", args.dilation);
  args.out = const_cast<void*>(dense(out, 5, patches, "out"));
  check_batch(out, args.batch);
  copy_sizes(out, 1, args.out_size);
  args.out_channels = out.size(4);
  const int64_t group_out = args.out_channels / args.groups;
  STD_TORCH_CHECK(args.channels == weight.size(4) * args.groups,
                  "weight is packed for another number of input channels");
  STD_TORCH_CHECK(group_out * args.groups == args.out_channels &&
                      group_out <= args.blocks * args.lanes &&
                      group_out > (args.blocks - 1) * args.lanes,
                  "weight is packed for another number of output channels");
  args.out_boxes = boxes_of(out_boxes, args.batch, patches);
  if (before.has_value()) {
    const PatchMap map = map_of(*before, args.out_channels, patches);
    args.before = map.data;
    for (int axis = 0; axis < 3; ++axis) args.map_size[axis] = map.size[axis];
  }
  check_boxes(args.out_boxes, args.batch, args.out_size,
              before.has_value() ? args.map_size : nullptr, true);
  return args;
}

// Weights split into bfloat16 [blocks, 9, chunks, parts, pairs, lanes, 2].
inline void add_split_weights(PatchConvArgs& args, const Tensor& patches,
                              const Tensor& transformed) {
  const int64_t chunks = (3 * args.channels + kTileDepth - 1) / kTileDepth;
  const int64_t sizes[] = {
      (args.out_channels + kTileRows - 1) / kTileRows, 9, chunks, kParts, 16, kTileRows, 2};
  STD_TORCH_CHECK(patches.scalar_type() == ScalarType::Float,
                  "products of bfloat16 are for patches of float32");
  STD_TORCH_CHECK(transformed.dim() == 7 && transformed.is_contiguous(),
                  "transformed must be packed for products of bfloat16");
  for (int64_t axis = 0; axis < 7; ++axis) {
    STD_TORCH_CHECK(transformed.size(axis) == sizes[axis],
                    "transformed is for another number of channels");
  }
  check_device(transformed, patches, "transformed");
  args.tiled_weights = transformed.const_data_ptr();
}

// Weights at the points of a Toom-Cook tile.
inline void add_tile_weights(PatchConvArgs& args, const Tensor& patches,
                             const Tensor& transformed) {
  args.tiled_weights = dense(transformed, 4, patches, "transformed");
  const int64_t points = transformed.size(0);
  STD_TORCH_CHECK(points == 64 || points == 216, "transformed must have 4^3 or 6^3 points");
  args.tile = points == 64 ? 2 : 4;
  args.tiled_blocks = transformed.size(1), args.tiled_lanes = transformed.size(3);
  const int64_t bytes = args.tiled_lanes * static_cast<int64_t>(patches.element_size());
  STD_TORCH_CHECK(bytes == 32 || bytes == 64 || bytes == 128, "transformed must be packed");
  STD_TORCH_CHECK(transformed.size(2) == args.channels &&
                      args.tiled_blocks * args.tiled_lanes >= args.out_channels,
                  "transformed is for another number of channels");
}

// Transformed weights, and which patches to convolve with them.
inline void add_tiles(PatchConvArgs& args, const Tensor& patches, const OptionalTensor& transformed,
                      const OptionalTensor& tiled) {
  STD_TORCH_CHECK(transformed.has_value() == tiled.has_value(),
                  "transformed and tiled come together");
  if (!tiled.has_value()) return;
  for (int axis = 0; axis < 3; ++axis) {
    STD_TORCH_CHECK(args.kernel[axis] == 3 && args.stride[axis] == 1 && args.dilation[axis] == 1,
                    "tiles are for kernels of 3x3x3 with stride and dilation one");
  }
  STD_TORCH_CHECK(args.groups == 1, "tiles are for convolutions without groups");
  if (transformed->scalar_type() == ScalarType::BFloat16) {
    add_split_weights(args, patches, *transformed);
  } else {
    add_tile_weights(args, patches, *transformed);
  }
  STD_TORCH_CHECK(tiled->scalar_type() == ScalarType::Byte && tiled->dim() == 1 &&
                      tiled->size(0) == args.batch && tiled->is_contiguous(),
                  "tiled must be contiguous uint8 [B]");
  check_device(*tiled, patches, "tiled");
  args.tiled = static_cast<const uint8_t*>(tiled->const_data_ptr());
}

}  // namespace pyadx
