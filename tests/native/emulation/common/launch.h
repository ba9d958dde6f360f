// In place of csrc/common/launch.h: the kernel runs on the host.
#pragma once

#include <cuda_runtime_api.h>

#include "common/grid.h"

namespace pyadx {

template <typename... Parameters, typename... Arguments>
cudaError_t launch_kernel(void (*kernel)(Parameters...), dim3 grid, int threads, cudaStream_t,
                          const Arguments&... arguments) {
  return emulation::run(grid, static_cast<unsigned>(threads), [&] { kernel(arguments...); });
}

}  // namespace pyadx
