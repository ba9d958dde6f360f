// CPU side of batched occlusion (see occlude.h).
//
// Work items are planes (batch, channel, z) of the output, and independent of each other. A plane
// of a brain volume stays in the L2 cache while it is copied and its region overwritten, so each
// output byte is written to memory once. Complexity O(B*C*D*H*W); no temporary memory.
#include <algorithm>
#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "occlusion/occlude.h"

namespace pyadx {
namespace {

struct PlaneIndex {
  int64_t item, channel, z;
};

PlaneIndex plane_index(int64_t plane, const OccludeArgs& args) {
  const int64_t z = plane % args.depth;
  const int64_t rest = plane / args.depth;
  return {rest / args.channels, rest % args.channels, z};
}

// Fewest planes per thread: with fewer, a thread costs more time than it saves.
int64_t plane_grain(const OccludeArgs& args) {
  constexpr int64_t kBytesPerTask = 1 << 18;
  return std::max<int64_t>(1,
                           kBytesPerTask / std::max<int64_t>(1, args.plane() * args.element_size));
}

template <typename Word>
const Word* fill_row(const OccludeArgs& args, int64_t channel, int64_t z, int64_t y) {
  return static_cast<const Word*>(args.fill) + channel * args.fill_strides[0] +
         z * args.fill_strides[1] + y * args.fill_strides[2];
}

// Copies with stores that bypass the cache. Ordinary stores would first read every cache line of a
// batch larger than the caches from memory, only to overwrite it.
void copy_streaming(void* target, const void* source, int64_t bytes) {
#ifdef __SSE2__
  constexpr int64_t kStore = sizeof(__m128i);
  char* out = static_cast<char*>(target);
  const char* in = static_cast<const char*>(source);
  const int64_t past = static_cast<int64_t>(reinterpret_cast<uintptr_t>(out) % kStore);
  const int64_t head = std::min(bytes, past == 0 ? 0 : kStore - past);
  std::memcpy(out, in, static_cast<size_t>(head));
  int64_t i = head;
  for (; i + 4 * kStore <= bytes; i += 4 * kStore) {
    const __m128i* from = reinterpret_cast<const __m128i*>(in + i);
    const __m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1);
    const __m128i c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);
    __m128i* to = reinterpret_cast<__m128i*>(out + i);
    _mm_stream_si128(to, a);
    _mm_stream_si128(to + 1, b);
    _mm_stream_si128(to + 2, c);
    _mm_stream_si128(to + 3, d);
  }
  std::memcpy(out + i, in + i, static_cast<size_t>(bytes - i));
  _mm_sfence();
#else
  std::memcpy(target, source, static_cast<size_t>(bytes));
#endif
}

template <typename Word>
void fill_box_plane(const OccludeArgs& args, const ClippedBox& box, int64_t channel, int64_t z,
                    Word* plane) {
  const int64_t stride_x = args.fill_strides[3];
  for (int64_t y = box.begin[1]; y < box.end[1]; ++y) {
    const Word* fill = fill_row<Word>(args, channel, z, y);
    Word* row = plane + y * args.width;
    for (int64_t x = box.begin[2]; x < box.end[2]; ++x) row[x] = fill[x * stride_x];
  }
}

template <typename Word>
void boxes_range(const OccludeArgs& args, const int64_t* boxes, int64_t begin, int64_t end) {
  constexpr int64_t kRunBytes = 1 << 18;
  constexpr int64_t kStreamingBytes = 1 << 26;
  const int64_t plane = args.plane();
  const int64_t plane_bytes = plane * static_cast<int64_t>(sizeof(Word));
  const int64_t longest = std::max<int64_t>(1, kRunBytes / plane_bytes);
  const bool streaming = args.batch * args.channels * args.depth * plane_bytes >= kStreamingBytes;
  const Word* volume = static_cast<const Word*>(args.volume);
  Word* out = static_cast<Word*>(args.out);
  for (int64_t first = begin; first < end;) {
    const auto [item, channel, z] = plane_index(first, args);
    const int64_t run = std::min({longest, end - first, args.depth - z});
    Word* target = out + first * plane;
    const Word* source = volume + (channel * args.depth + z) * plane;
    if (streaming) {
      copy_streaming(target, source, run * plane_bytes);
    } else {
      std::memcpy(target, source, static_cast<size_t>(run * plane_bytes));
    }
    const ClippedBox box = clip_box(boxes + item * 6, args.depth, args.height, args.width);
    const int64_t last = std::min(z + run, box.end[0]);
    for (int64_t at = std::max(z, box.begin[0]); at < last; ++at) {
      fill_box_plane(args, box, channel, at, target + (at - z) * plane);
    }
    first += run;
  }
}

template <typename Word>
void labels_range(const OccludeArgs& args, const int32_t* labels, const int64_t* intervals,
                  int64_t begin, int64_t end) {
  const Word* volume = static_cast<const Word*>(args.volume);
  Word* out = static_cast<Word*>(args.out);
  const int64_t plane = args.plane();
  const int64_t stride_x = args.fill_strides[3];
  for (int64_t p = begin; p < end; ++p) {
    const auto [item, channel, z] = plane_index(p, args);
    const LabelInterval interval = make_interval(intervals + item * 2);
    Word* target = out + p * plane;
    const Word* source = volume + (channel * args.depth + z) * plane;
    const int32_t* label = labels + z * plane;
    if (interval.empty) {
      std::memcpy(target, source, static_cast<size_t>(plane) * sizeof(Word));
    } else if (args.fill_is_uniform()) {
      const Word value = *fill_row<Word>(args, channel, 0, 0);
      for (int64_t i = 0; i < plane; ++i) {
        const Word kept = source[i];
        target[i] = interval.holds(label[i]) ? value : kept;
      }
    } else {
      for (int64_t y = 0; y < args.height; ++y) {
        const Word* fill = fill_row<Word>(args, channel, z, y);
        const int64_t row = y * args.width;
        for (int64_t x = 0; x < args.width; ++x) {
          const Word kept = source[row + x], filled = fill[x * stride_x];
          target[row + x] = interval.holds(label[row + x]) ? filled : kept;
        }
      }
    }
  }
}

template <typename Body>
void for_each_word_size(const OccludeArgs& args, const ParallelFor& parallel_for, Body body) {
  const int64_t planes = args.batch * args.channels * args.depth;
  if (planes == 0 || args.plane() == 0) return;
  parallel_for(planes, plane_grain(args), [&](int64_t begin, int64_t end) {
    switch (args.element_size) {
      case 2:
        return body(uint16_t{}, begin, end);
      case 4:
        return body(uint32_t{}, begin, end);
      default:
        return body(uint64_t{}, begin, end);
    }
  });
}

}  // namespace

void occlude_boxes_cpu(const OccludeArgs& args, const int64_t* boxes,
                       const ParallelFor& parallel_for) {
  for_each_word_size(args, parallel_for, [&](auto word, int64_t begin, int64_t end) {
    boxes_range<decltype(word)>(args, boxes, begin, end);
  });
}

void occlude_labels_cpu(const OccludeArgs& args, const int32_t* labels, const int64_t* intervals,
                        const ParallelFor& parallel_for) {
  for_each_word_size(args, parallel_for, [&](auto word, int64_t begin, int64_t end) {
    labels_range<decltype(word)>(args, labels, intervals, begin, end);
  });
}

}  // namespace pyadx
