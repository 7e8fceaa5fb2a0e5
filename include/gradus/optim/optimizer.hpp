// What optimizers share: the parameters, the learning rate, and the check that each parameter got a gradient.
#pragma once
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <gradus/kernels/optim.hpp>
#include <gradus/nn/module.hpp>

namespace gradus::optim {

/// step() updates in place by one call of a kernel for all parameters with the same number of steps so far.
template <class T, class D>
class Optimizer {
 public:
  using Params = std::vector<Tensor<T, D>>;

  Optimizer(const char* op, Params params, double lr, bool allow_missing_grad, Where at)
      : params_(std::move(params)), op_(op), lr_(lr), allow_missing_grad_(allow_missing_grad), steps_(params_.size(), 0) {
    if (params_.empty()) fail(op, "no parameters", {}, "at least one tensor", at);
    set_lr(lr, at);
    for (std::size_t i = 0; i < params_.size(); ++i) {
      const auto& p = params_[i];
      if (!p.defined() || !p.requires_grad() || !p.is_leaf() || !p.is_contiguous())
        fail(op, "not a parameter", {{label(i), describe(p)}}, "a contiguous leaf that requires a gradient", at);
      for (std::size_t k = 0; k < i; ++k)
        if (params_[k].is_same(p))
          fail(op, "a parameter is listed twice", {{label(k), describe(p)}, {label(i), describe(p)}}, "each once", at);
    }
  }
  void zero_grad() const {
    for (const auto& p : params_) p.zero_grad();
  }
  double lr() const { return lr_; }
  void set_lr(double lr, Where at = Where::current()) {
    if (!(lr >= 0) || !std::isfinite(lr))
      fail(op_, "not a learning rate", {{"lr", std::to_string(lr)}}, "a finite number >= 0", at);
    lr_ = lr;
  }
  const Params& params() const { return params_; }

 protected:
  using Refs = std::vector<kernels::ParamRef<T>>;
  using State = std::vector<Tensor<compute_t<T>, D>>;

  /// update(refs, t) for each group of parameters whose t-th step this is, t = 1, 2, ...; slots: the state tensors that are
  /// used.
  template <class F>
  void for_each_group(std::initializer_list<State*> slots, Where at, F update) {
    for (std::size_t i = 0; i < params_.size(); ++i) {
      if (params_[i].impl()->grad || allow_missing_grad_) continue;
      const bool named = !params_[i].name().empty();
      fail(op_, "step() without a gradient", {{named ? params_[i].name() : label(i), describe(params_[i])}},
           "backward() of a loss that depends on it, or allow_missing_grad = true", at);
    }
    std::vector<Tensor<T, D>> grads(params_.size());  // kept alive while the kernels read them
    std::vector<int64_t> done;                        // the step numbers that have been dealt with
    for (std::size_t i = 0; i < params_.size(); ++i) {
      if (!params_[i].impl()->grad) continue;
      const NoGrad guard;
      grads[i] = params_[i].grad().contiguous(at);
      ++steps_[i];
      for (State* s : slots) {
        if (s->size() < params_.size()) s->resize(params_.size());
        if (!(*s)[i].defined()) (*s)[i] = zeros<compute_t<T>, D>(params_[i].shape(), at);
      }
    }
    for (std::size_t i = 0; i < params_.size(); ++i) {
      const int64_t t = steps_[i];
      if (!grads[i].defined() || std::find(done.begin(), done.end(), t) != done.end()) continue;
      done.push_back(t);
      refs_.clear();
      for (std::size_t k = i; k < params_.size(); ++k) {
        if (!grads[k].defined() || steps_[k] != t) continue;
        kernels::ParamRef<T> r{params_[k].data(), grads[k].data(), nullptr, nullptr, nullptr, params_[k].numel()};
        compute_t<T>** slot[] = {&r.s0, &r.s1, &r.s2};
        int n = 0;
        for (State* s : slots) *slot[n++] = (*s)[k].data();
        refs_.push_back(r);
        gradus::detail::mark_written(params_[k], at);  // a graph that saved the old value must not be used any more
      }
      update(refs_, t);
    }
  }
  static std::string label(std::size_t i) { return "parameter " + std::to_string(i); }

  Params params_;
  const char* op_;
  double lr_;
  bool allow_missing_grad_;
  std::vector<int64_t> steps_;  // of each parameter: one without a gradient makes no step
  Refs refs_;
};

/// sqrt of the sum of squares of all gradients; gradients are scaled down to max_norm if it is larger. Pascanu et al. 2013.
template <class T, class D>
double clip_grad_norm(const std::vector<Tensor<T, D>>& params, double max_norm, Where at = Where::current()) {
  if (!(max_norm > 0)) fail("clip_grad_norm", "not a norm", {{"max_norm", std::to_string(max_norm)}}, "a number > 0", at);
  const NoGrad guard;
  std::vector<Tensor<T, D>> grads;
  std::vector<kernels::ParamRef<T>> refs;
  for (const auto& p : params) {
    if (!p.impl()->grad) continue;
    if (!p.grad().is_contiguous()) p.set_grad(p.grad().contiguous(at));
    grads.push_back(p.grad());
    refs.push_back({nullptr, grads.back().data(), nullptr, nullptr, nullptr, p.numel()});
  }
  const double norm = std::sqrt(kernels::grad_square_sum<T>(D{}, refs.data(), static_cast<int64_t>(refs.size())));
  if (norm > max_norm)
    for (auto& g : grads) g *= ScalarArg(max_norm / norm, at);
  return norm;
}

}  // namespace gradus::optim
