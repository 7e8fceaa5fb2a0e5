// Starting values: their spread, and what the structured ones promise exactly.
#include <gradus/nn/init_matrix.hpp>
#include <gradus/ops/conv.hpp>

#include "support/check.hpp"

using namespace gradus;
namespace init = nn::init;

namespace {
double spread(const Tensor<double>& w) { return std::sqrt(mean(square(w)).item()); }
}  // namespace

TEST_CASE("random starts have the promised variance") {
  manual_seed(1);
  auto w = zeros<double>({200, 100, 3});  // fan_in 300, fan_out 600
  init::kaiming_uniform(w);
  CHECK(spread(w) == Approx(std::sqrt(2.0 / 300)).epsilon(0.02));
  CHECK(amax(abs(w)).item() <= std::sqrt(6.0 / 300));
  init::kaiming_normal(w, 1, init::Fan::out);
  CHECK(spread(w) == Approx(std::sqrt(1.0 / 600)).epsilon(0.02));
  init::xavier_normal(w, 2);
  CHECK(spread(w) == Approx(2 * std::sqrt(2.0 / 900)).epsilon(0.02));
  init::lecun_normal(w);
  CHECK(spread(w) == Approx(std::sqrt(1.0 / 300)).epsilon(0.02));
  init::lecun_uniform(w);
  CHECK(spread(w) == Approx(std::sqrt(1.0 / 300)).epsilon(0.02));
  init::truncated_normal(w, 0, 0.02);
  CHECK(amax(abs(w)).item() <= 0.04);
  CHECK(spread(w) == Approx(0.02 * 0.8796).epsilon(0.02));  // of a normal cut at 2 deviations
  CHECK(init::gain("leaky_relu", 0.2) == Approx(std::sqrt(2 / 1.04)));
  CHECK(check::contains(check::error_of([] { init::gain("softplus"); }), "no such activation"));
}

TEST_CASE("structured starts") {
  manual_seed(2);
  for (const Shape& s : {Shape{5, 3}, Shape{3, 8}, Shape{4, 2, 3}}) {
    auto w = zeros<double>(s);
    init::orthogonal(w, 2);
    const auto m = gradus::reshape(w, {s[0], -1});
    const auto gram = m.size(0) <= m.size(1) ? matmul(m, transpose(m, 0, 1)) : matmul(transpose(m, 0, 1), m);
    CHECK(check::difference(gram, eye<double>(gram.size(0)) * 4, 1e-12, 1e-12) == "");
  }
  auto w = zeros<double>({4, 2, 3, 3});
  init::dirac(w, 2);  // each group of outputs copies the two inputs
  const auto x = check::uniform({1, 2, 5, 5});
  CHECK(check::difference(conv2d(x, w, {}, {.padding = 1}), cat(std::vector<Tensor<double>>{x, x}, 1)) == "");
  auto d = zeros<double>({6, 2, 3});
  init::delta_orthogonal(d);
  const auto y = conv1d(check::uniform({1, 2, 7}, -1, 1, 3), d, {}, {.padding = 1});
  CHECK(sum(square(y)).item() == Approx(sum(square(check::uniform({1, 2, 7}, -1, 1, 3))).item()));  // keeps lengths
  auto i = ones<double>({2, 3});
  init::identity(i);
  CHECK(i.to_vector() == std::vector<double>{1, 0, 0, 0, 1, 0});
  auto s = zeros<double>({10, 30});
  init::sparse(s, 0.25);
  CHECK(check::difference(sum(cast<double>(equal(s, 0)), {0}), full<double>({30}, 3)) == "");
  auto flat = zeros<double>({3});
  CHECK(check::missing(check::error_of([&] { init::orthogonal(flat); }), {"orthogonal", "[3]"}) == "");
}
