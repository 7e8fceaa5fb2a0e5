// Tensors to and from other libraries without copies, by DLPack's structs (https://dmlc.github.io/dlpack): PyTorch, NumPy, JAX,
// CuPy, TVM read and give them.
//
//   DLManagedTensor* m = to_dlpack<DLManagedTensor>(x);      // with <dlpack/dlpack.h>, or PyTorch's copy of it
//   at::Tensor t = at::fromDLPack(m);                        // x's elements; x's memory lives as long as t
//   Tensor<float> y = from_dlpack<float>(at::toDLPack(t));   // t's elements
//
// Any struct with the members of DLManagedTensor or DLManagedTensorVersioned serves: their own, or dlpack::ManagedTensor and
// dlpack::ManagedTensorVersioned of this file, which have the same layout. Writes on one side are seen on the other; values
// that gradus has saved for a backward do not notice that they were changed from outside.
#pragma once
#include <array>
#include <memory>
#include <string>
#include <type_traits>

#include <gradus/core/cuda.hpp>
#include <gradus/ops/create.hpp>

namespace gradus {

namespace dlpack {
enum DeviceType : int32_t { cpu = 1, cuda = 2, cuda_host = 3, cuda_managed = 13 };
enum TypeCode : uint8_t { integer = 0, unsigned_integer = 1, floating = 2, bfloat = 4, boolean = 6 };
struct Device {
  int32_t device_type, device_id;
};
struct DataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  Device device;
  int32_t ndim;
  DataType dtype;
  int64_t* shape;    // [ndim]
  int64_t* strides;  // [ndim], in elements; null: row-major
  uint64_t byte_offset;
};
/// Version 0 of the exchange.
struct ManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(ManagedTensor*);
};
struct Version {
  uint32_t major, minor;
};
/// Version 1.
struct ManagedTensorVersioned {
  Version version;
  void* manager_ctx;
  void (*deleter)(ManagedTensorVersioned*);
  uint64_t flags;  // bit 0: read only
  DLTensor dl_tensor;
};

inline DataType type_of(DType t) {
  constexpr TypeCode codes[] = {floating, floating, bfloat, floating, integer, integer, unsigned_integer, boolean};
  return {codes[static_cast<int>(t)], static_cast<uint8_t>(8 * size_of(t)), 1};
}
}  // namespace dlpack

namespace detail {
inline std::string dlpack_type(int code, int bits, int lanes) {
  constexpr const char* names[] = {"int", "uint", "float", "opaque handle ", "bfloat", "complex", "bool"};
  return (code >= 0 && code < 7 ? names[code] : "code " + std::to_string(code) + " of ") + std::to_string(bits) +
         (lanes == 1 ? "" : " x " + std::to_string(lanes));
}
}  // namespace detail

/// x's elements for another library. The caller, or whoever takes the struct over, calls m->deleter(m) once; x's memory lives
/// until then. Throws for a tensor with gradients (detach it first), and for memory of the emulated device, which no other
/// library knows.
template <class Managed = dlpack::ManagedTensor, class T, class D>
Managed* to_dlpack(const Tensor<T, D>& x, Where at = Where::current()) {
  if (x.requires_grad())
    fail("to_dlpack", "the other library would not see the gradients", {{"x", describe(x)}}, "a tensor without: detach() it",
         at);
  constexpr bool on_cuda = !std::is_same_v<D, Cpu>;
#if defined(GRADUS_CUDA_EMULATED)
  if constexpr (on_cuda)
    fail("to_dlpack", "the emulated device's memory is no other library's", {{"x", describe(x)}},
         "a tensor in host memory: to<Cpu>()", at);
#endif
  struct Held {
    Tensor<T, D> x;  // keeps the memory
    std::array<int64_t, kMaxRank> shape, strides;
    Managed managed;
  };
  auto held = std::make_unique<Held>();
  held->x = x, held->managed = Managed{};
  for (int i = 0; i < x.rank(); ++i) {
    const auto k = static_cast<std::size_t>(i);
    held->shape[k] = x.shape()[i], held->strides[k] = x.strides()[i];
  }
  Managed& m = held->managed;
  auto& t = m.dl_tensor;
  using Type = std::remove_reference_t<decltype(t.dtype)>;
  using Kind = std::remove_reference_t<decltype(t.device.device_type)>;
  t.data = const_cast<void*>(static_cast<const void*>(x.data()));
  t.device.device_type = static_cast<Kind>(on_cuda ? dlpack::cuda : dlpack::cpu), t.device.device_id = 0;
  if constexpr (on_cuda) t.device.device_id = cuda::device_info(at).index;
  t.ndim = x.rank();
  const dlpack::DataType type = dlpack::type_of(dtype_of<T>);
  t.dtype = Type{type.code, type.bits, type.lanes};
  t.shape = held->shape.data(), t.strides = held->strides.data(), t.byte_offset = 0;
  if constexpr (requires { m.version.major; }) m.version.major = 1, m.version.minor = 0, m.flags = 0;
  m.manager_ctx = held.get();
  m.deleter = [](Managed* self) { delete static_cast<Held*>(self->manager_ctx); };
  return &held.release()->managed;
}

/// A tensor over another library's elements, which it takes over: m->deleter(m) runs when the last tensor and view are gone, or
/// at once when this throws. T and D have to be what m holds; read-only memory is refused, as every tensor can be written.
template <class T, class D = Cpu, class Managed>
Tensor<T, D> from_dlpack(Managed* m, Where at = Where::current()) {
  const auto release = [](Managed* p) {
    if (p && p->deleter) p->deleter(p);
  };
  std::unique_ptr<Managed, decltype(release)> held(m, release);
  if (!m) fail("from_dlpack", "no tensor", {{"m", "null"}}, "what to_dlpack or another library gave", at);
  const auto& t = m->dl_tensor;
  const dlpack::DataType wanted = dlpack::type_of(dtype_of<T>);
  const std::string type = detail::dlpack_type(t.dtype.code, t.dtype.bits, t.dtype.lanes);
  if constexpr (requires { m->version.major; }) {
    if (m->version.major != 1)
      fail("from_dlpack", "another version of the exchange",
           {{"version", std::to_string(m->version.major) + "." + std::to_string(m->version.minor)}}, "version 1", at);
    if (m->flags & 1)
      fail("from_dlpack", "the memory is read only", {{"elements", type}}, "memory that may be written: copy it first", at);
  }
  if (t.dtype.code != wanted.code || t.dtype.bits != wanted.bits || t.dtype.lanes != wanted.lanes)
    fail("from_dlpack", "other elements", {{"elements", type}}, name_of(dtype_of<T>), at);
  const auto kind = static_cast<int>(t.device.device_type);
  constexpr bool on_cuda = !std::is_same_v<D, Cpu>;
  const bool fits =
      on_cuda ? kind == dlpack::cuda || kind == dlpack::cuda_managed : kind == dlpack::cpu || kind == dlpack::cuda_host;
#if defined(GRADUS_CUDA_EMULATED)
  if (on_cuda || !fits)
#else
  if (!fits)
#endif
    fail("from_dlpack", "memory of another device", {{"device type", std::to_string(kind)}},
         on_cuda ? "2 or 13, CUDA's memory, in a build for a GPU" : "1 or 3, host memory", at);
  if (t.ndim < 0 || t.ndim > kMaxRank)
    fail("from_dlpack", "too many dimensions", {{"dimensions", std::to_string(t.ndim)}}, "at most " + std::to_string(kMaxRank),
         at);
  Shape shape;
  for (int i = 0; i < t.ndim; ++i) {
    if (t.shape[i] < 0) fail("from_dlpack", "a negative extent", {{"extent", std::to_string(t.shape[i])}}, "extents >= 0", at);
    shape.push_back(t.shape[i]);
  }
  Shape strides = contiguous_strides(shape);
  if (t.strides)
    for (int i = 0; i < t.ndim; ++i) strides[i] = t.strides[i];
  auto* data = reinterpret_cast<T*>(static_cast<char*>(t.data) + t.byte_offset);
  if (reinterpret_cast<std::uintptr_t>(data) % alignof(T))
    fail("from_dlpack", "the elements are not aligned", {{"elements", type}},
         "an address that is a multiple of " + std::to_string(alignof(T)), at);
  return detail::over<T, D>(
      data, shape, strides,
      [](void* p) {
        auto* managed = static_cast<Managed*>(p);
        if (managed->deleter) managed->deleter(managed);
      },
      held.release());
}

}  // namespace gradus
