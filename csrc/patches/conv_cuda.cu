// CUDA side of patch_conv (see conv.h): an implicit matrix product on tensor cores.
//
// A thread block computes one tile of cells of one patch, for one block of output channels; it
// takes the pair (patch, tile) from a list. Two stages in shared memory take turns: asynchronous
// copies fill one while the products of the other are computed (conv_product_cuda.h). Cells outside
// the patch's box are zero and are not read, and chunks of taps whose planes or rows miss the box
// are skipped. A tile depends on its patch alone, so it has the same bytes in any batch. Sums that
// are not finite are computed again tap by tap; float64 is always computed tap by tap.
#include "patches/conv_product_cuda.h"

namespace pyadx {
namespace {

// Grid (pairs of the list, blocks of output channels of all groups); the same for mma_kernel.
template <typename T>
__global__ void __launch_bounds__(kBlock) plain_kernel(const Layer<T> layer) {
  const Tile<T> tile(layer);
  const int32_t last = tile.first + kTile < tile.cells ? tile.first + kTile : tile.cells;
  for (int32_t i = static_cast<int32_t>(threadIdx.x);; i += kBlock) {
    const int32_t row = i / layer.lanes, lane = i - row * layer.lanes, cell = tile.first + row;
    if (cell >= last) return;
    if (tile.column + lane >= layer.group_out) continue;
    const Place32 p = tile.place(cell);
    tile.write(p, lane, tile.sum(tile.origin(p), lane));
  }
}

template <int kColumns, int kPack>
__global__ void __launch_bounds__(kBlock) mma_kernel(const Layer<float> layer) {
  __shared__ Stage<kColumns, kPack> stages[2];
  const Tile<float> tile(layer);
  if (tile.first >= tile.cells) return;  // the same for the whole block
  Product<kColumns, kPack> product(tile);
  const Place32 first = tile.origin(tile.place(tile.first));
  const Place32 last = tile.origin(tile.place(min(tile.first + kTile, tile.cells) - 1));
  const int32_t chunks = (layer.depth + kDepth - 1) / kDepth;
  const auto next = [&](int32_t chunk) {
    while (chunk < chunks && !product.live(chunk, first, last)) ++chunk;
    return chunk;
  };
  int32_t chunk = next(0), stage = 0;
  if (chunk < chunks) product.load(chunk, stages[0]);
  while (chunk < chunks) {
    wait_for_copies();
    __syncthreads();
    const int32_t following = next(chunk + 1);
    if (following < chunks) product.load(following, stages[stage ^ 1]);
    product.multiply(stages[stage]);
    chunk = following, stage ^= 1;
  }
  product.write();
}

// Writes zeros to the parts of slots that are outside their boxes.
template <typename T, int kPack>
struct Beyond {
  const int32_t* boxes;
  int32_t channels;
  T* out;
  explicit Beyond(const PatchConvArgs& a)
      : boxes(a.out_boxes),
        channels(static_cast<int32_t>(a.out_channels)),
        out(static_cast<T*>(a.out)) {}
  __device__ void operator()(const Element& e) const {
    const int32_t* box = boxes + 6 * static_cast<int64_t>(e.b);
    const bool empty = box[3] <= box[0] || box[4] <= box[1] || box[5] <= box[2];
    if (!empty && below_ends(cell_of(e, box), box)) return;
    Channels<T, kPack>::of(T(0)).store(out + e.cell * channels + e.channel);
  }
};

template <int kPack>
cudaError_t launch_mma(const PatchConvArgs& a, dim3 grid, cudaStream_t stream) {
  const Layer<float> layer(a);
  if (a.lanes == 8) return launch_kernel(mma_kernel<8, kPack>, grid, kBlock, stream, layer);
  if (a.lanes == 16) return launch_kernel(mma_kernel<16, kPack>, grid, kBlock, stream, layer);
  if (a.lanes == 32) return launch_kernel(mma_kernel<32, kPack>, grid, kBlock, stream, layer);
  return launch_kernel(mma_kernel<64, kPack>, grid, kBlock, stream, layer);
}

}  // namespace

cudaError_t patch_conv_cuda(const PatchConvArgs& a, cudaStream_t stream) {
  const int64_t taps = a.kernel[0] * a.kernel[1] * a.kernel[2];
  const int64_t patch = a.in_size[0] * a.in_size[1] * a.in_size[2] * a.channels;
  const int64_t slot = a.out_size[0] * a.out_size[1] * a.out_size[2] * a.out_channels;
  if (patch > kLargest || slot > kLargest || taps * a.channels > kLargest - kDepth ||
      a.work_count > kMostBlocksX || a.groups * a.blocks > kMostBlocksY) {
    return cudaErrorInvalidValue;
  }
  const cudaError_t cleared =
      launch<Beyond>(a, a.batch, a.out_size, a.out_channels, {a.out}, {}, stream);
  if (cleared != cudaSuccess || a.work_count * slot == 0) return cleared;
  const dim3 grid(static_cast<unsigned>(a.work_count), static_cast<unsigned>(a.groups * a.blocks));
  if (a.dtype == DType::kFloat64) {
    return launch_kernel(plain_kernel<double>, grid, kBlock, stream, Layer<double>(a));
  }
  const bool packed =
      a.channels % 4 == 0 && a.channels / a.groups % 4 == 0 && aligned_for_packs(a.patches);
  return packed ? launch_mma<4>(a, grid, stream) : launch_mma<1>(a, grid, stream);
}

}  // namespace pyadx
