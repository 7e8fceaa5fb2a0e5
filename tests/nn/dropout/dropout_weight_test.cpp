// Dropout of weights, variational and concrete dropout, standout and information dropout.
#include <gradus/nn/dropout/concrete.hpp>
#include <gradus/nn/dropout/variational.hpp>
#include <gradus/nn/dropout/weight.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

namespace {
constexpr int64_t kMany = 100000;
template <class F>
nn::MonteCarlo<double, Cpu> passes(F f, int64_t n) {
  return nn::monte_carlo_predict(f, n);
}
}  // namespace

TEST_CASE("DropConnect drops weights: mean and variance of its output, in training and by moments") {
  manual_seed(1);
  nn::DropConnect<double> layer(6, 3, 0.4);
  const auto x = check::uniform({2, 6});
  const auto mean = linear(x, layer.weight, layer.bias);
  const auto variance = linear(square(x), square(layer.weight)) * (0.4 / 0.6);
  for (const auto& mc : {passes([&] { return layer(x); }, 20000), passes([&] { return layer.sample(x); }, 20000)}) {
    CHECK(check::difference(mc.mean, mean.detach(), 0, 0.03) == "");
    CHECK(check::difference(mc.variance, variance.detach(), 0.08, 0) == "");
  }
  const auto one = layer(ones<double>({1, 6})), two = layer(ones<double>({1, 6}));
  CHECK(one.to_vector() != two.to_vector());
  layer.training = false;
  CHECK(check::difference(layer(x), mean) == "");
  check::gradients(
      [&](const check::List& l) {
        manual_seed(2);
        auto d = layer;
        d.training = true, d.weight = l[1];
        return d(l[0]);
      },
      check::List{x, check::uniform({3, 6}, -1, 1, 5)});
}

TEST_CASE("weight-drop: one mask for a sequence") {
  manual_seed(3);
  const nn::WeightDrop drop(0.5);
  const auto w = drop(ones<double>({50, 50}));
  CHECK(amax(w).item() == 2);
  auto h = ones<double>({1, 50});
  for (int t = 0; t < 3; ++t) h = linear(h, w) * 0.02;  // the product W' W' W': one mask
  CHECK(check::difference(h, matmul(matmul(matmul(ones<double>({1, 50}), w.t()), w.t()), w.t()) * (0.02 * 0.02 * 0.02)) == "");
}

TEST_CASE("mixout keeps the expectation and mixes with the old weights") {
  manual_seed(4);
  const nn::Mixout mix(0.7);
  const auto w = full<double>({kMany}, 2.0), w0 = full<double>({kMany}, 1.5);
  const auto y = mix.forward(w, w0);
  CHECK(amin(y).item() == Approx(1.5));
  CHECK(amax(y).item() == Approx(1.5 + 0.5 / 0.3));
  CHECK(std::fabs(mean(y).item() - 2) < 5 * 0.5 * std::sqrt(0.7 / 0.3 / kMany));
}

TEST_CASE("quantisation noise: blocks, levels, and the gradient passes") {
  manual_seed(5);
  nn::QuantNoise q(0.5, 2, 4);
  const auto w = check::leaf(check::uniform({20, 8}));
  const auto y = q(w);
  const auto changed = gradus::reshape(cast<double>(y.detach() != w.detach()), {20, 2, 4});
  const auto block = mean(changed, -1);  // all of a block, or none (up to a weight on a level)
  for (const double share : block.to_vector()) CHECK((share == 0 || share > 0.4));
  const double rate = mean(cast<double>(block != 0)).item();
  CHECK((rate > 0.2 && rate < 0.8));
  sum(y).backward();
  CHECK(check::difference(w.grad(), ones<double>({20, 8})) == "");
  const auto levels = q.quantise(w.detach());
  const double lo = amin(w).item(), step = (amax(w).item() - lo) / 3;
  for (const double v : levels.to_vector()) CHECK(std::fabs((v - lo) / step - std::round((v - lo) / step)) < 1e-9);
  CHECK(check::missing(check::error_of([&] { q(ones<double>({2, 7})); }), {"QuantNoise", "[2, 7]", "block"}) == "");
}

TEST_CASE("targeted dropout only touches the small weights of a row") {
  manual_seed(6);
  const nn::TargetedDropout t(0.5, 0.25);
  const auto w = from_vector<double>({0.1, -5, 3, 4, 6, -0.2, 7, 8}, {2, 4});
  double dropped = 0;
  for (int i = 0; i < 400; ++i) {
    const auto y = t(w).to_vector();
    for (const std::size_t k : {1u, 2u, 3u, 4u, 6u, 7u}) CHECK(y[k] == w.to_vector()[k]);
    dropped += (y[0] == 0) + (y[5] == 0);
  }
  CHECK(std::fabs(dropped / 800 - 0.5) < 5 * 0.5 / std::sqrt(800.0));
}

TEST_CASE("gradient dropout: the identity forward, an unbiased mask backward") {
  manual_seed(7);
  const nn::GradientDropout d(0.4);
  const auto x = check::leaf(check::uniform({1000}));
  const auto y = d(x);
  CHECK(check::difference(y, x) == "");
  sum(y).backward();
  CHECK(amax(x.grad()).item() == Approx(1 / 0.6));
  CHECK(amin(x.grad()).item() == 0);
}

TEST_CASE("variational Gaussian dropout: moments, gradients, divergence") {
  manual_seed(8);
  nn::VariationalGaussianDropout<double> d(0.2);
  const auto mc = passes([&] { return d(full<double>({3}, 2.0)); }, 40000);
  CHECK(check::difference(mc.mean, full<double>({3}, 2.0), 0.02, 0) == "");
  CHECK(check::difference(mc.variance, full<double>({3}, 4 * 0.25), 0.04, 0) == "");
  const auto layer = [](const check::List& l) {
    manual_seed(9);
    nn::VariationalGaussianDropout<double> v(0.3, 4);
    v.log_alpha = l[1];
    return sum(v(l[0]) * l[0]) + v.kl();
  };
  check::gradients(layer, check::List{check::uniform({2, 4}), check::uniform({4}, -2, -0.5, 2)});
  nn::VariationalGaussianDropout<double> one(0.5);
  CHECK(one.kl().item() == Approx(-(1.16145124 - 1.50204118 + 0.58629921)));
}

TEST_CASE("the divergence of sparse variational dropout is the integral that it approximates") {
  // KL(N(1, a) || log-uniform) + constant = -1/2 log a + E log |1 + sqrt(a) n|; the constant makes it vanish for a -> infinity.
  const auto exact = [](double a) {
    double e = 0;
    const int n = 200000;
    for (int i = 0; i < n; ++i) {  // midpoints in n, |n| < 9
      const double x = -9 + 18 * (i + 0.5) / n;
      e += std::log(std::fabs(1 + std::sqrt(a) * x)) * std::exp(-0.5 * x * x) * 18 / n / std::sqrt(2 * 3.14159265358979323846);
    }
    return -0.5 * std::log(a) + e;
  };
  const double limit = -0.5 * (0.57721566490153286 + std::log(2.0));  // E log |n|
  nn::SparseVariationalLinear<double> layer(1, 1);
  for (const double log_a : {-4.0, -1.0, 0.0, 1.0, 3.0}) {
    const double theta = 0.7;
    layer.weight = full<double>({1, 1}, theta), layer.log_sigma2 = full<double>({1, 1}, log_a + std::log(theta * theta));
    CHECK(std::fabs(layer.kl().item() - (exact(std::exp(log_a)) - limit)) < 0.03);
  }
}

TEST_CASE("sparse variational layer: local reparameterisation, pruning, gradients") {
  manual_seed(10);
  nn::SparseVariationalLinear<double> layer(3, 2);
  layer.log_sigma2 = full<double>({2, 3}, -2);
  const auto x = check::uniform({2, 3});
  const auto mc = passes([&] { return layer(x); }, 40000);
  CHECK(check::difference(mc.mean, linear(x, layer.weight, layer.bias).detach(), 0, 0.02) == "");
  CHECK(check::difference(mc.variance, linear(square(x), exp(layer.log_sigma2)).detach(), 0.05, 0) == "");
  check::gradients(
      [](const check::List& l) {
        manual_seed(11);
        nn::SparseVariationalLinear<double> v(3, 2);
        v.weight = l[1], v.log_sigma2 = l[2];
        return sum(v(l[0])) + v.kl();
      },
      check::List{x, check::uniform({2, 3}, 0.3, 1, 3), check::uniform({2, 3}, -3, -1, 4)});
  layer.weight = from_vector<double>({1, 1e-3, 1, 1, 1, 1e-3}, {2, 3});
  layer.training = false;
  CHECK(layer.sparsity() == Approx(1.0 / 3));
  CHECK(check::difference(layer(x), linear(x, from_vector<double>({1, 0, 1, 1, 1, 0}, {2, 3}), layer.bias)) == "");
}

TEST_CASE("concrete dropout: P(z > 1/2) = alpha for every temperature, and the published value") {
  manual_seed(12);
  for (const double tau : {0.05, 0.1, 0.7}) {
    const nn::ConcreteDropout<double> d(0.3, tau);
    const auto z = no_grad([&] { return d.mask(gradus::rand<double>({1000000})); });
    CHECK(std::fabs(mean(cast<double>(z > 0.5)).item() - 0.3) < 0.003);
  }
  CHECK(nn::ConcreteDropout<double>(0.3, 0.1).mask(full<double>({1}, 0.8)).item() == Approx(0.9954586).epsilon(1e-5));
  CHECK(nn::ConcreteDropout<double>(0.3).alpha().item() == Approx(0.3));
}

TEST_CASE("concrete dropout: gradients of rate and input, temporal masks, regulariser") {
  const auto layer = [](const check::List& l) {
    manual_seed(13);
    nn::ConcreteDropout<double> d(0.3, 0.5);
    d.logit = l[1];
    return sum(d(l[0]) * l[0]) + d.regulariser({l[0]}, 5, 0.1, 0.2);
  };
  check::gradients(layer, check::List{check::uniform({3, 2}), full<double>(Shape{}, -0.6)});
  manual_seed(14);
  auto t = nn::ConcreteDropout<double>::temporal();
  CHECK((t.alpha().item() > 0.0099 && t.alpha().item() < 0.5001));
  const auto y = t(ones<double>({4, 30, 5}));
  CHECK(check::difference(expand(select(y, 2, 0).reshape({4, 30, 1}), y.shape()), y) == "");  // constant over features
  CHECK(var(select(y, 2, 0), 1).to_vector()[0] > 0);                                          // varies over time
  CHECK(amax(y).item() <= 1);                                                                 // not rescaled
  t.training = false;
  CHECK(check::difference(t(ones<double>({1, 2, 3})), ones<double>({1, 2, 3})) == "");
  const double a = 0.3, entropy = a * std::log(a) + (1 - a) * std::log(1 - a);
  const auto r = nn::ConcreteDropout<double>(0.3).regulariser({full<double>({2}, 3.0)}, 7, 0.01, 0.5);
  CHECK(r.item() == Approx(0.01 * 18 / 0.7 + 0.5 * 7 * entropy));
  Masks masks;
  const nn::ConcreteDropout<double> d(0.3);
  const auto first = track_dropout_mask(masks, [&] { return d(ones<double>({6})); });
  CHECK(check::difference(use_dropout_mask(masks, [&] { return d(ones<double>({6})); }), first) == "");
  CHECK(check::missing(check::error_of([] { nn::ConcreteDropout<double>(1.0); }), {"ConcreteDropout", "0 < alpha < 1"}) == "");
}

TEST_CASE("standout keeps a unit with the probability its pre-activation says") {
  manual_seed(15);
  nn::Standout d{2, -0.5};
  const auto s = from_vector<double>({-1, 0, 1.5});
  const auto h = ones<double>({3});
  const auto mc = passes([&] { return d.forward(h, s); }, 20000);
  d.training = false;
  CHECK(check::difference(mc.mean, d.forward(h, s), 0, 5 * 0.5 / std::sqrt(20000.0)) == "");
  CHECK(d.forward(h, s).to_vector()[2] == Approx(1 / (1 + std::exp(-2.5))));
}

TEST_CASE("information dropout: log-normal noise and its divergence") {
  manual_seed(16);
  const nn::InformationDropout d;
  const auto log_alpha = full<double>({kMany}, std::log(0.5));
  const auto y = log(d.forward(full<double>({kMany}, 3.0), log_alpha));
  CHECK(std::fabs(mean(y).item() - std::log(3.0)) < 5 * 0.5 / std::sqrt(static_cast<double>(kMany)));
  CHECK(std::fabs(var(y).item() - 0.25) < 0.01);
  CHECK(check::difference(d.kl(full<double>({2, 3}, std::log(0.35))), full<double>({2}, 3 * std::log(2.0))) == "");
  check::gradients(
      [&](const check::List& l) {
        manual_seed(17);
        return sum(d.forward(l[0], l[1])) + sum(d.kl(l[1]));
      },
      check::List{check::uniform({2, 3}), check::uniform({2, 3}, -2, -0.6, 3)});
}
