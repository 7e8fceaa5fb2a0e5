// Averages of weights over training (EMA, SWA), loss scaling for 16-bit gradients, accumulation over small batches.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <gradus/optim/wrappers.hpp>

namespace gradus::optim {

/// What Ema and Swa share: averages of a module's tensors (parameters and buffers of the module's element type).
template <class T = float, class D = Cpu>
class WeightAverage {
 public:
  template <nn::Module M>
  explicit WeightAverage(M& net, Where at = Where::current()) {
    for (auto& [path, x] : nn::state_dict(net))
      if (x.template is<T, D>()) names_.push_back(path), model_.push_back(x.template as<T, D>(at));
    average_ = detail::clones(model_, at);
  }
  /// Exchanges the values of the model and the average: once before evaluation, once after.
  void swap(Where at = Where::current()) {
    const NoGrad guard;
    for (std::size_t i = 0; i < model_.size(); ++i) {
      const auto kept = model_[i].detach().clone(at);
      model_[i].copy_(average_[i], at);
      average_[i] = kept;
    }
    swapped_ = !swapped_;
  }
  bool swapped() const { return swapped_; }
  int64_t updates() const { return n_; }
  const std::vector<Tensor<T, D>>& values() const { return average_; }

  nn::StateDict state_dict() const {
    nn::StateDict dict{{"n_averaged", scalar<double>(static_cast<double>(n_))}};
    for (std::size_t i = 0; i < names_.size(); ++i) dict["average." + names_[i]] = average_[i];
    return dict;
  }
  void load_state_dict(const nn::StateDict& dict, Where at = Where::current()) {
    n_ = static_cast<int64_t>(detail::load_number(dict, "n_averaged", at));
    for (std::size_t i = 0; i < names_.size(); ++i) {
      const auto found = dict.find("average." + names_[i]);
      if (found == dict.end() || !(found->second.shape() == model_[i].shape()))
        fail("load_state_dict", "an average is missing or does not fit", {{names_[i], describe(model_[i])}},
             "\"average." + names_[i] + "\" of its shape", at);
      detail::assign(average_[i], found->second, at);
    }
  }

 protected:
  /// average += weight (model - average)
  void move(double weight, Where at) {
    if (swapped_)
      fail("WeightAverage", "update() while the model holds the average", {}, "a second swap() first", at);
    const NoGrad guard;
    for (std::size_t i = 0; i < model_.size(); ++i) average_[i] = lerp(average_[i], model_[i].detach(), weight, at);
    ++n_;
  }
  int64_t n_ = 0;

 private:
  std::vector<std::string> names_;
  std::vector<Tensor<T, D>> model_, average_;
  bool swapped_ = false;
};

struct EmaOptions {
  double decay = 0.999;
  bool warmup = true;  ///< the decay of update t = 1, 2, ... is at most t / (t + 9): the first weights are forgotten sooner
};
/// Exponential moving average of weights: a = decay a + (1 - decay) w (Polyak & Juditsky 1992; Tarvainen & Valpola 2017).
///     optim::Ema ema(net, {.decay = 0.9999});   ... opt.step(); ema.update(); ...   ema.swap(); evaluate(); ema.swap();
template <class T = float, class D = Cpu>
class Ema : public WeightAverage<T, D> {
 public:
  EmaOptions options;
  template <nn::Module M>
  explicit Ema(M& net, EmaOptions o = {}, Where at = Where::current()) : WeightAverage<T, D>(net, at), options(o) {
    detail::check_in("Ema", "decay", o.decay, 0, 1, at);
  }
  double decay(int64_t t) const {
    const double n = static_cast<double>(t);
    return options.warmup ? std::min(options.decay, n / (n + 9)) : options.decay;
  }
  void update(Where at = Where::current()) { this->move(1 - decay(this->n_ + 1), at); }
};
template <nn::Module M>
Ema(M&, EmaOptions = {}, Where = {}) -> Ema<nn::element_of<M>, nn::device_type_of<M>>;

/// Stochastic weight averaging, Izmailov et al. 2018: the mean of the weights at each update(). Batch norms' running figures
/// belong to no such mean: run the training data once in training mode after swap().
template <class T = float, class D = Cpu>
class Swa : public WeightAverage<T, D> {
 public:
  template <nn::Module M>
  explicit Swa(M& net, Where at = Where::current()) : WeightAverage<T, D>(net, at) {}
  void update(Where at = Where::current()) { this->move(1 / static_cast<double>(this->n_ + 1), at); }
};
template <nn::Module M>
Swa(M&, Where = {}) -> Swa<nn::element_of<M>, nn::device_type_of<M>>;

struct LossScalerOptions {
  double scale = 65536, growth = 2, backoff = 0.5;
  int64_t interval = 2000;  ///< steps without overflow before the scale grows
};
/// Dynamic loss scaling, Micikevicius et al. 2018: the loss is multiplied so that 16-bit gradients do not underflow; steps with
/// an infinite or NaN gradient are left out and the scale shrinks.
///     scaler.scale(loss).backward();  scaler.unscale(params); clip ...;  scaler.step(opt);
class LossScaler {
 public:
  LossScalerOptions options;
  explicit LossScaler(LossScalerOptions o = {}, Where at = Where::current()) : options(o), scale_(o.scale) {
    detail::check_positive("LossScaler", "scale", o.scale, at);
    detail::check_in("LossScaler", "growth", o.growth, 1, HUGE_VAL, at);
    detail::check_in("LossScaler", "backoff", o.backoff, 1e-30, 1, at);
    detail::check_in("LossScaler", "interval", static_cast<double>(o.interval), 1, HUGE_VAL, at);
  }
  double factor() const { return scale_; }
  template <class T, class D>
  Tensor<T, D> scale(const Tensor<T, D>& loss, Where at = Where::current()) const {
    return mul(loss, scale_, at);
  }
  /// Divides the gradients by the scale, once a step; says whether all of them are finite.
  template <class T, class D>
  bool unscale(const std::vector<Tensor<T, D>>& params, Where at = Where::current()) {
    if (unscaled_) fail("LossScaler", "unscale() a second time before step()", {}, "one unscale() a step", at);
    unscaled_ = true;
    const NoGrad guard;
    std::vector<Tensor<T, D>> grads;
    std::vector<kernels::ParamRef<T>> refs;
    for (const auto& p : params) {
      if (!p.impl()->grad) continue;
      p.set_grad(mul(p.grad().contiguous(at), 1 / scale_, at));
      grads.push_back(p.grad());
      refs.push_back({nullptr, grads.back().data(), nullptr, nullptr, nullptr, p.numel()});
    }
    finite_ = std::isfinite(kernels::grad_square_sum<T>(D{}, refs.data(), static_cast<int64_t>(refs.size())));
    return finite_;
  }
  /// opt.step(), or nothing when a gradient is not finite; then the scale is adapted. Says whether the step was made.
  template <class Opt>
  bool step(Opt& opt, Where at = Where::current()) {
    if (!unscaled_) unscale(opt.params(), at);
    unscaled_ = false;
    if (finite_) {
      opt.step(at);
      if (++good_ == options.interval) scale_ *= options.growth, good_ = 0;
    } else {
      scale_ *= options.backoff, good_ = 0;
    }
    return finite_;
  }
  nn::StateDict state_dict() const {
    return {{"scale", scalar<double>(scale_)}, {"growth_tracker", scalar<double>(static_cast<double>(good_))}};
  }
  void load_state_dict(const nn::StateDict& dict, Where at = Where::current()) {
    scale_ = detail::load_number(dict, "scale", at);
    good_ = static_cast<int64_t>(detail::load_number(dict, "growth_tracker", at));
  }

 private:
  double scale_;
  int64_t good_ = 0;
  bool unscaled_ = false, finite_ = true;
};

/// One step for `n` small batches: gradients add up over n calls of backward(), then are divided by n.
///     optim::Accumulate every(opt, 4);   ... loss.backward(); every.step(); ...        // no zero_grad() in the loop
template <class Opt>
class Accumulate {
 public:
  Accumulate(Opt& opt, int64_t n, Where at = Where::current()) : opt_(&opt), n_(n) {
    detail::check_in("Accumulate", "n", static_cast<double>(n), 1, HUGE_VAL, at);
  }
  /// Counts a batch; true when that made a step, after which the gradients are gone.
  bool step(Where at = Where::current()) { return ++seen_ == n_ && flush(at); }
  /// Steps with what is there, at the end of an epoch; false when there is nothing.
  bool flush(Where at = Where::current()) {
    if (seen_ == 0) return false;
    const NoGrad guard;
    if (seen_ > 1)
      for (const auto& p : opt_->params())
        if (p.impl()->grad) p.set_grad(mul(p.grad(), 1 / static_cast<double>(seen_), at));
    opt_->step(at);
    opt_->zero_grad();
    seen_ = 0;
    return true;
  }
  int64_t seen() const { return seen_; }

 private:
  Opt* opt_;
  int64_t n_, seen_ = 0;
};

}  // namespace gradus::optim
