#include "reduce.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "check.h"
#include "filter_table.h"
#include "lanes.h"
#include "simd.h"

namespace vidssl {

struct ReduceWorkspace {
  Grid grid[2];                                                            // of luma, and of chroma
  std::vector<float> vertical, lanes;                                      // see vertical_pass
  alignas(64) std::uint8_t fours[kLanes * kLanes], tile[kLanes * kLanes];  // kLanes output columns, and as kLanes rows

  // Makes the grids of a sample.
  void prepare(const ReduceSpec& spec, const ReduceArgs& sample) {
    const FrameView& view = sample.frames;
    for (const bool chroma : {false, true}) {
      const ReducedPlane to = reduced_plane(spec, chroma);
      grid[chroma].rows.make(reduce_axis(view.height, spec.height, chroma, sample.chroma_y), to.height);
      grid[chroma].cols.make(reduce_axis(view.width, spec.width, chroma, sample.chroma_x), to.width);
    }
  }
};

namespace {

namespace plain {
using namespace vidssl::plain;  // NOLINT
#include "resample_body.h"
//
#include "reduce_body.h"
}  // namespace plain

#if defined(__x86_64__)
VIDSSL_TARGET(VIDSSL_AVX2)
namespace avx2 {
using namespace vidssl::avx2;  // NOLINT
#include "resample_body.h"
//
#include "reduce_body.h"
}  // namespace avx2
VIDSSL_TARGET_END

VIDSSL_TARGET(VIDSSL_AVX512)
namespace avx512 {
using namespace vidssl::avx512;  // NOLINT
#include "resample_body.h"
//
#include "reduce_body.h"
}  // namespace avx512
VIDSSL_TARGET_END
#endif

using Body = void (*)(const ReduceSpec&, const FrameView&, int frame, std::uint8_t* out, ReduceWorkspace&);

Body chosen() {
#if defined(__x86_64__)
  constexpr Body kBodies[] = {plain::reduce, avx2::reduce, avx512::reduce};
#else
  constexpr Body kBodies[] = {plain::reduce};
#endif
  return kBodies[static_cast<int>(simd())];
}

void repeat_edges(const ReduceSpec& spec, std::uint8_t* luma) {
  const int stride = even(spec.width);
  if (spec.width % 2 != 0)
    for (int y = 0; y < spec.height; ++y) luma[y * stride + spec.width] = luma[y * stride + spec.width - 1];
  if (spec.height % 2 != 0) std::copy_n(luma + (spec.height - 1) * stride, stride, luma + spec.height * stride);
}

void reduce_frame(const ReduceSpec& spec, const FrameView& view, int frame, std::uint8_t* out, ReduceWorkspace& work) {
  static const Body body = chosen();
  body(spec, view, frame, out, work);
  repeat_edges(spec, out);
}

}  // namespace

void reduce_cpu(const ReduceSpec& spec, const ReduceArgs* samples, int count) {
  thread_local ReduceWorkspace work;
  for (int i = 0; i < count; ++i) {
    const ReduceArgs& sample = samples[i];
    work.prepare(spec, sample);
    for (int f = 0; f < sample.frames.frames; ++f)
      reduce_frame(spec, sample.frames, f, sample.out + f * reduced_bytes(spec), work);
  }
}

FrameReducer::FrameReducer(const ReduceSpec& spec, const ReduceArgs& sample)
    : spec_(spec), out_(sample.out), work_(std::make_unique<ReduceWorkspace>()) {
  work_->prepare(spec, sample);
}

FrameReducer::~FrameReducer() = default;

void FrameReducer::reduce(const FrameView& frame, int position) {
  const std::lock_guard lock(busy_);
  reduce_frame(spec_, frame, 0, out_ + position * reduced_bytes(spec_), *work_);
}

}  // namespace vidssl
