// Starting values. fan_in and fan_out of a weight [out, in, kernel...] are in and out times the kernel's size.
//
//   kaiming     He, Zhang, Ren, Sun 2015:    variance gain^2 / fan_in, or / fan_out       gain sqrt(2) for ReLU
//   xavier      Glorot, Bengio 2010:         variance 2 gain^2 / (fan_in + fan_out)
//   lecun       LeCun et al. 1998:           variance 1 / fan_in
// orthogonal, identity, dirac, delta_orthogonal and sparse are in init_matrix.hpp.
#pragma once
#include <cmath>

#include <gradus/ops/create.hpp>
#include <gradus/ops/random.hpp>

namespace gradus::nn::init {

struct Fans {
  double in, out;
};
inline Fans fans(const Shape& weight, Where at = Where::current()) {
  if (weight.rank() < 2)
    fail("fans", "a weight has at least two dimensions", {{"shape", weight.str()}}, "[out, in, kernel...]", at);
  const double kernel = static_cast<double>(weight.numel()) / std::max(1.0, static_cast<double>(weight[0] * weight[1]));
  return {static_cast<double>(weight[1]) * kernel, static_cast<double>(weight[0]) * kernel};
}

/// Overwrites x without a trace in the graph.
template <class T, class D>
void set(Tensor<T, D>& x, const Tensor<T, D>& values, Where at = Where::current()) {
  const NoGrad guard;
  x.copy_(values, at);
}
/// Uniform in [lo, hi).
template <class T, class D>
void uniform(Tensor<T, D>& x, double lo, double hi, Where at = Where::current()) {
  set(x, gradus::uniform<T, D>(x.shape(), lo, hi, at), at);
}
template <class T, class D>
void normal(Tensor<T, D>& x, double mean, double deviation, Where at = Where::current()) {
  set(x, gradus::normal<T, D>(x.shape(), mean, deviation, at), at);
}
template <class T, class D>
void truncated_normal(Tensor<T, D>& x, double mean = 0, double deviation = 0.02, Where at = Where::current()) {
  set(x, gradus::truncated_normal<T, D>(x.shape(), mean, deviation, mean - 2 * deviation, mean + 2 * deviation, at), at);
}
template <class T, class D>
void constant(Tensor<T, D>& x, double value, Where at = Where::current()) {
  const NoGrad guard;
  x.fill_(value, at);
}
/// Which fan the variance keeps: fan_in that of activations going forward, fan_out that of gradients going back.
enum class Fan { in, out };
/// The factor that keeps the spread of activations: "linear", "tanh" 5/3, "relu" sqrt(2), "leaky_relu" sqrt(2 / (1 + a^2)),
/// "selu" 3/4 (PyTorch's choice), "sigmoid" 1.
inline double gain(const std::string& activation, double a = 0.01, Where at = Where::current()) {
  if (activation == "linear" || activation == "sigmoid") return 1;
  if (activation == "tanh") return 5.0 / 3;
  if (activation == "relu") return std::sqrt(2.0);
  if (activation == "leaky_relu") return std::sqrt(2 / (1 + a * a));
  if (activation == "selu") return 0.75;
  fail("gain", "no such activation", {{"activation", activation}}, "linear, sigmoid, tanh, relu, leaky_relu or selu", at);
}
template <class T, class D>
void kaiming_uniform(Tensor<T, D>& w, double gain = std::sqrt(2.0), Fan fan = Fan::in, Where at = Where::current()) {
  const Fans f = fans(w.shape(), at);
  const double bound = gain * std::sqrt(3 / (fan == Fan::in ? f.in : f.out));
  uniform(w, -bound, bound, at);
}
template <class T, class D>
void kaiming_normal(Tensor<T, D>& w, double gain = std::sqrt(2.0), Fan fan = Fan::in, Where at = Where::current()) {
  const Fans f = fans(w.shape(), at);
  normal(w, 0, gain / std::sqrt(fan == Fan::in ? f.in : f.out), at);
}
template <class T, class D>
void lecun_uniform(Tensor<T, D>& w, Where at = Where::current()) {
  kaiming_uniform(w, 1, Fan::in, at);
}
template <class T, class D>
void lecun_normal(Tensor<T, D>& w, Where at = Where::current()) {
  kaiming_normal(w, 1, Fan::in, at);
}
template <class T, class D>
void xavier_uniform(Tensor<T, D>& w, double gain = 1, Where at = Where::current()) {
  const Fans f = fans(w.shape(), at);
  const double bound = gain * std::sqrt(6 / (f.in + f.out));
  uniform(w, -bound, bound, at);
}
template <class T, class D>
void xavier_normal(Tensor<T, D>& w, double gain = 1, Where at = Where::current()) {
  const Fans f = fans(w.shape(), at);
  normal(w, 0, gain * std::sqrt(2 / (f.in + f.out)), at);
}

/// A parameter with values uniform in +-1 / sqrt(fan_in): PyTorch's start for the weights and biases of linear layers and
/// convolutions.
template <class T, class D>
Tensor<T, D> fan_in_uniform(const Shape& shape, double fan_in, Where at = Where::current()) {
  const double bound = fan_in > 0 ? 1 / std::sqrt(fan_in) : 0;
  Tensor<T, D> x = gradus::uniform<T, D>(shape, -bound, bound, at);
  x.requires_grad_();
  return x;
}

}  // namespace gradus::nn::init
