// Rows are normalised while they are in the L1 cache; gradients of weight and bias are summed over chunks of rows that
// depend on N only, and the chunks are added in order.
#include <algorithm>
#include <cmath>
#include <vector>

#include <gradus/core/parallel.hpp>
#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/norm.hpp>

#include "lanes.hpp"

namespace gradus::kernels {

template <class T>
void layer_norm_fwd(Cpu, const T* x, const T* weight, const T* bias, T* y, compute_t<T>* mean, compute_t<T>* rstd, int64_t N,
                    int64_t C, double eps) {
  using A = compute_t<T>;
  parallel_for(N, detail::row_grain(C), [&](int64_t begin, int64_t end) {
    detail::RowIn<T> in(C), in_w(C), in_b(C);
    detail::RowOut<T> out(C);
    const A *w = in_w(weight, C), *b = in_b(bias, C);
    for (int64_t n = begin; n < end; ++n) {
      const A* xr = in(x + n * C, C);
      A* __restrict yr = out.at(y + n * C);
      const A mu = detail::lane_sum<A>(C, [&](int64_t c) { return xr[c]; }) / static_cast<A>(C);
      // Two passes: E[x^2] - E[x]^2 would cancel where |mean| is large beside the spread.
      const A var = detail::lane_sum<A>(C, [&](int64_t c) { return (xr[c] - mu) * (xr[c] - mu); }) / static_cast<A>(C);
      const A r = A(1) / std::sqrt(var + static_cast<A>(eps));
      mean[n] = mu, rstd[n] = r;
      if (w && b)
        for (int64_t c = 0; c < C; ++c) yr[c] = (xr[c] - mu) * r * w[c] + b[c];
      else if (w)
        for (int64_t c = 0; c < C; ++c) yr[c] = (xr[c] - mu) * r * w[c];
      else
        for (int64_t c = 0; c < C; ++c) yr[c] = (xr[c] - mu) * r + (b ? b[c] : A(0));
      out.store(y + n * C, C);
    }
  });
}

template <class T>
void rms_norm_fwd(Cpu, const T* x, const T* weight, T* y, compute_t<T>* rstd, int64_t N, int64_t C, double eps) {
  using A = compute_t<T>;
  parallel_for(N, detail::row_grain(C), [&](int64_t begin, int64_t end) {
    detail::RowIn<T> in(C), in_w(C);
    detail::RowOut<T> out(C);
    const A* w = in_w(weight, C);
    for (int64_t n = begin; n < end; ++n) {
      const A* xr = in(x + n * C, C);
      A* __restrict yr = out.at(y + n * C);
      const A square = detail::lane_sum<A>(C, [&](int64_t c) { return xr[c] * xr[c]; }) / static_cast<A>(C);
      const A r = A(1) / std::sqrt(square + static_cast<A>(eps));
      rstd[n] = r;
      for (int64_t c = 0; c < C; ++c) yr[c] = xr[c] * r;
      if (w)
        for (int64_t c = 0; c < C; ++c) yr[c] *= w[c];
      out.store(y + n * C, C);
    }
  });
}

namespace detail {
/// Both row normalisations backward; mean == nullptr is rms_norm, whose gradient lacks the term mean_c h.
template <class T>
void row_norm_bwd(const T* x, const T* weight, const compute_t<T>* mean, const compute_t<T>* rstd, const T* dy, T* dx,
                  T* dweight, T* dbias, int64_t N, int64_t C) {
  using A = compute_t<T>;
  const int64_t chunk = std::max<int64_t>(64, (N + 63) / 64), chunks = (N + chunk - 1) / chunk;
  const bool sums = dweight || dbias;
  std::vector<A> partial(sums ? static_cast<std::size_t>(2 * chunks * C) : 0);   // [chunks, 2, C]: dweight, dbias
  parallel_for(chunks, row_grain(C * chunk), [&](int64_t begin, int64_t end) {
    RowIn<T> in_x(C), in_dy(C), in_w(C);
    RowOut<T> out(C);
    const std::vector<A> ones(weight ? 0 : static_cast<std::size_t>(C), A(1));
    const A* w = weight ? in_w(weight, C) : ones.data();
    for (int64_t k = begin; k < end; ++k)
      for (int64_t n = k * chunk; n < std::min(N, (k + 1) * chunk); ++n) {
        const A *xr = in_x(x + n * C, C), *g = in_dy(dy + n * C, C);
        const A mu = mean ? mean[n] : A(0), r = rstd[n];
        if (dx) {
          A* __restrict dxr = out.at(dx + n * C);
          auto [h_sum, hx_sum] = lane_sum2<A>(C, [&](int64_t c, A& h, A& hx) {
            const A v = g[c] * w[c];
            h += v, hx += v * ((xr[c] - mu) * r);
          });
          const A h_mean = mean ? h_sum / static_cast<A>(C) : A(0), hx_mean = hx_sum / static_cast<A>(C);
          for (int64_t c = 0; c < C; ++c) dxr[c] = r * (g[c] * w[c] - h_mean - (xr[c] - mu) * r * hx_mean);
          out.store(dx + n * C, C);
        }
        if (sums) {
          A *__restrict dw = partial.data() + 2 * k * C, *__restrict db = dw + C;
          for (int64_t c = 0; c < C; ++c) dw[c] += g[c] * ((xr[c] - mu) * r), db[c] += g[c];
        }
      }
  });
  for (int64_t k = 1; sums && k < chunks; ++k)
    for (int64_t c = 0; c < 2 * C; ++c) partial[c] += partial[2 * k * C + c];
  for (int64_t c = 0; c < C; ++c) {
    if (dweight) dweight[c] = static_cast<T>(chunks ? partial[c] : A(0));
    if (dbias) dbias[c] = static_cast<T>(chunks ? partial[C + c] : A(0));
  }
}

/// Two sums over n and s for each channel of [N, C, S]. term.rows() makes a reader: load(at, n) takes a run of elements,
/// add(j, mean, u, v) adds its element j to u and v. Two layouts: long runs are reduced one by one; short ones (S < 16, such
/// as [N, C]) as columns of the matrix [N, C*S], 256 at a time, 64 rows in A before they join the total in double.
template <class A, class Term> void channel_sums(int64_t N, int64_t C, int64_t S, double* sum_a, double* sum_b, Term term) {
  if (S >= 16) {
    parallel_for(C, row_grain(N * S), [&](int64_t begin, int64_t end) {
      auto run = term.rows(S);
      for (int64_t c = begin; c < end; ++c) {
        double a = 0, b = 0;
        for (int64_t n = 0; n < N; ++n) {
          run.load((n * C + c) * S, S);
          const A mu = term.mean ? term.mean[c] : A(0);
          const auto [p, q] = lane_sum2<A>(S, [&](int64_t s, A& u, A& v) { run.add(s, mu, u, v); });
          a += static_cast<double>(p), b += static_cast<double>(q);
        }
        sum_a[c] = a, sum_b[c] = b;
      }
    });
    return;
  }
  constexpr int64_t kWidth = 256, kRows = 64;
  const int64_t columns = C * S, blocks = (columns + kWidth - 1) / kWidth;
  std::vector<double> total(static_cast<std::size_t>(2 * columns));
  parallel_for(blocks, row_grain(N * kWidth), [&](int64_t begin, int64_t end) {
    auto run = term.rows(kWidth);
    A mu[kWidth], u[kWidth], v[kWidth];
    for (int64_t k = begin; k < end; ++k) {
      const int64_t first = k * kWidth, width = std::min(kWidth, columns - first);
      for (int64_t j = 0; j < width; ++j) mu[j] = term.mean ? term.mean[(first + j) / S] : A(0);
      for (int64_t top = 0; top < N; top += kRows) {
        std::fill(u, u + width, A(0)), std::fill(v, v + width, A(0));
        for (int64_t n = top; n < std::min(N, top + kRows); ++n) {
          run.load(n * columns + first, width);
          for (int64_t j = 0; j < width; ++j) run.add(j, mu[j], u[j], v[j]);
        }
        for (int64_t j = 0; j < width; ++j) {
          total[first + j] += static_cast<double>(u[j]);
          total[columns + first + j] += static_cast<double>(v[j]);
        }
      }
    }
  });
  for (int64_t c = 0; c < C; ++c) {
    sum_a[c] = sum_b[c] = 0;
    for (int64_t s = 0; s < S; ++s) sum_a[c] += total[c * S + s], sum_b[c] += total[columns + c * S + s];
  }
}

/// Terms x - mean and (x - mean)^2.
template <class T> struct CentredTerms {
  using A = compute_t<T>;
  const T* x;
  const A* mean;
  struct Run {
    RowIn<T> in;
    const T* base;
    const A* x = nullptr;
    void load(int64_t at, int64_t n) { x = in(base + at, n); }
    void add(int64_t j, A mu, A& u, A& v) const { u += x[j] - mu, v += (x[j] - mu) * (x[j] - mu); }
  };
  Run rows(int64_t longest) const { return {RowIn<T>(longest), x}; }
};

/// Terms dy and dy (x - mean).
template <class T> struct GradTerms {
  using A = compute_t<T>;
  const T *x, *dy;
  const A* mean;
  struct Run {
    RowIn<T> in_x, in_dy;
    const T *base_x, *base_dy;
    const A *x = nullptr, *dy = nullptr;
    void load(int64_t at, int64_t n) { x = in_x(base_x + at, n), dy = in_dy(base_dy + at, n); }
    void add(int64_t j, A mu, A& u, A& v) const { u += dy[j], v += dy[j] * (x[j] - mu); }
  };
  Run rows(int64_t longest) const { return {RowIn<T>(longest), RowIn<T>(longest), x, dy}; }
};
}  // namespace detail

template <class T> void layer_norm_bwd(Cpu, const T* x, const T* weight, const compute_t<T>* mean, const compute_t<T>* rstd,
                                       const T* dy, T* dx, T* dweight, T* dbias, int64_t N, int64_t C) {
  detail::row_norm_bwd(x, weight, mean, rstd, dy, dx, dweight, dbias, N, C);
}

template <class T> void rms_norm_bwd(Cpu, const T* x, const T* weight, const compute_t<T>* rstd, const T* dy, T* dx, T* dweight,
                                     int64_t N, int64_t C) {
  const compute_t<T>* no_mean = nullptr;
  detail::row_norm_bwd<T>(x, weight, no_mean, rstd, dy, dx, dweight, nullptr, N, C);
}

template <class T>
void batch_norm_stats(Cpu, const T* x, compute_t<T>* mean, compute_t<T>* var, int64_t N, int64_t C, int64_t S) {
  using A = compute_t<T>;
  const double count = static_cast<double>(N * S);
  std::vector<double> sum(static_cast<std::size_t>(C)), square(static_cast<std::size_t>(C));
  const A* origin = nullptr;
  detail::channel_sums<A>(N, C, S, sum.data(), square.data(), detail::CentredTerms<T>{x, origin});
  for (int64_t c = 0; c < C; ++c) mean[c] = static_cast<A>(sum[c] / count);
  detail::channel_sums<A>(N, C, S, sum.data(), square.data(), detail::CentredTerms<T>{x, mean});
  for (int64_t c = 0; c < C; ++c) var[c] = static_cast<A>((square[c] - sum[c] * sum[c] / count) / count);   // mean was rounded
}

template <class T> void batch_norm_apply(Cpu, const T* x, const compute_t<T>* mean, const compute_t<T>* var, const T* weight,
                                         const T* bias, T* y, int64_t N, int64_t C, int64_t S, double eps) {
  using A = compute_t<T>;
  std::vector<A> scale(static_cast<std::size_t>(C)), shift(static_cast<std::size_t>(C));
  for (int64_t c = 0; c < C; ++c) {
    scale[c] = (weight ? static_cast<A>(weight[c]) : A(1)) / std::sqrt(var[c] + static_cast<A>(eps));
    shift[c] = bias ? static_cast<A>(bias[c]) : A(0);
  }
  if (S == 1) {
    parallel_for(N, detail::row_grain(C), [&](int64_t begin, int64_t end) {
      const A *sc = scale.data(), *sh = shift.data();
      for (int64_t n = begin; n < end; ++n) {
        const T* xr = x + n * C;
        T* __restrict yr = y + n * C;
        for (int64_t c = 0; c < C; ++c) yr[c] = static_cast<T>((static_cast<A>(xr[c]) - mean[c]) * sc[c] + sh[c]);
      }
    });
    return;
  }
  parallel_for(N * C, detail::row_grain(S), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const A mu = mean[r % C], a = scale[r % C], b = shift[r % C];
      const T* xr = x + r * S;
      T* __restrict yr = y + r * S;
      for (int64_t s = 0; s < S; ++s) yr[s] = static_cast<T>((static_cast<A>(xr[s]) - mu) * a + b);
    }
  });
}

template <class T> void batch_norm_bwd(Cpu, const T* x, const compute_t<T>* mean, const compute_t<T>* var, const T* weight,
                                       const T* dy, T* dx, T* dweight, T* dbias, int64_t N, int64_t C, int64_t S, double eps,
                                       bool training) {
  using A = compute_t<T>;
  const std::size_t channels = static_cast<std::size_t>(C);
  std::vector<double> sum(channels), dot(channels);   // sum dy, sum dy (x - mean)
  if (training || dweight || dbias) detail::channel_sums<A>(N, C, S, sum.data(), dot.data(), detail::GradTerms<T>{x, dy, mean});
  // dx = p (dy - q - (x - mean) r)
  std::vector<A> p(channels), q(channels), r(channels);
  const double count = static_cast<double>(N * S);
  for (int64_t c = 0; c < C; ++c) {
    const double rstd = 1 / std::sqrt(static_cast<double>(var[c]) + eps);
    p[c] = static_cast<A>(rstd * (weight ? static_cast<double>(static_cast<A>(weight[c])) : 1.0));
    q[c] = training ? static_cast<A>(sum[c] / count) : A(0);
    r[c] = training ? static_cast<A>(dot[c] / count * rstd * rstd) : A(0);
    if (dweight) dweight[c] = static_cast<T>(static_cast<A>(dot[c] * rstd));
    if (dbias) dbias[c] = static_cast<T>(static_cast<A>(sum[c]));
  }
  if (!dx) return;
  if (S == 1) {
    parallel_for(N, detail::row_grain(C), [&](int64_t begin, int64_t end) {
      const A *pc = p.data(), *qc = q.data(), *rc = r.data();
      for (int64_t n = begin; n < end; ++n) {
        const T *xr = x + n * C, *g = dy + n * C;
        T* __restrict dxr = dx + n * C;
        for (int64_t c = 0; c < C; ++c)
          dxr[c] = static_cast<T>(pc[c] * (static_cast<A>(g[c]) - qc[c] - (static_cast<A>(xr[c]) - mean[c]) * rc[c]));
      }
    });
    return;
  }
  parallel_for(N * C, detail::row_grain(S), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const A mu = mean[k % C], pc = p[k % C], qc = q[k % C], rc = r[k % C];
      const T *xr = x + k * S, *g = dy + k * S;
      T* __restrict dxr = dx + k * S;
      for (int64_t s = 0; s < S; ++s)
        dxr[s] = static_cast<T>(pc * (static_cast<A>(g[s]) - qc - (static_cast<A>(xr[s]) - mu) * rc));
    }
  });
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T> void* norm_floating() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&layer_norm_fwd<T>)..., instance<Cpu>(&layer_norm_bwd<T>)...,
                                instance<Cpu>(&rms_norm_fwd<T>)..., instance<Cpu>(&rms_norm_bwd<T>)...,
                                instance<Cpu>(&batch_norm_stats<T>)..., instance<Cpu>(&batch_norm_apply<T>)...,
                                instance<Cpu>(&batch_norm_bwd<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_norm_instances[] = {norm_floating<float, double, bf16, half>()};
#endif

}  // namespace gradus::kernels
