// The body of assemble_cpu. It has no include guard: assemble_cpu.cpp includes it, after resample_body.h, once for each
// namespace of lanes.h.
//
// A tile of sixteen output columns has its rows as lanes, so that the colour maps need no gathers either. It is then
// turned back and written as whole cache lines. Where the picture is not made smaller, a row of sixteen output columns
// reads at most sixteen neighbouring samples for each tap. One permutation then takes the place of the gather, and
// nothing is turned (show_tiles).

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

struct Color {
  Lanes c[3];
};

// The colour maps, each number in all lanes.
struct Maps {
  Lanes to_rgb[12], color[12];
  Maps(const float* first, const float* second) {
    for (int i = 0; i < 12; ++i) to_rgb[i] = fill(first[i]), color[i] = fill(second[i]);
  }
};

// Yuv and Diagonal: the zeros of the maps to leave out, see Known.
template <bool Yuv, bool Diagonal>
inline Color show(const Maps& maps, const Color& in) {
  Color rgb, out;
  for (int c = 0; c < 3; ++c) {
    const Lanes* m = maps.to_rgb + c * 4;
    Lanes sum = multiply_add(m[0], in.c[0], m[3]);
    if (!Yuv || c != 0) sum = multiply_add(m[1], in.c[1], sum);
    if (!Yuv || c != 2) sum = multiply_add(m[2], in.c[2], sum);
    rgb.c[c] = clamp(sum);
  }
  for (int c = 0; c < 3; ++c) {
    const Lanes* m = maps.color + c * 4;
    if (Diagonal) {
      out.c[c] = multiply_add(m[c], rgb.c[c], m[3]);
    } else {
      out.c[c] = multiply_add(m[2], rgb.c[2], multiply_add(m[1], rgb.c[1], multiply_add(m[0], rgb.c[0], m[3])));
    }
  }
  return out;
}

template <bool Yuv, bool Diagonal>
inline void color_pass(const Maps& maps, const Place& place, float* __restrict tile) {
  for (int j = place.from; j < place.from + place.count; ++j) {
    Color in;
    for (int c = 0; c < 3; ++c) in.c[c] = load(tile + place(c, j));
    const Color out = show<Yuv, Diagonal>(maps, in);
    for (int c = 0; c < 3; ++c) store(tile + place(c, j), out.c[c]);
  }
}

// Writes `count` neighbouring values to `out`. `past_caches`: the values are not read soon. A full cache line is then
// written without being read first, which saves a quarter of the time if `out` is not in a cache. This is faster only
// for floats, which are wide enough.
template <typename T>
inline void store_run(const Lanes& run, T* out, int count, bool past_caches) {
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
    for (int r = 0; r < rows; ++r) store_run(load(work.turned + r * kLanes), to + r * stride, count, spec.stream);
  }
}

// Makes output rows [y, y + rows) of picture `at`.
template <typename T>
inline void make_rows(const AssembleSpec& spec, const AssembleArgs& args, int at, int y, int rows, const Known& known,
                      Workspace& work) {
  const bool yuv = args.frames.format == Format::yuv420;
  const int k = at / spec.times, t = at % spec.times;
  for (int c = 0; c < (yuv ? 3 : 1); ++c)
    vertical_pass(plane(args.frames, args.frame[at], c), work.grid[c > 0], y, rows, work.vertical, work.lanes[c]);
  const Maps maps(args.space.to_rgb, args.color + at * 12);
  for (int x = 0; x < spec.width; x += kLanes) {
    const Place place{spec.layout == Layout::kthwc, args.flip[k] != 0, x, std::min(kLanes, spec.width - x)};
    for (int c = 0; c < 3; ++c) {
      const float* lanes = yuv ? work.lanes[c].data() : work.lanes[0].data() + c * kLanes;
      const AxisTable& cols = work.grid[yuv && c > 0].cols;
      with_taps(cols.taps, [&](auto taps) {
        for (int j = x; j < x + place.count; ++j)
          store(work.tile + place(c, j), column(lanes, yuv ? 1 : 3, cols, j, taps));
      });
    }
    if (known.yuv && known.diagonal) {
      color_pass<true, true>(maps, place, work.tile);
    } else if (known.yuv) {
      color_pass<true, false>(maps, place, work.tile);
    } else {
      color_pass<false, false>(maps, place, work.tile);
    }
    store_tile(spec, work, k, t, y, rows, place, static_cast<T*>(args.out));
  }
}

// Makes output rows [y, y + rows) of picture `at`, if make_tiles made its tiles.
template <bool Yuv, bool Diagonal, typename T>
inline void show_tiles(const AssembleSpec& spec, const AssembleArgs& args, int at, int y, int rows, Workspace& work) {
  constexpr int kTaps = ColumnTiles::kTaps;
  int span[3];
  for (int c = 0; c < 3; ++c) {
    const AxisTable& cols = work.grid[c > 0].cols;
    span[c] = (ceil_div(cols.high - cols.low, kLanes) + 1) * kLanes;  // `pick` reads beyond the last column
    work.rows[c].resize(static_cast<std::size_t>(kLanes) * static_cast<std::size_t>(span[c]));
    vertical_rows(plane(args.frames, args.frame[at], c), work.grid[c > 0], y, rows, span[c], work.rows[c].data());
  }
  const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(spec.height) * spec.width, apart = spec.times * area;
  T* out = static_cast<T*>(args.out) + at / spec.times * 3 * apart + at % spec.times * area + y * spec.width;
  const Maps maps(args.space.to_rgb, args.color + at * 12);
  for (int tile = 0; tile < ceil_div(spec.width, kLanes); ++tile) {
    T* to = out + std::min(tile * kLanes, spec.width - kLanes);
    Indices indices[2];
    Lanes weight[2][kTaps];
    const float* source[3];
    for (int g = 0; g < 2; ++g) {
      indices[g] = load_indices(work.tiles[g].index.data() + tile * kLanes);
      for (int t = 0; t < kTaps; ++t) weight[g][t] = load(work.tiles[g].weight.data() + (tile * kTaps + t) * kLanes);
    }
    for (int c = 0; c < 3; ++c) source[c] = work.rows[c].data() + work.tiles[c > 0].base[tile];
    for (int r = 0; r < rows; ++r, to += spec.width) {
      Color in;
      for (int c = 0; c < 3; ++c) {
        in.c[c] = zero();
        for (int t = 0; t < kTaps; ++t)
          in.c[c] = multiply_add(weight[c > 0][t], pick(source[c] + t, indices[c > 0]), in.c[c]);
        source[c] += span[c];
      }
      const Color shown = show<Yuv, Diagonal>(maps, in);
      for (int c = 0; c < 3; ++c) store_run(shown.c[c], to + c * apart, kLanes, spec.stream);
    }
  }
}

// Makes pictures [first, last) of the output, numbered slot by slot.
template <typename T>
inline void make_pictures(const AssembleSpec& spec, const AssembleArgs& args, int first, int last, Workspace& work) {
  for (int at = first; at < last; ++at) {
    make_grids(spec, args, args.box + at * 4, work);
    const bool by_rows = make_tiles(spec, args, args.flip[at / spec.times] != 0, work);
    const Known known = known_zeros(args.space.to_rgb, args.color + at * 12);
    for (int y = 0; y < spec.height; y += kLanes) {
      const int rows = std::min(kLanes, spec.height - y);
      if (!by_rows) {
        make_rows<T>(spec, args, at, y, rows, known, work);
      } else if (known.yuv && known.diagonal) {
        show_tiles<true, true, T>(spec, args, at, y, rows, work);
      } else if (known.yuv) {
        show_tiles<true, false, T>(spec, args, at, y, rows, work);
      } else {
        show_tiles<false, false, T>(spec, args, at, y, rows, work);
      }
    }
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
