// A block makes one tile of one plane in a few frames. All frames have the same filters, which cost a division for each
// weight, so they are computed once in a block.
#include "assemble_tile.h"
#include "cuda_check.h"
#include "reduce.h"

namespace vidssl {
namespace {

constexpr int kFrames = 8;  // most frames of a block; fewer if the launch has less than kFill blocks
constexpr int kFill = 2048;
using Samples = Chunk<ReduceArgs, 64>;  // a usual batch in one launch
static_assert(sizeof(Samples) + sizeof(ReduceSpec) + sizeof(Cut) <= kParameterBytes);

struct SharedPlane {
  GridTile grid;
  WarpWork warp[kWarps];
};

// blockIdx.x: plane and run of frames; blockIdx.y: tile; blockIdx.z: sample. The tiles of chroma planes beyond their
// size have nothing to do.
__global__ void __launch_bounds__(kWarps* kWarp)
    reduce_kernel(const __grid_constant__ ReduceSpec spec, const __grid_constant__ Samples samples,
                  const __grid_constant__ Cut cut) {
  __shared__ SharedPlane shared;
  const ReduceArgs& args = samples.sample[blockIdx.z];
  const FrameView& view = args.frames;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int c = static_cast<int>(blockIdx.x) % 3, begin = static_cast<int>(blockIdx.x) / 3 * cut.run;
  const int tile_y = static_cast<int>(blockIdx.y) / cut.tiles_x,
            tile_x = static_cast<int>(blockIdx.y) - tile_y * cut.tiles_x;
  const int y0 = tile_y * kTileH, x0 = tile_x * cut.tile_w;
  const ReducedPlane to = reduced_plane(spec, c);
  if (begin >= view.frames || y0 >= to.height || x0 >= to.width) return;
  const int rows = min(kTileH, to.height - y0), cols = min(cut.tile_w, to.width - x0);
  if (warp == 0) shared.grid.rows.make(reduce_axis(view.height, spec.height, c > 0, args.chroma_y), y0, rows, lane);
  if (warp == 1) shared.grid.cols.make(reduce_axis(view.width, spec.width, c > 0, args.chroma_x), x0, cols, lane);
  __syncthreads();

  for (int frame = begin; frame < min(begin + cut.run, view.frames); ++frame) {
    Pixels pixels{};
    const PlaneView source = plane(view, frame, c);
    Sampler<0, 1, 1>{shared.grid, shared.warp[warp], warp, lane}.sample(&source, pixels);
    std::uint8_t* out = args.out + frame * reduced_bytes(spec) + to.offset;
#pragma unroll
    for (int i = 0; i < kRows * kCols; ++i) {
      const int y = y0 + warp * kRows + i / kCols, col = lane + i % kCols * kWarp, x = x0 + col;
      if (y >= to.height || col >= cols) continue;
      const float v = pixels.value[i / kCols][i % kCols][0];
      const auto byte = static_cast<std::uint8_t>(__float2int_rn(v < 0.0f ? 0.0f : v > 255.0f ? 255.0f : v));
      // An odd luma plane repeats its last row and column.
      const bool right = c == 0 && x == to.width - 1 && x + 1 < to.stride,
                 below = c == 0 && y == to.height - 1 && to.height % 2 != 0;
      std::uint8_t* at = out + static_cast<std::int64_t>(y) * to.stride + x;
      at[0] = byte;
      if (right) at[1] = byte;
      if (below) at[to.stride] = byte;
      if (right && below) at[to.stride + 1] = byte;
    }
  }
}

// Chooses tiles of equal width, and the longest runs that leave enough blocks.
Cut cut_up(const ReduceSpec& spec, int frames, int size) {
  Cut cut{};
  cut.tiles_x = ceil_div(spec.width, kTileW);
  cut.tile_w = ceil_div(spec.width, cut.tiles_x);
  const std::int64_t tiles = std::int64_t{3} * cut.tiles_x * ceil_div(spec.height, kTileH) * size;
  cut.run = kFrames;
  while (cut.run > 1 && tiles * ceil_div(frames, cut.run) < kFill) cut.run /= 2;
  cut.runs = ceil_div(frames, cut.run);
  return cut;
}

}  // namespace

void reduce_cuda(const ReduceSpec& spec, const ReduceArgs* samples, int count, void* stream) {
  for_each_chunk<Samples>("reduce", samples, count, [&](const Samples& chunk, int size) {
    int frames = 0;
    for (int i = 0; i < size; ++i) frames = std::max(frames, chunk.sample[i].frames.frames);
    if (frames == 0) return;
    const Cut cut = cut_up(spec, frames, size);
    const dim3 grid(static_cast<unsigned>(3 * cut.runs), count_tiles(cut, spec.height, spec.width),
                    static_cast<unsigned>(size));
    launch(reduce_kernel, grid, dim3(kWarps * kWarp), stream, spec, chunk, cut);
  });
}

}  // namespace vidssl
