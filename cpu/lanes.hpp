// Helpers of the CPU row kernels: reductions over 32 lanes, and rows of 16-bit types as rows of float.
#pragma once
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include <gradus/core/dtype.hpp>

namespace gradus::kernels::detail {

inline constexpr int kLanes = 32;

/// sum_{i<n} f(i). Lane j adds the terms i = j mod 32, then the lanes are added as a tree: the order is fixed, g++ makes
/// vector code of it without -ffast-math, and the error grows with n/32.
template <class A, class F> inline A lane_sum(int64_t n, F f) {
  A lane[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) lane[j] += f(i + j);
  for (int j = 0; i + j < n; ++j) lane[j] += f(i + j);
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) lane[j] += lane[j + half];
  return lane[0];
}

/// Two sums in one pass: f(i, a, b) adds its terms to a and b.
template <class A> struct Pair {
  A a, b;
};
template <class A, class F> inline Pair<A> lane_sum2(int64_t n, F f) {
  A a[kLanes] = {}, b[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) f(i + j, a[j], b[j]);
  for (int j = 0; i + j < n; ++j) f(i + j, a[j], b[j]);
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) a[j] += a[j + half], b[j] += b[j + half];
  return {a[0], b[0]};
}

/// max_{i<n} x[i], NaN passed over; -infinity for n = 0.
template <class A> inline A lane_max(const A* x, int64_t n) {
  A lane[kLanes];
  for (A& v : lane) v = -std::numeric_limits<A>::infinity();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
  for (int j = 0; i + j < n; ++j) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) lane[j] = lane[j] > lane[j + half] ? lane[j] : lane[j + half];
  return lane[0];
}

template <class T> inline constexpr bool is_narrow = !std::is_same_v<T, compute_t<T>>;

/// Reads rows of T as rows of compute_t<T>: float and double in place, bf16 and half widened into a buffer.
template <class T> class RowIn {
 public:
  using A = compute_t<T>;
  explicit RowIn(int64_t longest) : buffer_(is_narrow<T> ? static_cast<std::size_t>(longest) : 0) {}
  const A* operator()(const T* x, int64_t n) {
    if constexpr (!is_narrow<T>) {
      return x;
    } else {
      if (!x) return nullptr;
      A* b = buffer_.data();
      for (int64_t i = 0; i < n; ++i) b[i] = static_cast<A>(x[i]);
      return b;
    }
  }

 private:
  std::vector<A> buffer_;
};

/// Writes rows of T that are computed in compute_t<T>: compute into at(y), then store(y, n).
template <class T> class RowOut {
 public:
  using A = compute_t<T>;
  explicit RowOut(int64_t longest) : buffer_(is_narrow<T> ? static_cast<std::size_t>(longest) : 0) {}
  A* at(T* y) {
    if constexpr (is_narrow<T>) return buffer_.data();
    else return y;
  }
  void store([[maybe_unused]] T* y, [[maybe_unused]] int64_t n) {
    if constexpr (is_narrow<T>) {
      const A* b = buffer_.data();
      for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(b[i]);
    }
  }

 private:
  std::vector<A> buffer_;
};

/// Rows that make a piece of work large enough for a thread of its own.
inline int64_t row_grain(int64_t row_length, int64_t elements = 16384) {
  return elements / (row_length > 0 ? row_length : 1) + 1;
}

}  // namespace gradus::kernels::detail
