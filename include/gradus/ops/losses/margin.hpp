// Losses with a margin. Labels t are +1 and -1 unless said otherwise.
#pragma once
#include <gradus/ops/index.hpp>
#include <gradus/ops/losses/common.hpp>

namespace gradus {

/// max(0, 1 - t x)
template <Floating T, class D>
Tensor<T, D> hinge_loss(const Tensor<T, D>& x, const Tensor<T, D>& t, Reduction r = Reduction::mean,
                        Where at = Where::current()) {
  detail::check_same("hinge_loss", "x", x, "t", t, at);
  return detail::reduce_loss(relu(sub(1.0, mul(t, x, at), at), at), r, at);
}
/// max(0, 1 - t x)^2
template <Floating T, class D>
Tensor<T, D> squared_hinge_loss(const Tensor<T, D>& x, const Tensor<T, D>& t, Reduction r = Reduction::mean,
                                Where at = Where::current()) {
  detail::check_same("squared_hinge_loss", "x", x, "t", t, at);
  return detail::reduce_loss(square(relu(sub(1.0, mul(t, x, at), at), at), at), r, at);
}
/// log(1 + e^{-t x})
template <Floating T, class D>
Tensor<T, D> soft_margin_loss(const Tensor<T, D>& x, const Tensor<T, D>& t, Reduction r = Reduction::mean,
                              Where at = Where::current()) {
  detail::check_same("soft_margin_loss", "x", x, "t", t, at);
  return detail::reduce_loss(softplus(neg(mul(t, x, at), at), 1, at), r, at);
}
/// Of distances x: x where t = 1, max(0, margin - x) where t = -1.
template <Floating T, class D>
Tensor<T, D> hinge_embedding_loss(const Tensor<T, D>& x, const Tensor<T, D>& t, double margin = 1,
                                  Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("hinge_embedding_loss", "x", x, "t", t, at);
  return detail::reduce_loss(where(greater(t.detach(), 0, at), x, relu(sub(margin, x, at), at), at), r, at);
}
/// max(0, margin - t (a - b)): t = 1 says that a should be larger.
template <Floating T, class D>
Tensor<T, D> margin_ranking_loss(const Tensor<T, D>& a, const Tensor<T, D>& b, const Tensor<T, D>& t, double margin = 0,
                                 Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("margin_ranking_loss", "a", a, "b", b, at);
  detail::check_same("margin_ranking_loss", "a", a, "t", t, at);
  return detail::reduce_loss(relu(sub(margin, mul(t, sub(a, b, at), at), at), at), r, at);
}

struct MultiMarginOptions {
  int p = 1;  ///< 1 or 2
  double margin = 1;
  Reduction reduction = Reduction::mean;
};
/// 1/C sum_{c != y} w_y max(0, margin - x_y + x_c)^p for x [N, C], classes y [N]; weight [C] or undefined. Crammer & Singer
/// 2001.
template <Floating T, class D>
Tensor<T, D> multi_margin_loss(const Tensor<T, D>& x, const Tensor<int64_t, D>& y, const MultiMarginOptions& o = {},
                               const Tensor<T, D>& weight = {}, Where at = Where::current()) {
  if (x.rank() != 2 || !(y.shape() == Shape{x.shape()[0]}) || (o.p != 1 && o.p != 2))
    fail("multi_margin_loss", "the arguments do not match",
         {{"x", describe(x)}, {"y", describe(y)}, {"p", std::to_string(o.p)}}, "x [N, C], y [N], p 1 or 2", at);
  const int64_t C = x.shape()[1];
  const auto column = unsqueeze(y, 1, at);
  const auto h = relu(add(sub(x, gather(x, 1, column, at), at), o.margin, at), at);
  auto per = sum(where(cast<bool>(one_hot<uint8_t>(y, C, at), at), 0.0, o.p == 1 ? h : square(h, at), at), {1}, false, at);
  if (weight.defined()) per = mul(per, index_select(weight, 0, y, at), at);
  return detail::reduce_loss(mul(per, 1 / static_cast<double>(C), at), o.reduction, at);
}

/// sum_c softplus(-(2 t_c - 1) x_c) / C for x [..., C], t [..., C] of 0 and 1: independent labels.
template <Floating T, class D>
Tensor<T, D> multilabel_soft_margin_loss(const Tensor<T, D>& x, const Tensor<T, D>& t, Reduction r = Reduction::mean,
                                         Where at = Where::current()) {
  detail::check_same("multilabel_soft_margin_loss", "x", x, "t", t, at);
  return detail::reduce_loss(mean(sub(softplus(x, 1, at), mul(t, x, at), at), {-1}, false, at), r, at);
}

namespace detail {
/// |a - b + eps|_p over the last dimension; eps keeps the root of p = 2 away from 0.
template <class T, class D>
Tensor<T, D> pair_distance(const Tensor<T, D>& a, const Tensor<T, D>& b, double p, double eps, Where at) {
  return norm(add(sub(a, b, at), eps, at), p, {-1}, false, at);
}
}  // namespace detail

struct TripletOptions {
  double margin = 1, p = 2, eps = 1e-6;
  bool swap = false;  ///< the negative's distance is the smaller of those to anchor and positive. Balntas et al., BMVC 2016
  Reduction reduction = Reduction::mean;
};
/// max(0, d(a, p) - d(a, n) + margin) for rows [..., C]. Schroff, Kalenichenko, Philbin, "FaceNet", CVPR 2015, with plain
/// distances.
template <Floating T, class D>
Tensor<T, D> triplet_margin_loss(const Tensor<T, D>& anchor, const Tensor<T, D>& positive, const Tensor<T, D>& negative,
                                 const TripletOptions& o = {}, Where at = Where::current()) {
  detail::check_same("triplet_margin_loss", "anchor", anchor, "positive", positive, at);
  detail::check_same("triplet_margin_loss", "anchor", anchor, "negative", negative, at);
  const auto near = detail::pair_distance(anchor, positive, o.p, o.eps, at);
  auto far = detail::pair_distance(anchor, negative, o.p, o.eps, at);
  if (o.swap) far = minimum(far, detail::pair_distance(positive, negative, o.p, o.eps, at), at);
  return detail::reduce_loss(relu(add(sub(near, far, at), o.margin, at), at), o.reduction, at);
}
/// 1 - cos(a, b) where t = 1, max(0, cos(a, b) - margin) where t = -1: a, b [N, C], t [N].
template <Floating T, class D>
Tensor<T, D> cosine_embedding_loss(const Tensor<T, D>& a, const Tensor<T, D>& b, const Tensor<T, D>& t, double margin = 0,
                                   Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("cosine_embedding_loss", "a", a, "b", b, at);
  Shape rows = a.shape();
  if (rows.n > 0) rows.n -= 1;
  if (a.rank() == 0 || !(t.shape() == rows))
    fail("cosine_embedding_loss", "one label a row is needed", {{"a", describe(a)}, {"t", describe(t)}},
         "a, b [..., C], t [...]", at);
  const auto dot = [&](const Tensor<T, D>& u, const Tensor<T, D>& v) { return sum(mul(u, v, at), {-1}, false, at); };
  const auto cosine = div(dot(a, b), sqrt(mul(add(dot(a, a), 1e-12, at), add(dot(b, b), 1e-12, at), at), at), at);
  return detail::reduce_loss(where(greater(t.detach(), 0, at), sub(1.0, cosine, at), relu(sub(cosine, margin, at), at), at), r,
                             at);
}
/// d^2 / 2 where s = 1 (a similar pair), max(0, margin - d)^2 / 2 where s = 0, d = |a - b|: a, b [N, C], s [N]. Hadsell,
/// Chopra, LeCun, CVPR 2006, eq. 4, whose Y is 1 - s.
template <Floating T, class D>
Tensor<T, D> contrastive_loss(const Tensor<T, D>& a, const Tensor<T, D>& b, const Tensor<T, D>& s, double margin = 1,
                              Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("contrastive_loss", "a", a, "b", b, at);
  const auto d = norm(sub(a, b, at), 2, {-1}, false, at);
  detail::check_same("contrastive_loss", "distances", d, "s", s, at);
  const auto pull = mul(s, square(d, at), at), push = mul(sub(1.0, s, at), square(relu(sub(margin, d, at), at), at), at);
  return detail::reduce_loss(mul(add(pull, push, at), 0.5, at), r, at);
}

}  // namespace gradus
