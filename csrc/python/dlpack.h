// DLPack as a consumer sees it: the exchange's fixed memory layout (github.com/dmlc/dlpack, version 1), and a borrowed array.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
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

// An array of somebody else's, borrowed for as long as this lives. Every check names the argument.
class Borrowed {
 public:
  // `stream`: the CUDA stream the kernel will run on, as DLPack wants it (1 = legacy default, 2 = per-thread, > 2 a handle); the
  // exporter makes its pending work visible to it. Ignored for host arrays.
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
  void expect(const char* type, const std::vector<std::int64_t>& shape, bool writes = false, bool rows_apart = false) const;
  bool is(const char* type) const;

  template <typename T>
  T* data() const {
    return reinterpret_cast<T*>(static_cast<char*>(tensor_->data) + tensor_->byte_offset);
  }

 private:
  std::string name_;
  DLManagedTensor* managed_ = nullptr;
  DLManagedTensorVersioned* versioned_ = nullptr;
  DLTensor* tensor_ = nullptr;
};

}  // namespace vidssl
