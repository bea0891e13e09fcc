// Tables of the triangle filter for a whole axis, for the CPU twins of assemble and reduce.
#pragma once

#include <cstddef>
#include <vector>

#include "filter.h"

namespace vidssl {

// The samples and weights of one axis: output i reads `taps` samples from first[i] on, all inside the plane. Shorter
// filters are padded with weights of 0, which change no bit of a sum, so that all loops over taps have the same length.
// Samples [low, high) of the plane are read.
struct AxisTable {
  std::vector<int> first;
  std::vector<float> weight;  // [outputs, taps]
  int taps = 0, low = 0, high = 0;

  void make(const Axis& axis, int outputs);
  const float* weights(int i) const {
    return weight.data() + static_cast<std::size_t>(i) * static_cast<std::size_t>(taps);
  }
};

// The sampling grid of one plane.
struct Grid {
  AxisTable rows, cols;
};

}  // namespace vidssl
