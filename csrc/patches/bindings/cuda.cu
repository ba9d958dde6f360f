// CUDA implementations of the patch operators: they unpack tensors and launch kernels on the
// device's current stream.
#include "bindings/cuda_stream.h"
#include "bindings/library.h"
#include "patches/bindings/conv_arguments.h"

namespace pyadx {
namespace {

void patch_gather(const OptionalTensor map, const OptionalTensor patches,
                  const OptionalTensor boxes, const Tensor frames, const Sizes map_size, double pad,
                  Tensor out) {
  const DeviceGuard guard(out.get_device_index());
  check_launch(patch_gather_cuda(gather_of(map, patches, boxes, frames, map_size, pad, out, false),
                                 current_stream(out)),
               "patch_gather");
}

void patch_relu(const Tensor patches, const Tensor boxes, const Tensor before,
                const OptionalTensor scale, Tensor out) {
  const DeviceGuard guard(out.get_device_index());
  check_launch(
      patch_relu_cuda(relu_of(patches, boxes, before, scale, out, false), current_stream(out)),
      "patch_relu");
}

void patch_max_pool(const Tensor patches, const Tensor boxes, const Tensor before,
                    const Sizes kernel, const Sizes stride, const Sizes padding,
                    const Sizes dilation, bool rectify, const Tensor out_boxes, Tensor out) {
  const DeviceGuard guard(out.get_device_index());
  check_launch(patch_max_pool_cuda(max_pool_of(patches, boxes, before, kernel, stride, padding,
                                               dilation, rectify, out_boxes, out, false),
                                   current_stream(out)),
               "patch_max_pool");
}

void patch_place(const Tensor patches, const Tensor boxes, const Tensor out_boxes, int64_t channel,
                 bool add, Tensor out) {
  const DeviceGuard guard(out.get_device_index());
  check_launch(patch_place_cuda(place_of(patches, boxes, out_boxes, channel, add, out, false),
                                current_stream(out)),
               "patch_place");
}

void patch_scatter(const Tensor patches, const Tensor boxes, const Tensor map, Tensor out) {
  const DeviceGuard guard(out.get_device_index());
  check_launch(patch_scatter_cuda(scatter_of(patches, boxes, map, out, false), current_stream(out)),
               "patch_scatter");
}

void patch_sum(const Tensor patches, const Tensor boxes, Tensor out) {
  const DeviceGuard guard(out.get_device_index());
  check_launch(patch_sum_cuda(sum_of(patches, boxes, out, false), current_stream(out)),
               "patch_sum");
}

void patch_dot(const Tensor patches, const Tensor boxes, const Tensor weight, Tensor out) {
  const DeviceGuard guard(out.get_device_index());
  check_launch(patch_dot_cuda(dot_of(patches, boxes, weight, out, false), current_stream(out)),
               "patch_dot");
}

void patch_conv(const Tensor patches, const Tensor boxes, const Tensor weight, const Sizes stride,
                const Sizes padding, const Sizes dilation, const Tensor out_boxes,
                const OptionalTensor before, const OptionalTensor transformed,
                const OptionalTensor tiled, const OptionalTensor work, Tensor out) {
  STD_TORCH_CHECK(!transformed.has_value() && !tiled.has_value(),
                  "transformed and tiled are for the CPU only");
  const DeviceGuard guard(out.get_device_index());
  PatchConvArgs args =
      conv_of(patches, boxes, weight, stride, padding, dilation, out_boxes, before, out, false);
  add_work(args, patches, work);
  check_launch(patch_conv_cuda(args, current_stream(out)), "patch_conv");
}

}  // namespace
}  // namespace pyadx

PYADX_CUDA_OPERATORS(m) {
  m.impl("patch_gather", TORCH_BOX(&pyadx::patch_gather));
  m.impl("patch_relu", TORCH_BOX(&pyadx::patch_relu));
  m.impl("patch_max_pool", TORCH_BOX(&pyadx::patch_max_pool));
  m.impl("patch_place", TORCH_BOX(&pyadx::patch_place));
  m.impl("patch_scatter", TORCH_BOX(&pyadx::patch_scatter));
  m.impl("patch_sum", TORCH_BOX(&pyadx::patch_sum));
  m.impl("patch_dot", TORCH_BOX(&pyadx::patch_dot));
  m.impl("patch_conv", TORCH_BOX(&pyadx::patch_conv));
}
