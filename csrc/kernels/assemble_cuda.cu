// How it works: a block makes a tile of a few shown frames of one slot. For each plane it filters the source columns that the tile needs
// vertically into shared memory, kSpan of them at a time, and every thread adds those that its own pixel needs to a register. Columns
// ascend, so a tile whose source is wider than kSpan (strong reduction) takes more rounds and still gives the same bits. Frames of a clip
// usually share their box: where the filters lie, with a division for each weight, is worked out anew only where it changes.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "assemble.h"
#include "cuda_check.h"
#include "filter.h"

namespace vidssl {
namespace {

constexpr int kTileW = 32, kTileH = 8, kSpan = 128;
constexpr int kRun = 4;    // frames of a block: fewer, and the filters cost more; more, and small batches leave processors idle
constexpr int kKept = 16;  // weights of a filter that are kept in shared memory; the rest (reductions beyond 7x) are computed again
using Samples = Chunk<AssembleArgs, 64>;  // a usual batch in one launch
static_assert(sizeof(Samples) + sizeof(AssembleSpec) + 2 * sizeof(int) <= kParameterBytes);

// Where `Outputs` neighbouring output samples of one axis read, and with which weights.
template <int Outputs>
struct AxisTile {
  Taps taps[Outputs];
  float sum[Outputs];
  float kept[kKept][Outputs];

  __device__ void make(const Axis& axis, int first, int outputs, int lane) {
    const int i = min(first + lane, outputs - 1);
    taps[lane] = make_taps(axis, i);
    sum[lane] = tap_sum(taps[lane]);
    for (int t = 0; t < min(taps[lane].count, kKept); ++t) kept[t][lane] = normal_weight(taps[lane], t, sum[lane]);
  }
  __device__ float weight(int lane, int t) const { return t < kKept ? kept[t][lane] : normal_weight(taps[lane], t, sum[lane]); }
  __device__ int low() const { return taps[0].first; }  // both ends of a filter ascend with its place
  __device__ int high() const { return taps[Outputs - 1].first + taps[Outputs - 1].count; }
};

// One sampling grid: luma and RGB have one, chroma another.
struct GridTile {
  AxisTile<kTileH> rows;
  AxisTile<kTileW> cols;
};

__device__ void make_grid(GridTile& grid, const AssembleSpec& spec, const Axis& rows, const Axis& cols, int y, int x) {
  const int lane = threadIdx.x;
  if (threadIdx.y == 0) grid.cols.make(cols, x, spec.width, lane);
  if (threadIdx.y == 1 && lane < kTileH) grid.rows.make(rows, y, spec.height, lane);
}

// This thread's pixel of one plane.
__device__ float sample_plane(const PlaneView& plane, const GridTile& grid, float (&vertical)[kTileH][kSpan]) {
  const int row = threadIdx.y, col = threadIdx.x;
  const Taps &down = grid.rows.taps[row], &across = grid.cols.taps[col];
  const std::uint8_t* source = plane.data + static_cast<std::int64_t>(down.first) * plane.row_stride;
  const int high = grid.cols.high();
  float total = 0.0f;
  for (int low = grid.cols.low(); low < high; low += kSpan) {
    const int span = min(kSpan, high - low);
    for (int x = col; x < span; x += kTileW) {
      const std::uint8_t* p = source + static_cast<std::int64_t>(low + x) * plane.step;
      float sum = 0.0f;
      for (int t = 0; t < down.count; ++t, p += plane.row_stride) sum = fmaf(grid.rows.weight(row, t), static_cast<float>(__ldg(p)), sum);
      vertical[row][x] = sum;
    }
    __syncwarp();  // a warp reads only the row that it wrote
    const int begin = max(low - across.first, 0), end = min(low + span - across.first, across.count);
    for (int t = begin; t < end; ++t) total = fmaf(grid.cols.weight(col, t), vertical[row][across.first + t - low], total);
    __syncwarp();
  }
  return total;
}

__device__ void affine(const float* map, const float* in, float* out) {
  for (int c = 0; c < 3; ++c) out[c] = fmaf(map[c * 4 + 2], in[2], fmaf(map[c * 4 + 1], in[1], fmaf(map[c * 4], in[0], map[c * 4 + 3])));
}

// Float to each output type: round to nearest, ties to even.
__device__ void store(float* out, float v) { *out = v; }
__device__ void store(__half* out, float v) { *out = __float2half_rn(v); }
__device__ void store(__nv_bfloat16* out, float v) { *out = __float2bfloat16_rn(v); }
__device__ void store(std::uint8_t* out, float v) {
  *out = static_cast<std::uint8_t>(__float2int_rn(v < 0.0f ? 0.0f : v > 255.0f ? 255.0f : v));
}

// Block: kTileH x kTileW output pixels of one slot, at up to kRun times; one row of the tile a warp.
template <typename T>
__global__ void __launch_bounds__(kTileW* kTileH)
    assemble_kernel(const __grid_constant__ AssembleSpec spec, const __grid_constant__ Samples samples, int tiles_x, int runs) {
  __shared__ GridTile grids[2];
  __shared__ float vertical[kTileH][kSpan];
  const AssembleArgs& args = samples.sample[blockIdx.z];
  const FrameView& view = args.frames;
  const bool yuv = view.format == Format::yuv420;
  const int k = static_cast<int>(blockIdx.x) / runs, begin = static_cast<int>(blockIdx.x) % runs * kRun;
  const int y0 = static_cast<int>(blockIdx.y) / tiles_x * kTileH, x0 = static_cast<int>(blockIdx.y) % tiles_x * kTileW;
  const int y = y0 + static_cast<int>(threadIdx.y), x = x0 + static_cast<int>(threadIdx.x);
  const std::int64_t area = static_cast<std::int64_t>(spec.height) * spec.width;
  const std::int64_t pixel = static_cast<std::int64_t>(y) * spec.width + (args.flip[k] ? spec.width - 1 - x : x);
  const float* made = nullptr;  // box of the filters in `grids`

  for (int time = begin; time < min(begin + kRun, spec.times); ++time) {
    const int at = k * spec.times + time;
    const float* box = args.box + static_cast<std::int64_t>(at) * 4;
    if (made == nullptr || box[0] != made[0] || box[1] != made[1] || box[2] != made[2] || box[3] != made[3]) {
      __syncthreads();  // the filters before have been used
      const Axis rows = make_axis(box[1], box[3], spec.height, view.height), cols = make_axis(box[0], box[2], spec.width, view.width);
      make_grid(grids[0], spec, rows, cols, y0, x0);
      if (yuv) {
        const Axis chroma_rows = make_chroma_axis(box[1], box[3], spec.height, (view.height + 1) / 2, args.space.chroma_y);
        const Axis chroma_cols = make_chroma_axis(box[0], box[2], spec.width, (view.width + 1) / 2, args.space.chroma_x);
        make_grid(grids[1], spec, chroma_rows, chroma_cols, y0, x0);
      }
      __syncthreads();
      made = box;
    }

    const int frame = min(max(args.frame[at], 0), view.frames - 1);
    float in[3], rgb[3], out[3];
    for (int c = 0; c < 3; ++c) in[c] = sample_plane(plane(view, frame, c), grids[yuv && c > 0], vertical);
    affine(args.space.to_rgb, in, rgb);
    for (int c = 0; c < 3; ++c) {
      const float low = rgb[c] > 0.0f ? rgb[c] : 0.0f;
      rgb[c] = low < 255.0f ? low : 255.0f;
    }
    affine(args.color + static_cast<std::int64_t>(at) * 12, rgb, out);

    if (y >= spec.height || x >= spec.width) continue;
    for (int c = 0; c < 3; ++c) {
      const std::int64_t place = spec.layout == Layout::kcthw ? (static_cast<std::int64_t>(k * 3 + c) * spec.times + time) * area + pixel
                                                              : (at * area + pixel) * 3 + c;
      store(static_cast<T*>(args.out) + place, out[c]);
    }
  }
}

template <typename T>
void launch_as(const AssembleSpec& spec, const Samples& chunk, int size, void* stream) {
  const int tiles_x = ceil_div(spec.width, kTileW), tiles = tiles_x * ceil_div(spec.height, kTileH), runs = ceil_div(spec.times, kRun);
  const dim3 grid(static_cast<unsigned>(spec.slots * runs), static_cast<unsigned>(tiles), static_cast<unsigned>(size));
  if (grid.x > 0 && grid.y > 0) launch(assemble_kernel<T>, grid, dim3(kTileW, kTileH), stream, spec, chunk, tiles_x, runs);
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
