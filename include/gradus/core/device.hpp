// Devices are types: a tensor's device is part of its type, so that mixing them does not compile.
#pragma once
#include <cstdint>

namespace gradus {

struct Cpu {};   ///< host memory, kernels of cpu/
struct Cuda {};  ///< device memory, kernels of cuda/ (needs a build with GRADUS_CUDA)

enum class DeviceKind : uint8_t { cpu, cuda };

template <class D> inline constexpr DeviceKind device_of = DeviceKind::cpu;
template <> inline constexpr DeviceKind device_of<Cuda> = DeviceKind::cuda;

constexpr const char* name_of(DeviceKind d) { return d == DeviceKind::cpu ? "cpu" : "cuda:0"; }

}  // namespace gradus
