// Resizing in 1, 2 and 3 dimensions.                                             x [N, C, in...]   y [N, C, out...]
//
//   y[n,c,o] = sum_t w[o,t] x[n,c,i[o,t]]        dx[n,c,i] = sum of w[o,t] dy[n,c,o] over i[o,t] = i
//
// A product of stencils along the axes; the modes and their stencils are in kernels/interpolate.hpp. The map is linear and
// each direction the other's adjoint: derivatives of any order.
#pragma once
#include <cmath>

#include <gradus/kernels/interpolate.hpp>
#include <gradus/ops/spatial.hpp>

namespace gradus {

using kernels::InterpolateMode;

/// One factor for all spatial axes, or one an axis.
struct ScaleFactor {
  std::vector<double> list;
  ScaleFactor() = default;
  ScaleFactor(double v) : list{v} {}
  ScaleFactor(std::initializer_list<double> l) : list(l) {}
  ScaleFactor(std::vector<double> l) : list(std::move(l)) {}
  double get(int i) const { return list.size() == 1 ? list[0] : list[static_cast<std::size_t>(i)]; }
};

struct InterpolateOptions {
  PerAxis size = {};                                ///< the output's extents; or
  ScaleFactor scale = {};                           ///< factors: extents floor(in scale)
  InterpolateMode mode = InterpolateMode::nearest;  ///< linear and cubic are bilinear, bicubic, ... in more dimensions
  bool align_corners = false;                       ///< the corner elements' centres coincide; linear and cubic
};

namespace detail {
struct InterpolateGeometry {
  kernels::InterpolateDims dims;
  InterpolateMode mode = InterpolateMode::nearest;
  Shape in, out;
};
template <class T, class D>
Tensor<T, D> interpolate_forward(const Tensor<T, D>& x, const InterpolateGeometry& g, Where at);
template <class T, class D>
Tensor<T, D> interpolate_backward(const Tensor<T, D>& dy, const InterpolateGeometry& g, Where at);
}  // namespace detail

template <class T, class D>
struct InterpolateNode final : Node {
  detail::InterpolateGeometry geometry;
  void backward(const AnyTensor& dy) override {
    accumulate(0, detail::interpolate_backward(Tensor<T, D>(dy.ref()), geometry, at));
  }
};
template <class T, class D>
struct InterpolateBackwardNode final : Node {
  detail::InterpolateGeometry geometry;
  void backward(const AnyTensor& g) override {
    accumulate(0, detail::interpolate_forward(Tensor<T, D>(g.ref()), geometry, at));
  }
};

namespace detail {

template <class T, class D>
Tensor<T, D> interpolate_forward(const Tensor<T, D>& x0, const InterpolateGeometry& g, Where at) {
  const Tensor<T, D> x = contiguous(x0, at);
  Tensor<T, D> y(g.out, at);
  kernels::interpolate_fwd<T>(D{}, x.data(), y.data(), g.dims, g.mode);
  if (wants_grad(x)) record<InterpolateNode<T, D>>(y, at, x).geometry = g;
  return y;
}
template <class T, class D>
Tensor<T, D> interpolate_backward(const Tensor<T, D>& dy0, const InterpolateGeometry& g, Where at) {
  const Tensor<T, D> dy = contiguous(dy0, at);
  Tensor<T, D> dx(g.in, at);
  kernels::interpolate_bwd<T>(D{}, dy.data(), dx.data(), g.dims, g.mode);
  if (wants_grad(dy)) record<InterpolateBackwardNode<T, D>>(dx, at, dy).geometry = g;
  return dx;
}

inline InterpolateGeometry interpolate_geometry(const AnyTensor& x, const InterpolateOptions& o, Where at) {
  const char* op = "interpolate";
  if (x.rank() < 3 || x.rank() > 5)
    fail(op, "wrong number of dimensions", {{"x", describe(x)}}, "x [N, C, L], [N, C, H, W] or [N, C, D, H, W]", at);
  const int d = x.rank() - 2;
  const bool by_size = o.size.list.n > 0, by_factor = !o.scale.list.empty();
  if (by_size == by_factor)
    fail(op, by_size ? "both size and scale" : "neither size nor scale", {{"x", describe(x)}}, "one of them", at);
  check_axes(op, "size", o.size, d, 1, x, at);
  const bool stencil = o.mode == InterpolateMode::linear || o.mode == InterpolateMode::cubic;
  if (o.align_corners && !stencil)
    fail(op, "align_corners does not apply to this mode", {{"x", describe(x)}}, "mode linear or cubic", at);
  InterpolateGeometry g;
  g.mode = o.mode, g.in = g.out = x.shape();
  g.dims.planes = x.shape()[0] * x.shape()[1], g.dims.align_corners = o.align_corners;
  if (by_factor && o.scale.list.size() != 1 && static_cast<int>(o.scale.list.size()) != d)
    fail(op, "scale is out of range", {{"x", describe(x)}, {"scale", std::to_string(o.scale.list.size()) + " numbers"}},
         "1 or " + std::to_string(d) + " numbers > 0", at);
  for (int i = 0; i < d; ++i) {
    const int a = 3 - d + i;
    g.dims.in[a] = x.shape()[2 + i];
    if (by_factor) {
      const double factor = o.scale.get(i);
      if (!(factor > 0) || !std::isfinite(factor))
        fail(op, "scale is out of range", {{"x", describe(x)}, {"scale", std::to_string(factor)}}, "a finite number > 0", at);
      g.dims.factor[a] = factor;
      g.dims.out[a] = static_cast<int64_t>(std::floor(static_cast<double>(g.dims.in[a]) * factor));
    } else {
      g.dims.out[a] = o.size.get(i, 1);
    }
    g.out[2 + i] = g.dims.out[a];
  }
  for (int a = 0; a < 3; ++a)
    if (g.dims.in[a] < 1 || g.dims.out[a] < 1)
      fail(op, "an empty axis", {{"x", describe(x)}, {"output", g.out.str()}}, "extents >= 1 before and after", at);
  return g;
}

}  // namespace detail

/// x [N, C, in...], resized along its 1 to 3 spatial axes: interpolate(x, {.scale = 2, .mode = InterpolateMode::linear}).
template <Floating T, class D>
Tensor<T, D> interpolate(const Tensor<T, D>& x, const InterpolateOptions& o, Where at = Where::current()) {
  return detail::interpolate_forward(x, detail::interpolate_geometry(x, o, at), at);
}

}  // namespace gradus
