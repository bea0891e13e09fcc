// The description of decoded frames that a kernel gets: a pointer, a layout and sizes. Kernels do not include torch,
// DALI, pybind11 or Python.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)
#define VIDSSL_HD __host__ __device__
#else
#define VIDSSL_HD
#endif

namespace vidssl {

enum class Format : int {
  yuv420 = 0,  // uint8 [frames, 3 * rows / 2, cols]: Y [rows, cols], then U and V [rows / 2, cols / 2]; rows and cols
               // are even
  rgb = 1,     // uint8 [frames, rows, cols, 3]
};

// The decoded frames of one window, all of one size. The picture is the upper left height x width part of the stored
// rows x cols (a decoder may pad). The chroma picture of yuv420 has ceil(height / 2) x ceil(width / 2) samples. Its
// planes may lie anywhere: behind the luma plane (`pack`), or in the decoder's memory.
struct FrameView {
  const std::uint8_t* data;
  Format format;
  int frames;
  int rows, cols;
  int height, width;
  std::int64_t frame_stride;  // bytes from one frame to the next
  std::int64_t chroma[2];     // yuv420: bytes from a frame's Y to its U and its V
  int chroma_stride;          // yuv420: bytes from one line of U or V to the next
};

// U and V follow Y, as in Format::yuv420.
inline void pack(FrameView& view) {
  const std::int64_t luma = static_cast<std::int64_t>(view.rows) * view.cols;
  view.chroma[0] = luma;
  view.chroma[1] = luma + luma / 4;
  view.chroma_stride = view.cols / 2;
}

// One plane of one frame: sample (y, x) of channel c is data[y * row_stride + x * step], with data moved to channel c.
struct PlaneView {
  const std::uint8_t* data;
  int height, width;
  int row_stride, step;
};

// Channel 0, 1, 2 = Y, U, V or R, G, B of frame `index`.
VIDSSL_HD inline PlaneView plane(const FrameView& view, int index, int channel) {
  const std::uint8_t* frame = view.data + index * view.frame_stride;
  if (view.format == Format::rgb) return {frame + channel, view.height, view.width, 3 * view.cols, 3};
  if (channel == 0) return {frame, view.height, view.width, view.cols, 1};
  return {frame + view.chroma[channel - 1], (view.height + 1) / 2, (view.width + 1) / 2, view.chroma_stride, 1};
}

// With these limits the kernels' products fit into int32: 256 bytes of thumbnail per frame, 3 bytes per pixel of a
// line, and the pixels of a picture.
constexpr int kMaxFrames = (1 << 23) - 1, kMaxSide = (1 << 24) - 1, kMaxPixels = 0x7FFFFFFF;

VIDSSL_HD inline int ceil_div(int value, int by) { return (value + by - 1) / by; }

}  // namespace vidssl
