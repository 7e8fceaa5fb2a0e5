// The product of matrices that everything else is built from: C = op(A) op(B) (+ C), row-major.
//
//   tile   C[MR, NV W] in registers; for each k: NV vectors of B times MR numbers of A
//   panel  a strip of B, KC x NR, packed so that the tile reads it front to back; stays in the L1 cache
//   block  MC x KC of A, read row by row (rows copied close together when A is large); stays in the L2 cache
//
// after Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication", and Van Zee & van de Geijn 2015.
// Products with at most 8 rows or columns are bound by reading the other operand, so they stream through it instead.
//
// An element of C is the sum over blocks of KC of sums in increasing k, whatever tile or thread it falls to: results do not
// depend on the number of threads (I6). The vectors are GCC's; the same source is AVX-512, AVX2 or SSE code.
#ifndef GRADUS_CPU_GEMM
#define GRADUS_CPU_GEMM
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <gradus/core/dtype.hpp>
#include <gradus/core/memory.hpp>
#include <gradus/core/parallel.hpp>

#include "pragmas.hpp"
#include "transpose.hpp"

namespace gradus::kernels::detail {

#if defined(__AVX512F__)
inline constexpr int kGemmBytes = 64, kGemmRows = 12;  // 24 sums, 2 vectors of B in 32 registers
#elif defined(__AVX__)
inline constexpr int kGemmBytes = 32, kGemmRows = 6;  // 12 sums, 2 vectors of B, 1 number of A in 16 registers
#else
inline constexpr int kGemmBytes = 16, kGemmRows = 6;
#endif

template <class T, int Bytes>
struct GemmVector {
  typedef T type __attribute__((vector_size(Bytes), may_alias));
  typedef T unaligned __attribute__((vector_size(Bytes), may_alias, aligned(alignof(T))));
};

/// Scratch memory of one call; kept by the allocator's cache between calls.
template <class T>
class GemmScratch {
 public:
  explicit GemmScratch(int64_t n) : bytes_(static_cast<std::size_t>(n) * sizeof(T)) {
    if (n) p_ = static_cast<T*>(gradus::detail::pool_alloc(bytes_));
  }
  GemmScratch(const GemmScratch&) = delete;
  ~GemmScratch() {
    if (p_) gradus::detail::pool_free(p_, bytes_);
  }
  T* get() const { return p_; }

 private:
  std::size_t bytes_;
  T* p_ = nullptr;
};

template <class T, int Bytes = kGemmBytes, int MR = kGemmRows>
struct Gemm {
  using V = typename GemmVector<T, Bytes>::type;
  using U = typename GemmVector<T, Bytes>::unaligned;
  static constexpr int W = Bytes / static_cast<int>(sizeof(T)), NR = 2 * W;
  static constexpr int64_t kKc = 256, kMc = 24 * MR, kNc = 128 * NR;

  static V load(const T* p) { return *reinterpret_cast<const U*>(p); }
  static void store(T* p, V v) { *reinterpret_cast<U*>(p) = v; }

  /// c[R, NV W] (=, +=) sum_k a_k b_k.  a: `Panel` ? a[k * a_step + i] : a[i * a_step + k];  b: b[k * b_step + j]
  template <int R, int NV, bool Panel>
  static void tile(int64_t K, const T* __restrict a, int64_t a_step, const T* __restrict b, int64_t b_step, T* __restrict c,
                   int64_t ldc, bool add) {
    V s[R][NV];
    GRADUS_UNROLL(16)
    for (int i = 0; i < R; ++i)
      GRADUS_UNROLL(2)
      for (int j = 0; j < NV; ++j) s[i][j] = V{};
    for (int64_t k = 0; k < K; ++k) {
      V bk[NV];
      GRADUS_UNROLL(2)
      for (int j = 0; j < NV; ++j) bk[j] = load(b + k * b_step + j * W);
      GRADUS_UNROLL(16)
      for (int i = 0; i < R; ++i) {
        const V ai = (Panel ? a[k * a_step + i] : a[i * a_step + k]) - V{};
        GRADUS_UNROLL(2)
        for (int j = 0; j < NV; ++j) s[i][j] += ai * bk[j];
      }
    }
    GRADUS_UNROLL(16)
    for (int i = 0; i < R; ++i)
      GRADUS_UNROLL(2)
      for (int j = 0; j < NV; ++j) store(c + i * ldc + j * W, add ? load(c + i * ldc + j * W) + s[i][j] : s[i][j]);
  }

  using Tile = void (*)(int64_t, const T*, int64_t, const T*, int64_t, T*, int64_t, bool);
  /// The tile of `rows` rows (1 ... MR) and nv vectors of columns.
  static Tile tile_of(int rows, int nv, bool panel) {
    static constexpr auto list = []<int... R>(std::integer_sequence<int, R...>) {
      struct List {
        Tile f[2][2][MR];
      };
      return List{{{{&tile<R + 1, 1, false>...}, {&tile<R + 1, 1, true>...}},
                   {{&tile<R + 1, 2, false>...}, {&tile<R + 1, 2, true>...}}}};
    }
    (std::make_integer_sequence<int, MR>{});
    return list.f[nv - 1][panel][rows - 1];
  }

  // -- packing; S is what the matrix is stored as: T, or 16-bit floats for T = float --------------------------------------

  /// B[K, n] at columns [0, n), n <= NR, into a panel [K, NR] padded with zeros.
  template <class S>
  static void pack_b(bool tb, int64_t K, int64_t n, const S* __restrict B, int64_t ldb, T* __restrict p) {
    if (!tb) {
      for (int64_t k = 0; k < K; ++k, p += NR) {
        if constexpr (std::is_same_v<S, T>) {
          if (n == NR) {
            store(p, load(B + k * ldb)), store(p + W, load(B + k * ldb + W));
            continue;
          }
        }
        for (int64_t j = 0; j < n; ++j) p[j] = static_cast<T>(B[k * ldb + j]);
        for (int64_t j = n; j < NR; ++j) p[j] = T(0);
      }
      return;
    }
    int64_t k0 = 0;
    if constexpr (std::is_same_v<S, T>) {
      if (n == NR)
        for (; k0 + W <= K; k0 += W)
          for (int side = 0; side < 2; ++side)
            SquareTranspose<T, Bytes>::run(B + side * W * ldb + k0, ldb, p + k0 * NR + side * W, NR);
    }
    for (int64_t j = 0; j < n; ++j)
      for (int64_t k = k0; k < K; ++k) p[k * NR + j] = static_cast<T>(B[j * ldb + k]);
    for (int64_t j = n; j < NR; ++j)
      for (int64_t k = k0; k < K; ++k) p[k * NR + j] = T(0);
  }
  /// A[M, K] as rows of `step` (ta = false) or panels [K, MR] (ta = true: A is stored [K, M]).
  template <class S>
  static void pack_a(bool ta, int64_t M, int64_t K, const S* __restrict A, int64_t lda, T* __restrict p, int64_t step) {
    if (!ta) {
      for (int64_t m = 0; m < M; ++m)
        for (int64_t k = 0; k < K; ++k) p[m * step + k] = static_cast<T>(A[m * lda + k]);
      return;
    }
    for (int64_t k = 0; k < K; ++k)
      for (int64_t m = 0; m < M; m += MR) {
        T* q = p + m * K + k * MR;
        const int rows = static_cast<int>(M - m < MR ? M - m : MR);
        for (int i = 0; i < rows; ++i) q[i] = static_cast<T>(A[k * lda + m + i]);
      }
  }

  // -- the blocked product of one thread ----------------------------------------------------------------------------------
  template <class S>
  static void block(bool ta, bool tb, int64_t M, int64_t N, int64_t K, const S* A, int64_t lda, const S* B, int64_t ldb, T* C,
                    int64_t ldc, bool accumulate, bool direct_b) {
    constexpr bool same = std::is_same_v<S, T>;
    const int64_t blocks = (K + kKc - 1) / kKc, kc = (K + blocks - 1) / blocks;
    const int64_t mc = M < kMc ? M : kMc, nc = N < kNc ? N : kNc;
    const int64_t columns = (nc + NR - 1) / NR * NR, rows = (mc + MR - 1) / MR * MR;
    // A may stay where it is when it is read once or twice, or when its rows are short and do not share the sets of the cache.
    const bool direct_a =
        same && (ta ? N <= 2 * NR : M <= 2 * MR || (K <= kKc && lda * static_cast<int64_t>(sizeof(T)) % 2048 != 0));
    const int64_t a_row = kc + 64 / static_cast<int64_t>(sizeof(T));
    const GemmScratch<T> pb(direct_b ? kc * NR : kc * columns), pa(direct_a ? 0 : ta ? rows * kc : mc * a_row);
    alignas(64) T edge[MR * NR];
    for (int64_t n0 = 0; n0 < N; n0 += nc) {
      const int64_t n_end = N - n0 < nc ? N - n0 : nc;
      for (int64_t k0 = 0; k0 < K; k0 += kc) {
        const int64_t depth = K - k0 < kc ? K - k0 : kc;
        const bool add = accumulate || k0 > 0;
        if (!direct_b)
          for (int64_t n = 0; n < n_end; n += NR)
            pack_b(tb, depth, n_end - n < NR ? n_end - n : NR, tb ? B + (n0 + n) * ldb + k0 : B + k0 * ldb + n0 + n, ldb,
                   pb.get() + n * depth);
        for (int64_t m0 = 0; m0 < M; m0 += mc) {
          const int64_t m_end = M - m0 < mc ? M - m0 : mc;
          const S* from = ta ? A + k0 * lda + m0 : A + m0 * lda + k0;
          if (!direct_a) pack_a(ta, m_end, depth, from, lda, pa.get(), a_row);
          for (int64_t n = 0; n < n_end; n += NR) {
            const int64_t width = n_end - n < NR ? n_end - n : NR;
            const T* b = pb.get() + (direct_b ? 0 : n * depth);
            int64_t b_step = NR;
            if constexpr (same) {
              if (direct_b && width == NR) b = B + k0 * ldb + n0 + n, b_step = ldb;
            }
            if (direct_b && b_step == NR && b == pb.get()) pack_b(false, depth, width, B + k0 * ldb + n0 + n, ldb, pb.get());
            for (int64_t m = 0; m < m_end; m += MR) {
              const int r = static_cast<int>(m_end - m < MR ? m_end - m : MR);
              T* c = C + (m0 + m) * ldc + n0 + n;
              const T* a = ta ? pa.get() + m * depth : pa.get() + m * a_row;
              int64_t a_step = ta ? MR : a_row;
              if constexpr (same) {
                if (direct_a) a = from + (ta ? m : m * lda), a_step = lda;
              }
              const int nv = width <= W ? 1 : 2;
              const Tile f = tile_of(r, nv, ta);
              if (width == nv * W) {
                f(depth, a, a_step, b, b_step, c, ldc, add);
              } else {
                f(depth, a, a_step, b, b_step, edge, NR, false);
                for (int i = 0; i < r; ++i)
                  for (int64_t j = 0; j < width; ++j)
                    c[i * ldc + j] = add ? c[i * ldc + j] + edge[i * NR + j] : edge[i * NR + j];
              }
            }
          }
        }
      }
    }
  }

  // -- few rows -------------------------------------------------------------------------------------------------------------

  /// c[m * cm + n * cn] = sum_k a[m, k] b[n, k], R rows of A: dot products along k.
  template <int R>
  static void dots(int64_t N, int64_t K, const T* a, int64_t lda, const T* b, int64_t ldb, T* c, int64_t cm, int64_t cn,
                   bool add) {
    const auto columns = [&]<int C>(int64_t n, std::integral_constant<int, C>) {
      V s[R][C];
      T rest[R][C];
      GRADUS_UNROLL(8)
      for (int i = 0; i < R; ++i)
        GRADUS_UNROLL(4)
        for (int j = 0; j < C; ++j) s[i][j] = V{}, rest[i][j] = T(0);
      int64_t k = 0;
      for (; k + W <= K; k += W) {
        V bk[C];
        GRADUS_UNROLL(4)
        for (int j = 0; j < C; ++j) bk[j] = load(b + (n + j) * ldb + k);
        GRADUS_UNROLL(8)
        for (int i = 0; i < R; ++i) {
          const V ai = load(a + i * lda + k);
          GRADUS_UNROLL(4)
          for (int j = 0; j < C; ++j) s[i][j] += ai * bk[j];
        }
      }
      for (; k < K; ++k)
        for (int i = 0; i < R; ++i)
          for (int j = 0; j < C; ++j) rest[i][j] += a[i * lda + k] * b[(n + j) * ldb + k];
      for (int i = 0; i < R; ++i)
        for (int j = 0; j < C; ++j) {
          T sum = rest[i][j];
          for (int l = 0; l < W; ++l) sum += s[i][j][l];
          T& out = c[i * cm + (n + j) * cn];
          out = add ? out + sum : sum;
        }
    };
    constexpr int C = R <= 2 ? 4 : R <= 4 ? 2 : 1;  // at most 8 sums in registers
    int64_t n = 0;
    for (; n + C <= N; n += C) columns(n, std::integral_constant<int, C>{});
    for (; n < N; ++n) columns(n, std::integral_constant<int, 1>{});
  }
  /// c[m, n] (+=) sum_k a[m * am + k * ak] b[k, n], R rows: a strip of c in the L1 cache, four rows of b at a time.
  template <int R>
  static void strips(int64_t N, int64_t K, const T* a, int64_t am, int64_t ak, const T* b, int64_t ldb, T* c, int64_t ldc,
                     bool add) {
    constexpr int64_t kStrip = 16384 / R / static_cast<int64_t>(sizeof(T)) / W * W;  // c: half of the L1 cache
    for (int64_t n0 = 0; n0 < N; n0 += kStrip) {
      const int64_t n = N - n0 < kStrip ? N - n0 : kStrip;
      if (!add)
        for (int i = 0; i < R; ++i) std::memset(c + i * ldc + n0, 0, static_cast<std::size_t>(n) * sizeof(T));
      int64_t k = 0;
      const auto rows_of_b = [&]<int Q>(std::integral_constant<int, Q>) {
        T f[R][Q];
        for (int i = 0; i < R; ++i)
          for (int q = 0; q < Q; ++q) f[i][q] = a[i * am + (k + q) * ak];
        const T* bk = b + k * ldb + n0;
        int64_t j = 0;
        for (; j + W <= n; j += W) {
          V v[Q];
          GRADUS_UNROLL(4)
          for (int q = 0; q < Q; ++q) v[q] = load(bk + q * ldb + j);
          GRADUS_UNROLL(8)
          for (int i = 0; i < R; ++i) {
            V s = load(c + i * ldc + n0 + j);
            GRADUS_UNROLL(4)
            for (int q = 0; q < Q; ++q) s += f[i][q] * v[q];
            store(c + i * ldc + n0 + j, s);
          }
        }
        for (; j < n; ++j)
          for (int i = 0; i < R; ++i) {
            T s = c[i * ldc + n0 + j];
            for (int q = 0; q < Q; ++q) s += f[i][q] * bk[q * ldb + j];
            c[i * ldc + n0 + j] = s;
          }
      };
      for (; k + 4 <= K; k += 4) rows_of_b(std::integral_constant<int, 4>{});
      for (; k < K; ++k) rows_of_b(std::integral_constant<int, 1>{});
    }
  }
  /// f(R) with R as a constant, 1 <= R <= kFew.
  static constexpr int64_t kFew = 8;
  template <int R = 1, class F>
  static void with_rows(int64_t rows, F f) {
    if constexpr (R < kFew) {
      if (rows != R) return with_rows<R + 1>(rows, f);
    }
    f(std::integral_constant<int, R>{});
  }

  /// Threads share the columns of C, or its rows where there are too few columns.
  template <class S>
  static void product(bool ta, bool tb, int64_t M, int64_t N, int64_t K, const S* A, int64_t lda, const S* B, int64_t ldb, T* C,
                      int64_t ldc, bool accumulate) {
    if (M == 0 || N == 0) return;
    if (K == 0) {
      if (!accumulate)
        for (int64_t m = 0; m < M; ++m)
          for (int64_t n = 0; n < N; ++n) C[m * ldc + n] = T(0);
      return;
    }
    const int64_t work = int64_t{1} << 19;  // products below which a thread is not worth waking
    if constexpr (std::is_same_v<S, T>) {
      if (M <= kFew && (tb || N >= W)) {
        with_rows(M, [&]<int R>(std::integral_constant<int, R>) {
          parallel_for((N + 63) / 64, work / (64 * K * R) + 1, [&](int64_t first, int64_t last) {
            const int64_t n0 = first * 64, n = (last * 64 < N ? last * 64 : N) - n0;
            if (!tb) return strips<R>(n, K, A, ta ? 1 : lda, ta ? lda : 1, B + n0, ldb, C + n0, ldc, accumulate);
            const GemmScratch<T> rows(ta ? R * K : 0);  // A^T, so that k is contiguous
            if (ta)
              for (int i = 0; i < R; ++i)
                for (int64_t k = 0; k < K; ++k) rows.get()[i * K + k] = A[k * lda + i];
            dots<R>(n, K, ta ? rows.get() : A, ta ? K : lda, B + n0 * ldb, ldb, C + n0, ldc, 1, accumulate);
          });
        });
        return;
      }
      if (N <= kFew && !ta && M > kFew) {  // C^T = B^T A^T: dot products with rows of A
        with_rows(N, [&]<int R>(std::integral_constant<int, R>) {
          const GemmScratch<T> columns(tb ? 0 : R * K);
          if (!tb)
            for (int j = 0; j < R; ++j)
              for (int64_t k = 0; k < K; ++k) columns.get()[j * K + k] = B[k * ldb + j];
          parallel_for((M + 63) / 64, work / (64 * K * R) + 1, [&](int64_t first, int64_t last) {
            const int64_t m0 = first * 64, m = (last * 64 < M ? last * 64 : M) - m0;
            dots<R>(m, K, tb ? B : columns.get(), tb ? ldb : K, A + m0 * lda, lda, C + m0 * ldc, 1, ldc, accumulate);
          });
        });
        return;
      }
    }
    const bool direct_b = std::is_same_v<S, T> && !tb && K * N * static_cast<int64_t>(sizeof(T)) <= 16384;
    const int64_t across = (N + NR - 1) / NR, down = (M + MR - 1) / MR;
    if (across >= 2 * num_threads() || across >= down) {
      parallel_for(across, work / (M * K * NR) + 1, [&](int64_t first, int64_t last) {
        const int64_t n0 = first * NR, n = (last * NR < N ? last * NR : N) - n0;
        block(ta, tb, M, n, K, A, lda, tb ? B + n0 * ldb : B + n0, ldb, C + n0, ldc, accumulate, direct_b);
      });
    } else {
      parallel_for(down, work / (N * K * MR) + 1, [&](int64_t first, int64_t last) {
        const int64_t m0 = first * MR, m = (last * MR < M ? last * MR : M) - m0;
        block(ta, tb, m, N, K, ta ? A + m0 : A + m0 * lda, lda, B, ldb, C + m0 * ldc, ldc, accumulate, direct_b);
      });
    }
  }
};

}  // namespace gradus::kernels::detail
#endif
