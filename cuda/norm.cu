// Normalisations.
//
// layer_norm and rms_norm have the kernels of softmax.cu: one thread (reference), one warp or one block a row. A row is read for
// its statistics and once more for the result; the second time it comes from a cache.
// Sums over the rows (gradients of weight and bias) and over a channel (batch_norm) come in two stages: blocks sum pieces whose
// bounds depend on the sizes alone, then the pieces are added in order. Channels sum in double what a warp summed in compute_t.
#include <gradus/kernels/norm.hpp>

#include "reduce.cuh"

namespace gradus::kernels {

namespace cu {
template <class T> __device__ inline compute_t<T> weight_at(const T* weight, int64_t c) { return weight ? load(weight[c]) : compute_t<T>(1); }
template <class T> __device__ inline compute_t<T> bias_at(const T* bias, int64_t c) { return bias ? load(bias[c]) : compute_t<T>(0); }

// ---- layer_norm and rms_norm, forward ----
template <class T> __global__ void layer_norm_fwd_reference(const T* x, const T* weight, const T* bias, T* y, compute_t<T>* mean,
                                                            compute_t<T>* rstd, int64_t N, int64_t C, compute_t<T> eps) {
  using A = compute_t<T>;
  const int64_t n = thread_in_grid();
  if (n >= N) return;
  const T* xr = x + n * C;
  A mu = 0, var = 0;
  for (int64_t c = 0; c < C; ++c) mu += load(xr[c]);
  mu /= static_cast<A>(C);
  for (int64_t c = 0; c < C; ++c) var += (load(xr[c]) - mu) * (load(xr[c]) - mu);
  const A r = A(1) / std::sqrt(var / static_cast<A>(C) + eps);
  mean[n] = mu, rstd[n] = r;
  for (int64_t c = 0; c < C; ++c) y[n * C + c] = static_cast<T>((load(xr[c]) - mu) * r * weight_at(weight, c) + bias_at(bias, c));
}
template <class Team, class T> __global__ void layer_norm_fwd_team(const T* x, const T* weight, const T* bias, T* y, compute_t<T>* mean,
                                                                   compute_t<T>* rstd, int64_t N, int64_t C, compute_t<T> eps, bool wide) {
  using A = compute_t<T>;
  const int64_t n = Team::row();
  if (n >= N) return;
  const T* xr = x + n * C;
  T* yr = y + n * C;
  A sum = 0, square = 0;
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    for (auto v : load_elements<decltype(width)::value>(xr + c).v) sum += v;
  });
  const A mu = team_sum<Team>(sum) / static_cast<A>(C);
  // A second pass: E[x^2] - E[x]^2 would cancel where |mean| is large beside the spread.
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    for (auto v : load_elements<decltype(width)::value>(xr + c).v) square += (v - mu) * (v - mu);
  });
  const A r = A(1) / std::sqrt(team_sum<Team>(square) / static_cast<A>(C) + eps);
  if (Team::rank() == 0) mean[n] = mu, rstd[n] = r;
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    auto e = load_elements<decltype(width)::value>(xr + c);
    int64_t k = c;
    for (auto& v : e.v) v = (v - mu) * r * weight_at(weight, k) + bias_at(bias, k), ++k;
    store_elements(yr + c, e);
  });
}

template <class T>
__global__ void rms_norm_fwd_reference(const T* x, const T* weight, T* y, compute_t<T>* rstd, int64_t N, int64_t C, compute_t<T> eps) {
  using A = compute_t<T>;
  const int64_t n = thread_in_grid();
  if (n >= N) return;
  const T* xr = x + n * C;
  A square = 0;
  for (int64_t c = 0; c < C; ++c) square += load(xr[c]) * load(xr[c]);
  const A r = A(1) / std::sqrt(square / static_cast<A>(C) + eps);
  rstd[n] = r;
  for (int64_t c = 0; c < C; ++c) y[n * C + c] = static_cast<T>(load(xr[c]) * r * weight_at(weight, c));
}
template <class Team, class T> __global__ void rms_norm_fwd_team(const T* x, const T* weight, T* y, compute_t<T>* rstd, int64_t N, int64_t C,
                                                                 compute_t<T> eps, bool wide) {
  using A = compute_t<T>;
  const int64_t n = Team::row();
  if (n >= N) return;
  const T* xr = x + n * C;
  T* yr = y + n * C;
  A square = 0;
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    for (auto v : load_elements<decltype(width)::value>(xr + c).v) square += v * v;
  });
  const A r = A(1) / std::sqrt(team_sum<Team>(square) / static_cast<A>(C) + eps);
  if (Team::rank() == 0) rstd[n] = r;
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    auto e = load_elements<decltype(width)::value>(xr + c);
    int64_t k = c;
    for (auto& v : e.v) v = v * r * weight_at(weight, k), ++k;
    store_elements(yr + c, e);
  });
}

// ---- both backward: mean == nullptr is rms_norm, whose gradient lacks the term mean_c h ----
template <class T> __global__ void row_norm_dx_reference(const T* x, const T* weight, const compute_t<T>* mean, const compute_t<T>* rstd,
                                                         const T* dy, T* dx, int64_t N, int64_t C) {
  using A = compute_t<T>;
  const int64_t n = thread_in_grid();
  if (n >= N) return;
  const T *xr = x + n * C, *g = dy + n * C;
  const A mu = mean ? mean[n] : A(0), r = rstd[n];
  A h_sum = 0, hx_sum = 0;
  for (int64_t c = 0; c < C; ++c) {
    const A h = load(g[c]) * weight_at(weight, c);
    h_sum += h, hx_sum += h * ((load(xr[c]) - mu) * r);
  }
  const A h_mean = mean ? h_sum / static_cast<A>(C) : A(0), hx_mean = hx_sum / static_cast<A>(C);
  for (int64_t c = 0; c < C; ++c)
    dx[n * C + c] = static_cast<T>(r * (load(g[c]) * weight_at(weight, c) - h_mean - (load(xr[c]) - mu) * r * hx_mean));
}
template <class Team, class T> __global__ void row_norm_dx_team(const T* x, const T* weight, const compute_t<T>* mean, const compute_t<T>* rstd,
                                                                const T* dy, T* dx, int64_t N, int64_t C, bool wide) {
  using A = compute_t<T>;
  const int64_t n = Team::row();
  if (n >= N) return;
  const T *xr = x + n * C, *g = dy + n * C;
  T* dxr = dx + n * C;
  const A mu = mean ? mean[n] : A(0), r = rstd[n];
  Two<A> part{A(0), A(0)};
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    constexpr int W = decltype(width)::value;
    const auto v = load_elements<W>(xr + c), d = load_elements<W>(g + c);
    for (int j = 0; j < W; ++j) {
      const A h = d.v[j] * weight_at(weight, c + j);
      part.a += h, part.b += h * ((v.v[j] - mu) * r);
    }
  });
  const Two<A> sums = team_sum<Team>(part);
  const A h_mean = mean ? sums.a / static_cast<A>(C) : A(0), hx_mean = sums.b / static_cast<A>(C);
  for_columns<Team, T>(C, wide, [&](int64_t c, auto width) {
    constexpr int W = decltype(width)::value;
    auto v = load_elements<W>(xr + c);
    const auto d = load_elements<W>(g + c);
    for (int j = 0; j < W; ++j) v.v[j] = r * (d.v[j] * weight_at(weight, c + j) - h_mean - (v.v[j] - mu) * r * hx_mean);
    store_elements(dxr + c, v);
  });
}

template <class T> __global__ void row_norm_dweight_reference(const T* x, const compute_t<T>* mean, const compute_t<T>* rstd, const T* dy,
                                                              T* dweight, T* dbias, int64_t N, int64_t C) {
  using A = compute_t<T>;
  const int64_t c = thread_in_grid();
  if (c >= C) return;
  A dw = 0, db = 0;
  for (int64_t n = 0; n < N; ++n) {
    const A g = load(dy[n * C + c]);
    dw += g * ((load(x[n * C + c]) - (mean ? mean[n] : A(0))) * rstd[n]), db += g;
  }
  if (dweight) dweight[c] = static_cast<T>(dw);
  if (dbias) dbias[c] = static_cast<T>(db);
}
/// Columns of a block and the eight warps that share its rows: part : [pieces, C] of both sums.
template <class T> __global__ void row_norm_dweight_columns(const T* x, const compute_t<T>* mean, const compute_t<T>* rstd, const T* dy,
                                                            Two<compute_t<T>>* part, int64_t N, int64_t C, int64_t length) {
  using A = compute_t<T>;
  constexpr int kWarps = kThreads / kWarp;
  GRADUS_SHARED(Two<A>, of_warp, [kWarps][kWarp]);
  const int64_t blocks = (C + kWarp - 1) / kWarp, c = static_cast<int64_t>(blockIdx.x) % blocks * kWarp + lane();
  const int64_t piece = static_cast<int64_t>(blockIdx.x) / blocks, first = piece * length, last = first + length < N ? first + length : N;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  Two<A> sums{A(0), A(0)};
  for (int64_t n = first + warp; n < last && c < C; n += kWarps) {
    const A g = load(dy[n * C + c]);
    sums.a += g * ((load(x[n * C + c]) - (mean ? mean[n] : A(0))) * rstd[n]), sums.b += g;
  }
  of_warp[warp][lane()] = sums;
  __syncthreads();
  if (warp != 0 || c >= C) return;
  for (int w = 1; w < kWarps; ++w) sums = Add()(sums, static_cast<Two<A>>(of_warp[w][lane()]));
  part[piece * C + c] = sums;
}
template <class T> __global__ void row_norm_dweight_total(const Two<compute_t<T>>* part, T* dweight, T* dbias, int64_t C, int64_t pieces) {
  using A = compute_t<T>;
  const int64_t c = thread_in_grid();
  if (c >= C) return;
  Two<A> sums{A(0), A(0)};
  for (int64_t p = 0; p < pieces; ++p) sums = Add()(sums, part[p * C + c]);
  if (dweight) dweight[c] = static_cast<T>(sums.a);
  if (dbias) dbias[c] = static_cast<T>(sums.b);
}

template <class T> void row_norm_bwd(const char* op, Rows by, const T* x, const T* weight, const compute_t<T>* mean, const compute_t<T>* rstd,
                                     const T* dy, T* dx, T* dweight, T* dbias, int64_t N, int64_t C) {
  if (dx && by == Rows::reference) {
    enqueue(op, row_norm_dx_reference<T>, rows_grid(by, N), x, weight, mean, rstd, dy, dx, N, C);
  } else if (dx) {
    const auto kernel = by == Rows::warp ? row_norm_dx_team<Warp, T> : row_norm_dx_team<Block, T>;
    enqueue(op, kernel, rows_grid(by, N), x, weight, mean, rstd, dy, dx, N, C, rows_aligned(C, x, dy, dx));
  }
  if (!dweight && !dbias) return;
  if (by == Rows::reference && N <= 64)
    return enqueue(op, row_norm_dweight_reference<T>, {blocks_for(C, kThreads)}, x, mean, rstd, dy, dweight, dbias, N, C);
  // Enough blocks for a large device, but at least 64 rows each.
  const int64_t blocks = blocks_for(C, kWarp), wanted = blocks_for(512, blocks > 0 ? blocks : 1), least = blocks_for(N, wanted);
  const int64_t length = least < 64 ? 64 : least, pieces = blocks_for(N, length);
  Scratch<Two<compute_t<T>>> part(pieces * C);
  enqueue(op, row_norm_dweight_columns<T>, {pieces * blocks}, x, mean, rstd, dy, part.data(), N, C, length);
  enqueue(op, row_norm_dweight_total<T>, {blocks_for(C, kThreads)}, part.data(), dweight, dbias, C, pieces);
}

// ---- sums of a channel over n and s ----
/// Terms x - mean and (x - mean)^2; mean == nullptr is 0.
template <class T> struct CentredTerms {
  const T* x;
  const compute_t<T>* mean;
  __device__ void add(Two<compute_t<T>>& s, int64_t i, int64_t c) const {
    const auto v = load(x[i]) - (mean ? mean[c] : compute_t<T>(0));
    s.a += v, s.b += v * v;
  }
};
/// Terms dy and dy (x - mean).
template <class T> struct GradTerms {
  const T *x, *dy;
  const compute_t<T>* mean;
  __device__ void add(Two<compute_t<T>>& s, int64_t i, int64_t c) const {
    const auto g = load(dy[i]);
    s.a += g, s.b += g * (load(x[i]) - mean[c]);
  }
};
template <class A> __device__ inline Two<double> to_double(Two<A> s) { return {static_cast<double>(s.a), static_cast<double>(s.b)}; }

template <class A, class Term> __global__ void channel_sums_reference(Term term, Two<double>* sums, int64_t N, int64_t C, int64_t S) {
  const int64_t c = thread_in_grid();
  if (c >= C) return;
  Two<double> total{0, 0};
  for (int64_t n = 0; n < N; ++n)
    for (int64_t s = 0; s < S; ++s) {
      Two<A> one{A(0), A(0)};
      term.add(one, (n * C + c) * S + s, c);
      total = Add()(total, to_double(one));
    }
  sums[c] = total;
}
inline constexpr int64_t kSegment = 4096;          // elements that a warp sums in compute_t
/// S >= 16: block (piece, c); its warps take the segments of the runs [n, c, :] that belong to the piece. part : [pieces, C]
template <class A, class Term>
__global__ void channel_sums_runs(Term term, Two<double>* part, int64_t N, int64_t C, int64_t S, int64_t length) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) % C, piece = static_cast<int64_t>(blockIdx.x) / C;
  const int64_t per_run = (S + kSegment - 1) / kSegment, segments = N * per_run, first = piece * length;
  const int64_t last = first + length < segments ? first + length : segments;
  Two<double> total{0, 0};
  for (int64_t k = first + threadIdx.x / kWarp; k < last; k += kThreads / kWarp) {
    const int64_t n = k / per_run, begin = k % per_run * kSegment, end = begin + kSegment < S ? begin + kSegment : S;
    Two<A> few{A(0), A(0)};
    for (int64_t s = begin + lane(); s < end; s += kWarp) term.add(few, (n * C + c) * S + s, c);
    total = Add()(total, to_double(few));
  }
  total = team_sum<Block>(total);
  if (threadIdx.x == 0) part[blockIdx.x] = total;
}
/// S < 16: columns of the matrix [N, C*S], 32 a block, whose warps share the rows of the piece. part : [pieces, C*S]
template <class A, class Term>
__global__ void channel_sums_columns(Term term, Two<double>* part, int64_t N, int64_t C, int64_t S, int64_t length) {
  constexpr int kWarps = kThreads / kWarp;
  GRADUS_SHARED(Two<double>, of_warp, [kWarps][kWarp]);
  const int64_t columns = C * S, blocks = (columns + kWarp - 1) / kWarp, j = static_cast<int64_t>(blockIdx.x) % blocks * kWarp + lane();
  const int64_t piece = static_cast<int64_t>(blockIdx.x) / blocks, first = piece * length, last = first + length < N ? first + length : N;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  Two<double> total{0, 0};
  for (int64_t n = first + warp; n < last && j < columns;) {
    Two<A> few{A(0), A(0)};
    for (int k = 0; k < 64 && n < last; ++k, n += kWarps) term.add(few, n * columns + j, j / S);
    total = Add()(total, to_double(few));
  }
  of_warp[warp][lane()] = total;
  __syncthreads();
  if (warp != 0 || j >= columns) return;
  for (int w = 1; w < kWarps; ++w) total = Add()(total, static_cast<Two<double>>(of_warp[w][lane()]));
  part[piece * columns + j] = total;
}
/// sums_c = what the pieces have for channel c, in order; part : [pieces, C, each]
namespace {
__global__ void channel_total(const Two<double>* part, Two<double>* sums, int64_t C, int64_t pieces, int64_t each) {
  const int64_t c = thread_in_grid();
  if (c >= C) return;
  Two<double> total{0, 0};
  for (int64_t p = 0; p < pieces; ++p)
    for (int64_t e = 0; e < each; ++e) total = Add()(total, part[(p * C + c) * each + e]);
  sums[c] = total;
}
}  // namespace

enum class ChannelsBy { reference, two_stage };
template <class A, class Term> void channel_sums(const char* op, ChannelsBy by, Term term, Two<double>* sums, int64_t N, int64_t C, int64_t S) {
  if (by == ChannelsBy::reference) return enqueue(op, channel_sums_reference<A, Term>, {blocks_for(C, kThreads)}, term, sums, N, C, S);
  const bool runs = S >= 16;
  const int64_t items = runs ? N * blocks_for(S, kSegment) : N, blocks = runs ? C : blocks_for(C * S, kWarp);
  const int64_t wanted = blocks_for(1024, blocks > 0 ? blocks : 1), least = blocks_for(items, wanted), fewest = runs ? 8 : 64;
  const int64_t length = least < fewest ? fewest : least, pieces = items > 0 ? blocks_for(items, length) : 0, each = runs ? 1 : S;
  Scratch<Two<double>> part(pieces * C * each);
  enqueue(op, runs ? channel_sums_runs<A, Term> : channel_sums_columns<A, Term>, {pieces * blocks}, term, part.data(), N, C, S, length);
  enqueue(op, channel_total, {blocks_for(C, kThreads)}, part.data(), sums, C, pieces, each);
}

template <class A> __global__ void batch_mean(const Two<double>* sums, A* mean, int64_t C, double count) {
  const int64_t c = thread_in_grid();
  if (c < C) mean[c] = static_cast<A>(sums[c].a / count);
}
/// sums of x - mean, which was rounded, and of its square.
template <class A> __global__ void batch_var(const Two<double>* sums, A* var, int64_t C, double count) {
  const int64_t c = thread_in_grid();
  if (c < C) var[c] = static_cast<A>((sums[c].b - sums[c].a * sums[c].a / count) / count);
}

// ---- element by element with constants of the channel ----
/// y = (x - mean) a + b
template <class T> struct BatchApply {
  using A = compute_t<T>;
  struct Of {
    A mean, a, b;
  };
  const T* x;
  const A *mean, *var;
  const T *weight, *bias;
  A eps;
  __device__ Of of(int64_t c) const { return {mean[c], weight_at(weight, c) / std::sqrt(var[c] + eps), bias_at(bias, c)}; }
  template <int W> __device__ Elements<T, W> values(const Of& k, int64_t i) const {
    auto e = load_elements<W>(x + i);
    for (auto& v : e.v) v = (v - k.mean) * k.a + k.b;
    return e;
  }
};
/// dx = p (dy - q - (x - mean) r)
template <class T> struct BatchGrad {
  using A = compute_t<T>;
  struct Of {
    A mean, p, q, r;
  };
  const T *x, *dy;
  const Of* channels;
  __device__ Of of(int64_t c) const { return channels[c]; }
  template <int W> __device__ Elements<T, W> values(const Of& k, int64_t i) const {
    auto e = load_elements<W>(x + i);
    const auto g = load_elements<W>(dy + i);
    for (int j = 0; j < W; ++j) e.v[j] = k.p * (g.v[j] - k.q - (e.v[j] - k.mean) * k.r);
    return e;
  }
};
template <class T> __global__ void batch_grad_channels(const Two<double>* sums, const compute_t<T>* mean, const compute_t<T>* var,
                                                       const T* weight, T* dweight, T* dbias, typename BatchGrad<T>::Of* channels, int64_t C,
                                                       double count, double eps, bool training) {
  using A = compute_t<T>;
  const int64_t c = thread_in_grid();
  if (c >= C) return;
  const double rstd = 1 / std::sqrt(static_cast<double>(var[c]) + eps), sum = sums ? sums[c].a : 0, dot = sums ? sums[c].b : 0;
  channels[c] = {mean[c], static_cast<A>(rstd * static_cast<double>(weight_at(weight, c))), training ? static_cast<A>(sum / count) : A(0),
                 training ? static_cast<A>(dot / count * rstd * rstd) : A(0)};
  if (dweight) dweight[c] = static_cast<T>(static_cast<A>(dot * rstd));
  if (dbias) dbias[c] = static_cast<T>(static_cast<A>(sum));
}
template <class F, class T> __global__ void channel_elements(F f, T* y, int64_t N, int64_t C, int64_t S) {
  const int64_t i = thread_in_grid();
  if (i < N * C * S) store_elements(y + i, f.template values<1>(f.of(i / S % C), i));
}
/// A team a run [n, c, :].
template <class Team, class F, class T> __global__ void channel_runs(F f, T* y, int64_t N, int64_t C, int64_t S, bool wide) {
  const int64_t k = Team::row();
  if (k >= N * C) return;
  const auto channel = f.of(k % C);
  for_columns<Team, T>(S, wide, [&](int64_t s, auto width) { store_elements(y + k * S + s, f.template values<decltype(width)::value>(channel, k * S + s)); });
}
template <class T, class F> void for_channels(const char* op, Rows by, F f, T* y, int64_t N, int64_t C, int64_t S, bool wide) {
  if (by == Rows::reference) return enqueue(op, channel_elements<F, T>, {blocks_for(N * C * S, kThreads)}, f, y, N, C, S);
  enqueue(op, by == Rows::warp ? channel_runs<Warp, F, T> : channel_runs<Block, F, T>, rows_grid(by, N * C), f, y, N, C, S, wide);
}
}  // namespace cu

namespace {
KernelChoice<cu::Rows> layer_norm_fwd_by{"layer_norm_fwd", cu::kRowKernels}, layer_norm_bwd_by{"layer_norm_bwd", cu::kRowKernels};
KernelChoice<cu::Rows> rms_norm_fwd_by{"rms_norm_fwd", cu::kRowKernels}, rms_norm_bwd_by{"rms_norm_bwd", cu::kRowKernels};
KernelChoice<cu::ChannelsBy> batch_norm_stats_by{"batch_norm_stats", {"reference", "two_stage"}};
KernelChoice<cu::Rows> batch_norm_apply_by{"batch_norm_apply", cu::kRowKernels};
}  // namespace

template <class T>
void layer_norm_fwd(Cuda, const T* x, const T* weight, const T* bias, T* y, compute_t<T>* mean, compute_t<T>* rstd, int64_t N, int64_t C,
                    double eps) {
  using namespace cu;
  const Rows by = layer_norm_fwd_by.or_else(rows_by_length(C));
  if (by == Rows::reference)
    return enqueue("layer_norm_fwd", layer_norm_fwd_reference<T>, rows_grid(by, N), x, weight, bias, y, mean, rstd, N, C, static_cast<compute_t<T>>(eps));
  const auto kernel = by == Rows::warp ? layer_norm_fwd_team<Warp, T> : layer_norm_fwd_team<Block, T>;
  enqueue("layer_norm_fwd", kernel, rows_grid(by, N), x, weight, bias, y, mean, rstd, N, C, static_cast<compute_t<T>>(eps), rows_aligned(C, x, y));
}

template <class T> void rms_norm_fwd(Cuda, const T* x, const T* weight, T* y, compute_t<T>* rstd, int64_t N, int64_t C, double eps) {
  using namespace cu;
  const Rows by = rms_norm_fwd_by.or_else(rows_by_length(C));
  if (by == Rows::reference)
    return enqueue("rms_norm_fwd", rms_norm_fwd_reference<T>, rows_grid(by, N), x, weight, y, rstd, N, C, static_cast<compute_t<T>>(eps));
  const auto kernel = by == Rows::warp ? rms_norm_fwd_team<Warp, T> : rms_norm_fwd_team<Block, T>;
  enqueue("rms_norm_fwd", kernel, rows_grid(by, N), x, weight, y, rstd, N, C, static_cast<compute_t<T>>(eps), rows_aligned(C, x, y));
}

template <class T> void layer_norm_bwd(Cuda, const T* x, const T* weight, const compute_t<T>* mean, const compute_t<T>* rstd, const T* dy,
                                       T* dx, T* dweight, T* dbias, int64_t N, int64_t C) {
  cu::row_norm_bwd("layer_norm_bwd", layer_norm_bwd_by.or_else(cu::rows_by_length(C)), x, weight, mean, rstd, dy, dx, dweight, dbias, N, C);
}

template <class T> void rms_norm_bwd(Cuda, const T* x, const T* weight, const compute_t<T>* rstd, const T* dy, T* dx, T* dweight, int64_t N,
                                     int64_t C) {
  const compute_t<T>* no_mean = nullptr;
  T* no_bias = nullptr;
  cu::row_norm_bwd("rms_norm_bwd", rms_norm_bwd_by.or_else(cu::rows_by_length(C)), x, weight, no_mean, rstd, dy, dx, dweight, no_bias, N, C);
}

template <class T> void batch_norm_stats(Cuda, const T* x, compute_t<T>* mean, compute_t<T>* var, int64_t N, int64_t C, int64_t S) {
  using namespace cu;
  using A = compute_t<T>;
  const auto by = batch_norm_stats_by.or_else(ChannelsBy::two_stage);
  const double count = static_cast<double>(N * S);
  Scratch<Two<double>> sums(C);
  const auto total = sums.data();
  const A* origin = nullptr;
  channel_sums<A>("batch_norm_stats", by, CentredTerms<T>{x, origin}, sums.data(), N, C, S);
  enqueue("batch_norm_stats", batch_mean<A>, {blocks_for(C, kThreads)}, total, mean, C, count);
  channel_sums<A>("batch_norm_stats", by, CentredTerms<T>{x, mean}, sums.data(), N, C, S);
  enqueue("batch_norm_stats", batch_var<A>, {blocks_for(C, kThreads)}, total, var, C, count);
}

template <class T> void batch_norm_apply(Cuda, const T* x, const compute_t<T>* mean, const compute_t<T>* var, const T* weight, const T* bias,
                                         T* y, int64_t N, int64_t C, int64_t S, double eps) {
  using namespace cu;
  const BatchApply<T> f{x, mean, var, weight, bias, static_cast<compute_t<T>>(eps)};
  const Rows by = batch_norm_apply_by.or_else(S < kWarp ? Rows::reference : rows_by_length(S));
  for_channels("batch_norm_apply", by, f, y, N, C, S, rows_aligned(S, x, y));
}

template <class T> void batch_norm_bwd(Cuda, const T* x, const compute_t<T>* mean, const compute_t<T>* var, const T* weight, const T* dy,
                                       T* dx, T* dweight, T* dbias, int64_t N, int64_t C, int64_t S, double eps, bool training) {
  using namespace cu;
  using A = compute_t<T>;
  using Channel = typename BatchGrad<T>::Of;
  const bool needed = training || dweight || dbias;
  Scratch<Two<double>> sums(C);
  Scratch<Channel> channels(C);
  if (needed)
    channel_sums<A>("batch_norm_bwd", batch_norm_stats_by.or_else(ChannelsBy::two_stage), GradTerms<T>{x, dy, mean}, sums.data(), N, C, S);
  enqueue("batch_norm_bwd", batch_grad_channels<T>, {blocks_for(C, kThreads)}, static_cast<const Two<double>*>(needed ? sums.data() : nullptr),
          mean, var, weight, dweight, dbias, channels.data(), C, static_cast<double>(N * S), eps, training);
  if (!dx) return;
  const BatchGrad<T> f{x, dy, channels.data()};
  const Rows by = batch_norm_apply_by.or_else(S < kWarp ? Rows::reference : rows_by_length(S));
  for_channels("batch_norm_bwd", by, f, dx, N, C, S, rows_aligned(S, x, dy, dx));
}

namespace {
template <class... T> void* const* norm_table() {
  static void* const table[] = {instance<Cuda>(&layer_norm_fwd<T>)...,   instance<Cuda>(&layer_norm_bwd<T>)...,
                                instance<Cuda>(&rms_norm_fwd<T>)...,     instance<Cuda>(&rms_norm_bwd<T>)...,
                                instance<Cuda>(&batch_norm_stats<T>)..., instance<Cuda>(&batch_norm_apply<T>)...,
                                instance<Cuda>(&batch_norm_bwd<T>)...};
  return table;
}
}  // namespace
extern void* const* const gradus_cuda_norm_instances = norm_table<float, double, bf16, half>();

}  // namespace gradus::kernels
