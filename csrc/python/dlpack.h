// The consumer side of DLPack: the fixed memory layout of the exchange (github.com/dmlc/dlpack, version 1), and a
// borrowed array.
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

// An array of another library, borrowed for the lifetime of this object. All errors name the argument. It checks
// everything that an exporter reports, except the address of the memory, which cannot be checked.
class Borrowed {
 public:
  // `stream`: the CUDA stream of the kernel in DLPack's form (1 = legacy default, 2 = per-thread, > 2 = a handle). The
  // exporter makes its pending work visible to that stream. Ignored for host arrays.
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

  // Checks type, shape (-1 = any) and layout: C-contiguous, except for the first axis if `rows_apart`.
  void expect(const char* type, const std::vector<std::int64_t>& shape, bool writes = false,
              bool rows_apart = false) const;
  bool is(const char* type) const;
  // Raises if this array, which is an output, may overlap the other in memory.
  void expect_apart(const Borrowed& other) const;
  bool shares(const void* first, std::int64_t bytes) const;

  template <typename T>
  T* data() const {
    return reinterpret_cast<T*>(static_cast<char*>(tensor_->data) + tensor_->byte_offset);
  }

 private:
  explicit Borrowed(std::string name) : name_(std::move(name)) {}
  void measure();  // checks what the exporter reports, and sets low_ and high_

  std::string name_;
  DLManagedTensor* managed_ = nullptr;
  DLManagedTensorVersioned* versioned_ = nullptr;
  DLTensor* tensor_ = nullptr;
  std::int64_t low_ = 0, high_ = 0;  // range of the items, in bytes from data()
};

}  // namespace vidssl
