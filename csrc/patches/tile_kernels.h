// The inner loops of the tiled convolution (tiles.h). Like conv_rows.h, they are compiled once per
// instruction set.
//
// Channels are always innermost. So all three axes of a tile are transformed in registers or on the
// stack, for a vector of channels at a time.
#pragma once

#include <utility>

#include "patches/conv_rows.h"
#include "patches/points.h"
#include "patches/tiles.h"

namespace pyadx {
namespace PYADX_ISA {
namespace {

template <int kBytes, typename T>
inline Vector<T, kBytes> load(const T* from) {
  return *reinterpret_cast<const Vector<T, kBytes>*>(from);
}

template <int kBytes, typename T, typename V>
inline void store(T* to, const V& value) {
  *reinterpret_cast<Vector<T, kBytes>*>(to) = value;
}

// Zero, or NaN where a value is so large that sums and products of it might overflow.
template <typename T, typename V>
inline V probe(const V& value) {
  constexpr double kLarge = sizeof(T) == 4 ? 0x1p64 : 0x1p512;
  return (value * T(kLarge)) * T(0);
}

// Evaluates one tile for one vector of channels.
template <int kBytes, int kTile, typename T>
inline bool evaluate_channels(const TileJob<T>& job, int64_t channel) {
  using V = Vector<T, kBytes>;
  constexpr int kPoints = kTile + 2;
  V by_z[kPoints][kTile][kTile];
  V worst = {};
  for (int y = 0; y < kTile; ++y) {
    for (int x = 0; x < kTile; ++x) {
      V column[kTile];
      for (V& own : column) own = V{};
      if (y < job.size[1] && x < job.size[2]) {
        const T* in = job.in + y * job.row_step + x * job.channels + channel;
        for (int z = 0; z < kTile; ++z) {
          if (z < job.size[0]) column[z] = load<kBytes>(in + z * job.plane_step);
          worst += probe<T>(column[z]);
        }
      }
      V at[kPoints];
      Points<kTile>::evaluate(column, at);
      for (int p = 0; p < kPoints; ++p) by_z[p][y][x] = at[p];
    }
  }
  T* out = job.out + channel;
  for (int pz = 0; pz < kPoints; ++pz) {
    V by_y[kPoints][kTile];
    for (int x = 0; x < kTile; ++x) {
      V column[kTile], at[kPoints];
      for (int y = 0; y < kTile; ++y) column[y] = by_z[pz][y][x];
      Points<kTile>::evaluate(column, at);
      for (int p = 0; p < kPoints; ++p) by_y[p][x] = at[p];
    }
    for (int py = 0; py < kPoints; ++py) {
      V at[kPoints];
      Points<kTile>::evaluate(by_y[py], at);
      for (int p = 0; p < kPoints; ++p, out += job.point_step) store<kBytes>(out, at[p]);
    }
  }
  T lanes[kBytes / sizeof(T)];
  store<kBytes>(lanes, worst);
  bool finite = true;
  for (const T lane : lanes) finite &= lane == T(0);
  return finite;
}

template <typename T, int kBytes, int kTile>
bool evaluate(const TileJob<T>& job) {
  constexpr int64_t kLanes = kBytes / static_cast<int64_t>(sizeof(T));
  bool finite = true;
  int64_t channel = 0;
  for (; channel + kLanes <= job.channels; channel += kLanes) {
    finite &= evaluate_channels<kBytes, kTile>(job, channel);
  }
  for (; channel < job.channels; ++channel) {
    finite &= evaluate_channels<sizeof(T), kTile>(job, channel);
  }
  return finite;
}

// Products of some rows with one panel of weights. Sums stay in registers for all channels.
template <typename T>
using ProductFunction = void (*)(const T* in, int64_t row_step, const T* weights,
                                 int64_t weight_step, int64_t channels, T* out, int64_t out_step);

template <typename T, int kBytes, int kUnits, int kRows>
void products(const T* in, int64_t row_step, const T* weights, int64_t weight_step,
              int64_t channels, T* out, int64_t out_step) {
  using V = Vector<T, kBytes>;
  constexpr int64_t kLanes = kBytes / static_cast<int64_t>(sizeof(T));
  V sums[kRows][kUnits];
  clear(sums);
  for (int64_t c = 0; c < channels; ++c, weights += weight_step) {
    V taps[kUnits];
    for (int64_t u = 0; u < kUnits; ++u) taps[u] = load<kBytes>(weights + u * kLanes);
    for (int64_t r = 0; r < kRows; ++r) {
      const V value = in[r * row_step + c] - V{};
      for (int64_t u = 0; u < kUnits; ++u) sums[r][u] += value * taps[u];
    }
  }
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t u = 0; u < kUnits; ++u) store<kBytes>(out + r * out_step + u * kLanes, sums[r][u]);
  }
}

template <typename T, int kMostRows>
struct ProductTable {
  ProductFunction<T> of_rows[kMostRows];
};

template <typename T, int kBytes, int kUnits, int... kRow>
constexpr ProductTable<T, sizeof...(kRow)> product_table(std::integer_sequence<int, kRow...>) {
  return {{products<T, kBytes, kUnits, kRow + 1>...}};
}

template <typename T, int kBytes, int kUnits, int kMostRows>
void multiply(const ProductJob<T>& job) {
  static constexpr auto kTable =
      product_table<T, kBytes, kUnits>(std::make_integer_sequence<int, kMostRows>());
  constexpr int64_t kPanel = kUnits * kBytes / static_cast<int64_t>(sizeof(T));
  const int64_t width = job.blocks * job.lanes, chunks = (job.rows + kMostRows - 1) / kMostRows;
  for (int64_t p = 0; p < job.points; ++p) {
    const T* in = job.in + p * job.in_step;
    for (int64_t column = 0; column < width; column += kPanel) {
      const T* weights = job.weights +
                         (p * job.blocks + column / job.lanes) * job.channels * job.lanes +
                         column % job.lanes;
      T* out = job.out + p * job.out_step + column;
      for (int64_t chunk = 0, row = 0; chunk < chunks; ++chunk) {
        const int64_t rows = (job.rows - row) / (chunks - chunk);
        kTable.of_rows[rows - 1](in + row * job.channels, job.channels, weights, job.lanes,
                                 job.channels, out + row * width, width);
        row += rows;
      }
    }
  }
}

// Interpolates one row of tiles for one vector of output channels: along z, then y, then x.
template <typename T, int kBytes, int kTile>
class RowInterpolator {
  using V = Vector<T, kBytes>;

 public:
  RowInterpolator(const InterpolateJob<T>& job, int64_t channel) : job_(job), channel_(channel) {}

  void run() {
    V along_x[kTile][kTile][2] = {};
    for (int64_t tile = 0; tile < job_.tiles; ++tile) {
      V planes[kTile][kPoints][kPoints];
      const bool any = finish_planes(tile, planes);
      if (job_.carry_only) continue;
      V rows[kTile][kTile][kPoints];
      finish_rows(tile, any, planes, rows);
      for (int64_t z = 0; z < job_.planes; ++z) {
        for (int64_t y = 0; y < job_.lines; ++y) {
          V sums[kPoints];
          Points<kTile>::interpolate(rows[z][y], sums);
          T* out =
              job_.sums + ((z * kTile + y) * job_.tiles + tile) * kTile * job_.width + channel_;
          for (int x = 0; x < kTile; ++x, out += job_.width) {
            store<kBytes>(out, x < 2 ? sums[x] + along_x[z][y][x] : sums[x]);
          }
          for (int i = 0; i < 2; ++i) along_x[z][y][i] = sums[kTile + i];
        }
      }
    }
  }

 private:
  static constexpr int kPoints = kTile + 2;

  // Computes the planes that no later layer of tiles adds to. They are still values at points along
  // y and x. Returns false if all are zero.
  bool finish_planes(int64_t tile, V (&planes)[kTile][kPoints][kPoints]) {
    T* carry = job_.layer_carry + tile * 2 * kPoints * kPoints * job_.width + channel_;
    const int32_t row = job_.rows[tile];
    const bool carried = job_.carried[tile] != 0;
    if (row < 0 && !carried) return false;
    const int64_t second = kPoints * kPoints * job_.width;
    for (int py = 0; py < kPoints; ++py) {
      for (int px = 0; px < kPoints; ++px, carry += job_.width) {
        V sums[kPoints];
        for (V& own : sums) own = V{};
        if (row >= 0) {
          V at[kPoints];
          const T* from =
              job_.products + (py * kPoints + px) * job_.point_step + row * job_.width + channel_;
          for (int pz = 0; pz < kPoints; ++pz) {
            at[pz] = load<kBytes>(from + pz * kPoints * kPoints * job_.point_step);
          }
          Points<kTile>::interpolate(at, sums);
        }
        if (carried) {
          sums[0] += load<kBytes>(carry);
          sums[1] += load<kBytes>(carry + second);
        }
        for (int z = 0; z < kTile; ++z) planes[z][py][px] = sums[z];
        store<kBytes>(carry, sums[kTile]);
        store<kBytes>(carry + second, sums[kTile + 1]);
      }
    }
    return true;
  }

  // Computes the rows that no later row of tiles adds to. They are still values at points along x.
  void finish_rows(int64_t tile, bool any, const V (&planes)[kTile][kPoints][kPoints],
                   V (&rows)[kTile][kTile][kPoints]) {
    T* carry = job_.row_carry + tile * kTile * 2 * kPoints * job_.width + channel_;
    const int64_t second = kPoints * job_.width;
    for (int64_t z = 0; z < job_.planes; ++z, carry += second) {
      for (int px = 0; px < kPoints; ++px, carry += job_.width) {
        V sums[kPoints];
        for (V& own : sums) own = V{};
        if (any) {
          V at[kPoints];
          for (int py = 0; py < kPoints; ++py) at[py] = planes[z][py][px];
          Points<kTile>::interpolate(at, sums);
        }
        if (!job_.first_row) {
          sums[0] += load<kBytes>(carry);
          sums[1] += load<kBytes>(carry + second);
        }
        for (int y = 0; y < kTile; ++y) rows[z][y][px] = sums[y];
        store<kBytes>(carry, sums[kTile]);
        store<kBytes>(carry + second, sums[kTile + 1]);
      }
    }
  }

  const InterpolateJob<T>& job_;
  const int64_t channel_;
};

template <typename T, int kBytes, int kTile>
void interpolate(const InterpolateJob<T>& job) {
  constexpr int64_t kLanes = kBytes / static_cast<int64_t>(sizeof(T));
  for (int64_t channel = 0; channel < job.width; channel += kLanes) {
    RowInterpolator<T, kBytes, kTile>(job, channel).run();
  }
  for (int64_t tile = 0; tile < job.tiles; ++tile) job.carried[tile] = job.rows[tile] >= 0;
}

// kBytes: size of a vector. kUnits: vectors of output channels handled together. kMostRows: tiles
// multiplied together.
template <typename T, int kBytes, int kUnits, int kMostRows, int kTile>
constexpr TileKernels<T> tile_kernels_of() {
  constexpr int kHalf = kBytes < 32 ? kBytes : 32;
  constexpr int kMost32 = kUnits * kHalf < 32 ? kUnits : 32 / kHalf;
  constexpr int kMost64 = kUnits * kBytes < 64 ? kUnits : 64 / kBytes;
  return {
      evaluate<T, kBytes, kTile>,
      {multiply<T, kHalf, kMost32, kMostRows>, multiply<T, kBytes, kMost64, kMostRows>,
       multiply<T, kBytes, kUnits, kMostRows>},
      {interpolate<T, kHalf, kTile>, interpolate<T, kBytes, kTile>, interpolate<T, kBytes, kTile>}};
}

template <typename T, int kBytes, int kUnits, int kMostRows>
constexpr TileTables<T> tile_tables_of() {
  return {tile_kernels_of<T, kBytes, kUnits, kMostRows, 2>(),
          tile_kernels_of<T, kBytes, kUnits, kMostRows, 4>()};
}

}  // namespace
}  // namespace PYADX_ISA
}  // namespace pyadx
