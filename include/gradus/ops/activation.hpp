// Activations made of other operators: gated units, and the relatives of softmax.
//
//   sparsemax   y = max(x - tau, 0), sum y = 1            dx = dy - mean of dy over the support, 0 elsewhere     Martins &
//   Astudillo 2016 entmax15    y = max(x / 2 - tau, 0)^2, sum y = 1      dx = r (dy - sum(r dy) / sum r), r = sqrt(y) Peters,
//   Niculae, Martins 2019 stablemax   y_c = s(x_c) / sum_k s(x_k), s(x) = x + 1 for x >= 0, 1 / (1 - x) below Prieto et al.
//   2025 gumbel      y = softmax((x + G) / tau), G from the Gumbel law                                Jang, Gu, Poole 2016;
//   Maddison et al. 2016
//
// All along one dimension, and differentiable any number of times.
#pragma once
#include <gradus/ops/extra.hpp>
#include <gradus/ops/random.hpp>
#include <gradus/ops/scan.hpp>
#include <gradus/ops/sort.hpp>

namespace gradus {

/// max(x, 0)^2, So et al. 2021 (Primer).
template <Floating T, class D>
Tensor<T, D> relu_squared(const Tensor<T, D>& x, Where at = Where::current()) {
  return square(relu(x, at), at);
}
/// x + sin^2(a x) / a, Ziyin, Hartwig, Ueda 2020; a is a number, or one a channel of x [N, C, ...]; not 0.
template <Floating T, class D>
Tensor<T, D> snake(const Tensor<T, D>& x, const Tensor<T, D>& a0, Where at = Where::current()) {
  Tensor<T, D> a = a0;
  if (a.numel() > 1) {
    if (x.rank() < 2 || x.shape()[1] != a.numel())
      fail("snake", "the frequencies do not match the channels", {{"x", describe(x)}, {"a", describe(a)}},
           "one number, or one a channel of x [N, C, ...]", at);
    Shape per_channel;
    for (int i = 0; i < x.rank(); ++i) per_channel.push_back(i == 1 ? a.numel() : 1);
    a = gradus::reshape(a, per_channel, at);
  }
  return add(x, div(square(sin(mul(x, a, at), at), at), a, at), at);
}
/// The largest of each group of k neighbours along `dim`: [..., C, ...] -> [..., C / k, ...]. Goodfellow et al. 2013.
template <Floating T, class D>
Tensor<T, D> maxout(const Tensor<T, D>& x, int64_t k, int dim = 1, Where at = Where::current()) {
  const int d = detail::normalize_dim("maxout", dim, x.rank(), x, at);
  if (k < 1 || x.shape()[d] % k != 0)
    fail("maxout", "the extent does not divide into groups", {{"x", describe(x)}, {"k", std::to_string(k)}}, "a multiple of k",
         at);
  Shape s = x.shape();
  s[d] /= k, s.insert(d + 1, k);
  return amax(gradus::reshape(x, s, at), {d + 1}, false, at);
}

namespace detail {
template <class T, class D>
std::vector<Tensor<T, D>> halves(const char* op, const Tensor<T, D>& x, int dim, Where at) {
  if (x.size(dim, at) % 2 != 0)
    fail(op, "an odd extent has no halves", {{"x", describe(x)}, {"dim", std::to_string(dim)}}, "an even extent", at);
  return chunk(x, 2, dim, at);
}
}  // namespace detail
// Shazeer 2020: a f(b) with a, b the halves of x along `dim`: the second half is the gate, as in glu.
/// a max(b, 0)
template <Floating T, class D>
Tensor<T, D> reglu(const Tensor<T, D>& x, int dim = -1, Where at = Where::current()) {
  const auto h = detail::halves("reglu", x, dim, at);
  return mul(h[0], relu(h[1], at), at);
}
/// a gelu(b)
template <Floating T, class D>
Tensor<T, D> geglu(const Tensor<T, D>& x, int dim = -1, Where at = Where::current()) {
  const auto h = detail::halves("geglu", x, dim, at);
  return mul(h[0], gelu(h[1], at), at);
}
/// a silu(b)
template <Floating T, class D>
Tensor<T, D> swiglu(const Tensor<T, D>& x, int dim = -1, Where at = Where::current()) {
  const auto h = detail::halves("swiglu", x, dim, at);
  return mul(h[0], silu(h[1], at), at);
}

template <class T, class D>
struct SparsemaxNode final : Node {  // along the last dimension
  Saved<T, D> y{this, "y"};
  void backward(const AnyTensor& g) override {
    const auto support = cast<T>(greater(y.get().detach(), 0, at), at);
    const auto dy = mul(Tensor<T, D>(g.ref()), support, at);
    const auto share = div(sum(dy, {-1}, true, at), sum(support, {-1}, true, at), at);
    accumulate(0, sub(dy, mul(share, support, at), at));
  }
};
/// The nearest point of the simplex: zeros where x is low. Ties and the border of the support have one-sided derivatives.
template <Floating T, class D>
Tensor<T, D> sparsemax(const Tensor<T, D>& x, int dim = -1, Where at = Where::current()) {
  const int d = detail::normalize_dim("sparsemax", dim, x.rank(), x, at), last = x.rank() - 1;
  if (d != last) return transpose(sparsemax(transpose(x, d, last, at), -1, at), d, last, at);
  Tensor<T, D> y = no_grad([&] {
    const auto z = sort(x, -1, true, at).values;  // tau = (sum of the k largest - 1) / k for the last k that keeps
    const auto total = cumsum(z, -1, false, at);  // its smallest above tau
    const auto k = arange<T, D>(1, static_cast<double>(x.shape().back()) + 1, 1, at);
    const auto kept = greater(add(mul(z, k, at), 1, at), total, at);
    const auto count = sum(cast<int64_t>(kept, at), {-1}, true, at);
    const auto tau = div(sub(gather(total, -1, sub(count, 1, at), at), 1, at), cast<T>(count, at), at);
    return relu(sub(x, tau, at), at);
  });
  if (detail::wants_grad(x)) detail::record<SparsemaxNode<T, D>>(y, at, x).y = y;
  return y;
}

template <class T, class D>
struct Entmax15Node final : Node {  // along the last dimension
  Saved<T, D> y{this, "y"};
  void backward(const AnyTensor& g) override {
    const auto p = y.get();
    const auto none = equal(p.detach(), 0, at);
    const auto r = where(none, 0.0, sqrt(where(none, 1.0, p, at), at), at), dy = Tensor<T, D>(g.ref());
    const auto shift = div(sum(mul(dy, r, at), {-1}, true, at), sum(r, {-1}, true, at), at);
    accumulate(0, mul(r, sub(dy, shift, at), at));
  }
};
/// Between softmax and sparsemax (alpha = 1.5), with a smooth way down to its zeros.
template <Floating T, class D>
Tensor<T, D> entmax15(const Tensor<T, D>& x, int dim = -1, Where at = Where::current()) {
  const int d = detail::normalize_dim("entmax15", dim, x.rank(), x, at), last = x.rank() - 1;
  if (d != last) return transpose(entmax15(transpose(x, d, last, at), -1, at), d, last, at);
  Tensor<T, D> y = no_grad([&] {
    const auto half = mul(sub(x, amax(x, {-1}, true, at), at), 0.5, at);
    const auto z = sort(half, -1, true, at).values;
    const auto k = arange<T, D>(1, static_cast<double>(x.shape().back()) + 1, 1, at);
    const auto m = div(cumsum(z, -1, false, at), k, at), m2 = div(cumsum(square(z, at), -1, false, at), k, at);
    const auto spread = mul(k, sub(m2, square(m, at), at), at);  // of the k largest: tau_k = mean - sqrt((1 - spread) / k)
    const auto tau = sub(m, sqrt(relu(div(sub(1.0, spread, at), k, at), at), at), at);
    const auto count = sum(cast<int64_t>(less_equal(tau, z, at), at), {-1}, true, at);
    return square(relu(sub(half, gather(tau, -1, sub(count, 1, at), at), at), at), at);
  });
  if (detail::wants_grad(x)) detail::record<Entmax15Node<T, D>>(y, at, x).y = y;
  return y;
}
/// Grows linearly instead of exponentially above 0, so that large logits cannot swallow small ones.
template <Floating T, class D>
Tensor<T, D> stablemax(const Tensor<T, D>& x, int dim = -1, Where at = Where::current()) {
  const auto below = reciprocal(add(relu(neg(x, at), at), 1, at), at);
  const auto s = where(greater_equal(x.detach(), 0, at), add(x, 1, at), below, at);
  return div(s, sum(s, {dim}, true, at), at);
}
/// A sample of one category, relaxed; `hard`: the category itself as ones and zeros, with the gradient of the relaxed sample.
template <Floating T, class D>
Tensor<T, D> gumbel_softmax(const Tensor<T, D>& logits, double tau = 1, bool hard = false, int dim = -1,
                            Where at = Where::current()) {
  if (!(tau > 0)) fail("gumbel_softmax", "no temperature", {{"tau", std::to_string(tau)}}, "tau > 0", at);
  const int d = detail::normalize_dim("gumbel_softmax", dim, logits.rank(), logits, at), last = logits.rank() - 1;
  const auto y = softmax(mul(add(logits, gumbel<T, D>(logits.shape(), at), at), 1 / tau, at), d, at);
  if (!hard) return y;
  const auto one = one_hot<T>(argmax(y.detach(), d, false, at), y.shape()[d], at);
  return straight_through(y, d == last ? one : movedim(one, -1, d, at), at);
}

}  // namespace gradus
