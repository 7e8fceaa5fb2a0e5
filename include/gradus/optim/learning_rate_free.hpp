// Optimisers that find their learning rate: D-Adaptation (Defazio & Mishchenko 2023) and Prodigy (Mishchenko & Defazio 2024).
// Both estimate d, the distance from the first parameters to a solution, from below; leave lr at 1 and give a schedule by set_lr().
// One d serves all parameters. A step reads two sums back to the host.
#pragma once
#include <cmath>
#include <limits>

#include <gradus/optim/layerwise.hpp>

namespace gradus::optim {

struct DAdaptAdamOptions {
  static constexpr const char* name = "DAdaptAdam";
  double lr = 1, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0, d0 = 1e-6;
  double growth = std::numeric_limits<double>::infinity();  ///< d grows at most by this factor a step
  bool decoupled = false;
  bool bias_correction = false;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_adam(*this, at);
    detail::check_positive(name, "d0", d0, at);
    detail::check_in(name, "growth", growth, 1, HUGE_VAL, at);
  }
};
/// With l = d lr, b = sqrt(beta2):
///     r = b r + (1 - b) sum l g s / (sqrt(v) + eps);  m = beta1 m + (1 - beta1) l g;  v = beta2 v + (1 - beta2) g^2
///     s = b s + (1 - b) l g;  d' = max(d, min(r / ((1 - b) |s|_1), growth d));  p -= m / (sqrt(v) + eps)
/// Defazio & Mishchenko 2023, algorithm 5.
template <class T = float, class D = Cpu>
class DAdaptAdam : public Optimizer<T, D, DAdaptAdamOptions> {
 public:
  using Optimizer<T, D, DAdaptAdamOptions>::Optimizer;

  /// The estimate of the distance.
  double d() { return this->value(d_); }

  void step(Where at = Where::current()) {
    this->begin(at);
    const NoGrad guard;
    using A = compute_t<T>;
    double &d = this->value(d_), &numerator = this->value(numerator_);
    const auto& common = this->options;
    const double b = std::sqrt(common.beta2), k = this->value(k_) += 1;
    const double correction =
        common.bias_correction ? std::sqrt(1 - std::pow(common.beta2, k)) / (1 - std::pow(common.beta1, k)) : 1;
    double gained = 0, length = 0;
    this->each_group([&](const DAdaptAdamOptions& o, double lr, const auto& members) {
      for (const std::size_t i : members) {
        if (!this->grads_[i].defined()) continue;
        const double l = d * lr * correction;
        auto &m = this->state_or_zeros(m_, i, at), &v = this->state_or_zeros(v_, i, at), &s = this->state_or_zeros(s_, i, at);
        auto g = cast<A>(this->grads_[i], at);
        if (o.weight_decay != 0 && !o.decoupled) g = add(g, mul(cast<A>(this->params_[i].detach(), at), o.weight_decay, at), at);
        gained += l * static_cast<double>(sum(div(mul(g, s, at), add(sqrt(v, at), o.eps, at), at), {}, false, at).item());
        mul_(m, o.beta1, at);
        detail::add_scaled(m, g, l * (1 - o.beta1), at);
        detail::average(v, square(g, at), o.beta2, at);
        mul_(s, b, at);
        detail::add_scaled(s, g, l * (1 - b), at);
        length += static_cast<double>(sum(abs(s, at), {}, false, at).item());
      }
    });
    numerator = b * numerator + (1 - b) * gained;
    const double before = d;
    if (length == 0) return this->grads_.clear();  // no gradient anywhere yet: nothing to learn from
    if (common.lr > 0) d = std::max(d, std::min(numerator / ((1 - b) * length), d * common.growth));
    this->each_group([&](const DAdaptAdamOptions& o, double lr, const auto& members) {
      for (const std::size_t i : members) {
        if (!this->grads_[i].defined()) continue;
        auto p = cast<A>(this->params_[i].detach(), at);
        if (o.weight_decay != 0 && o.decoupled) p = mul(p, 1 - o.weight_decay * before * lr * correction, at);
        p = sub(p, div(this->state(m_, i), add(sqrt(this->state(v_, i), at), o.eps, at), at), at);
        this->params_[i].copy_(cast<T>(p, at), at);
      }
    });
    this->grads_.clear();
  }

 private:
  int m_ = this->slot("exp_avg"), v_ = this->slot("exp_avg_sq"), s_ = this->slot("s");
  int d_ = this->value_slot("d", this->options.d0), numerator_ = this->value_slot("numerator_weighted", 0);
  int k_ = this->value_slot("k", 0);
};

struct ProdigyOptions {
  static constexpr const char* name = "Prodigy";
  double lr = 1, beta1 = 0.9, beta2 = 0.999, beta3 = -1, eps = 1e-8, weight_decay = 0;  // beta3 < 0: sqrt(beta2)
  double d0 = 1e-6, d_coef = 1;
  double growth = std::numeric_limits<double>::infinity();
  bool decoupled = true;
  bool bias_correction = false;
  bool safeguard_warmup = false;  ///< lr is left out of the denominator of d: for a schedule with a warm-up
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_adam(*this, at);
    detail::check_positive(name, "d0", d0, at);
    detail::check_positive(name, "d_coef", d_coef, at);
    detail::check_in(name, "growth", growth, 1, HUGE_VAL, at);
  }
};
/// With l = d lr, p0 the first parameters:
///     r = beta3 r + (d / d0) l <g, p0 - p>;  m = beta1 m + (1 - beta1) d g;  v = beta2 v + (1 - beta2) d^2 g^2
///     s = beta3 s + (d / d0) l g;  d' = max(d, d_coef r / |s|_1);  p -= l m / (sqrt(v) + d' eps)
/// Mishchenko & Defazio 2024, algorithm 4; numerator and denominator are scaled by 1 / d0, and d' is bounded as in the authors' code.
template <class T = float, class D = Cpu>
class Prodigy : public Optimizer<T, D, ProdigyOptions> {
 public:
  using Optimizer<T, D, ProdigyOptions>::Optimizer;

  double d() { return this->value(d_); }

  void step(Where at = Where::current()) {
    this->begin(at);
    const NoGrad guard;
    using A = compute_t<T>;
    double &d = this->value(d_), &largest = this->value(largest_), &numerator = this->value(numerator_);
    const auto& common = this->options;
    const double beta3 = common.beta3 < 0 ? std::sqrt(common.beta2) : common.beta3, k = this->value(k_) += 1, scale = d / common.d0;
    const double correction =
        common.bias_correction ? std::sqrt(1 - std::pow(common.beta2, k)) / (1 - std::pow(common.beta1, k)) : 1;
    const double before = d;
    double length = 0;
    numerator *= beta3;
    this->each_group([&](const ProdigyOptions& o, double lr, const auto& members) {
      for (const std::size_t i : members) {
        if (!this->grads_[i].defined()) continue;
        const double l = d * lr * correction;
        const auto p = cast<A>(this->params_[i].detach(), at);
        auto& first = this->state(first_, i);
        if (!first.defined()) first = p.clone(at);
        auto &m = this->state_or_zeros(m_, i, at), &v = this->state_or_zeros(v_, i, at), &s = this->state_or_zeros(s_, i, at);
        auto g = cast<A>(this->grads_[i], at);
        if (o.weight_decay != 0 && !o.decoupled) g = add(g, mul(p, o.weight_decay, at), at);
        if (lr > 0)
          numerator += scale * l * static_cast<double>(sum(mul(g, sub(first, p, at), at), {}, false, at).item());
        mul_(m, o.beta1, at);
        detail::add_scaled(m, g, d * (1 - o.beta1), at);
        mul_(v, o.beta2, at);
        detail::add_scaled(v, square(g, at), d * d * (1 - o.beta2), at);
        mul_(s, beta3, at);
        detail::add_scaled(s, g, scale * (common.safeguard_warmup ? d : l), at);
        length += static_cast<double>(sum(abs(s, at), {}, false, at).item());
      }
    });
    if (length == 0) return this->grads_.clear();
    if (common.lr > 0) {
      const double guess = common.d_coef * numerator / length;
      if (d == common.d0) d = std::max(d, guess);
      largest = std::max(largest, guess);
      d = std::min(largest, d * common.growth);
    }
    this->each_group([&](const ProdigyOptions& o, double lr, const auto& members) {
      for (const std::size_t i : members) {
        if (!this->grads_[i].defined()) continue;
        const double l = before * lr * correction;
        auto p = cast<A>(this->params_[i].detach(), at);
        if (o.weight_decay != 0 && o.decoupled) p = mul(p, 1 - o.weight_decay * l, at);
        p = sub(p, mul(div(this->state(m_, i), add(sqrt(this->state(v_, i), at), d * o.eps, at), at), l, at), at);
        this->params_[i].copy_(cast<T>(p, at), at);
      }
    });
    this->grads_.clear();
  }

 private:
  int m_ = this->slot("exp_avg"), v_ = this->slot("exp_avg_sq"), s_ = this->slot("s"), first_ = this->slot("p0");
  int d_ = this->value_slot("d", this->options.d0), largest_ = this->value_slot("d_max", this->options.d0);
  int numerator_ = this->value_slot("d_numerator", 0), k_ = this->value_slot("k", 0);
};

// clang-format off
template <nn::Module M> DAdaptAdam(M&, DAdaptAdamOptions = {}, Where = {}) -> DAdaptAdam<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> DAdaptAdam(std::vector<Tensor<T, D>>, DAdaptAdamOptions = {}, Where = {}) -> DAdaptAdam<T, D>;
template <nn::Module M> Prodigy(M&, ProdigyOptions = {}, Where = {}) -> Prodigy<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Prodigy(std::vector<Tensor<T, D>>, ProdigyOptions = {}, Where = {}) -> Prodigy<T, D>;
// clang-format on

}  // namespace gradus::optim
