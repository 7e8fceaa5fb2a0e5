// Schedule-Free learning, Defazio et al. 2024 ("The road less scheduled"): an average replaces the decay of the learning rate.
//
//   y = (1 - b1) z + b1 x          where the gradient is taken; the parameters hold y while training
//   z -= lr n(g)                   n: the plain or the Adam-normalised gradient, plus weight_decay y
//   x = (1 - c) x + c z            what is evaluated and kept; c = w_t / sum of w, w_t = t^r (largest lr so far)^power
//
//   optim::ScheduleFreeAdamW opt(net, {.lr = 1e-3, .warmup = 100});
//   opt.train();  ... opt.step() ...  opt.eval();  ... evaluate or save ...  opt.train();
#pragma once
#include <gradus/optim/adaptive.hpp>

namespace gradus::optim {

/// What the two share. O has beta1, warmup, r, power and make(lr, t, weight).
template <class T, class D, class O>
class ScheduleFree : public Optimizer<T, D, O> {
 public:
  using Optimizer<T, D, O>::Optimizer;

  void step(Where at = Where::current()) {
    if (!training())
      fail(O::name, "step() after eval()", {}, "train() before the next step: the parameters hold x, not y", at);
    this->update(
        [&](const O&) { return slots_; }, at,
        [&](const O& o, double lr, const auto& refs, const auto& who, int64_t t) {
          if (t < o.warmup) lr *= static_cast<double>(t) / static_cast<double>(o.warmup);
          double &largest = this->number(largest_, who[0]), &total = this->number(total_, who[0]);
          largest = std::max(largest, lr);
          const double w = std::pow(static_cast<double>(t), o.r) * std::pow(largest, o.power);
          total += w;
          for (const std::size_t i : who) this->number(largest_, i) = largest, this->number(total_, i) = total;
          const auto rule = o.make(lr, t, total > 0 ? w / total : 0);
          kernels::fused_step<std::remove_const_t<decltype(rule)>, T>(D{}, refs.data(), static_cast<int64_t>(refs.size()), rule);
        },
        [&](std::size_t i) { return this->number(total_, i); });
  }
  bool training() { return this->value(training_) != 0; }
  /// The parameters become y, where gradients are taken. The optimiser begins so.
  void train(Where at = Where::current()) { move_to(true, at); }
  /// The parameters become x, the average, which is what a run is for.
  void eval(Where at = Where::current()) { move_to(false, at); }

 private:
  void move_to(bool on, Where at) {
    if (training() == on) return;
    this->value(training_) = on ? 1 : 0;
    const NoGrad guard;
    this->each_group([&](const O& o, double, const auto& members) {
      for (const std::size_t i : members) {
        const auto& z = this->state(slots_.s0, i);
        if (!z.defined() || o.beta1 == 0) continue;
        auto p = cast<compute_t<T>>(this->params_[i].detach(), at);
        p = lerp(p, z, on ? 1 - o.beta1 : 1 - 1 / o.beta1, at);
        this->params_[i].copy_(cast<T>(p, at), at);
      }
    });
  }
  Slots slots_ = O::second_moment ? Slots{this->slot("z"), this->slot("exp_avg_sq")} : Slots{this->slot("z")};
  int largest_ = this->number_slot("lr_max", 0), total_ = this->number_slot("weight_sum", 0);
  int training_ = this->value_slot("training", 1);
};

struct ScheduleFreeAdamWOptions {
  static constexpr const char* name = "ScheduleFreeAdamW";
  static constexpr bool second_moment = true;
  double lr = 2.5e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0, r = 0, power = 2;
  int64_t warmup = 0;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_adam(*this, at);
    detail::check_positive(name, "beta1", beta1, at);
  }
  kernels::ScheduleFreeAdamRule make(double lr, int64_t t, double c) const {
    return {lr, beta1, beta2, eps, 1 - std::pow(beta2, t), weight_decay, c, t == 1};
  }
};
template <class T = float, class D = Cpu>
class ScheduleFreeAdamW : public ScheduleFree<T, D, ScheduleFreeAdamWOptions> {
 public:
  using ScheduleFree<T, D, ScheduleFreeAdamWOptions>::ScheduleFree;
};

struct ScheduleFreeSgdOptions {
  static constexpr const char* name = "ScheduleFreeSgd";
  static constexpr bool second_moment = false;
  double lr = 1, beta1 = 0.9, weight_decay = 0, r = 0, power = 2;
  int64_t warmup = 0;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_beta(name, "beta1", beta1, at);
    detail::check_positive(name, "beta1", beta1, at);
    detail::check_not_negative(name, "weight_decay", weight_decay, at);
  }
  kernels::ScheduleFreeSgdRule make(double lr, int64_t t, double c) const { return {lr, beta1, weight_decay, c, t == 1}; }
};
template <class T = float, class D = Cpu>
class ScheduleFreeSgd : public ScheduleFree<T, D, ScheduleFreeSgdOptions> {
 public:
  using ScheduleFree<T, D, ScheduleFreeSgdOptions>::ScheduleFree;
};

// clang-format off
template <nn::Module M> ScheduleFreeAdamW(M&, ScheduleFreeAdamWOptions = {}, Where = {}) -> ScheduleFreeAdamW<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> ScheduleFreeAdamW(std::vector<Tensor<T, D>>, ScheduleFreeAdamWOptions = {}, Where = {}) -> ScheduleFreeAdamW<T, D>;
template <nn::Module M> ScheduleFreeSgd(M&, ScheduleFreeSgdOptions = {}, Where = {}) -> ScheduleFreeSgd<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> ScheduleFreeSgd(std::vector<Tensor<T, D>>, ScheduleFreeSgdOptions = {}, Where = {}) -> ScheduleFreeSgd<T, D>;
// clang-format on

}  // namespace gradus::optim
