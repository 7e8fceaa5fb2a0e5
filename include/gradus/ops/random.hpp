// Random tensors. Every number is a function of (seed, stream, index) (I5): manual_seed(s) sets the seed, each call
// takes the next stream. The same numbers come for any number of threads.
#pragma once
#include <gradus/kernels/random.hpp>
#include <gradus/ops/reduce.hpp>

namespace gradus {

/// Uniform in [0, 1).
template <Floating T = float, class D = Cpu> Tensor<T, D> rand(const Shape& shape, Where at = Where::current()) {
  Tensor<compute_t<T>, D> y(shape, at);
  kernels::random_uniform(D{}, y.data(), y.numel(), generator().draw());
  return cast<T>(y, at);
}
/// Standard normal.
template <Floating T = float, class D = Cpu> Tensor<T, D> randn(const Shape& shape, Where at = Where::current()) {
  Tensor<compute_t<T>, D> y(shape, at);
  kernels::random_normal(D{}, y.data(), y.numel(), generator().draw());
  return cast<T>(y, at);
}
template <Floating T, class D> Tensor<T, D> rand_like(const Tensor<T, D>& x, Where at = Where::current()) { return rand<T, D>(x.shape(), at); }
template <Floating T, class D> Tensor<T, D> randn_like(const Tensor<T, D>& x, Where at = Where::current()) { return randn<T, D>(x.shape(), at); }
/// Uniform in [lo, hi).
template <Floating T = float, class D = Cpu> Tensor<T, D> uniform(const Shape& shape, double lo, double hi, Where at = Where::current()) {
  return no_grad([&] { return detail::affine(rand<T, D>(shape, at), hi - lo, lo, at); });
}
template <Floating T = float, class D = Cpu> Tensor<T, D> normal(const Shape& shape, double mean, double deviation, Where at = Where::current()) {
  return no_grad([&] { return detail::affine(randn<T, D>(shape, at), deviation, mean, at); });
}
/// The normal conditioned on [lo, hi].
template <Floating T = float, class D = Cpu>
Tensor<T, D> truncated_normal(const Shape& shape, double mean = 0, double deviation = 1, double lo = -2, double hi = 2, Where at = Where::current()) {
  if (!(lo < hi) || !(deviation > 0))
    fail("truncated_normal", "no interval", {{"lo", std::to_string(lo)}, {"hi", std::to_string(hi)}, {"deviation", std::to_string(deviation)}}, "lo < hi and deviation > 0", at);
  Tensor<compute_t<T>, D> y(shape, at);
  kernels::random_truncated_normal(D{}, y.data(), y.numel(), mean, deviation, lo, hi, generator().draw());
  return cast<T>(y, at);
}
namespace detail {
inline void check_probability(const char* op, double p, Where at) {
  if (!(p >= 0 && p <= 1)) fail(op, "not a probability", {{"p", std::to_string(p)}}, "0 <= p <= 1", at);
}
}  // namespace detail
/// 1 with probability p, else 0.
template <class T = float, class D = Cpu> Tensor<T, D> bernoulli(const Shape& shape, double p, Where at = Where::current()) {
  detail::check_probability("bernoulli", p, at);
  Tensor<T, D> y(shape, at);
  kernels::random_bernoulli(D{}, y.data(), y.numel(), p, generator().draw());
  return y;
}
/// Element i is 1 with probability p[i].
template <Floating T, class D> Tensor<T, D> bernoulli(const Tensor<T, D>& p, Where at = Where::current()) {
  const auto pc = no_grad([&] { return contiguous(p, at); });
  Tensor<T, D> y(p.shape(), at);
  kernels::random_bernoulli_each(D{}, pc.data(), y.data(), y.numel(), generator().draw());
  return y;
}
/// Density e^{-rate x} rate.
template <Floating T = float, class D = Cpu> Tensor<T, D> exponential(const Shape& shape, double rate = 1, Where at = Where::current()) {
  Tensor<T, D> y(shape, at);
  kernels::random_exponential(D{}, y.data(), y.numel(), generator().draw());
  return rate == 1 ? y : no_grad([&] { return mul(y, 1 / rate, at); });
}
/// -log(-log u), u uniform.
template <Floating T = float, class D = Cpu> Tensor<T, D> gumbel(const Shape& shape, Where at = Where::current()) {
  Tensor<T, D> y(shape, at);
  kernels::random_gumbel(D{}, y.data(), y.numel(), generator().draw());
  return y;
}
/// Gamma(concentration, 1), element by element.
template <Floating T, class D> Tensor<T, D> gamma(const Tensor<T, D>& concentration, Where at = Where::current()) {
  const auto c = no_grad([&] { return contiguous(concentration, at); });
  Tensor<T, D> y(c.shape(), at);
  kernels::random_gamma(D{}, c.data(), y.data(), y.numel(), generator().draw());
  return y;
}
/// Beta(a, b) = Ga / (Ga + Gb).
template <Floating T = float, class D = Cpu> Tensor<T, D> beta(const Shape& shape, double a, double b, Where at = Where::current()) {
  if (!(a > 0 && b > 0)) fail("beta", "parameters out of range", {{"a", std::to_string(a)}, {"b", std::to_string(b)}}, "a > 0 and b > 0", at);
  const NoGrad guard;
  Tensor<T, D> ca(shape, at), cb(shape, at);
  const auto x = gamma(ca.fill_(a, at), at), y = gamma(cb.fill_(b, at), at);
  return div(x, add(x, y, at), at);
}
/// Dirichlet over the last dimension of `concentration`.
template <Floating T, class D> Tensor<T, D> dirichlet(const Tensor<T, D>& concentration, Where at = Where::current()) {
  const NoGrad guard;
  const auto g = gamma(concentration, at);
  return div(g, sum(g, {-1}, true, at), at);
}
/// sigmoid of a normal: the level distribution of Esser et al. 2024.
template <Floating T = float, class D = Cpu> Tensor<T, D> logit_normal(const Shape& shape, double mean = 0, double deviation = 1, Where at = Where::current()) {
  return no_grad([&] { return sigmoid(normal<T, D>(shape, mean, deviation, at), at); });
}
/// Integers of [lo, hi).
template <class D = Cpu> Tensor<int64_t, D> randint(int64_t lo, int64_t hi, const Shape& shape, Where at = Where::current()) {
  if (lo >= hi) fail("randint", "an empty range", {{"lo", std::to_string(lo)}, {"hi", std::to_string(hi)}}, "lo < hi", at);
  Tensor<int64_t, D> y(shape, at);
  kernels::random_integers(D{}, y.data(), y.numel(), lo, hi, generator().draw());
  return y;
}
/// 0 ... n-1 in random order.
template <class D = Cpu> Tensor<int64_t, D> randperm(int64_t n, Where at = Where::current()) {
  Tensor<int64_t, D> y(Shape{n}, at);
  kernels::random_permutation(D{}, y.data(), n, generator().draw());
  return y;
}
/// k class indices for each row of weights [N, C] (>= 0, not all 0).
template <Floating T, class D> Tensor<int64_t, D> multinomial(const Tensor<T, D>& weights, int64_t k, bool replacement = false, Where at = Where::current()) {
  if (weights.rank() != 2 || k < 0 || (!replacement && k > weights.shape()[1]))
    fail("multinomial", "cannot draw", {{"weights", describe(weights)}, {"k", std::to_string(k)}}, "weights [N, C] and, without replacement, k <= C", at);
  const auto w = no_grad([&] { return contiguous(weights, at); });
  Tensor<int64_t, D> y(Shape{w.shape()[0], k}, at);
  kernels::random_multinomial(D{}, w.data(), y.data(), w.shape()[0], w.shape()[1], k, replacement, generator().draw());
  return y;
}

}  // namespace gradus
