// Adam (Kingma & Ba 2015) and AdamW (Loshchilov & Hutter 2019); the update is in kernels/optim.hpp.
#pragma once
#include <gradus/optim/optimizer.hpp>

namespace gradus::optim {

struct AdamOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool amsgrad = false;
  bool allow_missing_grad = false;  ///< a parameter without a gradient is left alone instead of being an error
};
struct AdamWOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 1e-2;
  bool amsgrad = false;
  bool allow_missing_grad = false;
};

/// Weight decay is added to the gradient.
template <class T = float, class D = Cpu>
class Adam : public Optimizer<T, D> {
 public:
  AdamOptions options;  // lr: see set_lr()

  explicit Adam(std::vector<Tensor<T, D>> params, AdamOptions o = {}, Where at = Where::current())
      : Adam("Adam", std::move(params), o, false, at) {}
  template <nn::Module M>
  explicit Adam(M& net, AdamOptions o = {}, Where at = Where::current()) : Adam(nn::parameters(net, at), o, at) {}

  void step(Where at = Where::current()) {
    const auto update = [&](const auto& refs, int64_t t) {
      kernels::adam_step<T>(D{}, refs.data(), static_cast<int64_t>(refs.size()),
                            {.lr = this->lr_,
                             .beta1 = options.beta1,
                             .beta2 = options.beta2,
                             .eps = options.eps,
                             .weight_decay = options.weight_decay,
                             .correction1 = 1 - std::pow(options.beta1, t),
                             .correction2 = 1 - std::pow(options.beta2, t),
                             .decoupled = decoupled_,
                             .amsgrad = options.amsgrad});
    };
    if (options.amsgrad) this->for_each_group({&m_, &v_, &u_}, at, update);
    else this->for_each_group({&m_, &v_}, at, update);
  }

 protected:
  Adam(const char* op, std::vector<Tensor<T, D>> params, AdamOptions o, bool decoupled, Where at)
      : Optimizer<T, D>(op, std::move(params), o.lr, o.allow_missing_grad, at), options(o), decoupled_(decoupled) {
    for (const double b : {o.beta1, o.beta2})
      if (!(b >= 0 && b < 1)) fail(op, "a decay rate is out of range", {{"beta", std::to_string(b)}}, "0 <= beta < 1", at);
  }

 private:
  bool decoupled_;
  typename Optimizer<T, D>::State m_, v_, u_;
};
template <nn::Module M>
Adam(M&, AdamOptions = {}, Where = {}) -> Adam<nn::element_of<M>, nn::device_type_of<M>>;

/// Weight decay shrinks the parameter itself, by lr * weight_decay.
template <class T = float, class D = Cpu>
class AdamW : public Adam<T, D> {
 public:
  explicit AdamW(std::vector<Tensor<T, D>> params, AdamWOptions o = {}, Where at = Where::current())
      : Adam<T, D>("AdamW", std::move(params), {o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, o.amsgrad, o.allow_missing_grad},
                   true, at) {}
  template <nn::Module M>
  explicit AdamW(M& net, AdamWOptions o = {}, Where at = Where::current()) : AdamW(nn::parameters(net, at), o, at) {}
};
template <nn::Module M>
AdamW(M&, AdamWOptions = {}, Where = {}) -> AdamW<nn::element_of<M>, nn::device_type_of<M>>;

}  // namespace gradus::optim
