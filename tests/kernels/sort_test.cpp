// cuda/sort.cu against cpu/sort.cpp, each kernel. Everything is exact.
#include <gradus/kernels/sort.hpp>

#include "kernels/on_device.hpp"

using namespace kernel_test;
namespace k = gradus::kernels;

namespace {
struct Rows {
  int64_t N, C;
};
constexpr Rows shapes[] = {{4, 1}, {3, 33}, {2, 300}, {1, 2500}, {0, 5}, {2, 0}};

/// Values with many equals; floating ones with NaN, infinities and both zeros.
template <class T> Host<T> mixed(int64_t n) {
  Host<T> x = values<T>(n, 11, gradus::is_floating<T> || std::is_signed_v<T> ? -40 : 0, 40);
  for (std::size_t i = 0; i < x.size(); i += 3) x[i] = static_cast<T>(static_cast<double>(i % 7));
  if constexpr (gradus::is_floating<T>) {
    const float special[] = {std::numeric_limits<float>::quiet_NaN(), -0.0f, 0.0f, std::numeric_limits<float>::infinity(),
                             -std::numeric_limits<float>::infinity()};
    for (std::size_t i = 1; i < x.size(); i += 11) x[i] = static_cast<T>(special[i / 11 % 5]);
  }
  return x;
}
}  // namespace

TEST_CASE("sort kernels: stable, NaN largest, -0 equal to 0") {
  for_types<float, double, bf16, half, int64_t, int32_t, uint8_t>([](auto zero) {
    using T = decltype(zero);
    for (const auto [N, C] : shapes)
      for (const bool descending : {false, true}) {
        const auto x = mixed<T>(N * C);
        const OnDevice<T> dev_x(x), dev_v(N * C);
        Host<T> v(x.size());
        Host<int64_t> at(x.size());
        const bool schedules = std::is_same_v<T, float> && descending && C >= 300;
        k::sort(Cpu{}, x.data(), v.data(), at.data(), N, C, descending);
        same_on_device<int64_t>("sort", at, 0, schedules, [&](int64_t* out) { k::sort<T>(Cuda{}, dev_x, dev_v, out, N, C, descending); });
        CHECK(difference(dev_v.host(), v, 0) == "");
      }
  });
}

TEST_CASE("topk kernels") {
  for_types<float, half, int64_t, uint8_t>([](auto zero) {
    using T = decltype(zero);
    for (const auto [N, C] : {Rows{3, 33}, {2, 300}, {1, 2500}})
      for (const int64_t keep : {int64_t{1}, int64_t{7}, C})
        for (const bool largest : {false, true}) {
          const auto x = mixed<T>(N * C);
          const OnDevice<T> dev_x(x), dev_v(N * keep);
          Host<T> v(static_cast<std::size_t>(N * keep));
          Host<int64_t> at(v.size());
          k::topk(Cpu{}, x.data(), v.data(), at.data(), N, C, keep, largest);
          same_on_device<int64_t>("topk", at, 0, std::is_same_v<T, float> && largest && keep == 7 && C == 300,
                                  [&](int64_t* out) { k::topk<T>(Cuda{}, dev_x, dev_v, out, N, C, keep, largest); });
          CHECK(difference(dev_v.host(), v, 0) == "");
        }
  });
}

TEST_CASE("kth_value and median kernels") {
  for_types<float, double, bf16, int32_t>([](auto zero) {
    using T = decltype(zero);
    for (const auto [N, C] : {Rows{4, 1}, {3, 33}, {2, 1300}}) {
      const auto x = mixed<T>(N * C);
      const OnDevice<T> dev_x(x), dev_v(N);
      Host<T> v(static_cast<std::size_t>(N));
      Host<int64_t> at(v.size());
      for (const int64_t kth : {int64_t{0}, C / 3, C - 1}) {
        k::kth_value(Cpu{}, x.data(), v.data(), at.data(), N, C, kth);
        same_on_device<int64_t>("kth_value", at, 0, std::is_same_v<T, float> && C == 33 && kth > 0,
                                [&](int64_t* out) { k::kth_value<T>(Cuda{}, dev_x, dev_v, out, N, C, kth); });
        CHECK(difference(dev_v.host(), v, 0) == "");
      }
      k::median(Cpu{}, x.data(), v.data(), at.data(), N, C);
      same_on_device<int64_t>("kth_value", at, 0, false, [&](int64_t* out) { k::median<T>(Cuda{}, dev_x, dev_v, out, N, C); });
      CHECK(difference(dev_v.host(), v, 0) == "");
    }
  });
}

TEST_CASE("unique and searchsorted") {
  for_types<float, bf16, int64_t, uint8_t>([](auto zero) {
    using T = decltype(zero);
    for (const int64_t n : {int64_t{0}, int64_t{1}, int64_t{700}}) {
      const auto x = mixed<T>(n);
      const OnDevice<T> dev_x(x), dev_v(n);
      const OnDevice<int64_t> dev_inverse(n), dev_counts(n);
      Host<T> v(x.size());
      Host<int64_t> inverse(x.size()), counts(x.size());
      const int64_t found = k::unique(Cpu{}, x.data(), v.data(), inverse.data(), counts.data(), n);
      REQUIRE(k::unique<T>(Cuda{}, dev_x, dev_v, dev_inverse, dev_counts, n) == found);
      const auto first = [found](auto all) { return all.resize(static_cast<std::size_t>(found)), all; };
      CHECK(difference(first(dev_v.host()), first(v), 0) == "");
      CHECK(difference(dev_inverse.host(), inverse, 0) == "");
      CHECK(difference(first(dev_counts.host()), first(counts), 0) == "");
    }
    const int64_t N = 2, C = 50, M = 33;
    auto rows = mixed<T>(N * C);
    Host<T> sorted(rows.size());
    k::sort<T>(Cpu{}, rows.data(), sorted.data(), nullptr, N, C, false);
    const auto x = mixed<T>(N * M);
    const OnDevice<T> dev_sorted(sorted), dev_x(x);
    for (const bool right : {false, true}) {
      Host<int64_t> y(x.size());
      const OnDevice<int64_t> dev_y(N * M);
      k::searchsorted(Cpu{}, sorted.data(), x.data(), y.data(), N, C, M, right);
      k::searchsorted<T>(Cuda{}, dev_sorted, dev_x, dev_y, N, C, M, right);
      CHECK(difference(dev_y.host(), y, 0) == "");
    }
  });
}

TEST_CASE("bincount and histogram: sums in the order of the elements") {
  const int64_t n = 1500, bins = 40;
  const auto x = values<int64_t>(n, 4, 0, 37);
  const OnDevice<int64_t> dev_x(x);
  Host<int64_t> y(bins);
  k::bincount(Cpu{}, x.data(), y.data(), n, bins);
  same_on_device<int64_t>("bincount", y, 0, true, [&](int64_t* out) { k::bincount(Cuda{}, dev_x, out, n, bins); });
  for_types<float, double>([&](auto zero) {
    using T = decltype(zero);
    const auto w = values<T>(n, 5, 0, 1e6);
    const OnDevice<T> dev_w(w);
    Host<T> sums(bins);
    k::bincount_weighted(Cpu{}, x.data(), w.data(), sums.data(), n, bins);
    same_on_device<T>("bincount_weighted", sums, 0, std::is_same_v<T, float>, [&](T* out) { k::bincount_weighted<T>(Cuda{}, dev_x, dev_w, out, n, bins); });
  });
  for_types<float, double, bf16, half>([&](auto zero) {
    using T = decltype(zero);
    const auto v = mixed<T>(n);
    const OnDevice<T> dev_v(v);
    k::histogram(Cpu{}, v.data(), y.data(), n, bins, -30, 6);
    same_on_device<int64_t>("histogram", y, 0, false, [&](int64_t* out) { k::histogram<T>(Cuda{}, dev_v, out, n, bins, -30, 6); });
  });
}
