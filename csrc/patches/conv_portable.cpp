// Inner loops of the patch convolution for every machine: vectors of 16 bytes.
#define PYADX_ISA portable
#include "patches/conv_rows.h"
#include "patches/row_tables.h"
#include "patches/split_products.h"
#include "patches/tile_kernels.h"

namespace pyadx {
namespace portable {
namespace {

template <typename T>
constexpr RowTables<T> kTables = {table_of<T, 16, 1>(), table_of<T, 16, 1>(), table_of<T, 16, 1>(),
                                  table_of<T, 16, 1>()};

template <typename T>
constexpr TileTables<T> kTiles = tile_tables_of<T, 16, 2, 5>();

constexpr SplitKernels kEmulated = split_kernels_of<EmulatedTiles>();

}  // namespace

const RowTables<float>& tables_f32() { return kTables<float>; }
const RowTables<double>& tables_f64() { return kTables<double>; }
const TileTables<float>& tiles_f32() { return kTiles<float>; }
const TileTables<double>& tiles_f64() { return kTiles<double>; }
const SplitKernels& emulated_split() { return kEmulated; }

}  // namespace portable
}  // namespace pyadx
