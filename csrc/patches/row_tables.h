// The inner loops of the patch convolution, for the best instruction set of this machine.
//
// Chosen once, at first use. In the environment, PYADX_ISA (avx512, avx2, portable) selects a lower
// one, for tests and for comparing machines; PYADX_AMX=emulated selects the emulation of AMX on a
// processor that has AMX.
#pragma once

#include "patches/conv.h"
#include "patches/split.h"
#include "patches/tiles.h"

namespace pyadx {

namespace avx512 {
const RowTables<float>& tables_f32();
const RowTables<double>& tables_f64();
const TileTables<float>& tiles_f32();
const TileTables<double>& tiles_f64();
const SplitKernels& emulated_split();
}  // namespace avx512
namespace avx2 {
const RowTables<float>& tables_f32();
const RowTables<double>& tables_f64();
const TileTables<float>& tiles_f32();
const TileTables<double>& tiles_f64();
const SplitKernels& emulated_split();
}  // namespace avx2
namespace portable {
const RowTables<float>& tables_f32();
const RowTables<double>& tables_f64();
const TileTables<float>& tiles_f32();
const TileTables<double>& tiles_f64();
const SplitKernels& emulated_split();
}  // namespace portable

namespace amx {
const SplitKernels& hardware_split();
}

template <typename T>
const RowTables<T>& row_tables();
template <typename T>
const TileTables<T>& tile_tables();

}  // namespace pyadx
