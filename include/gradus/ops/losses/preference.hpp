// Policies from rewards and from preferences. Log-probabilities of sequences are sums over their tokens: sequence_logp().
// "chosen" and "rejected" are the two answers of a pair, "ref" the frozen reference policy.
#pragma once
#include <gradus/ops/losses/cross_entropy.hpp>

namespace gradus {

/// log p(tokens) of each sequence: logits [B, T, V] for tokens [B, T], where mask [B, T] (undefined: everywhere) is true; the
/// sum, or the mean over the tokens that count.
template <Floating T, class D>
Tensor<T, D> sequence_logp(const Tensor<T, D>& logits, const Tensor<int64_t, D>& tokens, const Tensor<bool, D>& mask = {},
                           bool average = false, Where at = Where::current()) {
  if (logits.rank() != 3 || !(tokens.shape() == Shape{logits.shape()[0], logits.shape()[1]}) ||
      (mask.defined() && !(mask.shape() == tokens.shape())))
    fail("sequence_logp", "shapes do not match",
         {{"logits", describe(logits)}, {"tokens", describe(tokens)}, {"mask", describe(mask)}},
         "logits [B, T, V], tokens and mask [B, T]", at);
  auto each = squeeze(gather(log_softmax(logits, -1, at), 2, unsqueeze(tokens, 2, at), at), 2, at);
  if (!mask.defined()) return average ? mean(each, {1}, false, at) : sum(each, {1}, false, at);
  const auto total = sum(where(mask, each, 0.0, at), {1}, false, at);
  if (!average) return total;
  const auto count = sum(cast<T>(mask, at), {1}, false, at);
  return div(total, maximum(count, detail::scalar_like(count, 1, at), at), at);
}

// -- rewards ------------------------------------------------------------------------------------------------------------------

/// -mean logp (R - baseline): no gradient reaches the returns. Williams, Machine Learning 8, 1992.
template <Floating T, class D>
Tensor<T, D> reinforce_loss(const Tensor<T, D>& logp, const Tensor<T, D>& returns, double baseline = 0,
                            Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("reinforce_loss", "logp", logp, "returns", returns, at);
  return detail::reduce_loss(neg(mul(logp, sub(returns.detach(), baseline, at), at), at), r, at);
}
/// -min(ratio A, clip(ratio, 1 - e, 1 + e) A), ratio = e^{logp - old}: old log-probabilities and advantages A get no gradient.
/// Schulman et al., "PPO", 2017, eq. 7. Value and entropy terms are losses of their own: mse_loss, and the entropy of the
/// policy.
template <Floating T, class D>
Tensor<T, D> ppo_loss(const Tensor<T, D>& logp, const Tensor<T, D>& old_logp, const Tensor<T, D>& advantage, double clip = 0.2,
                      Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("ppo_loss", "logp", logp, "old_logp", old_logp, at);
  detail::check_same("ppo_loss", "logp", logp, "advantage", advantage, at);
  const auto A = advantage.detach(), ratio = exp(sub(logp, old_logp.detach(), at), at);
  return detail::reduce_loss(neg(minimum(mul(ratio, A, at), mul(clamp(ratio, 1 - clip, 1 + clip, at), A, at), at), at), r, at);
}
/// (R - mean) / (std + eps) within each group of G answers: rewards [groups, G] -> [groups, G]. The deviation divides by G - 1.
template <Floating T, class D>
Tensor<T, D> group_advantages(const Tensor<T, D>& rewards, double eps = 1e-4, Where at = Where::current()) {
  detail::check_rank("group_advantages", "rewards", rewards, 2, "rewards [groups, G]", at);
  const NoGrad guard;
  const auto v = rewards.detach();
  return div(sub(v, mean(v, {1}, true, at), at), add(stddev(v, {1}, 1, true, at), eps, at), at);
}
struct GrpoOptions {
  double clip = 0.2, beta = 0.04;  ///< beta weighs the divergence from the reference
  bool mean_of_answers = true;  ///< each answer's tokens are averaged first (the paper); off: one mean over all tokens (DAPO)
};
/// -mean over answers of 1/|o| sum_t min(ratio A, clip(ratio) A) - beta KL_t, KL_t = e^{ref - logp} - (ref - logp) - 1 >= 0
/// (Schulman's estimator): logp, old_logp, ref_logp [B, T], advantage [B], mask [B, T] true on answer tokens. Shao et al.,
/// "DeepSeekMath", 2024, eq. 3 and 4.
template <Floating T, class D>
Tensor<T, D> grpo_loss(const Tensor<T, D>& logp, const Tensor<T, D>& old_logp, const Tensor<T, D>& ref_logp,
                       const Tensor<T, D>& advantage, const Tensor<bool, D>& mask, const GrpoOptions& o = {},
                       Where at = Where::current()) {
  detail::check_rank("grpo_loss", "logp", logp, 2, "logp [B, T]", at);
  detail::check_same("grpo_loss", "logp", logp, "old_logp", old_logp, at);
  detail::check_same("grpo_loss", "logp", logp, "mask", mask, at);
  if (!(advantage.shape() == Shape{logp.shape()[0]}))
    fail("grpo_loss", "one advantage an answer is needed", {{"logp", describe(logp)}, {"advantage", describe(advantage)}},
         "advantage [B]", at);
  const auto A = expand(unsqueeze(advantage, 1, at), logp.shape(), at);
  auto per = ppo_loss(logp, old_logp, A, o.clip, Reduction::none, at);
  if (o.beta != 0) {
    detail::check_same("grpo_loss", "logp", logp, "ref_logp", ref_logp, at);
    const auto apart = sub(ref_logp.detach(), logp, at);
    per = add(per, mul(sub(expm1(apart, at), apart, at), o.beta, at), at);
  }
  per = where(mask, per, 0.0, at);
  const auto counts = cast<T>(mask, at);
  const auto at_least_1 = [&](const Tensor<T, D>& n) { return maximum(n, detail::scalar_like(n, 1, at), at); };
  if (!o.mean_of_answers) return div(sum(per, {}, false, at), at_least_1(sum(counts, {}, false, at)), at);
  return mean(div(sum(per, {1}, false, at), at_least_1(sum(counts, {1}, false, at)), at), {}, false, at);
}

// -- preferences: log-probabilities [N] of the chosen and the rejected answers ------------------------------------------------

namespace detail {
template <class T, class D>
void check_pairs(const char* op, const Tensor<T, D>& a, const Tensor<T, D>& b, Where at) {
  check_same(op, "chosen", a, "rejected", b, at);
}
}  // namespace detail

/// -log s(beta h), h = (chosen - ref_chosen) - (rejected - ref_rejected); smoothing e: (1 - e) that - e log s(-beta h).
/// Rafailov et al., NeurIPS 2023, eq. 7; smoothing: Mitchell 2023 ("conservative DPO").
template <Floating T, class D>
Tensor<T, D> dpo_loss(const Tensor<T, D>& chosen, const Tensor<T, D>& rejected, const Tensor<T, D>& ref_chosen,
                      const Tensor<T, D>& ref_rejected, double beta = 0.1, double smoothing = 0, Reduction r = Reduction::mean,
                      Where at = Where::current()) {
  detail::check_pairs("dpo_loss", chosen, rejected, at);
  detail::check_pairs("dpo_loss", ref_chosen, ref_rejected, at);
  detail::check_pairs("dpo_loss", chosen, ref_chosen, at);
  const auto h = mul(sub(sub(chosen, ref_chosen, at), sub(rejected, ref_rejected, at), at), beta, at);
  auto per = softplus(neg(h, at), 1, at);
  if (smoothing > 0) per = add(per, mul(h, smoothing, at), at);  // softplus(h) = softplus(-h) + h
  return detail::reduce_loss(per, r, at);
}
/// (h - 1 / (2 tau))^2, h as in dpo_loss without beta. Azar et al., AISTATS 2024, eq. 17.
template <Floating T, class D>
Tensor<T, D> ipo_loss(const Tensor<T, D>& chosen, const Tensor<T, D>& rejected, const Tensor<T, D>& ref_chosen,
                      const Tensor<T, D>& ref_rejected, double tau = 0.1, Reduction r = Reduction::mean,
                      Where at = Where::current()) {
  detail::check_pairs("ipo_loss", chosen, rejected, at);
  detail::check_pairs("ipo_loss", ref_chosen, ref_rejected, at);
  detail::check_pairs("ipo_loss", chosen, ref_chosen, at);
  const auto h = sub(sub(chosen, ref_chosen, at), sub(rejected, ref_rejected, at), at);
  return detail::reduce_loss(square(sub(h, 1 / (2 * tau), at), at), r, at);
}
struct KtoOptions {
  double beta = 0.1, desirable = 1, undesirable = 1;
  Reduction reduction = Reduction::mean;
};
/// Of single answers: weight (1 - s(beta (r - z0))) for desirable, weight (1 - s(beta (z0 - r))) for undesirable ones, r = logp
/// - ref, good [N]. z0 = max(0, kl) is the mean log-ratio of mismatched pairs, given, and gets no gradient. Ethayarajh et al.,
/// "KTO", ICML 2024, eq. 8.
template <Floating T, class D>
Tensor<T, D> kto_loss(const Tensor<T, D>& logp, const Tensor<T, D>& ref, const Tensor<bool, D>& good, const Tensor<T, D>& kl,
                      const KtoOptions& o = {}, Where at = Where::current()) {
  detail::check_same("kto_loss", "logp", logp, "ref", ref, at);
  detail::check_same("kto_loss", "logp", logp, "good", good, at);
  const auto z0 = no_grad([&] { return relu(gradus::reshape(kl.detach(), Shape{}, at), at); });
  const auto gain = mul(sub(sub(logp, ref, at), z0, at), o.beta, at);
  const auto up = mul(sigmoid(neg(gain, at), at), o.desirable, at), down = mul(sigmoid(gain, at), o.undesirable, at);
  return detail::reduce_loss(where(good, up, down, at), o.reduction, at);
}
/// -chosen + lambda * -log s(log odds(chosen) - log odds(rejected)), log odds(a) = a - log(1 - e^a), of mean log-probabilities
/// of a token (< 0). No reference. Hong, Lee, Thorne, "ORPO", EMNLP 2024, eq. 6 and 7.
template <Floating T, class D>
Tensor<T, D> orpo_loss(const Tensor<T, D>& chosen, const Tensor<T, D>& rejected, double lambda = 0.1,
                       Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_pairs("orpo_loss", chosen, rejected, at);
  const auto log_odds = [&](const Tensor<T, D>& a) { return sub(a, log(neg(expm1(a, at), at), at), at); };
  const auto ratio = softplus(sub(log_odds(rejected), log_odds(chosen), at), 1, at);
  return detail::reduce_loss(sub(mul(ratio, lambda, at), chosen, at), r, at);
}
/// -log s(beta (chosen - rejected) - gamma) of mean log-probabilities of a token. Meng, Xia, Chen, "SimPO", NeurIPS 2024,
/// eq. 6.
template <Floating T, class D>
Tensor<T, D> simpo_loss(const Tensor<T, D>& chosen, const Tensor<T, D>& rejected, double beta = 2, double gamma = 1,
                        Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_pairs("simpo_loss", chosen, rejected, at);
  return detail::reduce_loss(softplus(sub(gamma, mul(sub(chosen, rejected, at), beta, at), at), 1, at), r, at);
}
/// -log s(beta (chosen - rejected)) - weight chosen, of summed log-probabilities: DPO with a uniform reference, and the
/// likelihood of the chosen answer. Xu et al., "Contrastive preference optimization", ICML 2024, eq. 6.
template <Floating T, class D>
Tensor<T, D> cpo_loss(const Tensor<T, D>& chosen, const Tensor<T, D>& rejected, double beta = 0.1, double weight = 1,
                      Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_pairs("cpo_loss", chosen, rejected, at);
  const auto per = softplus(mul(sub(rejected, chosen, at), beta, at), 1, at);
  return detail::reduce_loss(sub(per, mul(chosen, weight, at), at), r, at);
}
/// Unlearning: 2/beta softplus(beta (logp - ref)), of summed log-probabilities of what is to be forgotten. Zhang, Lin, Bai,
/// Mei, "Negative preference optimization", 2024, eq. 3.
template <Floating T, class D>
Tensor<T, D> npo_loss(const Tensor<T, D>& logp, const Tensor<T, D>& ref, double beta = 0.1, Reduction r = Reduction::mean,
                      Where at = Where::current()) {
  detail::check_same("npo_loss", "logp", logp, "ref", ref, at);
  detail::check_positive("npo_loss", "beta", beta, at);
  return detail::reduce_loss(mul(softplus(mul(sub(logp, ref, at), beta, at), 1, at), 2 / beta, at), r, at);
}

}  // namespace gradus
