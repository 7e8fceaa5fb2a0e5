// Reductions over any set of dimensions; prod is in scan.hpp, logsumexp in softmax.hpp.
//
//   sum    y = sum_r x_r                    dx_r = dy
//   mean   y = sum / R                      dx_r = dy / R
//   var    y = sum (x_r - mean)^2 / (R - c)           composed
//   amax   y = max_r x_r                    dx_r = dy / k for the k elements that equal the maximum
#pragma once
#include <gradus/kernels/reduce.hpp>
#include <gradus/ops/view.hpp>

namespace gradus {

/// Which dimensions to reduce: one, several ({0, 2}), or, empty, all. Negative ones count from the end.
struct Dims {
  Shape list;
  Dims() = default;
  Dims(int d) : list{d} {}
  Dims(std::initializer_list<int64_t> l) : list(l) {}
  Dims(const Shape& s) : list(s) {}
};

namespace detail {

/// x seen as [O, R, I] with R the reduced elements; made contiguous in that order when it is not.
template <class T, class D> struct ReduceView {
  Tensor<T, D> x;
  Shape kept, with_ones;      // the result's shape without, and with, the reduced dimensions
  int64_t O = 1, R = 1, I = 1;
};
template <class T, class D> ReduceView<T, D> reduce_view(const char* op, const Tensor<T, D>& x, const Dims& dims, Where at) {
  check_defined(op, x, at);
  ReduceView<T, D> v;
  bool reduced[kMaxRank] = {};
  for (int64_t d : dims.list) {
    const int k = normalize_dim(op, static_cast<int>(d), x.rank(), x, at);
    if (reduced[k]) fail(op, "the same dimension twice", {{"x", describe(x)}, {"dims", dims.list.str()}}, "each dimension once", at);
    reduced[k] = true;
  }
  if (dims.list.n == 0)
    for (int i = 0; i < x.rank(); ++i) reduced[i] = true;
  v.with_ones = x.shape();
  int first = -1, last = -1;
  bool adjacent = true;
  for (int i = 0; i < x.rank(); ++i) {
    if (!reduced[i]) {
      v.kept.push_back(x.shape()[i]);
      continue;
    }
    v.with_ones[i] = 1, v.R *= x.shape()[i];
    if (first < 0) first = i;
    adjacent &= last < 0 || last == i - 1;
    last = i;
  }
  if (first < 0) first = last = x.rank();
  if (adjacent) {
    for (int i = 0; i < first; ++i) v.O *= x.shape()[i];
    for (int i = last + 1; i < x.rank(); ++i) v.I *= x.shape()[i];
    v.x = no_grad([&] { return contiguous(x, at); });
  } else {
    Shape order;
    for (int i = 0; i < x.rank(); ++i)
      if (!reduced[i]) order.push_back(i), v.O *= x.shape()[i];
    for (int i = 0; i < x.rank(); ++i)
      if (reduced[i]) order.push_back(i);
    v.x = no_grad([&] { return contiguous(permute(x, order, at), at); });
  }
  return v;
}
template <class Op, class T, class D> Tensor<T, D> raw_reduce(const ReduceView<T, D>& v, bool keepdim, Where at) {
  Tensor<T, D> y(keepdim ? v.with_ones : v.kept, at);
  kernels::reduce<Op, T>(D{}, {}, v.x.data(), y.data(), v.O, v.R, v.I);
  return y;
}

}  // namespace detail

template <class T, class D> struct SumNode final : Node {
  Shape from, with_ones;
  void backward(const AnyTensor& dy) override { accumulate(0, expand(gradus::reshape(Tensor<T, D>(dy.ref()), with_ones, at), from, at)); }
};
/// The sum over `dims` (all by default); `keepdim` leaves extents of 1 in their place.
template <class T, class D> Tensor<T, D> sum(const Tensor<T, D>& x, const Dims& dims = {}, bool keepdim = false, Where at = Where::current()) {
  const auto v = detail::reduce_view("sum", x, dims, at);
  Tensor<T, D> y = detail::raw_reduce<kernels::SumOf>(v, keepdim, at);
  if (detail::wants_grad(x)) {
    auto& node = detail::record<SumNode<T, D>>(y, at, x);
    node.from = x.shape(), node.with_ones = v.with_ones;
  }
  return y;
}
template <class T, class D> Tensor<T, D> sum_to(const Tensor<T, D>& x, const Shape& shape, Where at) {
  if (x.shape() == shape) return x;
  Shape dims;
  const int lead = x.rank() - shape.n;
  for (int i = 0; i < x.rank(); ++i)
    if (i < lead || shape[i - lead] != x.shape()[i]) dims.push_back(i);
  return gradus::reshape(sum(x, dims, true, at), shape, at);
}
/// The mean over `dims` (all by default).
template <Floating T, class D> Tensor<T, D> mean(const Tensor<T, D>& x, const Dims& dims = {}, bool keepdim = false, Where at = Where::current()) {
  const Tensor<T, D> s = sum(x, dims, keepdim, at);
  const double count = s.numel() == 0 ? 0 : static_cast<double>(x.numel()) / static_cast<double>(s.numel());
  return mul(s, 1 / count, at);
}
/// The variance over `dims`; `correction` is taken off the count (1: unbiased, 0: of the values themselves).
template <Floating T, class D>
Tensor<T, D> var(const Tensor<T, D>& x, const Dims& dims = {}, double correction = 1, bool keepdim = false, Where at = Where::current()) {
  const auto centred = sub(x, mean(x, dims, true, at), at);
  const auto s = sum(square(centred, at), dims, keepdim, at);
  const double count = s.numel() == 0 ? 0 : static_cast<double>(x.numel()) / static_cast<double>(s.numel());
  return mul(s, 1 / (count - correction > 0 ? count - correction : 0.0), at);
}
/// The square root of var().
template <Floating T, class D>
Tensor<T, D> stddev(const Tensor<T, D>& x, const Dims& dims = {}, double correction = 1, bool keepdim = false, Where at = Where::current()) {
  return sqrt(var(x, dims, correction, keepdim, at), at);
}

template <class T, class D> struct ExtremumNode final : Node {
  Saved<T, D> x{this, "x"}, y{this, "y"};
  Shape with_ones;
  Dims dims;
  void backward(const AnyTensor& g) override {
    const auto top = gradus::reshape(y.get().detach(), with_ones, at);
    const auto chosen = cast<T>(equal(x.get().detach(), top, at), at);
    const auto share = div(chosen, sum(chosen, dims, true, at), at);
    accumulate(0, mul(gradus::reshape(Tensor<T, D>(g.ref()), with_ones, at), share, at));
  }
};
namespace detail {
template <class Op, class T, class D> Tensor<T, D> extremum(const char* op, const Tensor<T, D>& x, const Dims& dims, bool keepdim, Where at) {
  const auto v = reduce_view(op, x, dims, at);
  if (v.R == 0 && v.O * v.I > 0) fail(op, "nothing to reduce", {{"x", describe(x)}}, "at least one element along the dimensions", at);
  Tensor<T, D> y = raw_reduce<Op>(v, keepdim, at);
  if constexpr (is_floating<T>) {
    if (wants_grad(x)) {
      auto& node = record<ExtremumNode<T, D>>(y, at, x);
      node.x = x, node.y = y, node.with_ones = v.with_ones, node.dims = dims;
    }
  }
  return y;
}
template <class Op, class T, class D> Tensor<int64_t, D> arg_extremum(const char* op, const Tensor<T, D>& x, int dim, bool keepdim, Where at) {
  const auto v = reduce_view(op, x, Dims(dim), at);
  if (v.R == 0) fail(op, "nothing to choose from", {{"x", describe(x)}, {"dim", std::to_string(dim)}}, "extent >= 1", at);
  Tensor<int64_t, D> y(keepdim ? v.with_ones : v.kept, at);
  kernels::arg_reduce<Op, T>(D{}, {}, v.x.data(), y.data(), v.O, v.R, v.I);
  return y;
}
}  // namespace detail

// clang-format off
/// The largest element over `dims` (all by default); NaN wins; equal elements share the gradient.
template <class T, class D> Tensor<T, D> amax(const Tensor<T, D>& x, const Dims& dims = {}, bool keepdim = false, Where at = Where::current()) { return detail::extremum<kernels::LargestOf>("amax", x, dims, keepdim, at); }
/// The smallest element over `dims` (all by default); NaN wins; equal elements share the gradient.
template <class T, class D> Tensor<T, D> amin(const Tensor<T, D>& x, const Dims& dims = {}, bool keepdim = false, Where at = Where::current()) { return detail::extremum<kernels::SmallestOf>("amin", x, dims, keepdim, at); }
/// The first position of the largest element along `dim`.
template <class T, class D> Tensor<int64_t, D> argmax(const Tensor<T, D>& x, int dim = -1, bool keepdim = false, Where at = Where::current()) { return detail::arg_extremum<kernels::LargestOf>("argmax", x, dim, keepdim, at); }
/// The first position of the smallest element along `dim`.
template <class T, class D> Tensor<int64_t, D> argmin(const Tensor<T, D>& x, int dim = -1, bool keepdim = false, Where at = Where::current()) { return detail::arg_extremum<kernels::SmallestOf>("argmin", x, dim, keepdim, at); }
// clang-format on

/// Whether any element over `dims` is true.
template <class D> Tensor<bool, D> any(const Tensor<bool, D>& x, const Dims& dims = {}, bool keepdim = false, Where at = Where::current()) {
  const auto v = detail::reduce_view("any", cast<uint8_t>(x, at), dims, at);
  return cast<bool>(detail::raw_reduce<kernels::LargestOf>(v, keepdim, at), at);
}
/// Whether all elements over `dims` are true.
template <class D> Tensor<bool, D> all_of(const Tensor<bool, D>& x, const Dims& dims = {}, bool keepdim = false, Where at = Where::current()) {
  const auto v = detail::reduce_view("all_of", cast<uint8_t>(x, at), dims, at);
  return cast<bool>(detail::raw_reduce<kernels::SmallestOf>(v, keepdim, at), at);
}

/// The p-norm over `dims`: (sum |x|^p)^{1/p}; p = inf: the largest |x|; p = 0: how many are not 0. The gradient at 0 is 0.
template <Floating T, class D>
Tensor<T, D> norm(const Tensor<T, D>& x, double p = 2, const Dims& dims = {}, bool keepdim = false, Where at = Where::current()) {
  if (p == std::numeric_limits<double>::infinity()) return amax(abs(x, at), dims, keepdim, at);
  if (p == -std::numeric_limits<double>::infinity()) return amin(abs(x, at), dims, keepdim, at);
  if (p == 0) return sum(cast<T>(not_equal(x, 0, at), at), dims, keepdim, at);
  if (p == 1) return sum(abs(x, at), dims, keepdim, at);
  const auto s = sum(p == 2 ? square(x, at) : pow(abs(x, at), p, at), dims, keepdim, at);
  const auto zero = equal(s, 0, at);
  return where(zero, 0.0, pow(where(zero, 1.0, s, at), 1 / p, at), at);
}

}  // namespace gradus
