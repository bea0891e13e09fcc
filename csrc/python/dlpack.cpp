#include "dlpack.h"

#include <cstring>

#include "../kernels/check.h"

namespace py = pybind11;

namespace vidssl {
namespace {

struct TypeName {
  const char* name;
  std::uint8_t code, bits;
};
constexpr TypeName kTypes[] = {{"int32", 0, 32},  {"int64", 0, 64},   {"uint8", 1, 8},    {"uint32", 1, 32},
                               {"uint64", 1, 64}, {"float16", 2, 16}, {"float32", 2, 32}, {"bfloat16", 4, 16}};

std::string type_name(const DLDataType& type) {
  for (const TypeName& known : kTypes)
    if (known.code == type.code && known.bits == type.bits && type.lanes == 1) return known.name;
  return "DLPack type code " + std::to_string(type.code) + ", " + std::to_string(type.bits) + " bits";
}

std::string shape_text(const std::int64_t* shape, std::size_t ndim) {
  std::string text = "[";
  for (std::size_t i = 0; i < ndim; ++i) text += (i ? ", " : "") + (shape[i] < 0 ? "any" : std::to_string(shape[i]));
  return text + "]";
}

py::object export_capsule(py::handle array, const std::string& name, std::intptr_t stream) {
  if (PyCapsule_CheckExact(array.ptr())) return py::reinterpret_borrow<py::object>(array);
  if (!py::hasattr(array, "__dlpack__") || !py::hasattr(array, "__dlpack_device__"))
    throw py::type_error(name + " is a " + py::str(py::type::of(array).attr("__name__")).cast<std::string>() +
                         ": pass an array that speaks DLPack (numpy, torch, cupy, DALI)");
  const int device = array.attr("__dlpack_device__")().cast<py::tuple>()[0].cast<int>();
  py::dict options;
  if (device == kCuda || device == kCudaManaged) options["stream"] = stream;
  py::dict versioned = options.attr("copy")();
  versioned["max_version"] = py::make_tuple(1, 0);
  try {
    return array.attr("__dlpack__")(**versioned);
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_TypeError)) throw;  // an exporter from before DLPack 1.0
  }
  return array.attr("__dlpack__")(**options);
}

}  // namespace

Borrowed::Borrowed(py::handle array, std::string name, std::intptr_t stream) : name_(std::move(name)) {
  py::object capsule = export_capsule(array, name_, stream);
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned")) {
    versioned_ = static_cast<DLManagedTensorVersioned*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor_versioned"));
    PyCapsule_SetName(capsule.ptr(), "used_dltensor_versioned");
    tensor_ = &versioned_->tensor;
  } else if (PyCapsule_IsValid(capsule.ptr(), "dltensor")) {
    managed_ = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
    PyCapsule_SetName(capsule.ptr(), "used_dltensor");
    tensor_ = &managed_->tensor;
  } else {
    fail(name_, ": its DLPack capsule is used up; pass the array itself");
  }
}

Borrowed::Borrowed(Borrowed&& other) noexcept
    : name_(std::move(other.name_)), managed_(other.managed_), versioned_(other.versioned_), tensor_(other.tensor_) {
  other.managed_ = nullptr;
  other.versioned_ = nullptr;
}

Borrowed::~Borrowed() {
  if (managed_ && managed_->deleter) managed_->deleter(managed_);
  if (versioned_ && versioned_->deleter) versioned_->deleter(versioned_);
}

std::int64_t Borrowed::stride(int axis) const {
  if (tensor_->strides) return tensor_->strides[axis];
  std::int64_t stride = 1;
  for (int i = tensor_->ndim - 1; i > axis; --i) stride *= tensor_->shape[i];
  return stride;
}

std::string Borrowed::describe() const {
  return name_ + " is " + type_name(tensor_->dtype) + " " + shape_text(tensor_->shape, static_cast<std::size_t>(tensor_->ndim)) +
         (on_cuda() ? " on cuda:" + std::to_string(device_id()) : " on cpu");
}

bool Borrowed::is(const char* type) const { return type_name(tensor_->dtype) == type; }

void Borrowed::expect(const char* type, const std::vector<std::int64_t>& shape, bool writes, bool rows_apart) const {
  const std::string wanted = std::string(type) + " " + shape_text(shape.data(), shape.size());
  bool fits = is(type) && shape.size() == static_cast<std::size_t>(tensor_->ndim);
  for (std::size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] < 0 || shape[i] == tensor_->shape[i];
  check(fits, describe(), ": it must be ", wanted);
  bool empty = false;
  for (int axis = 0; axis < tensor_->ndim; ++axis) empty = empty || tensor_->shape[axis] == 0;
  std::int64_t dense = 1;
  for (int axis = tensor_->ndim - 1; axis >= 0 && !empty; --axis) {
    const bool free_axis = (rows_apart && axis == 0) || tensor_->shape[axis] <= 1;
    check(free_axis || stride(axis) == dense, describe(), ", strides ", shape_text(tensor_->strides, shape.size()),
          ": it must be C-contiguous", rows_apart ? " but for its first axis" : "", "; pass a contiguous copy");
    dense *= tensor_->shape[axis];
  }
  check(!writes || !versioned_ || !(versioned_->flags & kReadOnly), describe(),
        ": it is read-only and would be written to; pass a writable array");
}

}  // namespace vidssl
