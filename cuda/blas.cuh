// Matrix products of a BLAS: cuBLAS on a GPU, Eigen on the emulated device. Column-major, as BLAS is: a mistake in the
// transposes that turn gradus' row-major products into these shows on both.
#pragma once
#include <cstdint>

#include "kernel.cuh"

namespace gradus::blas {

/// C[m, n] = op(A)[m, k] op(B)[k, n] + beta C for `batch` products, column-major with column strides lda, ldb, ldc; op
/// transposes where ta (tb) is set. T: float, double; bf16 and half with sums in float.
template <class T>
void gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T* A, int64_t lda, int64_t stride_a, const T* B, int64_t ldb,
          int64_t stride_b, double beta, T* C, int64_t ldc, int64_t stride_c, int64_t batch);

}  // namespace gradus::blas
