// Inner loops of the patch convolution for What every machine has: vectors of 16 bytes.
#define PYADX_ISA portable
#include "patches/conv_rows.h"
#include "patches/row_tables.h"

namespace pyadx {
namespace portable {
namespace {

template <typename T>
constexpr RowTables<T> kTables = {table_of<T, 16, 1>(), table_of<T, 16, 1>(), table_of<T, 16, 1>(),
                                  table_of<T, 16, 1>()};

}  // namespace

const RowTables<float>& tables_f32() { return kTables<float>; }
const RowTables<double>& tables_f64() { return kTables<double>; }

}  // namespace portable
}  // namespace pyadx
