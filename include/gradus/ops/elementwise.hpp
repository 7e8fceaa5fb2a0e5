// Element-wise functions of one tensor. The formulas and derivatives are the structs of kernels/elementwise.hpp:
//
//   y_i = f(x_i)        dx_i = dy_i df(s_i)        s = x, or y where the derivative is a function of y
//
// All are differentiable any number of times; sign, step, floor, ceil, round and trunc have the derivative 0.
#pragma once
#include <gradus/ops/binary.hpp>

namespace gradus {

/// y = F(x). While gradients are recorded (create_graph), df runs on tensors; otherwise one fused loop.
template <class F, class T, class D> struct UnaryNode final : Node {
  F op;
  Saved<T, D> s{this, F::from_output ? "y" : "x"};
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref()), value = s.get();
    if (detail::wants_grad(dy, value)) accumulate(0, dy * op.df(value));
    else accumulate(0, detail::map_binary("backward", kernels::Backward<F>{op}, dy, value, at));
  }
};

/// Multiplication by a constant and addition of one: nothing needs to be saved.
template <class T, class D> struct AffineNode final : Node {
  double scale = 1;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref());
    accumulate(0, scale == 1 ? dy : mul(dy, scale, at));
  }
};

namespace detail {
template <class F, class T, class D> Tensor<T, D> unary_op(F op, const Tensor<T, D>& x, Where at, const char* name = GRADUS_CALLER) {
  Tensor<T, D> y = map_unary(op, x, at, name);
  if constexpr (is_floating<T>) {
    if (wants_grad(x)) {
      auto& node = record<UnaryNode<F, T, D>>(y, at, x);
      node.op = op;
      node.s = F::from_output ? y : x;
    }
  }
  return y;
}
template <class T, class D> Tensor<T, D> affine(const Tensor<T, D>& x, double a, double b, Where at, const char* name = GRADUS_CALLER) {
  Tensor<T, D> y = map_unary(kernels::Affine{a, b}, x, at, name);
  if constexpr (is_floating<T>) {
    if (wants_grad(x)) record<AffineNode<T, D>>(y, at, x).scale = a;
  }
  return y;
}
}  // namespace detail

// clang-format off
template <class T, class D> Tensor<T, D> add(const Tensor<T, D>& x, double b, Where at) { return detail::affine(x, 1, b, at); }
template <class T, class D> Tensor<T, D> sub(const Tensor<T, D>& x, double b, Where at) { return detail::affine(x, 1, -b, at); }
template <class T, class D> Tensor<T, D> sub(double a, const Tensor<T, D>& x, Where at) { return detail::affine(x, -1, a, at); }
template <class T, class D> Tensor<T, D> mul(const Tensor<T, D>& x, double b, Where at) { return detail::affine(x, b, 0, at); }
template <class T, class D> Tensor<T, D> div(const Tensor<T, D>& x, double b, Where at) {
  if constexpr (is_floating<T>) return detail::affine(x, 1 / b, 0, at);
  else return detail::map_binary("div", kernels::Div{}, x, detail::scalar_like(x, b, at), at);
}
template <class T, class D> Tensor<T, D> div(double a, const Tensor<T, D>& x, Where at) { return div(detail::scalar_like(x, a, at), x, at); }

/// -x
template <class T, class D> Tensor<T, D> neg(const Tensor<T, D>& x, Where at) { return detail::affine(x, -1, 0, at); }
/// |x|; derivative sign(x), 0 at 0
template <class T, class D> Tensor<T, D> abs(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Abs{}, x, at); }
template <class T, class D> Tensor<T, D> exp(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Exp{}, x, at); }
template <class T, class D> Tensor<T, D> exp2(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Exp2{}, x, at); }
template <class T, class D> Tensor<T, D> expm1(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Expm1{}, x, at); }
template <class T, class D> Tensor<T, D> log(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Log{}, x, at); }
template <class T, class D> Tensor<T, D> log2(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Log2{}, x, at); }
template <class T, class D> Tensor<T, D> log10(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Log10{}, x, at); }
template <class T, class D> Tensor<T, D> log1p(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Log1p{}, x, at); }
template <class T, class D> Tensor<T, D> sqrt(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Sqrt{}, x, at); }
/// 1 / sqrt(x)
template <class T, class D> Tensor<T, D> rsqrt(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Rsqrt{}, x, at); }
template <class T, class D> Tensor<T, D> square(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Square{}, x, at); }
/// 1 / x
template <class T, class D> Tensor<T, D> reciprocal(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Reciprocal{}, x, at); }
template <class T, class D> Tensor<T, D> sin(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Sin{}, x, at); }
template <class T, class D> Tensor<T, D> cos(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Cos{}, x, at); }
template <class T, class D> Tensor<T, D> tan(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Tan{}, x, at); }
template <class T, class D> Tensor<T, D> asin(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Asin{}, x, at); }
template <class T, class D> Tensor<T, D> acos(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Acos{}, x, at); }
template <class T, class D> Tensor<T, D> atan(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Atan{}, x, at); }
template <class T, class D> Tensor<T, D> sinh(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Sinh{}, x, at); }
template <class T, class D> Tensor<T, D> cosh(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Cosh{}, x, at); }
template <class T, class D> Tensor<T, D> tanh(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Tanh{}, x, at); }
template <class T, class D> Tensor<T, D> asinh(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Asinh{}, x, at); }
template <class T, class D> Tensor<T, D> acosh(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Acosh{}, x, at); }
template <class T, class D> Tensor<T, D> atanh(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Atanh{}, x, at); }
template <class T, class D> Tensor<T, D> erf(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Erf{}, x, at); }
/// 1 - erf(x)
template <class T, class D> Tensor<T, D> erfc(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Erfc{}, x, at); }
/// the inverse of erf, on (-1, 1)
template <class T, class D> Tensor<T, D> erfinv(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Erfinv{}, x, at); }
/// log |Gamma(x)|
template <class T, class D> Tensor<T, D> lgamma(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Lgamma{}, x, at); }
/// the derivative of lgamma
template <class T, class D> Tensor<T, D> digamma(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Digamma{}, x, at); }
/// the k-th derivative of digamma, k >= 1
template <class T, class D> Tensor<T, D> polygamma(int k, const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Polygamma{k}, x, at); }
/// 1 / (1 + e^-x)
template <class T, class D> Tensor<T, D> sigmoid(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Sigmoid{}, x, at); }
/// log sigmoid(x) = -softplus(-x)
template <class T, class D> Tensor<T, D> log_sigmoid(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::LogSigmoid{}, x, at); }
/// log(x / (1 - x)), the inverse of sigmoid
template <class T, class D> Tensor<T, D> logit(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Logit{}, x, at); }
/// log(1 + e^{beta x}) / beta
template <class T, class D> Tensor<T, D> softplus(const Tensor<T, D>& x, double beta = 1, Where at = Where::current()) { return detail::unary_op(kernels::Softplus{beta}, x, at); }
/// max(x, 0); derivative 0 at 0
template <class T, class D> Tensor<T, D> relu(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Relu{}, x, at); }
/// x for x > 0, slope x elsewhere
template <class T, class D> Tensor<T, D> leaky_relu(const Tensor<T, D>& x, double slope = 0.01, Where at = Where::current()) { return detail::unary_op(kernels::LeakyRelu{slope}, x, at); }
/// Clevert et al. 2015: x for x > 0, alpha (e^x - 1) elsewhere
template <class T, class D> Tensor<T, D> elu(const Tensor<T, D>& x, double alpha = 1, Where at = Where::current()) { return detail::unary_op(kernels::Elu{alpha, 1, 1}, x, at); }
/// Barron 2017: x for x > 0, alpha (e^{x/alpha} - 1) elsewhere
template <class T, class D> Tensor<T, D> celu(const Tensor<T, D>& x, double alpha = 1, Where at = Where::current()) { return detail::unary_op(kernels::Elu{alpha, 1, alpha}, x, at); }
/// Klambauer et al. 2017
template <class T, class D> Tensor<T, D> selu(const Tensor<T, D>& x, Where at = Where::current()) {
  return detail::unary_op(kernels::Elu{1.6732632423543772, 1.0507009873554805, 1}, x, at); }
/// x Phi(x), Hendrycks & Gimpel 2016
template <class T, class D> Tensor<T, D> gelu(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Gelu{}, x, at); }
/// gelu with tanh in place of erf
template <class T, class D> Tensor<T, D> gelu_tanh(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::GeluTanh{}, x, at); }
/// x sigmoid(x), also called swish
template <class T, class D> Tensor<T, D> silu(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Silu{}, x, at); }
/// x tanh(softplus(x)), Misra 2019
template <class T, class D> Tensor<T, D> mish(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Mish{}, x, at); }
/// x / (1 + |x|)
template <class T, class D> Tensor<T, D> softsign(const Tensor<T, D>& x, Where at = Where::current()) { return detail::unary_op(kernels::Softsign{}, x, at); }
/// min(max(x, lo), hi); the gradient passes where lo <= x <= hi
template <class T, class D> Tensor<T, D> clamp(const Tensor<T, D>& x, double lo, double hi, Where at = Where::current()) { return detail::unary_op(kernels::Clamp{lo, hi}, x, at); }
/// x^e
template <class T, class D> Tensor<T, D> pow(const Tensor<T, D>& x, double e, Where at = Where::current()) {
  if (e == 0) return detail::affine(x, 0, 1, at);
  if (e == 1) return detail::affine(x, 1, 0, at);
  if (e == 2) return square(x, at);
  return detail::unary_op(kernels::PowScalar{e}, x, at);
}
/// clamp(x, 0, 6)
template <class T, class D> Tensor<T, D> relu6(const Tensor<T, D>& x, Where at = Where::current()) { return clamp(x, 0, 6, at); }
template <class T, class D> Tensor<T, D> hardtanh(const Tensor<T, D>& x, double lo = -1, double hi = 1, Where at = Where::current()) { return clamp(x, lo, hi, at); }
/// clamp(x/6 + 1/2, 0, 1)
template <class T, class D> Tensor<T, D> hardsigmoid(const Tensor<T, D>& x, Where at = Where::current()) { return clamp(detail::affine(x, 1.0 / 6, 0.5, at), 0, 1, at); }
/// x hardsigmoid(x)
template <class T, class D> Tensor<T, D> hardswish(const Tensor<T, D>& x, Where at = Where::current()) { return mul(x, hardsigmoid(x, at), at); }

// Piecewise constant: the result never requires gradients.
/// -1, 0 or 1
template <class T, class D> Tensor<T, D> sign(const Tensor<T, D>& x, Where at = Where::current()) { return detail::map_unary(kernels::Sign{}, x, at); }
/// 1 for x > 0, else 0
template <class T, class D> Tensor<T, D> step(const Tensor<T, D>& x, Where at = Where::current()) { return detail::map_unary(kernels::Step{}, x, at); }
template <class T, class D> Tensor<T, D> floor(const Tensor<T, D>& x, Where at = Where::current()) { return detail::map_unary(kernels::Floor{}, x, at); }
template <class T, class D> Tensor<T, D> ceil(const Tensor<T, D>& x, Where at = Where::current()) { return detail::map_unary(kernels::Ceil{}, x, at); }
/// to the nearest integer, halves to even
template <class T, class D> Tensor<T, D> round(const Tensor<T, D>& x, Where at = Where::current()) { return detail::map_unary(kernels::Round{}, x, at); }
template <class T, class D> Tensor<T, D> trunc(const Tensor<T, D>& x, Where at = Where::current()) { return detail::map_unary(kernels::Trunc{}, x, at); }
// clang-format on

/// log(1 + e^{beta x}) / beta up to beta x = threshold, x itself beyond: PyTorch's softplus, which jumps there by e^-threshold / beta.
template <class T, class D>
Tensor<T, D> softplus(const Tensor<T, D>& x, double beta, double threshold, Where at = Where::current()) {
  return where(greater(x.detach(), threshold / beta, at), x, softplus(x, beta, at), at);
}

/// x - trunc(x)
template <class T, class D> Tensor<T, D> frac(const Tensor<T, D>& x, Where at = Where::current()) { return sub(x, trunc(x, at), at); }

/// NaN, +inf and -inf replaced by numbers (by default 0 and the largest finite values); no gradient where replaced.
template <class T, class D>
Tensor<T, D> nan_to_num(const Tensor<T, D>& x, double nan = 0, double posinf = static_cast<double>(std::numeric_limits<T>::max()),
                        double neginf = static_cast<double>(std::numeric_limits<T>::lowest()), Where at = Where::current()) {
  const auto is_nan = not_equal(x, x, at), is_pos = equal(x, std::numeric_limits<double>::infinity(), at);
  const auto is_neg = equal(x, -std::numeric_limits<double>::infinity(), at);
  return where(is_nan, nan, where(is_pos, posinf, where(is_neg, neginf, x, at), at), at);
}
template <class T, class D> Tensor<bool, D> isnan(const Tensor<T, D>& x, Where at = Where::current()) { return not_equal(x, x, at); }
template <class T, class D> Tensor<bool, D> isinf(const Tensor<T, D>& x, Where at = Where::current()) {
  return equal(detail::map_unary(kernels::Abs{}, x, at), std::numeric_limits<double>::infinity(), at);
}
template <class T, class D> Tensor<bool, D> isfinite(const Tensor<T, D>& x, Where at = Where::current()) {
  return less(detail::map_unary(kernels::Abs{}, x, at), std::numeric_limits<double>::infinity(), at);
}

/// A value with f's result and g's gradient: dx = dy, whatever happened to the value in between.
template <class T, class D> Tensor<T, D> straight_through(const Tensor<T, D>& x, const Tensor<T, D>& value, Where at = Where::current()) {
  return add(x, sub(value, x, at).detach(), at);
}

}  // namespace gradus
