// Random draws for one sample: a function of (seed, stream, index of the sample) and of how many were drawn before, so that an
// augmented picture does not depend on the batch it is in or on the number of threads.
#pragma once
#include <cmath>
#include <cstdint>

#include <gradus/core/random.hpp>
#include <gradus/kernels/random.hpp>

namespace gradus::data {

class Draws {
 public:
  /// Each index has room for 2^26 numbers.
  Draws(RandomStream s, uint64_t index) : s_(s), next_(index << 24) {}

  uint32_t bits() {
    if (used_ == 4) block_ = Philox(s_.seed, s_.stream, next_++), used_ = 0;
    return block_.w[used_++];
  }
  /// In [0, 1), 53 bits.
  double uniform() {
    const uint32_t high = bits();
    return uniform01(high, bits());
  }
  double uniform(double lo, double hi) { return lo + (hi - lo) * uniform(); }
  /// 0 ... n - 1
  int64_t below(int64_t n) {
    const uint64_t high = bits();
    return static_cast<int64_t>(kernels::multiply_high(high << 32 | bits(), static_cast<uint64_t>(n)));
  }
  bool chance(double p) { return uniform() < p; }
  double normal() {
    const uint32_t a = bits(), b = bits(), c = bits(), d = bits();
    return kernels::normal_pair(a, b, c, d).a;
  }
  /// Beta(a, b) from two gammas.
  double beta(double a, double b) {
    const uint64_t k = next_++;
    const RandomStream other{s_.seed ^ 0x9e3779b97f4a7c15u, s_.stream};  // gamma_of counts attempts in its own way
    const double x = kernels::gamma_of(other, 2 * k, a), y = kernels::gamma_of(other, 2 * k + 1, b);
    return x + y > 0 ? x / (x + y) : 0.5;
  }

 private:
  RandomStream s_;
  uint64_t next_;
  Philox block_{0, 0, 0};
  int used_ = 4;
};

}  // namespace gradus::data
