// The body of reduce_cpu. It has no include guard: reduce_cpu.cpp includes it, after resample_body.h, once for each
// namespace of lanes.h.

// Stores `rows` lines of `count` bytes. tile: [kLanes, kLanes].
inline void store_tile(const std::uint8_t* tile, int rows, int count, std::uint8_t* out, int stride) {
  for (int r = 0; r < rows; ++r, out += stride, tile += kLanes) {
    if (count == kLanes) {
      std::memcpy(out, tile, kLanes);  // one store
    } else {
      std::memcpy(out, tile, static_cast<std::size_t>(count));
    }
  }
}

inline void reduce_plane(const PlaneView& source, const Grid& grid, const ReducedPlane& to, std::uint8_t* out,
                         ReduceWorkspace& work) {
  for (int y = 0; y < to.height; y += kLanes) {
    const int rows = std::min(kLanes, to.height - y);
    vertical_pass(source, grid, y, rows, work.vertical, work.lanes);
    for (int x = 0; x < to.width; x += kLanes) {
      const int count = std::min(kLanes, to.width - x);
      horizontal_pass(work.lanes.data(), 1, grid.cols, x, count, [&](int j) { return (j - x) * kLanes; }, work.tile);
      transpose_bytes(work.tile);
      store_tile(work.tile, rows, count, out + static_cast<std::ptrdiff_t>(y) * to.stride + x, to.stride);
    }
  }
}

void reduce(const ReduceSpec& spec, const FrameView& frames, int frame, std::uint8_t* out, ReduceWorkspace& work) {
  for (int c = 0; c < 3; ++c) {
    const ReducedPlane to = reduced_plane(spec, c);
    reduce_plane(plane(frames, frame, c), work.grid[c > 0], to, out + to.offset, work);
  }
}
