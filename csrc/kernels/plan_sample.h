// The plan of one sample, for one thread of either twin. plan.h says what it means.
#pragma once

#include <cmath>

#include "motion.h"
#include "plan.h"

namespace vidssl {

// Motion of frame f: the whole picture's sad against the frame before; frame 0 takes frame 1's.
VIDSSL_HD inline std::uint64_t motion_energy(const PlanArgs& args, int f) {
  if (args.frames < 2) return 0;
  const std::int64_t cells = static_cast<std::int64_t>(motion_cells(args.height)) * motion_cells(args.width);
  const std::uint32_t* sad = args.sad + (f > 0 ? f - 1 : 0) * cells;
  std::uint64_t sum = 0;
  for (std::int64_t i = 0; i < cells; ++i) sum += sad[i];
  return sum;
}

// Weight of a base at `place`: the motion within its frames, one added to each so that a still video can be drawn from.
VIDSSL_HD inline std::uint64_t base_weight(const PlanArgs& args, int place, int extent) {
  return args.prefix ? args.prefix[place + extent] - args.prefix[place] : 1;
}

// Draws one of `places` in proportion to base_weight, leaving out those within the ascending list `taken`.
VIDSSL_HD inline int draw_place(const PlanArgs& args, int places, int extent, const int* taken, int taken_count, std::uint32_t index) {
  std::uint64_t total = 0;
  int skip = 0;
  for (int p = 0; p < places; ++p) {
    if (skip < taken_count && taken[skip] == p) {
      ++skip;
    } else {
      total += base_weight(args, p, extent);
    }
  }
  std::uint64_t left = below(draw(args.seed, args.epoch, args.sample, Purpose::base, index), total);
  skip = 0;
  for (int p = 0; p < places; ++p) {
    if (skip < taken_count && taken[skip] == p) {
      ++skip;
      continue;
    }
    const std::uint64_t weight = base_weight(args, p, extent);
    if (left < weight) return p;
    left -= weight;
  }
  return places - 1;  // not reached: left < total
}

// The starts of one group's bases, ascending.
VIDSSL_HD inline void draw_bases(const PlanSpec& spec, const PlanArgs& args, int group, int attempt, int* start) {
  const int extent = plan_extent(spec);
  const std::uint32_t index = static_cast<std::uint32_t>(attempt * kMaxBases + group * spec.bases);
  if (spec.draw == Draw::chain) {
    start[0] = 0;
    for (int b = 1; b < spec.bases; ++b) {
      const Random4 r = draw(args.seed, args.epoch, args.sample, Purpose::gap, index + b);
      const int gap = spec.gap_min + static_cast<int>(below(r.v[0], static_cast<std::uint32_t>(spec.gap_max - spec.gap_min + 1)));
      start[b] = start[b - 1] + extent + gap;
    }
    const int span = start[spec.bases - 1] + extent;
    const int first = draw_place(args, args.frames - span + 1, span, nullptr, 0, index);
    for (int b = 0; b < spec.bases; ++b) start[b] += first;
    return;
  }
  for (int b = 0; b < spec.bases; ++b) {
    const int place = draw_place(args, args.frames - extent + 1, extent, start, b, index + b);
    int at = b;  // insertion keeps `start` ascending
    for (; at > 0 && start[at - 1] > place; --at) start[at] = start[at - 1];
    start[at] = place;
  }
}

VIDSSL_HD inline PlanStatus check_bases(const PlanSpec& spec, const PlanArgs& args, const int* start) {
  for (int i = 0; i < spec.limit_count; ++i) {
    const int distance = start[spec.limits[i][1]] - start[spec.limits[i][0]];
    if (distance < spec.limits[i][2] || distance > spec.limits[i][3]) return PlanStatus::out_of_limits;
  }
  for (int i = 0; i < spec.distinct_count; ++i) {
    const std::uint8_t* a = args.thumb + start[spec.distinct[i][0]] * (kThumb * kThumb);
    const std::uint8_t* b = args.thumb + start[spec.distinct[i][1]] * (kThumb * kThumb);
    std::uint32_t sum = 0;
    for (int p = 0; p < kThumb * kThumb; ++p) sum += static_cast<std::uint32_t>((a[p] - b[p]) * (a[p] - b[p]));
    if (sum < spec.distinct_min) return PlanStatus::too_similar;
  }
  return PlanStatus::ok;
}

VIDSSL_HD inline std::uint32_t scope_key(Scope scope, int slot, int time, int times) {
  return static_cast<std::uint32_t>(scope == Scope::tuple ? 0 : scope == Scope::clip ? slot * times : slot * times + time);
}

// The part of the resized picture that is used.
struct Region {
  int y, x, height, width;
};

// Motion in `rows` cells below each other, from (cy, cx) on, at the pool's frames.
VIDSSL_HD inline std::uint64_t column_motion(const PlanSpec& spec, const PlanArgs& args, const int* start, int cy, int cx, int rows) {
  const int gh = motion_cells(args.height), gw = motion_cells(args.width);
  std::uint64_t sum = 0;
  for (int p = 0; p < spec.groups * spec.bases * spec.length; ++p) {
    const int f = start[p / spec.length] + p % spec.length * spec.stride;
    const std::uint32_t* sad = args.sad + static_cast<std::int64_t>(f > 0 ? f - 1 : 0) * gh * gw;
    for (int r = 0; r < rows; ++r) sum += sad[(cy + r) * gw + cx];
  }
  return sum;
}

// Tries the region at every 16 x 16 cell of the picture as its corner; the first of equals is taken.
VIDSSL_HD inline Region place_region(const PlanSpec& spec, const PlanArgs& args, const int* start) {
  const Augment& a = spec.augment;
  if (a.region_h == 0) return {0, 0, a.resize_h, a.resize_w};
  Region region{(a.resize_h - a.region_h) / 2, (a.resize_w - a.region_w) / 2, a.region_h, a.region_w};
  if (args.frames < 2 || args.frames < plan_span(spec)) return region;
  const int gh = motion_cells(args.height), gw = motion_cells(args.width);
  const std::int64_t down = static_cast<std::int64_t>(a.resize_h) * kMotionCell,
                     right = static_cast<std::int64_t>(a.resize_w) * kMotionCell;
  const int fit_h = static_cast<int>(static_cast<std::int64_t>(a.region_h) * args.height / down);
  const int fit_w = static_cast<int>(static_cast<std::int64_t>(a.region_w) * args.width / right);
  const int rows = fit_h < 1 ? 1 : fit_h, cols = fit_w < 1 ? 1 : fit_w;  // whole cells within the region
  std::uint64_t best = 0;
  for (int cy = 0; cy + rows <= gh; ++cy) {
    std::uint64_t score = 0;
    for (int cx = 0; cx < gw; ++cx) {  // a column of cells comes in on the right, one leaves on the left
      score += column_motion(spec, args, start, cy, cx, rows);
      if (cx >= cols) score -= column_motion(spec, args, start, cy, cx - cols, rows);
      if (cx + 1 < cols || score <= best) continue;
      best = score;
      const int y = static_cast<int>(cy * down / args.height), x = static_cast<int>((cx + 1 - cols) * right / args.width);
      region.y = y < a.resize_h - a.region_h ? y : a.resize_h - a.region_h;
      region.x = x < a.resize_w - a.region_w ? x : a.resize_w - a.region_w;
    }
  }
  return region;
}

VIDSSL_HD inline void plan_box(const PlanSpec& spec, const PlanArgs& args, const Region& region, int slot, int time, float* box) {
  const Augment& a = spec.augment;
  const int room_y = region.height - a.crop_h, room_x = region.width - a.crop_w;
  int y = room_y / 2, x = room_x / 2;
  if (args.train) {
    const Random4 r = draw(args.seed, args.epoch, args.sample, Purpose::crop, scope_key(a.crop_scope, slot, time, spec.times));
    y = static_cast<int>(below(r.v[0], static_cast<std::uint32_t>(room_y + 1)));
    x = static_cast<int>(below(r.v[1], static_cast<std::uint32_t>(room_x + 1)));
    if (a.jitter > 0) {
      const Random4 j = draw(args.seed, args.epoch, args.sample, Purpose::jitter, scope_key(Scope::frame, slot, time, spec.times));
      const std::uint32_t ways = static_cast<std::uint32_t>(2 * a.jitter + 1);
      const int jy = y + static_cast<int>(below(j.v[0], ways)) - a.jitter, jx = x + static_cast<int>(below(j.v[1], ways)) - a.jitter;
      if (jy >= 0 && jy <= room_y) y = jy;
      if (jx >= 0 && jx <= room_x) x = jx;
    }
  }
  y += region.y, x += region.x;
  box[0] = static_cast<float>(x * args.width) / static_cast<float>(a.resize_w);
  box[1] = static_cast<float>(y * args.height) / static_cast<float>(a.resize_h);
  box[2] = static_cast<float>(a.crop_w * args.width) / static_cast<float>(a.resize_w);
  box[3] = static_cast<float>(a.crop_h * args.height) / static_cast<float>(a.resize_h);
}

// map = next after map, for affine maps [3, 4].
VIDSSL_HD inline void compose(const float* next, float* map) {
  float result[12];
  for (int row = 0; row < 3; ++row) {
    for (int col = 0; col < 4; ++col) {
      float sum = col == 3 ? next[row * 4 + 3] : 0.0f;
      for (int i = 0; i < 3; ++i) sum = fmaf(next[row * 4 + i], map[i * 4 + col], sum);
      result[row * 4 + col] = sum;
    }
  }
  for (int i = 0; i < 12; ++i) map[i] = result[i];
}

// map = mix of itself and its grey picture (BT.601 luma): 1 keeps the colour, 0 is grey.
VIDSSL_HD inline void compose_saturation(float keep, float* map) {
  const float luma[3] = {0.299f, 0.587f, 0.114f};
  float next[12] = {0.0f};
  for (int row = 0; row < 3; ++row)
    for (int i = 0; i < 3; ++i) next[row * 4 + i] = fmaf(1.0f - keep, luma[i], row == i ? keep : 0.0f);
  compose(next, map);
}

VIDSSL_HD inline void compose_scale(float scale, float shift, float* map) {
  for (int row = 0; row < 3; ++row) {
    for (int i = 0; i < 4; ++i) map[row * 4 + i] *= scale;
    map[row * 4 + 3] += shift;
  }
}

VIDSSL_HD inline void plan_color(const PlanSpec& spec, const PlanArgs& args, int slot, int time, float* map) {
  const Augment& a = spec.augment;
  for (int i = 0; i < 12; ++i) map[i] = i % 5 == 0 ? 1.0f : 0.0f;
  if (args.train) {
    const std::uint32_t key = scope_key(a.color_scope, slot, time, spec.times);
    const Random4 r = draw(args.seed, args.epoch, args.sample, Purpose::color, 2 * key);
    const Random4 s = draw(args.seed, args.epoch, args.sample, Purpose::color, 2 * key + 1);
    if (a.brightness > 0.0f) compose_scale(fmaf(a.brightness, fmaf(2.0f, unit(r.v[0]), -1.0f), 1.0f), 0.0f, map);
    if (a.contrast > 0.0f) {
      const float factor = fmaf(a.contrast, fmaf(2.0f, unit(r.v[1]), -1.0f), 1.0f);
      compose_scale(factor, 128.0f * (1.0f - factor), map);
    }
    if (a.saturation > 0.0f) compose_saturation(fmaf(a.saturation, fmaf(2.0f, unit(r.v[2]), -1.0f), 1.0f), map);
    if (unit(r.v[3]) < a.grey) compose_saturation(0.0f, map);
    if (unit(s.v[0]) < a.split) {
      const int channel = static_cast<int>(below(s.v[1], 3u));
      for (int i = 0; i < 12; ++i) map[i] = i % 4 == channel ? 1.0f : 0.0f;  // the channel alone: what came before is left out
    }
  }
  for (int row = 0; row < 3; ++row) {
    for (int i = 0; i < 4; ++i) map[row * 4 + i] = map[row * 4 + i] / (255.0f * a.std[row]);
    map[row * 4 + 3] -= a.mean[row] / a.std[row];
  }
}

VIDSSL_HD inline void plan_sample(const PlanSpec& spec, const PlanArgs& args) {
  int start[kMaxBases];
  PlanStatus status = args.frames < plan_span(spec) ? PlanStatus::too_short : PlanStatus::ok;
  for (int i = 0; i < spec.groups * spec.bases; ++i) start[i] = 0;
  for (int g = 0; g < spec.groups && status != PlanStatus::too_short; ++g) {
    PlanStatus group = PlanStatus::out_of_limits;
    for (int attempt = 0; attempt < spec.tries && group != PlanStatus::ok; ++attempt) {
      draw_bases(spec, args, g, attempt, start + g * spec.bases);
      group = check_bases(spec, args, start + g * spec.bases);
    }
    if (group != PlanStatus::ok) status = group;
  }
  const Region region = place_region(spec, args, start);
  const Random4 r = draw(args.seed, args.epoch, args.sample, Purpose::arrangement, 0);
  const int row = static_cast<int>(below(r.v[0], static_cast<std::uint32_t>(spec.arrangement_count)));
  const std::int32_t* shown = spec.arrangements + static_cast<std::int64_t>(row) * spec.slots * spec.times;
  for (int k = 0; k < spec.slots; ++k) {
    for (int t = 0; t < spec.times; ++t) {
      const int at = k * spec.times + t, pool = shown[at];
      args.frame[at] = status == PlanStatus::too_short ? 0 : start[pool / spec.length] + pool % spec.length * spec.stride;
      plan_box(spec, args, region, k, t, args.box + at * 4);
      plan_color(spec, args, k, t, args.color + at * 12);
    }
    const Random4 f = draw(args.seed, args.epoch, args.sample, Purpose::flip, spec.augment.flip_scope == Scope::tuple ? 0u : k);
    args.flip[k] = args.train && unit(f.v[0]) < spec.augment.flip;
  }
  *args.label = spec.labels[row];
  *args.status = static_cast<std::int32_t>(status);
}

}  // namespace vidssl
