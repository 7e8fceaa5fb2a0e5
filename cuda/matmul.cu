// Row-major products through the column-major BLAS: C = op(A) op(B) row by row is C^T = op(B)^T op(A)^T column by column, so A
// and B change places and no element moves. Integers, which BLAS does not multiply, and readers take the kernels of tiles.cuh.
#include <gradus/core/kernel_choice.hpp>
#include <gradus/kernels/matmul.hpp>

#include "blas.cuh"
#include "tiles.cuh"

namespace gradus::kernels {
namespace cu {

enum class Gemm { reference, tiled, blas };
static KernelChoice<Gemm> gemm_by{"gemm", {"reference", "tiled", "blas"}};

/// C[m, n] = sum_k op(A)[m, k] op(B)[k, n] (+ C when accumulate); sums in the compute type.
template <class T> struct GemmProduct {
  using acc_t = compute_t<T>;
  int64_t M, N, K, first;
  bool ta, tb, accumulate;
  const T* A;
  int64_t lda, stride_a;
  const T* B;
  int64_t ldb, stride_b;
  T* C;
  int64_t ldc, stride_c;
  __device__ acc_t a(int64_t z, int64_t m, int64_t k) const { return load(A[z * stride_a + (ta ? k * lda + m : m * lda + k)]); }
  __device__ acc_t b(int64_t z, int64_t k, int64_t n) const { return load(B[z * stride_b + (tb ? n * ldb + k : k * ldb + n)]); }
  __device__ void store(int64_t z, int64_t m, int64_t n, acc_t sum) const {
    T& out = C[z * stride_c + m * ldc + n];
    out = static_cast<T>(accumulate ? load(out) + sum : sum);
  }
};

}  // namespace cu

template <class T>
void gemm(Cuda, bool ta, bool tb, int64_t M, int64_t N, int64_t K, const T* A, int64_t lda, int64_t stride_a, const T* B,
          int64_t ldb, int64_t stride_b, T* C, int64_t ldc, int64_t stride_c, int64_t batch, bool accumulate) {
  using namespace cu;
  if (M * N * batch == 0) return;
  const Gemm by = gemm_by.or_else(Gemm::blas);
  if constexpr (is_floating<T>) {
    if (by == Gemm::blas && K > 0)
      return blas::gemm<T>(tb, ta, N, M, K, B, ldb, stride_b, A, lda, stride_a, accumulate ? 1 : 0, C, ldc, stride_c, batch);
  }
  product("matmul", GemmProduct<T>{M, N, K, 0, ta, tb, accumulate, A, lda, stride_a, B, ldb, stride_b, C, ldc, stride_c}, batch,
          by != Gemm::reference);
}

namespace {
template <class... T> void* gemm_table() {
  static void* const table[] = {instance<Cuda>(&gemm<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_cuda_gemm_tables[] = {gemm_table<float, double, bf16, half, int64_t, int32_t>()};

}  // namespace gradus::kernels
