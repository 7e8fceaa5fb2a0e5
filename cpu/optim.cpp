// All tensors are cut into chunks of 16384 elements, and one parallel loop runs over the chunks of all of them.
#include <algorithm>
#include <cmath>
#include <vector>

#include <gradus/core/parallel.hpp>
#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/optim.hpp>

#include "lanes.hpp"

namespace gradus::kernels {

namespace detail {
inline constexpr int64_t kOptimChunk = 16384;

/// f(k, param, begin, end): chunk k of all chunks, elements [begin, end) of one tensor.
template <class T, class F> void for_each_chunk(const std::vector<int64_t>& first, const ParamRef<T>* params, F f) {
  parallel_for(first.back(), 1, [&](int64_t b, int64_t e) {
    int64_t t = std::upper_bound(first.begin(), first.end(), b) - first.begin() - 1;
    for (int64_t k = b; k < e; ++k) {
      while (k >= first[t + 1]) ++t;
      const int64_t begin = (k - first[t]) * kOptimChunk;
      f(k, params[t], begin, std::min(params[t].n, begin + kOptimChunk));
    }
  });
}
/// first[t]: number of chunks before tensor t; count + 1 entries.
template <class T> std::vector<int64_t> chunk_table(const ParamRef<T>* params, int64_t count) {
  std::vector<int64_t> first(static_cast<std::size_t>(count + 1), 0);
  for (int64_t t = 0; t < count; ++t) first[t + 1] = first[t] + (params[t].n + kOptimChunk - 1) / kOptimChunk;
  return first;
}
}  // namespace detail

namespace detail {
// The loops take their factors by value: behind a reference, g++ would have to reload them after each store.
template <class A> struct SgdFactors {
  A lr, decay, keep, take, now, ahead;   // b = keep b + take g,  p -= lr (now g + ahead b)
};
template <class T, class A>
inline void sgd_loop(T* __restrict p, const T* __restrict g, A* __restrict b, int64_t n, SgdFactors<A> f) {
  if (!b) {
    for (int64_t i = 0; i < n; ++i) {
      const A pi = static_cast<A>(p[i]);
      p[i] = static_cast<T>(pi - f.lr * (static_cast<A>(g[i]) + f.decay * pi));
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const A pi = static_cast<A>(p[i]), gi = static_cast<A>(g[i]) + f.decay * pi, bi = f.keep * b[i] + f.take * gi;
    b[i] = bi;
    p[i] = static_cast<T>(pi - f.lr * (f.now * gi + f.ahead * bi));
  }
}

template <class A> struct AdamFactors {
  A b1, a1, b2, a2, coupled, shrink, step, root2, eps;
};
template <bool amsgrad, class T, class A>
inline void adam_loop(T* __restrict p, const T* __restrict g, A* __restrict m, A* __restrict v, A* __restrict u, int64_t n,
                      AdamFactors<A> f) {
  for (int64_t i = 0; i < n; ++i) {
    const A pi = static_cast<A>(p[i]), gi = static_cast<A>(g[i]) + f.coupled * pi;
    const A mi = f.b1 * m[i] + f.a1 * gi, vi = f.b2 * v[i] + f.a2 * gi * gi;
    m[i] = mi, v[i] = vi;
    A second = vi;
    if constexpr (amsgrad) second = u[i] > vi ? u[i] : vi, u[i] = second;
    p[i] = static_cast<T>(pi * f.shrink - f.step * mi / (std::sqrt(second) * f.root2 + f.eps));
  }
}
}  // namespace detail

template <class T> void sgd_step(Cpu, const ParamRef<T>* params, int64_t count, const SgdRule& rule) {
  using A = compute_t<T>;
  const detail::SgdFactors<A> f{static_cast<A>(rule.lr),
                                static_cast<A>(rule.weight_decay),
                                rule.first ? A(0) : static_cast<A>(rule.momentum),
                                rule.first ? A(1) : static_cast<A>(1 - rule.dampening),
                                rule.nesterov ? A(1) : A(0),
                                rule.nesterov ? static_cast<A>(rule.momentum) : A(1)};
  detail::for_each_chunk(detail::chunk_table(params, count), params,
                         [&](int64_t, const ParamRef<T>& r, int64_t begin, int64_t end) {
                           A* b = rule.momentum == 0 ? nullptr : r.s0 + begin;
                           if (b && rule.first)
                             std::fill(b, b + (end - begin), A(0));  // it may hold anything, and 0 NaN is NaN
                           detail::sgd_loop(r.p + begin, r.g + begin, b, end - begin, f);
                         });
}

template <class T> void adam_step(Cpu, const ParamRef<T>* params, int64_t count, const AdamRule& rule) {
  using A = compute_t<T>;
  const detail::AdamFactors<A> f{static_cast<A>(rule.beta1),
                                 static_cast<A>(1 - rule.beta1),
                                 static_cast<A>(rule.beta2),
                                 static_cast<A>(1 - rule.beta2),
                                 rule.decoupled ? A(0) : static_cast<A>(rule.weight_decay),
                                 rule.decoupled ? static_cast<A>(1 - rule.lr * rule.weight_decay) : A(1),
                                 static_cast<A>(rule.lr / rule.correction1),
                                 static_cast<A>(1 / std::sqrt(rule.correction2)),
                                 static_cast<A>(rule.eps)};
  detail::for_each_chunk(detail::chunk_table(params, count), params,
                         [&](int64_t, const ParamRef<T>& r, int64_t begin, int64_t end) {
                           T* p = r.p + begin;
                           const T* g = r.g + begin;
                           A *m = r.s0 + begin, *v = r.s1 + begin;
                           if (rule.amsgrad) detail::adam_loop<true>(p, g, m, v, r.s2 + begin, end - begin, f);
                           else detail::adam_loop<false>(p, g, m, v, static_cast<A*>(nullptr), end - begin, f);
                         });
}

namespace detail {
// The rule by value: behind a reference, its factors would have to be reloaded after each store.
template <class Rule, class T, class A>
inline void rule_loop(T* __restrict p, const T* __restrict g, A* __restrict s0, A* __restrict s1, A* __restrict s2,
                      A* __restrict s3, int64_t n, const Rule rule) {
  for (int64_t i = 0; i < n; ++i) {
    A s[4] = {s0[i]}, pi = static_cast<A>(p[i]);
    if constexpr (Rule::states > 1) s[1] = s1[i];
    if constexpr (Rule::states > 2) s[2] = s2[i];
    if constexpr (Rule::states > 3) s[3] = s3[i];
    rule(pi, static_cast<A>(g[i]), s);
    p[i] = static_cast<T>(pi), s0[i] = s[0];
    if constexpr (Rule::states > 1) s1[i] = s[1];
    if constexpr (Rule::states > 2) s2[i] = s[2];
    if constexpr (Rule::states > 3) s3[i] = s[3];
  }
}
}  // namespace detail

template <class Rule, class T> void fused_step(Cpu, const ParamRef<T>* params, int64_t count, const Rule& rule) {
  detail::for_each_chunk(detail::chunk_table(params, count), params,
                         [&](int64_t, const ParamRef<T>& r, int64_t begin, int64_t end) {
                           const auto at = [&](compute_t<T>* s) { return s ? s + begin : nullptr; };
                           detail::rule_loop(r.p + begin, r.g + begin, at(r.s0), at(r.s1), at(r.s2), at(r.s3), end - begin, rule);
                         });
}

template <class T> double grad_square_sum(Cpu, const ParamRef<T>* params, int64_t count) {
  const auto first = detail::chunk_table(params, count);
  std::vector<double> partial(static_cast<std::size_t>(first.back()));
  detail::for_each_chunk(first, params, [&](int64_t k, const ParamRef<T>& r, int64_t begin, int64_t end) {
    const T* g = r.g + begin;
    partial[k] = detail::lane_sum<double>(end - begin, [&](int64_t i) {
      const double v = static_cast<double>(static_cast<compute_t<T>>(g[i]));
      return v * v;
    });
  });
  double sum = 0;
  for (double v : partial) sum += v;
  return sum;
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T> void* optim_floating() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&sgd_step<T>)..., instance<Cpu>(&adam_step<T>)...,
                                instance<Cpu>(&grad_square_sum<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_optim_instances[] = {optim_floating<float, double, bf16, half>()};
#define GRADUS_INSTANTIATE(Rule)                                                       \
  template void fused_step(Cpu, const ParamRef<float>*, int64_t, const Rule&);         \
  template void fused_step(Cpu, const ParamRef<double>*, int64_t, const Rule&);        \
  template void fused_step(Cpu, const ParamRef<bf16>*, int64_t, const Rule&);          \
  template void fused_step(Cpu, const ParamRef<half>*, int64_t, const Rule&);
GRADUS_OPTIM_RULES(GRADUS_INSTANTIATE)
#undef GRADUS_INSTANTIATE
#endif

}  // namespace gradus::kernels
