// Which units are dropped depends on their values or their history.
#pragma once
#include <deque>

#include <gradus/nn/dropout/modes.hpp>
#include <gradus/ops/index.hpp>
#include <gradus/ops/shape.hpp>
#include <gradus/ops/softmax.hpp>
#include <gradus/ops/sort.hpp>

namespace gradus::nn {

/// Sensitive-neuron dropout: the units whose sentence embeddings moved most between checkpoints are switched off for the next
/// ones. "Hallucination detox: sensitive neuron dropout (SeND)", 2024, Alg. 2 and definitions 3.1 to 3.3:
///
///   e = (mean_i H_i + H_m) / 2             embedding of a text of m tokens, H [m, d]
///   V_i = Var_t(e_i^t) sum_t |e_i^t - e_i^{t-1}|      t over the last `window` checkpoints, averaged over tracking texts;
///                                                     the variance divides by the window
///   S = the share p of largest V_i
///
/// One epoch: train; record(embeddings of the tracking texts, with the mask off); every `period` epochs select(), which masks S
/// for the next `period` epochs in training; lift() afterwards. Units are set to 0, nothing is scaled: H * mask.
template <class T = float, class D = Cpu>
struct SensitiveNeuronDropout : DropLayer<SensitiveNeuronDropout<T, D>> {
  using value_type = T;
  using device_type = D;
  int64_t window = 3;
  bool in_evaluation = false;  ///< keeps the mask in evaluation
  Tensor<T, D> mask;           ///< [d], 0 on S; undefined: none

  explicit SensitiveNeuronDropout(double share = 0.2, int64_t window = 3, Where at = Where::current())
      : DropLayer<SensitiveNeuronDropout<T, D>>("SensitiveNeuronDropout", share, at), window(window) {
    if (window < 2)
      fail("SensitiveNeuronDropout", "no change to measure", {{"window", std::to_string(window)}}, "at least 2 checkpoints",
           at);
  }
  /// Without the history, which belongs to the run.
  template <class U, class E>
  explicit SensitiveNeuronDropout(const SensitiveNeuronDropout<U, E>& o, Where at = Where::current())
      : SensitiveNeuronDropout(o.p, o.window, at) {
    this->take_modes(o), in_evaluation = o.in_evaluation, mask = converted<T, D>(o.mask, at);
  }
  /// Definition 3.1 for hidden states [..., m, d]: [..., d].
  static Tensor<T, D> sentence_embedding(const Tensor<T, D>& h, Where at = Where::current()) {
    return mul(add(mean(h, {-2}, false, at), select_last(h, at), at), 0.5, at);
  }
  /// e [texts, d] of one checkpoint.
  void record(const Tensor<T, D>& e, Where at = Where::current()) {
    if (e.rank() != 2 || (!history_.empty() && !(e.shape() == history_.back().shape())))
      fail("SensitiveNeuronDropout", "embeddings of another shape",
           {{"e", describe(e)}, {"before", history_.empty() ? "none" : describe(history_.back())}},
           "e [texts, d], the same at every checkpoint", at);
    history_.push_back(no_grad([&] { return clone(e.detach(), at); }));
    while (static_cast<int64_t>(history_.size()) > window) history_.pop_front();
  }
  bool ready() const { return static_cast<int64_t>(history_.size()) == window; }
  /// V [d].
  Tensor<T, D> sensitivity(Where at = Where::current()) const {
    if (!ready())
      fail("SensitiveNeuronDropout", "too few checkpoints", {{"recorded", std::to_string(history_.size())}},
           std::to_string(window) + " of them", at);
    const NoGrad guard;
    const auto e = stack(std::vector<Tensor<T, D>>(history_.begin(), history_.end()), 0, at);  // [window, texts, d]
    const auto moved =
        sum(abs(sub(narrow(e, 0, 1, window - 1, 1, at), narrow(e, 0, 0, window - 1, 1, at), at), at), {0}, false, at);
    return mean(mul(var(e, 0, 0, false, at), moved, at), {0}, false, at);
  }
  /// Masks the share p of units with the largest V, at least one; their indices.
  Tensor<int64_t, D> select(Where at = Where::current()) {
    const NoGrad guard;
    const auto V = sensitivity(at);
    const int64_t d = V.numel(), count = std::max<int64_t>(1, static_cast<int64_t>(this->p * static_cast<double>(d)));
    const auto order = argsort(V, -1, true, at), chosen = narrow(order, 0, 0, count, 1, at);
    mask = cast<T>(greater_equal(argsort(order, -1, false, at), static_cast<double>(count), at), at);
    return clone(chosen, at);
  }
  void lift() { mask = {}; }
  Tensor<T, D> forward(const Tensor<T, D>& h, Where at = Where::current()) const {
    return mask.defined() && (this->active() || in_evaluation) ? mul(h, mask, at) : h;
  }
  void visit(auto&& f) { Dropping::visit(f), f("mask", mask, buffer); }

 private:
  static Tensor<T, D> select_last(const Tensor<T, D>& h, Where at) { return gradus::select(h, -2, -1, at); }
  std::deque<Tensor<T, D>> history_;
};

/// Tokens of a long input (an image in a prompt) leave a decoder in stages: V lambda^s of them, rounded down, stay in stage s =
/// 0 ... stages - 1, those that the last prompt token attends to most, in their order; other tokens always stay. Xing et al.,
/// "PyramidDrop", 2024. The choice has no gradient; what stays carries its own. The same in training and inference.
struct PyramidDrop {
  int64_t stages = 4;
  double lambda = 0.5;

  int64_t count(int64_t V, int64_t stage) const {
    return static_cast<int64_t>(std::floor(static_cast<double>(V) * std::pow(lambda, static_cast<double>(stage)) + 1e-9));
  }
  /// What a query q [B, nh, hs] gives to keys k [B, nh, T, hs]: softmax(q k^T / sqrt(hs)) over all of a row that `visible` [B,
  /// T] (undefined: all) allows, the mean over heads: [B, T]. Several query rows: the mean of their scores.
  template <class T, class D>
  static Tensor<T, D> scores(const Tensor<T, D>& q, const Tensor<T, D>& k, const Tensor<bool, D>& visible = {},
                             Where at = Where::current()) {
    if (k.rank() != 4 || !(q.shape() == Shape{k.shape()[0], k.shape()[1], k.shape()[3]}))
      fail("PyramidDrop::scores", "shapes do not match", {{"q", describe(q)}, {"k", describe(k)}},
           "q [B, nh, hs], k [B, nh, T, hs]", at);
    const NoGrad guard;
    auto row = mul(sum(mul(unsqueeze(q, 2, at), k, at), {-1}, false, at), 1 / std::sqrt(static_cast<double>(k.shape()[3])), at);
    if (visible.defined()) row = where(unsqueeze(visible, 1, at), row, -1e30, at);
    return mean(softmax(row, -1, at), {1}, false, at);
  }
  /// Positions [B, T - V + keep] that stay of T tokens whose image tokens are first ... first + V - 1; of equal scores the
  /// lower index stays.
  template <class T, class D>
  static Tensor<int64_t, D> positions(const Tensor<T, D>& scores, int64_t first, int64_t V, int64_t keep,
                                      Where at = Where::current()) {
    if (scores.rank() != 2 || first < 0 || V < 0 || first + V > scores.shape()[1] || keep < 0 || keep > V)
      fail("PyramidDrop::positions", "no such tokens",
           {{"scores", describe(scores)},
            {"first", std::to_string(first)},
            {"V", std::to_string(V)},
            {"keep", std::to_string(keep)}},
           "scores [B, T], first + V <= T, keep <= V", at);
    const NoGrad guard;
    const int64_t B = scores.shape()[0], N = scores.shape()[1];
    const auto all = expand(gradus::reshape(arange<int64_t, D>(static_cast<double>(N), at), {1, N}, at), {B, N}, at);
    const auto order = argsort(neg(narrow(scores.detach(), 1, first, V, 1, at), at), 1, false, at);  // stable
    const auto best = add(sort(narrow(order, 1, 0, keep, 1, at), 1, false, at).values, static_cast<double>(first), at);
    return cat(
        std::vector<Tensor<int64_t, D>>{narrow(all, 1, 0, first, 1, at), best, narrow(all, 1, first + V, N - first - V, 1, at)},
        1, at);
  }
  /// The tokens of x [B, T, C] at positions [B, K]: [B, K, C].
  template <class T, class D>
  static Tensor<T, D> at_positions(const Tensor<T, D>& x, const Tensor<int64_t, D>& positions, Where at = Where::current()) {
    if (x.rank() != 3 || positions.rank() != 2 || positions.shape()[0] != x.shape()[0])
      fail("PyramidDrop::at_positions", "shapes do not match", {{"x", describe(x)}, {"positions", describe(positions)}},
           "x [B, T, C], positions [B, K]", at);
    const Shape shape{positions.shape()[0], positions.shape()[1], x.shape()[2]};
    return gather(x, 1, contiguous(expand(unsqueeze(positions, 2, at), shape, at), at), at);
  }
};

/// In each row of x the share `ranked` with the largest values may be dropped, with probability p, without scaling: strong
/// units must not be relied on. Park & Kwak, "Analysis on the dropout effect in convolutional neural networks", ACCV 2016
/// (max-drop is the one largest unit: ranked = 0).
struct RankedDropout : DropLayer<RankedDropout> {
  double ranked = 0.25;
  explicit RankedDropout(double p = 0.5, double ranked = 0.25, Where at = Where::current())
      : DropLayer("RankedDropout", p, at), ranked(ranked) {
    gradus::detail::check_probability("RankedDropout", ranked, at);
  }
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (!active() || p == 0) return x;
    if (x.rank() < 1) fail("RankedDropout", "no rows", {{"x", describe(x)}}, "x [..., C]", at);
    const auto chance = no_grad([&] {
      const double count = std::max(1.0, std::floor(ranked * static_cast<double>(x.shape().back())));
      return mul(cast<T>(less(argsort(argsort(x.detach(), -1, true, at), -1, false, at), count, at), at), p, at);
    });
    return drop(x, BernoulliEach<T, D>(chance), {}, at);
  }
};

/// The rate of a batch is random, |N(0, sigma)| cut at p, so that a net sees inputs near each linear piece more often.
/// Wang, Zhu, Bilmes, "Jumpout", ICML 2019, with the rate as drawn (their normalisation by the share of active units is left
/// out).
struct JumpDropout : DropLayer<JumpDropout> {
  double sigma = 0.1;
  explicit JumpDropout(double sigma = 0.1, double most = 0.5, Where at = Where::current())
      : DropLayer("JumpDropout", most, at), sigma(sigma) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (!active()) return x;
    const double u = std::max(detail::host_uniform(), 0x1p-53), v = detail::host_uniform();
    const double n = std::sqrt(-2 * std::log(u)) * std::cos(2 * 3.14159265358979323846 * v);
    return dropout(x, std::min(std::fabs(sigma * n), p), true, at);
  }
};

/// The mask within budget that changes a loss most. Park, Park, Shin, Moon, "Adversarial dropout for supervised and
/// semi-supervised learning", AAAI 2018: of a sampled mask at most `budget` C units are flipped, those for which the
/// first-order change of the loss, (m' - m) h dL/d(m h), is largest. `loss_of(m h)` gives one number for h [B, C]; the mask [B,
/// C] of 0 and 1 comes back, ready for drop_with.
template <class F, Floating T, class D>
Tensor<T, D> adversarial_mask(const Tensor<T, D>& h, double p, double budget, F loss_of, Where at = Where::current()) {
  gradus::detail::check_probability("adversarial_mask", budget, at);
  if (h.rank() != 2) fail("adversarial_mask", "not rows of units", {{"h", describe(h)}}, "h [B, C]", at);
  const auto m = cast<T>(keep<D>(generator().draw(), h.shape(), Shape{}, p, at), at);
  Tensor<T, D> dropped = no_grad([&] { return mul(h.detach(), m, at); });
  dropped.requires_grad_();
  const GradMode on(true);
  const auto slope = gradus::grad(std::vector<Tensor<T, D>>{loss_of(dropped)}, std::vector<Tensor<T, D>>{dropped}, {}, at)[0];
  const NoGrad guard;
  const auto gain =
      mul(mul(gradus::detail::affine(m, -2, 1, at), h.detach(), at), slope, at);  // m' - m is 1 where m = 0, -1 where m = 1
  const double count = std::floor(budget * static_cast<double>(h.shape()[1]));
  const auto chosen =
      logical_and(less(argsort(argsort(gain, -1, true, at), -1, false, at), count, at), greater(gain, 0, at), at);
  return where(chosen, sub(1.0, m, at), m, at);
}

}  // namespace gradus::nn
