#include <gradus/ops/interpolate.hpp>

#include "ops/recorded_case.hpp"

using namespace gradus;
using check::Double;
using check::List;
using check::uniform;

namespace {

InterpolateMode mode_of(const std::string& name) {
  if (name == "nearest") return InterpolateMode::nearest;
  if (name == "nearest-exact") return InterpolateMode::nearest_exact;
  if (name == "area") return InterpolateMode::area;
  if (name == "bicubic") return InterpolateMode::cubic;
  return InterpolateMode::linear;
}
ScaleFactor scale_of(const recorded::Case& c) {
  if (!c.has("scale_factor")) return {};
  const auto& j = c.attrs.at("scale_factor");
  return j.is_array() ? ScaleFactor(j.get<std::vector<double>>()) : ScaleFactor(j.get<double>());
}

}  // namespace

TEST_CASE("interpolate: recorded outputs and gradients") {
  const auto cases = check::recorded_cases("resample.json", {"interpolate"});
  REQUIRE(cases.size() == 35);
  for (const auto& c : cases) {
    INFO(c.name);
    const InterpolateOptions o{.size = check::axes(c, "size"),
                               .scale = scale_of(c),
                               .mode = mode_of(c.attr("mode", "nearest")),
                               .align_corners = c.attr("align_corners", false)};
    CHECK(check::recorded_difference(c, [&](const List& x) { return interpolate(x[0], o); }) == "");
  }
}

TEST_CASE("interpolate: first and second derivatives in every mode") {
  for (const auto mode : {InterpolateMode::nearest, InterpolateMode::nearest_exact, InterpolateMode::linear,
                          InterpolateMode::cubic, InterpolateMode::area}) {
    INFO(static_cast<int>(mode));
    check::gradients(
        [&](const Double& x) {
          return interpolate(mul(x, x), {.size = {5, 2}, .mode = mode});
        },
        uniform({1, 2, 3, 4}));
  }
  check::gradients(
      [](const Double& x) {
        return interpolate(mul(x, x), {.scale = 1.5, .mode = InterpolateMode::linear, .align_corners = true});
      },
      uniform({1, 1, 2, 3, 2}));
}

TEST_CASE("interpolate: the same size changes nothing, views are read right") {
  const Double x = uniform({2, 2, 3, 4});
  for (const auto mode : {InterpolateMode::nearest, InterpolateMode::linear, InterpolateMode::cubic, InterpolateMode::area})
    CHECK(check::difference(interpolate(x, {.size = {3, 4}, .mode = mode}), x, 1e-14, 1e-14) == "");
  const Double turned = transpose(x, 2, 3);
  CHECK(check::difference(interpolate(turned, {.scale = 2}), interpolate(turned.contiguous(), {.scale = 2})) == "");
}

TEST_CASE("interpolate: error texts") {
  const Double x = uniform({1, 2, 3, 4});
  CHECK(check::missing(check::error_of([&] {
                         interpolate(uniform({3, 4}), {.scale = 2});
                       }),
                       {"gradus: interpolate: wrong number of dimensions", "float64 cpu [3, 4]", "interpolate_test.cpp:"}) ==
        "");
  CHECK(check::missing(check::error_of([&] { interpolate(x, {}); }), {"neither size nor scale"}) == "");
  CHECK(check::missing(check::error_of([&] { interpolate(x, {.size = 2, .scale = 2}); }), {"both size and scale"}) == "");
  CHECK(check::missing(check::error_of([&] { interpolate(x, {.scale = 0.2}); }), {"an empty axis", "[1, 2, 0, 0]"}) == "");
  CHECK(check::missing(check::error_of([&] {
                         interpolate(x, {.scale = {2, 2, 2}});
                       }),
                       {"scale is out of range", "3 numbers"}) == "");
  CHECK(check::missing(check::error_of([&] { interpolate(x, {.size = 5, .align_corners = true}); }),
                       {"align_corners does not apply"}) == "");
}
