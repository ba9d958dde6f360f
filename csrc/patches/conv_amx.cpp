// The inner loop of split.h with AMX instructions.
#define PYADX_ISA amx
#include "patches/row_tables.h"
#include "patches/split_products.h"

namespace pyadx {
namespace amx {
namespace {

constexpr SplitKernels kHardware = split_kernels_of<HardwareTiles>();

}  // namespace

const SplitKernels& hardware_split() { return kHardware; }

}  // namespace amx
}  // namespace pyadx
