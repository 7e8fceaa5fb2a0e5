// Losses of regression: x predictions, t targets, of one shape; every loss a sum over elements of a function of d = x - t.
#pragma once
#include <gradus/ops/losses/common.hpp>

namespace gradus {

/// (x - t)^2
template <Floating T, class D>
Tensor<T, D> mse_loss(const Tensor<T, D>& x, const Tensor<T, D>& t, Reduction r = Reduction::mean,
                      Where at = Where::current()) {
  detail::check_same("mse_loss", "x", x, "t", t, at);
  return detail::reduce_loss(square(sub(x, t, at), at), r, at);
}
/// |x - t|; the gradient at d = 0 is 0.
template <Floating T, class D>
Tensor<T, D> l1_loss(const Tensor<T, D>& x, const Tensor<T, D>& t, Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("l1_loss", "x", x, "t", t, at);
  return detail::reduce_loss(abs(sub(x, t, at), at), r, at);
}
/// d^2/2 for |d| <= delta, delta (|d| - delta/2) beyond. Huber, Annals of Mathematical Statistics 35, 1964.
template <Floating T, class D>
Tensor<T, D> huber_loss(const Tensor<T, D>& x, const Tensor<T, D>& t, double delta = 1, Reduction r = Reduction::mean,
                        Where at = Where::current()) {
  detail::check_same("huber_loss", "x", x, "t", t, at);
  detail::check_positive("huber_loss", "delta", delta, at);
  const auto d = abs(sub(x, t, at), at), c = clamp(d, 0, delta, at);  // c (d - c/2)
  return detail::reduce_loss(mul(c, sub(d, mul(c, 0.5, at), at), at), r, at);
}
/// d^2 / (2 beta) for |d| < beta, |d| - beta/2 beyond: huber_loss / beta; l1_loss for beta = 0. Girshick, ICCV 2015.
template <Floating T, class D>
Tensor<T, D> smooth_l1_loss(const Tensor<T, D>& x, const Tensor<T, D>& t, double beta = 1, Reduction r = Reduction::mean,
                            Where at = Where::current()) {
  detail::check_same("smooth_l1_loss", "x", x, "t", t, at);
  if (beta == 0) return l1_loss(x, t, r, at);
  detail::check_positive("smooth_l1_loss", "beta", beta, at);
  return mul(huber_loss(x, t, beta, r, at), 1 / beta, at);
}
/// log cosh d = d + softplus(-2 d) - log 2, which does not overflow.
template <Floating T, class D>
Tensor<T, D> log_cosh_loss(const Tensor<T, D>& x, const Tensor<T, D>& t, Reduction r = Reduction::mean,
                           Where at = Where::current()) {
  detail::check_same("log_cosh_loss", "x", x, "t", t, at);
  const auto d = sub(x, t, at);
  return detail::reduce_loss(sub(add(d, softplus(mul(d, -2, at), 1, at), at), 0.69314718055994530942, at), r, at);
}
/// The pinball loss max(q (t - x), (q - 1)(t - x)): its minimiser is the q-quantile. Koenker & Bassett, Econometrica 46, 1978.
template <Floating T, class D>
Tensor<T, D> quantile_loss(const Tensor<T, D>& x, const Tensor<T, D>& t, double q, Reduction r = Reduction::mean,
                           Where at = Where::current()) {
  detail::check_same("quantile_loss", "x", x, "t", t, at);
  if (!(q > 0 && q < 1)) fail("quantile_loss", "not a quantile", {{"q", std::to_string(q)}}, "0 < q < 1", at);
  const auto d = sub(x, t, at);  // q (-d) + max(d, 0)
  return detail::reduce_loss(sub(relu(d, at), mul(d, q, at), at), r, at);
}

struct PoissonNllOptions {
  bool log_input = true;  ///< x is the log of the rate
  bool full = false;      ///< adds Stirling's t log t - t + log(2 pi t) / 2 where t > 1
  double eps = 1e-8;      ///< inside the log of a rate
  Reduction reduction = Reduction::mean;
};
/// -log Poisson(t; rate) up to terms without x: e^x - t x, or, for rates x, x - t log(x + eps).
template <Floating T, class D>
Tensor<T, D> poisson_nll_loss(const Tensor<T, D>& x, const Tensor<T, D>& t, const PoissonNllOptions& o = {},
                              Where at = Where::current()) {
  detail::check_same("poisson_nll_loss", "x", x, "t", t, at);
  auto per = o.log_input ? sub(exp(x, at), mul(t, x, at), at) : sub(x, mul(t, log(add(x, o.eps, at), at), at), at);
  if (o.full) {
    const auto big = greater(t.detach(), 1, at);
    const auto u = where(big, t, 1.0, at);
    const auto stirling =
        add(sub(mul(u, log(u, at), at), u, at), mul(log(mul(u, 6.28318530717958647693, at), at), 0.5, at), at);
    per = add(per, where(big, stirling, 0.0, at), at);
  }
  return detail::reduce_loss(per, o.reduction, at);
}

struct GaussianNllOptions {
  bool full = false;  ///< adds log(2 pi) / 2
  double eps = 1e-6;  ///< the least variance; below it no gradient reaches the variance
  Reduction reduction = Reduction::mean;
};
/// (log v + (x - t)^2 / v) / 2 with the variance v, of x's shape or broadcast to it. Nix & Weigend, ICNN 1994.
template <Floating T, class D>
Tensor<T, D> gaussian_nll_loss(const Tensor<T, D>& x, const Tensor<T, D>& t, const Tensor<T, D>& variance,
                               const GaussianNllOptions& o = {}, Where at = Where::current()) {
  detail::check_same("gaussian_nll_loss", "x", x, "t", t, at);
  Shape both;
  if (!broadcast_shapes(x.shape(), variance.shape(), both) || !(both == x.shape()))
    fail("gaussian_nll_loss", "the variances do not match", {{"x", describe(x)}, {"variance", describe(variance)}},
         "a shape that broadcasts to x's", at);
  const auto v = maximum(variance, detail::scalar_like(variance, o.eps, at), at);
  const auto per = mul(add(log(v, at), div(square(sub(x, t, at), at), v, at), at), 0.5, at);
  return detail::reduce_loss(o.full ? add(per, 0.91893853320467274178, at) : per, o.reduction, at);
}

}  // namespace gradus
