// CPU side of weighted_cam (see cam.h).
//
// Channel sum: voxels are handled in blocks that fit into the L1 cache. A block adds up all
// channels before the next one starts, so features are read once in either memory format.
// Upsampling is separable: every output plane blends two feature planes, every row two rows of the
// result, and then it interpolates along x.
#include <algorithm>
#include <vector>

#include "cam/cam.h"
#include "common/vector_clones.h"

namespace pyadx {
namespace {

constexpr int64_t kBlock = 4096;  // voxels per work item of the channel sum
constexpr int kLanes = 16;        // independent partial sums of a channels-last dot product

// sums[i] = sum_k weights[k] * features[k * stride_k + i]
template <typename T, typename Acc>
PYADX_VECTOR_CLONES void sum_planar(const T* features, int64_t stride_k, const Acc* weights,
                                    int64_t channels, int64_t count, Acc* sums) {
  std::fill(sums, sums + count, Acc(0));
  int64_t k = 0;
  for (; k + 4 <= channels; k += 4) {
    const T* f0 = features + k * stride_k;
    const T *f1 = f0 + stride_k, *f2 = f1 + stride_k, *f3 = f2 + stride_k;
    const Acc w0 = weights[k], w1 = weights[k + 1], w2 = weights[k + 2], w3 = weights[k + 3];
    for (int64_t i = 0; i < count; ++i) {
      sums[i] += (w0 * widen(f0[i]) + w1 * widen(f1[i])) + (w2 * widen(f2[i]) + w3 * widen(f3[i]));
    }
  }
  for (; k < channels; ++k) {
    const T* f = features + k * stride_k;
    for (int64_t i = 0; i < count; ++i) sums[i] += weights[k] * widen(f[i]);
  }
}

// sum_k weights[k] * features[k]
template <typename T, typename Acc>
PYADX_VECTOR_CLONES Acc dot(const T* features, const Acc* weights, int64_t channels) {
  Acc lanes[kLanes] = {};
  int64_t k = 0;
  for (; k + kLanes <= channels; k += kLanes) {
    for (int j = 0; j < kLanes; ++j) lanes[j] += weights[k + j] * widen(features[k + j]);
  }
  Acc sum(0);
  for (; k < channels; ++k) sum += weights[k] * widen(features[k]);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int j = 0; j < width; ++j) lanes[j] += lanes[j + width];
  }
  return sum + lanes[0];
}

template <typename T, typename Acc>
void channel_sum(const CamArgs& args, const ParallelFor& parallel_for) {
  const T* features = static_cast<const T*>(args.features);
  const Acc* weights = static_cast<const Acc*>(args.weights);
  Acc* low = static_cast<Acc*>(args.low);
  const int64_t voxels = args.in_voxels();
  const int64_t blocks = (voxels + kBlock - 1) / kBlock;
  parallel_for(args.batch * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t item = block / blocks;
      const int64_t first = (block % blocks) * kBlock;
      const int64_t count = std::min(kBlock, voxels - first);
      const T* f = features + item * args.stride_b + first * args.stride_n;
      const Acc* w = weights + item * args.channels;
      Acc* sums = low + item * voxels + first;
      if (args.stride_n == 1) {
        sum_planar(f, args.stride_k, w, args.channels, count, sums);
      } else {  // channels last: stride_k == 1
        for (int64_t i = 0; i < count; ++i) {
          sums[i] = dot(f + i * args.stride_n, w, args.channels);
        }
      }
      if (args.rectify != Rectify::kNone) {
        for (int64_t i = 0; i < count; ++i) sums[i] = rectified(sums[i], args.rectify);
      }
    }
  });
}

template <typename Acc>
std::vector<Tap<Acc>> taps_along(const CamArgs& args, int axis) {
  std::vector<Tap<Acc>> taps(static_cast<size_t>(args.out_size[axis]));
  for (size_t v = 0; v < taps.size(); ++v) {
    taps[v] = tap_at<Acc>(static_cast<int64_t>(v), args.scale[axis], args.offset[axis],
                          args.in_size[axis]);
  }
  return taps;
}

template <typename Acc>
void blend(const Acc* a, const Acc* b, Acc weight, int64_t count, Acc* blended) {
  for (int64_t i = 0; i < count; ++i) blended[i] = lerp(a[i], b[i], weight);
}

template <typename Acc>
void upsample(const CamArgs& args, const ParallelFor& parallel_for) {
  const auto z_taps = taps_along<Acc>(args, 0), y_taps = taps_along<Acc>(args, 1),
             x_taps = taps_along<Acc>(args, 2);
  const Acc* low = static_cast<const Acc*>(args.low);
  Acc* out = static_cast<Acc*>(args.out);
  const int64_t width = args.in_size[2], plane = args.in_size[1] * width;
  const int64_t depth = args.out_size[0], rows = args.out_size[1], columns = args.out_size[2];
  parallel_for(args.batch * depth, 1, [&](int64_t begin, int64_t end) {
    std::vector<Acc> blended_plane(static_cast<size_t>(plane));
    std::vector<Acc> blended_row(static_cast<size_t>(width));
    for (int64_t p = begin; p < end; ++p) {
      const Tap<Acc>& z = z_taps[static_cast<size_t>(p % depth)];
      const Acc* item = low + (p / depth) * args.in_voxels();
      blend(item + z.lower * plane, item + z.upper * plane, z.weight, plane, blended_plane.data());
      for (int64_t r = 0; r < rows; ++r) {
        const Tap<Acc>& y = y_taps[static_cast<size_t>(r)];
        blend(blended_plane.data() + y.lower * width, blended_plane.data() + y.upper * width,
              y.weight, width, blended_row.data());
        Acc* target = out + (p * rows + r) * columns;
        const Acc* row = blended_row.data();
        for (int64_t c = 0; c < columns; ++c) {
          const Tap<Acc>& x = x_taps[static_cast<size_t>(c)];
          target[c] = lerp(row[x.lower], row[x.upper], x.weight);
        }
      }
    }
  });
}

template <typename T>
void run(const CamArgs& args, const ParallelFor& parallel_for) {
  using Acc = AccumulateT<T>;
  channel_sum<T, Acc>(args, parallel_for);
  upsample<Acc>(args, parallel_for);
}

}  // namespace

void weighted_cam_cpu(const CamArgs& args, const ParallelFor& parallel_for) {
  if (args.batch * args.out_voxels() == 0) return;
  switch (args.dtype) {
    case DType::kFloat16:
      return run<Half>(args, parallel_for);
    case DType::kBFloat16:
      return run<BFloat16>(args, parallel_for);
    case DType::kFloat32:
      return run<float>(args, parallel_for);
    case DType::kFloat64:
      return run<double>(args, parallel_for);
  }
}

}  // namespace pyadx
