// The device and stream that torch uses, and the error after a failed launch.
#pragma once

#include <cuda_runtime_api.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

// Only libtorch_cuda defines this function. The symbol is weak, so this library also loads with a
// CPU build of torch, where no CUDA tensor can reach the operators.
extern "C" __attribute__((weak)) AOTITorchError
aoti_torch_get_current_cuda_stream(int32_t device_index, void** ret_stream);

namespace pyadx {

using torch::stable::accelerator::DeviceGuard;

inline cudaStream_t current_stream(const torch::stable::Tensor& tensor) {
  STD_TORCH_CHECK(aoti_torch_get_current_cuda_stream != nullptr,
                  "this build of torch has no CUDA support: install one with CUDA");
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

inline void check_launch(cudaError_t error, const char* operator_name) {
  STD_TORCH_CHECK(error == cudaSuccess, "pyadx::", operator_name,
                  " could not be launched: ", cudaGetErrorString(error));
}

}  // namespace pyadx
