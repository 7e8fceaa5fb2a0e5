// What the attention kernels share: where things are, and what one score is.
#pragma once
#include <gradus/kernels/attention.hpp>
#include <gradus/kernels/random.hpp>

#include "reduce.cuh"

namespace gradus::kernels::cu {

/// Row t of head h in batch b; of packed sequences, row t of sequence b.
template <class U> __device__ inline U* attention_row(AttentionRows<U> x, const int64_t* start, int64_t b, int64_t h, int64_t t) {
  return x.data + (start ? 0 : b) * x.batch + h * x.head + ((start ? start[b] : 0) + t) * x.row;
}

/// The problem as kernels see it. q, k, v, dy have element type T; l, d are the statistics of a forward pass.
template <class T> struct Attention {
  using A = compute_t<T>;
  AttentionRows<const T> q, k, v, dy;
  AttentionScores<T> e;
  AttentionDims g;
  const A *l, *d;

  __device__ int64_t queries(int64_t b) const { return g.q_start ? g.q_start[b + 1] - g.q_start[b] : g.T; }
  __device__ int64_t keys(int64_t b) const { return g.k_start ? g.k_start[b + 1] - g.k_start[b] : g.S; }
  __device__ int64_t key_head(int64_t h) const { return h * g.nkv / g.nh; }
  __device__ int64_t position(int64_t b, int64_t i) const { return i + (g.end_aligned ? keys(b) - queries(b) : 0); }
  __device__ int64_t statistic(int64_t b, int64_t h, int64_t i) const { return (b * g.nh + h) * g.T + i; }
  __device__ const T* q_row(int64_t b, int64_t h, int64_t i) const { return attention_row(q, g.q_start, b, h, i); }
  __device__ const T* k_row(int64_t b, int64_t h, int64_t j) const { return attention_row(k, g.k_start, b, key_head(h), j); }
  __device__ const T* v_row(int64_t b, int64_t h, int64_t j) const { return attention_row(v, g.k_start, b, key_head(h), j); }
  __device__ const T* dy_row(int64_t b, int64_t h, int64_t i) const { return attention_row(dy, g.q_start, b, h, i); }

  /// The first key that query i0 sees, and the end of what i1 - 1 sees.
  __device__ int64_t first_key(int64_t b, int64_t i0) const {
    const int64_t at = position(b, i0) - g.left;
    return g.left < 0 || at < 0 ? 0 : at;
  }
  __device__ int64_t end_key(int64_t b, int64_t i1) const {
    const int64_t S = keys(b), at = position(b, i1 - 1) + g.right + 1;
    return g.right < 0 || at > S ? S : at < 0 ? 0 : at;
  }

  /// s_ij, -infinity where the key is not seen, and ds/dr = 1 - tanh^2 of a softcap.
  struct Score {
    A s, slope;
  };
  __device__ Score score(A dot, int64_t b, int64_t h, int64_t i, int64_t j) const {
    Score x{dot * static_cast<A>(g.scale), A(1)};
    if (g.softcap > 0) {
      const A t = m::tanh(x.s / static_cast<A>(g.softcap));
      x.s = static_cast<A>(g.softcap) * t, x.slope = 1 - t * t;
    }
    if (e.bias) x.s += load(e.bias[b * e.bias_stride[0] + h * e.bias_stride[1] + i * e.bias_stride[2] + j * e.bias_stride[3]]);
    const int64_t away = position(b, i) - j;
    if (e.slopes) x.s -= load(e.slopes[h]) * static_cast<A>(away < 0 ? -away : away);
    const bool hidden = (e.mask && !e.mask[b * e.mask_stride[0] + h * e.mask_stride[1] + i * e.mask_stride[2] + j * e.mask_stride[3]]) ||
                        (g.left >= 0 && away > g.left) || (g.right >= 0 && -away > g.right);
    if (hidden) x.s = -std::numeric_limits<A>::infinity();
    return x;
  }
  /// z_ij
  __device__ A kept(int64_t b, int64_t h, int64_t i, int64_t j) const {
    if (g.dropout <= 0) return A(1);
    const uint64_t at = static_cast<uint64_t>(statistic(b, h, i) * g.S + j);
    const Philox random(g.random.seed, g.random.stream, at / 4);
    const unsigned w = static_cast<unsigned>(at % 4);
    const uint32_t word = w == 0 ? random.w[0] : w == 1 ? random.w[1] : w == 2 ? random.w[2] : random.w[3];
    return (word >> 8) < bernoulli_threshold(g.dropout) ? A(0) : g.dropout < 1 ? static_cast<A>(1 / (1 - g.dropout)) : A(0);
  }

  /// p_ij z_ij, ds_ij and dr_ij.
  struct Gradient {
    A pz, ds, dr;
  };
  __device__ Gradient gradient(Score x, A dp, int64_t b, int64_t h, int64_t i, int64_t j) const {
    const A li = l[statistic(b, h, i)], di = d[statistic(b, h, i)];
    if (li == -std::numeric_limits<A>::infinity()) return {A(0), A(0), A(0)};
    const A z = kept(b, h, i, j), p = m::exp(x.s - li), ds = p * (dp * z - di);
    return {p * z, ds, ds * x.slope};
  }
};

/// sum_c a_c b_c of two rows.
template <class T> __device__ inline compute_t<T> dot(const T* a, const T* b, int64_t n) {
  compute_t<T> sum = 0;
  for (int64_t c = 0; c < n; ++c) sum += load(a[c]) * load(b[c]);
  return sum;
}

// ---- tiles: 256 threads as 16 x 16; thread (tx, ty) has rows ty + 16 x and columns tx + 16 y ----
__device__ inline int tile_x() { return static_cast<int>(threadIdx.x) % 16; }
__device__ inline int tile_y() { return static_cast<int>(threadIdx.x) / 16; }

/// Rows t ... t + n - 1 of head h as [TILE, stride] in shared memory; rows beyond n are 0. A warp a row.
template <int TILE, class T> __device__ inline void load_tile(compute_t<T>* to, int stride, AttentionRows<const T> x, const int64_t* start,
                                                              int64_t b, int64_t h, int64_t t, int64_t n, int64_t width) {
  for (int r = static_cast<int>(threadIdx.x) / kWarp; r < TILE; r += kThreads / kWarp) {
    const T* from = r < n ? attention_row(x, start, b, h, t + r) : nullptr;
    for (int c = lane(); c < width; c += kWarp) to[r * stride + c] = from ? load(from[c]) : compute_t<T>(0);
  }
}
/// s[x][y] += sum_c a[row][c] b[column][c]
template <int E, class A> __device__ inline void tile_dots(A (&s)[E][E], const A* a, int a_stride, const A* b, int b_stride, int n) {
  for (int c = 0; c < n; ++c) {
    A u[E], v[E];
    GRADUS_UNROLL(4)
    for (int x = 0; x < E; ++x) u[x] = a[(tile_y() + 16 * x) * a_stride + c], v[x] = b[(tile_x() + 16 * x) * b_stride + c];
    GRADUS_UNROLL(4)
    for (int x = 0; x < E; ++x)
      GRADUS_UNROLL(4)
      for (int y = 0; y < E; ++y) s[x][y] += u[x] * v[y];
  }
}
/// acc[x][k] += sum_{j < TILE} w(row, j) b[j][tx + 16 k] for the columns below `width`; w is [row][j] or, transposed, [j][row].
template <int TILE, bool transposed, int E, int K, class A>
__device__ inline void tile_accumulate(A (&acc)[E][K], const A* w, int w_stride, const A* b, int b_stride, int width) {
  for (int j = 0; j < TILE; ++j) {
    A u[E];
    GRADUS_UNROLL(4)
    for (int x = 0; x < E; ++x) {
      const int row = tile_y() + 16 * x;
      u[x] = transposed ? w[j * w_stride + row] : w[row * w_stride + j];
    }
    GRADUS_UNROLL(16)
    for (int k = 0; k < K; ++k) {
      const int c = tile_x() + 16 * k;
      if (c >= width) break;
      const A v = b[j * b_stride + c];
      GRADUS_UNROLL(4)
      for (int x = 0; x < E; ++x) acc[x][k] += u[x] * v;
    }
  }
}

}  // namespace gradus::kernels::cu
