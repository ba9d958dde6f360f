// Functions of pyadx._ucm on volumes: cues, watershed, region graph.
#pragma once

#include <pybind11/pybind11.h>

namespace pyadx::bindings {

void define_volume_functions(pybind11::module_& module);

}  // namespace pyadx::bindings
