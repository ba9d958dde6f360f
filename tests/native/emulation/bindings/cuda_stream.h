// In place of csrc/bindings/cuda_stream.h: no stream, no device.
#pragma once

#include <cuda_runtime_api.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

namespace pyadx {

struct DeviceGuard {
  explicit DeviceGuard(int32_t) {}
};

inline cudaStream_t current_stream(const torch::stable::Tensor&) { return nullptr; }

inline void check_launch(cudaError_t error, const char* operator_name) {
  STD_TORCH_CHECK(error == cudaSuccess, "pyadx::", operator_name,
                  " could not be launched: ", cudaGetErrorString(error));
}

}  // namespace pyadx
