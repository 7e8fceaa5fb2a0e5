// Normal laws with diagonal covariance as what an encoder gives: mean and log-variance. Kingma & Welling 2013.
//
//   z = mean + e^{log_var / 2} n,  n normal
//   KL(N(m1, v1) || N(m2, v2)) = 1/2 sum_c (log v2 - log v1 + (v1 + (m1 - m2)^2) / v2 - 1)
#pragma once
#include <gradus/ops/random.hpp>
#include <gradus/ops/softmax.hpp>

namespace gradus::nn {

/// A sample, differentiable in mean and log_var.
template <Floating T, class D>
Tensor<T, D> reparametrize(const Tensor<T, D>& mean, const Tensor<T, D>& log_var, Where at = Where::current()) {
  if (!(mean.shape() == log_var.shape()))
    fail("reparametrize", "the shapes differ", {{"mean", describe(mean)}, {"log_var", describe(log_var)}}, "equal shapes", at);
  return add(mean, mul(exp(mul(log_var, 0.5, at), at), randn<T, D>(mean.shape(), at), at), at);
}
/// KL(N(mean, e^log_var) || N(0, I)), summed over the last dimension: [..., C] -> [...].
template <Floating T, class D>
Tensor<T, D> kl_to_standard_normal(const Tensor<T, D>& mean, const Tensor<T, D>& log_var, Where at = Where::current()) {
  const auto terms = sub(sub(add(square(mean, at), exp(log_var, at), at), log_var, at), 1, at);
  return mul(sum(terms, {-1}, false, at), 0.5, at);
}
/// KL(N(m1, e^l1) || N(m2, e^l2)), summed over the last dimension.
template <Floating T, class D>
Tensor<T, D> kl_normals(const Tensor<T, D>& m1, const Tensor<T, D>& l1, const Tensor<T, D>& m2, const Tensor<T, D>& l2,
                        Where at = Where::current()) {
  const auto ratio = exp(sub(l1, l2, at), at), shift = mul(square(sub(m1, m2, at), at), exp(neg(l2, at), at), at);
  return mul(sum(sub(add(sub(l2, l1, at), add(ratio, shift, at), at), 1, at), {-1}, false, at), 0.5, at);
}
/// KL(p || q) of categories given by logits, summed over the last dimension.
template <Floating T, class D>
Tensor<T, D> kl_categorical(const Tensor<T, D>& p_logits, const Tensor<T, D>& q_logits, Where at = Where::current()) {
  const auto lp = log_softmax(p_logits, -1, at);
  return sum(mul(exp(lp, at), sub(lp, log_softmax(q_logits, -1, at), at), at), {-1}, false, at);
}
/// log N(x; mean, e^log_var), summed over the last dimension.
template <Floating T, class D>
Tensor<T, D> normal_log_density(const Tensor<T, D>& x, const Tensor<T, D>& mean, const Tensor<T, D>& log_var,
                                Where at = Where::current()) {
  const auto terms =
      add(add(mul(square(sub(x, mean, at), at), exp(neg(log_var, at), at), at), log_var, at), 1.8378770664093453, at);
  return mul(sum(terms, {-1}, false, at), -0.5, at);
}

}  // namespace gradus::nn
