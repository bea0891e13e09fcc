// plan: which frames a pretext shows, cut and coloured how, and the label: a pretext is a table (PlanSpec).
//
// A window of F frames holds groups x bases "bases", each the first of `length` frames `stride` apart; together they
// are the pool, numbered (group * bases + base) * length + t. An arrangement is a row of the table: for slot k and time
// t the pool number to show. Drawing it: bases first (uniform, or weighted by motion), then the arrangement, then crop,
// flip and colour. Every draw is `draw(seed, epoch, sample, purpose, index)` of philox.h.
#pragma once

#include "motion.h"
#include "philox.h"
#include "view.h"

namespace vidssl {

enum class Draw : int {
  chain = 0,  // bases follow each other: gap_min..gap_max unused frames lie between one base's last frame and the next
              // base's first
  free = 1,   // bases are drawn without replacement from all places that fit, then sorted
};
enum class Weight : int { uniform = 0, motion = 1 };
enum class Scope : int { frame = 0, clip = 1, tuple = 2 };  // how much shares one draw of an augmentation
enum class PlanStatus : int {
  ok = 0,
  out_of_limits = 1,  // no try met `limits`; the last one is given
  too_similar = 2,    // no try met `distinct_min`; the last one is given
  too_short = 3,      // the window cannot hold the bases; frame 0 everywhere
};

constexpr int kMaxBases = 64;  // groups * bases
constexpr int kMaxLimits = 8;
constexpr int kMaxDistinct = 8;
constexpr int kMaxTries = 10'000;    // tries * kMaxBases draws have numbers of their own, and end in a second
constexpr int kMaxShown = 1 << 20;   // slots * times
constexpr int kMaxPlaces = 1 << 30;  // frames that bases take up, and numbers of the pool

struct Augment {
  int resize_h, resize_w;  // the picture is resized to this (aspect not kept), then
  int region_h, region_w;  // where > 0: only this much of it is used, the part in which the pool's frames move most, or
                           // the centre, then
  int crop_h, crop_w;      // this much is cut out of it: at random in training, else the centre
  Scope crop_scope;
  int jitter;  // then every frame moves by up to +-jitter pixels an axis; an axis that would leave the picture (the
               // region) stays
  float flip;  // probability of a mirrored slot
  Scope flip_scope;                        // clip or tuple
  float brightness, contrast, saturation;  // factors drawn from 1 +- this; contrast turns about 128
  float grey, split;                       // probability of grey; of one channel copied into all three
  Scope color_scope;
  float mean[3], std[3];  // after division by 255
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
  int arrangement_count, slots, times;
  // [arrangement_count, slots, times], host memory for plan_cpu, device memory for plan_cuda; a number outside the pool
  // is taken for its nearest one (a kernel cannot raise: faces check what they can read)
  const std::int32_t* arrangements;
  const std::int64_t* labels;  // [arrangement_count]
  Augment augment;
};

struct PlanArgs {
  int frames, height, width;  // of the window and of its picture
  const std::uint32_t*
      sad;  // as motion gives them; null where plan_reads_sad is false, thumb where the spec compares no frames
  const std::uint8_t* thumb;
  std::uint64_t *prefix, *columns;  // scratch, as give_scratch lays it out
  std::uint64_t seed, sample;
  std::uint32_t epoch;
  int train;             // 0: centre crop, no flip, no jitter, no colour augmentation
  std::int32_t* frame;   // [slots, times] position in the window
  float* box;            // [slots, times, 4] x, y, w, h in picture pixels
  std::uint8_t* flip;    // [slots]
  float* color;          // [slots, times, 3, 4] from RGB in 0..255 to the encoder's input
  std::int64_t* label;   // [1]
  std::int32_t* status;  // [1] PlanStatus
};

// Frames from the first of the pool's frames to one past the last, of one base.
VIDSSL_HD inline int plan_extent(const PlanSpec& spec) { return (spec.length - 1) * spec.stride + 1; }

// Fewest frames a window must have.
VIDSSL_HD inline int plan_span(const PlanSpec& spec) {
  return spec.draw == Draw::chain ? spec.bases * plan_extent(spec) + (spec.bases - 1) * spec.gap_max
                                  : spec.bases - 1 + plan_extent(spec);
}

// True if a plan depends on motion's sad.
VIDSSL_HD inline bool plan_reads_sad(const PlanSpec& spec) {
  return spec.weight == Weight::motion || spec.augment.region_h > 0;
}

// Number of uint64 of scratch that a plan needs if it reads sad.
inline std::int64_t plan_scratch(int frames, int width) {
  return std::int64_t{frames} + 1 + 2 * motion_cells(width) + 1;
}

// Points `prefix` (sums over frames, for Weight::motion) and `columns` (sums over columns of cells, to place a region)
// into the scratch; null if the plan does not need them.
inline void give_scratch(const PlanSpec& spec, PlanArgs& args, std::uint64_t* scratch) {
  args.prefix = spec.weight == Weight::motion ? scratch : nullptr;
  args.columns = spec.augment.region_h > 0 ? scratch + args.frames + 1 : nullptr;
}

void plan_cpu(const PlanSpec& spec, const PlanArgs* samples, int count);
void plan_cuda(const PlanSpec& spec, const PlanArgs* samples, int count,
               void* stream);  // `spec` and `samples` themselves are host memory

}  // namespace vidssl
