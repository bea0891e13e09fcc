// Where assemble samples, as tables, and the memory it works in; shared by the bodies of assemble_body.h.
#pragma once

#include <algorithm>
#include <vector>

#include "assemble.h"
#include "filter.h"
#include "lanes.h"

namespace vidssl {

// Where every output sample of one axis reads, and with which weights: `taps` samples from first[i] on, all of them in
// the plane. A filter that is shorter has weights of 0 beside it, which change no bit of a sum, so that loops over taps
// are of one length. Samples [low, high) of the plane are touched.
struct AxisTable {
  std::vector<int> first;
  std::vector<float> weight;  // [outputs, taps]
  int taps = 0, low = 0, high = 0;

  void make(const Axis& axis, int outputs);
  const float* weights(int i) const {
    return weight.data() + static_cast<std::size_t>(i) * static_cast<std::size_t>(taps);
  }
};

// One sampling grid: luma and RGB share grid 0, chroma has grid 1.
struct Grid {
  AxisTable rows, cols;
};

struct Workspace {
  Grid grid[2];
  float box[4] = {};
  bool made = false;
  std::vector<float> vertical;                       // [kLanes, span] one plane's columns after the vertical pass
  std::vector<float> lanes[3];                       // [span, kLanes] the same, rows as lanes, of each plane
  alignas(64) float tile[3 * kLanes * kLanes] = {};  // kLanes output columns in three channels, rows as lanes
  alignas(64) float turned[kLanes * kLanes];         // a third of them, as rows again
};

// Zeros of the colour maps that a body may leave out, as adding 0 times a number changes no bit of a sum, unless it is
// -0.
struct Known {
  bool yuv;       // to_rgb takes no U for red and no V for blue; -0 does not pass the clamp after it
  bool diagonal;  // color mixes no channels, and multiplies by more than 0, so that its sums are never -0
};
Known known_zeros(const float* to_rgb, const float* color);

// Makes the grids for `box`, unless they are there: the frames of one clip share their box.
void make_grids(const AssembleSpec& spec, const AssembleArgs& args, const float* box, Workspace& work);

}  // namespace vidssl
