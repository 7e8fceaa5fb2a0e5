// Schedules at points computed by hand, and against the values recorded from PyTorch (tests/recorded/optim).
#include <filesystem>
#include <fstream>
#include <map>

#include <nlohmann/json.hpp>

#include <gradus/optim/schedule.hpp>

#include "support/check.hpp"

using namespace gradus;
using namespace gradus::optim;
using Values = std::vector<double>;

namespace {
std::string differs(const Schedule& s, const Values& expected) {
  return check::difference(s.values(static_cast<int64_t>(expected.size())), expected, 1e-12, 1e-15);
}
}  // namespace

TEST_CASE("the schedules PyTorch has give its values", "[optim]") {
  std::ifstream in(std::filesystem::path(GRADUS_TESTS_DIR) / "recorded" / "optim" / "schedules.json");
  REQUIRE(in);
  const auto document = nlohmann::json::parse(in);
  const Schedule constant_part = constant(0.04);
  const std::map<std::string, Schedule> ours{
      {"step", step_decay(0.4, 4, 0.5)},
      {"multi_step", multi_step(0.4, {3, 9, 20}, 0.3)},
      {"exponential", exponential(0.4, 0.9)},
      {"polynomial", polynomial(0.4, 0, 20, 2)},
      {"linear", linear(0.1, 0.4, 10)},
      {"cosine", cosine(0.4, 0.01, 29)},
      {"restarts", cosine_restarts(0.4, 0.01, 4, 2)},
      {"restarts.equal", cosine_restarts(0.4, 0.01, 7)},
      {"one_cycle", one_cycle(0.4, 31)},
      {"one_cycle.linear", one_cycle(0.4, 31, {.start = 0.4, .linear = true})},
      {"one_cycle.three", one_cycle(0.4, 31, {.div = 10, .three_phase = true})},
      {"cyclic", cyclic(0.1, 0.4, 3, 5)},
      {"cyclic.triangular2", cyclic(0.1, 0.4, 4, 0, Cycle::triangular2)},
      {"cyclic.exponential", cyclic(0.1, 0.4, 4, 0, Cycle::exponential, 0.95)},
      {"sequential", sequential({constant(0.04), exponential(0.4, 0.9)}, {5})},
      {"chained", linear(0.1, 0.4, 10) * exponential(1, 0.9)}};
  std::size_t compared = 0;
  for (const auto& c : document.at("cases")) {
    const auto name = c.at("name").get<std::string>();
    INFO(name);
    auto expected = c.at("values").get<Values>();
    if (name == "plateau") {
      const Values metrics{1, 0.9, 0.95, 0.91, 0.92, 0.93, 0.8, 0.8, 0.81, 0.8, 0.79999, 0.8, 0.8, 0.8, 0.7};
      Plateau lr(0.4, {.factor = 0.5, .patience = 2, .cooldown = 1, .min = 0.02});
      for (std::size_t t = 0; t < expected.size(); ++t) {
        CHECK(lr.value() == Approx(expected[t]).epsilon(1e-12));
        lr.report(t < metrics.size() ? metrics[t] : 0.7);
      }
      ++compared;
      continue;
    }
    const auto found = ours.find(name);
    REQUIRE(found != ours.end());
    CHECK(differs(found->second, expected) == "");
    ++compared;
  }
  CHECK(compared == ours.size() + 1);
}

TEST_CASE("schedules at points computed by hand", "[optim]") {
  CHECK(differs(warmup(4, cosine(1, 0, 2)), {0.25, 0.5, 0.75, 1, 1, 0.5, 0, 0}) == "");
  CHECK(differs(warmup(0, constant(3)), {3, 3}) == "");
  CHECK(differs(noam(64, 4, 2), {2 / 8. * 1 / 8, 2 / 8. * 2 / 8, 2 / 8. * 3 / 8, 2 / 8. * 0.5, 2 / 8. / std::sqrt(5)}) == "");
  CHECK(differs(inverse_sqrt(1, 4), {0.25, 0.5, 0.75, 1, std::sqrt(0.8)}) == "");
  CHECK(inverse_sqrt(1, 4)(15) == Approx(0.5));
  CHECK(differs(wsd(2, 2, 4, 10), {1, 2, 2, 2, 2, 2, 2, 1.5, 1, 0.5, 0, 0}) == "");
  CHECK(differs(wsd(2, 0, 4, 4, 1, WsdDecay::sqrt), {2, 1.5, 2 - std::sqrt(0.5), 2 - std::sqrt(0.75), 1}) == "");
  CHECK(wsd(2, 0, 4, 4, 0, WsdDecay::cosine)(2) == Approx(1));
  CHECK(wsd(2, 0, 10, 10, 0, WsdDecay::halving)(3) == Approx(0.25));
  CHECK(differs(rex(1, 4), {1, 0.75 / 0.875, 0.5 / 0.75, 0.25 / 0.625, 0, 0}) == "");
  // four nodes of [1, 9]: 1 / (5 - 4 cos((2 i + 1) pi / 8)) for i = 0, 3, 1, 2
  const auto node = [](int i) { return 1 / (5 - 4 * std::cos((2 * i + 1) * 3.14159265358979323846 / 8)); };
  CHECK(differs(chebyshev(1, 9, 4), {node(0), node(3), node(1), node(2), node(0)}) == "");
  CHECK(differs(cosine_restarts(1, 0, 2, 1, 0.5), {1, 0.5, 0.5, 0.25, 0.25}) == "");
  CHECK(differs(linear(1, 0, 2).delayed(2), {1, 1, 1, 0.5, 0}) == "");
  CHECK(differs(linear(1, 0, 2).clamped(0.3, 0.9), {0.9, 0.5, 0.3}) == "");
  CHECK(differs(constant(1) + linear(1, 0, 2), {2, 1.5, 1}) == "");
  CHECK(differs([](int64_t t) { return static_cast<double>(t * t); }, {0, 1, 4}) == "");
  CHECK(step_lr(1, 5, 2) == Approx(0.01));
  CHECK(multi_step_lr(1, 9, {9, 12}) == Approx(0.1));
  CHECK(cosine_lr(1, 50, 100) == Approx(0.5));
  CHECK(cosine_lr(1, 0, 100, 10) == Approx(0.1));
}

// Chebyshev's steps solve a quadratic of curvatures in the range in n steps to the error bound 1 / T_n of the theory.
TEST_CASE("a period of Chebyshev steps contracts as the theory says", "[optim]") {
  const auto lr = chebyshev(1, 10, 8);
  const double ratio = (10.0 + 1) / (10 - 1), bound = 1 / std::cosh(8 * std::acosh(ratio));
  for (const double curvature : {1.0, 2.5, 7.0, 10.0}) {
    double x = 1;
    for (int64_t t = 0; t < 8; ++t) x -= lr(t) * curvature * x;
    CHECK(std::fabs(x) <= bound * (1 + 1e-9));
  }
}

TEST_CASE("a plateau keeps its state; schedules of no length are refused", "[optim]") {
  Plateau a(1, {.factor = 0.5, .patience = 1, .maximize = true});
  for (const double m : {1.0, 0.9, 0.9}) a.report(m);
  CHECK(a.value() == 0.5);
  a.report(0.9);
  Plateau b(7, {.factor = 0.5, .patience = 1, .maximize = true});
  b.load_state_dict(a.state_dict());
  CHECK(b.value() == 0.5);
  CHECK(a.report(0.9) == 0.25);
  CHECK(b.report(0.9) == 0.25);
  CHECK(check::missing(check::error_of([] { cosine(1, 0, 0); }), {"cosine", "total", "0", "at least 1 step", "schedule_test.cpp"}) == "");
  CHECK(check::missing(check::error_of([] { wsd(1, 5, 6, 10); }), {"wsd", "warmup + decay <= total"}) == "");
  CHECK(check::missing(check::error_of([] { chebyshev(1, 9, 3); }), {"chebyshev", "power of two"}) == "");
  CHECK(check::missing(check::error_of([] { sequential({constant(1)}, {3}); }), {"sequential", "one start less"}) == "");
  CHECK(check::missing(check::error_of([] { Plateau(1, {.factor = 2}); }), {"Plateau", "0 < factor < 1"}) == "");
}
