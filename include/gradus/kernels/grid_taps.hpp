// The stencil of grid_sample.hpp along one axis, for every device.
#pragma once
#include <cmath>
#include <cstdint>

#include <gradus/kernels/grid_sample.hpp>

namespace gradus::kernels::detail {

/// The taps along one axis at one coordinate: pixel (-1 outside), weight, and its derivatives with respect to g.
template <class T>
struct GridAxisTaps {
  int n = 1;
  int64_t index[4] = {0, 0, 0, 0};
  T w[4] = {1, 0, 0, 0}, dw[4] = {0, 0, 0, 0}, d2w[4] = {0, 0, 0, 0};
};

/// Mirrors s into [low, high]; slope is multiplied by the derivative, 1 or -1.
template <class T>
GRADUS_HD T grid_reflect(T s, T low, T high, T& slope) {
  const T span = high - low;
  if (!(span > 0)) return slope = 0, T(0);
  s -= low;
  if (s < 0) s = -s, slope = -slope;
  const T rest = std::fmod(s, span), flips = std::floor(s / span);
  if (std::fmod(flips, T(2)) == 0) return rest + low;
  slope = -slope;
  return span - rest + low;
}
/// Applies border or reflection to position s on an axis of n pixels; slope is multiplied by the derivative.
template <class T>
GRADUS_HD T grid_pad(T s, int64_t n, SamplePadding padding, bool align, T& slope) {
  if (padding == SamplePadding::zeros) return s;
  const T last = static_cast<T>(n - 1);
  if (padding == SamplePadding::reflection)
    s = align ? grid_reflect(s, T(0), last, slope) : grid_reflect(s, T(-0.5), static_cast<T>(n) - T(0.5), slope);
  if (!(s > 0)) return slope = 0, T(0);
  if (s >= last) return slope = 0, last;
  return s;
}
/// To a position that converts to an integer.
template <class T>
GRADUS_HD T grid_safe(T s) {
  return std::fabs(s) < T(1e9) ? s : T(-100);
}

template <class T>
GRADUS_HD GridAxisTaps<T> grid_axis(T g, int64_t n, const GridSampleDims& d) {
  GridAxisTaps<T> t;
  const bool align = d.align_corners;
  T slope = static_cast<T>(align ? n - 1 : n) / 2;  // ds/dg
  const T s0 = align ? (g + 1) / 2 * static_cast<T>(n - 1) : ((g + 1) * static_cast<T>(n) - 1) / 2;
  const auto inside = [&](int64_t i) { return i >= 0 && i < n ? i : int64_t{-1}; };
  if (d.mode == SampleMode::bicubic) {
    const T s = grid_safe(s0), left = std::floor(s), f = s - left, A = T(-0.75);
    t.n = 4;
    const T u[4] = {f + 1, f, 1 - f, 2 - f};  // distances to the taps
    for (int k = 0; k < 4; ++k) {
      const bool near = k == 1 || k == 2;  // Keys: (A+2)u^3 - (A+3)u^2 + 1 within 1, Au^3 - 5Au^2 + 8Au - 4A within 2
      const T c3 = near ? A + 2 : A, c2 = near ? -(A + 3) : -5 * A, c1 = near ? T(0) : 8 * A, c0 = near ? T(1) : -4 * A;
      const T sign = k < 2 ? slope : -slope;  // du/dg
      t.w[k] = ((c3 * u[k] + c2) * u[k] + c1) * u[k] + c0;
      t.dw[k] = sign * ((3 * c3 * u[k] + 2 * c2) * u[k] + c1);
      t.d2w[k] = slope * slope * (6 * c3 * u[k] + 2 * c2);
      T unused = 1;
      t.index[k] = inside(static_cast<int64_t>(grid_safe(grid_pad(left + static_cast<T>(k - 1), n, d.padding, align, unused))));
    }
    return t;
  }
  const T s = grid_safe(grid_pad(s0, n, d.padding, align, slope));
  if (d.mode == SampleMode::nearest) {
    t.index[0] = inside(static_cast<int64_t>(std::nearbyint(s)));
    return t;
  }
  const T left = std::floor(s), f = s - left;
  t.n = 2;
  t.index[0] = inside(static_cast<int64_t>(left)), t.index[1] = inside(static_cast<int64_t>(left) + 1);
  t.w[0] = 1 - f, t.w[1] = f;
  t.dw[0] = -slope, t.dw[1] = slope;
  return t;
}

}  // namespace gradus::kernels::detail
