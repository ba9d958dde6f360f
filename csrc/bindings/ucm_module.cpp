// Python module pyadx._ucm (pybind11): the segmentation core for NumPy arrays, and facts about this
// build for `pyadx info`.
#include <pybind11/pybind11.h>

#include "bindings/ucm_trees.h"
#include "bindings/ucm_volumes.h"

namespace py = pybind11;

PYBIND11_MODULE(_ucm, m) {
  m.doc() = "Native core of pyadx that does not depend on torch.";
  m.attr("version") = PYADX_VERSION;
  pyadx::bindings::define_volume_functions(m);
  pyadx::bindings::define_tree_functions(m);
  m.def(
      "build_info",
      [] {
        py::dict info;
        info["compiler"] = PYADX_COMPILER;
        info["build_type"] = PYADX_BUILD_TYPE;
        info["torch_headers"] = PYADX_TORCH_VERSION;
        info["cuda_compiler"] = PYADX_CUDA_COMPILER;
        info["cuda_architectures"] = PYADX_CUDA_ARCHITECTURES;
        info["cuda_off_reason"] = PYADX_CUDA_OFF_REASON;
        return info;
      },
      "What the native libraries were built with: compilers, torch headers, CUDA architectures "
      "(empty strings where CUDA is off; cuda_off_reason says why).");
}
