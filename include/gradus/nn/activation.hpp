// Layers without parameters, for use in Sequential: activations, flatten.
#pragma once
#include <gradus/nn/call.hpp>
#include <gradus/ops/activation.hpp>

namespace gradus::nn {

/// max(x, 0)
struct ReLU : Stateless<ReLU> {
  static auto apply(const auto& x, Where at) { return relu(x, at); }
};
/// min(max(x, 0), 6), Krizhevsky 2010
struct ReLU6 : Stateless<ReLU6> {
  static auto apply(const auto& x, Where at) { return relu6(x, at); }
};
/// max(x, 0)^2, So et al. 2021
struct ReLUSquared : Stateless<ReLUSquared> {
  static auto apply(const auto& x, Where at) { return relu_squared(x, at); }
};
/// x Phi(x), Hendrycks & Gimpel 2016
struct GELU : Stateless<GELU> {
  static auto apply(const auto& x, Where at) { return gelu(x, at); }
};
/// GELU with tanh in place of erf
struct GELUTanh : Stateless<GELUTanh> {
  static auto apply(const auto& x, Where at) { return gelu_tanh(x, at); }
};
/// x sigmoid(x), also called swish
struct SiLU : Stateless<SiLU> {
  static auto apply(const auto& x, Where at) { return silu(x, at); }
};
/// x tanh(softplus(x)), Misra 2019
struct Mish : Stateless<Mish> {
  static auto apply(const auto& x, Where at) { return mish(x, at); }
};
/// Klambauer et al. 2017
struct SELU : Stateless<SELU> {
  static auto apply(const auto& x, Where at) { return selu(x, at); }
};
struct Tanh : Stateless<Tanh> {
  static auto apply(const auto& x, Where at) { return gradus::tanh(x, at); }
};
struct Sigmoid : Stateless<Sigmoid> {
  static auto apply(const auto& x, Where at) { return sigmoid(x, at); }
};
struct LogSigmoid : Stateless<LogSigmoid> {
  static auto apply(const auto& x, Where at) { return log_sigmoid(x, at); }
};
/// x / (1 + |x|)
struct Softsign : Stateless<Softsign> {
  static auto apply(const auto& x, Where at) { return softsign(x, at); }
};
/// x - tanh(x)
struct Tanhshrink : Stateless<Tanhshrink> {
  static auto apply(const auto& x, Where at) { return tanhshrink(x, at); }
};
/// min(max(x / 6 + 1/2, 0), 1)
struct Hardsigmoid : Stateless<Hardsigmoid> {
  static auto apply(const auto& x, Where at) { return hardsigmoid(x, at); }
};
/// x hardsigmoid(x), Howard et al. 2019
struct Hardswish : Stateless<Hardswish> {
  static auto apply(const auto& x, Where at) { return hardswish(x, at); }
};
/// x for x > 0, slope x elsewhere, Maas et al. 2013
struct LeakyReLU : Stateless<LeakyReLU> {
  double slope;
  explicit LeakyReLU(double slope = 0.01) : slope(slope) {}
  auto apply(const auto& x, Where at) const { return leaky_relu(x, slope, at); }
  std::string about() const { return "slope = " + detail::number(slope); }
};
/// x for x > 0, alpha (e^x - 1) elsewhere, Clevert et al. 2015
struct ELU : Stateless<ELU> {
  double alpha;
  explicit ELU(double alpha = 1) : alpha(alpha) {}
  auto apply(const auto& x, Where at) const { return elu(x, alpha, at); }
  std::string about() const { return "alpha = " + detail::number(alpha); }
};
/// x for x > 0, alpha (e^{x/alpha} - 1) elsewhere, Barron 2017
struct CELU : Stateless<CELU> {
  double alpha;
  explicit CELU(double alpha = 1) : alpha(alpha) {}
  auto apply(const auto& x, Where at) const { return celu(x, alpha, at); }
  std::string about() const { return "alpha = " + detail::number(alpha); }
};
/// log(1 + e^{beta x}) / beta
struct Softplus : Stateless<Softplus> {
  double beta;
  explicit Softplus(double beta = 1) : beta(beta) {}
  auto apply(const auto& x, Where at) const { return softplus(x, beta, at); }
  std::string about() const { return "beta = " + detail::number(beta); }
};
/// towards 0 by l, 0 where |x| < l
struct Softshrink : Stateless<Softshrink> {
  double l;
  explicit Softshrink(double l = 0.5) : l(l) {}
  auto apply(const auto& x, Where at) const { return softshrink(x, l, at); }
  std::string about() const { return "l = " + detail::number(l); }
};
/// 0 where |x| <= l
struct Hardshrink : Stateless<Hardshrink> {
  double l;
  explicit Hardshrink(double l = 0.5) : l(l) {}
  auto apply(const auto& x, Where at) const { return hardshrink(x, l, at); }
  std::string about() const { return "l = " + detail::number(l); }
};
/// min(max(x, lo), hi)
struct Hardtanh : Stateless<Hardtanh> {
  double lo, hi;
  explicit Hardtanh(double lo = -1, double hi = 1) : lo(lo), hi(hi) {}
  auto apply(const auto& x, Where at) const { return hardtanh(x, lo, hi, at); }
  std::string about() const { return detail::number(lo) + " ... " + detail::number(hi); }
};
/// along `dim`: positive, sums to 1
struct Softmax : Stateless<Softmax> {
  int dim;
  explicit Softmax(int dim = -1) : dim(dim) {}
  auto apply(const auto& x, Where at) const { return softmax(x, dim, at); }
};
/// its logarithm
struct LogSoftmax : Stateless<LogSoftmax> {
  int dim;
  explicit LogSoftmax(int dim = -1) : dim(dim) {}
  auto apply(const auto& x, Where at) const { return log_softmax(x, dim, at); }
};
/// Martins & Astudillo 2016
struct Sparsemax : Stateless<Sparsemax> {
  int dim;
  explicit Sparsemax(int dim = -1) : dim(dim) {}
  auto apply(const auto& x, Where at) const { return sparsemax(x, dim, at); }
};
/// Peters, Niculae, Martins 2019
struct Entmax15 : Stateless<Entmax15> {
  int dim;
  explicit Entmax15(int dim = -1) : dim(dim) {}
  auto apply(const auto& x, Where at) const { return entmax15(x, dim, at); }
};
/// Prieto et al. 2025
struct Stablemax : Stateless<Stablemax> {
  int dim;
  explicit Stablemax(int dim = -1) : dim(dim) {}
  auto apply(const auto& x, Where at) const { return stablemax(x, dim, at); }
};
/// a sigmoid(b), a and b the halves along `dim`, Dauphin et al. 2016
struct GLU : Stateless<GLU> {
  int dim;
  explicit GLU(int dim = -1) : dim(dim) {}
  auto apply(const auto& x, Where at) const { return glu(x, dim, at); }
};
/// a max(b, 0), Shazeer 2020
struct ReGLU : Stateless<ReGLU> {
  int dim;
  explicit ReGLU(int dim = -1) : dim(dim) {}
  auto apply(const auto& x, Where at) const { return reglu(x, dim, at); }
};
/// a gelu(b), Shazeer 2020
struct GeGLU : Stateless<GeGLU> {
  int dim;
  explicit GeGLU(int dim = -1) : dim(dim) {}
  auto apply(const auto& x, Where at) const { return geglu(x, dim, at); }
};
/// a silu(b), Shazeer 2020
struct SwiGLU : Stateless<SwiGLU> {
  int dim;
  explicit SwiGLU(int dim = -1) : dim(dim) {}
  auto apply(const auto& x, Where at) const { return swiglu(x, dim, at); }
};
/// The largest of k neighbours along `dim`, Goodfellow et al. 2013.
struct Maxout : Stateless<Maxout> {
  int64_t k;
  int dim;
  explicit Maxout(int64_t k, int dim = 1) : k(k), dim(dim) {}
  auto apply(const auto& x, Where at) const { return maxout(x, k, dim, at); }
  std::string about() const { return std::to_string(k); }
};
/// A relaxed sample of one category in training, softmax(x / tau) in evaluation; `hard`: ones and zeros, straight-through.
struct GumbelSoftmax : Stateless<GumbelSoftmax> {
  double tau;
  bool hard, training = true;
  explicit GumbelSoftmax(double tau = 1, bool hard = false) : tau(tau), hard(hard) {}
  auto apply(const auto& x, Where at) const {
    return training ? gumbel_softmax(x, tau, hard, -1, at) : softmax(mul(x, 1 / tau, at), -1, at);
  }
  void visit(auto&& f) { f("training", training); }
  std::string about() const { return "tau = " + detail::number(tau) + (hard ? ", hard" : ""); }
};

/// He et al. 2015: x for x > 0, weight x elsewhere; one slope, or one a channel of x [N, C, ...].
template <class T = float, class D = Cpu>
struct PReLU : Layer<PReLU<T, D>, T, D> {
  Tensor<T, D> weight;  // [1] or [C]
  explicit PReLU(int64_t slopes = 1, double start = 0.25, Where at = Where::current())
      : weight(detail::parameter(full<T, D>({slopes}, start, at))) {}
  template <class U, class E>
  explicit PReLU(const PReLU<U, E>& o, Where at = Where::current()) : weight(converted<T, D>(o.weight, at)) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const { return prelu(x, weight, at); }
  void visit(auto&& f) { f("weight", weight); }
};
/// Ziyin, Hartwig, Ueda 2020: x + sin^2(a x) / a with a learnt frequency, one, or one a channel of x [N, C, ...].
template <class T = float, class D = Cpu>
struct Snake : Layer<Snake<T, D>, T, D> {
  Tensor<T, D> a;  // [1] or [C]
  explicit Snake(int64_t frequencies = 1, double start = 1, Where at = Where::current())
      : a(detail::parameter(full<T, D>({frequencies}, start, at))) {}
  template <class U, class E>
  explicit Snake(const Snake<U, E>& o, Where at = Where::current()) : a(converted<T, D>(o.a, at)) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const { return snake(x, a, at); }
  void visit(auto&& f) { f("a", a); }
};

/// [B, ...] to [B, C].
struct Flatten : Stateless<Flatten> {
  int first = 1, last = -1;
  explicit Flatten(int first = 1, int last = -1) : first(first), last(last) {}
  auto apply(const auto& x, Where at) const { return flatten(x, first, last, at); }
};
/// [B, C] to [B, ...]: dimension 1 cut into `shape`.
struct Unflatten : Stateless<Unflatten> {
  Shape shape;
  explicit Unflatten(const Shape& shape) : shape(shape) {}
  auto apply(const auto& x, Where at) const {
    Shape s{x.size(0, at)};
    for (const int64_t e : shape) s.push_back(e);
    return gradus::reshape(x, s, at);
  }
};

}  // namespace gradus::nn
