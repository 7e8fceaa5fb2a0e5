// Philox4x32-10 against the known answers published with Random123 (kat_vectors: "philox4x32 10").
#include <array>

#include <gradus/core/random.hpp>

#include "support/catch.hpp"

using namespace gradus;

namespace {
std::array<uint32_t, 4> words(uint64_t seed, uint64_t stream, uint64_t index) {
  const Philox p(seed, stream, index);
  return {p.w[0], p.w[1], p.w[2], p.w[3]};
}
}  // namespace

TEST_CASE("Philox known answers") {
  CHECK(words(0, 0, 0) == std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(words(~0ull, ~0ull, ~0ull) == std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  // counter 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0: digits of pi
  CHECK(words(0x299f31d0a4093822ull, 0x0370734413198a2eull, 0x85a308d3243f6a88ull) ==
        std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("uniform01 stays in [0, 1)") {
  CHECK(uniform01(0u) == 0.0f);
  CHECK(uniform01(~0u) < 1.0f);
  CHECK(uniform01(0u, 0u) == 0.0);
  CHECK(uniform01(~0u, ~0u) < 1.0);
}

TEST_CASE("uniform01 has the mean and variance of the uniform distribution") {
  double sum = 0, squares = 0;
  const int n = 100000;
  for (int i = 0; i < n; ++i) {
    const Philox r(1, 2, static_cast<uint64_t>(i));
    const double u = uniform01(r.w[0], r.w[1]);
    sum += u, squares += u * u;
  }
  const double mean = sum / n, variance = squares / n - mean * mean;
  CHECK(std::abs(mean - 0.5) < 4 * 0.2887 / std::sqrt(n));   // four standard errors
  CHECK(std::abs(variance - 1.0 / 12) < 0.002);
}

TEST_CASE("the generator hands out a stream a draw and starts again from a seed") {
  manual_seed(5);
  const RandomStream a = generator().draw(), b = generator().draw();
  CHECK(a.seed == 5);
  CHECK(b.stream == a.stream + 1);
  manual_seed(5);
  CHECK(generator().draw().stream == a.stream);
}
