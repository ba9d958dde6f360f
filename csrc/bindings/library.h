// Under which name the operators are registered, and for which device CUDA's are. Tests replace
// this header to register kernels that run on the host.
#pragma once

#include <torch/csrc/stable/library.h>

#define PYADX_OPERATORS(library) STABLE_TORCH_LIBRARY(pyadx, library)
#define PYADX_CUDA_OPERATORS(library) STABLE_TORCH_LIBRARY_IMPL(pyadx, CUDA, library)
