// Face 1: the pybind11 module `vidssl._native`. DLPack arrays in, written in place; it checks, forwards to a twin, computes nothing.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../kernels/assemble.h"
#include "../kernels/check.h"
#include "../kernels/motion.h"
#include "../kernels/parallel.h"
#include "../kernels/plan.h"
#include "../kernels/spec.h"
#include "dlpack.h"

namespace py = pybind11;

namespace vidssl {
namespace {

// The frames argument and the picture's size, checked.
FrameView frame_view(const Borrowed& frames, int height, int width) {
  FrameView view{};
  if (frames.ndim() == 4) {
    frames.expect("uint8", {-1, -1, -1, 3}, false, true);
    view.format = Format::rgb;
    view.rows = static_cast<int>(frames.size(1));
  } else {
    check(frames.ndim() == 3, frames.describe(), ": it must be uint8 [F, 3 * rows / 2, cols] (YUV 4:2:0) or [F, H, W, 3] (RGB)");
    frames.expect("uint8", {-1, -1, -1}, false, true);
    check(frames.size(1) % 3 == 0 && frames.size(2) % 2 == 0, frames.describe(),
          ": planar YUV 4:2:0 has 3 * rows / 2 lines and even rows and cols");
    view.format = Format::yuv420;
    view.rows = static_cast<int>(frames.size(1) / 3 * 2);
  }
  view.cols = static_cast<int>(frames.size(2));
  view.frames = static_cast<int>(frames.size(0));
  view.data = frames.data<const std::uint8_t>();
  view.frame_stride = frames.stride(0);
  check(height > 0 && height <= view.rows && width > 0 && width <= view.cols, "size=(", height, ", ", width,
        "): the picture must lie within the stored ", view.rows, " x ", view.cols);
  view.height = height;
  view.width = width;
  return view;
}

void same_device(const Borrowed& first, const Borrowed& other) {
  check(first.on_cuda() == other.on_cuda() && (!first.on_cuda() || first.device_id() == other.device_id()), other.describe(), ", but ",
        first.describe(), ": move them to one device");
}

void motion(py::handle frames, int height, int width, py::handle sad, py::handle thumb, std::intptr_t stream) {
  const Borrowed source(frames, "frames", stream), sad_out(sad, "sad", stream), thumb_out(thumb, "thumb", stream);
  const FrameView view = frame_view(source, height, width);
  const std::int64_t steps = view.frames > 0 ? view.frames - 1 : 0;
  sad_out.expect("uint32", {steps, motion_cells(height), motion_cells(width)}, true);
  thumb_out.expect("uint8", {view.frames, kThumb, kThumb}, true);
  same_device(source, sad_out);
  same_device(source, thumb_out);
  const MotionArgs args{view, sad_out.data<std::uint32_t>(), thumb_out.data<std::uint8_t>()};
  py::gil_scoped_release release;
  if (source.on_cuda()) {
    motion_cuda(&args, 1, reinterpret_cast<void*>(stream));
  } else {
    motion_cpu(&args, 1);
  }
}

void plan(const std::string& spec_text, py::handle arrangements, py::handle labels, int frames, int height, int width, py::object sad,
          py::object thumb, py::object prefix, std::uint64_t seed, std::uint32_t epoch, std::uint64_t sample, bool train, py::handle frame,
          py::handle box, py::handle flip, py::handle color, py::handle label, py::handle status, std::intptr_t stream) {
  static thread_local std::pair<std::string, PlanSpec> parsed;  // a loader asks for the same spec again and again
  if (parsed.first != spec_text) parsed = {spec_text, parse_spec(spec_text)};
  PlanSpec spec = parsed.second;
  const std::int64_t k = spec.slots, t = spec.times;
  check(frames > 0 && height > 0 && width > 0, "frames=", frames, ", size=(", height, ", ", width, "): take positive numbers");
  std::vector<Borrowed> kept;
  const auto take = [&](py::handle array, const char* name, const char* type, std::vector<std::int64_t> shape, bool writes) -> Borrowed& {
    kept.emplace_back(array, name, stream);
    kept.back().expect(type, shape, writes);
    same_device(kept.front(), kept.back());
    return kept.back();
  };
  kept.reserve(11);
  PlanArgs args{};
  spec.arrangements = take(arrangements, "arrangements", "int32", {spec.arrangement_count, k, t}, false).data<const std::int32_t>();
  spec.labels = take(labels, "labels", "int64", {spec.arrangement_count}, false).data<const std::int64_t>();
  if (plan_reads_sad(spec)) {
    check(!sad.is_none(), "sad=None: this plan depends on motion; pass what ops.motion gives");
    args.sad = take(sad, "sad", "uint32", {frames - 1, motion_cells(height), motion_cells(width)}, false).data<const std::uint32_t>();
  }
  if (spec.weight == Weight::motion) {
    check(!prefix.is_none(), "prefix=None: a plan weighted by motion needs scratch uint64 [frames + 1]");
    args.prefix = take(prefix, "prefix", "uint64", {frames + 1}, true).data<std::uint64_t>();
  }
  if (spec.distinct_count > 0) {
    check(!thumb.is_none(), "thumb=None: this plan compares frames; pass what ops.motion gives");
    args.thumb = take(thumb, "thumb", "uint8", {frames, kThumb, kThumb}, false).data<const std::uint8_t>();
  }
  args.frame = take(frame, "frame", "int32", {k, t}, true).data<std::int32_t>();
  args.box = take(box, "box", "float32", {k, t, 4}, true).data<float>();
  args.flip = take(flip, "flip", "uint8", {k}, true).data<std::uint8_t>();
  args.color = take(color, "color", "float32", {k, t, 3, 4}, true).data<float>();
  args.label = take(label, "label", "int64", {}, true).data<std::int64_t>();
  args.status = take(status, "status", "int32", {}, true).data<std::int32_t>();
  args.frames = frames, args.height = height, args.width = width;
  args.seed = seed, args.epoch = epoch, args.sample = sample, args.train = train;
  const bool cuda = kept.front().on_cuda();
  py::gil_scoped_release release;
  if (cuda) {
    plan_cuda(spec, &args, 1, reinterpret_cast<void*>(stream));
  } else {
    plan_cpu(spec, &args, 1);
  }
}

// On the CPU the slots are split over `threads`.
void assemble(py::handle frames, int height, int width, const std::array<float, 12>& to_rgb, const std::array<float, 2>& chroma,
              py::handle frame, py::handle box, py::handle flip, py::handle color, py::handle out, bool channels_last, bool used_before,
              int threads, std::intptr_t stream) {
  const Borrowed source(frames, "frames", stream), frame_in(frame, "frame", stream), box_in(box, "box", stream),
      flip_in(flip, "flip", stream), color_in(color, "color", stream), clips(out, "out", stream);
  AssembleArgs args{};
  args.frames = frame_view(source, height, width);
  check(args.frames.frames > 0, source.describe(), ": there is no frame to show");
  frame_in.expect("int32", {-1, -1});
  const std::int64_t k = frame_in.size(0), t = frame_in.size(1);
  box_in.expect("float32", {k, t, 4});
  flip_in.expect("uint8", {k});
  color_in.expect("float32", {k, t, 3, 4});
  const std::vector<std::int64_t> shape =
      channels_last ? std::vector<std::int64_t>{k, t, -1, -1, 3} : std::vector<std::int64_t>{k, 3, t, -1, -1};
  const char* type = clips.is("float32") ? "float32" : clips.is("float16") ? "float16" : clips.is("bfloat16") ? "bfloat16" : "uint8";
  clips.expect(type, shape, true);
  for (const Borrowed* other : {&frame_in, &box_in, &flip_in, &color_in, &clips}) same_device(source, *other);
  std::copy(to_rgb.begin(), to_rgb.end(), args.space.to_rgb);
  args.space.chroma_x = chroma[0], args.space.chroma_y = chroma[1];
  args.frame = frame_in.data<const std::int32_t>();
  args.box = box_in.data<const float>();
  args.flip = flip_in.data<const std::uint8_t>();
  args.color = color_in.data<const float>();
  args.out = clips.data<void>();
  const int h = channels_last ? 2 : 3;
  const AssembleSpec spec{static_cast<int>(k),
                          static_cast<int>(t),
                          static_cast<int>(clips.size(h)),
                          static_cast<int>(clips.size(h + 1)),
                          parse_dtype(type),
                          channels_last ? Layout::kthwc : Layout::kcthw,
                          used_before};
  py::gil_scoped_release release;
  if (source.on_cuda()) {
    assemble_cuda(spec, &args, 1, reinterpret_cast<void*>(stream));
  } else {
    const std::size_t slot_bytes = assemble_bytes(spec) / static_cast<std::size_t>(k > 0 ? k : 1);
    parallel_for(static_cast<int>(k), threads, [&](int first, int last) {
      AssembleSpec part = spec;
      part.slots = last - first;
      AssembleArgs slice = args;
      slice.frame += first * t, slice.box += first * t * 4, slice.flip += first, slice.color += first * t * 12;
      slice.out = static_cast<char*>(args.out) + slot_bytes * static_cast<std::size_t>(first);
      assemble_cpu(part, &slice, 1);
    });
  }
}

void random(py::handle out, std::uint64_t seed, std::uint32_t epoch, std::uint64_t first, const std::string& purpose, std::uint32_t index) {
  check(purpose == "order" || purpose == "window", "purpose=", purpose, ": take order or window");
  const Borrowed bits(out, "out", 0);
  bits.expect("uint32", {-1, 4}, true);
  check(!bits.on_cuda(), bits.describe(), ": pass a host array");
  const Purpose kind = purpose == "order" ? Purpose::order : Purpose::window;
  auto* to = bits.data<Random4>();
  for (std::int64_t i = 0; i < bits.size(0); ++i) to[i] = draw(seed, epoch, first + static_cast<std::uint64_t>(i), kind, index);
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
  module.doc() = "The kernels of vidssl over DLPack. Outputs are passed in and written in place; see vidssl.ops for the readable face.";
  module.def("motion", &motion, "frames"_a, "height"_a, "width"_a, "sad"_a, "thumb"_a, "stream"_a = 0);
  module.def("plan", &plan, "spec"_a, "arrangements"_a, "labels"_a, "frames"_a, "height"_a, "width"_a, "sad"_a, "thumb"_a, "prefix"_a,
             "seed"_a, "epoch"_a, "sample"_a, "train"_a, "frame"_a, "box"_a, "flip"_a, "color"_a, "label"_a, "status"_a, "stream"_a = 0);
  module.def("assemble", &assemble, "frames"_a, "height"_a, "width"_a, "to_rgb"_a, "chroma"_a, "frame"_a, "box"_a, "flip"_a, "color"_a,
             "out"_a, "channels_last"_a = false, "used_before"_a = false, "threads"_a = 1, "stream"_a = 0);
  module.def("random", &random, "out"_a, "seed"_a, "epoch"_a, "first"_a, "purpose"_a, "index"_a = 0);
  module.def("build_info", &build_info);
}

}  // namespace vidssl
