// Flash attention on tensor cores (Dao 2023) for bf16 and half with sums, maxima and exponentials in float. A block of four warps has 64
// queries (of backward's dk and dv: 64 keys), a warp 16 of them; tiles of the other side pass through shared memory, the next one on
// its way while one is used. What `mma` leaves of two neighbouring tiles of scores is what it takes as the left operand of the next
// product, so weights never leave the warp's registers. In the making of dk and dv scores stand transposed, for the same reason.
// Backward makes the weights twice, as attention.cu tells: no atomics.
//
// Head sizes up to 128, multiples of 8, in rows of 16-byte multiples; D is the next of 32, 64, 96, 128, the columns between are 0.
#pragma once
#include "attention.cuh"

namespace gradus::kernels::cu {

inline constexpr int kMmaThreads = 128, kMmaRows = 64;
inline constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147181f, kNothing = -std::numeric_limits<float>::infinity();

/// Scores with nothing but a scale and limits of what a query sees; others are made one by one by Attention::score.
template <class T> bool plain_scores(const AttentionScores<T>& e, const AttentionDims& g) {
  return !e.bias && !e.mask && !e.slopes && g.softcap <= 0 && g.dropout <= 0;
}

/// N rows of D elements. 16-byte chunk c of a row lies at c xor (r mod 8), or xor (r / 2 mod 4) where a row is no multiple of 128 bytes:
/// eight rows below one another come from eight different places.
template <class T, int N, int D> struct MmaTile {
  T x[N][D];
  static __device__ int chunk_at(int row, int chunk) { return D % 64 == 0 ? chunk ^ (row % 8) : chunk ^ (row / 2 % 4); }
  __device__ const void* chunk(int row, int c) const { return &x[row][chunk_at(row, c) * 8]; }

  /// Starts copying rows t ... t + n - 1 of head h; zeros beyond n and beyond `width` columns.
  __device__ void fill(const AttentionRows<const T>& from, const int64_t* start, int64_t b, int64_t h, int64_t t, int64_t n, int width) {
    constexpr int kChunks = D / 8;
    GRADUS_UNROLL(2)
    for (int e = static_cast<int>(threadIdx.x); e < N * kChunks; e += kMmaThreads) {
      const int r = e / kChunks, c = e % kChunks;
      const bool inside = r < n && 8 * c < width;
      copy_async16(&x[r][chunk_at(r, c) * 8], inside ? attention_row(from, start, b, h, t + r) + 8 * c : from.data, inside);
    }
  }
  /// The left operand: rows first ... first + 15, columns 16 c ... 16 c + 15.
  __device__ void left(unsigned (&a)[4], int first, int c) const { ldsm_x4(a, chunk(first + lane() % 16, 2 * c + lane() / 16)); }
};

/// The two tiles that pass or stay together: keys and values, or queries and dy; h is hs wide, v vs.
template <class T, int N, int D> struct MmaPair {
  MmaTile<T, N, D> h, v;
  __device__ void fill(const AttentionRows<const T>& of_h, const AttentionRows<const T>& of_v, const int64_t* start, int64_t b, int64_t head, int64_t t,
                       int64_t n, const AttentionDims& g) {
    h.fill(of_h, start, b, head, t, n, static_cast<int>(g.hs)), v.fill(of_v, start, b, head, t, n, static_cast<int>(g.vs));
  }
};

template <class T> __device__ inline unsigned mma_pair(float low, float high) { return T(low).bits | static_cast<unsigned>(T(high).bits) << 16; }

/// s += rows of a times rows of b (N of them), transposed: the left operand's fragments come from left(fragment, c).
template <class T, int N, int D, class Left> __device__ inline void mma_rows(float (&s)[N / 8][4], Left left, const MmaTile<T, N, D>& b) {
  GRADUS_UNROLL_ALL
  for (int c = 0; c < D / 16; ++c) {
    unsigned a[4];
    left(a, c);
    GRADUS_UNROLL_ALL
    for (int j = 0; j < N / 8; j += 2) {
      unsigned r[4];
      ldsm_x4(r, b.chunk(8 * j + lane() % 8 + lane() / 16 * 8, 2 * c + lane() / 8 % 2));
      const unsigned first[2] = {r[0], r[1]}, second[2] = {r[2], r[3]};
      mma_m16n8k16<T>(s[j], a, first, s[j]), mma_m16n8k16<T>(s[j + 1], a, second, s[j + 1]);
    }
  }
}
/// acc += p b for p [16, N] where mma_rows left it.
template <class T, int N, int D> __device__ inline void mma_accumulate(float (&acc)[D / 8][4], const float (&p)[N / 8][4], const MmaTile<T, N, D>& b) {
  GRADUS_UNROLL_ALL
  for (int j = 0; j < N / 16; ++j) {
    const float *low = p[2 * j], *high = p[2 * j + 1];
    const unsigned a[4] = {mma_pair<T>(low[0], low[1]), mma_pair<T>(low[2], low[3]), mma_pair<T>(high[0], high[1]), mma_pair<T>(high[2], high[3])};
    GRADUS_UNROLL_ALL
    for (int c = 0; c < D / 8; c += 2) {
      unsigned r[4];
      ldsm_x4_trans(r, b.chunk(16 * j + lane() % 16, c + lane() / 16));
      const unsigned first[2] = {r[0], r[1]}, second[2] = {r[2], r[3]};
      mma_m16n8k16<T>(acc[c], a, first, acc[c]), mma_m16n8k16<T>(acc[c + 1], a, second, acc[c + 1]);
    }
  }
}
/// Row and column of element e (0 to 3) of tile j, of the warp's 16 x N scores.
__device__ inline int mma_row(int e) { return lane() / 4 + e / 2 * 8; }
__device__ inline int mma_column(int j, int e) { return 8 * j + lane() % 4 * 2 + e % 2; }

/// factor * acc into rows t + first ... of head h, as far as n rows and `width` columns go.
template <class T, int C>
__device__ inline void mma_store(const float (&acc)[C][4], const float (&factor)[2], const AttentionRows<T>& to, const int64_t* start, int64_t b, int64_t h,
                                 int64_t t, int first, int64_t n, int width) {
  GRADUS_UNROLL(2)
  for (int half = 0; half < 2; ++half) {
    const int row = first + mma_row(2 * half);
    if (row >= n) continue;
    T* out = attention_row(to, start, b, h, t + row);
    GRADUS_UNROLL_ALL
    for (int c = 0; c < C; ++c)
      if (mma_column(c, 0) < width)
        *reinterpret_cast<unsigned*>(out + mma_column(c, 0)) = mma_pair<T>(acc[c][2 * half] * factor[half], acc[c][2 * half + 1] * factor[half]);
  }
}

/// Keys that pass at a time in forward: what registers allow.
template <int D, bool PLAIN> inline constexpr int kMmaKeys = PLAIN || D <= 64 ? 64 : 32;
template <class T, int D, bool PLAIN> struct ForwardShared {
  union {
    MmaTile<T, kMmaRows, D> q;                        // only until its fragments have been read
    MmaPair<T, kMmaKeys<D, PLAIN>, D> pass[2];
  };
};
/// Block: 64 queries of one head.
template <class T, int D, bool PLAIN> __global__ void __launch_bounds__(kMmaThreads) attention_fwd_mma(Attention<T> a, AttentionRows<T> o, float* l) {
  if constexpr (GRADUS_ARCH == 0 || GRADUS_ARCH >= 80) {
    using Shared = ForwardShared<T, D, PLAIN>;
    GRADUS_DYN_SHARED(Shared, shared);
    constexpr int N = kMmaKeys<D, PLAIN>;
    const auto& g = a.g;
    const int64_t tiles = (g.T + kMmaRows - 1) / kMmaRows, block = blockIdx.x;
    const int64_t b = block / tiles / g.nh, h = block / tiles % g.nh, i0 = block % tiles * kMmaRows;
    const int64_t left = a.queries(b) - i0, ni = left < kMmaRows ? left : kMmaRows, keys = a.keys(b);
    const int hs = static_cast<int>(g.hs), vs = static_cast<int>(g.vs), m0 = static_cast<int>(threadIdx.x) / kWarp * 16;

    unsigned q[D / 16][4];
    shared->q.fill(a.q, g.q_start, b, h, i0, ni, hs);
    copy_async_commit();
    copy_async_wait<0>();
    __syncthreads();
    GRADUS_UNROLL_ALL
    for (int c = 0; c < D / 16; ++c) shared->q.left(q[c], m0, c);
    __syncthreads();

    // Maxima and scores are in units of log 2: e^x = 2^(x log2 e).
    const float scale = static_cast<float>(g.scale) * kLog2e;
    float y[D / 8][4] = {}, top[2] = {kNothing, kNothing}, sum[2] = {};
    const int64_t end = ni > 0 ? a.end_key(b, i0 + ni) : 0, begin = ni > 0 ? a.first_key(b, i0) / N * N : 0;
    const int64_t passes = end > begin ? (end - begin + N - 1) / N : 0;
    const auto start_copy = [&](int64_t n) {
      const int64_t j0 = begin + n * N;
      if (n < passes) shared->pass[n % 2].fill(a.k, a.v, g.k_start, b, a.key_head(h), j0, keys - j0, g);
      copy_async_commit();
    };
    start_copy(0);
    for (int64_t n = 0; n < passes; ++n) {
      const int64_t j0 = begin + n * N;
      copy_async_wait<0>();
      __syncthreads();                                // tile n is there, and all have left tile n - 1
      start_copy(n + 1);
      const auto& now = shared->pass[n % 2];
      float s[N / 8][4] = {};
      mma_rows<T, N, D>(s, [&](unsigned (&f)[4], int c) { f[0] = q[c][0], f[1] = q[c][1], f[2] = q[c][2], f[3] = q[c][3]; }, now.h);
      GRADUS_UNROLL(2)
      for (int half = 0; half < 2; ++half) {
        const int64_t r = m0 + mma_row(2 * half), i = i0 + r, first = r < ni ? a.first_key(b, i) : 0, last = r < ni ? a.end_key(b, i + 1) : 0;
        float best = top[half];
        GRADUS_UNROLL_ALL
        for (int j = 0; j < N / 8; ++j)
          for (int e = 2 * half; e < 2 * half + 2; ++e) {
            const int64_t key = j0 + mma_column(j, e);
            const bool seen = key >= first && key < last;
            if constexpr (PLAIN) s[j][e] = seen ? s[j][e] * scale : kNothing;
            else s[j][e] = seen ? a.score(s[j][e], b, h, i, key).s * kLog2e : kNothing;
            best = s[j][e] > best ? s[j][e] : best;
          }
        best = warp_join<4>(best, Larger());                // the four lanes of a row
        const float shrink = top[half] == kNothing ? 0.0f : exp2f(top[half] - best), shift = best == kNothing ? 0.0f : best;
        top[half] = best;
        float all = 0;                                // of this lane's columns
        GRADUS_UNROLL_ALL
        for (int j = 0; j < N / 8; ++j)
          for (int e = 2 * half; e < 2 * half + 2; ++e) {
            const float p = exp2f(s[j][e] - shift);
            all += p;
            if constexpr (PLAIN) s[j][e] = p;
            else s[j][e] = p == 0 ? 0.0f : p * a.kept(b, h, i, j0 + mma_column(j, e));
          }
        sum[half] = sum[half] * shrink + all;
        GRADUS_UNROLL_ALL
        for (int c = 0; c < D / 8; ++c) y[c][2 * half] *= shrink, y[c][2 * half + 1] *= shrink;
      }
      mma_accumulate<T, N, D>(y, s, now.v);
    }
    copy_async_wait<0>();
    float share[2];
    GRADUS_UNROLL(2)
    for (int half = 0; half < 2; ++half) {
      const int64_t r = m0 + mma_row(2 * half), i = i0 + r;
      float total = warp_join<4>(sum[half], Add()), rescale = 1;
      if (a.e.sink) {
        const float sink = load(a.e.sink[h]) * kLog2e;
        if (sink > top[half]) rescale = top[half] == kNothing ? 0.0f : exp2f(top[half] - sink), total *= rescale, top[half] = sink;
        if (top[half] != kNothing) total += exp2f(sink - top[half]);
      }
      share[half] = total == 0 ? 0.0f : rescale / total;
      if (i < g.T && lane() % 4 == 0) l[a.statistic(b, h, i)] = r >= ni || total == 0 ? kNothing : top[half] * kLn2 + m::log(total);
    }
    mma_store<T>(y, share, o, g.q_start, b, h, i0, m0, ni, vs);
  }
}

/// Whether query i sees key j, of those that exist.
template <class T> __device__ inline bool mma_sees(const Attention<T>& a, int64_t b, int64_t i, int64_t j) {
  return j >= a.first_key(b, i) && j < a.end_key(b, i + 1);
}
/// p z and dr of a pair, from its dot products; scale is in neither.
template <bool PLAIN, class T>
__device__ inline Two<float> mma_gradient(const Attention<T>& a, float dot, float dp, int64_t b, int64_t h, int64_t i, int64_t j) {
  if constexpr (PLAIN) {
    const int64_t at = a.statistic(b, h, i);
    const float li = a.l[at], p = li == kNothing ? 0.0f : exp2f((dot * static_cast<float>(a.g.scale) - li) * kLog2e);
    return {p, p * (dp - a.d[at])};
  } else {
    const auto w = a.gradient(a.score(dot, b, h, i, j), dp, b, h, i, j);
    return {w.pz, w.dr};
  }
}

/// Rows of the other side that pass at a time in backward: what registers allow.
template <int D> inline constexpr int kMmaPass = D <= 64 ? 64 : 32;
template <class T, int D> struct BackwardShared {
  MmaPair<T, kMmaRows, D> own;                        // keys and values, or queries and dy
  MmaPair<T, kMmaPass<D>, D> pass[2];                 // the other ones
};
/// Block: 64 keys of one key head; the queries of its group pass. Scores stand transposed: rows are keys.
template <class T, int D, bool PLAIN> __global__ void __launch_bounds__(kMmaThreads) attention_dkv_mma(Attention<T> a, AttentionRows<T> dk, AttentionRows<T> dv) {
  if constexpr (GRADUS_ARCH == 0 || GRADUS_ARCH >= 80) {
    using Shared = BackwardShared<T, D>;
    GRADUS_DYN_SHARED(Shared, shared);
    constexpr int N = kMmaPass<D>;
    const auto& g = a.g;
    const int64_t tiles = (g.S + kMmaRows - 1) / kMmaRows, block = blockIdx.x, group = g.nh / g.nkv;
    const int64_t b = block / tiles / g.nkv, hk = block / tiles % g.nkv, j0 = block % tiles * kMmaRows;
    const int64_t nj = a.keys(b) - j0, queries = a.queries(b);
    const int hs = static_cast<int>(g.hs), vs = static_cast<int>(g.vs), m0 = static_cast<int>(threadIdx.x) / kWarp * 16;
    if (nj <= 0) return;
    shared->own.fill(a.k, a.v, g.k_start, b, hk, j0, nj, g);
    const int64_t per_head = (queries + N - 1) / N, passes = group * per_head;
    const auto start_copy = [&](int64_t n) {
      if (n < passes) {
        const int64_t h = hk * group + n / per_head, i0 = n % per_head * N;
        shared->pass[n % 2].fill(a.q, a.dy, g.q_start, b, h, i0, queries - i0, g);
      }
      copy_async_commit();
    };
    start_copy(0);
    float dk_acc[D / 8][4] = {}, dv_acc[D / 8][4] = {};
    for (int64_t n = 0; n < passes; ++n) {
      const int64_t h = hk * group + n / per_head, i0 = n % per_head * N, i1 = i0 + N < queries ? i0 + N : queries;
      copy_async_wait<0>();
      __syncthreads();
      start_copy(n + 1);
      if (a.end_key(b, i1) <= j0 || a.first_key(b, i0) >= j0 + kMmaRows) continue;      // no query of these sees a key of the block
      const auto& now = shared->pass[n % 2];
      float s[N / 8][4] = {}, dp[N / 8][4] = {};
      mma_rows<T, N, D>(s, [&](unsigned (&f)[4], int c) { shared->own.h.left(f, m0, c); }, now.h);
      mma_rows<T, N, D>(dp, [&](unsigned (&f)[4], int c) { shared->own.v.left(f, m0, c); }, now.v);
      GRADUS_UNROLL_ALL
      for (int j = 0; j < N / 8; ++j)
        GRADUS_UNROLL_ALL
        for (int e = 0; e < 4; ++e) {
          const int64_t i = i0 + mma_column(j, e), key = j0 + m0 + mma_row(e);
          const bool seen = i < i1 && m0 + mma_row(e) < nj && mma_sees(a, b, i, key);
          const Two<float> w = seen ? mma_gradient<PLAIN>(a, s[j][e], dp[j][e], b, h, i, key) : Two<float>{0, 0};
          s[j][e] = w.a, dp[j][e] = w.b;
        }
      mma_accumulate<T, N, D>(dv_acc, s, now.v);
      mma_accumulate<T, N, D>(dk_acc, dp, now.h);
    }
    copy_async_wait<0>();
    const float scale = static_cast<float>(g.scale);
    mma_store<T>(dk_acc, {scale, scale}, dk, g.k_start, b, hk, j0, m0, nj, hs);
    mma_store<T>(dv_acc, {1.0f, 1.0f}, dv, g.k_start, b, hk, j0, m0, nj, vs);
  }
}
/// Block: 64 queries of one head; the keys pass.
template <class T, int D, bool PLAIN> __global__ void __launch_bounds__(kMmaThreads) attention_dq_mma(Attention<T> a, AttentionRows<T> dq) {
  if constexpr (GRADUS_ARCH == 0 || GRADUS_ARCH >= 80) {
    using Shared = BackwardShared<T, D>;
    GRADUS_DYN_SHARED(Shared, shared);
    constexpr int N = kMmaPass<D>;
    const auto& g = a.g;
    const int64_t tiles = (g.T + kMmaRows - 1) / kMmaRows, block = blockIdx.x;
    const int64_t b = block / tiles / g.nh, h = block / tiles % g.nh, i0 = block % tiles * kMmaRows;
    const int64_t left = a.queries(b) - i0, ni = left < kMmaRows ? left : kMmaRows, keys = a.keys(b);
    const int m0 = static_cast<int>(threadIdx.x) / kWarp * 16;
    if (ni <= 0) return;
    shared->own.fill(a.q, a.dy, g.q_start, b, h, i0, ni, g);
    const int64_t begin = a.first_key(b, i0) / N * N, end = a.end_key(b, i0 + ni), passes = end > begin ? (end - begin + N - 1) / N : 0;
    const auto start_copy = [&](int64_t n) {
      const int64_t j0 = begin + n * N;
      if (n < passes) shared->pass[n % 2].fill(a.k, a.v, g.k_start, b, a.key_head(h), j0, keys - j0, g);
      copy_async_commit();
    };
    start_copy(0);
    float acc[D / 8][4] = {};
    for (int64_t n = 0; n < passes; ++n) {
      const int64_t j0 = begin + n * N;
      copy_async_wait<0>();
      __syncthreads();
      start_copy(n + 1);
      const auto& now = shared->pass[n % 2];
      float s[N / 8][4] = {}, dp[N / 8][4] = {};
      mma_rows<T, N, D>(s, [&](unsigned (&f)[4], int c) { shared->own.h.left(f, m0, c); }, now.h);
      mma_rows<T, N, D>(dp, [&](unsigned (&f)[4], int c) { shared->own.v.left(f, m0, c); }, now.v);
      GRADUS_UNROLL_ALL
      for (int j = 0; j < N / 8; ++j)
        GRADUS_UNROLL_ALL
        for (int e = 0; e < 4; ++e) {
          const int64_t r = m0 + mma_row(e), i = i0 + r, key = j0 + mma_column(j, e);
          dp[j][e] = r < ni && mma_sees(a, b, i, key) ? mma_gradient<PLAIN>(a, s[j][e], dp[j][e], b, h, i, key).b : 0.0f;
        }
      mma_accumulate<T, N, D>(acc, dp, now.h);
    }
    copy_async_wait<0>();
    const float scale = static_cast<float>(g.scale);
    mma_store<T>(acc, {scale, scale}, dq, g.q_start, b, h, i0, m0, ni, static_cast<int>(g.hs));
  }
}

/// Whether all rows start at multiples of 16 bytes.
template <class... U> bool mma_rows_aligned(const AttentionRows<U>&... x) {
  return ((reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && x.batch % 8 == 0 && x.head % 8 == 0 && x.row % 8 == 0) && ...);
}
template <int V> struct Constant {
  static constexpr int value = V;
};
/// f(D) with the width of tiles as a constant; false where tensor cores do not take the problem.
template <class T, class F> bool with_mma(const AttentionDims& g, F f) {
  if constexpr (std::is_same_v<T, bf16> || std::is_same_v<T, half>) {
    const int64_t width = g.hs > g.vs ? g.hs : g.vs;
    if (width > 128 || g.hs % 8 != 0 || g.vs % 8 != 0 || gradus::cuda::device_info().arch < 80) return false;
    if (width <= 32) f(Constant<32>());
    else if (width <= 64) f(Constant<64>());
    else if (width <= 96) f(Constant<96>());
    else f(Constant<128>());
    return true;
  } else {
    return false;
  }
}

}  // namespace gradus::kernels::cu
