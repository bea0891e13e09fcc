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
constexpr int kRun = 12;                             // frames that a warp compares with the frame before
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

// Computes a lane's sums frame by frame, while it loads the lines of the next frame.
template <Format kFormat, typename Load>
class Ahead {
 public:
  __device__ Ahead(const Part& part, std::int64_t frame) : part_(part) { read<Load>(part_, frame, 0, next_); }
  // Returns the sums of the frame that the constructor or the last call began to load, and begins to load the frame at
  // the offset `next` if there are `more`. Offsets are negative where frames are stored backwards.
  __device__ Sums sums(bool more, std::int64_t next) {
    const Lines<kFormat> lines = next_;
    if (more) read<Load>(part_, next, 0, next_);
    Sums sums{};
    add_up(lines, part_.bytes, sums);
    return sums;
  }

 private:
  const Part& part_;
  Lines<kFormat> next_;
};

// The same if the registers cannot hold two frames: it reads `kCount` lines at a time.
template <Format kFormat, typename Load, int kCount>
class InTurn {
 public:
  __device__ InTurn(const Part& part, std::int64_t frame) : part_(part), frame_(frame) {}
  __device__ Sums sums(bool, std::int64_t next) {
    Sums sums{};
#pragma unroll 1
    for (int y = 0; y < min(kMotionBlock, part_.lines); y += kCount) {
      Lines<kFormat, kCount> lines;
      read<Load>(part_, frame_, y, lines);
      add_up(lines, part_.bytes, sums);
    }
    frame_ = next;
    return sums;
  }

 private:
  const Part& part_;
  std::int64_t frame_;
};

// A warp measures the changes of cells [first, first + kAcross), in reading order, from each of frames [begin, end) to
// the next.
template <Format kFormat, typename Reader>
__device__ void score(const MotionArgs& args, int first, int begin, int end, int lane) {
  constexpr int kPixel = kFormat == Format::yuv420 ? 1 : 3;
  const FrameView& view = args.frames;
  const int cells_x = motion_cells(view.width), cells = cells_x * motion_cells(view.height),
            cell = first + lane % kAcross;
  const int top = cell / cells_x * kMotionCell + lane / kAcross * kMotionBlock, left = cell % cells_x * kMotionCell;
  const int stride = view.cols * kPixel,
            lines = cell < cells ? view.height - top : 0;  // a lane beyond the last cell reads nothing
  const Part part{view.data + static_cast<std::int64_t>(top) * stride + left * kPixel, stride, lines,
                  (view.width - left) * kPixel};
  std::uint32_t* sad = args.sad + static_cast<std::int64_t>(begin) * cells + cell;

  std::int64_t frame = begin * view.frame_stride;
  Reader reader(part, frame);
  Sums before = reader.sums(true, frame += view.frame_stride);
  for (int f = begin; f < end; ++f, sad += cells) {
    const bool more = f + 1 < end;
    if (more) frame += view.frame_stride;
    const Sums now = reader.sums(more, frame);
    unsigned change = 0;
#pragma unroll
    for (int b = 0; b < kBlocks; ++b)
      change += static_cast<unsigned>(abs(static_cast<int>(now.block[b]) - static_cast<int>(before.block[b])));
    for (int apart = kAcross; apart < kWarp; apart *= 2) change += __shfl_xor_sync(kAll, change, apart);
    if (lane < kAcross && cell < cells) *sad = change;
    before = now;
  }
}

// Uses the largest loads that the alignment of the sample's lines allows.
template <Format kFormat>
__device__ void score(const MotionArgs& args, int first, int begin, int end, int lane) {
  constexpr bool kYuv = kFormat == Format::yuv420;
  const FrameView& view = args.frames;
  const auto where = reinterpret_cast<std::uintptr_t>(view.data) | static_cast<std::uintptr_t>(view.frame_stride) |
                     static_cast<std::uintptr_t>(view.cols * (kYuv ? 1 : 3));
  if (where % 16 == 0) {
    using Reader = std::conditional_t<kYuv, Ahead<kFormat, uint4>, InTurn<kFormat, uint4, kMotionBlock>>;
    score<kFormat, Reader>(args, first, begin, end, lane);
  } else if (where % 4 == 0) {
    using Reader = std::conditional_t<kYuv, Ahead<kFormat, unsigned>, InTurn<kFormat, unsigned, kMotionBlock / 2>>;
    score<kFormat, Reader>(args, first, begin, end, lane);
  } else if (where % 2 == 0) {
    score<kFormat, InTurn<kFormat, std::uint16_t, 1>>(args, first, begin, end, lane);
  } else {
    score<kFormat, InTurn<kFormat, std::uint8_t, 1>>(args, first, begin, end, lane);
  }
}

// A warp makes cells [first, first + kAcross) of the thumbnails of frames [begin, end). A lane reads every kDown-th
// line of its cell.
template <Format kFormat>
__device__ void shrink(const MotionArgs& args, int first, int begin, int end, int lane) {
  FrameView view = args.frames;
  view.format = kFormat;  // a constant, so that a lane loads all its samples before it adds them
  const int cell = first + lane % kAcross, line = lane / kAcross;
  const ThumbCell rows = thumb_cell(cell / kThumb, view.height), cols = thumb_cell(cell % kThumb, view.width);
  const int count = ceil_div(rows.last - rows.first, rows.step) * ceil_div(cols.last - cols.first, cols.step);
  for (int f = begin; f < end; ++f) {
    const std::uint8_t* frame = view.data + f * view.frame_stride;
    int sum = 0;
#pragma unroll
    for (int i = line; i < line + kMost; i += kDown) {
#pragma unroll
      for (int j = 0; j < kMost; ++j) {
        const int y = rows.first + i * rows.step, x = cols.first + j * cols.step;
        if (y < rows.last && x < cols.last) sum += luma_at(view, frame, y, x);
      }
    }
    for (int apart = kAcross; apart < kWarp; apart *= 2) sum += __shfl_xor_sync(kAll, sum, apart);
    if (line == 0)
      args.thumb[static_cast<std::int64_t>(f) * kThumbs + cell] = static_cast<std::uint8_t>((sum + count / 2) / count);
  }
}

template <Format kFormat>
__device__ void run_warp(const MotionArgs& args, int warp, int begin, int lane) {
  const FrameView& view = args.frames;
  const int strips = ceil_div(motion_cells(view.width) * motion_cells(view.height), kAcross),
            thumb = (warp - strips) * kAcross;
  if (warp < strips) {
    const int end = min(begin + kRun, view.frames - 1);
    if (begin < end) score<kFormat>(args, warp * kAcross, begin, end, lane);
  } else if (thumb < kThumbs) {
    shrink<kFormat>(args, thumb, begin, min(begin + kRun, view.frames), lane);
  }
}

// Grid: (blocks of a run of frames, runs, samples). Each warp works on its own.
__global__ void __launch_bounds__(kThreads) motion_kernel(const __grid_constant__ Samples samples, int blocks) {
  const MotionArgs& args = samples.sample[blockIdx.y];
  const int block = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  const int warp = block % blocks * kWarps + thread / kWarp, begin = block / blocks * kRun;
  if (args.frames.format == Format::yuv420) {
    run_warp<Format::yuv420>(args, warp, begin, thread % kWarp);
  } else {
    run_warp<Format::rgb>(args, warp, begin, thread % kWarp);
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
    const int blocks = ceil_div(ceil_div(cells, kAcross) + kThumbs / kAcross, kWarps), runs = ceil_div(frames, kRun);
    const dim3 grid(static_cast<unsigned>(runs * blocks), static_cast<unsigned>(size));
    if (runs > 0) launch(motion_kernel, grid, dim3(kThreads), stream, chunk, blocks);
  });
}

}  // namespace vidssl
