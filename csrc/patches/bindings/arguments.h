// Converts tensors to the plain arguments of the patch operators, for both devices.
//
// As in bindings/arguments.h, the checks are a safety net. The values of boxes are always checked
// on the CPU. On a GPU, reading them would stall the pipeline of kernels, so they are checked with
// PYADX_DEBUG_BOXES=1 only.
#pragma once

#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "bindings/arguments.h"
#include "patches/dot.h"
#include "patches/patches.h"

namespace pyadx {

using OptionalTensor = std::optional<Tensor>;
using Sizes = std::vector<int64_t>;

inline DType patch_dtype(const Tensor& tensor) {
  STD_TORCH_CHECK(
      tensor.scalar_type() == ScalarType::Float || tensor.scalar_type() == ScalarType::Double,
      "patches and maps must be float32 or float64");
  return tensor.scalar_type() == ScalarType::Double ? DType::kFloat64 : DType::kFloat32;
}

// Checks a tensor that kernels read as plain memory, and returns its data.
inline const void* dense(const Tensor& tensor, int64_t dims, const Tensor& like, const char* name) {
  STD_TORCH_CHECK(tensor.dim() == dims && tensor.is_contiguous(), name, " must be contiguous with ",
                  dims, " dimensions");
  STD_TORCH_CHECK(tensor.scalar_type() == like.scalar_type(), name,
                  " must have the dtype of the other tensors");
  check_device(tensor, like, name);
  return tensor.const_data_ptr();
}

inline const int32_t* boxes_of(const Tensor& boxes, int64_t batch, const Tensor& like) {
  STD_TORCH_CHECK(boxes.scalar_type() == ScalarType::Int && boxes.dim() == 2 &&
                      boxes.size(0) == batch && boxes.size(1) == 6 && boxes.is_contiguous(),
                  "boxes must be contiguous int32 [B, 6]");
  check_device(boxes, like, "boxes");
  return static_cast<const int32_t*>(boxes.const_data_ptr());
}

// Copies numbers from a GPU to the host, after all work on the GPU is done.
inline std::vector<int32_t> int32_on_host([[maybe_unused]] const int32_t* from, int64_t count) {
  std::vector<int32_t> copied(static_cast<size_t>(count));
#ifdef PYADX_WITH_CUDA
  STD_TORCH_CHECK(cudaDeviceSynchronize() == cudaSuccess &&
                      cudaMemcpy(copied.data(), from, copied.size() * sizeof(int32_t),
                                 cudaMemcpyDeviceToHost) == cudaSuccess,
                  "boxes could not be copied from the GPU to check them");
#endif
  return copied;
}

inline bool debug_boxes() {
  const char* asked = std::getenv("PYADX_DEBUG_BOXES");
  return asked != nullptr && std::strcmp(asked, "1") == 0;
}

// Checks that every box fits into its slot and, if there is one, into the map.
inline void check_boxes(const int32_t* boxes, int64_t batch, const int64_t* slot,
                        const int64_t* map, bool on_cpu) {
  std::vector<int32_t> copied;
  if (!on_cpu) {
    if (!debug_boxes()) return;
    copied = int32_on_host(boxes, 6 * batch);
    boxes = copied.data();
  }
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t axis = 0; axis < 3; ++axis) {
      const int64_t low = boxes[6 * b + axis], high = boxes[6 * b + axis + 3];
      STD_TORCH_CHECK(high - low <= slot[axis], "a box is larger than the patch that holds it");
      STD_TORCH_CHECK(map == nullptr || high <= low || (low >= 0 && high <= map[axis]),
                      "a box reaches beyond its map");
    }
  }
}

inline void copy_sizes(const Tensor& tensor, int64_t first_axis, int64_t* sizes) {
  for (int64_t axis = 0; axis < 3; ++axis) sizes[axis] = tensor.size(first_axis + axis);
}

inline void copy_triple(const Sizes& values, int64_t least, const char* name, int64_t* to) {
  STD_TORCH_CHECK(values.size() == 3, name, " must have three values");
  for (size_t axis = 0; axis < 3; ++axis) {
    STD_TORCH_CHECK(values[axis] >= least, name, " must be at least ", least);
    to[axis] = values[axis];
  }
}

inline PatchBatch patches_of(const Tensor& patches, const Tensor& boxes, const Tensor& like,
                             const int64_t* map, bool on_cpu) {
  PatchBatch batch{dense(patches, 5, like, "patches"), nullptr, {}, patches.size(4)};
  copy_sizes(patches, 1, batch.size);
  batch.boxes = boxes_of(boxes, patches.size(0), like);
  check_boxes(batch.boxes, patches.size(0), batch.size, map, on_cpu);
  return batch;
}

inline PatchMap map_of(const Tensor& map, int64_t channels, const Tensor& like) {
  PatchMap result{dense(map, 4, like, "map"), {}};
  STD_TORCH_CHECK(map.size(3) == channels, "the map must have ", channels, " channels");
  copy_sizes(map, 0, result.size);
  return result;
}

inline void check_batch(const Tensor& tensor, int64_t batch) {
  STD_TORCH_CHECK(tensor.size(0) == batch, "all tensors must have the same batch size");
}

inline PatchGatherArgs gather_of(const OptionalTensor& map, const OptionalTensor& patches,
                                 const OptionalTensor& boxes, const Tensor& frames,
                                 const Sizes& map_size, double pad, const Tensor& out,
                                 bool on_cpu) {
  PatchGatherArgs args{};
  args.dtype = patch_dtype(out);
  args.out = const_cast<void*>(dense(out, 5, out, "out"));
  args.batch = out.size(0), args.channels = out.size(4);
  copy_sizes(out, 1, args.out_size);
  copy_triple(map_size, 0, "map_size", args.map.size);
  if (map.has_value()) {
    args.map = map_of(*map, args.channels, out);
    for (size_t axis = 0; axis < 3; ++axis) {
      STD_TORCH_CHECK(args.map.size[axis] == map_size[axis],
                      "map_size must be the size of the map");
    }
  }
  args.frames = boxes_of(frames, args.batch, out);
  check_boxes(args.frames, args.batch, args.out_size, nullptr, on_cpu);
  STD_TORCH_CHECK(patches.has_value() == boxes.has_value(),
                  "patches and boxes must be given together");
  if (patches.has_value()) {
    check_batch(*patches, args.batch);
    args.patches = patches_of(*patches, *boxes, out, args.map.size, on_cpu);
    STD_TORCH_CHECK(args.patches.channels == args.channels,
                    "patches must have as many channels as out");
  }
  args.pad = pad;
  return args;
}

inline PatchReluArgs relu_of(const Tensor& patches, const Tensor& boxes, const Tensor& before,
                             const OptionalTensor& scale, const Tensor& out, bool on_cpu) {
  PatchReluArgs args{};
  args.dtype = patch_dtype(patches);
  args.batch = patches.size(0);
  args.before = map_of(before, patches.size(4), patches);
  args.patches = patches_of(patches, boxes, patches, args.before.size, on_cpu);
  args.out = const_cast<void*>(dense(out, 5, patches, "out"));
  for (int64_t axis = 0; axis < 5; ++axis) {
    STD_TORCH_CHECK(out.size(axis) == patches.size(axis), "out must have the shape of patches");
  }
  if (scale.has_value()) {
    args.scale = dense(*scale, 1, patches, "scale");
    STD_TORCH_CHECK(scale->size(0) == args.patches.channels,
                    "scale must have one value per channel");
  }
  return args;
}

inline PatchMaxPoolArgs max_pool_of(const Tensor& patches, const Tensor& boxes,
                                    const Tensor& before, const Sizes& kernel, const Sizes& stride,
                                    const Sizes& padding, const Sizes& dilation, bool rectify,
                                    const Tensor& out_boxes, const Tensor& out, bool on_cpu) {
  PatchMaxPoolArgs args{};
  args.dtype = patch_dtype(patches);
  args.batch = patches.size(0);
  args.before = map_of(before, patches.size(4), patches);
  args.patches = patches_of(patches, boxes, patches, args.before.size, on_cpu);
  copy_triple(kernel, 1, "kernel", args.kernel);
  copy_triple(stride, 1, "stride", args.stride);
  copy_triple(padding, 0, "padding", args.padding);
  copy_triple(dilation, 1, "dilation", args.dilation);
  args.rectify = rectify;
  args.out = const_cast<void*>(dense(out, 5, patches, "out"));
  check_batch(out, args.batch);
  STD_TORCH_CHECK(out.size(4) == args.patches.channels,
                  "out must have as many channels as patches");
  copy_sizes(out, 1, args.out_size);
  args.out_boxes = boxes_of(out_boxes, args.batch, patches);
  check_boxes(args.out_boxes, args.batch, args.out_size, nullptr, on_cpu);
  return args;
}

inline PatchPlaceArgs place_of(const Tensor& patches, const Tensor& boxes, const Tensor& out_boxes,
                               int64_t channel, bool add, const Tensor& out, bool on_cpu) {
  PatchPlaceArgs args{};
  args.dtype = patch_dtype(patches);
  args.batch = patches.size(0);
  args.patches = patches_of(patches, boxes, patches, nullptr, on_cpu);
  args.out = const_cast<void*>(dense(out, 5, patches, "out"));
  check_batch(out, args.batch);
  copy_sizes(out, 1, args.out_size);
  args.out_channels = out.size(4), args.channel = channel, args.add = add;
  STD_TORCH_CHECK(channel >= 0 && channel + args.patches.channels <= args.out_channels,
                  "channel is negative, or out has too few channels after it");
  args.out_boxes = boxes_of(out_boxes, args.batch, patches);
  check_boxes(args.out_boxes, args.batch, args.out_size, nullptr, on_cpu);
  return args;
}

inline PatchScatterArgs scatter_of(const Tensor& patches, const Tensor& boxes, const Tensor& map,
                                   const Tensor& out, bool on_cpu) {
  PatchScatterArgs args{};
  args.dtype = patch_dtype(patches);
  args.batch = patches.size(0);
  args.map = map_of(map, patches.size(4), patches);
  args.patches = patches_of(patches, boxes, patches, args.map.size, on_cpu);
  args.out = const_cast<void*>(dense(out, 5, patches, "out"));
  check_batch(out, args.batch);
  for (int64_t axis = 0; axis < 4; ++axis) {
    STD_TORCH_CHECK(out.size(axis + 1) == map.size(axis),
                    "out must have room for copies of the map: [B, D, H, W, C]");
  }
  return args;
}

inline PatchSumArgs sum_of(const Tensor& patches, const Tensor& boxes, const Tensor& out,
                           bool on_cpu) {
  PatchSumArgs args{};
  args.dtype = patch_dtype(patches);
  args.batch = patches.size(0);
  args.patches = patches_of(patches, boxes, patches, nullptr, on_cpu);
  args.out = const_cast<void*>(dense(out, 2, patches, "out"));
  check_batch(out, args.batch);
  STD_TORCH_CHECK(out.size(1) == args.patches.channels, "out must have shape [B, C]");
  return args;
}

inline PatchDotArgs dot_of(const Tensor& patches, const Tensor& boxes, const Tensor& weight,
                           const Tensor& out, bool on_cpu) {
  PatchDotArgs args{};
  args.dtype = patch_dtype(patches);
  args.batch = patches.size(0);
  args.weight = dense(weight, 5, patches, "weight");
  args.outputs = weight.size(0);
  copy_sizes(weight, 1, args.map_size);
  args.patches = patches_of(patches, boxes, patches, args.map_size, on_cpu);
  STD_TORCH_CHECK(weight.size(4) == args.patches.channels,
                  "weight must have shape [K, D, H, W, C]");
  args.out = const_cast<void*>(dense(out, 2, patches, "out"));
  check_batch(out, args.batch);
  STD_TORCH_CHECK(out.size(1) == args.outputs, "out must have shape [B, K]");
  return args;
}

}  // namespace pyadx
