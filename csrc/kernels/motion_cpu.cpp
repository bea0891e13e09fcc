#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "motion.h"

namespace vidssl {
namespace {

// Sums the luma of each block of `Lines` lines: sums [ceil(width / 4)]. Two blocks lie in the 8 bytes of a uint64,
// whose first byte is the lowest (little-endian), as on all machines that vidssl is built for.
template <int Lines>
void block_line(const std::uint8_t* luma, std::ptrdiff_t stride, int width, std::uint16_t* sums) {
  constexpr std::uint64_t kBytes = 0x00FF00FF00FF00FF, kPairs = 0x0000FFFF0000FFFF;
  const int pairs = width / (2 * kMotionBlock);
  for (int p = 0; p < pairs; ++p) {
    std::uint64_t sum = 0;  // four sums of 2 x Lines samples
    for (int y = 0; y < Lines; ++y) {
      std::uint64_t eight;
      std::memcpy(&eight, luma + y * stride + p * 2 * kMotionBlock, sizeof eight);
      sum += (eight & kBytes) + (eight >> 8 & kBytes);
    }
    sum = (sum & kPairs) + (sum >> 16 & kPairs);
    sums[2 * p] = static_cast<std::uint16_t>(sum);
    sums[2 * p + 1] = static_cast<std::uint16_t>(sum >> 32);
  }
  for (int b = 2 * pairs; b < ceil_div(width, kMotionBlock); ++b) {
    int sum = 0;
    for (int y = 0; y < Lines; ++y)
      for (int x = b * kMotionBlock; x < std::min((b + 1) * kMotionBlock, width); ++x) sum += luma[y * stride + x];
    sums[b] = static_cast<std::uint16_t>(sum);
  }
}

// Sums the luma of each block of a plane: sums [ceil(height / 4), ceil(width / 4)].
void plane_sums(const std::uint8_t* luma, std::ptrdiff_t stride, int height, int width, std::uint16_t* sums) {
  const int cols = ceil_div(width, kMotionBlock);
  for (int top = 0; top < height; top += kMotionBlock, sums += cols, luma += kMotionBlock * stride) {
    switch (height - top) {
      case 1:
        block_line<1>(luma, stride, width, sums);
        break;
      case 2:
        block_line<2>(luma, stride, width, sums);
        break;
      case 3:
        block_line<3>(luma, stride, width, sums);
        break;
      default:
        block_line<kMotionBlock>(luma, stride, width, sums);
    }
  }
}

// Sums the luma of each block of a frame: sums [ceil(height / 4), ceil(width / 4)]. column: scratch
// [ceil(width / 4) * 4].
void block_sums(const FrameView& view, int f, std::vector<std::uint16_t>& column, std::uint16_t* sums) {
  const std::uint8_t* frame = view.data + f * view.frame_stride;
  if (view.format == Format::yuv420) return plane_sums(frame, view.cols, view.height, view.width, sums);
  const int cols = ceil_div(view.width, kMotionBlock);
  for (int top = 0; top < view.height; top += kMotionBlock, sums += cols) {
    std::fill(column.begin(), column.end(), std::uint16_t{0});
    for (int y = top; y < std::min(top + kMotionBlock, view.height); ++y)
      for (int x = 0; x < view.width; ++x)
        column[x] = static_cast<std::uint16_t>(column[x] + luma_at(view, frame, y, x));
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

std::uint64_t luma_change_cpu(const std::uint8_t* luma, std::ptrdiff_t stride, int height, int width,
                              std::uint16_t* sums) {
  const int cols = ceil_div(width, kMotionBlock);
  std::vector<std::uint16_t> line(static_cast<std::size_t>(cols));
  std::uint64_t total = 0;
  for (int top = 0; top < height; top += kMotionBlock, sums += cols, luma += kMotionBlock * stride) {
    plane_sums(luma, stride, std::min(height - top, kMotionBlock), width, line.data());
    std::uint32_t change = 0;
    for (int b = 0; b < cols; ++b) {
      change += static_cast<std::uint32_t>(std::abs(line[b] - sums[b]));
      sums[b] = line[b];
    }
    total += change;
  }
  return total;
}

}  // namespace vidssl
