// One update of AdamW, from a kernel for each operation to one launch for all parameters; adamw.md explains the steps.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace gradus::ladders {

/// A parameter, its gradient, the two moments: arrays of n floats in device memory.
struct AdamWTensor {
  float* p;
  const float* g;
  float *m, *v;
  int64_t n;
};
struct AdamWOptions {
  float lr = 1e-3f, beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f, weight_decay = 0.01f;
  int64_t step = 1;          ///< counts from 1
};

/// Names of the steps in order.
const std::vector<std::string>& adamw_steps();
/// Loshchilov & Hutter 2019, algorithm 2, with bias correction: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2,
/// p = p - lr wd p - lr m^ / (sqrt(v^) + eps), m^ = m / (1 - b1^step), v^ = v / (1 - b2^step).
void adamw(const std::string& step, const std::vector<AdamWTensor>& tensors, const AdamWOptions& options);

}  // namespace gradus::ladders
