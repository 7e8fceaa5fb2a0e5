// Scalar functions for kernels and for map(): m::exp(x), m::tanh(x), ...
//
// The float versions are branch-free, so that g++ turns a loop over them into vector code, and the same lines run
// in a CUDA kernel. Errors in units in the last place against float64, measured by tests/core/math_test.cpp.
// The double versions call <cmath>. Everything treats NaN and infinities as <cmath> does.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <gradus/core/config.hpp>
#include <gradus/core/dtype.hpp>

namespace gradus::m {

inline constexpr double kPi = 3.14159265358979323846;

namespace detail {
/// Nearest integer of |x| < 2^22, as a float: adding 1.5 * 2^23 pushes the fraction out of the mantissa.
GRADUS_HD inline float round_small(float x) { return (x + 12582912.0f) - 12582912.0f; }
/// 2^n for integer-valued n in [-252, 254]; two factors, so that subnormal results and overflow come out right.
GRADUS_HD inline float times_two_to(float y, float n) {
  const int32_t k = static_cast<int32_t>(n), h = k >> 1;
  return y * std::bit_cast<float>((h + 127) << 23) * std::bit_cast<float>((k - h + 127) << 23);
}
/// e^r - 1 - r for |r| <= ln(2)/2: r^2 times a degree-5 polynomial.
GRADUS_HD inline float exp_tail(float r) {
  float p = 1.9841270e-4f;
  p = p * r + 1.3888889e-3f;
  p = p * r + 8.3333333e-3f;
  p = p * r + 4.1666667e-2f;
  p = p * r + 1.6666667e-1f;
  p = p * r + 0.5f;
  return p * r * r;
}
}  // namespace detail

GRADUS_HD inline double exp(double x) { return std::exp(x); }
GRADUS_HD inline float exp(float x) {
  x = x < -105.0f ? -105.0f : x;                                  // below: 0; NaN passes both comparisons
  x = x > 89.0f ? 89.0f : x;                                      // above: infinity
  const float n = detail::round_small(x * 1.44269504f);
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;   // ln 2 in two parts
  return detail::times_two_to(1.0f + (r + detail::exp_tail(r)), n);
}

GRADUS_HD inline double expm1(double x) { return std::expm1(x); }
GRADUS_HD inline float expm1(float x) {
  const float big = x > 89.0f ? std::numeric_limits<float>::infinity() : 0.0f;
  float c = x < -17.5f ? -17.5f : x;
  c = c > 88.0f ? 88.0f : c;
  const float n = detail::round_small(c * 1.44269504f);
  const float r = (c - n * 0.693359375f) - n * -2.12194440e-4f;
  const float s = std::bit_cast<float>((static_cast<int32_t>(n) + 126) << 23);  // 2^(n-1), within range up to n = 127
  const float y = 2.0f * (s * (r + detail::exp_tail(r)) + (s - 0.5f));
  const float over = x > 88.0f ? exp(x) : y;
  return x == 0.0f ? x : over + big;
}

GRADUS_HD inline double log(double x) { return std::log(x); }
GRADUS_HD inline float log(float x) {
  // x = 2^e m with m in [sqrt(1/2), sqrt(2)); log m = f - f^2/2 + s (f^2/2 + R(s^2)), s = f/(2+f).
  const bool tiny = x < std::numeric_limits<float>::min();
  const float scaled = tiny ? x * 0x1p23f : x;
  const int32_t bits = std::bit_cast<int32_t>(scaled);
  const int32_t e = (bits - 0x3f3504f3) >> 23;
  const float f = std::bit_cast<float>(bits - (e << 23)) - 1.0f, k = static_cast<float>(e) - (tiny ? 23.0f : 0.0f);
  const float s = f / (2.0f + f), z = s * s, h = 0.5f * f * f;
  const float R = z * (0.66666667f + z * (0.4f + z * (0.28571429f + z * 0.24f)));
  float y = k * 0.693359375f + (f - (h - (s * (h + R) + k * -2.12194440e-4f)));
  y = x == std::numeric_limits<float>::infinity() ? x : y;
  y = x == 0.0f ? -std::numeric_limits<float>::infinity() : y;
  return x >= 0.0f ? y : std::numeric_limits<float>::quiet_NaN();
}

GRADUS_HD inline double log1p(double x) { return std::log1p(x); }
GRADUS_HD inline float log1p(float x) {
  const float u = 1.0f + x;                                       // Kahan: log(u) x / (u - 1) repairs the rounding of 1 + x
  const float y = log(u) * (x / (u - 1.0f));
  return u == 1.0f ? x : (u < std::numeric_limits<float>::infinity() ? (x == -1.0f ? log(0.0f) : y) : log(u));
}

GRADUS_HD inline double tanh(double x) { return std::tanh(x); }
GRADUS_HD inline float tanh(float x) {
  const float a = std::fabs(x), c = a > 10.0f ? 10.0f : a, e = expm1(2.0f * c);
  const float y = e / (e + 2.0f);
  return a == a ? std::copysign(y, x) : x;
}

GRADUS_HD inline double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
GRADUS_HD inline float sigmoid(float x) { return 1.0f / (1.0f + exp(-x)); }

GRADUS_HD inline double erf(double x) { return std::erf(x); }
GRADUS_HD inline float erf(float x) {
  // |x| < 1: x P(x^2). Else 1 - e^{-x^2} Q(t), t = 2/(2+|x|). Both least-maximum fits, relative error 2e-9 in real arithmetic.
  const float a = std::fabs(x), z = x * x;
  float p = 7.85385770e-05f;
  p = p * z - 8.01019252e-04f;
  p = p * z + 5.18832756e-03f;
  p = p * z - 2.68538119e-02f;
  p = p * z + 1.12835851e-01f;
  p = p * z - 3.76126258e-01f;
  p = p * z + 1.12837917e+00f;
  const float b = a > 4.3f ? 4.3f : a, t = 2.0f / (2.0f + b);
  float q = 0.023807232900226117f;
  q = q * t + 0.02510411794561658f;
  q = q * t - 0.3093703816314261f;
  q = q * t + 0.40585362531260405f;
  q = q * t - 0.00874544351972864f;
  q = q * t + 0.3115327034070571f;
  q = q * t + 0.2682792900998605f;
  q = q * t + 0.2837595742015241f;
  q = q * t - 8.706747745484966e-05f;
  const float large = 1.0f - exp(-b * b) * q;
  return a < 1.0f ? x * p : (a == a ? std::copysign(large, x) : x);
}
GRADUS_HD inline double erfc(double x) { return std::erfc(x); }
GRADUS_HD inline float erfc(float x) { return static_cast<float>(std::erfc(static_cast<double>(x))); }

namespace detail {
/// x - (pi/2) n and n for |x| < 2^31, in double.
struct Quadrant {
  double r;
  int64_t n;
};
GRADUS_HD inline Quadrant quadrant(float x) {
  const double d = static_cast<double>(x), n = (d * 0.63661977236758134308 + 6755399441055744.0) - 6755399441055744.0;
  return {(d - n * 1.57079632673412561417) - n * 6.07710050650619224932e-11, static_cast<int64_t>(n)};
}
GRADUS_HD inline double sin_kernel(double r) {
  const double z = r * r;
  return r + r * z * (-1.0 / 6 + z * (1.0 / 120 + z * (-1.0 / 5040 + z * (1.0 / 362880 + z * (-1.0 / 39916800)))));
}
GRADUS_HD inline double cos_kernel(double r) {
  const double z = r * r;
  return 1 + z * (-0.5 + z * (1.0 / 24 + z * (-1.0 / 720 + z * (1.0 / 40320 + z * (-1.0 / 3628800 + z * (1.0 / 479001600))))));
}
GRADUS_HD inline float sin_of(Quadrant q, int64_t shift) {
  const int64_t n = q.n + shift;
  const double y = (n & 1) ? cos_kernel(q.r) : sin_kernel(q.r);
  return static_cast<float>((n & 2) ? -y : y);
}
}  // namespace detail
GRADUS_HD inline double sin(double x) { return std::sin(x); }
GRADUS_HD inline double cos(double x) { return std::cos(x); }
GRADUS_HD inline float sin(float x) { return std::fabs(x) < 1e9f ? detail::sin_of(detail::quadrant(x), 0) : std::sin(x); }
GRADUS_HD inline float cos(float x) { return std::fabs(x) < 1e9f ? detail::sin_of(detail::quadrant(x), 1) : std::cos(x); }

/// log(1 + e^x), exact for large |x|.
template <class T> GRADUS_HD inline T softplus(T x) { return (x > T(0) ? x : T(0)) + m::log1p(m::exp(-std::fabs(x))); }

/// psi(x) = d/dx log Gamma(x): recurrence up to 6, then the asymptotic series (Abramowitz & Stegun 6.3.5, 6.3.18); reflection for x < 0.
GRADUS_HD inline double digamma(double x) {
  if (x == 0) return std::copysign(std::numeric_limits<double>::infinity(), -x);
  double y = 0;
  if (x < 0) {
    if (x == std::floor(x)) return std::numeric_limits<double>::quiet_NaN();
    y = -kPi / std::tan(kPi * (x - std::floor(x)));
    x = 1 - x;
  }
  while (x < 10) y -= 1 / x, x += 1;
  const double z = 1 / (x * x);
  return y + std::log(x) - 0.5 / x -
         z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132 - z * (691.0 / 32760 - z / 12))))));
}
/// psi^(k)(x), k >= 1 (A&S 6.4.5, 6.4.11). NaN at the poles 0, -1, ...; below 0 by reflection (A&S 6.4.7) for k = 1 and 2, else by
/// the recurrence alone, which gives up (NaN) below -1000.
GRADUS_HD inline double polygamma(int k, double x) {
  if (x <= 0 && x == std::floor(x)) return std::numeric_limits<double>::quiet_NaN();
  if (x <= 0 && k <= 2) {
    const double s = std::sin(kPi * x), c = std::cos(kPi * x);
    if (k == 1) return kPi * kPi / (s * s) - polygamma(1, 1 - x);
    return polygamma(2, 1 - x) - 2 * kPi * kPi * kPi * c / (s * s * s);
  }
  if (x < -1000) return std::numeric_limits<double>::quiet_NaN();
  constexpr double B[] = {1.0 / 6, -1.0 / 30, 1.0 / 42, -1.0 / 30, 5.0 / 66, -691.0 / 2730, 7.0 / 6, -3617.0 / 510};  // B_2, B_4, ...
  double factorial = 1;                                                                                            // (k-1)!
  for (int i = 2; i < k; ++i) factorial *= i;
  double y = 0;
  while (x < 12 + k) y += factorial * k / std::pow(x, k + 1), x += 1;
  y += factorial / std::pow(x, k) + factorial * k / (2 * std::pow(x, k + 1));
  double f = factorial * k * (k + 1) / 2;                                                                          // (2j+k-1)!/(2j)! at j = 1
  for (int j = 1; j <= 8; ++j) {
    y += B[j - 1] * f / std::pow(x, 2 * j + k);
    f *= static_cast<double>(2 * j + k) * (2 * j + k + 1) / ((2 * j + 1.0) * (2 * j + 2.0));
  }
  return k % 2 ? y : -y;
}
/// Inverse of erf on (-1, 1): Winitzki's closed form, then three Newton-Halley steps on erf.
GRADUS_HD inline double erfinv(double y) {
  if (!(y > -1 && y < 1))
    return y == 1 ? std::numeric_limits<double>::infinity() : (y == -1 ? -std::numeric_limits<double>::infinity()
                                                                        : std::numeric_limits<double>::quiet_NaN());
  const double L = std::log1p(-y * y), a = 0.147, b = 2 / (kPi * a) + L / 2;
  double x = std::copysign(std::sqrt(std::sqrt(b * b - L / a) - b), y);
  for (int i = 0; i < 3; ++i) {
    const double tail = std::fabs(x) > 1 ? (x > 0 ? (1 - y) - std::erfc(x) : std::erfc(-x) - (1 + y)) : std::erf(x) - y;
    const double step = tail / (2 / std::sqrt(kPi) * std::exp(-x * x));
    x -= step / (1 + x * step);
  }
  return x;
}

}  // namespace gradus::m
