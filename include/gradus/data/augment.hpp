// Augmentations of pictures: crop, flip, rotate, colour, erasing, RandAugment, and Mixup and CutMix for whole batches.
//
//   const std::vector<data::Transform> train = {data::random_crop(4), data::flip_horizontal(), data::cutout(8)};
//   data::augment(batch.x, train, {seed, epoch}, first);     // picture i draws from index first + i of the stream
//
// x : [B, C, H, W] in host memory, values in [0, 1] where colours are meant. A transform changes a picture in place and keeps
// its size. Results are the same for any number of threads.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include <gradus/core/parallel.hpp>
#include <gradus/data/draws.hpp>
#include <gradus/ops/create.hpp>

namespace gradus::data {

/// One picture, channel by channel, row by row.
struct Picture {
  float* data;
  int64_t C, H, W;
  float& at(int64_t c, int64_t y, int64_t x) const { return data[(c * H + y) * W + x]; }
  int64_t numel() const { return C * H * W; }
};
using Transform = std::function<void(const Picture&, Draws&)>;

enum class Edge {
  constant,  ///< `fill` outside
  reflect,   ///< without the border: c b | a b c | b a
  nearest
};

namespace detail {
inline int64_t reflected(int64_t i, int64_t n) {
  if (n == 1) return 0;
  const int64_t period = 2 * (n - 1);
  i = (i % period + period) % period;
  return i < n ? i : period - i;
}
inline float pixel(const float* plane, int64_t H, int64_t W, int64_t y, int64_t x, Edge edge, float fill) {
  if (y < 0 || y >= H || x < 0 || x >= W) {
    if (edge == Edge::constant) return fill;
    if (edge == Edge::reflect) y = reflected(y, H), x = reflected(x, W);
    else y = std::clamp<int64_t>(y, 0, H - 1), x = std::clamp<int64_t>(x, 0, W - 1);
  }
  return plane[y * W + x];
}
/// Pixel (y, x) of the result is the picture at (a x + b y + c, d x + e y + f) = (source x, source y), bilinear.
inline void warp(const Picture& p, const std::array<double, 6>& m, Edge edge, float fill) {
  std::vector<float> from(static_cast<std::size_t>(p.H * p.W));
  for (int64_t c = 0; c < p.C; ++c) {
    std::copy_n(p.data + c * p.H * p.W, p.H * p.W, from.begin());
    for (int64_t y = 0; y < p.H; ++y)
      for (int64_t x = 0; x < p.W; ++x) {
        const double dx = static_cast<double>(x), dy = static_cast<double>(y);
        const double u = m[0] * dx + m[1] * dy + m[2], v = m[3] * dx + m[4] * dy + m[5];
        const double fu = std::floor(u), fv = std::floor(v);
        const auto a = static_cast<float>(u - fu), b = static_cast<float>(v - fv);
        const auto iu = static_cast<int64_t>(fu), iv = static_cast<int64_t>(fv);
        const auto at = [&](int64_t yy, int64_t xx) { return pixel(from.data(), p.H, p.W, yy, xx, edge, fill); };
        float value = at(iv, iu);
        if (a > 0 || b > 0)
          value = (1 - b) * ((1 - a) * value + a * at(iv, iu + 1)) + b * ((1 - a) * at(iv + 1, iu) + a * at(iv + 1, iu + 1));
        p.at(c, y, x) = value;
      }
  }
}
/// The map that rotates by `degrees` (counter-clockwise on the screen), shears and shifts about the picture's middle.
inline std::array<double, 6> about_middle(const Picture& p, double a, double b, double d, double e, double shift_x, double shift_y) {
  const double mx = static_cast<double>(p.W - 1) / 2, my = static_cast<double>(p.H - 1) / 2;
  return {a, b, mx - a * mx - b * my - shift_x, d, e, my - d * mx - e * my - shift_y};
}
inline void rotate(const Picture& p, double degrees, Edge edge, float fill) {
  const double r = degrees * 3.14159265358979323846 / 180, c = std::cos(r), s = std::sin(r);
  warp(p, about_middle(p, c, -s, s, c, 0, 0), edge, fill);
}
inline float luma(const Picture& p, int64_t i) {  // of pixel i; ITU-R 601-2
  const int64_t n = p.H * p.W;
  return p.C < 3 ? p.data[i] : 0.299f * p.data[i] + 0.587f * p.data[n + i] + 0.114f * p.data[2 * n + i];
}
/// value = factor value + (1 - factor) other(channel, pixel), clamped to [0, 1].
template <class F>
void blend(const Picture& p, double factor, F other) {
  const auto f = static_cast<float>(factor);
  const int64_t n = p.H * p.W;
  for (int64_t c = 0; c < p.C; ++c)
    for (int64_t i = 0; i < n; ++i) p.data[c * n + i] = std::clamp(f * p.data[c * n + i] + (1 - f) * other(c, i), 0.0f, 1.0f);
}
inline void brightness(const Picture& p, double f) {
  blend(p, f, [](int64_t, int64_t) { return 0.0f; });
}
inline void contrast(const Picture& p, double f) {
  double sum = 0;
  for (int64_t i = 0; i < p.H * p.W; ++i) sum += luma(p, i);
  const auto mean = static_cast<float>(sum / static_cast<double>(p.H * p.W));
  blend(p, f, [=](int64_t, int64_t) { return mean; });
}
inline void saturation(const Picture& p, double f) {
  if (p.C < 3) return;
  std::vector<float> grey(static_cast<std::size_t>(p.H * p.W));
  for (std::size_t i = 0; i < grey.size(); ++i) grey[i] = luma(p, static_cast<int64_t>(i));
  blend(p, f, [&](int64_t, int64_t i) { return grey[static_cast<std::size_t>(i)]; });
}
/// Turns the colour circle by `turn` of a whole turn, in HSV.
inline void hue(const Picture& p, double turn) {
  if (p.C < 3) return;
  const int64_t n = p.H * p.W;
  for (int64_t i = 0; i < n; ++i) {
    float &r = p.data[i], &g = p.data[n + i], &b = p.data[2 * n + i];
    const float hi = std::max({r, g, b}), lo = std::min({r, g, b}), d = hi - lo;
    if (d <= 0) continue;
    double h = hi == r ? (g - b) / d : hi == g ? 2 + (b - r) / d : 4 + (r - g) / d;
    h = h / 6 + turn;
    h = 6 * (h - std::floor(h));
    const auto channel = [&](double k) {  // f(k) = hi - d max(0, min(x, 4 - x, 1)), x = (k + h) mod 6
      const double x = std::fmod(k + h, 6.0);
      return static_cast<float>(hi - d * std::max(0.0, std::min({x, 4 - x, 1.0})));
    };
    r = channel(5), g = channel(3), b = channel(1);
  }
}
inline void fill_box(const Picture& p, int64_t y0, int64_t y1, int64_t x0, int64_t x1, float value) {
  for (int64_t c = 0; c < p.C; ++c)
    for (int64_t y = std::max<int64_t>(y0, 0); y < std::min(y1, p.H); ++y)
      for (int64_t x = std::max<int64_t>(x0, 0); x < std::min(x1, p.W); ++x) p.at(c, y, x) = value;
}
inline void check_chance(const char* op, double p, Where at) {
  if (!(p >= 0 && p <= 1)) fail(op, "not a probability", {{"p", std::to_string(p)}}, "0 <= p <= 1", at);
}
inline void check_at_least(const char* op, const char* name, double v, double least, Where at) {
  if (!(v >= least)) fail(op, "an option is out of range", {{name, std::to_string(v)}}, "at least " + std::to_string(least), at);
}
}  // namespace detail

// -- one picture -------------------------------------------------------------------------------------------------------------

/// A window of the picture's size from the picture with `pad` pixels around it, at a uniform place.
inline Transform random_crop(int64_t pad, Edge edge = Edge::constant, double fill = 0, Where at = Where::current()) {
  detail::check_at_least("random_crop", "pad", static_cast<double>(pad), 0, at);
  return [=](const Picture& p, Draws& d) {
    const int64_t dy = d.below(2 * pad + 1) - pad, dx = d.below(2 * pad + 1) - pad;
    if (dy == 0 && dx == 0) return;
    const std::vector<float> from(p.data, p.data + p.numel());
    for (int64_t c = 0; c < p.C; ++c)
      for (int64_t y = 0; y < p.H; ++y)
        for (int64_t x = 0; x < p.W; ++x)
          p.at(c, y, x) = detail::pixel(from.data() + c * p.H * p.W, p.H, p.W, y + dy, x + dx, edge, static_cast<float>(fill));
  };
}
/// A window of a part of the area in [min_area, max_area] and an aspect in [min_aspect, 1 / min_aspect] (uniform in its
/// logarithm), scaled to the picture's size. Szegedy et al. 2015.
inline Transform random_resized_crop(double min_area = 0.08, double max_area = 1, double min_aspect = 0.75, Where at = Where::current()) {
  if (!(0 < min_area && min_area <= max_area && max_area <= 1 && min_aspect > 0 && min_aspect <= 1))
    fail("random_resized_crop", "options out of range",
         {{"min_area", std::to_string(min_area)}, {"max_area", std::to_string(max_area)}, {"min_aspect", std::to_string(min_aspect)}},
         "0 < min_area <= max_area <= 1, 0 < min_aspect <= 1", at);
  return [=](const Picture& p, Draws& d) {
    double w = static_cast<double>(p.W), h = static_cast<double>(p.H);
    const double whole_w = w, whole_h = h;
    for (int attempt = 0; attempt < 10; ++attempt) {
      const double area = whole_w * whole_h * d.uniform(min_area, max_area);
      const double aspect = std::exp(d.uniform(std::log(min_aspect), -std::log(min_aspect)));
      const double cw = std::sqrt(area * aspect), ch = std::sqrt(area / aspect);
      if (cw > whole_w || ch > whole_h) continue;
      w = cw, h = ch;
      break;
    }
    const double x = d.uniform(0, whole_w - w), y = d.uniform(0, whole_h - h), sx = w / whole_w, sy = h / whole_h;
    detail::warp(p, {sx, 0, x + sx / 2 - 0.5, 0, sy, y + sy / 2 - 0.5}, Edge::nearest, 0);
  };
}
inline Transform flip_horizontal(double chance = 0.5, Where at = Where::current()) {
  detail::check_chance("flip_horizontal", chance, at);
  return [=](const Picture& p, Draws& d) {
    if (!d.chance(chance)) return;
    for (int64_t row = 0; row < p.C * p.H; ++row) std::reverse(p.data + row * p.W, p.data + (row + 1) * p.W);
  };
}
inline Transform flip_vertical(double chance = 0.5, Where at = Where::current()) {
  detail::check_chance("flip_vertical", chance, at);
  return [=](const Picture& p, Draws& d) {
    if (!d.chance(chance)) return;
    for (int64_t c = 0; c < p.C; ++c)
      for (int64_t y = 0; y < p.H / 2; ++y) std::swap_ranges(&p.at(c, y, 0), &p.at(c, y, 0) + p.W, &p.at(c, p.H - 1 - y, 0));
  };
}
/// By a uniform angle in [-degrees, degrees] about the middle, bilinear.
inline Transform rotate(double degrees, Edge edge = Edge::constant, double fill = 0) {
  return [=](const Picture& p, Draws& d) { detail::rotate(p, d.uniform(-degrees, degrees), edge, static_cast<float>(fill)); };
}
/// Factors of brightness, contrast and saturation uniform in [1 - v, 1 + v] (from 0 up), hue turned by up to `hue` of a turn; in random order.
inline Transform colour_jitter(double brightness, double contrast = 0, double saturation = 0, double hue = 0, Where at = Where::current()) {
  for (const double v : {brightness, contrast, saturation}) detail::check_at_least("colour_jitter", "strength", v, 0, at);
  if (!(hue >= 0 && hue <= 0.5)) fail("colour_jitter", "an option is out of range", {{"hue", std::to_string(hue)}}, "0 <= hue <= 0.5", at);
  return [=](const Picture& p, Draws& d) {
    std::array<int, 4> order{0, 1, 2, 3};
    for (int i = 3; i > 0; --i) std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(d.below(i + 1))]);
    const auto factor = [&](double v) { return d.uniform(std::max(0.0, 1 - v), 1 + v); };
    const double b = factor(brightness), c = factor(contrast), s = factor(saturation), h = d.uniform(-hue, hue);
    for (const int k : order) {
      if (k == 0 && brightness > 0) detail::brightness(p, b);
      if (k == 1 && contrast > 0) detail::contrast(p, c);
      if (k == 2 && saturation > 0) detail::saturation(p, s);
      if (k == 3 && hue > 0) detail::hue(p, h);
    }
  };
}
/// A hole of size x size pixels around a uniform pixel, cut off at the border. DeVries & Taylor 2017.
inline Transform cutout(int64_t size, double fill = 0, Where at = Where::current()) {
  detail::check_at_least("cutout", "size", static_cast<double>(size), 1, at);
  return [=](const Picture& p, Draws& d) {
    const int64_t y = d.below(p.H) - size / 2, x = d.below(p.W) - size / 2;
    detail::fill_box(p, y, y + size, x, x + size, static_cast<float>(fill));
  };
}
/// With a chance, a box of a part of the area in [min_area, max_area] and an aspect in [min_aspect, 1 / min_aspect] is filled with
/// noise: uniform in [0, 1) by pixel. Zhong et al. 2020, algorithm 1.
inline Transform random_erasing(double chance = 0.5, double min_area = 0.02, double max_area = 0.4, double min_aspect = 0.3,
                                Where at = Where::current()) {
  detail::check_chance("random_erasing", chance, at);
  if (!(0 < min_area && min_area <= max_area && max_area <= 1 && min_aspect > 0 && min_aspect <= 1))
    fail("random_erasing", "options out of range",
         {{"min_area", std::to_string(min_area)}, {"max_area", std::to_string(max_area)}, {"min_aspect", std::to_string(min_aspect)}},
         "0 < min_area <= max_area <= 1, 0 < min_aspect <= 1", at);
  return [=](const Picture& p, Draws& d) {
    if (!d.chance(chance)) return;
    for (int attempt = 0; attempt < 100; ++attempt) {
      const double area = static_cast<double>(p.H * p.W) * d.uniform(min_area, max_area), aspect = d.uniform(min_aspect, 1 / min_aspect);
      const auto h = static_cast<int64_t>(std::lround(std::sqrt(area * aspect))), w = static_cast<int64_t>(std::lround(std::sqrt(area / aspect)));
      if (h < 1 || w < 1 || h >= p.H || w >= p.W) continue;
      const int64_t y0 = d.below(p.H - h + 1), x0 = d.below(p.W - w + 1);
      for (int64_t c = 0; c < p.C; ++c)
        for (int64_t y = y0; y < y0 + h; ++y)
          for (int64_t x = x0; x < x0 + w; ++x) p.at(c, y, x) = static_cast<float>(d.uniform());
      return;
    }
  };
}
inline Transform gaussian_noise(double deviation, Where at = Where::current()) {
  detail::check_at_least("gaussian_noise", "deviation", deviation, 0, at);
  return [=](const Picture& p, Draws& d) {
    for (int64_t i = 0; i < p.numel(); ++i) p.data[i] += static_cast<float>(deviation * d.normal());
  };
}
/// Adds sum_k a_k l_k v_k to every pixel of a colour picture: l and v are the principal values and directions of the colours of ImageNet,
/// a ~ N(0, deviation^2). Krizhevsky, Sutskever, Hinton 2012, section 4.1; grey pictures stay.
inline Transform lighting(double deviation = 0.1, Where at = Where::current()) {
  detail::check_at_least("lighting", "deviation", deviation, 0, at);
  return [=](const Picture& p, Draws& d) {
    if (p.C != 3) return;
    constexpr double l[3] = {0.2175, 0.0188, 0.0045};
    constexpr double v[3][3] = {{-0.5675, 0.7192, 0.4009}, {-0.5808, -0.0045, -0.8140}, {-0.5836, -0.6948, 0.4203}};  // [channel][k]
    double a[3];
    for (double& k : a) k = deviation * d.normal();
    for (int64_t c = 0; c < 3; ++c) {
      const auto add = static_cast<float>(a[0] * l[0] * v[c][0] + a[1] * l[1] * v[c][1] + a[2] * l[2] * v[c][2]);
      for (int64_t i = 0; i < p.H * p.W; ++i) p.data[c * p.H * p.W + i] += add;
    }
  };
}
/// (value - mean) / deviation, channel by channel; one number serves all channels.
inline Transform normalise(std::vector<double> mean, std::vector<double> deviation, Where at = Where::current()) {
  return [=](const Picture& p, Draws&) {
    const auto fits = [&](const auto& v) { return v.size() == 1 || static_cast<int64_t>(v.size()) == p.C; };
    if (!fits(mean) || !fits(deviation))
      fail("normalise", "channels do not fit", {{"channels", std::to_string(p.C)}, {"means", std::to_string(mean.size())}, {"deviations", std::to_string(deviation.size())}},
           "1 number or one for each channel", at);
    for (int64_t c = 0; c < p.C; ++c) {
      const auto k = static_cast<std::size_t>(c);
      const auto m = static_cast<float>(mean[mean.size() == 1 ? 0 : k]), s = static_cast<float>(1 / deviation[deviation.size() == 1 ? 0 : k]);
      for (int64_t i = 0; i < p.H * p.W; ++i) p.data[c * p.H * p.W + i] = (p.data[c * p.H * p.W + i] - m) * s;
    }
  };
}

/// `n` of fourteen operations, each with strength `magnitude` of 10, signs at random. Cubuk et al. 2020; ranges as theirs for
/// pictures in [0, 1]: rotate 30 degrees, shear 0.3, translate 0.45 of the width, colour factors 1 +- 0.9, solarise from 1 to 0, posterise
/// 8 to 4 bits.
inline Transform rand_augment(int n = 2, double magnitude = 9, double fill = 0.5, Where at = Where::current()) {
  detail::check_at_least("rand_augment", "n", n, 0, at);
  if (!(magnitude >= 0 && magnitude <= 10))
    fail("rand_augment", "an option is out of range", {{"magnitude", std::to_string(magnitude)}}, "0 <= magnitude <= 10", at);
  return [=](const Picture& p, Draws& d) {
    const double part = magnitude / 10;
    const auto edge_fill = static_cast<float>(fill);
    const auto affine = [&](double a, double b, double dd, double e, double tx, double ty) {
      detail::warp(p, detail::about_middle(p, a, b, dd, e, tx, ty), Edge::constant, edge_fill);
    };
    const int64_t plane = p.H * p.W;
    for (int k = 0; k < n; ++k) {
      const int64_t op = d.below(14);
      const double s = d.chance(0.5) ? part : -part;  // drawn in any case: the same number of draws for each operation
      switch (op) {
        case 0: break;  // identity
        case 1:         // autocontrast
          for (int64_t c = 0; c < p.C; ++c) {
            float* x = p.data + c * plane;
            const auto [lo, hi] = std::minmax_element(x, x + plane);
            const float low = *lo, range = *hi - *lo;
            if (range > 0)
              for (int64_t i = 0; i < plane; ++i) x[i] = (x[i] - low) / range;
          }
          break;
        case 2:  // equalise: 256 levels
          for (int64_t c = 0; c < p.C; ++c) {
            float* x = p.data + c * plane;
            std::array<int64_t, 256> count{};
            const auto level = [](float v) { return static_cast<std::size_t>(std::clamp(std::lround(v * 255), 0l, 255l)); };
            for (int64_t i = 0; i < plane; ++i) ++count[level(x[i])];
            int64_t last = 255;
            while (last > 0 && count[static_cast<std::size_t>(last)] == 0) --last;
            const int64_t step = (plane - count[static_cast<std::size_t>(last)]) / 255;
            if (step == 0) continue;
            std::array<float, 256> to{};
            int64_t before = step / 2;
            for (std::size_t l = 0; l < 256; ++l) {
              to[l] = static_cast<float>(std::min<int64_t>(before / step, 255)) / 255;
              before += count[l];
            }
            for (int64_t i = 0; i < plane; ++i) x[i] = to[level(x[i])];
          }
          break;
        case 3: detail::rotate(p, 30 * s, Edge::constant, edge_fill); break;
        case 4:  // solarise
          for (int64_t i = 0; i < p.numel(); ++i) p.data[i] = p.data[i] >= 1 - part ? 1 - p.data[i] : p.data[i];
          break;
        case 5: detail::saturation(p, 1 + 0.9 * s); break;
        case 6: {  // posterise
          const double levels = std::exp2(8 - std::floor(4 * part));
          for (int64_t i = 0; i < p.numel(); ++i)
            p.data[i] = static_cast<float>(std::floor(std::clamp<double>(p.data[i], 0, 1) * 255 / (256 / levels)) * (256 / levels) / 255);
          break;
        }
        case 7: detail::contrast(p, 1 + 0.9 * s); break;
        case 8: detail::brightness(p, 1 + 0.9 * s); break;
        case 9: {  // sharpness: against a 3 x 3 smoothing, the border as it is
          const std::vector<float> from(p.data, p.data + p.numel());
          detail::blend(p, 1 + 0.9 * s, [&](int64_t c, int64_t i) {
            const int64_t y = i / p.W, x = i % p.W;
            const float* plane_c = from.data() + c * plane;
            if (y == 0 || x == 0 || y == p.H - 1 || x == p.W - 1) return plane_c[i];
            float sum = 4 * plane_c[i];
            for (int64_t dy = -1; dy <= 1; ++dy)
              for (int64_t dx = -1; dx <= 1; ++dx) sum += plane_c[i + dy * p.W + dx];
            return sum / 13;  // weights 1, and 5 in the middle
          });
          break;
        }
        case 10: affine(1, 0.3 * s, 0, 1, 0, 0); break;
        case 11: affine(1, 0, 0.3 * s, 1, 0, 0); break;
        case 12: affine(1, 0, 0, 1, 0.45 * s * static_cast<double>(p.W), 0); break;
        default: affine(1, 0, 0, 1, 0, 0.45 * s * static_cast<double>(p.H)); break;
      }
    }
  };
}

/// Applies the transforms in order to each picture of x : [B, C, H, W], in place. Picture i draws from index[i] of the stream.
inline void augment(Tensor<float>& x, const std::vector<Transform>& transforms, RandomStream stream, const std::vector<int64_t>& index,
                    Where at = Where::current()) {
  if (x.rank() != 4 || !x.is_contiguous() || static_cast<int64_t>(index.size()) != x.shape()[0])
    fail("augment", "not a batch of pictures", {{"x", describe(x)}, {"indices", std::to_string(index.size())}},
         "contiguous [B, C, H, W] and B indices", at);
  const Shape& s = x.shape();
  const int64_t size = s[1] * s[2] * s[3];
  float* data = x.data();
  parallel_for(s[0], 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Draws d(stream, static_cast<uint64_t>(index[static_cast<std::size_t>(i)]));
      for (const auto& f : transforms) f({data + i * size, s[1], s[2], s[3]}, d);
    }
  });
  gradus::detail::mark_written(x, at);
}
/// The same for pictures first, first + 1, ... of the stream.
inline void augment(Tensor<float>& x, const std::vector<Transform>& transforms, RandomStream stream, int64_t first = 0,
                    Where at = Where::current()) {
  std::vector<int64_t> index(static_cast<std::size_t>(x.rank() > 0 ? x.shape()[0] : 0));
  for (std::size_t i = 0; i < index.size(); ++i) index[i] = first + static_cast<int64_t>(i);
  augment(x, transforms, stream, index, at);
}

// -- batches: Mixup and CutMix ---------------------------------------------------------------------------------------------------

/// What Mixup and CutMix did: picture i is mixed with partner[i], and its loss is lambda CE(t) + (1 - lambda) CE(t of its partner).
struct Mix {
  double lambda = 1;
  std::vector<int64_t> partner;
  int64_t y0 = 0, y1 = 0, x0 = 0, x1 = 0;  ///< CutMix: the box that came from the partner
};
namespace detail {
inline void check_batch(const char* op, const Tensor<float>& x, Where at) {
  if (x.rank() != 4 || !x.is_contiguous()) fail(op, "not a batch of pictures", {{"x", describe(x)}}, "contiguous [B, C, H, W]", at);
}
inline Mix draw_mix(int64_t B, double alpha, RandomStream stream, Draws& d) {
  Mix m;
  m.lambda = d.beta(alpha, alpha);
  m.partner.resize(static_cast<std::size_t>(B));
  kernels::random_permutation(Cpu{}, m.partner.data(), B, {stream.seed ^ 0x6d6978u, stream.stream});
  return m;
}
}  // namespace detail
/// x_i = lambda x_i + (1 - lambda) x_partner, lambda ~ Beta(alpha, alpha), one for the batch. Zhang et al. 2018, eq. 1.
inline Mix mixup(Tensor<float>& x, double alpha, RandomStream stream, Where at = Where::current()) {
  detail::check_batch("mixup", x, at);
  if (!(alpha > 0)) fail("mixup", "an option is out of range", {{"alpha", std::to_string(alpha)}}, "alpha > 0", at);
  Draws d(stream, 0);
  const Mix m = detail::draw_mix(x.shape()[0], alpha, stream, d);
  const int64_t size = x.shape()[0] > 0 ? x.numel() / x.shape()[0] : 0;
  const std::vector<float> from(x.data(), x.data() + x.numel());
  const auto l = static_cast<float>(m.lambda);
  float* data = x.data();
  parallel_for(x.shape()[0], 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* other = from.data() + m.partner[static_cast<std::size_t>(i)] * size;
      for (int64_t k = 0; k < size; ++k) data[i * size + k] = l * data[i * size + k] + (1 - l) * other[k];
    }
  });
  gradus::detail::mark_written(x, at);
  return m;
}
enum class CutMixBox {
  uniform,   ///< of a part 1 - lambda of the area, around a uniform pixel
  gaussian,  ///< the same around a pixel whose deviation from the middle is normal, a quarter of the side (the paper names no width)
  fixed      ///< of `size` pixels a side, around a uniform pixel
};
struct CutMixOptions {
  double alpha = 1;  ///< lambda ~ Beta(alpha, alpha)
  CutMixBox box = CutMixBox::uniform;
  int64_t size = 16;  ///< of the fixed box
};
/// What CutMix does to a batch of B pictures or maps of H x W: partners, the box, and lambda = 1 - area of the box / (H W) of the box as it
/// is after the border has cut it off: E[lambda] = 0.704 for 28 x 28 and alpha = 1, not 1/2. One box for the batch.
///   h = int(H sqrt(1 - lambda)), rows clip(cy - h/2, 0, H) to clip(cy + h/2, 0, H), whole halves: an odd side loses a pixel
inline Mix draw_cutmix(int64_t B, int64_t H, int64_t W, const CutMixOptions& o, RandomStream stream, Where at = Where::current()) {
  if (!(o.alpha > 0)) fail("cutmix", "an option is out of range", {{"alpha", std::to_string(o.alpha)}}, "alpha > 0", at);
  detail::check_at_least("cutmix", "size", static_cast<double>(o.size), 0, at);
  Draws d(stream, 0);
  Mix m = detail::draw_mix(B, o.alpha, stream, d);
  if (H < 1 || W < 1) return m.lambda = 1, m;
  const double r = std::sqrt(1 - m.lambda), rows = static_cast<double>(H), columns = static_cast<double>(W);
  const bool fixed = o.box == CutMixBox::fixed;
  const int64_t h = fixed ? o.size : static_cast<int64_t>(rows * r), w = fixed ? o.size : static_cast<int64_t>(columns * r);
  int64_t cx, cy;
  if (o.box == CutMixBox::gaussian) {
    cx = std::clamp<int64_t>(static_cast<int64_t>(std::floor(columns / 2 + columns / 4 * d.normal())), 0, W - 1);
    cy = std::clamp<int64_t>(static_cast<int64_t>(std::floor(rows / 2 + rows / 4 * d.normal())), 0, H - 1);
  } else {
    cx = d.below(W), cy = d.below(H);
  }
  m.y0 = std::clamp<int64_t>(cy - h / 2, 0, H), m.y1 = std::clamp<int64_t>(cy + h / 2, 0, H);
  m.x0 = std::clamp<int64_t>(cx - w / 2, 0, W), m.x1 = std::clamp<int64_t>(cx + w / 2, 0, W);
  m.lambda = 1 - static_cast<double>((m.y1 - m.y0) * (m.x1 - m.x0)) / static_cast<double>(H * W);
  return m;
}
/// The box of draw_cutmix from the partner's picture as it was; the rest stays. Yun et al. 2019, section 3.1.
inline Mix cutmix(Tensor<float>& x, const CutMixOptions& o, RandomStream stream, Where at = Where::current()) {
  detail::check_batch("cutmix", x, at);
  const int64_t B = x.shape()[0], C = x.shape()[1], H = x.shape()[2], W = x.shape()[3];
  Mix m = draw_cutmix(B, H, W, o, stream, at);
  const std::vector<float> from(x.data(), x.data() + x.numel());
  float* data = x.data();
  parallel_for(B, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t c = 0; c < C; ++c)
        for (int64_t y = m.y0; y < m.y1; ++y) {
          const int64_t to = ((i * C + c) * H + y) * W, other = ((m.partner[static_cast<std::size_t>(i)] * C + c) * H + y) * W;
          std::copy(from.data() + other + m.x0, from.data() + other + m.x1, data + to + m.x0);
        }
  });
  gradus::detail::mark_written(x, at);
  return m;
}
inline Mix cutmix(Tensor<float>& x, double alpha, RandomStream stream, Where at = Where::current()) {
  return cutmix(x, CutMixOptions{.alpha = alpha}, stream, at);
}
/// The targets of a mix as rows of probabilities: [B, classes].
inline Tensor<float> mixed_targets(const Tensor<int64_t>& t, const Mix& m, int64_t classes, Where at = Where::current()) {
  Tensor<float> y = zeros<float>({t.numel(), classes}, at);
  for (int64_t i = 0; i < t.numel(); ++i) {
    const int64_t a = t.data()[i], b = t.data()[m.partner[static_cast<std::size_t>(i)]];
    for (const int64_t k : {a, b})
      if (k < 0 || k >= classes)
        fail("mixed_targets", "a class is out of range", {{"class", std::to_string(k)}}, "0 to " + std::to_string(classes - 1), at);
    y.data()[i * classes + a] += static_cast<float>(m.lambda);
    y.data()[i * classes + b] += static_cast<float>(1 - m.lambda);
  }
  return y;
}

}  // namespace gradus::data
