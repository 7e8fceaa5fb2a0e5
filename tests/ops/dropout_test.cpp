// Dropout as functions: the factor 1 / (1 - p), moments, evaluation.
#include <gradus/ops/dropout.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

namespace {
constexpr int64_t kMany = 200000;
double mean_of(const Double& x) { return mean(x).item(); }
double var_of(const Double& x) { return var(x).item(); }
}  // namespace

TEST_CASE("what is kept is divided by 1 - p, not by p") {
  for (const double p : {0.1, 0.3, 0.8}) {
    manual_seed(1);
    const Double y = dropout(ones<double>({1000}), p);
    CHECK(amax(y).item() == Approx(1 / (1 - p)).epsilon(1e-14));
    CHECK(amin(y).item() == 0);
    CHECK(amax(shared_dropout(ones<double>({1000, 2}), p, 1)).item() == Approx(1 / (1 - p)).epsilon(1e-14));
  }
}

TEST_CASE("channels live or die as a whole") {
  manual_seed(2);
  const auto y = shared_dropout(ones<double>({50, 40, 3, 3}), 0.4, {-1, -2});
  const auto per_channel = mean(y, {2, 3});
  CHECK(check::difference(expand(unsqueeze(unsqueeze(per_channel, -1), -1), y.shape()), y) == "");
  CHECK(std::fabs(mean_of(per_channel) - 1) < 5 * std::sqrt(0.4 / 0.6 / 2000));
}

TEST_CASE("alpha dropout keeps mean 0 and variance 1") {
  for (const double p : {0.1, 0.5}) {
    manual_seed(3);
    const auto x = randn<double>({kMany});
    const Double y = alpha_dropout(x, p);
    CHECK(std::fabs(mean_of(y)) < 0.02);
    CHECK(std::fabs(var_of(y) - 1) < 0.03);
    const auto o = gradus::detail::alpha_outcome(p);  // exactly, with alpha' = -1.7580993...
    constexpr double limit = -1.7580993408473766;
    CHECK(p * o.fill + (1 - p) * o.shift == Approx(0).margin(1e-12));
    CHECK((1 - p) * (o.scale * o.scale + o.shift * o.shift) + p * o.fill * o.fill == Approx(1));
    CHECK(o.fill == Approx(o.scale * limit + o.shift));
  }
  CHECK(check::difference(alpha_dropout(ones<double>({3}), 1.0), zeros<double>({3})) == "");
}

TEST_CASE("Gaussian and uniform dropout have the mean and variance of dropout") {
  for (const double p : {0.2, 0.5}) {
    manual_seed(4);
    const double v = p / (1 - p), tolerance = 5 * std::sqrt(v / kMany);
    const auto x = full<double>({kMany}, 1);
    for (const Double& y : {gaussian_dropout(x, p), uniform_dropout(x, p), dropout(x, p)}) {
      CHECK(std::fabs(mean_of(y) - 1) < tolerance);
      CHECK(std::fabs(var_of(y) - v) < 0.03 * v + 0.005);
    }
  }
  manual_seed(5);
  const auto noisy = gaussian_noise(full<double>({kMany}, 3), 0.5);
  CHECK(std::fabs(mean_of(noisy) - 3) < 5 * 0.5 / std::sqrt(static_cast<double>(kMany)));
  CHECK(std::fabs(var_of(noisy) - 0.25) < 0.01);
}

TEST_CASE("in evaluation the input itself comes back") {
  const auto x = check::uniform({4, 3, 2, 2});
  CHECK(dropout(x, 0.5, false).is_same(x));
  CHECK(shared_dropout(x, 0.5, -1, false).is_same(x));
  CHECK(alpha_dropout(x, 0.5, false).is_same(x));
  CHECK(gaussian_dropout(x, 0.5, false).is_same(x));
  CHECK(uniform_dropout(x, 0.5, false).is_same(x));
  CHECK(gaussian_noise(x, 0.5, false).is_same(x));
  CHECK(check::missing(check::error_of([&] { gaussian_dropout(x, 1.0); }),
                       {"gaussian_dropout", "0 <= p < 1", "dropout_test.cpp"}) == "");
  CHECK(check::missing(check::error_of([&] { gaussian_noise(x, -1.0); }), {"gaussian_noise", "deviation >= 0"}) == "");
}
