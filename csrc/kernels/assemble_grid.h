// Where assemble samples, as tables, and the memory it works in; shared by the bodies of assemble_body.h.
#pragma once

#include <algorithm>
#include <vector>

#include "assemble.h"
#include "filter.h"
#include "lanes.h"

namespace vidssl {

constexpr int kBlock = 8;  // of a transposition

// Where every output sample of one axis reads, and with which weights; samples [low, high) of the plane are touched.
struct AxisTable {
  std::vector<int> first, count;
  std::vector<float> weight;  // [outputs, width]
  int width = 0, low = 0, high = 0;

  void make(const Axis& axis, int outputs);
  const float* weights(int i) const { return weight.data() + static_cast<std::size_t>(i) * static_cast<std::size_t>(width); }
};

// One sampling grid: luma and RGB share grid 0, chroma has grid 1.
struct Grid {
  AxisTable rows, cols;
};

struct Workspace {
  Grid grid[2];
  float box[4] = {};
  bool made = false;
  std::vector<float> vertical;   // [kLanes, span] one plane's columns after the vertical pass
  std::vector<float> lanes[3];   // [span, kLanes] the same, rows as lanes, of each plane
  std::vector<float> wide, row;  // [3, padded, kLanes] and [3, kLanes, padded] the finished colours, before and after turning back
};

// Makes the grids for `box`, unless they are there: the frames of one clip share their box.
void make_grids(const AssembleSpec& spec, const AssembleArgs& args, const float* box, Workspace& work);

}  // namespace vidssl
