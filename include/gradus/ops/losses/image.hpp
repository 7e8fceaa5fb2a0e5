// How smooth an image is, and how near it is to another one.
#pragma once
#include <cmath>
#include <vector>

#include <gradus/ops/conv.hpp>
#include <gradus/ops/create.hpp>
#include <gradus/ops/losses/common.hpp>
#include <gradus/ops/losses/regression.hpp>

namespace gradus {

/// Anisotropic total variation of x [..., H, W]: |x_ij - x_i,j-1| plus |x_ij - x_i-1,j|, each reduced on its own: the sum of
/// two means, or of two sums. Rudin, Osher, Fatemi, Physica D 60, 1992. The gradient where neighbours are equal is 0.
template <Floating T, class D>
Tensor<T, D> total_variation(const Tensor<T, D>& x, Reduction r = Reduction::mean, Where at = Where::current()) {
  if (x.rank() < 2 || x.shape()[x.rank() - 1] < 2 || x.shape()[x.rank() - 2] < 2 || r == Reduction::none)
    fail("total_variation", r == Reduction::none ? "nothing to give by element" : "not an image", {{"x", describe(x)}},
         "x [..., H, W] with H, W >= 2, and Reduction::mean or sum", at);
  const auto along = [&](int axis) {
    const int64_t n = x.size(axis) - 1;
    return detail::reduce_loss(abs(sub(narrow(x, axis, 1, n, 1, at), narrow(x, axis, 0, n, 1, at), at), at), r, at);
  };
  return add(along(-1), along(-2), at);
}

/// Peak signal-to-noise ratio in decibels of all elements together: 10 log10(range^2 / mean (x - t)^2); infinite for x = t.
template <Floating T, class D>
Tensor<T, D> psnr(const Tensor<T, D>& x, const Tensor<T, D>& t, double range = 1, Where at = Where::current()) {
  detail::check_same("psnr", "x", x, "t", t, at);
  detail::check_positive("psnr", "range", range, at);
  return detail::affine(log(mse_loss(x, t, Reduction::mean, at), at), -10 / std::log(10.0), 20 * std::log10(range), at);
}

struct SsimOptions {
  double range = 1;     ///< of the values: 1 or 255
  int64_t window = 11;  ///< extent of the Gaussian window, odd
  double sigma = 1.5;   ///< its deviation in pixels
  double k1 = 0.01, k2 = 0.03;
  Reduction reduction = Reduction::mean;  ///< none: an image of [N, C, H - window + 1, W - window + 1]
};
/// Structural similarity of images x and t [N, C, H, W], 1 for x = t. Under a Gaussian window, wherever it fits whole, with
/// means m, variances v, the covariance c, a = (k1 range)^2 and b = (k2 range)^2:
///   (2 m_x m_t + a)(2 c + b) / ((m_x^2 + m_t^2 + a)(v_x + v_t + b))
/// Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13, 2004, eq. 13.
template <Floating T, class D>
Tensor<T, D> ssim(const Tensor<T, D>& x, const Tensor<T, D>& t, const SsimOptions& o = {}, Where at = Where::current()) {
  detail::check_same("ssim", "x", x, "t", t, at);
  detail::check_positive("ssim", "range", o.range, at);
  detail::check_positive("ssim", "sigma", o.sigma, at);
  if (x.rank() != 4 || o.window < 1 || o.window % 2 == 0 || x.shape()[2] < o.window || x.shape()[3] < o.window)
    fail("ssim", "the window does not fit", {{"x", describe(x)}, {"window", std::to_string(o.window)}},
         "x [N, C, H, W] and an odd window of at most H and W", at);
  const int64_t C = x.shape()[1], n = o.window;
  std::vector<double> g;
  double total = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double d = static_cast<double>(i - n / 2) / o.sigma;
    g.push_back(std::exp(-d * d / 2)), total += g.back();
  }
  for (double& v : g) v /= total;
  const auto w = expand(to_device<D>(cast<T>(from_vector(g, {1, 1, n, 1}, at), at), at), {C, 1, n, 1}, at);
  const auto blur = [&](const Tensor<T, D>& y) {
    return conv2d(conv2d(y, w, {}, {.groups = C}, at), transpose(w, 2, 3, at), {}, {.groups = C}, at);
  };
  const double a = std::pow(o.k1 * o.range, 2), b = std::pow(o.k2 * o.range, 2);
  const auto mx = blur(x), mt = blur(t), mxt = mul(mx, mt, at), squares = add(square(mx, at), square(mt, at), at);
  const auto v = sub(blur(add(square(x, at), square(t, at), at)), squares, at), c = sub(blur(mul(x, t, at)), mxt, at);
  const auto top = mul(detail::affine(mxt, 2, a, at), detail::affine(c, 2, b, at), at);
  return detail::reduce_loss(div(top, mul(add(squares, a, at), add(v, b, at), at), at), o.reduction, at);
}

}  // namespace gradus
