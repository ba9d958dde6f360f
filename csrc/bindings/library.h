// The name under which operators are registered, and the device of the CUDA implementations. Tests
// replace this header to register CUDA kernels that run on the host.
#pragma once

#include <torch/csrc/stable/library.h>

#define PYADX_OPERATORS(library) STABLE_TORCH_LIBRARY(pyadx, library)
#define PYADX_CUDA_OPERATORS(library) STABLE_TORCH_LIBRARY_IMPL(pyadx, CUDA, library)
