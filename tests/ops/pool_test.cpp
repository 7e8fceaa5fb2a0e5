#include <limits>

#include <gradus/ops/pool.hpp>
#include <gradus/ops/shape.hpp>

#include "ops/recorded_case.hpp"

using namespace gradus;
using check::Double;
using check::List;
using check::uniform;

namespace {

Double run_pool(const recorded::Case& c, const Double& x) {
  const PerAxis kernel = check::axes(c, "kernel_size"), size = check::axes(c, "output_size");
  const MaxPoolOptions max{.stride = check::axes(c, "stride"),
                           .padding = check::axes(c, "padding"),
                           .dilation = check::axes(c, "dilation"),
                           .ceil_mode = c.attr("ceil_mode", false)};
  const AvgPoolOptions avg{.stride = max.stride,
                           .padding = max.padding,
                           .ceil_mode = max.ceil_mode,
                           .count_include_pad = c.attr("count_include_pad", true),
                           .divisor = c.attr<int64_t>("divisor_override", 0)};
  const double p = c.attr("norm_type", 2.0);
  if (c.op == "max_pool1d") return max_pool1d(x, kernel, max);
  if (c.op == "max_pool2d") return max_pool2d(x, kernel, max);
  if (c.op == "max_pool3d") return max_pool3d(x, kernel, max);
  if (c.op == "avg_pool1d") return avg_pool1d(x, kernel, avg);
  if (c.op == "avg_pool2d") return avg_pool2d(x, kernel, avg);
  if (c.op == "avg_pool3d") return avg_pool3d(x, kernel, avg);
  if (c.op == "adaptive_avg_pool1d") return adaptive_avg_pool1d(x, size);
  if (c.op == "adaptive_avg_pool2d") return adaptive_avg_pool2d(x, size);
  if (c.op == "adaptive_avg_pool3d") return adaptive_avg_pool3d(x, size);
  if (c.op == "adaptive_max_pool1d") return adaptive_max_pool1d(x, size);
  if (c.op == "adaptive_max_pool2d") return adaptive_max_pool2d(x, size);
  if (c.op == "adaptive_max_pool3d") return adaptive_max_pool3d(x, size);
  if (c.op == "lp_pool1d") return lp_pool1d(x, p, kernel, {.stride = max.stride});
  if (c.op == "lp_pool2d") return lp_pool2d(x, p, kernel, {.stride = max.stride});
  return lp_pool3d(x, p, kernel, {.stride = max.stride});
}

}  // namespace

TEST_CASE("pool: recorded outputs and gradients") {
  std::vector<std::string> ops;
  for (const char* kind : {"max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "lp_pool"})
    for (const char* d : {"1d", "2d", "3d"}) ops.push_back(std::string(kind) + d);
  const auto cases = check::recorded_cases("pool.json", ops);
  REQUIRE(cases.size() == 44);
  for (const auto& c : cases) {
    INFO(c.name);
    CHECK(check::recorded_difference(c, [&](const List& x) { return run_pool(c, x[0]); }) == "");
    if (c.outputs.size() < 2) continue;  // the positions of the maxima
    const Double x = from_vector(c.inputs[0].data, c.inputs[0].shape);
    const auto indices = c.op == "max_pool1d"   ? max_pool1d_with_indices(x, 2).second
                         : c.op == "max_pool2d" ? max_pool2d_with_indices(x, 2).second
                                                : max_pool3d_with_indices(x, 2).second;
    CHECK(check::difference(indices, c.outputs[1].shape, c.outputs[1].data) == "");
  }
}

TEST_CASE("pool: first and second derivatives") {
  const Double x = uniform({2, 2, 5, 6}), line = uniform({1, 2, 7}), volume = uniform({1, 1, 4, 3, 4});
  check::gradients([](const Double& v) { return max_pool2d(mul(v, v), 2); }, x);  // with v^2 the second derivative is not 0
  check::gradients(
      [](const Double& v) {
        return max_pool2d(mul(v, v), {3, 2}, {.stride = {1, 2}, .padding = 1, .ceil_mode = true});
      },
      x);
  check::gradients([](const Double& v) { return max_pool1d(mul(v, v), 2, {.stride = 1, .dilation = 3}); }, line);
  check::gradients([](const Double& v) { return max_pool3d(mul(v, v), 2); }, volume);
  check::gradients(
      [](const Double& v) { return avg_pool2d(mul(v, v), 3, {.stride = 2, .padding = 1, .count_include_pad = false}); }, x);
  check::gradients([](const Double& v) { return avg_pool3d(mul(v, v), 2, {.stride = 1, .padding = 1, .ceil_mode = true}); },
                   volume);
  check::gradients([](const Double& v) { return adaptive_avg_pool2d(mul(v, v), {3, 4}); }, x);
  check::gradients([](const Double& v) { return adaptive_max_pool2d(mul(v, v), {3, 4}); }, x);
  check::gradients([](const Double& v) { return lp_pool2d(v, 3, 2); }, x);
}

TEST_CASE("pool: same padding is TensorFlow's and never counts") {
  const double low = -std::numeric_limits<double>::infinity();
  for (const int64_t k : {2, 3, 5})
    for (const int64_t s : {1, 2, 3})
      for (const int64_t n : {6, 7}) {
        INFO("kernel " << k << ", stride " << s << ", extent " << n);
        const int64_t out = (n + s - 1) / s, total = std::max<int64_t>(0, (out - 1) * s + k - n);
        const Shape before{total / 2, total / 2}, after{total - total / 2, total - total / 2};
        const Double x = uniform({2, 2, n, n}), ones = full<double>({2, 2, n, n}, 1);
        const Double highest = max_pool2d(x, k, {.stride = s, .same = true});
        CHECK(highest.shape() == Shape{2, 2, out, out});
        CHECK(check::difference(highest, max_pool2d(pad(x, before, after, low), k, {.stride = s})) == "");
        const AvgPoolOptions sums{.stride = s, .divisor = 1};
        const Double counts = avg_pool2d(pad(ones, before, after), k, sums);
        CHECK(check::difference(avg_pool2d(x, k, {.stride = s, .same = true}),
                                avg_pool2d(pad(x, before, after), k, sums) / counts) == "");
      }
  const Double x = uniform({1, 2, 6, 5});
  check::gradients([](const Double& v) { return avg_pool2d(mul(v, v), 3, {.stride = 2, .same = true}); }, x);
  check::gradients([](const Double& v) { return max_pool2d(mul(v, v), 3, {.stride = 2, .same = true}); }, x);
}

TEST_CASE("pool: planes in any number of dimensions, views, an empty batch") {
  const Double x = uniform({2, 3, 4, 6});
  CHECK(check::difference(reshape(max_pool2d(reshape(x, {6, 4, 6}), 2), {2, 3, 2, 3}), max_pool2d(x, 2)) == "");
  const Double turned = transpose(uniform({2, 3, 6, 4}), 2, 3);
  CHECK(check::difference(max_pool2d(turned, 2), max_pool2d(turned.contiguous(), 2)) == "");
  CHECK(check::difference(avg_pool2d(turned, 2), avg_pool2d(turned.contiguous(), 2)) == "");
  const Double none = check::leaf(uniform({0, 3, 4, 4}));
  sum(max_pool2d(none, 2)).backward();
  CHECK(none.grad().shape() == none.shape());
}

TEST_CASE("pool: global average, and windows of -inf and zeros") {
  const Double x = uniform({2, 3, 4, 5});
  CHECK(check::difference(reshape(adaptive_avg_pool2d(x, 1), {2, 3}), mean(x, {2, 3}), 1e-14, 1e-14) == "");
  const double low = -std::numeric_limits<double>::infinity();
  const auto [y, index] = max_pool1d_with_indices(Double{{low, low, 1, low}}, 2);
  CHECK(y.to_vector() == std::vector<double>{low, 1});
  CHECK(index.to_vector() == std::vector<int64_t>{0, 2});
  const Double zero = check::leaf(zeros<double>({1, 1, 4}));
  sum(lp_pool1d(zero, 2, 2)).backward();
  CHECK(check::difference(zero.grad(), zeros<double>({1, 1, 4})) == "");
}

TEST_CASE("pool: bf16 and half keep the values") {
  const Double x = uniform({1, 2, 6, 6});
  const auto b = x.to<bf16>();
  CHECK(check::difference(max_pool2d(b, 2).to<double>(), max_pool2d(b.to<double>(), 2)) == "");
  CHECK(check::difference(avg_pool2d(x.to<half>(), 2).to<double>(), avg_pool2d(x, 2), 2e-3, 2e-3) == "");
}

TEST_CASE("pool: error texts") {
  const Double x = uniform({1, 2, 5, 6});
  CHECK(check::missing(check::error_of([&] {
                         max_pool2d(uniform({5, 6}), 2);
                       }),
                       {"gradus: max_pool2d: too few dimensions", "float64 cpu [5, 6]", "x [N, C, H, W] or [C, H, W]",
                        "pool_test.cpp:"}) == "");
  CHECK(check::missing(check::error_of([&] { max_pool2d(x, {6, 2}); }), {"the window does not fit", "axis 2 has 5 < 6"}) == "");
  CHECK(check::missing(check::error_of([&] { max_pool2d(x, 2, {.padding = 2}); }),
                       {"a window lies outside of the input", "at most half the kernel"}) == "");
  CHECK(check::missing(check::error_of([&] {
                         avg_pool2d(x, {2, 2, 2});
                       }),
                       {"avg_pool2d: kernel is out of range", "[2, 2, 2]", "1 or 2 numbers >= 1"}) == "");
  CHECK(check::missing(check::error_of([&] { adaptive_avg_pool2d(x, {0, 1}); }), {"output size is out of range"}) == "");
  CHECK(check::missing(check::error_of([&] { lp_pool2d(x, 0, 2); }), {"lp_pool2d: not a norm", "p > 0"}) == "");
}
