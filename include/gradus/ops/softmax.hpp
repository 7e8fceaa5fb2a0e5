// softmax, log_softmax along one dimension, logsumexp over any.            x, y, dy, dx : any shape, C the extent of `dim`
//
//   softmax      y_c = e^{x_c - m} / sum_k e^{x_k - m}, m = max_k x_k        dx_c = y_c (dy_c - sum_k dy_k y_k)
//   log_softmax  y_c = x_c - m - log sum_k e^{x_k - m}                       dx_c = dy_c - e^{y_c} sum_k dy_k
//   logsumexp    y   = m + log sum_k e^{x_k - m}                             dx_c = dy e^{x_c - y}, 0 where all x are -inf
//
// m only prevents overflow. Backward of the softmaxes needs y only, so x is not kept. Recorded backwards are composed of the formulas.
#pragma once
#include <gradus/kernels/softmax.hpp>
#include <gradus/ops/reduce.hpp>

namespace gradus {

template <class T, class D> struct SoftmaxNode final : Node {  // along the last dimension
  Saved<T, D> y{this, "y"};
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy = contiguous(Tensor<T, D>(g.ref()), at), v = y.get();
    if (detail::wants_grad(dy, v)) return accumulate(0, mul(v, sub(dy, sum(mul(dy, v, at), {-1}, true, at), at), at));
    Tensor<T, D> dx(v.shape(), at);
    const int64_t C = v.shape().back();
    kernels::softmax_bwd<T>(D{}, v.data(), dy.data(), dx.data(), C ? v.numel() / C : 0, C);
    accumulate(0, dx);
  }
};
template <class T, class D> struct LogSoftmaxNode final : Node {  // along the last dimension
  Saved<T, D> y{this, "y"};
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy = contiguous(Tensor<T, D>(g.ref()), at), v = y.get();
    if (detail::wants_grad(dy, v)) return accumulate(0, sub(dy, mul(exp(v, at), sum(dy, {-1}, true, at), at), at));
    Tensor<T, D> dx(v.shape(), at);
    const int64_t C = v.shape().back();
    kernels::log_softmax_bwd<T>(D{}, v.data(), dy.data(), dx.data(), C ? v.numel() / C : 0, C);
    accumulate(0, dx);
  }
};

/// Along `dim`: positive, sums to 1.
template <Floating T, class D> Tensor<T, D> softmax(const Tensor<T, D>& x, int dim = -1, Where at = Where::current()) {
  detail::check_defined("softmax", x, at);
  const int d = detail::normalize_dim("softmax", dim, x.rank(), x, at), last = x.rank() - 1;
  if (d != last) return transpose(softmax(transpose(x, d, last, at), -1, at), d, last, at);
  const auto xc = contiguous(x, at);
  Tensor<T, D> y(x.shape(), at);
  const int64_t C = x.shape().back();
  kernels::softmax_fwd<T>(D{}, xc.data(), y.data(), C ? x.numel() / C : 0, C);
  if (detail::wants_grad(xc)) detail::record<SoftmaxNode<T, D>>(y, at, xc).y = y;
  return y;
}
/// log(softmax(x)), computed without under- or overflow.
template <Floating T, class D> Tensor<T, D> log_softmax(const Tensor<T, D>& x, int dim = -1, Where at = Where::current()) {
  detail::check_defined("log_softmax", x, at);
  const int d = detail::normalize_dim("log_softmax", dim, x.rank(), x, at), last = x.rank() - 1;
  if (d != last) return transpose(log_softmax(transpose(x, d, last, at), -1, at), d, last, at);
  const auto xc = contiguous(x, at);
  Tensor<T, D> y(x.shape(), at);
  const int64_t C = x.shape().back();
  kernels::log_softmax_fwd<T>(D{}, xc.data(), y.data(), C ? x.numel() / C : 0, C);
  if (detail::wants_grad(xc)) detail::record<LogSoftmaxNode<T, D>>(y, at, xc).y = y;
  return y;
}

template <class T, class D> struct LogsumexpNode final : Node {  // over the last dimension; y without it
  Saved<T, D> x{this, "x"}, y{this, "y"};
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy = contiguous(Tensor<T, D>(g.ref()), at), v = x.get(), l = y.get();
    if (detail::wants_grad(dy, v, l)) {
      const auto finite = where(equal(l.detach(), -std::numeric_limits<double>::infinity(), at), 0.0, l, at);
      return accumulate(0, mul(unsqueeze(dy, -1, at), exp(sub(v, unsqueeze(finite, -1, at), at), at), at));
    }
    Tensor<T, D> dx(v.shape(), at);
    kernels::logsumexp_bwd<T>(D{}, v.data(), l.data(), dy.data(), dx.data(), l.numel(), v.shape().back());
    accumulate(0, dx);
  }
};
/// log sum_r e^{x_r} over `dims`, without overflow. Of nothing: -inf. Where all x are -inf: -inf with gradient 0.
template <Floating T, class D>
Tensor<T, D> logsumexp(const Tensor<T, D>& x, const Dims& dims, bool keepdim = false, Where at = Where::current()) {
  const auto v = detail::reduce_view("logsumexp", x.detach(), dims, at);
  Shape order, rows;
  for (int pass = 0; pass < 2; ++pass)                             // kept dimensions first
    for (int i = 0; i < x.rank(); ++i) {
      bool reduced = dims.list.n == 0;
      for (const int64_t d : dims.list) reduced |= (d < 0 ? d + x.rank() : d) == i;
      if (reduced != (pass == 1)) continue;
      order.push_back(i);
      if (!reduced) rows.push_back(x.shape()[i]);
    }
  rows.push_back(v.R);
  const auto xr = contiguous(gradus::reshape(permute(x, order, at), rows, at), at);
  Tensor<T, D> y(v.kept, at);
  kernels::logsumexp_fwd<T>(D{}, xr.data(), y.data(), y.numel(), v.R);
  if (detail::wants_grad(xr)) {
    auto& node = detail::record<LogsumexpNode<T, D>>(y, at, xr);
    node.x = xr, node.y = y;
  }
  return keepdim ? gradus::reshape(y, v.with_ones, at) : y;
}

}  // namespace gradus
