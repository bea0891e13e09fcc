// The body of assemble_cpu. It has no include guard: assemble_cpu.cpp includes it once for each namespace of lanes.h.
//
// It is fast because each vector instruction works on 16 output rows, one in each lane. The vertical pass runs along
// the columns, and a transposition turns rows into lanes, so that the horizontal pass and the colour maps need no
// gathers. Sixteen columns at a time are turned back and written as whole cache lines. The number of taps is a
// compile-time constant of the inner loops.

// Calls work(taps). `taps` is a compile-time constant if it is at most 6, which is nearly always so.
template <typename Work>
inline void with_taps(int taps, const Work& work) {
  switch (taps) {
    case 1:
      return work(std::integral_constant<int, 1>{});
    case 2:
      return work(std::integral_constant<int, 2>{});
    case 3:
      return work(std::integral_constant<int, 3>{});
    case 4:
      return work(std::integral_constant<int, 4>{});
    case 5:
      return work(std::integral_constant<int, 5>{});
    case 6:
      return work(std::integral_constant<int, 6>{});
    default:
      return work(taps);
  }
}

// out[x] = sum over taps of weight * source[tap][x], for `count` neighbouring bytes.
template <typename Count>
inline void vertical_row(const std::uint8_t* source, std::ptrdiff_t stride, const float* weight, Count taps, int count,
                         float* __restrict out) {
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
    const int from = std::min(x, count - kLanes);  // the last lanes overlap the ones before
    Lanes sum = zero();
    for (int t = 0; t < taps; ++t) sum = multiply_add(fill(weight[t]), load_bytes(source + t * stride + from), sum);
    store(out + from, sum);
  }
}

// Filters output rows [y, y + rows) of one plane, or of the interleaved picture, in each column that is needed:
// lanes[column][row].
inline void vertical_pass(const PlaneView& plane, const Grid& grid, int y, int rows, Workspace& work,
                          std::vector<float>& lanes) {
  const int low = grid.cols.low * plane.step, bytes = (grid.cols.high - grid.cols.low) * plane.step;
  const int span = ceil_div(bytes, kLanes) * kLanes;
  work.vertical.resize(static_cast<std::size_t>(kLanes) * static_cast<std::size_t>(span));
  lanes.resize(work.vertical.size());
  with_taps(grid.rows.taps, [&](auto taps) {
    for (int r = 0; r < rows; ++r) {
      const std::uint8_t* source =
          plane.data + static_cast<std::ptrdiff_t>(grid.rows.first[y + r]) * plane.row_stride + low;
      vertical_row(source, plane.row_stride, grid.rows.weights(y + r), taps, bytes, work.vertical.data() + r * span);
    }
  });
  for (int x = 0; x < span; x += kLanes) transpose(work.vertical.data() + x, span, lanes.data() + x * kLanes);
}

// The offset of output column j of channel c in a tile. A row of the turned tile then has the order of the output. The
// tile holds `count` columns from column `from` on; if mirrored, it stores them from right to left.
struct Place {
  bool last, mirror;  // last: channels are the last axis
  int from, count;

  int operator()(int c, int j) const {
    const int x = mirror ? count - 1 - (j - from) : j - from;
    return (last ? 3 * x + c : kLanes * c + x) * kLanes;
  }
};

// Makes channel c of a tile. `lanes` holds its columns, `step` columns apart (3 if channels are interleaved).
inline void horizontal_pass(const float* lanes, int step, const AxisTable& cols, int c, const Place& place,
                            float* __restrict tile) {
  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(step) * kLanes;
  with_taps(cols.taps, [&](auto taps) {
    for (int j = place.from; j < place.from + place.count; ++j) {
      const float* source = lanes + (cols.first[j] - cols.low) * stride;
      const float* weight = cols.weights(j);
      Lanes sum = zero();
      for (int t = 0; t < taps; ++t) sum = multiply_add(fill(weight[t]), load(source + t * stride), sum);
      store(tile + place(c, j), sum);
    }
  });
}

struct Color {
  Lanes c[3];
};

// Yuv and Diagonal: the zeros of the maps to leave out, see Known.
template <bool Yuv, bool Diagonal>
inline Color show(const float* to_rgb, const float* color, const Color& in) {
  Color rgb, out;
  for (int c = 0; c < 3; ++c) {
    const float* m = to_rgb + c * 4;
    Lanes sum = multiply_add(fill(m[0]), in.c[0], fill(m[3]));
    if (!Yuv || c != 0) sum = multiply_add(fill(m[1]), in.c[1], sum);
    if (!Yuv || c != 2) sum = multiply_add(fill(m[2]), in.c[2], sum);
    rgb.c[c] = clamp(sum);
  }
  for (int c = 0; c < 3; ++c) {
    const float* m = color + c * 4;
    if (Diagonal) {
      out.c[c] = multiply_add(fill(m[c]), rgb.c[c], fill(m[3]));
    } else {
      out.c[c] = multiply_add(fill(m[2]), rgb.c[2],
                              multiply_add(fill(m[1]), rgb.c[1], multiply_add(fill(m[0]), rgb.c[0], fill(m[3]))));
    }
  }
  return out;
}

template <bool Yuv, bool Diagonal>
inline void color_pass(const float* to_rgb, const float* color, const Place& place, float* __restrict tile) {
  for (int j = place.from; j < place.from + place.count; ++j) {
    Color in;
    for (int c = 0; c < 3; ++c) in.c[c] = load(tile + place(c, j));
    const Color out = show<Yuv, Diagonal>(to_rgb, color, in);
    for (int c = 0; c < 3; ++c) store(tile + place(c, j), out.c[c]);
  }
}

// Writes `count` neighbouring values to `out`. `past_caches`: the values are not read soon. A full cache line is then
// written without being read first, which saves a quarter of the time if `out` is not in a cache. This is faster only
// for floats, which are wide enough.
template <typename T>
inline void store_run(const float* in, T* out, int count, bool past_caches) {
  const Lanes run = load(in);
  if (count < kLanes) {
    T part[kLanes];
    store(part, run);
    std::memcpy(out, part, sizeof(T) * static_cast<std::size_t>(count));
    return;
  }
  if constexpr (std::is_same_v<T, float>) {
    if (past_caches && reinterpret_cast<std::uintptr_t>(out) % (kLanes * sizeof(float)) == 0) return stream(out, run);
  }
  store(out, run);
}

// Writes the tile's rows [y, y + rows) to the picture of slot k at time t.
template <typename T>
inline void store_tile(const AssembleSpec& spec, Workspace& work, int k, int t, int y, int rows, const Place& place,
                       T* out) {
  const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(spec.height) * spec.width;
  const int x = place.mirror ? spec.width - place.from - place.count : place.from;
  const std::ptrdiff_t pixel = static_cast<std::ptrdiff_t>(y) * spec.width + x;
  for (int part = 0; part < 3; ++part) {
    transpose(work.tile + part * kLanes * kLanes, kLanes, work.turned);
    T* to = place.last ? out + ((static_cast<std::ptrdiff_t>(k) * spec.times + t) * area + pixel) * 3 + part * kLanes
                       : out + (static_cast<std::ptrdiff_t>(k * 3 + part) * spec.times + t) * area + pixel;
    const int count = place.last ? std::clamp(3 * place.count - part * kLanes, 0, kLanes) : place.count;
    const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(spec.width) * (place.last ? 3 : 1);
    for (int r = 0; r < rows; ++r) store_run(work.turned + r * kLanes, to + r * stride, count, spec.stream);
  }
}

// Makes output rows [y, y + rows) of picture `at`.
template <typename T>
inline void make_rows(const AssembleSpec& spec, const AssembleArgs& args, int at, int y, int rows, const Known& known,
                      Workspace& work) {
  const bool yuv = args.frames.format == Format::yuv420;
  const int k = at / spec.times, t = at % spec.times;
  for (int c = 0; c < (yuv ? 3 : 1); ++c)
    vertical_pass(plane(args.frames, args.frame[at], c), work.grid[c > 0], y, rows, work, work.lanes[c]);
  const float *to_rgb = args.space.to_rgb, *color = args.color + at * 12;
  for (int x = 0; x < spec.width; x += kLanes) {
    const Place place{spec.layout == Layout::kthwc, args.flip[k] != 0, x, std::min(kLanes, spec.width - x)};
    for (int c = 0; c < 3; ++c) {
      const float* lanes = yuv ? work.lanes[c].data() : work.lanes[0].data() + c * kLanes;
      horizontal_pass(lanes, yuv ? 1 : 3, work.grid[yuv && c > 0].cols, c, place, work.tile);
    }
    if (known.yuv && known.diagonal) {
      color_pass<true, true>(to_rgb, color, place, work.tile);
    } else if (known.yuv) {
      color_pass<true, false>(to_rgb, color, place, work.tile);
    } else {
      color_pass<false, false>(to_rgb, color, place, work.tile);
    }
    store_tile(spec, work, k, t, y, rows, place, static_cast<T*>(args.out));
  }
}

// Makes pictures [first, last) of the output, numbered slot by slot.
template <typename T>
inline void make_pictures(const AssembleSpec& spec, const AssembleArgs& args, int first, int last, Workspace& work) {
  for (int at = first; at < last; ++at) {
    make_grids(spec, args, args.box + at * 4, work);
    const Known known = known_zeros(args.space.to_rgb, args.color + at * 12);
    for (int y = 0; y < spec.height; y += kLanes)
      make_rows<T>(spec, args, at, y, std::min(kLanes, spec.height - y), known, work);
  }
}

void assemble(const AssembleSpec& spec, const AssembleArgs& args, int first, int last, Workspace& work) {
  switch (spec.dtype) {
    case DType::float32:
      make_pictures<float>(spec, args, first, last, work);
      break;
    case DType::float16:
      make_pictures<_Float16>(spec, args, first, last, work);
      break;
    case DType::bfloat16:
      make_pictures<std::uint16_t>(spec, args, first, last, work);
      break;
    case DType::uint8:
      make_pictures<std::uint8_t>(spec, args, first, last, work);
      break;
  }
  if (spec.stream) fence();
}
