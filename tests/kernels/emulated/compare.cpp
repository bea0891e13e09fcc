// The CUDA twins, emulated, against the CPU twins on random input: bit for bit. test_emulated.py compiles and runs it.
// It is long because it compares all of them.
//
//   compare SPECS: a file with, for each plan, a line of its text (csrc/kernels/spec.h), of its table, of its labels,
//   and of its frames.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "cuda_runtime.h"
#include "kernels/assemble.h"
#include "kernels/motion.h"
#include "kernels/plan.h"
#include "kernels/reduce.h"
#include "kernels/spec.h"

using namespace vidssl;

namespace {

std::mt19937 random_bits(1);
int cases = 0;

int below(int n) { return static_cast<int>(random_bits() % static_cast<unsigned>(n)); }
float real(float low, float high) { return low + (high - low) * static_cast<float>(random_bits() % 10007) / 10007.0f; }

// Memory that ends where the next page must not be touched, so that reading or writing beyond it stops the program. It
// begins `offset` bytes after a multiple of 16.
template <typename T>
class Guarded {
 public:
  explicit Guarded(std::size_t count, std::size_t offset = 0) : count_(count) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    bytes_ = (count * sizeof(T) + offset + page - 1) / page * page + page;
    base_ = static_cast<char*>(
        mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    mprotect(base_ + bytes_ - page, page, PROT_NONE);
    // Whole words at the end, as an allocation on a device begins with them.
    data_ = reinterpret_cast<T*>(base_ + (bytes_ - page - count * sizeof(T) - offset) / 16 * 16 + offset);
    emulated::arrays.emplace_back(reinterpret_cast<char*>(data_), reinterpret_cast<char*>(data_ + count));
  }
  Guarded(const Guarded&) = delete;
  ~Guarded() {
    std::erase_if(emulated::arrays,
                  [this](const auto& array) { return array.first == reinterpret_cast<char*>(data_); });
    munmap(base_, bytes_);
  }
  T* data() { return data_; }
  std::size_t bytes() const { return count_ * sizeof(T); }
  void fill(int with) { std::memset(static_cast<void*>(data_), with, bytes()); }

 private:
  std::size_t count_, bytes_;
  char* base_;
  T* data_;
};

template <typename T>
void same(Guarded<T>& cpu, Guarded<T>& cuda, const std::string& what) {
  if (std::memcmp(cpu.data(), cuda.data(), cpu.bytes()) == 0) return;
  std::size_t at = 0;
  while (std::memcmp(cpu.data() + at, cuda.data() + at, sizeof(T)) == 0) ++at;
  std::fprintf(stderr, "%s: differs from item %zu of %zu on\n", what.c_str(), at, cpu.bytes() / sizeof(T));
  std::exit(1);
}

// Calls `run` with threads in ascending and in descending order; `check` compares.
template <typename Run, typename Check>
void both_orders(Run&& run, Check&& check) {
  for (const bool descending : {false, true}) {
    emulated::descending = descending;
    run();
    check();
    ++cases;
  }
}

struct Picture {
  int count, height, width, pad;  // pad: columns stored beyond the picture
  int offset = 0;                 // of its memory, from a multiple of 16 on
};

FrameView view_of(const Picture& size, Format format) {
  const bool yuv = format == Format::yuv420;
  FrameView view{};
  view.format = format;
  view.frames = size.count;
  view.rows = yuv ? (size.height + 1) / 2 * 2 : size.height, view.cols = size.width + size.pad;
  if (yuv) view.cols = (view.cols + 1) / 2 * 2;
  view.height = size.height, view.width = size.width;
  view.frame_stride = static_cast<std::int64_t>(view.rows) * view.cols * 3 / (yuv ? 2 : 1);
  pack(view);
  return view;
}

// Random frames, and the view of them.
struct Frames {
  FrameView view;
  Guarded<std::uint8_t> data;
  Frames(const Picture& size, Format format)
      : view(view_of(size, format)),
        data(static_cast<std::size_t>(view.frame_stride * size.count), static_cast<std::size_t>(size.offset)) {
    for (std::size_t i = 0; i < data.bytes(); ++i) data.data()[i] = static_cast<std::uint8_t>(random_bits());
    view.data = data.data();
  }
};

// Of any size up to height x width, stored and aligned in any way; now and then of one frame.
Picture random_picture(int frames, int height, int width) {
  const int pads[] = {0, 0, 1, 2, 4, 6}, offsets[] = {0, 0, 0, 1, 2, 4, 8};
  return {below(4) == 0 ? 1 : 1 + below(frames), 1 + below(height), 1 + below(width), pads[below(6)],
          offsets[below(7)]};
}

void compare_motion() {
  std::vector<Picture> sizes = {{1, 16, 16, 0},   {2, 1, 1, 0},      {5, 37, 53, 0},   {19, 48, 160, 0},
                                {35, 32, 40, 8},  {3, 70, 90, 2},    {3, 100, 340, 0}, {0, 32, 32, 0},
                                {18, 17, 129, 0}, {2, 130, 150, 10}, {12, 33, 96, 0},  {13, 33, 96, 0}};
  for (int i = 0; i < 28; ++i) sizes.push_back(random_picture(30, 80, 200));
  for (const Format format : {Format::yuv420, Format::rgb}) {
    for (const Picture& size : sizes) {
      Frames frames(size, format);
      FrameView view = frames.view;
      if (below(3) == 0 && size.count > 0) {  // stored backwards
        view.data += (size.count - 1) * view.frame_stride;
        view.frame_stride = -view.frame_stride;
      }
      const std::size_t steps = size.count > 0 ? size.count - 1 : 0;
      const std::size_t scores = steps * motion_cells(size.height) * motion_cells(size.width),
                        thumbs = size.count * kThumb * kThumb;
      Guarded<std::uint32_t> sad(scores), found_sad(scores);
      Guarded<std::uint8_t> thumb(thumbs), found_thumb(thumbs);
      const MotionArgs cpu{view, sad.data(), thumb.data()};
      // Beside another window, of another size.
      Guarded<std::uint32_t> other_sad(40);
      Guarded<std::uint8_t> other_thumb(3 * kThumb * kThumb);
      Frames other({3, 20, 30, 0}, format);
      const MotionArgs cuda[] = {{other.view, other_sad.data(), other_thumb.data()},
                                 {view, found_sad.data(), found_thumb.data()}};
      motion_cpu(&cpu, 1);
      const std::string what = "motion " + std::to_string(size.width) + "x" + std::to_string(size.height);
      both_orders(
          [&] {
            found_sad.fill(0xAA), found_thumb.fill(0xAA);
            motion_cuda(cuda, 2, nullptr);
          },
          [&] { same(sad, found_sad, what + " sad"), same(thumb, found_thumb, what + " thumb"); });
    }
  }
}

void compare_reduce() {
  struct Case {
    Picture picture;
    int height, width;
  };
  // Reduced, enlarged, odd, one pixel, strongly reduced, several tiles, and any alignment.
  std::vector<Case> sizes = {{{2, 60, 80, 4}, 28, 36},    {{3, 20, 30, 0}, 31, 41}, {{1, 1, 1, 0}, 3, 3},
                             {{2, 90, 400, 0}, 9, 7},     {{2, 64, 64, 0}, 1, 1},   {{19, 37, 53, 0}, 11, 45},
                             {{1, 120, 200, 0}, 47, 150}, {{0, 8, 8, 0}, 4, 4}};
  for (int i = 0; i < 24; ++i) sizes.push_back({random_picture(20, 90, 150), 1 + below(40), 1 + below(140)});
  for (const Case& one : sizes) {
    Frames frames(one.picture, Format::yuv420), other({1, 10, 12, 0}, Format::yuv420);
    const ReduceSpec spec{one.height, one.width};
    const float chroma_x = below(3) * 0.5f, chroma_y = below(3) * 0.5f;
    const std::size_t each = static_cast<std::size_t>(reduced_bytes(spec));
    Guarded<std::uint8_t> out(each * one.picture.count), found(each * one.picture.count), extra(each);
    const ReduceArgs cpu{frames.view, chroma_x, chroma_y, out.data()};
    const ReduceArgs cuda[] = {{other.view, 0.5f, 0.5f, extra.data()}, {frames.view, chroma_x, chroma_y, found.data()}};
    reduce_cpu(spec, &cpu, 1);
    both_orders(
        [&] {
          found.fill(0xAA);
          reduce_cuda(spec, cuda, 2, nullptr);
        },
        [&] { same(out, found, "reduce " + std::to_string(one.width) + "x" + std::to_string(one.height)); });
  }
}

template <typename T>
void compare_assemble_as(DType dtype) {
  struct Case {
    Picture picture;
    int height, width, slots, times;
  };
  // Enlarged, reduced, odd, one pixel, and reduced so far that a tile's source is read in rounds and weights are
  // computed again.
  std::vector<Case> sizes = {{{3, 20, 30, 0}, 30, 40, 2, 5}, {{2, 60, 80, 4}, 28, 36, 1, 9},
                             {{2, 37, 53, 0}, 11, 45, 2, 2}, {{1, 1, 1, 0}, 3, 3, 1, 1},
                             {{2, 90, 400, 0}, 9, 7, 1, 2},  {{2, 64, 64, 0}, 1, 1, 2, 1}};
  // More columns and rows than a tile has, more frames than a block takes, and any alignment.
  for (int i = 0; i < 8; ++i)
    sizes.push_back({random_picture(4, 90, 150), 1 + below(34), 1 + below(140), 1 + below(2), 1 + below(10)});
  for (const Format format : {Format::yuv420, Format::rgb}) {
    for (const Layout layout : {Layout::kcthw, Layout::kthwc}) {
      for (const Case& one : sizes) {
        const int shown = one.slots * one.times;
        Frames frames(one.picture, format);
        Guarded<std::uint8_t> flip(one.slots);
        Guarded<std::int32_t> frame(shown);
        Guarded<float> box(shown * 4), color(shown * 12);
        const auto width = static_cast<float>(one.picture.width), height = static_cast<float>(one.picture.height);
        for (int at = 0; at < shown; ++at) {
          frame.data()[at] = below(one.picture.count);
          float* b = box.data() + at * 4;
          b[0] = real(-0.2f * width, 0.5f * width), b[1] = real(-0.2f * height, 0.5f * height);
          b[2] = real(0.1f * width, width), b[3] = real(0.1f * height, height);
          if (at % one.times % 3 == 0) continue;
          const float other = b[at % 4];  // frames of a clip share their box, or most of it
          std::copy(b - 4, b, b);
          if (at % one.times % 3 == 2) b[at % 4] = other;
        }
        for (int i = 0; i < 12 * shown;
             ++i)  // of every other one mixing no channels, which the CPU's body takes a short cut for
          color.data()[i] = i / 12 % 2 == 0   ? real(-1.5f, 1.5f)
                            : i % 4 == 3      ? real(-9.0f, 0.0f)
                            : i % 12 % 5 == 0 ? real(0.1f, 2.0f)
                                              : 0.0f;
        for (int k = 0; k < one.slots; ++k) flip.data()[k] = static_cast<std::uint8_t>(below(2));
        const AssembleSpec spec{one.slots, one.times, one.height, one.width, dtype, layout, false};
        AssembleArgs args{};
        args.frames = frames.view;
        for (float& value : args.space.to_rgb) value = real(-1.0f, 2.0f);
        if (layout == Layout::kcthw)
          args.space.to_rgb[1] = args.space.to_rgb[10] = 0.0f;  // as of YUV: another short cut
        args.space.chroma_x = below(3) * 0.5f, args.space.chroma_y = below(3) * 0.5f;
        args.frame = frame.data(), args.box = box.data(), args.flip = flip.data(), args.color = color.data();
        Guarded<T> out(assemble_bytes(spec) / sizeof(T)), found(assemble_bytes(spec) / sizeof(T));
        args.out = out.data();
        assemble_cpu(spec, &args, 1);
        args.out = found.data();
        both_orders(
            [&] {
              found.fill(0xAA);
              assemble_cuda(spec, &args, 1, nullptr);
            },
            [&] { same(out, found, "assemble " + std::to_string(one.width) + "x" + std::to_string(one.height)); });
      }
    }
  }
}

// Frames that lie beyond 2^31 bytes, among as many frames as an array may hold.
void compare_far() {
  const Picture size{kMaxFrames, 16, 18, 0};
  const FrameView small = view_of(size, Format::yuv420);
  Guarded<std::uint8_t> arena(static_cast<std::size_t>(small.frame_stride) * kMaxFrames);  // pages of zeros
  FrameView view = small;
  view.data = arena.data();
  const std::int32_t positions[] = {kMaxFrames - 1, 0, 4971027, kMaxFrames - 2, 4971026, 7456541};
  Frames near({6, 16, 18, 0}, Format::yuv420);
  for (int i = 0; i < 6; ++i)
    std::memcpy(arena.data() + positions[i] * small.frame_stride, near.data.data() + i * small.frame_stride,
                static_cast<std::size_t>(small.frame_stride));
  Guarded<std::int32_t> frame(6), near_frame(6);
  Guarded<std::uint8_t> flip(2);
  Guarded<float> box(24), color(72);
  flip.fill(0), color.fill(0);
  for (int at = 0; at < 6; ++at) {
    frame.data()[at] = positions[at], near_frame.data()[at] = at;
    const float all[] = {0.0f, 0.0f, 18.0f, 16.0f};
    std::copy(all, all + 4, box.data() + at * 4);
    for (int c = 0; c < 3; ++c) color.data()[at * 12 + c * 5] = 1.0f;
  }
  const AssembleSpec spec{2, 3, 12, 20, DType::float32, Layout::kcthw, false};
  Guarded<float> wanted(assemble_bytes(spec) / 4), out(assemble_bytes(spec) / 4), found(assemble_bytes(spec) / 4);
  AssembleArgs args{};
  for (int c = 0; c < 3; ++c) args.space.to_rgb[c * 4] = 1.0f, args.space.to_rgb[c * 4 + 2] = 0.5f;
  args.box = box.data(), args.flip = flip.data(), args.color = color.data();
  args.frames = near.view, args.frame = near_frame.data(), args.out = wanted.data();
  assemble_cpu(spec, &args, 1);
  args.frames = view, args.frame = frame.data(), args.out = out.data();
  assemble_cpu(spec, &args, 1);
  same(wanted, out, "assemble on the CPU, far away");
  args.out = found.data();
  both_orders(
      [&] {
        found.fill(0xAA);
        assemble_cuda(spec, &args, 1, nullptr);
      },
      [&] { same(wanted, found, "assemble, far away"); });
}

template <typename T>
std::vector<T> numbers(const std::string& line) {
  std::istringstream items(line);
  return {std::istream_iterator<T>(items), std::istream_iterator<T>()};
}

void compare_plans(const char* path) {
  std::ifstream file(path);
  std::string text, table, names, length;
  while (std::getline(file, text) && std::getline(file, table) && std::getline(file, names) &&
         std::getline(file, length)) {
    PlanSpec spec = parse_spec(text);
    const auto packed = pack_tables(spec, numbers<int>(table), numbers<int>(names));
    take_tables(spec, packed.data());
    const int shown = spec.slots * spec.times;
    for (int sample = 0; sample < 24; ++sample) {
      PlanArgs args{};
      // Long windows too, and now and then one that is too short.
      args.frames =
          sample % 8 == 7 ? 1 + below(plan_span(spec)) : std::stoi(length) + below(sample % 4 == 0 ? 700 : 20);
      args.height = 40 + below(120), args.width = 40 + below(sample % 5 == 0 ? 700 : 160);
      const std::size_t cells = static_cast<std::size_t>(motion_cells(args.height)) * motion_cells(args.width);
      Guarded<std::uint32_t> sad((args.frames - 1) * cells);
      const unsigned most = sample % 6 == 5  ? 1
                            : sample % 6 > 2 ? 3
                                             : 60000;  // nothing moves, much is alike, or nothing is
      for (std::size_t i = 0; i < sad.bytes() / 4; ++i) sad.data()[i] = random_bits() % most;
      Guarded<std::uint8_t> thumb(static_cast<std::size_t>(args.frames) * kThumb * kThumb);
      for (int f = 0; f < args.frames; ++f) {  // some frames are alike
        const int level = below(2) * 120;
        for (int i = 0; i < kThumb * kThumb; ++i)
          thumb.data()[f * kThumb * kThumb + i] = static_cast<std::uint8_t>(level + below(20));
      }
      Guarded<std::uint64_t> scratch(plan_scratch(args.frames, args.height, args.width));
      args.sad = sad.data(), args.thumb = thumb.data();
      give_scratch(spec, args, scratch.data());
      args.seed = random_bits(), args.epoch = random_bits(), args.sample = random_bits(), args.train = sample % 4 != 3;
      struct Out {
        Guarded<std::int32_t> frame, status;
        Guarded<float> box, color;
        Guarded<std::uint8_t> flip;
        Guarded<std::int64_t> label;
        Out(int shown_, int slots)
            : frame(shown_), status(1), box(shown_ * 4), color(shown_ * 12), flip(slots), label(1) {}
        void give(PlanArgs& to) {
          to.frame = frame.data(), to.box = box.data(), to.flip = flip.data(), to.color = color.data();
          to.label = label.data(), to.status = status.data();
        }
      } out(shown, spec.slots), found(shown, spec.slots);
      out.give(args);
      plan_cpu(spec, &args, 1);
      found.give(args);
      both_orders(
          [&] {
            scratch.fill(0xAA);
            found.frame.fill(0xAA), found.box.fill(0xAA), found.color.fill(0xAA), found.flip.fill(0xAA),
                found.label.fill(0xAA);
            plan_cuda(spec, &args, 1, nullptr);
          },
          [&] {
            same(out.frame, found.frame, text + ": frame"), same(out.box, found.box, text + ": box");
            same(out.flip, found.flip, text + ": flip"), same(out.color, found.color, text + ": color");
            same(out.label, found.label, text + ": label"), same(out.status, found.status, text + ": status");
          });
    }
  }
}

}  // namespace

int main(int, char** arguments) {
  compare_plans(arguments[1]);
  const int plans = cases;
  compare_motion();
  const int motions = cases;
  compare_reduce();
  const int reductions = cases;
  compare_assemble_as<float>(DType::float32);
  compare_assemble_as<_Float16>(DType::float16);
  compare_assemble_as<std::uint16_t>(DType::bfloat16);
  compare_assemble_as<std::uint8_t>(DType::uint8);
  compare_far();
  std::printf("%d plans, %d motions, %d reductions, %d pictures\n", plans, motions - plans, reductions - motions,
              cases - reductions);
}
