// map: values and three derivatives of user lambdas.
#include <gradus.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::List;

TEST_CASE("map equals the same formula written with ops, values and gradients") {
  const Double a = check::uniform({2, 3}), b = check::uniform({3}, 0.5, 2, 2);
  const auto lambda = [](auto x, auto y) { return x * tanh(x * y) + exp(-y) / sqrt(y) + log1p(y) * sigmoid(x); };
  const auto formula = [](const Double& x, const Double& y) { return x * tanh(x * y) + exp(-y) / sqrt(y) + log1p(y) * sigmoid(x); };
  CHECK(check::difference(map(lambda, a, b), formula(a, b), 1e-14, 1e-14) == "");
  const auto f = [&](const List& x) { return map(lambda, x[0], x[1]); };
  check::gradients(f, List{a, b});
}

TEST_CASE("map works on views, single numbers, empty tensors and in float") {
  const auto f = [](auto x) { return x * x + 1; };
  const Double a = check::uniform({3, 4});
  CHECK(check::difference(map(f, a.t()), a.t() * a.t() + 1) == "");
  CHECK(map(f, scalar(3.0)).item() == 10);
  CHECK(map(f, zeros<double>({0, 2})).numel() == 0);
  CHECK(map(f, full({5}, 2)).to_vector() == std::vector<float>(5, 5.0f));
}

TEST_CASE("map branches by comparison and refuses a fourth derivative") {
  const auto leaky = [](auto x) { return x > 0 ? x : x * 0.1; };
  const Double x = check::leaf(Double{-2., 3});
  sum(map(leaky, x)).backward();
  CHECK(check::difference(x.grad(), {2}, {0.1, 1}) == "");
  const auto quartic = [](auto t) { return t * t * t * t; };
  Double g = sum(map(quartic, x));
  for (int order = 1; order <= 3; ++order) g = sum(grad(g, x, {.create_graph = order < 3}));
  CHECK(g.item() == Approx(24 * (-2 + 3)));
  CHECK(check::missing(check::error_of([&] {
          Double t = sum(map(quartic, x));
          for (int order = 1; order <= 4; ++order) t = sum(grad(t, x, {.create_graph = true}));
        }), {"map", "differentiated too often"}) == "");
}

TEST_CASE("map says which shapes do not broadcast") {
  CHECK(check::missing(check::error_of([] { map([](auto x, auto y) { return x + y; }, zeros<double>({2, 3}), zeros<double>({4})); }),
                       {"map", "[2, 3]", "[4]", "extents that are equal or 1"}) == "");
}
