// A decoder's plane as bytes, over Python's buffer protocol.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "../kernels/check.h"

namespace vidssl {

// A decoder's plane. This object keeps it from being freed or moved.
class Plane {
 public:
  Plane(pybind11::handle buffer, const char* name, int stride, std::int64_t height, std::int64_t width) {
    if (!PyObject_CheckBuffer(buffer.ptr()))
      fail(name, " is a ", pybind11::str(pybind11::type::of(buffer).attr("__name__")).cast<std::string>(),
           ": pass a buffer of bytes, such as a plane of PyAV or a numpy array");
    if (PyObject_GetBuffer(buffer.ptr(), &view_, PyBUF_SIMPLE) != 0) {
      PyErr_Clear();
      fail(name, ": its bytes are not contiguous; pass a contiguous copy");
    }
    const std::int64_t size = view_.len;
    if (stride < width || size < static_cast<std::int64_t>(stride) * (height - 1) + width) {
      PyBuffer_Release(&view_);
      fail(name, ": its ", size, " bytes cannot hold ", height, " lines of ", width, " bytes, ", stride,
           " bytes apart; pass the whole plane and its stride");
    }
  }
  Plane(const Plane&) = delete;
  ~Plane() { PyBuffer_Release(&view_); }

  const std::uint8_t* data() const { return static_cast<const std::uint8_t*>(view_.buf); }
  std::int64_t bytes() const { return view_.len; }

 private:
  Py_buffer view_{};
};

// A checksum of `height` lines of `width` bytes, continued from `start`. Each word goes through bijections of its sum,
// so a change of one word always changes the result.
inline std::uint64_t checksum(const std::uint8_t* line, std::int64_t stride, std::int64_t height, std::int64_t width,
                              std::uint64_t start) {
  constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15ULL;  // 2^64 divided by the golden ratio
  const auto mix = [](std::uint64_t sum, std::uint64_t word) {
    const std::uint64_t mixed = (sum ^ word) * kOdd;
    return mixed << 29 | mixed >> 35;
  };
  std::uint64_t sums[4] = {start, start + 1, start + 2, start + 3};  // independent, so that they overlap in time
  for (; height > 0; --height, line += stride) {
    std::int64_t at = 0;
    for (; at + 32 <= width; at += 32) {
      std::uint64_t words[4];
      std::memcpy(words, line + at, sizeof words);
      for (int i = 0; i < 4; ++i) sums[i] = mix(sums[i], words[i]);
    }
    for (int i = 0; at < width; at += 8, ++i) {
      std::uint64_t word = 0;
      std::memcpy(&word, line + at, static_cast<std::size_t>(std::min<std::int64_t>(8, width - at)));
      sums[i] = mix(sums[i], word);
    }
  }
  return mix(mix(mix(mix(kOdd, sums[0]), sums[1]), sums[2]), sums[3]);
}

}  // namespace vidssl
