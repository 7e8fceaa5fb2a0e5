#include <gradus/ops/conv.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/ops/shape.hpp>

#include "ops/recorded_case.hpp"

using namespace gradus;
using check::Double;
using check::List;
using check::uniform;

namespace {

Double run_conv(const recorded::Case& c, const List& x) {
  const bool same = c.has("padding") && c.attrs.at("padding").is_string();
  const ConvOptions o{.stride = check::axes(c, "stride"),
                      .padding = same ? PerAxis() : check::axes(c, "padding"),
                      .dilation = check::axes(c, "dilation"),
                      .groups = c.attr<int64_t>("groups", 1),
                      .same = same};
  const Double b = x.size() > 2 ? x[2] : Double();
  if (c.op == "conv1d") return conv1d(x[0], x[1], b, o);
  if (c.op == "conv2d") return conv2d(x[0], x[1], b, o);
  return conv3d(x[0], x[1], b, o);
}
Double run_transpose(const recorded::Case& c, const List& x) {
  const ConvTransposeOptions o{.stride = check::axes(c, "stride"),
                               .padding = check::axes(c, "padding"),
                               .output_padding = check::axes(c, "output_padding"),
                               .dilation = check::axes(c, "dilation"),
                               .groups = c.attr<int64_t>("groups", 1)};
  const Double b = x.size() > 2 ? x[2] : Double();
  if (c.op == "conv_transpose1d") return conv_transpose1d(x[0], x[1], b, o);
  if (c.op == "conv_transpose2d") return conv_transpose2d(x[0], x[1], b, o);
  return conv_transpose3d(x[0], x[1], b, o);
}

}  // namespace

TEST_CASE("conv: recorded outputs and gradients") {
  const auto cases = check::recorded_cases("conv.json", {"conv1d", "conv2d", "conv3d"});
  REQUIRE(cases.size() == 18);
  for (const auto& c : cases) {
    INFO(c.name);
    CHECK(check::recorded_difference(c, [&](const List& x) { return run_conv(c, x); }) == "");
  }
}

TEST_CASE("conv_transpose: recorded outputs and gradients") {
  const auto cases = check::recorded_cases("conv.json", {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"});
  REQUIRE(cases.size() == 9);
  for (const auto& c : cases) {
    INFO(c.name);
    CHECK(check::recorded_difference(c, [&](const List& x) { return run_transpose(c, x); }) == "");
  }
}

TEST_CASE("conv: first and second derivatives") {
  const Double x = uniform({2, 4, 7}), w = uniform({4, 2, 3}, -1, 1, 2), b = uniform({4}, -1, 1, 3);
  check::gradients([](const List& v) { return conv1d(v[0], v[1], v[2], {.stride = 2, .padding = 1, .groups = 2}); },
                   List{x, w, b});
  const Double image = uniform({1, 2, 5, 4}), w2 = uniform({3, 2, 2, 3}, -1, 1, 2), b2 = uniform({3}, -1, 1, 3);
  check::gradients(
      [](const List& v) {
        return conv2d(v[0], v[1], v[2], {.stride = {2, 1}, .padding = {0, 2}, .dilation = {2, 1}});
      },
      List{image, w2, b2});
  const Double volume = uniform({1, 1, 3, 3, 2}), w3 = uniform({2, 1, 2, 2, 2}, -1, 1, 2);
  check::gradients([](const List& v) { return conv3d(v[0], v[1], Double(), {.padding = {0, 1, 0}}); }, List{volume, w3});
}

TEST_CASE("conv: same padding is TensorFlow's, with any stride") {
  // Even extents with stride 2: nothing before and one behind for a kernel of 3; odd extents: one each.
  const Double w = uniform({2, 3, 3, 5}, -1, 1, 2);
  for (const int64_t H : {6, 7})
    for (const int64_t W : {6, 7}) {
      const Double x = uniform({2, 3, H, W});
      const Double padded = pad(x, {H % 2, 1 + W % 2}, {1, 2});  // 3 and 5 wide, totals 1 or 2 and 3 or 4
      const Double y = conv2d(x, w, Double(), {.stride = 2, .same = true});
      CHECK(y.shape() == Shape{2, 2, (H + 1) / 2, (W + 1) / 2});
      CHECK(check::difference(y, conv2d(padded, w, Double(), {.stride = 2})) == "");
    }
  const Double x = uniform({1, 3, 6, 5});
  CHECK(conv2d(x, w, Double(), {.stride = {3, 1}, .same = true}).shape() == Shape{1, 2, 2, 5});
  const Double narrow_kernel = uniform({2, 3, 1, 1});
  CHECK(check::difference(conv2d(x, narrow_kernel, Double(), {.stride = 2, .same = true}),
                          conv2d(x, narrow_kernel, Double(), {.stride = 2})) == "");
  check::gradients([](const List& v) { return conv2d(v[0], v[1], Double(), {.stride = 2, .same = true}); }, List{x, w});
}

TEST_CASE("conv_transpose: first and second derivatives") {
  const Double x = uniform({1, 2, 3, 2}), w = uniform({2, 2, 2, 3}, -1, 1, 2), b = uniform({2}, -1, 1, 3);
  check::gradients(
      [](const List& v) {
        return conv_transpose2d(v[0], v[1], v[2], {.stride = 2, .padding = {0, 1}, .output_padding = 1});
      },
      List{x, w, b});
}

TEST_CASE("conv: the gradient ops are each other's derivatives") {
  const Double x = uniform({2, 2, 4, 5}), w = uniform({4, 1, 2, 3}, -1, 1, 2);
  const auto dims = detail::conv_dims("conv2d", 2, x, w, {}, {.stride = 2, .padding = 1, .groups = 2}, Where::current());
  const Double dy = uniform(detail::conv_y_shape(dims), -1, 1, 3);
  check::gradients([&](const List& v) { return conv_backward_data(v[0], v[1], dims); }, List{dy, w});
  check::gradients([&](const List& v) { return conv_backward_weight(v[0], v[1], dims); }, List{x, dy});
}

TEST_CASE("conv: a third derivative") {
  const Double x = check::leaf(uniform({1, 1, 4, 4})), w = check::leaf(uniform({1, 1, 2, 2}, -1, 1, 2));
  const Double loss = sum(square(conv2d(x, w)));  // quadratic in x and in w
  const Double dx = grad(loss, x, {.create_graph = true});
  const Double dxdw = grad(sum(dx), w, {.create_graph = true});
  const Double third = grad(sum(dxdw), w, {.create_graph = true});
  const double eps = 1e-4;
  const auto second = [&](double delta) {
    const Double v = check::leaf(w);
    v.data()[1] += delta;
    const Double d = grad(sum(square(conv2d(x, v))), x, {.create_graph = true});
    return sum(grad(sum(d), v)).item();
  };
  CHECK((second(eps) - second(-eps)) / (2 * eps) == Approx(third.data()[1]).epsilon(1e-6));
}

TEST_CASE("conv: a 1x1 kernel is a matrix product, strided views are read right") {
  const Double x = uniform({2, 3, 4, 5}), w = uniform({6, 3, 1, 1}, -1, 1, 2);
  const Double y = conv2d(x, w);
  const Double product = matmul(reshape(w, {6, 3}), reshape(x, {2, 3, 20}));
  CHECK(check::difference(reshape(y, {2, 6, 20}), product) == "");
  const Double turned = transpose(uniform({2, 3, 5, 4}, -1, 1, 3), 2, 3);  // [2, 3, 4, 5], not contiguous
  CHECK(check::difference(conv2d(turned, w), conv2d(turned.contiguous(), w)) == "");
  check::gradients([](const List& v) { return conv2d(transpose(v[0], 2, 3), transpose(v[1], 0, 1)); },
                   List{uniform({1, 2, 3, 3}), uniform({2, 2, 2, 1})});
}

TEST_CASE("conv: an empty batch") {
  const Double x = check::leaf(uniform({0, 2, 4, 4})), w = check::leaf(uniform({3, 2, 3, 3})), b = check::leaf(uniform({3}));
  const Double y = conv2d(x, w, b);
  CHECK(y.shape() == Shape{0, 3, 2, 2});
  sum(y).backward();
  CHECK(x.grad().shape() == x.shape());
  CHECK(check::difference(w.grad(), zeros<double>({3, 2, 3, 3})) == "");
  CHECK(check::difference(b.grad(), zeros<double>({3})) == "");
}

TEST_CASE("conv: float agrees with double") {
  const auto x = uniform<float>({2, 8, 9, 11}), w = uniform<float>({16, 8, 3, 3}, -1, 1, 2);
  const auto y = conv2d(x, w, Tensor<float>(), {.stride = 2, .padding = 1});
  const Double exact = conv2d(x.to<double>(), w.to<double>(), Double(), {.stride = 2, .padding = 1});
  CHECK(check::difference(y.to<double>(), exact, 1e-5, 1e-5) == "");
}

TEST_CASE("conv: the backtrace names the nodes") {
  const Double x = check::leaf(uniform({1, 1, 3, 3})), w = check::leaf(uniform({1, 1, 2, 2}));
  const Double y = conv2d(x, w);
  CHECK(y.grad_fn()->name() == "ConvNode");
  const Double dx = grad(sum(y), x, {.create_graph = true});
  CHECK(dx.grad_fn()->name() == "ConvBackwardDataNode");
}

TEST_CASE("conv: error texts") {
  const Double x = uniform({1, 3, 5, 5}), w = uniform({4, 2, 3, 3});
  const auto text = [](auto f) { return check::error_of(f); };
  CHECK(check::missing(text([&] { conv2d(x, w); }),
                       {"gradus: conv2d(x, w): the channels of x and w differ", "float64 cpu [1, 3, 5, 5]",
                        "float64 cpu [4, 2, 3, 3]", "w.size(1) == x.size(1) / groups == 3, got 2", "conv_test.cpp:"}) == "");
  CHECK(check::missing(text([&] { conv1d(x, w); }),
                       {"conv1d(x, w): wrong number of dimensions", "x [N, C, L] and w [K, C/groups, k]"}) == "");
  CHECK(check::missing(text([&] {
                         conv2d(x, uniform({4, 3, 3, 3}), uniform({3}));
                       }),
                       {"bias", "float64 cpu [3]", "shape [4]"}) == "");
  CHECK(check::missing(text([&] {
                         conv2d(x, uniform({4, 3, 7, 3}), Double(), {.padding = {0, 1}});
                       }),
                       {"the kernel does not fit", "axis 2 has 5 < 7"}) == "");
  CHECK(check::missing(text([&] {
                         conv2d(x, uniform({4, 1, 3, 3}), Double(), {.groups = 2});
                       }),
                       {"divide into the groups", "groups    2"}) == "");
  CHECK(check::missing(text([&] { conv2d(x, w, Double(), {.stride = 0}); }), {"stride is out of range", "numbers >= 1"}) == "");
  CHECK(check::missing(text([&] {
                         conv2d(x, w, Double(), {.padding = {1, 1, 1}});
                       }),
                       {"padding is out of range", "[1, 1, 1]", "1 or 2 numbers"}) == "");
  CHECK(check::missing(text([&] { conv_transpose2d(x, w); }),
                       {"conv_transpose2d(x, w)", "w.size(0) == x.size(1) == 3, got 4"}) == "");
  CHECK(check::missing(text([&] {
                         conv_transpose2d(x, uniform({3, 2, 3, 3}), Double(), {.stride = 2, .output_padding = 2});
                       }),
                       {"output_padding is too large"}) == "");
  CHECK(check::missing(text([&] {
                         conv_transpose2d(x, uniform({3, 2, 1, 1}), Double(), {.padding = 3});
                       }),
                       {"the output would be empty", "gives -1"}) == "");
}
