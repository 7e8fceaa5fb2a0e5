// Pooling, resizing and sampling at points.
#include <gradus.hpp>

#include "support/cuda.hpp"

using namespace gradus;
using check::Double;
using check::List;
using check::on_both;
using check::uniform;

TEST_CASE("pooling") {
  const List x{uniform({2, 3, 7, 6})};
  CHECK(on_both([](const auto& v) { return max_pool2d(v[0], 2); }, x) == "");
  CHECK(on_both(
            [](const auto& v) {
              return max_pool2d(v[0], {3, 2}, {.stride = {2, 1}, .padding = 1, .dilation = {1, 2}});
            },
            x) == "");
  CHECK(on_both([](const auto& v) { return max_pool2d(v[0], 3, {.stride = 2, .ceil_mode = true}); }, x) == "");
  CHECK(on_both([](const auto& v) { return adaptive_max_pool2d(v[0], {3, 4}); }, x) == "");
  CHECK(on_both([](const auto& v) { return adaptive_max_pool2d(v[0], {9, 6}); }, x) == "");      // larger than the input
  CHECK(on_both([](const auto& v) { return avg_pool2d(v[0], 2); }, x) == "");
  CHECK(on_both(
            [](const auto& v) {
              return avg_pool2d(v[0], {3, 2}, {.stride = 2, .padding = 1, .ceil_mode = true});
            },
            x) == "");
  CHECK(on_both([](const auto& v) { return avg_pool2d(v[0], 3, {.stride = 1, .padding = 1, .count_include_pad = false}); },
                x) == "");
  CHECK(on_both([](const auto& v) { return avg_pool2d(v[0], 2, {.divisor = 3}); }, x) == "");
  CHECK(on_both([](const auto& v) { return avg_pool2d(v[0], 3, {.stride = 2, .same = true}); }, x) == "");
  CHECK(on_both([](const auto& v) { return max_pool2d(v[0], 5, {.stride = 2, .same = true}); }, x) == "");
  CHECK(on_both([](const auto& v) { return adaptive_avg_pool2d(v[0], {3, 4}); }, x) == "");
  CHECK(on_both([](const auto& v) { return max_pool3d(v[0], 2); }, List{uniform({1, 2, 4, 5, 4})}) == "");
  auto nan = uniform<float>({1, 1, 4, 4});
  nan.data()[5] = std::nanf("");
  const auto [y, at] = max_pool1d_with_indices(nan.reshape({1, 16}).to<Cuda>(), 4);
  const auto [z, where_] = max_pool1d_with_indices(nan.reshape({1, 16}), 4);
  CHECK(check::unequal(y, z) == "");
  CHECK(check::unequal(at, where_) == "");
}

TEST_CASE("resizing in every mode") {
  const List x{uniform({2, 2, 5, 6})};
  for (const auto mode : {InterpolateMode::nearest, InterpolateMode::nearest_exact, InterpolateMode::linear,
                          InterpolateMode::cubic, InterpolateMode::area}) {
    INFO(static_cast<int>(mode));
    CHECK(on_both([mode](const auto& v) { return interpolate(v[0], {.size = {8, 4}, .mode = mode}); }, x) == "");
  }
  CHECK(on_both(
            [](const auto& v) {
              return interpolate(v[0], {.scale = 1.7, .mode = InterpolateMode::linear, .align_corners = true});
            },
            x) == "");
  const auto f = uniform<float>({1, 3, 5, 5});
  CHECK(check::unequal(interpolate(f.to<Cuda>(), {.size = {9, 7}}), interpolate(f, {.size = {9, 7}})) == "");
}

TEST_CASE("sampling at points: every mode, both scatters") {
  const Double x = uniform({2, 3, 4, 5}), grid = uniform({2, 3, 4, 2}, -1.3, 1.3, 2);
  for (const auto& variant : kernel_variants("grid_sample_bwd")) {
    const KernelScope scope("grid_sample_bwd", variant);
    for (const auto mode : {SampleMode::bilinear, SampleMode::bicubic, SampleMode::nearest})
      for (const auto padding : {SamplePadding::zeros, SamplePadding::border, SamplePadding::reflection}) {
        INFO(variant << " " << static_cast<int>(mode) << " " << static_cast<int>(padding));
        CHECK(on_both([=](const auto& v) { return grid_sample(v[0], v[1], {.mode = mode, .padding = padding}); },
                      List{x, grid}) == "");
      }
    CHECK(on_both([](const auto& v) { return grid_sample(v[0], v[1]); },
                  List{uniform({1, 2, 3, 3, 4}), uniform({1, 2, 2, 2, 3}, -1, 1, 2)}) == "");
    // An infinity in dy reaches the pixels around its point, and no other.
    const auto run = [&]<class D>(D) {
      auto a = x.to<D>().detach().requires_grad_();
      const auto y = grid_sample(a, grid.to<D>());
      auto dy = ones<double, D>(y.shape());
      dy(0, 0, 0, 0) = INFINITY;
      y.backward(dy);
      return a.grad();
    };
    CHECK(check::unequal(run(Cuda{}), run(Cpu{})) == "");
  }
  CHECK(on_both([](const auto& v) { return affine_grid(v[0], {2, 1, 3, 4}); }, List{uniform({2, 2, 3})}) == "");
}

TEST_CASE("a box pasted into feature maps") {
  const List x{uniform({2, 3, 7, 6}), uniform({2, 3, 7, 6}, -1, 1, 2)};
  CHECK(on_both([](const auto& v) { return square(paste_box(v[0], v[1], 2, 5, 0, 4)); }, x) == "");
  CHECK(check::unequal(paste_box(x[0].to<Cuda>(), x[1].to<Cuda>(), 2, 5, 0, 4), paste_box(x[0], x[1], 2, 5, 0, 4)) == "");
}
