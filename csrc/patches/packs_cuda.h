// How the work of CUDA kernels on patches is divided among threads and blocks.
//
// A thread owns a pack of neighbouring channels of one cell: 16 bytes where the number of channels
// and the addresses allow it. A block owns a run of packs of one plane, and loops over planes and
// patches. Only memory offsets have 64 bits, other numbers 32. All divisions use FastDivide: a
// 64-bit division takes about a hundred instructions.
#pragma once

#include <initializer_list>

#include "common/fast_divide.h"
#include "common/launch.h"
#include "common/pack.h"
#include "patches/patches.h"

namespace pyadx {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kLargest = 2147483647;  // the largest size, and most elements of a plane

struct Place32 {
  int32_t z, y, x;
};

// A pack of channels in a batch of slots [B, D, H, W, C].
struct Element {
  int32_t b;
  Place32 index;    // in its slot
  int64_t cell;     // number of its cell in the batch
  int32_t channel;  // the first of the pack
};

__device__ inline Place32 cell_of(const Element& e, const int32_t* box) {
  return {box[0] + e.index.z, box[1] + e.index.y, box[2] + e.index.x};
}

__device__ inline bool below_ends(const Place32& cell, const int32_t* box) {
  return cell.z < box[3] && cell.y < box[4] && cell.x < box[5];
}

__device__ inline bool within(const Place32& cell, const int32_t* box) {
  return cell.z >= box[0] && cell.y >= box[1] && cell.x >= box[2] && below_ends(cell, box);
}

template <typename T>
struct Map32 {
  const T* data;
  int32_t size[3];

  explicit Map32(const PatchMap& map) : data(static_cast<const T*>(map.data)) {
    for (int a = 0; a < 3; ++a) size[a] = static_cast<int32_t>(map.size[a]);
  }
  __device__ bool holds(const Place32& c) const {  // negative numbers are large as unsigned ones
    return static_cast<uint32_t>(c.z) < static_cast<uint32_t>(size[0]) &&
           static_cast<uint32_t>(c.y) < static_cast<uint32_t>(size[1]) &&
           static_cast<uint32_t>(c.x) < static_cast<uint32_t>(size[2]);
  }
  __device__ const T* at(const Place32& c, int32_t channels) const {
    const int64_t row = static_cast<int64_t>(c.z) * size[1] + c.y;
    return data + (row * size[2] + c.x) * channels;
  }
};

template <typename T>
struct Batch32 {
  const T* data;
  const int32_t* boxes;
  int32_t size[3], channels;

  explicit Batch32(const PatchBatch& patches)
      : data(static_cast<const T*>(patches.data)),
        boxes(patches.boxes),
        channels(static_cast<int32_t>(patches.channels)) {
    for (int a = 0; a < 3; ++a) size[a] = static_cast<int32_t>(patches.size[a]);
  }
  __device__ const int32_t* box(int32_t b) const { return boxes + 6 * static_cast<int64_t>(b); }
  __device__ const T* at(int32_t b, const Place32& c) const {
    const int32_t* low = box(b);
    const int64_t plane = static_cast<int64_t>(b) * size[0] + (c.z - low[0]);
    const int64_t row = plane * size[1] + (c.y - low[1]);
    return data + (row * size[2] + (c.x - low[2])) * channels;
  }
};

template <typename T, int kPack>
struct Channels {
  Pack<T, kPack> pack;

  static __device__ Channels of(T value) {
    Channels found;
    for (int k = 0; k < kPack; ++k) found.pack.values[k] = value;
    return found;
  }
  static __device__ Channels load(const T* from) {
    return {*reinterpret_cast<const Pack<T, kPack>*>(from)};
  }
  __device__ void store(T* to) const { *reinterpret_cast<Pack<T, kPack>*>(to) = pack; }
  __device__ T& operator[](int k) { return pack.values[k]; }
  __device__ T operator[](int k) const { return pack.values[k]; }
  __device__ void add(const Channels& other) {
    for (int k = 0; k < kPack; ++k) pack.values[k] += other.pack.values[k];
  }
};

// The slots that a kernel writes.
struct Slots {
  int32_t batch, planes, cells, packs;  // cells and packs of one plane
  FastDivide by_cell, by_column;
};

// Grid (packs of a plane, planes, patches).
template <typename Operation, int kPack>
__global__ void __launch_bounds__(kThreads)
    pack_kernel(const Operation operation, const Slots slots) {
  const uint32_t i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= static_cast<uint32_t>(slots.packs)) return;
  const uint32_t cell = slots.by_cell.quotient(i), y = slots.by_column.quotient(cell);
  Element e;
  e.channel = static_cast<int32_t>(i - cell * slots.by_cell.divisor) * kPack;
  e.index.y = static_cast<int32_t>(y);
  e.index.x = static_cast<int32_t>(cell - y * slots.by_column.divisor);
  for (e.b = static_cast<int32_t>(blockIdx.z); e.b < slots.batch; e.b += gridDim.z) {
    for (e.index.z = static_cast<int32_t>(blockIdx.y); e.index.z < slots.planes;
         e.index.z += gridDim.y) {
      const int64_t plane = static_cast<int64_t>(e.b) * slots.planes + e.index.z;
      e.cell = plane * slots.cells + cell;
      operation(e);
    }
  }
}

inline unsigned at_most(int64_t blocks, int64_t most) {
  return static_cast<unsigned>(blocks < most ? blocks : most);
}

template <typename Operation, int kPack, typename Args>
cudaError_t launch_packs(const Args& args, int64_t batch, const int64_t* size, int64_t channels,
                         cudaStream_t stream) {
  Slots slots;
  slots.batch = static_cast<int32_t>(batch);
  slots.planes = static_cast<int32_t>(size[0]);
  slots.cells = static_cast<int32_t>(size[1] * size[2]);
  slots.packs = static_cast<int32_t>(size[1] * size[2] * channels / kPack);
  slots.by_cell = FastDivide(static_cast<uint32_t>(channels / kPack));
  slots.by_column = FastDivide(static_cast<uint32_t>(size[2]));
  const dim3 grid(static_cast<unsigned>(blocks_covering(slots.packs, kThreads)),
                  at_most(size[0], kMostBlocksY), at_most(batch, kMostBlocksY));
  return launch_kernel(pack_kernel<Operation, kPack>, grid, kThreads, stream, Operation(args),
                       slots);
}

// Runs an operation on the cells of `batch` slots of `size`. Packs of several channels are used if
// all `pointers` and `offsets` are aligned to them.
template <template <typename, int> class Operation, typename Args>
cudaError_t launch(const Args& args, int64_t batch, const int64_t* size, int64_t channels,
                   std::initializer_list<const void*> pointers,
                   std::initializer_list<int64_t> offsets, cudaStream_t stream) {
  const int64_t plane = size[1] * size[2] * channels;
  if (batch * size[0] * plane == 0) return cudaSuccess;
  if (plane > kLargest || size[0] > kLargest || batch > kLargest) return cudaErrorInvalidValue;
  const int64_t wide = kPackBytes / (args.dtype == DType::kFloat64 ? 8 : 4);
  bool packed = channels % wide == 0;
  for (const void* pointer : pointers) packed = packed && aligned_for_packs(pointer);
  for (const int64_t offset : offsets) packed = packed && offset % wide == 0;
  if (args.dtype == DType::kFloat64) {
    return packed ? launch_packs<Operation<double, 2>, 2>(args, batch, size, channels, stream)
                  : launch_packs<Operation<double, 1>, 1>(args, batch, size, channels, stream);
  }
  return packed ? launch_packs<Operation<float, 4>, 4>(args, batch, size, channels, stream)
                : launch_packs<Operation<float, 1>, 1>(args, batch, size, channels, stream);
}

}  // namespace
}  // namespace pyadx
