// Writing at indices along a dimension, without changing x: scatter, scatter_reduce, index_copy, index_fill; scatter_add is in
// index.hpp.
//
//   y = x, then y[i][index[i][j][k]][k] = source[i][j][k] for dim = 1 (the last j wins), or the extremum of both
//   scatter        dx = dy where nothing was written                   dsource = dy at its index where it was the last
//   scatter_amax   dx = dy share where x is the maximum                dsource = dy share at its index where it is
// where share is 1 / the number of elements that equal the maximum; scatter_amin alike. An index may have smaller extents than x
// outside of `dim`: the rest of x stays as it is.
#pragma once
#include <gradus/ops/index.hpp>
#include <gradus/ops/create.hpp>

namespace gradus {

namespace detail {
template <class T, class D> struct Scatter {
  int dim = 0;
  Tensor<int64_t, D> index;
  Tensor<T, D> source, y;   // y starts as a copy of x
  Split3 s;
};
template <class T, class D>
Scatter<T, D> start_scatter(const char* op, const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, const Tensor<T, D>& source, Where at) {
  Scatter<T, D> r;
  r.dim = normalize_dim(op, dim, x.rank(), x, at);
  r.index = checked_index(op, index, x.shape()[r.dim], x, r.dim, at);
  r.source = no_grad([&] { return contiguous(source, at); });
  r.y = map_unary(kernels::Copy{}, x, at);
  r.s = split_at(x.shape(), r.dim);
  return r;
}
}  // namespace detail

/// Which elements of the source stayed is found by scattering their numbers.
template <class T, class D> struct ScatterNode final : Node {
  Saved<int64_t, D> index{this, "index"};
  Shape from;
  int dim = 0;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref());
    const auto idx = index.get();
    const auto s = detail::split_at(from, dim);
    auto last = full<int64_t, D>(from, -1, at);                 // the number of the element that was written there
    const auto number = gradus::reshape(arange<int64_t, D>(static_cast<double>(idx.numel()), at), idx.shape(), at);
    kernels::scatter<int64_t>(D{}, last.data(), idx.data(), number.data(), s.O, s.R, s.I, idx.shape()[dim]);
    if (wants(0)) accumulate(0, where(less(last, 0.0, at), dy, 0.0, at));
    if (wants(1)) accumulate(1, where(equal(gather(last, dim, idx, at), number, at), gather(dy, dim, idx, at), 0.0, at));
  }
};
/// x with source[i][j][k] written at [i][index[i][j][k]][k] for dim = 1; of repeated indices the last one counts.
template <class T, class D>
Tensor<T, D> scatter(const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, const Tensor<T, D>& source, Where at = Where::current()) {
  if (detail::index_is_part("scatter", x, dim, index, source, at))
    return detail::on_part(x, dim, index, at, [&](const auto& part) { return scatter(part, dim, index, source, at); });
  auto r = detail::start_scatter("scatter", x, dim, index, source, at);
  kernels::scatter<T>(D{}, r.y.data(), r.index.data(), r.source.data(), r.s.O, r.s.R, r.s.I, r.index.shape()[r.dim]);
  if constexpr (is_floating<T>) {
    if (detail::wants_grad(x, source)) {
      auto& node = detail::record<ScatterNode<T, D>>(r.y, at, x, source);
      node.index = r.index, node.from = x.shape(), node.dim = r.dim;
    }
  }
  return r.y;
}

/// x with `value` written at the indices.
template <class T, class D>
Tensor<T, D> scatter(const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, double value, Where at = Where::current()) {
  return scatter(x, dim, index, full<T, D>(index.shape(), value, at), at);
}

template <class T, class D> struct ScatterExtremumNode final : Node {
  Saved<T, D> x{this, "x"}, source{this, "source"}, y{this, "y"};
  Saved<int64_t, D> index{this, "index"};
  int dim = 0;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref());
    const auto idx = index.get();
    const auto top = y.get().detach();
    const auto from_x = cast<T>(equal(x.get().detach(), top, at), at);
    const auto from_source = cast<T>(equal(source.get().detach(), gather(top, dim, idx, at), at), at);
    const auto share = div(dy, maximum(scatter_add(from_x, dim, idx, from_source, at), ones_like(top, at), at), at);
    if (wants(0)) accumulate(0, mul(share, from_x, at));
    if (wants(1)) accumulate(1, mul(gather(share, dim, idx, at), from_source, at));
  }
};
namespace detail {
template <bool largest, class T, class D>
Tensor<T, D> scatter_extremum(const char* op, const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, const Tensor<T, D>& source, Where at) {
  if (index_is_part(op, x, dim, index, source, at))
    return on_part(x, dim, index, at, [&](const auto& part) { return scatter_extremum<largest>(op, part, dim, index, source, at); });
  auto r = start_scatter(op, x, dim, index, source, at);
  const int64_t J = r.index.shape()[r.dim];
  if constexpr (largest) kernels::scatter_amax<T>(D{}, r.y.data(), r.index.data(), r.source.data(), r.s.O, r.s.R, r.s.I, J);
  else kernels::scatter_amin<T>(D{}, r.y.data(), r.index.data(), r.source.data(), r.s.O, r.s.R, r.s.I, J);
  if constexpr (is_floating<T>) {
    if (wants_grad(x, source)) {
      auto& node = record<ScatterExtremumNode<T, D>>(r.y, at, x, source);
      node.x = x, node.source = source, node.y = r.y, node.index = r.index, node.dim = r.dim;
    }
  }
  return r.y;
}
}  // namespace detail
/// The maximum of x and of what scatter would write there; equal elements share the gradient. NaN wins.
template <class T, class D>
Tensor<T, D> scatter_amax(const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, const Tensor<T, D>& source, Where at = Where::current()) {
  return detail::scatter_extremum<true>("scatter_amax", x, dim, index, source, at);
}
/// The minimum of x and of what scatter would write there; equal elements share the gradient. NaN wins.
template <class T, class D>
Tensor<T, D> scatter_amin(const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, const Tensor<T, D>& source, Where at = Where::current()) {
  return detail::scatter_extremum<false>("scatter_amin", x, dim, index, source, at);
}

namespace detail {
/// x times the source's elements at their indices. Each round multiplies by one element a destination (the one with the highest
/// number that is left), so that there are as many rounds as the most frequent index has elements, every factor is exact, and
/// the gradient is that of products, zeros included.
template <class T, class D>
Tensor<T, D> scatter_product(const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, const Tensor<T, D>& source, Where at) {
  const auto number = gradus::reshape(arange<int64_t, D>(static_cast<double>(index.numel()), at), index.shape(), at);
  const auto none = full<int64_t, D>(x.shape(), -1, at);
  auto left = number;                                          // -1 where an element had its turn
  Tensor<T, D> y = x;
  while (left.numel() > 0 && amax(left, {}, false, at).item(at) >= 0) {
    const auto first = scatter_amax(none, dim, index, left, at);
    const auto chosen = logical_and(equal(gather(first, dim, index, at), number, at), less(full<int64_t, D>(left.shape(), -1, at), left, at), at);
    const auto factor = scatter_add(zeros<T, D>(x.shape(), at), dim, index, where(chosen, source, 0.0, at), at);
    y = mul(y, where(less(first, 0.0, at), 1.0, factor, at), at);
    left = where(chosen, full<int64_t, D>(left.shape(), -1, at), left, at);
  }
  return y;
}
}  // namespace detail

/// What scatter_reduce makes of the elements that come to one place.
enum class Reduce { sum, mean, prod, amax, amin };
/// The source's elements combined at their indices, with what x holds there (`include_self`) or in place of it. Places without
/// an element keep x. Equal extremes share the gradient; prod takes as many passes as the most frequent index has elements.
template <Floating T, class D>
Tensor<T, D> scatter_reduce(const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, const Tensor<T, D>& source, Reduce reduce,
                            bool include_self = true, Where at = Where::current()) {
  if (detail::index_is_part("scatter_reduce", x, dim, index, source, at))
    return detail::on_part(x, dim, index, at, [&](const auto& part) { return scatter_reduce(part, dim, index, source, reduce, include_self, at); });
  const auto count = scatter_add(zeros<T, D>(x.shape(), at), dim, index, ones<T, D>(index.shape(), at), at);
  Tensor<T, D> base = x;
  if (!include_self) {
    constexpr double inf = std::numeric_limits<double>::infinity();
    const double identity = reduce == Reduce::prod ? 1 : reduce == Reduce::amax ? -inf : reduce == Reduce::amin ? inf : 0;
    base = where(greater(count, 0, at), identity, x, at);
  }
  switch (reduce) {
    case Reduce::sum: return scatter_add(base, dim, index, source, at);
    case Reduce::mean:
      return div(scatter_add(base, dim, index, source, at), include_self ? add(count, 1, at) : maximum(count, ones_like(count, at), at), at);
    case Reduce::prod: return detail::scatter_product(base, dim, index, source, at);
    case Reduce::amax: return scatter_amax(base, dim, index, source, at);
    default: return scatter_amin(base, dim, index, source, at);
  }
}

namespace detail {
/// index [J] as an index of `source`'s shape, the same for all positions outside of `dim`.
template <class D> Tensor<int64_t, D> spread_index(const char* op, const AnyTensor& x, int dim, const Tensor<int64_t, D>& index, const AnyTensor& source, Where at) {
  const int d = normalize_dim(op, dim, x.rank(), x, at);
  Shape want = x.shape(), column;
  if (index.rank() == 1) want[d] = index.numel();
  if (index.rank() != 1 || (source.defined() && !(source.shape() == want)))
    fail(op, "the source does not match the index", {{"x", describe(x)}, {"index", describe(index)}, {"source", source.defined() ? describe(source) : "a number"}},
         "index [J] and source " + want.str(), at);
  for (int i = 0; i < x.rank(); ++i) column.push_back(i == d ? index.numel() : 1);
  return contiguous(expand(gradus::reshape(index, column, at), want, at), at);
}
}  // namespace detail
/// x with source[..., j, ...] in place of x[..., index[j], ...] along `dim`; of repeated indices the last one counts. index : [J].
template <class T, class D>
Tensor<T, D> index_copy(const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, const Tensor<T, D>& source, Where at = Where::current()) {
  return scatter(x, dim, detail::spread_index("index_copy", x, dim, index, source, at), source, at);
}
/// x with `value` at the positions index : [J] along `dim`.
template <class T, class D>
Tensor<T, D> index_fill(const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, double value, Where at = Where::current()) {
  return scatter(x, dim, detail::spread_index("index_fill", x, dim, index, AnyTensor(), at), value, at);
}

}  // namespace gradus
