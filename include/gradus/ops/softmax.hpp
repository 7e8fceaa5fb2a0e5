// softmax, log_softmax along one dimension.                                x, y, dy, dx : any shape, C the extent of `dim`
//
//   softmax      y_c = e^{x_c - m} / sum_k e^{x_k - m}, m = max_k x_k        dx_c = y_c (dy_c - sum_k dy_k y_k)
//   log_softmax  y_c = x_c - m - log sum_k e^{x_k - m}                       dx_c = dy_c - e^{y_c} sum_k dy_k
//
// m only prevents overflow. Backward needs y only, so x is not kept. Recorded backwards are composed of the formulas.
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
  const int d = detail::normalize_dim("log_softmax", dim, x.rank(), x, at), last = x.rank() - 1;
  if (d != last) return transpose(log_softmax(transpose(x, d, last, at), -1, at), d, last, at);
  const auto xc = contiguous(x, at);
  Tensor<T, D> y(x.shape(), at);
  const int64_t C = x.shape().back();
  kernels::log_softmax_fwd<T>(D{}, xc.data(), y.data(), C ? x.numel() / C : 0, C);
  if (detail::wants_grad(xc)) detail::record<LogSoftmaxNode<T, D>>(y, at, xc).y = y;
  return y;
}

}  // namespace gradus
