// CUDA implementations of the operators: they unpack tensors and launch kernels on the device's
// current stream.
#include "bindings/arguments.h"
#include "bindings/cuda_stream.h"
#include "bindings/library.h"

namespace pyadx {
namespace {

void occlude_boxes_out(const Tensor volume, const Tensor boxes, const Tensor fill, Tensor out) {
  const DeviceGuard guard(volume.get_device_index());
  const Occlusion occlusion = occlusion_of(volume, boxes, 6, fill, out);
  check_launch(occlude_boxes_cuda(occlusion.args, occlusion.region_data(), current_stream(volume)),
               "occlude_boxes");
}

void occlude_labels_out(const Tensor volume, const Tensor labels, const Tensor intervals,
                        const Tensor fill, Tensor out) {
  const DeviceGuard guard(volume.get_device_index());
  const Occlusion occlusion = occlusion_of(volume, intervals, 2, fill, out);
  const Tensor checked = checked_labels(labels, volume);
  check_launch(
      occlude_labels_cuda(occlusion.args, static_cast<const int32_t*>(checked.const_data_ptr()),
                          occlusion.region_data(), current_stream(volume)),
      "occlude_labels");
}

Tensor occlude_boxes(const Tensor volume, const Tensor boxes, const Tensor fill) {
  Tensor out = torch::stable::new_empty(volume, occluded_shape(volume, boxes));
  occlude_boxes_out(volume, boxes, fill, out);
  return out;
}

Tensor occlude_labels(const Tensor volume, const Tensor labels, const Tensor intervals,
                      const Tensor fill) {
  Tensor out = torch::stable::new_empty(volume, occluded_shape(volume, intervals));
  occlude_labels_out(volume, labels, intervals, fill, out);
  return out;
}

Tensor weighted_cam(const Tensor features, const Tensor weights, const std::vector<int64_t> size,
                    const std::string rectify, const std::vector<double> scale,
                    const std::vector<double> offset) {
  const DeviceGuard guard(features.get_device_index());
  const Cam cam = cam_of(features, weights, size, rectify, scale, offset);
  check_launch(weighted_cam_cuda(cam.args, current_stream(features)), "weighted_cam");
  return cam.out;
}

}  // namespace
}  // namespace pyadx

PYADX_CUDA_OPERATORS(m) {
  m.impl("occlude_boxes", TORCH_BOX(&pyadx::occlude_boxes));
  m.impl("occlude_boxes_out", TORCH_BOX(&pyadx::occlude_boxes_out));
  m.impl("occlude_labels", TORCH_BOX(&pyadx::occlude_labels));
  m.impl("occlude_labels_out", TORCH_BOX(&pyadx::occlude_labels_out));
  m.impl("weighted_cam", TORCH_BOX(&pyadx::weighted_cam));
}
