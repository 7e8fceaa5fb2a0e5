// The same results whatever the order of threads.
#include <cmath>

#include "cuda/emulation/engine.hpp"
#include "kernels.hpp"
#include "support/catch.hpp"

using namespace emulation_test;

TEST_CASE("softmax of rows under every schedule") {
  const int rows = 7, columns = 300;
  Floats x(rows * columns);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(std::sin(static_cast<double>(i * i % 1000)) * 3);
  Floats first;
  for (const char* policy : {"forward", "reverse", "random", "warp-lag", "prio"})
    for (const uint64_t seed : {1, 2}) {
      INFO(policy << ", seed " << seed);
      const Schedule s(policy, seed);
      const Floats y = softmax(x, rows, columns);
      if (first.empty()) first = y;
      CHECK(y == first);
    }
  for (int r = 0; r < rows; ++r) {
    double sum = 0, expected = 0;
    for (int c = 0; c < columns; ++c) expected += std::exp(static_cast<double>(x[static_cast<std::size_t>(r * columns + c)]));
    for (int c = 0; c < columns; ++c) {
      const auto i = static_cast<std::size_t>(r * columns + c);
      CHECK(first[i] == Approx(std::exp(static_cast<double>(x[i])) / expected).epsilon(1e-5));
      sum += first[i];
    }
    CHECK(sum == Approx(1).epsilon(1e-5));
  }
}

TEST_CASE("16-byte accesses, and dynamic shared memory behind a barrier") {
  const Floats y = scale({1, 2, 3, 4, 5, 6, 7, 8}, 2);
  CHECK(y == Floats{2, 4, 6, 8, 10, 12, 14, 16});
  for (const char* policy : {"forward", "reverse", "random"}) {
    const Schedule s(policy, 3);
    Floats x(200), expected(200);
    for (std::size_t i = 0; i < 200; ++i) x[i] = static_cast<float>(i), expected[199 - i] = x[i];
    CHECK(reverse_block(x) == expected);
  }
}
