// VAE, VQ, GANs with gradient penalties, score matching, diffusion, flow matching.
#include <gradus/ops/losses/generative.hpp>
#include <gradus/ops/matmul.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

namespace {
const Double x = check::uniform({4, 3}, -1, 1, 2), z = check::uniform({4, 3}, -1, 1, 3);
}  // namespace

TEST_CASE("VAE and VQ: values, and which side each term moves") {
  const auto rec = check::uniform({4}, 0, 3, 4);
  CHECK(vae_loss(rec, x, z, 2).item() == Approx(mean(rec).item() + 2 * gaussian_kl(x, z).item()));
  check::gradients([&](const check::List& l) { return vae_loss(rec, l[0], l[1]); }, check::List{x, z});
  const auto a = check::leaf(x), b = check::leaf(z);
  const auto g = grad(check::List{vq_loss(a, b, 0.25)}, check::List{a, b});
  CHECK(vq_loss(a, b, 0.25).item() == Approx(1.25 * mean(square(x - z)).item()));
  CHECK(check::difference(g[0], (x - z) * (2 * 0.25 / 12)) == "");
  CHECK(check::difference(g[1], (z - x) * (2.0 / 12)) == "");
  CHECK_FALSE(grad(check::List{vq_loss(a, b, 0.25, false)}, check::List{a, b}, {.allow_unused = true})[1].defined());
}

TEST_CASE("adversarial losses by their formulas") {
  const auto real = from_vector<double>({2, -1}), fake = from_vector<double>({0.5, -3});
  const auto sp = [](double v) { return std::log1p(std::exp(v)); };
  CHECK(gan_discriminator_loss(real, fake).item() == Approx((sp(-2) + sp(1)) / 2 + (sp(0.5) + sp(-3)) / 2));
  CHECK(gan_generator_loss(fake).item() == Approx((sp(-0.5) + sp(3)) / 2));
  CHECK(wgan_critic_loss(real, fake).item() == Approx(-1.25 - 0.5));
  CHECK(wgan_generator_loss(fake).item() == Approx(1.25));
  CHECK(lsgan_discriminator_loss(real, fake).item() == Approx(((1.0 + 4) / 2 + (0.25 + 9) / 2) / 2));
  CHECK(lsgan_generator_loss(fake).item() == Approx((0.25 + 16) / 4));
  CHECK(hinge_discriminator_loss(real, fake).item() == Approx((0 + 2) / 2.0 + (1.5 + 0) / 2));
  CHECK(hinge_generator_loss(fake).item() == Approx(1.25));
}

TEST_CASE("gradient penalties: exact for a linear critic, and they train it") {
  const auto w = from_vector<double>({3, 0, 4}, {3, 1});
  const auto linear_critic = [&](const Double& v) { return matmul(v, w); };
  manual_seed(1);
  CHECK(gradient_penalty(linear_critic, x, z).item() == Approx(16));  // (5 - 1)^2 everywhere
  CHECK(r1_penalty(linear_critic, x, 10).item() == Approx(125));
  const auto penalty = [&](const check::List& l) {  // of the critic's weights: a second derivative inside
    manual_seed(2);
    const auto critic = [&](const Double& v) { return matmul(tanh(matmul(v, l[0])), l[1]); };
    return gradient_penalty(critic, x, z) + r1_penalty(critic, x, 2);
  };
  check::gradients(penalty, check::List{check::uniform({3, 4}, -1, 1, 5), check::uniform({4, 1}, -1, 1, 6)});
  CHECK(check::missing(check::error_of([&] {
                         gradient_penalty(linear_critic, x, ones<double>({3, 3}));
                       }),
                       {"gradient_penalty", "real", "fake", "losses_generative_test.cpp"}) == "");
}

TEST_CASE("score matching is least at the true score of a normal, and its forms agree") {
  manual_seed(3);
  const auto data = randn<double>({20000, 2}) * 2.0 + 1.0;  // N(1, 4): score (1 - x) / 4
  const auto score = [](double slope) { return [slope](const Double& v) { return (1.0 - v) * slope; }; };
  double best = 1e9, at = 0;
  for (const double s : {0.15, 0.2, 0.25, 0.3, 0.35}) {
    const double loss = score_matching_loss(score(s), data).item();
    CHECK(loss == Approx(-2 * s + 0.5 * s * s * sum(square(data - 1)).item() / 20000));
    if (loss < best) best = loss, at = s;
    const double noisy = sliced_score_matching_loss(score(s), data).item();
    CHECK(std::fabs(noisy - loss) < 0.05);
  }
  CHECK(at == 0.25);
  const double sigma = 1.5;  // noisy density N(1, 4 + sigma^2): slope 1 / 6.25
  best = 1e9;
  for (const double s : {0.1, 0.13, 0.16, 0.19, 0.22}) {
    manual_seed(4);
    const double loss = denoising_score_matching_loss(score(s), data, sigma).item();
    if (loss < best) best = loss, at = s;
  }
  CHECK(at == 0.16);
  const auto net = [](const check::List& l) { return [l](const Double& v) { return matmul(tanh(matmul(v, l[0])), l[1]); }; };
  const check::List weights{check::uniform({3, 4}, -1, 1, 5), check::uniform({4, 3}, -1, 1, 6)};
  check::gradients([&](const check::List& l) { return score_matching_loss(net(l), x); }, weights);
  gradcheck(
      [&](const check::List& l) {
        manual_seed(5);
        return sliced_score_matching_loss(net(l), x, false) + denoising_score_matching_loss(net(l), x, 0.3);
      },
      weights);
}

TEST_CASE("diffusion: the three predictions carry the same information") {
  const auto t = from_vector<double>({0.1, 0.7, 1.1, 1.5}, {4, 1});
  const auto a = cos(t), s = sin(t), n = z;
  const auto xt = a * x + s * n;
  for (const auto what : {Prediction::noise, Prediction::data, Prediction::velocity}) {
    const auto target = diffusion_target(what, x, n, a, s);
    CHECK(check::difference(diffusion_data(what, target, xt, a, s), x, 1e-9, 1e-9) == "");
    CHECK(diffusion_loss(what, target, x, n, a, s).item() == 0);
    CHECK(diffusion_loss(what, target + 0.5, x, n, a, s, a * a).item() == Approx(0.25 * mean(a * a).item()));
    check::gradients([&](const Double& v) { return diffusion_loss(what, v, x, n, a, s); }, z * 0.3);
  }
  CHECK(flow_matching_loss(z - x, x, z).item() == 0);
  CHECK(flow_matching_loss(zeros_like(x), x, z).item() == Approx(mean(square(z - x)).item()));
  check::gradients([](const Double& v) { return flow_matching_loss(v, x, z); }, z * 0.3);
}
