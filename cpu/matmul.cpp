// Matrix products: gemm.hpp for floats, with Eigen beside it as the reference; plain loops for integers.
#ifndef GRADUS_CPU_MATMUL
#define GRADUS_CPU_MATMUL
#ifndef EIGEN_DONT_PARALLELIZE
#define EIGEN_DONT_PARALLELIZE
#endif
#include <Eigen/Core>
#include <type_traits>

#include <gradus/core/kernel_choice.hpp>
#include <gradus/core/parallel.hpp>
#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/matmul.hpp>

#include "gemm.hpp"

namespace gradus::kernels {
namespace detail {

/// select_kernel("gemm_cpu", "eigen"): the reference, which hands products to a system BLAS with GRADUS_BLAS.
enum class GemmBy { eigen, packed };
inline KernelChoice<GemmBy> gemm_by{"gemm_cpu", {"eigen", "packed"}};
#ifdef EIGEN_USE_BLAS
inline constexpr GemmBy gemm_default = GemmBy::eigen;
#else
inline constexpr GemmBy gemm_default = GemmBy::packed;
#endif

template <class T> using GemmMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T> using GemmIn = Eigen::Map<const GemmMatrix<T>, 0, Eigen::OuterStride<>>;
template <class T> using GemmOut = Eigen::Map<GemmMatrix<T>, 0, Eigen::OuterStride<>>;

template <class T>
void gemm_eigen(bool ta, bool tb, int64_t M, int64_t N, int64_t K, const T* A, int64_t lda, const T* B, int64_t ldb, T* C, int64_t ldc,
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

}  // namespace detail

template <class T>
void gemm(Cpu, bool ta, bool tb, int64_t M, int64_t N, int64_t K, const T* A, int64_t lda, int64_t stride_a, const T* B, int64_t ldb,
          int64_t stride_b, T* C, int64_t ldc, int64_t stride_c, int64_t batch, bool accumulate) {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    const bool eigen = detail::gemm_by.or_else(detail::gemm_default) == detail::GemmBy::eigen;
    const auto one = [&](int64_t i) {
      const T *a = A + i * stride_a, *b = B + i * stride_b;
      T* c = C + i * stride_c;
      if (eigen) detail::gemm_eigen(ta, tb, M, N, K, a, lda, b, ldb, c, ldc, accumulate);
      else detail::Gemm<T>::product(ta, tb, M, N, K, a, lda, b, ldb, c, ldc, accumulate);
    };
    if (batch == 1) return one(0);                 // its threads share the one product
    parallel_for(batch, 65536 / (M * N * K + 1) + 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) one(i);
    });
  } else if constexpr (is_floating<T>) {           // bf16, half: converted while packing; products and sums in float
    parallel_for(batch, batch == 1 ? 2 : 1, [&](int64_t first, int64_t last) {
      const detail::GemmScratch<float> c(M * N);
      for (int64_t i = first; i < last; ++i) {
        detail::Gemm<float>::product(ta, tb, M, N, K, A + i * stride_a, lda, B + i * stride_b, ldb, c.get(), N, false);
        for (int64_t m = 0; m < M; ++m)
          for (int64_t n = 0; n < N; ++n) {
            T& out = C[i * stride_c + m * ldc + n];
            out = static_cast<T>(c.get()[m * N + n] + (accumulate ? static_cast<float>(out) : 0.0f));
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
