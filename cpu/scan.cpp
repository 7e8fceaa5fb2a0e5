#include <cmath>
#include <limits>
#include <type_traits>

#include <gradus/core/dtype.hpp>
#include <gradus/core/math.hpp>
#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/scan.hpp>

#include "columns.hpp"

namespace gradus::kernels {

namespace detail {
template <class T> using scan_t = std::conditional_t<std::is_same_v<T, float>, double, compute_t<T>>;

/// state = step(state, x_r), y_r = out(state), for each column; `empty` is the state before the first.
template <class State, class T, class Step, class Out>
void scan(const T* x, T* y, int64_t O, int64_t R, int64_t I, bool reverse, State empty, Step step, Out out) {
  for_each_column_block(O, R, I, [&](int64_t o, int64_t i, int64_t count) {
    if (count == 1) {   // one column: the state stays in registers
      State one = empty;
      for (int64_t k = 0; k < R; ++k) {
        const int64_t at = (o * R + (reverse ? R - 1 - k : k)) * I + i;
        step(one, static_cast<compute_t<T>>(x[at]));
        y[at] = static_cast<T>(out(one));
      }
      return;
    }
    State state[kColumnBlock];
    std::fill(state, state + count, empty);
    for (int64_t k = 0; k < R; ++k) {
      const int64_t row = (o * R + (reverse ? R - 1 - k : k)) * I + i;
      const T* xr = x + row;
      T* yr = y + row;
      for (int64_t j = 0; j < count; ++j) {
        step(state[j], static_cast<compute_t<T>>(xr[j]));
        yr[j] = static_cast<T>(out(state[j]));
      }
    }
  });
}

template <class A> inline bool is_nan(A x) { return x != x; }

/// better(a, b): a replaces b.
template <class T, class Better>
void running_extreme(const T* x, T* values, int64_t* index, int64_t O, int64_t R, int64_t I, Better better) {
  using A = compute_t<T>;
  for_each_column_block(O, R, I, [&](int64_t o, int64_t i, int64_t count) {
    A best[kColumnBlock] = {};
    int64_t at[kColumnBlock] = {};
    for (int64_t r = 0; r < R; ++r) {
      const int64_t row = (o * R + r) * I + i;
      for (int64_t j = 0; j < count; ++j) {
        const A v = static_cast<A>(x[row + j]);
        if (r == 0 || is_nan(v) || (!is_nan(best[j]) && better(v, best[j]))) best[j] = v, at[j] = r;
        values[row + j] = static_cast<T>(best[j]), index[row + j] = at[j];
      }
    }
  });
}

/// log sum e^x as top + log(sum).
template <class A> struct LogSum {
  A top = -std::numeric_limits<A>::infinity(), sum = 0;
};
}  // namespace detail

template <class T> void cumsum(Cpu, const T* x, T* y, int64_t O, int64_t R, int64_t I, bool reverse) {
  using S = detail::scan_t<T>;
  detail::scan(
      x, y, O, R, I, reverse, S(0), [](S& s, auto v) { s = static_cast<S>(s + static_cast<S>(v)); }, [](S s) { return s; });
}

template <class T> void cumprod(Cpu, const T* x, T* y, int64_t O, int64_t R, int64_t I, bool reverse) {
  using S = detail::scan_t<T>;
  detail::scan(
      x, y, O, R, I, reverse, S(1), [](S& s, auto v) { s = static_cast<S>(s * static_cast<S>(v)); }, [](S s) { return s; });
}

template <class T> void logcumsumexp(Cpu, const T* x, T* y, int64_t O, int64_t R, int64_t I, bool reverse) {
  using S = detail::scan_t<T>;
  const auto step = [](detail::LogSum<S>& s, auto value) {
    const S v = static_cast<S>(value);
    if (v == s.top) s.sum += std::isinf(v) && v < 0 ? S(0) : S(1);       // also where both are infinite
    else if (v < s.top) s.sum += std::exp(v - s.top);
    else s.sum = s.sum * std::exp(s.top - v) + 1, s.top = v;             // NaN comes here and stays
  };
  detail::scan(x, y, O, R, I, reverse, detail::LogSum<S>{}, step, [](const auto& s) { return s.top + std::log(s.sum); });
}

template <class T> void cummax(Cpu, const T* x, T* values, int64_t* index, int64_t O, int64_t R, int64_t I) {
  detail::running_extreme(x, values, index, O, R, I, [](auto a, auto b) { return a >= b; });
}
template <class T> void cummin(Cpu, const T* x, T* values, int64_t* index, int64_t O, int64_t R, int64_t I) {
  detail::running_extreme(x, values, index, O, R, I, [](auto a, auto b) { return a <= b; });
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T> void* scan_numeric() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&cumsum<T>)..., instance<Cpu>(&cumprod<T>)..., instance<Cpu>(&cummax<T>)...,
                                instance<Cpu>(&cummin<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
template <class... T> void* scan_floating() {
  static void* const table[] = {instance<Cpu>(&logcumsumexp<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_scan_instances[] = {
    scan_numeric<float, double, bf16, half, int64_t, int32_t, uint8_t>(),
    scan_floating<float, double, bf16, half>()};
#endif

}  // namespace gradus::kernels
