#include <cmath>

#include <gradus/ops/grid_sample.hpp>

#include "ops/recorded_case.hpp"

using namespace gradus;
using check::Double;
using check::List;
using check::uniform;

namespace {

GridSampleOptions options_of(const recorded::Case& c) {
  const std::string mode = c.attr("mode", "bilinear"), padding = c.attr("padding_mode", "zeros");
  return {.mode = mode == "nearest"   ? SampleMode::nearest
                  : mode == "bicubic" ? SampleMode::bicubic
                                      : SampleMode::bilinear,
          .padding = padding == "border"       ? SamplePadding::border
                     : padding == "reflection" ? SamplePadding::reflection
                                               : SamplePadding::zeros,
          .align_corners = c.attr("align_corners", false)};
}

// Points whose positions in an image of n pixels stay away from the kinks at whole and half pixels.
Double points(const Shape& shape, double n, uint64_t seed) {
  Double g = uniform(shape, -1.1, 1.1, seed);
  for (int64_t i = 0; i < g.numel(); ++i) {
    const double s = ((g.data()[i] + 1) * n - 1) / 2, f = 2 * s - std::floor(2 * s);
    const double moved = (std::floor(2 * s) + 0.2 + 0.6 * f) / 2;
    g.data()[i] = (2 * moved + 1) / n - 1;
  }
  return g;
}

}  // namespace

TEST_CASE("grid_sample, affine_grid: recorded outputs and gradients") {
  const auto cases = check::recorded_cases("resample.json", {"grid_sample", "affine_grid", "affine_sample"});
  REQUIRE(cases.size() == 30);
  for (const auto& c : cases) {
    INFO(c.name);
    const auto o = options_of(c);
    CHECK(check::recorded_difference(c, [&](const List& x) {
            if (c.op == "grid_sample") return grid_sample(x[0], x[1], o);
            const Double grid = affine_grid(x[0], Shape(c.ints("size")), o.align_corners);
            return c.op == "affine_grid" ? grid : grid_sample(x[1], grid, o);
          }) == "");
  }
}

TEST_CASE("grid_sample: first and second derivatives in every mode") {
  const Double x = uniform({1, 2, 4, 4}), grid = points({1, 2, 2, 2}, 4, 2);
  for (const auto mode : {SampleMode::bilinear, SampleMode::bicubic, SampleMode::nearest})
    for (const auto padding : {SamplePadding::zeros, SamplePadding::border, SamplePadding::reflection}) {
      INFO(static_cast<int>(mode) << " " << static_cast<int>(padding));
      check::gradients([&](const List& v) { return grid_sample(v[0], v[1], {.mode = mode, .padding = padding}); },
                       List{x, grid});
    }
  const Double volume = uniform({1, 1, 4, 4, 4}), grid3 = points({1, 1, 2, 1, 3}, 4, 3);
  check::gradients([](const List& v) { return grid_sample(v[0], v[1]); }, List{volume, grid3});
  check::gradients([&](const Double& g) { return grid_sample(x, g); }, grid);  // one of the two inputs alone
  check::gradients([&](const Double& v) { return grid_sample(v, grid); }, x);
}

TEST_CASE("grid_sample: a third derivative is an error, not a wrong number") {
  const Double x = check::leaf(uniform({1, 1, 4, 4})), g = check::leaf(points({1, 1, 2, 2}, 4, 2));
  const Double first = grad(sum(grid_sample(x, g, {.mode = SampleMode::bicubic})), g, {.create_graph = true});
  const Double second = grad(sum(square(first)), g, {.create_graph = true});
  CHECK(check::missing(check::error_of([&] { grad(sum(second), g); }), {"no third derivative", "at most two derivatives"}) ==
        "");
}

TEST_CASE("affine_grid: the identity samples the image itself, derivatives") {
  const Double x = uniform({2, 3, 4, 5}), one = reshape(Double{1., 0, 0, 0, 1, 0}, {1, 2, 3});
  for (const bool corners : {false, true}) {
    const Double grid = affine_grid(expand(one, {2, 2, 3}), x.shape(), corners);
    CHECK(check::difference(grid_sample(x, grid, {.align_corners = corners}), x, 1e-12, 1e-12) == "");
  }
  check::gradients([](const Double& theta) { return affine_grid(mul(theta, theta), {1, 1, 2, 3}); }, uniform({1, 2, 3}));
}

TEST_CASE("grid_sample: an empty batch, views") {
  CHECK(grid_sample(uniform({0, 2, 4, 4}), uniform({0, 3, 5, 2})).shape() == Shape{0, 2, 3, 5});
  const Double x = transpose(uniform({1, 2, 3, 4}), 2, 3), g = permute(uniform({1, 2, 3, 2}), {0, 2, 1, 3});
  CHECK(check::difference(grid_sample(x, g), grid_sample(x.contiguous(), g.contiguous())) == "");
}

TEST_CASE("grid_sample, affine_grid: error texts") {
  const Double x = uniform({2, 3, 4, 4});
  CHECK(check::missing(check::error_of([&] {
                         grid_sample(x, uniform({2, 3, 3, 3}));
                       }),
                       {"gradus: grid_sample(x, grid): the grid does not match the images", "float64 cpu [2, 3, 3, 3]",
                        "grid.size(-1) == 2", "grid_sample_test.cpp:"}) == "");
  CHECK(check::missing(check::error_of([&] { grid_sample(x, uniform({2, 3, 2})); }), {"wrong number of dimensions"}) == "");
  CHECK(check::missing(check::error_of([&] {
                         grid_sample(uniform({1, 1, 2, 2, 2}), uniform({1, 1, 1, 1, 3}), {.mode = SampleMode::bicubic});
                       }),
                       {"bicubic sampling of a volume"}) == "");
  CHECK(check::missing(check::error_of([&] {
                         affine_grid(uniform({2, 3, 3}), x.shape());
                       }),
                       {"affine_grid: the maps do not match the images", "theta [N, 2, 3]"}) == "");
}
