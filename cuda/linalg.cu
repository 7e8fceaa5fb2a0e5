// Dense linear algebra over batches: a block (cholesky, LU, QR) or a warp (SVD, eigenvalues) has one matrix, a thread one column of
// a triangular solve. Textbook algorithms in a fixed order: Cholesky and LU by columns with partial pivoting, Householder's QR,
// one-sided Jacobi rotations for singular values (Hestenes 1958), two-sided ones for eigenvalues (Golub and Van Loan, 8.5).
#include <cmath>

#include <gradus/kernels/linalg.hpp>

#include "reduce.cuh"

namespace gradus::kernels {

namespace cu {
inline constexpr int kMatrixThreads = 128;
inline constexpr int kSweeps = 64;                 // Jacobi needs fewer than ten for what converges at all

namespace {
/// The result of the first matrix that failed (not -1), or -1.
__global__ void first_failure(const int64_t* result, int64_t B, int64_t* first) {
  int64_t b = threadIdx.x;
  while (b < B && result[b] == -1) b += blockDim.x;
  b = block_join(b < B ? b : B, B, Smaller());
  if (threadIdx.x == 0) *first = b < B ? result[b] : -1;
}
int64_t read_failure(const char* op, const Scratch<int64_t>& result, int64_t B) {
  Scratch<int64_t> first(1);
  enqueue(op, first_failure, {1}, result.data(), B, first.data());
  return read(first.data());
}
}  // namespace

// ---- Cholesky ----
template <class T> __global__ void cholesky_block(const T* a, T* l, int64_t* result, int64_t n) {
  const int64_t b = blockIdx.x;
  const T* ab = a + b * n * n;
  T* lb = l + b * n * n;
  for (int64_t e = threadIdx.x; e < n * n; e += blockDim.x) lb[e] = e % n <= e / n ? ab[e] : T(0);
  __syncthreads();
  for (int64_t k = 0; k < n; ++k) {
    const T pivot = lb[k * n + k], d = std::sqrt(pivot);
    if (!(pivot > T(0))) {                         // the whole block leaves
      if (threadIdx.x == 0) result[b] = b * n + k;
      return;
    }
    __syncthreads();                               // all have read the pivot
    for (int64_t i = k + threadIdx.x; i < n; i += blockDim.x) lb[i * n + k] = i == k ? d : lb[i * n + k] / d;
    __syncthreads();
    const int64_t left = n - k - 1;
    for (int64_t e = threadIdx.x; e < left * left; e += blockDim.x) {
      const int64_t i = k + 1 + e / left, j = k + 1 + e % left;
      if (j <= i) lb[i * n + j] -= lb[i * n + k] * lb[j * n + k];
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) result[b] = -1;
}

/// One thread a column of x.
template <class T> __global__ void triangular_solve_columns(const T* a, const T* b, T* x, int64_t B, int64_t n, int64_t k, bool upper,
                                                            bool transposed, bool unit) {
  const int64_t t = thread_in_grid();
  if (t >= B * k) return;
  const int64_t m = t / k, c = t % k;
  const T *am = a + m * n * n, *bm = b + m * n * k + c;
  T* xm = x + m * n * k + c;
  const bool from_below = upper != transposed;     // op(a) is upper triangular: the last row first
  for (int64_t s = 0; s < n; ++s) {
    const int64_t i = from_below ? n - 1 - s : s, first = from_below ? i + 1 : 0, last = from_below ? n : i;
    T sum = bm[i * k];
    for (int64_t j = first; j < last; ++j) sum -= (transposed ? am[j * n + i] : am[i * n + j]) * xm[j * k];
    xm[i * k] = unit ? sum : sum / am[i * n + i];
  }
}

// ---- LU ----
/// The larger absolute value, NaN above all; of equals the lower row.
template <class A> struct BetterPivot {
  __device__ At<A> operator()(At<A> a, At<A> b) const {
    const bool a_nan = a.v != a.v, b_nan = b.v != b.v;
    if (a_nan != b_nan) return a_nan ? a : b;
    if (!a_nan && a.v != b.v) return a.v > b.v ? a : b;
    return a.at < b.at ? a : b;
  }
};
/// a becomes L (below the diagonal, ones on it) and U; row i of the product is row order[i] of a. result: -1, or b when a pivot is 0
/// or NaN. sign: of the permutation.
template <class T> __global__ void lu_block(T* a, int64_t* order, T* sign, int64_t* result, int64_t n) {
  const int64_t b = blockIdx.x;
  T* ab = a + b * n * n;
  int64_t* ob = order + b * n;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) ob[i] = i;
  __syncthreads();
  T s = T(1);
  bool singular = false;
  for (int64_t k = 0; k < n; ++k) {
    At<T> best{T(-1), n};
    for (int64_t i = k + threadIdx.x; i < n; i += blockDim.x) best = BetterPivot<T>()(best, {std::fabs(ab[i * n + k]), i});
    best = block_join(best, At<T>{T(-1), n}, BetterPivot<T>());
    if (best.at != k) {
      s = -s;
      for (int64_t j = threadIdx.x; j < n; j += blockDim.x) {
        const T x = ab[k * n + j];
        ab[k * n + j] = ab[best.at * n + j], ab[best.at * n + j] = x;
      }
      if (threadIdx.x == 0) {
        const int64_t r = ob[k];
        ob[k] = ob[best.at], ob[best.at] = r;
      }
    }
    __syncthreads();
    if (!(best.v > T(0))) {                        // a column of zeros stays as it is; NaN spreads below
      singular = true;
      if (best.v == T(0)) continue;
    }
    const T pivot = ab[k * n + k];
    for (int64_t i = k + 1 + threadIdx.x; i < n; i += blockDim.x) ab[i * n + k] /= pivot;
    __syncthreads();
    const int64_t left = n - k - 1;
    for (int64_t e = threadIdx.x; e < left * left; e += blockDim.x) {
      const int64_t i = k + 1 + e / left, j = k + 1 + e % left;
      ab[i * n + j] -= ab[i * n + k] * ab[k * n + j];
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) sign[b] = s, result[b] = singular ? b : -1;
}
/// One thread a column of x; b == nullptr is the identity.
template <class T> __global__ void lu_solve_columns(const T* lu, const int64_t* order, const T* b, T* x, int64_t B, int64_t n, int64_t k) {
  const int64_t t = thread_in_grid();
  if (t >= B * k) return;
  const int64_t m = t / k, c = t % k;
  const T* a = lu + m * n * n;
  T* xm = x + m * n * k + c;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t r = order[m * n + i];
    T sum = b ? b[(m * n + r) * k + c] : T(r == c);
    for (int64_t j = 0; j < i; ++j) sum -= a[i * n + j] * xm[j * k];
    xm[i * k] = sum;
  }
  for (int64_t i = n - 1; i >= 0; --i) {
    T sum = xm[i * k];
    for (int64_t j = i + 1; j < n; ++j) sum -= a[i * n + j] * xm[j * k];
    xm[i * k] = sum / a[i * n + i];
  }
}
template <class T> __global__ void det_from_lu(const T* lu, const T* sign, T* y, int64_t B, int64_t n) {
  const int64_t b = thread_in_grid();
  if (b >= B) return;
  T d = sign[b];
  for (int64_t i = 0; i < n; ++i) d *= lu[(b * n + i) * n + i];
  y[b] = d;
}
template <class T> __global__ void slogdet_from_lu(const T* lu, const T* perm, T* sign, T* logabs, int64_t B, int64_t n) {
  const int64_t b = thread_in_grid();
  if (b >= B) return;
  T s = perm[b], sum = T(0);
  for (int64_t i = 0; i < n; ++i) {
    const T d = lu[(b * n + i) * n + i];
    s *= d > T(0) ? T(1) : d < T(0) ? T(-1) : d == T(0) ? T(0) : d;   // NaN stays
    sum += std::log(std::fabs(d));
  }
  sign[b] = s, logabs[b] = sum;
}
/// Decomposed copies of B matrices.
template <class T> struct Lu {
  Scratch<T> a, sign;
  Scratch<int64_t> order, result;
  Lu(const char* op, const T* x, int64_t B, int64_t n) : a(B * n * n), sign(B), order(B * n), result(B) {
    copy(a.data(), x, B * n * n);
    enqueue(op, lu_block<T>, {B, kMatrixThreads}, a.data(), order.data(), sign.data(), result.data(), n);
  }
};

// ---- QR ----
/// column c of [rows, columns] -= tau v (v . column), v = (1, below) from row k on; `below` has row stride `stride`. A warp.
template <class T> __device__ inline void reflect(T* x, int64_t columns, int64_t c, const T* below, int64_t stride, T tau, int64_t k, int64_t m) {
  T part = 0;
  for (int64_t i = k + lane(); i < m; i += kWarp) part += (i == k ? T(1) : below[i * stride]) * x[i * columns + c];
  const T f = tau * warp_join(part, Add());
  for (int64_t i = k + lane(); i < m; i += kWarp) x[i * columns + c] -= f * (i == k ? T(1) : below[i * stride]);
}
/// w : [m, n] becomes R above the diagonal and the reflections below it; then q : [m, j], r : [j, n].
template <class T> __global__ void qr_block(T* w, T* tau, T* q, T* r, int64_t m, int64_t n, int64_t j) {
  const int64_t b = blockIdx.x, steps = m < n ? m : n;
  T *wb = w + b * m * n, *tb = tau + b * steps, *qb = q + b * m * j, *rb = r + b * j * n;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, warps = static_cast<int>(blockDim.x) / kWarp;
  for (int64_t k = 0; k < steps; ++k) {
    T part = 0;
    for (int64_t i = k + 1 + threadIdx.x; i < m; i += blockDim.x) part += wb[i * n + k] * wb[i * n + k];
    const T tail = block_join(part, T(0), Add()), c0 = wb[k * n + k];
    const bool flat = tail <= std::numeric_limits<T>::min();           // nothing below the diagonal: no reflection
    const T norm = std::sqrt(c0 * c0 + tail), beta = flat ? c0 : c0 >= T(0) ? -norm : norm, t = flat ? T(0) : (beta - c0) / beta;
    __syncthreads();
    for (int64_t i = k + 1 + threadIdx.x; i < m; i += blockDim.x) wb[i * n + k] = flat ? T(0) : wb[i * n + k] / (c0 - beta);
    if (threadIdx.x == 0) wb[k * n + k] = beta, tb[k] = t;
    __syncthreads();
    for (int64_t c = k + 1 + warp; c < n; c += warps) reflect(wb, n, c, wb + k, n, t, k, m);
    __syncthreads();
  }
  for (int64_t e = threadIdx.x; e < j * n; e += blockDim.x) rb[e] = e % n >= e / n && e / n < m ? wb[e] : T(0);
  for (int64_t c = warp; c < j; c += warps) {      // column c of the identity through the reflections, the last one first
    for (int64_t i = lane(); i < m; i += kWarp) qb[i * j + c] = T(i == c);
    __syncwarp();
    for (int64_t k = steps - 1; k >= 0; --k) {
      reflect(qb, j, c, wb + k, n, tb[k], k, m);
      __syncwarp();
    }
  }
}

// ---- Jacobi ----
template <class T> __device__ inline T lane_sum_of(int64_t n, auto f) {
  T part = 0;
  for (int64_t i = lane(); i < n; i += kWarp) part += f(i);
  return warp_join(part, Add());
}
template <class T> struct Rotation {
  T c, s;
};
/// Makes [app apq; apq aqq] diagonal: t = tan of the smaller angle.
template <class T> __device__ inline Rotation<T> rotation_of(T app, T apq, T aqq) {
  const T theta = (aqq - app) / (2 * apq), t = (theta >= T(0) ? T(1) : T(-1)) / (std::fabs(theta) + std::sqrt(theta * theta + T(1)));
  const T c = T(1) / std::sqrt(t * t + T(1));
  return {c, t * c};
}
/// Columns p and q of x : [rows, columns], turned.
template <class T> __device__ inline void turn_columns(T* x, int64_t rows, int64_t columns, int64_t p, int64_t q, Rotation<T> r) {
  for (int64_t i = lane(); i < rows; i += kWarp) {
    const T a = x[i * columns + p], b = x[i * columns + q];
    x[i * columns + p] = r.c * a - r.s * b, x[i * columns + q] = r.s * a + r.c * b;
  }
}
template <class T> __device__ inline void set_identity(T* v, int64_t n) {
  for (int64_t e = lane(); e < n * n; e += kWarp) v[e] = T(e / n == e % n);
}
/// order: the positions of value by size. One lane.
template <class T> __device__ inline void order_of(const T* value, int64_t* order, int64_t n, bool descending) {
  for (int64_t i = 0; i < n; ++i) {
    int64_t at = i;
    for (; at > 0 && (descending ? value[order[at - 1]] < value[i] : value[order[at - 1]] > value[i]); --at) order[at] = order[at - 1];
    order[at] = i;
  }
}

/// w : [M, N], M >= N, holds the matrix (or, `turned`, its transpose) and becomes U diag(s); v : [N, N]. A warp a matrix.
template <class T> __global__ void svd_warp(T* w, T* v, T* norms, int64_t* order, T* u, T* s, T* vt, int64_t* result, int64_t M, int64_t N, bool turned) {
  const int64_t b = blockIdx.x;
  w += b * M * N, v += b * N * N, norms += b * N, order += b * N, s += b * N;
  u += b * (turned ? N * N : M * N), vt += b * (turned ? M * N : N * N);   // of a : [m, n] with j = N columns and rows
  const T total = lane_sum_of<T>(M * N, [&](int64_t e) { return w[e] * T(0); });   // NaN when an element is not finite
  if (!(total == T(0))) {
    if (lane() == 0) result[b] = b;
    return;
  }
  set_identity(v, N);
  __syncwarp();
  constexpr T eps = std::numeric_limits<T>::epsilon();
  // Columns of this size and below are rounding of a singular matrix: they have no direction that could converge.
  const T zero = eps * std::sqrt(lane_sum_of<T>(M * N, [&](int64_t e) { return w[e] * w[e]; }));
  bool moved = true;
  for (int sweep = 0; sweep < kSweeps && moved; ++sweep) {
    moved = false;
    for (int64_t p = 0; p + 1 < N; ++p)
      for (int64_t q = p + 1; q < N; ++q) {
        const T pp = lane_sum_of<T>(M, [&](int64_t i) { return w[i * N + p] * w[i * N + p]; });
        const T qq = lane_sum_of<T>(M, [&](int64_t i) { return w[i * N + q] * w[i * N + q]; });
        const T pq = lane_sum_of<T>(M, [&](int64_t i) { return w[i * N + p] * w[i * N + q]; });
        if (!(std::fabs(pq) > 4 * eps * std::sqrt(pp * qq)) || std::sqrt(pp < qq ? pp : qq) <= zero) continue;   // in every lane
        moved = true;
        const auto r = rotation_of(pp, pq, qq);
        turn_columns(w, M, N, p, q, r);
        turn_columns(v, N, N, p, q, r);
        __syncwarp();
      }
  }
  for (int64_t c = 0; c < N; ++c) {
    const T norm = std::sqrt(lane_sum_of<T>(M, [&](int64_t i) { return w[i * N + c] * w[i * N + c]; }));
    if (lane() == 0) norms[c] = norm;
  }
  if (lane() == 0) order_of(norms, order, N, true), result[b] = moved ? b : -1;
  __syncwarp();
  const T tiny = N > 0 ? norms[order[0]] * eps * static_cast<T>(M) : T(0);
  for (int64_t c = 0; c < N; ++c) {
    const int64_t from = order[c];
    const T size = norms[from];
    if (lane() == 0) s[c] = size;
    // Column c of the long factor, w / s; where s is 0, a direction that the columns before leave free.
    const auto at = [&](int64_t i) -> T& { return turned ? vt[c * M + i] : u[i * N + c]; };
    const auto before = [&](int64_t k, int64_t i) { return turned ? vt[k * M + i] : u[i * N + k]; };
    if (size > tiny) {
      for (int64_t i = lane(); i < M; i += kWarp) at(i) = w[i * N + from] / size;
    } else {
      for (int64_t axis = 0; axis < M; ++axis) {
        for (int64_t i = lane(); i < M; i += kWarp) at(i) = T(i == axis);
        __syncwarp();
        for (int again = 0; again < 2; ++again)
          for (int64_t k = 0; k < c; ++k) {
            const T along = lane_sum_of<T>(M, [&](int64_t i) { return before(k, i) * at(i); });
            for (int64_t i = lane(); i < M; i += kWarp) at(i) -= along * before(k, i);
            __syncwarp();
          }
        const T norm = std::sqrt(lane_sum_of<T>(M, [&](int64_t i) { return at(i) * at(i); }));
        if (norm * norm * static_cast<T>(2 * M) < T(1)) continue;      // nearly in the span of those before
        for (int64_t i = lane(); i < M; i += kWarp) at(i) /= norm;
        break;
      }
    }
    for (int64_t i = lane(); i < N; i += kWarp) (turned ? u[i * N + c] : vt[c * N + i]) = v[i * N + from];
    __syncwarp();
  }
}
template <class T> __global__ void transpose_matrices(const T* a, T* y, int64_t B, int64_t m, int64_t n) {
  const int64_t e = thread_in_grid();              // of y : [B, n, m]
  if (e < B * m * n) y[e] = a[(e / (m * n) * m + e % m) * n + e / m % n];
}

/// a : symmetric copy that becomes diagonal; v : [n, n]. A warp a matrix.
template <class T> __global__ void eigh_warp(const T* in, T* a, T* turned, int64_t* order, T* w, T* v, int64_t* result, int64_t n) {
  const int64_t b = blockIdx.x;
  in += b * n * n, a += b * n * n, turned += b * n * n, order += b * n, w += b * n, v += b * n * n;
  for (int64_t e = lane(); e < n * n; e += kWarp) a[e] = e % n <= e / n ? in[e] : in[e % n * n + e / n];   // the lower triangle
  set_identity(turned, n);
  __syncwarp();
  const T total = lane_sum_of<T>(n * n, [&](int64_t e) { return a[e] * T(0); });
  if (!(total == T(0))) {
    if (lane() == 0) result[b] = b;
    return;
  }
  constexpr T eps = std::numeric_limits<T>::epsilon();
  const T size = std::sqrt(lane_sum_of<T>(n * n, [&](int64_t e) { return a[e] * a[e]; }));
  bool moved = true;
  for (int sweep = 0; sweep < kSweeps && moved; ++sweep) {
    moved = false;
    for (int64_t p = 0; p + 1 < n; ++p)
      for (int64_t q = p + 1; q < n; ++q) {
        const T apq = a[p * n + q], app = a[p * n + p], aqq = a[q * n + q];
        if (!(std::fabs(apq) > eps * size / static_cast<T>(n))) continue;
        moved = true;
        const auto r = rotation_of(app, apq, aqq);
        __syncwarp();
        turn_columns(a, n, n, p, q, r);
        __syncwarp();
        for (int64_t i = lane(); i < n; i += kWarp) {                  // and the rows
          const T x = a[p * n + i], y = a[q * n + i];
          a[p * n + i] = r.c * x - r.s * y, a[q * n + i] = r.s * x + r.c * y;
        }
        turn_columns(turned, n, n, p, q, r);
        __syncwarp();
      }
  }
  for (int64_t c = lane(); c < n; c += kWarp) w[c] = a[c * n + c];
  __syncwarp();
  if (lane() == 0) order_of(w, order, n, false), result[b] = moved ? b : -1;
  __syncwarp();
  for (int64_t e = lane(); e < n * n; e += kWarp) v[e] = turned[e / n * n + order[e % n]];
  for (int64_t c = lane(); c < n; c += kWarp) w[c] = a[order[c] * n + order[c]];
}
}  // namespace cu

template <class T> int64_t cholesky(Cuda, const T* a, T* l, int64_t B, int64_t n) {
  using namespace cu;
  if (B == 0 || n == 0) return -1;
  Scratch<int64_t> result(B);
  enqueue("cholesky", cholesky_block<T>, {B, kMatrixThreads}, a, l, result.data(), n);
  return read_failure("cholesky", result, B);
}

template <class T> void triangular_solve(Cuda, const T* a, const T* b, T* x, int64_t B, int64_t n, int64_t k, bool upper, bool transposed,
                                         bool unit) {
  using namespace cu;
  enqueue("triangular_solve", triangular_solve_columns<T>, {blocks_for(B * k, kMatrixThreads), kMatrixThreads}, a, b, x, B, n, k, upper, transposed, unit);
}

template <class T> int64_t lu_solve(Cuda, const T* a, const T* b, T* x, int64_t B, int64_t n, int64_t k) {
  using namespace cu;
  if (B == 0 || n == 0 || k == 0) return -1;
  const Lu<T> lu("lu_solve", a, B, n);
  enqueue("lu_solve", lu_solve_columns<T>, {blocks_for(B * k, kMatrixThreads), kMatrixThreads}, lu.a.data(), lu.order.data(), b, x, B, n, k);
  return read_failure("lu_solve", lu.result, B);
}

template <class T> int64_t inverse(Cuda, const T* a, T* y, int64_t B, int64_t n) {
  using namespace cu;
  if (B == 0 || n == 0) return -1;
  const Lu<T> lu("inverse", a, B, n);
  const T* identity = nullptr;
  enqueue("inverse", lu_solve_columns<T>, {blocks_for(B * n, kMatrixThreads), kMatrixThreads}, lu.a.data(), lu.order.data(), identity, y, B, n, n);
  return read_failure("inverse", lu.result, B);
}

template <class T> void det(Cuda, const T* a, T* y, int64_t B, int64_t n) {
  using namespace cu;
  if (B == 0) return;
  const Lu<T> lu("det", a, B, n);
  enqueue("det", det_from_lu<T>, {blocks_for(B, kThreads)}, lu.a.data(), lu.sign.data(), y, B, n);
}

template <class T> void slogdet(Cuda, const T* a, T* sign, T* logabs, int64_t B, int64_t n) {
  using namespace cu;
  if (B == 0) return;
  const Lu<T> lu("slogdet", a, B, n);
  enqueue("slogdet", slogdet_from_lu<T>, {blocks_for(B, kThreads)}, lu.a.data(), lu.sign.data(), sign, logabs, B, n);
}

template <class T> void qr(Cuda, const T* a, T* q, T* r, int64_t B, int64_t m, int64_t n, bool complete) {
  using namespace cu;
  const int64_t steps = m < n ? m : n, j = complete ? m : steps;
  Scratch<T> w(B * m * n), tau(B * steps);
  copy(w.data(), a, B * m * n);
  enqueue("qr", qr_block<T>, {B, kMatrixThreads}, w.data(), tau.data(), q, r, m, n, j);
}

template <class T> int64_t svd(Cuda, const T* a, T* u, T* s, T* vt, int64_t B, int64_t m, int64_t n) {
  using namespace cu;
  const bool turned = m < n;
  const int64_t M = turned ? n : m, N = turned ? m : n;
  if (B == 0 || N == 0) return -1;
  Scratch<T> w(B * m * n), v(B * N * N), norms(B * N);
  Scratch<int64_t> order(B * N), result(B);
  if (turned) enqueue("svd", transpose_matrices<T>, {blocks_for(B * m * n, kThreads)}, a, w.data(), B, m, n);
  else copy(w.data(), a, B * m * n);
  enqueue("svd", svd_warp<T>, {B, kWarp}, w.data(), v.data(), norms.data(), order.data(), u, s, vt, result.data(), M, N, turned);
  return read_failure("svd", result, B);
}

template <class T> int64_t eigh(Cuda, const T* a, T* w, T* v, int64_t B, int64_t n) {
  using namespace cu;
  if (B == 0 || n == 0) return -1;
  Scratch<T> work(B * n * n), turned(B * n * n);
  Scratch<int64_t> order(B * n), result(B);
  enqueue("eigh", eigh_warp<T>, {B, kWarp}, a, work.data(), turned.data(), order.data(), w, v, result.data(), n);
  return read_failure("eigh", result, B);
}

namespace {
template <class... T> void* const* linalg_table() {
  static void* const table[] = {instance<Cuda>(&cholesky<T>)..., instance<Cuda>(&triangular_solve<T>)..., instance<Cuda>(&lu_solve<T>)...,
                                instance<Cuda>(&inverse<T>)...,  instance<Cuda>(&det<T>)...,              instance<Cuda>(&slogdet<T>)...,
                                instance<Cuda>(&qr<T>)...,       instance<Cuda>(&svd<T>)...,              instance<Cuda>(&eigh<T>)...};
  return table;
}
}  // namespace
extern void* const* const gradus_cuda_linalg_instances = linalg_table<float, double>();

}  // namespace gradus::kernels
