// Schedule-Free, D-Adaptation, Prodigy and Sophia against loops written from their papers.
#include <gradus/ops.hpp>
#include <gradus/optim/learning_rate_free.hpp>
#include <gradus/optim/schedule_free.hpp>
#include <gradus/optim/sophia.hpp>

#include "optim/matrix_twin.hpp"
#include "optim/twin.hpp"

using namespace gradus;
using namespace gradus::optim;
using twin::Loop;
using twin::Params;
using twin::Values;

namespace {
double power(double b, double t) { return std::pow(b, t); }
double l1(const Values& v) {
  double s = 0;
  for (const double x : v) s += std::fabs(x);
  return s;
}
}  // namespace

TEST_CASE("Schedule-Free keeps z and x apart, the parameters hold y", "[optim]") {
  // the paper's three sequences, eq. 2 to 4, with a warm-up and weights (largest lr)^2
  const auto loop = [](bool adam) {
    return [adam](const Shape& shape) -> Loop {
      const auto n = static_cast<std::size_t>(shape.numel());
      return [=, z = Values(n), x = Values(n), v = Values(n), total = 0.0, largest = 0.0](Values& y, const Values& g0, int t) mutable {
        if (t == 1) z = x = y;
        const double lr = 0.05 * std::min(1.0, t / 5.0);
        largest = std::max(largest, lr);
        total += largest * largest;
        const double c = largest * largest / total;
        for (std::size_t i = 0; i < n; ++i) {
          double g = g0[i];
          if (adam) v[i] = 0.99 * v[i] + 0.01 * g * g, g /= std::sqrt(v[i] / (1 - power(0.99, t))) + 1e-8;
          z[i] -= lr * (g + 0.1 * y[i]);
          x[i] = (1 - c) * x[i] + c * z[i];
          y[i] = 0.1 * z[i] + 0.9 * x[i];
        }
      };
    };
  };
  CHECK(twin::difference([](Params p) { return ScheduleFreeAdamW<double>(p, {.lr = 0.05, .beta2 = 0.99, .weight_decay = 0.1, .warmup = 5}); },
                         loop(true)) == "");
  CHECK(twin::difference([](Params p) { return ScheduleFreeSgd<double>(p, {.lr = 0.05, .weight_decay = 0.1, .warmup = 5}); },
                         loop(false)) == "");
  // z = 1 - lr g t; x is its mean over t = 1, 2, 3; y = (1 - b) z + b x
  const double z[] = {0.8, 0.6, 0.4}, x = 0.6;
  const auto params = Params{Tensor<double>{1.0}.requires_grad_()};
  ScheduleFreeSgd<double> opt(params, {.lr = 0.1});
  for (int k = 0; k < 3; ++k) params[0].set_grad(Tensor<double>{2.0}), opt.step();
  CHECK(params[0].item() == Approx(0.1 * z[2] + 0.9 * x));
  opt.eval();
  CHECK(params[0].item() == Approx(x));
  CHECK(check::missing(check::error_of([&] { opt.step(); }), {"ScheduleFreeSgd", "after eval()", "train()"}) == "");
  opt.train();
  CHECK(params[0].item() == Approx(0.1 * z[2] + 0.9 * x));
  CHECK(opt.state_dict().contains("0.z"));
}

TEST_CASE("D-Adaptation and Prodigy find the distance", "[optim]") {
  double d = 1e-3, r = 0;
  const auto dadapt = [&](const Shape& shape) -> Loop {
    const auto n = static_cast<std::size_t>(shape.numel());
    return [&, n, m = Values(n), v = Values(n), s = Values(n)](Values& w, const Values& g, int) mutable {
      const double b = std::sqrt(0.99), l = d;
      double gained = 0;
      for (std::size_t i = 0; i < n; ++i) {
        gained += l * g[i] * s[i] / (std::sqrt(v[i]) + 1e-8);
        m[i] = 0.9 * m[i] + 0.1 * l * g[i], v[i] = 0.99 * v[i] + 0.01 * g[i] * g[i], s[i] = b * s[i] + (1 - b) * l * g[i];
      }
      r = b * r + (1 - b) * gained;
      d = std::max(d, std::min(r / ((1 - b) * l1(s)), 1.5 * d));
      for (std::size_t i = 0; i < n; ++i) w[i] = w[i] * (1 - 0.1 * l) - m[i] / (std::sqrt(v[i]) + 1e-8);
    };
  };
  CHECK(twin::difference([](Params p) { return DAdaptAdam<double>(p, {.beta2 = 0.99, .weight_decay = 0.1, .d0 = 1e-3, .growth = 1.5, .decoupled = true}); },
                         dadapt, {{3, 4}}) == "");
  CHECK(d > 2e-3);  // it has grown
  d = 1e-3, r = 0;
  double largest = d;
  const auto prodigy = [&](const Shape& shape) -> Loop {
    const auto n = static_cast<std::size_t>(shape.numel());
    return [&, n, m = Values(n), v = Values(n), s = Values(n), first = Values(n)](Values& w, const Values& g, int t) mutable {
      const double b3 = std::sqrt(0.99), l = d * std::sqrt(1 - power(0.99, t)) / (1 - power(0.9, t)), scale = d / 1e-3;
      if (t == 1) first = w;
      r *= b3;
      for (std::size_t i = 0; i < n; ++i) {
        r += scale * l * g[i] * (first[i] - w[i]);
        m[i] = 0.9 * m[i] + 0.1 * d * g[i], v[i] = 0.99 * v[i] + 0.01 * d * d * g[i] * g[i], s[i] = b3 * s[i] + scale * l * g[i];
      }
      const double guess = r / l1(s);
      if (d == 1e-3) d = std::max(d, guess);
      largest = std::max(largest, guess), d = largest;
      for (std::size_t i = 0; i < n; ++i) w[i] = w[i] * (1 - 0.1 * l) - l * m[i] / (std::sqrt(v[i]) + d * 1e-8);
    };
  };
  CHECK(twin::difference([](Params p) { return Prodigy<double>(p, {.beta2 = 0.99, .weight_decay = 0.1, .d0 = 1e-3, .bias_correction = true}); },
                         prodigy, {{3, 4}}) == "");
  CHECK(d > 2e-3);
  // d stays d0 in the first step of each: m = 0.1 d g, v = 0.001 d^2 g^2
  Tensor<double> x{1.0};
  x.requires_grad_();
  x.set_grad(Tensor<double>{2.0});
  Prodigy<double> one({x}, {.d0 = 1e-2});
  one.step();
  CHECK(x.item() == Approx(1 - 1e-2 * 0.1 / std::sqrt(0.001)).epsilon(1e-6));
  Tensor<double> y{1.0};
  y.requires_grad_();
  y.set_grad(Tensor<double>{2.0});
  DAdaptAdam<double> two({y}, {.d0 = 1e-2});
  two.step();  // s = 0 so far: nothing is gained, d stays
  CHECK(two.d() == 1e-2);
  CHECK(y.item() == Approx(1 - 0.1 * 1e-2 / std::sqrt(0.001)).epsilon(1e-6));
}

TEST_CASE("Sophia: clipped steps by the curvature", "[optim]") {
  CHECK(twin::elementwise(
            [](Params p) {
              Sophia<double> opt(p, {.lr = 0.02, .beta1 = 0.9, .beta2 = 0.5, .gamma = 0.5, .weight_decay = 0.1});
              std::vector<Tensor<double>> estimate;
              for (const auto& x : p) estimate.push_back(square(x.detach()));
              opt.update_hessian(estimate);
              return opt;
            },
            [](double& w, double g, int t, std::array<double, 4>& s) {
              if (t == 1) s[1] = 0.5 * w * w;
              s[0] = 0.9 * s[0] + 0.1 * g;
              const double u = s[0] / std::max(0.5 * s[1], 1e-12);
              w -= 0.02 * (0.1 * w + std::min(std::max(u, -1.0), 1.0));
            }) == "");
  CHECK(twin::three_steps([](Params p) { return Sophia<double>(p, {.lr = 0.1, .weight_decay = 0}); }) == Approx(0.7));  // h = 0: signs
  // Hutchinson's estimate of a diagonal Hessian is exact: u_i h_i u_i = h_i.
  Tensor<double> w{0.5, -1.0, 2.0}, other{1.0};
  w.requires_grad_(), other.requires_grad_();
  const auto h = hutchinson(sum(w * w * w) + sum(other), {w, other});
  CHECK(check::difference(h[0], w.detach() * 6) == "");
  CHECK(h[1].item() == 0);
  Sophia<double> opt({w});
  CHECK(check::missing(check::error_of([&] { opt.update_hessian({}); }), {"update_hessian", "one estimate", "1"}) == "");
  w.set_grad(Tensor<double>{1.0, 2.0, 3.0});
  opt.update_hessian_from_gradients(4);
  CHECK(check::difference(opt.state_dict().at("0.hessian").as<double, Cpu>(), {3}, {0.04, 0.16, 0.36}) == "");
}
