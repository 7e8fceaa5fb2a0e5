// cuda/reduce.cu against cpu/reduce.cpp, each kernel.
#include <gradus/kernels/reduce.hpp>

#include "kernels/on_device.hpp"

using namespace kernel_test;
namespace k = gradus::kernels;

namespace {
struct Extents {
  int64_t O, R, I;
};
constexpr Extents shapes[] = {{1, 1, 1}, {5, 33, 1}, {2, 96, 3}, {1, 9000, 1}, {1, 1100, 40}, {3, 0, 2}, {0, 4, 1}};

template <class Op, class T> void check_reduce(double tolerance, double lo, double hi) {
  for (const auto [O, R, I] : shapes) {
    const auto x = values<T>(O * R * I, 3, lo, hi);
    const OnDevice<T> dev_x(x);
    Host<T> y(static_cast<std::size_t>(O * I));
    k::reduce(Cpu{}, Op{}, x.data(), y.data(), O, R, I);
    const bool schedules = std::is_same_v<T, float> && std::is_same_v<Op, k::SumOf> && O == 2;
    same_on_device<T>("reduce", y, tolerance, schedules, [&](T* out) { k::reduce<Op, T>(Cuda{}, Op{}, dev_x, out, O, R, I); });
  }
}
template <class Op, class T> void check_arg_reduce(const Host<T>& x, int64_t O, int64_t R, int64_t I) {
  const OnDevice<T> dev_x(x);
  Host<int64_t> y(static_cast<std::size_t>(O * I));
  k::arg_reduce(Cpu{}, Op{}, x.data(), y.data(), O, R, I);
  same_on_device<int64_t>("arg_reduce", y, 0, std::is_same_v<T, float> && R == 33,
                          [&](int64_t* out) { k::arg_reduce<Op, T>(Cuda{}, Op{}, dev_x, out, O, R, I); });
}
}  // namespace

TEST_CASE("sums, products and extremes") {
  for_types<float, double, bf16, half>([](auto zero) {
    using T = decltype(zero);
    // 9000 terms of order 1 in float: the sums of both orders are within 9000^(1/2) roundings or so of each other.
    check_reduce<k::SumOf, T>(std::is_same_v<T, float> ? 4e-5 : rounding<T>(), -2, 2);
    check_reduce<k::LargestOf, T>(0, -2, 2);
  });
  check_reduce<k::ProductOf, double>(1e-10, 0.9, 1.1);
  check_reduce<k::SmallestOf, float>(0, -2, 2);
  for_types<int64_t, int32_t, uint8_t>([](auto zero) {
    using T = decltype(zero);
    check_reduce<k::SumOf, T>(0, 0, 100);
    check_reduce<k::ProductOf, T>(0, 1, 20);      // overflows wrap
    check_reduce<k::LargestOf, T>(0, 0, 100);
    check_reduce<k::SmallestOf, T>(0, 0, 100);
  });
}

TEST_CASE("NaN wins, infinities count") {
  auto x = values<float>(4 * 70);
  x[33] = std::numeric_limits<float>::quiet_NaN();
  x[70 + 5] = std::numeric_limits<float>::infinity(), x[140 + 69] = -std::numeric_limits<float>::infinity();
  const OnDevice<float> dev_x(x);
  Host<float> y(4);
  k::reduce(Cpu{}, k::LargestOf{}, x.data(), y.data(), 4, 70, 1);
  REQUIRE(std::isnan(y[0]));
  same_on_device<float>("reduce", y, 0, false, [&](float* out) { k::reduce<k::LargestOf, float>(Cuda{}, {}, dev_x, out, 4, 70, 1); });
  k::reduce(Cpu{}, k::SmallestOf{}, x.data(), y.data(), 4, 70, 1);
  same_on_device<float>("reduce", y, 0, false, [&](float* out) { k::reduce<k::SmallestOf, float>(Cuda{}, {}, dev_x, out, 4, 70, 1); });
  check_arg_reduce<k::LargestOf, float>(x, 4, 70, 1);
  check_arg_reduce<k::SmallestOf, float>(x, 4, 70, 1);
}

TEST_CASE("positions of extremes: the first of equals, of NaN the first") {
  for_types<float, half, int32_t, uint8_t>([](auto zero) {
    using T = decltype(zero);
    Host<T> x(5 * 33 * 2);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(static_cast<double>((i * 7) % 5));   // many equals
    check_arg_reduce<k::LargestOf, T>(x, 10, 33, 1);
    check_arg_reduce<k::SmallestOf, T>(x, 5, 33, 2);
  });
  auto x = values<float>(3 * 1200);
  for (const int i : {700, 900, 1200, 2399, 3000}) x[static_cast<std::size_t>(i)] = std::numeric_limits<float>::quiet_NaN();
  check_arg_reduce<k::LargestOf, float>(x, 3, 1200, 1);
  check_arg_reduce<k::SmallestOf, float>(x, 1, 600, 6);
}

TEST_CASE("a long sum is as exact as on the Cpu") {
  const int64_t n = 70000;
  const auto x = values<float>(n, 9, 0, 1);
  double exact = 0;
  for (const float v : x) exact += static_cast<double>(v);
  const OnDevice<float> dev_x(x), dev_y(1);
  k::reduce<k::SumOf, float>(Cuda{}, {}, dev_x, dev_y, 1, n, 1);
  CHECK(std::fabs(static_cast<double>(dev_y.host()[0]) - exact) < 1e-6 * exact);
}
