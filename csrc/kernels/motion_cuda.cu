// A warp processes a run of frames and compares each frame with the one before. Its lanes hold the block sums of that
// frame, so each byte of luma is read once; only the first frame of a run is read twice. A lane reads four lines of a
// cell, four lanes read a cell, and eight cells side by side are 128 bytes of a line. A lane loads all its lines before
// it uses the first, and loads the lines of the next frame before it adds those of this one, because bandwidth needs
// many loads in flight. Other warps of the same blocks make the thumbnails of the same frames at the same time and find
// their samples in the L2 cache.
#include <type_traits>

#include "cuda_check.h"
#include "motion.h"

namespace vidssl {
namespace {

constexpr int kWarp = 32, kThreads = 128, kWarps = kThreads / kWarp;
constexpr int kAcross = 8,
              kDown = kWarp / kAcross;               // cells of a warp (of the picture or thumbnail), lanes of a cell
constexpr int kBlocks = kMotionCell / kMotionBlock;  // blocks along one side of a cell
constexpr int kRun = 12;                             // frames of a run
constexpr int kThumbs = kThumb * kThumb,
              kMost = 8;  // samples along one side of a thumbnail's cell; 8 for 127 pixels
constexpr unsigned kAll = 0xFFFFFFFFu, kOnes = 0x01010101u;  // all lanes; factors to sum a word's bytes
constexpr unsigned kLuma = 66u | 129u << 8 | 25u << 16;      // factors of luma_at for a word with R, G, B
using Samples = Chunk<MotionArgs, 64>;                       // a usual batch in one launch
static_assert(sizeof(Samples) + sizeof(int) <= kParameterBytes);
static_assert(kDown * kMotionBlock == kMotionCell);

// The part of each frame that a lane reads.
struct Part {
  const std::uint8_t* data;  // in frame 0
  int stride, lines, bytes;  // lines, and bytes of each line, inside the picture
};

// `kCount` lines of a Part, as stored.
template <Format kFormat, int kCount = kMotionBlock>
struct Lines {
  static constexpr int kWords = kMotionCell / 4 * (kFormat == Format::yuv420 ? 1 : 3);
  unsigned word[kCount][kWords];
};

// Reads lines from `first` on in loads of the size of `Load`. Each line begins at a multiple of that size, so that no
// load reads beyond the stored line.
template <typename Load, Format kFormat, int kCount>
__device__ void read(const Part& part, std::int64_t frame, int first, Lines<kFormat, kCount>& lines) {
  constexpr int kSize = sizeof(Load), kLoads = Lines<kFormat>::kWords * 4 / kSize;
  const std::uint8_t* line = part.data + frame + static_cast<std::int64_t>(first) * part.stride;
  lines = {};
#pragma unroll
  for (int y = 0; y < kCount; ++y, line += part.stride) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      if (first + y >= part.lines || i * kSize >= part.bytes) continue;
      const Load loaded = __ldg(reinterpret_cast<const Load*>(line) + i);
      if constexpr (kSize < 4) {
        lines.word[y][i * kSize / 4] |= static_cast<unsigned>(loaded) << i * kSize % 4 * 8;
      } else {
        memcpy(&lines.word[y][i * kSize / 4], &loaded, sizeof loaded);
      }
    }
  }
}

// Luma sums of the blocks that a lane has, without the constant part that is the same in each frame.
struct Sums {
  unsigned block[kBlocks];
};

// Adds the luma of four pixels R, G, B in three words, minus 16 for each, so that zeros outside the picture add
// nothing.
__device__ unsigned add_pixels(const unsigned* word, unsigned sum) {
  const unsigned pixel[4] = {word[0], word[0] >> 24 | word[1] << 8, word[1] >> 16 | word[2] << 16, word[2] >> 8};
  for (const unsigned one : pixel) sum += __dp4a(one, kLuma, 128u) >> 8;
  return sum;
}

// Only the first `bytes` of each line are inside the picture and count.
template <Format kFormat, int kCount>
__device__ void add_up(Lines<kFormat, kCount> lines, int bytes, Sums& sums) {
  constexpr int kWords = Lines<kFormat>::kWords;
  if (bytes < 4 * kWords) {
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      const int kept = min(max(bytes - 4 * i, 0), 4);
      const unsigned mask = kept < 4 ? (1u << 8 * kept) - 1u : ~0u;
      for (int y = 0; y < kCount; ++y) lines.word[y][i] &= mask;
    }
  }
#pragma unroll
  for (int y = 0; y < kCount; ++y) {
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
      if constexpr (kFormat == Format::yuv420) {
        sums.block[b] = __dp4a(lines.word[y][b], kOnes, sums.block[b]);
      } else {
        sums.block[b] = add_pixels(lines.word[y] + 3 * b, sums.block[b]);
      }
    }
  }
}

// Computes a lane's sums frame by frame. It adds up `kCount` lines while it loads the next ones.
template <Format kFormat, typename Load, int kCount>
class Ahead {
 public:
  __device__ Ahead(const Part& part, std::int64_t frame) : part_(part), frame_(frame) {
    read<Load>(part_, frame_, 0, next_);
  }
  // Returns the sums of the frame that the constructor or the last call began to load, and begins to load `next`: the
  // offset of the next frame, or less than 0 for none.
  __device__ Sums sums(std::int64_t next) {
    Sums sums{};
#pragma unroll
    for (int y = 0; y < kMotionBlock; y += kCount) {
      const Lines<kFormat, kCount> lines = next_;
      if (y + kCount < kMotionBlock) {
        read<Load>(part_, frame_, y + kCount, next_);
      } else if (next >= 0) {
        read<Load>(part_, next, 0, next_);
      }
      add_up(lines, part_.bytes, sums);
    }
    frame_ = next;
    return sums;
  }

 private:
  const Part& part_;
  std::int64_t frame_;
  Lines<kFormat, kCount> next_;
};

// The samples of a thumbnail's cell that a lane adds up: every kDown-th one, in reading order, the same in each frame.
template <Format kFormat>
class Shrink {
 public:
  __device__ Shrink(const MotionArgs& args, int cell, int first) : view_(args.frames), first_(first) {
    view_.format = kFormat;  // a constant
    const ThumbCell rows = thumb_cell(cell / kThumb, view_.height), cols = thumb_cell(cell % kThumb, view_.width);
    const int across = ceil_div(cols.last - cols.first, cols.step);
    count_ = cell < kThumbs ? ceil_div(rows.last - rows.first, rows.step) * across : 0;
    scale_ = kOne / max(count_, 1) + 1;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int at = first + i * kDown, row = at * (kOne / across + 1) / kOne;
      pixel_[i] =
          at < count_ ? (rows.first + row * rows.step) * view_.cols + cols.first + (at - row * across) * cols.step : 0;
    }
  }
  __device__ void load(const std::uint8_t* frame) {
#pragma unroll
    for (int from = 0; from < kEach; from += kDown) {
      const bool any = __any_sync(kAll, from * kDown < count_);
#pragma unroll
      for (int i = from; i < from + kDown; ++i) {
        sample_[i] = 0;
        if (any && first_ + i * kDown < count_) sample_[i] = luma_at(view_, frame, 0, pixel_[i]);
      }
    }
  }
  // The mean of the samples that all lanes of the cell have loaded, halves rounded up.
  __device__ std::uint8_t mean() const {
    int sum = 0;
#pragma unroll
    for (const int sample : sample_) sum += sample;
    for (int apart = kAcross; apart < kWarp; apart *= 2) sum += __shfl_xor_sync(kAll, sum, apart);
    return static_cast<std::uint8_t>((sum + count_ / 2) * scale_ / kOne);
  }

 private:
  static constexpr int kEach = kMost * kMost / kDown;
  // n / count is n * (kOne / count + 1) / kOne in whole numbers if n * count < kOne.
  static constexpr int kOne = 1 << 20;
  FrameView view_;
  int first_, count_, scale_;
  int pixel_[kEach], sample_[kEach];
};

// A warp makes cells [strip * kAcross, (strip + 1) * kAcross), in reading order, of the thumbnails of frames [begin,
// end), and measures the changes of as many cells of the picture from each of these frames to the next. The samples of
// a thumbnail's cell lie elsewhere than the cells of the picture; warps of the same block, or of its neighbours, load
// the lines that hold them a frame ahead.
template <Format kFormat, typename Reader>
__device__ void run_strip(const MotionArgs& args, int strip, int begin, int end, int lane) {
  constexpr int kPixel = kFormat == Format::yuv420 ? 1 : 3;
  const FrameView& view = args.frames;
  const int cells_x = motion_cells(view.width), cells = cells_x * motion_cells(view.height),
            cell = strip * kAcross + lane % kAcross;
  const int top = cell / cells_x * kMotionCell + lane / kAcross * kMotionBlock, left = cell % cells_x * kMotionCell;
  const int stride = view.cols * kPixel,
            lines = cell < cells ? view.height - top : 0;  // a lane beyond the last cell reads nothing
  const Part part{view.data + static_cast<std::int64_t>(top) * stride + left * kPixel, stride, lines,
                  (view.width - left) * kPixel};
  std::uint32_t* sad = args.sad + static_cast<std::int64_t>(begin) * cells + cell;
  std::uint8_t* thumb = args.thumb + static_cast<std::int64_t>(begin) * kThumbs + cell;

  const auto offset = [&](int f) { return f <= end && f < view.frames ? f * view.frame_stride : -1; };
  Shrink<kFormat> shrink(args, cell, lane / kAcross);
  Reader reader(part, begin * view.frame_stride);
  Sums before = reader.sums(offset(begin + 1));
  for (int f = begin; f < end; ++f, sad += cells, thumb += kThumbs) {
    const bool shrinks = strip < kThumbs / kAcross;
    if (shrinks) shrink.load(view.data + f * view.frame_stride);
    if (f + 1 < view.frames) {
      const Sums now = reader.sums(offset(f + 2));
      unsigned change = 0;
#pragma unroll
      for (int b = 0; b < kBlocks; ++b)
        change += static_cast<unsigned>(abs(static_cast<int>(now.block[b]) - static_cast<int>(before.block[b])));
      for (int apart = kAcross; apart < kWarp; apart *= 2) change += __shfl_xor_sync(kAll, change, apart);
      if (lane < kAcross && cell < cells) *sad = change;
      before = now;
    }
    if (shrinks) {
      const std::uint8_t mean = shrink.mean();
      if (lane < kAcross) *thumb = mean;
    }
  }
}

// Uses the largest loads that the alignment of the sample's lines allows.
template <Format kFormat>
__device__ void run_strip(const MotionArgs& args, int strip, int begin, int lane) {
  constexpr bool kYuv = kFormat == Format::yuv420;
  constexpr int kCount = kYuv ? kMotionBlock : kMotionBlock / 2;
  const FrameView& view = args.frames;
  const int end = min(begin + kRun, view.frames);
  if (begin >= end) return;
  const auto where = reinterpret_cast<std::uintptr_t>(view.data) | static_cast<std::uintptr_t>(view.frame_stride) |
                     static_cast<std::uintptr_t>(view.cols * (kYuv ? 1 : 3));
  if (where % 16 == 0) {
    run_strip<kFormat, Ahead<kFormat, uint4, kCount>>(args, strip, begin, end, lane);
  } else if (where % 4 == 0) {
    run_strip<kFormat, Ahead<kFormat, unsigned, kCount>>(args, strip, begin, end, lane);
  } else if (where % 2 == 0) {
    run_strip<kFormat, Ahead<kFormat, std::uint16_t, 1>>(args, strip, begin, end, lane);
  } else {
    run_strip<kFormat, Ahead<kFormat, std::uint8_t, 1>>(args, strip, begin, end, lane);
  }
}

// Grid: (blocks of a run of frames x runs, samples). Each warp works on its own.
__global__ void __launch_bounds__(kThreads, 4) motion_kernel(const __grid_constant__ Samples samples, int blocks) {
  const MotionArgs& args = samples.sample[blockIdx.y];
  const int block = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  const int strip = block % blocks * kWarps + thread / kWarp, begin = block / blocks * kRun;
  if (args.frames.format == Format::yuv420) {
    run_strip<Format::yuv420>(args, strip, begin, thread % kWarp);
  } else {
    run_strip<Format::rgb>(args, strip, begin, thread % kWarp);
  }
}

}  // namespace

void motion_cuda(const MotionArgs* samples, int count, void* stream) {
  for_each_chunk<Samples>("motion", samples, count, [stream](const Samples& chunk, int size) {
    int frames = 0, cells = 0;
    for (int i = 0; i < size; ++i) {
      const FrameView& view = chunk.sample[i].frames;
      frames = std::max(frames, view.frames);
      cells = std::max(cells, motion_cells(view.width) * motion_cells(view.height));
    }
    const int blocks = ceil_div(ceil_div(std::max(cells, kThumbs), kAcross), kWarps), runs = ceil_div(frames, kRun);
    const dim3 grid(static_cast<unsigned>(runs * blocks), static_cast<unsigned>(size));
    if (runs > 0) launch(motion_kernel, grid, dim3(kThreads), stream, chunk, blocks);
  });
}

}  // namespace vidssl
