// The contract for normalisations. T: float, double, bf16, half; statistics are in compute_t<T>.
//
// layer_norm, rms_norm over the rows of x : [N, C], with weight w and bias b : [C] (nullptr: 1 and 0)
//   layer_norm   y = xhat w + b,   xhat = (x - mean) rstd,   rstd = 1 / sqrt(mean_c (x - mean)^2 + eps)
//                dx = rstd (h - mean_c h - xhat mean_c (h xhat)),   h = dy w
//   rms_norm     y = xhat w,       xhat = x rstd,            rstd = 1 / sqrt(mean_c x^2 + eps)
//                dx = rstd (h - xhat mean_c (h xhat))
//   both         dw = sum_n dy xhat,   db = sum_n dy
//
// batch_norm over x : [N, C, S], one mean and (biased) variance for each c, over n and s
//   y = xhat w + b,   xhat = (x - mean) / sqrt(var + eps)
//   training     dx = w rstd (dy - mean dy - xhat mean (dy xhat))       evaluation   dx = w rstd dy
//   dw = sum_{n,s} dy xhat,   db = sum_{n,s} dy
//
// Sums over n are taken in a fixed order, whatever the number of threads.
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>
#include <gradus/core/dtype.hpp>

namespace gradus::kernels {

/// mean, rstd : [N], written.
template <class T>
void layer_norm_fwd(Cpu, const T* x, const T* weight, const T* bias, T* y, compute_t<T>* mean, compute_t<T>* rstd, int64_t N,
                    int64_t C, double eps);
template <class T>
void layer_norm_fwd(Cuda, const T* x, const T* weight, const T* bias, T* y, compute_t<T>* mean, compute_t<T>* rstd, int64_t N,
                    int64_t C, double eps);
/// dx : [N, C]; dweight, dbias : [C]. Any of the three may be nullptr.
template <class T> void layer_norm_bwd(Cpu, const T* x, const T* weight, const compute_t<T>* mean, const compute_t<T>* rstd,
                                       const T* dy, T* dx, T* dweight, T* dbias, int64_t N, int64_t C);
template <class T> void layer_norm_bwd(Cuda, const T* x, const T* weight, const compute_t<T>* mean, const compute_t<T>* rstd,
                                       const T* dy, T* dx, T* dweight, T* dbias, int64_t N, int64_t C);

/// rstd : [N], written.
template <class T>
void rms_norm_fwd(Cpu, const T* x, const T* weight, T* y, compute_t<T>* rstd, int64_t N, int64_t C, double eps);
template <class T>
void rms_norm_fwd(Cuda, const T* x, const T* weight, T* y, compute_t<T>* rstd, int64_t N, int64_t C, double eps);
/// dx : [N, C]; dweight : [C]. Either may be nullptr.
template <class T> void rms_norm_bwd(Cpu, const T* x, const T* weight, const compute_t<T>* rstd, const T* dy, T* dx, T* dweight,
                                     int64_t N, int64_t C);
template <class T> void rms_norm_bwd(Cuda, const T* x, const T* weight, const compute_t<T>* rstd, const T* dy, T* dx,
                                     T* dweight, int64_t N, int64_t C);

/// mean, var : [C], written; var is the biased variance.
template <class T>
void batch_norm_stats(Cpu, const T* x, compute_t<T>* mean, compute_t<T>* var, int64_t N, int64_t C, int64_t S);
template <class T>
void batch_norm_stats(Cuda, const T* x, compute_t<T>* mean, compute_t<T>* var, int64_t N, int64_t C, int64_t S);
template <class T> void batch_norm_apply(Cpu, const T* x, const compute_t<T>* mean, const compute_t<T>* var, const T* weight,
                                         const T* bias, T* y, int64_t N, int64_t C, int64_t S, double eps);
template <class T> void batch_norm_apply(Cuda, const T* x, const compute_t<T>* mean, const compute_t<T>* var, const T* weight,
                                         const T* bias, T* y, int64_t N, int64_t C, int64_t S, double eps);
/// mean and var are those that the forward pass applied: of this batch when `training`, running ones otherwise.
/// Any of dx, dweight, dbias may be nullptr.
template <class T> void batch_norm_bwd(Cpu, const T* x, const compute_t<T>* mean, const compute_t<T>* var, const T* weight,
                                       const T* dy, T* dx, T* dweight, T* dbias, int64_t N, int64_t C, int64_t S, double eps,
                                       bool training);
template <class T> void batch_norm_bwd(Cuda, const T* x, const compute_t<T>* mean, const compute_t<T>* var, const T* weight,
                                       const T* dy, T* dx, T* dweight, T* dbias, int64_t N, int64_t C, int64_t S, double eps,
                                       bool training);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include <gradus/../../cpu/norm.cpp>
#endif
