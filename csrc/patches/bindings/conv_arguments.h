// Converts tensors to the plain arguments of the patch convolution, for both devices.
#pragma once

#include <algorithm>

#include "common/amx.h"
#include "common/pack.h"
#include "patches/bindings/arguments.h"
#include "patches/conv.h"
#include "patches/split.h"

namespace pyadx {

inline PatchConvArgs conv_of(const Tensor& patches, const Tensor& boxes, const Tensor& weight,
                             const Sizes& stride, const Sizes& padding, const Sizes& dilation,
                             const Tensor& out_boxes, const OptionalTensor& before,
                             const Tensor& out, bool on_cpu) {
  PatchConvArgs args{};
  args.dtype = patch_dtype(patches);
  const PatchBatch batch = patches_of(patches, boxes, patches, nullptr, on_cpu);
  args.patches = batch.data, args.boxes = batch.boxes;
  args.batch = patches.size(0), args.channels = batch.channels;
  copy_sizes(patches, 1, args.in_size);
  args.weights = dense(weight, 7, patches, "weight");
  args.groups = weight.size(0), args.blocks = weight.size(1), args.lanes = weight.size(6);
  // In packed weights, the taps along x come before the input channels on CUDA, and after them on
  // the CPU.
  const int64_t channel_axis = on_cpu ? 4 : 5;
  args.kernel[0] = weight.size(2), args.kernel[1] = weight.size(3);
  args.kernel[2] = weight.size(on_cpu ? 5 : 4);
  const int64_t block_bytes = args.lanes * static_cast<int64_t>(weight.element_size());
  const bool narrow = block_bytes == 32 || block_bytes == 64;
  const bool wide = args.lanes == 8 || args.lanes == 16 || args.lanes == 32 || args.lanes == 64;
  STD_TORCH_CHECK(on_cpu ? narrow : wide,
                  "weight must be packed by pack_weight, or by pack_cuda_weight for CUDA");
  copy_triple(stride, 1, "stride", args.stride);
  copy_triple(padding, 0, "padding", args.padding);
  copy_triple(dilation, 1, "dilation", args.dilation);
  args.out = const_cast<void*>(dense(out, 5, patches, "out"));
  check_batch(out, args.batch);
  copy_sizes(out, 1, args.out_size);
  args.out_channels = out.size(4);
  const int64_t group_out = args.out_channels / args.groups;
  STD_TORCH_CHECK(args.channels == weight.size(channel_axis) * args.groups,
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
              before.has_value() ? args.map_size : nullptr, on_cpu);
  return args;
}

// Adds weights split into bfloat16 [blocks, 9, chunks, parts, pairs, lanes, 2].
inline void add_split_weights(PatchConvArgs& args, const Tensor& patches,
                              const Tensor& transformed) {
  const int64_t chunks = (3 * args.channels + kTileDepth - 1) / kTileDepth;
  const int64_t sizes[] = {
      (args.out_channels + kTileRows - 1) / kTileRows, 9, chunks, kParts, 16, kTileRows, 2};
  STD_TORCH_CHECK(patches.scalar_type() == ScalarType::Float,
                  "products of bfloat16 need patches of float32");
  STD_TORCH_CHECK(transformed.dim() == 7 && transformed.is_contiguous(),
                  "transformed must be packed by split_weight for products of bfloat16");
  for (int64_t axis = 0; axis < 7; ++axis) {
    STD_TORCH_CHECK(transformed.size(axis) == sizes[axis],
                    "transformed is for another number of channels");
  }
  check_device(transformed, patches, "transformed");
  args.tiled_weights = transformed.const_data_ptr();
}

// Adds weights at the points of a Toom-Cook tile.
inline void add_tile_weights(PatchConvArgs& args, const Tensor& patches,
                             const Tensor& transformed) {
  args.tiled_weights = dense(transformed, 4, patches, "transformed");
  const int64_t points = transformed.size(0);
  STD_TORCH_CHECK(points == 64 || points == 216, "transformed must have 4^3 or 6^3 points");
  args.tile = points == 64 ? 2 : 4;
  args.tiled_blocks = transformed.size(1), args.tiled_lanes = transformed.size(3);
  const int64_t bytes = args.tiled_lanes * static_cast<int64_t>(patches.element_size());
  STD_TORCH_CHECK(bytes == 32 || bytes == 64 || bytes == 128,
                  "transformed must be packed by transformed_weight");
  STD_TORCH_CHECK(transformed.size(2) == args.channels &&
                      args.tiled_blocks * args.tiled_lanes >= args.out_channels,
                  "transformed is for another number of channels");
}

// Adds the list of tiles for thread blocks. With PYADX_DEBUG_BOXES=1, checks that they are in their
// patches.
inline void add_work(PatchConvArgs& args, const Tensor& patches, const OptionalTensor& work) {
  STD_TORCH_CHECK(work.has_value(), "work must be given on CUDA (conv_work makes it)");
  STD_TORCH_CHECK(work->scalar_type() == ScalarType::Int && work->dim() == 2 &&
                      work->size(1) == 2 && work->is_contiguous(),
                  "work must be contiguous int32 [N, 2]");
  check_device(*work, patches, "work");
  STD_TORCH_CHECK(aligned_for_packs(args.weights), "weight must be aligned to 16 bytes");
  args.work = static_cast<const int32_t*>(work->const_data_ptr());
  args.work_count = work->size(0);
  if (!debug_boxes()) return;
  const std::vector<int32_t> pairs = int32_on_host(args.work, 2 * args.work_count);
  const std::vector<int32_t> boxes = int32_on_host(args.out_boxes, 6 * args.batch);
  for (size_t i = 0; i < pairs.size(); i += 2) {
    STD_TORCH_CHECK(pairs[i] >= 0 && pairs[i] < args.batch, "work names a patch beyond the batch");
    const int32_t* box = boxes.data() + 6 * pairs[i];
    int64_t cells = 1;
    for (int axis = 0; axis < 3; ++axis) cells *= std::max(box[axis + 3] - box[axis], 0);
    STD_TORCH_CHECK(pairs[i + 1] >= 0 && int64_t(pairs[i + 1]) * kConvTile < cells,
                    "work names a tile beyond its patch");
  }
}

// Adds transformed weights, and the marks of the patches to convolve with them.
inline void add_tiles(PatchConvArgs& args, const Tensor& patches, const OptionalTensor& transformed,
                      const OptionalTensor& tiled) {
  STD_TORCH_CHECK(transformed.has_value() == tiled.has_value(),
                  "transformed and tiled must come together");
  if (!tiled.has_value()) return;
  for (int axis = 0; axis < 3; ++axis) {
    STD_TORCH_CHECK(args.kernel[axis] == 3 && args.stride[axis] == 1 && args.dilation[axis] == 1,
                    "transformed weights are for 3x3x3 kernels with stride and dilation one");
  }
  STD_TORCH_CHECK(args.groups == 1, "transformed weights are for convolutions without groups");
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
