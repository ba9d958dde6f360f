// Converts tensors to the kernels' plain arguments, for both devices.
//
// Python checks what users pass and explains what is wrong. The checks here are a safety net: a
// wrong direct call of torch.ops.pyadx.* must not read out of bounds.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <string>
#include <vector>

#include "cam/cam.h"
#include "occlusion/occlude.h"

namespace pyadx {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Returns a contiguous tensor as it is: the dispatcher takes microseconds even if it copies
// nothing.
inline Tensor as_contiguous(const Tensor& tensor) {
  return tensor.is_contiguous() ? tensor : torch::stable::contiguous(tensor);
}

// Arguments together with the tensors that own the memory they point to.
struct Occlusion {
  OccludeArgs args;
  Tensor volume, regions, fill, out;

  const int64_t* region_data() const {
    return static_cast<const int64_t*>(regions.const_data_ptr());
  }
};

struct Cam {
  CamArgs args;
  Tensor features, weights, low, out;
};

inline void check_device(const Tensor& tensor, const Tensor& reference, const char* name) {
  STD_TORCH_CHECK(tensor.device() == reference.device(), name,
                  " must be on the device of the first argument");
}

inline std::vector<int64_t> occluded_shape(const Tensor& volume, const Tensor& regions) {
  STD_TORCH_CHECK(volume.dim() == 4, "volume must have four dimensions, got ", volume.dim());
  STD_TORCH_CHECK(regions.dim() == 2, "regions must have two dimensions, got ", regions.dim());
  return {regions.size(0), volume.size(0), volume.size(1), volume.size(2), volume.size(3)};
}

inline Occlusion occlusion_of(const Tensor& volume, const Tensor& regions, int64_t region_size,
                              const Tensor& fill, const Tensor& out) {
  const std::vector<int64_t> shape = occluded_shape(volume, regions);
  const int64_t element_size = static_cast<int64_t>(volume.element_size());
  STD_TORCH_CHECK(element_size == 2 || element_size == 4 || element_size == 8,
                  "volume must have elements of 2, 4 or 8 bytes");
  STD_TORCH_CHECK(regions.scalar_type() == ScalarType::Long && regions.size(1) == region_size,
                  "regions must be an int64 tensor with ", region_size, " columns");
  STD_TORCH_CHECK(fill.scalar_type() == volume.scalar_type(), "fill must have the volume's dtype");
  STD_TORCH_CHECK(fill.dim() == 4,
                  "fill must have four dimensions, each of size 1 or of the volume's size");
  STD_TORCH_CHECK(
      out.scalar_type() == volume.scalar_type() && out.is_contiguous() && out.dim() == 5,
      "out must be contiguous, with five dimensions and the volume's dtype");
  for (int64_t axis = 0; axis < 5; ++axis) {
    STD_TORCH_CHECK(out.size(axis) == shape[static_cast<size_t>(axis)],
                    "out must have shape [B, C, D, H, W]");
  }
  check_device(regions, volume, "regions");
  check_device(fill, volume, "fill");
  check_device(out, volume, "out");

  Occlusion occlusion{
      {}, torch::stable::contiguous(volume), torch::stable::contiguous(regions), fill, out};
  OccludeArgs& args = occlusion.args;
  args.volume = occlusion.volume.const_data_ptr();
  args.element_size = element_size;
  args.channels = shape[1], args.depth = shape[2], args.height = shape[3], args.width = shape[4];
  args.fill = fill.const_data_ptr();
  for (int64_t axis = 0; axis < 4; ++axis) {
    const int64_t size = fill.size(axis);
    STD_TORCH_CHECK(size == 1 || size == volume.size(axis),
                    "fill must have four dimensions, each of size 1 or of the volume's size");
    args.fill_strides[axis] = size == 1 ? 0 : fill.stride(axis);
  }
  args.batch = shape[0];
  args.out = out.mutable_data_ptr();
  return occlusion;
}

inline Tensor checked_labels(const Tensor& labels, const Tensor& volume) {
  STD_TORCH_CHECK(labels.scalar_type() == ScalarType::Int && labels.dim() == 3,
                  "labels must be int32 with three dimensions");
  for (int64_t axis = 0; axis < 3; ++axis) {
    STD_TORCH_CHECK(labels.size(axis) == volume.size(axis + 1),
                    "labels must have the volume's spatial shape");
  }
  check_device(labels, volume, "labels");
  return as_contiguous(labels);
}

inline DType feature_dtype(ScalarType type) {
  switch (type) {
    case ScalarType::Half:
      return DType::kFloat16;
    case ScalarType::BFloat16:
      return DType::kBFloat16;
    case ScalarType::Float:
      return DType::kFloat32;
    case ScalarType::Double:
      return DType::kFloat64;
    default:
      STD_TORCH_CHECK(false, "features must be float16, bfloat16, float32 or float64");
  }
}

inline Rectify rectify_of(const std::string& name) {
  if (name == "none") return Rectify::kNone;
  if (name == "abs") return Rectify::kAbs;
  STD_TORCH_CHECK(name == "relu", "rectify must be none, abs or relu, got ", name);
  return Rectify::kRelu;
}

// Whether the stride of w alone steps through all voxels (d, h, w).
inline bool spatially_flat(const Tensor& features) {
  const int64_t step = features.stride(4);
  return features.stride(3) == step * features.size(4) &&
         features.stride(2) == step * features.size(4) * features.size(3);
}

inline Cam cam_of(const Tensor& features, const Tensor& weights, const std::vector<int64_t>& size,
                  const std::string& rectify, const std::vector<double>& scale,
                  const std::vector<double>& offset) {
  STD_TORCH_CHECK(features.dim() == 5, "features must have five dimensions, got ", features.dim());
  const DType dtype = feature_dtype(features.scalar_type());
  const ScalarType sum_type = dtype == DType::kFloat64 ? ScalarType::Double : ScalarType::Float;
  STD_TORCH_CHECK(weights.dim() == 2 && weights.size(0) == features.size(0) &&
                      weights.size(1) == features.size(1),
                  "weights must have shape [B, K]");
  STD_TORCH_CHECK(weights.scalar_type() == sum_type,
                  "weights must be float32, or float64 for float64 features");
  STD_TORCH_CHECK(size.size() == 3 && scale.size() == 3 && offset.size() == 3,
                  "size, scale and offset need one value for each of three axes");
  for (const int64_t length : size) STD_TORCH_CHECK(length >= 0, "size must not be negative");
  check_device(weights, features, "weights");

  const bool flat = spatially_flat(features);
  const bool planar = flat && features.stride(4) == 1;
  const bool channels_last = flat && features.stride(1) == 1;
  Cam cam{
      {},
      planar || channels_last ? features : as_contiguous(features),
      torch::stable::contiguous(weights),
      torch::stable::new_empty(
          features, {features.size(0), features.size(2), features.size(3), features.size(4)},
          sum_type),
      torch::stable::new_empty(features, {features.size(0), size[0], size[1], size[2]}, sum_type)};
  CamArgs& args = cam.args;
  args.features = cam.features.const_data_ptr();
  args.dtype = dtype;
  args.batch = features.size(0), args.channels = features.size(1);
  args.stride_b = cam.features.stride(0);
  args.stride_k = cam.features.stride(1);
  args.stride_n = planar || !channels_last ? 1 : cam.features.stride(4);
  args.weights = cam.weights.const_data_ptr();
  args.rectify = rectify_of(rectify);
  for (size_t axis = 0; axis < 3; ++axis) {
    args.in_size[axis] = features.size(static_cast<int64_t>(axis) + 2);
    args.out_size[axis] = size[axis];
    args.scale[axis] = scale[axis];
    args.offset[axis] = offset[axis];
  }
  STD_TORCH_CHECK(args.in_voxels() > 0 || args.batch * args.out_voxels() == 0,
                  "features must have at least one voxel to be upsampled");
  args.low = cam.low.mutable_data_ptr();
  args.out = cam.out.mutable_data_ptr();
  return cam;
}

}  // namespace pyadx
