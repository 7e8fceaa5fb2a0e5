// Every step of the ladders for sums and transpositions.
#include "bench/ladders/reduce.hpp"
#include "kernels/on_device.hpp"

using namespace kernel_test;
namespace ladders = gradus::ladders;

TEST_CASE("each step of the sum ladder") {
  for (const int64_t n : {0, 1, 33, 1023, 70000}) {
    const auto x = values<float>(n, 1, 0, 1);
    double exact = 0;
    for (const float v : x) exact += static_cast<double>(v);
    const OnDevice<float> dev_x(x), dev_y(1);
    for (const std::string& step : ladders::sum_steps()) {
      INFO(step << " of " << n);
      ladders::sum(step, dev_x, dev_y, n);
      const float first = dev_y.host()[0];
      // One after the other, 70000 terms: 2e-5 or so of the sum; in trees far less.
      CHECK(std::fabs(static_cast<double>(first) - exact) <= (step == "serial" || step == "atomic" ? 1e-4 : 1e-6) * exact);
      if (n == 1023 && step != "atomic")
        for_schedules([&](const std::string& schedule) {
          INFO(schedule);
          ladders::sum(step, dev_x, dev_y, n);
          CHECK(dev_y.host()[0] == first);
        });
    }
  }
  const OnDevice<float> y(1);
  CHECK_THROWS_AS(ladders::sum("fast", y, y, 1), std::invalid_argument);
}

TEST_CASE("each step of the transpose ladder") {
  struct Extents {
    int64_t M, N;
  };
  for (const auto [M, N] : {Extents{1, 1}, {32, 32}, {33, 70}, {5, 0}, {100, 31}}) {
    const auto x = values<float>(M * N);
    Host<float> expected(x.size());
    for (int64_t i = 0; i < M * N; ++i) expected[static_cast<std::size_t>(i % N * M + i / N)] = x[static_cast<std::size_t>(i)];
    const OnDevice<float> dev_x(x), dev_y(M * N);
    for (const std::string& step : ladders::transpose_steps()) {
      INFO(step << " of " << M << " x " << N);
      ladders::transpose(step, dev_x, dev_y, M, N);
      CHECK(difference(dev_y.host(), expected, 0) == "");
      if (M != 33) continue;
      for_schedules([&](const std::string& schedule) {
        INFO(schedule);
        ladders::transpose(step, dev_x, dev_y, M, N);
        CHECK(difference(dev_y.host(), expected, 0) == "");
      });
    }
  }
}
