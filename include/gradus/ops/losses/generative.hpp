// Losses of generative models: VAE, VQ, GAN with gradient penalties, score matching, diffusion, flow matching.
#pragma once
#include <gradus/ops/functional.hpp>
#include <gradus/ops/losses/classification.hpp>
#include <gradus/ops/losses/divergence.hpp>
#include <gradus/ops/losses/regression.hpp>
#include <gradus/ops/random.hpp>

namespace gradus {

// -- VAE, VQ ------------------------------------------------------------------------------------------------------------------

/// -ELBO = reconstruction + beta KL(q || N(0, 1)), the mean over the batch: reconstruction [N] (minus log-likelihoods, summed
/// over each sample), mean and log_variance of q [N, C]. Kingma & Welling, ICLR 2014, eq. 10; beta: Higgins et al., ICLR 2017.
template <Floating T, class D>
Tensor<T, D> vae_loss(const Tensor<T, D>& reconstruction, const Tensor<T, D>& mean, const Tensor<T, D>& log_variance,
                      double beta = 1, Where at = Where::current()) {
  const auto kl = gaussian_kl(mean, log_variance, Reduction::none, at);
  detail::check_same("vae_loss", "reconstruction", reconstruction, "KL", kl, at);
  return gradus::mean(add(reconstruction, mul(kl, beta, at), at), {}, false, at);
}
/// mean |stop(z) - e|^2 + beta mean |z - stop(e)|^2: codes e move to encodings z, encodings commit to their codes. van den
/// Oord, Vinyals, Kavukcuoglu, NeurIPS 2017, eq. 3 without the reconstruction. With codes averaged over time (their appendix)
/// the first term is off.
template <Floating T, class D>
Tensor<T, D> vq_loss(const Tensor<T, D>& z, const Tensor<T, D>& e, double beta = 0.25, bool codebook = true,
                     Where at = Where::current()) {
  detail::check_same("vq_loss", "z", z, "e", e, at);
  const auto commit = mul(mse_loss(z, e.detach(), Reduction::mean, at), beta, at);
  return codebook ? add(mse_loss(e, z.detach(), Reduction::mean, at), commit, at) : commit;
}

// -- GAN: scores of a critic for real and generated samples -------------------------------------------------------------------

/// Discriminator softplus(-real) + softplus(fake), generator softplus(-fake). Goodfellow et al., NeurIPS 2014, the
/// non-saturating form.
template <Floating T, class D>
Tensor<T, D> gan_discriminator_loss(const Tensor<T, D>& real, const Tensor<T, D>& fake, Where at = Where::current()) {
  return add(mean(softplus(neg(real, at), 1, at), {}, false, at), mean(softplus(fake, 1, at), {}, false, at), at);
}
template <Floating T, class D>
Tensor<T, D> gan_generator_loss(const Tensor<T, D>& fake, Where at = Where::current()) {
  return mean(softplus(neg(fake, at), 1, at), {}, false, at);
}
/// Critic mean fake - mean real, generator -mean fake. Arjovsky, Chintala, Bottou, ICML 2017; the critic needs
/// gradient_penalty.
template <Floating T, class D>
Tensor<T, D> wgan_critic_loss(const Tensor<T, D>& real, const Tensor<T, D>& fake, Where at = Where::current()) {
  return sub(mean(fake, {}, false, at), mean(real, {}, false, at), at);
}
template <Floating T, class D>
Tensor<T, D> wgan_generator_loss(const Tensor<T, D>& fake, Where at = Where::current()) {
  return neg(mean(fake, {}, false, at), at);
}
/// (mean (real - 1)^2 + mean fake^2) / 2 and mean (fake - 1)^2 / 2. Mao et al., "LSGAN", ICCV 2017, eq. 9 (a = 0, b = c = 1).
template <Floating T, class D>
Tensor<T, D> lsgan_discriminator_loss(const Tensor<T, D>& real, const Tensor<T, D>& fake, Where at = Where::current()) {
  return mul(add(mean(square(sub(real, 1, at), at), {}, false, at), mean(square(fake, at), {}, false, at), at), 0.5, at);
}
template <Floating T, class D>
Tensor<T, D> lsgan_generator_loss(const Tensor<T, D>& fake, Where at = Where::current()) {
  return mul(mean(square(sub(fake, 1, at), at), {}, false, at), 0.5, at);
}
/// mean max(0, 1 - real) + mean max(0, 1 + fake), generator -mean fake. Lim & Ye 2017; Miyato et al., ICLR 2018.
template <Floating T, class D>
Tensor<T, D> hinge_discriminator_loss(const Tensor<T, D>& real, const Tensor<T, D>& fake, Where at = Where::current()) {
  return add(mean(relu(sub(1.0, real, at), at), {}, false, at), mean(relu(add(fake, 1, at), at), {}, false, at), at);
}
template <Floating T, class D>
Tensor<T, D> hinge_generator_loss(const Tensor<T, D>& fake, Where at = Where::current()) {
  return neg(mean(fake, {}, false, at), at);
}

namespace detail {
/// |d sum critic(x) / dx|^2 for each sample: [N], recorded, so that the penalty trains the critic.
template <class F, class T, class D>
Tensor<T, D> squared_slopes(const char* op, F& critic, const Tensor<T, D>& x, Where at) {
  if (x.rank() < 2) fail(op, "no batch", {{"x", describe(x)}}, "x [N, ...]", at);
  const GradMode on(true);
  const auto leaf = x.requires_grad() ? x : fresh_leaf(x);
  const auto score = sum(critic(leaf), {}, false, at);
  const auto slope = grad(std::vector<Tensor<T, D>>{score}, std::vector<Tensor<T, D>>{leaf}, {.create_graph = true}, at)[0];
  return sum(square(flatten(slope, 1, -1, at), at), {1}, false, at);
}
}  // namespace detail

/// mean (|grad critic(x)| - target)^2 at x = u real + (1 - u) fake, u uniform, one a sample. Gulrajani et al., "WGAN-GP",
/// NeurIPS 2017, eq. 3; their weight is 10. critic takes [N, ...] and gives a score a sample.
template <class F, Floating T, class D>
Tensor<T, D> gradient_penalty(F critic, const Tensor<T, D>& real, const Tensor<T, D>& fake, double target = 1,
                              Where at = Where::current()) {
  detail::check_same("gradient_penalty", "real", real, "fake", fake, at);
  Shape one = real.shape();
  for (int i = 1; i < one.n; ++i) one[i] = 1;
  const auto x = no_grad([&] { return lerp(fake.detach(), real.detach(), gradus::rand<T, D>(one, at), at); });
  const auto s = detail::squared_slopes("gradient_penalty", critic, x, at);
  return mean(square(sub(sqrt(add(s, 1e-12, at), at), target, at), at), {}, false, at);
}
/// weight/2 mean |grad D(real)|^2. Mescheder, Geiger, Nowozin, ICML 2018, eq. 9 ("R1"); with generated samples in its place,
/// R2.
template <class F, Floating T, class D>
Tensor<T, D> r1_penalty(F critic, const Tensor<T, D>& real, double weight = 10, Where at = Where::current()) {
  return mul(mean(detail::squared_slopes("r1_penalty", critic, real, at), {}, false, at), weight / 2, at);
}

// -- score matching: score(x) estimates grad log p(x), x [N, C] ---------------------------------------------------------------

/// mean tr(ds/dx) + |s|^2 / 2, exactly: C backward passes. Hyvarinen, JMLR 2005, eq. 4.
template <class F, Floating T, class D>
Tensor<T, D> score_matching_loss(F score, const Tensor<T, D>& x, Where at = Where::current()) {
  detail::check_rank("score_matching_loss", "x", x, 2, "x [N, C]", at);
  const GradMode on(true);
  const auto leaf = x.requires_grad() ? x : detail::fresh_leaf(x);
  const auto s = score(leaf);
  detail::check_same("score_matching_loss", "x", x, "score(x)", s, at);
  auto total = mul(sum(square(s, at), {}, false, at), 0.5, at);
  for (int64_t i = 0; i < x.shape()[1]; ++i) {
    const auto si = sum(select(s, 1, i, at), {}, false, at);
    if (!si.requires_grad()) continue;
    const auto row = grad(std::vector<Tensor<T, D>>{si}, std::vector<Tensor<T, D>>{leaf},
                          {.create_graph = true, .allow_unused = true}, at)[0];
    if (row.defined()) total = add(total, sum(select(row, 1, i, at), {}, false, at), at);
  }
  return mul(total, 1 / static_cast<double>(x.shape()[0]), at);
}
/// mean v^T (ds/dx) v + (v^T s)^2 / 2 with one random direction a sample, v standard normal: one backward pass. Song, Garg,
/// Shi, Ermon, UAI 2019, eq. 8; |s|^2 in place of (v^T s)^2 (variance reduction, eq. 9) by default.
template <class F, Floating T, class D>
Tensor<T, D> sliced_score_matching_loss(F score, const Tensor<T, D>& x, bool reduce_variance = true,
                                        Where at = Where::current()) {
  detail::check_rank("sliced_score_matching_loss", "x", x, 2, "x [N, C]", at);
  const GradMode on(true);
  const auto v = randn<T, D>(x.shape(), at);
  const auto leaf = x.requires_grad() ? x : detail::fresh_leaf(x);
  const auto s = score(leaf), along = sum(mul(v, s, at), {1}, false, at);
  const auto slope = grad(std::vector<Tensor<T, D>>{sum(along, {}, false, at)}, std::vector<Tensor<T, D>>{leaf},
                          {.create_graph = true}, at)[0];
  const auto size = reduce_variance ? sum(square(s, at), {1}, false, at) : square(along, at);
  return mean(add(sum(mul(slope, v, at), {1}, false, at), mul(size, 0.5, at), at), {}, false, at);
}
/// mean |sigma score(x + sigma n) + n|^2 / 2 summed over each sample: the score of the noisy density. Vincent 2011, eq. 11,
/// times sigma^2 as in Song & Ermon, NeurIPS 2019, eq. 5 and 6. `score_of` takes the noisy x.
template <class F, Floating T, class D>
Tensor<T, D> denoising_score_matching_loss(F score_of, const Tensor<T, D>& x, double sigma, Where at = Where::current()) {
  detail::check_positive("denoising_score_matching_loss", "sigma", sigma, at);
  const auto n = randn<T, D>(x.shape(), at);
  const auto apart = add(mul(score_of(add(x, mul(n, sigma, at), at)), sigma, at), n, at);
  return mul(mean(sum(square(flatten(apart, 1, -1, at), at), {1}, false, at), {}, false, at), 0.5, at);
}

// -- diffusion: x_t = a x_0 + s n, a and s [N, 1, ...] or broadcast, a^2 + s^2 = 1 --------------------------------------------

/// What a network predicts of (x_0, n): the noise n (Ho, Jain, Abbeel 2020), the data x_0, or the velocity v = a n - s x_0
/// (Salimans & Ho 2022).
enum class Prediction { noise, data, velocity };
/// The target of the prediction.
template <Floating T, class D>
Tensor<T, D> diffusion_target(Prediction what, const Tensor<T, D>& x0, const Tensor<T, D>& n, const Tensor<T, D>& a,
                              const Tensor<T, D>& s, Where at = Where::current()) {
  return what == Prediction::noise ? n : what == Prediction::data ? x0 : sub(mul(a, n, at), mul(s, x0, at), at);
}
/// x_0 from a prediction at x_t.
template <Floating T, class D>
Tensor<T, D> diffusion_data(Prediction what, const Tensor<T, D>& predicted, const Tensor<T, D>& xt, const Tensor<T, D>& a,
                            const Tensor<T, D>& s, Where at = Where::current()) {
  if (what == Prediction::data) return predicted;
  if (what == Prediction::velocity) return sub(mul(a, xt, at), mul(s, predicted, at), at);
  return div(sub(xt, mul(s, predicted, at), at), a, at);
}
/// mean w |predicted - target|^2, w broadcast or undefined (1).
template <Floating T, class D>
Tensor<T, D> diffusion_loss(Prediction what, const Tensor<T, D>& predicted, const Tensor<T, D>& x0, const Tensor<T, D>& n,
                            const Tensor<T, D>& a, const Tensor<T, D>& s, const Tensor<T, D>& weight = {},
                            Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("diffusion_loss", "predicted", predicted, "x0", x0, at);
  detail::check_same("diffusion_loss", "x0", x0, "n", n, at);
  const auto per = square(sub(predicted, diffusion_target(what, x0, n, a, s, at), at), at);
  return detail::reduce_loss(weight.defined() ? mul(per, weight, at) : per, r, at);
}
/// mean |v - (x_1 - x_0)|^2 for the velocity v predicted at x_t = (1 - t) x_0 + t x_1: rectified flow, Liu, Gong, Liu, ICLR
/// 2023, eq. 1; flow matching with straight paths, Lipman et al., ICLR 2023. With data as x_0 and noise as x_1, sampling runs
/// from t = 1 to 0.
template <Floating T, class D>
Tensor<T, D> flow_matching_loss(const Tensor<T, D>& v, const Tensor<T, D>& x0, const Tensor<T, D>& x1,
                                Reduction r = Reduction::mean, Where at = Where::current()) {
  detail::check_same("flow_matching_loss", "v", v, "x0", x0, at);
  detail::check_same("flow_matching_loss", "x0", x0, "x1", x1, at);
  return detail::reduce_loss(square(sub(v, sub(x1, x0, at), at), at), r, at);
}

}  // namespace gradus
