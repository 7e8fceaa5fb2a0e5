// Convolution (cross-correlation, as in all deep learning) and its transpose in 1, 2 and 3 dimensions.
//
//   y[n,k,o] = bias[k] + sum_{c,r} x[n, c, o stride - pad + r dilation] w[k,c,r]       x [N, C, in...]  y [N, K, out...]
//                                                                                      w [K, C/groups, kernel...]
//   dx = conv_backward_data(dy, w)      dw = conv_backward_weight(x, dy)      dbias = sum of dy over N and space
//
// y is linear in x and in w, so the three maps (x, w) -> y, (dy, w) -> dx and (x, dy) -> dw are each other's derivatives:
//
//   d conv_backward_data(dy, w)   :  ddy = conv(g, w)                  dw  = conv_backward_weight(g, dy)
//   d conv_backward_weight(x, dy) :  dx  = conv_backward_data(dy, g)   ddy = conv(x, g)
//
// A transposed convolution is conv_backward_data used forwards. All derivatives of any order are recorded ops.
#pragma once
#include <gradus/kernels/conv.hpp>
#include <gradus/ops/spatial.hpp>

namespace gradus {

struct ConvOptions {
  PerAxis stride = 1, padding = 0, dilation = 1;
  int64_t groups = 1;
  bool same = false;  ///< instead of padding: as much as gives ceil(in / stride), the odd one at the end, as in TensorFlow
};
struct ConvTransposeOptions {
  PerAxis stride = 1, padding = 0, output_padding = 0, dilation = 1;
  int64_t groups = 1;
};

namespace detail {

template <class T>
inline constexpr bool has_conv = std::is_same_v<T, float> || std::is_same_v<T, double>;

inline Shape conv_shape(const kernels::ConvDims& g, int64_t n, int64_t channels, const int64_t (&extent)[3]) {
  Shape s{n, channels};
  for (int i = 3 - g.d; i < 3; ++i) s.push_back(extent[i]);
  return s;
}
inline Shape conv_x_shape(const kernels::ConvDims& g) { return conv_shape(g, g.N, g.C, g.in); }
inline Shape conv_y_shape(const kernels::ConvDims& g) { return conv_shape(g, g.N, g.K, g.out); }
inline Shape conv_w_shape(const kernels::ConvDims& g) { return conv_shape(g, g.K, g.groups ? g.C / g.groups : 0, g.kernel); }

}  // namespace detail

/// y of the geometry `dims`; w and x as in the formula, bias [K] or undefined. Callers have checked the shapes.
template <class T, class D>
Tensor<T, D> conv_forward(const Tensor<T, D>& x, const Tensor<T, D>& w, const Tensor<T, D>& bias, const kernels::ConvDims& dims,
                          Where at = Where::current());
/// The gradient of conv_forward with respect to x: dx[n,c,i] = sum of dy[n,k,o] w[k,c,r] over o stride - pad + r dilation = i.
template <class T, class D>
Tensor<T, D> conv_backward_data(const Tensor<T, D>& dy, const Tensor<T, D>& w, const kernels::ConvDims& dims,
                                Where at = Where::current());
/// The gradient of conv_forward with respect to w: dw[k,c,r] = sum_{n,o} dy[n,k,o] x[n, c, o stride - pad + r dilation].
template <class T, class D>
Tensor<T, D> conv_backward_weight(const Tensor<T, D>& x, const Tensor<T, D>& dy, const kernels::ConvDims& dims,
                                  Where at = Where::current());

template <class T, class D>
struct ConvNode final : Node {  // inputs x, w, bias
  Saved<T, D> x{this, "x"}, w{this, "w"};
  kernels::ConvDims dims;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy = contiguous(Tensor<T, D>(g.ref()), at);
    if (wants(0)) accumulate(0, conv_backward_data(dy, w.get(), dims, at));
    if (wants(1)) accumulate(1, conv_backward_weight(x.get(), dy, dims, at));
    if (wants(2)) accumulate(2, sum(sum(gradus::flatten(dy, 2, -1, at), {2}, false, at), {0}, false, at));
  }
};
template <class T, class D>
struct ConvBackwardDataNode final : Node {  // inputs dy, w
  Saved<T, D> dy{this, "dy"}, w{this, "w"};
  kernels::ConvDims dims;
  void backward(const AnyTensor& any) override {
    const Tensor<T, D> g = contiguous(Tensor<T, D>(any.ref()), at);  // of dx's shape
    if (wants(0)) accumulate(0, conv_forward(g, w.get(), {}, dims, at));
    if (wants(1)) accumulate(1, conv_backward_weight(g, dy.get(), dims, at));
  }
};
template <class T, class D>
struct ConvBackwardWeightNode final : Node {  // inputs x, dy
  Saved<T, D> x{this, "x"}, dy{this, "dy"};
  kernels::ConvDims dims;
  void backward(const AnyTensor& any) override {
    const Tensor<T, D> g = contiguous(Tensor<T, D>(any.ref()), at);  // of w's shape
    if (wants(0)) accumulate(0, conv_backward_data(dy.get(), g, dims, at));
    if (wants(1)) accumulate(1, conv_forward(x.get(), g, {}, dims, at));
  }
};

template <class T, class D>
Tensor<T, D> conv_forward(const Tensor<T, D>& x0, const Tensor<T, D>& w0, const Tensor<T, D>& bias0,
                          const kernels::ConvDims& dims, Where at) {
  static_assert(detail::has_conv<T>, "gradus: convolutions run in float and double; cast with x.to<float>()");
  const Tensor<T, D> x = contiguous(x0, at), w = contiguous(w0, at), bias = bias0.defined() ? contiguous(bias0, at) : bias0;
  Tensor<T, D> y(detail::conv_y_shape(dims), at);
  if (y.numel() > 0) kernels::conv_fwd<T>(D{}, x.data(), w.data(), bias.defined() ? bias.data() : nullptr, y.data(), dims);
  if (detail::wants_grad(x, w, bias)) {
    auto& node = detail::record<ConvNode<T, D>>(y, at, x, w, bias);
    node.x = x, node.w = w, node.dims = dims;
  }
  return y;
}
template <class T, class D>
Tensor<T, D> conv_backward_data(const Tensor<T, D>& dy0, const Tensor<T, D>& w0, const kernels::ConvDims& dims, Where at) {
  static_assert(detail::has_conv<T>, "gradus: convolutions run in float and double; cast with x.to<float>()");
  const Tensor<T, D> dy = contiguous(dy0, at), w = contiguous(w0, at);
  Tensor<T, D> dx(detail::conv_x_shape(dims), at);
  if (dx.numel() > 0) kernels::conv_bwd_data<T>(D{}, dy.data(), w.data(), dx.data(), dims);
  if (detail::wants_grad(dy, w)) {
    auto& node = detail::record<ConvBackwardDataNode<T, D>>(dx, at, dy, w);
    node.dy = dy, node.w = w, node.dims = dims;
  }
  return dx;
}
template <class T, class D>
Tensor<T, D> conv_backward_weight(const Tensor<T, D>& x0, const Tensor<T, D>& dy0, const kernels::ConvDims& dims, Where at) {
  static_assert(detail::has_conv<T>, "gradus: convolutions run in float and double; cast with x.to<float>()");
  const Tensor<T, D> x = contiguous(x0, at), dy = contiguous(dy0, at);
  Tensor<T, D> dw(detail::conv_w_shape(dims), at);
  if (dy.numel() == 0) dw.fill_(0, at);  // an empty batch
  else kernels::conv_bwd_weight<T>(D{}, x.data(), dy.data(), dw.data(), dims);
  if (detail::wants_grad(x, dy)) {
    auto& node = detail::record<ConvBackwardWeightNode<T, D>>(dw, at, x, dy);
    node.x = x, node.dy = dy, node.dims = dims;
  }
  return dw;
}

namespace detail {

/// What both directions check: ranks, options, groups.
inline void check_conv(const char* op, int d, const AnyTensor& x, const AnyTensor& w, const PerAxis& stride,
                       const PerAxis& padding, const PerAxis& dilation, int64_t groups, bool transposed, Where at) {
  const char* const space[] = {"L", "H, W", "D, H, W"};
  const char* const kernel[] = {"k", "kh, kw", "kd, kh, kw"};
  if (x.rank() != d + 2 || w.rank() != d + 2)
    fail(op, "wrong number of dimensions", {{"x", describe(x)}, {"w", describe(w)}},
         std::string("x [N, C, ") + space[d - 1] + "] and w " + (transposed ? "[C, K/groups, " : "[K, C/groups, ") +
             kernel[d - 1] + "]",
         at);
  check_axes(op, "stride", stride, d, 1, x, at);
  check_axes(op, "padding", padding, d, 0, x, at);
  check_axes(op, "dilation", dilation, d, 1, x, at);
  const int64_t divided = transposed ? x.shape()[1] : w.shape()[0];
  if (groups < 1 || x.shape()[1] % groups != 0 || divided % groups != 0)
    fail(op, "the channels do not divide into the groups",
         {{"x", describe(x)}, {"w", describe(w)}, {"groups", std::to_string(groups)}},
         transposed ? "x.size(1) a multiple of groups" : "x.size(1) and w.size(0) multiples of groups", at);
}
inline void check_conv_bias(const char* op, const AnyTensor& w, const AnyTensor& bias, int64_t K, Where at) {
  if (bias.defined() && !(bias.shape() == Shape{K}))
    fail(op, "the bias does not match the output channels", {{"w", describe(w)}, {"bias", describe(bias)}},
         "shape [" + std::to_string(K) + "]", at);
}

inline kernels::ConvDims conv_dims(const char* op, int d, const AnyTensor& x, const AnyTensor& w, const AnyTensor& bias,
                                   const ConvOptions& o, Where at) {
  check_conv(op, d, x, w, o.stride, o.padding, o.dilation, o.groups, false, at);
  kernels::ConvDims g;
  g.d = d, g.N = x.shape()[0], g.C = x.shape()[1], g.K = w.shape()[0], g.groups = o.groups;
  if (w.shape()[1] != g.C / g.groups)
    fail(op, "the channels of x and w differ", {{"x", describe(x)}, {"w", describe(w)}, {"groups", std::to_string(g.groups)}},
         "w.size(1) == x.size(1) / groups == " + std::to_string(g.C / g.groups) + ", got " + std::to_string(w.shape()[1]), at);
  check_conv_bias(op, w, bias, g.K, at);
  for (int i = 0; i < d; ++i) {
    const int a = 3 - d + i;
    g.in[a] = x.shape()[2 + i], g.kernel[a] = w.shape()[2 + i];
    g.stride[a] = o.stride.get(i, 1), g.pad[a] = o.padding.get(i, 0), g.dilation[a] = o.dilation.get(i, 1);
    const int64_t reach = g.dilation[a] * (g.kernel[a] - 1);
    if (o.same) {
      g.pad[a] = same_padding(g.in[a], g.stride[a], reach), g.out[a] = ceil_div(g.in[a], g.stride[a]);
    } else {
      const int64_t room = g.in[a] + 2 * g.pad[a] - reach - 1;
      g.out[a] = room < 0 ? 0 : room / g.stride[a] + 1;
    }
    if (g.out[a] < 1 || g.kernel[a] < 1)
      fail(op, "the kernel does not fit into the padded input",
           {{"x", describe(x)}, {"w", describe(w)}, {"padding", o.padding.list.str()}, {"dilation", o.dilation.list.str()}},
           "size + 2 padding >= dilation (kernel - 1) + 1 along each axis; axis " + std::to_string(2 + i) + " has " +
               std::to_string(g.in[a] + 2 * g.pad[a]) + " < " + std::to_string(reach + 1),
           at);
  }
  return g;
}
template <class T, class D>
Tensor<T, D> conv(const char* op, int d, const Tensor<T, D>& x, const Tensor<T, D>& w, const Tensor<T, D>& bias,
                  const ConvOptions& o, Where at) {
  return conv_forward(x, w, bias, conv_dims(op, d, x, w, bias, o, at), at);
}

/// The geometry of the convolution whose gradient the transposed one is: its input is our output.
inline kernels::ConvDims conv_transpose_dims(const char* op, int d, const AnyTensor& x, const AnyTensor& w,
                                             const AnyTensor& bias, const ConvTransposeOptions& o, Where at) {
  check_conv(op, d, x, w, o.stride, o.padding, o.dilation, o.groups, true, at);
  check_axes(op, "output_padding", o.output_padding, d, 0, x, at);
  kernels::ConvDims g;
  g.d = d, g.N = x.shape()[0], g.K = x.shape()[1], g.C = w.shape()[1] * o.groups, g.groups = o.groups;
  if (w.shape()[0] != g.K)
    fail(op, "the channels of x and w differ", {{"x", describe(x)}, {"w", describe(w)}},
         "w.size(0) == x.size(1) == " + std::to_string(g.K) + ", got " + std::to_string(w.shape()[0]), at);
  check_conv_bias(op, w, bias, g.C, at);
  for (int i = 0; i < d; ++i) {
    const int a = 3 - d + i;
    g.out[a] = x.shape()[2 + i], g.kernel[a] = w.shape()[2 + i];
    g.stride[a] = o.stride.get(i, 1), g.pad[a] = o.padding.get(i, 0), g.dilation[a] = o.dilation.get(i, 1);
    const int64_t extra = o.output_padding.get(i, 0);
    if (extra >= g.stride[a] && extra >= g.dilation[a])
      fail(op, "output_padding is too large",
           {{"x", describe(x)},
            {"output_padding", o.output_padding.list.str()},
            {"stride", o.stride.list.str()},
            {"dilation", o.dilation.list.str()}},
           "less than stride or dilation: it only chooses among the extents that a convolution would have mapped to x's", at);
    g.in[a] = (g.out[a] - 1) * g.stride[a] - 2 * g.pad[a] + g.dilation[a] * (g.kernel[a] - 1) + extra + 1;
    if (g.in[a] < 1 || g.out[a] < 1 || g.kernel[a] < 1)
      fail(op, "the output would be empty", {{"x", describe(x)}, {"w", describe(w)}, {"padding", o.padding.list.str()}},
           "(size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1 >= 1 along each axis; axis " +
               std::to_string(2 + i) + " gives " + std::to_string(g.in[a]),
           at);
  }
  return g;
}
template <class T, class D>
Tensor<T, D> conv_transpose(const char* op, int d, const Tensor<T, D>& x, const Tensor<T, D>& w, const Tensor<T, D>& bias,
                            const ConvTransposeOptions& o, Where at) {
  const auto g = conv_transpose_dims(op, d, x, w, bias, o, at);
  const Tensor<T, D> y = conv_backward_data(x, w, g, at);
  if (!bias.defined()) return y;
  Shape column{g.C};
  for (int i = 0; i < d; ++i) column.push_back(1);
  return add(y, gradus::reshape(bias, column, at), at);
}

}  // namespace detail

/// x [N, C, L], w [K, C/groups, k], bias [K] or undefined -> [N, K, (L + 2 padding - dilation (k - 1) - 1) / stride + 1]
template <Floating T, class D>
Tensor<T, D> conv1d(const Tensor<T, D>& x, const Tensor<T, D>& w, const Tensor<T, D>& bias = {}, const ConvOptions& o = {},
                    Where at = Where::current()) {
  return detail::conv("conv1d(x, w)", 1, x, w, bias, o, at);
}
/// x [N, C, H, W], w [K, C/groups, kh, kw], bias [K] or undefined
template <Floating T, class D>
Tensor<T, D> conv2d(const Tensor<T, D>& x, const Tensor<T, D>& w, const Tensor<T, D>& bias = {}, const ConvOptions& o = {},
                    Where at = Where::current()) {
  return detail::conv("conv2d(x, w)", 2, x, w, bias, o, at);
}
/// x [N, C, D, H, W], w [K, C/groups, kd, kh, kw], bias [K] or undefined
template <Floating T, class D>
Tensor<T, D> conv3d(const Tensor<T, D>& x, const Tensor<T, D>& w, const Tensor<T, D>& bias = {}, const ConvOptions& o = {},
                    Where at = Where::current()) {
  return detail::conv("conv3d(x, w)", 3, x, w, bias, o, at);
}
/// x [N, C, L], w [C, K/groups, k] -> [N, K, (L - 1) stride - 2 padding + dilation (k - 1) + output_padding + 1]: the gradient
/// of a convolution, forwards
template <Floating T, class D>
Tensor<T, D> conv_transpose1d(const Tensor<T, D>& x, const Tensor<T, D>& w, const Tensor<T, D>& bias = {},
                              const ConvTransposeOptions& o = {}, Where at = Where::current()) {
  return detail::conv_transpose("conv_transpose1d(x, w)", 1, x, w, bias, o, at);
}
/// The same with x [N, C, H, W], w [C, K/groups, kh, kw]
template <Floating T, class D>
Tensor<T, D> conv_transpose2d(const Tensor<T, D>& x, const Tensor<T, D>& w, const Tensor<T, D>& bias = {},
                              const ConvTransposeOptions& o = {}, Where at = Where::current()) {
  return detail::conv_transpose("conv_transpose2d(x, w)", 2, x, w, bias, o, at);
}
/// The same with x [N, C, D, H, W], w [C, K/groups, kd, kh, kw]
template <Floating T, class D>
Tensor<T, D> conv_transpose3d(const Tensor<T, D>& x, const Tensor<T, D>& w, const Tensor<T, D>& bias = {},
                              const ConvTransposeOptions& o = {}, Where at = Where::current()) {
  return detail::conv_transpose("conv_transpose3d(x, w)", 3, x, w, bias, o, at);
}

}  // namespace gradus
