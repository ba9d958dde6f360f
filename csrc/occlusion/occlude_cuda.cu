// CUDA side of batched occlusion (see occlude.h).
//
// A thread owns one pack of consecutive voxels (16 bytes where sizes and alignment allow it, else
// one element). It loads the pack once and writes it to a run of batch items, replacing the
// elements in each item's region. The output is written to device memory once; volume, labels and
// regions are read from the L2 cache. One launch, no temporary memory, no synchronisation, 64-bit
// offsets.
#include <type_traits>

#include "common/launch.h"
#include "common/pack.h"
#include "occlusion/occlude.h"

namespace pyadx {
namespace {

constexpr int kThreads = 256;
// Batch items that a thread writes: several share one load of the pack and keep stores in flight.
constexpr int kItemsPerThread = 8;

// Position of the elements of one pack; they may cross rows, planes and channels.
template <int kPack>
struct Positions {
  int channel[kPack], z[kPack], y[kPack], x[kPack];
};

template <int kPack>
__device__ Positions<kPack> positions_of(int64_t first, const OccludeArgs& args) {
  Positions<kPack> at;
  int64_t rest = first;
  int x = static_cast<int>(rest % args.width);
  rest /= args.width;
  int y = static_cast<int>(rest % args.height);
  rest /= args.height;
  int z = static_cast<int>(rest % args.depth);
  int channel = static_cast<int>(rest / args.depth);
#pragma unroll
  for (int i = 0; i < kPack; ++i) {
    at.channel[i] = channel, at.z[i] = z, at.y[i] = y, at.x[i] = x;
    if (++x == args.width) {
      x = 0;
      if (++y == args.height) {
        y = 0;
        if (++z == args.depth) z = 0, ++channel;
      }
    }
  }
  return at;
}

// `mask` of a region says, for one batch item, which elements of the thread's pack it contains: bit
// i is set for element i. Boxes need no clipping, since all positions are in the volume.
template <int kPack>
struct BoxRegion {
  const int64_t* boxes;
  bool one_row;

  __device__ void load(const Positions<kPack>& at, const OccludeArgs&) {
    one_row = at.x[kPack - 1] - at.x[0] == kPack - 1;  // x starts again at 0 in the next row
  }

  // Half-open range of a box along an axis, clamped to 32 bits. For positions in a volume this
  // makes no difference.
  struct Range {
    int low, high;
    __device__ Range(const int64_t* box, int axis)
        : low(narrowed(box[axis])), high(narrowed(box[axis + 3])) {}
    __device__ static int narrowed(int64_t index) {
      return static_cast<int>(clip_index(index, 2147483647));
    }
    __device__ bool holds(int at) const { return at >= low && at < high; }
  };

  __device__ unsigned mask(int64_t item, const Positions<kPack>& at, const OccludeArgs&) const {
    const int64_t* box = boxes + item * 6;
    const Range z(box, 0), y(box, 1);
    // Most packs are in one row, and most of them outside the box: four comparisons are enough.
    if (one_row && !(z.holds(at.z[0]) && y.holds(at.y[0]))) return 0;
    const Range x(box, 2);
    unsigned bits = 0;
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
      const bool inside = x.holds(at.x[i]) & z.holds(at.z[i]) & y.holds(at.y[i]);
      bits |= inside ? 1u << i : 0u;
    }
    return bits;
  }
};

template <int kPack>
struct LabelRegion {
  const int32_t* labels;
  const int64_t* intervals;
  int32_t label[kPack];

  __device__ void load(const Positions<kPack>& at, const OccludeArgs& args) {
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
      label[i] =
          labels[(static_cast<int64_t>(at.z[i]) * args.height + at.y[i]) * args.width + at.x[i]];
    }
  }

  __device__ unsigned mask(int64_t item, const Positions<kPack>&, const OccludeArgs&) const {
    const LabelInterval interval = make_interval(intervals + item * 2);
    if (interval.empty) return 0;
    unsigned bits = 0;
#pragma unroll
    for (int i = 0; i < kPack; ++i) bits |= interval.holds(label[i]) ? 1u << i : 0u;
    return bits;
  }
};

template <typename Word, int kPack, typename Region>
__global__ void __launch_bounds__(kThreads)
    occlude_kernel(const OccludeArgs args, Region region, int64_t packs) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= packs) return;
  const auto source = static_cast<const Pack<Word, kPack>*>(args.volume)[index];
  const Positions<kPack> at = positions_of<kPack>(index * kPack, args);
  region.load(at, args);
  const Word* fill = static_cast<const Word*>(args.fill);
  auto* out = static_cast<Pack<Word, kPack>*>(args.out) + index;

  // Blocks along y loop over the batch, so any batch size fits into the 65,535 blocks of a grid.
  const int64_t step = static_cast<int64_t>(gridDim.y) * kItemsPerThread;
  for (int64_t base = static_cast<int64_t>(blockIdx.y) * kItemsPerThread; base < args.batch;
       base += step) {
#pragma unroll
    for (int k = 0; k < kItemsPerThread; ++k) {
      const int64_t item = base + k;
      if (item >= args.batch) break;
      Pack<Word, kPack> pack = source;
      const unsigned bits = region.mask(item, at, args);
      if (bits != 0) {
#pragma unroll
        for (int i = 0; i < kPack; ++i) {
          if (bits >> i & 1u) {
            pack.values[i] =
                fill[at.channel[i] * args.fill_strides[0] + at.z[i] * args.fill_strides[1] +
                     at.y[i] * args.fill_strides[2] + at.x[i] * args.fill_strides[3]];
          }
        }
      }
      out[item * packs] = pack;
    }
  }
}

template <typename Word, int kPack, typename Region>
cudaError_t launch(const OccludeArgs& args, const Region& region, cudaStream_t stream) {
  const int64_t packs = args.channels * args.voxels() / kPack;
  const int64_t columns = blocks_covering(packs, kThreads);
  if (columns == 0 || args.batch == 0) return cudaSuccess;
  if (columns > kMostBlocksX) return cudaErrorInvalidValue;
  const dim3 grid(static_cast<unsigned>(columns),
                  blocks_in_strides(args.batch, kItemsPerThread, kMostBlocksY));
  return launch_kernel(occlude_kernel<Word, kPack, Region>, grid, kThreads, stream, args, region,
                       packs);
}

bool packs_of_16_bytes(const OccludeArgs& args) {
  const int64_t bytes = args.channels * args.voxels() * args.element_size;
  return bytes % kPackBytes == 0 && aligned_for_packs(args.volume) && aligned_for_packs(args.out);
}

// `make_region` builds the region for a pack size given as an integral constant.
template <typename Word, typename MakeRegion>
cudaError_t launch_widest(const OccludeArgs& args, MakeRegion make_region, cudaStream_t stream) {
  constexpr int kWide = kPackBytes / sizeof(Word);
  if (packs_of_16_bytes(args)) {
    return launch<Word, kWide>(args, make_region(std::integral_constant<int, kWide>{}), stream);
  }
  return launch<Word, 1>(args, make_region(std::integral_constant<int, 1>{}), stream);
}

template <typename MakeRegion>
cudaError_t launch_any_word(const OccludeArgs& args, MakeRegion make_region, cudaStream_t stream) {
  switch (args.element_size) {
    case 2:
      return launch_widest<uint16_t>(args, make_region, stream);
    case 4:
      return launch_widest<uint32_t>(args, make_region, stream);
    default:
      return launch_widest<uint64_t>(args, make_region, stream);
  }
}

}  // namespace

cudaError_t occlude_boxes_cuda(const OccludeArgs& args, const int64_t* boxes, cudaStream_t stream) {
  const auto make_region = [&](auto pack) {
    return BoxRegion<decltype(pack)::value>{boxes, false};
  };
  return launch_any_word(args, make_region, stream);
}

cudaError_t occlude_labels_cuda(const OccludeArgs& args, const int32_t* labels,
                                const int64_t* intervals, cudaStream_t stream) {
  const auto make_region = [&](auto pack) {
    return LabelRegion<decltype(pack)::value>{labels, intervals, {}};
  };
  return launch_any_word(args, make_region, stream);
}

}  // namespace pyadx
