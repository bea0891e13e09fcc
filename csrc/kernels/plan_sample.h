// Draws the plan of one sample. A team of either twin runs this code; plan.h explains the terms.
//
// All members of a team hold the same values, except for partial sums over their own range. One member writes each
// value that others read, between two syncs.
#pragma once

#include "motion.h"
#include "plan.h"
#include "plan_look.h"
#include "team.h"

namespace vidssl {

// Memory that all members of a team use.
struct PlanWork {
  int start[kMaxBases];
};

constexpr int kAtOnce = 16;  // loads of a member before it uses the first

// Fills prefix[k] with the sum of before[f], f < k, where before[f] is the sum of (motion + 1) over the frames before
// f. The motion of frame f is the sad of the whole picture from frame f - 1 to f; frame 0 uses the motion of frame 1.
template <typename Team>
VIDSSL_TEAM void sum_motion(const Team& team, const PlanArgs& args) {
  const std::int64_t cells = static_cast<std::int64_t>(motion_cells(args.height)) * motion_cells(args.width);
  std::uint64_t* sums = args.prefix + 2;
  for (int f = team.group(); f < args.frames; f += team.groups()) {
    const std::uint32_t* sad = args.sad + (f > 0 ? f - 1 : 0) * cells;
    const std::int64_t count = args.frames > 1 ? cells : 0;
    std::uint64_t sum = 0;
    for (std::int64_t first = team.group_lane(); first < count; first += kAtOnce * team.group_size()) {
      std::uint32_t loaded[kAtOnce];
      for (int i = 0; i < kAtOnce; ++i) {
        const std::int64_t at = first + i * team.group_size();
        loaded[i] = at < count ? sad[at] : 0;
      }
      for (const std::uint32_t one : loaded) sum += one;
    }
    sum = team.group_sum(sum);
    if (team.group_lane() == 0) sums[f] = sum + 1;
  }
  if (team.lane() == 0) args.prefix[0] = args.prefix[1] = 0;
  team.sync();
  const Share mine = share(team, args.frames);
  for (int twice = 0; twice < 2; ++twice) {
    std::uint64_t own = 0, total = 0;
    for (int f = mine.first; f < mine.last; ++f) own += sums[f];
    std::uint64_t sum = team.before(own, &total);
    for (int f = mine.first; f < mine.last; ++f) sums[f] = sum += sums[f];
  }
  team.sync();
}

// The weights of a base of `extent` frames at the starts before `place`, summed. Its weight at a start is the sum of
// (motion + 1) over its frames, or 1 without prefix sums. The 1 keeps the weights of a still video above 0.
VIDSSL_HD inline std::uint64_t weight_before(const PlanArgs& args, int place, int extent) {
  if (!args.prefix) return static_cast<std::uint64_t>(place);
  return args.prefix[place + extent] - args.prefix[extent] - args.prefix[place];
}

// Draws a start in 0 .. places - 1 that is not in the ascending list `taken`, in proportion to its weight.
VIDSSL_HD inline int draw_place(const PlanArgs& args, int places, int extent, const int* taken, int taken_count,
                                std::uint32_t index) {
  const auto weight = [&](int place) {
    return weight_before(args, place + 1, extent) - weight_before(args, place, extent);
  };
  const Random4 r = draw(args.seed, args.epoch, args.sample, Purpose::base, index);
  std::uint64_t free = weight_before(args, places, extent);
  for (int i = 0; i < taken_count; ++i) free -= weight(taken[i]);
  std::uint64_t drawn = below(r, free);  // counts only the starts that are free; now those that are taken as well
  for (int i = 0; i < taken_count && weight_before(args, taken[i], extent) <= drawn; ++i) drawn += weight(taken[i]);
  int first = 0, last = places;  // weight_before(first) <= drawn < weight_before(last)
  while (last - first > 1) {
    const int middle = first + (last - first) / 2;
    (weight_before(args, middle, extent) <= drawn ? first : last) = middle;
  }
  return first;
}

// Draws the starts of one group's bases into `start`, ascending.
VIDSSL_HD inline void draw_bases(const PlanSpec& spec, const PlanArgs& args, int group, int attempt, int* start) {
  const int extent = plan_extent(spec);
  const std::uint32_t index = static_cast<std::uint32_t>(attempt * kMaxBases + group * spec.bases);
  if (spec.draw == Draw::chain) {
    int span = extent;
    start[0] = 0;
    for (int b = 1; b < spec.bases; ++b) {
      const Random4 r = draw(args.seed, args.epoch, args.sample, Purpose::gap, index + b);
      const int gap =
          spec.gap_min + static_cast<int>(below(r.v[0], static_cast<std::uint32_t>(spec.gap_max - spec.gap_min + 1)));
      start[b] = span + gap;
      span += gap + extent;
    }
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

VIDSSL_HD inline bool within_limits(const PlanSpec& spec, const int* start) {
  for (int i = 0; i < spec.limit_count; ++i) {
    const int distance = start[spec.limits[i][1]] - start[spec.limits[i][0]];
    if (distance < spec.limits[i][2] || distance > spec.limits[i][3]) return false;
  }
  return true;
}

template <typename Team>
VIDSSL_TEAM bool differ(const Team& team, const PlanSpec& spec, const PlanArgs& args, const int* start) {
  for (int i = 0; i < spec.distinct_count; ++i) {
    const std::uint8_t* a = args.thumb + start[spec.distinct[i][0]] * (kThumb * kThumb);
    const std::uint8_t* b = args.thumb + start[spec.distinct[i][1]] * (kThumb * kThumb);
    std::uint64_t sum = 0, total = 0;
    for (int p = team.lane(); p < kThumb * kThumb; p += team.size())
      sum += static_cast<std::uint32_t>((a[p] - b[p]) * (a[p] - b[p]));
    team.before(sum, &total);
    if (total < spec.distinct_min) return false;
  }
  return true;
}

// Draws the starts of one group's bases into `start`, which all members see: those of the first try that is ok, or else
// of the last try. Each member draws a try of its own; the tries within the limits are then compared in their order.
template <typename Team>
VIDSSL_TEAM PlanStatus draw_group(const Team& team, const PlanSpec& spec, const PlanArgs& args, int group, int* start) {
  int own[kMaxBases];
  for (int first = 0;; first += team.size()) {
    const int attempt = first + team.lane();
    bool fits = attempt < spec.tries;
    if (fits) {
      draw_bases(spec, args, group, attempt, own);
      fits = within_limits(spec, own);
    }
    const bool final = spec.tries - first <= team.size();
    for (bool found = true; found;) {
      std::uint64_t best = fits;
      int chosen = attempt, none = 0;
      team.first_best(&best, &chosen, &none);
      found = best > 0;
      if (!found) chosen = spec.tries - 1;
      if (attempt == chosen) {
        for (int b = 0; b < spec.bases; ++b) start[b] = own[b];
        fits = false;
      }
      team.sync();
      if (found && differ(team, spec, args, start)) return PlanStatus::ok;
      if (found && chosen == spec.tries - 1) return PlanStatus::too_similar;
    }
    if (final) return PlanStatus::out_of_limits;
  }
}

// Motion of cell (cy, cx), summed over the frames of the pool.
VIDSSL_HD inline std::uint64_t cell_motion(const PlanSpec& spec, const PlanArgs& args, const int* start, int cy,
                                           int cx) {
  const int gh = motion_cells(args.height), gw = motion_cells(args.width);
  std::uint64_t sum = 0;
  for (int p = 0; p < spec.groups * spec.bases * spec.length; ++p) {
    const int f = start[p / spec.length] + p % spec.length * spec.stride;
    sum += args.sad[(static_cast<std::int64_t>(f > 0 ? f - 1 : 0) * gh + cy) * gw + cx];
  }
  return sum;
}

// Finds the region with the most motion. Each 16 x 16 cell of the picture is tried as its corner; the first of equal
// regions wins. above[y][x] is the motion of all cells in the rows before y and the columns before x.
template <typename Team>
VIDSSL_TEAM Region place_region(const Team& team, const PlanWork& work, const PlanSpec& spec, const PlanArgs& args,
                                const Region& picture) {
  const Augment& a = spec.augment;
  if (a.region_h == 0) return picture;
  Region region{centre(picture.height - a.region_h), centre(picture.width - a.region_w), a.region_h, a.region_w};
  if (args.frames < 2 || args.frames < plan_span(spec)) return region;
  const int gh = motion_cells(args.height), gw = motion_cells(args.width);
  const std::int64_t down = static_cast<std::int64_t>(picture.height) * kMotionCell,
                     right = static_cast<std::int64_t>(picture.width) * kMotionCell;
  const int fit_h = static_cast<int>(static_cast<std::int64_t>(a.region_h) * args.height / down);
  const int fit_w = static_cast<int>(static_cast<std::int64_t>(a.region_w) * args.width / right);
  const int rows = fit_h < 1 ? 1 : fit_h, cols = fit_w < 1 ? 1 : fit_w;  // size of the region in whole cells
  std::uint64_t* above = args.above;
  const int pitch = gw + 1;
  for (int at = team.lane(); at < (gh + 1) * pitch; at += team.size()) {
    const int y = at / pitch, x = at % pitch;
    above[at] = y > 0 && x > 0 ? cell_motion(spec, args, work.start, y - 1, x - 1) : 0;
  }
  team.sync();
  const auto add_up = [&](int lines, int apart, int count, int step) {
    for (int line = 1 + team.lane(); line < lines; line += team.size()) {
      std::uint64_t sum = 0, *cell = above + line * apart;
      for (int i = 0; i < count; ++i, cell += step) *cell = sum += *cell;
    }
    team.sync();
  };
  add_up(gh + 1, pitch, pitch, 1);
  add_up(pitch, 1, gh + 1, pitch);
  std::uint64_t best = 0;
  int best_y = -1, best_x = -1;
  const int across = gw - cols + 1, corners = (gh - rows + 1) * across;
  for (int corner = team.lane(); corner < corners; corner += team.size()) {  // a member keeps the first of its best
    const int y = corner / across, x = corner % across;
    const std::uint64_t *top = above + y * pitch + x, *bottom = top + rows * pitch;
    const std::uint64_t score = bottom[cols] - bottom[0] - top[cols] + top[0];
    if (score > best) best = score, best_y = y, best_x = x;
  }
  team.first_best(&best, &best_y, &best_x);
  if (best_y < 0) return region;
  const int y = static_cast<int>(best_y * down / args.height), x = static_cast<int>(best_x * right / args.width);
  region.y = y < picture.height - a.region_h ? y : picture.height - a.region_h;
  region.x = x < picture.width - a.region_w ? x : picture.width - a.region_w;
  return region;
}

template <typename Team>
VIDSSL_TEAM void plan_sample(const Team& team, PlanWork& work, const PlanSpec& spec, const PlanArgs& args) {
  if (args.prefix) sum_motion(team, args);
  PlanStatus status = args.frames < plan_span(spec) ? PlanStatus::too_short : PlanStatus::ok;
  const int bases = spec.groups * spec.bases, pool = bases * spec.length;
  for (int i = team.lane(); i < bases; i += team.size()) work.start[i] = 0;
  team.sync();
  for (int g = 0; g < spec.groups && status != PlanStatus::too_short; ++g) {
    const PlanStatus group = draw_group(team, spec, args, g, work.start + g * spec.bases);
    if (group != PlanStatus::ok) status = group;
  }
  const Augment& a = spec.augment;
  const Region picture{0, 0, static_cast<int>(resized(a.short_side, a.resize_h, args.height, args.width)),
                       static_cast<int>(resized(a.short_side, a.resize_w, args.width, args.height))};
  const Region region = place_region(team, work, spec, args, picture);
  const Random4 r = draw(args.seed, args.epoch, args.sample, Purpose::arrangement, 0);
  const int row = static_cast<int>(below(r.v[0], static_cast<std::uint32_t>(spec.arrangement_count)));
  const std::int32_t* shown = spec.arrangements + static_cast<std::int64_t>(row) * spec.slots * spec.times;
  for (int at = team.lane(); at < spec.slots * spec.times; at += team.size()) {
    const int k = at / spec.times, t = at % spec.times;
    const int last = pool * spec.grid_h * spec.grid_w - 1;
    const int entry = shown[at] < 0 ? 0 : shown[at] < last ? shown[at] : last, number = entry % pool;
    args.frame[at] =
        status == PlanStatus::too_short ? 0 : work.start[number / spec.length] + number % spec.length * spec.stride;
    plan_box(spec, args, picture, grid_cell(spec, region, entry / pool), k, t, args.box + at * 4);
    plan_color(spec, args, k, t, args.color + at * 12);
  }
  for (int k = team.lane(); k < spec.slots; k += team.size()) {
    const std::uint32_t shared = spec.augment.flip_scope == Scope::tuple ? 0u : static_cast<std::uint32_t>(k);
    const Random4 f = draw(args.seed, args.epoch, args.sample, Purpose::flip, shared);
    args.flip[k] = args.train && unit(f.v[0]) < spec.augment.flip;
  }
  if (team.lane() == 0) {
    *args.label = spec.labels[row];
    *args.status = static_cast<std::int32_t>(status);
  }
}

}  // namespace vidssl
