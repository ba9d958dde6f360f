// The operators, one line each; shapes in the comments are what bindings/arguments.h checks.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(pyadx, m) {
  // volume [C,D,H,W], boxes int64 [B,6] (z0 y0 x0 z1 y1 x1), fill broadcastable to volume
  //   -> [B,C,D,H,W]
  m.def("occlude_boxes(Tensor volume, Tensor boxes, Tensor fill) -> Tensor");
  m.def("occlude_boxes_out(Tensor volume, Tensor boxes, Tensor fill, Tensor(a!) out) -> ()");
  // volume [C,D,H,W], labels int32 [D,H,W], intervals int64 [B,2] (lo <= label < hi), fill as above
  //   -> [B,C,D,H,W]
  m.def("occlude_labels(Tensor volume, Tensor labels, Tensor intervals, Tensor fill) -> Tensor");
  m.def(
      "occlude_labels_out(Tensor volume, Tensor labels, Tensor intervals, Tensor fill, "
      "Tensor(a!) out) -> ()");
  // features [B,K,d,h,w], weights [B,K], size D H W, rectify none|abs|relu -> [B,D,H,W]
  m.def(
      "weighted_cam(Tensor features, Tensor weights, SymInt[] size, str rectify, float[] scale, "
      "float[] offset) -> Tensor");
}
