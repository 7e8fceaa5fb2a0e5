// Total variation, PSNR and SSIM: values by their formulas in plain loops, limits, gradients, error texts.
#include <gradus/ops/losses/image.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

namespace {
/// Equation 13 at every place of the window, sums in plain loops.
std::vector<double> ssim_by_loops(const Double& x, const Double& t, int64_t n, double sigma, double range) {
  const int64_t N = x.size(0) * x.size(1), H = x.size(2), W = x.size(3);
  const auto a = x.to_vector(), b = t.to_vector();
  std::vector<double> result;
  for (int64_t k = 0; k < N; ++k)
    for (int64_t i = 0; i + n <= H; ++i)
      for (int64_t j = 0; j + n <= W; ++j) {
        double w = 0, ma = 0, mb = 0, va = 0, vb = 0, c = 0;
        const auto each = [&](auto f) {
          for (int64_t u = 0; u < n; ++u)
            for (int64_t v = 0; v < n; ++v) {
              const double du = static_cast<double>(u - n / 2), dv = static_cast<double>(v - n / 2);
              const auto at = static_cast<std::size_t>((k * H + i + u) * W + j + v);
              f(std::exp(-(du * du + dv * dv) / (2 * sigma * sigma)), a[at], b[at]);
            }
        };
        each([&](double g, double p, double q) { w += g, ma += g * p, mb += g * q; });
        ma /= w, mb /= w;
        each([&](double g, double p, double q) {
          va += g / w * (p - ma) * (p - ma), vb += g / w * (q - mb) * (q - mb), c += g / w * (p - ma) * (q - mb);
        });
        const double k1 = std::pow(0.01 * range, 2), k2 = std::pow(0.03 * range, 2);
        result.push_back((2 * ma * mb + k1) * (2 * c + k2) / ((ma * ma + mb * mb + k1) * (va + vb + k2)));
      }
  return result;
}
}  // namespace

TEST_CASE("total variation of ramps, stripes and constants") {
  const auto ramp = add(unsqueeze(arange<double>(4), 1) * 3.0, arange<double>(5));  // x_ij = 3 i + j
  CHECK(total_variation(ramp).item() == Approx(4));
  CHECK(total_variation(ramp, Reduction::sum).item() == Approx(4 * 4 + 3 * 3 * 5));
  CHECK(total_variation(full<double>({2, 3, 4, 4}, 7)).item() == 0);
  CHECK(total_variation(expand(ramp, {2, 3, 4, 5})).item() == Approx(4));
  const auto x = check::uniform({2, 1, 4, 3});
  check::gradients([](const Double& v) { return total_variation(v); }, x);
  check::gradients([](const Double& v) { return total_variation(v, Reduction::sum); }, x);
}

TEST_CASE("PSNR: decibels of the mean square, 20 more for ten times the range") {
  const auto t = check::uniform({1, 2, 3, 3}), x = t + 0.1;
  CHECK(psnr(x, t).item() == Approx(20));
  CHECK(psnr(x * 255.0, t * 255.0, 255).item() == Approx(20));
  CHECK(psnr(x, t, 10).item() == Approx(40));
  CHECK(std::isinf(psnr(t, t).item()));
  check::gradients([](const check::List& l) { return psnr(l[0], l[1], 2); },
                   check::List{check::uniform({4}), check::uniform({4}, 0, 2, 3)});
}

TEST_CASE("SSIM is its formula, 1 for equal images, and falls with noise") {
  const auto x = check::uniform({2, 3, 8, 7}, 0, 1, 3), t = check::uniform({2, 3, 8, 7}, 0, 1, 4);
  CHECK(check::difference(ssim(x, t, {.window = 5, .reduction = Reduction::none}), {2, 3, 4, 3}, ssim_by_loops(x, t, 5, 1.5, 1),
                          1e-10, 1e-12) == "");
  CHECK(check::difference(ssim(x * 255.0, t * 255.0, {.range = 255, .window = 3, .sigma = 0.7, .reduction = Reduction::none}),
                          {2, 3, 6, 5}, ssim_by_loops(x, t, 3, 0.7, 1), 1e-8, 1e-10) == "");
  CHECK(ssim(x, x, {.window = 7}).item() == Approx(1).epsilon(1e-12));
  CHECK(ssim(x, t, {.window = 7}).item() == Approx(ssim(t, x, {.window = 7}).item()));
  const double near = ssim(x, lerp(x, t, 0.1), {.window = 7}).item(), far = ssim(x, lerp(x, t, 0.5), {.window = 7}).item();
  CHECK((near < 1 && far < near));
  check::gradients([](const check::List& l) { return ssim(l[0], l[1], {.window = 3}); },
                   check::List{check::uniform({1, 2, 4, 4}, 0, 1, 5), check::uniform({1, 2, 4, 4}, 0, 1, 6)});
}

TEST_CASE("losses of images say what they were given") {
  const auto x = zeros<double>({1, 1, 8, 8}), y = zeros<double>({1, 1, 8, 7});
  CHECK(check::missing(check::error_of([&] { ssim(x, x); }), {"ssim", "float64 cpu [1, 1, 8, 8]", "11", "at most H and W"}) ==
        "");
  CHECK(check::missing(check::error_of([&] { ssim(x, y, {.window = 3}); }), {"ssim", "shapes differ", "[1, 1, 8, 7]"}) == "");
  CHECK(check::missing(check::error_of([&] { psnr(x, x, 0); }), {"psnr", "range", "> 0"}) == "");
  CHECK(check::missing(check::error_of([&] { total_variation(zeros<double>({4})); }), {"total_variation", "float64 cpu [4]"}) ==
        "");
  CHECK(check::missing(check::error_of([&] { total_variation(x, Reduction::none); }), {"total_variation", "mean or sum"}) ==
        "");
}

#ifdef GRADUS_WITH_CUDA
TEST_CASE("losses of images on the device are the host's", "[cuda]") {
  const auto x = check::uniform({2, 3, 8, 7}, 0, 1, 3), t = check::uniform({2, 3, 8, 7}, 0, 1, 4);
  const auto dx = x.to<Cuda>().detach().requires_grad_(), dt = t.to<Cuda>();
  const auto lx = check::leaf(x);
  const auto of = [](const auto& a, const auto& b) { return total_variation(a) + psnr(a, b) + ssim(a, b, {.window = 5}); };
  const auto host = of(lx, t);
  const auto device = of(dx, dt);
  CHECK(device.item() == Approx(host.item()).epsilon(1e-12));
  CHECK(check::difference(grad(device, dx).to<Cpu>(), grad(host, lx), 1e-10, 1e-12) == "");
}
#endif
