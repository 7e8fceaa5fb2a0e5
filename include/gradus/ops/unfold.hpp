// unfold (im2col): the windows of a convolution as columns; fold (col2im): columns added back into an image.
//
//   unfold  col[n, c R + r, o] = x[n, c, o stride - pad + r dilation], 0 outside of x      x [N, C, in...]  R = taps
//   fold    x[n,c,i] = sum of col[n, c R + r, o] over r, o with o stride - pad + r dilation = i    col [N, C R, L]
//
// Each is the other's adjoint, hence its gradient: both have derivatives of any order. unfold(x) followed by a product with
// w as [K, C R] is conv2d(x, w).
#pragma once
#include <gradus/kernels/unfold.hpp>
#include <gradus/ops/spatial.hpp>

namespace gradus {

struct UnfoldOptions {
  PerAxis stride = 1, padding = 0, dilation = 1;
};

namespace detail {
inline Shape unfold_x_shape(const kernels::ConvDims& g) {
  Shape s{g.N, g.C};
  for (int i = 3 - g.d; i < 3; ++i) s.push_back(g.in[i]);
  return s;
}
template <class T, class D>
Tensor<T, D> unfold(const Tensor<T, D>& x, const kernels::ConvDims& dims, Where at);
template <class T, class D>
Tensor<T, D> fold(const Tensor<T, D>& col, const kernels::ConvDims& dims, Where at);
}  // namespace detail

template <class T, class D>
struct UnfoldNode final : Node {
  kernels::ConvDims dims;
  void backward(const AnyTensor& dy) override { accumulate(0, detail::fold(Tensor<T, D>(dy.ref()), dims, at)); }
};
template <class T, class D>
struct FoldNode final : Node {
  kernels::ConvDims dims;
  void backward(const AnyTensor& dy) override { accumulate(0, detail::unfold(Tensor<T, D>(dy.ref()), dims, at)); }
};

namespace detail {

template <class T, class D>
Tensor<T, D> unfold(const Tensor<T, D>& x0, const kernels::ConvDims& dims, Where at) {
  const Tensor<T, D> x = contiguous(x0, at);
  Tensor<T, D> col(Shape{dims.N, dims.C * dims.taps(), dims.out_size()}, at);
  kernels::unfold_fwd<T>(D{}, x.data(), col.data(), dims);
  if (wants_grad(x)) record<UnfoldNode<T, D>>(col, at, x).dims = dims;
  return col;
}
template <class T, class D>
Tensor<T, D> fold(const Tensor<T, D>& col0, const kernels::ConvDims& dims, Where at) {
  const Tensor<T, D> col = contiguous(col0, at);
  Tensor<T, D> x(unfold_x_shape(dims), at);
  kernels::fold_fwd<T>(D{}, col.data(), x.data(), dims);
  if (wants_grad(col)) record<FoldNode<T, D>>(x, at, col).dims = dims;
  return x;
}

/// The geometry for an image of extents `size`; `shown` is the tensor to name in errors.
inline kernels::ConvDims unfold_dims(const char* op, const AnyTensor& shown, const Shape& size, const PerAxis& kernel,
                                     const UnfoldOptions& o, Where at) {
  const int d = size.n;
  if (kernel.list.n == 0) fail(op, "no kernel size", {{"x", describe(shown)}}, "one number, or one for each axis", at);
  check_axes(op, "kernel", kernel, d, 1, shown, at);
  check_axes(op, "stride", o.stride, d, 1, shown, at);
  check_axes(op, "padding", o.padding, d, 0, shown, at);
  check_axes(op, "dilation", o.dilation, d, 1, shown, at);
  kernels::ConvDims g;
  g.d = d;
  for (int i = 0; i < d; ++i) {
    const int a = 3 - d + i;
    g.in[a] = size[i], g.kernel[a] = kernel.get(i, 1);
    g.stride[a] = o.stride.get(i, 1), g.pad[a] = o.padding.get(i, 0), g.dilation[a] = o.dilation.get(i, 1);
    const int64_t reach = g.dilation[a] * (g.kernel[a] - 1), room = g.in[a] + 2 * g.pad[a] - reach - 1;
    if (room < 0)
      fail(op, "the window does not fit into the padded image",
           {{"x", describe(shown)},
            {"size", size.str()},
            {"kernel", kernel.list.str()},
            {"padding", o.padding.list.str()},
            {"dilation", o.dilation.list.str()}},
           "size + 2 padding >= dilation (kernel - 1) + 1 along each axis; axis " + std::to_string(2 + i) + " has " +
               std::to_string(g.in[a] + 2 * g.pad[a]) + " < " + std::to_string(reach + 1),
           at);
    g.out[a] = room / g.stride[a] + 1;
  }
  return g;
}

}  // namespace detail

/// x [N, C, in...] with 1 to 3 spatial dimensions -> [N, C R, L]: column l holds the R = kernel elements of window l of each
/// channel; windows and taps in row-major order.
template <Floating T, class D>
Tensor<T, D> unfold(const Tensor<T, D>& x, const PerAxis& kernel, const UnfoldOptions& o = {}, Where at = Where::current()) {
  if (x.rank() < 3 || x.rank() > 5)
    fail("unfold", "wrong number of dimensions", {{"x", describe(x)}}, "x [N, C, L], [N, C, H, W] or [N, C, D, H, W]", at);
  auto g =
      detail::unfold_dims("unfold", x, Shape(x.shape().begin() + 2, static_cast<std::size_t>(x.rank() - 2)), kernel, o, at);
  g.N = x.shape()[0], g.C = x.shape()[1];
  return detail::unfold(x, g, at);
}
/// col [N, C R, L] -> [N, C, size...]: elements of overlapping windows are added up.
template <Floating T, class D>
Tensor<T, D> fold(const Tensor<T, D>& col, const Shape& size, const PerAxis& kernel, const UnfoldOptions& o = {},
                  Where at = Where::current()) {
  if (col.rank() != 3 || size.n < 1 || size.n > 3)
    fail("fold", "wrong number of dimensions", {{"col", describe(col)}, {"size", size.str()}},
         "col [N, C R, L] and 1 to 3 extents", at);
  auto g = detail::unfold_dims("fold", col, size, kernel, o, at);
  if (col.shape()[1] % g.taps() != 0 || col.shape()[2] != g.out_size())
    fail("fold", "the columns do not match the image",
         {{"col", describe(col)}, {"size", size.str()}, {"kernel", kernel.list.str()}},
         "col.size(1) a multiple of " + std::to_string(g.taps()) + " and col.size(2) == " + std::to_string(g.out_size()), at);
  g.N = col.shape()[0], g.C = col.shape()[1] / g.taps();
  return detail::fold(col, g, at);
}

}  // namespace gradus
