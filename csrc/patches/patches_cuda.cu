// CUDA side of the patch operators of patches.h: the work of each on one pack of channels.
//
// packs_cuda.h says which thread owns which pack. One launch each, no temporary memory, no
// synchronisation. In patch_sum a thread sums one channel of one patch, in float64.
#include <cmath>

#include "patches/packs_cuda.h"

namespace pyadx {
namespace {

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
    MaxPool shifted = *this;  // pointers begin at the channels of this pack
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
