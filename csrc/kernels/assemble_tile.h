// How a block of assemble_cuda.cu samples a tile of a picture: warps, each on its own two rows of the tile.
//
// For each plane a warp filters the source columns that its rows need vertically into shared memory, four bytes a load
// and the loads of several taps at once; then every lane adds those that its own pixels need to registers. A weight
// that is loaded serves both rows. Within a tile all filters of an axis have the same number of taps, so that loops
// over them are unrolled: one that is shorter has weights of 0 beside it, which change no bit of a sum. Columns ascend,
// so a tile whose source is wider than a warp's memory (strong reduction) takes more rounds and still gives the same
// bits.
#pragma once

#include <type_traits>

#include "assemble.h"
#include "cuda_check.h"
#include "filter.h"

namespace vidssl {

constexpr int kWarp = 32, kWarps = 7;
constexpr int kRows = 2, kCols = 2;  // rows of a warp, and columns of a lane
constexpr int kTileH = kWarps * kRows,
              kTileW = kWarp * kCols;  // of a block; narrower where all tiles of a row are alike then
constexpr int kSpan = 384;             // filtered samples that a warp holds of each of its rows
constexpr int kKept = 12;  // weights of a filter that are kept; more (reductions beyond 5.5x) are computed again
constexpr unsigned kAll = 0xFFFFFFFFu;

// What a launch is cut into.
struct Cut {
  int tile_w, tiles_x, run, runs;  // run: frames of a block
};

// Where `kOutputs` neighbouring output samples of one axis read, and with which weights: `taps` samples from first[i]
// on.
template <int kOutputs>
struct AxisTile {
  int taps, batch;  // batch: taps that are worked on at once, of which `taps` is a multiple
  int first[kOutputs];
  float kept[kKept][kOutputs];
  Taps exact[kOutputs];  // without the weights of 0
  float sum[kOutputs];

  // By a warp: `count` outputs from `from` on; those after them are like the last one.
  __device__ void make(const Axis& axis, int from, int count, int lane) {
    int most = 0;
    for (int i = lane; i < kOutputs; i += kWarp) {
      exact[i] = make_taps(axis, from + min(i, count - 1));
      sum[i] = tap_sum(exact[i]);
      most = max(most, exact[i].count);
    }
    for (int apart = kWarp / 2; apart > 0; apart /= 2) most = max(most, __shfl_xor_sync(kAll, most, apart));
    int padded = most, at_once = 1;
    for (int by = 2; by <= 4; ++by) {  // the largest batch that pads least
      const int up = ceil_div(most, by) * by;
      if (most >= min(by, 3) && up <= axis.size && (at_once < 3 || up <= padded)) padded = up, at_once = by;
    }
    if (lane == 0) taps = padded, batch = at_once;
    for (int i = lane; i < kOutputs; i += kWarp) {
      first[i] = min(exact[i].first, axis.size - padded);
#pragma unroll 1
      for (int t = 0; t < min(padded, kKept); ++t) kept[t][i] = exact_weight(i, t);
    }
  }
  __device__ float exact_weight(int i, int t) const {
    const int tap = first[i] + t - exact[i].first;
    return tap >= 0 && tap < exact[i].count ? normal_weight(exact[i], tap, sum[i]) : 0.0f;
  }
  __device__ int low() const { return first[0]; }  // both ends of a filter ascend with its place
  __device__ int high() const { return first[kOutputs - 1] + taps; }
};

// One sampling grid: luma and RGB have one, chroma another.
struct GridTile {
  AxisTile<kTileH> rows;
  AxisTile<kTileW> cols;
};

struct Map {
  float4 row[3];  // factors of the three channels, and what is added
};

// Of a warp.
struct WarpWork {
  float4 filtered[kRows][kSpan / 4];  // columns of its rows after the vertical pass
  Map color;
  void* channel[3];  // of the output
};

struct Shared {
  GridTile grid[2];
  WarpWork warp[kWarps];
  Map to_rgb;
};

// The filters of a tile, an axis a warp.
__device__ inline void make_grids(Shared& shared, const AssembleSpec& spec, const AssembleArgs& args, const Cut& cut,
                                  const float* box, int y, int x) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int rows = min(kTileH, spec.height - y), cols = min(cut.tile_w, spec.width - x);
  const FrameView& view = args.frames;
  if (warp == 0) shared.grid[0].rows.make(make_axis(box[1], box[3], spec.height, view.height), y, rows, lane);
  if (warp == 1) shared.grid[0].cols.make(make_axis(box[0], box[2], spec.width, view.width), x, cols, lane);
  if (view.format != Format::yuv420) return;
  const ColorSpace& space = args.space;
  if (warp == 2)
    shared.grid[1].rows.make(make_chroma_axis(box[1], box[3], spec.height, (view.height + 1) / 2, space.chroma_y), y,
                             rows, lane);
  if (warp == 3)
    shared.grid[1].cols.make(make_chroma_axis(box[0], box[2], spec.width, (view.width + 1) / 2, space.chroma_x), x,
                             cols, lane);
}

// Calls work(batch) with `batch`, 1 to 4, as a constant.
template <typename Work>
__device__ void with_batch(int batch, const Work& work) {
  if (batch == 4) {
    work(std::integral_constant<int, 4>{});
  } else if (batch == 3) {
    work(std::integral_constant<int, 3>{});
  } else if (batch == 2) {
    work(std::integral_constant<int, 2>{});
  } else {
    work(std::integral_constant<int, 1>{});
  }
}

// Byte `i` of a word, exactly: as the last bits of 2^23 plus itself, which takes less time than a conversion.
__device__ inline float byte_of(unsigned word, int i) {
  return __uint_as_float(__byte_perm(word, 0x4B000000u, 0x7540u | i)) - 8388608.0f;
}

// Four neighbouring bytes of a line, of which `left` are wanted, in loads of `Load` bytes: the line begins at a
// multiple of them, so that none that begins at a wanted byte goes beyond the line.
template <typename Load>
__device__ unsigned load_four(const std::uint8_t* p, int left) {
  constexpr int kSize = sizeof(Load);
  unsigned word = 0;
#pragma unroll
  for (int i = 0; i < 4; i += kSize)
    if (i < left) word |= static_cast<unsigned>(__ldg(reinterpret_cast<const Load*>(p + i))) << 8 * i;
  return word;
}

// A line of source bytes after the other, one for each tap.
struct Lines {
  const std::uint8_t* data;  // the first of them
  int stride, count;         // count: bytes of a line that are wanted
};

// One row, filtered vertically, by `lanes` lanes of which this is `lane`: `kBatch` taps at once, at two places of the
// line. kKeptOnly: all weights are kept.
template <typename Load, int kBatch, bool kKeptOnly>
__device__ void filter_row(const Lines& lines, const AxisTile<kTileH>& rows, int row, int lane, int lanes,
                           float4* out) {
  const int apart = 4 * lanes;
#pragma unroll 1  // what counts is unrolled within: more only takes registers
  for (int x = 4 * lane; x < lines.count; x += 2 * apart) {
    float sum[2][4] = {};
#pragma unroll 1
    for (int t = 0; t < rows.taps; t += kBatch) {
      const std::uint8_t* p = lines.data + static_cast<std::int64_t>(t) * lines.stride + x;
      unsigned word[kBatch][2];
#pragma unroll
      for (int i = 0; i < kBatch; ++i, p += lines.stride)
#pragma unroll
        for (int j = 0; j < 2; ++j) word[i][j] = load_four<Load>(p + j * apart, lines.count - x - j * apart);
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const float weight = kKeptOnly || t + i < kKept ? rows.kept[t + i][row] : rows.exact_weight(row, t + i);
#pragma unroll
        for (int at = 0; at < 8; ++at)
          sum[at / 4][at % 4] = fmaf(weight, byte_of(word[i][at / 4], at % 4), sum[at / 4][at % 4]);
      }
    }
    out[x / 4] = {sum[0][0], sum[0][1], sum[0][2], sum[0][3]};
    if (x + apart < lines.count) out[x / 4 + lanes] = {sum[1][0], sum[1][1], sum[1][2], sum[1][3]};
  }
}

// Channels of the pixels of a lane: row, column, channel.
struct Pixels {
  float value[kRows][kCols][3];
};

// Planes that share a grid, with `kChannels` interleaved channels each: their part of this lane's pixels, channels
// kFirst and on.
template <int kFirst, int kPlanes, int kChannels>
struct Sampler {
  static constexpr int kSpanOf = kSpan / kPlanes;  // filtered samples of a plane's row
  static constexpr int kLanes = kWarp / (kRows * kPlanes);

  const GridTile& grid;
  WarpWork& work;
  int warp, lane;

  // Samples [from, from + count) of the lines that the rows of this warp need. A part of its lanes for each row of each
  // plane.
  __device__ void filter(const PlaneView* planes, int from, int count) const {
    const int part = lane / kLanes, row = part % kRows, at = warp * kRows + row;
    const PlaneView& plane = planes[0];
    const std::uint8_t* data = part < kRows ? planes[0].data : planes[kPlanes - 1].data;
    const auto where = reinterpret_cast<std::uintptr_t>(data) | static_cast<std::uintptr_t>(plane.row_stride);
    const Lines lines{data + static_cast<std::int64_t>(grid.rows.first[at]) * plane.row_stride + from, plane.row_stride,
                      count};
    float4* out = work.filtered[row] + part / kRows * kSpanOf / 4;
    const int in_part = lane % kLanes;
    if (where % 2 != 0) {
      filter_row<std::uint8_t, 1, false>(lines, grid.rows, at, in_part, kLanes, out);
    } else if (where % 4 != 0) {
      filter_row<std::uint16_t, 1, false>(lines, grid.rows, at, in_part, kLanes, out);
    } else if (grid.rows.taps > kKept) {
      filter_row<unsigned, 1, false>(lines, grid.rows, at, in_part, kLanes, out);
    } else {
      with_batch(grid.rows.batch,
                 [&](auto batch) { filter_row<unsigned, batch, true>(lines, grid.rows, at, in_part, kLanes, out); });
    }
  }

  // Adds what the filtered samples [from, from + count) give to the pixels: all that they need.
  template <int kBatch>
  __device__ void add_all(int from, Pixels& pixels) const {
    const AxisTile<kTileW>& cols = grid.cols;
#pragma unroll
    for (int i = 0; i < kCols; ++i) {
      const int col = lane + i * kWarp;
      const float* at = &work.filtered[0][0].x + cols.first[col] * kChannels - from;
#pragma unroll 1
      for (int t = 0; t < cols.taps; t += kBatch, at += kBatch * kChannels) {
#pragma unroll
        for (int b = 0; b < kBatch; ++b) add(cols.kept[t + b][col], at + b * kChannels, i, pixels);
      }
    }
  }

  // Some of what they need, or with weights that are not kept.
  __device__ void add_some(int from, int count, Pixels& pixels) const {
    const AxisTile<kTileW>& cols = grid.cols;
#pragma unroll
    for (int i = 0; i < kCols; ++i) {
      const int col = lane + i * kWarp;
#pragma unroll 1
      for (int t = 0; t < cols.taps; ++t) {
        const int at = (cols.first[col] + t) * kChannels - from;
        if (at + kChannels <= 0 || at >= count) continue;
        const float weight = t < kKept ? cols.kept[t][col] : cols.exact_weight(col, t);
#pragma unroll
        for (int r = 0; r < kRows; ++r)
#pragma unroll
          for (int p = 0; p < kPlanes; ++p)
#pragma unroll
            for (int c = 0; c < kChannels; ++c) {
              if (at + c < 0 || at + c >= count) continue;  // the other channels come in another round
              float& sum = pixels.value[r][i][kFirst + p + c];
              sum = fmaf(weight, (&work.filtered[r][0].x)[p * kSpanOf + at + c], sum);
            }
      }
    }
  }

  __device__ void sample(const PlaneView* planes, Pixels& pixels) const {
    const int low = grid.cols.low() * kChannels / 4 * 4, high = grid.cols.high() * kChannels;
    for (int from = low; from < high; from += kSpanOf) {
      const int count = min(kSpanOf, high - from);
      filter(planes, from, count);
      __syncwarp();  // a warp reads only what it wrote
      if (count == high - low && grid.cols.taps <= kKept) {
        with_batch(grid.cols.batch, [&](auto batch) { add_all<batch>(from, pixels); });
      } else {
        add_some(from, count, pixels);
      }
      __syncwarp();
    }
  }

 private:
  __device__ void add(float weight, const float* at, int i, Pixels& pixels) const {
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int p = 0; p < kPlanes; ++p)
#pragma unroll
        for (int c = 0; c < kChannels; ++c) {
          float& sum = pixels.value[r][i][kFirst + p + c];
          sum = fmaf(weight, at[r * kSpan + p * kSpanOf + c], sum);
        }
  }
};

// This lane's pixels as they are stored: R, G, B, or Y, U, V.
__device__ inline Pixels sample(Shared& shared, const FrameView& view, int frame, int warp, int lane) {
  Pixels pixels{};
  WarpWork& work = shared.warp[warp];
  if (view.format == Format::yuv420) {
    const PlaneView luma = plane(view, frame, 0), chroma[2] = {plane(view, frame, 1), plane(view, frame, 2)};
    Sampler<0, 1, 1>{shared.grid[0], work, warp, lane}.sample(&luma, pixels);
    Sampler<1, 2, 1>{shared.grid[1], work, warp, lane}.sample(chroma, pixels);
  } else {
    const PlaneView rgb = plane(view, frame, 0);
    Sampler<0, 1, 3>{shared.grid[0], work, warp, lane}.sample(&rgb, pixels);
  }
  return pixels;
}

}  // namespace vidssl
