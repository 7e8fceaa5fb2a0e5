// Scalar functions: errors of the float versions in units in the last place, against float64; known values of the others.
#include <cmath>
#include <functional>
#include <limits>

#include <gradus/core/math.hpp>
#include <gradus/core/random.hpp>

#include "support/catch.hpp"

using namespace gradus;

namespace {
/// |y - exact| in units of the last place of a float near exact (of the smallest normal float below that).
double ulps(float y, double exact) {
  const double low = static_cast<double>(std::numeric_limits<float>::min()),
               top = static_cast<double>(std::numeric_limits<float>::max());
  if (std::isnan(exact)) return std::isnan(y) ? 0 : 1e30;
  if (std::fabs(exact) > top) return static_cast<float>(exact) == y || std::fabs(y) == static_cast<float>(top) ? 0 : 1e30;
  const double unit = std::ldexp(1.0, std::max(std::ilogb(std::max(std::fabs(exact), low)), -126) - 23);
  return std::fabs(static_cast<double>(y) - exact) / unit;
}
struct Row {
  const char* name;
  std::function<float(float)> f;
  std::function<double(double)> exact;
  double lo, hi, bound;
};
}  // namespace

TEST_CASE("float functions are within their error bounds") {
  // clang-format off
  const Row rows[] = {
      {"exp",     [](float x) { return m::exp(x); },      [](double x) { return std::exp(x); },       -110, 95,    1.5},
      {"expm1",   [](float x) { return m::expm1(x); },    [](double x) { return std::expm1(x); },     -30, 90,     2},
      {"expm1~0", [](float x) { return m::expm1(x); },    [](double x) { return std::expm1(x); },     -1, 1,       2},
      {"log",     [](float x) { return m::log(x); },      [](double x) { return std::log(x); },       0, 100,      1},
      {"log~1",   [](float x) { return m::log(x); },      [](double x) { return std::log(x); },       0.5, 2,      1},
      {"log1p",   [](float x) { return m::log1p(x); },    [](double x) { return std::log1p(x); },     -1, 100,     2.5},
      {"tanh",    [](float x) { return m::tanh(x); },     [](double x) { return std::tanh(x); },      -12, 12,     2.5},
      {"sigmoid", [](float x) { return m::sigmoid(x); },  [](double x) { return m::sigmoid(x); },     -80, 80,     2.6},
      {"erf",     [](float x) { return m::erf(x); },      [](double x) { return std::erf(x); },       -5, 5,       2.8},
      {"erfc",    [](float x) { return m::erfc(x); },     [](double x) { return std::erfc(x); },      -5, 9,       0.51},
      {"sin",     [](float x) { return m::sin(x); },      [](double x) { return std::sin(x); },       -1000, 1000, 0.51},
      {"cos",     [](float x) { return m::cos(x); },      [](double x) { return std::cos(x); },       -1000, 1000, 0.51},
      {"softplus",[](float x) { return m::softplus(x); }, [](double x) { return m::softplus(x); },    -80, 80,     2.8},
  };
  // clang-format on
  for (const Row& row : rows) {
    double worst = 0, where = 0;
    for (int i = 0; i < 300000; ++i) {
      const Philox r(11, 0, static_cast<uint64_t>(i));
      const float x = static_cast<float>(row.lo + (row.hi - row.lo) * uniform01(r.w[0], r.w[1]));
      const double e = ulps(row.f(x), row.exact(static_cast<double>(x)));
      if (e > worst) worst = e, where = static_cast<double>(x);
    }
    INFO(row.name << ": " << worst << " units in the last place at " << where);
    CHECK(worst <= row.bound);
  }
}

TEST_CASE("float functions treat NaN, infinities and zeros as <cmath> does") {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  CHECK((m::exp(inf) == inf && m::exp(-inf) == 0 && std::isnan(m::exp(nan)) && m::exp(0.0f) == 1));
  CHECK((m::expm1(inf) == inf && m::expm1(-inf) == -1 && std::isnan(m::expm1(nan)) && std::signbit(m::expm1(-0.0f))));
  CHECK((m::log(inf) == inf && m::log(0.0f) == -inf && std::isnan(m::log(-1.0f)) && std::isnan(m::log(nan)) &&
         m::log(1.0f) == 0));
  CHECK((m::log1p(inf) == inf && m::log1p(-1.0f) == -inf && std::isnan(m::log1p(-2.0f)) && std::isnan(m::log1p(nan)) &&
         std::signbit(m::log1p(-0.0f))));
  CHECK((m::tanh(inf) == 1 && m::tanh(-inf) == -1 && std::isnan(m::tanh(nan)) && std::signbit(m::tanh(-0.0f))));
  CHECK((m::sigmoid(inf) == 1 && m::sigmoid(-inf) == 0 && std::isnan(m::sigmoid(nan)) && m::sigmoid(0.0f) == 0.5f));
  CHECK((m::erf(inf) == 1 && m::erf(-inf) == -1 && std::isnan(m::erf(nan)) && m::erf(0.0f) == 0));
  CHECK((std::isnan(m::sin(inf)) && std::isnan(m::cos(nan)) && m::sin(0.0f) == 0 && m::cos(0.0f) == 1));
  CHECK((m::softplus(inf) == inf && m::softplus(-inf) == 0 && std::isnan(m::softplus(nan))));
  CHECK(std::fabs(static_cast<double>(m::exp(-100.0f)) - std::exp(-100.0)) <= 0x1p-149);   // subnormal
  CHECK(m::log(1e-40f) == Approx(std::log(static_cast<double>(1e-40f))).epsilon(1e-6));
}

TEST_CASE("digamma and polygamma") {
  const double gamma = 0.57721566490153286061, pi = m::kPi;
  CHECK(m::digamma(1) == Approx(-gamma).epsilon(1e-14));
  CHECK(m::digamma(0.5) == Approx(-gamma - 2 * std::log(2.0)).epsilon(1e-14));
  CHECK(m::digamma(-0.5) == Approx(2 - gamma - 2 * std::log(2.0)).epsilon(1e-13));
  CHECK(m::digamma(100.25) == Approx(m::digamma(99.25) + 1 / 99.25).epsilon(1e-14));
  CHECK(m::polygamma(1, 1) == Approx(pi * pi / 6).epsilon(1e-14));
  CHECK(m::polygamma(1, 0.5) == Approx(pi * pi / 2).epsilon(1e-14));
  CHECK(m::polygamma(1, -0.5) == Approx(pi * pi / 2 + 4).epsilon(1e-13));
  CHECK(m::polygamma(2, 1) == Approx(-2 * 1.20205690315959428540).epsilon(1e-14));   // -2 zeta(3)
  for (int k = 1; k <= 3; ++k)                        // each is the derivative of the one before, below 0 too
    for (const double x : {-0.3, -1.28, -3.201, -7.4, 0.4})
      CHECK(m::polygamma(k + 1, x) == Approx((m::polygamma(k, x + 1e-5) - m::polygamma(k, x - 1e-5)) / 2e-5).epsilon(1e-7));
  CHECK(std::isnan(m::polygamma(2, -3)));
  CHECK(m::polygamma(3, 1) == Approx(pi * pi * pi * pi / 15).epsilon(1e-14));
}

TEST_CASE("erfinv inverts erf") {
  double worst = 0;
  for (int i = -9999; i <= 9999; ++i) {
    const double y = i / 1e4;
    worst = std::max(worst, std::fabs(std::erf(m::erfinv(y)) - y));
  }
  CHECK(worst < 4e-16);
  const double near_one = 1 - 1e-12;
  CHECK(std::erfc(m::erfinv(near_one)) == Approx(1 - near_one).epsilon(1e-12));
  CHECK(m::erfinv(1) == std::numeric_limits<double>::infinity());
  CHECK(std::isnan(m::erfinv(1.5)));
}
