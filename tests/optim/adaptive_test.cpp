// Each method against a loop written from its paper, and in closed form for a constant gradient.
#include <array>

#include <gradus/optim/adaptive.hpp>
#include <gradus/optim/sgd.hpp>

#include "optim/twin.hpp"

using namespace gradus;
using namespace gradus::optim;
using twin::elementwise;
using twin::Params;
using State = std::array<double, 4>;

namespace {
double sign(double x) { return (x > 0) - (x < 0); }
double power(double b, int t) { return std::pow(b, t); }
}  // namespace

TEST_CASE("SGDW, Adagrad, Adadelta, RMSprop", "[optim]") {
  CHECK(elementwise([](Params p) { return Sgdw<double>(p, {.lr = 0.05, .momentum = 0.9, .dampening = 0.2, .weight_decay = 0.1}); },
                    [](double& w, double g, int t, State& s) {
                      s[0] = t == 1 ? g : 0.9 * s[0] + 0.8 * g;
                      w = w - 0.05 * s[0] - 0.05 * 0.1 * w;
                    }) == "");
  CHECK(elementwise([](Params p) { return Adagrad<double>(p, {.lr = 0.1, .lr_decay = 0.1, .weight_decay = 0.1}); },
                    [](double& w, double g, int t, State& s) {
                      g += 0.1 * w;
                      s[0] += g * g;
                      w -= 0.1 / (1 + 0.1 * (t - 1)) * g / (std::sqrt(s[0]) + 1e-10);
                    }) == "");
  CHECK(elementwise([](Params p) { return Adadelta<double>(p, {.rho = 0.8}); },
                    [](double& w, double g, int, State& s) {
                      s[0] = 0.8 * s[0] + 0.2 * g * g;
                      const double d = -std::sqrt(s[1] + 1e-6) / std::sqrt(s[0] + 1e-6) * g;
                      s[1] = 0.8 * s[1] + 0.2 * d * d;
                      w += d;
                    }) == "");
  CHECK(elementwise([](Params p) { return Rmsprop<double>(p, {.lr = 0.01, .alpha = 0.9, .momentum = 0.5, .centered = true}); },
                    [](double& w, double g, int, State& s) {
                      s[0] = 0.9 * s[0] + 0.1 * g * g, s[1] = 0.9 * s[1] + 0.1 * g;
                      s[2] = 0.5 * s[2] + g / (std::sqrt(s[0] - s[1] * s[1]) + 1e-8);
                      w -= 0.01 * s[2];
                    }) == "");
}

TEST_CASE("NAdam, RAdam, Adamax, AdamD", "[optim]") {
  CHECK(elementwise([](Params p) { return Nadam<double>(p, {.lr = 0.02, .momentum_decay = 0.1}); },
                    [](double& w, double g, int t, State& s) {
                      const auto mu = [](int k) { return 0.9 * (1 - 0.5 * std::pow(0.96, 0.1 * k)); };
                      double product = 1;
                      for (int k = 1; k <= t; ++k) product *= mu(k);
                      s[0] = 0.9 * s[0] + 0.1 * g, s[1] = 0.999 * s[1] + 0.001 * g * g;
                      const double m = mu(t + 1) * s[0] / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product);
                      w -= 0.02 * m / (std::sqrt(s[1] / (1 - power(0.999, t))) + 1e-8);
                    }) == "");
  CHECK(elementwise([](Params p) { return Radam<double>(p, {.lr = 0.02, .beta2 = 0.9}); },
                    [](double& w, double g, int t, State& s) {
                      s[0] = 0.9 * s[0] + 0.1 * g, s[1] = 0.9 * s[1] + 0.1 * g * g;
                      const double inf = 2 / (1 - 0.9) - 1, rho = inf - 2 * t * power(0.9, t) / (1 - power(0.9, t));
                      const double m = s[0] / (1 - power(0.9, t));
                      if (rho > 5) {
                        const double l = std::sqrt((1 - power(0.9, t))) / (std::sqrt(s[1]) + 1e-8);
                        w -= 0.02 * m * l * std::sqrt((rho - 4) * (rho - 2) * inf / ((inf - 4) * (inf - 2) * rho));
                      } else {
                        w -= 0.02 * m;
                      }
                    }) == "");
  CHECK(elementwise([](Params p) { return Adamax<double>(p, {.lr = 0.02, .beta2 = 0.9}); },
                    [](double& w, double g, int t, State& s) {
                      s[0] = 0.9 * s[0] + 0.1 * g, s[1] = std::max(0.9 * s[1], std::fabs(g) + 1e-8);
                      w -= 0.02 / (1 - power(0.9, t)) * s[0] / s[1];
                    }) == "");
  CHECK(elementwise([](Params p) { return AdamD<double>(p, {.lr = 0.02}); },
                    [](double& w, double g, int t, State& s) {
                      s[0] = 0.9 * s[0] + 0.1 * g, s[1] = 0.999 * s[1] + 0.001 * g * g;
                      w -= 0.02 * s[0] / (std::sqrt(s[1] / (1 - power(0.999, t))) + 1e-8);
                    }) == "");
}

TEST_CASE("Lion, Tiger, Adan, AdEMAMix, ADOPT", "[optim]") {
  CHECK(elementwise([](Params p) { return Lion<double>(p, {.lr = 0.01, .weight_decay = 0.1}); },
                    [](double& w, double g, int, State& s) {
                      w -= 0.01 * (sign(0.9 * s[0] + 0.1 * g) + 0.1 * w);
                      s[0] = 0.99 * s[0] + 0.01 * g;
                    }) == "");
  CHECK(elementwise([](Params p) { return Tiger<double>(p, {.lr = 0.01, .beta = 0.9, .weight_decay = 0.1}); },
                    [](double& w, double g, int, State& s) {
                      s[0] = 0.9 * s[0] + 0.1 * g;
                      w -= 0.01 * (sign(s[0]) + 0.1 * w);
                    }) == "");
  const auto adan = [](bool proximal) {
    return elementwise(
        [&](Params p) { return Adan<double>(p, {.lr = 0.02, .weight_decay = 0.1, .proximal = proximal}); },
        [&](double& w, double g, int t, State& s) {
          const double b1 = 0.98, b2 = 0.92, b3 = 0.99, d = t == 1 ? 0 : g - s[3];
          s[0] = b1 * s[0] + (1 - b1) * g, s[1] = b2 * s[1] + (1 - b2) * d;
          s[2] = b3 * s[2] + (1 - b3) * (g + b2 * d) * (g + b2 * d), s[3] = g;
          const double root = std::sqrt(s[2] / (1 - power(b3, t))) + 1e-8;
          const double u = 0.02 * (s[0] / (1 - power(b1, t)) + b2 * s[1] / (1 - power(b2, t))) / root;
          w = proximal ? (w - u) / (1 + 0.02 * 0.1) : w - 0.02 * 0.1 * w - u;
        });
  };
  CHECK(adan(true) == "");
  CHECK(adan(false) == "");
  CHECK(elementwise([](Params p) { return Ademamix<double>(p, {.lr = 0.01, .weight_decay = 0.1, .alpha_warmup = 10, .beta3_warmup = 10}); },
                    [](double& w, double g, int t, State& s) {
                      const double part = std::min(1.0, t / 10.0), alpha = 5 * part;
                      // the half-lives of beta1 and beta3, and a line between them
                      const double h1 = std::log(0.5) / std::log(0.9), h3 = std::log(0.5) / std::log(0.9999);
                      const double b3 = std::pow(0.5, 1 / (h1 + (h3 - h1) * part));
                      s[0] = 0.9 * s[0] + 0.1 * g, s[1] = b3 * s[1] + (1 - b3) * g, s[2] = 0.999 * s[2] + 0.001 * g * g;
                      const double root = std::sqrt(s[2] / (1 - power(0.999, t))) + 1e-8;
                      w -= 0.01 * ((s[0] / (1 - power(0.9, t)) + alpha * s[1]) / root + 0.1 * w);
                    }) == "");
  CHECK(elementwise([](Params p) { return Adopt<double>(p, {.lr = 0.02, .beta2 = 0.9, .weight_decay = 0.1}); },
                    [](double& w, double g, int t, State& s) {
                      g += 0.1 * w;
                      if (t == 1) {
                        s[1] = g * g;
                        return;
                      }
                      const double c = std::pow(t - 1, 0.25), n = std::min(std::max(g / std::max(std::sqrt(s[1]), 1e-6), -c), c);
                      s[0] = 0.9 * s[0] + 0.1 * n;
                      w -= 0.02 * s[0];
                      s[1] = 0.9 * s[1] + 0.1 * g * g;
                    }) == "");
}

TEST_CASE("AdaBelief, Yogi, Adam-atan2, LaProp, QHAdam, MADGRAD", "[optim]") {
  CHECK(elementwise([](Params p) { return Adabelief<double>(p, {.lr = 0.02, .weight_decay = 0.1}); },
                    [](double& w, double g, int t, State& s) {
                      s[0] = 0.9 * s[0] + 0.1 * g, s[1] = 0.999 * s[1] + 0.001 * (g - s[0]) * (g - s[0]) + 1e-16;
                      w -= 0.02 * (s[0] / (1 - power(0.9, t)) / (std::sqrt(s[1] / (1 - power(0.999, t))) + 1e-16) + 0.1 * w);
                    }) == "");
  CHECK(elementwise([](Params p) { return Yogi<double>(p, {.lr = 0.02, .beta2 = 0.9}); },
                    [](double& w, double g, int, State& s) {
                      s[0] = 0.9 * s[0] + 0.1 * g, s[1] -= 0.1 * sign(s[1] - g * g) * g * g;
                      w -= 0.02 * s[0] / (std::sqrt(s[1]) + 1e-3);
                    }) == "");
  CHECK(elementwise([](Params p) { return AdamAtan2<double>(p, {.lr = 0.02, .a = 1.5, .b = 2}); },
                    [](double& w, double g, int t, State& s) {
                      s[0] = 0.9 * s[0] + 0.1 * g, s[1] = 0.999 * s[1] + 0.001 * g * g;
                      w -= 0.02 * 1.5 * std::atan2(s[0] / (1 - power(0.9, t)), 2 * std::sqrt(s[1] / (1 - power(0.999, t))));
                    }) == "");
  CHECK(elementwise([](Params p) { return Laprop<double>(p, {.lr = 0.02}); },
                    [](double& w, double g, int t, State& s) {
                      s[1] = 0.999 * s[1] + 0.001 * g * g;
                      s[0] = 0.9 * s[0] + 0.1 * g / (std::sqrt(s[1] / (1 - power(0.999, t))) + 1e-15);
                      w -= 0.02 * s[0] / (1 - power(0.9, t));
                    }) == "");
  CHECK(elementwise([](Params p) { return Qhadam<double>(p, {.lr = 0.02, .beta1 = 0.9, .nu2 = 0.8}); },
                    [](double& w, double g, int t, State& s) {
                      s[0] = 0.9 * s[0] + 0.1 * g, s[1] = 0.999 * s[1] + 0.001 * g * g;
                      const double m = s[0] / (1 - power(0.9, t)), v = s[1] / (1 - power(0.999, t));
                      w -= 0.02 * (0.3 * g + 0.7 * m) / (std::sqrt(0.2 * g * g + 0.8 * v) + 1e-8);
                    }) == "");
  CHECK(elementwise([](Params p) { return Madgrad<double>(p, {.lr = 0.02, .momentum = 0.8}); },
                    [](double& w, double g, int t, State& s) {
                      if (t == 1) s[2] = w;
                      const double l = 0.02 * std::sqrt(t);
                      s[0] += l * g, s[1] += l * g * g;
                      w = 0.8 * w + 0.2 * (s[2] - s[0] / (std::cbrt(s[1]) + 1e-6));
                    }) == "");
}

TEST_CASE("three steps with a constant gradient, in closed form", "[optim]") {
  using twin::three_steps;
  const auto near = [](double x, double expected) { CHECK(x == Approx(expected).epsilon(1e-7)); };
  near(three_steps([](Params p) { return Sgdw<double>(p, {.lr = 0.1, .weight_decay = 0}); }), 1 - 3 * 0.1 * 2);
  near(three_steps([](Params p) { return Adagrad<double>(p, {.lr = 0.1}); }), 1 - 0.1 * (1 + 1 / std::sqrt(2) + 1 / std::sqrt(3)));
  near(three_steps([](Params p) { return Rmsprop<double>(p, {.lr = 0.1, .alpha = 0.5, .eps = 0}); }),
       1 - 0.1 * (1 / std::sqrt(0.5) + 1 / std::sqrt(0.75) + 1 / std::sqrt(0.875)));
  // v_1 = g^2 / 2 and so on; u starts from 0: d_1 = sqrt(eps / (v_1 + eps)) g.
  double d[3] = {}, u = 0;
  for (int t = 1; t <= 3; ++t) {
    d[t - 1] = std::sqrt((u + 1e-2) / (4 * (1 - power(0.5, t)) + 1e-2)) * 2;
    u = 0.5 * u + 0.5 * d[t - 1] * d[t - 1];
  }
  near(three_steps([](Params p) { return Adadelta<double>(p, {.rho = 0.5, .eps = 1e-2}); }), 1 - d[0] - d[1] - d[2]);
  near(three_steps([](Params p) { return Radam<double>(p, {.lr = 0.1}); }), 1 - 3 * 0.1 * 2);  // not rectified yet: momentum
  for (const double x : {three_steps([](Params p) { return Adamax<double>(p, {.lr = 0.1}); }),
                         three_steps([](Params p) { return Lion<double>(p, {.lr = 0.1}); }),
                         three_steps([](Params p) { return Tiger<double>(p, {.lr = 0.1, .weight_decay = 0}); }),
                         three_steps([](Params p) { return Adan<double>(p, {.lr = 0.1}); }),
                         three_steps([](Params p) { return AdamAtan2<double>(p, {.lr = 0.1}); }),  // 4 / pi atan(1) = 1
                         three_steps([](Params p) { return Laprop<double>(p, {.lr = 0.1}); }),
                         three_steps([](Params p) { return Qhadam<double>(p, {.lr = 0.1}); })})
    near(x, 1 - 3 * 0.1);  // |g| / |g| each time
  near(three_steps([](Params p) { return AdamD<double>(p, {.lr = 0.1}); }), 1 - 0.1 * (0.1 + 0.19 + 0.271));
  near(three_steps([](Params p) { return Ademamix<double>(p, {.lr = 0.1, .beta3 = 0.5}); }),
       1 - 0.1 * (3 + 5 * (0.5 + 0.75 + 0.875)));
  near(three_steps([](Params p) { return Adopt<double>(p, {.lr = 0.1, .beta1 = 0.5}); }), 1 - 0.1 * (0.5 + 0.75));
  near(three_steps([](Params p) { return Yogi<double>(p, {.lr = 0.1, .beta2 = 0.5, .eps = 0}); }),
       1 - 0.1 * (0.1 / std::sqrt(0.5) + 0.19 + 0.271));  // v = g^2 / 2, g^2, g^2
  near(three_steps([](Params p) { return Adabelief<double>(p, {.lr = 0.1, .beta1 = 0.5, .beta2 = 0.5}); }),
       1 - 0.1 * (1 / 0.5 + 1 / std::sqrt((0.125 / 2 + 0.03125) / 0.75) +
                  1 / std::sqrt(((0.125 / 2 + 0.03125) / 2 + 0.0078125) / 0.875)));
  const double l = 1 + std::sqrt(2) + std::sqrt(3);  // MADGRAD without averaging: z = 1 - lr l g / cbrt(lr l g^2)
  near(three_steps([](Params p) { return Madgrad<double>(p, {.lr = 0.1, .momentum = 0, .eps = 1e-12}); }),
       1 - 0.1 * l * 2 / std::cbrt(0.1 * l * 4));
  // NAdam with a constant momentum mu = beta1 / 2 (momentum_decay = 0): (g (1 - mu) / (1 - mu^t) + mu m / (1 - mu^{t+1})) / |g|
  double x = 1;
  for (int t = 1; t <= 3; ++t)
    x -= 0.1 * ((1 - 0.45) / (1 - power(0.45, t)) + 0.45 * (1 - power(0.9, t)) / (1 - power(0.45, t + 1)));
  near(three_steps([](Params p) { return Nadam<double>(p, {.lr = 0.1, .momentum_decay = 0}); }), x);
}

TEST_CASE("groups, 16-bit parameters, and options that are refused", "[optim]") {
  // float states beside bf16 parameters: steps below the parameter's resolution still count in the states.
  Tensor<bf16> w = cast<bf16>(check::uniform<float>({64}));
  w.requires_grad_();
  const auto start = w.to_vector();
  Lion<bf16> lion({w}, {.lr = 0.125});
  w.set_grad(cast<bf16>(ones({64})));
  lion.step();
  for (std::size_t i = 0; i < 64; ++i)
    CHECK(static_cast<float>(w.to_vector()[i]) == static_cast<float>(bf16(static_cast<float>(start[i]) - 0.125f)));
  auto params = twin::parameters({{2, 2}, {2}, {2}});
  params[1].set_name("a.bias"), params[2].set_name("b.bias");
  Lion<double> opt(params, {.lr = 0.5, .weight_decay = 0.1});
  opt.group("*.bias").weight_decay = 0;
  opt.group("b.*").lr_scale = 2;
  const auto before = twin::values(params);
  for (const auto& p : params) p.set_grad(ones_like(p));
  opt.step();
  const auto after = twin::values(params);
  for (std::size_t i = 0; i < 4; ++i) CHECK(after[i] == Approx(before[i] * 0.95 - 0.5));
  for (std::size_t i = 4; i < 6; ++i) CHECK(after[i] == Approx(before[i] - 0.5));
  // A group begins with the common options, and its parameters leave the group they were in.
  for (std::size_t i = 6; i < 8; ++i) CHECK(after[i] == Approx(before[i] * 0.9 - 1));
  opt.set_lr(0.25);
  CHECK(opt.groups()[1].lr == 0.25);
  CHECK(check::missing(check::error_of([&] { opt.group("c.*"); }), {"Lion", "without parameters", "a.bias", "adaptive_test.cpp"}) == "");
  opt.options.beta1 = 1.5;
  CHECK(check::missing(check::error_of([&] { opt.step(); }), {"Lion", "beta1", "1.5", "0 <= beta < 1"}) == "");
  CHECK(check::missing(check::error_of([&] { Adagrad<double>(params, {.lr_decay = -1}); }), {"Adagrad", "lr_decay", ">= 0"}) == "");
  CHECK(gradus::optim::detail::matches("a*c*", "abbcd"));
  CHECK_FALSE(gradus::optim::detail::matches("a*c", "abbcd"));
  CHECK(gradus::optim::detail::matches("*", ""));
}
