#include <algorithm>
#include <cstdlib>

#include "motion.h"

namespace vidssl {
namespace {

void frame_sad(const FrameView& view, int f, std::uint32_t* sad) {
  const int cells_x = motion_cells(view.width);
  const std::uint8_t* before = view.data + f * view.frame_stride;
  const std::uint8_t* after = before + view.frame_stride;
  std::fill(sad, sad + static_cast<std::ptrdiff_t>(motion_cells(view.height)) * cells_x, 0u);
  for (int y = 0; y < view.height; y += kMotionStep) {
    std::uint32_t* row = sad + static_cast<std::ptrdiff_t>(y / kMotionCell) * cells_x;
    for (int x = 0; x < view.width; x += kMotionStep) {
      row[x / kMotionCell] += static_cast<std::uint32_t>(std::abs(luma_at(view, after, y, x) - luma_at(view, before, y, x)));
    }
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
        for (int x = cols.first; x < cols.last; x += cols.step, ++count) sum += static_cast<std::uint32_t>(luma_at(view, frame, y, x));
      thumb[i * kThumb + j] = static_cast<std::uint8_t>((sum + count / 2) / count);
    }
  }
}

}  // namespace

void motion_cpu(const MotionArgs* samples, int count) {
  for (int i = 0; i < count; ++i) {
    const FrameView& view = samples[i].frames;
    const std::ptrdiff_t cells = static_cast<std::ptrdiff_t>(motion_cells(view.height)) * motion_cells(view.width);
    for (int f = 0; f < view.frames; ++f) {
      if (f + 1 < view.frames) frame_sad(view, f, samples[i].sad + f * cells);
      frame_thumb(view, f, samples[i].thumb + f * kThumb * kThumb);
    }
  }
}

}  // namespace vidssl
