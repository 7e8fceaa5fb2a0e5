// Matrix products.
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>
#include <gradus/core/dtype.hpp>

namespace gradus::kernels {

/// C[M, N] = op(A)[M, K] op(B)[K, N] (+ C when accumulate), row-major with row strides lda, ldb, ldc.
/// op is the transpose where ta (tb) is set: then A is stored as [K, M] (B as [N, K]).
/// `batch` products: operand i starts at i times its batch stride (0: the same for all).
template <class T>
void gemm(Cpu, bool ta, bool tb, int64_t M, int64_t N, int64_t K, const T* A, int64_t lda, int64_t stride_a, const T* B, int64_t ldb,
          int64_t stride_b, T* C, int64_t ldc, int64_t stride_c, int64_t batch, bool accumulate);
template <class T>
void gemm(Cuda, bool ta, bool tb, int64_t M, int64_t N, int64_t K, const T* A, int64_t lda, int64_t stride_a, const T* B, int64_t ldb,
          int64_t stride_b, T* C, int64_t ldc, int64_t stride_c, int64_t batch, bool accumulate);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include "../../../cpu/matmul.cpp"
#endif
