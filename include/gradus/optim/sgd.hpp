// Stochastic gradient descent with momentum (Polyak 1964; Nesterov's form as in Sutskever et al. 2013); the update is in
// kernels/optim.hpp.
#pragma once
#include <gradus/optim/optimizer.hpp>

namespace gradus::optim {

struct SgdOptions {
  double lr = 1e-2, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
  bool allow_missing_grad = false;  ///< a parameter without a gradient is left alone instead of being an error
};

/// optim::Sgd opt(nn::parameters(net), {.lr = 0.1, .momentum = 0.9});   or optim::Sgd opt(net, {...})
template <class T = float, class D = Cpu>
class Sgd : public Optimizer<T, D> {
 public:
  SgdOptions options;  // lr: see set_lr()

  explicit Sgd(std::vector<Tensor<T, D>> params, SgdOptions o = {}, Where at = Where::current())
      : Optimizer<T, D>("Sgd", std::move(params), o.lr, o.allow_missing_grad, at), options(o) {
    if (o.nesterov && (o.momentum <= 0 || o.dampening != 0))
      fail("Sgd", "Nesterov's form needs momentum",
           {{"momentum", std::to_string(o.momentum)}, {"dampening", std::to_string(o.dampening)}},
           "momentum > 0 and no dampening", at);
  }
  template <nn::Module M>
  explicit Sgd(M& net, SgdOptions o = {}, Where at = Where::current()) : Sgd(nn::parameters(net, at), o, at) {}

  void step(Where at = Where::current()) {
    const auto update = [&](const auto& refs, int64_t t) {
      kernels::sgd_step<T>(D{}, refs.data(), static_cast<int64_t>(refs.size()),
                           {.lr = this->lr_,
                            .momentum = options.momentum,
                            .dampening = options.dampening,
                            .weight_decay = options.weight_decay,
                            .nesterov = options.nesterov,
                            .first = t == 1});
    };
    if (options.momentum != 0) this->for_each_group({&momentum_}, at, update);
    else this->for_each_group({}, at, update);
  }

 private:
  typename Optimizer<T, D>::State momentum_;
};
template <nn::Module M>
Sgd(M&, SgdOptions = {}, Where = {}) -> Sgd<nn::element_of<M>, nn::device_type_of<M>>;

}  // namespace gradus::optim
