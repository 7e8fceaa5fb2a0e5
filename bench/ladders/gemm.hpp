// A matrix product, from one thread an element to tensor cores behind a pipeline of copies; gemm.md explains the steps.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <gradus/core/dtype.hpp>

namespace gradus::ladders {

/// Names of the steps in order.
const std::vector<std::string>& gemm_steps();
/// C[m, n] = sum_k A[m, k] B[k, n], row-major in device memory: A : [M, K], B : [K, N], C : [M, N]. From "vector" on K and N are
/// multiples of 4 and the pointers aligned to 16 bytes: std::invalid_argument otherwise.
void gemm(const std::string& step, const float* A, const float* B, float* C, int64_t M, int64_t N, int64_t K);

/// Tensor cores: bf16 operands, sums in float.
const std::vector<std::string>& gemm_bf16_steps();
/// As above; K and N are multiples of 8.
void gemm(const std::string& step, const bf16* A, const bf16* B, bf16* C, int64_t M, int64_t N, int64_t K);
/// The last step with what a transformer's layer does to the product before it is written:
/// C = gelu(A B + bias) + residual with bias : [N], residual : [M, N], gelu by the error function.
void gemm_bias_gelu_residual(const bf16* A, const bf16* B, const bf16* bias, const bf16* residual, bf16* C, int64_t M, int64_t N, int64_t K);

}  // namespace gradus::ladders
