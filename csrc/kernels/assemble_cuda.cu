// How it works: a block makes a tile of a few shown frames of one slot. For each plane it filters the source columns that the tile needs
// vertically into shared memory, kSpan of them at a time, two bytes a load, and every thread adds those that its own pixel needs to a
// register. Columns ascend, so a tile whose source is wider than kSpan (strong reduction) takes more rounds and still gives the same bits.
// Frames of a clip usually share their box: where the filters lie, with a division for each weight, is worked out anew only where it
// changes.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "assemble.h"
#include "cuda_check.h"
#include "filter.h"

namespace vidssl {
namespace {

constexpr int kTileW = 32, kTileH = 8, kSpan = 128;
constexpr int kRun = 4;       // frames of a block: fewer, and the filters cost more; more, and small batches leave processors idle
constexpr int kKept = 16;     // weights of a filter that are kept in shared memory; the rest (reductions beyond 7x) are computed again
constexpr int kResident = 3;  // blocks of a multiprocessor: with four, ptxas (CUDA 13.0, sm_90) spills
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

// Filtered columns of each row of a tile, by bytes: RGB has three a column.
struct Vertical {
  float2 pair[kTileH][kSpan * 3 / 2];
  __device__ float* row(int at) { return &pair[at][0].x; }
};

// Bytes [0, count) of one row, filtered vertically: down.count lines from `source` on. In pairs: each weight serves two bytes, in one load.
__device__ void filter_row(const std::uint8_t* source, int stride, int count, const GridTile& grid, bool pairs, float* out) {
  const int row = threadIdx.y, taps = grid.rows.taps[row].count;
  if (pairs) {
    for (int x = 2 * threadIdx.x; x < count; x += 2 * kTileW) {
      const std::uint8_t* p = source + x;
      float2 sum{0.0f, 0.0f};
      for (int t = 0; t < taps; ++t, p += stride) {
        const uchar2 bytes = __ldg(reinterpret_cast<const uchar2*>(p));
        const float weight = grid.rows.weight(row, t);
        sum.x = fmaf(weight, static_cast<float>(bytes.x), sum.x);
        sum.y = fmaf(weight, static_cast<float>(bytes.y), sum.y);
      }
      *reinterpret_cast<float2*>(out + x) = sum;
    }
    return;
  }
  for (int x = threadIdx.x; x < count; x += kTileW) {
    const std::uint8_t* p = source + x;
    float sum = 0.0f;
    for (int t = 0; t < taps; ++t, p += stride) sum = fmaf(grid.rows.weight(row, t), static_cast<float>(__ldg(p)), sum);
    out[x] = sum;
  }
}

// This thread's pixel of one plane, or of a picture with `Channels` interleaved channels.
template <int Channels>
__device__ void sample(const PlaneView& plane, const GridTile& grid, Vertical& vertical, float* total) {
  const int row = threadIdx.y, col = threadIdx.x;
  const Taps& across = grid.cols.taps[col];
  const std::uint8_t* source = plane.data + static_cast<std::int64_t>(grid.rows.taps[row].first) * plane.row_stride;
  // A line that begins at an even address has an even number of bytes, so the last pair lies within it.
  const bool pairs = (reinterpret_cast<std::uintptr_t>(plane.data) | static_cast<std::uintptr_t>(plane.row_stride)) % 2 == 0;
  const int high = grid.cols.high();
  float* filtered = vertical.row(row);
  for (int c = 0; c < Channels; ++c) total[c] = 0.0f;
  for (int low = pairs ? grid.cols.low() / 2 * 2 : grid.cols.low(); low < high; low += kSpan) {
    const int span = min(kSpan, high - low);
    filter_row(source + static_cast<std::int64_t>(low) * Channels, plane.row_stride, span * Channels, grid, pairs, filtered);
    __syncwarp();  // a warp reads only the row that it wrote
    const int begin = max(low - across.first, 0), end = min(low + span - across.first, across.count);
    for (int t = begin; t < end; ++t) {
      const float weight = grid.cols.weight(col, t);
      const float* at = filtered + (across.first + t - low) * Channels;
      for (int c = 0; c < Channels; ++c) total[c] = fmaf(weight, at[c], total[c]);
    }
    __syncwarp();
  }
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
__global__ void __launch_bounds__(kTileW* kTileH, kResident)
    assemble_kernel(const __grid_constant__ AssembleSpec spec, const __grid_constant__ Samples samples, int tiles_x, int runs) {
  __shared__ GridTile grids[2];
  __shared__ Vertical vertical;
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
    if (yuv) {
#pragma unroll
      for (int c = 0; c < 3; ++c) sample<1>(plane(view, frame, c), grids[c > 0], vertical, in + c);
    } else {
      sample<3>(plane(view, frame, 0), grids[0], vertical, in);
    }
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
