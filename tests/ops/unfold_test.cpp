#include <gradus/ops/conv.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/ops/unfold.hpp>

#include "ops/recorded_case.hpp"

using namespace gradus;
using check::Double;
using check::List;
using check::uniform;

TEST_CASE("unfold, fold: recorded outputs and gradients") {
  const auto cases = check::recorded_cases("shape.json", {"unfold", "fold"});
  REQUIRE(cases.size() == 4);
  for (const auto& c : cases) {
    INFO(c.name);
    const PerAxis kernel = check::axes(c, "kernel_size");
    const UnfoldOptions o{
        .stride = check::axes(c, "stride"), .padding = check::axes(c, "padding"), .dilation = check::axes(c, "dilation")};
    CHECK(check::recorded_difference(c, [&](const List& x) {
            return c.op == "unfold" ? unfold(x[0], kernel, o) : fold(x[0], Shape(c.ints("output_size")), kernel, o);
          }) == "");
  }
}

TEST_CASE("unfold: with a product it is a convolution, in 1 to 3 dimensions") {
  const auto product = [](const Double& x, const Double& w, const Shape& kernel, const UnfoldOptions& o) {
    return matmul(reshape(w, {w.size(0), -1}), unfold(x, kernel, o));
  };
  const Double line = uniform({2, 3, 8}), w1 = uniform({4, 3, 3}, -1, 1, 2);
  const Double y1 = conv1d(line, w1, Double(), {.stride = 2, .padding = 1});
  CHECK(check::difference(product(line, w1, {3}, {.stride = 2, .padding = 1}), y1, 1e-13, 1e-13) == "");
  const Double image = uniform({2, 3, 6, 5}), w2 = uniform({4, 3, 2, 3}, -1, 1, 2);
  const Double y2 = conv2d(image, w2, Double(), {.padding = {1, 0}, .dilation = {2, 1}});
  CHECK(check::difference(product(image, w2, {2, 3}, {.padding = {1, 0}, .dilation = {2, 1}}), flatten(y2, 2, -1), 1e-13,
                          1e-13) == "");
  const Double volume = uniform({1, 2, 3, 4, 3}), w3 = uniform({2, 2, 2, 2, 2}, -1, 1, 2);
  CHECK(check::difference(product(volume, w3, {2, 2, 2}, {}), flatten(conv3d(volume, w3), 2, -1), 1e-13, 1e-13) == "");
}

TEST_CASE("unfold, fold: first and second derivatives") {
  check::gradients(
      [](const Double& x) {
        return unfold(mul(x, x), {2, 3}, {.stride = {2, 1}, .padding = 1});
      },
      uniform({1, 2, 4, 5}));
  check::gradients([](const Double& x) { return fold(mul(x, x), {4, 5}, 2, {.stride = {2, 1}}); }, uniform({2, 4, 8}));
}

TEST_CASE("fold: of an unfold counts how many windows hold each element") {
  const Double one = ones<double>({1, 1, 3, 3});
  CHECK(fold(unfold(one, 2), {3, 3}, 2).to_vector() == std::vector<double>{1, 2, 1, 2, 4, 2, 1, 2, 1});
}

TEST_CASE("unfold, fold: error texts") {
  const Double x = uniform({1, 2, 4, 5});
  CHECK(check::missing(check::error_of([&] {
                         unfold(uniform({4, 5}), 2);
                       }),
                       {"gradus: unfold: wrong number of dimensions", "float64 cpu [4, 5]", "unfold_test.cpp:"}) == "");
  CHECK(check::missing(check::error_of([&] { unfold(x, {5, 2}); }), {"the window does not fit", "axis 2 has 4 < 5"}) == "");
  CHECK(check::missing(check::error_of([&] {
                         fold(uniform({1, 8, 11}), {4, 5}, 2);
                       }),
                       {"fold: the columns do not match the image", "col.size(1) a multiple of 4 and col.size(2) == 12"}) ==
        "");
}
