// The body of reduce_cpu. It has no include guard: reduce_cpu.cpp includes it, after resample_body.h, once for each
// namespace of lanes.h.

// Stores kLanes output columns from column x on, of kLanes rows; of a smaller plane, those that it has.
template <typename Count>
inline void store_tile(const AxisTable& cols, const ReducedPlane& to, int y, int x, Count taps, std::uint8_t* out,
                       ReduceWorkspace& work) {
  for (int c = 0; c < kLanes; c += 4) {
    Lanes four[4];
    for (int i = 0; i < 4; ++i) four[i] = column(work.lanes.data(), 1, cols, std::min(x + c + i, to.width - 1), taps);
    store_four(work.fours + c * kLanes, four);
  }
  out += static_cast<std::ptrdiff_t>(y) * to.stride + x;
  if (to.height >= kLanes && to.width >= kLanes) return store_rows(work.fours, out, to.stride);
  store_rows(work.fours, work.tile, kLanes);
  for (int r = 0; r < std::min(kLanes, to.height); ++r)
    std::copy_n(work.tile + r * kLanes, std::min(kLanes, to.width), out + static_cast<std::ptrdiff_t>(r) * to.stride);
}

inline void reduce_plane(const PlaneView& source, const Grid& grid, const ReducedPlane& to, std::uint8_t* out,
                         ReduceWorkspace& work) {
  // The last tile of a row or column overlaps the one before.
  const auto begin = [](int at, int length) { return std::max(0, std::min(at, length - kLanes)); };
  for (int row = 0; row < to.height; row += kLanes) {
    const int y = begin(row, to.height);
    vertical_pass(source, grid, y, std::min(kLanes, to.height), work.vertical, work.lanes);
    with_taps(grid.cols.taps, [&](auto taps) {
      for (int x = 0; x < to.width; x += kLanes) store_tile(grid.cols, to, y, begin(x, to.width), taps, out, work);
    });
  }
}

void reduce(const ReduceSpec& spec, const FrameView& frames, int frame, std::uint8_t* out, ReduceWorkspace& work) {
  for (int c = 0; c < 3; ++c) {
    const ReducedPlane to = reduced_plane(spec, c);
    reduce_plane(plane(frames, frame, c), work.grid[c > 0], to, out + to.offset, work);
  }
}
