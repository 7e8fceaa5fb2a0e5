// Devices are types: a tensor's device is part of its type, so that mixing them does not compile.
#pragma once
#include <cstdint>
#include <type_traits>

namespace gradus {

struct Cpu {};   ///< host memory, kernels of cpu/
struct Cuda {};  ///< device memory, kernels of cuda/ (a GPU, or the emulated device: GRADUS_CUDA=ON or EMULATED)

/// A place where tensors live.
template <class D> concept Device = std::is_same_v<D, Cpu> || std::is_same_v<D, Cuda>;

#if defined(GRADUS_WITH_CUDA) && !defined(GRADUS_HEADER_ONLY)
inline constexpr bool kWithCuda = true;
#else
inline constexpr bool kWithCuda = false;
#endif
/// Whether Tensor<T, D> can be used in this build.
template <class D> inline constexpr bool is_built = std::is_same_v<D, Cpu> || kWithCuda;

enum class DeviceKind : uint8_t { cpu, cuda };

template <class D> inline constexpr DeviceKind device_of = DeviceKind::cpu;
template <> inline constexpr DeviceKind device_of<Cuda> = DeviceKind::cuda;

constexpr const char* name_of(DeviceKind d) { return d == DeviceKind::cpu ? "cpu" : "cuda"; }

}  // namespace gradus
