// What the op files share: broadcasting, loops over operands, reducing a gradient back to a broadcast input's shape.
#pragma once
#include <gradus/autograd/engine.hpp>
#include <gradus/kernels/elementwise.hpp>

namespace gradus {

/// The shape that a and b broadcast to by NumPy's rules: aligned at the right, extents equal or 1.
/// Returns false when they do not fit.
inline bool broadcast_shapes(const Shape& a, const Shape& b, Shape& out) {
  out.n = a.n > b.n ? a.n : b.n;
  for (int i = 1; i <= out.n; ++i) {
    const int64_t x = i <= a.n ? a[a.n - i] : 1, y = i <= b.n ? b[b.n - i] : 1;
    if (x != y && x != 1 && y != 1) return false;
    out[out.n - i] = x == 1 ? y : x;
  }
  return true;
}

namespace detail {

[[noreturn]] inline void fail_broadcast(const char* op, const AnyTensor& a, const AnyTensor& b, Where at) {
  fail(op, "shapes do not broadcast", {{"a", describe(a)}, {"b", describe(b)}},
       "extents that are equal or 1, aligned at the right", at);
}

/// Strides of x seen as `shape`: 0 where x is broadcast.
inline Shape broadcast_strides(const AnyTensor& x, const Shape& shape) {
  Shape s;
  s.n = shape.n;
  const int lead = shape.n - x.rank();
  for (int i = 0; i < shape.n; ++i) s.v[i] = i < lead || x.shape()[i - lead] == 1 ? 0 : x.strides()[i - lead];
  return s;
}

/// The loop over `shape` for the given operands, the first of which is the output.
template <class... X> kernels::Loop<sizeof...(X)> loop_over(const Shape& shape, const X&... x) {
  if (((x.is_contiguous() && x.shape() == shape) && ...)) return kernels::Loop<sizeof...(X)>::flat(shape.numel());
  return kernels::Loop<sizeof...(X)>::make(shape, {broadcast_strides(x, shape)...});
}

/// A dimension given as d in [-rank, rank), as [0, rank).
inline int normalize_dim(const char* op, int d, int rank, const AnyTensor& x, Where at) {
  if (d < -rank || d >= rank)
    fail(op, "no such dimension", {{"x", describe(x)}, {"dim", std::to_string(d)}},
         rank == 0 ? std::string("a tensor of at least 1 dimension")
                   : "a dimension in [" + std::to_string(-rank) + ", " + std::to_string(rank) + ")",
         at);
  return d < 0 ? d + rank : d;
}

/// An undefined operand, with the caller's line.
inline void check_defined(const char* op, const AnyTensor& x, Where at) {
  if (!x.defined()) [[unlikely]] fail_undefined(op, "its values", at);
}

template <class F, class T, class D> Tensor<T, D> map_unary(F op, const Tensor<T, D>& x, Where at, const char* name = GRADUS_CALLER) {
  check_defined(name, x, at);
  Tensor<T, D> y(x.shape(), at, name);
  kernels::unary<F, T>(D{}, op, x.data(), y.data(), loop_over(x.shape(), y, x));
  return y;
}
template <class F, class T, class D> Tensor<T, D> map_binary(const char* name, F op, const Tensor<T, D>& a, const Tensor<T, D>& b, Where at) {
  check_defined(name, a, at), check_defined(name, b, at);
  if (a.shape() == b.shape() && a.is_contiguous() && b.is_contiguous()) {
    Tensor<T, D> y(a.shape(), at, name);
    kernels::binary<F, T>(D{}, op, a.data(), b.data(), y.data(), kernels::Loop<3>::flat(y.numel()));
    return y;
  }
  Shape shape;
  if (!broadcast_shapes(a.shape(), b.shape(), shape)) fail_broadcast(name, a, b, at);
  Tensor<T, D> y(shape, at, name);
  kernels::binary<F, T>(D{}, op, a.data(), b.data(), y.data(), loop_over(shape, y, a, b));
  return y;
}
template <class F, class T, class D>
Tensor<bool, D> map_compare(const char* name, F op, const Tensor<T, D>& a, const Tensor<T, D>& b, Where at) {
  check_defined(name, a, at), check_defined(name, b, at);
  Shape shape;
  if (!broadcast_shapes(a.shape(), b.shape(), shape)) fail_broadcast(name, a, b, at);
  Tensor<bool, D> y(shape, at, name);
  kernels::compare<F, T>(D{}, op, a.data(), b.data(), y.data(), loop_over(shape, y, a, b));
  return y;
}
/// A tensor with one element, for an operand that is a number.
template <class T, class D> Tensor<T, D> scalar_like(const Tensor<T, D>&, double v, Where at) {
  Tensor<T, D> s(Shape{}, at);
  kernels::fill<T>(D{}, s.data(), static_cast<T>(v), kernels::Loop<1>::flat(1));
  return s;
}

}  // namespace detail

/// Adds up the dimensions along which a tensor of `shape` was broadcast to x's shape; the gradient of broadcasting.
template <class T, class D> Tensor<T, D> sum_to(const Tensor<T, D>& x, const Shape& shape, Where at = Where::current());

}  // namespace gradus
