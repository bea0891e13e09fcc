#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "assemble.h"
#include "assemble_grid.h"
#include "check.h"
#include "filter.h"
#include "lanes.h"
#include "simd.h"

namespace vidssl {

constexpr float kMaxBox = 1 << 28;  // a filter's ends are whole numbers below 2^31

bool ColumnTiles::make(const AxisTable& cols, bool mirror) {
  const int width = static_cast<int>(cols.first.size()), tiles = ceil_div(width, kLanes);
  if (width < kLanes || cols.taps > kTaps) return false;
  for (int j = 1; j < width; ++j)
    if (const int apart = cols.first[j] - cols.first[j - 1]; apart < 0 || apart > 1) return false;
  base.clear(), index.clear(), weight.clear();
  for (int tile = 0; tile < tiles; ++tile) {
    const int x = std::min(tile * kLanes, width - kLanes);
    const auto column = [&](int i) { return mirror ? width - 1 - x - i : x + i; };
    const int low = cols.first[std::min(column(0), column(kLanes - 1))];
    base.push_back(low - cols.low);
    for (int i = 0; i < kLanes; ++i) index.push_back(cols.first[column(i)] - low);
    for (int t = 0; t < kTaps; ++t)
      for (int i = 0; i < kLanes; ++i) weight.push_back(t < cols.taps ? cols.weights(column(i))[t] : 0.0f);
  }
  return true;
}

void make_grids(const AssembleSpec& spec, const AssembleArgs& args, const float* box, Workspace& work) {
  if (work.made && std::equal(box, box + 4, work.box)) return;
  work.made = work.tiled = false;  // until all grids are made
  const FrameView& view = args.frames;
  work.grid[0].rows.make(make_axis(box[1], box[3], spec.height, view.height), spec.height);
  work.grid[0].cols.make(make_axis(box[0], box[2], spec.width, view.width), spec.width);
  if (view.format == Format::yuv420) {
    const Axis rows = make_chroma_axis(box[1], box[3], spec.height, (view.height + 1) / 2, args.space.chroma_y);
    const Axis cols = make_chroma_axis(box[0], box[2], spec.width, (view.width + 1) / 2, args.space.chroma_x);
    work.grid[1].rows.make(rows, spec.height);
    work.grid[1].cols.make(cols, spec.width);
  }
  std::copy(box, box + 4, work.box);
  work.made = true;
}

bool make_tiles(const AssembleSpec& spec, const AssembleArgs& args, bool mirror, Workspace& work) {
  if (args.frames.format != Format::yuv420 || spec.layout != Layout::kcthw) return false;
  if (!work.tiled || work.mirror != mirror) {
    work.by_rows = work.tiles[0].make(work.grid[0].cols, mirror) && work.tiles[1].make(work.grid[1].cols, mirror);
    work.tiled = true, work.mirror = mirror;
  }
  return work.by_rows;
}

Known known_zeros(const float* to_rgb, const float* color) {
  Known known{to_rgb[1] == 0.0f && to_rgb[10] == 0.0f, true};
  for (int c = 0; c < 3; ++c)
    for (int other = 0; other < 3; ++other) {
      const float factor = color[c * 4 + other];
      known.diagonal = known.diagonal && (other == c ? factor > 0.0f : factor == 0.0f);
    }
  return known;
}

namespace plain {
#include "resample_body.h"
//
#include "assemble_body.h"
}  // namespace plain

#if defined(__x86_64__)
VIDSSL_TARGET(VIDSSL_AVX2)
namespace avx2 {
#include "resample_body.h"
//
#include "assemble_body.h"
}  // namespace avx2
VIDSSL_TARGET_END

VIDSSL_TARGET(VIDSSL_AVX512)
namespace avx512 {
#include "resample_body.h"
//
#include "assemble_body.h"
}  // namespace avx512
VIDSSL_TARGET_END
#endif

namespace {

using Body = void (*)(const AssembleSpec&, const AssembleArgs&, int first, int last, Workspace&);

Body chosen() {
#if defined(__x86_64__)
  constexpr Body kBodies[] = {plain::assemble, avx2::assemble, avx512::assemble};
#else
  constexpr Body kBodies[] = {plain::assemble};
#endif
  return kBodies[static_cast<int>(simd())];
}

}  // namespace

void check_plan(const AssembleSpec& spec, const AssembleArgs& args, int frames) {
  const auto need_finite = [](const char* name, const float* values, int count) {
    for (int i = 0; i < count; ++i)
      if (!std::isfinite(values[i])) fail(name, "=", values[i], ": take finite numbers");
  };
  need_finite("to_rgb", args.space.to_rgb, 12);
  need_finite("chroma", &args.space.chroma_x, 1);
  need_finite("chroma", &args.space.chroma_y, 1);
  const int shown = spec.slots * spec.times;
  for (int at = 0; at < shown; ++at) {
    check(args.frame[at] >= 0 && args.frame[at] < frames, "frame=", args.frame[at], ": take positions in 0..",
          frames - 1);
    const float* box = args.box + at * 4;
    bool good = box[2] > 0.0f && box[3] > 0.0f;
    for (int i = 0; i < 4; ++i) good = good && std::fabs(box[i]) <= kMaxBox;
    if (!good)
      fail("box=(", box[0], ", ", box[1], ", ", box[2], ", ", box[3],
           "): take x, y, w > 0 and h > 0 in pixels, at most ", kMaxBox, " each");
  }
  need_finite("color", args.color, 12 * shown);
}

void assemble_cpu(const AssembleSpec& spec, const AssembleArgs* samples, int count) {
  const Body body = chosen();
  thread_local Workspace work;
  thread_local std::vector<std::int32_t>
      positions;  // a copy, because another thread may write to the plan after the check
  for (int i = 0; i < count; ++i) {
    AssembleArgs args = samples[i];
    positions.assign(args.frame, args.frame + spec.slots * spec.times);
    args.frame = positions.data();
    check_plan(spec, args, args.frames.frames);
    work.made = false;
    body(spec, args, 0, spec.slots * spec.times, work);
  }
}

FrameAssembler::FrameAssembler(const AssembleSpec& spec, const AssembleArgs& plan)
    : spec_(spec), args_(plan), work_(std::make_unique<Workspace>()) {
  check_plan(spec, plan, std::numeric_limits<int>::max());  // the number of frames is not known yet
}
FrameAssembler::~FrameAssembler() = default;

void FrameAssembler::show(const FrameView& frame, int position) {
  const std::lock_guard<std::mutex> alone(busy_);
  const FrameView& before = args_.frames;
  if (frame.height != before.height || frame.width != before.width) work_->made = false;
  args_.frames = frame;
  args_.frames.frame_stride = 0;  // every position refers to this frame
  for (int at = 0; at < spec_.slots * spec_.times; ++at)
    if (args_.frame[at] == position) chosen()(spec_, args_, at, at + 1, *work_);
}

}  // namespace vidssl
