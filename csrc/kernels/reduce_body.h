// The body of reduce_cpu. It has no include guard: reduce_cpu.cpp includes it, after resample_body.h, once for each
// namespace of lanes.h.

// Stores rows [y, y + rows) and up to kLanes columns from x on of a plane. turned: [kLanes, kLanes], rows of floats.
inline void store_bytes(const float* turned, int rows, int count, std::uint8_t* out, int stride) {
  for (int r = 0; r < rows; ++r, out += stride) {
    const Lanes run = load(turned + r * kLanes);
    if (count == kLanes) {
      store(out, run);
    } else {
      std::uint8_t part[kLanes];
      store(part, run);
      std::memcpy(out, part, static_cast<std::size_t>(count));
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
      transpose(work.tile, kLanes, work.turned);
      store_bytes(work.turned, rows, count, out + static_cast<std::ptrdiff_t>(y) * to.stride + x, to.stride);
    }
  }
}

void reduce(const ReduceSpec& spec, const FrameView& frames, int frame, std::uint8_t* out, ReduceWorkspace& work) {
  for (int c = 0; c < 3; ++c) {
    const ReducedPlane to = reduced_plane(spec, c);
    reduce_plane(plane(frames, frame, c), work.grid[c > 0], to, out + to.offset, work);
  }
}
