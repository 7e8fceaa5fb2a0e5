// cuda/scan.cu against cpu/scan.cpp, each kernel.
#include <gradus/kernels/scan.hpp>

#include "kernels/on_device.hpp"

using namespace kernel_test;
namespace k = gradus::kernels;

namespace {
struct Extents {
  int64_t O, R, I;
};
constexpr Extents shapes[] = {{1, 1, 1}, {3, 33, 1}, {2, 5, 3}, {2, 2100, 1}, {1, 0, 2}, {0, 3, 1}};
}  // namespace

TEST_CASE("running sums and products, both ways") {
  for_types<float, double, bf16, half, int64_t, int32_t, uint8_t>([](auto zero) {
    using T = decltype(zero);
    constexpr double tolerance = std::is_same_v<T, float> ? 1e-7 : rounding<T>();   // float runs in double
    for (const auto [O, R, I] : shapes)
      for (const bool reverse : {false, true}) {
        const bool schedules = std::is_same_v<T, float> && R == 2100 && !reverse;
        const auto x = values<T>(O * R * I, 5, 0, 2), factor = values<T>(O * R * I, 6, std::is_integral_v<T> ? 1 : 0.98, std::is_integral_v<T> ? 4 : 1.02);
        const OnDevice<T> dev_x(x), dev_factor(factor);
        Host<T> y(x.size());
        k::cumsum(Cpu{}, x.data(), y.data(), O, R, I, reverse);
        same_on_device<T>("cumsum", y, tolerance, schedules, [&](T* out) { k::cumsum<T>(Cuda{}, dev_x, out, O, R, I, reverse); });
        k::cumprod(Cpu{}, factor.data(), y.data(), O, R, I, reverse);
        // 2100 roundings of bf16 or half products in float
        same_on_device<T>("cumprod", y, tolerance, false, [&](T* out) { k::cumprod<T>(Cuda{}, dev_factor, out, O, R, I, reverse); });
      }
  });
}

TEST_CASE("running logsumexp") {
  for_types<float, double, bf16, half>([](auto zero) {
    using T = decltype(zero);
    for (const auto [O, R, I] : shapes)
      for (const bool reverse : {false, true}) {
        const auto x = values<T>(O * R * I, 5, -4, 4);
        const OnDevice<T> dev_x(x);
        Host<T> y(x.size());
        k::logcumsumexp(Cpu{}, x.data(), y.data(), O, R, I, reverse);
        same_on_device<T>("logcumsumexp", y, rounding<T>(), std::is_same_v<T, double> && R == 33,
                          [&](T* out) { k::logcumsumexp<T>(Cuda{}, dev_x, out, O, R, I, reverse); });
      }
  });
}

TEST_CASE("running logsumexp of infinities and NaN") {
  const double inf = std::numeric_limits<double>::infinity();
  auto x = values<double>(5 * 50);
  for (int i = 0; i < 20; ++i) x[static_cast<std::size_t>(i)] = -inf;
  x[60] = inf, x[70] = inf, x[85] = -inf, x[120] = std::numeric_limits<double>::quiet_NaN(), x[130] = inf;
  for (int i = 200; i < 250; ++i) x[static_cast<std::size_t>(i)] = -inf;
  const OnDevice<double> dev_x(x);
  Host<double> y(x.size());
  k::logcumsumexp(Cpu{}, x.data(), y.data(), 5, 50, 1, false);
  same_on_device<double>("logcumsumexp", y, 1e-12, false, [&](double* out) { k::logcumsumexp<double>(Cuda{}, dev_x, out, 5, 50, 1, false); });
}

TEST_CASE("running extremes: the last of equals, NaN stays") {
  for_types<float, double, bf16, half, int64_t, int32_t, uint8_t>([](auto zero) {
    using T = decltype(zero);
    for (const auto [O, R, I] : shapes) {
      Host<T> x(static_cast<std::size_t>(O * R * I));
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(static_cast<double>(i * 31 % 47 % 13));
      if constexpr (gradus::is_floating<T>)
        for (std::size_t i = 20; i < x.size(); i += 41) x[i] = static_cast<T>(std::numeric_limits<float>::quiet_NaN());
      const OnDevice<T> dev_x(x);
      Host<T> v(x.size());
      Host<int64_t> at(x.size());
      const OnDevice<T> dev_v(O * R * I);
      const OnDevice<int64_t> dev_at(O * R * I);
      const bool schedules = std::is_same_v<T, float> && R == 33;
      k::cummax(Cpu{}, x.data(), v.data(), at.data(), O, R, I);
      same_on_device<T>("cummax", v, 0, schedules, [&](T* out) { k::cummax<T>(Cuda{}, dev_x, out, dev_at, O, R, I); });
      same_on_device<int64_t>("cummax", at, 0, schedules, [&](int64_t* out) { k::cummax<T>(Cuda{}, dev_x, dev_v, out, O, R, I); });
      k::cummin(Cpu{}, x.data(), v.data(), at.data(), O, R, I);
      same_on_device<int64_t>("cummin", at, 0, false, [&](int64_t* out) { k::cummin<T>(Cuda{}, dev_x, dev_v, out, O, R, I); });
      CHECK(difference(dev_v.host(), v, 0) == "");
    }
  });
}
