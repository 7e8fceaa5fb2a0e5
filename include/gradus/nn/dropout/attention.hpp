// Dropout inside attention: logits and probabilities [..., T, S] (queries by keys), heads of [B, nh, T, hs].
#pragma once
#include <limits>

#include <gradus/nn/dropout/modes.hpp>
#include <gradus/ops/shape.hpp>

namespace gradus::nn {

/// On the probabilities, scaled by 1 / (1 - p): rows no longer sum to 1, only in expectation. Vaswani et al. 2017.
/// `renormalise` divides each row by its sum instead, after dropping whole columns (keys) for all queries: Zehui et al.,
/// "DropAttention", 2019; a row that lost all keys is 0.
struct AttentionDropout : DropLayer<AttentionDropout> {
  bool renormalise = false;
  explicit AttentionDropout(double p = 0.1, bool renormalise = false, Where at = Where::current())
      : DropLayer("AttentionDropout", p, at), renormalise(renormalise) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& a, Where at = Where::current()) const {
    if (!renormalise) return dropout(a, p, active(), at);
    if (!active() || p == 0) return a;
    const auto kept = drop(a, Bernoulli{p, {-2}}, {}, at), total = sum(kept, {-1}, true, at);
    const auto none = equal(total, 0, at);
    return where(none, 0.0, div(kept, where(none, 1.0, total, at), at), at);
  }
};

/// Keys are dropped before the softmax, which makes up for them: logits of dropped keys become very negative, other ones for
/// each query and head; no scaling, evaluation is the identity. Li et al., "DropKey for vision transformer", CVPR 2023. A row
/// that loses all keys attends evenly.
struct DropKey : DropLayer<DropKey> {
  explicit DropKey(double p = 0.1, Where at = Where::current()) : DropLayer("DropKey", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& logits, Where at = Where::current()) const {
    if (!active() || p == 0) return logits;
    return drop(logits, Bernoulli{p}, {.fill = std::is_same_v<T, half> ? -6e4 : -1e30}, at);
  }
};

/// Whole heads of [B, nh, T, hs] (or probabilities [B, nh, T, S]), one fate a sample and head, the others scaled by 1 / (1 -
/// p). Zhou, Ge, Xu, Wei, Zhou, "Scheduled DropHead", EMNLP Findings 2020; their schedule is set_dropout over time.
struct DropHead : DropLayer<DropHead> {
  explicit DropHead(double p = 0.1, Where at = Where::current()) : DropLayer("DropHead", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (x.rank() != 4) fail("DropHead", "no heads", {{"x", describe(x)}}, "x [B, nh, T, hs]", at);
    return shared_dropout(x, p, {2, 3}, active(), at);
  }
};

/// Random past tokens are hidden from all queries: a mask [B, T], true where a key may be seen, to be combined with the causal
/// mask; the share hidden is uniform in [0, p) for each sequence, and the first token always stays. Liu, Cao et al., "FCM:
/// forgetful causal masking", 2022.
struct ForgetfulCausalMask : Dropping {
  explicit ForgetfulCausalMask(double p = 0.15, Where at = Where::current()) : Dropping("ForgetfulCausalMask", p, at) {}
  template <class D = Cpu>
  Tensor<bool, D> visible(int64_t B, int64_t T, Where at = Where::current()) const {
    const NoGrad guard;
    if (!active()) return full<bool, D>({B, T}, 1, at);
    const auto share = mul(rand<float, D>({B, 1}, at), p, at);
    const auto first = less(gradus::reshape(arange<float, D>(static_cast<double>(T), at), {1, T}, at), 1, at);
    return logical_or(keep(generator().draw(), {B, T}, Shape{}, share, at), first, at);
  }
};

}  // namespace gradus::nn
