// The separable filter of assemble and reduce on a CPU. It has no include guard: assemble_cpu.cpp and reduce_cpu.cpp
// include it once for each namespace of lanes.h.
//
// It is fast because each vector instruction works on 16 output rows, one in each lane. The vertical pass runs along
// the columns, and a transposition turns rows into lanes, so that the horizontal pass needs no gathers. The number of
// taps is a compile-time constant of the inner loops.

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
// out[row][column], `span` columns.
inline void vertical_rows(const PlaneView& plane, const Grid& grid, int y, int rows, int span, float* out) {
  const int low = grid.cols.low * plane.step, bytes = (grid.cols.high - grid.cols.low) * plane.step;
  with_taps(grid.rows.taps, [&](auto taps) {
    for (int r = 0; r < rows; ++r) {
      const std::uint8_t* source =
          plane.data + static_cast<std::ptrdiff_t>(grid.rows.first[y + r]) * plane.row_stride + low;
      vertical_row(source, plane.row_stride, grid.rows.weights(y + r), taps, bytes, out + r * span);
    }
  });
}

// The same with rows as lanes: lanes[column][row]. vertical: scratch.
inline void vertical_pass(const PlaneView& plane, const Grid& grid, int y, int rows, std::vector<float>& vertical,
                          std::vector<float>& lanes) {
  const int span = ceil_div((grid.cols.high - grid.cols.low) * plane.step, kLanes) * kLanes;
  vertical.resize(static_cast<std::size_t>(kLanes) * static_cast<std::size_t>(span));
  lanes.resize(vertical.size());
  vertical_rows(plane, grid, y, rows, span, vertical.data());
  for (int x = 0; x < span; x += kLanes) transpose(vertical.data() + x, span, lanes.data() + x * kLanes);
}

// Output column j, filtered horizontally: kLanes rows. `lanes` holds the columns of the plane, `step` columns apart (3
// if channels are interleaved).
template <typename Count>
inline Lanes column(const float* lanes, int step, const AxisTable& cols, int j, Count taps) {
  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(step) * kLanes;
  const float* source = lanes + (cols.first[j] - cols.low) * stride;
  const float* weight = cols.weights(j);
  Lanes sum = zero();
  for (int t = 0; t < taps; ++t) sum = multiply_add(fill(weight[t]), load(source + t * stride), sum);
  return sum;
}
