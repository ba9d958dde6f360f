// Launches a kernel. This is the only place with CUDA's launch syntax; tests replace it to run
// kernels on the host.
#pragma once

#include <cuda_runtime_api.h>

#include "common/grid.h"

namespace pyadx {

template <typename... Parameters, typename... Arguments>
cudaError_t launch_kernel(void (*kernel)(Parameters...), dim3 grid, int threads,
                          cudaStream_t stream, const Arguments&... arguments) {
  kernel<<<grid, static_cast<unsigned>(threads), 0, stream>>>(arguments...);
  return cudaGetLastError();
}

}  // namespace pyadx
