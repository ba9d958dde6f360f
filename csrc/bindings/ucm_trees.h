// Functions of pyadx._ucm on region graphs: merging, depth-first order.
#pragma once

#include <pybind11/pybind11.h>

namespace pyadx::bindings {

void define_tree_functions(pybind11::module_& module);

}  // namespace pyadx::bindings
