// Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter 2019) and AdamD (St John 2021); the update is in kernels/optim.hpp.
#pragma once
#include <gradus/optim/optimizer.hpp>

namespace gradus::optim {

namespace detail {
template <class O>
void check_adam(const O& o, Where at) {
  check_beta(O::name, "beta1", o.beta1, at);
  check_beta(O::name, "beta2", o.beta2, at);
  check_not_negative(O::name, "eps", o.eps, at);
  check_not_negative(O::name, "weight_decay", o.weight_decay, at);
}
}  // namespace detail

struct AdamOptions {
  static constexpr const char* name = "Adam";
  static constexpr bool decoupled = false, correct_mean = true;
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool amsgrad = false;             ///< Reddi et al. 2018: divide by the largest second moment so far
  bool allow_missing_grad = false;  ///< a parameter without a gradient is left alone instead of being an error
  void check(Where at) const { detail::check_adam(*this, at); }
};
struct AdamWOptions {
  static constexpr const char* name = "AdamW";
  static constexpr bool decoupled = true, correct_mean = true;
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 1e-2;
  bool amsgrad = false;
  bool allow_missing_grad = false;
  void check(Where at) const { detail::check_adam(*this, at); }
};
struct AdamDOptions {
  static constexpr const char* name = "AdamD";
  static constexpr bool decoupled = true, correct_mean = false;
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool amsgrad = false;
  bool allow_missing_grad = false;
  void check(Where at) const { detail::check_adam(*this, at); }
};

/// What the three share; O says whether the decay is decoupled and whether the mean is corrected.
template <class T, class D, class O>
class AdamLike : public Optimizer<T, D, O> {
 public:
  using Optimizer<T, D, O>::Optimizer;

  void step(Where at = Where::current()) {
    this->update([&](const O& o) { return Slots{m_, v_, o.amsgrad ? u_ : -1}; }, at,
                 [&](const O& o, double lr, const auto& refs, const auto&, int64_t t) {
                   kernels::adam_step<T>(D{}, refs.data(), static_cast<int64_t>(refs.size()),
                                         {.lr = lr,
                                          .beta1 = o.beta1,
                                          .beta2 = o.beta2,
                                          .eps = o.eps,
                                          .weight_decay = o.weight_decay,
                                          .correction1 = O::correct_mean ? 1 - std::pow(o.beta1, t) : 1,
                                          .correction2 = 1 - std::pow(o.beta2, t),
                                          .decoupled = O::decoupled,
                                          .amsgrad = o.amsgrad});
                 });
  }

 private:
  int m_ = this->slot("exp_avg"), v_ = this->slot("exp_avg_sq"), u_ = this->slot("max_exp_avg_sq");
};

/// Weight decay is added to the gradient.
template <class T = float, class D = Cpu>
class Adam : public AdamLike<T, D, AdamOptions> {
 public:
  using AdamLike<T, D, AdamOptions>::AdamLike;
};
template <nn::Module M>
Adam(M&, AdamOptions = {}, Where = {}) -> Adam<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D>
Adam(std::vector<Tensor<T, D>>, AdamOptions = {}, Where = {}) -> Adam<T, D>;

/// Weight decay shrinks the parameter itself, by lr * weight_decay.
template <class T = float, class D = Cpu>
class AdamW : public AdamLike<T, D, AdamWOptions> {
 public:
  using AdamLike<T, D, AdamWOptions>::AdamLike;
};
template <nn::Module M>
AdamW(M&, AdamWOptions = {}, Where = {}) -> AdamW<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D>
AdamW(std::vector<Tensor<T, D>>, AdamWOptions = {}, Where = {}) -> AdamW<T, D>;

/// Only the second moment is corrected: the first steps are small (lr (1 - beta1) |g| / |g|) instead of as large as later
/// ones, which is a warm-up. St John, "AdamD: improved bias-correction in Adam", arXiv:2110.10828.
template <class T = float, class D = Cpu>
class AdamD : public AdamLike<T, D, AdamDOptions> {
 public:
  using AdamLike<T, D, AdamDOptions>::AdamLike;
};
template <nn::Module M>
AdamD(M&, AdamDOptions = {}, Where = {}) -> AdamD<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D>
AdamD(std::vector<Tensor<T, D>>, AdamDOptions = {}, Where = {}) -> AdamD<T, D>;

}  // namespace gradus::optim
