// Classification losses, with the kernels of softmax.cu: one thread (reference), one warp or one block a row. Logits are read
// once forward for l = log sum_k e^{x_k} (and again where labels are smoothed), once backward.
#include <gradus/kernels/loss.hpp>

#include "reduce.cuh"

namespace gradus::kernels {

namespace cu {
/// The parts of l = top + rest: losses are formed as (top - x_c) + rest, which keeps the digits of small losses.
template <class A> struct SplitLog {
  A top, rest;
};
template <class A> __device__ inline SplitLog<A> split_log(ExpSum<A> s) {
  if (std::isinf(s.top)) return {A(0), s.top + (s.sum - s.sum)};     // NaN stays NaN
  return {s.top, m::log(s.sum)};
}
/// Of a row that one thread reads.
template <class T> __device__ inline SplitLog<compute_t<T>> split_logsumexp(const T* x, int64_t C) {
  using A = compute_t<T>;
  A top = -std::numeric_limits<A>::infinity();
  for (int64_t c = 0; c < C; ++c) top = load(x[c]) > top ? load(x[c]) : top;
  if (std::isinf(top)) top = A(0);
  A sum = 0;
  for (int64_t c = 0; c < C; ++c) sum += m::exp(load(x[c]) - top);
  return {top, m::log(sum)};
}
template <class T> __device__ inline compute_t<T> class_weight(const T* weight, int64_t c) {
  return weight ? load(weight[c]) : compute_t<T>(1);
}
/// What label smoothing e makes of a one-hot target: 1 - e at the target and e/C everywhere.
template <class A> struct Smoothing {
  A hard, soft;
  Smoothing(double e, int64_t C) : hard(static_cast<A>(1 - e)), soft(static_cast<A>(e / static_cast<double>(C))) {}
};

// ---- cross_entropy ----
template <class T> __global__ void cross_entropy_fwd_reference(const T* x, const int64_t* target, const T* weight, compute_t<T>* loss,
                                                               compute_t<T>* lse, compute_t<T>* row_weight, int64_t N, int64_t C,
                                                               int64_t ignore_index, Smoothing<compute_t<T>> e) {
  using A = compute_t<T>;
  const int64_t n = thread_in_grid();
  if (n >= N) return;
  const int64_t t = target[n];
  const bool ignored = t == ignore_index;
  const T* xr = x + n * C;
  const auto [top, rest] = split_logsumexp(xr, C);
  const A wt = ignored ? A(0) : class_weight(weight, t);
  A l = ignored ? A(0) : e.hard * wt * ((top - load(xr[t])) + rest);
  if (e.soft != 0 && !ignored) {
    A all = 0;
    for (int64_t c = 0; c < C; ++c) all += class_weight(weight, c) * ((top - load(xr[c])) + rest);
    l += e.soft * all;
  }
  lse[n] = top + rest, loss[n] = l;
  if (row_weight) row_weight[n] = wt;
}
template <class Team, class T>
__global__ void cross_entropy_fwd_team(const T* x, const int64_t* target, const T* weight, compute_t<T>* loss, compute_t<T>* lse,
                                       compute_t<T>* row_weight, int64_t N, int64_t C, int64_t ignore_index, Smoothing<compute_t<T>> e,
                                       bool wide) {
  using A = compute_t<T>;
  const int64_t n = Team::row();
  if (n >= N) return;
  const int64_t t = target[n];
  const bool ignored = t == ignore_index;
  const T* xr = x + n * C;
  const auto split = split_log(row_exp_sum<Team>(xr, C, wide));
  const A top = split.top, rest = split.rest, wt = ignored ? A(0) : class_weight(weight, t);
  A l = ignored ? A(0) : e.hard * wt * ((top - load(xr[t])) + rest);
  if (e.soft != 0 && !ignored) {                   // the same for the whole team
    A part = 0;
    for (int64_t c = Team::rank(); c < C; c += Team::size()) part += class_weight(weight, c) * ((top - load(xr[c])) + rest);
    l += e.soft * team_sum<Team>(part);
  }
  if (Team::rank() != 0) return;
  lse[n] = top + rest, loss[n] = l;
  if (row_weight) row_weight[n] = wt;
}

template <class T> __global__ void cross_entropy_bwd_reference(const T* x, const int64_t* target, const T* weight, const compute_t<T>* lse,
                                                               const compute_t<T>* g, T* dx, int64_t N, int64_t C, int64_t ignore_index,
                                                               Smoothing<compute_t<T>> e) {
  using A = compute_t<T>;
  const int64_t n = thread_in_grid();
  if (n >= N) return;
  const int64_t t = target[n];
  const bool ignored = t == ignore_index;
  A total = 0;
  for (int64_t c = 0; c < C && e.soft != 0; ++c) total += class_weight(weight, c);
  const A l = lse[n], at_target = ignored ? A(0) : g[n] * e.hard * class_weight(weight, t), all = g[n] * e.soft;
  for (int64_t c = 0; c < C; ++c) {
    const int64_t i = n * C + c;
    A d = 0;
    if (!ignored) d = (at_target + all * total) * m::exp(load(x[i]) - l) - (c == t ? at_target : A(0)) - (e.soft != 0 ? all * class_weight(weight, c) : A(0));
    dx[i] = static_cast<T>(d);
  }
}
template <class Team, class T>
__global__ void cross_entropy_bwd_team(const T* x, const int64_t* target, const T* weight, const compute_t<T>* lse, const compute_t<T>* g,
                                       T* dx, int64_t N, int64_t C, int64_t ignore_index, Smoothing<compute_t<T>> e, bool wide) {
  using A = compute_t<T>;
  const int64_t n = Team::row();
  if (n >= N) return;
  const int64_t t = target[n];
  const bool ignored = t == ignore_index;
  const T* xr = x + n * C;
  T* dxr = dx + n * C;
  A part = 0;
  for (int64_t c = Team::rank(); c < C && e.soft != 0; c += Team::size()) part += class_weight(weight, c);
  const A total = e.soft != 0 ? team_sum<Team>(part) : A(0);
  const A l = lse[n], at_target = ignored ? A(0) : g[n] * e.hard * class_weight(weight, t), all = g[n] * e.soft, scale = at_target + all * total;
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    auto v = load_elements<decltype(width)::value>(xr + c);
    int64_t k = c;
    for (auto& d : v.v) {
      d = ignored ? A(0) : scale * m::exp(d - l) - (k == t ? at_target : A(0)) - (e.soft != 0 ? all * class_weight(weight, k) : A(0));
      ++k;
    }
    store_elements(dxr + c, v);
  });
}

// ---- soft_cross_entropy: q = (1 - e) target + e/C ----
template <class T> __global__ void soft_cross_entropy_fwd_reference(const T* x, const T* target, const T* weight, compute_t<T>* loss,
                                                                    compute_t<T>* lse, int64_t N, int64_t C, Smoothing<compute_t<T>> e) {
  const int64_t n = thread_in_grid();
  if (n >= N) return;
  const T *xr = x + n * C, *q = target + n * C;
  const auto [top, rest] = split_logsumexp(xr, C);
  compute_t<T> l = 0;
  for (int64_t c = 0; c < C; ++c) l += class_weight(weight, c) * (e.hard * load(q[c]) + e.soft) * ((top - load(xr[c])) + rest);
  lse[n] = top + rest, loss[n] = l;
}
template <class Team, class T>
__global__ void soft_cross_entropy_fwd_team(const T* x, const T* target, const T* weight, compute_t<T>* loss, compute_t<T>* lse, int64_t N,
                                            int64_t C, Smoothing<compute_t<T>> e, bool wide) {
  using A = compute_t<T>;
  const int64_t n = Team::row();
  if (n >= N) return;
  const T *xr = x + n * C, *q = target + n * C;
  const auto split = split_log(row_exp_sum<Team>(xr, C, wide));
  const A top = split.top, rest = split.rest;
  A part = 0;
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    constexpr int W = decltype(width)::value;
    const auto v = load_elements<W>(xr + c), p = load_elements<W>(q + c);
    for (int j = 0; j < W; ++j) part += class_weight(weight, c + j) * (e.hard * p.v[j] + e.soft) * ((top - v.v[j]) + rest);
  });
  const A l = team_sum<Team>(part);
  if (Team::rank() == 0) lse[n] = top + rest, loss[n] = l;
}

template <class T> __global__ void soft_cross_entropy_bwd_reference(const T* x, const T* target, const T* weight, const compute_t<T>* lse,
                                                                    const compute_t<T>* g, T* dx, int64_t N, int64_t C,
                                                                    Smoothing<compute_t<T>> e) {
  using A = compute_t<T>;
  const int64_t n = thread_in_grid();
  if (n >= N) return;
  const T *xr = x + n * C, *q = target + n * C;
  A mass = 0;
  for (int64_t c = 0; c < C; ++c) mass += class_weight(weight, c) * (e.hard * load(q[c]) + e.soft);
  for (int64_t c = 0; c < C; ++c)
    dx[n * C + c] = static_cast<T>(g[n] * (m::exp(load(xr[c]) - lse[n]) * mass - class_weight(weight, c) * (e.hard * load(q[c]) + e.soft)));
}
template <class Team, class T>
__global__ void soft_cross_entropy_bwd_team(const T* x, const T* target, const T* weight, const compute_t<T>* lse, const compute_t<T>* g,
                                            T* dx, int64_t N, int64_t C, Smoothing<compute_t<T>> e, bool wide) {
  using A = compute_t<T>;
  const int64_t n = Team::row();
  if (n >= N) return;
  const T *xr = x + n * C, *q = target + n * C;
  T* dxr = dx + n * C;
  A part = 0;
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    constexpr int W = decltype(width)::value;
    const auto p = load_elements<W>(q + c);
    for (int j = 0; j < W; ++j) part += class_weight(weight, c + j) * (e.hard * p.v[j] + e.soft);
  });
  const A mass = team_sum<Team>(part), l = lse[n], gn = g[n];
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    constexpr int W = decltype(width)::value;
    auto v = load_elements<W>(xr + c);
    const auto p = load_elements<W>(q + c);
    for (int j = 0; j < W; ++j) v.v[j] = gn * (m::exp(v.v[j] - l) * mass - class_weight(weight, c + j) * (e.hard * p.v[j] + e.soft));
    store_elements(dxr + c, v);
  });
}

// ---- nll ----
template <class T> __global__ void nll_fwd_rows(const T* logp, const int64_t* target, const T* weight, compute_t<T>* loss,
                                                compute_t<T>* row_weight, int64_t N, int64_t C, int64_t ignore_index) {
  using A = compute_t<T>;
  const int64_t n = thread_in_grid();
  if (n >= N) return;
  const int64_t t = target[n];
  const bool ignored = t == ignore_index;
  const A wt = ignored ? A(0) : class_weight(weight, t);
  loss[n] = ignored ? A(0) : -wt * load(logp[n * C + t]);
  if (row_weight) row_weight[n] = wt;
}
template <class T> __global__ void nll_bwd_elements(const int64_t* target, const T* weight, const compute_t<T>* g, T* dlogp, int64_t N,
                                                    int64_t C, int64_t ignore_index) {
  using A = compute_t<T>;
  const int64_t i = thread_in_grid();
  if (i >= N * C) return;
  const int64_t n = i / C, t = target[n];
  dlogp[i] = static_cast<T>(t != ignore_index && i % C == t ? -g[n] * class_weight(weight, t) : A(0));
}
}  // namespace cu

namespace {
KernelChoice<cu::Rows> cross_entropy_fwd_by{"cross_entropy_fwd", cu::kRowKernels}, cross_entropy_bwd_by{"cross_entropy_bwd", cu::kRowKernels};
KernelChoice<cu::Rows> soft_cross_entropy_fwd_by{"soft_cross_entropy_fwd", cu::kRowKernels};
KernelChoice<cu::Rows> soft_cross_entropy_bwd_by{"soft_cross_entropy_bwd", cu::kRowKernels};
}  // namespace

template <class T>
void cross_entropy_fwd(Cuda, const T* x, const int64_t* target, const T* weight, compute_t<T>* loss, compute_t<T>* lse,
                       compute_t<T>* row_weight, int64_t N, int64_t C, int64_t ignore_index, double smoothing) {
  using namespace cu;
  const Smoothing<compute_t<T>> e(smoothing, C);
  const Rows by = cross_entropy_fwd_by.or_else(rows_by_length(C));
  if (by == Rows::reference)
    return enqueue("cross_entropy_fwd", cross_entropy_fwd_reference<T>, rows_grid(by, N), x, target, weight, loss, lse, row_weight, N, C,
                   ignore_index, e);
  const auto kernel = by == Rows::warp ? cross_entropy_fwd_team<Warp, T> : cross_entropy_fwd_team<Block, T>;
  enqueue("cross_entropy_fwd", kernel, rows_grid(by, N), x, target, weight, loss, lse, row_weight, N, C, ignore_index, e, rows_aligned(C, x));
}

template <class T> void cross_entropy_bwd(Cuda, const T* x, const int64_t* target, const T* weight, const compute_t<T>* lse,
                                          const compute_t<T>* g, T* dx, int64_t N, int64_t C, int64_t ignore_index, double smoothing) {
  using namespace cu;
  const Smoothing<compute_t<T>> e(smoothing, C);
  const Rows by = cross_entropy_bwd_by.or_else(rows_by_length(C));
  if (by == Rows::reference)
    return enqueue("cross_entropy_bwd", cross_entropy_bwd_reference<T>, rows_grid(by, N), x, target, weight, lse, g, dx, N, C, ignore_index, e);
  const auto kernel = by == Rows::warp ? cross_entropy_bwd_team<Warp, T> : cross_entropy_bwd_team<Block, T>;
  enqueue("cross_entropy_bwd", kernel, rows_grid(by, N), x, target, weight, lse, g, dx, N, C, ignore_index, e, rows_aligned(C, x, dx));
}

template <class T> void soft_cross_entropy_fwd(Cuda, const T* x, const T* target, const T* weight, compute_t<T>* loss, compute_t<T>* lse,
                                               int64_t N, int64_t C, double smoothing) {
  using namespace cu;
  const Smoothing<compute_t<T>> e(smoothing, C);
  const Rows by = soft_cross_entropy_fwd_by.or_else(rows_by_length(C));
  if (by == Rows::reference)
    return enqueue("soft_cross_entropy_fwd", soft_cross_entropy_fwd_reference<T>, rows_grid(by, N), x, target, weight, loss, lse, N, C, e);
  const auto kernel = by == Rows::warp ? soft_cross_entropy_fwd_team<Warp, T> : soft_cross_entropy_fwd_team<Block, T>;
  enqueue("soft_cross_entropy_fwd", kernel, rows_grid(by, N), x, target, weight, loss, lse, N, C, e, rows_aligned(C, x, target));
}

template <class T> void soft_cross_entropy_bwd(Cuda, const T* x, const T* target, const T* weight, const compute_t<T>* lse,
                                               const compute_t<T>* g, T* dx, int64_t N, int64_t C, double smoothing) {
  using namespace cu;
  const Smoothing<compute_t<T>> e(smoothing, C);
  const Rows by = soft_cross_entropy_bwd_by.or_else(rows_by_length(C));
  if (by == Rows::reference)
    return enqueue("soft_cross_entropy_bwd", soft_cross_entropy_bwd_reference<T>, rows_grid(by, N), x, target, weight, lse, g, dx, N, C, e);
  const auto kernel = by == Rows::warp ? soft_cross_entropy_bwd_team<Warp, T> : soft_cross_entropy_bwd_team<Block, T>;
  enqueue("soft_cross_entropy_bwd", kernel, rows_grid(by, N), x, target, weight, lse, g, dx, N, C, e, rows_aligned(C, x, target, dx));
}

template <class T> void nll_fwd(Cuda, const T* logp, const int64_t* target, const T* weight, compute_t<T>* loss, compute_t<T>* row_weight,
                                int64_t N, int64_t C, int64_t ignore_index) {
  using namespace cu;
  enqueue("nll_fwd", nll_fwd_rows<T>, {blocks_for(N, kThreads)}, logp, target, weight, loss, row_weight, N, C, ignore_index);
}

template <class T> void nll_bwd(Cuda, const int64_t* target, const T* weight, const compute_t<T>* g, T* dlogp, int64_t N, int64_t C,
                                int64_t ignore_index) {
  using namespace cu;
  enqueue("nll_bwd", nll_bwd_elements<T>, {blocks_for(N * C, kThreads)}, target, weight, g, dlogp, N, C, ignore_index);
}

namespace {
template <class... T> void* const* loss_table() {
  static void* const table[] = {instance<Cuda>(&cross_entropy_fwd<T>)...,      instance<Cuda>(&cross_entropy_bwd<T>)...,
                                instance<Cuda>(&soft_cross_entropy_fwd<T>)..., instance<Cuda>(&soft_cross_entropy_bwd<T>)...,
                                instance<Cuda>(&nll_fwd<T>)...,                instance<Cuda>(&nll_bwd<T>)...};
  return table;
}
}  // namespace
extern void* const* const gradus_cuda_loss_instances = loss_table<float, double, bf16, half>();

}  // namespace gradus::kernels
