// Normalising layers; the formulas are in ops/norm.hpp.
#pragma once
#include <gradus/nn/module.hpp>
#include <gradus/ops/norm.hpp>

namespace gradus::nn {

struct BatchNormOptions {
  double momentum = 0.1;  ///< weight of the new batch in the running statistics
  double eps = 1e-5;
  bool affine = true;  ///< weight and bias are trained
};

/// Ioffe & Szegedy 2015. Training uses the batch's mean and variance and moves the running ones, which evaluation uses.
template <int Rank, class T = float, class D = Cpu>
struct BatchNorm {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> weight, bias, running_mean, running_var;  // [C]
  bool training = true;
  BatchNormOptions options;

  explicit BatchNorm(int64_t C, BatchNormOptions options = {}, Where at = Where::current())
      : running_mean(zeros<T, D>({C}, at)), running_var(ones<T, D>({C}, at)), options(options) {
    if (!options.affine) return;
    weight = ones<T, D>({C}, at), bias = zeros<T, D>({C}, at);
    weight.requires_grad_(), bias.requires_grad_();
  }
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    const bool fits = Rank == 1 ? x.rank() == 2 || x.rank() == 3 : x.rank() == Rank + 2;
    if (!fits)
      fail("BatchNorm" + std::to_string(Rank) + "d", "wrong number of dimensions", {{"x", describe(x)}},
           Rank == 1   ? "x [N, C] or [N, C, L]"
           : Rank == 2 ? "x [N, C, H, W]"
                       : "x [N, C, D, H, W]",
           at);
    return batch_norm(x, weight, bias, running_mean, running_var, training, options.momentum, options.eps, at);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(auto&& f) {
    f("weight", weight), f("bias", bias);
    f("running_mean", running_mean, buffer), f("running_var", running_var, buffer);
    f("training", training);
  }
  std::string module_type() const { return "BatchNorm" + std::to_string(Rank) + "d"; }
  std::string about() const { return std::to_string(running_mean.size(0)); }
};
template <class T = float, class D = Cpu>
struct BatchNorm1d : BatchNorm<1, T, D> {
  explicit BatchNorm1d(int64_t C, BatchNormOptions o = {}, Where at = Where::current()) : BatchNorm<1, T, D>(C, o, at) {}
};
template <class T = float, class D = Cpu>
struct BatchNorm2d : BatchNorm<2, T, D> {
  explicit BatchNorm2d(int64_t C, BatchNormOptions o = {}, Where at = Where::current()) : BatchNorm<2, T, D>(C, o, at) {}
};
template <class T = float, class D = Cpu>
struct BatchNorm3d : BatchNorm<3, T, D> {
  explicit BatchNorm3d(int64_t C, BatchNormOptions o = {}, Where at = Where::current()) : BatchNorm<3, T, D>(C, o, at) {}
};

/// Ba, Kiros, Hinton 2016: over the last dimension, of extent C.
template <class T = float, class D = Cpu>
struct LayerNorm {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> weight, bias;  // [C]
  double eps;

  explicit LayerNorm(int64_t C, double eps = 1e-5, bool with_bias = true, Where at = Where::current())
      : weight(ones<T, D>({C}, at)), eps(eps) {
    weight.requires_grad_();
    if (!with_bias) return;
    bias = zeros<T, D>({C}, at);
    bias.requires_grad_();
  }
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return layer_norm(x, weight, bias, eps, at);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(auto&& f) { f("weight", weight), f("bias", bias); }
  std::string about() const { return std::to_string(weight.size(0)); }
};

}  // namespace gradus::nn
