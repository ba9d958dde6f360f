// CPU side of patch_dot. Along a row, cells and channels are contiguous in both patch and weight.
#include <vector>

#include "common/vector_clones.h"
#include "patches/dot.h"
#include "patches/planes.h"

namespace pyadx {
namespace {

constexpr int64_t kLanes = 16;

// Adds products to kLanes interleaved sums.
template <typename T>
PYADX_VECTOR_CLONES void add_products(const T* a, const T* b, int64_t count, T* sums) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (int64_t lane = 0; i + lane < count; ++lane) sums[lane] += a[i + lane] * b[i + lane];
}

// Rows are added up in float64: a map has many of them.
template <typename T>
T dot_patch(const PatchDotArgs& a, int64_t b, int64_t k) {
  const PatchBatch& p = a.patches;
  const int32_t* box = p.boxes + 6 * b;
  const int64_t count = (box[5] - box[2]) * p.channels;
  double total = 0.0;
  for (int64_t z = box[0]; z < box[3]; ++z) {
    for (int64_t y = box[1]; y < box[4]; ++y) {
      const int64_t row = ((k * a.map_size[0] + z) * a.map_size[1] + y) * a.map_size[2] + box[2];
      T sums[kLanes] = {};
      add_products(static_cast<const T*>(p.data) + p.index(b, {z, y, box[2]}),
                   static_cast<const T*>(a.weight) + row * p.channels, count, sums);
      for (const T sum : sums) total += static_cast<double>(sum);
    }
  }
  return static_cast<T>(total);
}

}  // namespace

// All patches are multiplied with the weights of one output before those of the next, so the
// weights stay in the cache.
void patch_dot_cpu(const PatchDotArgs& a, const ParallelFor& parallel) {
  const int64_t elements = a.patches.size[0] * a.patches.size[1] * a.patches.size[2];
  const auto run = [&](auto dot, auto* out) {
    parallel(a.outputs * a.batch, planes_per_thread(elements * a.patches.channels),
             [&](int64_t begin, int64_t end) {
               for (int64_t item = begin; item < end; ++item) {
                 const int64_t k = item / a.batch, b = item % a.batch;
                 out[b * a.outputs + k] = dot(a, b, k);
               }
             });
  };
  by_dtype(
      a.dtype, [&] { run(dot_patch<float>, static_cast<float*>(a.out)); },
      [&] { run(dot_patch<double>, static_cast<double*>(a.out)); });
}

}  // namespace pyadx
