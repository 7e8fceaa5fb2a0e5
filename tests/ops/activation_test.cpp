// Gated units and the relatives of softmax.
#include <gradus/ops/activation.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::List;

TEST_CASE("gated units are value times gate") {
  const Tensor<double> x{{1, -2, 3, 0.5}};
  const Tensor<double> a{{1, -2}}, b{{3, 0.5}};
  CHECK(check::difference(reglu(x), a * relu(b)) == "");
  CHECK(check::difference(geglu(x), a * gelu(b)) == "");
  CHECK(check::difference(swiglu(x), a * silu(b)) == "");
  check::gradients(
      [](const Tensor<double>& v) {
        return cat(std::vector<Tensor<double>>{geglu(v), swiglu(v)}, -1);
      },
      check::uniform({2, 4}));
  CHECK(check::missing(check::error_of([] { swiglu(check::uniform({2, 3})); }), {"swiglu", "odd extent", "[2, 3]"}) == "");
}

TEST_CASE("relu squared, snake, maxout") {
  CHECK(relu_squared(Tensor<double>{-1, 0.5, 3}).to_vector() == std::vector<double>{0, 0.25, 9});
  const auto x = check::uniform({2, 3, 4}, 0.1, 2);
  CHECK(snake(x, full<double>({1}, 2))(0, 0, 0).item() ==
        Approx(x(0, 0, 0).item() + std::pow(std::sin(2 * x(0, 0, 0).item()), 2) / 2));
  check::gradients([](const List& v) { return snake(v[0], v[1]); }, List{x, check::uniform({3}, 0.5, 2, 2)});
  CHECK(maxout(Tensor<double>{{1, 5, 2, 3}}, 2, 1).to_vector() == std::vector<double>{5, 3});
  check::gradients([](const Tensor<double>& v) { return maxout(v, 3); }, check::uniform({2, 6}));
  CHECK(check::missing(check::error_of([] { maxout(check::uniform({2, 5}), 2); }), {"maxout", "multiple of k"}) == "");
}

TEST_CASE("sparsemax is the nearest point of the simplex") {
  CHECK(check::difference(sparsemax(Tensor<double>{0.5, 0.2, -1}), Tensor<double>{0.65, 0.35, 0}) ==
        "");  // tau = (0.7 - 1) / 2
  CHECK(sparsemax(Tensor<double>{3., 0, 0}).to_vector() == std::vector<double>{1, 0, 0});
  const auto x = check::uniform({4, 7}, -2, 2), y = sparsemax(x);
  CHECK(check::difference(sum(y, {-1}), ones<double>({4})) == "");
  CHECK(check::difference(sparsemax(x + 5.0), y, 1e-12, 1e-12) == "");
  CHECK(check::difference(sparsemax(transpose(x, 0, 1), 0), transpose(y, 0, 1)) == "");
  check::gradients([](const Tensor<double>& v) { return sparsemax(v); }, x);
}

TEST_CASE("entmax of 1.5") {
  // Two classes, d = x1 - x2: p1 = (1 + s) / 2 with the root tau of (x1/2 - tau)^2 + (x2/2 - tau)^2 = 1.
  const double a = 0.3, b = -0.5, tau = (a / 2 + b / 2) / 2 - std::sqrt(0.5 - std::pow((a - b) / 4, 2));
  CHECK(check::difference(entmax15(Tensor<double>{a, b}), Tensor<double>{std::pow(a / 2 - tau, 2), std::pow(b / 2 - tau, 2)}) ==
        "");
  const auto x = check::uniform({4, 7}, -3, 3), y = entmax15(x);
  CHECK(check::difference(sum(y, {-1}), ones<double>({4})) == "");
  CHECK(amin(y).item() == 0);  // some are exactly 0
  check::gradients([](const Tensor<double>& v) { return entmax15(v); }, x);
}

TEST_CASE("stablemax") {
  CHECK(check::difference(stablemax(Tensor<double>{1., -1}), Tensor<double>{2 / 2.5, 0.5 / 2.5}) == "");
  check::gradients([](const Tensor<double>& v) { return stablemax(v); }, check::uniform({2, 5}, -2, 2));
  CHECK(stablemax(Tensor<double>{1, 5e300}, 0)(0).item() > 0);  // softmax would give 0 here
}

TEST_CASE("gumbel softmax draws categories by their probabilities") {
  manual_seed(3);
  const auto logits = expand(log(Tensor<double>{0.2, 0.5, 0.3}), {20000, 3});
  const auto hard = gumbel_softmax(logits, 0.5, true);
  CHECK(check::difference(mean(hard, {0}), Tensor<double>{0.2, 0.5, 0.3}, 0, 0.015) == "");
  CHECK(check::difference(sum(hard, {-1}), ones<double>({20000})) == "");
  manual_seed(4);
  const auto x = check::leaf(check::uniform({3, 4})), c = check::uniform({3, 4}, -1, 1, 2);
  sum(gumbel_softmax(x, 0.7, true) * c).backward();
  const auto g = x.grad();
  manual_seed(4);
  const auto z = check::leaf(x);
  sum(gumbel_softmax(z, 0.7) * c).backward();
  CHECK(check::difference(g, z.grad()) == "");  // straight through: the relaxed gradient
  CHECK(check::contains(check::error_of([&] { gumbel_softmax(x, 0.0); }), "tau > 0"));
}
