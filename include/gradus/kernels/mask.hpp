// The contract for masks: which elements are kept when every element has its own probability, and what becomes of kept and
// dropped ones. kernels/dropout.hpp has the masks of one probability.
//
//   mask_each    keep_i = u_i >= p_i                       u_i as in dropout: counter i/4, word i%4, 24 bits
//   mask_apply   y_i = scale x_i + shift where kept, fill where dropped (a select: a dropped NaN gives fill)
#pragma once
#include <gradus/core/dtype.hpp>
#include <gradus/core/random.hpp>
#include <gradus/kernels/loop.hpp>

namespace gradus::kernels {

/// p, keep : [n]. A p outside [0, 1], or NaN, counts as the nearer end, NaN as 0. T: float, double, bf16, half.
template <class T>
void mask_each(Cpu, const T* p, bool* keep, int64_t n, RandomStream s);
template <class T>
void mask_each(Cuda, const T* p, bool* keep, int64_t n, RandomStream s);
/// Loop operands: y, keep, x; keep may be broadcast. Computed in compute_t<T>. T: float, double, bf16, half.
template <class T>
void mask_apply(Cpu, const bool* keep, const T* x, T* y, double scale, double shift, double fill, const Loop<3>& loop);
template <class T>
void mask_apply(Cuda, const bool* keep, const T* x, T* y, double scale, double shift, double fill, const Loop<3>& loop);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include <gradus/../../cpu/mask.cpp>
#endif
