// y = x W^T + b over the last dimension.
#pragma once
#include <gradus/nn/init.hpp>
#include <gradus/nn/module.hpp>
#include <gradus/ops/index.hpp>
#include <gradus/ops/matmul.hpp>

namespace gradus::nn {

template <class T = float, class D = Cpu>
struct Linear {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> weight, bias;  // [out, in], [out] or undefined

  Linear(int64_t in, int64_t out, bool with_bias = true, Where at = Where::current()) {
    if (in < 1 || out < 1)
      fail("Linear", "no features", {{"in", std::to_string(in)}, {"out", std::to_string(out)}}, "at least 1 of each", at);
    weight = init::fan_in_uniform<T, D>({out, in}, static_cast<double>(in), at);
    if (with_bias) bias = init::fan_in_uniform<T, D>({out}, static_cast<double>(in), at);
  }
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const { return linear(x, weight, bias, at); }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(auto&& f) { f("weight", weight), f("bias", bias); }
  std::string about() const {
    return std::to_string(weight.size(1)) + " -> " + std::to_string(weight.size(0)) + (bias.defined() ? "" : ", no bias");
  }
};

/// Rows of a table [V, C] at integer positions; starts from the standard normal.
template <class T = float, class D = Cpu>
struct Embedding {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> weight;

  Embedding(int64_t V, int64_t C, Where at = Where::current()) : weight(randn<T, D>({V, C}, at)) { weight.requires_grad_(); }
  Tensor<T, D> forward(const Tensor<int64_t, D>& index, Where at = Where::current()) const {
    return embedding(weight, index, at);
  }
  Tensor<T, D> operator()(const Tensor<int64_t, D>& index, Where at = Where::current()) const { return forward(index, at); }
  void visit(auto&& f) { f("weight", weight); }
  std::string about() const { return std::to_string(weight.size(0)) + " rows of " + std::to_string(weight.size(1)); }
};

}  // namespace gradus::nn
