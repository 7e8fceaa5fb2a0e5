// The contract for dropout: y_i = 0 where u_i < p, x_i / (1 - p) elsewhere; u_i is the uniform of element i (counter i/4,
// word i%4), so p is the probability to drop and nothing is stored: backward calls the same kernel with dy for x.
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>
#include <gradus/core/random.hpp>

namespace gradus::kernels {

/// x, y : [n], y may be x. For p = 1 all is dropped. T: float, double, bf16, half.
template <class T> void dropout(Cpu, const T* x, T* y, int64_t n, double p, RandomStream s);
template <class T> void dropout(Cuda, const T* x, T* y, int64_t n, double p, RandomStream s);
/// keep[i] = u_i >= p: the mask that dropout applies.
void dropout_mask(Cpu, bool* keep, int64_t n, double p, RandomStream s);
void dropout_mask(Cuda, bool* keep, int64_t n, double p, RandomStream s);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include <gradus/../../cpu/dropout.cpp>
#endif
