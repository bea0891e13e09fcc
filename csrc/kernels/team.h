// Who makes a plan together: one thread of a CPU, or a block of a GPU (plan_cuda.cu). The integers are the same
// whatever the team's size.
#pragma once

#include <cstdint>

#include "view.h"

// A block's functions exist on the device alone.
#if defined(__CUDACC__)
#define VIDSSL_TEAM __device__
#else
#define VIDSSL_TEAM
#endif

namespace vidssl {

// The CPU's team. Every member calls sync, before, group_sum and first_best in the same order.
struct Alone {
  VIDSSL_TEAM int lane() const { return 0; }
  VIDSSL_TEAM int size() const { return 1; }
  // Part of the team that reads neighbouring memory together.
  VIDSSL_TEAM int group() const { return 0; }
  VIDSSL_TEAM int groups() const { return 1; }
  VIDSSL_TEAM int group_lane() const { return 0; }
  VIDSSL_TEAM int group_size() const { return 1; }
  VIDSSL_TEAM std::uint64_t group_sum(std::uint64_t value) const { return value; }
  // What was written before is seen by all after.
  VIDSSL_TEAM void sync() const {}
  // Sum of `value` over the members before this one; `total`: over all of them.
  VIDSSL_TEAM std::uint64_t before(std::uint64_t value, std::uint64_t* total) const {
    *total = value;
    return 0;
  }
  // Each member's best score and its place (y, x) becomes the team's; of equal scores the first in reading order.
  VIDSSL_TEAM void first_best(std::uint64_t*, int*, int*) const {}
};

// Items [first, last) of this member's share of `count`, ascending with the member.
struct Share {
  int first, last;
};
template <typename Team>
VIDSSL_TEAM Share share(const Team& team, int count) {
  const int each = ceil_div(count, team.size()), first = team.lane() * each;
  return {first < count ? first : count, first + each < count ? first + each : count};
}

}  // namespace vidssl
