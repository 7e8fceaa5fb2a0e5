// cuda/softmax.cu against cpu/softmax.cpp, each kernel.
#include <gradus/kernels/softmax.hpp>

#include "kernels/on_device.hpp"

using namespace kernel_test;
namespace k = gradus::kernels;

namespace {
struct Rows {
  int64_t N, C;
};
constexpr Rows shapes[] = {{3, 1}, {5, 33}, {9, 64}, {2, 1100}, {0, 7}};
}  // namespace

TEST_CASE("softmax kernels") {
  for_types<float, double, bf16, half>([](auto zero) {
    using T = decltype(zero);
    for (const auto [N, C] : shapes) {
      const auto x = values<T>(N * C, 1, -6, 6), dy = values<T>(N * C, 2);
      const OnDevice<T> dev_x(x), dev_dy(dy);
      Host<T> y(x.size()), dx(x.size());
      const bool schedules = std::is_same_v<T, float> && C == 33;
      k::softmax_fwd(Cpu{}, x.data(), y.data(), N, C);
      same_on_device<T>("softmax_fwd", y, rounding<T>(), schedules, [&](T* out) { k::softmax_fwd<T>(Cuda{}, dev_x, out, N, C); });
      const OnDevice<T> dev_y(y);
      k::softmax_bwd(Cpu{}, y.data(), dy.data(), dx.data(), N, C);
      same_on_device<T>("softmax_bwd", dx, rounding<T>(), schedules,
                        [&](T* out) { k::softmax_bwd<T>(Cuda{}, dev_y, dev_dy, out, N, C); });
    }
  });
}

TEST_CASE("log_softmax kernels") {
  for_types<float, double, bf16, half>([](auto zero) {
    using T = decltype(zero);
    for (const auto [N, C] : shapes) {
      const auto x = values<T>(N * C, 1, -6, 6), dy = values<T>(N * C, 2);
      const OnDevice<T> dev_x(x), dev_dy(dy);
      Host<T> y(x.size()), dx(x.size());
      const bool schedules = std::is_same_v<T, float> && C == 33;
      k::log_softmax_fwd(Cpu{}, x.data(), y.data(), N, C);
      same_on_device<T>("log_softmax_fwd", y, rounding<T>(), schedules, [&](T* out) { k::log_softmax_fwd<T>(Cuda{}, dev_x, out, N, C); });
      const OnDevice<T> dev_y(y);
      k::log_softmax_bwd(Cpu{}, y.data(), dy.data(), dx.data(), N, C);
      same_on_device<T>("log_softmax_bwd", dx, 4 * rounding<T>(), schedules,       // sums of up to 1100 terms
                        [&](T* out) { k::log_softmax_bwd<T>(Cuda{}, dev_y, dev_dy, out, N, C); });
    }
  });
}

TEST_CASE("logsumexp kernels") {
  for_types<float, double, bf16, half>([](auto zero) {
    using T = decltype(zero);
    for (const auto [N, C] : shapes) {
      const auto x = values<T>(N * C, 1, -6, 6), dy = values<T>(N, 2);
      const OnDevice<T> dev_x(x), dev_dy(dy);
      Host<T> y(static_cast<std::size_t>(N)), dx(x.size());
      const bool schedules = std::is_same_v<T, float> && C == 33;
      k::logsumexp_fwd(Cpu{}, x.data(), y.data(), N, C);
      same_on_device<T>("logsumexp_fwd", y, rounding<T>(), schedules, [&](T* out) { k::logsumexp_fwd<T>(Cuda{}, dev_x, out, N, C); });
      const OnDevice<T> dev_y(y), dev_dx(N * C);
      k::logsumexp_bwd(Cpu{}, x.data(), y.data(), dy.data(), dx.data(), N, C);
      k::logsumexp_bwd<T>(Cuda{}, dev_x, dev_y, dev_dy, dev_dx, N, C);
      CHECK(difference(dev_dx.host(), dx, rounding<T>()) == "");
    }
  });
}

TEST_CASE("rows with infinities and NaN are those of the Cpu") {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  constexpr int64_t C = 40, N = 6;
  auto x = values<float>(N * C);
  const auto row = [&](int64_t n) { return x.begin() + n * C; };
  std::fill(row(0), row(1), -inf);
  x[C + 7] = inf;
  x[2 * C + 3] = nan;
  x[3 * C + 5] = -inf;
  x[4 * C] = inf, x[4 * C + 39] = nan;
  std::fill(row(5), row(6), inf);
  const OnDevice<float> dev_x(x);
  Host<float> y(x.size()), l(N);
  k::softmax_fwd(Cpu{}, x.data(), y.data(), N, C);
  same_on_device<float>("softmax_fwd", y, 4e-6, false, [&](float* out) { k::softmax_fwd<float>(Cuda{}, dev_x, out, N, C); });
  k::log_softmax_fwd(Cpu{}, x.data(), y.data(), N, C);
  same_on_device<float>("log_softmax_fwd", y, 4e-6, false, [&](float* out) { k::log_softmax_fwd<float>(Cuda{}, dev_x, out, N, C); });
  k::logsumexp_fwd(Cpu{}, x.data(), l.data(), N, C);
  same_on_device<float>("logsumexp_fwd", l, 4e-6, false, [&](float* out) { k::logsumexp_fwd<float>(Cuda{}, dev_x, out, N, C); });
}
