// The body of assemble_cpu. No include guard: assemble_cpu.cpp includes it once for each namespace of lanes.h, compiled for it.
//
// How it is fast: 16 output rows are worked on together and are the lanes of every vector instruction. The vertical pass runs along
// the columns, a transposition turns rows into lanes, and the horizontal pass and the colour maps then need no gathers.

// to[col * kLanes + row] = from[row * stride + col], for kLanes rows and `cols` columns, a multiple of kBlock.
inline void rows_to_lanes(const float* from, std::ptrdiff_t stride, float* to, int cols) {
  for (int x = 0; x < cols; x += kBlock)
    for (int r = 0; r < kLanes; r += kBlock) transpose8(from + r * stride + x, stride, to + x * kLanes + r, kLanes);
}
inline void lanes_to_rows(const float* from, float* to, std::ptrdiff_t stride, int cols) {
  for (int x = 0; x < cols; x += kBlock)
    for (int r = 0; r < kLanes; r += kBlock) transpose8(from + x * kLanes + r, kLanes, to + r * stride + x, stride);
}

// out[x] = sum over taps of weight * source[tap][x], for `count` neighbouring bytes.
inline void vertical_row(const std::uint8_t* source, std::ptrdiff_t stride, const float* weight, int taps, int count, float* out) {
  if (count < kLanes) {
    for (int x = 0; x < count; ++x) {
      float sum = 0.0f;
      for (int t = 0; t < taps; ++t) sum = std::fma(weight[t], static_cast<float>(source[t * stride + x]), sum);
      out[x] = sum;
    }
    return;
  }
  int x = 0;
  for (; x + 2 * kLanes <= count; x += 2 * kLanes) {
    Lanes sum = zero(), next = zero();
    for (int t = 0; t < taps; ++t) {
      const std::uint8_t* p = source + t * stride + x;
      const Lanes w = fill(weight[t]);
      sum = multiply_add(w, load_bytes(p), sum);
      next = multiply_add(w, load_bytes(p + kLanes), next);
    }
    store(out + x, sum);
    store(out + x + kLanes, next);
  }
  for (; x < count; x += kLanes) {
    const int from = std::min(x, count - kLanes);  // the last ones overlap those before
    Lanes sum = zero();
    for (int t = 0; t < taps; ++t) sum = multiply_add(fill(weight[t]), load_bytes(source + t * stride + from), sum);
    store(out + from, sum);
  }
}

// Output rows [y, y + rows) of one plane (or of the interleaved picture), every column that is needed: lanes[column][row].
inline void vertical_pass(const PlaneView& plane, const Grid& grid, int y, int rows, Workspace& work, std::vector<float>& lanes) {
  const int low = grid.cols.low * plane.step, bytes = (grid.cols.high - grid.cols.low) * plane.step;
  const int span = ceil_div(bytes, kBlock) * kBlock;
  work.vertical.resize(static_cast<std::size_t>(kLanes) * static_cast<std::size_t>(span));
  lanes.resize(work.vertical.size());
  for (int r = 0; r < rows; ++r) {
    const int i = y + r;
    const std::uint8_t* source = plane.data + static_cast<std::ptrdiff_t>(grid.rows.first[i]) * plane.row_stride + low;
    vertical_row(source, plane.row_stride, grid.rows.weights(i), grid.rows.count[i], bytes, work.vertical.data() + r * span);
  }
  rows_to_lanes(work.vertical.data(), span, lanes.data(), span);
}

// Output column j of one channel: `lanes` holds `step` interleaved channels a column.
inline Lanes horizontal(const std::vector<float>& lanes, const AxisTable& cols, int j, int step, int channel) {
  const float* source = lanes.data() + (static_cast<std::ptrdiff_t>(cols.first[j] - cols.low) * step + channel) * kLanes;
  const float* weight = cols.weights(j);
  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(step) * kLanes;
  Lanes sum = zero();
  for (int t = 0; t < cols.count[j]; ++t) sum = multiply_add(fill(weight[t]), load(source + t * stride), sum);
  return sum;
}

struct Color {
  Lanes c[3];
};

inline Color affine(const float* map, const Color& in) {
  Color out;
  for (int c = 0; c < 3; ++c) {
    const float* m = map + c * 4;
    out.c[c] = multiply_add(fill(m[2]), in.c[2], multiply_add(fill(m[1]), in.c[1], multiply_add(fill(m[0]), in.c[0], fill(m[3]))));
  }
  return out;
}

// Output rows [y, y + rows) of picture `at` into work.wide; mirror: from the right.
inline void make_rows(const AssembleSpec& spec, const AssembleArgs& args, int at, bool mirror, int y, int rows, int padded,
                      Workspace& work) {
  const bool yuv = args.frames.format == Format::yuv420;
  for (int c = 0; c < (yuv ? 3 : 1); ++c)
    vertical_pass(plane(args.frames, args.frame[at], c), work.grid[c > 0], y, rows, work, work.lanes[c]);
  const float* color = args.color + at * 12;
  const std::ptrdiff_t channel = static_cast<std::ptrdiff_t>(padded) * kLanes;
  for (int j = 0; j < spec.width; ++j) {
    Color shown;
    if (yuv) {
      for (int c = 0; c < 3; ++c) shown.c[c] = horizontal(work.lanes[c], work.grid[c > 0].cols, j, 1, 0);
    } else {
      for (int c = 0; c < 3; ++c) shown.c[c] = horizontal(work.lanes[0], work.grid[0].cols, j, 3, c);
    }
    shown = affine(args.space.to_rgb, shown);
    for (Lanes& lanes : shown.c) lanes = clamp(lanes);
    shown = affine(color, shown);
    float* to = work.wide.data() + static_cast<std::ptrdiff_t>(mirror ? spec.width - 1 - j : j) * kLanes;
    for (int c = 0; c < 3; ++c) store(to + c * channel, shown.c[c]);
  }
}

// Float to each output type: round to nearest, ties to even.
inline void convert(const float* in, float* out, int count) { std::memcpy(out, in, sizeof(float) * static_cast<std::size_t>(count)); }
inline void convert(const float* in, _Float16* out, int count) {
  for (int i = 0; i < count; ++i) out[i] = static_cast<_Float16>(in[i]);
}
inline void convert(const float* in, std::uint16_t* out, int count) {  // bfloat16
  for (int i = 0; i < count; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, in + i, sizeof bits);
    out[i] = static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
  }
}
inline void convert(const float* in, std::uint8_t* out, int count) {
  for (int i = 0; i < count; ++i) {
    const float v = in[i] > 0.0f ? (in[i] < 255.0f ? in[i] : 255.0f) : 0.0f;
    out[i] = static_cast<std::uint8_t>(static_cast<int>((v + 8388608.0f) - 8388608.0f));  // 2^23: the sum has no fraction bits left
  }
}

// A finished row to its place. `past_caches`: nobody reads it soon, so where it is made of whole cache lines they need not be read before
// they are written (a quarter of the time, where `out` is not in a cache); only floats are so wide that it pays.
template <typename T>
inline void store_row(const float* row, T* out, int count, bool) {
  convert(row, out, count);
}
inline void store_row(const float* row, float* out, int count, bool past_caches) {
  if (!past_caches || count % kLanes != 0 || reinterpret_cast<std::uintptr_t>(out) % (kLanes * sizeof(float)) != 0)
    return convert(row, out, count);
  for (int x = 0; x < count; x += kLanes) stream(out + x, load(row + x));
}

// Rows [y, y + rows) of picture (slot k, time t), from work.wide.
template <typename T>
inline void store_rows(const AssembleSpec& spec, Workspace& work, int padded, int k, int t, int y, int rows, T* out) {
  const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(spec.height) * spec.width, channel = static_cast<std::ptrdiff_t>(padded) * kLanes;
  for (int c = 0; c < 3; ++c) lanes_to_rows(work.wide.data() + c * channel, work.row.data() + c * channel, padded, padded);
  for (int c = 0; c < 3; ++c) {
    for (int r = 0; r < rows; ++r) {
      const float* row = work.row.data() + (static_cast<std::ptrdiff_t>(c) * kLanes + r) * padded;
      const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(y + r) * spec.width;
      if (spec.layout == Layout::kcthw) {
        store_row(row, out + (static_cast<std::ptrdiff_t>(k * 3 + c) * spec.times + t) * area + at, spec.width, spec.stream);
      } else {
        T* pixel = out + ((static_cast<std::ptrdiff_t>(k) * spec.times + t) * area + at) * 3 + c;
        for (int x = 0; x < spec.width; ++x) convert(row + x, pixel + 3 * x, 1);
      }
    }
  }
}

// Pictures [first, last) of the output, counted slot by slot.
void assemble(const AssembleSpec& spec, const AssembleArgs& args, int first, int last, Workspace& work) {
  const int padded = ceil_div(spec.width, kBlock) * kBlock;
  work.wide.assign(static_cast<std::size_t>(3 * kLanes) * static_cast<std::size_t>(padded), 0.0f);
  work.row.resize(work.wide.size());
  for (int at = first; at < last; ++at) {
    const int k = at / spec.times, t = at % spec.times;
    make_grids(spec, args, args.box + at * 4, work);
    for (int y = 0; y < spec.height; y += kLanes) {
      const int rows = std::min(kLanes, spec.height - y);
      make_rows(spec, args, at, args.flip[k] != 0, y, rows, padded, work);
      switch (spec.dtype) {
        case DType::float32:
          store_rows(spec, work, padded, k, t, y, rows, static_cast<float*>(args.out));
          break;
        case DType::float16:
          store_rows(spec, work, padded, k, t, y, rows, static_cast<_Float16*>(args.out));
          break;
        case DType::bfloat16:
          store_rows(spec, work, padded, k, t, y, rows, static_cast<std::uint16_t*>(args.out));
          break;
        case DType::uint8:
          store_rows(spec, work, padded, k, t, y, rows, static_cast<std::uint8_t*>(args.out));
          break;
      }
    }
  }
  if (spec.stream) fence();
}
