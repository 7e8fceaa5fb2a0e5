// cat, stack, split, pad, flip, roll, repeat, tril: against literals, with gradients.
#include <gradus.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::List;
using Values = std::vector<double>;

TEST_CASE("joining and splitting") {
  const Double a{{1, 2}, {3, 4}}, b{{5, 6}};
  CHECK(cat(List{a, b}).to_vector() == Values{1, 2, 3, 4, 5, 6});
  CHECK(cat(List{a, a.t()}, 1).to_vector() == Values{1, 2, 1, 3, 3, 4, 2, 4});
  CHECK(stack(List{a, a}, 1).shape() == Shape{2, 2, 2});
  const auto parts = split(arange<double>(7), 3);
  CHECK(parts.size() == 3);
  CHECK(parts[2].to_vector() == Values{6});
  CHECK(chunk(arange<double>(7), 2)[0].numel() == 4);
  check::gradients([](const List& x) { return square(cat(List{x[0], x[1], x[0]}, 0)); }, List{check::uniform({2, 3}), check::uniform({1, 3}, -1, 1, 2)});
  CHECK(check::missing(check::error_of([&] { cat(List{a, zeros<double>({2, 3})}); }), {"cat", "tensor 1", "[2, 3]", "shape_test.cpp"}) == "");
}

TEST_CASE("padding, flipping, rolling, repeating") {
  const Double x{{1, 2}, {3, 4}};
  CHECK(pad(x, {1, 0}, {0, 1}, 9).to_vector() == Values{9, 9, 9, 1, 2, 9, 3, 4, 9});
  CHECK(pad(x, {0, -1}, {0, 0}).to_vector() == Values{2, 4});
  CHECK(flip(x, {0}).to_vector() == Values{3, 4, 1, 2});
  CHECK(flip(x, {0, 1}).to_vector() == Values{4, 3, 2, 1});
  CHECK(roll(arange<double>(5), 2, 0).to_vector() == Values{3, 4, 0, 1, 2});
  CHECK(roll(arange<double>(5), -1, 0).to_vector() == Values{1, 2, 3, 4, 0});
  CHECK(repeat(Double{1., 2}, {2, 2}).to_vector() == Values{1, 2, 1, 2, 1, 2, 1, 2});
  CHECK(repeat_interleave(Double{1., 2}, 2, 0).to_vector() == Values{1, 1, 2, 2});
  CHECK(tril(ones<double>({2, 3})).to_vector() == Values{1, 0, 0, 1, 1, 0});
  CHECK(triu(ones<double>({2, 3}), 1).to_vector() == Values{0, 1, 1, 0, 0, 1});
  for (const auto& f : std::vector<std::function<Double(const Double&)>>{
           [](const Double& t) { return pad(t, {1, -1}, {2, 1}); }, [](const Double& t) { return flip(t, {1}); },
           [](const Double& t) { return roll(t, 1, 1); }, [](const Double& t) { return repeat(t, {2, 1, 3}); },
           [](const Double& t) { return repeat_interleave(t, 3, 1); }, [](const Double& t) { return tril(t); }})
    check::gradients([&](const Double& t) { return square(f(t)); }, check::uniform({2, 3}));
}

TEST_CASE("pad takes its border from x: reflect, replicate, circular") {
  const Double x{1., 2, 3};
  CHECK(pad(x, {2}, {2}, PadMode::reflect).to_vector() == Values{3, 2, 1, 2, 3, 2, 1});
  CHECK(pad(x, {2}, {1}, PadMode::replicate).to_vector() == Values{1, 1, 1, 2, 3, 3});
  CHECK(pad(x, {2}, {1}, PadMode::circular).to_vector() == Values{2, 3, 1, 2, 3, 1});
  CHECK(pad(x, {1}, {1}, PadMode::constant).to_vector() == Values{0, 1, 2, 3, 0});
  for (const PadMode mode : {PadMode::reflect, PadMode::replicate, PadMode::circular})
    check::gradients([mode](const Double& t) { return square(pad(t, {1, 2}, {0, 1}, mode)); }, check::uniform({2, 3}));
  CHECK(check::missing(check::error_of([&] { pad(x, {3}, {0}, PadMode::reflect); }), {"pad: the border does not fit", "for reflect below it", "shape_test.cpp:"}) == "");
}

TEST_CASE("diag builds a matrix and reads one") {
  const Double x{1., 2};
  CHECK(diag(x).to_vector() == Values{1, 0, 0, 2});
  CHECK(diag(x, 1).to_vector() == Values{0, 1, 0, 0, 0, 2, 0, 0, 0});
  CHECK(diag(diag(x, -1), -1).to_vector() == Values{1, 2});
  CHECK(diag_embed(check::uniform({2, 3}), -2).shape() == Shape{2, 5, 5});
  check::gradients([](const Double& t) { return square(diag_embed(t, 1)); }, check::uniform({2, 3}));
}

TEST_CASE("local_response_norm sums over the neighbouring channels") {
  const auto x = ones<double>({1, 4, 2});
  const auto y = local_response_norm(x, 3, 3.0, 1.0, 1.0);            // 1 / (1 + number of channels in reach)
  CHECK(check::difference(y(0, all, 0).clone(), {4}, {1.0 / 3, 0.25, 0.25, 1.0 / 3}) == "");
  check::gradients([](const Double& t) { return local_response_norm(t, 2, 0.5); }, check::uniform({2, 3, 2}));
}

TEST_CASE("meshgrid, take_along, unflatten, isclose") {
  const Double a{1., 2}, b{3., 4, 5};
  const auto g = meshgrid(List{a, b});
  CHECK(g[0].to_vector() == Values{1, 1, 1, 2, 2, 2});
  CHECK(g[1].to_vector() == Values{3, 4, 5, 3, 4, 5});
  const Double x = check::uniform({3, 4});
  CHECK(check::difference(take_along(x, argsort(x, 1), 1), sort(x, 1).values, 0, 0) == "");
  CHECK(take_along(x, Tensor<int64_t>{2, 0}.reshape({2, 1}), 0).shape() == Shape{2, 4});
  CHECK(unflatten(x, 1, {-1, 2}).shape() == Shape{3, 2, 2});
  check::gradients([](const Double& t) { return square(take_along(t, Tensor<int64_t>{2, 0}.reshape({2, 1}), 0)); }, x);
  check::gradients([](const List& t) { return meshgrid(t)[0] * meshgrid(t)[1]; }, List{a, b});
  const double inf = 1.0 / 0.0, nan = std::nan("");
  CHECK(isclose(Double{1., inf, inf, nan, 1 + 1e-9}, Double{1., inf, 1, nan, 1}).to_vector() == std::vector<bool>{true, true, false, false, true});
  CHECK(allclose(x, x + 1e-10));
  CHECK_FALSE(allclose(x, x + 1e-3));
  CHECK(check::contains(check::error_of([&] { unflatten(x, 1, {3, 2}); }), "unflatten: the extents do not multiply"));
  CHECK(check::contains(check::error_of([&] { meshgrid(List{x}); }), "meshgrid: not a vector"));
}
