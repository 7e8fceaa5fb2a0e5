#include <gradus/ops/scatter.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::List;
using check::uniform;

TEST_CASE("scatter, scatter_amax: values") {
  const Double x{{1, 2, 3}, {4, 5, 6}}, source{{10, 0}, {7, 8}};
  const Tensor<int64_t> index{{0, 0}, {2, -2}};
  CHECK(scatter(x, 1, index, source).to_vector() == std::vector<double>{0, 2, 3, 4, 8, 7});
  CHECK(scatter_amax(x, 1, index, source).to_vector() == std::vector<double>{10, 2, 3, 4, 8, 7});
}

TEST_CASE("scatter, scatter_amax: first and second derivatives") {
  const Tensor<int64_t> index{{0, 0, 1}, {3, 1, 3}};
  const Double x = uniform({2, 4}), source = uniform({2, 3}, -1, 1, 2);
  check::gradients([&](const List& v) { return square(scatter(v[0], 1, index, v[1])); }, List{x, source});
  check::gradients([&](const List& v) { return square(scatter_amax(v[0], 1, index, v[1])); }, List{x, source});
}

TEST_CASE("scatter_amax: equal elements share the gradient") {
  const Double x = check::leaf(Double{1, 2}), source = check::leaf(Double{2, 2});
  sum(scatter_amax(x, 0, Tensor<int64_t>{1, 1}, source)).backward();
  CHECK(x.grad().to_vector()[1] == Approx(1.0 / 3));
  CHECK(source.grad().to_vector()[0] == Approx(1.0 / 3));
}

TEST_CASE("scatter: error texts") {
  CHECK(check::missing(check::error_of([] { scatter(uniform({2, 3}), 1, Tensor<int64_t>{0, 1}.reshape({2, 1}), uniform({2, 2})); }),
                       {"gradus: scatter: source and index differ", "equal shapes", "scatter_test.cpp:"}) == "");
}
