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

// 2^x to within 5e-6 of its value, in operations that round alike on every machine, which std::exp2 does not promise.
VIDSSL_HD inline double power_of_two(double x) {
  const double whole = floor(x), f = x - whole;
  return ldexp(1.0 + f - f * (1.0 - f) * (0.306995 + f * (0.065456 + f * 0.013689)), static_cast<int>(whole));
}

// Uniform in [low, high), by a multiple of 2^-32 of the range.
VIDSSL_HD inline double between(std::uint32_t r, double low, double high) {
  return low + (high - low) * (r * (1.0 / 4294967296.0));
}

constexpr int kSizeTries = 10;

// The height and width of a crop in pixels of the resized picture: random ones of torchvision's RandomResizedCrop,
// whose area is drawn evenly and whose aspect ratio is drawn evenly by its logarithm. If no try fits into the region,
// it is the largest crop of the nearest aspect ratio.
struct Size {
  int height, width;
};

VIDSSL_HD inline Size crop_size(const PlanSpec& spec, const PlanArgs& args, const Region& region, std::uint32_t key) {
  const Augment& a = spec.augment;
  if (!args.train || a.area_max <= 0.0) return {a.crop_h, a.crop_w};
  const double area = static_cast<double>(region.height) * region.width;
  for (std::uint32_t attempt = 0; attempt < kSizeTries; ++attempt) {
    const Random4 r = draw(args.seed, args.epoch, args.sample, Purpose::crop_size, key * kSizeTries + attempt);
    const double cut = area * between(r.v[0], a.area_min, a.area_max);
    const double aspect = power_of_two(between(r.v[1], a.aspect_min, a.aspect_max));
    const double width = floor(sqrt(cut * aspect) + 0.5), height = floor(sqrt(cut / aspect) + 0.5);
    if (width >= 1.0 && height >= 1.0 && width <= region.width && height <= region.height)
      return {static_cast<int>(height), static_cast<int>(width)};
  }
  const double narrow = power_of_two(a.aspect_min), wide = power_of_two(a.aspect_max);
  double height = region.height, width = region.width;
  if (width < height * narrow) height = floor(width / narrow + 0.5);
  if (width > height * wide) width = floor(height * wide + 0.5);
  return {height < 1.0 ? 1 : static_cast<int>(height), width < 1.0 ? 1 : static_cast<int>(width)};
}

// picture: the whole resized picture; region: the part of it from which the crop comes.
VIDSSL_HD inline void plan_box(const PlanSpec& spec, const PlanArgs& args, const Region& picture, const Region& region,
                               int slot, int time, float* box) {
  const Augment& a = spec.augment;
  const std::uint32_t key = scope_key(a.crop_scope, slot, time, spec.times);
  const Size crop = crop_size(spec, args, region, key);
  const int room_y = region.height - crop.height, room_x = region.width - crop.width;
  int y = centre(room_y), x = centre(room_x);
  if (args.train) {
    const Random4 r = draw(args.seed, args.epoch, args.sample, Purpose::crop, key);
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
  box[0] = static_cast<float>(x * args.width) / static_cast<float>(picture.width);
  box[1] = static_cast<float>(y * args.height) / static_cast<float>(picture.height);
  box[2] = static_cast<float>(crop.width * args.width) / static_cast<float>(picture.width);
  box[3] = static_cast<float>(crop.height * args.height) / static_cast<float>(picture.height);
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

// Turns the colours around the axis of the greys, by `turn` in [-1/2, 1/2]: 1/3 makes red green, green blue and blue
// red. At thirds of a turn this is the shift of HSV's hue. Between them that shift is no affine map, and the two
// differ.
VIDSSL_HD inline void compose_hue(double turn, float* map) {
  const double x = 3.14159265358979323846 * turn, square = x * x;  // half of the angle
  double sine = 0.0, cosine = 0.0;  // their series, because the last bit of std::sin differs from machine to machine
  for (int n = 14; n > 0; n -= 2) {
    cosine = 1.0 - square / ((n - 1) * n) * (n < 14 ? cosine : 1.0);
    sine = 1.0 - square / (n * (n + 1)) * (n < 14 ? sine : 1.0);
  }
  sine *= x;
  const double mixed = 2.0 * sine * sine / 3.0, side = 2.0 * sine * cosine * 0.57735026918962576;  // 1 / sqrt(3)
  const float same = static_cast<float>(1.0 - 2.0 * mixed), after = static_cast<float>(mixed - side),
              before = static_cast<float>(mixed + side);
  const float next[12] = {same, after, before, 0.0f, before, same, after, 0.0f, after, before, same, 0.0f};
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
    if (a.hue > 0.0f) compose_hue(static_cast<double>(a.hue * fmaf(2.0f, unit(s.v[2]), -1.0f)), map);
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
