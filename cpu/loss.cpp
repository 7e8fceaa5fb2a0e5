// Each row of logits is read twice forward (maximum, exponentials) and once backward.
#include <algorithm>
#include <cmath>
#include <vector>

#include <gradus/core/math.hpp>
#include <gradus/core/parallel.hpp>
#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/loss.hpp>

#include "lanes.hpp"

namespace gradus::kernels {

namespace detail {
/// The parts of l = top + rest: losses are formed as (top - x_c) + rest, which keeps the digits of small losses.
template <class A> inline Pair<A> split_logsumexp(const A* x, int64_t C) {
  A top = lane_max(x, C);
  if (std::isinf(top)) top = A(0);
  return {top, m::log(lane_sum<A>(C, [&](int64_t c) { return m::exp(x[c] - top); }))};
}
/// Class weights in compute_t<T>; all 1 for nullptr.
template <class T> inline std::vector<compute_t<T>> class_weights(const T* weight, int64_t C) {
  std::vector<compute_t<T>> w(static_cast<std::size_t>(C), compute_t<T>(1));
  for (int64_t c = 0; weight && c < C; ++c) w[c] = static_cast<compute_t<T>>(weight[c]);
  return w;
}
}  // namespace detail

template <class T>
void cross_entropy_fwd(Cpu, const T* x, const int64_t* target, const T* weight, compute_t<T>* loss, compute_t<T>* lse,
                       compute_t<T>* row_weight, int64_t N, int64_t C, int64_t ignore_index, double smoothing) {
  using A = compute_t<T>;
  const auto weights = detail::class_weights(weight, C);
  const A hard = static_cast<A>(1 - smoothing), soft = static_cast<A>(smoothing / static_cast<double>(C));
  parallel_for(N, detail::row_grain(C), [&](int64_t begin, int64_t end) {
    detail::RowIn<T> in(C);
    const A* w = weights.data();
    for (int64_t n = begin; n < end; ++n) {
      const int64_t t = target[n];
      const bool ignored = t == ignore_index;
      const A* xr = in(x + n * C, C);
      const auto [top, rest] = detail::split_logsumexp(xr, C);
      const A wt = ignored ? A(0) : w[t];
      lse[n] = top + rest;
      loss[n] = ignored ? A(0) : hard * wt * ((top - xr[t]) + rest);
      if (smoothing != 0 && !ignored)
        loss[n] += soft * detail::lane_sum<A>(C, [&, a = top, b = rest](int64_t c) { return w[c] * ((a - xr[c]) + b); });
      if (row_weight) row_weight[n] = wt;
    }
  });
}

template <class T> void cross_entropy_bwd(Cpu, const T* x, const int64_t* target, const T* weight, const compute_t<T>* lse,
                                          const compute_t<T>* g, T* dx, int64_t N, int64_t C, int64_t ignore_index,
                                          double smoothing) {
  using A = compute_t<T>;
  const auto weights = detail::class_weights(weight, C);
  const A hard = static_cast<A>(1 - smoothing), soft = static_cast<A>(smoothing / static_cast<double>(C));
  const A total = detail::lane_sum<A>(C, [&](int64_t c) { return weights[c]; });
  parallel_for(N, detail::row_grain(C), [&](int64_t begin, int64_t end) {
    detail::RowIn<T> in(C);
    detail::RowOut<T> out(C);
    const A* w = weights.data();
    for (int64_t n = begin; n < end; ++n) {
      const int64_t t = target[n];
      if (t == ignore_index) {
        std::fill(dx + n * C, dx + (n + 1) * C, static_cast<T>(A(0)));
        continue;
      }
      const A* xr = in(x + n * C, C);
      A* __restrict dxr = out.at(dx + n * C);
      const A l = lse[n], gn = g[n], at_target = gn * hard * w[t], all = gn * soft;
      if (smoothing != 0)
        for (int64_t c = 0; c < C; ++c) dxr[c] = (at_target + all * total) * m::exp(xr[c] - l) - all * w[c];
      else
        for (int64_t c = 0; c < C; ++c) dxr[c] = at_target * m::exp(xr[c] - l);
      dxr[t] -= at_target;
      out.store(dx + n * C, C);
    }
  });
}

template <class T> void soft_cross_entropy_fwd(Cpu, const T* x, const T* target, const T* weight, compute_t<T>* loss,
                                               compute_t<T>* lse, int64_t N, int64_t C, double smoothing) {
  using A = compute_t<T>;
  const auto weights = detail::class_weights(weight, C);
  const A hard = static_cast<A>(1 - smoothing), soft = static_cast<A>(smoothing / static_cast<double>(C));
  parallel_for(N, detail::row_grain(C), [&](int64_t begin, int64_t end) {
    detail::RowIn<T> in(C), in_q(C);
    const A* w = weights.data();
    for (int64_t n = begin; n < end; ++n) {
      const A *xr = in(x + n * C, C), *q = in_q(target + n * C, C);
      const auto [top, rest] = detail::split_logsumexp(xr, C);
      lse[n] = top + rest;
      loss[n] = detail::lane_sum<A>(
          C, [&, a = top, b = rest](int64_t c) { return w[c] * (hard * q[c] + soft) * ((a - xr[c]) + b); });
    }
  });
}

template <class T> void soft_cross_entropy_bwd(Cpu, const T* x, const T* target, const T* weight, const compute_t<T>* lse,
                                               const compute_t<T>* g, T* dx, int64_t N, int64_t C, double smoothing) {
  using A = compute_t<T>;
  const auto weights = detail::class_weights(weight, C);
  const A hard = static_cast<A>(1 - smoothing), soft = static_cast<A>(smoothing / static_cast<double>(C));
  parallel_for(N, detail::row_grain(C), [&](int64_t begin, int64_t end) {
    detail::RowIn<T> in(C), in_q(C);
    detail::RowOut<T> out(C);
    const A* w = weights.data();
    for (int64_t n = begin; n < end; ++n) {
      const A *xr = in(x + n * C, C), *q = in_q(target + n * C, C);
      A* __restrict dxr = out.at(dx + n * C);
      const A l = lse[n], gn = g[n];
      const A mass = detail::lane_sum<A>(C, [&](int64_t c) { return w[c] * (hard * q[c] + soft); });
      for (int64_t c = 0; c < C; ++c) dxr[c] = gn * (m::exp(xr[c] - l) * mass - w[c] * (hard * q[c] + soft));
      out.store(dx + n * C, C);
    }
  });
}

template <class T> void nll_fwd(Cpu, const T* logp, const int64_t* target, const T* weight, compute_t<T>* loss,
                                compute_t<T>* row_weight, int64_t N, int64_t C, int64_t ignore_index) {
  using A = compute_t<T>;
  parallel_for(N, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const int64_t t = target[n];
      const bool ignored = t == ignore_index;
      const A wt = ignored ? A(0) : weight ? static_cast<A>(weight[t]) : A(1);
      loss[n] = ignored ? A(0) : -wt * static_cast<A>(logp[n * C + t]);
      if (row_weight) row_weight[n] = wt;
    }
  });
}

template <class T>
void nll_bwd(Cpu, const int64_t* target, const T* weight, const compute_t<T>* g, T* dlogp, int64_t N, int64_t C,
             int64_t ignore_index) {
  using A = compute_t<T>;
  parallel_for(N, detail::row_grain(C), [&](int64_t begin, int64_t end) {
    std::fill(dlogp + begin * C, dlogp + end * C, static_cast<T>(A(0)));
    for (int64_t n = begin; n < end; ++n) {
      const int64_t t = target[n];
      if (t != ignore_index) dlogp[n * C + t] = static_cast<T>(-g[n] * (weight ? static_cast<A>(weight[t]) : A(1)));
    }
  });
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T> void* loss_floating() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&cross_entropy_fwd<T>)..., instance<Cpu>(&cross_entropy_bwd<T>)...,
                                instance<Cpu>(&soft_cross_entropy_fwd<T>)..., instance<Cpu>(&soft_cross_entropy_bwd<T>)...,
                                instance<Cpu>(&nll_fwd<T>)..., instance<Cpu>(&nll_bwd<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_loss_instances[] = {loss_floating<float, double, bf16, half>()};
#endif

}  // namespace gradus::kernels
