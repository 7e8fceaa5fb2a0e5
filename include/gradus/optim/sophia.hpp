// Sophia, Liu et al. 2024: steps divided by an estimate of the Hessian's diagonal, each entry clipped to lr. The estimate is
// renewed every k = 10 steps or so, by one of
//
//   Gauss-Newton-Bartlett   B * g * g with g the gradient of the mean loss over B examples for labels drawn from the model
//   Hutchinson              u * (H u), u of signs: optim::hutchinson(loss, params)
//
//   if (step % 10 == 0) opt.update_hessian(optim::hutchinson(loss(), opt.params()));
#pragma once
#include <vector>

#include <gradus/autograd/engine.hpp>
#include <gradus/ops/random.hpp>
#include <gradus/optim/adaptive.hpp>

namespace gradus::optim {

/// u * (H u) for each parameter, u of independent signs: its expectation is the diagonal of the loss's Hessian (Hutchinson 1989).
/// The loss must have been computed with recording on; its graph is used up.
template <class T, class D>
std::vector<Tensor<T, D>> hutchinson(const Tensor<T, D>& loss, const std::vector<Tensor<T, D>>& params,
                                     Where at = Where::current()) {
  const auto g = grad(std::vector<Tensor<T, D>>{loss}, params, GradOptions{.create_graph = true}, at);
  std::vector<Tensor<T, D>> u;
  Tensor<T, D> along;
  for (const auto& gi : g) {
    u.push_back(no_grad([&] { return sub(mul(bernoulli<T, D>(gi.shape(), 0.5, at), 2, at), 1, at); }));
    const auto part = sum(mul(gi, u.back(), at), {}, false, at);
    along = along.defined() ? add(along, part, at) : part;
  }
  // A parameter that the gradient does not depend on has no curvature.
  auto hu = grad(std::vector<Tensor<T, D>>{along}, params, GradOptions{.allow_unused = true}, at);
  const NoGrad guard;
  for (std::size_t i = 0; i < hu.size(); ++i) hu[i] = hu[i].defined() ? mul(hu[i], u[i], at) : zeros_like(u[i], at);
  return hu;
}

struct SophiaOptions {
  static constexpr const char* name = "Sophia";
  static constexpr std::array states{"exp_avg", "hessian"};
  double lr = 1e-4, beta1 = 0.965, beta2 = 0.99, gamma = 0.04, eps = 1e-12, weight_decay = 0.1;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_adam(*this, at);
    detail::check_positive(name, "gamma", gamma, at);
    detail::check_positive(name, "eps", eps, at);
  }
  kernels::SophiaRule rule(double lr, int64_t) const { return {lr, beta1, gamma, eps, 1 - lr * weight_decay}; }
};
/// m = beta1 m + (1 - beta1) g;  p -= lr (weight_decay p + clip(m / max(gamma h, eps), 1)).  Algorithm 3 of the paper.
template <class T = float, class D = Cpu>
class Sophia : public RuleOptimizer<T, D, SophiaOptions> {
 public:
  using RuleOptimizer<T, D, SophiaOptions>::RuleOptimizer;

  /// h = beta2 h + (1 - beta2) estimate, one tensor for each parameter.
  void update_hessian(const std::vector<Tensor<T, D>>& estimate, Where at = Where::current()) {
    if (estimate.size() != this->params_.size())
      fail("Sophia::update_hessian", "one estimate for each parameter", {{"estimates", std::to_string(estimate.size())}},
           std::to_string(this->params_.size()), at);
    const NoGrad guard;
    this->each_group([&](const SophiaOptions& o, double, const auto& members) {
      for (const std::size_t i : members) {
        auto& h = this->state_or_zeros(this->slots_.s1, i, at);
        mul_(h, o.beta2, at);
        add_(h, mul(cast<compute_t<T>>(estimate[i], at), 1 - o.beta2, at), at);
      }
    });
  }
  /// Gauss-Newton-Bartlett from the gradients that are there now: batch * g * g.
  void update_hessian_from_gradients(int64_t batch, Where at = Where::current()) {
    std::vector<Tensor<T, D>> estimate;
    const NoGrad guard;
    for (const auto& p : this->params_) {
      if (!p.impl()->grad)
        fail("Sophia::update_hessian", "a parameter without a gradient", {{p.name(), describe(p)}},
             "backward() of the loss for labels drawn from the model", at);
      estimate.push_back(mul(square(p.grad(), at), static_cast<double>(batch), at));
    }
    update_hessian(estimate, at);
  }
};
template <nn::Module M>
Sophia(M&, SophiaOptions = {}, Where = {}) -> Sophia<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D>
Sophia(std::vector<Tensor<T, D>>, SophiaOptions = {}, Where = {}) -> Sophia<T, D>;

}  // namespace gradus::optim
