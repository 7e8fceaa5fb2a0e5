// Stochastic gradient descent with momentum (Polyak 1964; Nesterov's form as in Sutskever et al. 2013), and its form with a
// decoupled weight decay. The updates are in kernels/optim.hpp and kernels/optim_rules.hpp.
#pragma once
#include <gradus/optim/optimizer.hpp>

namespace gradus::optim {

namespace detail {
inline void check_momentum(const char* op, double momentum, double dampening, bool nesterov, Where at) {
  check_not_negative(op, "momentum", momentum, at);
  if (nesterov && (momentum <= 0 || dampening != 0))
    fail(op, "Nesterov's form needs momentum",
         {{"momentum", std::to_string(momentum)}, {"dampening", std::to_string(dampening)}}, "momentum > 0 and no dampening", at);
}
}  // namespace detail

struct SgdOptions {
  static constexpr const char* name = "Sgd";
  double lr = 1e-2, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
  bool allow_missing_grad = false;  ///< a parameter without a gradient is left alone instead of being an error
  void check(Where at) const {
    detail::check_momentum(name, momentum, dampening, nesterov, at);
    detail::check_not_negative(name, "weight_decay", weight_decay, at);
  }
};

/// b = momentum b + (1 - dampening) g;  p -= lr b        g = dL/dp + weight_decay p;  b = g at the first step
///     optim::Sgd opt(net, {.lr = 0.1, .momentum = 0.9});   or optim::Sgd opt(nn::parameters(net), {...})
template <class T = float, class D = Cpu>
class Sgd : public Optimizer<T, D, SgdOptions> {
 public:
  using Optimizer<T, D, SgdOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->update([&](const SgdOptions& o) { return Slots{o.momentum != 0 ? momentum_ : -1}; }, at,
                 [&](const SgdOptions& o, double lr, const auto& refs, const auto&, int64_t t) {
                   kernels::sgd_step<T>(D{}, refs.data(), static_cast<int64_t>(refs.size()),
                                        {.lr = lr,
                                         .momentum = o.momentum,
                                         .dampening = o.dampening,
                                         .weight_decay = o.weight_decay,
                                         .nesterov = o.nesterov,
                                         .first = t == 1});
                 });
  }

 private:
  int momentum_ = this->slot("momentum_buffer");
};
template <nn::Module M>
Sgd(M&, SgdOptions = {}, Where = {}) -> Sgd<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D>
Sgd(std::vector<Tensor<T, D>>, SgdOptions = {}, Where = {}) -> Sgd<T, D>;

struct SgdwOptions {
  static constexpr const char* name = "Sgdw";
  double lr = 1e-2, momentum = 0, dampening = 0, weight_decay = 1e-2;
  bool nesterov = false;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_momentum(name, momentum, dampening, nesterov, at);
    detail::check_not_negative(name, "weight_decay", weight_decay, at);
  }
};
/// SGD whose weight decay shrinks the parameter itself, by lr * weight_decay (Loshchilov & Hutter 2019, algorithm 1).
template <class T = float, class D = Cpu>
class Sgdw : public Optimizer<T, D, SgdwOptions> {
 public:
  using Optimizer<T, D, SgdwOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->fused({momentum_}, at, [](const SgdwOptions& o, double lr, int64_t t) {
      return kernels::SgdwRule{lr,
                               t == 1 ? 0 : o.momentum,
                               t == 1 ? 1 : 1 - o.dampening,
                               o.nesterov ? 1.0 : 0.0,
                               o.nesterov ? o.momentum : 1,
                               1 - lr * o.weight_decay};
    });
  }

 private:
  int momentum_ = this->slot("momentum_buffer");
};
template <nn::Module M>
Sgdw(M&, SgdwOptions = {}, Where = {}) -> Sgdw<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D>
Sgdw(std::vector<Tensor<T, D>>, SgdwOptions = {}, Where = {}) -> Sgdw<T, D>;

}  // namespace gradus::optim
