// CUDA implementation of the segmentation's operator: it unpacks tensors and launches the kernel on
// the device's current stream.
#include "bindings/arguments.h"
#include "bindings/cuda_stream.h"
#include "bindings/library.h"
#include "ucm/chi_square_cuda.h"

namespace pyadx {
namespace {

const void* dense_as(const Tensor& tensor, ScalarType type, int64_t dims, const Tensor& like,
                     const char* name) {
  STD_TORCH_CHECK(
      tensor.scalar_type() == type && tensor.dim() == dims && tensor.is_contiguous(), name,
      " must be contiguous, with the dtype and number of dimensions of csrc/bindings/schema.cpp");
  check_device(tensor, like, name);
  return tensor.const_data_ptr();
}

void chi_square(const Tensor bins, const Tensor offsets, const Tensor halves,
                const std::vector<int64_t> ends, const std::vector<int64_t> reach, Tensor strength,
                Tensor direction) {
  ucm::ChiSquareCudaArgs args{};
  args.bin = static_cast<const uint8_t*>(dense_as(bins, ScalarType::Byte, 3, bins, "bins"));
  args.offset = static_cast<const int32_t*>(dense_as(offsets, ScalarType::Int, 1, bins, "offsets"));
  args.halves = static_cast<const int32_t*>(dense_as(halves, ScalarType::Int, 1, bins, "halves"));
  dense_as(strength, ScalarType::Float, 3, bins, "strength");
  dense_as(direction, ScalarType::Byte, 3, bins, "direction");
  STD_TORCH_CHECK(reach.size() == 3, "reach must have three values");
  int64_t sizes[3];
  for (size_t axis = 0; axis < 3; ++axis) {
    const auto a = static_cast<int64_t>(axis);
    sizes[axis] = bins.size(a) - 2 * reach[axis];
    STD_TORCH_CHECK(
        reach[axis] >= 0 && sizes[axis] == strength.size(a) && sizes[axis] == direction.size(a),
        "bins must have the shape of strength and direction, padded by reach on either side");
    args.reach[axis] = reach[axis];
  }
  args.depth = sizes[0], args.height = sizes[1], args.width = sizes[2];
  STD_TORCH_CHECK(!ends.empty() && ends.size() <= ucm::kMostRadii,
                  "ends must have one to ten values");
  int64_t before = 0;
  for (size_t i = 0; i < ends.size(); ++i) {
    STD_TORCH_CHECK(ends[i] >= before, "ends must not fall: every ball contains the one before");
    before = args.ends[i] = ends[i];
  }
  STD_TORCH_CHECK(
      before == offsets.size(0) && before == halves.size(0) && before <= ucm::kMostBallVoxels,
      "offsets and halves must have one value per voxel of the largest ball, at most 4095");
  args.radii = static_cast<int>(ends.size());
  args.strength = static_cast<float*>(strength.mutable_data_ptr());
  args.direction = static_cast<uint8_t*>(direction.mutable_data_ptr());
  const DeviceGuard guard(bins.get_device_index());
  check_launch(ucm::chi_square_cuda(args, current_stream(bins)), "chi_square");
}

}  // namespace
}  // namespace pyadx

PYADX_CUDA_OPERATORS(m) { m.impl("chi_square", TORCH_BOX(&pyadx::chi_square)); }
