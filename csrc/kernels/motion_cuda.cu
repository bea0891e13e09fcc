// How it works: a thread goes through a run of frames with the block sums of the last one in registers, so that every byte of luma is read
// once (and the first frame of a run once more). It holds four lines of one cell: eight neighbouring cells make 128 bytes of a line, and
// four such strips of lines make a warp, which adds up its cells by itself. Thumbnails read every so many samples of what has just been
// read: so windows are taken a few at a time, as many as stay in the second cache.
#include "cuda_check.h"
#include "motion.h"

namespace vidssl {
namespace {

constexpr int kWarp = 32, kThreads = 128, kThumbs = kThumb * kThumb;
constexpr int kAcross = 8, kStrips = kWarp / kAcross;        // cells beside each other, and strips of kMotionBlock lines, of a warp
constexpr int kBlocks = kMotionCell / kMotionBlock;          // of a cell, along one side
constexpr int kRun = 16;                                     // frames that a thread compares with the one before
constexpr std::int64_t kNear = std::int64_t{24} << 20;       // bytes of luma that stay in the second cache, with room to spare
constexpr unsigned kAll = 0xFFFFFFFFu, kOnes = 0x01010101u;  // every lane; the sum of a word's bytes
constexpr unsigned kLuma = 66u | 129u << 8 | 25u << 16;      // luma_at of a word that holds R, G, B, by its bytes
using Samples = Chunk<MotionArgs, 32>;
static_assert(sizeof(Samples) + sizeof(int) <= kParameterBytes);
static_assert(kStrips * kMotionBlock == kMotionCell);

// Sixteen neighbouring samples of a line, added up by fours.
struct Sums {
  unsigned block[kBlocks];
};

__device__ void add_word(unsigned word, unsigned& sum) { sum = __dp4a(word, kOnes, sum); }

// Four pixels R, G, B in three words.
__device__ void add_pixels(unsigned a, unsigned b, unsigned c, unsigned& sum) {
  const unsigned pixel[4] = {a, a >> 24 | b << 8, b >> 16 | c << 16, c >> 8};
  for (const unsigned one : pixel) sum += 16u + (__dp4a(one, kLuma, 128u) >> 8);
}

// A line of a cell, in loads of `Load` bytes; it begins at a multiple of them, and lies within the picture.
template <typename Load>
__device__ void add_line(const FrameView& view, const std::uint8_t* line, Sums& sums) {
  constexpr int kWords = sizeof(Load) / sizeof(unsigned), kMost = kMotionCell * 3 / 4;
  const int words = view.format == Format::yuv420 ? kMotionCell / 4 : kMost;
  unsigned word[kMost];
  for (int i = 0; i < kMost; i += kWords) {
    if (i >= words) break;
    const Load loaded = __ldg(reinterpret_cast<const Load*>(line) + i / kWords);
    memcpy(word + i, &loaded, sizeof loaded);
  }
  if (view.format == Format::yuv420) {
    for (int b = 0; b < kBlocks; ++b) add_word(word[b], sums.block[b]);
  } else {
    for (int b = 0; b < kBlocks; ++b) add_pixels(word[3 * b], word[3 * b + 1], word[3 * b + 2], sums.block[b]);
  }
}

// Of kMotionBlock lines of one cell, from (top, left) on; what lies outside the picture counts 0. `unit`: bytes that every line of a cell
// begins at a multiple of.
__device__ Sums block_sums(const FrameView& view, int f, int top, int left, int unit) {
  Sums sums{};
  const std::uint8_t* frame = view.data + f * view.frame_stride;
  const int bytes = view.format == Format::yuv420 ? 1 : 3;
  const bool whole = left + kMotionCell <= view.width;
  for (int y = top; y < top + kMotionBlock; ++y) {
    if (y >= view.height) break;
    const std::uint8_t* line = frame + (static_cast<std::int64_t>(y) * view.cols + left) * bytes;
    if (whole && unit == 16) {
      add_line<uint4>(view, line, sums);
    } else if (whole && unit == 4) {
      add_line<unsigned>(view, line, sums);
    } else {
      for (int x = left; x < min(left + kMotionCell, view.width); ++x)
        sums.block[(x - left) / kMotionBlock] += static_cast<unsigned>(luma_at(view, frame, y, x));
    }
  }
  return sums;
}

// Of the largest loads that every line of the sample's cells can be read with.
__device__ int load_unit(const FrameView& view) {
  const auto where = reinterpret_cast<std::uintptr_t>(view.data) | static_cast<std::uintptr_t>(view.frame_stride) |
                     static_cast<std::uintptr_t>(view.cols * (view.format == Format::yuv420 ? 1 : 3));
  return where % 16 == 0 ? 16 : where % 4 == 0 ? 4 : 1;
}

// Block: kThreads / kWarp strips of kAcross cells, through kRun pairs of frames.
__global__ void __launch_bounds__(kThreads) sad_kernel(const __grid_constant__ Samples samples, int blocks_a_run) {
  const MotionArgs& args = samples.sample[blockIdx.y];
  const FrameView& view = args.frames;
  const int block = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x), lane = thread % kWarp;
  const int cells_x = motion_cells(view.width), cells_y = motion_cells(view.height), strips_x = ceil_div(cells_x, kAcross);
  const int strip = block % blocks_a_run * (kThreads / kWarp) + thread / kWarp, begin = block / blocks_a_run * kRun;
  const int end = min(begin + kRun, view.frames - 1);
  if (strip >= strips_x * cells_y || begin >= end) return;  // the whole warp
  const int cell_x = strip % strips_x * kAcross + lane % kAcross, cell_y = strip / strips_x;
  const int top = cell_y * kMotionCell + lane / kAcross * kMotionBlock, left = cell_x * kMotionCell, unit = load_unit(view);
  Sums before = block_sums(view, begin, top, left, unit);
  for (int f = begin; f < end; ++f) {
    const Sums now = block_sums(view, f + 1, top, left, unit);
    unsigned change = 0;
    for (int b = 0; b < kBlocks; ++b)
      change += static_cast<unsigned>(abs(static_cast<int>(now.block[b]) - static_cast<int>(before.block[b])));
    for (int apart = kAcross; apart < kWarp; apart *= 2) change += __shfl_xor_sync(kAll, change, apart);
    if (lane < kAcross && cell_x < cells_x) args.sad[(static_cast<std::int64_t>(f) * cells_y + cell_y) * cells_x + cell_x] = change;
    before = now;
  }
}

// Block: the thumbnail of one frame, one cell a thread.
__global__ void __launch_bounds__(kThumbs) thumb_kernel(const __grid_constant__ Samples samples) {
  const MotionArgs& args = samples.sample[blockIdx.y];
  const FrameView& view = args.frames;
  const int f = static_cast<int>(blockIdx.x), cell = static_cast<int>(threadIdx.x);
  if (f >= view.frames) return;
  const std::uint8_t* frame = view.data + f * view.frame_stride;
  const ThumbCell rows = thumb_cell(cell / kThumb, view.height), cols = thumb_cell(cell % kThumb, view.width);
  std::uint32_t sum = 0, count = 0;
  for (int y = rows.first; y < rows.last; y += rows.step)
    for (int x = cols.first; x < cols.last; x += cols.step, ++count) sum += static_cast<std::uint32_t>(luma_at(view, frame, y, x));
  args.thumb[f * kThumbs + cell] = static_cast<std::uint8_t>((sum + count / 2) / count);
}

std::int64_t luma_bytes(const FrameView& view) {
  return static_cast<std::int64_t>(view.frames) * view.height * view.cols * (view.format == Format::yuv420 ? 1 : 3);
}

void score(const Samples& chunk, int size, void* stream) {
  int frames = 0, blocks = 1;
  for (int i = 0; i < size; ++i) {
    const FrameView& view = chunk.sample[i].frames;
    frames = std::max(frames, view.frames);
    blocks = std::max(blocks, ceil_div(ceil_div(motion_cells(view.width), kAcross) * motion_cells(view.height), kThreads / kWarp));
  }
  const auto samples = static_cast<unsigned>(size);
  if (frames > 1)
    launch(sad_kernel, dim3(static_cast<unsigned>(ceil_div(frames - 1, kRun) * blocks), samples), dim3(kThreads), stream, chunk, blocks);
  if (frames > 0) launch(thumb_kernel, dim3(static_cast<unsigned>(frames), samples), dim3(kThumbs), stream, chunk);
}

}  // namespace

void motion_cuda(const MotionArgs* samples, int count, void* stream) {
  for (int first = 0, last = 0; first < count; first = last) {
    std::int64_t bytes = 0;
    for (last = first; last < count && (last == first || bytes + luma_bytes(samples[last].frames) <= kNear); ++last)
      bytes += luma_bytes(samples[last].frames);
    for_each_chunk<Samples>("motion", samples + first, last - first,
                            [stream](const Samples& chunk, int size) { score(chunk, size, stream); });
  }
}

}  // namespace vidssl
