// plan: draws the frames that a tuple shows, their crops and colours, and the label. A pretext is a table (PlanSpec).
//
// A window of F frames holds groups x bases "bases". A base is a run of `length` frames that are `stride` frames apart.
// The frames of all bases are the pool; frame t of a base has the pool number (group * bases + base) * length + t. An
// arrangement is a row of the table. It holds the pool number that slot k shows at time t. If the picture is divided
// into a grid of cells, it holds cell * (size of the pool) + pool number, and the crop lies in that cell. The kernel
// draws the bases first (uniform, or weighted by motion), then the arrangement, then crop, flip and colour. Every draw
// is `draw(seed, epoch, sample, purpose, index)` of philox.h.
#pragma once

#include "motion.h"
#include "philox.h"
#include "view.h"

namespace vidssl {

enum class Draw : int {
  chain = 0,  // bases follow each other: gap_min..gap_max unused frames lie between one base's last frame and the next
              // base's first
  free = 1,   // bases are drawn without replacement from all starts that fit, then sorted
};
enum class Weight : int { uniform = 0, motion = 1 };
enum class Scope : int { frame = 0, clip = 1, tuple = 2 };  // one draw of an augmentation serves one of these
enum class PlanStatus : int {
  ok = 0,
  out_of_limits = 1,  // no try met `limits`; the plan is that of the last try
  too_similar = 2,    // no try met `distinct_min`; the plan is that of the last try
  too_short = 3,      // the window cannot hold the bases; all frames are frame 0
};

constexpr int kMaxBases = 64;  // groups * bases
constexpr int kMaxLimits = 8;
constexpr int kMaxDistinct = 8;
constexpr int kMaxTries = 10'000;    // each of tries * kMaxBases draws has its own index; all take less than a second
constexpr int kMaxShown = 1 << 20;   // slots * times
constexpr int kMaxPlaces = 1 << 30;  // most frames that bases cover, and most pool numbers

struct Augment {
  int resize_h, resize_w;  // the picture is resized to this size; the aspect ratio is not kept
  int short_side;          // if > 0: its shorter side is resized to this length instead; the aspect ratio is kept
  int region_h, region_w;  // if > 0: crops come only from the region of this size in which the pool's frames move most;
                           // without motion it is the centre
  int crop_h, crop_w;      // size of the crop, at random in training, otherwise at the centre
  Scope crop_scope;
  double area_min, area_max;  // if > 0: a crop covers a fraction in this range of the picture (or region, or cell), and
                              // is then resized to crop_h x crop_w
  double aspect_min, aspect_max;  // log2 of such a crop's width / height
  int jitter;  // each frame's crop moves by up to +-jitter pixels along each axis, but not along an axis where it would
               // leave the picture or the region
  float flip;  // probability of a mirrored slot
  Scope flip_scope;                        // clip or tuple
  float brightness, contrast, saturation;  // spread: factors in 1 +- spread; contrast keeps 128
  float hue;                               // spread, in turns around the grey axis
  float grey, split;                       // probability of grey, and of one channel copied to all three
  Scope color_scope;
  float mean[3], std[3];  // of values divided by 255
};

struct PlanSpec {
  int groups, bases, length, stride;
  Draw draw;
  int gap_min, gap_max;
  Weight weight;
  int tries;
  int limit_count;
  int limits[kMaxLimits][4];  // i, j, min, max: min <= start of base j - start of base i <= max, inside each group
  int distinct_count;
  int distinct[kMaxDistinct][2];  // i, j: the thumbnails of these bases' first frames differ by at least
  std::uint32_t distinct_min;     // this sum of squared differences
  int grid_h, grid_w;             // rows and columns of cells of the picture (or of the region); 1, 1: one cell
  int arrangement_count, slots, times;
  // [arrangement_count, slots, times], host memory for plan_cpu, device memory for plan_cuda. A number outside the pool
  // of all cells is clamped to it: a kernel cannot raise an error, and faces check only the memory that they can read.
  const std::int32_t* arrangements;
  const std::int64_t* labels;  // [arrangement_count]
  Augment augment;
};

struct PlanArgs {
  int frames, height, width;  // of the window and of its picture
  const std::uint32_t*
      sad;  // sad and thumb of motion; sad may be null if plan_reads_sad is false, thumb if distinct_count is 0
  const std::uint8_t* thumb;
  std::uint64_t *prefix, *above;  // scratch, set by give_scratch
  std::uint64_t seed, sample;
  std::uint32_t epoch;
  int train;             // 0: centre crop, no flip, no jitter, no colour augmentation
  std::int32_t* frame;   // [slots, times] positions in the window
  float* box;            // [slots, times, 4] x, y, w, h in picture pixels
  std::uint8_t* flip;    // [slots]
  float* color;          // [slots, times, 3, 4] from RGB in 0..255 to the encoder's input
  std::int64_t* label;   // [1]
  std::int32_t* status;  // [1] PlanStatus
};

// Frames of the window that one base covers, from its first frame to its last.
VIDSSL_HD inline int plan_extent(const PlanSpec& spec) { return (spec.length - 1) * spec.stride + 1; }

// Smallest number of frames of a window.
VIDSSL_HD inline int plan_span(const PlanSpec& spec) {
  return spec.draw == Draw::chain ? spec.bases * plan_extent(spec) + (spec.bases - 1) * spec.gap_max
                                  : spec.bases - 1 + plan_extent(spec);
}

// The size of the resized picture: the length along one axis, of which `other` is the other one. The longer side of a
// picture that keeps its aspect ratio is rounded down, as torchvision rounds it.
VIDSSL_HD inline std::int64_t resized(int short_side, int resize, std::int64_t length, std::int64_t other) {
  if (short_side == 0) return resize;
  return length <= other ? short_side : short_side * length / other;
}

// True if the plan depends on the sad of motion.
VIDSSL_HD inline bool plan_reads_sad(const PlanSpec& spec) {
  return spec.weight == Weight::motion || spec.augment.region_h > 0;
}

// Number of uint64 of scratch that a plan needs if it reads sad.
inline std::int64_t plan_scratch(int frames, int height, int width) {
  return std::int64_t{frames} + 2 + std::int64_t{motion_cells(height) + 1} * (motion_cells(width) + 1);
}

// Points `prefix` (sums of sums over frames, for Weight::motion) and `above` (sums over cells, to place a region) into
// the scratch; null if the plan does not need them.
inline void give_scratch(const PlanSpec& spec, PlanArgs& args, std::uint64_t* scratch) {
  args.prefix = spec.weight == Weight::motion ? scratch : nullptr;
  args.above = spec.augment.region_h > 0 ? scratch + args.frames + 2 : nullptr;
}

void plan_cpu(const PlanSpec& spec, const PlanArgs* samples, int count);
void plan_cuda(const PlanSpec& spec, const PlanArgs* samples, int count,
               void* stream);  // `spec` and `samples` are host memory

}  // namespace vidssl
