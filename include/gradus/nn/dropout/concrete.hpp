// Dropout with a learnt rate, through a relaxed mask that has a gradient.
//
//   z = sigmoid((log(alpha / (1 - alpha)) + log(u / (1 - u))) / tau)      u uniform; z -> 1 (dropped) with probability alpha
//   P(z > 1/2) = alpha for every tau, since z > 1/2 is u > 1 - alpha
#pragma once
#include <gradus/nn/dropout/modes.hpp>

namespace gradus::nn {

namespace detail {
/// z of the given shape for alpha = sigmoid(a); 1e-7 inside the logarithms, as published.
template <class T, class D>
Tensor<T, D> relaxed_drop(const Tensor<T, D>& a, const Tensor<T, D>& u, double tau, Where at) {
  constexpr double eps = 1e-7;
  const auto odds = [&](const Tensor<T, D>& p) {
    return sub(log(add(p, eps, at), at), log(gradus::detail::affine(p, -1, 1 + eps, at), at), at);
  };
  return sigmoid(mul(add(odds(sigmoid(a, at)), odds(u), at), 1 / tau, at), at);
}
}  // namespace detail

/// Gal, Hron, Kendall, "Concrete dropout", NeurIPS 2017: y = x (1 - z) / (1 - alpha), one z an element, or one along the
/// `shared` axes; alpha is one learnt number. The loss gets regulariser() added, eq. 3 and 4:
///
///   weight_decay |W|^2 / (1 - alpha) + rate_decay K (alpha log alpha + (1 - alpha) log(1 - alpha))
///
/// with weight_decay = l^2 / N, rate_decay = 2 / N for prior length scale l, N samples; K is the number of inputs. Training and
/// evaluation with monte_carlo draw z; plain evaluation is x.
///
/// `rescale` off, `shared` {-1} on x [B, T, C] and tau 0.1 is the temporal form (temporal() below).
template <class T = float, class D = Cpu>
struct ConcreteDropout {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> logit;  ///< [], alpha = sigmoid(logit)
  double tau = 0.1;
  Dims shared = Dims(Shape{});
  bool rescale = true;
  bool training = true, monte_carlo = false;

  explicit ConcreteDropout(double alpha = 0.1, double tau = 0.1, Where at = Where::current()) : tau(tau) {
    if (!(alpha > 0 && alpha < 1 && tau > 0))
      fail("ConcreteDropout", "parameters out of range", {{"alpha", std::to_string(alpha)}, {"tau", std::to_string(tau)}},
           "0 < alpha < 1 and tau > 0", at);
    logit = full<T, D>(Shape{}, std::log(alpha / (1 - alpha)), at);
    logit.requires_grad_();
  }
  template <class U, class E>
  explicit ConcreteDropout(const ConcreteDropout<U, E>& o, Where at = Where::current())
      : logit(converted<T, D>(o.logit, at)),
        tau(o.tau),
        shared(o.shared),
        rescale(o.rescale),
        training(o.training),
        monte_carlo(o.monte_carlo) {}
  /// Whole time steps of x [B, T, C], no rescaling, alpha started between 0.01 and 0.5 as published (uniform in the logit).
  /// Miranda, Mena, Dengel, "An analysis of temporal dropout in Earth observation time series", 2025.
  static ConcreteDropout temporal(double tau = 0.1, Where at = Where::current()) {
    const double lo = std::log(0.01 / 0.99), a = lo * (1 - detail::host_uniform());
    ConcreteDropout d(1 / (1 + std::exp(-a)), tau, at);
    d.shared = {-1}, d.rescale = false;
    return d;
  }

  Tensor<T, D> alpha(Where at = Where::current()) const { return sigmoid(logit, at); }
  /// z for given uniforms.
  Tensor<T, D> mask(const Tensor<T, D>& u, Where at = Where::current()) const {
    return detail::relaxed_drop(logit, u, tau, at);
  }
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (!training && !monte_carlo) return x;
    const RandomStream s = generator().draw();
    Tensor<T, D> kept;
    auto* tape = gradus::detail::mask_tape;
    if (tape && tape->replay) {
      kept = gradus::detail::next_mask("ConcreteDropout", x, at);
    } else {
      kept = sub(1.0, mask(UniformFactor{0, 1, shared.list}.template factor<T, D>(x.shape(), s, at), at), at);
      if (tape) tape->masks.push_back(kept.detach());
    }
    const auto y = mul(x, kept, at);
    return rescale ? div(y, sub(1.0, alpha(at), at), at) : y;
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }

  /// alpha log alpha + (1 - alpha) log(1 - alpha), minus the entropy of a mask element: at most 0.
  Tensor<T, D> negative_entropy(
      Where at = Where::current()) const {  // log alpha = -softplus(-a), log(1 - alpha) = -softplus(a)
    const auto p = alpha(at);
    return neg(add(mul(p, softplus(neg(logit, at), 1, at), at), mul(sub(1.0, p, at), softplus(logit, 1, at), at), at), at);
  }
  /// The two terms for the layer's weights and K inputs.
  Tensor<T, D> regulariser(const std::vector<Tensor<T, D>>& weights, int64_t K, double weight_decay, double rate_decay,
                           Where at = Where::current()) const {
    auto r = mul(negative_entropy(at), rate_decay * static_cast<double>(K), at);
    for (const auto& w : weights)
      r = add(r, div(mul(sum(square(w, at), {}, false, at), weight_decay, at), sub(1.0, alpha(at), at), at), at);
    return r;
  }
  void visit(auto&& f) { f("training", training), f("monte_carlo", monte_carlo, stays), f("logit", logit); }
  std::string about() const { return "learnt rate"; }
};

/// Ba & Frey, "Adaptive dropout for training deep neural networks" (standout), NeurIPS 2013: unit j of h = f(W x) is kept with
/// probability sigmoid(a s_j + b), s = W x + c the pre-activation, so that the belief net shares the weights; a and b are
/// fixed. y = m h; evaluation takes the expectation. No gradient goes through the mask.
struct Standout {
  double a = 1, b = 0;
  bool training = true, monte_carlo = false;
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& h, const Tensor<T, D>& s, Where at = Where::current()) const {
    const auto kept = no_grad([&] { return sigmoid(gradus::detail::affine(s, a, b, at), at); });
    if (!training && !monte_carlo) return mul(h, kept, at);
    return drop(h, BernoulliEach<T, D>(no_grad([&] { return sub(1.0, kept, at); })), {}, at);
  }
  void visit(auto&& f) { f("training", training), f("monte_carlo", monte_carlo, stays); }
};

/// Achille & Soatto, "Information dropout", IEEE TPAMI 2018: y = x e^{alpha n}, n standard normal, alpha(x) in (0, max] from a
/// net, given here as log_alpha; the loss gets beta times kl() added. For ReLU units the prior on log y is uniform and
/// KL = -log alpha + constant; the constant log max makes kl() 0 at alpha = max.
struct InformationDropout {
  double max_alpha = 0.7;
  bool training = true, monte_carlo = false;
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, const Tensor<T, D>& log_alpha, Where at = Where::current()) const {
    if (!training && !monte_carlo) return x;
    const auto n = NormalFactor{0, 1}.template factor<T, D>(x.shape(), generator().draw(), at);
    return mul(x, exp(mul(exp(clamp(log_alpha, -1e30, std::log(max_alpha), at), at), n, at), at), at);
  }
  /// [B] for log_alpha [B, ...].
  template <class T, class D>
  Tensor<T, D> kl(const Tensor<T, D>& log_alpha, Where at = Where::current()) const {
    const auto each = sub(std::log(max_alpha), clamp(log_alpha, -1e30, std::log(max_alpha), at), at);
    return sum(flatten(each, 1, -1, at), {-1}, false, at);
  }
  void visit(auto&& f) { f("training", training), f("monte_carlo", monte_carlo, stays); }
};

}  // namespace gradus::nn
