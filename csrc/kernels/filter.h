// The triangle filter of assemble.h, one output sample at a time. Both twins call these functions, so that they use the
// same weights.
#pragma once

#include <cmath>

#include "view.h"

namespace vidssl {

// One axis of a box on one plane: the centre of output sample i is origin + (i + 1/2) * scale.
struct Axis {
  float origin, scale, radius;
  int size;  // samples of the plane along this axis
};

// Replaces an invalid box with one pixel, so that the ends of filters stay in the plane and ascend. Faces reject
// invalid boxes in the memory that they can read.
VIDSSL_HD inline Axis make_axis(float origin, float extent, int outputs, int size) {
  constexpr float kMost = 1 << 29;
  if (!(origin >= -kMost && origin <= kMost)) origin = 0.0f;
  if (!(extent > 0.0f && extent <= kMost)) extent = 1.0f;
  const float scale = extent / static_cast<float>(outputs);
  return {origin, scale, scale > 1.0f ? scale : 1.0f, size};
}

// The same box on the chroma plane: luma coordinate x is chroma coordinate (x + 1/2 - chroma) / 2. The edges of
// samples, not their centres, have whole coordinates.
VIDSSL_HD inline Axis make_chroma_axis(float origin, float extent, int outputs, int size, float chroma) {
  return make_axis((origin + 0.5f - chroma) * 0.5f, extent * 0.5f, outputs, size);
}

struct Taps {
  int first, count;
  float center, inverse;  // inverse radius
};

VIDSSL_HD inline Taps make_taps(const Axis& axis, int i) {
  const float center = fmaf(static_cast<float>(i) + 0.5f, axis.scale, axis.origin);
  const int low = static_cast<int>(center - axis.radius + 0.5f), high = static_cast<int>(center + axis.radius + 0.5f);
  int first = low < 0 ? 0 : low, last = high > axis.size ? axis.size : high;
  if (first >= axis.size) first = axis.size - 1;  // a box outside the picture shows its border
  if (last <= first) last = first + 1;
  return {first, last - first, center, 1.0f / axis.radius};
}

// Weight of tap `t`, before normalisation.
VIDSSL_HD inline float tap_weight(const Taps& taps, int t) {
  const float x = (static_cast<float>(taps.first + t) + 0.5f - taps.center) * taps.inverse;
  const float w = 1.0f - (x < 0.0f ? -x : x);
  return w > 0.0f ? w : 0.0f;
}

// Sum of the weights, in ascending order.
VIDSSL_HD inline float tap_sum(const Taps& taps) {
  float sum = 0.0f;
  for (int t = 0; t < taps.count; ++t) sum += tap_weight(taps, t);
  return sum;
}

// Weight of tap `t`, normalised so that the weights sum to one. If the sum is 0 (a box outside the picture), there is
// one tap on the border.
VIDSSL_HD inline float normal_weight(const Taps& taps, int t, float sum) {
  return sum > 0.0f ? tap_weight(taps, t) / sum : 1.0f;
}

}  // namespace vidssl
