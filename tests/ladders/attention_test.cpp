// Every step of the attention ladder: all head sizes, causal or not, lengths inside and beyond tiles, other orders of threads.
#include "bench/ladders/attention.hpp"
#include "kernels/on_device.hpp"
#include "shared_conflicts.hpp"

using namespace kernel_test;
namespace ladders = gradus::ladders;

namespace {
using Size = ladders::AttentionSize;

template <class T> std::vector<double> reference(const std::vector<T>& q, const std::vector<T>& k, const std::vector<T>& v, Size e) {
  const auto at = [&](const std::vector<T>& x, int64_t head, int64_t t, int64_t c) {
    return static_cast<double>(static_cast<float>(x[static_cast<std::size_t>((head * e.T + t) * e.d + c)]));
  };
  std::vector<double> y(q.size()), s(static_cast<std::size_t>(e.T));
  for (int64_t head = 0; head < e.heads; ++head)
    for (int64_t i = 0; i < e.T; ++i) {
      const int64_t seen = e.causal ? i + 1 : e.T;
      double sum = 0;
      for (int64_t j = 0; j < seen; ++j) {
        double dot = 0;
        for (int64_t c = 0; c < e.d; ++c) dot += at(q, head, i, c) * at(k, head, j, c);
        sum += s[static_cast<std::size_t>(j)] = std::exp(dot / std::sqrt(static_cast<double>(e.d)));
      }
      for (int64_t j = 0; j < seen; ++j)
        for (int64_t c = 0; c < e.d; ++c)
          y[static_cast<std::size_t>((head * e.T + i) * e.d + c)] += s[static_cast<std::size_t>(j)] / sum * at(v, head, j, c);
    }
  return y;
}

template <class T> void each_step(const std::vector<std::string>& steps, Size e, bool schedules, double tolerance) {
  const int64_t n = e.heads * e.T * e.d;
  const auto q = values<T>(n, 1), k = values<T>(n, 2), v = values<T>(n, 3);
  const auto expected = reference(q, k, v, e);
  const OnDevice<T> dev_q(q), dev_k(k), dev_v(v), y(n);
  for (const std::string& step : steps) {
    INFO(step << ", " << e.heads << " heads, T = " << e.T << ", d = " << e.d << (e.causal ? ", causal" : ""));
    ladders::attention(step, dev_q, dev_k, dev_v, y, e);
    const auto first = y.host();
    std::vector<double> wide;
    for (const T& x : first) wide.push_back(static_cast<double>(static_cast<float>(x)));
    CHECK(difference(wide, expected, tolerance) == "");
    if (schedules)
      for_schedules([&](const std::string& schedule) {
        INFO(schedule);
        ladders::attention(step, dev_q, dev_k, dev_v, y, e);
        const auto again = y.host();
        CHECK(std::memcmp(again.data(), first.data(), again.size() * sizeof(T)) == 0);
      });
  }
}
template <class T> void all_sizes(const std::vector<std::string>& steps, double tolerance) {
  for (const int64_t d : {32, 64, 96, 128})
    for (const bool causal : {false, true}) each_step<T>(steps, {2, 70, d, causal}, false, tolerance);
  each_step<T>(steps, {1, 1, 64, true}, false, tolerance);
  each_step<T>(steps, {1, 64, 64, true}, false, tolerance);
  each_step<T>(steps, {1, 200, 32, false}, false, tolerance);
  each_step<T>(steps, {1, 65, 32, true}, true, tolerance);
  each_step<T>(steps, {0, 8, 32, false}, false, tolerance);
}
}  // namespace

TEST_CASE("each step of the attention ladder") {
  all_sizes<float>(ladders::attention_steps(), rounding<float>());
  const OnDevice<float> x(64);
  CHECK_THROWS_WITH(ladders::attention("row", x, x, x, x, {1, 1, 48, false}), Catch::Contains("d must be 32, 64, 96 or 128; it is 48"));
  CHECK_THROWS_WITH(ladders::attention("fast", x, x, x, x, {1, 1, 32, false}), Catch::Contains("no step \"fast\" for float"));
}

TEST_CASE("each step of the attention ladder on tensor cores") {
  // Probabilities are rounded to bf16 before the second product, results after it: each half a unit of 8 bits, of values up to 2.
  all_sizes<bf16>(ladders::attention_bf16_steps(), 1.0 / 128);
  const OnDevice<bf16> x(64);
  CHECK_THROWS_WITH(ladders::attention("tile", x, x, x, x, {1, 1, 32, false}), Catch::Contains("no step \"tile\" for bf16"));
}

#ifdef GRADUS_CUDA_EMULATED
TEST_CASE("the attention ladder's shared memory has no bank conflicts, at any head size") {
  for (const int64_t d : {32, 64, 96, 128}) {
    const Size size{1, 128, d, false};
    const OnDevice<bf16> x(values<bf16>(128 * d)), y(128 * d);
    for (const std::string& step : ladders::attention_bf16_steps())
      CHECK(ladder_test::shared_conflicts([&] { ladders::attention(step, x, x, x, y, size); }) == 1);
    const OnDevice<float> fx(values<float>(128 * d)), fy(128 * d);
    for (const std::string step : {"tile", "square"})
      CHECK(ladder_test::shared_conflicts([&] { ladders::attention(step, fx, fx, fx, fy, size); }) == 1);
  }
}
#endif
