// The contract for optimizer steps: one call updates every tensor of a model.
//
//   sgd     g += wd p;  b = momentum b + (1 - dampening) g  (b = g at first);  d = nesterov ? g + momentum b : b;  p -= lr d
//   adam    g += wd p  (Kingma and Ba 2015), or p -= lr wd p (decoupled: AdamW, Loshchilov and Hutter 2019)
//           m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  u = amsgrad ? max(u, v) : v
//           p -= lr (m / c1) / (sqrt(u / c2) + eps),    c1 = 1 - b1^t,  c2 = 1 - b2^t
//   rules   any other element-wise method: kernels/optim_rules.hpp
//
// T: float, double, bf16, half. States are in compute_t<T>.
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>
#include <gradus/core/dtype.hpp>
#include <gradus/kernels/optim_rules.hpp>

namespace gradus::kernels {

/// One tensor of n elements. s0: momentum b, or Adam's m; s1: Adam's v; s2: amsgrad's u; a rule says what its states are.
/// Unused states may be nullptr.
template <class T> struct ParamRef {
  T* p;
  const T* g;
  compute_t<T>* s0;
  compute_t<T>* s1;
  compute_t<T>* s2;
  int64_t n;
  compute_t<T>* s3 = nullptr;
};

struct SgdRule {
  double lr, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
  bool first = false;   ///< the first step: b = g, whatever s0 holds
};
struct AdamRule {
  double lr, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  double correction1 = 1, correction2 = 1;   ///< c1, c2
  bool decoupled = false;                    ///< weight decay as in AdamW
  bool amsgrad = false;
};

/// s0 is needed when momentum is not 0.
template <class T> void sgd_step(Cpu, const ParamRef<T>* params, int64_t count, const SgdRule& rule);
template <class T> void sgd_step(Cuda, const ParamRef<T>* params, int64_t count, const SgdRule& rule);
/// s0 and s1 are needed, s2 for amsgrad.
template <class T> void adam_step(Cpu, const ParamRef<T>* params, int64_t count, const AdamRule& rule);
template <class T> void adam_step(Cuda, const ParamRef<T>* params, int64_t count, const AdamRule& rule);
/// rule(p, g, s) for each element of each tensor. Rule is one of GRADUS_OPTIM_RULES.
template <class Rule, class T> void fused_step(Cpu, const ParamRef<T>* params, int64_t count, const Rule& rule);
template <class Rule, class T> void fused_step(Cuda, const ParamRef<T>* params, int64_t count, const Rule& rule);
/// sum over all tensors of g^2, in double and in a fixed order: for clipping by the global norm.
template <class T> double grad_square_sum(Cpu, const ParamRef<T>* params, int64_t count);
template <class T> double grad_square_sum(Cuda, const ParamRef<T>* params, int64_t count);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include <gradus/../../cpu/optim.cpp>
#endif
