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
  const Double x = check::leaf(Double{1., 2}), source = check::leaf(Double{2., 2});
  sum(scatter_amax(x, 0, Tensor<int64_t>{1, 1}, source)).backward();
  CHECK(x.grad().to_vector()[1] == Approx(1.0 / 3));
  CHECK(source.grad().to_vector()[0] == Approx(1.0 / 3));
}

TEST_CASE("scatter with a number, index_copy, index_fill: values and derivatives") {
  const Double x{{1, 2, 3}, {4, 5, 6}};
  CHECK(scatter(x, 1, Tensor<int64_t>{0, 2}.reshape({2, 1}), 9).to_vector() == std::vector<double>{9, 2, 3, 4, 5, 9});
  CHECK(index_copy(x, 1, Tensor<int64_t>{2, 0}, Double{{10, 20}, {30, 40}}).to_vector() == std::vector<double>{20, 2, 10, 40, 5, 30});
  CHECK(index_fill(x, 0, Tensor<int64_t>{-1}, 7).to_vector() == std::vector<double>{1, 2, 3, 7, 7, 7});
  check::gradients([](const List& v) { return square(index_copy(v[0], 1, Tensor<int64_t>{2, 0}, v[1])); }, List{x, uniform({2, 2})});
  check::gradients([](const Double& v) { return square(index_fill(v, 1, Tensor<int64_t>{1}, 3)); }, x);
}

TEST_CASE("scatter_reduce: values, with and without what x holds") {
  const Double x{1., 2, 3}, s{4., 5, 6, -7};
  const Tensor<int64_t> index{0, 0, 1, 0};
  const auto run = [&](Reduce r, bool self) { return scatter_reduce(x, 0, index, s, r, self).to_vector(); };
  using Values = std::vector<double>;
  CHECK(run(Reduce::sum, true) == Values{3, 8, 3});
  CHECK(run(Reduce::sum, false) == Values{2, 6, 3});
  CHECK(run(Reduce::mean, true) == Values{0.75, 4, 3});
  CHECK(run(Reduce::mean, false) == Values{2.0 / 3, 6, 3});
  CHECK(run(Reduce::prod, true) == Values{-140, 12, 3});
  CHECK(run(Reduce::prod, false) == Values{-140, 6, 3});
  CHECK(run(Reduce::amax, true) == Values{5, 6, 3});
  CHECK(run(Reduce::amin, false) == Values{-7, 6, 3});
}

TEST_CASE("scatter_reduce: first and second derivatives, products of zeros too") {
  const Tensor<int64_t> index{{0, 0, 0}, {3, 1, 3}};
  const Double x = uniform({2, 4}), source = uniform({2, 3}, -1, 1, 2);
  for (const Reduce r : {Reduce::sum, Reduce::mean, Reduce::prod, Reduce::amax, Reduce::amin})
    for (const bool self : {true, false})
      check::gradients([&](const List& v) { return square(scatter_reduce(v[0], 1, index, v[1], r, self)); }, List{x, source});
  check::gradients([](const List& v) { return scatter_reduce(v[0], 0, Tensor<int64_t>{0, 0, 0}, v[1], Reduce::prod); },
                   List{Double{2.}, Double{0., 3, 0}});
}

TEST_CASE("an index with smaller extents leaves the rest of x alone") {
  const Double x = uniform({3, 4}), source = uniform({2, 3}, -1, 1, 2);
  const Tensor<int64_t> index{{0, 0, 3}, {1, 1, 1}};
  const auto y = scatter_add(x, 1, index, source);
  CHECK(check::difference(y(2), x(2), 0, 0) == "");
  CHECK(y(0, 0).item() == Approx(x(0, 0).item() + source(0, 0).item() + source(0, 1).item()));
  CHECK(gather(x, 1, index).shape() == Shape{2, 3});
  check::gradients([&](const List& v) { return square(scatter_add(v[0], 1, index, v[1])); }, List{x, source});
  check::gradients([&](const List& v) { return square(scatter(v[0], 1, index, v[1])); }, List{x, source});
  check::gradients([&](const Double& v) { return square(gather(v, 1, index)); }, x);
}

TEST_CASE("scatter: error texts") {
  CHECK(check::missing(check::error_of([] { scatter(uniform({2, 3}), 1, Tensor<int64_t>{0, 1}.reshape({2, 1}), uniform({2, 2})); }),
                       {"gradus: scatter: source and index differ", "equal shapes", "scatter_test.cpp:"}) == "");
  CHECK(check::missing(check::error_of([] { gather(uniform({2, 3}), 1, Tensor<int64_t>{0, 1, 2}.reshape({3, 1})); }),
                       {"gradus: gather: the index does not match", "or smaller ones", "scatter_test.cpp:"}) == "");
  CHECK(check::missing(check::error_of([] { index_copy(uniform({2, 3}), 1, Tensor<int64_t>{0}, uniform({2, 2})); }),
                       {"index_copy: the source does not match the index", "source [2, 1]"}) == "");
}
