// cuBLAS. The emulated device has the same functions in emulation/blas.cpp.
#include "blas.cuh"

#if defined(__CUDACC__)
#include <cublas_v2.h>

namespace gradus::blas {

namespace {
void check_blas(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const auto& c = gradus::detail::device_context;
  fail("matmul", std::string("cuBLAS reports ") + cublasGetStatusName(status),
       {{"in", what}, {"error", cublasGetStatusString(status)}, {"result", describe(c.dtype, DeviceKind::cuda, c.shape)}}, "",
       c.at);
}
/// A handle for each thread: cuBLAS gives the same bits in every run as long as one handle serves one stream at a time.
cublasHandle_t handle() {
  thread_local cublasHandle_t h = [] {
    cublasHandle_t made;
    (void)kernels::cu::current_stream();         // selects the device
    check_blas(cublasCreate(&made), "cublasCreate");
    return made;
  }();
  check_blas(cublasSetStream(h, kernels::cu::current_stream()), "cublasSetStream");
  return h;
}
template <class T>
constexpr cudaDataType_t type_of = std::is_same_v<T, double>  ? CUDA_R_64F
                                   : std::is_same_v<T, float> ? CUDA_R_32F
                                   : std::is_same_v<T, bf16>  ? CUDA_R_16BF
                                                              : CUDA_R_16F;
}  // namespace

template <class T>
void gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T* A, int64_t lda, int64_t stride_a, const T* B, int64_t ldb,
          int64_t stride_b, double beta, T* C, int64_t ldc, int64_t stride_c, int64_t batch) {
  using S = compute_t<T>;
  const S one = 1, scale = static_cast<S>(beta);
  // 32F is IEEE single precision: TF32 would have to be asked for.
  const cublasComputeType_t compute = std::is_same_v<T, double> ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F;
  check_blas(cublasGemmStridedBatchedEx_64(handle(), ta ? CUBLAS_OP_T : CUBLAS_OP_N, tb ? CUBLAS_OP_T : CUBLAS_OP_N, m, n, k,
                                           &one, A, type_of<T>, lda, stride_a, B, type_of<T>, ldb, stride_b, &scale, C,
                                           type_of<T>, ldc, stride_c, batch, compute, CUBLAS_GEMM_DEFAULT),
             "cublasGemmStridedBatchedEx");
}

#define GRADUS_BLAS_GEMM(T)                                                                                                 \
  template void gemm(bool, bool, int64_t, int64_t, int64_t, const T*, int64_t, int64_t, const T*, int64_t, int64_t, double, \
                     T*, int64_t, int64_t, int64_t);
GRADUS_BLAS_GEMM(float)
GRADUS_BLAS_GEMM(double)
GRADUS_BLAS_GEMM(bf16)
GRADUS_BLAS_GEMM(half)
#undef GRADUS_BLAS_GEMM

}  // namespace gradus::blas
#endif
