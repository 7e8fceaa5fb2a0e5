// Every step of the ladder for matrix products: sizes inside, at and beyond the edges of tiles, under other orders of threads.
#include "bench/ladders/gemm.hpp"
#include "kernels/on_device.hpp"
#include "shared_conflicts.hpp"

using namespace kernel_test;
namespace ladders = gradus::ladders;

namespace {
struct Extents {
  int64_t M, N, K;
};
template <class T> std::vector<double> product(const std::vector<T>& A, const std::vector<T>& B, Extents e) {
  std::vector<double> C(static_cast<std::size_t>(e.M * e.N));
  const auto a = [&](int64_t i) { return static_cast<double>(static_cast<float>(A[static_cast<std::size_t>(i)])); };
  const auto b = [&](int64_t i) { return static_cast<double>(static_cast<float>(B[static_cast<std::size_t>(i)])); };
  for (int64_t m = 0; m < e.M; ++m)
    for (int64_t n = 0; n < e.N; ++n)
      for (int64_t k = 0; k < e.K; ++k) C[static_cast<std::size_t>(m * e.N + n)] += a(m * e.K + k) * b(k * e.N + n);
  return C;
}
template <class T> std::string worst(const std::vector<T>& actual, const std::vector<double>& expected, double tolerance) {
  std::vector<double> wide;
  for (const T& x : actual) wide.push_back(static_cast<double>(static_cast<float>(x)));
  return difference(wide, expected, tolerance);
}
std::string text(Extents e) { return std::to_string(e.M) + " x " + std::to_string(e.N) + " x " + std::to_string(e.K); }

template <class T> void each_step(const std::vector<std::string>& steps, const std::vector<Extents>& sizes, Extents scheduled, double tolerance) {
  const auto run = [&](Extents e, bool schedules) {
    const auto A = values<T>(e.M * e.K, 1, -1, 1), B = values<T>(e.K * e.N, 2, -1, 1);
    const auto expected = product(A, B, e);
    const OnDevice<T> a(A), b(B), c(e.M * e.N);
    for (const std::string& step : steps) {
      INFO(step << " of " << text(e));
      ladders::gemm(step, a, b, c, e.M, e.N, e.K);
      const auto first = c.host();
      CHECK(worst(first, expected, tolerance) == "");
      if (schedules)
        for_schedules([&](const std::string& schedule) {
          INFO(schedule);
          ladders::gemm(step, a, b, c, e.M, e.N, e.K);
          const auto again = c.host();
          CHECK(std::memcmp(again.data(), first.data(), again.size() * sizeof(T)) == 0);
        });
    }
  };
  for (const Extents e : sizes) run(e, false);
  run(scheduled, true);
}
}  // namespace

TEST_CASE("each step of the gemm ladder") {
  each_step<float>(ladders::gemm_steps(), {{1, 4, 4}, {64, 64, 8}, {130, 132, 20}, {3, 8, 0}, {0, 4, 4}}, {33, 36, 12}, 1e-6);
  const OnDevice<float> x(64);
  CHECK_THROWS_WITH(ladders::gemm("vector", x, x, x, 4, 6, 4), Catch::Contains("N and K must be multiples of 4") && Catch::Contains("N is 6, K is 4"));
  CHECK_THROWS_WITH(ladders::gemm("prefetch", x + 1, x, x, 4, 4, 4), Catch::Contains("a pointer is not aligned"));
  CHECK_THROWS_WITH(ladders::gemm("fast", x, x, x, 4, 4, 4), Catch::Contains("no step \"fast\" for float"));
}
TEST_CASE("the steps for any size of the gemm ladder") {
  each_step<float>({"naive", "coalesced", "tile", "column", "square"}, {{1, 1, 1}, {7, 65, 13}}, {5, 33, 9}, 1e-6);
}

TEST_CASE("each step of the gemm ladder on tensor cores") {
  // The result is rounded to bf16: half a unit of its 8 bits.
  each_step<bf16>(ladders::gemm_bf16_steps(), {{1, 8, 8}, {128, 128, 64}, {150, 136, 264}, {2, 8, 0}, {0, 8, 8}}, {40, 72, 136}, 1.0 / 256);
  // Groups of tiles: 10 x 3 of them, so that the last group is shorter.
  each_step<bf16>({"grouped"}, {{1200, 264, 8}}, {1, 8, 8}, 1.0 / 256);
  const OnDevice<bf16> x(64);
  CHECK_THROWS_WITH(ladders::gemm("mma", x, x, x, 4, 8, 4), Catch::Contains("N and K must be multiples of 8"));
  CHECK_THROWS_WITH(ladders::gemm("vector", x, x, x, 8, 8, 8), Catch::Contains("no step \"vector\" for bf16"));
}

TEST_CASE("bias, gelu and residual in the epilogue of a product") {
  const Extents e{70, 136, 72};
  const auto A = values<bf16>(e.M * e.K, 1, -1, 1), B = values<bf16>(e.K * e.N, 2, -0.5, 0.5), bias = values<bf16>(e.N, 3), residual = values<bf16>(e.M * e.N, 4);
  auto expected = product(A, B, e);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double v = expected[i] + static_cast<double>(static_cast<float>(bias[i % static_cast<std::size_t>(e.N)]));
    expected[i] = 0.5 * v * (1 + std::erf(v / std::sqrt(2.0))) + static_cast<double>(static_cast<float>(residual[i]));
  }
  const OnDevice<bf16> a(A), b(B), dev_bias(bias), dev_residual(residual), c(e.M * e.N);
  ladders::gemm_bias_gelu_residual(a, b, dev_bias, dev_residual, c, e.M, e.N, e.K);
  CHECK(worst(c.host(), expected, 1.0 / 256) == "");
}

#ifdef GRADUS_CUDA_EMULATED
TEST_CASE("what the swizzle of the gemm ladder is for: bank conflicts of one tile") {
  const OnDevice<bf16> a(values<bf16>(128 * 64)), b(values<bf16>(64 * 128)), c(128 * 128);
  const auto conflicts = [&](const char* step) {
    return ladder_test::shared_conflicts([&] { ladders::gemm(step, a, b, c, 128, 128, 64); });
  };
  CHECK(conflicts("mma") == 8);          // rows are 128 bytes long: the same columns of 8 of them lie in the same banks
  CHECK(conflicts("ldmatrix") == 8);
  CHECK(conflicts("swizzled") == 1);
  CHECK(conflicts("pipelined") == 1);
}
#endif
