// Correct kernels pass without a report, with equal bits, whatever the order of threads and blocks.
#include <chrono>
#include <cmath>
#include <iostream>

#include "correct.hpp"
#include "cuda/emulation/checks.hpp"
#include "support/catch.hpp"

using namespace emulation_test;
namespace emu = gradus::emu;

namespace {

std::vector<Correct> all_kernels() {
  std::vector<Correct> all = correct_kernels();
  for (const Correct& c : correct_tile_kernels()) all.push_back(c);
  return all;
}

Floats run(const Correct& c, const std::string& how) {
  try {
    return c.run();
  } catch (const gradus::Error& e) {
    FAIL(c.name << " under " << how << ": a report that should not be\n" << e.what());
  }
  return {};
}

/// Sums of floats by atomics or locks may come in another order; here they are of integers.
struct Everything {
  Everything() { emu::options().check = 2; }
  ~Everything() { emu::options().check = 1; }
};

}  // namespace

TEST_CASE("correct kernels give what loops give, without a report, under every schedule") {
  const Everything checked;
  CHECK(all_kernels().size() >= 20);
  for (const Correct& c : all_kernels()) {
    const Floats expected = c.expected();
    double largest = 0;
    for (const float v : expected) largest = std::max(largest, std::abs(static_cast<double>(v)));
    Floats first;
    for (const char* policy : {"forward", "reverse", "random", "warp-lag", "prio"})
      for (uint64_t seed = 1; seed <= (policy[0] == 'f' || policy[1] == 'e' ? 1u : 8u); ++seed) {
        const Schedule s(policy, seed);
        const std::string how = std::string(policy) + ", seed " + std::to_string(seed);
        const Floats y = run(c, how);
        INFO(c.name << " under " << how);
        if (first.empty()) {
          first = y;
          REQUIRE(y.size() == expected.size());
          for (std::size_t i = 0; i < y.size(); ++i)
            if (!(std::abs(static_cast<double>(y[i]) - expected[i]) <= c.tolerance * largest))
              FAIL(c.name << "[" << i << "] is " << y[i] << ", loops give " << expected[i]);
        }
        CHECK(y == first);
      }
  }
}

TEST_CASE("1000 seeds give the same bits") {
  for (const Correct& c : all_kernels()) {
    const std::string name = c.name;
    if (name != "reduce_shuffle" && name != "scan_double_buffer" && name != "flash_backward") continue;
    const Floats first = c.run();
    int same = 0;
    for (uint64_t seed = 0; seed < 1000; ++seed) {
      const Schedule s("random", seed);
      same += run(c, "random, seed " + std::to_string(seed)) == first;
    }
    INFO(name);
    CHECK(same == 1000);
  }
}

TEST_CASE("blocks over several host threads give the same bits") {
  for (const Correct& c : all_kernels()) {
    const Floats first = c.run();
    const Schedule s("random", 5, 3);
    INFO(c.name);
    CHECK(run(c, "three workers") == first);
  }
}

TEST_CASE("a native thread for each CUDA thread gives the same bits") {
  for (const Correct& c : all_kernels()) {
    const std::string name = c.name;
    if (name != "reduce_last_block" && name != "flash_forward" && name != "diffuse" && name != "gemm_tensor_half") continue;
    const Floats first = c.run();
    emu::options().native = true;
    const Floats y = run(c, "native threads");
    emu::options().native = false;
    INFO(name);
    CHECK(y == first);
  }
}

TEST_CASE("the speed of a barrier is printed") {
  emu::options().workers = 1;
  const Floats x(256, 1.0f);
  double best = 1e9;
  for (int i = 0; i < 300; ++i) best = std::min(best, reverse_block_seconds(x));
  emu::options().workers = 0;
  std::cout << "256 threads x 1 barrier: " << best * 1e6 << " us at best, of 300\n";
  CHECK(best > 0);
}
