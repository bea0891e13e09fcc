// How it is fast: 16 output rows are worked on together and are the lanes of every vector instruction. The vertical pass runs along
// the columns, a transposition turns rows into lanes, and the horizontal pass, the colour maps and the stores then need no gathers.
// The same source is compiled three times (AVX-512, AVX2, plain) and chosen at run time; fmaf keeps their bits equal.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "assemble.h"
#include "check.h"
#include "filter.h"

#define VIDSSL_INLINE inline __attribute__((always_inline))

namespace vidssl {
namespace {

constexpr int kLanes = 16, kBlock = 8;

// Where every output sample of one axis reads, and with which weights; columns [low, high) of the plane are touched.
struct AxisTable {
  std::vector<int> first, count;
  std::vector<float> weight;  // [outputs, width]
  int width = 0, low = 0, high = 0;

  void make(const Axis& axis, int outputs) {
    first.resize(outputs);
    count.resize(outputs);
    width = 0;
    for (int i = 0; i < outputs; ++i) width = std::max(width, make_taps(axis, i).count);
    weight.assign(static_cast<std::size_t>(outputs) * width, 0.0f);
    low = axis.size;
    high = 0;
    for (int i = 0; i < outputs; ++i) {
      const Taps taps = make_taps(axis, i);
      const float sum = tap_sum(taps);
      first[i] = taps.first;
      count[i] = taps.count;
      for (int t = 0; t < taps.count; ++t) weight[static_cast<std::size_t>(i) * width + t] = normal_weight(taps, t, sum);
      low = std::min(low, taps.first);
      high = std::max(high, taps.first + taps.count);
    }
  }
};

// One sampling grid: luma and RGB share grid 0, chroma has grid 1.
struct Grid {
  AxisTable rows, cols;
};

struct Workspace {
  Grid grid[2];
  float box[4] = {};
  bool made = false;
  std::vector<float> vertical;       // [kLanes, span] one plane's columns after the vertical pass
  std::vector<float> lanes[3];       // [span, kLanes] the same, rows as lanes, of each plane
  std::vector<float> wide, row;      // [3, width, kLanes] and [3, kLanes, width] the finished colours, before and after turning back
};

using Vector8 = float __attribute__((vector_size(32)));
using Index8 = int __attribute__((vector_size(32)));

VIDSSL_INLINE void store8(float* p, const Vector8& v) { std::memcpy(p, &v, sizeof v); }

#if defined(__clang__)
#define VIDSSL_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define VIDSSL_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Index8{__VA_ARGS__})
#endif

// to[col][row] = from[row][col] for an 8 x 8 block.
VIDSSL_INLINE void transpose8(const float* from, std::ptrdiff_t from_stride, float* to, std::ptrdiff_t to_stride) {
  Vector8 r[8], p[8], q[8];
  for (int i = 0; i < 8; ++i) std::memcpy(&r[i], from + i * from_stride, sizeof r[i]);
  for (int i = 0; i < 4; ++i) {
    p[2 * i] = VIDSSL_SHUFFLE(r[2 * i], r[2 * i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    p[2 * i + 1] = VIDSSL_SHUFFLE(r[2 * i], r[2 * i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int h = 0; h < 2; ++h) {
    for (int i = 0; i < 2; ++i) {
      q[4 * h + 2 * i] = VIDSSL_SHUFFLE(p[4 * h + i], p[4 * h + i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      q[4 * h + 2 * i + 1] = VIDSSL_SHUFFLE(p[4 * h + i], p[4 * h + i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int i = 0; i < 4; ++i) {
    store8(to + i * to_stride, VIDSSL_SHUFFLE(q[i], q[i + 4], 0, 1, 2, 3, 8, 9, 10, 11));
    store8(to + (i + 4) * to_stride, VIDSSL_SHUFFLE(q[i], q[i + 4], 4, 5, 6, 7, 12, 13, 14, 15));
  }
}

// to[col * to_stride + row] = from[row * from_stride + col] for `cols` columns (padded to a multiple of 8) and kLanes rows.
VIDSSL_INLINE void rows_to_lanes(const float* from, std::ptrdiff_t from_stride, float* to, int cols) {
  for (int x = 0; x < cols; x += kBlock)
    for (int r = 0; r < kLanes; r += kBlock) transpose8(from + r * from_stride + x, from_stride, to + x * kLanes + r, kLanes);
}
VIDSSL_INLINE void lanes_to_rows(const float* from, float* to, std::ptrdiff_t to_stride, int cols) {
  for (int x = 0; x < cols; x += kBlock)
    for (int r = 0; r < kLanes; r += kBlock) transpose8(from + x * kLanes + r, kLanes, to + r * to_stride + x, to_stride);
}

// out[x] = sum over taps of weight * source[tap][x], for `count` neighbouring bytes; two taps a pass.
VIDSSL_INLINE void vertical_row(const std::uint8_t* source, std::ptrdiff_t stride, const float* weight, int taps, int count,
                                float* __restrict out) {
  const float first = weight[0];
  for (int x = 0; x < count; ++x) out[x] = __builtin_fmaf(first, static_cast<float>(source[x]), 0.0f);
  int t = 1;
  for (; t + 1 < taps; t += 2) {
    const std::uint8_t *p = source + t * stride, *q = p + stride;
    const float u = weight[t], v = weight[t + 1];
    for (int x = 0; x < count; ++x) out[x] = __builtin_fmaf(v, static_cast<float>(q[x]), __builtin_fmaf(u, static_cast<float>(p[x]), out[x]));
  }
  for (; t < taps; ++t) {
    const std::uint8_t* p = source + t * stride;
    const float u = weight[t];
    for (int x = 0; x < count; ++x) out[x] = __builtin_fmaf(u, static_cast<float>(p[x]), out[x]);
  }
}

// Output rows [y, y + kLanes) of one plane (or of the interleaved picture), every column it needs: lanes[column][row].
VIDSSL_INLINE void vertical_pass(const PlaneView& plane, const Grid& grid, int y, int rows, Workspace& work, std::vector<float>& lanes) {
  const int low = grid.cols.low * plane.step, bytes = (grid.cols.high - grid.cols.low) * plane.step;
  const int span = ceil_div(bytes, kBlock) * kBlock;
  work.vertical.resize(static_cast<std::size_t>(kLanes) * span);
  lanes.resize(static_cast<std::size_t>(kLanes) * span);
  for (int r = 0; r < rows; ++r) {
    const int i = y + r;
    const std::uint8_t* source = plane.data + static_cast<std::ptrdiff_t>(grid.rows.first[i]) * plane.row_stride + low;
    const float* weight = grid.rows.weight.data() + static_cast<std::size_t>(i) * grid.rows.width;
    vertical_row(source, plane.row_stride, weight, grid.rows.count[i], bytes, work.vertical.data() + static_cast<std::size_t>(r) * span);
  }
  rows_to_lanes(work.vertical.data(), span, lanes.data(), span);
}

VIDSSL_INLINE void horizontal(const std::vector<float>& lanes, const AxisTable& cols, int j, int step, int channel, float* sum) {
  const float* source = lanes.data() + (static_cast<std::ptrdiff_t>(cols.first[j] - cols.low) * step + channel) * kLanes;
  const float* weight = cols.weight.data() + static_cast<std::size_t>(j) * cols.width;
  float total[kLanes] = {};
  for (int t = 0; t < cols.count[j]; ++t) {
    const float* p = source + static_cast<std::ptrdiff_t>(t) * step * kLanes;
#pragma omp simd
    for (int l = 0; l < kLanes; ++l) total[l] = __builtin_fmaf(weight[t], p[l], total[l]);
  }
  std::memcpy(sum, total, sizeof total);
}

// out = map * in, each [3][kLanes].
VIDSSL_INLINE void affine(const float* map, const float* in, float* out) {
  for (int c = 0; c < 3; ++c) {
    const float m0 = map[c * 4], m1 = map[c * 4 + 1], m2 = map[c * 4 + 2], m3 = map[c * 4 + 3];
#pragma omp simd
    for (int l = 0; l < kLanes; ++l)
      out[c * kLanes + l] = __builtin_fmaf(m2, in[2 * kLanes + l], __builtin_fmaf(m1, in[kLanes + l], __builtin_fmaf(m0, in[l], m3)));
  }
}

// Float to each output type: round to nearest, ties to even.
VIDSSL_INLINE void convert(const float* in, float* out, int count) { std::memcpy(out, in, sizeof(float) * count); }
VIDSSL_INLINE void convert(const float* in, _Float16* out, int count) {
  for (int i = 0; i < count; ++i) out[i] = static_cast<_Float16>(in[i]);
}
VIDSSL_INLINE void convert(const float* in, std::uint16_t* out, int count) {  // bfloat16
  for (int i = 0; i < count; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, in + i, sizeof bits);
    out[i] = static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
  }
}
VIDSSL_INLINE void convert(const float* in, std::uint8_t* out, int count) {
  for (int i = 0; i < count; ++i) {
    const float v = in[i] < 0.0f ? 0.0f : in[i] > 255.0f ? 255.0f : in[i];
    out[i] = static_cast<std::uint8_t>(static_cast<int>((v + 8388608.0f) - 8388608.0f));
  }
}

// Rows [y, y + rows) of picture (slot k, time t), from work.row [3, kLanes, padded].
template <typename T>
VIDSSL_INLINE void store_rows(const AssembleSpec& spec, const Workspace& work, int padded, int k, int t, int y, int rows, T* out) {
  const std::size_t area = static_cast<std::size_t>(spec.height) * spec.width;
  for (int c = 0; c < 3; ++c) {
    for (int r = 0; r < rows; ++r) {
      const float* row = work.row.data() + (static_cast<std::size_t>(c) * kLanes + r) * padded;
      const std::size_t at = static_cast<std::size_t>(y + r) * spec.width;
      if (spec.layout == Layout::kcthw) {
        convert(row, out + (static_cast<std::size_t>(k * 3 + c) * spec.times + t) * area + at, spec.width);
      } else {
        T* pixel = out + ((static_cast<std::size_t>(k) * spec.times + t) * area + at) * 3 + c;
        for (int x = 0; x < spec.width; ++x) convert(row + x, pixel + 3 * x, 1);
      }
    }
  }
}

VIDSSL_INLINE void make_grids(const AssembleSpec& spec, const AssembleArgs& args, const float* box, Workspace& work) {
  if (work.made && std::equal(box, box + 4, work.box)) return;  // the frames of one clip share their box
  const FrameView& view = args.frames;
  work.grid[0].rows.make(make_axis(box[1], box[3], spec.height, view.height), spec.height);
  work.grid[0].cols.make(make_axis(box[0], box[2], spec.width, view.width), spec.width);
  if (view.format == Format::yuv420) {
    const Axis rows = make_chroma_axis(box[1], box[3], spec.height, (view.height + 1) / 2, args.space.chroma_y);
    const Axis cols = make_chroma_axis(box[0], box[2], spec.width, (view.width + 1) / 2, args.space.chroma_x);
    work.grid[1].rows.make(rows, spec.height);
    work.grid[1].cols.make(cols, spec.width);
  }
  std::copy(box, box + 4, work.box);
  work.made = true;
}

// Output rows [y, y + rows) of one picture into work.row.
VIDSSL_INLINE void make_rows(const AssembleSpec& spec, const AssembleArgs& args, int k, int at, int y, int rows, int padded, Workspace& work) {
  const FrameView& view = args.frames;
  const bool yuv = view.format == Format::yuv420;
  const int step = yuv ? 1 : 3;
  for (int c = 0; c < (yuv ? 3 : 1); ++c) vertical_pass(plane(view, args.frame[at], c), work.grid[c > 0], y, rows, work, work.lanes[c]);
  const float* color = args.color + at * 12;
  for (int j = 0; j < spec.width; ++j) {
    float in[3 * kLanes], rgb[3 * kLanes], out[3 * kLanes];
    for (int c = 0; c < 3; ++c) {
      const Grid& grid = work.grid[yuv && c > 0];
      horizontal(work.lanes[yuv ? c : 0], grid.cols, j, step, yuv ? 0 : c, in + c * kLanes);
    }
    if (yuv) {
      affine(args.space.to_rgb, in, rgb);
    } else {
      std::memcpy(rgb, in, sizeof in);
    }
#pragma omp simd
    for (int l = 0; l < 3 * kLanes; ++l) {
      const float low = rgb[l] > 0.0f ? rgb[l] : 0.0f;
      rgb[l] = low < 255.0f ? low : 255.0f;
    }
    affine(color, rgb, out);
    const int x = args.flip[k] ? spec.width - 1 - j : j;
    for (int c = 0; c < 3; ++c)
      std::memcpy(work.wide.data() + (static_cast<std::size_t>(c) * padded + x) * kLanes, out + c * kLanes, sizeof(float) * kLanes);
  }
  for (int c = 0; c < 3; ++c) {
    const std::size_t at_channel = static_cast<std::size_t>(c) * padded * kLanes;
    lanes_to_rows(work.wide.data() + at_channel, work.row.data() + at_channel, padded, padded);
  }
}

VIDSSL_INLINE void assemble_body(const AssembleSpec& spec, const AssembleArgs& args, Workspace& work) {
  const int padded = ceil_div(spec.width, kBlock) * kBlock;
  work.wide.assign(static_cast<std::size_t>(3) * padded * kLanes, 0.0f);
  work.row.resize(work.wide.size());
  work.made = false;
  for (int k = 0; k < spec.slots; ++k) {
    for (int t = 0; t < spec.times; ++t) {
      const int at = k * spec.times + t;
      make_grids(spec, args, args.box + at * 4, work);
      for (int y = 0; y < spec.height; y += kLanes) {
        const int rows = std::min(kLanes, spec.height - y);
        make_rows(spec, args, k, at, y, rows, padded, work);
        switch (spec.dtype) {
          case DType::float32: store_rows(spec, work, padded, k, t, y, rows, static_cast<float*>(args.out)); break;
          case DType::float16: store_rows(spec, work, padded, k, t, y, rows, static_cast<_Float16*>(args.out)); break;
          case DType::bfloat16: store_rows(spec, work, padded, k, t, y, rows, static_cast<std::uint16_t*>(args.out)); break;
          case DType::uint8: store_rows(spec, work, padded, k, t, y, rows, static_cast<std::uint8_t*>(args.out)); break;
        }
      }
    }
  }
}

using Body = void (*)(const AssembleSpec&, const AssembleArgs&, Workspace&);

void body_plain(const AssembleSpec& spec, const AssembleArgs& args, Workspace& work) { assemble_body(spec, args, work); }
#if defined(__x86_64__)
__attribute__((target("avx2,fma,f16c,bmi,bmi2"))) void body_avx2(const AssembleSpec& spec, const AssembleArgs& args, Workspace& work) {
  assemble_body(spec, args, work);
}
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,bmi,bmi2,prefer-vector-width=512"))) void body_avx512(
    const AssembleSpec& spec, const AssembleArgs& args, Workspace& work) {
  assemble_body(spec, args, work);
}
#endif

struct Choice {
  const char* name;
  Body body;
};

// VIDSSL_SIMD=plain|avx2|avx512 takes one body by name (tests compare them), where this processor has it.
Choice choose() {
  const char* wish = std::getenv("VIDSSL_SIMD");
  const std::string name = wish ? wish : "";
  check(name.empty() || name == "plain" || name == "avx2" || name == "avx512", "VIDSSL_SIMD=", name, ": take plain, avx2 or avx512");
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  check(name != "avx512" || avx512, "VIDSSL_SIMD=avx512: this processor has no AVX-512");
  check(name != "avx2" || avx2, "VIDSSL_SIMD=avx2: this processor has no AVX2");
  if (avx512 && (name.empty() || name == "avx512")) return {"avx512", body_avx512};
  if (avx2 && (name.empty() || name == "avx2")) return {"avx2", body_avx2};
#else
  check(name.empty() || name == "plain", "VIDSSL_SIMD=", name, ": this processor has only plain");
#endif
  return {"plain", body_plain};
}

const Choice& chosen() {
  static const Choice choice = choose();
  return choice;
}

}  // namespace

const char* simd_body() { return chosen().name; }

void assemble_cpu(const AssembleSpec& spec, const AssembleArgs* samples, int count) {
  const Body body = chosen().body;
  thread_local Workspace work;
  for (int i = 0; i < count; ++i) {
    const AssembleArgs& args = samples[i];
    for (int at = 0; at < spec.slots * spec.times; ++at)
      check(args.frame[at] >= 0 && args.frame[at] < args.frames.frames, "frame=", args.frame[at], ": positions are 0..",
            args.frames.frames - 1);
    body(spec, args, work);
  }
}

}  // namespace vidssl
