// Samples a tile of a picture, for a block of assemble_cuda.cu. Each warp works on its own two rows of the tile.
//
// For each plane, a warp first filters the source columns of its rows vertically into shared memory. It loads four
// bytes at a time, and several taps at once. Each lane then adds the samples of its own pixels in registers; one load
// of a weight serves both rows. All filters of an axis of a tile have the same number of taps, so that loops over taps
// are unrolled; shorter filters are padded with weights of 0, which change no bit of a sum. If the source of a tile is
// wider than a warp's memory (strong reduction), the warp takes several rounds. Columns ascend, so the bits stay the
// same.
#pragma once

#include <type_traits>

#include "assemble.h"
#include "cuda_check.h"
#include "filter.h"

namespace vidssl {

constexpr int kWarp = 32, kWarps = 7;
constexpr int kRows = 2, kCols = 2;  // rows of a warp, columns of a lane
constexpr int kTileH = kWarps * kRows,
              kTileW = kWarp * kCols;  // largest tile of a block; narrower if that makes all tiles equal
constexpr int kMostTiles = 65535;      // of a picture: blocks along y of a grid
constexpr int kSpan = 384;             // filtered samples of each row that a warp holds
constexpr int kKept = 12;  // weights that a filter keeps; further ones (reductions beyond 5.5x) are computed again
constexpr unsigned kAll = 0xFFFFFFFFu;
// A byte becomes a float by one instruction, but a tiny one: 2^-133 of its value (byte_of). The weights of rows and
// columns make up for it. They are larger by powers of two, which changes no digit of a product or of a sum.
constexpr float kRowScale = 0x1p125f, kColScale = 0x1p8f;

// The division of a launch into tiles and runs.
struct Cut {
  int tile_w, tiles_x, run, runs;  // run: frames of a block
};

// Returns the number of tiles of a picture, which are blocks along y of a grid.
inline unsigned count_tiles(const Cut& cut, int height, int width) {
  const std::int64_t tiles = std::int64_t{cut.tiles_x} * ceil_div(height, kTileH);
  check(tiles <= kMostTiles, "size=", height, "x", width, ": a picture on a GPU must have at most ", kMostTiles,
        " tiles of ", kTileH, "x", kTileW, " pixels; take a smaller size");
  return static_cast<unsigned>(tiles);
}

// The samples and weights of `kOutputs` neighbouring outputs of one axis: output i reads `taps` samples from first[i]
// on.
template <int kOutputs>
struct AxisTile {
  int taps, batch;  // batch: number of taps processed at once; `taps` is a multiple of it
  int first[kOutputs];
  float kept[kKept][kOutputs];
  Taps exact[kOutputs];  // without the weights of 0
  float sum[kOutputs];

  // A warp makes `count` outputs from `from` on. Further entries repeat the last one.
  __device__ void make(const Axis& axis, int from, int count, int lane) {
    int most = 0;
    for (int i = lane; i < kOutputs; i += kWarp) {
      exact[i] = make_taps(axis, from + min(i, count - 1));
      sum[i] = tap_sum(exact[i]);
      most = max(most, exact[i].count);
    }
    for (int apart = kWarp / 2; apart > 0; apart /= 2) most = max(most, __shfl_xor_sync(kAll, most, apart));
    int padded = most, at_once = 1;
    for (int by = 2; by <= 4; ++by) {  // the largest batch with the least padding
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
    constexpr float kScale = kOutputs == kTileH ? kRowScale : kColScale;
    return tap >= 0 && tap < exact[i].count ? normal_weight(exact[i], tap, sum[i]) * kScale : 0.0f;
  }
  __device__ int low() const { return first[0]; }  // both ends of a filter ascend with its index
  __device__ int high() const { return first[kOutputs - 1] + taps; }
};

// One sampling grid, for luma and RGB or for chroma.
struct GridTile {
  AxisTile<kTileH> rows;
  AxisTile<kTileW> cols;
};

struct Map {
  float4 row[3];  // factors of the three channels, then the offset
};

// Shared memory of a warp.
struct WarpWork {
  float4 filtered[kRows][kSpan / 4];  // its rows after the vertical pass
  Map color;
  void* channel[3];  // of the output
};

struct Shared {
  GridTile grid[2];
  WarpWork warp[kWarps];
  Map to_rgb;
};

// Makes the filters of a tile. Each warp makes one axis.
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

// Calls work(batch) with `batch` (1 to 4) as a compile-time constant.
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

// Byte `i` of a word, times 2^-133, exactly: it moves to bits 16 to 23 of a float, which count in 2^-149 as long as all
// higher bits are 0. A conversion has a quarter of the rate.
__device__ inline float byte_of(unsigned word, int i) {
  return __uint_as_float(__byte_perm(word, 0u, 0x4044u | static_cast<unsigned>(i) << 8));
}

// Reads four neighbouring bytes of a line, of which `left` are needed, in loads of the size of `Load`. The line begins
// at a multiple of that size, so that no load of a needed byte reads beyond the line.
template <typename Load>
__device__ unsigned load_four(const std::uint8_t* p, int left) {
  constexpr int kSize = sizeof(Load);
  unsigned word = 0;
#pragma unroll
  for (int i = 0; i < 4; i += kSize)
    if (i < left) word |= static_cast<unsigned>(__ldg(reinterpret_cast<const Load*>(p + i))) << 8 * i;
  return word;
}

// Consecutive lines of source bytes, one for each tap.
struct Lines {
  const std::uint8_t* data;  // first line
  int stride, count;         // count: bytes of a line that are needed
};

// Filters one row vertically with `lanes` lanes; this one is `lane`. It processes `kBatch` taps at once, at two
// positions of the line. kKeptOnly: all weights are kept.
template <typename Load, int kBatch, bool kKeptOnly>
__device__ void filter_row(const Lines& lines, const AxisTile<kTileH>& rows, int row, int lane, int lanes,
                           float4* out) {
  const int apart = 4 * lanes;
#pragma unroll 1  // the inner loops are unrolled; unrolling this one only costs registers
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

// The pixels of a lane: row, column, channel.
struct Pixels {
  float value[kRows][kCols][3];
};

// Samples planes with the same grid, each with `kChannels` interleaved channels. Writes the channels of this lane's
// pixels from kFirst on.
template <int kFirst, int kPlanes, int kChannels>
struct Sampler {
  static constexpr int kSpanOf = kSpan / kPlanes;  // filtered samples of each row of a plane
  static constexpr int kLanes = kWarp / (kRows * kPlanes);

  const GridTile& grid;
  WarpWork& work;
  int warp, lane;

  // Filters samples [from, from + count) of this warp's rows vertically. The lanes are divided evenly over the rows of
  // all planes.
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

  // Adds the filtered samples [from, from + count) to the pixels. They are all that the pixels need.
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

  // Adds samples to the pixels if they are only some of those needed, or if some weights are not kept.
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
              if (at + c < 0 || at + c >= count) continue;  // another round adds the other channels
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
      __syncwarp();  // a warp reads only its own samples
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

// Returns this lane's pixels in the stored format: R, G, B, or Y, U, V.
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
