// Counter-based random numbers (I5): Philox4x32-10 of Salmon, Moraes, Dror, Shaw, "Parallel random numbers:
// as easy as 1, 2, 3", SC 2011. A number is a function of (seed, stream, index): the same on every device and for
// any number of threads, and a mask can be made again in backward instead of being stored.
#pragma once
#include <cmath>
#include <cstdint>

#include <gradus/core/config.hpp>

namespace gradus {

/// Four 32-bit words of Philox4x32-10 for counter (index, stream) under key seed.
struct Philox {
  uint32_t w[4];
  GRADUS_HD Philox(uint64_t seed, uint64_t stream, uint64_t index)
      : w{static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), static_cast<uint32_t>(stream),
          static_cast<uint32_t>(stream >> 32)} {
    uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * w[0], p1 = uint64_t{0xCD9E8D57u} * w[2];
      const uint32_t a = static_cast<uint32_t>(p1 >> 32) ^ w[1] ^ k0, b = static_cast<uint32_t>(p1);
      const uint32_t c = static_cast<uint32_t>(p0 >> 32) ^ w[3] ^ k1, d = static_cast<uint32_t>(p0);
      w[0] = a, w[1] = b, w[2] = c, w[3] = d;
      k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
  }
};

/// Uniform in [0, 1): 24 bits for float, 53 bits for double.
GRADUS_HD inline float uniform01(uint32_t w) { return static_cast<float>(w >> 8) * 0x1p-24f; }
GRADUS_HD inline double uniform01(uint32_t hi, uint32_t lo) {
  return static_cast<double>(((uint64_t{hi} << 32) | lo) >> 11) * 0x1p-53;
}

/// Where a random op draws from: the seed and the op's own stream. Index i of the op's output uses counter i / 4, word i % 4.
struct RandomStream {
  uint64_t seed = 0, stream = 0;
};

/// The calling thread's generator: a seed and the number of streams handed out so far.
struct Generator {
  uint64_t seed = 0, next = 0;
  RandomStream draw() { return {seed, next++}; }
};
inline Generator& generator() {
  static thread_local Generator g;
  return g;
}
/// Starts the calling thread's random numbers from `seed`; equal seeds give equal runs.
inline void manual_seed(uint64_t seed) { generator() = {seed, 0}; }

}  // namespace gradus
