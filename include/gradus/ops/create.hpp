// Factories that need no gradients: zeros, ones, full, arange, linspace, eye, and tensors from std::vector, std::span and
// foreign memory. Random tensors are in ops/random.hpp.
#pragma once
#include <algorithm>
#include <concepts>
#include <memory>
#include <utility>

#include <gradus/kernels/create.hpp>
#include <gradus/ops/view.hpp>

namespace gradus {

/// Not initialised.
template <class T = float, class D = Cpu> Tensor<T, D> empty(const Shape& shape, Where at = Where::current()) { return Tensor<T, D>(shape, at); }
template <class T = float, class D = Cpu> Tensor<T, D> full(const Shape& shape, double value, Where at = Where::current()) {
  Tensor<T, D> y(shape, at);
  kernels::fill<T>(D{}, y.data(), static_cast<T>(value), kernels::Loop<1>::flat(y.numel()));
  return y;
}
template <class T = float, class D = Cpu> Tensor<T, D> zeros(const Shape& shape, Where at = Where::current()) { return full<T, D>(shape, 0, at); }
template <class T = float, class D = Cpu> Tensor<T, D> ones(const Shape& shape, Where at = Where::current()) { return full<T, D>(shape, 1, at); }
/// A tensor of no dimensions.
template <class T = float, class D = Cpu> Tensor<T, D> scalar(T value, Where at = Where::current()) { return full<T, D>(Shape{}, static_cast<double>(value), at); }
template <class T, class D> Tensor<T, D> zeros_like(const Tensor<T, D>& x, Where at = Where::current()) { return zeros<T, D>(x.shape(), at); }
template <class T, class D> Tensor<T, D> ones_like(const Tensor<T, D>& x, Where at = Where::current()) { return ones<T, D>(x.shape(), at); }
template <class T, class D> Tensor<T, D> full_like(const Tensor<T, D>& x, double v, Where at = Where::current()) { return full<T, D>(x.shape(), v, at); }

namespace detail {
inline void check_count(const char* op, std::size_t values, const Shape& shape, Where at) {
  if (static_cast<int64_t>(values) != shape.numel())
    fail(op, "the values do not fill the shape", {{"values", std::to_string(values)}, {"shape", shape.str()}},
         std::to_string(shape.numel()) + " values", at);
}
}  // namespace detail
/// The values, copied, in row-major order; their number must be shape.numel().
template <class T> Tensor<T> from_span(std::span<const T> values, const Shape& shape, Where at = Where::current()) {
  detail::check_count("from_span", values.size(), shape, at);
  Tensor<T> y(shape, at);
  for (std::size_t i = 0; i < values.size(); ++i) y.data()[i] = values[i];
  return y;
}
template <class T> Tensor<T> from_vector(const std::vector<T>& values, const Shape& shape, Where at = Where::current()) {
  return from_span(std::span<const T>(values), shape, at);
}
template <class T> Tensor<T> from_vector(const std::vector<T>& values, Where at = Where::current()) {
  return from_vector(values, Shape{static_cast<int64_t>(values.size())}, at);
}
namespace detail {
/// A tensor over memory of D that somebody else owns; deleter(context), where there is one, runs when the last view is gone.
template <class T, class D = Cpu>
Tensor<T, D> over(T* data, const Shape& shape, const Shape& strides, void (*deleter)(void*), void* context) {
  TensorImpl* t = TensorImpl::make();
  t->dtype = dtype_of<T>, t->device = device_of<D>;
  t->shape = shape, t->strides = strides, t->numel = shape.numel();
  t->contiguous = gradus::is_contiguous(shape, strides);
  t->storage = Storage::wrap(data, static_cast<std::size_t>(t->numel) * sizeof(T), deleter, context);
  t->storage->device = device_of<D>;
  t->data = data;
  return Tensor<T, D>(Ref<TensorImpl>::adopt(t));
}
}  // namespace detail
/// A tensor over memory that the caller owns; nothing is copied, and the memory must outlive the tensor and its views.
template <class T> Tensor<T> borrow(T* data, const Shape& shape, Where = Where::current()) {
  return detail::over(data, shape, contiguous_strides(shape), nullptr, nullptr);
}
/// The same for a span (of a std::vector, an array, ...) whose elements fill the shape.
template <class T> Tensor<T> borrow(std::span<T> values, const Shape& shape, Where at = Where::current()) {
  detail::check_count("borrow", values.size(), shape, at);
  return borrow(values.data(), shape, at);
}
template <class T> Tensor<T> borrow(std::vector<T>& values, const Shape& shape, Where at = Where::current()) {
  return borrow(std::span<T>(values), shape, at);
}
/// A tensor over foreign memory that release() gives back when the last tensor and view are gone: of a file mapping, another
/// library's array. `strides` count elements; contiguous by default.
template <class T, std::invocable F> Tensor<T> wrap(T* data, const Shape& shape, F release, const Shape& strides, Where at = Where::current()) {
  if (strides.n != shape.n)
    fail("wrap", "strides and shape differ in length", {{"shape", shape.str()}, {"strides", strides.str()}}, "one stride a dimension", at);
  return detail::over(
      data, shape, strides,
      [](void* p) {
        const std::unique_ptr<F> f(static_cast<F*>(p));
        (*f)();
      },
      new F(std::move(release)));
}
template <class T, std::invocable F> Tensor<T> wrap(T* data, const Shape& shape, F release, Where at = Where::current()) {
  return wrap(data, shape, std::move(release), contiguous_strides(shape), at);
}
/// A tensor that takes over the vector's memory: no copy.
template <class T>
  requires(!std::is_same_v<T, bool>)
Tensor<T> adopt(std::vector<T>&& values, const Shape& shape, Where at = Where::current()) {
  detail::check_count("adopt", values.size(), shape, at);
  T* data = values.data();
  return wrap(data, shape, [kept = std::move(values)] {}, at);   // moving a vector leaves its elements where they are
}

namespace detail {
/// Fills x, which is contiguous, with x.numel() values of the host.
template <class T, class D> void write_from_host(const Tensor<T, D>& x, const T* values) {
  if constexpr (std::is_same_v<D, Cuda>) copy_to_device(x.data(), values, static_cast<std::size_t>(x.numel()) * sizeof(T));
  else std::copy_n(values, x.numel(), x.data());
}
}  // namespace detail

template <Element T, class D> Tensor<T, D>::Tensor(std::initializer_list<T> values, Where at)
    : Tensor(Shape{static_cast<int64_t>(values.size())}, at) {
  detail::write_from_host(*this, values.begin());
}
template <Element T, class D>
template <std::integral I>
  requires(is_floating<T> && !std::is_same_v<I, bool>)
Tensor<T, D>::Tensor(std::initializer_list<I> values, Where at) : Tensor(Shape{static_cast<int64_t>(values.size())}, at) {
  const auto flat = std::make_unique<T[]>(values.size());
  std::transform(values.begin(), values.end(), flat.get(), [](I v) { return static_cast<T>(v); });
  detail::write_from_host(*this, flat.get());
}
template <Element T, class D> Tensor<T, D>::Tensor(std::initializer_list<std::initializer_list<T>> rows, Where at)
    : Tensor(Shape{static_cast<int64_t>(rows.size()), rows.size() ? static_cast<int64_t>(rows.begin()->size()) : 0}, at) {
  const auto flat = std::make_unique<T[]>(static_cast<std::size_t>(numel()));
  T* to = flat.get();
  for (const auto& row : rows) {
    if (static_cast<int64_t>(row.size()) != shape()[1])
      fail("Tensor", "rows of different lengths", {{"first", std::to_string(shape()[1])}, {"another", std::to_string(row.size())}},
           "rows of one length", at);
    to = std::copy(row.begin(), row.end(), to);
  }
  detail::write_from_host(*this, flat.get());
}

/// start, start + step, ... below end
template <class T = float, class D = Cpu> Tensor<T, D> arange(double start, double end, double step = 1, Where at = Where::current()) {
  if (step == 0 || !std::isfinite((end - start) / step))
    fail("arange", "the range has no length", {{"start", std::to_string(start)}, {"end", std::to_string(end)}, {"step", std::to_string(step)}},
         "finite bounds and a step that is not 0", at);
  const double n = std::ceil((end - start) / step);
  Tensor<T, D> y(Shape{n > 0 ? static_cast<int64_t>(n) : 0}, at);
  kernels::ramp<T>(D{}, y.data(), y.numel(), start, step, 1);
  return y;
}
template <class T = float, class D = Cpu> Tensor<T, D> arange(double end, Where at = Where::current()) { return arange<T, D>(0, end, 1, at); }
/// n values from start to end, both included
template <class T = float, class D = Cpu> Tensor<T, D> linspace(double start, double end, int64_t n, Where at = Where::current()) {
  Tensor<T, D> y(Shape{n}, at);
  kernels::ramp<T>(D{}, y.data(), n, start, end - start, n == 1 ? 1 : static_cast<double>(n - 1));
  return y;
}
/// The identity [n, m] (m = n by default)
template <class T = float, class D = Cpu> Tensor<T, D> eye(int64_t n, int64_t m = -1, Where at = Where::current()) {
  auto y = zeros<T, D>({n, m < 0 ? n : m}, at);
  const int64_t columns = y.shape()[1], ones = n < columns ? n : columns;
  kernels::fill<T>(D{}, y.data(), T(1), kernels::Loop<1>::make({ones}, {{columns + 1}}));
  return y;
}

}  // namespace gradus
