// CPU side of the patch operators (see patches.h): one item of work is one plane of one patch.
#include <algorithm>
#include <limits>
#include <vector>

#include "patches/patches.h"

namespace pyadx {
namespace {

constexpr int64_t kElementsPerThread = 8192;

int64_t planes_per_thread(int64_t elements_per_plane) {
  return std::max<int64_t>(1, kElementsPerThread / std::max<int64_t>(1, elements_per_plane));
}

template <typename Body>
void over_planes(int64_t batch, int64_t planes, int64_t elements_per_plane,
                 const ParallelFor& parallel, const Body& body) {
  parallel(batch * planes, planes_per_thread(elements_per_plane), [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) body(item / planes, item % planes);
  });
}

template <typename Float, typename Double>
void by_dtype(DType dtype, const Float& as_float, const Double& as_double) {
  if (dtype == DType::kFloat64) {
    as_double();
  } else {
    as_float();
  }
}

// First and one-past-last index along the row of [low, high) seen from `origin`, within the slot.
struct Span {
  int64_t first, last;
};

Span span_of(int64_t low, int64_t high, int64_t origin, int64_t length) {
  const int64_t first = std::clamp<int64_t>(low - origin, 0, length);
  return {first, std::clamp(high - origin, first, length)};
}

template <typename T>
void gather_plane(const PatchGatherArgs& a, int64_t b, int64_t plane) {
  const int32_t* frame = a.frames + 6 * b;
  const int64_t width = a.out_size[2], channels = a.channels;
  T* out = static_cast<T*>(a.out) + (b * a.out_size[0] + plane) * a.out_size[1] * width * channels;
  for (int64_t row = 0; row < a.out_size[1]; ++row, out += width * channels) {
    const Cell at{frame[0] + plane, frame[1] + row, frame[2]};
    const bool row_inside = at.z < frame[3] && at.y < frame[4] && at.z >= 0 && at.y >= 0 &&
                            at.z < a.map.size[0] && at.y < a.map.size[1];
    const int64_t high = std::min<int64_t>(frame[5], a.map.size[2]);
    const Span inside = row_inside ? span_of(0, high, at.x, width) : Span{0, 0};
    std::fill_n(out, inside.first * channels, static_cast<T>(a.pad));
    T* begin = out + inside.first * channels;
    const int64_t count = (inside.last - inside.first) * channels;
    if (a.map.data == nullptr) {
      std::fill_n(begin, count, T(0));
    } else if (count > 0) {
      const Cell first{at.z, at.y, at.x + inside.first};
      std::copy_n(static_cast<const T*>(a.map.data) + a.map.index(first, channels), count, begin);
    }
    std::fill_n(out + inside.last * channels, (width - inside.last) * channels,
                static_cast<T>(a.pad));
    if (a.patches.data == nullptr || count == 0) continue;
    const int32_t* box = a.patches.boxes + 6 * b;
    if (at.z < box[0] || at.z >= box[3] || at.y < box[1] || at.y >= box[4]) continue;
    const Span changed = span_of(std::max<int64_t>(box[2], at.x + inside.first),
                                 std::min<int64_t>(box[5], at.x + inside.last), at.x, width);
    if (changed.first >= changed.last) continue;
    const Cell first{at.z, at.y, at.x + changed.first};
    const T* patch = static_cast<const T*>(a.patches.data) + a.patches.index(b, first);
    T* to = out + changed.first * channels;
    for (int64_t i = 0; i < (changed.last - changed.first) * channels; ++i) to[i] += patch[i];
  }
}

template <typename T>
void relu_plane(const PatchReluArgs& a, int64_t b, int64_t plane) {
  const PatchBatch& p = a.patches;
  const int32_t* box = p.boxes + 6 * b;
  const int64_t length = p.size[2] * p.channels;
  const int64_t offset = (b * p.size[0] + plane) * p.size[1] * length;
  const T* in = static_cast<const T*>(p.data) + offset;
  T* out = static_cast<T*>(a.out) + offset;
  const T* scale = static_cast<const T*>(a.scale);
  for (int64_t row = 0; row < p.size[1]; ++row, in += length, out += length) {
    const Cell at{box[0] + plane, box[1] + row, box[2]};
    const int64_t cells = at.z < box[3] && at.y < box[4] ? std::max(0, box[5] - box[2]) : 0;
    const T* before = static_cast<const T*>(a.before.data) + a.before.index(at, p.channels);
    if (scale == nullptr) {
      for (int64_t i = 0; i < cells * p.channels; ++i) out[i] = relu_change(before[i], in[i]);
    } else {
      for (int64_t x = 0; x < cells; ++x) {
        const int64_t first = x * p.channels;
        for (int64_t c = 0; c < p.channels; ++c) {
          out[first + c] = relu_change(before[first + c], scale[c] * in[first + c]);
        }
      }
    }
    std::fill(out + cells * p.channels, out + length, T(0));
  }
}

// One cell of the pooled map; `scratch` holds zeros, and behind them room for the maxima before the
// change.
template <typename T>
void pool_cell(const PatchMaxPoolArgs& a, int64_t b, const Cell& o, T* scratch, T* out) {
  const int64_t channels = a.patches.channels;
  const T* still = scratch;
  T* most = scratch + channels;
  const T lowest = -std::numeric_limits<T>::infinity();
  std::fill_n(most, channels, lowest);
  std::fill_n(out, channels, lowest);
  const T* map = static_cast<const T*>(a.before.data);
  for (int pass = 0; pass < 2; ++pass) {
    for (int64_t kz = 0; kz < a.kernel[0]; ++kz) {
      for (int64_t ky = 0; ky < a.kernel[1]; ++ky) {
        for (int64_t kx = 0; kx < a.kernel[2]; ++kx) {
          const Cell in{o.z * a.stride[0] - a.padding[0] + kz * a.dilation[0],
                        o.y * a.stride[1] - a.padding[1] + ky * a.dilation[1],
                        o.x * a.stride[2] - a.padding[2] + kx * a.dilation[2]};
          if (!a.before.holds(in)) continue;
          const T* before = map + a.before.index(in, channels);
          if (pass == 0) {
            for (int64_t c = 0; c < channels; ++c) most[c] = larger(most[c], before[c]);
            continue;
          }
          const T* moved = still;
          if (a.patches.holds(b, in)) {
            moved = static_cast<const T*>(a.patches.data) + a.patches.index(b, in);
          }
          // Relative to the old maximum, so that small changes of large values keep their digits.
          for (int64_t c = 0; c < channels; ++c) {
            out[c] = larger(out[c], below(before[c], most[c]) + moved[c]);
          }
        }
      }
    }
  }
  if (!a.rectify) return;
  for (int64_t c = 0; c < channels; ++c) out[c] = relu_change(most[c], out[c]);
}

template <typename T>
void pool_plane(const PatchMaxPoolArgs& a, int64_t b, int64_t plane, T* scratch) {
  const int32_t* box = a.out_boxes + 6 * b;
  const int64_t channels = a.patches.channels, length = a.out_size[2] * channels;
  T* out = static_cast<T*>(a.out) + (b * a.out_size[0] + plane) * a.out_size[1] * length;
  for (int64_t row = 0; row < a.out_size[1]; ++row, out += length) {
    const int64_t z = box[0] + plane, y = box[1] + row;
    const int64_t cells = z < box[3] && y < box[4] ? std::max(0, box[5] - box[2]) : 0;
    for (int64_t x = 0; x < cells; ++x) {
      pool_cell(a, b, {z, y, box[2] + x}, scratch, out + x * channels);
    }
    std::fill(out + cells * channels, out + length, T(0));
  }
}

template <typename T>
void place_plane(const PatchPlaceArgs& a, int64_t b, int64_t plane) {
  const int32_t* frame = a.out_boxes + 6 * b;
  const int32_t* box = a.patches.boxes + 6 * b;
  const int64_t width = a.out_size[2], channels = a.patches.channels;
  T* out = static_cast<T*>(a.out) +
           (b * a.out_size[0] + plane) * a.out_size[1] * width * a.out_channels + a.channel;
  for (int64_t row = 0; row < a.out_size[1]; ++row, out += width * a.out_channels) {
    const Cell at{frame[0] + plane, frame[1] + row, frame[2]};
    const bool changed = at.z >= box[0] && at.z < box[3] && at.y >= box[1] && at.y < box[4];
    const Span span = changed ? span_of(box[2], box[5], at.x, width) : Span{0, 0};
    const T* patch = static_cast<const T*>(a.patches.data);
    if (span.first < span.last) patch += a.patches.index(b, {at.z, at.y, at.x + span.first});
    for (int64_t x = a.add ? span.first : 0; x < (a.add ? span.last : width); ++x) {
      T* to = out + x * a.out_channels;
      if (x < span.first || x >= span.last) {
        std::fill_n(to, channels, T(0));
        continue;
      }
      const T* from = patch + (x - span.first) * channels;
      if (a.add) {
        for (int64_t c = 0; c < channels; ++c) to[c] += from[c];
      } else {
        std::copy_n(from, channels, to);
      }
    }
  }
}

template <typename T>
void scatter_plane(const PatchScatterArgs& a, int64_t b, int64_t plane) {
  const PatchBatch& p = a.patches;
  const int64_t width = a.map.size[2], height = a.map.size[1];
  const int64_t length = height * width * p.channels;
  T* out = static_cast<T*>(a.out) + (b * a.map.size[0] + plane) * length;
  std::copy_n(static_cast<const T*>(a.map.data) + plane * length, length, out);
  const int32_t* box = p.boxes + 6 * b;
  if (plane < box[0] || plane >= box[3] || box[5] <= box[2]) return;
  for (int64_t y = box[1]; y < box[4]; ++y) {
    const T* patch = static_cast<const T*>(p.data) + p.index(b, {plane, y, box[2]});
    T* to = out + (y * width + box[2]) * p.channels;
    for (int64_t i = 0; i < (box[5] - box[2]) * p.channels; ++i) to[i] += patch[i];
  }
}

template <typename T>
void sum_patch(const PatchSumArgs& a, int64_t b, double* sums) {
  const PatchBatch& p = a.patches;
  const int32_t* box = p.boxes + 6 * b;
  std::fill_n(sums, p.channels, 0.0);
  for (int64_t z = box[0]; z < box[3]; ++z) {
    for (int64_t y = box[1]; y < box[4]; ++y) {
      const T* patch = static_cast<const T*>(p.data) + p.index(b, {z, y, box[2]});
      for (int64_t x = box[2]; x < box[5]; ++x, patch += p.channels) {
        for (int64_t c = 0; c < p.channels; ++c) sums[c] += static_cast<double>(patch[c]);
      }
    }
  }
  T* out = static_cast<T*>(a.out) + b * p.channels;
  for (int64_t c = 0; c < p.channels; ++c) out[c] = static_cast<T>(sums[c]);
}

}  // namespace

void patch_gather_cpu(const PatchGatherArgs& a, const ParallelFor& parallel) {
  const auto run = [&](auto plane_of) {
    over_planes(a.batch, a.out_size[0], a.out_size[1] * a.out_size[2] * a.channels, parallel,
                [&](int64_t b, int64_t plane) { plane_of(a, b, plane); });
  };
  by_dtype(a.dtype, [&] { run(gather_plane<float>); }, [&] { run(gather_plane<double>); });
}

void patch_relu_cpu(const PatchReluArgs& a, const ParallelFor& parallel) {
  const int64_t elements = a.patches.size[1] * a.patches.size[2] * a.patches.channels;
  const auto run = [&](auto plane_of) {
    over_planes(a.batch, a.patches.size[0], elements, parallel,
                [&](int64_t b, int64_t plane) { plane_of(a, b, plane); });
  };
  by_dtype(a.dtype, [&] { run(relu_plane<float>); }, [&] { run(relu_plane<double>); });
}

template <typename T>
static void max_pool_all(const PatchMaxPoolArgs& a, const ParallelFor& parallel) {
  const int64_t cells = a.out_size[1] * a.out_size[2];
  const int64_t window = a.kernel[0] * a.kernel[1] * a.kernel[2];
  parallel(a.batch * a.out_size[0], planes_per_thread(cells * window * a.patches.channels),
           [&](int64_t begin, int64_t end) {
             std::vector<T> scratch(static_cast<size_t>(2 * a.patches.channels), T(0));
             for (int64_t item = begin; item < end; ++item) {
               pool_plane<T>(a, item / a.out_size[0], item % a.out_size[0], scratch.data());
             }
           });
}

void patch_max_pool_cpu(const PatchMaxPoolArgs& a, const ParallelFor& parallel) {
  by_dtype(
      a.dtype, [&] { max_pool_all<float>(a, parallel); },
      [&] { max_pool_all<double>(a, parallel); });
}

void patch_place_cpu(const PatchPlaceArgs& a, const ParallelFor& parallel) {
  const auto run = [&](auto plane_of) {
    over_planes(a.batch, a.out_size[0], a.out_size[1] * a.out_size[2] * a.patches.channels,
                parallel, [&](int64_t b, int64_t plane) { plane_of(a, b, plane); });
  };
  by_dtype(a.dtype, [&] { run(place_plane<float>); }, [&] { run(place_plane<double>); });
}

void patch_scatter_cpu(const PatchScatterArgs& a, const ParallelFor& parallel) {
  const auto run = [&](auto plane_of) {
    over_planes(a.batch, a.map.size[0], a.map.size[1] * a.map.size[2] * a.patches.channels,
                parallel, [&](int64_t b, int64_t plane) { plane_of(a, b, plane); });
  };
  by_dtype(a.dtype, [&] { run(scatter_plane<float>); }, [&] { run(scatter_plane<double>); });
}

void patch_sum_cpu(const PatchSumArgs& a, const ParallelFor& parallel) {
  const int64_t elements = a.patches.size[0] * a.patches.size[1] * a.patches.size[2];
  parallel(a.batch, planes_per_thread(elements * a.patches.channels),
           [&](int64_t begin, int64_t end) {
             std::vector<double> sums(static_cast<size_t>(a.patches.channels));
             for (int64_t b = begin; b < end; ++b) {
               if (a.dtype == DType::kFloat64) {
                 sum_patch<double>(a, b, sums.data());
               } else {
                 sum_patch<float>(a, b, sums.data());
               }
             }
           });
}

}  // namespace pyadx
