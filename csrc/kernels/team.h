// A team is the group of threads that draws one plan: one CPU thread, or one GPU block (plan_cuda.cu). The integers do
// not depend on the team's size.
#pragma once

#include <cstdint>

#include "view.h"

// The functions of a block exist only on the device.
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
  // A group is a part of the team that reads neighbouring memory together.
  VIDSSL_TEAM int group() const { return 0; }
  VIDSSL_TEAM int groups() const { return 1; }
  VIDSSL_TEAM int group_lane() const { return 0; }
  VIDSSL_TEAM int group_size() const { return 1; }
  VIDSSL_TEAM std::uint64_t group_sum(std::uint64_t value) const { return value; }
  // After sync, all members see the writes from before it.
  VIDSSL_TEAM void sync() const {}
  // Returns the sum of `value` over the members before this one. `total` gets the sum over all members.
  VIDSSL_TEAM std::uint64_t before(std::uint64_t value, std::uint64_t* total) const {
    *total = value;
    return 0;
  }
  // Replaces each member's best score and its corner (y, x) with the best of the team. Of equal scores, the first
  // corner in reading order wins.
  VIDSSL_TEAM void first_best(std::uint64_t*, int*, int*) const {}
};

// The range [first, last) of `count` items that this member works on. Ranges ascend with the member.
struct Share {
  int first, last;
};
template <typename Team>
VIDSSL_TEAM Share share(const Team& team, int count) {
  const int each = ceil_div(count, team.size()), first = team.lane() * each;
  return {first < count ? first : count, first + each < count ? first + each : count};
}

}  // namespace vidssl
