// The convolution by products of bfloat16 on the CPU: splits inputs and writes outputs.
// split_products.h has the inner loop.
#include <algorithm>

#include "common/amx.h"
#include "common/vector_clones.h"
#include "patches/changes.h"
#include "patches/conv_plane.h"
#include "patches/patches.h"
#include "patches/split.h"

namespace pyadx {
namespace {

constexpr int64_t kTaps = 3;
constexpr float kSmallest = 0x1p-60f, kLargest = 0x1p60f;

// Rounded to nearest even; for finite values that do not overflow.
inline BFloat16 rounded(float value) {
  const uint32_t bits = bits_from_float(value);
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

PYADX_VECTOR_CLONES void split(const float* from, int64_t count, BFloat16* to, int64_t part_step) {
  for (int64_t i = 0; i < count; ++i) {
    const BFloat16 first = rounded(from[i]);
    const float beyond = from[i] - widen(first);
    const BFloat16 second = rounded(beyond);
    to[i] = first;
    to[part_step + i] = second;
    to[2 * part_step + i] = rounded(beyond - widen(second));
  }
}

// The largest magnitude in a row, in the form of magnitude_bits.
PYADX_VECTOR_CLONES uint32_t largest_bits(const float* from, int64_t count) {
  uint32_t most = 0;
  for (int64_t i = 0; i < count; ++i) most = std::max(most, bits_from_float(from[i]) << 1);
  return most;
}

bool in_range(const PatchConvArgs& args, int64_t index) {
  const int32_t* box = args.boxes + 6 * index;
  const float* patch = static_cast<const float*>(args.patches);
  uint32_t most = 0;
  for (int64_t z = 0; z < box[3] - box[0]; ++z) {
    for (int64_t y = 0; y < box[4] - box[1]; ++y) {
      const int64_t row = (index * args.in_size[0] + z) * args.in_size[1] + y;
      most = std::max(most, largest_bits(patch + row * args.in_size[2] * args.channels,
                                         (box[5] - box[2]) * args.channels));
    }
  }
  return most >= magnitude_bits(kSmallest) && most <= magnitude_bits(kLargest);
}

// The buffers of a thread. They are kept between calls: page faults in new memory would take longer
// than much of the work.
struct SplitBuffers {
  std::vector<BFloat16> rows;
  std::vector<uint8_t> changed;
  std::vector<const BFloat16*> in, weights;
};

SplitBuffers& buffers_of_thread() {
  thread_local SplitBuffers buffers;
  return buffers;
}

// The work of one thread.
class SplitConvolver {
 public:
  explicit SplitConvolver(const PatchConvArgs& args)
      : a_(args),
        kernels_(split_kernels()),
        chunks_(ceil_div(kTaps * args.channels, kTileDepth)),
        step_size_(chunks_ * kParts * kTileSize),
        blocks_(ceil_div(args.out_channels, kTileRows)) {}
  ~SplitConvolver() {
    if (outputs_ > 0) kernels_.end();
  }
  SplitConvolver(const SplitConvolver&) = delete;
  SplitConvolver& operator=(const SplitConvolver&) = delete;

  // Writes plane `z` (index in the box of outputs) of patch `b`.
  void run(int64_t b, int64_t z) {
    if (b != patch_) begin(b);
    for (int64_t k = 0; k < kTaps; ++k) hold(input_plane(z, k));
    const int64_t rows = size_[1] * segments_;
    for (int64_t block = 0; block < blocks_; block += 2) {
      const int64_t blocks = std::min<int64_t>(2, blocks_ - block);
      for (int64_t row = 0; row < rows; row += 2) {
        products(z, row, std::min<int64_t>(2, rows - row), block, blocks);
      }
    }
  }

 private:
  // Prepares for patch `b`. Rows of outputs are cut into segments of equal length, which is the
  // number of rows of the tiles.
  void begin(int64_t b) {
    patch_ = b;
    in_box_ = a_.boxes + 6 * b;
    out_box_ = a_.out_boxes + 6 * b;
    for (int axis = 0; axis < 3; ++axis) size_[axis] = out_box_[axis + 3] - out_box_[axis];
    in_rows_ = in_box_[4] - in_box_[1];
    segments_ = ceil_div(size_[2], kTileRows);
    const int64_t outputs = ceil_div(size_[2], segments_);
    if (outputs != outputs_) {
      if (outputs_ > 0) kernels_.end();
      kernels_.begin(outputs);
      outputs_ = outputs;
    }
    // The last chunk of the last output may read up to 31 numbers beyond its own.
    row_cells_ = segments_ * outputs_ + kTaps - 1;
    part_step_ = row_cells_ * a_.channels + kTileDepth;
    // One row of zeros, then three planes of rows.
    buffers_.rows.resize(static_cast<size_t>((1 + kTaps * in_rows_) * kParts * part_step_));
    std::fill_n(buffers_.rows.begin(), kParts * part_step_, BFloat16{0});
    buffers_.changed.resize(static_cast<size_t>(kTaps * in_rows_));
    std::fill_n(held_, kTaps, int64_t{-1});
  }

  // The plane of inputs, counted from the box of inputs, that tap `k` reads for plane `z` of
  // outputs.
  int64_t input_plane(int64_t z, int64_t k) const {
    return out_box_[0] + z - a_.padding[0] + k - in_box_[0];
  }
  bool inside(int64_t plane) const { return plane >= 0 && plane < in_box_[3] - in_box_[0]; }

  BFloat16* split_row(int64_t plane, int64_t y) const {
    const int64_t row = 1 + plane % kTaps * in_rows_ + y;
    return buffers_.rows.data() + row * kParts * part_step_;
  }
  uint8_t& changed(int64_t plane, int64_t y) const {
    return buffers_.changed[static_cast<size_t>(plane % kTaps * in_rows_ + y)];
  }

  // Splits a plane of inputs, unless that is done already.
  void hold(int64_t plane) {
    if (!inside(plane) || held_[plane % kTaps] == plane) return;
    held_[plane % kTaps] = plane;
    // Cell i of a row of the buffer is cell start + i of the box; cells [first, last) are inside
    // it.
    const int64_t start = out_box_[2] - a_.padding[2] - in_box_[2];
    const int64_t cells = in_box_[5] - in_box_[2], channels = a_.channels;
    const int64_t first = std::clamp<int64_t>(-start, 0, row_cells_);
    const int64_t last = std::clamp<int64_t>(cells - start, first, row_cells_);
    for (int64_t y = 0; y < in_rows_; ++y) {
      const int64_t row = (patch_ * a_.in_size[0] + plane) * a_.in_size[1] + y;
      const float* from = static_cast<const float*>(a_.patches) +
                          (row * a_.in_size[2] + std::max<int64_t>(start, 0)) * channels;
      changed(plane, y) = last > first && any_change(from, (last - first) * channels);
      if (!changed(plane, y)) continue;
      BFloat16* to = split_row(plane, y);
      for (int64_t part = 0; part < kParts; ++part) {
        BFloat16* own = to + part * part_step_;
        std::fill(own, own + first * channels, BFloat16{0});
        std::fill(own + last * channels, own + part_step_, BFloat16{0});
      }
      split(from, (last - first) * channels, to + first * channels, part_step_);
    }
  }

  // The first input that row `k` of taps reads for a segment of outputs, or null where nothing
  // changes.
  const BFloat16* input(int64_t plane, int64_t segment, int64_t k) const {
    const int64_t oy = segment / segments_, x = segment % segments_ * outputs_;
    const int64_t y = out_box_[1] + oy - a_.padding[1] + k - in_box_[1];
    if (y < 0 || y >= in_rows_ || !changed(plane, y)) return nullptr;
    return split_row(plane, y) + x * a_.channels;
  }

  void products(int64_t z, int64_t segment, int64_t rows, int64_t block, int64_t blocks) {
    const auto* weights = static_cast<const BFloat16*>(a_.tiled_weights);
    const int64_t block_step = kTaps * kTaps * step_size_;
    buffers_.in.clear();
    buffers_.weights.clear();
    for (int64_t kz = 0; kz < kTaps; ++kz) {
      const int64_t plane = input_plane(z, kz);
      if (!inside(plane)) continue;
      for (int64_t ky = 0; ky < kTaps; ++ky) {
        const BFloat16* in[2] = {input(plane, segment, ky), nullptr};
        if (rows == 2) in[1] = input(plane, segment + 1, ky);
        if (in[0] == nullptr && in[1] == nullptr) continue;
        for (int64_t row = 0; row < rows; ++row) {
          buffers_.in.push_back(in[row] == nullptr ? buffers_.rows.data() : in[row]);
        }
        buffers_.weights.push_back(weights + block * block_step + (kz * kTaps + ky) * step_size_);
      }
    }
    alignas(64) float sums[4 * kTileRows * kTileRows];
    const SplitJob job{buffers_.in.data(),
                       buffers_.weights.data(),
                       static_cast<int64_t>(buffers_.weights.size()),
                       chunks_,
                       outputs_,
                       a_.channels * static_cast<int64_t>(sizeof(BFloat16)),
                       part_step_,
                       block_step,
                       sums};
    kernels_.products[rows - 1][blocks - 1](job);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t own = 0; own < blocks; ++own) {
        const float* from = sums + (row * blocks + own) * kTileRows * kTileRows;
        write(from, z, segment + row, block + own);
      }
    }
  }

  // Writes a tile of sums, after the ReLU if there is one.
  void write(const float* from, int64_t z, int64_t segment, int64_t block) const {
    const int64_t y = segment / segments_, x = segment % segments_ * outputs_;
    const int64_t channels = a_.out_channels, first = block * kTileRows;
    const int64_t count = std::min(kTileRows, channels - first);
    const int64_t slot = (patch_ * a_.out_size[0] + z) * a_.out_size[1] + y;
    float* to = static_cast<float*>(a_.out) + (slot * a_.out_size[2] + x) * channels + first;
    const float* before = nullptr;
    if (a_.before != nullptr) {
      const int64_t row = ((out_box_[0] + z) * a_.map_size[1] + out_box_[1] + y) * a_.map_size[2];
      before = static_cast<const float*>(a_.before) + (row + out_box_[2] + x) * channels + first;
    }
    const int64_t cells = std::min(outputs_, size_[2] - x);
    for (int64_t cell = 0; cell < cells; ++cell, from += kTileRows, to += channels) {
      if (before == nullptr) {
        std::copy_n(from, count, to);
      } else {
        for (int64_t c = 0; c < count; ++c) to[c] = relu_change(before[c], from[c]);
        before += channels;
      }
    }
  }

  const PatchConvArgs& a_;
  const SplitKernels& kernels_;
  const int64_t chunks_, step_size_, blocks_;
  SplitBuffers& buffers_ = buffers_of_thread();
  // Of the current patch.
  const int32_t *in_box_ = nullptr, *out_box_ = nullptr;
  int64_t patch_ = -1, size_[3] = {}, in_rows_ = 0, segments_ = 0, outputs_ = 0;
  int64_t row_cells_ = 0, part_step_ = 0, held_[kTaps] = {};
};

}  // namespace

bool by_split(const PatchConvArgs& args, int64_t index) {
  if (args.tiled == nullptr || args.tiled[index] == 0) return false;
  const int32_t *in = args.boxes + 6 * index, *out = args.out_boxes + 6 * index;
  for (int axis = 0; axis < 3; ++axis) {
    if (in[axis] >= in[axis + 3] || out[axis] >= out[axis + 3]) return false;
  }
  return true;
}

std::vector<int64_t> split_conv_cpu(const PatchConvArgs& args, const ParallelFor& parallel) {
  std::vector<uint8_t> taken(static_cast<size_t>(args.batch));
  parallel(args.batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      taken[static_cast<size_t>(b)] = by_split(args, b) && in_range(args, b);
    }
  });
  const int64_t planes = args.out_size[0];
  parallel(args.batch * planes, 1, [&](int64_t begin, int64_t end) {
    SplitConvolver convolver(args);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t b = item / planes, z = item % planes;
      const int32_t* box = args.out_boxes + 6 * b;
      if (taken[static_cast<size_t>(b)] != 0 && z < box[3] - box[0]) convolver.run(b, z);
    }
  });
  std::vector<int64_t> again;
  for (int64_t b = 0; b < args.batch; ++b) {
    if (by_split(args, b) && taken[static_cast<size_t>(b)] == 0) again.push_back(b);
  }
  return again;
}

}  // namespace pyadx
