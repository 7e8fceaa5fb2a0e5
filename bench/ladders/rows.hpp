// Softmax and layer normalisation of rows, from one thread a row to one read of each element; rows.md explains the steps.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace gradus::ladders {

/// Names of the steps in order.
const std::vector<std::string>& softmax_steps();
/// y[n, c] = e^{x[n, c]} / sum_j e^{x[n, j]} for x, y : [N, C] in device memory. "vector" and "registers" need C a multiple of 4 and
/// pointers aligned to 16 bytes (std::invalid_argument), "registers" reads rows longer than 8192 as "vector" does.
void softmax(const std::string& step, const float* x, float* y, int64_t N, int64_t C);

const std::vector<std::string>& layer_norm_steps();
/// y[n, c] = (x[n, c] - mean_n) / sqrt(var_n + eps) gamma[c] + beta[c] with the variance divided by C; demands as for softmax.
void layer_norm(const std::string& step, const float* x, const float* gamma, const float* beta, float eps, float* y, int64_t N, int64_t C);

}  // namespace gradus::ladders
