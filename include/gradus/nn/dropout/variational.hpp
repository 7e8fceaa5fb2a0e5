// Gaussian dropout whose variance is learnt, with the divergence that the loss needs.
#pragma once
#include <gradus/nn/dropout/modes.hpp>
#include <gradus/nn/init.hpp>
#include <gradus/ops/matmul.hpp>

namespace gradus::nn {

/// Multiplicative noise N(1, alpha) on activations x [..., C] with learnt alpha <= 1, one number or one a feature. Kingma,
/// Salimans, Welling, "Variational dropout and the local reparameterization trick", NeurIPS 2015, section 3.2; eq. 14 for
///
///   -KL(q(w | alpha) || log-uniform) = 1/2 log alpha + c1 alpha + c2 alpha^2 + c3 alpha^3 + constant
///
/// kl() leaves the constant out: it is negative for alpha = 1, and only its differences mean something.
template <class T = float, class D = Cpu>
struct VariationalGaussianDropout {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> log_alpha;  ///< [] or [C]
  bool training = true, monte_carlo = false;

  /// Starts from the variance of dropout with p; C = 0: one number for all features.
  explicit VariationalGaussianDropout(double p = 0.5, int64_t C = 0, Where at = Where::current()) {
    if (!(p > 0 && p <= 0.5))
      fail("VariationalGaussianDropout", "not a rate", {{"p", std::to_string(p)}}, "0 < p <= 1/2: alpha <= 1", at);
    log_alpha = full<T, D>(C > 0 ? Shape{C} : Shape{}, std::log(p / (1 - p)), at);
    log_alpha.requires_grad_();
  }
  template <class U, class E>
  explicit VariationalGaussianDropout(const VariationalGaussianDropout<U, E>& o, Where at = Where::current())
      : log_alpha(converted<T, D>(o.log_alpha, at)), training(o.training), monte_carlo(o.monte_carlo) {}
  /// alpha, at most 1: above, q is no posterior that the method can use (the paper's section 3.2).
  Tensor<T, D> alpha(Where at = Where::current()) const { return exp(clamp(log_alpha, -1e30, 0, at), at); }
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (!training && !monte_carlo) return x;
    const auto n = NormalFactor{0, 1}.template factor<T, D>(x.shape(), generator().draw(), at);
    return mul(x, add(mul(exp(mul(clamp(log_alpha, -1e30, 0, at), 0.5, at), at), n, at), 1, at), at);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  /// Of one weight, summed over the entries of alpha.
  Tensor<T, D> kl(Where at = Where::current()) const {
    const auto a = alpha(at);
    const auto series = mul(a, add(mul(a, add(mul(a, 0.58629921, at), -1.50204118, at), at), 1.16145124, at), at);
    return neg(sum(add(mul(clamp(log_alpha, -1e30, 0, at), 0.5, at), series, at), {}, false, at), at);
  }
  void visit(auto&& f) { f("training", training), f("monte_carlo", monte_carlo, stays), f("log_alpha", log_alpha); }
};

/// A linear layer with a normal posterior theta_ij (1 + sqrt(alpha_ij) n) for each weight, alpha unbounded: weights with
/// log alpha > `threshold` are noise and vanish in evaluation. Molchanov, Ashukha, Vetrov, "Variational dropout sparsifies deep
/// neural networks", ICML 2017. Parameters are theta and log sigma^2 = log(alpha theta^2) (additive form, eq. 12), outputs are
/// drawn, not weights (local reparameterisation): y ~ N(x theta^T + b, x^2 (sigma^2)^T). kl() is eq. 14:
///
///   KL = -sum k1 s(k2 + k3 log alpha) - 1/2 log(1 + 1 / alpha) - k1        k = 0.63576, 1.87320, 1.48695
template <class T = float, class D = Cpu>
struct SparseVariationalLinear {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> weight, log_sigma2, bias;  // [out, in] twice, [out]
  double threshold = 3;
  bool training = true, monte_carlo = false;

  SparseVariationalLinear(int64_t in, int64_t out, Where at = Where::current()) {
    if (in < 1 || out < 1)
      fail("SparseVariationalLinear", "no features", {{"in", std::to_string(in)}, {"out", std::to_string(out)}},
           "at least 1 of each", at);
    weight = init::fan_in_uniform<T, D>({out, in}, static_cast<double>(in), at);
    log_sigma2 = full<T, D>({out, in}, -10, at);
    bias = zeros<T, D>({out}, at);
    log_sigma2.requires_grad_(), bias.requires_grad_();
  }
  template <class U, class E>
  explicit SparseVariationalLinear(const SparseVariationalLinear<U, E>& o, Where at = Where::current())
      : weight(converted<T, D>(o.weight, at)),
        log_sigma2(converted<T, D>(o.log_sigma2, at)),
        bias(converted<T, D>(o.bias, at)),
        threshold(o.threshold),
        training(o.training),
        monte_carlo(o.monte_carlo) {}
  /// log alpha = log sigma^2 - log theta^2, within [-8, 8], where the approximation of the divergence was fitted.
  Tensor<T, D> log_alpha(Where at = Where::current()) const {
    return clamp(sub(log_sigma2, log(add(square(weight, at), 1e-16, at), at), at), -8, 8, at);
  }
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (!training && !monte_carlo) {
      const auto noise_only = greater(log_alpha(at).detach(), threshold, at);
      return linear(x, where(noise_only, 0.0, weight, at), bias, at);
    }
    const auto mean = linear(x, weight, bias, at);
    const auto variance = add(linear(square(x, at), exp(log_sigma2, at), {}, at), 1e-8, at);  // no sqrt'(0)
    const auto n = NormalFactor{0, 1}.template factor<T, D>(mean.shape(), generator().draw(), at);
    return add(mean, mul(sqrt(variance, at), n, at), at);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  Tensor<T, D> kl(Where at = Where::current()) const {
    const auto a = log_alpha(at);
    const auto rise = mul(sigmoid(gradus::detail::affine(a, 1.48695, 1.87320, at), at), 0.63576, at);
    const auto each = sub(sub(rise, mul(softplus(neg(a, at), 1, at), 0.5, at), at), 0.63576, at);
    return neg(sum(each, {}, false, at), at);
  }
  /// The share of weights that vanish in evaluation.
  double sparsity(Where at = Where::current()) const {
    const NoGrad guard;
    return static_cast<double>(mean(cast<T>(greater(log_alpha(at), threshold, at), at), {}, false, at).item(at));
  }
  void visit(auto&& f) {
    f("training", training), f("monte_carlo", monte_carlo, stays);
    f("weight", weight), f("log_sigma2", log_sigma2), f("bias", bias);
  }
  std::string about() const { return std::to_string(weight.size(1)) + " -> " + std::to_string(weight.size(0)); }
};

}  // namespace gradus::nn
