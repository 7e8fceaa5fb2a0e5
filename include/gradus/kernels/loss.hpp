// The contract for classification losses over the rows of logits x : [N, C]. T: float, double, bf16, half; per-row results are
// in compute_t<T>, and the op reduces them (mean: sum of loss over sum of row_weight).
//
//   cross_entropy       loss = (1 - e) w_t (l - x_t) + e/C sum_c w_c (l - x_c),    l = log sum_k e^{x_k}
//                       dx_c = g ((1 - e) w_t (p_c - [c = t]) + e/C (W p_c - w_c)),    p = e^{x - l},  W = sum_c w_c
//   soft_cross_entropy  loss = sum_c w_c q_c (l - x_c),   q = (1 - e) target + e/C
//                       dx_c = g (p_c sum_k w_k q_k - w_c q_c)
//   nll                 loss = -w_t logp_t,   dlogp_c = -g w_t [c = t]
//
// t : int64 [N] target class; a row with t = ignore_index has loss, row_weight and gradient 0. w : [C] class weights,
// nullptr: 1. e label smoothing (Szegedy et al. 2016, with PyTorch's weighting). g : [N] dL/dloss.
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>
#include <gradus/core/dtype.hpp>

namespace gradus::kernels {

/// loss, lse (l), row_weight (w_t, 0 where ignored) : [N], written; row_weight may be nullptr.
template <class T>
void cross_entropy_fwd(Cpu, const T* x, const int64_t* target, const T* weight, compute_t<T>* loss, compute_t<T>* lse,
                       compute_t<T>* row_weight, int64_t N, int64_t C, int64_t ignore_index, double smoothing);
template <class T>
void cross_entropy_fwd(Cuda, const T* x, const int64_t* target, const T* weight, compute_t<T>* loss, compute_t<T>* lse,
                       compute_t<T>* row_weight, int64_t N, int64_t C, int64_t ignore_index, double smoothing);
/// dx : [N, C]; lse from the forward pass.
template <class T> void cross_entropy_bwd(Cpu, const T* x, const int64_t* target, const T* weight, const compute_t<T>* lse,
                                          const compute_t<T>* g, T* dx, int64_t N, int64_t C, int64_t ignore_index,
                                          double smoothing);
template <class T> void cross_entropy_bwd(Cuda, const T* x, const int64_t* target, const T* weight, const compute_t<T>* lse,
                                          const compute_t<T>* g, T* dx, int64_t N, int64_t C, int64_t ignore_index,
                                          double smoothing);

/// target : [N, C] probabilities; loss, lse : [N], written.
template <class T> void soft_cross_entropy_fwd(Cpu, const T* x, const T* target, const T* weight, compute_t<T>* loss,
                                               compute_t<T>* lse, int64_t N, int64_t C, double smoothing);
template <class T> void soft_cross_entropy_fwd(Cuda, const T* x, const T* target, const T* weight, compute_t<T>* loss,
                                               compute_t<T>* lse, int64_t N, int64_t C, double smoothing);
template <class T> void soft_cross_entropy_bwd(Cpu, const T* x, const T* target, const T* weight, const compute_t<T>* lse,
                                               const compute_t<T>* g, T* dx, int64_t N, int64_t C, double smoothing);
template <class T> void soft_cross_entropy_bwd(Cuda, const T* x, const T* target, const T* weight, const compute_t<T>* lse,
                                               const compute_t<T>* g, T* dx, int64_t N, int64_t C, double smoothing);

/// logp : [N, C] log-probabilities; loss and row_weight as for cross_entropy_fwd.
template <class T> void nll_fwd(Cpu, const T* logp, const int64_t* target, const T* weight, compute_t<T>* loss,
                                compute_t<T>* row_weight, int64_t N, int64_t C, int64_t ignore_index);
template <class T> void nll_fwd(Cuda, const T* logp, const int64_t* target, const T* weight, compute_t<T>* loss,
                                compute_t<T>* row_weight, int64_t N, int64_t C, int64_t ignore_index);
/// dlogp : [N, C], written everywhere.
template <class T>
void nll_bwd(Cpu, const int64_t* target, const T* weight, const compute_t<T>* g, T* dlogp, int64_t N, int64_t C,
             int64_t ignore_index);
template <class T>
void nll_bwd(Cuda, const int64_t* target, const T* weight, const compute_t<T>* g, T* dlogp, int64_t N, int64_t C,
             int64_t ignore_index);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include <gradus/../../cpu/loss.cpp>
#endif
