// Convolution layers: transposed, separable, windows.
#include <gradus/nn/conv.hpp>
#include <gradus/ops/index.hpp>

#include "support/check.hpp"

using namespace gradus;

TEST_CASE("a transposed convolution is the adjoint of a convolution") {
  manual_seed(1);
  nn::ConvTranspose2d<double> up(3, 4, {3, 2}, {.stride = 2, .padding = 1, .output_padding = {1, 0}, .groups = 1}, false);
  const auto x = check::uniform({2, 3, 4, 5});
  const auto y = up(x);
  CHECK(y.shape() == Shape{2, 4, 8, 8});
  const auto z = check::uniform(y.shape(), -1, 1, 2);  // <up(x), z> == <x, conv(z)>
  const auto back = conv2d(z, up.weight, {}, {.stride = 2, .padding = 1});
  CHECK(sum(y * z).item() == Approx(sum(x * back).item()));
  nn::ConvTranspose1d<double> grouped(4, 6, 3, {.groups = 2});
  CHECK(grouped.weight.shape() == Shape{4, 3, 3});
  CHECK(grouped.about() == "4 -> 6, 3");
  CHECK(grouped(check::uniform({1, 4, 5})).shape() == Shape{1, 6, 7});
  CHECK(nn::ConvTranspose3d<double>(2, 1, 2)(check::uniform({1, 2, 2, 2, 2})).shape() == Shape{1, 1, 3, 3, 3});
  CHECK(check::missing(check::error_of([] { nn::ConvTranspose2d<double>(3, 4, 3, {.groups = 2}); }),
                       {"ConvTranspose2d", "multiples of groups"}) == "");
}

TEST_CASE("depthwise separable convolution has few parameters") {
  nn::DepthwiseSeparable<double> layer(8, 16, 3, {.padding = 1});
  CHECK(nn::parameter_count(layer) == 8 * 9 + 8 + 8 * 16 + 16);
  const auto x = check::uniform({2, 8, 5, 5}), y = layer(x);
  CHECK(y.shape() == Shape{2, 16, 5, 5});
  auto changed = x.clone();
  changed(all, 0, all, all) = 0;  // the first stage keeps channels apart
  const auto a = layer.depthwise(x), b = layer.depthwise(changed);
  CHECK(check::difference(narrow(a, 1, 1, 7), narrow(b, 1, 1, 7)) == "");
}

TEST_CASE("windows as columns, and back") {
  const auto x = check::uniform({1, 2, 4, 4});
  const auto col = nn::Unfold(2, {.stride = 2})(x);
  CHECK(col.shape() == Shape{1, 8, 4});
  CHECK(check::difference(nn::Fold({4, 4}, 2, {.stride = 2})(col), x) == "");
  CHECK(check::contains(check::error_of([] { nn::Unfold(3)(check::uniform({2, 2})); }), "unfold"));
}
