#include "cuda_check.h"
#include "motion.h"

namespace vidssl {
namespace {

constexpr int kThreads = 128, kThumbs = kThumb * kThumb;
using Samples = Chunk<MotionArgs, 32>;

// Block: kThreads cells of one pair of frames, one cell a thread.
__global__ void __launch_bounds__(kThreads) sad_kernel(Samples samples, int blocks_a_frame) {
  const MotionArgs& args = samples.sample[blockIdx.y];
  const FrameView& view = args.frames;
  const int f = blockIdx.x / blocks_a_frame, cell = blockIdx.x % blocks_a_frame * kThreads + threadIdx.x;
  const int cells_x = motion_cells(view.width), cells = motion_cells(view.height) * cells_x;
  if (f + 1 >= view.frames || cell >= cells) return;
  const std::uint8_t* before = view.data + f * view.frame_stride;
  const std::uint8_t* after = before + view.frame_stride;
  const int top = cell / cells_x * kMotionCell, left = cell % cells_x * kMotionCell;
  const int bottom = min(top + kMotionCell, view.height), right = min(left + kMotionCell, view.width);
  std::uint32_t sum = 0;
  for (int y = top; y < bottom; y += kMotionBlock) {
    for (int x = left; x < right; x += kMotionBlock) {
      int change = 0;
      for (int v = y; v < min(y + kMotionBlock, bottom); ++v)
        for (int u = x; u < min(x + kMotionBlock, right); ++u) change += luma_at(view, after, v, u) - luma_at(view, before, v, u);
      sum += static_cast<std::uint32_t>(abs(change));
    }
  }
  args.sad[static_cast<std::int64_t>(f) * cells + cell] = sum;
}

// Block: the thumbnail of one frame, one cell a thread.
__global__ void __launch_bounds__(kThumbs) thumb_kernel(Samples samples) {
  const MotionArgs& args = samples.sample[blockIdx.y];
  const FrameView& view = args.frames;
  const int f = blockIdx.x;
  if (f >= view.frames) return;
  const std::uint8_t* frame = view.data + f * view.frame_stride;
  const ThumbCell rows = thumb_cell(threadIdx.x / kThumb, view.height), cols = thumb_cell(threadIdx.x % kThumb, view.width);
  std::uint32_t sum = 0, count = 0;
  for (int y = rows.first; y < rows.last; y += rows.step)
    for (int x = cols.first; x < cols.last; x += cols.step, ++count) sum += static_cast<std::uint32_t>(luma_at(view, frame, y, x));
  args.thumb[f * kThumbs + threadIdx.x] = static_cast<std::uint8_t>((sum + count / 2) / count);
}

}  // namespace

void motion_cuda(const MotionArgs* samples, int count, void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  for_each_chunk<Samples>("motion", samples, count, [queue](const Samples& chunk, int size) {
    int frames = 0, cells = 1;
    for (int i = 0; i < size; ++i) {
      const FrameView& view = chunk.sample[i].frames;
      frames = std::max(frames, view.frames);
      cells = std::max(cells, motion_cells(view.height) * motion_cells(view.width));
    }
    const int blocks = ceil_div(cells, kThreads);
    if (frames > 1) sad_kernel<<<dim3((frames - 1) * blocks, size), kThreads, 0, queue>>>(chunk, blocks);
    if (frames > 0) thumb_kernel<<<dim3(frames, size), kThumbs, 0, queue>>>(chunk);
  });
}

}  // namespace vidssl
