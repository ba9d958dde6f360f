// CPU implementations of the operators: they unpack tensors and run kernels on torch's thread pool.
#include <torch/csrc/stable/library.h>

#include "bindings/arguments.h"
#include "bindings/torch_threads.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace pyadx {
namespace {

// A new batch of volumes has hundreds of megabytes, which are written once. Page faults for pages
// of 4 kB would take longer than the copy itself. Asking for large pages is a hint, which is
// ignored where there are none. Below 32 MiB, glibc reuses memory of this process, which is already
// mapped.
void prefer_large_pages(const Tensor& tensor) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t kLargePage = 1 << 21, kAlwaysFresh = 1 << 25;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(tensor.mutable_data_ptr());
  const uintptr_t end = begin + static_cast<uintptr_t>(tensor.numel()) * tensor.element_size();
  const uintptr_t first = (begin + kLargePage - 1) / kLargePage * kLargePage;
  if (end - begin > kAlwaysFresh) {
    madvise(reinterpret_cast<void*>(first), (end - first) / kLargePage * kLargePage, MADV_HUGEPAGE);
  }
#else
  (void)tensor;
#endif
}

void occlude_boxes_out(const Tensor volume, const Tensor boxes, const Tensor fill, Tensor out) {
  const Occlusion occlusion = occlusion_of(volume, boxes, 6, fill, out);
  occlude_boxes_cpu(occlusion.args, occlusion.region_data(), kTorchThreads);
}

void occlude_labels_out(const Tensor volume, const Tensor labels, const Tensor intervals,
                        const Tensor fill, Tensor out) {
  const Occlusion occlusion = occlusion_of(volume, intervals, 2, fill, out);
  const Tensor checked = checked_labels(labels, volume);
  occlude_labels_cpu(occlusion.args, static_cast<const int32_t*>(checked.const_data_ptr()),
                     occlusion.region_data(), kTorchThreads);
}

Tensor new_batch(const Tensor& volume, const Tensor& regions) {
  Tensor out = torch::stable::new_empty(volume, occluded_shape(volume, regions));
  prefer_large_pages(out);
  return out;
}

Tensor occlude_boxes(const Tensor volume, const Tensor boxes, const Tensor fill) {
  Tensor out = new_batch(volume, boxes);
  occlude_boxes_out(volume, boxes, fill, out);
  return out;
}

Tensor occlude_labels(const Tensor volume, const Tensor labels, const Tensor intervals,
                      const Tensor fill) {
  Tensor out = new_batch(volume, intervals);
  occlude_labels_out(volume, labels, intervals, fill, out);
  return out;
}

Tensor weighted_cam(const Tensor features, const Tensor weights, const std::vector<int64_t> size,
                    const std::string rectify, const std::vector<double> scale,
                    const std::vector<double> offset) {
  const Cam cam = cam_of(features, weights, size, rectify, scale, offset);
  weighted_cam_cpu(cam.args, kTorchThreads);
  return cam.out;
}

}  // namespace
}  // namespace pyadx

STABLE_TORCH_LIBRARY_IMPL(pyadx, CPU, m) {
  m.impl("occlude_boxes", TORCH_BOX(&pyadx::occlude_boxes));
  m.impl("occlude_boxes_out", TORCH_BOX(&pyadx::occlude_boxes_out));
  m.impl("occlude_labels", TORCH_BOX(&pyadx::occlude_labels));
  m.impl("occlude_labels_out", TORCH_BOX(&pyadx::occlude_labels_out));
  m.impl("weighted_cam", TORCH_BOX(&pyadx::weighted_cam));
}
