#include "dlpack.h"

#include <cstring>
#include <limits>

#include "../kernels/check.h"

namespace py = pybind11;

namespace vidssl {
namespace {

constexpr int kMaxAxes = 64;  // as numpy has

struct TypeName {
  const char* name;
  std::uint8_t code, bits;
};
constexpr TypeName kTypes[] = {{"int32", 0, 32},   {"int64", 0, 64},   {"uint8", 1, 8},
                               {"uint16", 1, 16},  {"uint32", 1, 32},  {"uint64", 1, 64},
                               {"float16", 2, 16}, {"float32", 2, 32}, {"bfloat16", 4, 16}};

const TypeName* known(const DLDataType& type) {
  for (const TypeName& one : kTypes)
    if (one.code == type.code && one.bits == type.bits && type.lanes == 1) return &one;
  return nullptr;
}

std::string type_name(const DLDataType& type) {
  if (const TypeName* one = known(type)) return one->name;
  return "DLPack type code " + std::to_string(type.code) + ", " + std::to_string(type.bits) + " bits";
}

std::string list(const std::int64_t* numbers, std::size_t count) {
  std::string text = "[";
  for (std::size_t i = 0; i < count; ++i) text += (i ? ", " : "") + std::to_string(numbers[i]);
  return text + "]";
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + (shape[i] < 0 ? "any" : std::to_string(shape[i]));
  return text + "]";
}

std::string type_of(py::handle object) { return py::str(py::type::of(object).attr("__name__")).cast<std::string>(); }

// Calls the exporter's method. If it raises, raises an error that names the argument, with the first one as its cause.
template <typename Call>
py::object ask(const std::string& name, const char* method, Call&& call) {
  try {
    return call();
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_Exception)) throw;  // KeyboardInterrupt or SystemExit
    fail(name, ": its ", method, " raised ", type_of(error.value()), ": ", py::str(error.value()).cast<std::string>(),
         "; pass a plain array of numpy, torch, cupy or DALI");
  }
}

int device_type(py::handle array, const std::string& name) {
  const py::object device = ask(name, "__dlpack_device__", [&] { return array.attr("__dlpack_device__")(); });
  if (py::isinstance<py::tuple>(device) && py::len(device) == 2) {
    const long type = PyLong_AsLong(py::reinterpret_borrow<py::tuple>(device)[0].ptr());  // also accepts an enumeration
    if (!PyErr_Occurred()) return static_cast<int>(type);
    PyErr_Clear();
  }
  fail(name, ": its __dlpack_device__ returned a ", type_of(device), ", not two whole numbers; pass a plain array");
}

py::object export_capsule(py::handle array, const std::string& name, std::intptr_t stream) {
  if (PyCapsule_CheckExact(array.ptr())) return py::reinterpret_borrow<py::object>(array);
  if (!py::hasattr(array, "__dlpack__") || !py::hasattr(array, "__dlpack_device__"))
    fail(name, " is a ", type_of(array), ": pass an array that supports DLPack (numpy, torch, cupy, DALI)");
  const int device = device_type(array, name);
  py::dict options;
  if (device == kCuda || device == kCudaManaged) options["stream"] = stream;
  py::dict versioned = options.attr("copy")();
  versioned["max_version"] = py::make_tuple(1, 0);
  return ask(name, "__dlpack__", [&]() -> py::object {
    try {
      return array.attr("__dlpack__")(**versioned);
    } catch (py::error_already_set& error) {
      if (!error.matches(PyExc_TypeError)) throw;  // the exporter is older than DLPack 1.0
    }
    return array.attr("__dlpack__")(**options);
  });
}

}  // namespace

Borrowed::Borrowed(py::handle array, std::string name, std::intptr_t stream) : Borrowed(std::move(name)) {
  py::object capsule = export_capsule(array, name_, stream);
  if (!PyCapsule_CheckExact(capsule.ptr()))
    fail(name_, ": its __dlpack__ returned a ", type_of(capsule), ", not a capsule; pass a plain array");
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned")) {
    versioned_ = static_cast<DLManagedTensorVersioned*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor_versioned"));
    PyCapsule_SetName(capsule.ptr(), "used_dltensor_versioned");
    if (versioned_->major != 1)
      fail(name_, ": its capsule has DLPack version ", versioned_->major, "; pass one of version 1");
    tensor_ = &versioned_->tensor;
  } else if (PyCapsule_IsValid(capsule.ptr(), "dltensor")) {
    managed_ = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
    PyCapsule_SetName(capsule.ptr(), "used_dltensor");
    tensor_ = &managed_->tensor;
  } else {
    fail(name_, ": its DLPack capsule was used before; pass the array itself");
  }
  measure();
}

void Borrowed::measure() {
  const DLTensor& t = *tensor_;
  if (t.ndim < 0 || t.ndim > kMaxAxes || (t.ndim > 0 && !t.shape))
    fail(name_, ": its capsule has ndim=", t.ndim, "; pass an array of 0 to ", kMaxAxes, " axes");
  const std::int32_t device = t.device.type;
  if (device != kHost && device != kCudaHost && !on_cuda())
    fail(name_, ": it is on DLPack device ", device, "; pass an array on the CPU (", +kHost, ", ", +kCudaHost,
         ") or CUDA (", +kCuda, ", ", +kCudaManaged, ")");
  bool empty = false, holds = true;
  for (int axis = 0; axis < t.ndim; ++axis) empty = empty || t.shape[axis] == 0, holds = holds && t.shape[axis] >= 0;
  const std::int64_t item = (std::int64_t{t.dtype.bits} * t.dtype.lanes + 7) / 8;
  std::int64_t items = item, low = 0, high = 0;
  for (int axis = 0; axis < t.ndim && !empty && holds; ++axis) {
    holds = !__builtin_mul_overflow(items, t.shape[axis], &items);
    std::int64_t reach = 0, step = t.strides ? t.strides[axis] : 0;
    holds = holds && !__builtin_mul_overflow(t.shape[axis] - 1, step, &reach) &&
            !__builtin_mul_overflow(reach, item, &reach);
    std::int64_t& side = reach < 0 ? low : high;
    holds = holds && !__builtin_add_overflow(side, reach, &side);
  }
  const std::int64_t whole =
      t.strides ? high + (high < std::numeric_limits<std::int64_t>::max() - item ? item : 0) : items;
  if (!holds) fail(describe(), ": its size does not fit into 64 bits; pass a smaller array");
  if (!empty && !t.data) fail(describe(), ": its capsule has no data; pass an array with memory");
  low_ = empty ? 0 : low, high_ = empty ? 0 : whole;
}

Borrowed::Borrowed(Borrowed&& other) noexcept
    : name_(std::move(other.name_)),
      managed_(other.managed_),
      versioned_(other.versioned_),
      tensor_(other.tensor_),
      low_(other.low_),
      high_(other.high_) {
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
  return name_ + " is " + type_name(tensor_->dtype) + " " +
         list(tensor_->shape, static_cast<std::size_t>(tensor_->ndim)) +
         (on_cuda() ? " on cuda:" + std::to_string(device_id()) : " on cpu");
}

bool Borrowed::is(const char* type) const {
  const TypeName* one = known(tensor_->dtype);
  return one && std::strcmp(one->name, type) == 0;
}

void Borrowed::expect(const char* type, const std::vector<std::int64_t>& shape, bool writes, bool rows_apart) const {
  bool fits = is(type) && shape.size() == static_cast<std::size_t>(tensor_->ndim), empty = false;
  for (std::size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] < 0 || shape[i] == tensor_->shape[i];
  if (!fits) fail(describe(), ": it must be ", type, " ", shape_text(shape));
  for (int axis = 0; axis < tensor_->ndim; ++axis) empty = empty || tensor_->shape[axis] == 0;
  std::int64_t dense = 1;
  for (int axis = tensor_->ndim - 1; axis >= 0 && !empty; --axis) {
    const bool free_axis = (rows_apart && axis == 0) || tensor_->shape[axis] <= 1;
    if (!free_axis && stride(axis) != dense)
      fail(describe(), ", strides ", list(tensor_->strides, shape.size()), ": it must be C-contiguous",
           rows_apart ? " except for its first axis" : "", "; pass a contiguous copy");
    dense *= tensor_->shape[axis];
  }
  if (!empty && reinterpret_cast<std::uintptr_t>(data<void>()) % (tensor_->dtype.bits / 8u) != 0)
    fail(describe(), ": its memory is not aligned to its type; pass an aligned copy");
  if (writes && versioned_ && (versioned_->flags & kReadOnly))
    fail(describe(), ": it is read-only, but it is an output; pass a writable array");
}

bool Borrowed::shares(const void* first, std::int64_t bytes) const {
  const auto own = reinterpret_cast<std::intptr_t>(data<void>()), other = reinterpret_cast<std::intptr_t>(first);
  return low_ < high_ && bytes > 0 && own + low_ < other + bytes && other < own + high_;
}

void Borrowed::expect_apart(const Borrowed& other) const {
  if (shares(other.data<char>() + other.low_, other.high_ - other.low_))
    fail(describe(), ": it is an output, but overlaps ", other.describe(), " in memory; pass separate memory");
}

}  // namespace vidssl
