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
  int place;
};

// Fills prefix[f] with the sum of (motion + 1) over the frames before f. The motion of frame f is the sad of the whole
// picture from frame f - 1 to f; frame 0 uses the motion of frame 1.
template <typename Team>
VIDSSL_TEAM void sum_motion(const Team& team, const PlanArgs& args) {
  const std::int64_t cells = static_cast<std::int64_t>(motion_cells(args.height)) * motion_cells(args.width);
  for (int f = team.group(); f < args.frames; f += team.groups()) {
    const std::uint32_t* sad = args.sad + (f > 0 ? f - 1 : 0) * cells;
    std::uint64_t sum = 0;
    for (std::int64_t i = team.group_lane(); args.frames > 1 && i < cells; i += team.group_size()) sum += sad[i];
    sum = team.group_sum(sum);
    if (team.group_lane() == 0) args.prefix[f + 1] = sum + 1;
  }
  team.sync();
  const Share mine = share(team, args.frames);
  std::uint64_t own = 0, total = 0;
  for (int f = mine.first; f < mine.last; ++f) own += args.prefix[f + 1];
  std::uint64_t sum = team.before(own, &total);
  for (int f = mine.first; f < mine.last; ++f) args.prefix[f + 1] = sum += args.prefix[f + 1];
  if (team.lane() == 0) args.prefix[0] = 0;
  team.sync();
}

// Weight of a base that starts at `place`: the sum of (motion + 1) over its frames. The 1 keeps the weights of a still
// video above 0.
VIDSSL_HD inline std::uint64_t base_weight(const PlanArgs& args, int place, int extent) {
  return args.prefix[place + extent] - args.prefix[place];
}

// Draws a start in 0 .. places - 1 that is not in the ascending list `taken`: in proportion to base_weight, or evenly
// without prefix sums.
template <typename Team>
VIDSSL_TEAM int draw_place(const Team& team, PlanWork& work, const PlanArgs& args, int places, int extent,
                           const int* taken, int taken_count, std::uint32_t index) {
  const Random4 r = draw(args.seed, args.epoch, args.sample, Purpose::base, index);
  if (!args.prefix) {
    int place = static_cast<int>(below(r, static_cast<std::uint64_t>(places - taken_count)));
    for (int i = 0; i < taken_count && taken[i] <= place; ++i) ++place;
    return place;
  }
  const Share mine = share(team, places);
  int skip = 0;
  while (skip < taken_count && taken[skip] < mine.first) ++skip;
  std::uint64_t own = 0, total = 0;
  for (int p = mine.first, s = skip; p < mine.last; ++p) {
    if (s < taken_count && taken[s] == p) {
      ++s;
    } else {
      own += base_weight(args, p, extent);
    }
  }
  const std::uint64_t before = team.before(own, &total), drawn = below(r, total);
  if (drawn >= before && drawn - before < own) {  // it lies in the range of exactly one member
    std::uint64_t left = drawn - before;
    work.place = mine.first;  // stays valid even if another thread writes to the scratch meanwhile
    for (int p = mine.first; p < mine.last; ++p) {
      if (skip < taken_count && taken[skip] == p) {
        ++skip;
        continue;
      }
      const std::uint64_t weight = base_weight(args, p, extent);
      if (left < weight) {
        work.place = p;
        break;
      }
      left -= weight;
    }
  }
  team.sync();
  return work.place;  // the sums of the next draw sync the team before it is written again
}

// Draws the starts of one group's bases into `start`, ascending. All members use the same `start`.
template <typename Team>
VIDSSL_TEAM void draw_bases(const Team& team, PlanWork& work, const PlanSpec& spec, const PlanArgs& args, int group,
                            int attempt, int* start) {
  const int extent = plan_extent(spec);
  const std::uint32_t index = static_cast<std::uint32_t>(attempt * kMaxBases + group * spec.bases);
  team.sync();  // all members have checked the starts of the last attempt
  if (spec.draw == Draw::chain) {
    int span = extent;
    for (int b = 1; b < spec.bases; ++b) {
      const Random4 r = draw(args.seed, args.epoch, args.sample, Purpose::gap, index + b);
      const int gap =
          spec.gap_min + static_cast<int>(below(r.v[0], static_cast<std::uint32_t>(spec.gap_max - spec.gap_min + 1)));
      if (team.lane() == 0) start[b] = span + gap;
      span += gap + extent;
    }
    const int first = draw_place(team, work, args, args.frames - span + 1, span, nullptr, 0, index);
    if (team.lane() == 0) {
      start[0] = first;
      for (int b = 1; b < spec.bases; ++b) start[b] += first;
    }
    team.sync();
    return;
  }
  for (int b = 0; b < spec.bases; ++b) {
    const int place = draw_place(team, work, args, args.frames - extent + 1, extent, start, b, index + b);
    team.sync();
    if (team.lane() == 0) {
      int at = b;  // insertion keeps `start` ascending
      for (; at > 0 && start[at - 1] > place; --at) start[at] = start[at - 1];
      start[at] = place;
    }
    team.sync();
  }
}

template <typename Team>
VIDSSL_TEAM PlanStatus check_bases(const Team& team, const PlanSpec& spec, const PlanArgs& args, const int* start) {
  for (int i = 0; i < spec.limit_count; ++i) {
    const int distance = start[spec.limits[i][1]] - start[spec.limits[i][0]];
    if (distance < spec.limits[i][2] || distance > spec.limits[i][3]) return PlanStatus::out_of_limits;
  }
  for (int i = 0; i < spec.distinct_count; ++i) {
    const std::uint8_t* a = args.thumb + start[spec.distinct[i][0]] * (kThumb * kThumb);
    const std::uint8_t* b = args.thumb + start[spec.distinct[i][1]] * (kThumb * kThumb);
    std::uint64_t sum = 0, total = 0;
    for (int p = team.lane(); p < kThumb * kThumb; p += team.size())
      sum += static_cast<std::uint32_t>((a[p] - b[p]) * (a[p] - b[p]));
    team.before(sum, &total);
    if (total < spec.distinct_min) return PlanStatus::too_similar;
  }
  return PlanStatus::ok;
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
// regions wins.
//
// For each row of corners, column[cx] is the motion of the region's cells in column cx, and sums[cx] is the motion of
// all columns before cx.
template <typename Team>
VIDSSL_TEAM Region place_region(const Team& team, PlanWork& work, const PlanSpec& spec, const PlanArgs& args,
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
  std::uint64_t *column = args.columns, *sums = args.columns + gw;
  const Share mine = share(team, gw);
  std::uint64_t best = 0;
  int best_y = -1, best_x = -1;
  for (int cy = 0; cy + rows <= gh; ++cy) {
    std::uint64_t own = 0, total = 0;
    for (int cx = mine.first; cx < mine.last; ++cx) {
      std::uint64_t sum = cy > 0 ? column[cx] - cell_motion(spec, args, work.start, cy - 1, cx) : 0;
      for (int r = cy > 0 ? rows - 1 : 0; r < rows; ++r) sum += cell_motion(spec, args, work.start, cy + r, cx);
      column[cx] = sum;
      own += sum;
    }
    std::uint64_t sum = team.before(own, &total);
    for (int cx = mine.first; cx < mine.last; ++cx) {
      sums[cx] = sum;
      sum += column[cx];
    }
    if (team.lane() == 0) sums[gw] = total;
    team.sync();
    for (int cx = team.lane(); cx + cols <= gw; cx += team.size()) {  // each member keeps the first of its best corners
      const std::uint64_t score = sums[cx + cols] - sums[cx];
      if (score > best) best = score, best_y = cy, best_x = cx;
    }
    team.sync();
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
  if (team.lane() == 0) work.place = 0;
  const int bases = spec.groups * spec.bases, pool = bases * spec.length;
  for (int i = team.lane(); i < bases; i += team.size()) work.start[i] = 0;
  for (int g = 0; g < spec.groups && status != PlanStatus::too_short; ++g) {
    PlanStatus group = PlanStatus::out_of_limits;
    for (int attempt = 0; attempt < spec.tries && group != PlanStatus::ok; ++attempt) {
      draw_bases(team, work, spec, args, g, attempt, work.start + g * spec.bases);
      group = check_bases(team, spec, args, work.start + g * spec.bases);
    }
    if (group != PlanStatus::ok) status = group;
  }
  team.sync();
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
