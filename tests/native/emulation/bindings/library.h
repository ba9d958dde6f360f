// In place of csrc/bindings/library.h: the same operators under another name, for CPU tensors.
#pragma once

#include <torch/csrc/stable/library.h>

#define PYADX_OPERATORS(library) STABLE_TORCH_LIBRARY(pyadx_emulated, library)
#define PYADX_CUDA_OPERATORS(library) STABLE_TORCH_LIBRARY_IMPL(pyadx_emulated, CPU, library)
