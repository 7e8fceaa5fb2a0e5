// cuBLAS for the emulated device: the same calls, the same column-major layout, through Eigen.
#include "../blas.cuh"

#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Core>

namespace gradus::blas {
namespace {

template <class T> using ColumnMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
template <class S, class T> ColumnMajor<S> read(const T* from, int64_t rows, int64_t columns, int64_t ld) {
  ColumnMajor<S> x(rows, columns);
  for (int64_t c = 0; c < columns; ++c)
    for (int64_t r = 0; r < rows; ++r) x(r, c) = static_cast<S>(from[c * ld + r]);
  return x;
}

}  // namespace

template <class T>
void gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T* A, int64_t lda, int64_t stride_a, const T* B, int64_t ldb,
          int64_t stride_b, double beta, T* C, int64_t ldc, int64_t stride_c, int64_t batch) {
  using S = compute_t<T>;
  // As cuBLAS does, refuse leading dimensions that the shapes do not allow.
  if (lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m)
    fail("matmul", "cuBLAS reports CUBLAS_STATUS_INVALID_VALUE",
         {{"m, n, k", Shape{m, n, k}.str()}, {"lda, ldb, ldc", Shape{lda, ldb, ldc}.str()}},
         "leading dimensions of at least the rows", gradus::detail::device_context.at);
  const emu::HostAccess access;
  for (int64_t i = 0; i < batch; ++i) {
    const ColumnMajor<S> a = read<S>(A + i * stride_a, ta ? k : m, ta ? m : k, lda),
                         b = read<S>(B + i * stride_b, tb ? n : k, tb ? k : n, ldb);
    ColumnMajor<S> y(m, n);
    if (ta && tb) y.noalias() = a.transpose() * b.transpose();
    else if (ta) y.noalias() = a.transpose() * b;
    else if (tb) y.noalias() = a * b.transpose();
    else y.noalias() = a * b;
    T* out = C + i * stride_c;
    for (int64_t c = 0; c < n; ++c)
      for (int64_t r = 0; r < m; ++r)
        out[c * ldc + r] =
            static_cast<T>(y(r, c) + (beta != 0 ? static_cast<S>(beta) * static_cast<S>(out[c * ldc + r]) : S(0)));
  }
}

template void gemm(bool, bool, int64_t, int64_t, int64_t, const float*, int64_t, int64_t, const float*, int64_t, int64_t,
                   double, float*, int64_t, int64_t, int64_t);
template void gemm(bool, bool, int64_t, int64_t, int64_t, const double*, int64_t, int64_t, const double*, int64_t, int64_t,
                   double, double*, int64_t, int64_t, int64_t);
template void gemm(bool, bool, int64_t, int64_t, int64_t, const bf16*, int64_t, int64_t, const bf16*, int64_t, int64_t, double,
                   bf16*, int64_t, int64_t, int64_t);
template void gemm(bool, bool, int64_t, int64_t, int64_t, const half*, int64_t, int64_t, const half*, int64_t, int64_t, double,
                   half*, int64_t, int64_t, int64_t);

}  // namespace gradus::blas
