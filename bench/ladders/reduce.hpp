// The sum of an array, from one thread to the bandwidth of the memory, and the transposition of a matrix; reduce.md explains both.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace gradus::ladders {

/// Names of the steps in order.
const std::vector<std::string>& sum_steps();
/// *y = sum_i x[i], x and y in device memory. "atomic" has another order of additions at every run.
void sum(const std::string& step, const float* x, float* y, int64_t n);

const std::vector<std::string>& transpose_steps();
/// y[n, m] = x[m, n] for x : [M, N] row-major in device memory.
void transpose(const std::string& step, const float* x, float* y, int64_t M, int64_t N);

}  // namespace gradus::ladders
