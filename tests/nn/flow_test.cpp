// Rectified flow and diffusion: level laws, conversions, orders of the solvers, guidance.
#include <algorithm>

#include <gradus/nn/flow.hpp>
#include <gradus/ops/index.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::List;

TEST_CASE("levels follow their laws") {
  manual_seed(1);
  const auto mean_of = [](const nn::LevelOptions& o) { return mean(nn::sample_levels<double>(20000, o)).item(); };
  CHECK(mean_of({}) == Approx(0.5).margin(0.01));
  CHECK(mean_of({.law = nn::LevelLaw::logit_normal, .mean = 0.8}) > 0.64);
  // The median of logit-normal is sigmoid(mean); of a shifted law, the shifted median.
  const Tensor<double> half{0.5};
  CHECK(nn::level_at(half, {.law = nn::LevelLaw::logit_normal, .mean = 0.8}).item() == Approx(1 / (1 + std::exp(-0.8))));
  CHECK(nn::level_at(half, {.shift = 3}).item() == Approx(0.75));
  // Quantile 0.8413... of a normal is one deviation.
  CHECK(nn::level_at(Tensor<double>{0.8413447460685429}, {.law = nn::LevelLaw::logit_normal, .deviation = 0.5}).item() ==
        Approx(1 / (1 + std::exp(-0.5))));
  // Mode: the published f at u = 1/4, which is level_at at 3/4; monotone at both ends of m's range.
  const double pi = 3.14159265358979323846, u = 0.25, f = 1 - u - 0.25 * (std::pow(std::cos(pi * u / 2), 2) - 1 + u);
  CHECK(nn::level_at(Tensor<double>{0.75}, {.law = nn::LevelLaw::mode, .m = 0.25}).item() == Approx(f));
  for (const double m : {-1.0, 2 / (pi - 2)}) {
    const auto t = nn::level_at(linspace<double>(0, 1, 101), {.law = nn::LevelLaw::mode, .m = m}).to_vector();
    CHECK(std::is_sorted(t.begin(), t.end()));
  }
  // Strata: one level in each of B equal intervals.
  const auto t = nn::sample_levels<double>(50, {.stratified = true}).to_vector();
  for (std::size_t i = 0; i < 50; ++i) CHECK((t[i] * 50 >= static_cast<double>(i) && t[i] * 50 <= static_cast<double>(i + 1)));
  CHECK(check::contains(check::error_of([] { nn::sample_levels(2, {.m = 3}); }), "no such law"));
}

TEST_CASE("data, noise and velocity are the same knowledge") {
  const auto x0 = check::uniform({3, 2, 2}), e = check::uniform({3, 2, 2}, -1, 1, 2);
  const Tensor<double> t{0.2, 0.5, 0.9};
  for (const auto path : {nn::FlowPath::rectified, nn::FlowPath::variance_preserving}) {
    const auto x = nn::noised(x0, e, t, path), v = nn::velocity(x0, e, t, path);
    CHECK(check::difference(nn::data_from_velocity(x, v, t, path), x0, 1e-12, 1e-13) == "");
    CHECK(check::difference(nn::noise_from_velocity(x, v, t, path), e, 1e-12, 1e-13) == "");
    CHECK(check::difference(nn::data_from_noise(x, e, t, path), x0, 1e-11, 1e-12) == "");
    CHECK(check::difference(nn::noise_from_data(x, x0, t, path), e, 1e-11, 1e-12) == "");
    CHECK(check::difference(nn::velocity_from_data(x, x0, t, path), v, 1e-11, 1e-12) == "");
    CHECK(check::difference(nn::velocity_from_noise(x, e, t, path), v, 1e-11, 1e-12) == "");
  }
  CHECK(check::difference(nn::velocity(x0, e, t), e - x0) == "");
  check::gradients([&](const List& p) { return nn::data_from_velocity(p[0], p[1], p[2]); }, List{x0, e, t});
  CHECK(check::contains(check::error_of([&] { nn::noised(x0, e, x0); }), "one level a sample"));
}

TEST_CASE("solvers have their orders") {
  // dx/dt = -2 t x from t = 1 to 0: x = x(1) e^{1}.
  const auto error = [](nn::OdeMethod method, int n) {
    const auto x = nn::integrate<double, Cpu>([](const Tensor<double>& v, double t) { return v * (-2 * t); }, ones<double>({1}),
                                              nn::descending_levels(n), method);
    return std::fabs(x.item() - std::exp(1.0));
  };
  const std::vector<std::pair<nn::OdeMethod, double>> orders{
      {nn::OdeMethod::euler, 1}, {nn::OdeMethod::midpoint, 2}, {nn::OdeMethod::heun, 2}, {nn::OdeMethod::rk4, 4}};
  for (const auto& [method, order] : orders)
    CHECK(std::log2(error(method, 20) / error(method, 40)) == Approx(order).margin(0.2));
  CHECK(nn::descending_levels(2, 3)[1] == Approx(0.75));
}

TEST_CASE("the exact flow of a normal target gives its moments") {
  manual_seed(2);
  const double mu = 1.5, sigma = 0.5;
  const auto net = [&](const Tensor<double>& z, const Tensor<double>& level) {
    const double t = level(0).item(), c = (t - (1 - t) * sigma * sigma) / ((1 - t) * (1 - t) * sigma * sigma + t * t);
    return (z - (1 - t) * mu) * c - mu;
  };
  const auto x = nn::sample_flow(net, randn<double>({20000}), 200);
  CHECK(mean(x).item() == Approx(mu).epsilon(0.02));
  CHECK(stddev(x).item() == Approx(sigma).epsilon(0.02));
}

TEST_CASE("guidance") {
  const auto c = check::uniform({2, 3, 2}), u = check::uniform({2, 3, 2}, -1, 1, 2);
  nn::ProjectedGuidance<double> same{.scale = 4, .beta = 0, .r = 0, .eta = 1};
  CHECK(check::difference(same(c, u), nn::guided(c, u, 4), 1e-12, 1e-12) == "");
  CHECK(check::difference(nn::guided(c, u, 1), c, 1e-12, 1e-13) == "");
  nn::ProjectedGuidance<double> apg{.scale = 4, .r = 0.5};
  const auto first = apg(c, u);
  for (int64_t b = 0; b < 2; ++b) {
    const auto step = (first - c)(b, all, all), direction = c(b, all, all);
    CHECK(sum(step * direction).item() == Approx(0).margin(1e-12));  // eta = 0: at right angles to c
    const auto d = (c - u)(b, all, all);
    const double shrink = std::min(1.0, 0.5 / norm(d).item()),
                 along = sum(d * direction).item() / sum(square(direction)).item();
    CHECK(check::difference(step, (d - direction * along) * (3 * shrink), 1e-10, 1e-12) == "");
  }
  // The running difference: (c - u) - 0.5 (c - u) = half of it at a second equal step, and none after restart().
  CHECK(check::difference(apg.m, c - u) == "");
  apg(c, u);
  CHECK(check::difference(apg.m, (c - u) * 0.5) == "");
  apg.restart();
  CHECK(check::difference(apg(c, u), first) == "");
  CHECK(check::contains(check::error_of([&] { apg(c, narrow(u, 0, 0, 1)); }), "ProjectedGuidance"));
}
