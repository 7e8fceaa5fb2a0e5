// Indexing against element-by-element reading; gather and scatter; error texts.
#include <gradus.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::List;
using Indices = Tensor<int64_t>;

TEST_CASE("integers, slices, ellipsis and new axes are views") {
  Double x = gradus::reshape(arange<double>(24), {2, 3, 4});
  CHECK(x(1, 2, 3).item() == 23);
  CHECK(x(-1, 0).to_vector() == std::vector<double>{12, 13, 14, 15});
  CHECK(x(all, 1, slice(1, 3)).to_vector() == std::vector<double>{5, 6, 17, 18});
  CHECK(x(ellipsis, slice(0, Slice::kOpen, 2)).shape() == Shape{2, 3, 2});
  CHECK(x(0, newaxis, ellipsis).shape() == Shape{1, 3, 4});
  CHECK(x(slice(-1)).shape() == Shape{1, 3, 4});
  CHECK(x(slice(5, 2)).numel() == 0);
  x(0, all, 0) = 100.0;
  CHECK(x.data()[4] == 100);
  x(1, slice(0, 2), 1) = Double{7., 8};
  CHECK(x(1, 1, 1).item() == 8);
}

TEST_CASE("index tensors and masks copy, and broadcast as NumPy's do") {
  const Double x = gradus::reshape(arange<double>(24), {2, 3, 4});
  const Indices i{2, 0}, j{3, 3};
  CHECK(x(all, i).to_vector() == x(all, Indices{-1, 0}).to_vector());
  CHECK(x(0, i, j).to_vector() == std::vector<double>{11, 3});
  CHECK(x(all, i, j).shape() == Shape{2, 2});
  CHECK(x(all, i, j).to_vector() == std::vector<double>{11, 3, 23, 15});
  CHECK(x(Indices{1, 0, 1}, all, i(0)).shape() == Shape{3, 3});      // the indexed dimensions are apart: theirs come first
  CHECK(x(x > 20.0).to_vector() == std::vector<double>{21, 22, 23});
  CHECK(x(0)(Tensor<bool>{true, false, true}).shape() == Shape{2, 4});
  CHECK(nonzero(Tensor<bool>{{false, true}, {true, false}}).to_vector() == std::vector<int64_t>{0, 1, 1, 0});
}

TEST_CASE("gradients of indexing, with repeated positions") {
  const Double x = check::uniform({3, 4});
  const Indices rows{2, 0, 2};
  check::gradients([&](const Double& t) { return t(rows, slice(1, 3)) * t(0, newaxis, slice(1, 3)); }, x);
  check::gradients([&](const Double& t) { return square(t(t.detach() > 0)); }, x);
  const Indices cols = Indices{{0, 3}, {1, 1}, {2, 0}};
  check::gradients([&](const Double& t) { return square(gather(t, 1, cols)); }, x);
  check::gradients([&](const List& t) { return square(scatter_add(t[0], 1, cols, t[1])); }, List{x, check::uniform({3, 2}, -1, 1, 5)});
  check::gradients([&](const List& t) { return square(index_add(t[0], 0, rows, t[1])); }, List{x, check::uniform({3, 4}, -1, 1, 5)});
  check::gradients([&](const Double& t) { return square(embedding(t, Indices{{0, 2}, {2, 1}})); }, x);
}

TEST_CASE("scatter_add is what a loop does; one_hot has one 1 a row") {
  const Indices at = Indices{{0, 0, 2}};
  CHECK(scatter_add(zeros<double>({1, 3}), 1, at, Double{{1, 2, 3}}).to_vector() == std::vector<double>{3, 0, 3});
  CHECK(one_hot<double>(Indices{1, 0}, 3).to_vector() == std::vector<double>{0, 1, 0, 1, 0, 0});
  CHECK(masked_fill(Double{1., 2}, Tensor<bool>{true, false}, -5).to_vector() == std::vector<double>{-5, 2});
}

TEST_CASE("wrong indices say what was given and where") {
  const Double x = zeros<double>({2, 3});
  CHECK(check::missing(check::error_of([&] { x(2); }), {"select", "index out of range", "float64 cpu [2, 3]", "[-2, 2)", "index_test.cpp"}) == "");
  CHECK(check::missing(check::error_of([&] { x(0, 0, 0); }), {"too many indices", "3", "2 at most"}) == "");
  CHECK(check::missing(check::error_of([&] { x(all, Indices{0, 7}); }), {"element 1 is 7", "[-3, 3)", "index_test.cpp"}) == "");
  CHECK(check::missing(check::error_of([&] { x(Tensor<bool>{true}); }), {"the mask does not match", "bool cpu [1]"}) == "");
  CHECK(check::missing(check::error_of([&] { x(ellipsis, ellipsis); }), {"two ellipses"}) == "");
  CHECK(check::missing(check::error_of([&] { gather(x, 1, Indices{0}); }), {"gather", "int64 cpu [1]"}) == "");
}
