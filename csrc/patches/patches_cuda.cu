// CUDA side of the patch operators (see patches.h).
//
// A thread owns one element of the output; channels are innermost, so that neighbouring threads
// read and write neighbouring memory. One launch each, no temporary memory, no synchronisation,
// 64-bit offsets. Sums run over the channels of one patch per block, in double.
#include <cmath>

#include "common/launch.h"
#include "patches/patches.h"

namespace pyadx {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 1 << 20;  // more elements than that are walked in strides

// Where an element of [B, D, H, W, C] lies.
struct Element {
  int64_t b, channel;
  Cell index;
};

__device__ Element element_of(int64_t i, const int64_t* size, int64_t channels) {
  Element e;
  e.channel = i % channels;
  i /= channels;
  e.index.x = i % size[2];
  i /= size[2];
  e.index.y = i % size[1];
  i /= size[1];
  e.index.z = i % size[0];
  e.b = i / size[0];
  return e;
}

__device__ Cell cell_of(const Element& e, const int32_t* boxes) {
  const int32_t* box = boxes + 6 * e.b;
  return {box[0] + e.index.z, box[1] + e.index.y, box[2] + e.index.x};
}

__device__ bool inside(const Cell& cell, const int32_t* box) {
  return cell.z < box[3] && cell.y < box[4] && cell.x < box[5];
}

template <typename T>
struct Gather {
  PatchGatherArgs a;
  __device__ void operator()(int64_t i) const {
    const Element e = element_of(i, a.out_size, a.channels);
    const Cell cell = cell_of(e, a.frames);
    T value = static_cast<T>(a.pad);
    if (inside(cell, a.frames + 6 * e.b) && a.map.holds(cell)) {
      value = T(0);
      if (a.map.data != nullptr) {
        value = static_cast<const T*>(a.map.data)[a.map.index(cell, a.channels) + e.channel];
      }
      if (a.patches.data != nullptr && a.patches.holds(e.b, cell)) {
        value += static_cast<const T*>(a.patches.data)[a.patches.index(e.b, cell) + e.channel];
      }
    }
    static_cast<T*>(a.out)[i] = value;
  }
};

template <typename T>
struct Relu {
  PatchReluArgs a;
  __device__ void operator()(int64_t i) const {
    const PatchBatch& p = a.patches;
    const Element e = element_of(i, p.size, p.channels);
    const Cell cell = cell_of(e, p.boxes);
    T value = T(0);
    if (inside(cell, p.boxes + 6 * e.b)) {
      const T scale = a.scale == nullptr ? T(1) : static_cast<const T*>(a.scale)[e.channel];
      const T before =
          static_cast<const T*>(a.before.data)[a.before.index(cell, p.channels) + e.channel];
      value = relu_change(before, scale * static_cast<const T*>(p.data)[i]);
    }
    static_cast<T*>(a.out)[i] = value;
  }
};

template <typename T>
struct MaxPool {
  PatchMaxPoolArgs a;

  template <typename Visit>
  __device__ void over_window(const Cell& o, const Visit& visit) const {
    for (int64_t kz = 0; kz < a.kernel[0]; ++kz) {
      for (int64_t ky = 0; ky < a.kernel[1]; ++ky) {
        for (int64_t kx = 0; kx < a.kernel[2]; ++kx) {
          const Cell in{o.z * a.stride[0] - a.padding[0] + kz * a.dilation[0],
                        o.y * a.stride[1] - a.padding[1] + ky * a.dilation[1],
                        o.x * a.stride[2] - a.padding[2] + kx * a.dilation[2]};
          if (a.before.holds(in)) visit(in);
        }
      }
    }
  }

  __device__ void operator()(int64_t i) const {
    const PatchBatch& p = a.patches;
    const Element e = element_of(i, a.out_size, p.channels);
    const Cell cell = cell_of(e, a.out_boxes);
    T* out = static_cast<T*>(a.out) + i;
    if (!inside(cell, a.out_boxes + 6 * e.b)) {
      *out = T(0);
      return;
    }
    const T* map = static_cast<const T*>(a.before.data) + e.channel;
    T most = -static_cast<T>(INFINITY);
    over_window(cell,
                [&](const Cell& in) { most = larger(most, map[a.before.index(in, p.channels)]); });
    T change = -static_cast<T>(INFINITY);
    over_window(cell, [&](const Cell& in) {
      T moved = below(map[a.before.index(in, p.channels)], most);
      if (p.holds(e.b, in)) {
        moved += static_cast<const T*>(p.data)[p.index(e.b, in) + e.channel];
      }
      change = larger(change, moved);
    });
    *out = a.rectify ? relu_change(most, change) : change;
  }
};

template <typename T>
struct Place {
  PatchPlaceArgs a;
  __device__ void operator()(int64_t i) const {
    const PatchBatch& p = a.patches;
    const Element e = element_of(i, a.out_size, p.channels);
    const Cell cell = cell_of(e, a.out_boxes);
    T value = T(0);
    if (p.holds(e.b, cell)) value = static_cast<const T*>(p.data)[p.index(e.b, cell) + e.channel];
    T* out = static_cast<T*>(a.out) + i / p.channels * a.out_channels + a.channel + e.channel;
    *out = a.add ? *out + value : value;
  }
};

template <typename T>
struct Scatter {
  PatchScatterArgs a;
  __device__ void operator()(int64_t i) const {
    const PatchBatch& p = a.patches;
    const Element e = element_of(i, a.map.size, p.channels);
    T value = static_cast<const T*>(a.map.data)[a.map.index(e.index, p.channels) + e.channel];
    if (p.holds(e.b, e.index)) {
      value += static_cast<const T*>(p.data)[p.index(e.b, e.index) + e.channel];
    }
    static_cast<T*>(a.out)[i] = value;
  }
};

template <typename Element>
__global__ void __launch_bounds__(kThreads) element_kernel(const Element element, int64_t count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += step) {
    element(i);
  }
}

// Blocks (patch, run of channels); a thread sums one channel over the box in a fixed order.
template <typename T>
__global__ void __launch_bounds__(kThreads) sum_kernel(const PatchSumArgs a, int64_t count) {
  const PatchBatch& p = a.patches;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += static_cast<int64_t>(gridDim.x) * kThreads) {
    const int64_t b = i / p.channels;
    const int32_t* box = p.boxes + 6 * b;
    const T* patch = static_cast<const T*>(p.data) + i % p.channels;
    double sum = 0;
    for (int64_t z = box[0]; z < box[3]; ++z) {
      for (int64_t y = box[1]; y < box[4]; ++y) {
        for (int64_t x = box[2]; x < box[5]; ++x) {
          sum += static_cast<double>(patch[p.index(b, {z, y, x})]);
        }
      }
    }
    static_cast<T*>(a.out)[i] = static_cast<T>(sum);
  }
}

template <template <typename> class Operation, typename Args>
cudaError_t launch(const Args& args, int64_t elements, cudaStream_t stream) {
  if (elements == 0) return cudaSuccess;
  const dim3 grid(blocks_in_strides(elements, kThreads, kMostBlocks));
  if (args.dtype == DType::kFloat64) {
    return launch_kernel(element_kernel<Operation<double>>, grid, kThreads, stream,
                         Operation<double>{args}, elements);
  }
  return launch_kernel(element_kernel<Operation<float>>, grid, kThreads, stream,
                       Operation<float>{args}, elements);
}

int64_t product(const int64_t* size) { return size[0] * size[1] * size[2]; }

}  // namespace

cudaError_t patch_gather_cuda(const PatchGatherArgs& a, cudaStream_t stream) {
  return launch<Gather>(a, a.batch * product(a.out_size) * a.channels, stream);
}

cudaError_t patch_relu_cuda(const PatchReluArgs& a, cudaStream_t stream) {
  return launch<Relu>(a, a.batch * product(a.patches.size) * a.patches.channels, stream);
}

cudaError_t patch_max_pool_cuda(const PatchMaxPoolArgs& a, cudaStream_t stream) {
  return launch<MaxPool>(a, a.batch * product(a.out_size) * a.patches.channels, stream);
}

cudaError_t patch_place_cuda(const PatchPlaceArgs& a, cudaStream_t stream) {
  return launch<Place>(a, a.batch * product(a.out_size) * a.patches.channels, stream);
}

cudaError_t patch_scatter_cuda(const PatchScatterArgs& a, cudaStream_t stream) {
  return launch<Scatter>(a, a.batch * product(a.map.size) * a.patches.channels, stream);
}

cudaError_t patch_sum_cuda(const PatchSumArgs& a, cudaStream_t stream) {
  const int64_t sums = a.batch * a.patches.channels;
  if (sums == 0) return cudaSuccess;
  const dim3 grid(blocks_in_strides(sums, kThreads, kMostBlocks));
  const auto kernel = a.dtype == DType::kFloat64 ? sum_kernel<double> : sum_kernel<float>;
  return launch_kernel(kernel, grid, kThreads, stream, a, sums);
}

}  // namespace pyadx
