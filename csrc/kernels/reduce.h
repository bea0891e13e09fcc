// reduce: resizes decoded frames once, to the size that a store keeps.
//
// Each plane of yuv420 is sampled with the antialiased triangle filter of assemble.h over the whole picture: output
// luma row i is centred on luma coordinate (i + 1/2) * height / H. The chroma of the output lies between its luma
// samples (chroma_y = chroma_x = 0.5), so output chroma row i is centred on luma coordinate (2 i + 1) * height / H,
// wherever the chroma of the source lies. Values are rounded half to even and clamped to 0..255. Both twins do the same
// float32 operations in the same order, so they give the same bits.
//
// The output is Format::yuv420 with even stored rows and columns. If H or W is odd, the last luma row or column is
// repeated; chroma has ceil(H / 2) x ceil(W / 2) samples.
#pragma once

#include <memory>
#include <mutex>

#include "filter.h"
#include "view.h"

namespace vidssl {

struct ReduceArgs {
  FrameView frames;          // yuv420
  float chroma_x, chroma_y;  // see ColorSpace
  std::uint8_t* out;         // [frames, reduced_bytes]
};

struct ReduceSpec {
  int height, width;  // H, W
};

VIDSSL_HD inline int even(int length) { return length + length % 2; }

// Bytes of one reduced frame.
VIDSSL_HD inline std::int64_t reduced_bytes(const ReduceSpec& spec) {
  return static_cast<std::int64_t>(even(spec.height)) * even(spec.width) / 2 * 3;
}

// Plane 0, 1, 2 = Y, U, V of one reduced frame: its samples, its first byte in the frame, and the bytes of a line.
struct ReducedPlane {
  int height, width;
  std::int64_t offset;
  int stride;
};
VIDSSL_HD inline ReducedPlane reduced_plane(const ReduceSpec& spec, int plane) {
  if (plane == 0) return {spec.height, spec.width, 0, even(spec.width)};
  const std::int64_t luma = static_cast<std::int64_t>(even(spec.height)) * even(spec.width);
  return {even(spec.height) / 2, even(spec.width) / 2, plane == 1 ? luma : luma + luma / 4, even(spec.width) / 2};
}

// The filter of one axis of a plane: `from` luma samples of the picture become `to`. chroma: its position along the
// axis, if the plane is chroma.
VIDSSL_HD inline Axis reduce_axis(int from, int to, bool is_chroma, float chroma) {
  const float scale = static_cast<float>(from) / static_cast<float>(to), radius = scale > 1.0f ? scale : 1.0f;
  if (!is_chroma) return {0.0f, scale, radius, from};
  return {(0.5f - chroma) * 0.5f, scale, radius, (from + 1) / 2};
}

void reduce_cpu(const ReduceSpec& spec, const ReduceArgs* samples, int count);

struct ReduceWorkspace;

// reduce_cpu for one sample, frame by frame: each frame is read right after it is decoded, while it is in a cache.
class FrameReducer {
 public:
  // Of `sample.frames`, the size of the picture is used. The memory of `sample.out` must outlive this object.
  FrameReducer(const ReduceSpec& spec, const ReduceArgs& sample);
  FrameReducer(const FrameReducer&) = delete;
  ~FrameReducer();
  // Writes `frame`, a view of one frame, to `sample.out[position]`. A lock makes calls from several threads safe.
  void reduce(const FrameView& frame, int position);

 private:
  ReduceSpec spec_;
  std::uint8_t* out_;
  std::unique_ptr<ReduceWorkspace> work_;
  std::mutex busy_;
};

// `samples` is host memory, and its pointers are device memory.
void reduce_cuda(const ReduceSpec& spec, const ReduceArgs* samples, int count, void* stream);

}  // namespace vidssl
