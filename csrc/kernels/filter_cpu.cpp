#include <algorithm>

#include "filter_table.h"

namespace vidssl {

namespace {

// Leaves out what has a weight of 0 at either end: it changes no bit of a sum.
Taps shortened(Taps out) {
  if (tap_sum(out) == 0.0f) return out;  // see normal_weight
  while (out.count > 1 && tap_weight(out, out.count - 1) == 0.0f) --out.count;
  for (; out.count > 1 && tap_weight(out, 0) == 0.0f; --out.count) ++out.first;
  return out;
}

}  // namespace

void AxisTable::make(const Axis& axis, int outputs) {
  const auto size = static_cast<std::size_t>(outputs);
  std::vector<Taps> filters(size);
  taps = 0;
  for (int i = 0; i < outputs; ++i) {
    filters[i] = shortened(make_taps(axis, i));
    taps = std::max(taps, filters[i].count);
  }
  first.resize(size);
  weight.assign(size * static_cast<std::size_t>(taps), 0.0f);
  low = axis.size;
  high = 0;
  for (int i = 0; i < outputs; ++i) {
    const Taps& filter = filters[i];
    const float sum = tap_sum(filter);
    first[i] = std::min(filter.first, axis.size - taps);
    float* to = weight.data() + i * taps + (filter.first - first[i]);
    for (int t = 0; t < filter.count; ++t) to[t] = normal_weight(filter, t, sum);
    low = std::min(low, first[i]);
    high = std::max(high, first[i] + taps);
  }
}

}  // namespace vidssl
