// The contract for running reductions along R of x : [O, R, I]; results have x's shape.
//
//   cumsum        y_r = sum_{q<=r} x_q        its gradient is the reverse scan of dy: y_r = sum_{q>=r} x_q
//   cumprod       y_r = prod_{q<=r} x_q
//   logcumsumexp  y_r = log sum_{q<=r} e^{x_q}
//   cummax        y_r = max_{q<=r} x_q and the index q where it is, the last one of equals; NaN wins and stays (cummin alike)
//
// float accumulates in double here, bf16 and half in float. T: float, double, bf16, half, int64_t, int32_t, uint8_t;
// logcumsumexp: the floating ones.
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>

namespace gradus::kernels {

template <class T> void cumsum(Cpu, const T* x, T* y, int64_t O, int64_t R, int64_t I, bool reverse);
template <class T> void cumsum(Cuda, const T* x, T* y, int64_t O, int64_t R, int64_t I, bool reverse);
template <class T> void cumprod(Cpu, const T* x, T* y, int64_t O, int64_t R, int64_t I, bool reverse);
template <class T> void cumprod(Cuda, const T* x, T* y, int64_t O, int64_t R, int64_t I, bool reverse);
template <class T> void logcumsumexp(Cpu, const T* x, T* y, int64_t O, int64_t R, int64_t I, bool reverse);
template <class T> void logcumsumexp(Cuda, const T* x, T* y, int64_t O, int64_t R, int64_t I, bool reverse);
/// values and index : [O, R, I]
template <class T> void cummax(Cpu, const T* x, T* values, int64_t* index, int64_t O, int64_t R, int64_t I);
template <class T> void cummax(Cuda, const T* x, T* values, int64_t* index, int64_t O, int64_t R, int64_t I);
template <class T> void cummin(Cpu, const T* x, T* values, int64_t* index, int64_t O, int64_t R, int64_t I);
template <class T> void cummin(Cuda, const T* x, T* values, int64_t* index, int64_t O, int64_t R, int64_t I);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include <gradus/../../cpu/scan.cpp>
#endif
