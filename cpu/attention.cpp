// Tiles of 64 queries by 64 keys: the products are Eigen's, the rows of a tile stay in the first cache. A tile of weights is
// made by the same code in every pass, and partial sums are added in the order of the tiles, so that results depend neither on
// the number of threads nor on which of the two backwards ran.
#ifndef EIGEN_DONT_PARALLELIZE
#define EIGEN_DONT_PARALLELIZE
#endif
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gradus/core/math.hpp>
#include <gradus/core/parallel.hpp>
#include <gradus/kernels/attention.hpp>
#include <gradus/kernels/random.hpp>

#include "lanes.hpp"

namespace gradus::kernels {
namespace detail {

inline constexpr int64_t kQueryTile = 64, kKeyTile = 64;

template <class A>
using TileMatrix = Eigen::Matrix<A, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class A>
using TileIn = Eigen::Map<const TileMatrix<A>, 0, Eigen::OuterStride<>>;
template <class A>
using TileOut = Eigen::Map<TileMatrix<A>, 0, Eigen::OuterStride<>>;

/// Word w of the mask's elements first ... first + n - 1 into out: Philox counters of consecutive groups of four.
inline void mask_words(RandomStream s, uint64_t first, int64_t n, uint32_t* out) {
  uint64_t counter = first / 4;
  for (int64_t i = -static_cast<int64_t>(first % 4); i < n; i += 4, ++counter) {
    const Philox p(s.seed, s.stream, counter);
    for (int64_t w = 0; w < 4; ++w)
      if (i + w >= 0 && i + w < n) out[i + w] = p.w[w];
  }
}

/// The problem, and one thread's scratch memory for a tile of it.
template <class T>
struct Attention {
  using A = compute_t<T>;
  AttentionRows<const T> q, k, v, dy = {};
  const AttentionScores<T>& e;
  const AttentionDims& g;
  const A *l = nullptr, *d = nullptr;
  std::vector<A> s, slope, z, dp, q_buffer, k_buffer, v_buffer, dy_buffer;
  std::vector<uint32_t> words;

  Attention(AttentionRows<const T> q, AttentionRows<const T> k, AttentionRows<const T> v, const AttentionScores<T>& e,
            const AttentionDims& g)
      : q(q), k(k), v(v), e(e), g(g), s(kQueryTile * kKeyTile) {
    if (g.softcap > 0) slope.resize(s.size());
    if (g.dropout > 0) z.resize(s.size()), words.resize(kKeyTile);
    if constexpr (is_narrow<T>) {
      q_buffer.resize(static_cast<std::size_t>(kQueryTile * g.hs)), k_buffer.resize(static_cast<std::size_t>(kKeyTile * g.hs));
      v_buffer.resize(static_cast<std::size_t>(kKeyTile * g.vs)), dy_buffer.resize(static_cast<std::size_t>(kQueryTile * g.vs));
    }
  }

  int64_t queries(int64_t b) const { return g.q_start ? g.q_start[b + 1] - g.q_start[b] : g.T; }
  int64_t keys(int64_t b) const { return g.k_start ? g.k_start[b + 1] - g.k_start[b] : g.S; }
  int64_t key_head(int64_t h) const { return h * g.nkv / g.nh; }
  int64_t position(int64_t b, int64_t i) const { return i + (g.end_aligned ? keys(b) - queries(b) : 0); }
  int64_t statistic(int64_t b, int64_t h, int64_t i) const { return (b * g.nh + h) * g.T + i; }

  /// The first key tile that queries i0 ... i1 - 1 see, and the end of what they see.
  int64_t first_key(int64_t b, int64_t i0) const {
    const int64_t at = g.left < 0 ? 0 : std::max<int64_t>(0, position(b, i0) - g.left);
    return at / kKeyTile * kKeyTile;
  }
  int64_t end_key(int64_t b, int64_t i1) const {
    const int64_t S = keys(b);
    return g.right < 0 ? S : std::max<int64_t>(0, std::min(S, position(b, i1 - 1) + g.right + 1));
  }
  bool sees(int64_t b, int64_t i0, int64_t i1, int64_t j0) const { return j0 >= first_key(b, i0) && j0 < end_key(b, i1); }

  template <class U>
  static U* row(AttentionRows<U> x, const int64_t* start, int64_t b, int64_t h, int64_t t) {
    return x.data + (start ? 0 : b) * x.batch + h * x.head + ((start ? start[b] : 0) + t) * x.row;
  }
  /// n rows of `width`, widened into `buffer` when T is 16 bits wide.
  static TileIn<A> tile(AttentionRows<const T> x, const int64_t* start, int64_t b, int64_t h, int64_t t, int64_t n,
                        int64_t width, std::vector<A>& buffer) {
    const T* from = row(x, start, b, h, t);
    if constexpr (is_narrow<T>) {
      for (int64_t r = 0; r < n; ++r)
        for (int64_t c = 0; c < width; ++c)
          buffer[static_cast<std::size_t>(r * width + c)] = static_cast<A>(from[r * x.row + c]);
      return TileIn<A>(buffer.data(), n, width, Eigen::OuterStride<>(width));
    } else {
      return TileIn<A>(from, n, width, Eigen::OuterStride<>(x.row));
    }
  }
  TileIn<A> q_tile(int64_t b, int64_t h, int64_t i, int64_t n) { return tile(q, g.q_start, b, h, i, n, g.hs, q_buffer); }
  TileIn<A> k_tile(int64_t b, int64_t h, int64_t j, int64_t n) {
    return tile(k, g.k_start, b, key_head(h), j, n, g.hs, k_buffer);
  }
  TileIn<A> v_tile(int64_t b, int64_t h, int64_t j, int64_t n) {
    return tile(v, g.k_start, b, key_head(h), j, n, g.vs, v_buffer);
  }
  TileIn<A> dy_tile(int64_t b, int64_t h, int64_t i, int64_t n) { return tile(dy, g.q_start, b, h, i, n, g.vs, dy_buffer); }

  /// s = the scores of a tile, -infinity where nothing is seen; slope = 1 - tanh^2 with a softcap; z with dropout.
  void scores(int64_t b, int64_t h, int64_t i0, int64_t ni, int64_t j0, int64_t nj, const TileIn<A>& qt, const TileIn<A>& kt) {
    TileOut<A>(s.data(), ni, nj, Eigen::OuterStride<>(kKeyTile)).noalias() = qt * kt.transpose();
    const A scale = static_cast<A>(g.scale), none = -std::numeric_limits<A>::infinity();
    const A cap = static_cast<A>(g.softcap), keep = g.dropout < 1 ? static_cast<A>(1 / (1 - g.dropout)) : A(0);
    for (int64_t r = 0; r < ni; ++r) {
      A* x = s.data() + r * kKeyTile;
      const int64_t i = i0 + r, at = position(b, i);
      for (int64_t c = 0; c < nj; ++c) x[c] *= scale;
      if (g.softcap > 0) {
        A* f = slope.data() + r * kKeyTile;
        for (int64_t c = 0; c < nj; ++c) {
          const A t = m::tanh(x[c] / cap);
          x[c] = cap * t, f[c] = 1 - t * t;
        }
      }
      if (e.bias) {
        const T* bias = e.bias + b * e.bias_stride[0] + h * e.bias_stride[1] + i * e.bias_stride[2] + j0 * e.bias_stride[3];
        for (int64_t c = 0; c < nj; ++c) x[c] += static_cast<A>(bias[c * e.bias_stride[3]]);
      }
      if (e.slopes) {
        const A m = static_cast<A>(e.slopes[h]);
        for (int64_t c = 0; c < nj; ++c) x[c] -= m * static_cast<A>(std::abs(at - j0 - c));
      }
      if (e.mask) {
        const bool* mask = e.mask + b * e.mask_stride[0] + h * e.mask_stride[1] + i * e.mask_stride[2] + j0 * e.mask_stride[3];
        for (int64_t c = 0; c < nj; ++c) x[c] = mask[c * e.mask_stride[3]] ? x[c] : none;
      }
      if (g.left >= 0)
        for (int64_t c = 0, end = std::min(nj, at - g.left - j0); c < end; ++c) x[c] = none;
      if (g.right >= 0)
        for (int64_t c = std::max<int64_t>(0, at + g.right + 1 - j0); c < nj; ++c) x[c] = none;
      if (g.dropout > 0) {
        const uint32_t threshold = bernoulli_threshold(g.dropout);
        mask_words(g.random, static_cast<uint64_t>(statistic(b, h, i) * g.S + j0), nj, words.data());
        A* zr = z.data() + r * kKeyTile;
        for (int64_t c = 0; c < nj; ++c) zr[c] = (words[static_cast<std::size_t>(c)] >> 8) < threshold ? A(0) : keep;
      }
    }
  }

  /// After scores(): s = p z, dp = ds with the slope of the softcap when `raw`.
  void gradients(int64_t b, int64_t h, int64_t i0, int64_t ni, int64_t nj, const TileIn<A>& vt, const TileIn<A>& dyt,
                 bool raw) {
    dp.resize(s.size());
    TileOut<A>(dp.data(), ni, nj, Eigen::OuterStride<>(kKeyTile)).noalias() = dyt * vt.transpose();
    for (int64_t r = 0; r < ni; ++r) {
      A *p = s.data() + r * kKeyTile, *dr = dp.data() + r * kKeyTile;
      const A li = l[statistic(b, h, i0 + r)], di = d[statistic(b, h, i0 + r)];
      if (li == -std::numeric_limits<A>::infinity()) {
        for (int64_t c = 0; c < nj; ++c) p[c] = dr[c] = A(0);
        continue;
      }
      if (g.dropout > 0) {
        const A* zr = z.data() + r * kKeyTile;
        for (int64_t c = 0; c < nj; ++c) {
          const A weight = m::exp(p[c] - li);
          dr[c] = weight * (dr[c] * zr[c] - di), p[c] = weight * zr[c];
        }
      } else {
        for (int64_t c = 0; c < nj; ++c) {
          p[c] = m::exp(p[c] - li);
          dr[c] = p[c] * (dr[c] - di);
        }
      }
      if (raw && g.softcap > 0) {
        const A* f = slope.data() + r * kKeyTile;
        for (int64_t c = 0; c < nj; ++c) dr[c] *= f[c];
      }
    }
  }

  /// The output and l of queries i0 ... i0 + ni - 1.
  void forward(int64_t b, int64_t h, int64_t i0, int64_t ni, AttentionRows<T> o, A* l_out, std::vector<A>& sum_of_values) {
    const A none = -std::numeric_limits<A>::infinity();
    A top[kQueryTile], total[kQueryTile];
    for (int64_t r = 0; r < ni; ++r) top[r] = none, total[r] = A(0);
    sum_of_values.assign(static_cast<std::size_t>(ni * g.vs), A(0));
    TileOut<A> acc(sum_of_values.data(), ni, g.vs, Eigen::OuterStride<>(g.vs));
    const auto rescale = [&](int64_t r, A new_top) {  // what was summed relative to the old maximum
      const A f = top[r] == none ? A(0) : m::exp(top[r] - new_top);
      total[r] *= f;
      if (f != A(1)) acc.row(r) *= f;
      top[r] = new_top;
    };
    const TileIn<A> qt = q_tile(b, h, i0, ni);
    for (int64_t j0 = first_key(b, i0), end = end_key(b, i0 + ni); j0 < end; j0 += kKeyTile) {
      const int64_t nj = std::min(kKeyTile, keys(b) - j0);
      scores(b, h, i0, ni, j0, nj, qt, k_tile(b, h, j0, nj));
      for (int64_t r = 0; r < ni; ++r) {
        A* x = s.data() + r * kKeyTile;
        const A here = lane_max(x, nj);
        if (here > top[r]) rescale(r, here);
        const A m = top[r] == none ? A(0) : top[r];  // all -infinity so far: exp gives zeros
        total[r] += lane_sum<A>(nj, [&](int64_t c) { return x[c] = m::exp(x[c] - m); });
        if (g.dropout > 0)
          for (int64_t c = 0; c < nj; ++c) x[c] *= z[static_cast<std::size_t>(r * kKeyTile + c)];
      }
      acc.noalias() += TileIn<A>(s.data(), ni, nj, Eigen::OuterStride<>(kKeyTile)) * v_tile(b, h, j0, nj);
    }
    for (int64_t r = 0; r < ni; ++r) {
      if (e.sink) {
        const A sink = static_cast<A>(e.sink[h]);
        if (sink > top[r]) rescale(r, sink);
        if (top[r] != none) total[r] += m::exp(sink - top[r]);
      }
      const A inverse = total[r] == A(0) ? A(0) : A(1) / total[r];
      T* to = row(o, g.q_start, b, h, i0 + r);
      for (int64_t c = 0; c < g.vs; ++c) to[c] = static_cast<T>(acc(r, c) * inverse);
      l_out[statistic(b, h, i0 + r)] = total[r] == A(0) ? none : top[r] + m::log(total[r]);
    }
  }
};

inline int64_t tiles_of(int64_t n, int64_t tile) { return (n + tile - 1) / tile; }

template <class T, class A>
void store_rows(AttentionRows<T> x, const int64_t* start, int64_t b, int64_t h, int64_t t, const A* from, int64_t n,
                int64_t width) {
  for (int64_t r = 0; r < n; ++r) {
    T* to = Attention<T>::row(x, start, b, h, t + r);
    for (int64_t c = 0; c < width; ++c) to[c] = static_cast<T>(from[r * width + c]);
  }
}

}  // namespace detail

template <class T>
void attention_fwd(Cpu, AttentionRows<const T> q, AttentionRows<const T> k, AttentionRows<const T> v,
                   const AttentionScores<T>& scores, AttentionRows<T> o, compute_t<T>* l, const AttentionDims& g) {
  using A = compute_t<T>;
  if (g.q_start) std::fill(l, l + g.B * g.nh * g.T, -std::numeric_limits<A>::infinity());
  const int64_t tiles = detail::tiles_of(g.T, detail::kQueryTile);
  parallel_for(g.B * g.nh * tiles, 1, [&](int64_t begin, int64_t end) {
    detail::Attention<T> a(q, k, v, scores, g);
    std::vector<A> acc;
    for (int64_t n = begin; n < end; ++n) {
      const int64_t b = n / tiles / g.nh, h = n / tiles % g.nh, i0 = n % tiles * detail::kQueryTile;
      const int64_t ni = std::min(detail::kQueryTile, a.queries(b) - i0);
      if (ni > 0) a.forward(b, h, i0, ni, o, l, acc);
    }
  });
}

template <class T>
void attention_delta(Cpu, AttentionRows<const T> o, AttentionRows<const T> dy, compute_t<T>* d, const AttentionDims& g) {
  using A = compute_t<T>;
  parallel_for(g.B * g.nh * g.T, detail::row_grain(g.vs), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const int64_t b = n / g.T / g.nh, h = n / g.T % g.nh, i = n % g.T;
      if (g.q_start && i >= g.q_start[b + 1] - g.q_start[b]) {
        d[n] = A(0);
        continue;
      }
      const T *x = detail::Attention<T>::row(o, g.q_start, b, h, i), *y = detail::Attention<T>::row(dy, g.q_start, b, h, i);
      d[n] = detail::lane_sum<A>(g.vs, [&](int64_t c) { return static_cast<A>(x[c]) * static_cast<A>(y[c]); });
    }
  });
}

template <class T>
void attention_bwd(Cpu, AttentionRows<const T> q, AttentionRows<const T> k, AttentionRows<const T> v,
                   const AttentionScores<T>& scores, const compute_t<T>* l, const compute_t<T>* d, AttentionRows<const T> dy,
                   AttentionRows<T> dq, AttentionRows<T> dk, AttentionRows<T> dv, const AttentionDims& g) {
  using A = compute_t<T>;
  using detail::kKeyTile, detail::kQueryTile;
  const int64_t group = g.nh / g.nkv, key_tiles = detail::tiles_of(g.S, kKeyTile),
                query_tiles = detail::tiles_of(g.T, kQueryTile);
  const A scale = static_cast<A>(g.scale);
  const auto size = [](int64_t n) { return static_cast<std::size_t>(n); };
  const auto out = [](std::vector<A>& x, int64_t first, int64_t n, int64_t width) {
    return detail::TileOut<A>(x.data() + first * width, n, width, Eigen::OuterStride<>(width));
  };
  // One tile: p z in a.s, dr in a.dp; `add(qt, kt, dyt)` uses them.
  const auto tile = [&](detail::Attention<T>& a, int64_t b, int64_t h, int64_t i0, int64_t j0, auto add) {
    const int64_t ni = std::min(kQueryTile, a.queries(b) - i0), nj = std::min(kKeyTile, a.keys(b) - j0);
    const auto qt = a.q_tile(b, h, i0, ni), kt = a.k_tile(b, h, j0, nj), dyt = a.dy_tile(b, h, i0, ni);
    a.scores(b, h, i0, ni, j0, nj, qt, kt);
    a.gradients(b, h, i0, ni, nj, a.v_tile(b, h, j0, nj), dyt, true);
    for (int64_t r = 0; r < ni; ++r)
      for (int64_t c = 0; c < nj; ++c) a.dp[size(r * kKeyTile + c)] *= scale;
    add(ni, nj, qt, kt, dyt, detail::TileIn<A>(a.s.data(), ni, nj, Eigen::OuterStride<>(kKeyTile)),
        detail::TileIn<A>(a.dp.data(), ni, nj, Eigen::OuterStride<>(kKeyTile)));
  };
  const auto make = [&] {
    detail::Attention<T> a(q, k, v, scores, g);
    a.l = l, a.d = d, a.dy = dy;
    return a;
  };

  if (g.B * g.nkv >= num_threads()) {  // each tile made once; one thread has all queries and keys of a key head
    parallel_for(g.B * g.nkv, 1, [&](int64_t begin, int64_t end) {
      auto a = make();
      std::vector<A> dq_all, dk_all, dv_all;
      for (int64_t n = begin; n < end; ++n) {
        const int64_t b = n / g.nkv, hk = n % g.nkv, S = a.keys(b), Tb = a.queries(b);
        dk_all.assign(size(S * g.hs), A(0)), dv_all.assign(size(S * g.vs), A(0));
        for (int64_t h = hk * group; h < (hk + 1) * group; ++h) {
          dq_all.assign(size(Tb * g.hs), A(0));
          for (int64_t i0 = 0; i0 < Tb; i0 += kQueryTile)
            for (int64_t j0 = a.first_key(b, i0), stop = a.end_key(b, std::min(Tb, i0 + kQueryTile)); j0 < stop; j0 += kKeyTile)
              tile(a, b, h, i0, j0, [&](int64_t ni, int64_t nj, auto& qt, auto& kt, auto& dyt, auto p, auto dr) {
                out(dv_all, j0, nj, g.vs).noalias() += p.transpose() * dyt;
                out(dk_all, j0, nj, g.hs).noalias() += dr.transpose() * qt;
                out(dq_all, i0, ni, g.hs).noalias() += dr * kt;
              });
          detail::store_rows(dq, g.q_start, b, h, 0, dq_all.data(), Tb, g.hs);
        }
        detail::store_rows(dk, g.k_start, b, hk, 0, dk_all.data(), S, g.hs);
        detail::store_rows(dv, g.k_start, b, hk, 0, dv_all.data(), S, g.vs);
      }
    });
    return;
  }
  // Few heads: each tile made twice, so that threads can share a head. The sums are those of above, in the same order.
  parallel_for(g.B * g.nkv * key_tiles, 1, [&](int64_t begin, int64_t end) {
    auto a = make();
    std::vector<A> dk_t, dv_t;
    for (int64_t n = begin; n < end; ++n) {
      const int64_t b = n / key_tiles / g.nkv, hk = n / key_tiles % g.nkv, j0 = n % key_tiles * kKeyTile;
      const int64_t nj = std::min(kKeyTile, a.keys(b) - j0), Tb = a.queries(b);
      if (nj <= 0) continue;
      dk_t.assign(size(nj * g.hs), A(0)), dv_t.assign(size(nj * g.vs), A(0));
      for (int64_t h = hk * group; h < (hk + 1) * group; ++h)
        for (int64_t i0 = 0; i0 < Tb; i0 += kQueryTile)
          if (a.sees(b, i0, std::min(Tb, i0 + kQueryTile), j0))
            tile(a, b, h, i0, j0, [&](int64_t, int64_t, auto& qt, auto&, auto& dyt, auto p, auto dr) {
              out(dv_t, 0, nj, g.vs).noalias() += p.transpose() * dyt;
              out(dk_t, 0, nj, g.hs).noalias() += dr.transpose() * qt;
            });
      detail::store_rows(dk, g.k_start, b, hk, j0, dk_t.data(), nj, g.hs);
      detail::store_rows(dv, g.k_start, b, hk, j0, dv_t.data(), nj, g.vs);
    }
  });
  parallel_for(g.B * g.nh * query_tiles, 1, [&](int64_t begin, int64_t end) {
    auto a = make();
    std::vector<A> dq_t;
    for (int64_t n = begin; n < end; ++n) {
      const int64_t b = n / query_tiles / g.nh, h = n / query_tiles % g.nh, i0 = n % query_tiles * kQueryTile;
      const int64_t ni = std::min(kQueryTile, a.queries(b) - i0);
      if (ni <= 0) continue;
      dq_t.assign(size(ni * g.hs), A(0));
      for (int64_t j0 = a.first_key(b, i0), stop = a.end_key(b, i0 + ni); j0 < stop; j0 += kKeyTile)
        tile(a, b, h, i0, j0,
             [&](int64_t, int64_t, auto&, auto& kt, auto&, auto, auto dr) { out(dq_t, 0, ni, g.hs).noalias() += dr * kt; });
      detail::store_rows(dq, g.q_start, b, h, i0, dq_t.data(), ni, g.hs);
    }
  });
}

template <class T>
void attention_bwd_bias(Cpu, AttentionRows<const T> q, AttentionRows<const T> k, AttentionRows<const T> v,
                        const AttentionScores<T>& scores, const compute_t<T>* l, const compute_t<T>* d,
                        AttentionRows<const T> dy, T* dbias, const int64_t (&extent)[4], const AttentionDims& g) {
  using A = compute_t<T>;
  using detail::kKeyTile, detail::kQueryTile;
  // A piece of bias: fixed b and h and a tile of queries where it has such dimensions; it gathers from all that it was
  // broadcast to.
  const int64_t strips = extent[2] > 1 ? detail::tiles_of(extent[2], kQueryTile) : 1;
  parallel_for(extent[0] * extent[1] * strips, 1, [&](int64_t begin, int64_t end) {
    detail::Attention<T> a(q, k, v, scores, g);
    a.l = l, a.d = d, a.dy = dy;
    std::vector<A> sum;
    for (int64_t n = begin; n < end; ++n) {
      const int64_t eb = n / strips / extent[1], eh = n / strips % extent[1], strip = n % strips * kQueryTile;
      const int64_t rows = extent[2] > 1 ? std::min(kQueryTile, extent[2] - strip) : 1;
      sum.assign(static_cast<std::size_t>(rows * extent[3]), A(0));
      for (int64_t b = extent[0] > 1 ? eb : 0; b < (extent[0] > 1 ? eb + 1 : g.B); ++b)
        for (int64_t h = extent[1] > 1 ? eh : 0; h < (extent[1] > 1 ? eh + 1 : g.nh); ++h)
          for (int64_t i0 = extent[2] > 1 ? strip : 0, stop = extent[2] > 1 ? strip + 1 : g.T; i0 < stop; i0 += kQueryTile) {
            const int64_t ni = std::min(kQueryTile, a.queries(b) - i0);
            if (ni <= 0) continue;
            for (int64_t j0 = a.first_key(b, i0), last = a.end_key(b, i0 + ni); j0 < last; j0 += kKeyTile) {
              const int64_t nj = std::min(kKeyTile, a.keys(b) - j0);
              a.scores(b, h, i0, ni, j0, nj, a.q_tile(b, h, i0, ni), a.k_tile(b, h, j0, nj));
              a.gradients(b, h, i0, ni, nj, a.v_tile(b, h, j0, nj), a.dy_tile(b, h, i0, ni), false);
              for (int64_t r = 0; r < ni; ++r)
                for (int64_t c = 0; c < nj; ++c)
                  sum[static_cast<std::size_t>((extent[2] > 1 ? r : 0) * extent[3] + (extent[3] > 1 ? j0 + c : 0))] +=
                      a.dp[static_cast<std::size_t>(r * kKeyTile + c)];
            }
          }
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < extent[3]; ++c)
          dbias[((eb * extent[1] + eh) * extent[2] + strip + r) * extent[3] + c] =
              static_cast<T>(sum[static_cast<std::size_t>(r * extent[3] + c)]);
    }
  });
}

template <class T>
void attention_dropout(Cpu, T* z, int64_t i0, int64_t ni, int64_t j0, int64_t nj, const AttentionDims& g) {
  const uint32_t threshold = bernoulli_threshold(g.dropout);
  const T keep = static_cast<T>(g.dropout < 1 ? 1 / (1 - g.dropout) : 0.0);
  parallel_for(g.B * g.nh * ni, detail::row_grain(nj), [&](int64_t begin, int64_t end) {
    std::vector<uint32_t> words(static_cast<std::size_t>(nj));
    for (int64_t n = begin; n < end; ++n) {
      detail::mask_words(g.random, static_cast<uint64_t>((n / ni * g.T + i0 + n % ni) * g.S + j0), nj, words.data());
      for (int64_t c = 0; c < nj; ++c)
        z[n * nj + c] = (words[static_cast<std::size_t>(c)] >> 8) < threshold ? static_cast<T>(0) : keep;
    }
  });
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T>
void* attention_floating() {  // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&attention_fwd<T>)..., instance<Cpu>(&attention_delta<T>)...,
                                instance<Cpu>(&attention_bwd<T>)..., instance<Cpu>(&attention_dropout<T>)...,
                                instance<Cpu>(&attention_bwd_bias<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_attention_instances[] = {attention_floating<float, double, bf16, half>()};
#endif

}  // namespace gradus::kernels
