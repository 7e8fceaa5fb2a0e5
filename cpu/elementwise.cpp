// Element-wise loops, written so that g++ makes vector code of them: unit strides, or one operand that does not move (a
// scalar, a broadcast row element), and a general form for the rest.
// The instantiations are spread over elementwise_*.cpp, which include this file, so that they compile side by side.
#ifndef GRADUS_CPU_ELEMENTWISE
#define GRADUS_CPU_ELEMENTWISE
#include <gradus/kernels/elementwise.hpp>
#include <gradus/kernels/instance.hpp>

#include "pragmas.hpp"
#include "transpose.hpp"

namespace gradus::kernels {

namespace detail {
template <class T> inline compute_t<T> load(T x) { return static_cast<compute_t<T>>(x); }

// Formulas that are more than an instruction or two (exp, erf, ...) are compiled once for float and once for double, in
// the loops below, which are flattened: everything that they call is inlined, without regard to g++'s growth limits, so that
// they become vector code. Strided and 16-bit operands pass through them in blocks that stay in the first cache.
inline constexpr int64_t kBlock = 512;
template <class F, class A>
__attribute__((noinline, flatten)) void unary_block(F op, const A* x, A* y, int64_t n) {
  GRADUS_IVDEP
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<A>(op.f(x[i]));
}
template <class F, class A>
__attribute__((noinline, flatten)) void binary_block(F op, const A* a, const A* b, A* y, int64_t n) {
  GRADUS_IVDEP
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<A>(op.f(a[i], b[i]));
}
/// n <= kBlock elements in the arithmetic of T: x itself where it can be read in place, else a copy in `buffer`.
template <class T> inline const compute_t<T>* gathered(const T* x, int64_t stride, compute_t<T>* buffer, int64_t n) {
  if constexpr (std::is_same_v<T, compute_t<T>>) {
    if (stride == 1) return x;
  }
  if (stride == 1)
    for (int64_t i = 0; i < n; ++i) buffer[i] = load(x[i]);
  else
    for (int64_t i = 0; i < n; ++i) buffer[i] = load(x[i * stride]);
  return buffer;
}
template <class T> inline void scattered(const compute_t<T>* buffer, T* y, int64_t stride, int64_t n) {
  if (stride == 1)
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(buffer[i]);
  else
    for (int64_t i = 0; i < n; ++i) y[i * stride] = static_cast<T>(buffer[i]);
}
template <class F> inline constexpr bool is_gradient = false;
template <class F> inline constexpr bool is_gradient<Backward<F>> = true;
}  // namespace detail

template <class F, class T> void unary(Cpu, F op, const T* x, T* y, const Loop<2>& loop) {
  using A = compute_t<T>;
  if constexpr (std::is_same_v<F, Copy>) {
    if (detail::copy_transposed(x, y, loop)) return;
  }
  const int64_t sy = loop.stride[0][loop.rank - 1], sx = loop.stride[1][loop.rank - 1];
  for_each_run(loop, [&](const int64_t* at, int64_t n) {
    const T* px = x + at[1];
    T* py = y + at[0];
    if constexpr (std::is_same_v<T, A>) {
      if (sx == 1 && sy == 1) return detail::unary_block<F, A>(op, px, py, n);
    }
    A bx[detail::kBlock], by[detail::kBlock];
    for (int64_t i = 0; i < n; i += detail::kBlock) {
      const int64_t m = n - i < detail::kBlock ? n - i : detail::kBlock;
      detail::unary_block<F, A>(op, detail::gathered(px + i * sx, sx, bx, m), by, m);
      detail::scattered(by, py + i * sy, sy, m);
    }
  });
}

namespace detail {
template <class F, class T> void blocked_binary(F op, const T* a, const T* b, T* y, const Loop<3>& loop) {
  using A = compute_t<T>;
  const int last = loop.rank - 1;
  const int64_t sy = loop.stride[0][last], sa = loop.stride[1][last], sb = loop.stride[2][last];
  for_each_run(loop, [&](const int64_t* at, int64_t n) {
    const T *pa = a + at[1], *pb = b + at[2];
    T* py = y + at[0];
    if constexpr (std::is_same_v<T, A>) {
      if (sy == 1 && sa == 1 && sb == 1) return binary_block<F, A>(op, pa, pb, py, n);
    }
    A ba[kBlock], bb[kBlock], by[kBlock];
    for (int64_t i = 0; i < n; i += kBlock) {
      const int64_t m = n - i < kBlock ? n - i : kBlock;
      binary_block<F, A>(op, gathered(pa + i * sa, sa, ba, m), gathered(pb + i * sb, sb, bb, m), by, m);
      scattered(by, py + i * sy, sy, m);
    }
  });
}
template <class F, class T, class Y> void binary_loop(F op, const T* a, const T* b, Y* y, const Loop<3>& loop) {
  const int last = loop.rank - 1;
  const int64_t sy = loop.stride[0][last], sa = loop.stride[1][last], sb = loop.stride[2][last];
  for_each_run(loop, [&](const int64_t* at, int64_t n) {
    const T *pa = a + at[1], *pb = b + at[2];
    Y* py = y + at[0];
    // In-place use (y == a) is allowed: element i is read before it is written. ivdep tells g++ that nothing else overlaps.
    if (sy == 1 && sa == 1 && sb == 1) {
      GRADUS_IVDEP
      for (int64_t i = 0; i < n; ++i) py[i] = static_cast<Y>(op.f(load(pa[i]), load(pb[i])));
    } else if (sy == 1 && sa == 1 && sb == 0) {
      const auto v = load(*pb);
      GRADUS_IVDEP
      for (int64_t i = 0; i < n; ++i) py[i] = static_cast<Y>(op.f(load(pa[i]), v));
    } else if (sy == 1 && sa == 0 && sb == 1) {
      const auto v = load(*pa);
      GRADUS_IVDEP
      for (int64_t i = 0; i < n; ++i) py[i] = static_cast<Y>(op.f(v, load(pb[i])));
    } else {
      for (int64_t i = 0; i < n; ++i) py[i * sy] = static_cast<Y>(op.f(load(pa[i * sa]), load(pb[i * sb])));
    }
  });
}
}  // namespace detail

template <class F, class T> void binary(Cpu, F op, const T* a, const T* b, T* y, const Loop<3>& loop) {
  if constexpr (detail::is_gradient<F> || !std::is_same_v<T, compute_t<T>>) detail::blocked_binary(op, a, b, y, loop);
  else detail::binary_loop(op, a, b, y, loop);
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
    if (sy == 1 && sc == 1 && sa == 1 && sb == 1) {
      for (int64_t i = 0; i < n; ++i) {
        const T u = pa[i], v = pb[i];      // both are read: a choice between values, not between loads, is vector code
        py[i] = pc[i] ? u : v;
      }
    } else if (sy == 1 && sc == 1 && sa == 1 && sb == 0) {
      const T v = *pb;
      for (int64_t i = 0; i < n; ++i) {
        const T u = pa[i];
        py[i] = pc[i] ? u : v;
      }
    } else if (sy == 1 && sc == 1 && sa == 0 && sb == 1) {
      const T u = *pa;
      for (int64_t i = 0; i < n; ++i) {
        const T v = pb[i];
        py[i] = pc[i] ? u : v;
      }
    } else {
      for (int64_t i = 0; i < n; ++i) py[i * sy] = pc[i * sc] ? pa[i * sa] : pb[i * sb];
    }
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
