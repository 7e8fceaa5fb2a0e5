// Pooling over the last 1, 2 or 3 dimensions.                                    x [..., in...]   y [..., out...]
//
//   max      y_o = max_r x[o stride - pad + r dilation]          dx_i = sum of dy_o over the windows whose maximum is i
//   average  y_o = 1/n_o sum_r x[o stride - pad + r]             dx_i = sum of dy_o / n_o over the windows that hold i
//   lp       y_o = (sum_r |x[o stride + r]|^p)^{1/p}             composed
//   adaptive windows [floor(o in/out), ceil((o+1) in/out)) along each axis
//
// Max pooling keeps the positions of the maxima; given those it is linear, as average pooling is, so the derivative of
// each backward is the forward map again: second derivatives are exact.
#pragma once
#include <utility>

#include <gradus/kernels/pool.hpp>
#include <gradus/ops/spatial.hpp>

namespace gradus {

struct MaxPoolOptions {
  PerAxis stride = {};  ///< as the kernel
  PerAxis padding = 0;  ///< positions that never win
  PerAxis dilation = 1;
  bool ceil_mode = false;  ///< a last window that is cut off counts too, if it begins inside
  bool same = false;       ///< instead of padding: as much as gives ceil(in / stride), the odd one at the end, as in TensorFlow
};
struct AvgPoolOptions {
  PerAxis stride = {};
  PerAxis padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;  ///< whether padding counts in n_o
  int64_t divisor = 0;            ///< replaces n_o when positive
  bool same = false;              ///< as for max pooling; its padding never counts in n_o
};
struct LpPoolOptions {
  PerAxis stride = {};
  bool ceil_mode = false;
};

namespace detail {

/// The kernel's geometry and the shapes at both ends.
struct PoolGeometry {
  kernels::PoolDims dims;
  Shape in, out;
  bool adaptive = false, count_include_pad = true;
  int64_t divisor = 0;
};

inline void check_pool_rank(const char* op, int d, const AnyTensor& x, Where at) {
  if (x.rank() < d + 1)
    fail(op, "too few dimensions", {{"x", describe(x)}},
         d == 1   ? "x [N, C, L] or [C, L]"
         : d == 2 ? "x [N, C, H, W] or [C, H, W]"
                  : "x [N, C, D, H, W] or [C, D, H, W]",
         at);
}

inline PoolGeometry pool_geometry(const char* op, int d, const AnyTensor& x, const PerAxis& kernel, const MaxPoolOptions& o,
                                  Where at) {
  check_pool_rank(op, d, x, at);
  if (kernel.list.n == 0) fail(op, "no kernel size", {{"x", describe(x)}}, "one number, or one for each axis", at);
  check_axes(op, "kernel", kernel, d, 1, x, at);
  check_axes(op, "stride", o.stride, d, 1, x, at);
  check_axes(op, "padding", o.padding, d, 0, x, at);
  check_axes(op, "dilation", o.dilation, d, 1, x, at);
  PoolGeometry g;
  g.in = g.out = x.shape();
  g.dims.planes = 1;
  for (int i = 0; i < x.rank() - d; ++i) g.dims.planes *= x.shape()[i];
  for (int i = 0; i < d; ++i) {
    const int a = 3 - d + i, axis = x.rank() - d + i;
    kernels::PoolDims& p = g.dims;
    p.in[a] = x.shape()[axis], p.kernel[a] = kernel.get(i, 1), p.stride[a] = o.stride.get(i, p.kernel[a]);
    p.pad[a] = o.padding.get(i, 0), p.dilation[a] = o.dilation.get(i, 1);
    const int64_t reach = p.dilation[a] * (p.kernel[a] - 1);
    if (o.same) p.pad[a] = same_padding(p.in[a], p.stride[a], reach);
    const int64_t room = p.in[a] + 2 * p.pad[a] - reach - 1;
    p.out[a] = o.same     ? ceil_div(p.in[a], p.stride[a])
               : room < 0 ? 0
                          : (o.ceil_mode ? ceil_div(room, p.stride[a]) : room / p.stride[a]) + 1;
    if (o.ceil_mode && !o.same && (p.out[a] - 1) * p.stride[a] >= p.in[a] + p.pad[a]) --p.out[a];
    if (p.out[a] < 1)
      fail(op, "the window does not fit into the padded input",
           {{"x", describe(x)},
            {"kernel", kernel.list.str()},
            {"padding", o.padding.list.str()},
            {"dilation", o.dilation.list.str()}},
           "size + 2 padding >= dilation (kernel - 1) + 1 along each axis; axis " + std::to_string(axis) + " has " +
               std::to_string(p.in[a] + 2 * p.pad[a]) + " < " + std::to_string(reach + 1),
           at);
    for (int64_t k = 0; k < p.out[a]; ++k) {
      const int64_t begin = k * p.stride[a] - p.pad[a], skipped = begin < 0 ? ceil_div(-begin, p.dilation[a]) : 0;
      if (skipped >= p.kernel[a] || begin + skipped * p.dilation[a] >= p.in[a])
        fail(op, "a window lies outside of the input",
             {{"x", describe(x)},
              {"kernel", kernel.list.str()},
              {"padding", o.padding.list.str()},
              {"axis", std::to_string(axis)}},
             "padding of at most half the kernel, so that each window holds an element of x", at);
    }
    g.out[axis] = p.out[a];
  }
  return g;
}

inline PoolGeometry adaptive_geometry(const char* op, int d, const AnyTensor& x, const PerAxis& size, Where at) {
  check_pool_rank(op, d, x, at);
  if (size.list.n == 0) fail(op, "no output size", {{"x", describe(x)}}, "one number, or one for each axis", at);
  check_axes(op, "output size", size, d, 1, x, at);
  PoolGeometry g;
  g.adaptive = true;
  g.in = g.out = x.shape();
  g.dims.planes = 1;
  for (int i = 0; i < x.rank() - d; ++i) g.dims.planes *= x.shape()[i];
  for (int i = 0; i < d; ++i) {
    const int axis = x.rank() - d + i;
    if (x.shape()[axis] < 1) fail(op, "nothing to pool", {{"x", describe(x)}}, "extents >= 1", at);
    g.dims.in[3 - d + i] = x.shape()[axis], g.dims.out[3 - d + i] = g.out[axis] = size.get(i, 1);
  }
  return g;
}

}  // namespace detail

// -- maximum ------------------------------------------------------------------------------------------------------------

/// dx_i = sum of dy_o over the outputs o whose maximum, argmax, is i; argmax as max_pool2d_with_indices gives it.
template <class T, class D>
Tensor<T, D> max_pool_backward(const Tensor<T, D>& dy, const Tensor<int64_t, D>& argmax, const detail::PoolGeometry& g,
                               Where at = Where::current());
/// y_o = x[argmax_o] in each plane: a max pool whose choice has been made.
template <class T, class D>
Tensor<T, D> max_pool_gather(const Tensor<T, D>& x, const Tensor<int64_t, D>& argmax, const detail::PoolGeometry& g,
                             Where at = Where::current());

/// Of a max pool, which is max_pool_gather once argmax is known.
template <class T, class D>
struct MaxPoolNode final : Node {
  Saved<int64_t, D> argmax{this, "argmax"};
  detail::PoolGeometry geometry;
  void backward(const AnyTensor& dy) override {
    accumulate(0, max_pool_backward(Tensor<T, D>(dy.ref()), argmax.get(), geometry, at));
  }
};
template <class T, class D>
struct MaxPoolBackwardNode final : Node {
  Saved<int64_t, D> argmax{this, "argmax"};
  detail::PoolGeometry geometry;
  void backward(const AnyTensor& g) override {
    accumulate(0, max_pool_gather(Tensor<T, D>(g.ref()), argmax.get(), geometry, at));
  }
};

template <class T, class D>
Tensor<T, D> max_pool_backward(const Tensor<T, D>& dy0, const Tensor<int64_t, D>& argmax, const detail::PoolGeometry& g,
                               Where at) {
  const Tensor<T, D> dy = contiguous(dy0, at);
  Tensor<T, D> dx(g.in, at);
  kernels::max_pool_bwd<T>(D{}, dy.data(), argmax.data(), dx.data(), g.dims);
  if (detail::wants_grad(dy)) {
    auto& node = detail::record<MaxPoolBackwardNode<T, D>>(dx, at, dy);
    node.argmax = argmax, node.geometry = g;
  }
  return dx;
}
template <class T, class D>
Tensor<T, D> max_pool_gather(const Tensor<T, D>& x0, const Tensor<int64_t, D>& argmax, const detail::PoolGeometry& g,
                             Where at) {
  const Tensor<T, D> x = contiguous(x0, at);
  Tensor<T, D> y(g.out, at);
  kernels::max_pool_gather<T>(D{}, x.data(), argmax.data(), y.data(), g.dims);
  if (detail::wants_grad(x)) {
    auto& node = detail::record<MaxPoolNode<T, D>>(y, at, x);
    node.argmax = argmax, node.geometry = g;
  }
  return y;
}

namespace detail {
template <class T, class D>
std::pair<Tensor<T, D>, Tensor<int64_t, D>> max_pool(const Tensor<T, D>& x0, const PoolGeometry& g, Where at) {
  const Tensor<T, D> x = contiguous(x0, at);
  Tensor<T, D> y(g.out, at);
  Tensor<int64_t, D> argmax(g.out, at);
  if (g.adaptive) kernels::adaptive_max_pool_fwd<T>(D{}, x.data(), y.data(), argmax.data(), g.dims);
  else kernels::max_pool_fwd<T>(D{}, x.data(), y.data(), argmax.data(), g.dims);
  if (wants_grad(x)) {
    auto& node = record<MaxPoolNode<T, D>>(y, at, x);
    node.argmax = argmax, node.geometry = g;
  }
  return {y, argmax};
}
template <class T, class D>
std::pair<Tensor<T, D>, Tensor<int64_t, D>> max_pool(const char* op, int d, const Tensor<T, D>& x, const PerAxis& kernel,
                                                     const MaxPoolOptions& o, Where at) {
  return max_pool(x, pool_geometry(op, d, x, kernel, o, at), at);
}
template <class T, class D>
std::pair<Tensor<T, D>, Tensor<int64_t, D>> adaptive_max_pool(const char* op, int d, const Tensor<T, D>& x, const PerAxis& size,
                                                              Where at) {
  return max_pool(x, adaptive_geometry(op, d, x, size, at), at);
}
}  // namespace detail

// -- average ------------------------------------------------------------------------------------------------------------

template <class T, class D>
Tensor<T, D> avg_pool_forward(const Tensor<T, D>& x, const detail::PoolGeometry& g, Where at = Where::current());
/// The gradient of avg_pool_forward, its adjoint.
template <class T, class D>
Tensor<T, D> avg_pool_backward(const Tensor<T, D>& dy, const detail::PoolGeometry& g, Where at = Where::current());

template <class T, class D>
struct AvgPoolNode final : Node {
  detail::PoolGeometry geometry;
  void backward(const AnyTensor& dy) override { accumulate(0, avg_pool_backward(Tensor<T, D>(dy.ref()), geometry, at)); }
};
template <class T, class D>
struct AvgPoolBackwardNode final : Node {
  detail::PoolGeometry geometry;
  void backward(const AnyTensor& g) override { accumulate(0, avg_pool_forward(Tensor<T, D>(g.ref()), geometry, at)); }
};

template <class T, class D>
Tensor<T, D> avg_pool_forward(const Tensor<T, D>& x0, const detail::PoolGeometry& g, Where at) {
  const Tensor<T, D> x = contiguous(x0, at);
  Tensor<T, D> y(g.out, at);
  if (g.adaptive) kernels::adaptive_avg_pool_fwd<T>(D{}, x.data(), y.data(), g.dims);
  else kernels::avg_pool_fwd<T>(D{}, x.data(), y.data(), g.dims, g.count_include_pad, g.divisor);
  if (detail::wants_grad(x)) detail::record<AvgPoolNode<T, D>>(y, at, x).geometry = g;
  return y;
}
template <class T, class D>
Tensor<T, D> avg_pool_backward(const Tensor<T, D>& dy0, const detail::PoolGeometry& g, Where at) {
  const Tensor<T, D> dy = contiguous(dy0, at);
  Tensor<T, D> dx(g.in, at);
  if (g.adaptive) kernels::adaptive_avg_pool_bwd<T>(D{}, dy.data(), dx.data(), g.dims);
  else kernels::avg_pool_bwd<T>(D{}, dy.data(), dx.data(), g.dims, g.count_include_pad, g.divisor);
  if (detail::wants_grad(dy)) detail::record<AvgPoolBackwardNode<T, D>>(dx, at, dy).geometry = g;
  return dx;
}

namespace detail {
template <class T, class D>
Tensor<T, D> avg_pool(const char* op, int d, const Tensor<T, D>& x, const PerAxis& kernel, const AvgPoolOptions& o, Where at) {
  if (o.divisor < 0)
    fail(op, "a negative divisor", {{"x", describe(x)}, {"divisor", std::to_string(o.divisor)}},
         "a positive number, or 0 for the count", at);
  PoolGeometry g =
      pool_geometry(op, d, x, kernel, {.stride = o.stride, .padding = o.padding, .ceil_mode = o.ceil_mode, .same = o.same}, at);
  g.count_include_pad = o.count_include_pad && !o.same, g.divisor = o.divisor;
  return avg_pool_forward(x, g, at);
}
/// Sums are averages with divisor 1. Where all of a window is 0 the root is taken of 1 and dropped, so the gradient is 0.
template <class T, class D>
Tensor<T, D> lp_pool(const char* op, int d, const Tensor<T, D>& x, double p, const PerAxis& kernel, const LpPoolOptions& o,
                     Where at) {
  if (!(p > 0)) fail(op, "not a norm", {{"x", describe(x)}, {"p", std::to_string(p)}}, "p > 0", at);
  const auto powers = p == 1 ? abs(x, at) : p == 2 ? square(x, at) : pow(abs(x, at), p, at);
  const auto s = avg_pool(op, d, powers, kernel, {.stride = o.stride, .ceil_mode = o.ceil_mode, .divisor = 1}, at);
  if (p == 1) return s;
  const auto zero = equal(s, 0, at);
  return where(zero, 0.0, pow(where(zero, 1.0, s, at), 1 / p, at), at);
}
}  // namespace detail

// -- the functions; x [N, C, in...] or [C, in...] --------------------------------------------------------------------------

/// The largest element of each window; the first of equals gets the gradient, NaN wins.
template <Floating T, class D>
Tensor<T, D> max_pool1d(const Tensor<T, D>& x, const PerAxis& kernel, const MaxPoolOptions& o = {},
                        Where at = Where::current()) {
  return detail::max_pool("max_pool1d", 1, x, kernel, o, at).first;
}
template <Floating T, class D>
Tensor<T, D> max_pool2d(const Tensor<T, D>& x, const PerAxis& kernel, const MaxPoolOptions& o = {},
                        Where at = Where::current()) {
  return detail::max_pool("max_pool2d", 2, x, kernel, o, at).first;
}
template <Floating T, class D>
Tensor<T, D> max_pool3d(const Tensor<T, D>& x, const PerAxis& kernel, const MaxPoolOptions& o = {},
                        Where at = Where::current()) {
  return detail::max_pool("max_pool3d", 3, x, kernel, o, at).first;
}
/// The same, and where each maximum is: its row-major position in the plane [in...].
template <Floating T, class D>
std::pair<Tensor<T, D>, Tensor<int64_t, D>> max_pool1d_with_indices(const Tensor<T, D>& x, const PerAxis& kernel,
                                                                    const MaxPoolOptions& o = {}, Where at = Where::current()) {
  return detail::max_pool("max_pool1d", 1, x, kernel, o, at);
}
template <Floating T, class D>
std::pair<Tensor<T, D>, Tensor<int64_t, D>> max_pool2d_with_indices(const Tensor<T, D>& x, const PerAxis& kernel,
                                                                    const MaxPoolOptions& o = {}, Where at = Where::current()) {
  return detail::max_pool("max_pool2d", 2, x, kernel, o, at);
}
template <Floating T, class D>
std::pair<Tensor<T, D>, Tensor<int64_t, D>> max_pool3d_with_indices(const Tensor<T, D>& x, const PerAxis& kernel,
                                                                    const MaxPoolOptions& o = {}, Where at = Where::current()) {
  return detail::max_pool("max_pool3d", 3, x, kernel, o, at);
}
/// The mean of each window.
template <Floating T, class D>
Tensor<T, D> avg_pool1d(const Tensor<T, D>& x, const PerAxis& kernel, const AvgPoolOptions& o = {},
                        Where at = Where::current()) {
  return detail::avg_pool("avg_pool1d", 1, x, kernel, o, at);
}
template <Floating T, class D>
Tensor<T, D> avg_pool2d(const Tensor<T, D>& x, const PerAxis& kernel, const AvgPoolOptions& o = {},
                        Where at = Where::current()) {
  return detail::avg_pool("avg_pool2d", 2, x, kernel, o, at);
}
template <Floating T, class D>
Tensor<T, D> avg_pool3d(const Tensor<T, D>& x, const PerAxis& kernel, const AvgPoolOptions& o = {},
                        Where at = Where::current()) {
  return detail::avg_pool("avg_pool3d", 3, x, kernel, o, at);
}
/// The mean of windows chosen so that the output has the extents `size`; 1 is global pooling.
template <Floating T, class D>
Tensor<T, D> adaptive_avg_pool1d(const Tensor<T, D>& x, const PerAxis& size, Where at = Where::current()) {
  return avg_pool_forward(x, detail::adaptive_geometry("adaptive_avg_pool1d", 1, x, size, at), at);
}
template <Floating T, class D>
Tensor<T, D> adaptive_avg_pool2d(const Tensor<T, D>& x, const PerAxis& size, Where at = Where::current()) {
  return avg_pool_forward(x, detail::adaptive_geometry("adaptive_avg_pool2d", 2, x, size, at), at);
}
template <Floating T, class D>
Tensor<T, D> adaptive_avg_pool3d(const Tensor<T, D>& x, const PerAxis& size, Where at = Where::current()) {
  return avg_pool_forward(x, detail::adaptive_geometry("adaptive_avg_pool3d", 3, x, size, at), at);
}
/// The largest element of such windows.
template <Floating T, class D>
Tensor<T, D> adaptive_max_pool1d(const Tensor<T, D>& x, const PerAxis& size, Where at = Where::current()) {
  return detail::adaptive_max_pool("adaptive_max_pool1d", 1, x, size, at).first;
}
template <Floating T, class D>
Tensor<T, D> adaptive_max_pool2d(const Tensor<T, D>& x, const PerAxis& size, Where at = Where::current()) {
  return detail::adaptive_max_pool("adaptive_max_pool2d", 2, x, size, at).first;
}
template <Floating T, class D>
Tensor<T, D> adaptive_max_pool3d(const Tensor<T, D>& x, const PerAxis& size, Where at = Where::current()) {
  return detail::adaptive_max_pool("adaptive_max_pool3d", 3, x, size, at).first;
}
/// The p-norm of each window, not divided by its size; the gradient at 0 is 0.
template <Floating T, class D>
Tensor<T, D> lp_pool1d(const Tensor<T, D>& x, double p, const PerAxis& kernel, const LpPoolOptions& o = {},
                       Where at = Where::current()) {
  return detail::lp_pool("lp_pool1d", 1, x, p, kernel, o, at);
}
template <Floating T, class D>
Tensor<T, D> lp_pool2d(const Tensor<T, D>& x, double p, const PerAxis& kernel, const LpPoolOptions& o = {},
                       Where at = Where::current()) {
  return detail::lp_pool("lp_pool2d", 2, x, p, kernel, o, at);
}
template <Floating T, class D>
Tensor<T, D> lp_pool3d(const Tensor<T, D>& x, double p, const PerAxis& kernel, const LpPoolOptions& o = {},
                       Where at = Where::current()) {
  return detail::lp_pool("lp_pool3d", 3, x, p, kernel, o, at);
}

}  // namespace gradus
