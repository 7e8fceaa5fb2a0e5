// Regions of images and feature maps: x [N, C, spatial...].
#pragma once
#include <gradus/nn/dropout/modes.hpp>
#include <gradus/ops/pool.hpp>
#include <gradus/ops/shape.hpp>

namespace gradus::nn {

/// Factors of DropBlock: 0 in squares (intervals, cubes) of side b, elsewhere elements / kept elements.
struct BlockFactor {
  double p = 0.1;
  int64_t block = 7;
  int spatial = 2;
  bool same_for_channels = false;

  /// The rate at which block corners are drawn, Ghiasi et al., eq. 1: gamma = p / b^d prod_i n_i / (n_i - b + 1), at most 1.
  double gamma(const Shape& shape) const {
    double g = p;
    for (int i = shape.n - spatial; i < shape.n; ++i) {
      const double n = static_cast<double>(shape[i]), b = static_cast<double>(block_in(shape));
      g *= n / (b * (n - b + 1));
    }
    return std::min(g, 1.0);
  }
  /// The block's side, at most the smallest extent.
  int64_t block_in(const Shape& shape) const {
    int64_t b = block;
    for (int i = shape.n - spatial; i < shape.n; ++i) b = std::min(b, shape[i]);
    return b;
  }
  template <class T, class D>
  Tensor<T, D> factor(const Shape& shape, RandomStream s, Where at) const {
    using A = compute_t<T>;
    const int64_t b = block_in(shape);
    Shape corners = shape, before;
    for (int i = shape.n - spatial; i < shape.n; ++i) corners[i] -= b - 1, before.push_back(b - 1);
    const Shape shared = same_for_channels && shape.n > spatial ? Shape{shape.n - spatial - 1} : Shape{};
    const auto seeds = cast<A>(logical_not(keep<D>(s, corners, shared, gamma(shape), at), at), at);
    const auto padded = pad(seeds, before, before, 0, at);  // a corner c covers c ... c + b - 1
    const MaxPoolOptions once{.stride = 1};
    const auto hit = spatial == 1   ? max_pool1d(padded, b, once, at)
                     : spatial == 2 ? max_pool2d(padded, b, once, at)
                                    : max_pool3d(padded, b, once, at);
    const auto m = sub(1.0, hit, at), kept = sum(m, {}, false, at);
    return cast<T>(mul(m, div(static_cast<double>(m.numel()), where(equal(kept, 0, at), 1.0, kept, at), at), at), at);
  }
};

/// Ghiasi, Lin, Le, "DropBlock", NeurIPS 2018: contiguous regions of side `block`, about a share p of each map; what is kept is
/// scaled by elements / kept elements, counted in the batch. Their schedule raises p linearly: set_dropout(net, linear_rate(0,
/// p, t, T)).
template <int n>
struct DropBlock : DropLayer<DropBlock<n>> {
  int64_t block = 7;
  bool same_for_channels = false;  ///< one mask for all channels of a sample
  explicit DropBlock(double p = 0.1, int64_t block = 7, Where at = Where::current())
      : DropLayer<DropBlock<n>>("DropBlock", p, at), block(block) {
    if (block < 1) fail("DropBlock", "no block", {{"block", std::to_string(block)}}, "a side of at least 1", at);
  }
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (x.rank() != n + 2)
      fail("DropBlock", "not feature maps", {{"x", describe(x)}}, "x [N, C, " + std::to_string(n) + " spatial axes]", at);
    return this->active() && this->p > 0 ? noise(x, BlockFactor{this->p, block, n, same_for_channels}, at) : x;
  }
  std::string module_type() const { return "DropBlock" + std::to_string(n) + "d"; }
  std::string about() const { return Dropping::about() + ", block " + std::to_string(block); }
};
using DropBlock1d = DropBlock<1>;
using DropBlock2d = DropBlock<2>;
using DropBlock3d = DropBlock<3>;

namespace detail {
/// True inside a rectangle a sample of [N, 1, H, W]: rows [top, top + h), columns [left, left + w), each [N, 1, 1, 1].
template <class D>
Tensor<bool, D> inside(const Shape& shape, const Tensor<double, D>& top, const Tensor<double, D>& left,
                       const Tensor<double, D>& h, const Tensor<double, D>& w, Where at) {
  const auto y = gradus::reshape(arange<double, D>(static_cast<double>(shape[2]), at), {1, 1, shape[2], 1}, at);
  const auto x = gradus::reshape(arange<double, D>(static_cast<double>(shape[3]), at), {1, 1, 1, shape[3]}, at);
  return logical_and(logical_and(greater_equal(y, top, at), less(y, add(top, h, at), at), at),
                     logical_and(greater_equal(x, left, at), less(x, add(left, w, at), at), at), at);
}
}  // namespace detail

/// A square of side `side` of each image x [N, C, H, W] becomes `fill`; its centre is any pixel, so that it may stick out. With
/// probability 1 - p an image is left alone. DeVries & Taylor, "Improved regularization of convolutional neural networks with
/// cutout", 2017.
struct Cutout : DropLayer<Cutout> {
  int64_t side = 16;
  double fill = 0;
  explicit Cutout(int64_t side, double p = 1, Where at = Where::current()) : DropLayer("Cutout", p, at), side(side) {
    if (side < 1) fail("Cutout", "no square", {{"side", std::to_string(side)}}, "a side of at least 1", at);
  }
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (x.rank() != 4) fail("Cutout", "not images", {{"x", describe(x)}}, "x [N, C, H, W]", at);
    if (!training) return x;
    const auto cut = no_grad([&] {
      const Shape one{x.shape()[0], 1, 1, 1};
      const auto place = [&](int64_t extent) {
        return add(floor(mul(rand<double, D>(one, at), static_cast<double>(extent), at), at), -static_cast<double>(side / 2),
                   at);
      };
      const auto top = place(x.shape()[2]), left = place(x.shape()[3]),
                 length = full<double, D>(one, static_cast<double>(side), at);
      const auto square = detail::inside(x.shape(), top, left, length, length, at);
      return p < 1 ? logical_and(square, logical_not(keep<D>(generator().draw(), one, Shape{}, p, at), at), at) : square;
    });
    return where(cut, fill, x, at);
  }
};

/// A rectangle of each image, with probability p: area a share of the image uniform in [area_lo, area_hi), ratio of sides
/// log-uniform in [aspect_lo, 1 / aspect_lo), inside the image; filled with standard normal noise, or `fill`. A rectangle that
/// does not fit is cut to the image. Zhong, Zheng, Kang, Li, Yang, "Random erasing data augmentation", AAAI 2020.
struct RandomErasing : DropLayer<RandomErasing> {
  double area_lo = 0.02, area_hi = 0.4, aspect_lo = 0.3, fill = 0;
  bool noise_fill = true;
  explicit RandomErasing(double p = 0.5, Where at = Where::current()) : DropLayer("RandomErasing", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (x.rank() != 4) fail("RandomErasing", "not images", {{"x", describe(x)}}, "x [N, C, H, W]", at);
    if (!training || p == 0) return x;
    const double H = static_cast<double>(x.shape()[2]), W = static_cast<double>(x.shape()[3]);
    const auto cut = no_grad([&] {
      const Shape one{x.shape()[0], 1, 1, 1};
      const auto u = [&](double lo, double hi) { return uniform<double, D>(one, lo, hi, at); };
      const auto area = mul(u(area_lo, area_hi), H * W, at), aspect = exp(u(std::log(aspect_lo), -std::log(aspect_lo)), at);
      const auto h = clamp(round(sqrt(mul(area, aspect, at), at), at), 1, H, at),
                 w = clamp(round(sqrt(div(area, aspect, at), at), at), 1, W, at);
      const auto top = floor(mul(u(0, 1), sub(H + 1, h, at), at), at), left = floor(mul(u(0, 1), sub(W + 1, w, at), at), at);
      return logical_and(detail::inside(x.shape(), top, left, h, w, at),
                         logical_not(keep<D>(generator().draw(), one, Shape{}, p, at), at), at);
    });
    return noise_fill ? where(cut, randn<T, D>(x.shape(), at), x, at) : where(cut, fill, x, at);
  }
};

}  // namespace gradus::nn
