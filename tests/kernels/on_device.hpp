// Kernels of the contract on both devices, over plain arrays: what the tests of cuda/<op>.cu share.
#pragma once
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <gradus/core/cuda.hpp>
#include <gradus/core/dtype.hpp>
#include <gradus/core/kernel_choice.hpp>
#include <gradus/core/random.hpp>

#include "support/catch.hpp"
#ifdef GRADUS_CUDA_EMULATED
#include "emulation/kernels.hpp"
#endif

namespace kernel_test {
using gradus::bf16, gradus::half, gradus::compute_t, gradus::Cpu, gradus::Cuda;

/// Host elements; bool as bytes, because std::vector<bool> has none.
template <class T> using Host = std::vector<std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>>;

/// An array on the device.
template <class T> class OnDevice {
 public:
  explicit OnDevice(int64_t n) : n_(n), p_(static_cast<T*>(gradus::detail::device_alloc(bytes(), gradus::Where::current()))) {}
  OnDevice(const Host<T>& host) : OnDevice(static_cast<int64_t>(host.size())) { gradus::detail::copy_to_device(p_, host.data(), bytes()); }
  ~OnDevice() { gradus::detail::device_free(p_); }
  OnDevice(const OnDevice&) = delete;
  operator T*() const { return p_; }
  Host<T> host() const {
    Host<T> h(static_cast<std::size_t>(n_));
    if (n_ > 0) gradus::detail::copy_to_host(h.data(), p_, bytes());
    return h;
  }

 private:
  std::size_t bytes() const { return static_cast<std::size_t>(n_) * sizeof(T); }
  int64_t n_;
  T* p_;
};

/// Uniform in [lo, hi), whole numbers for integers.
template <class T> Host<T> values(int64_t n, uint64_t seed = 1, double lo = -2, double hi = 2) {
  Host<T> v(static_cast<std::size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const gradus::Philox r(seed, 7, static_cast<uint64_t>(i));
    const double u = lo + (hi - lo) * gradus::uniform01(r.w[0], r.w[1]);
    v[static_cast<std::size_t>(i)] = static_cast<typename Host<T>::value_type>(std::is_integral_v<T> ? std::floor(u) : u);
  }
  return v;
}

/// The first element that differs by more than tolerance * (1 + |expected|), as text; empty when none does. NaN equals NaN.
template <class T> std::string difference(const std::vector<T>& actual, const std::vector<T>& expected, double tolerance) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double a = static_cast<double>(actual[i]), e = static_cast<double>(expected[i]);
    if (a == e || (a != a && e != e) || std::fabs(a - e) <= tolerance * (1 + std::fabs(e))) continue;
    return "element " + std::to_string(i) + " is " + std::to_string(a) + ", expected " + std::to_string(e);
  }
  return actual.size() == expected.size() ? "" : "another length";
}
/// What rounding to T and sums in compute_t<T> may make of a result of order 1.
template <class T> constexpr double rounding() {
  if constexpr (std::is_same_v<T, double>) return 1e-12;
  else if constexpr (std::is_same_v<T, float>) return 4e-6;
  else if constexpr (std::is_same_v<T, half>) return 2e-3;
  else if constexpr (std::is_same_v<T, bf16>) return 1.6e-2;
  else return 0;
}

/// f(T()) for each T.
template <class... T, class F> void for_types(F f) { (f(T()), ...); }

/// f(name) under other orders of the emulated device's threads; not at all on a GPU.
template <class F> void for_schedules([[maybe_unused]] F f) {
#ifdef GRADUS_CUDA_EMULATED
  const auto under = [&](const std::string& policy, uint64_t seed) {
    const emulation_test::Schedule schedule(policy, seed, 0);
    f(policy + " " + std::to_string(seed));
  };
  under("reverse", 0), under("warp-lag", 0);
  for (uint64_t seed = 1; seed <= 8; ++seed) under("random", seed);
#endif
}

/// Runs f(output...) with every kernel that `op` has and under every schedule of the emulated device: outputs must be within
/// `tolerance` of `expected`, and the schedule must not show in one bit. Schedules are tried where `schedules`. `only` is for sizes
/// at which a reference, which does far more than the rest, would take minutes.
template <class T, class F>
void same_on_device(const char* op, const Host<T>& expected, double tolerance, bool schedules, F f, const Host<T>* start = nullptr,
                    const std::string& only = "") {
  for (const std::string& kernel : only.empty() ? gradus::kernel_variants(op) : std::vector<std::string>{only}) {
    const gradus::KernelScope scope(op, kernel);
    const auto run = [&] {
      OnDevice<T> y(start ? *start : Host<T>(expected.size()));
      f(static_cast<T*>(y));
      return y.host();
    };
    INFO(op << ", kernel " << kernel << ", " << sizeof(T) << " bytes an element");
    const Host<T> first = run();
    CHECK(difference(first, expected, tolerance) == "");
    if (!schedules) continue;
    for_schedules([&](const std::string& schedule) {
      const Host<T> again = run();
      INFO(schedule);
      CHECK((again.empty() || std::memcmp(again.data(), first.data(), again.size() * sizeof(again[0])) == 0));
    });
  }
}

}  // namespace kernel_test
