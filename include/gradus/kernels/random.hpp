// The contract for random numbers (I5). Every element is a function of (seed, stream, i): how an element is made from the
// words of Philox is written here once, for every device.
//
//   32 bits an element   counter i/4, word i%4                          float, and all Bernoulli masks
//   64 bits an element   counter i/2, words 2(i%2) and 2(i%2)+1         double, integers
//   normal               elements 2j and 2j+1 share their bits: one gives the radius, the other the angle
//
// Distributions that need a varying number of draws (gamma) use counters i + attempt * 2^48 of their stream.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#include <gradus/core/device.hpp>
#include <gradus/core/math.hpp>
#include <gradus/core/random.hpp>

namespace gradus::kernels {

// -- words to numbers --------------------------------------------------------------------------------------------------

/// Uniform in (0, 1], for logarithms: small values keep all their bits.
GRADUS_HD inline float uniform_positive(uint32_t w) { return (static_cast<float>(w) + 1.0f) * 0x1p-32f; }
GRADUS_HD inline double uniform_positive(uint32_t hi, uint32_t lo) {
  return (static_cast<double>(((uint64_t{hi} << 32) | lo) >> 11) + 1.0) * 0x1p-53;
}
/// Uniform in (0, 1), both ends excluded.
GRADUS_HD inline float uniform_open(uint32_t w) { return (static_cast<float>(w >> 9) + 0.5f) * 0x1p-23f; }
GRADUS_HD inline double uniform_open(uint32_t hi, uint32_t lo) {
  return (static_cast<double>(((uint64_t{hi} << 32) | lo) >> 12) + 0.5) * 0x1p-52;
}

/// uniform01(w) < p is (w >> 8) < bernoulli_threshold(p), in integers.
GRADUS_HD inline uint32_t bernoulli_threshold(double p) {
  return p <= 0 ? 0u : p >= 1 ? 1u << 24 : static_cast<uint32_t>(std::ceil(p * 0x1p24));
}

/// Box and Muller (1958): two independent standard normals from two uniforms, r = sqrt(-2 log u), angle 2 pi v.
template <class T> struct NormalPair {
  T a, b;
};
GRADUS_HD inline NormalPair<float> normal_pair(uint32_t w0, uint32_t w1) {
  const float r = std::sqrt(-2.0f * m::log(uniform_positive(w0)));
  // v = w1 / 2^32 of a turn: nearest quarter turn q, and the rest in [-1/8, 1/8) of a turn, exact in integers.
  const uint32_t q = (w1 + 0x20000000u) >> 30;
  const float x = static_cast<float>(static_cast<int32_t>(w1 - (q << 30))) * 1.4629180793e-9f;   // 2 pi / 2^32
  const float z = x * x;
  const float s = x + x * z * (-1.6666654611e-1f + z * (8.3321608736e-3f - z * 1.9515295891e-4f));
  const float c = 1.0f - 0.5f * z + z * z * (4.166664568298827e-2f + z * (-1.388731625493765e-3f + z * 2.443315711809948e-5f));
  const float sine = (q & 1u) ? c : s, cosine = (q & 1u) ? s : c;
  return {r * (((q + 1u) & 2u) ? -cosine : cosine), r * ((q & 2u) ? -sine : sine)};
}
GRADUS_HD inline NormalPair<double> normal_pair(uint32_t w0, uint32_t w1, uint32_t w2, uint32_t w3) {
  const double r = std::sqrt(-2.0 * std::log(uniform_positive(w0, w1))), angle = 2 * m::kPi * uniform01(w2, w3);
  return {r * std::cos(angle), r * std::sin(angle)};
}

/// Upper 64 bits of a * b: maps 64 random bits onto [0, b) with a bias below b / 2^64.
GRADUS_HD inline uint64_t multiply_high(uint64_t a, uint64_t b) {
  const uint64_t a0 = a & 0xffffffffu, a1 = a >> 32, b0 = b & 0xffffffffu, b1 = b >> 32;
  const uint64_t middle = a1 * b0 + ((a0 * b0) >> 32), cross = a0 * b1 + (middle & 0xffffffffu);
  return a1 * b1 + (middle >> 32) + (cross >> 32);
}

/// The standard normal distribution function, and its inverse.
GRADUS_HD inline double normal_cdf(double x) { return 0.5 * m::erfc(-x * 0.70710678118654752440); }
/// Rational start (Abramowitz & Stegun 26.2.23, within 4.5e-4), two Halley steps on the CDF. Keeps its digits for p -> 0.
GRADUS_HD inline double normal_quantile(double p) {
  if (p > 0.5) return -normal_quantile(1 - p);
  if (!(p > 0)) return -std::numeric_limits<double>::infinity();
  const double t = std::sqrt(-2 * std::log(p));
  double x = (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
  for (int i = 0; i < 2; ++i) {
    const double step = (normal_cdf(x) - p) * 2.50662827463100050242 * std::exp(0.5 * x * x);   // (Phi(x) - p) / phi(x)
    x -= step / (1 + 0.5 * x * step);
  }
  return x;
}

/// Truncated standard normal on [lo, hi] by the inverse CDF; on the side of the tail, where the CDF keeps its digits.
GRADUS_HD inline double truncated_normal_of(double u, double lo, double hi) {
  const bool flip = lo > 0;
  const double a = flip ? -hi : lo, b = flip ? -lo : hi, pa = normal_cdf(a), pb = normal_cdf(b);
  double x = normal_quantile(pa + u * (pb - pa));
  x = x < a ? a : x > b ? b : x;
  return flip ? -x : x;
}

/// Gamma(shape, 1), shape > 0, element i: Marsaglia and Tsang (2000); shape < 1 through Gamma(shape + 1) U^(1/shape).
GRADUS_HD inline double gamma_of(RandomStream s, uint64_t i, double shape) {
  const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  double boost = 1;
  for (uint64_t attempt = 0;; ++attempt) {
    const Philox p(s.seed, s.stream, i + (attempt << 48));
    if (attempt == 0 && shape < 1) boost = std::exp(std::log((static_cast<double>(p.w[3]) + 1) * 0x1p-32) / shape);
    const double u = (static_cast<double>(p.w[0]) + 1) * 0x1p-32, angle = 2 * m::kPi * 0x1p-32 * static_cast<double>(p.w[1]);
    const double x = std::sqrt(-2 * std::log(u)) * std::cos(angle), t = 1 + c * x, v = t * t * t;
    if (t > 0 && std::log((static_cast<double>(p.w[2]) + 1) * 0x1p-32) < 0.5 * x * x + d * (1 - v + std::log(v)))
      return d * v * boost;
  }
}

// -- kernels -----------------------------------------------------------------------------------------------------------
// y : [n]; T is float or double unless said otherwise.

/// [0, 1)
template <class T> void random_uniform(Cpu, T* y, int64_t n, RandomStream s);
template <class T> void random_uniform(Cuda, T* y, int64_t n, RandomStream s);
/// mean 0, variance 1
template <class T> void random_normal(Cpu, T* y, int64_t n, RandomStream s);
template <class T> void random_normal(Cuda, T* y, int64_t n, RandomStream s);
/// 1 with probability p, else 0; the same elements are 1 for every T: float, double, bf16, half, int64_t, bool.
template <class T> void random_bernoulli(Cpu, T* y, int64_t n, double p, RandomStream s);
template <class T> void random_bernoulli(Cuda, T* y, int64_t n, double p, RandomStream s);
/// Element i is 1 with probability p[i].
template <class T> void random_bernoulli_each(Cpu, const T* p, T* y, int64_t n, RandomStream s);
template <class T> void random_bernoulli_each(Cuda, const T* p, T* y, int64_t n, RandomStream s);
/// -log U: mean 1
template <class T> void random_exponential(Cpu, T* y, int64_t n, RandomStream s);
template <class T> void random_exponential(Cuda, T* y, int64_t n, RandomStream s);
/// -log(-log U)
template <class T> void random_gumbel(Cpu, T* y, int64_t n, RandomStream s);
template <class T> void random_gumbel(Cuda, T* y, int64_t n, RandomStream s);
/// The normal of the given mean and deviation, conditioned on [lo, hi].
template <class T> void random_truncated_normal(Cpu, T* y, int64_t n, double mean, double deviation, double lo, double hi,
                                                RandomStream s);
template <class T> void random_truncated_normal(Cuda, T* y, int64_t n, double mean, double deviation, double lo, double hi,
                                                RandomStream s);
/// Element i from Gamma(shape[i], 1).
template <class T> void random_gamma(Cpu, const T* shape, T* y, int64_t n, RandomStream s);
template <class T> void random_gamma(Cuda, const T* shape, T* y, int64_t n, RandomStream s);
/// Integers of [lo, hi); T is int64_t or int32_t.
template <class T> void random_integers(Cpu, T* y, int64_t n, int64_t lo, int64_t hi, RandomStream s);
template <class T> void random_integers(Cuda, T* y, int64_t n, int64_t lo, int64_t hi, RandomStream s);
/// A permutation of 0 ... n-1: the order of 64-bit random keys.
void random_permutation(Cpu, int64_t* y, int64_t n, RandomStream s);
void random_permutation(Cuda, int64_t* y, int64_t n, RandomStream s);
/// k class indices for each row of weights : [N, C] (>= 0, any scale, a positive sum), y : [N, k].
/// With replacement by the inverse CDF; without by k winners of exponential races in the order of their arrival, which is the
/// order of drawing one after the other. Without replacement a row needs k positive weights.
template <class T> void random_multinomial(Cpu, const T* weights, int64_t* y, int64_t N, int64_t C, int64_t k, bool replacement,
                                           RandomStream s);
template <class T> void random_multinomial(Cuda, const T* weights, int64_t* y, int64_t N, int64_t C, int64_t k,
                                           bool replacement, RandomStream s);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include <gradus/../../cpu/random.cpp>
#endif
