// Matrix products through Eigen, one Eigen call a thread. The cut into panels depends on the sizes only, so that the
// result does not depend on the number of threads. bf16, half and integers go through buffers of float or plain loops.
#ifndef GRADUS_CPU_MATMUL
#define GRADUS_CPU_MATMUL
#ifndef EIGEN_DONT_PARALLELIZE
#define EIGEN_DONT_PARALLELIZE
#endif
#include <Eigen/Core>
#include <type_traits>
#include <vector>

#include <gradus/core/parallel.hpp>
#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/matmul.hpp>

namespace gradus::kernels {
namespace detail {

template <class T> using GemmMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T> using GemmIn = Eigen::Map<const GemmMatrix<T>, 0, Eigen::OuterStride<>>;
template <class T> using GemmOut = Eigen::Map<GemmMatrix<T>, 0, Eigen::OuterStride<>>;

template <class T>
void gemm_one(bool ta, bool tb, int64_t M, int64_t N, int64_t K, const T* A, int64_t lda, const T* B, int64_t ldb, T* C, int64_t ldc,
              bool accumulate) {
  if (K == 0) {
    if (!accumulate)
      for (int64_t m = 0; m < M; ++m)
        for (int64_t n = 0; n < N; ++n) C[m * ldc + n] = T(0);
    return;
  }
  const GemmIn<T> a(A, ta ? K : M, ta ? M : K, Eigen::OuterStride<>(lda)), b(B, tb ? N : K, tb ? K : N, Eigen::OuterStride<>(ldb));
  GemmOut<T> c(C, M, N, Eigen::OuterStride<>(ldc));
  const auto product = [&](const auto& x, const auto& y) {
    if (accumulate) c.noalias() += x * y;
    else c.noalias() = x * y;
  };
  if (ta && tb) product(a.transpose(), b.transpose());
  else if (ta) product(a.transpose(), b);
  else if (tb) product(a, b.transpose());
  else product(a, b);
}

/// The larger of M and N in up to 4 panels of whole multiples of 64, when the product is worth it.
template <class T>
void gemm_panels(bool ta, bool tb, int64_t M, int64_t N, int64_t K, const T* A, int64_t lda, const T* B, int64_t ldb, T* C, int64_t ldc,
                 bool accumulate) {
  const int64_t longer = M > N ? M : N;
  if (M * N * K < (int64_t{1} << 21) || longer < 128) return gemm_one(ta, tb, M, N, K, A, lda, B, ldb, C, ldc, accumulate);
  const int64_t pieces = longer >= 512 ? 4 : 2, step = (longer / pieces + 63) / 64 * 64, count = (longer + step - 1) / step;
  parallel_for(count, 1, [&](int64_t b0, int64_t e0) {
    for (int64_t p = b0; p < e0; ++p) {
      const int64_t at = p * step, n = longer - at < step ? longer - at : step;
      if (M > N) gemm_one(ta, tb, n, N, K, ta ? A + at : A + at * lda, lda, B, ldb, C + at * ldc, ldc, accumulate);
      else gemm_one(ta, tb, M, n, K, A, lda, tb ? B + at * ldb : B + at, ldb, C + at, ldc, accumulate);
    }
  });
}

}  // namespace detail

template <class T>
void gemm(Cpu, bool ta, bool tb, int64_t M, int64_t N, int64_t K, const T* A, int64_t lda, int64_t stride_a, const T* B, int64_t ldb,
          int64_t stride_b, T* C, int64_t ldc, int64_t stride_c, int64_t batch, bool accumulate) {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    if (batch == 1) return detail::gemm_panels(ta, tb, M, N, K, A, lda, B, ldb, C, ldc, accumulate);
    parallel_for(batch, 65536 / (M * N * K + 1) + 1, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i)
        detail::gemm_one(ta, tb, M, N, K, A + i * stride_a, lda, B + i * stride_b, ldb, C + i * stride_c, ldc, accumulate);
    });
  } else if constexpr (is_floating<T>) {           // bf16, half: products and sums in float
    parallel_for(batch, 1, [&](int64_t b, int64_t e) {
      std::vector<float> a32(static_cast<std::size_t>(M * K)), b32(static_cast<std::size_t>(K * N)), c32(static_cast<std::size_t>(M * N));
      for (int64_t i = b; i < e; ++i) {
        const int64_t ar = ta ? K : M, ac = ta ? M : K, br = tb ? N : K, bc = tb ? K : N;
        for (int64_t r = 0; r < ar; ++r)
          for (int64_t c = 0; c < ac; ++c) a32[static_cast<std::size_t>(r * ac + c)] = A[i * stride_a + r * lda + c];
        for (int64_t r = 0; r < br; ++r)
          for (int64_t c = 0; c < bc; ++c) b32[static_cast<std::size_t>(r * bc + c)] = B[i * stride_b + r * ldb + c];
        detail::gemm_panels(ta, tb, M, N, K, a32.data(), ac, b32.data(), bc, c32.data(), N, false);
        for (int64_t m = 0; m < M; ++m)
          for (int64_t n = 0; n < N; ++n) {
            T& out = C[i * stride_c + m * ldc + n];
            out = static_cast<T>(c32[static_cast<std::size_t>(m * N + n)] + (accumulate ? static_cast<float>(out) : 0.0f));
          }
      }
    });
  } else {
    parallel_for(batch * M, 65536 / (N * K + 1) + 1, [&](int64_t b, int64_t e) {
      for (int64_t j = b; j < e; ++j) {
        const int64_t i = j / M, m = j % M;
        for (int64_t n = 0; n < N; ++n) {
          T s = accumulate ? C[i * stride_c + m * ldc + n] : T(0);
          for (int64_t k = 0; k < K; ++k)
            s = static_cast<T>(s + A[i * stride_a + (ta ? k * lda + m : m * lda + k)] * B[i * stride_b + (tb ? n * ldb + k : k * ldb + n)]);
          C[i * stride_c + m * ldc + n] = s;
        }
      }
    });
  }
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T> void* gemm_table() {
  static void* const table[] = {instance<Cpu>(&gemm<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_gemm_tables[] = {gemm_table<float, double, bf16, half, int64_t, int32_t>()};
#endif

}  // namespace gradus::kernels
#endif
