// Element-wise loops. Each inner loop is written so that g++ makes vector code of it: unit strides, or one operand
// that does not move (a scalar, a broadcast row element), and a general strided form for the rest.
// The instantiations are spread over elementwise_*.cpp, which include this file, so that they compile side by side.
#ifndef GRADUS_CPU_ELEMENTWISE
#define GRADUS_CPU_ELEMENTWISE
#include <gradus/kernels/elementwise.hpp>
#include <gradus/kernels/instance.hpp>

namespace gradus::kernels {

namespace detail {
template <class T> inline compute_t<T> load(T x) { return static_cast<compute_t<T>>(x); }
}  // namespace detail

template <class F, class T> void unary(Cpu, F op, const T* x, T* y, const Loop<2>& loop) {
  const bool unit = loop.unit(0) && loop.unit(1);
  const int64_t sy = loop.stride[0][loop.rank - 1], sx = loop.stride[1][loop.rank - 1];
  for_each_run(loop, [&](const int64_t* at, int64_t n) {
    const T* __restrict px = x + at[1];
    T* __restrict py = y + at[0];
    if (unit)
      for (int64_t i = 0; i < n; ++i) py[i] = static_cast<T>(op.f(detail::load(px[i])));
    else
      for (int64_t i = 0; i < n; ++i) py[i * sy] = static_cast<T>(op.f(detail::load(px[i * sx])));
  });
}

namespace detail {
template <class F, class T, class Y> void binary_loop(F op, const T* a, const T* b, Y* y, const Loop<3>& loop) {
  const int last = loop.rank - 1;
  const int64_t sy = loop.stride[0][last], sa = loop.stride[1][last], sb = loop.stride[2][last];
  for_each_run(loop, [&](const int64_t* at, int64_t n) {
    const T *pa = a + at[1], *pb = b + at[2];
    Y* py = y + at[0];
    // In-place use (y == a) is allowed: element i is read before it is written. ivdep tells g++ that nothing else overlaps.
    if (sy == 1 && sa == 1 && sb == 1) {
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) py[i] = static_cast<Y>(op.f(load(pa[i]), load(pb[i])));
    } else if (sy == 1 && sa == 1 && sb == 0) {
      const auto v = load(*pb);
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) py[i] = static_cast<Y>(op.f(load(pa[i]), v));
    } else if (sy == 1 && sa == 0 && sb == 1) {
      const auto v = load(*pa);
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) py[i] = static_cast<Y>(op.f(v, load(pb[i])));
    } else {
      for (int64_t i = 0; i < n; ++i) py[i * sy] = static_cast<Y>(op.f(load(pa[i * sa]), load(pb[i * sb])));
    }
  });
}
}  // namespace detail

template <class F, class T> void binary(Cpu, F op, const T* a, const T* b, T* y, const Loop<3>& loop) {
  detail::binary_loop(op, a, b, y, loop);
}
template <class F, class T> void compare(Cpu, F op, const T* a, const T* b, bool* y, const Loop<3>& loop) {
  detail::binary_loop(op, a, b, y, loop);
}

template <class T> void where(Cpu, const bool* c, const T* a, const T* b, T* y, const Loop<4>& loop) {
  const int last = loop.rank - 1;
  const int64_t sy = loop.stride[0][last], sc = loop.stride[1][last], sa = loop.stride[2][last], sb = loop.stride[3][last];
  for_each_run(loop, [&](const int64_t* at, int64_t n) {
    const bool* pc = c + at[1];
    const T *pa = a + at[2], *pb = b + at[3];
    T* __restrict py = y + at[0];
    for (int64_t i = 0; i < n; ++i) py[i * sy] = pc[i * sc] ? pa[i * sa] : pb[i * sb];
  });
}

template <class T> void fill(Cpu, T* y, T value, const Loop<1>& loop) {
  const int64_t sy = loop.stride[0][loop.rank - 1];
  for_each_run(loop, [&](const int64_t* at, int64_t n) {
    T* py = y + at[0];
    if (sy == 1)
      for (int64_t i = 0; i < n; ++i) py[i] = value;
    else
      for (int64_t i = 0; i < n; ++i) py[i * sy] = value;
  });
}

template <class T, class U> void convert(Cpu, const T* x, U* y, const Loop<2>& loop) {
  const bool unit = loop.unit(0) && loop.unit(1);
  const int64_t sy = loop.stride[0][loop.rank - 1], sx = loop.stride[1][loop.rank - 1];
  const auto one = [](T v) {
    if constexpr (std::is_same_v<U, bool>) return detail::load(v) != compute_t<T>(0);
    else return static_cast<U>(detail::load(v));
  };
  for_each_run(loop, [&](const int64_t* at, int64_t n) {
    const T* px = x + at[1];
    U* py = y + at[0];
    if (unit)
      for (int64_t i = 0; i < n; ++i) py[i] = one(px[i]);
    else
      for (int64_t i = 0; i < n; ++i) py[i * sy] = one(px[i * sx]);
  });
}

}  // namespace gradus::kernels
#endif
