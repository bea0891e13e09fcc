// assemble: gather + resize + crop + flip + colour + normalise + permute in one pass from the decoder's planes to the
// encoder's input.
//
// For slot k and time t, with b = box[k][t] in pixels of frame[k][t]: output row i samples the picture around
// y = b.y + (i + 1/2) * b.h / H with the antialiased triangle filter of
// `torch.nn.functional.interpolate(mode="bilinear", antialias=True)` (radius max(1, b.h / H), taps outside the picture
// dropped, weights normalised). Columns are sampled likewise, and each plane of yuv420 on its own grid. Then follow
// to_rgb, a clamp to [0, 255], and the affine map color[k][t]. Both twins do the same float32 operations in the same
// order (vertical before horizontal, taps ascending, fmaf), so they give the same bits.
#pragma once

#include <memory>
#include <mutex>

#include "view.h"

namespace vidssl {

enum class DType : int { float32 = 0, float16 = 1, bfloat16 = 2, uint8 = 3 };  // uint8: rounded half to even, clamped
enum class Layout : int { kcthw = 0, kthwc = 1 };  // [K, C, T, H, W] or channels-last [K, T, H, W, C]

// The conversion of planes to RGB. `to_rgb` [3, 4] maps (Y, U, V, 1) in 0..255 to RGB in 0..255. For Format::rgb it
// maps the stored (R, G, B, 1); it is then the identity, unless the decoder used another matrix than the video's.
// Chroma sample (i, j) lies at luma sample (2 i + chroma_y, 2 j + chroma_x): 0 = on the even one, 0.5 = between, 1 = on
// the odd one.
struct ColorSpace {
  float to_rgb[12];
  float chroma_x, chroma_y;
};

struct AssembleArgs {
  FrameView frames;
  ColorSpace space;
  const std::int32_t* frame;  // [slots, times] positions in `frames`
  const float* box;           // [slots, times, 4] x, y, w, h
  const std::uint8_t* flip;   // [slots]
  const float* color;         // [slots, times, 3, 4]
  void* out;
};

struct AssembleSpec {
  int slots, times, height, width;  // of the output; three channels
  DType dtype;
  Layout layout;
  bool stream;  // CPU: writes past the caches; faster if `out` was used before, slower if it is new memory
};

inline std::size_t assemble_bytes(const AssembleSpec& spec) {
  const std::size_t item = spec.dtype == DType::float32 ? 4 : spec.dtype == DType::uint8 ? 1 : 2;
  return item * 3 * spec.slots * spec.times * spec.height * spec.width;
}

// Raises if a plan in host memory holds a position outside 0 .. frames - 1, an invalid box or colours that are not
// finite.
void check_plan(const AssembleSpec& spec, const AssembleArgs& args, int frames);

void assemble_cpu(const AssembleSpec& spec, const AssembleArgs* samples, int count);

struct Workspace;

// assemble_cpu for one sample, frame by frame: each frame is read right after it is decoded, while it is in a cache.
class FrameAssembler {
 public:
  // `plan` has no frames yet. The memory that it points to must outlive this object.
  FrameAssembler(const AssembleSpec& spec, const AssembleArgs& plan);
  FrameAssembler(const FrameAssembler&) = delete;
  ~FrameAssembler();
  // Writes `frame`, a view of one frame, to all pictures that show `position`. A lock makes calls from several threads
  // safe.
  void show(const FrameView& frame, int position);

 private:
  AssembleSpec spec_;
  AssembleArgs args_;
  std::unique_ptr<Workspace> work_;
  std::mutex busy_;
};

// `samples` is host memory, and its pointers are device memory. A frame position outside the window is clamped, because
// a kernel cannot raise an error.
void assemble_cuda(const AssembleSpec& spec, const AssembleArgs* samples, int count, void* stream);

}  // namespace vidssl
