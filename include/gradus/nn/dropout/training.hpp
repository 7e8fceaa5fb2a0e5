// Ways to train with dropout: several masks a step, and agreement between masks.
#pragma once
#include <gradus/nn/dropout/unit.hpp>
#include <gradus/ops/losses/cross_entropy.hpp>

namespace gradus::nn {

/// M masks a step and one pass through what lies before: L = 1/M sum_m l(H(drop_m(h)), y). The losses are averaged, not the
/// logits; the M copies are one batch of M B rows, copy by copy. Evaluation is one pass without masks. Inoue, "Multi-sample
/// dropout for accelerated training and better generalization", 2019.
struct MultiSampleDropout : Dropping {
  int64_t M = 8;
  explicit MultiSampleDropout(double p = 0.5, int64_t M = 8, Where at = Where::current())
      : Dropping("MultiSampleDropout", p, at), M(M) {
    if (M < 1) fail("MultiSampleDropout", "no copies", {{"M", std::to_string(M)}}, "at least 1", at);
  }
  /// M copies of h [B, ...] with independent masks: [M B, ...]; h itself in evaluation.
  template <class T, class D>
  Tensor<T, D> copies(const Tensor<T, D>& h, Where at = Where::current()) const {
    if (!active()) return h;
    Shape times = h.shape();
    for (int i = 0; i < times.n; ++i) times[i] = i == 0 ? M : 1;
    return dropout(M == 1 ? h : repeat(h, times, at), p, true, at);
  }
  /// The mean of loss(head(copies), y) where loss takes the mean over rows; y [B, ...] is repeated to match.
  template <class Head, class Loss, class T, class D, class Y>
  Tensor<T, D> loss(const Tensor<T, D>& h, const Y& y, Head&& head, Loss&& loss_of, Where at = Where::current()) const {
    const auto o = head(copies(h, at));
    if (!active() || M == 1) return loss_of(o, y);
    Shape times = y.shape();
    for (int i = 0; i < times.n; ++i) times[i] = i == 0 ? M : 1;
    return loss_of(o, repeat(y, times, at));
  }
};

/// R-Drop: two passes with independent masks give logits a and b [N, C]; the loss of a sample is -log p_a(y) - log p_b(y) +
/// alpha/2 (KL(p_a || p_b) + KL(p_b || p_a)), the mean over samples comes back. Liang et al., NeurIPS 2021, eq. 4.
template <Floating T, class D>
Tensor<T, D> r_drop_loss(const Tensor<T, D>& a, const Tensor<T, D>& b, const Tensor<int64_t, D>& y, double alpha = 1,
                         Where at = Where::current()) {
  if (!(a.shape() == b.shape()))
    fail("r_drop_loss(a, b, y)", "two passes of different shapes", {{"a", describe(a)}, {"b", describe(b)}},
         "equal shapes [N, C]", at);
  const auto la = log_softmax(a, 1, at), lb = log_softmax(b, 1, at);
  // KL(a || b) + KL(b || a) = sum (p_a - p_b)(log p_a - log p_b)
  const auto apart = sum(mul(sub(exp(la, at), exp(lb, at), at), sub(la, lb, at), at), {1}, false, at);
  return add(add(cross_entropy(a, y, {}, at), cross_entropy(b, y, {}, at), at), mul(mean(apart, {}, false, at), alpha / 2, at),
             at);
}

}  // namespace gradus::nn
