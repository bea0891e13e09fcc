// Errors of the kernels. They name the argument, its value and the fix; the faces turn them into ValueError.
#pragma once

#include <sstream>
#include <stdexcept>

namespace vidssl {

template <typename... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw std::invalid_argument(text.str());
}

template <typename... Parts>
void check(bool good, const Parts&... parts) {
  if (!good) fail(parts...);
}

}  // namespace vidssl
