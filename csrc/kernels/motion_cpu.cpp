#include <algorithm>
#include <cstdlib>
#include <vector>

#include "motion.h"

namespace vidssl {
namespace {

// Sums the luma of each block of a frame: sums [ceil(height / 4), ceil(width / 4)]. column: scratch
// [ceil(width / 4) * 4].
void block_sums(const FrameView& view, int f, std::vector<std::uint16_t>& column, std::uint16_t* sums) {
  const std::uint8_t* frame = view.data + f * view.frame_stride;
  const int cols = ceil_div(view.width, kMotionBlock);
  for (int top = 0; top < view.height; top += kMotionBlock, sums += cols) {
    std::fill(column.begin(), column.end(), std::uint16_t{0});
    for (int y = top; y < std::min(top + kMotionBlock, view.height); ++y) {
      if (view.format == Format::yuv420) {
        const std::uint8_t* row = frame + static_cast<std::ptrdiff_t>(y) * view.cols;
        for (int x = 0; x < view.width; ++x) column[x] = static_cast<std::uint16_t>(column[x] + row[x]);
      } else {
        for (int x = 0; x < view.width; ++x)
          column[x] = static_cast<std::uint16_t>(column[x] + luma_at(view, frame, y, x));
      }
    }
    const std::uint16_t* c = column.data();
    for (int b = 0; b < cols; ++b)
      sums[b] = static_cast<std::uint16_t>(c[4 * b] + c[4 * b + 1] + c[4 * b + 2] + c[4 * b + 3]);
  }
}

void cell_sad(const FrameView& view, const std::uint16_t* before, const std::uint16_t* after, std::uint32_t* sad) {
  constexpr int kBlocks = kMotionCell / kMotionBlock;
  const int cells_x = motion_cells(view.width), cols = ceil_div(view.width, kMotionBlock),
            rows = ceil_div(view.height, kMotionBlock);
  std::fill(sad, sad + static_cast<std::ptrdiff_t>(motion_cells(view.height)) * cells_x, 0u);
  for (int y = 0; y < rows; ++y) {
    std::uint32_t* row = sad + static_cast<std::ptrdiff_t>(y / kBlocks) * cells_x;
    for (int x = 0; x < cols; ++x, ++before, ++after)
      row[x / kBlocks] += static_cast<std::uint32_t>(std::abs(*after - *before));
  }
}

void frame_thumb(const FrameView& view, int f, std::uint8_t* thumb) {
  const std::uint8_t* frame = view.data + f * view.frame_stride;
  for (int i = 0; i < kThumb; ++i) {
    const ThumbCell rows = thumb_cell(i, view.height);
    for (int j = 0; j < kThumb; ++j) {
      const ThumbCell cols = thumb_cell(j, view.width);
      std::uint32_t sum = 0, count = 0;
      for (int y = rows.first; y < rows.last; y += rows.step)
        for (int x = cols.first; x < cols.last; x += cols.step, ++count)
          sum += static_cast<std::uint32_t>(luma_at(view, frame, y, x));
      thumb[i * kThumb + j] = static_cast<std::uint8_t>((sum + count / 2) / count);
    }
  }
}

}  // namespace

void motion_cpu(const MotionArgs* samples, int count) {
  for (int i = 0; i < count; ++i) {
    const FrameView& view = samples[i].frames;
    const std::ptrdiff_t cells = static_cast<std::ptrdiff_t>(motion_cells(view.height)) * motion_cells(view.width);
    const std::size_t blocks =
        static_cast<std::size_t>(ceil_div(view.height, kMotionBlock)) * ceil_div(view.width, kMotionBlock);
    std::vector<std::uint16_t> column(static_cast<std::size_t>(ceil_div(view.width, kMotionBlock)) * kMotionBlock),
        before(blocks), now(blocks);
    for (int f = 0; f < view.frames; ++f) {
      block_sums(view, f, column, now.data());
      if (f > 0) cell_sad(view, before.data(), now.data(), samples[i].sad + (f - 1) * cells);
      before.swap(now);
      frame_thumb(view, f, samples[i].thumb + f * kThumb * kThumb);
    }
  }
}

}  // namespace vidssl
