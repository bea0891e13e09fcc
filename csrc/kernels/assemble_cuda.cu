// A block makes one tile of a few shown frames of one slot (assemble_tile.h). The frames of a clip usually have the
// same box. The filters, which cost a division for each weight, are computed again only if the box changes.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <climits>

#include "assemble.h"
#include "assemble_tile.h"
#include "cuda_check.h"

namespace vidssl {
namespace {

constexpr int kRun = 8, kFill = 2048;     // most frames of a block; fewer if the launch has less than kFill blocks
constexpr int kResident = 4;              // blocks on a multiprocessor, with 72 registers for each thread
using Samples = Chunk<AssembleArgs, 64>;  // a usual batch in one launch
static_assert(sizeof(Samples) + sizeof(AssembleSpec) + sizeof(Cut) <= kParameterBytes);

__device__ void affine(const Map& map, const float* in, float* out) {
#pragma unroll
  for (int c = 0; c < 3; ++c)
    out[c] = fmaf(map.row[c].z, in[2], fmaf(map.row[c].y, in[1], fmaf(map.row[c].x, in[0], map.row[c].w)));
}

// Float to each output type: round to nearest, ties to even.
__device__ void store(float* out, float v) { *out = v; }
__device__ void store(__half* out, float v) { *out = __float2half_rn(v); }
__device__ void store(__nv_bfloat16* out, float v) { *out = __float2bfloat16_rn(v); }
__device__ void store(std::uint8_t* out, float v) {
  *out = static_cast<std::uint8_t>(__float2int_rn(v < 0.0f ? 0.0f : v > 255.0f ? 255.0f : v));
}

// The first value of channel c of a shown frame.
template <typename T>
__device__ T* channel_of(const AssembleSpec& spec, void* out, int k, int time, int c) {
  const std::int64_t area = static_cast<std::int64_t>(spec.height) * spec.width;
  if (spec.layout == Layout::kcthw)
    return static_cast<T*>(out) + (static_cast<std::int64_t>(k * 3 + c) * spec.times + time) * area;
  return static_cast<T*>(out) + (static_cast<std::int64_t>(k) * spec.times + time) * area * 3 + c;
}

// Each block makes a tile of one slot at up to cut.run times.
template <typename T>
__global__ void __launch_bounds__(kWarps* kWarp, kResident)
    assemble_kernel(const __grid_constant__ AssembleSpec spec, const __grid_constant__ Samples samples,
                    const __grid_constant__ Cut cut) {
  __shared__ Shared shared;
  const AssembleArgs& args = samples.sample[blockIdx.z];
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int k = static_cast<int>(blockIdx.x) / cut.runs, begin = static_cast<int>(blockIdx.x) % cut.runs * cut.run;
  const int tile_y = static_cast<int>(blockIdx.y) / cut.tiles_x,
            tile_x = static_cast<int>(blockIdx.y) - tile_y * cut.tiles_x;
  const int y0 = tile_y * kTileH, x0 = tile_x * cut.tile_w;
  if (threadIdx.x < 12) (&shared.to_rgb.row[0].x)[threadIdx.x] = args.space.to_rgb[threadIdx.x];

  for (int time = begin; time < min(begin + cut.run, spec.times); ++time) {
    const int shown_at = k * spec.times + time;
    const float* box = args.box + static_cast<std::int64_t>(shown_at) * 4;
    if (time == begin || __any_sync(kAll, lane < 4 && box[lane] != box[lane - 4])) {
      __syncthreads();  // all warps have used the last filters
      make_grids(shared, spec, args, cut, box, y0, x0);
      __syncthreads();
    }
    WarpWork& work = shared.warp[warp];
    if (lane < 3) work.channel[lane] = channel_of<T>(spec, args.out, k, time, lane);
    if (lane < 12) (&work.color.row[0].x)[lane] = args.color[static_cast<std::int64_t>(shown_at) * 12 + lane];
    const Pixels pixels =
        sample(shared, args.frames, min(max(args.frame[shown_at], 0), args.frames.frames - 1), warp, lane);
    const bool flip = args.flip[k] != 0;
    const int step = spec.layout == Layout::kcthw ? 1 : 3;  // from one pixel of a channel to the next
    const Map to_rgb = shared.to_rgb, shown = work.color;
#pragma unroll
    for (int i = 0; i < kRows * kCols; ++i) {
      const int y = y0 + warp * kRows + i / kCols, col = lane + i % kCols * kWarp;
      float rgb[3], value[3];
      affine(to_rgb, pixels.value[i / kCols][i % kCols], rgb);
#pragma unroll
      for (int c = 0; c < 3; ++c) {
        const float low = rgb[c] > 0.0f ? rgb[c] : 0.0f;
        rgb[c] = low < 255.0f ? low : 255.0f;
      }
      affine(shown, rgb, value);
      if (y >= spec.height || col >= cut.tile_w || x0 + col >= spec.width) continue;
      const int at = (y * spec.width + (flip ? spec.width - 1 - x0 - col : x0 + col)) * step;
#pragma unroll
      for (int c = 0; c < 3; ++c) store(static_cast<T*>(work.channel[c]) + at, value[c]);
    }
    __syncwarp();  // all lanes have read the colours and pointers
  }
}

// Chooses tiles of equal width, and the longest runs that leave enough blocks.
Cut cut_up(const AssembleSpec& spec, int size) {
  Cut cut{};
  cut.tiles_x = ceil_div(spec.width, kTileW);
  cut.tile_w = ceil_div(spec.width, cut.tiles_x);
  const std::int64_t tiles = std::int64_t{cut.tiles_x} * ceil_div(spec.height, kTileH) * spec.slots * size;
  cut.run = kRun;
  while (cut.run > 1 && tiles * ceil_div(spec.times, cut.run) < kFill) cut.run /= 2;
  cut.runs = ceil_div(spec.times, cut.run);
  return cut;
}

template <typename T>
void launch_as(const AssembleSpec& spec, const Samples& chunk, int size, void* stream) {
  if (assemble_bytes(spec) == 0) return;
  check(std::int64_t{3} * spec.height * spec.width <= INT_MAX, "size=", spec.height, "x", spec.width,
        ": a picture on a GPU must have less than 2^31 values; take a smaller size");
  const Cut cut = cut_up(spec, size);
  const dim3 grid(static_cast<unsigned>(spec.slots * cut.runs), count_tiles(cut, spec.height, spec.width),
                  static_cast<unsigned>(size));
  launch(assemble_kernel<T>, grid, dim3(kWarps * kWarp), stream, spec, chunk, cut);
}

}  // namespace

void assemble_cuda(const AssembleSpec& spec, const AssembleArgs* samples, int count, void* stream) {
  for_each_chunk<Samples>("assemble", samples, count, [&](const Samples& chunk, int size) {
    switch (spec.dtype) {
      case DType::float32:
        launch_as<float>(spec, chunk, size, stream);
        break;
      case DType::float16:
        launch_as<__half>(spec, chunk, size, stream);
        break;
      case DType::bfloat16:
        launch_as<__nv_bfloat16>(spec, chunk, size, stream);
        break;
      case DType::uint8:
        launch_as<std::uint8_t>(spec, chunk, size, stream);
        break;
    }
  });
}

}  // namespace vidssl
