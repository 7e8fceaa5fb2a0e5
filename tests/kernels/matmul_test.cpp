// The Cpu product at the edges of its tiles, panels and blocks: every layout, rows further apart than they are long, few rows,
// few columns, adding to what is there; against sums in double. And: the same bits for any number of threads.
#include <array>
#include <cmath>
#include <vector>

#include <gradus/core/kernel_choice.hpp>
#include <gradus/core/parallel.hpp>
#include <gradus/core/random.hpp>
#include <gradus/kernels/matmul.hpp>

#include "support/catch.hpp"

using namespace gradus;

namespace {
struct Product {
  bool ta, tb;
  int64_t M, N, K, pad;      // pad: how much longer the rows are than they need to be
  bool accumulate;
};

template <class T> std::vector<T> numbers(int64_t n, uint64_t seed) {
  std::vector<T> v(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < v.size(); ++i) {
    const Philox r(seed, 0, i);
    v[i] = static_cast<T>(2 * uniform01(r.w[0], r.w[1]) - 1);
  }
  return v;
}

/// Compares every element with the sum in double and looks at the padding; returns how many are wrong.
template <class T> int wrong(const Product& p, double unit) {
  const int64_t lda = (p.ta ? p.M : p.K) + p.pad, ldb = (p.tb ? p.K : p.N) + p.pad, ldc = p.N + p.pad;
  const auto a = numbers<T>((p.ta ? p.K : p.M) * lda, 1), b = numbers<T>((p.tb ? p.N : p.K) * ldb, 2), before = numbers<T>(p.M * ldc, 3);
  auto c = before;
  kernels::gemm<T>(Cpu{}, p.ta, p.tb, p.M, p.N, p.K, a.data(), lda, 0, b.data(), ldb, 0, c.data(), ldc, 0, 1, p.accumulate);
  int bad = 0;
  const auto at = [](const std::vector<T>& v, int64_t i) { return static_cast<double>(v[static_cast<std::size_t>(i)]); };
  for (int64_t m = 0; m < p.M; ++m)
    for (int64_t n = 0; n < ldc; ++n) {
      double sum = p.accumulate || n >= p.N ? at(before, m * ldc + n) : 0, size = std::fabs(sum);
      for (int64_t k = 0; n < p.N && k < p.K; ++k) {
        const double term = at(a, p.ta ? k * lda + m : m * lda + k) * at(b, p.tb ? n * ldb + k : k * ldb + n);
        sum += term, size += std::fabs(term);
      }
      // A sum of K terms in any order is off by at most K roundings of the sum of their sizes; `unit` is the one that stores it.
      const double sums = sizeof(T) == 8 ? 1.2e-16 : 6e-8;
      const double bound = n < p.N ? unit * std::fabs(sum) + static_cast<double>(p.K + 1) * sums * size : 0;
      bad += !(std::fabs(at(c, m * ldc + n) - sum) <= bound);
    }
  return bad;
}
template <class T> void check_all(double unit) {
  // Tiles have 6 or 12 rows and 8 to 32 columns, panels are 256 deep, blocks have 144 or 288 rows; up to 8 rows stream.
  const int64_t edges[] = {1, 2, 5, 8, 9, 13, 33};
  for (const bool ta : {false, true})
    for (const bool tb : {false, true})
      for (const bool accumulate : {false, true}) {
        for (const int64_t M : edges)
          for (const int64_t N : edges) {
            const Product p{ta, tb, M, N, 7 + (M + N) % 3, (M * N) % 3, accumulate};
            INFO("ta " << ta << ", tb " << tb << ", M " << M << ", N " << N << ", K " << p.K << ", accumulate " << accumulate);
            CHECK(wrong<T>(p, unit) == 0);
          }
        for (const auto& [M, N, K] : {std::array<int64_t, 3>{3, 70, 300}, {70, 3, 300}, {40, 70, 515}, {300, 20, 40}, {7, 0, 4}, {5, 5, 0}, {64, 64, 512}}) {
          INFO("ta " << ta << ", tb " << tb << ", M " << M << ", N " << N << ", K " << K << ", accumulate " << accumulate);
          CHECK(wrong<T>({ta, tb, M, N, K, 1, accumulate}, unit) == 0);
        }
      }
}
}  // namespace

TEST_CASE("float products at the edges of tiles") {
  for (const auto& by : kernel_variants("gemm_cpu")) {
    const KernelScope scope("gemm_cpu", by);
    INFO(by);
    check_all<float>(6e-8);
  }
}
TEST_CASE("double products at the edges of tiles") {
  for (const auto& by : kernel_variants("gemm_cpu")) {
    const KernelScope scope("gemm_cpu", by);
    INFO(by);
    check_all<double>(1.2e-16);
  }
}
TEST_CASE("16-bit products are sums in float, rounded once") {
  check_all<bf16>(0.004);
  check_all<half>(0.0005);
}

TEST_CASE("a product is the same for any number of threads") {
  const int before = num_threads();
  for (const auto& [M, N, K] : {std::array<int64_t, 3>{200, 300, 600}, {2000, 20, 300}, {4, 3000, 200}, {3000, 4, 200}}) {
    const auto a = numbers<float>(M * K, 4), b = numbers<float>(K * N, 5);
    std::vector<std::vector<float>> results;
    for (const int threads : {1, 2, 5}) {
      set_num_threads(threads);
      auto& c = results.emplace_back(static_cast<std::size_t>(M * N));
      kernels::gemm<float>(Cpu{}, false, false, M, N, K, a.data(), K, 0, b.data(), N, 0, c.data(), N, 0, 1, false);
    }
    INFO("M " << M << ", N " << N << ", K " << K);
    CHECK((results[0] == results[1] && results[0] == results[2]));
  }
  set_num_threads(before);
}

TEST_CASE("not a number anywhere in a row or column reaches its products only") {
  for (const int64_t M : {3, 20}) {
    auto a = numbers<float>(M * 40, 6), b = numbers<float>(40 * 50, 7);
    a[40 + 17] = std::nanf("");
    std::vector<float> c(static_cast<std::size_t>(M * 50), 1.0f);
    kernels::gemm<float>(Cpu{}, false, false, M, 50, 40, a.data(), 40, 0, b.data(), 50, 0, c.data(), 50, 0, 1, false);
    for (std::size_t i = 0; i < c.size(); ++i) CHECK(std::isnan(c[i]) == (i / 50 == 1));
  }
}
