// Softmax and its relatives, three kernels each:
//
//   reference   one thread a row, as the formula is written; also the fastest where a row has a few elements
//   warp        one warp a row: neighbouring lanes read neighbouring columns, sums never leave the registers
//   block       one block a row, for long rows
//
// The last two are one text (reduce.cuh) and read x twice: once for the maximum and the sum together, once for the result; the
// second time it comes from a cache.
#include <gradus/kernels/softmax.hpp>

#include "reduce.cuh"

namespace gradus::kernels {

namespace cu {
/// max_c x_c, NaN passed over.
template <class T> __device__ inline compute_t<T> row_max(const T* x, int64_t C) {
  compute_t<T> top = -std::numeric_limits<compute_t<T>>::infinity();
  for (int64_t c = 0; c < C; ++c) top = load(x[c]) > top ? load(x[c]) : top;
  return top;
}
/// log of a sum, from the maximum and what is left of it.
template <class A> __device__ inline A log_of(ExpSum<A> s) {
  return std::isinf(s.top) ? s.top + (s.sum - s.sum) : s.top + m::log(s.sum);   // NaN stays NaN
}

// ---- softmax ----
template <class T> __global__ void softmax_fwd_reference(const T* x, T* y, int64_t N, int64_t C) {
  using A = compute_t<T>;
  const int64_t n = thread_in_grid();
  if (n >= N) return;
  const T* xr = x + n * C;
  T* yr = y + n * C;
  const A top = row_max(xr, C);
  A sum = 0;
  for (int64_t c = 0; c < C; ++c) sum += m::exp(load(xr[c]) - top);
  const A scale = A(1) / sum;
  for (int64_t c = 0; c < C; ++c) yr[c] = static_cast<T>(m::exp(load(xr[c]) - top) * scale);
}
template <class Team, class T> __global__ void softmax_fwd_team(const T* x, T* y, int64_t N, int64_t C, bool wide) {
  using A = compute_t<T>;
  const int64_t n = Team::row();
  if (n >= N) return;                              // the whole team leaves
  const T* xr = x + n * C;
  T* yr = y + n * C;
  const auto [top, sum] = row_exp_sum<Team>(xr, C, wide);
  const A at = top, scale = A(1) / (sum + (top - top));          // an infinite maximum makes all of the row NaN
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    auto e = load_elements<decltype(width)::value>(xr + c);
    for (auto& v : e.v) v = m::exp(v - at) * scale;
    store_elements(yr + c, e);
  });
}

template <class T> __global__ void softmax_bwd_reference(const T* y, const T* dy, T* dx, int64_t N, int64_t C) {
  using A = compute_t<T>;
  const int64_t n = thread_in_grid();
  if (n >= N) return;
  const T *yr = y + n * C, *dyr = dy + n * C;
  T* dxr = dx + n * C;
  A dot = 0;
  for (int64_t c = 0; c < C; ++c) dot += load(dyr[c]) * load(yr[c]);
  for (int64_t c = 0; c < C; ++c) dxr[c] = static_cast<T>(load(yr[c]) * (load(dyr[c]) - dot));
}
template <class Team, class T> __global__ void softmax_bwd_team(const T* y, const T* dy, T* dx, int64_t N, int64_t C, bool wide) {
  using A = compute_t<T>;
  const int64_t n = Team::row();
  if (n >= N) return;
  const T *yr = y + n * C, *dyr = dy + n * C;
  T* dxr = dx + n * C;
  A part = 0;
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    constexpr int W = decltype(width)::value;
    const auto p = load_elements<W>(yr + c), g = load_elements<W>(dyr + c);
    for (int j = 0; j < W; ++j) part += g.v[j] * p.v[j];
  });
  const A dot = team_sum<Team>(part);
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    constexpr int W = decltype(width)::value;
    auto p = load_elements<W>(yr + c);
    const auto g = load_elements<W>(dyr + c);
    for (int j = 0; j < W; ++j) p.v[j] *= g.v[j] - dot;
    store_elements(dxr + c, p);
  });
}

// ---- log_softmax ----
template <class T> __global__ void log_softmax_fwd_reference(const T* x, T* y, int64_t N, int64_t C) {
  using A = compute_t<T>;
  const int64_t n = thread_in_grid();
  if (n >= N) return;
  const T* xr = x + n * C;
  T* yr = y + n * C;
  const A top = row_max(xr, C);
  A sum = 0;
  for (int64_t c = 0; c < C; ++c) sum += m::exp(load(xr[c]) - top);
  const A rest = m::log(sum);
  for (int64_t c = 0; c < C; ++c) yr[c] = static_cast<T>((load(xr[c]) - top) - rest);   // x_c - top is exact near the maximum
}
template <class Team, class T> __global__ void log_softmax_fwd_team(const T* x, T* y, int64_t N, int64_t C, bool wide) {
  using A = compute_t<T>;
  const int64_t n = Team::row();
  if (n >= N) return;
  const T* xr = x + n * C;
  T* yr = y + n * C;
  const auto [top, sum] = row_exp_sum<Team>(xr, C, wide);
  const A at = top, rest = m::log(sum) + (top - top);
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    auto e = load_elements<decltype(width)::value>(xr + c);
    for (auto& v : e.v) v = (v - at) - rest;
    store_elements(yr + c, e);
  });
}

template <class T> __global__ void log_softmax_bwd_reference(const T* y, const T* dy, T* dx, int64_t N, int64_t C) {
  using A = compute_t<T>;
  const int64_t n = thread_in_grid();
  if (n >= N) return;
  const T *yr = y + n * C, *dyr = dy + n * C;
  T* dxr = dx + n * C;
  A sum = 0;
  for (int64_t c = 0; c < C; ++c) sum += load(dyr[c]);
  for (int64_t c = 0; c < C; ++c) dxr[c] = static_cast<T>(load(dyr[c]) - m::exp(load(yr[c])) * sum);
}
template <class Team, class T>
__global__ void log_softmax_bwd_team(const T* y, const T* dy, T* dx, int64_t N, int64_t C, bool wide) {
  using A = compute_t<T>;
  const int64_t n = Team::row();
  if (n >= N) return;
  const T *yr = y + n * C, *dyr = dy + n * C;
  T* dxr = dx + n * C;
  A part = 0;
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    const auto g = load_elements<decltype(width)::value>(dyr + c);
    for (auto v : g.v) part += v;
  });
  const A sum = team_sum<Team>(part);
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    constexpr int W = decltype(width)::value;
    const auto p = load_elements<W>(yr + c);
    auto g = load_elements<W>(dyr + c);
    for (int j = 0; j < W; ++j) g.v[j] -= m::exp(p.v[j]) * sum;
    store_elements(dxr + c, g);
  });
}

// ---- logsumexp ----
template <class T> __global__ void logsumexp_fwd_reference(const T* x, T* y, int64_t N, int64_t C) {
  using A = compute_t<T>;
  const int64_t n = thread_in_grid();
  if (n >= N) return;
  const T* xr = x + n * C;
  A top = row_max(xr, C);
  if (std::isinf(top)) top = A(0);                 // inf - inf is NaN
  A sum = 0;
  for (int64_t c = 0; c < C; ++c) sum += m::exp(load(xr[c]) - top);
  y[n] = static_cast<T>(top + m::log(sum));
}
template <class Team, class T> __global__ void logsumexp_fwd_team(const T* x, T* y, int64_t N, int64_t C, bool wide) {
  const int64_t n = Team::row();
  if (n >= N) return;
  const auto s = row_exp_sum<Team>(x + n * C, C, wide);
  if (Team::rank() == 0) y[n] = static_cast<T>(log_of(s));
}
/// Element by element: one kernel serves all rows.
template <class T> __global__ void logsumexp_bwd_elements(const T* x, const T* y, const T* dy, T* dx, int64_t N, int64_t C) {
  const int64_t i = thread_in_grid();
  if (i >= N * C) return;
  const int64_t n = i / C;
  dx[i] = static_cast<T>(load(dy[n]) * m::exp(load(x[i]) - load(y[n])));
}
}  // namespace cu

namespace {
KernelChoice<cu::Rows> softmax_fwd_by{"softmax_fwd", cu::kRowKernels}, softmax_bwd_by{"softmax_bwd", cu::kRowKernels};
KernelChoice<cu::Rows> log_softmax_fwd_by{"log_softmax_fwd", cu::kRowKernels};
KernelChoice<cu::Rows> log_softmax_bwd_by{"log_softmax_bwd", cu::kRowKernels};
KernelChoice<cu::Rows> logsumexp_fwd_by{"logsumexp_fwd", cu::kRowKernels};
}  // namespace

template <class T> void softmax_fwd(Cuda, const T* x, T* y, int64_t N, int64_t C) {
  using namespace cu;
  if (C == 0) return;
  const Rows by = softmax_fwd_by.or_else(rows_by_length(C));
  if (by == Rows::reference) return enqueue("softmax_fwd", softmax_fwd_reference<T>, rows_grid(by, N), x, y, N, C);
  const auto kernel = by == Rows::warp ? softmax_fwd_team<Warp, T> : softmax_fwd_team<Block, T>;
  enqueue("softmax_fwd", kernel, rows_grid(by, N), x, y, N, C, rows_aligned(C, x, y));
}

template <class T> void softmax_bwd(Cuda, const T* y, const T* dy, T* dx, int64_t N, int64_t C) {
  using namespace cu;
  if (C == 0) return;
  const Rows by = softmax_bwd_by.or_else(rows_by_length(C));
  if (by == Rows::reference) return enqueue("softmax_bwd", softmax_bwd_reference<T>, rows_grid(by, N), y, dy, dx, N, C);
  const auto kernel = by == Rows::warp ? softmax_bwd_team<Warp, T> : softmax_bwd_team<Block, T>;
  enqueue("softmax_bwd", kernel, rows_grid(by, N), y, dy, dx, N, C, rows_aligned(C, y, dy, dx));
}

template <class T> void log_softmax_fwd(Cuda, const T* x, T* y, int64_t N, int64_t C) {
  using namespace cu;
  if (C == 0) return;
  const Rows by = log_softmax_fwd_by.or_else(rows_by_length(C));
  if (by == Rows::reference) return enqueue("log_softmax_fwd", log_softmax_fwd_reference<T>, rows_grid(by, N), x, y, N, C);
  const auto kernel = by == Rows::warp ? log_softmax_fwd_team<Warp, T> : log_softmax_fwd_team<Block, T>;
  enqueue("log_softmax_fwd", kernel, rows_grid(by, N), x, y, N, C, rows_aligned(C, x, y));
}

template <class T> void log_softmax_bwd(Cuda, const T* y, const T* dy, T* dx, int64_t N, int64_t C) {
  using namespace cu;
  if (C == 0) return;
  const Rows by = log_softmax_bwd_by.or_else(rows_by_length(C));
  if (by == Rows::reference) return enqueue("log_softmax_bwd", log_softmax_bwd_reference<T>, rows_grid(by, N), y, dy, dx, N, C);
  const auto kernel = by == Rows::warp ? log_softmax_bwd_team<Warp, T> : log_softmax_bwd_team<Block, T>;
  enqueue("log_softmax_bwd", kernel, rows_grid(by, N), y, dy, dx, N, C, rows_aligned(C, y, dy, dx));
}

template <class T> void logsumexp_fwd(Cuda, const T* x, T* y, int64_t N, int64_t C) {
  using namespace cu;
  const Rows by = logsumexp_fwd_by.or_else(rows_by_length(C));
  if (by == Rows::reference) return enqueue("logsumexp_fwd", logsumexp_fwd_reference<T>, rows_grid(by, N), x, y, N, C);
  const auto kernel = by == Rows::warp ? logsumexp_fwd_team<Warp, T> : logsumexp_fwd_team<Block, T>;
  enqueue("logsumexp_fwd", kernel, rows_grid(by, N), x, y, N, C, rows_aligned(C, x));
}

template <class T> void logsumexp_bwd(Cuda, const T* x, const T* y, const T* dy, T* dx, int64_t N, int64_t C) {
  using namespace cu;
  enqueue("logsumexp_bwd", logsumexp_bwd_elements<T>, {blocks_for(N * C, kThreads)}, x, y, dy, dx, N, C);
}

namespace {
template <class... T> void* const* softmax_table() {
  static void* const table[] = {
      instance<Cuda>(&softmax_fwd<T>)...,     instance<Cuda>(&softmax_bwd<T>)...,   instance<Cuda>(&log_softmax_fwd<T>)...,
      instance<Cuda>(&log_softmax_bwd<T>)..., instance<Cuda>(&logsumexp_fwd<T>)..., instance<Cuda>(&logsumexp_bwd<T>)...};
  return table;
}
}  // namespace
extern void* const* const gradus_cuda_softmax_instances = softmax_table<float, double, bf16, half>();

}  // namespace gradus::kernels
