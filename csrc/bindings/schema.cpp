// The schemas of the operators. Comments give the shapes that bindings/arguments.h and
// patches/bindings check.
#include "bindings/library.h"

PYADX_OPERATORS(m) {
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

  // Patches [B,D,H,W,C] hold changes within boxes int32 [B,6] of a map [D,H,W,C], and zeros beyond.

  // map [D,H,W,C], patches, frames int32 [B,6] -> out [B,d,h,w,C] = map + patches, and `pad`
  // outside the map
  m.def(
      "patch_gather(Tensor? map, Tensor? patches, Tensor? boxes, Tensor frames, int[] map_size, "
      "float pad, Tensor(a!) out) -> ()");
  // before [D,H,W,C], scale [C] -> out like patches
  m.def(
      "patch_relu(Tensor patches, Tensor boxes, Tensor before, Tensor? scale, Tensor(a!) out) -> "
      "()");
  // before [D,H,W,C], out_boxes int32 [B,6] -> out [B,d,h,w,C]
  m.def(
      "patch_max_pool(Tensor patches, Tensor boxes, Tensor before, int[] kernel, int[] stride, "
      "int[] padding, int[] dilation, bool rectify, Tensor out_boxes, Tensor(a!) out) -> ()");
  // out [B,d,h,w,K]: channels [channel, channel + C) are written, or added to
  m.def(
      "patch_place(Tensor patches, Tensor boxes, Tensor out_boxes, int channel, bool add, "
      "Tensor(a!) out) -> ()");
  // map [D,H,W,C] -> out [B,D,H,W,C]
  m.def("patch_scatter(Tensor patches, Tensor boxes, Tensor map, Tensor(a!) out) -> ()");
  // -> out [B,C]
  m.def("patch_sum(Tensor patches, Tensor boxes, Tensor(a!) out) -> ()");
  // weight [K,D,H,W,C] -> out [B,K]
  m.def("patch_dot(Tensor patches, Tensor boxes, Tensor weight, Tensor(a!) out) -> ()");
  // weight packed as conv.h says, before [D,H,W,K] -> out [B,d,h,w,K]
  // CPU: transformed holds the weights for tiles, [points,blocks,C,lanes], or those for products
  // of bfloat16, bfloat16 [blocks,9,chunks,3,16,16,2]; tiled uint8 [B] marks patches that use them
  // CUDA: work int32 [N,2], pairs (patch, tile)
  m.def(
      "patch_conv(Tensor patches, Tensor boxes, Tensor weight, int[] stride, int[] padding, int[] "
      "dilation, Tensor out_boxes, Tensor? before, Tensor? transformed, Tensor? tiled, "
      "Tensor? work, Tensor(a!) out) -> ()");
  // bins uint8 [padded by reach], offsets and halves int32 [ball] -> strength float32, direction
  // uint8 [D,H,W]; CUDA (pyadx._ucm has the CPU side)
  m.def(
      "chi_square(Tensor bins, Tensor offsets, Tensor halves, int[] ends, int[] reach, "
      "Tensor(a!) strength, Tensor(b!) direction) -> ()");
  // "avx512", "avx2" or "portable": the inner loops that patch_conv runs on this machine
  m.def("patch_instruction_set() -> str");
  // "amx" or "emulated": how patch_conv computes products of bfloat16
  m.def("patch_split_arithmetic() -> str");
}
