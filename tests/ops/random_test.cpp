// Random tensors: reproducible from the seed for any number of threads; moments; dropout's rate, expectation and mask.
#include <gradus.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

namespace {
constexpr int64_t kMany = 200000;
double mean_of(const Double& x) { return mean(x).item(); }
double var_of(const Double& x) { return var(x).item(); }
}  // namespace

TEST_CASE("equal seeds give equal numbers, whatever the number of threads") {
  std::vector<std::vector<float>> runs;
  const int before = num_threads();
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    manual_seed(7);
    runs.push_back(randn({100003}).to_vector());
  }
  set_num_threads(before);
  CHECK(runs[0] == runs[1]);
  CHECK(runs[0] == runs[2]);
  CHECK(rand({4}).to_vector() != rand({4}).to_vector());      // each call has its own stream
}

TEST_CASE("moments of the laws") {
  manual_seed(11);
  const double tolerance = 5 / std::sqrt(static_cast<double>(kMany));   // five standard errors of a unit variance
  const Double u = gradus::rand<double>({kMany}), n = randn<double>({kMany});
  CHECK(std::fabs(mean_of(u) - 0.5) < tolerance);
  CHECK(std::fabs(var_of(u) - 1.0 / 12) < tolerance);
  CHECK(std::fabs(mean_of(n)) < tolerance);
  CHECK(std::fabs(var_of(n) - 1) < 2 * tolerance);
  CHECK(std::fabs(mean_of(n * n * n * n) - 3) < 12 * tolerance);
  CHECK(std::fabs(mean_of(exponential<double>({kMany}, 2)) - 0.5) < tolerance);
  CHECK(std::fabs(mean_of(gumbel<double>({kMany})) - 0.5772156649) < 2 * tolerance);
  CHECK(std::fabs(mean_of(beta<double>({kMany}, 2, 3)) - 0.4) < tolerance);
  CHECK(std::fabs(mean_of(cast<double>(randint(-3, 4, {kMany})))) < 2 * tolerance);
  CHECK(std::fabs(mean_of(bernoulli<double>({kMany}, 0.3)) - 0.3) < tolerance);
  CHECK(std::fabs(mean_of(logit_normal<double>({kMany})) - 0.5) < tolerance);
  const Double t = truncated_normal<double>({kMany});
  CHECK(amax(t).item() <= 2);
  CHECK(amin(t).item() >= -2);
  CHECK(std::fabs(var_of(t) - 0.7737413) < 2 * tolerance);               // 1 - 2 a phi(a) / (2 Phi(a) - 1), a = 2
  CHECK(check::difference(sum(dirichlet(full<double>({5, 3}, 0.7)), {1}), ones<double>({5})) == "");
}

TEST_CASE("a permutation has every number once; draws without replacement differ") {
  auto p = randperm(1000).to_vector();
  std::sort(p.begin(), p.end());
  for (int64_t i = 0; i < 1000; ++i) CHECK(p[static_cast<std::size_t>(i)] == i);
  const auto m = multinomial(full<double>({50, 6}, 1), 6).to_vector();
  for (std::size_t row = 0; row < 50; ++row) {
    std::vector<int64_t> r(m.begin() + static_cast<std::ptrdiff_t>(row * 6), m.begin() + static_cast<std::ptrdiff_t>(row * 6 + 6));
    std::sort(r.begin(), r.end());
    CHECK(r == std::vector<int64_t>{0, 1, 2, 3, 4, 5});
  }
}

TEST_CASE("dropout drops with probability p and keeps the expectation; its gradient has the same mask") {
  for (const double p : {0.1, 0.5, 0.8}) {
    manual_seed(5);
    const Double x = check::leaf(ones<double>({kMany}));
    const Double y = dropout(x, p);
    const double kept = mean(cast<double>(y.detach() != 0.0)).item();
    CHECK(std::fabs(kept - (1 - p)) < 5 * std::sqrt(p * (1 - p) / kMany));
    CHECK(amax(y).item() == Approx(1 / (1 - p)));
    sum(y).backward();
    CHECK(check::difference(x.grad(), y.detach()) == "");
    CHECK(dropout(x, p, false).is_same(x));
  }
  CHECK(check::missing(check::error_of([] { dropout(ones({2}), 1.5); }), {"dropout", "1.5", "0 <= p <= 1", "random_test.cpp"}) == "");
  const RandomStream stream{1, 2};
  check::gradients([&](const Double& x) { return dropout(x, 0.4, stream) * x; }, check::uniform({20}));
}
