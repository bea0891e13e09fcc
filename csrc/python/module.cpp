// Face 1: the pybind11 module `vidssl._native`. It takes DLPack arrays, checks them and calls a twin, which writes to
// the output arrays. It computes nothing itself. (long because it is the face of every kernel)
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cmath>
#include <exception>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../kernels/assemble.h"
#include "../kernels/check.h"
#include "../kernels/crc.h"
#include "../kernels/motion.h"
#include "../kernels/parallel.h"
#include "../kernels/plan.h"
#include "../kernels/reduce.h"
#include "../kernels/simd.h"
#include "../kernels/spec.h"
#include "dlpack.h"
#include "gil.h"
#include "plane.h"

namespace py = pybind11;

namespace vidssl {
namespace {

// Checks the argument `frames` and the picture's size, and returns a view.
FrameView frame_view(const Borrowed& frames, std::int64_t height, std::int64_t width) {
  FrameView view{};
  if (frames.ndim() == 4) {
    frames.expect("uint8", {-1, -1, -1, 3}, false, true);
    view.format = Format::rgb;
  } else {
    if (frames.ndim() != 3)
      fail(frames.describe(), ": it must be uint8 [F, 3 * rows / 2, cols] (YUV 4:2:0) or [F, H, W, 3] (RGB)");
    frames.expect("uint8", {-1, -1, -1}, false, true);
    if (frames.size(1) % 3 != 0 || frames.size(2) % 2 != 0)
      fail(frames.describe(), ": planar YUV 4:2:0 must have 3 * rows / 2 lines and even rows and cols");
    view.format = Format::yuv420;
  }
  const std::int64_t rows = view.format == Format::rgb ? frames.size(1) : frames.size(1) / 3 * 2;
  check_stored("frames", frames.size(0), rows, frames.size(2));
  view.rows = static_cast<int>(rows);
  view.cols = static_cast<int>(frames.size(2));
  view.frames = static_cast<int>(frames.size(0));
  view.data = frames.data<const std::uint8_t>();
  view.frame_stride = frames.stride(0);
  check(height > 0 && height <= view.rows && width > 0 && width <= view.cols, "size=(", height, ", ", width,
        "): the picture must lie within the stored ", view.rows, " x ", view.cols);
  view.height = static_cast<int>(height);
  view.width = static_cast<int>(width);
  if (view.format == Format::yuv420) pack(view);
  return view;
}

void same_device(const Borrowed& first, const Borrowed& other) {
  if (first.on_cuda() != other.on_cuda() || (first.on_cuda() && first.device_id() != other.device_id()))
    fail(other.describe(), ", but ", first.describe(), ": move them to one device");
}

void motion(py::handle frames, std::int64_t height, std::int64_t width, py::handle sad, py::handle thumb,
            std::intptr_t stream) {
  const Borrowed source(frames, "frames", stream), sad_out(sad, "sad", stream), thumb_out(thumb, "thumb", stream);
  const FrameView view = frame_view(source, height, width);
  const std::int64_t steps = view.frames > 0 ? view.frames - 1 : 0;
  sad_out.expect("uint32", {steps, motion_cells(view.height), motion_cells(view.width)}, true);
  thumb_out.expect("uint8", {view.frames, kThumb, kThumb}, true);
  same_device(source, sad_out);
  same_device(source, thumb_out);
  sad_out.expect_apart(source);
  thumb_out.expect_apart(source);
  thumb_out.expect_apart(sad_out);
  const MotionArgs args{view, sad_out.data<std::uint32_t>(), thumb_out.data<std::uint8_t>()};
  const WithoutLock unlocked;
  if (source.on_cuda()) {
    motion_cuda(&args, 1, reinterpret_cast<void*>(stream));
  } else {
    motion_cpu(&args, 1);
  }
}

ReduceSpec reduce_spec(std::int64_t height, std::int64_t width, const std::array<float, 2>& chroma) {
  check_picture("to", height, width);
  for (const float at : chroma) check(std::isfinite(at), "chroma=", at, ": take finite numbers");
  return {static_cast<int>(height), static_cast<int>(width)};
}

void reduce(py::handle frames, std::int64_t height, std::int64_t width, const std::array<float, 2>& chroma,
            std::int64_t to_height, std::int64_t to_width, py::handle out, std::intptr_t stream) {
  const Borrowed source(frames, "frames", stream), target(out, "out", stream);
  const FrameView view = frame_view(source, height, width);
  if (view.format != Format::yuv420) fail(source.describe(), ": reduce takes planar YUV 4:2:0; pass decoded frames");
  const ReduceSpec spec = reduce_spec(to_height, to_width, chroma);
  target.expect("uint8", {view.frames, even(spec.height) / 2 * 3, even(spec.width)}, true);
  same_device(source, target);
  target.expect_apart(source);
  const ReduceArgs args{view, chroma[0], chroma[1], target.data<std::uint8_t>()};
  const WithoutLock unlocked;
  if (source.on_cuda()) {
    reduce_cuda(spec, &args, 1, reinterpret_cast<void*>(stream));
  } else {
    reduce_cpu(spec, &args, 1);
  }
}

std::uint64_t luma_change(py::handle luma, py::handle sums) {
  const Borrowed source(luma, "luma", 0), sums_out(sums, "sums", 0);
  source.expect("uint8", {-1, -1}, false, true);
  check_stored("luma", 1, source.size(0), source.size(1));
  const int height = static_cast<int>(source.size(0)), width = static_cast<int>(source.size(1));
  sums_out.expect("uint16", {ceil_div(height, kMotionBlock), ceil_div(width, kMotionBlock)}, true);
  sums_out.expect_apart(source);
  if (source.on_cuda() || sums_out.on_cuda()) fail(source.describe(), ": luma_change takes arrays in host memory");
  const WithoutLock unlocked;
  return luma_change_cpu(source.data<const std::uint8_t>(), source.stride(0), height, width,
                         sums_out.data<std::uint16_t>());
}

// The spec of a text, kept for the next call: a loader uses the same spec for each window.
PlanSpec spec_of(const std::string& text) {
  static thread_local std::pair<std::string, PlanSpec> parsed;
  if (parsed.first != text) parsed = {text, parse_spec(text)};
  return parsed.second;
}

void plan(const std::string& spec_text, py::handle arrangements, py::handle labels, std::int64_t frames,
          std::int64_t height, std::int64_t width, py::object sad, py::object thumb, py::object scratch,
          std::uint64_t seed, std::uint32_t epoch, std::uint64_t sample, bool train, py::handle frame, py::handle box,
          py::handle flip, py::handle color, py::handle label, py::handle status, std::intptr_t stream) {
  PlanSpec spec = spec_of(spec_text);
  const std::int64_t k = spec.slots, t = spec.times;
  check_window(spec, frames, height, width);
  PlanArgs args{};
  args.frames = static_cast<int>(frames), args.height = static_cast<int>(height), args.width = static_cast<int>(width);
  std::vector<Borrowed> kept;
  std::vector<std::size_t> written;  // indices of the outputs
  const auto take = [&](py::handle array, const char* name, const char* type, std::vector<std::int64_t> shape,
                        bool writes) -> Borrowed& {
    kept.emplace_back(array, name, stream);
    kept.back().expect(type, shape, writes);
    same_device(kept.front(), kept.back());
    if (writes) written.push_back(kept.size() - 1);
    return kept.back();
  };
  kept.reserve(11);
  written.reserve(7);
  spec.arrangements =
      take(arrangements, "arrangements", "int32", {spec.arrangement_count, k, t}, false).data<const std::int32_t>();
  spec.labels = take(labels, "labels", "int64", {spec.arrangement_count}, false).data<const std::int64_t>();
  if (plan_reads_sad(spec)) {
    check(!sad.is_none(), "sad=None: this plan depends on motion; pass `sad` of ops.motion");
    check(!scratch.is_none(),
          "scratch=None: this plan depends on motion; pass uint64 [plan_scratch(frames, height, width)]");
    args.sad = take(sad, "sad", "uint32", {frames - 1, motion_cells(args.height), motion_cells(args.width)}, false)
                   .data<const std::uint32_t>();
    give_scratch(spec, args,
                 take(scratch, "scratch", "uint64", {plan_scratch(args.frames, args.height, args.width)}, true)
                     .data<std::uint64_t>());
  }
  if (spec.distinct_count > 0) {
    check(!thumb.is_none(), "thumb=None: this plan compares frames; pass `thumb` of ops.motion");
    args.thumb = take(thumb, "thumb", "uint8", {frames, kThumb, kThumb}, false).data<const std::uint8_t>();
  }
  args.frame = take(frame, "frame", "int32", {k, t}, true).data<std::int32_t>();
  args.box = take(box, "box", "float32", {k, t, 4}, true).data<float>();
  args.flip = take(flip, "flip", "uint8", {k}, true).data<std::uint8_t>();
  args.color = take(color, "color", "float32", {k, t, 3, 4}, true).data<float>();
  args.label = take(label, "label", "int64", {}, true).data<std::int64_t>();
  args.status = take(status, "status", "int32", {}, true).data<std::int32_t>();
  args.seed = seed, args.epoch = epoch, args.sample = sample, args.train = train;
  for (const std::size_t at : written)
    for (std::size_t other = 0; other < kept.size(); ++other)
      if (other != at) kept[at].expect_apart(kept[other]);
  const bool cuda = kept.front().on_cuda();
  if (!cuda) check_tables(spec);
  const WithoutLock unlocked;
  if (cuda) {
    plan_cuda(spec, &args, 1, reinterpret_cast<void*>(stream));
  } else {
    plan_cpu(spec, &args, 1);
  }
}

// The motion of many windows of one array. windows: int64 [N, 2] in host memory, first frame and number of frames of
// each. The outputs are those of N calls of `motion`, joined.
void motion_many(py::handle frames, std::int64_t height, std::int64_t width, py::handle windows, py::handle sad,
                 py::handle thumb, std::intptr_t stream) {
  const Borrowed source(frames, "frames", stream), shown(windows, "windows", 0), sad_out(sad, "sad", stream),
      thumb_out(thumb, "thumb", stream);
  const FrameView view = frame_view(source, height, width);
  shown.expect("int64", {-1, 2});
  check(!shown.on_cuda(), shown.describe(), ": pass a host array");
  const auto* window = shown.data<const std::int64_t>();
  const std::int64_t count = shown.size(0), cells = std::int64_t{motion_cells(view.height)} * motion_cells(view.width);
  check_shown(count, 1);
  std::int64_t total = 0;
  for (std::int64_t at = 0; at < count; ++at) {
    const std::int64_t first = window[at * 2], length = window[at * 2 + 1];
    check(length > 0 && length <= view.frames && first >= 0 && first <= view.frames - length, "windows=(", first, ", ",
          length, "): take frames in 0..", view.frames - 1);
    total += length;
  }
  sad_out.expect("uint32", {total - count, motion_cells(view.height), motion_cells(view.width)}, true);
  thumb_out.expect("uint8", {total, kThumb, kThumb}, true);
  for (const Borrowed* output : {&sad_out, &thumb_out}) {
    same_device(source, *output);
    output->expect_apart(source);
    output->expect_apart(shown);
  }
  thumb_out.expect_apart(sad_out);
  std::vector<MotionArgs> all(static_cast<std::size_t>(count));
  std::int64_t before = 0;
  for (std::int64_t at = 0; at < count; ++at) {
    MotionArgs& args = all[static_cast<std::size_t>(at)];
    args = {view, sad_out.data<std::uint32_t>() + (before - at) * cells,
            thumb_out.data<std::uint8_t>() + before * kThumb * kThumb};
    args.frames.data += window[at * 2] * view.frame_stride;
    args.frames.frames = static_cast<int>(window[at * 2 + 1]);
    before += window[at * 2 + 1];
  }
  const WithoutLock unlocked;
  if (source.on_cuda()) {
    motion_cuda(all.data(), static_cast<int>(count), reinterpret_cast<void*>(stream));
  } else {
    motion_cpu(all.data(), static_cast<int>(count));
  }
}

// Plans of many tuples at once. In host memory: windows, int32 [N, 3], frames, height and width of the window of each;
// places, int64 [N, 2], the first rows of each window in `sad` and in `thumb`, which motion_many makes for windows of
// one size; samples, uint64 [N]. The outputs are those of N calls of `plan`, joined.
void plan_many(const std::string& spec_text, py::handle arrangements, py::handle labels, py::handle windows,
               py::handle places, py::object sad, py::object thumb, py::object scratch, py::handle samples,
               std::uint64_t seed, std::uint32_t epoch, bool train, py::handle frame, py::handle box, py::handle flip,
               py::handle color, py::handle label, py::handle status, std::intptr_t stream) {
  PlanSpec spec = spec_of(spec_text);
  const std::int64_t k = spec.slots, t = spec.times;
  const Borrowed rows(arrangements, "arrangements", stream), classes(labels, "labels", stream),
      shown(windows, "windows", 0), rows_of(places, "places", 0), numbers(samples, "samples", 0);
  rows.expect("int32", {spec.arrangement_count, k, t});
  classes.expect("int64", {spec.arrangement_count});
  shown.expect("int32", {-1, 3});
  const std::int64_t count = shown.size(0);
  check_shown(count * k, t);
  rows_of.expect("int64", {count, 2});
  numbers.expect("uint64", {count});
  const auto* window = shown.data<const std::int32_t>();
  const auto* place = rows_of.data<const std::int64_t>();
  std::int64_t scratch_count = 0;
  for (std::int64_t at = 0; at < count; ++at) {
    check_window(spec, window[at * 3], window[at * 3 + 1], window[at * 3 + 2]);
    scratch_count += plan_scratch(window[at * 3], window[at * 3 + 1], window[at * 3 + 2]);
  }
  std::vector<Borrowed> arrays;  // that a kernel reads or writes; the first six are outputs
  arrays.reserve(9);
  const auto take = [&](py::handle array, const char* name, const char* type, std::vector<std::int64_t> shape,
                        bool writes) -> const Borrowed& {
    arrays.emplace_back(array, name, stream);
    arrays.back().expect(type, shape, writes);
    return arrays.back();
  };
  auto* frame_out = take(frame, "frame", "int32", {count * k, t}, true).data<std::int32_t>();
  auto* box_out = take(box, "box", "float32", {count * k, t, 4}, true).data<float>();
  auto* flip_out = take(flip, "flip", "uint8", {count * k}, true).data<std::uint8_t>();
  auto* color_out = take(color, "color", "float32", {count * k, t, 3, 4}, true).data<float>();
  auto* label_out = take(label, "label", "int64", {count}, true).data<std::int64_t>();
  auto* status_out = take(status, "status", "int32", {count}, true).data<std::int32_t>();
  const std::int64_t across = count ? motion_cells(window[2]) : 0, down = count ? motion_cells(window[1]) : 0;
  const std::uint32_t* sad_in = nullptr;
  const std::uint8_t* thumb_in = nullptr;
  std::uint64_t* scratch_in = nullptr;
  const auto rows_fit = [&](const char* name, int which, std::int64_t fewer, std::int64_t there) {
    for (std::int64_t at = 0; at < count; ++at) {
      const std::int64_t first = place[at * 2 + which], length = window[at * 3] - fewer;
      check(first >= 0 && length <= there && first <= there - length, "places: rows ", first, " to ",
            first + length - 1, " of ", name, ", which has ", there);
    }
  };
  for (std::int64_t at = 0; at < count && (plan_reads_sad(spec) || spec.distinct_count > 0); ++at)
    check(window[at * 3 + 1] == window[1] && window[at * 3 + 2] == window[2],
          "windows: plans that depend on motion take windows of one size");
  if (plan_reads_sad(spec)) {
    check(!sad.is_none(), "sad=None: this plan depends on motion; pass `sad` of motion_many");
    check(!scratch.is_none(), "scratch=None: this plan depends on motion; pass uint64");
    const Borrowed& scores = take(sad, "sad", "uint32", {-1, down, across}, false);
    rows_fit("sad", 0, 1, scores.size(0));
    sad_in = scores.data<const std::uint32_t>();
    scratch_in = take(scratch, "scratch", "uint64", {scratch_count}, true).data<std::uint64_t>();
  }
  if (spec.distinct_count > 0) {
    check(!thumb.is_none(), "thumb=None: this plan compares frames; pass `thumb` of motion_many");
    const Borrowed& pictures = take(thumb, "thumb", "uint8", {-1, kThumb, kThumb}, false);
    rows_fit("thumb", 1, 0, pictures.size(0));
    thumb_in = pictures.data<const std::uint8_t>();
  }
  for (std::size_t at = 0; at < arrays.size(); ++at) {
    same_device(rows, arrays[at]);
    for (std::size_t other = 0; other < std::min<std::size_t>(at, 6); ++other) arrays[at].expect_apart(arrays[other]);
    for (const Borrowed* input : {&rows, &classes, &shown, &rows_of, &numbers}) arrays[at].expect_apart(*input);
  }
  same_device(rows, classes);
  for (const Borrowed* input : {&shown, &rows_of, &numbers})
    check(!input->on_cuda(), input->describe(), ": pass a host array");
  spec.arrangements = rows.data<const std::int32_t>();
  spec.labels = classes.data<const std::int64_t>();
  if (!rows.on_cuda()) check_tables(spec);
  std::vector<PlanArgs> all(static_cast<std::size_t>(count));
  for (std::int64_t at = 0; at < count; ++at) {
    PlanArgs& args = all[static_cast<std::size_t>(at)];
    args.frames = window[at * 3], args.height = window[at * 3 + 1], args.width = window[at * 3 + 2];
    args.seed = seed, args.epoch = epoch, args.train = train;
    args.sample = numbers.data<const std::uint64_t>()[at];
    if (sad_in != nullptr) {
      args.sad = sad_in + place[at * 2] * down * across;
      give_scratch(spec, args, scratch_in);
      scratch_in += plan_scratch(args.frames, args.height, args.width);
    }
    if (thumb_in != nullptr) args.thumb = thumb_in + place[at * 2 + 1] * kThumb * kThumb;
    args.frame = frame_out + at * k * t, args.box = box_out + at * k * t * 4, args.flip = flip_out + at * k;
    args.color = color_out + at * k * t * 12, args.label = label_out + at, args.status = status_out + at;
  }
  const WithoutLock unlocked;
  if (rows.on_cuda()) {
    plan_cuda(spec, all.data(), static_cast<int>(count), reinterpret_cast<void*>(stream));
  } else {
    plan_cpu(spec, all.data(), static_cast<int>(count));
  }
}

std::int64_t scratch_numbers(std::int64_t frames, std::int64_t height, std::int64_t width) {
  check(frames > 0 && frames <= kMaxFrames, "frames=", frames, ": take 1..", kMaxFrames);
  check(height > 0 && height <= kMaxSide, "height=", height, ": take 1..", kMaxSide);
  check(width > 0 && width <= kMaxSide, "width=", width, ": take 1..", kMaxSide);
  return plan_scratch(static_cast<int>(frames), static_cast<int>(height), static_cast<int>(width));
}

// The borrowed arrays of a plan and the output of assemble, with the description of both.
struct Assembling {
  Borrowed frame, box, flip, color, out;
  AssembleSpec spec{};
  AssembleArgs args{};

  Assembling(const std::array<float, 12>& to_rgb, const std::array<float, 2>& chroma, py::handle frame_in,
             py::handle box_in, py::handle flip_in, py::handle color_in, py::handle out_in, bool channels_last,
             bool used_before, std::intptr_t stream)
      : frame(frame_in, "frame", stream),
        box(box_in, "box", stream),
        flip(flip_in, "flip", stream),
        color(color_in, "color", stream),
        out(out_in, "out", stream) {
    frame.expect("int32", {-1, -1});
    const std::int64_t k = frame.size(0), t = frame.size(1);
    box.expect("float32", {k, t, 4});
    flip.expect("uint8", {k});
    color.expect("float32", {k, t, 3, 4});
    const std::vector<std::int64_t> shape =
        channels_last ? std::vector<std::int64_t>{k, t, -1, -1, 3} : std::vector<std::int64_t>{k, 3, t, -1, -1};
    const char* type = out.is("float32")    ? "float32"
                       : out.is("float16")  ? "float16"
                       : out.is("bfloat16") ? "bfloat16"
                                            : "uint8";
    out.expect(type, shape, true);
    for (const Borrowed* other : {&box, &flip, &color, &out}) same_device(frame, *other);
    for (const Borrowed* other : {&frame, &box, &flip, &color}) out.expect_apart(*other);
    std::copy(to_rgb.begin(), to_rgb.end(), args.space.to_rgb);
    args.space.chroma_x = chroma[0], args.space.chroma_y = chroma[1];
    args.frame = frame.data<const std::int32_t>();
    args.box = box.data<const float>();
    args.flip = flip.data<const std::uint8_t>();
    args.color = color.data<const float>();
    args.out = out.data<void>();
    const int h = channels_last ? 2 : 3;
    check_shown(k, t);
    check_picture("size", out.size(h), out.size(h + 1));
    spec = {static_cast<int>(k),
            static_cast<int>(t),
            static_cast<int>(out.size(h)),
            static_cast<int>(out.size(h + 1)),
            parse_dtype(type),
            channels_last ? Layout::kthwc : Layout::kcthw,
            used_before};
  }
};

void assemble(py::handle frames, std::int64_t height, std::int64_t width, const std::array<float, 12>& to_rgb,
              const std::array<float, 2>& chroma, py::handle frame, py::handle box, py::handle flip, py::handle color,
              py::handle out, bool channels_last, bool used_before, int threads, std::intptr_t stream) {
  check(threads >= 1 && threads <= kMaxThreads, "threads=", threads, ": take 1..", kMaxThreads);
  const Borrowed source(frames, "frames", stream);
  Assembling what(to_rgb, chroma, frame, box, flip, color, out, channels_last, used_before, stream);
  const AssembleSpec& spec = what.spec;
  AssembleArgs& args = what.args;
  args.frames = frame_view(source, height, width);
  check(args.frames.frames > 0, source.describe(), ": it holds no frame; pass at least one");
  same_device(source, what.out);
  what.out.expect_apart(source);
  if (!source.on_cuda()) check_plan(spec, args, args.frames.frames);
  const WithoutLock unlocked;
  if (source.on_cuda()) {
    assemble_cuda(spec, &args, 1, reinterpret_cast<void*>(stream));
  } else {
    const int k = spec.slots, t = spec.times;  // threads divide the slots
    const std::size_t slot_bytes = assemble_bytes(spec) / static_cast<std::size_t>(k > 0 ? k : 1);
    parallel_for(k, threads, [&](int first, int last) {
      AssembleSpec part = spec;
      part.slots = last - first;
      AssembleArgs slice = args;
      slice.frame += first * t, slice.box += first * t * 4, slice.flip += first, slice.color += first * t * 12;
      slice.out = static_cast<char*>(args.out) + slot_bytes * static_cast<std::size_t>(first);
      assemble_cpu(part, &slice, 1);
    });
  }
}

// One decoded frame of planar YUV 4:2:0, whose planes are buffers of a decoder.
struct Picture {
  Plane y, u, v;
  FrameView view{};

  Picture(py::handle y_in, py::handle u_in, py::handle v_in, int luma_stride, int chroma_stride, std::int64_t height,
          std::int64_t width)
      : y(y_in, "y", luma_stride, checked(height, width, luma_stride), width),
        u(u_in, "u", chroma_stride, (height + 1) / 2, (width + 1) / 2),
        v(v_in, "v", chroma_stride, (height + 1) / 2, (width + 1) / 2) {
    view.format = Format::yuv420;
    view.frames = 1;
    view.rows = view.height = static_cast<int>(height);
    view.cols = luma_stride;
    view.width = static_cast<int>(width);
    view.chroma_stride = chroma_stride;
    view.data = y.data();
    view.chroma[0] = u.data() - y.data();
    view.chroma[1] = v.data() - y.data();
  }

  void expect_apart(const Borrowed& out) const {
    for (const Plane* plane : {&y, &u, &v})
      if (out.shares(plane->data(), plane->bytes()))
        fail("out: it overlaps a plane of the frame in memory; pass separate memory");
  }

 private:
  static std::int64_t checked(std::int64_t height, std::int64_t width, int luma_stride) {
    check_picture("size", height, width);
    check(luma_stride <= kMaxSide, "luma_stride=", luma_stride, ": take at most ", kMaxSide);
    return height;
  }
};

// A FrameAssembler with the arrays that it points to. It takes a decoder's planes as buffers.
class Pictures {
 public:
  Pictures(const std::array<float, 12>& to_rgb, const std::array<float, 2>& chroma, py::handle frame, py::handle box,
           py::handle flip, py::handle color, py::handle out, bool channels_last, bool used_before)
      : what_(to_rgb, chroma, frame, box, flip, color, out, channels_last, used_before, 0),
        assembler_(what_.spec, what_.args) {
    check(!what_.out.on_cuda(), what_.out.describe(), ": FrameAssembler writes only to host memory; pass a host array");
  }

  void show(int position, py::handle y, py::handle u, py::handle v, int luma_stride, int chroma_stride,
            std::int64_t height, std::int64_t width) {
    const Picture picture(y, u, v, luma_stride, chroma_stride, height, width);
    picture.expect_apart(what_.out);
    const WithoutLock unlocked;
    assembler_.show(picture.view, position);
  }

 private:
  Assembling what_;
  FrameAssembler assembler_;
};

// A FrameReducer with the array to which it writes. It takes a decoder's planes as buffers.
class Reduced {
 public:
  Reduced(std::int64_t height, std::int64_t width, const std::array<float, 2>& chroma, std::int64_t to_height,
          std::int64_t to_width, py::handle out)
      : height_(height), width_(width), out_(out, "out", 0) {
    check_picture("size", height, width);
    const ReduceSpec spec = reduce_spec(to_height, to_width, chroma);
    out_.expect("uint8", {-1, even(spec.height) / 2 * 3, even(spec.width)}, true);
    check(!out_.on_cuda(), out_.describe(), ": FrameReducer writes only to host memory; pass a host array");
    FrameView view{};
    view.height = static_cast<int>(height), view.width = static_cast<int>(width);
    reducer_.emplace(spec, ReduceArgs{view, chroma[0], chroma[1], out_.data<std::uint8_t>()});
  }

  void reduce(std::int64_t position, py::handle y, py::handle u, py::handle v, int luma_stride, int chroma_stride) {
    check(position >= 0 && position < out_.size(0), "position=", position, ": take 0..", out_.size(0) - 1);
    const Picture picture(y, u, v, luma_stride, chroma_stride, height_, width_);
    picture.expect_apart(out_);
    const WithoutLock unlocked;
    reducer_->reduce(picture.view, position);
  }

 private:
  std::int64_t height_, width_;
  Borrowed out_;
  std::optional<FrameReducer> reducer_;
};

std::uint64_t plane_checksum(py::handle plane, int stride, std::int64_t height, std::int64_t width,
                             std::uint64_t start) {
  check(height > 0 && width > 0, "height=", height, ", width=", width, ": take at least 1 line of 1 byte");
  const Plane lines(plane, "plane", stride, height, width);
  const WithoutLock unlocked;
  return checksum(lines.data(), stride, height, width, start);
}

std::uint32_t crc(py::handle data, std::uint32_t start) {
  const Plane bytes(data, "data", 0, 0, 0);
  const WithoutLock unlocked;
  return crc32(bytes.data(), static_cast<std::size_t>(bytes.bytes()), start);
}

void random(py::handle out, std::uint64_t seed, std::uint32_t epoch, std::uint64_t first, const std::string& purpose,
            std::uint32_t index) {
  static const std::map<std::string, Purpose> purposes = {
      {"order", Purpose::order}, {"window", Purpose::window},     {"motion_window", Purpose::motion_window},
      {"blur", Purpose::blur},   {"solarise", Purpose::solarise}, {"cutout", Purpose::cutout},
      {"tubes", Purpose::tubes}};
  const auto found = purposes.find(purpose);
  check(found != purposes.end(), "purpose=", purpose,
        ": take order, window, motion_window, blur, solarise, cutout or tubes");
  const Borrowed bits(out, "out", 0);
  bits.expect("uint32", {-1, 4}, true);
  check(!bits.on_cuda(), bits.describe(), ": pass a host array");
  auto* to = bits.data<Random4>();
  for (std::int64_t i = 0; i < bits.size(0); ++i)
    to[i] = draw(seed, epoch, first + static_cast<std::uint64_t>(i), found->second, index);
}

py::dict build_info() {
  py::dict info;
  info["cuda"] = static_cast<bool>(VIDSSL_WITH_CUDA);
  info["cuda_archs"] = VIDSSL_CUDA_ARCHS;
  info["nvcc"] = VIDSSL_NVCC;
  info["dali"] = VIDSSL_DALI_VERSION;
  info["compiler"] = __VERSION__;
  info["simd"] = simd_body();
  return info;
}

}  // namespace

PYBIND11_MODULE(_native, module) {
  using namespace py::literals;  // NOLINT
  py::register_local_exception_translator([](std::exception_ptr raised) {
    try {
      if (raised) std::rethrow_exception(raised);
    } catch (const std::invalid_argument& error) {
      py::set_error(py::module_::import("vidssl.types").attr("InvalidArgument"), error.what());
    }
  });
  module.doc() =
      "The kernels of vidssl over DLPack. They write to output arrays that the caller passes. vidssl.ops has functions "
      "that return their results.";
  module.def("plane_checksum", &plane_checksum, "plane"_a, "stride"_a, "height"_a, "width"_a, "start"_a = 0);
  if (has_crc32()) module.def("crc32", &crc, "data"_a, "start"_a = 0);
  module.def("luma_change", &luma_change, "luma"_a, "sums"_a);
  module.def("motion", &motion, "frames"_a, "height"_a, "width"_a, "sad"_a, "thumb"_a, "stream"_a = 0);
  module.def("reduce", &reduce, "frames"_a, "height"_a, "width"_a, "chroma"_a, "to_height"_a, "to_width"_a, "out"_a,
             "stream"_a = 0);
  module.def("plan", &plan, "spec"_a, "arrangements"_a, "labels"_a, "frames"_a, "height"_a, "width"_a, "sad"_a,
             "thumb"_a, "scratch"_a, "seed"_a, "epoch"_a, "sample"_a, "train"_a, "frame"_a, "box"_a, "flip"_a,
             "color"_a, "label"_a, "status"_a, "stream"_a = 0);
  module.def("motion_many", &motion_many, "frames"_a, "height"_a, "width"_a, "windows"_a, "sad"_a, "thumb"_a,
             "stream"_a = 0);
  module.def("plan_many", &plan_many, "spec"_a, "arrangements"_a, "labels"_a, "windows"_a, "places"_a, "sad"_a,
             "thumb"_a, "scratch"_a, "samples"_a, "seed"_a, "epoch"_a, "train"_a, "frame"_a, "box"_a, "flip"_a,
             "color"_a, "label"_a, "status"_a, "stream"_a = 0);
  module.def("plan_scratch", &scratch_numbers, "frames"_a, "height"_a, "width"_a);
  module.def("assemble", &assemble, "frames"_a, "height"_a, "width"_a, "to_rgb"_a, "chroma"_a, "frame"_a, "box"_a,
             "flip"_a, "color"_a, "out"_a, "channels_last"_a = false, "used_before"_a = false, "threads"_a = 1,
             "stream"_a = 0);
  py::class_<Pictures>(module, "FrameAssembler",
                       "Assembles on the CPU, frame by frame; see vidssl.kernels.decode_assemble.")
      .def(py::init<const std::array<float, 12>&, const std::array<float, 2>&, py::handle, py::handle, py::handle,
                    py::handle, py::handle, bool, bool>(),
           "to_rgb"_a, "chroma"_a, "frame"_a, "box"_a, "flip"_a, "color"_a, "out"_a, "channels_last"_a = false,
           "used_before"_a = false)
      .def("show", &Pictures::show, "position"_a, "y"_a, "u"_a, "v"_a, "luma_stride"_a, "chroma_stride"_a, "height"_a,
           "width"_a);
  py::class_<Reduced>(module, "FrameReducer", "Reduces on the CPU, frame by frame; see vidssl.kernels.decode_reduce.")
      .def(py::init<std::int64_t, std::int64_t, const std::array<float, 2>&, std::int64_t, std::int64_t, py::handle>(),
           "height"_a, "width"_a, "chroma"_a, "to_height"_a, "to_width"_a, "out"_a)
      .def("reduce", &Reduced::reduce, "position"_a, "y"_a, "u"_a, "v"_a, "luma_stride"_a, "chroma_stride"_a);
  module.def("random", &random, "out"_a, "seed"_a, "epoch"_a, "first"_a, "purpose"_a, "index"_a = 0);
  module.def("build_info", &build_info);
}

}  // namespace vidssl
