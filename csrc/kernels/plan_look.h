// The crop and colours of one shown frame. One thread of either twin runs this code; plan.h explains the terms.
#pragma once

#include <cmath>

#include "plan.h"

namespace vidssl {

VIDSSL_HD inline std::uint32_t scope_key(Scope scope, int slot, int time, int times) {
  return static_cast<std::uint32_t>(scope == Scope::tuple  ? 0
                                    : scope == Scope::clip ? slot * times
                                                           : slot * times + time);
}

// The offset that leaves half of `room` on each side, rounded as torchvision's CenterCrop and the authors' code round:
// int(round(room / 2.0)), where Python rounds a half to the even number. So 59 gives 30, and 57 gives 28.
VIDSSL_HD inline int centre(int room) { return room / 2 + (room & room / 2 & 1); }

// The part of the resized picture from which crops come.
struct Region {
  int y, x, height, width;
};

// A cell of the grid, counted row by row. Pixels that the grid does not divide belong to no cell.
VIDSSL_HD inline Region grid_cell(const PlanSpec& spec, const Region& region, int cell) {
  const int height = region.height / spec.grid_h, width = region.width / spec.grid_w;
  return {region.y + cell / spec.grid_w * height, region.x + cell % spec.grid_w * width, height, width};
}

VIDSSL_HD inline void plan_box(const PlanSpec& spec, const PlanArgs& args, const Region& region, int slot, int time,
                               float* box) {
  const Augment& a = spec.augment;
  const int room_y = region.height - a.crop_h, room_x = region.width - a.crop_w;
  int y = centre(room_y), x = centre(room_x);
  if (args.train) {
    const Random4 r =
        draw(args.seed, args.epoch, args.sample, Purpose::crop, scope_key(a.crop_scope, slot, time, spec.times));
    y = static_cast<int>(below(r.v[0], static_cast<std::uint32_t>(room_y + 1)));
    x = static_cast<int>(below(r.v[1], static_cast<std::uint32_t>(room_x + 1)));
    if (a.jitter > 0) {
      const Random4 j =
          draw(args.seed, args.epoch, args.sample, Purpose::jitter, scope_key(Scope::frame, slot, time, spec.times));
      const std::uint32_t ways = static_cast<std::uint32_t>(2 * a.jitter + 1);
      const int jy = y + static_cast<int>(below(j.v[0], ways)) - a.jitter,
                jx = x + static_cast<int>(below(j.v[1], ways)) - a.jitter;
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

// Affine maps [3, 4]: replaces `map` with `map` followed by `next`.
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

// Mixes the picture with its grey picture (BT.601 luma): keep = 1 keeps the colour, 0 makes it grey.
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
      for (int i = 0; i < 12; ++i)
        map[i] = i % 4 == channel ? 1.0f : 0.0f;  // copies one channel; the changes above are dropped
    }
  }
  for (int row = 0; row < 3; ++row) {
    for (int i = 0; i < 4; ++i) map[row * 4 + i] = map[row * 4 + i] / (255.0f * a.std[row]);
    map[row * 4 + 3] -= a.mean[row] / a.std[row];
  }
}

}  // namespace vidssl
