// CPU implementations of the patch operators: they unpack tensors and run kernels on torch's thread
// pool.
#include <torch/csrc/stable/library.h>

#include "bindings/torch_threads.h"
#include "patches/bindings/conv_arguments.h"

namespace pyadx {
namespace {

void patch_gather(const OptionalTensor map, const OptionalTensor patches,
                  const OptionalTensor boxes, const Tensor frames, const Sizes map_size, double pad,
                  Tensor out) {
  patch_gather_cpu(gather_of(map, patches, boxes, frames, map_size, pad, out, true), kTorchThreads);
}

void patch_relu(const Tensor patches, const Tensor boxes, const Tensor before,
                const OptionalTensor scale, Tensor out) {
  patch_relu_cpu(relu_of(patches, boxes, before, scale, out, true), kTorchThreads);
}

void patch_max_pool(const Tensor patches, const Tensor boxes, const Tensor before,
                    const Sizes kernel, const Sizes stride, const Sizes padding,
                    const Sizes dilation, bool rectify, const Tensor out_boxes, Tensor out) {
  patch_max_pool_cpu(max_pool_of(patches, boxes, before, kernel, stride, padding, dilation, rectify,
                                 out_boxes, out, true),
                     kTorchThreads);
}

void patch_place(const Tensor patches, const Tensor boxes, const Tensor out_boxes, int64_t channel,
                 bool add, Tensor out) {
  patch_place_cpu(place_of(patches, boxes, out_boxes, channel, add, out, true), kTorchThreads);
}

void patch_scatter(const Tensor patches, const Tensor boxes, const Tensor map, Tensor out) {
  patch_scatter_cpu(scatter_of(patches, boxes, map, out, true), kTorchThreads);
}

void patch_sum(const Tensor patches, const Tensor boxes, Tensor out) {
  patch_sum_cpu(sum_of(patches, boxes, out, true), kTorchThreads);
}

void patch_dot(const Tensor patches, const Tensor boxes, const Tensor weight, Tensor out) {
  patch_dot_cpu(dot_of(patches, boxes, weight, out, true), kTorchThreads);
}

void patch_conv(const Tensor patches, const Tensor boxes, const Tensor weight, const Sizes stride,
                const Sizes padding, const Sizes dilation, const Tensor out_boxes,
                const OptionalTensor before, const OptionalTensor transformed,
                const OptionalTensor tiled, const OptionalTensor work, Tensor out) {
  STD_TORCH_CHECK(!work.has_value(), "work is for CUDA only");
  PatchConvArgs args =
      conv_of(patches, boxes, weight, stride, padding, dilation, out_boxes, before, out, true);
  add_tiles(args, patches, transformed, tiled);
  if (patches.scalar_type() == ScalarType::Double) {
    patch_conv_cpu<double>(args, kTorchThreads);
  } else {
    patch_conv_cpu<float>(args, kTorchThreads);
  }
}

std::string patch_instruction_set() { return patch_conv_instruction_set(); }
std::string patch_split_arithmetic() { return split_arithmetic(); }

}  // namespace
}  // namespace pyadx

STABLE_TORCH_LIBRARY_IMPL(pyadx, CPU, m) {
  m.impl("patch_gather", TORCH_BOX(&pyadx::patch_gather));
  m.impl("patch_relu", TORCH_BOX(&pyadx::patch_relu));
  m.impl("patch_max_pool", TORCH_BOX(&pyadx::patch_max_pool));
  m.impl("patch_place", TORCH_BOX(&pyadx::patch_place));
  m.impl("patch_scatter", TORCH_BOX(&pyadx::patch_scatter));
  m.impl("patch_sum", TORCH_BOX(&pyadx::patch_sum));
  m.impl("patch_dot", TORCH_BOX(&pyadx::patch_dot));
  m.impl("patch_conv", TORCH_BOX(&pyadx::patch_conv));
}

STABLE_TORCH_LIBRARY_IMPL(pyadx, CompositeExplicitAutograd, m) {
  m.impl("patch_instruction_set", TORCH_BOX(&pyadx::patch_instruction_set));
  m.impl("patch_split_arithmetic", TORCH_BOX(&pyadx::patch_split_arithmetic));
}
