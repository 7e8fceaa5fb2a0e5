// Sampling an image at given points, and the grid of an affine map (Jaderberg et al. 2015, spatial transformer networks).
//
//   y[n,c,p]    = sum_t w_t(g[n,p]) x[n,c,i_t(g[n,p])]         x [N, C, in...]  grid [N, out..., d]  y [N, C, out...]
//   dx[n,c,i_t] += w_t dy[n,c,p]          dgrid[n,p,a] = sum_{c,t} dy[n,c,p] dw_t/dg_a x[n,c,i_t]
//
// Conventions and modes are in kernels/grid_sample.hpp. Twice differentiable in x, grid and dy; a third derivative is an error.
#pragma once
#include <utility>

#include <gradus/kernels/grid_sample.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/ops/spatial.hpp>

namespace gradus {

using kernels::SampleMode;
using kernels::SamplePadding;

struct GridSampleOptions {
  SampleMode mode = SampleMode::bilinear;        ///< trilinear in 3 dimensions; bicubic in 2 only
  SamplePadding padding = SamplePadding::zeros;  ///< what lies outside of the image
  bool align_corners = false;                    ///< -1 and 1 are the corner pixels' centres, not the image's edges
};

namespace detail {
/// dx and dgrid; the one that is not asked for is undefined unless both are recorded.
template <class T, class D>
std::pair<Tensor<T, D>, Tensor<T, D>> grid_sample_backward(const Tensor<T, D>& dy, const Tensor<T, D>& x,
                                                           const Tensor<T, D>& grid, const kernels::GridSampleDims& dims,
                                                           bool need_x, bool need_grid, Where at);
}  // namespace detail

template <class T, class D>
struct GridSampleNode final : Node {  // inputs x, grid
  Saved<T, D> x{this, "x"}, grid{this, "grid"};
  kernels::GridSampleDims dims;
  void backward(const AnyTensor& dy) override {
    const auto [dx, dgrid] =
        detail::grid_sample_backward(Tensor<T, D>(dy.ref()), x.get(), grid.get(), dims, wants(0), wants(1), at);
    if (wants(0)) accumulate(0, dx);
    if (wants(1)) accumulate(1, dgrid);
  }
};
/// What second derivatives hang on: says that there is no third.
template <class T, class D>
struct GridSampleSecondNode final : Node {
  void backward(const AnyTensor& g) override { backward_all({g}); }
  void backward_all(const std::vector<AnyTensor>&) override {
    fail("grid_sample", "no third derivative", {{"gradient of", "the second derivative of shape " + shape.str()}},
         "at most two derivatives, the last without create_graph", at);
  }
};
template <class T, class D>
struct GridSampleBackwardNode final : Node {  // inputs dy, x, grid; outputs dx, dgrid
  Saved<T, D> dy{this, "dy"}, x{this, "x"}, grid{this, "grid"};
  kernels::GridSampleDims dims;
  void backward(const AnyTensor& u) override { backward_all({u, {}}); }
  void backward_all(const std::vector<AnyTensor>& dys) override {
    const auto as_input = [&](const AnyTensor& g) {
      return g.defined() ? contiguous(Tensor<T, D>(g.ref()), at) : Tensor<T, D>();
    };
    const auto data = [](const Tensor<T, D>& t) -> T* { return t.defined() ? t.data() : nullptr; };
    const Tensor<T, D> u = as_input(dys[0]), v = as_input(dys[1]), d = dy.get(), a = x.get(), b = grid.get();
    Tensor<T, D> out[3];
    for (int i = 0; i < 3; ++i)
      if (wants(i)) out[i] = Tensor<T, D>((i == 0 ? d : i == 1 ? a : b).shape(), at);
    kernels::grid_sample_bwd_bwd<T>(D{}, data(u), data(v), d.data(), a.data(), b.data(), data(out[0]), data(out[1]),
                                    data(out[2]), dims);
    for (int i = 0; i < 3; ++i) {
      if (!wants(i)) continue;
      if (detail::wants_grad(u, v, d, a, b)) {
        std::vector<Tensor<T, D>> in;
        for (const auto* t : {&u, &v, &d, &a, &b})
          if (t->defined()) in.push_back(*t);
        detail::record_list<GridSampleSecondNode<T, D>>(out[i], at, in);
      }
      accumulate(i, out[i]);
    }
  }
};

namespace detail {

template <class T, class D>
std::pair<Tensor<T, D>, Tensor<T, D>> grid_sample_backward(const Tensor<T, D>& dy0, const Tensor<T, D>& x,
                                                           const Tensor<T, D>& grid, const kernels::GridSampleDims& dims,
                                                           bool need_x, bool need_grid, Where at) {
  const Tensor<T, D> dy = contiguous(dy0, at);
  const bool recorded = wants_grad(dy, x, grid);
  Tensor<T, D> dx, dgrid;
  if (need_x || recorded) dx = Tensor<T, D>(x.shape(), at);
  if (need_grid || recorded) dgrid = Tensor<T, D>(grid.shape(), at);
  kernels::grid_sample_bwd<T>(D{}, dy.data(), x.data(), grid.data(), dx.defined() ? dx.data() : nullptr,
                              dgrid.defined() ? dgrid.data() : nullptr, dims);
  if (recorded) {
    auto& node = record<GridSampleBackwardNode<T, D>>(dx, at, dy, x, grid);
    add_output(node, dgrid, 1);
    node.dy = dy, node.x = x, node.grid = grid, node.dims = dims;
  }
  return {dx, dgrid};
}

inline kernels::GridSampleDims grid_sample_dims(const AnyTensor& x, const AnyTensor& grid, const GridSampleOptions& o,
                                                Where at) {
  const char* op = "grid_sample(x, grid)";
  const int d = x.rank() - 2;
  if ((d != 2 && d != 3) || grid.rank() != x.rank())
    fail(op, "wrong number of dimensions", {{"x", describe(x)}, {"grid", describe(grid)}},
         "x [N, C, H, W] and grid [N, H', W', 2], or x [N, C, D, H, W] and grid [N, D', H', W', 3]", at);
  if (grid.shape().back() != d || grid.shape()[0] != x.shape()[0])
    fail(op, "the grid does not match the images", {{"x", describe(x)}, {"grid", describe(grid)}},
         "grid.size(0) == " + std::to_string(x.shape()[0]) + " and grid.size(-1) == " + std::to_string(d), at);
  if (o.mode == SampleMode::bicubic && d != 2)
    fail(op, "bicubic sampling of a volume", {{"x", describe(x)}}, "x [N, C, H, W], or mode bilinear", at);
  kernels::GridSampleDims g;
  g.d = d, g.N = x.shape()[0], g.C = x.shape()[1], g.mode = o.mode, g.padding = o.padding, g.align_corners = o.align_corners;
  for (int i = 0; i < d; ++i) {
    g.in[3 - d + i] = x.shape()[2 + i], g.out[3 - d + i] = grid.shape()[1 + i];
    if (x.shape()[2 + i] < 1) fail(op, "an empty image", {{"x", describe(x)}}, "extents >= 1", at);
  }
  return g;
}

}  // namespace detail

/// x at the points of the grid, given as (x, y) or (x, y, z) in [-1, 1], width first.
template <Floating T, class D>
Tensor<T, D> grid_sample(const Tensor<T, D>& x0, const Tensor<T, D>& grid0, const GridSampleOptions& o = {},
                         Where at = Where::current()) {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>,
                "gradus: grid_sample runs in float and double; cast with x.to<float>()");
  const auto dims = detail::grid_sample_dims(x0, grid0, o, at);
  const Tensor<T, D> x = contiguous(x0, at), grid = contiguous(grid0, at);
  Shape shape{dims.N, dims.C};
  for (int i = 1; i + 1 < grid.rank(); ++i) shape.push_back(grid.shape()[i]);
  Tensor<T, D> y(shape, at);
  kernels::grid_sample_fwd<T>(D{}, x.data(), grid.data(), y.data(), dims);
  if (detail::wants_grad(x, grid)) {
    auto& node = detail::record<GridSampleNode<T, D>>(y, at, x, grid);
    node.x = x, node.grid = grid, node.dims = dims;
  }
  return y;
}

/// The points that theta [N, d, d+1] maps an image of shape `size` [N, C, out...] to: grid [N, out..., d], for grid_sample.
/// point = theta (x, y, (z,) 1)^T with the output pixel at (x, y, z) in [-1, 1]; a single pixel lies at 0.
template <Floating T, class D>
Tensor<T, D> affine_grid(const Tensor<T, D>& theta, const Shape& size, bool align_corners = false,
                         Where at = Where::current()) {
  const int d = size.n - 2;
  if ((d != 2 && d != 3) || !(theta.shape() == Shape{size[0], d, d + 1}))
    fail("affine_grid", "the maps do not match the images", {{"theta", describe(theta)}, {"size", size.str()}},
         "theta [N, 2, 3] and size [N, C, H, W], or theta [N, 3, 4] and size [N, C, D, H, W]", at);
  Shape out(size.begin() + 2, static_cast<std::size_t>(d)), grid{size[0]};
  for (int64_t n : out) {
    if (n < 1) fail("affine_grid", "an empty image", {{"size", size.str()}}, "extents >= 1", at);
    grid.push_back(n);
  }
  grid.push_back(d);
  const auto place = [&](int64_t i, int64_t n) {  // of pixel i of n
    if (align_corners) return n == 1 ? 0.0 : 2.0 * static_cast<double>(i) / static_cast<double>(n - 1) - 1;
    return (2.0 * static_cast<double>(i) + 1) / static_cast<double>(n) - 1;
  };
  Tensor<T> pixels(Shape{out.numel(), d + 1}, at);     // rows (x, y, (z,) 1), made on the host
  for (int64_t p = 0; p < out.numel(); ++p) {
    T* row = pixels.data() + p * (d + 1);
    int64_t rest = p;
    for (int a = d - 1; a >= 0; --a) {
      row[d - 1 - a] = static_cast<T>(place(rest % out[a], out[a]));
      rest /= out[a];
    }
    row[d] = T(1);
  }
  return gradus::reshape(matmul(pixels.template to<D>(at), transpose(theta, 1, 2, at), at), grid, at);
}

}  // namespace gradus
