// CPU side of the patch operators of patches.h, except for max pooling.
#include <algorithm>
#include <vector>

#include "patches/extent.h"
#include "patches/patches.h"
#include "patches/planes.h"

namespace pyadx {
namespace {

// Indices [first, last) along a row of a slot.
struct Span {
  int64_t first, last;
};

// The cells [low, high) of a map, in a slot of `length` cells that begins at `origin`.
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
    const Extent changed = changed_cells(in, cells, p.channels);
    std::fill(out, out + changed.first * p.channels, T(0));
    std::fill(out + changed.last * p.channels, out + length, T(0));
    if (changed.empty()) continue;
    const T* before = static_cast<const T*>(a.before.data) + a.before.index(at, p.channels);
    if (scale == nullptr) {
      for (int64_t i = changed.first * p.channels; i < changed.last * p.channels; ++i) {
        out[i] = relu_change(before[i], in[i]);
      }
      continue;
    }
    for (int64_t x = changed.first; x < changed.last; ++x) {
      const int64_t first = x * p.channels;
      for (int64_t c = 0; c < p.channels; ++c) {
        out[first + c] = relu_change(before[first + c], scale[c] * in[first + c]);
      }
    }
  }
}

// Adds a row of changes to some channels of wider cells.
template <typename T>
void add_row(const T* patch, int64_t cells, int64_t channels, T* to, int64_t to_channels) {
  const Extent changed = changed_cells(patch, cells, channels);
  if (channels == to_channels) {
    for (int64_t i = changed.first * channels; i < changed.last * channels; ++i) to[i] += patch[i];
    return;
  }
  for (int64_t x = changed.first; x < changed.last; ++x) {
    for (int64_t c = 0; c < channels; ++c) to[x * to_channels + c] += patch[x * channels + c];
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
    if (a.add) {
      add_row(patch, span.last - span.first, channels, out + span.first * a.out_channels,
              a.out_channels);
      continue;
    }
    for (int64_t x = 0; x < width; ++x) {
      T* to = out + x * a.out_channels;
      if (x < span.first || x >= span.last) {
        std::fill_n(to, channels, T(0));
      } else {
        std::copy_n(patch + (x - span.first) * channels, channels, to);
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
