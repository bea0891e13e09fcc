// Splits independent work over threads. Which thread does what never shows in a result.
#pragma once

#include <algorithm>
#include <thread>
#include <vector>

namespace vidssl {

// Calls work(first, last) on disjoint ranges that cover 0 .. count - 1.
template <typename Work>
void parallel_for(int count, int threads, Work&& work) {
  threads = std::min(std::max(threads, 1), count);
  if (threads <= 1) {
    if (count > 0) work(0, count);
    return;
  }
  std::vector<std::jthread> pool;
  const auto bound = [&](int i) { return static_cast<int>(static_cast<long long>(count) * i / threads); };
  for (int i = 1; i < threads; ++i) pool.emplace_back([&, i] { work(bound(i), bound(i + 1)); });
  work(0, bound(1));
}

}  // namespace vidssl
