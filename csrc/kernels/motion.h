// motion: measures how much each 16 x 16 cell of the picture changes from frame to frame, and makes a thumbnail of each
// frame.
//
// It uses only integers, so that both twins give the same bits:
//   luma   the stored Y plane; for RGB 16 + ((66 R + 129 G + 25 B + 128) >> 8), BT.601 in limited range. If a decoder
//          made the RGB with that matrix, this returns its Y plane, up to rounding.
//   sad    sad[f], f in 0 .. F-2, holds for each 16 x 16 cell the sum over its 4 x 4 blocks of the absolute difference
//          between the block's luma sum in frame f + 1 and in frame f. Blocks respond to motion, and less than single
//          samples to the noise that each key frame of an encoder adds.
//   thumb  16 x 16 cells tile the picture: cell i covers rows [i*H/16, max(i*H/16 + 1, (i+1)*H/16)), and columns
//          likewise. A value is the mean luma of every max(1, H/64)-th row and max(1, W/64)-th column of the cell,
//          starting at its corner; halves are rounded up.
#pragma once

#include "view.h"

namespace vidssl {

constexpr int kMotionCell = 16, kMotionBlock = 4, kThumb = 16;

struct MotionArgs {
  FrameView frames;
  std::uint32_t* sad;   // [frames - 1, ceil(height / 16), ceil(width / 16)]
  std::uint8_t* thumb;  // [frames, 16, 16]
};

VIDSSL_HD inline int motion_cells(int pixels) { return ceil_div(pixels, kMotionCell); }

VIDSSL_HD inline int luma_at(const FrameView& view, const std::uint8_t* frame, int y, int x) {
  if (view.format == Format::yuv420) return frame[static_cast<std::int64_t>(y) * view.cols + x];
  const std::uint8_t* p = frame + (static_cast<std::int64_t>(y) * view.cols + x) * 3;
  return 16 + ((66 * p[0] + 129 * p[1] + 25 * p[2] + 128) >> 8);
}

// For a picture of `pixels` rows (or columns): the first row of thumbnail cell i, one past its last row, and the step
// between its samples.
struct ThumbCell {
  int first, last, step;
};
VIDSSL_HD inline ThumbCell thumb_cell(int i, int pixels) {
  const int first = static_cast<int>(static_cast<std::int64_t>(i) * pixels / kThumb);
  const int next = static_cast<int>(static_cast<std::int64_t>(i + 1) * pixels / kThumb);
  return {first, next > first ? next : first + 1, pixels >= 128 ? pixels / 64 : 1};
}

void motion_cpu(const MotionArgs* samples, int count);
void motion_cuda(const MotionArgs* samples, int count,
                 void* stream);  // `samples` is host memory, and its pointers are device memory

// The same for frames that are never in memory together, as in a scan of a file. Returns the sum of `sad` over all
// cells for the step from the frame whose block sums `sums` holds to the frame `luma`, and puts that frame's into
// `sums`.
//   luma  [height, width], with `stride` bytes from one line to the next
//   sums  [ceil(height / 4), ceil(width / 4)]
std::uint64_t luma_change_cpu(const std::uint8_t* luma, std::ptrdiff_t stride, int height, int width,
                              std::uint16_t* sums);

}  // namespace vidssl
