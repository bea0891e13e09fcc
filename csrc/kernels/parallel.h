// Splits independent work over threads. Results do not depend on which thread does which part.
#pragma once

#include <algorithm>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#include "check.h"

namespace vidssl {

constexpr int kMaxThreads = 1024;  // limit of the argument `threads`

// Calls work(first, last) on disjoint ranges that cover 0 .. count - 1. When all threads have ended, rethrows
// the exception of the first range that failed; an exception that leaves a thread would end the process.
template <typename Work>
void parallel_for(int count, int threads, Work&& work) {
  threads = std::min(std::max(threads, 1), count);
  if (threads <= 1) {
    if (count > 0) work(0, count);
    return;
  }
  const auto bound = [&](int i) { return static_cast<int>(static_cast<long long>(count) * i / threads); };
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(threads));
  const auto run = [&](int i) noexcept {
    try {
      work(bound(i), bound(i + 1));
    } catch (...) {
      failures[static_cast<std::size_t>(i)] = std::current_exception();
    }
  };
  try {
    std::vector<std::jthread> pool;  // destroyed first, which joins the threads before the objects that they use
    pool.reserve(static_cast<std::size_t>(threads));
    for (int i = 1; i < threads; ++i) pool.emplace_back(run, i);
    run(0);
  } catch (const std::system_error& error) {
    fail("threads=", threads, ": the system cannot start so many threads (", error.what(), "); take fewer");
  }
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

}  // namespace vidssl
