// Work memory of assemble, for all bodies of assemble_body.h.
#pragma once

#include <algorithm>
#include <vector>

#include "assemble.h"
#include "filter_table.h"
#include "lanes.h"

namespace vidssl {

// The columns of a grid as tiles of kLanes output columns, in the order in which they are stored (mirrored or not).
// They exist if neighbouring columns read samples that are at most one apart: the picture is enlarged, or keeps its
// size. The last tile overlaps the one before.
struct ColumnTiles {
  static constexpr int kTaps = 2;   // of such filters, at most
  std::vector<int> base;            // [tiles] first sample that a tile reads, from the first one of the grid on
  std::vector<std::int32_t> index;  // [tiles, kLanes] first sample of each column, from base on
  std::vector<float> weight;        // [tiles, kTaps, kLanes]

  // Returns false if they do not exist.
  bool make(const AxisTable& cols, bool mirror);
};

struct Workspace {
  Grid grid[2];  // grid 0 is for luma and RGB, grid 1 for chroma
  float box[4] = {};
  bool made = false;
  ColumnTiles tiles[2];                                 // of each grid
  bool tiled = false, by_rows = false, mirror = false;  // of the last call of make_tiles; tiled: for these grids
  std::vector<float> rows[3];                           // [kLanes, span] rows of each plane after the vertical pass
  std::vector<float> vertical;                          // [kLanes, span] columns of one plane after the vertical pass
  std::vector<float> lanes[3];                          // [span, kLanes] the same for each plane, with rows as lanes
  alignas(64) float tile[3 * kLanes * kLanes] = {};     // kLanes output columns in three channels, rows as lanes
  alignas(64) float turned[kLanes * kLanes];            // a third of the tile, as rows again
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

// Makes the tiles of these grids, unless the last call did. Returns false if they do not exist, or if channels are
// interleaved.
bool make_tiles(const AssembleSpec& spec, const AssembleArgs& args, bool mirror, Workspace& work);

}  // namespace vidssl
