// The contract for softmax and its relatives over the rows of x : [N, C].
//
//   softmax      y_c = e^{x_c - m} / sum_k e^{x_k - m},   m = max_k x_k          dx_c = y_c (dy_c - sum_k dy_k y_k)
//   log_softmax  y_c = x_c - l,   l = m + log sum_k e^{x_k - m}                  dx_c = dy_c - e^{y_c} sum_k dy_k
//   logsumexp    y   = l                                                         dx_c = dy e^{x_c - l}
//
// m only prevents overflow. A row of -infinity has softmax NaN and logsumexp -infinity. T: float, double, bf16, half.
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>
#include <gradus/core/dtype.hpp>

namespace gradus::kernels {

template <class T> void softmax_fwd(Cpu, const T* x, T* y, int64_t N, int64_t C);
template <class T> void softmax_fwd(Cuda, const T* x, T* y, int64_t N, int64_t C);
template <class T> void softmax_bwd(Cpu, const T* y, const T* dy, T* dx, int64_t N, int64_t C);
template <class T> void softmax_bwd(Cuda, const T* y, const T* dy, T* dx, int64_t N, int64_t C);

template <class T> void log_softmax_fwd(Cpu, const T* x, T* y, int64_t N, int64_t C);
template <class T> void log_softmax_fwd(Cuda, const T* x, T* y, int64_t N, int64_t C);
template <class T> void log_softmax_bwd(Cpu, const T* y, const T* dy, T* dx, int64_t N, int64_t C);
template <class T> void log_softmax_bwd(Cuda, const T* y, const T* dy, T* dx, int64_t N, int64_t C);

/// y, dy : [N]
template <class T> void logsumexp_fwd(Cpu, const T* x, T* y, int64_t N, int64_t C);
template <class T> void logsumexp_fwd(Cuda, const T* x, T* y, int64_t N, int64_t C);
template <class T> void logsumexp_bwd(Cpu, const T* x, const T* y, const T* dy, T* dx, int64_t N, int64_t C);
template <class T> void logsumexp_bwd(Cuda, const T* x, const T* y, const T* dy, T* dx, int64_t N, int64_t C);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include <gradus/../../cpu/softmax.cpp>
#endif
