// Pooling, one plane at a time; planes are shared between threads.
//
// A window is the product of three intervals, one an axis, which are tabulated first (PoolAxis). Sliding windows are then
// walked tap by tap along whole output rows, so that the inner loop runs over neighbouring outputs; adaptive windows, whose
// widths vary, are walked one by one.
#ifndef GRADUS_CPU_POOL
#define GRADUS_CPU_POOL
#include <gradus/core/dtype.hpp>
#include <gradus/core/parallel.hpp>
#include <gradus/kernels/pool.hpp>

#include <algorithm>
#include <limits>
#include <vector>

namespace gradus::kernels {
namespace detail {

/// Window o of an axis: input positions begin[o], begin[o] + step, ... below end[o]; n[o] is its share of the divisor.
struct PoolAxis {
  int64_t step = 1;
  std::vector<int64_t> begin, end, n;
};
inline PoolAxis pool_sliding_axis(const PoolDims& d, int a, bool include_pad) {
  PoolAxis x;
  x.step = d.dilation[a];
  for (int64_t o = 0; o < d.out[a]; ++o) {
    int64_t b = o * d.stride[a] - d.pad[a];
    const int64_t e = b + (d.kernel[a] - 1) * d.dilation[a] + 1, padded = std::min(e, d.in[a] + d.pad[a]) - b;
    if (b < 0) b += (-b + x.step - 1) / x.step * x.step;
    x.begin.push_back(b), x.end.push_back(std::min(e, d.in[a]));
    x.n.push_back(include_pad ? padded : x.end[o] - b);
  }
  return x;
}
inline PoolAxis pool_adaptive_axis(const PoolDims& d, int a) {
  PoolAxis x;
  for (int64_t o = 0; o < d.out[a]; ++o) {
    x.begin.push_back(o * d.in[a] / d.out[a]), x.end.push_back(((o + 1) * d.in[a] + d.out[a] - 1) / d.out[a]);
    x.n.push_back(x.end[o] - x.begin[o]);
  }
  return x;
}

/// f(plane) over all planes.
template <class F>
void pool_planes(const PoolDims& d, F&& f) {
  parallel_for(d.planes, 1 + 16384 / (d.in_size() + d.out_size()), [&](int64_t b, int64_t e) {
    for (int64_t p = b; p < e; ++p) f(p);
  });
}

/// Outputs o in [lo, hi) whose tap t, at o*stride - pad + t*dilation, lies inside the axis.
struct PoolTap {
  int64_t lo, hi, at;  // at: input position of output 0
};
inline PoolTap pool_tap(const PoolDims& d, int a, int64_t t) {
  const int64_t at = t * d.dilation[a] - d.pad[a], s = d.stride[a];
  const int64_t lo = at < 0 ? (-at + s - 1) / s : 0, hi = at < d.in[a] ? (d.in[a] - at + s - 1) / s : 0;
  return {std::min(lo, d.out[a]), std::clamp(hi, std::min(lo, d.out[a]), d.out[a]), at};
}

/// m, index = larger of (m, index) and (x, at + o*stride), for o in [lo, hi). A NaN is taken, and then stays.
template <int S, class T, class A, class I>
void pool_max_row(const T* __restrict x, int64_t stride, int64_t lo, int64_t hi, I at, A* __restrict m, I* __restrict index) {
  const I s = S ? S : static_cast<I>(stride), last = static_cast<I>(hi);
  for (I o = static_cast<I>(lo); o < last; ++o) {
    const A v = static_cast<A>(x[o * s]), old = m[o];
    const bool take = (v > old) | (v != v);
    m[o] = take ? v : old;
    index[o] = take ? at + o * s : index[o];
  }
}
template <int S, class T, class A>
void pool_sum_row(const T* __restrict x, int64_t stride, int64_t lo, int64_t hi, A* __restrict sum) {
  const int64_t s = S ? S : stride;
  for (int64_t o = lo; o < hi; ++o) sum[o] += static_cast<A>(x[o * s]);
}

/// 2x2 windows that tile the plane: the only case with a loop of its own.
inline bool pool_is_2x2(const PoolDims& d) {
  for (int a = 1; a < 3; ++a)
    if (d.kernel[a] != 2 || d.stride[a] != 2 || d.pad[a] != 0 || d.dilation[a] != 1 || 2 * d.out[a] > d.in[a]) return false;
  return d.kernel[0] == 1 && d.stride[0] == 1 && d.pad[0] == 0;
}

/// One row of such windows; `from` is the plane's index of x[0].
template <class T, class A, class I>
void pool_max_2x2(const T* __restrict x, I W, I n, I from, A* __restrict m, I* __restrict index) {
  for (I o = 0; o < n; ++o) {
    A best = static_cast<A>(x[2 * o]);
    I at = 0;
    for (const I i : {I(1), W, W + 1}) {
      const A v = static_cast<A>(x[2 * o + i]);
      const bool take = (v > best) | (v != v);
      best = take ? v : best;
      at = take ? i : at;
    }
    m[o] = best;
    index[o] = from + 2 * o + at;
  }
}

// I: int32_t where a plane's indices fit, which halves the work of the inner loop.
template <class I, class T>
void pool_max_sliding(const T* x, T* y, int64_t* argmax, const PoolDims& d) {
  using A = compute_t<T>;
  const PoolAxis axis[3] = {pool_sliding_axis(d, 0, false), pool_sliding_axis(d, 1, false), pool_sliding_axis(d, 2, false)};
  std::vector<PoolTap> taps;
  for (int64_t t = 0; t < d.kernel[2]; ++t) taps.push_back(pool_tap(d, 2, t));
  const int64_t H = d.in[1], W = d.in[2], n = d.out[2];
  const bool tiles = pool_is_2x2(d);
  pool_planes(d, [&](int64_t p) {
    std::vector<A> m(n);
    std::vector<I> index(n);
    const auto emit = [&](int64_t at) {
      for (int64_t o = 0; o < n; ++o) y[at + o] = static_cast<T>(m[o]), argmax[at + o] = index[o];
    };
    const T* plane = x + p * d.in_size();
    int64_t at = p * d.out_size();
    if (tiles) {
      for (int64_t r = 0; r < d.out[0] * d.out[1]; ++r, at += n) {
        const I from = static_cast<I>((r / d.out[1] * H + r % d.out[1] * 2) * W);
        pool_max_2x2(plane + from, static_cast<I>(W), static_cast<I>(n), from, m.data(), index.data());
        emit(at);
      }
      return;
    }
    for (int64_t od = 0; od < d.out[0]; ++od)
      for (int64_t oh = 0; oh < d.out[1]; ++oh, at += n) {
        std::fill(m.begin(), m.end(), -std::numeric_limits<A>::infinity());
        for (int64_t o = 0; o < n; ++o)
          index[o] = static_cast<I>((axis[0].begin[od] * H + axis[1].begin[oh]) * W + axis[2].begin[o]);
        for (int64_t id = axis[0].begin[od]; id < axis[0].end[od]; id += axis[0].step)
          for (int64_t ih = axis[1].begin[oh]; ih < axis[1].end[oh]; ih += axis[1].step)
            for (const PoolTap& t : taps) {
              const int64_t from = (id * H + ih) * W + t.at;
              const auto row = d.stride[2] == 1   ? pool_max_row<1, T, A, I>
                               : d.stride[2] == 2 ? pool_max_row<2, T, A, I>
                                                  : pool_max_row<0, T, A, I>;
              row(plane + from, d.stride[2], t.lo, t.hi, static_cast<I>(from), m.data(), index.data());
            }
        emit(at);
      }
  });
}

/// f(index in the input plane) over the window (od, oh, ow).
template <class F>
void pool_window(const PoolAxis (&axis)[3], const PoolDims& d, int64_t od, int64_t oh, int64_t ow, F&& f) {
  for (int64_t id = axis[0].begin[od]; id < axis[0].end[od]; id += axis[0].step)
    for (int64_t ih = axis[1].begin[oh]; ih < axis[1].end[oh]; ih += axis[1].step)
      for (int64_t iw = axis[2].begin[ow]; iw < axis[2].end[ow]; iw += axis[2].step) f((id * d.in[1] + ih) * d.in[2] + iw);
}
/// f(output index in its plane, od, oh, ow)
template <class F>
void pool_outputs(const PoolDims& d, F&& f) {
  int64_t o = 0;
  for (int64_t od = 0; od < d.out[0]; ++od)
    for (int64_t oh = 0; oh < d.out[1]; ++oh)
      for (int64_t ow = 0; ow < d.out[2]; ++ow) f(o++, od, oh, ow);
}
inline int64_t pool_count(const PoolAxis (&axis)[3], int64_t divisor, int64_t od, int64_t oh, int64_t ow) {
  return divisor > 0 ? divisor : axis[0].n[od] * axis[1].n[oh] * axis[2].n[ow];
}

template <int S, class A>
void pool_spread_row(const A* __restrict v, int64_t stride, int64_t lo, int64_t hi, A* __restrict sum) {
  const int64_t s = S ? S : stride;
  for (int64_t o = lo; o < hi; ++o) sum[o * s] += v[o];
}

/// dx = sum of dy / n over the windows of an input. Sums are kept in the compute type. `taps` as in the forward pass, or
/// empty for adaptive windows.
template <class T>
void pool_spread(const T* dy, T* dx, const PoolAxis (&axis)[3], const std::vector<PoolTap>& taps, const PoolDims& d,
                 int64_t divisor) {
  using A = compute_t<T>;
  const int64_t H = d.in[1], W = d.in[2], n = d.out[2];
  const auto spread = d.stride[2] == 1   ? pool_spread_row<1, A>
                      : d.stride[2] == 2 ? pool_spread_row<2, A>
                                         : pool_spread_row<0, A>;
  pool_planes(d, [&](int64_t p) {
    const T* g = dy + p * d.out_size();
    T* out = dx + p * d.in_size();
    std::vector<A> wide(std::is_same_v<A, T> ? 0 : d.in_size()), v(n);
    A* sum;
    if constexpr (std::is_same_v<A, T>) sum = out;
    else sum = wide.data();
    std::fill_n(sum, d.in_size(), A(0));
    for (int64_t od = 0; od < d.out[0]; ++od)
      for (int64_t oh = 0; oh < d.out[1]; ++oh, g += n) {
        for (int64_t o = 0; o < n; ++o) v[o] = static_cast<A>(g[o]) / static_cast<A>(pool_count(axis, divisor, od, oh, o));
        for (int64_t id = axis[0].begin[od]; id < axis[0].end[od]; ++id)
          for (int64_t ih = axis[1].begin[oh]; ih < axis[1].end[oh]; ++ih) {
            A* row = sum + (id * H + ih) * W;
            for (const PoolTap& t : taps) spread(v.data(), d.stride[2], t.lo, t.hi, row + t.at);
            if (taps.empty())
              for (int64_t o = 0; o < n; ++o)
                for (int64_t iw = axis[2].begin[o]; iw < axis[2].end[o]; ++iw) row[iw] += v[o];
          }
      }
    if constexpr (!std::is_same_v<A, T>)
      for (int64_t i = 0; i < d.in_size(); ++i) out[i] = static_cast<T>(sum[i]);
  });
}

}  // namespace detail

template <class T>
void max_pool_fwd(Cpu, const T* x, T* y, int64_t* argmax, const PoolDims& d) {
  if (d.in_size() < std::numeric_limits<int32_t>::max() / 2) detail::pool_max_sliding<int32_t>(x, y, argmax, d);
  else detail::pool_max_sliding<int64_t>(x, y, argmax, d);
}

template <class T>
void adaptive_max_pool_fwd(Cpu, const T* x, T* y, int64_t* argmax, const PoolDims& d) {
  using namespace detail;
  using A = compute_t<T>;
  const PoolAxis axis[3] = {pool_adaptive_axis(d, 0), pool_adaptive_axis(d, 1), pool_adaptive_axis(d, 2)};
  pool_planes(d, [&](int64_t p) {
    const T* plane = x + p * d.in_size();
    pool_outputs(d, [&](int64_t o, int64_t od, int64_t oh, int64_t ow) {
      A m = -std::numeric_limits<A>::infinity();
      int64_t best = (axis[0].begin[od] * d.in[1] + axis[1].begin[oh]) * d.in[2] + axis[2].begin[ow];
      pool_window(axis, d, od, oh, ow, [&](int64_t i) {
        const A v = static_cast<A>(plane[i]);
        if (v > m || (v != v && m == m)) m = v, best = i;
      });
      y[p * d.out_size() + o] = static_cast<T>(m), argmax[p * d.out_size() + o] = best;
    });
  });
}

template <class T>
void max_pool_bwd(Cpu, const T* dy, const int64_t* argmax, T* dx, const PoolDims& d) {
  using A = compute_t<T>;
  detail::pool_planes(d, [&](int64_t p) {
    const T* g = dy + p * d.out_size();
    const int64_t* at = argmax + p * d.out_size();
    T* out = dx + p * d.in_size();
    if constexpr (std::is_same_v<A, T>) {
      std::fill_n(out, d.in_size(), T(0));
      for (int64_t o = 0; o < d.out_size(); ++o) out[at[o]] += g[o];
    } else {
      std::vector<A> sum(d.in_size(), A(0));
      for (int64_t o = 0; o < d.out_size(); ++o) sum[at[o]] += static_cast<A>(g[o]);
      for (int64_t i = 0; i < d.in_size(); ++i) out[i] = static_cast<T>(sum[i]);
    }
  });
}

template <class T>
void max_pool_gather(Cpu, const T* v, const int64_t* argmax, T* y, const PoolDims& d) {
  detail::pool_planes(d, [&](int64_t p) {
    const T* plane = v + p * d.in_size();
    for (int64_t o = p * d.out_size(); o < (p + 1) * d.out_size(); ++o) y[o] = plane[argmax[o]];
  });
}

template <class T>
void avg_pool_fwd(Cpu, const T* x, T* y, const PoolDims& dims, bool count_include_pad, int64_t divisor) {
  using namespace detail;
  using A = compute_t<T>;
  PoolDims d = dims;
  std::fill_n(d.dilation, 3, 1);
  const PoolAxis axis[3] = {pool_sliding_axis(d, 0, count_include_pad), pool_sliding_axis(d, 1, count_include_pad),
                            pool_sliding_axis(d, 2, count_include_pad)};
  std::vector<PoolTap> taps;
  for (int64_t t = 0; t < d.kernel[2]; ++t) taps.push_back(pool_tap(d, 2, t));
  const int64_t H = d.in[1], W = d.in[2], n = d.out[2];
  const bool tiles = pool_is_2x2(d);
  const A quarter = A(1) / static_cast<A>(divisor > 0 ? divisor : 4);
  pool_planes(d, [&](int64_t p) {
    const T* plane = x + p * d.in_size();
    T* __restrict row = y + p * d.out_size();
    if (tiles) {
      for (int64_t r = 0; r < d.out[0] * d.out[1]; ++r, row += n) {
        const T* __restrict a = plane + (r / d.out[1] * H + r % d.out[1] * 2) * W;
        for (int64_t o = 0; o < n; ++o)
          row[o] = static_cast<T>((static_cast<A>(a[2 * o]) + static_cast<A>(a[2 * o + 1]) + static_cast<A>(a[W + 2 * o]) +
                                   static_cast<A>(a[W + 2 * o + 1])) *
                                  quarter);
      }
      return;
    }
    std::vector<A> sum(n);
    for (int64_t od = 0; od < d.out[0]; ++od)
      for (int64_t oh = 0; oh < d.out[1]; ++oh, row += n) {
        std::fill(sum.begin(), sum.end(), A(0));
        for (int64_t id = axis[0].begin[od]; id < axis[0].end[od]; ++id)
          for (int64_t ih = axis[1].begin[oh]; ih < axis[1].end[oh]; ++ih)
            for (const PoolTap& t : taps) {
              const auto add = d.stride[2] == 1   ? pool_sum_row<1, T, A>
                               : d.stride[2] == 2 ? pool_sum_row<2, T, A>
                                                  : pool_sum_row<0, T, A>;
              add(plane + (id * H + ih) * W + t.at, d.stride[2], t.lo, t.hi, sum.data());
            }
        for (int64_t o = 0; o < n; ++o) row[o] = static_cast<T>(sum[o] / static_cast<A>(pool_count(axis, divisor, od, oh, o)));
      }
  });
}

template <class T>
void avg_pool_bwd(Cpu, const T* dy, T* dx, const PoolDims& dims, bool count_include_pad, int64_t divisor) {
  using namespace detail;
  using A = compute_t<T>;
  PoolDims d = dims;
  std::fill_n(d.dilation, 3, 1);
  if (pool_is_2x2(d)) {
    const int64_t W = d.in[2], n = d.out[2];
    const A quarter = A(1) / static_cast<A>(divisor > 0 ? divisor : 4);
    pool_planes(d, [&](int64_t p) {
      const T* __restrict g = dy + p * d.out_size();
      T* plane = dx + p * d.in_size();
      if (2 * d.out[1] < d.in[1] || 2 * n < W) std::fill_n(plane, d.in_size(), T(0));
      for (int64_t r = 0; r < d.out[0] * d.out[1]; ++r, g += n) {
        T* __restrict a = plane + (r / d.out[1] * d.in[1] + r % d.out[1] * 2) * W;
        for (int h = 0; h < 2; ++h, a += W)
          for (int64_t o = 0; o < n; ++o) a[2 * o] = a[2 * o + 1] = static_cast<T>(static_cast<A>(g[o]) * quarter);
      }
    });
    return;
  }
  const PoolAxis axis[3] = {pool_sliding_axis(d, 0, count_include_pad), pool_sliding_axis(d, 1, count_include_pad),
                            pool_sliding_axis(d, 2, count_include_pad)};
  std::vector<PoolTap> taps;
  for (int64_t t = 0; t < d.kernel[2]; ++t) taps.push_back(pool_tap(d, 2, t));
  pool_spread(dy, dx, axis, taps, d, divisor);
}

template <class T>
void adaptive_avg_pool_fwd(Cpu, const T* x, T* y, const PoolDims& d) {
  using namespace detail;
  using A = compute_t<T>;
  const PoolAxis axis[3] = {pool_adaptive_axis(d, 0), pool_adaptive_axis(d, 1), pool_adaptive_axis(d, 2)};
  pool_planes(d, [&](int64_t p) {
    const T* plane = x + p * d.in_size();
    pool_outputs(d, [&](int64_t o, int64_t od, int64_t oh, int64_t ow) {
      A sum = 0;
      pool_window(axis, d, od, oh, ow, [&](int64_t i) { sum += static_cast<A>(plane[i]); });
      y[p * d.out_size() + o] = static_cast<T>(sum / static_cast<A>(pool_count(axis, 0, od, oh, ow)));
    });
  });
}

template <class T>
void adaptive_avg_pool_bwd(Cpu, const T* dy, T* dx, const PoolDims& d) {
  using namespace detail;
  const PoolAxis axis[3] = {pool_adaptive_axis(d, 0), pool_adaptive_axis(d, 1), pool_adaptive_axis(d, 2)};
  pool_spread(dy, dx, axis, {}, d, 0);
}

#ifndef GRADUS_HEADER_ONLY
template void max_pool_fwd(Cpu, const float*, float*, int64_t*, const PoolDims&);
template void adaptive_max_pool_fwd(Cpu, const float*, float*, int64_t*, const PoolDims&);
template void max_pool_bwd(Cpu, const float*, const int64_t*, float*, const PoolDims&);
template void max_pool_gather(Cpu, const float*, const int64_t*, float*, const PoolDims&);
template void avg_pool_fwd(Cpu, const float*, float*, const PoolDims&, bool, int64_t);
template void avg_pool_bwd(Cpu, const float*, float*, const PoolDims&, bool, int64_t);
template void adaptive_avg_pool_fwd(Cpu, const float*, float*, const PoolDims&);
template void adaptive_avg_pool_bwd(Cpu, const float*, float*, const PoolDims&);
template void max_pool_fwd(Cpu, const double*, double*, int64_t*, const PoolDims&);
template void adaptive_max_pool_fwd(Cpu, const double*, double*, int64_t*, const PoolDims&);
template void max_pool_bwd(Cpu, const double*, const int64_t*, double*, const PoolDims&);
template void max_pool_gather(Cpu, const double*, const int64_t*, double*, const PoolDims&);
template void avg_pool_fwd(Cpu, const double*, double*, const PoolDims&, bool, int64_t);
template void avg_pool_bwd(Cpu, const double*, double*, const PoolDims&, bool, int64_t);
template void adaptive_avg_pool_fwd(Cpu, const double*, double*, const PoolDims&);
template void adaptive_avg_pool_bwd(Cpu, const double*, double*, const PoolDims&);
template void max_pool_fwd(Cpu, const bf16*, bf16*, int64_t*, const PoolDims&);
template void adaptive_max_pool_fwd(Cpu, const bf16*, bf16*, int64_t*, const PoolDims&);
template void max_pool_bwd(Cpu, const bf16*, const int64_t*, bf16*, const PoolDims&);
template void max_pool_gather(Cpu, const bf16*, const int64_t*, bf16*, const PoolDims&);
template void avg_pool_fwd(Cpu, const bf16*, bf16*, const PoolDims&, bool, int64_t);
template void avg_pool_bwd(Cpu, const bf16*, bf16*, const PoolDims&, bool, int64_t);
template void adaptive_avg_pool_fwd(Cpu, const bf16*, bf16*, const PoolDims&);
template void adaptive_avg_pool_bwd(Cpu, const bf16*, bf16*, const PoolDims&);
template void max_pool_fwd(Cpu, const half*, half*, int64_t*, const PoolDims&);
template void adaptive_max_pool_fwd(Cpu, const half*, half*, int64_t*, const PoolDims&);
template void max_pool_bwd(Cpu, const half*, const int64_t*, half*, const PoolDims&);
template void max_pool_gather(Cpu, const half*, const int64_t*, half*, const PoolDims&);
template void avg_pool_fwd(Cpu, const half*, half*, const PoolDims&, bool, int64_t);
template void avg_pool_bwd(Cpu, const half*, half*, const PoolDims&, bool, int64_t);
template void adaptive_avg_pool_fwd(Cpu, const half*, half*, const PoolDims&);
template void adaptive_avg_pool_bwd(Cpu, const half*, half*, const PoolDims&);
#endif

}  // namespace gradus::kernels
#endif
