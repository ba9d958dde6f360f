// Picks the inner loops of the patch convolution for the machine at hand.
#include "patches/row_tables.h"

#include <cstdlib>
#include <cstring>

#include "common/amx.h"

namespace pyadx {
namespace {

enum class Isa { kPortable, kAvx2, kAvx512 };

Isa best() {
#ifdef PYADX_X86_VECTORS
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")) {
    return Isa::kAvx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::kAvx2;
#endif
  return Isa::kPortable;
}

Isa chosen() {
  static const Isa isa = [] {
    const char* wanted = std::getenv("PYADX_ISA");
    const Isa most = best();
    if (wanted == nullptr) return most;
    if (std::strcmp(wanted, "portable") == 0) return Isa::kPortable;
    if (std::strcmp(wanted, "avx2") == 0 && most == Isa::kAvx512) return Isa::kAvx2;
    return most;
  }();
  return isa;
}

bool by_amx() {
#ifdef PYADX_AMX
  static const bool hardware = [] {
    const char* wanted = std::getenv("PYADX_AMX");
    return (wanted == nullptr || std::strcmp(wanted, "emulated") != 0) && best() == Isa::kAvx512 &&
           amx_usable();
  }();
  return hardware;
#else
  return false;
#endif
}

}  // namespace

template <>
const RowTables<float>& row_tables<float>() {
#ifdef PYADX_X86_VECTORS
  if (chosen() == Isa::kAvx512) return avx512::tables_f32();
  if (chosen() == Isa::kAvx2) return avx2::tables_f32();
#endif
  return portable::tables_f32();
}

template <>
const RowTables<double>& row_tables<double>() {
#ifdef PYADX_X86_VECTORS
  if (chosen() == Isa::kAvx512) return avx512::tables_f64();
  if (chosen() == Isa::kAvx2) return avx2::tables_f64();
#endif
  return portable::tables_f64();
}

template <>
const TileTables<float>& tile_tables<float>() {
#ifdef PYADX_X86_VECTORS
  if (chosen() == Isa::kAvx512) return avx512::tiles_f32();
  if (chosen() == Isa::kAvx2) return avx2::tiles_f32();
#endif
  return portable::tiles_f32();
}

template <>
const TileTables<double>& tile_tables<double>() {
#ifdef PYADX_X86_VECTORS
  if (chosen() == Isa::kAvx512) return avx512::tiles_f64();
  if (chosen() == Isa::kAvx2) return avx2::tiles_f64();
#endif
  return portable::tiles_f64();
}

const SplitKernels& split_kernels() {
#ifdef PYADX_AMX
  if (by_amx()) return amx::hardware_split();
#endif
#ifdef PYADX_X86_VECTORS
  if (chosen() == Isa::kAvx512) return avx512::emulated_split();
  if (chosen() == Isa::kAvx2) return avx2::emulated_split();
#endif
  return portable::emulated_split();
}

const char* split_arithmetic() { return by_amx() ? "amx" : "emulated"; }

const char* patch_conv_instruction_set() {
  switch (chosen()) {
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx2:
      return "avx2";
    default:
      return "portable";
  }
}

}  // namespace pyadx
