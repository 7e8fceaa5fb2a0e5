// Losses of classification beyond cross-entropy (cross_entropy.hpp): two classes, focal, tempered, ordered classes, margins on
// angles, long tails.
#pragma once
#include <gradus/ops/create.hpp>
#include <gradus/ops/losses/cross_entropy.hpp>
#include <gradus/ops/scan.hpp>
#include <gradus/ops/shape.hpp>

namespace gradus {

// -- two classes --------------------------------------------------------------------------------------------------------------

/// -w (t log x + (1 - t) log(1 - x)) for probabilities x in [0, 1]; logarithms are at least -100, as in PyTorch, and have no
/// gradient there. weight: undefined or broadcast to x. From logits: bce_with_logits.
template <Floating T, class D>
Tensor<T, D> bce_loss(const Tensor<T, D>& x, const Tensor<T, D>& t, const Tensor<T, D>& weight = {},
                      Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("bce_loss", "x", x, "t", t, at);
  const auto safe_log = [&](const Tensor<T, D>& p) {
    const auto tiny = less(p.detach(), 3.7200759760208361e-44, at);  // e^-100
    return where(tiny, -100.0, log(where(tiny, 1.0, p, at), at), at);
  };
  auto per = neg(add(mul(t, safe_log(x), at), mul(sub(1.0, t, at), safe_log(sub(1.0, x, at)), at), at), at);
  if (weight.defined()) per = mul(per, weight, at);
  return detail::reduce_loss(per, r, at);
}
/// -t log s(x) - (1 - t) log(1 - s(x)) = softplus(x) - t x; with pos_weight w: (1 - t) x + (1 + (w - 1) t) softplus(-x)
template <Floating T, class D>
Tensor<T, D> bce_with_logits(const Tensor<T, D>& x, const Tensor<T, D>& t, const Tensor<T, D>& pos_weight = {},
                             Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("bce_with_logits", "x", x, "t", t, at);
  if (!pos_weight.defined()) return detail::reduce_loss(sub(softplus(x, 1, at), mul(t, x, at), at), r, at);
  const auto scale = add(mul(sub(pos_weight, 1, at), t, at), 1, at);
  return detail::reduce_loss(add(mul(sub(1.0, t, at), x, at), mul(scale, softplus(neg(x, at), 1, at), at), at), r, at);
}

struct FocalOptions {
  double gamma = 2;
  double alpha = -1;  ///< weight of class 1, 1 - alpha of class 0; negative: none (sigmoid_focal_loss)
  Reduction reduction = Reduction::mean;
};
/// (1 - p_t)^gamma times the cross-entropy, p_t = t p + (1 - t)(1 - p), p = s(x). Lin, Goyal, Girshick, He, Dollar, ICCV 2017,
/// eq. 5.
template <Floating T, class D>
Tensor<T, D> sigmoid_focal_loss(const Tensor<T, D>& x, const Tensor<T, D>& t, const FocalOptions& o = {},
                                Where at = Where::current()) {
  detail::check_same("sigmoid_focal_loss", "x", x, "t", t, at);
  const auto p = sigmoid(x, at), wrong = add(mul(t, sub(1.0, p, at), at), mul(sub(1.0, t, at), p, at), at);
  auto per = mul(pow(wrong, o.gamma, at), sub(softplus(x, 1, at), mul(t, x, at), at), at);
  if (o.alpha >= 0) per = mul(per, detail::affine(t, 2 * o.alpha - 1, 1 - o.alpha, at), at);
  return detail::reduce_loss(per, o.reduction, at);
}
/// The same for several classes: -(1 - p_y)^gamma log p_y, p = softmax(x), x [N, C], y [N]; class_weight [C] or undefined.
template <Floating T, class D>
Tensor<T, D> focal_loss(const Tensor<T, D>& x, const Tensor<int64_t, D>& y, double gamma = 2,
                        const Tensor<T, D>& class_weight = {}, Reduction r = Reduction::mean, Where at = Where::current()) {
  if (x.rank() != 2 || !(y.shape() == Shape{x.shape()[0]}))
    fail("focal_loss", "shapes do not match", {{"x", describe(x)}, {"y", describe(y)}}, "x [N, C], y [N]", at);
  const auto logp = squeeze(gather(log_softmax(x, 1, at), 1, unsqueeze(y, 1, at), at), 1, at);
  auto per = neg(mul(pow(neg(expm1(logp, at), at), gamma, at), logp, at), at);  // 1 - p = -expm1(log p)
  if (class_weight.defined()) per = mul(per, index_select(class_weight, 0, y, at), at);
  return detail::reduce_loss(per, r, at);
}

// -- the tempered logistic loss -----------------------------------------------------------------------------------------------

namespace detail {
/// log_t x = (x^{1-t} - 1) / (1 - t), log x for t = 1.
template <class T, class D>
Tensor<T, D> tempered_log(const Tensor<T, D>& x, double t, Where at) {
  return t == 1 ? log(x, at) : mul(sub(pow(x, 1 - t, at), 1, at), 1 / (1 - t), at);
}
/// exp_t x = max(0, 1 + (1 - t) x)^{1 / (1 - t)} for t > 1, where the base is positive for x <= 0.
template <class T, class D>
Tensor<T, D> tempered_exp(const Tensor<T, D>& x, double t, Where at) {
  return pow(detail::affine(x, 1 - t, 1, at), 1 / (1 - t), at);
}
}  // namespace detail

/// Probabilities exp_t(x_c - l) with l such that they sum to 1, along the last dimension, t >= 1 (1: softmax); heavier tails
/// than softmax. Amid, Warmuth, Anil, Koren, "Robust bi-tempered logistic loss based on Bregman divergences", NeurIPS 2019,
/// algorithm 1. l is found by the paper's iteration without recording; two recorded Newton steps from there give its
/// derivatives, exact to third order since the error of Newton's method is squared at each step.
template <Floating T, class D>
Tensor<T, D> tempered_softmax(const Tensor<T, D>& x, double t, int iterations = 30, Where at = Where::current()) {
  if (!(t >= 1)) fail("tempered_softmax", "temperature out of range", {{"t", std::to_string(t)}}, "t >= 1", at);
  if (t == 1) return softmax(x, -1, at);
  const auto top = amax(x.detach(), {-1}, true, at);
  const auto a = sub(x, top, at);  // <= 0
  Tensor<T, D> l = no_grad([&] {
    auto scaled = a.detach();
    Tensor<T, D> z;
    for (int i = 0; i < iterations; ++i) {
      z = sum(detail::tempered_exp(scaled, t, at), {-1}, true, at);
      scaled = mul(a.detach(), pow(z, 1 - t, at), at);
    }
    z = sum(detail::tempered_exp(scaled, t, at), {-1}, true, at);
    return neg(detail::tempered_log(reciprocal(z, at), t, at), at);
  });
  for (int i = 0; i < 2; ++i) {  // f(l) = sum exp_t(a - l) - 1, f' = -sum exp_t(a - l)^t
    const auto p = detail::tempered_exp(sub(a, l, at), t, at);
    l = add(l, div(sub(sum(p, {-1}, true, at), 1, at), sum(pow(p, t, at), {-1}, true, at), at), at);
  }
  return detail::tempered_exp(sub(a, l, at), t, at);
}
/// sum_c q_c (log_t1 q_c - log_t1 p_c) - (q_c^{2-t1} - p_c^{2-t1}) / (2 - t1), p = tempered_softmax(x, t2), for x and target
/// probabilities q [N, C] (constants): t1 < 1 bounds the loss, t2 > 1 has heavy tails; both 1: cross-entropy up to q's entropy.
template <Floating T, class D>
Tensor<T, D> bi_tempered_loss(const Tensor<T, D>& x, const Tensor<T, D>& q, double t1 = 0.8, double t2 = 1.2,
                              Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("bi_tempered_loss", "x", x, "q", q, at);
  if (!(t1 >= 0 && t1 <= 1))
    fail("bi_tempered_loss", "temperature out of range", {{"t1", std::to_string(t1)}}, "0 <= t1 <= 1", at);
  const auto p = tempered_softmax(x, t2, 30, at), target = q.detach();
  const auto own = no_grad([&] {
    const auto zero = equal(target, 0, at);
    return where(zero, 0.0, mul(target, detail::tempered_log(where(zero, 1.0, target, at), t1, at), at), at);
  });
  const auto bregman = mul(sub(pow(target, 2 - t1, at), pow(p, 2 - t1, at), at), 1 / (2 - t1), at);
  const auto per = sub(sub(own, mul(target, detail::tempered_log(p, t1, at), at), at), bregman, at);
  return detail::reduce_loss(sum(per, {-1}, false, at), r, at);
}
/// With class indices y [N], smoothed by e: q = (1 - e C / (C - 1)) onehot + e / (C - 1), as in the authors' code.
template <Floating T, class D>
Tensor<T, D> bi_tempered_loss(const Tensor<T, D>& x, const Tensor<int64_t, D>& y, double t1 = 0.8, double t2 = 1.2,
                              double smoothing = 0, Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_rank("bi_tempered_loss", "x", x, 2, "x [N, C], y [N]", at);
  const double C = static_cast<double>(x.shape()[1]);
  const auto hot = one_hot<T>(y, x.shape()[1], at);
  return bi_tempered_loss(x, smoothing > 0 ? detail::affine(hot, 1 - smoothing * C / (C - 1), smoothing / (C - 1), at) : hot,
                          t1, t2, r, at);
}

// -- ordered classes: y in 0 ... K - 1 ----------------------------------------------------------------------------------------

/// sum_k BCE(s(x_k), [y > k]) over K - 1 thresholds: x [N, K - 1] (one score plus K - 1 biases for rank consistency). Cao,
/// Mirjalili, Raschka, "Rank consistent ordinal regression" (CORAL), Pattern Recognition Letters 2020, eq. 4.
template <Floating T, class D>
Tensor<T, D> ordinal_loss(const Tensor<T, D>& x, const Tensor<int64_t, D>& y, Reduction r = Reduction::mean,
                          Where at = Where::current()) {
  if (x.rank() != 2 || !(y.shape() == Shape{x.shape()[0]}))
    fail("ordinal_loss", "shapes do not match", {{"x", describe(x)}, {"y", describe(y)}}, "x [N, K - 1], y [N]", at);
  const auto k = arange<int64_t, D>(static_cast<double>(x.shape()[1]), at);
  const auto t = cast<T>(greater(unsqueeze(y, 1, at), gradus::reshape(k, {1, x.shape()[1]}, at), at), at);
  return detail::reduce_loss(sum(sub(softplus(x, 1, at), mul(t, x, at), at), {1}, false, at), r, at);
}
/// -log(s(b_y - x) - s(b_{y-1} - x)), b_{-1} = -inf, b_{K-1} = inf: proportional odds. McCullagh, J. R. Statist. Soc. B 1980. x
/// [N], rising thresholds b [K - 1]. For u > l the difference of logistics is s(u) s(-l) (1 - e^{l - u}).
template <Floating T, class D>
Tensor<T, D> cumulative_link_loss(const Tensor<T, D>& x, const Tensor<int64_t, D>& y, const Tensor<T, D>& thresholds,
                                  Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_rank("cumulative_link_loss", "thresholds", thresholds, 1, "x [N], y [N], thresholds [K - 1]", at);
  if (x.rank() != 1 || !(x.shape() == y.shape()) || thresholds.numel() < 1)
    fail("cumulative_link_loss", "shapes do not match",
         {{"x", describe(x)}, {"y", describe(y)}, {"thresholds", describe(thresholds)}}, "x [N], y [N], thresholds [K - 1]",
         at);
  const int64_t last = thresholds.numel();
  const auto first = equal(y, 0, at), highest = equal(y, static_cast<double>(last), at);
  const auto upper = index_select(thresholds, 0, where(highest, 0.0, y, at), at);
  const auto lower = index_select(thresholds, 0, where(first, 0.0, sub(y, 1, at), at), at);
  const auto u = sub(upper, x, at), l = sub(lower, x, at);
  const auto inner = logical_not(logical_or(first, highest, at), at);
  const auto gap = where(inner, sub(upper, lower, at), 1.0, at);
  const auto below = where(highest, 0.0, log_sigmoid(u, at), at), above = where(first, 0.0, log_sigmoid(neg(l, at), at), at);
  const auto between = where(inner, log(neg(expm1(neg(gap, at), at), at), at), 0.0, at);
  return detail::reduce_loss(neg(add(add(below, above, at), between, at), at), r, at);
}

// -- margins ------------------------------------------------------------------------------------------------------------------

namespace detail {
template <class T, class D>
Tensor<bool, D> class_mask(const char* op, const Tensor<T, D>& x, const Tensor<int64_t, D>& y, Where at) {
  if (x.rank() != 2 || !(y.shape() == Shape{x.shape()[0]}))
    fail(op, "shapes do not match", {{"x", describe(x)}, {"y", describe(y)}}, "x [N, C], y [N]", at);
  return cast<bool>(one_hot<uint8_t>(y, x.shape()[1], at), at);
}
}  // namespace detail
/// Cross-entropy of scale cos(theta_c + margin [c = y]) for cosines x [N, C] of features and class centres (normalize both,
/// then linear). Where theta + margin passes pi, cos theta - margin sin margin stands in, as in the authors' code. Deng, Guo,
/// Xue, Zafeiriou, "ArcFace", CVPR 2019, eq. 3.
template <Floating T, class D>
Tensor<T, D> arcface_loss(const Tensor<T, D>& x, const Tensor<int64_t, D>& y, double scale = 64, double margin = 0.5,
                          const CrossEntropyOptions<T, D>& o = {}, Where at = Where::current()) {
  const auto own = detail::class_mask("arcface_loss", x, y, at);
  const auto c = clamp(x, -1 + 1e-7, 1 - 1e-7, at);  // sin theta has no derivative at 0
  const auto sine = sqrt(sub(1.0, square(c, at), at), at);
  const auto moved = sub(mul(c, std::cos(margin), at), mul(sine, std::sin(margin), at), at);
  const auto past = less_equal(c.detach(), -std::cos(margin), at);  // theta >= pi - margin
  const auto target = where(past, add(c, -margin * std::sin(margin), at), moved, at);
  return cross_entropy(mul(where(own, target, x, at), scale, at), y, o, at);
}
/// Cross-entropy of scale (cos theta_c - margin [c = y]). Wang et al., "CosFace", CVPR 2018, eq. 4.
template <Floating T, class D>
Tensor<T, D> cosface_loss(const Tensor<T, D>& x, const Tensor<int64_t, D>& y, double scale = 64, double margin = 0.35,
                          const CrossEntropyOptions<T, D>& o = {}, Where at = Where::current()) {
  const auto own = detail::class_mask("cosface_loss", x, y, at);
  return cross_entropy(mul(where(own, add(x, -margin, at), x, at), scale, at), y, o, at);
}
/// Cross-entropy of scale (x_c - m_c [c = y]), m_c = max_margin (n_min / n_c)^{1/4} for class counts n [C]: rare classes get
/// wide margins. Cao, Wei, Gaidon, Arechiga, Ma, "LDAM", NeurIPS 2019, eq. 11. Their deferred re-weighting is o.weight, given
/// late.
template <Floating T, class D>
Tensor<T, D> ldam_loss(const Tensor<T, D>& x, const Tensor<int64_t, D>& y, const Tensor<T, D>& counts, double max_margin = 0.5,
                       double scale = 30, const CrossEntropyOptions<T, D>& o = {}, Where at = Where::current()) {
  const auto own = detail::class_mask("ldam_loss", x, y, at);
  if (!(counts.shape() == Shape{x.shape()[1]}))
    fail("ldam_loss", "one count a class is needed", {{"x", describe(x)}, {"counts", describe(counts)}}, "counts [C], positive",
         at);
  const auto m = no_grad([&] {
    const auto w = pow(counts.detach(), -0.25, at);
    return mul(div(w, amax(w, {}, false, at), at), max_margin, at);
  });
  return cross_entropy(mul(where(own, sub(x, m, at), x, at), scale, at), y, o, at);
}
/// |x_n - c_{y_n}|^2 / 2, x [N, C], centres [K, C]. The gradient moves the centres too. Wen, Zhang, Li, Qiao, ECCV 2016, eq. 2.
template <Floating T, class D>
Tensor<T, D> center_loss(const Tensor<T, D>& x, const Tensor<int64_t, D>& y, const Tensor<T, D>& centres,
                         Reduction r = Reduction::mean, Where at = Where::current()) {
  if (x.rank() != 2 || centres.rank() != 2 || !(y.shape() == Shape{x.shape()[0]}) || centres.shape()[1] != x.shape()[1])
    fail("center_loss", "shapes do not match", {{"x", describe(x)}, {"y", describe(y)}, {"centres", describe(centres)}},
         "x [N, C], y [N], centres [K, C]", at);
  return detail::reduce_loss(mul(sum(square(sub(x, index_select(centres, 0, y, at), at), at), {1}, false, at), 0.5, at), r, at);
}

}  // namespace gradus
