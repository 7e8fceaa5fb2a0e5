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
  CHECK(repeat(Double{1, 2}, {2, 2}).to_vector() == Values{1, 2, 1, 2, 1, 2, 1, 2});
  CHECK(repeat_interleave(Double{1, 2}, 2, 0).to_vector() == Values{1, 1, 2, 2});
  CHECK(tril(ones<double>({2, 3})).to_vector() == Values{1, 0, 0, 1, 1, 0});
  CHECK(triu(ones<double>({2, 3}), 1).to_vector() == Values{0, 1, 1, 0, 0, 1});
  for (const auto& f : std::vector<std::function<Double(const Double&)>>{
           [](const Double& t) { return pad(t, {1, -1}, {2, 1}); }, [](const Double& t) { return flip(t, {1}); },
           [](const Double& t) { return roll(t, 1, 1); }, [](const Double& t) { return repeat(t, {2, 1, 3}); },
           [](const Double& t) { return repeat_interleave(t, 3, 1); }, [](const Double& t) { return tril(t); }})
    check::gradients([&](const Double& t) { return square(f(t)); }, check::uniform({2, 3}));
}
