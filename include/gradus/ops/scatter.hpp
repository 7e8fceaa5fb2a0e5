// Writing at indices along a dimension, without changing x: scatter and scatter_amax; scatter_add is in index.hpp.
//
//   y = x, then y[i][index[i][j][k]][k] = source[i][j][k] for dim = 1 (the last j wins), or the maximum of both
//   scatter        dx = dy where nothing was written                   dsource = dy at its index where it was the last
//   scatter_amax   dx = dy share where x is the maximum                dsource = dy share at its index where it is
// where share is 1 / the number of elements that equal the maximum.
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
  check_gather(op, x, r.dim, index, at);
  if (!(source.shape() == index.shape()))
    fail(op, "source and index differ", {{"index", describe(index)}, {"source", describe(source)}}, "equal shapes", at);
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

template <class T, class D> struct ScatterAmaxNode final : Node {
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
/// The maximum of x and of what scatter would write there; equal elements share the gradient.
template <class T, class D>
Tensor<T, D> scatter_amax(const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, const Tensor<T, D>& source, Where at = Where::current()) {
  auto r = detail::start_scatter("scatter_amax", x, dim, index, source, at);
  kernels::scatter_amax<T>(D{}, r.y.data(), r.index.data(), r.source.data(), r.s.O, r.s.R, r.s.I, r.index.shape()[r.dim]);
  if constexpr (is_floating<T>) {
    if (detail::wants_grad(x, source)) {
      auto& node = detail::record<ScatterAmaxNode<T, D>>(r.y, at, x, source);
      node.x = x, node.source = source, node.y = r.y, node.index = r.index, node.dim = r.dim;
    }
  }
  return r.y;
}

}  // namespace gradus
