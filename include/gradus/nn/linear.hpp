// Products with a weight, and rows of a table.
//
//   Linear     y = x W^T + b                     over the last dimension
//   Bilinear   y_k = a^T W_k b + bias_k
//   Embedding  y = W[index]                      TiedLinear reads the same table: logits = x W^T (Press & Wolf 2016)
#pragma once
#include <gradus/nn/call.hpp>
#include <gradus/nn/init.hpp>
#include <gradus/ops/extra.hpp>
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
  template <class U, class E>
  explicit Linear(const Linear<U, E>& o, Where at = Where::current())
      : weight(converted<T, D>(o.weight, at)), bias(converted<T, D>(o.bias, at)) {}
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
  template <class U, class E>
  explicit Embedding(const Embedding<U, E>& o, Where at = Where::current()) : weight(converted<T, D>(o.weight, at)) {}
  Tensor<T, D> forward(const Tensor<int64_t, D>& index, Where at = Where::current()) const {
    return embedding(weight, index, at);
  }
  Tensor<T, D> operator()(const Tensor<int64_t, D>& index, Where at = Where::current()) const { return forward(index, at); }
  void visit(auto&& f) { f("weight", weight); }
  std::string about() const { return std::to_string(weight.size(0)) + " rows of " + std::to_string(weight.size(1)); }
};

/// x W^T with the table of an Embedding: logits over its rows. Shares the tensor, so parameters() has it once.
template <class T = float, class D = Cpu>
struct TiedLinear : Layer<TiedLinear<T, D>, T, D> {
  Tensor<T, D> weight, bias;  // the embedding's [V, C], and [V] or undefined
  explicit TiedLinear(const Embedding<T, D>& table, bool with_bias = false, Where at = Where::current())
      : weight(table.weight) {
    if (with_bias) bias = detail::parameter(zeros<T, D>({weight.size(0)}, at));
  }
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const { return linear(x, weight, bias, at); }
  void visit(auto&& f) { f("weight", weight), f("bias", bias); }
  std::string about() const { return std::to_string(weight.size(1)) + " -> " + std::to_string(weight.size(0)) + ", tied"; }
};

/// y_k = a^T W_k b + bias_k: a [..., in1], b [..., in2] -> [..., out]. Starts uniform in +-1 / sqrt(in1).
template <class T = float, class D = Cpu>
struct Bilinear {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> weight, bias;  // [out, in1, in2], [out] or undefined
  Bilinear(int64_t in1, int64_t in2, int64_t out, bool with_bias = true, Where at = Where::current()) {
    if (in1 < 1 || in2 < 1 || out < 1)
      fail("Bilinear", "no features",
           {{"in1", std::to_string(in1)}, {"in2", std::to_string(in2)}, {"out", std::to_string(out)}}, "at least 1 of each",
           at);
    weight = init::fan_in_uniform<T, D>({out, in1, in2}, static_cast<double>(in1), at);
    if (with_bias) bias = init::fan_in_uniform<T, D>({out}, static_cast<double>(in1), at);
  }
  template <class U, class E>
  explicit Bilinear(const Bilinear<U, E>& o, Where at = Where::current())
      : weight(converted<T, D>(o.weight, at)), bias(converted<T, D>(o.bias, at)) {}
  Tensor<T, D> forward(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) const {
    if (a.rank() < 1 || b.rank() < 1 || a.size(-1) != weight.size(1) || b.size(-1) != weight.size(2))
      fail("Bilinear", "the features do not match the weight",
           {{"a", describe(a)}, {"b", describe(b)}, {"weight", describe(weight)}},
           "a [..., in1], b [..., in2], weight [out, in1, in2]", at);
    return bilinear(a, b, weight, bias, at);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) const {
    return forward(a, b, at);
  }
  void visit(auto&& f) { f("weight", weight), f("bias", bias); }
  std::string about() const {
    return std::to_string(weight.size(1)) + " x " + std::to_string(weight.size(2)) + " -> " + std::to_string(weight.size(0));
  }
};

}  // namespace gradus::nn
