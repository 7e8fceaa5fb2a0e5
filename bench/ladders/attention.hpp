// Attention, from a matrix of scores in memory to tensor cores that never write one; attention.md explains the steps.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <gradus/core/dtype.hpp>

namespace gradus::ladders {

/// q, k, v, y : [heads, T, d] contiguous in device memory; heads counts those of all sequences.
struct AttentionSize {
  int64_t heads, T, d;      ///< d: 32, 64, 96 or 128
  bool causal;              ///< query i sees keys 0 ... i
};
/// Names of the steps in order.
const std::vector<std::string>& attention_steps();
/// y_i = sum_j p_ij v_j, p_ij = softmax_j(q_i . k_j / sqrt(d)). "scores" takes T T floats a head more, the others O(T).
/// std::invalid_argument for another d.
void attention(const std::string& step, const float* q, const float* k, const float* v, float* y, const AttentionSize& size);

/// Tensor cores: bf16 operands, sums, maxima and exponentials in float. Pointers aligned to 16 bytes.
const std::vector<std::string>& attention_bf16_steps();
void attention(const std::string& step, const bf16* q, const bf16* k, const bf16* v, bf16* y, const AttentionSize& size);

}  // namespace gradus::ladders
