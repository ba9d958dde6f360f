// CUDA side of the patch operators (see patches.h).
//
// A thread owns a pack of neighbouring channels of one cell, 16 bytes where channels and addresses
// allow it; blocks own a run of packs of one plane, and walk over planes and patches. Numbers are
// of 32 bits but for offsets into memory, and nothing is divided but by FastDivide: a 64-bit
// division takes some hundred instructions. One launch each, no temporary memory, no
// synchronisation. Sums run over one channel of a patch per thread, in double.
#include <cmath>
#include <initializer_list>

#include "common/fast_divide.h"
#include "common/launch.h"
#include "common/pack.h"
#include "patches/patches.h"

namespace pyadx {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kLargest = 2147483647;  // of sizes, and of the elements of one plane

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

__device__ Place32 cell_of(const Element& e, const int32_t* box) {
  return {box[0] + e.index.z, box[1] + e.index.y, box[2] + e.index.x};
}

__device__ bool below_ends(const Place32& cell, const int32_t* box) {
  return cell.z < box[3] && cell.y < box[4] && cell.x < box[5];
}

__device__ bool within(const Place32& cell, const int32_t* box) {
  return cell.z >= box[0] && cell.y >= box[1] && cell.x >= box[2] && below_ends(cell, box);
}

template <typename T>
struct Map32 {
  const T* data;
  int32_t size[3];

  explicit Map32(const PatchMap& map) : data(static_cast<const T*>(map.data)) {
    for (int a = 0; a < 3; ++a) size[a] = static_cast<int32_t>(map.size[a]);
  }
  __device__ bool holds(const Place32& c) const {  // negative numbers are large without a sign
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

template <typename T, int kPack>
struct Gather {
  using Values = Channels<T, kPack>;
  Map32<T> map;
  Batch32<T> patches;
  T pad;
  int32_t channels;
  const int32_t* frames;
  T* out;

  explicit Gather(const PatchGatherArgs& a)
      : map(a.map),
        patches(a.patches),
        pad(static_cast<T>(a.pad)),
        channels(static_cast<int32_t>(a.channels)),
        frames(a.frames),
        out(static_cast<T*>(a.out)) {}

  __device__ void operator()(const Element& e) const {
    const int32_t* frame = frames + 6 * static_cast<int64_t>(e.b);
    const Place32 cell = cell_of(e, frame);
    Values value = Values::of(pad);
    if (below_ends(cell, frame) && map.holds(cell)) {
      value =
          map.data == nullptr ? Values::of(T(0)) : Values::load(map.at(cell, channels) + e.channel);
      if (patches.data != nullptr && within(cell, patches.box(e.b))) {
        value.add(Values::load(patches.at(e.b, cell) + e.channel));
      }
    }
    value.store(out + e.cell * channels + e.channel);
  }
};

template <typename T, int kPack>
struct Relu {
  using Values = Channels<T, kPack>;
  Batch32<T> patches;
  Map32<T> before;
  const T* scale;
  T* out;

  explicit Relu(const PatchReluArgs& a)
      : patches(a.patches),
        before(a.before),
        scale(static_cast<const T*>(a.scale)),
        out(static_cast<T*>(a.out)) {}

  __device__ void operator()(const Element& e) const {
    const int32_t* box = patches.box(e.b);
    const Place32 cell = cell_of(e, box);
    const int64_t at = e.cell * patches.channels + e.channel;
    Values value = Values::of(T(0));
    if (below_ends(cell, box)) {
      value = Values::load(patches.data + at);
      if (scale != nullptr) {
        const Values factor = Values::load(scale + e.channel);
        for (int k = 0; k < kPack; ++k) value[k] *= factor[k];
      }
      const Values was = Values::load(before.at(cell, patches.channels) + e.channel);
      for (int k = 0; k < kPack; ++k) value[k] = relu_change(was[k], value[k]);
    }
    value.store(out + at);
  }
};

template <typename T, int kPack>
struct MaxPool {
  using Values = Channels<T, kPack>;
  Batch32<T> patches;
  Map32<T> before;
  int32_t kernel[3], stride[3], padding[3], dilation[3];
  bool rectify;
  const int32_t* out_boxes;
  T* out;

  explicit MaxPool(const PatchMaxPoolArgs& a)
      : patches(a.patches),
        before(a.before),
        rectify(a.rectify),
        out_boxes(a.out_boxes),
        out(static_cast<T*>(a.out)) {
    for (int d = 0; d < 3; ++d) {
      kernel[d] = static_cast<int32_t>(a.kernel[d]);
      stride[d] = static_cast<int32_t>(a.stride[d]);
      padding[d] = static_cast<int32_t>(a.padding[d]);
      dilation[d] = static_cast<int32_t>(a.dilation[d]);
    }
  }

  template <typename Visit>
  __device__ void over_window(const Place32& o, const Visit& visit) const {
    for (int32_t kz = 0; kz < kernel[0]; ++kz) {
      const int32_t z = o.z * stride[0] - padding[0] + kz * dilation[0];
      for (int32_t ky = 0; ky < kernel[1]; ++ky) {
        const int32_t y = o.y * stride[1] - padding[1] + ky * dilation[1];
        for (int32_t kx = 0; kx < kernel[2]; ++kx) {
          const Place32 in{z, y, o.x * stride[2] - padding[2] + kx * dilation[2]};
          if (before.holds(in)) visit(in, Values::load(before.at(in, patches.channels)));
        }
      }
    }
  }

  __device__ void operator()(const Element& e) const {
    const int32_t* box = out_boxes + 6 * static_cast<int64_t>(e.b);
    const Place32 cell = cell_of(e, box);
    T* to = out + e.cell * patches.channels + e.channel;
    if (!below_ends(cell, box)) {
      Values::of(T(0)).store(to);
      return;
    }
    MaxPool shifted = *this;  // the channels of this pack come first
    shifted.before.data += e.channel;
    shifted.patches.data += e.channel;
    Values most = Values::of(-static_cast<T>(INFINITY)), change = most;
    shifted.over_window(cell, [&](const Place32&, const Values& was) {
      for (int k = 0; k < kPack; ++k) most[k] = larger(most[k], was[k]);
    });
    const int32_t* held = patches.box(e.b);
    shifted.over_window(cell, [&](const Place32& in, const Values& was) {
      Values moved;
      for (int k = 0; k < kPack; ++k) moved[k] = below(was[k], most[k]);
      if (within(in, held)) moved.add(Values::load(shifted.patches.at(e.b, in)));
      for (int k = 0; k < kPack; ++k) change[k] = larger(change[k], moved[k]);
    });
    if (rectify) {
      for (int k = 0; k < kPack; ++k) change[k] = relu_change(most[k], change[k]);
    }
    change.store(to);
  }
};

template <typename T, int kPack>
struct Place {
  using Values = Channels<T, kPack>;
  Batch32<T> patches;
  const int32_t* out_boxes;
  int32_t out_channels, channel;
  bool add;
  T* out;

  explicit Place(const PatchPlaceArgs& a)
      : patches(a.patches),
        out_boxes(a.out_boxes),
        out_channels(static_cast<int32_t>(a.out_channels)),
        channel(static_cast<int32_t>(a.channel)),
        add(a.add),
        out(static_cast<T*>(a.out)) {}

  __device__ void operator()(const Element& e) const {
    const Place32 cell = cell_of(e, out_boxes + 6 * static_cast<int64_t>(e.b));
    Values value = Values::of(T(0));
    if (within(cell, patches.box(e.b))) value = Values::load(patches.at(e.b, cell) + e.channel);
    T* to = out + e.cell * out_channels + channel + e.channel;
    if (add) value.add(Values::load(to));
    value.store(to);
  }
};

template <typename T, int kPack>
struct Scatter {
  using Values = Channels<T, kPack>;
  Batch32<T> patches;
  Map32<T> map;
  T* out;

  explicit Scatter(const PatchScatterArgs& a)
      : patches(a.patches), map(a.map), out(static_cast<T*>(a.out)) {}

  __device__ void operator()(const Element& e) const {
    Values value = Values::load(map.at(e.index, patches.channels) + e.channel);
    if (within(e.index, patches.box(e.b))) {
      value.add(Values::load(patches.at(e.b, e.index) + e.channel));
    }
    value.store(out + e.cell * patches.channels + e.channel);
  }
};

// The slots that a kernel writes.
struct Slots {
  int32_t batch, planes, columns, cells, packs;  // cells and packs of one plane
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

// Grid (channels, patches); a thread sums one channel over the box in a fixed order.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    sum_kernel(const Batch32<T> patches, int32_t batch, T* out) {
  const int32_t channel = static_cast<int32_t>(blockIdx.x * kThreads + threadIdx.x);
  if (channel >= patches.channels) return;
  for (int32_t b = static_cast<int32_t>(blockIdx.y); b < batch; b += gridDim.y) {
    const int32_t* box = patches.box(b);
    double sum = 0;
    for (Place32 c{box[0], 0, 0}; c.z < box[3]; ++c.z) {
      for (c.y = box[1]; c.y < box[4]; ++c.y) {
        for (c.x = box[2]; c.x < box[5]; ++c.x) {
          sum += static_cast<double>(patches.at(b, c)[channel]);
        }
      }
    }
    out[static_cast<int64_t>(b) * patches.channels + channel] = static_cast<T>(sum);
  }
}

unsigned at_most(int64_t blocks, int64_t most) {
  return static_cast<unsigned>(blocks < most ? blocks : most);
}

template <typename Operation, int kPack, typename Args>
cudaError_t launch_packs(const Args& args, int64_t batch, const int64_t* size, int64_t channels,
                         cudaStream_t stream) {
  Slots slots;
  slots.batch = static_cast<int32_t>(batch);
  slots.planes = static_cast<int32_t>(size[0]);
  slots.columns = static_cast<int32_t>(size[2]);
  slots.cells = static_cast<int32_t>(size[1] * size[2]);
  slots.packs = static_cast<int32_t>(size[1] * size[2] * channels / kPack);
  slots.by_cell = FastDivide(static_cast<uint32_t>(channels / kPack));
  slots.by_column = FastDivide(static_cast<uint32_t>(size[2]));
  const dim3 grid(static_cast<unsigned>(blocks_covering(slots.packs, kThreads)),
                  at_most(size[0], kMostBlocksY), at_most(batch, kMostBlocksY));
  return launch_kernel(pack_kernel<Operation, kPack>, grid, kThreads, stream, Operation(args),
                       slots);
}

// Runs an operation on `size` cells of `batch` slots; `pointers` and `offsets` decide whether packs
// of several channels can be used.
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

template <typename T>
cudaError_t launch_sum(const PatchSumArgs& a, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(blocks_covering(a.patches.channels, kThreads)),
                  at_most(a.batch, kMostBlocksY));
  return launch_kernel(sum_kernel<T>, grid, kThreads, stream, Batch32<T>(a.patches),
                       static_cast<int32_t>(a.batch), static_cast<T*>(a.out));
}

}  // namespace

cudaError_t patch_gather_cuda(const PatchGatherArgs& a, cudaStream_t stream) {
  return launch<Gather>(a, a.batch, a.out_size, a.channels, {a.map.data, a.patches.data, a.out}, {},
                        stream);
}

cudaError_t patch_relu_cuda(const PatchReluArgs& a, cudaStream_t stream) {
  return launch<Relu>(a, a.batch, a.patches.size, a.patches.channels,
                      {a.patches.data, a.before.data, a.scale, a.out}, {}, stream);
}

cudaError_t patch_max_pool_cuda(const PatchMaxPoolArgs& a, cudaStream_t stream) {
  return launch<MaxPool>(a, a.batch, a.out_size, a.patches.channels,
                         {a.patches.data, a.before.data, a.out}, {}, stream);
}

cudaError_t patch_place_cuda(const PatchPlaceArgs& a, cudaStream_t stream) {
  return launch<Place>(a, a.batch, a.out_size, a.patches.channels, {a.patches.data, a.out},
                       {a.out_channels, a.channel}, stream);
}

cudaError_t patch_scatter_cuda(const PatchScatterArgs& a, cudaStream_t stream) {
  return launch<Scatter>(a, a.batch, a.map.size, a.patches.channels,
                         {a.patches.data, a.map.data, a.out}, {}, stream);
}

cudaError_t patch_sum_cuda(const PatchSumArgs& a, cudaStream_t stream) {
  if (a.batch * a.patches.channels == 0) return cudaSuccess;
  if (a.batch > kLargest || a.patches.channels > kLargest) return cudaErrorInvalidValue;
  return a.dtype == DType::kFloat64 ? launch_sum<double>(a, stream) : launch_sum<float>(a, stream);
}

}  // namespace pyadx
