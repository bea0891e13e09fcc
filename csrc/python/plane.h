// A decoder's plane as bytes, over Python's buffer protocol.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "../kernels/check.h"

namespace vidssl {

// A decoder's plane. This object keeps it from being freed or moved.
class Plane {
 public:
  Plane(pybind11::handle buffer, const char* name, int stride, std::int64_t height, std::int64_t width) {
    if (!PyObject_CheckBuffer(buffer.ptr()))
      throw pybind11::type_error(std::string(name) + " is a " +
                                 pybind11::str(pybind11::type::of(buffer).attr("__name__")).cast<std::string>() +
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

}  // namespace vidssl
