// Work memory of assemble, for all bodies of assemble_body.h.
#pragma once

#include <algorithm>
#include <vector>

#include "assemble.h"
#include "filter_table.h"
#include "lanes.h"

namespace vidssl {

struct Workspace {
  Grid grid[2];  // grid 0 is for luma and RGB, grid 1 for chroma
  float box[4] = {};
  bool made = false;
  std::vector<float> vertical;                       // [kLanes, span] columns of one plane after the vertical pass
  std::vector<float> lanes[3];                       // [span, kLanes] the same for each plane, with rows as lanes
  alignas(64) float tile[3 * kLanes * kLanes] = {};  // kLanes output columns in three channels, rows as lanes
  alignas(64) float turned[kLanes * kLanes];         // a third of the tile, as rows again
};

// Zeros of the colour maps that a body may leave out: adding 0 times a number changes no bit of a sum, unless the sum
// is -0.
struct Known {
  bool yuv;       // to_rgb uses no U for red and no V for blue; the clamp after it removes -0
  bool diagonal;  // color mixes no channels and its factors are above 0, so that its sums are never -0
};
Known known_zeros(const float* to_rgb, const float* color);

// Makes the grids for `box`, unless the last call made the same: all frames of a clip usually have one box.
void make_grids(const AssembleSpec& spec, const AssembleArgs& args, const float* box, Workspace& work);

}  // namespace vidssl
