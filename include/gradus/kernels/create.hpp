// The contract for tensors that are made from numbers alone.
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>
#include <gradus/core/dtype.hpp>

namespace gradus::kernels {

/// y_i = start + i span / parts, computed in double; y : [n]. T: every element type.
template <class T> void ramp(Cpu, T* y, int64_t n, double start, double span, double parts);
template <class T> void ramp(Cuda, T* y, int64_t n, double start, double span, double parts);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include "../../../cpu/create.cpp"
#endif
