#include <algorithm>

#include "filter_table.h"

namespace vidssl {

void AxisTable::make(const Axis& axis, int outputs) {
  const auto size = static_cast<std::size_t>(outputs);
  first.resize(size);
  taps = 0;
  for (int i = 0; i < outputs; ++i) taps = std::max(taps, make_taps(axis, i).count);
  weight.assign(size * static_cast<std::size_t>(taps), 0.0f);
  low = axis.size;
  high = 0;
  for (int i = 0; i < outputs; ++i) {
    const Taps filter = make_taps(axis, i);
    const float sum = tap_sum(filter);
    first[i] = std::min(filter.first, axis.size - taps);
    float* to = weight.data() + i * taps + (filter.first - first[i]);
    for (int t = 0; t < filter.count; ++t) to[t] = normal_weight(filter, t, sum);
    low = std::min(low, first[i]);
    high = std::max(high, first[i] + taps);
  }
}

}  // namespace vidssl
