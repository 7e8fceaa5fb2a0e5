// Every step of the ladders for rows: short and long rows, lengths beside those of teams, other orders of threads.
#include "bench/ladders/rows.hpp"
#include "kernels/on_device.hpp"

using namespace kernel_test;
namespace ladders = gradus::ladders;

namespace {
struct Extents {
  int64_t N, C;
};
const std::vector<Extents> any{{1, 1}, {3, 33}, {2, 700}, {0, 8}, {4, 0}};
// Of four columns at a time: the shares of the steps in registers, with a warp and with a block, and rows too long for them.
const std::vector<Extents> wide{{9, 4}, {2, 132}, {2, 516}, {1, 1024}, {2, 1028}, {1, 2052}, {1, 4100}, {1, 8192}, {1, 8196}};
bool reads_quads(const std::string& step) { return step == "vector" || step == "registers"; }

/// `in_turn`: of the step whose sums are made one element after the other.
template <class Run>
void each_step(const std::vector<std::string>& steps, Extents e, const std::vector<float>& expected, double tolerance, double in_turn, Run run) {
  const OnDevice<float> y(e.N * e.C);
  for (const std::string& step : steps) {
    if (reads_quads(step) && e.C % 4 != 0) continue;
    INFO(step << " of " << e.N << " x " << e.C);
    run(step, y);
    const auto first = y.host();
    CHECK(difference(first, expected, step == "naive" ? in_turn : tolerance) == "");
    if (e.C != 132 && e.C != 1028) continue;
    for_schedules([&](const std::string& schedule) {
      INFO(schedule);
      run(step, y);
      const auto again = y.host();
      CHECK(std::memcmp(again.data(), first.data(), again.size() * sizeof(float)) == 0);
    });
  }
}
std::vector<Extents> all() {
  auto sizes = any;
  sizes.insert(sizes.end(), wide.begin(), wide.end());
  return sizes;
}
}  // namespace

TEST_CASE("each step of the softmax ladder") {
  for (const Extents e : all()) {
    const auto x = values<float>(e.N * e.C, 1, -30, 60);          // e^60 alone is within float, the sum of 60 of e^88 would not be
    std::vector<float> expected(x.size());
    for (int64_t n = 0; n < e.N; ++n) {
      const float* row = x.data() + n * e.C;
      double sum = 0;
      for (int64_t c = 0; c < e.C; ++c) sum += std::exp(static_cast<double>(row[c]));
      for (int64_t c = 0; c < e.C; ++c) expected[static_cast<std::size_t>(n * e.C + c)] = static_cast<float>(std::exp(static_cast<double>(row[c])) / sum);
    }
    const OnDevice<float> dev_x(x);
    each_step(ladders::softmax_steps(), e, expected, 2e-6, 2e-6, [&](const std::string& step, float* y) { ladders::softmax(step, dev_x, y, e.N, e.C); });
  }
  const OnDevice<float> x(64);
  CHECK_THROWS_WITH(ladders::softmax("registers", x, x, 2, 6), Catch::Contains("C must be a multiple of 4") && Catch::Contains("C is 6"));
  CHECK_THROWS_WITH(ladders::softmax("fast", x, x, 2, 6), Catch::Contains("softmax: no step \"fast\""));
}

TEST_CASE("each step of the layer norm ladder") {
  constexpr float eps = 1e-5f;
  for (const Extents e : all()) {
    // Far from 0: a sum of squares less the square of the mean would keep three digits here.
    const auto x = values<float>(e.N * e.C, 1, 99, 101), gamma = values<float>(e.C, 2), beta = values<float>(e.C, 3);
    std::vector<float> expected(x.size());
    for (int64_t n = 0; n < e.N; ++n) {
      const float* row = x.data() + n * e.C;
      double mean = 0, var = 0;
      for (int64_t c = 0; c < e.C; ++c) mean += static_cast<double>(row[c]) / static_cast<double>(e.C);
      for (int64_t c = 0; c < e.C; ++c) var += std::pow(static_cast<double>(row[c]) - mean, 2) / static_cast<double>(e.C);
      for (int64_t c = 0; c < e.C; ++c) {
        const auto at = static_cast<std::size_t>(c);
        expected[static_cast<std::size_t>(n * e.C + c)] = static_cast<float>(
            (static_cast<double>(row[c]) - mean) / std::sqrt(var + static_cast<double>(eps)) * static_cast<double>(gamma[at]) + static_cast<double>(beta[at]));
      }
    }
    const OnDevice<float> dev_x(x), dev_gamma(gamma), dev_beta(beta);
    each_step(ladders::layer_norm_steps(), e, expected, 2e-4, 1e-3, [&](const std::string& step, float* y) {
      ladders::layer_norm(step, dev_x, dev_gamma, dev_beta, eps, y, e.N, e.C);
    });
  }
  const OnDevice<float> x(64);
  CHECK_THROWS_WITH(ladders::layer_norm("fast", x, x, x, eps, x, 2, 6), Catch::Contains("layer_norm: no step \"fast\""));
}
