// Dropout as functions of a tensor. p is always the probability of DROPPING; with p = 0 or in evaluation x itself comes back.
// The mask is made again in backward (ops/mask.hpp). Layers, and the variants that have a state, are in nn/dropout/.
#pragma once
#include <gradus/ops/mask.hpp>

namespace gradus {

/// With the mask of a given stream: equal streams give equal masks. y = 0 with probability p, else x / (1 - p), so E y = x.
/// Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, JMLR 15, 2014.
template <Floating T, class D>
Tensor<T, D> dropout(const Tensor<T, D>& x, double p, RandomStream stream, Where at = Where::current()) {
  detail::check_probability("dropout", p, at);
  return drop(x, Bernoulli{p}, {detail::keep_scale(p)}, stream, at);
}
template <Floating T, class D>
Tensor<T, D> dropout(const Tensor<T, D>& x, double p, bool training = true, Where at = Where::current()) {
  detail::check_probability("dropout", p, at);
  return training && p > 0 ? dropout(x, p, generator().draw(), at) : x;
}
/// Element i with a probability of its own: y_i = m_i x_i / (1 - p_i). p broadcasts to x and is constant for gradients.
template <Floating T, class D>
Tensor<T, D> dropout(const Tensor<T, D>& x, const Tensor<T, D>& p, bool training = true, Where at = Where::current()) {
  if (!training) return x;
  const auto scale = no_grad([&] {
    const auto all = greater_equal(p, 1, at);  // nothing is kept there: no 1 / 0
    return where(all, 0.0, reciprocal(where(all, 1.0, sub(1.0, p, at), at), at), at);
  });
  return mul(drop(x, BernoulliEach<T, D>(p), {}, at), scale, at);
}
/// Elements along the `shared` axes are dropped together: {-1, -2} for the channels of images (Tompson et al., CVPR 2015,
/// "spatial dropout"), {1} for one mask at all times of [B, T, C] (Gal & Ghahramani, NeurIPS 2016), {1, 2, 3} for whole
/// samples.
template <Floating T, class D>
Tensor<T, D> shared_dropout(const Tensor<T, D>& x, double p, const Dims& shared, bool training = true,
                            Where at = Where::current()) {
  detail::check_probability("shared_dropout", p, at);
  return training && p > 0 ? drop(x, Bernoulli{p, shared.list}, {detail::keep_scale(p)}, at) : x;
}

namespace detail {
/// Of alpha dropout: what is dropped becomes alpha' = -lambda alpha, SELU's limit, and a y + b restores mean 0 and variance 1:
/// a = ((1 - p)(1 + p alpha'^2))^{-1/2}, b = -a p alpha'.
inline Outcome alpha_outcome(double p) {
  constexpr double limit = -1.0507009873554805 * 1.6732632423543772;
  const double a = p < 1 ? 1 / std::sqrt((1 - p) * (1 + p * limit * limit)) : 0, b = -a * p * limit;
  return {a, b, a * limit + b};
}
}  // namespace detail

/// Keeps mean 0 and variance 1 of the input. Klambauer, Unterthiner, Mayr, Hochreiter, NeurIPS 2017, section 3.
/// With `shared` axes whole features are dropped ({-1, -2} for images).
template <Floating T, class D>
Tensor<T, D> alpha_dropout(const Tensor<T, D>& x, double p, bool training = true, const Dims& shared = Dims(Shape{}),
                           Where at = Where::current()) {
  detail::check_probability("alpha_dropout", p, at);
  return training && p > 0 ? drop(x, Bernoulli{p, shared.list}, detail::alpha_outcome(p), at) : x;
}
/// y = x n, n ~ N(1, p / (1 - p)): the mean and variance of dropout. Srivastava et al. 2014, section 10.
template <Floating T, class D>
Tensor<T, D> gaussian_dropout(const Tensor<T, D>& x, double p, bool training = true, Where at = Where::current()) {
  if (!(p >= 0 && p < 1)) fail("gaussian_dropout", "not a rate", {{"p", std::to_string(p)}}, "0 <= p < 1", at);
  return training && p > 0 ? noise(x, NormalFactor{1, std::sqrt(p / (1 - p))}, at) : x;
}
/// y = x u, u uniform of mean 1 and the variance p / (1 - p) of dropout, for p <= 1/4 of one sign. Shen et al., "Continuous
/// dropout", IEEE TNNLS 2018, with the mean taken out.
template <Floating T, class D>
Tensor<T, D> uniform_dropout(const Tensor<T, D>& x, double p, bool training = true, Where at = Where::current()) {
  if (!(p >= 0 && p < 1)) fail("uniform_dropout", "not a rate", {{"p", std::to_string(p)}}, "0 <= p < 1", at);
  const double half = std::sqrt(3 * p / (1 - p));
  return training && p > 0 ? noise(x, UniformFactor{1 - half, 1 + half}, at) : x;
}
/// y = x + deviation n, n standard normal.
template <Floating T, class D>
Tensor<T, D> gaussian_noise(const Tensor<T, D>& x, double deviation, bool training = true, Where at = Where::current()) {
  if (!(deviation >= 0))
    fail("gaussian_noise", "not a deviation", {{"deviation", std::to_string(deviation)}}, "deviation >= 0", at);
  return training && deviation > 0 ? add(x, normal<T, D>(x.shape(), 0, deviation, at), at) : x;
}

}  // namespace gradus
