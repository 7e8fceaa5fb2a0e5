// Divergences between distributions: given as log-probabilities and probabilities (kl_div), or as logits over the last
// dimension.
#pragma once
#include <gradus/ops/losses/common.hpp>
#include <gradus/ops/losses/regression.hpp>
#include <gradus/ops/softmax.hpp>

namespace gradus {

/// KL(t || e^x) element by element: t (log t - x), x log-probabilities, 0 where t = 0. The mean is over elements: for the mean
/// over a batch of B take the sum and divide by B.
template <Floating T, class D>
Tensor<T, D> kl_div(const Tensor<T, D>& x, const Tensor<T, D>& t, Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("kl_div", "x", x, "t", t, at);
  return detail::reduce_loss(sub(xlogy(t, t, at), mul(t, x, at), at), r, at);
}

/// KL(p || q) = sum p (log p - log q) for p = softmax(a), q = softmax(b): [..., C] -> [...], then the reduction over rows.
template <Floating T, class D>
Tensor<T, D> kl_logits(const Tensor<T, D>& a, const Tensor<T, D>& b, Reduction r = Reduction::mean,
                       Where at = Where::current()) {
  detail::check_same("kl_logits", "a", a, "b", b, at);
  const auto p = log_softmax(a, -1, at);
  return detail::reduce_loss(sum(mul(exp(p, at), sub(p, log_softmax(b, -1, at), at), at), {-1}, false, at), r, at);
}
/// KL(q || p): seeks a mode of p where kl_logits covers all of them.
template <Floating T, class D>
Tensor<T, D> reverse_kl_logits(const Tensor<T, D>& a, const Tensor<T, D>& b, Reduction r = Reduction::mean,
                               Where at = Where::current()) {
  return kl_logits(b, a, r, at);
}
/// Jensen and Shannon: (KL(p || m) + KL(q || m)) / 2, m = (p + q) / 2; symmetric, at most log 2. Lin, IEEE Trans. Inf. Theory
/// 1991.
template <Floating T, class D>
Tensor<T, D> js_logits(const Tensor<T, D>& a, const Tensor<T, D>& b, Reduction r = Reduction::mean,
                       Where at = Where::current()) {
  detail::check_same("js_logits", "a", a, "b", b, at);
  const auto p = log_softmax(a, -1, at), q = log_softmax(b, -1, at);
  const auto m = sub(logaddexp(p, q, at), 0.69314718055994530942, at);
  const auto each = add(mul(exp(p, at), sub(p, m, at), at), mul(exp(q, at), sub(q, m, at), at), at);
  return detail::reduce_loss(mul(sum(each, {-1}, false, at), 0.5, at), r, at);
}
/// Total variation: sum |p - q| / 2, at most 1.
template <Floating T, class D>
Tensor<T, D> tv_logits(const Tensor<T, D>& a, const Tensor<T, D>& b, Reduction r = Reduction::mean,
                       Where at = Where::current()) {
  detail::check_same("tv_logits", "a", a, "b", b, at);
  const auto apart = abs(sub(softmax(a, -1, at), softmax(b, -1, at), at), at);
  return detail::reduce_loss(mul(sum(apart, {-1}, false, at), 0.5, at), r, at);
}
/// T^2 KL(softmax(teacher / T) || softmax(student / T)), the mean over rows; T^2 keeps the gradients' size. Add it to the loss
/// of the labels. Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015. Give teacher.detach() to train
/// one net.
template <Floating T, class D>
Tensor<T, D> distillation_loss(const Tensor<T, D>& student, const Tensor<T, D>& teacher, double temperature = 4,
                               Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("distillation_loss", "student", student, "teacher", teacher, at);
  detail::check_positive("distillation_loss", "temperature", temperature, at);
  const auto kl = kl_logits(mul(teacher, 1 / temperature, at), mul(student, 1 / temperature, at), r, at);
  return mul(kl, temperature * temperature, at);
}
/// T^2 sum_k KL(Bernoulli(sigmoid(t_k / T)) || Bernoulli(sigmoid(s_k / T))), logits [..., K], the reduction over rows: each class is
/// a question of its own, so that a constant added to a teacher's row counts, which softmax cannot see. The gradient of a row is
/// T (sigmoid(s / T) - sigmoid(t / T)).  BinaryKL of Yang et al., "Dual-head knowledge distillation", KDD 2025.
template <Floating T, class D>
Tensor<T, D> binary_distillation_loss(const Tensor<T, D>& student, const Tensor<T, D>& teacher, double temperature = 2,
                                      Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("binary_distillation_loss", "student", student, "teacher", teacher, at);
  detail::check_positive("binary_distillation_loss", "temperature", temperature, at);
  const auto s = mul(student, 1 / temperature, at), t = mul(teacher, 1 / temperature, at), not_s = neg(s, at), not_t = neg(t, at);
  const auto each = add(mul(sigmoid(t, at), sub(log_sigmoid(t, at), log_sigmoid(s, at), at), at),
                        mul(sigmoid(not_t, at), sub(log_sigmoid(not_t, at), log_sigmoid(not_s, at), at), at), at);
  return detail::reduce_loss(mul(sum(each, {-1}, false, at), temperature * temperature, at), r, at);
}
/// T^2 sum_k KL(Bernoulli(1/2) || Bernoulli(sigmoid((s_k - t_k) / T))) = T^2 sum_k log cosh((s_k - t_k) / (2 T)), the reduction over
/// rows: (s - t)^2 / 8 near 0, slope T / 2 far away, whatever the size of the teacher's logit. The gradient of a row is
/// T (sigmoid((s - t) / T) - 1 / 2).  BinaryKL-Norm of the same paper.
template <Floating T, class D>
Tensor<T, D> binary_distillation_norm_loss(const Tensor<T, D>& student, const Tensor<T, D>& teacher, double temperature = 2,
                                           Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("binary_distillation_norm_loss", "student", student, "teacher", teacher, at);
  detail::check_positive("binary_distillation_norm_loss", "temperature", temperature, at);
  const double half = 0.5 / temperature;
  const auto each = log_cosh_loss(mul(student, half, at), mul(teacher, half, at), Reduction::none, at);
  return detail::reduce_loss(mul(sum(each, {-1}, false, at), temperature * temperature, at), r, at);
}
/// KL(N(mean, e^{log_variance}) || N(0, 1)) = (e^v + mean^2 - 1 - v) / 2, summed over the last dimension. Kingma & Welling
/// 2014, B.
template <Floating T, class D>
Tensor<T, D> gaussian_kl(const Tensor<T, D>& mean, const Tensor<T, D>& log_variance, Reduction r = Reduction::mean,
                         Where at = Where::current()) {
  detail::check_same("gaussian_kl", "mean", mean, "log_variance", log_variance, at);
  const auto each = sub(add(expm1(log_variance, at), square(mean, at), at), log_variance, at);
  return detail::reduce_loss(mul(sum(each, {-1}, false, at), 0.5, at), r, at);
}

}  // namespace gradus
