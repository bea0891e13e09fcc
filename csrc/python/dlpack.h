// DLPack as a consumer sees it: the exchange's fixed memory layout (github.com/dmlc/dlpack, version 1), and a borrowed
// array.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace vidssl {

struct DLDevice {
  std::int32_t type, id;
};
struct DLDataType {
  std::uint8_t code, bits;
  std::uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t *shape, *strides;
  std::uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};
struct DLManagedTensorVersioned {
  std::uint32_t major, minor;
  void* context;
  void (*deleter)(DLManagedTensorVersioned*);
  std::uint64_t flags;
  DLTensor tensor;
};

enum DeviceType : std::int32_t { kHost = 1, kCuda = 2, kCudaHost = 3, kCudaManaged = 13 };
constexpr std::uint64_t kReadOnly = 1;

// An array of somebody else's, borrowed for as long as this lives. Every check names the argument. That its memory is
// where its exporter says, nobody can check; all else that an exporter says is.
class Borrowed {
 public:
  // `stream`: the CUDA stream the kernel will run on, as DLPack wants it (1 = legacy default, 2 = per-thread, > 2 a
  // handle); the exporter makes its pending work visible to it. Ignored for host arrays.
  Borrowed(pybind11::handle array, std::string name, std::intptr_t stream);
  Borrowed(Borrowed&& other) noexcept;
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  ~Borrowed();

  bool on_cuda() const { return tensor_->device.type == kCuda || tensor_->device.type == kCudaManaged; }
  int device_id() const { return tensor_->device.id; }
  int ndim() const { return tensor_->ndim; }
  std::int64_t size(int axis) const { return tensor_->shape[axis]; }
  std::int64_t stride(int axis) const;  // in items
  std::string describe() const;         // name, type, shape and device, for error messages

  // Checks type, shape (-1 = any) and layout: C-contiguous, but for the first axis if `rows_apart`.
  void expect(const char* type, const std::vector<std::int64_t>& shape, bool writes = false,
              bool rows_apart = false) const;
  bool is(const char* type) const;
  // Raises where an item of this, which is written to, may lie in the other's memory.
  void expect_apart(const Borrowed& other) const;
  bool shares(const void* first, std::int64_t bytes) const;

  template <typename T>
  T* data() const {
    return reinterpret_cast<T*>(static_cast<char*>(tensor_->data) + tensor_->byte_offset);
  }

 private:
  explicit Borrowed(std::string name) : name_(std::move(name)) {}
  void measure();  // checks what the exporter says, and finds where the items lie

  std::string name_;
  DLManagedTensor* managed_ = nullptr;
  DLManagedTensorVersioned* versioned_ = nullptr;
  DLTensor* tensor_ = nullptr;
  std::int64_t low_ = 0, high_ = 0;  // bytes from data() to the first that items take, and to one past the last
};

}  // namespace vidssl
