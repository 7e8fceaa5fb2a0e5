// Views: other shapes and strides over the same memory, no copy; and writing into tensors.
//
//   backward of a view: the view undone (a slice is put back among zeros, an expanded dimension is summed)
//
// Writing into a tensor with a history gives it a new history: the result of the write. A write through a view also
// rewrites the history of the tensor that was viewed; other views taken before are stale, and using them is an error.
#pragma once
#include <gradus/ops/elementwise.hpp>

namespace gradus {

template <class T, class D> Tensor<T, D> permute(const Tensor<T, D>& x, const Shape& dims, Where at = Where::current());
template <class T, class D> Tensor<T, D> slices(const Tensor<T, D>& x, const Shape& starts, const Shape& sizes, const Shape& steps, Where at);

namespace detail {

/// The tensor whose history a write through t changes.
inline TensorImpl* view_root(TensorImpl* t) { return t->base && !t->unrecorded_view ? t->base : t; }

/// A tensor over x's memory that remembers whose view it is.
template <class T, class D> Tensor<T, D> make_view(const Tensor<T, D>& x, const Shape& shape, const Shape& strides, int64_t offset) {
  Tensor<T, D> y(alias(x, shape, strides, offset));
  // Under NoGrad a base is kept only where a later write could go past its history: views of gradients own their memory alone.
  TensorImpl* base = view_root(x.impl());
  y.impl()->unrecorded_view = !recording;
  if (recording || base->requires_grad) {
    y.impl()->base = Ref<TensorImpl>(base).release();
    y.impl()->base_history = base->history;
  }
  return y;
}

/// Values of b, of a shape that broadcasts to a's, copied into a's memory; no history.
template <class T, class D> void copy_values(const Tensor<T, D>& a, const Tensor<T, D>& b) {
  kernels::unary<kernels::Copy, T>(D{}, {}, b.data(), a.data(), loop_over(a.shape(), a, b));
}

}  // namespace detail

// -- copies -------------------------------------------------------------------------------------------------------------

template <class T, class D> struct CloneNode final : Node {
  void backward(const AnyTensor& dy) override { accumulate(0, Tensor<T, D>(dy.ref())); }
};
/// A contiguous copy.
template <class T, class D> Tensor<T, D> clone(const Tensor<T, D>& x, Where at) {
  Tensor<T, D> y = detail::map_unary(kernels::Copy{}, x, at);
  if (detail::wants_grad(x)) detail::record<CloneNode<T, D>>(y, at, x);
  return y;
}
/// x itself when it is contiguous, a contiguous copy otherwise.
template <class T, class D> Tensor<T, D> contiguous(const Tensor<T, D>& x, Where at) {
  if (x.is_contiguous()) return x;
  detail::count(detail::counters.contiguous_copies);
  return clone(x, at);
}

template <class U, class T, class D> struct CastNode final : Node {
  void backward(const AnyTensor& dy) override { accumulate(0, cast<T>(Tensor<U, D>(dy.ref()), at)); }
};
/// The values converted to dtype U; differentiable between floating types. x itself when U is its dtype.
template <class U, class T, class D> Tensor<U, D> cast(const Tensor<T, D>& x, Where at) {
  if constexpr (std::is_same_v<U, T>) {
    return x;
  } else {
    Tensor<U, D> y(x.shape(), at);
    detail::count(detail::counters.conversions);
    kernels::convert<T, U>(D{}, x.data(), y.data(), detail::loop_over(x.shape(), y, x));
    if constexpr (is_floating<T> && is_floating<U>)
      if (detail::wants_grad(x)) detail::record<CastNode<U, T, D>>(y, at, x);
    return y;
  }
}

template <class T, class D, class E> struct TransferNode final : Node {
  void backward(const AnyTensor& dy) override { accumulate(0, to_device<D>(Tensor<T, E>(dy.ref()), at)); }
};
/// A copy on device E; x itself when it is there. A copy to the host waits for the device.
template <Device E, class T, class D> Tensor<T, E> to_device(const Tensor<T, D>& x, Where at) {
  if constexpr (std::is_same_v<D, E>) {
    return x;
  } else {
    const auto from = no_grad([&] { return contiguous(x, at); });
    Tensor<T, E> y(x.shape(), at);
    const auto bytes = static_cast<std::size_t>(x.numel()) * sizeof(T);
    if constexpr (std::is_same_v<E, Cuda>) detail::copy_to_device(y.data(), from.data(), bytes);
    else detail::copy_to_host(y.data(), from.data(), bytes);
    if (detail::wants_grad(x)) detail::record<TransferNode<T, D, E>>(y, at, x);
    return y;
  }
}

// -- reshape ------------------------------------------------------------------------------------------------------------

template <class T, class D> struct ReshapeNode final : Node {
  Shape from;
  void backward(const AnyTensor& dy) override { accumulate(0, gradus::reshape(Tensor<T, D>(dy.ref()), from, at)); }
};

namespace detail {
/// Strides that give x's memory the new shape, if there are any.
inline bool view_strides(const AnyTensor& x, const Shape& shape, Shape& strides) {
  if (x.is_contiguous()) {
    strides = contiguous_strides(shape);
    return true;
  }
  strides.n = shape.n;
  if (x.numel() == 0) {
    strides = contiguous_strides(shape);
    return true;
  }
  // Match runs of old dimensions that lie densely in memory with runs of new ones, from the right.
  int j = shape.n - 1;
  for (int i = x.rank() - 1; i >= 0;) {
    int64_t chunk = x.shape()[i], inner = x.strides()[i];
    int k = i - 1;
    while (k >= 0 && (x.shape()[k] == 1 || x.strides()[k] == inner * chunk)) chunk *= x.shape()[k--];
    int64_t covered = 1;
    while (j >= 0 && (covered < chunk || shape[j] == 1)) {
      strides[j] = inner * covered;
      covered *= shape[j--];
    }
    if (covered != chunk) return false;
    i = k;
  }
  while (j >= 0) strides[j--] = 1;
  return true;
}
}  // namespace detail

/// The same elements in row-major order under another shape; one extent may be -1. A view where the strides allow it, else a copy.
template <class T, class D> Tensor<T, D> reshape(const Tensor<T, D>& x, Shape shape, Where at) {
  int unknown = -1;
  int64_t known = 1;
  for (int i = 0; i < shape.n; ++i) {
    if (shape[i] == -1 && unknown < 0) unknown = i;
    else known *= shape[i];
  }
  if (unknown >= 0 && known > 0 && x.numel() % known == 0) shape[unknown] = x.numel() / known, known *= shape[unknown];
  bool negative = false;
  for (int64_t e : shape) negative |= e < 0;
  if (negative || known != x.numel())
    fail("reshape", "the shape does not hold the same number of elements", {{"x", describe(x)}, {"shape", shape.str()}},
         std::to_string(x.numel()) + " elements, with at most one extent -1", at);
  Shape strides;
  if (!detail::view_strides(x, shape, strides)) return gradus::reshape(clone(x, at), shape, at);
  Tensor<T, D> y = detail::make_view(x, shape, strides, 0);
  if (detail::wants_grad(x)) detail::record<ReshapeNode<T, D>>(y, at, x).from = x.shape();
  return y;
}
/// Dimensions first ... last (negative count from the end) merged into one.
template <class T, class D> Tensor<T, D> flatten(const Tensor<T, D>& x, int first = 0, int last = -1, Where at = Where::current()) {
  if (x.rank() == 0) return gradus::reshape(x, {1}, at);
  first = detail::normalize_dim("flatten", first, x.rank(), x, at), last = detail::normalize_dim("flatten", last, x.rank(), x, at);
  Shape s;
  int64_t merged = 1;
  for (int i = 0; i < x.rank(); ++i) {
    if (i < first || i > last) s.push_back(x.shape()[i]);
    else if (merged *= x.shape()[i]; i == last) s.push_back(merged);
  }
  return gradus::reshape(x, s, at);
}
/// A dimension of extent 1 inserted at `dim`.
template <class T, class D> Tensor<T, D> unsqueeze(const Tensor<T, D>& x, int dim, Where at = Where::current()) {
  const int d = detail::normalize_dim("unsqueeze", dim, x.rank() + 1, x, at);
  Shape shape = x.shape();
  shape.insert(d, 1);
  return gradus::reshape(x, shape, at);
}
/// Dimension `dim`, which has extent 1, removed.
template <class T, class D> Tensor<T, D> squeeze(const Tensor<T, D>& x, int dim, Where at = Where::current()) {
  const int d = detail::normalize_dim("squeeze", dim, x.rank(), x, at);
  if (x.shape()[d] != 1)
    fail("squeeze", "the dimension has more than one element", {{"x", describe(x)}, {"dim", std::to_string(dim)}}, "extent 1", at);
  Shape shape = x.shape();
  shape.erase(d);
  return gradus::reshape(x, shape, at);
}
/// All dimensions of extent 1 removed.
template <class T, class D> Tensor<T, D> squeeze(const Tensor<T, D>& x, Where at = Where::current()) {
  Shape shape;
  for (int64_t e : x.shape())
    if (e != 1) shape.push_back(e);
  return gradus::reshape(x, shape, at);
}

// -- permute ------------------------------------------------------------------------------------------------------------

template <class T, class D> struct PermuteNode final : Node {
  Shape inverse;
  void backward(const AnyTensor& dy) override { accumulate(0, permute(Tensor<T, D>(dy.ref()), inverse, at)); }
};
/// Dimension i of the result is dimension dims[i] of x.
template <class T, class D> Tensor<T, D> permute(const Tensor<T, D>& x, const Shape& dims, Where at) {
  Shape shape, strides, inverse = dims;
  bool seen[kMaxRank] = {}, ok = dims.n == x.rank();
  for (int i = 0; ok && i < dims.n; ++i) {
    const int64_t d = dims[i] < 0 ? dims[i] + x.rank() : dims[i];
    ok = d >= 0 && d < x.rank() && !seen[d];
    if (!ok) break;
    seen[d] = true;
    inverse[static_cast<int>(d)] = i;
    shape.push_back(x.shape()[static_cast<int>(d)]);
    strides.push_back(x.strides()[static_cast<int>(d)]);
  }
  if (!ok)
    fail("permute", "not a permutation of the dimensions", {{"x", describe(x)}, {"dims", dims.str()}},
         "each of the " + std::to_string(x.rank()) + " dimensions once", at);
  Tensor<T, D> y = detail::make_view(x, shape, strides, 0);
  if (detail::wants_grad(x)) detail::record<PermuteNode<T, D>>(y, at, x).inverse = inverse;
  return y;
}
/// Two dimensions exchanged.
template <class T, class D> Tensor<T, D> transpose(const Tensor<T, D>& x, int a, int b, Where at = Where::current()) {
  a = detail::normalize_dim("transpose", a, x.rank(), x, at), b = detail::normalize_dim("transpose", b, x.rank(), x, at);
  Shape dims;
  for (int i = 0; i < x.rank(); ++i) dims.push_back(i == a ? b : (i == b ? a : i));
  return permute(x, dims, at);
}
/// Dimension `from` moved to position `to`.
template <class T, class D> Tensor<T, D> movedim(const Tensor<T, D>& x, int from, int to, Where at = Where::current()) {
  from = detail::normalize_dim("movedim", from, x.rank(), x, at), to = detail::normalize_dim("movedim", to, x.rank(), x, at);
  Shape dims;
  for (int i = 0; i < x.rank(); ++i)
    if (i != from) dims.push_back(i);
  dims.insert(to, from);
  return permute(x, dims, at);
}

// -- expand -------------------------------------------------------------------------------------------------------------

template <class T, class D> struct ExpandNode final : Node {
  Shape from;
  void backward(const AnyTensor& dy) override { accumulate(0, sum_to(Tensor<T, D>(dy.ref()), from, at)); }
};
/// x broadcast to `shape` without copying: extents of 1 are repeated, new dimensions come at the left; -1 keeps an extent.
template <class T, class D> Tensor<T, D> expand(const Tensor<T, D>& x, Shape shape, Where at = Where::current()) {
  const int lead = shape.n - x.rank();
  bool ok = lead >= 0;
  for (int i = 0; ok && i < shape.n; ++i) {
    if (shape[i] == -1 && i >= lead) shape[i] = x.shape()[i - lead];
    ok = shape[i] >= 0 && (i < lead || x.shape()[i - lead] == shape[i] || x.shape()[i - lead] == 1);
  }
  if (!ok)
    fail("expand", "the shape cannot be reached by broadcasting", {{"x", describe(x)}, {"shape", shape.str()}},
         "the extents of x, or any extent where x has 1, with new dimensions at the left", at);
  Tensor<T, D> y = detail::make_view(x, shape, detail::broadcast_strides(x, shape), 0);
  if (detail::wants_grad(x)) detail::record<ExpandNode<T, D>>(y, at, x).from = x.shape();
  return y;
}

// -- slices -------------------------------------------------------------------------------------------------------------

template <class T, class D> struct SliceNode final : Node {
  Shape from, starts, steps;
  void backward(const AnyTensor& dy) override;
};
template <class T, class D> struct SliceBackwardNode final : Node {
  Shape starts, sizes, steps;
  void backward(const AnyTensor& dy) override { accumulate(0, slices(Tensor<T, D>(dy.ref()), starts, sizes, steps, at)); }
};
namespace detail {
template <class T, class D> Tensor<T, D> raw_slices(const Tensor<T, D>& x, const Shape& starts, const Shape& sizes, const Shape& steps) {
  Shape strides = x.strides();
  int64_t offset = 0;
  for (int i = 0; i < x.rank(); ++i) {
    offset += sizes[i] == 0 ? 0 : starts[i] * strides[i];
    strides[i] *= steps[i];
  }
  return make_view(x, sizes, strides, offset);
}
}  // namespace detail
/// Zeros of `shape` with dy at starts + i steps: the gradient of slices().
template <class T, class D> Tensor<T, D> slice_backward(const Tensor<T, D>& dy, const Shape& shape, const Shape& starts, const Shape& steps, Where at) {
  Tensor<T, D> dx(shape, at);
  kernels::fill<T>(D{}, dx.data(), T(0), kernels::Loop<1>::flat(dx.numel()));
  {
    const NoGrad guard;
    detail::copy_values(detail::raw_slices(dx, starts, dy.shape(), steps), dy);
  }
  if (detail::wants_grad(dy)) {
    auto& node = detail::record<SliceBackwardNode<T, D>>(dx, at, dy);
    node.starts = starts, node.sizes = dy.shape(), node.steps = steps;
  }
  return dx;
}
template <class T, class D> void SliceNode<T, D>::backward(const AnyTensor& dy) {
  accumulate(0, slice_backward(Tensor<T, D>(dy.ref()), from, starts, steps, at));
}
/// Elements starts + i steps of every dimension, i < sizes; within range (callers check).
template <class T, class D> Tensor<T, D> slices(const Tensor<T, D>& x, const Shape& starts, const Shape& sizes, const Shape& steps, Where at) {
  Tensor<T, D> y = detail::raw_slices(x, starts, sizes, steps);
  if (detail::wants_grad(x)) {
    auto& node = detail::record<SliceNode<T, D>>(y, at, x);
    node.from = x.shape(), node.starts = starts, node.steps = steps;
  }
  return y;
}
/// `count` elements of dimension `dim` from `start` on, every step-th.
template <class T, class D>
Tensor<T, D> narrow(const Tensor<T, D>& x, int dim, int64_t start, int64_t count, int64_t step = 1, Where at = Where::current()) {
  const int d = detail::normalize_dim("narrow", dim, x.rank(), x, at);
  const int64_t extent = x.shape()[d];
  if (start < 0) start += extent;
  if (start < 0 || count < 0 || step < 1 || (count > 0 && start + (count - 1) * step >= extent))
    fail("narrow", "range outside of the dimension",
         {{"x", describe(x)}, {"dim", std::to_string(dim)}, {"start", std::to_string(start)}, {"count", std::to_string(count)}, {"step", std::to_string(step)}},
         "elements within [0, " + std::to_string(extent) + ")", at);
  Shape starts, sizes = x.shape(), steps;
  for (int i = 0; i < x.rank(); ++i) starts.push_back(i == d ? start : 0), steps.push_back(i == d ? step : 1);
  sizes[d] = count;
  return slices(x, starts, sizes, steps, at);
}
/// The first sizes[i] elements of each dimension i, -1: all of them. One view, whatever the number of dimensions: of a weight
/// [out, in] the rows keep their stride, which a product reads as it is.
template <class T, class D> Tensor<T, D> prefix(const Tensor<T, D>& x, Shape sizes, Where at = Where::current()) {
  bool ok = sizes.n == x.rank();
  Shape starts, steps;
  for (int i = 0; ok && i < x.rank(); ++i) {
    if (sizes[i] == -1) sizes[i] = x.shape()[i];
    ok = sizes[i] >= 0 && sizes[i] <= x.shape()[i];
    starts.push_back(0), steps.push_back(1);
  }
  if (!ok)
    fail("prefix", "no such prefix", {{"x", describe(x)}, {"sizes", sizes.str()}},
         "a size for each of the " + std::to_string(x.rank()) + " dimensions, within " + x.shape().str() + " or -1", at);
  return slices(x, starts, sizes, steps, at);
}
/// Element `i` of dimension `dim`, which disappears; negative i counts from the end.
template <class T, class D> Tensor<T, D> select(const Tensor<T, D>& x, int dim, int64_t i, Where at = Where::current()) {
  const int d = detail::normalize_dim("select", dim, x.rank(), x, at);
  const int64_t extent = x.shape()[d], k = i < 0 ? i + extent : i;
  if (k < 0 || k >= extent)
    fail("select", "index out of range", {{"x", describe(x)}, {"dim", std::to_string(dim)}, {"index", std::to_string(i)}},
         "an index in [" + std::to_string(-extent) + ", " + std::to_string(extent) + ")", at);
  return squeeze(narrow(x, d, k, 1, 1, at), d, at);
}

// -- the diagonal -------------------------------------------------------------------------------------------------------

template <class T, class D> Tensor<T, D> diagonal(const Tensor<T, D>& x, int64_t offset = 0, Where at = Where::current());
template <class T, class D> Tensor<T, D> diagonal_backward(const Tensor<T, D>& dy, const Shape& shape, int64_t offset, Where at);
template <class T, class D> struct DiagonalNode final : Node {
  Shape from;
  int64_t offset = 0;
  void backward(const AnyTensor& dy) override { accumulate(0, diagonal_backward(Tensor<T, D>(dy.ref()), from, offset, at)); }
};
template <class T, class D> struct DiagonalBackwardNode final : Node {
  int64_t offset = 0;
  void backward(const AnyTensor& dy) override { accumulate(0, diagonal(Tensor<T, D>(dy.ref()), offset, at)); }
};
namespace detail {
template <class T, class D> Tensor<T, D> raw_diagonal(const Tensor<T, D>& x, int64_t k) {  // of the last two dimensions
  const int r = x.rank();
  const int64_t rows = x.shape()[r - 2] + (k < 0 ? k : 0), cols = x.shape()[r - 1] - (k > 0 ? k : 0), n = rows < cols ? rows : cols;
  Shape shape = x.shape(), strides = x.strides();
  const int64_t sr = x.strides()[r - 2], sc = x.strides()[r - 1];
  shape.erase(r - 1), strides.erase(r - 1);
  shape[r - 2] = n > 0 ? n : 0, strides[r - 2] = sr + sc;
  return make_view(x, shape, strides, n > 0 ? (k > 0 ? k * sc : -k * sr) : 0);
}
}  // namespace detail
/// The diagonal of the last two dimensions, `offset` above (or, negative, below) the main one: [..., n, m] -> [..., k]. A view.
template <class T, class D> Tensor<T, D> diagonal(const Tensor<T, D>& x, int64_t offset, Where at) {
  if (x.rank() < 2) fail("diagonal", "not a matrix", {{"x", describe(x)}}, "at least 2 dimensions", at);
  Tensor<T, D> y = detail::raw_diagonal(x, offset);
  if (detail::wants_grad(x)) {
    auto& node = detail::record<DiagonalNode<T, D>>(y, at, x);
    node.from = x.shape(), node.offset = offset;
  }
  return y;
}
/// Zeros of `shape` with dy on the diagonal.
template <class T, class D> Tensor<T, D> diagonal_backward(const Tensor<T, D>& dy, const Shape& shape, int64_t offset, Where at) {
  Tensor<T, D> dx(shape, at);
  kernels::fill<T>(D{}, dx.data(), T(0), kernels::Loop<1>::flat(dx.numel()));
  {
    const NoGrad guard;
    detail::copy_values(detail::raw_diagonal(dx, offset), dy);
  }
  if (detail::wants_grad(dy)) detail::record<DiagonalBackwardNode<T, D>>(dx, at, dy).offset = offset;
  return dx;
}
/// The last dimension as a diagonal, `offset` above (or, negative, below) the main one, of square matrices: [..., n] -> [..., m, m],
/// m = n + |offset|; zeros elsewhere.
template <class T, class D> Tensor<T, D> diag_embed(const Tensor<T, D>& x, int64_t offset, Where at = Where::current()) {
  Shape shape = x.shape();
  const int64_t m = x.size(-1, at) + (offset < 0 ? -offset : offset);
  shape[shape.n - 1] = m;
  shape.push_back(m);
  return diagonal_backward(x, shape, offset, at);
}
template <class T, class D> Tensor<T, D> diag_embed(const Tensor<T, D>& x, Where at = Where::current()) { return diag_embed(x, 0, at); }
/// A vector as a matrix with it on the diagonal; of a matrix the diagonal.
template <class T, class D> Tensor<T, D> diag(const Tensor<T, D>& x, int64_t offset = 0, Where at = Where::current()) {
  return x.rank() == 1 ? diag_embed(x, offset, at) : diagonal(x, offset, at);
}

// -- writing ------------------------------------------------------------------------------------------------------------

/// The base of a view after a write through the view: where the view lies the gradient goes to the written values, elsewhere to
/// what the base was before.
template <class T, class D> struct WriteViewNode final : Node {
  Shape view_shape, view_strides;
  int64_t offset = 0;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref());
    if (wants(1)) accumulate(1, as_strided(dy, view_shape, view_strides, offset, at));
    if (wants(0)) {
      const auto written = as_strided(dy, view_shape, view_strides, offset, at);
      accumulate(0, sub(dy, as_strided_backward(written, dy.shape(), view_strides, offset, at), at));
    }
  }
};
template <class T, class D> struct AsStridedNode final : Node {
  Shape from, strides;
  int64_t offset = 0;
  void backward(const AnyTensor& dy) override { accumulate(0, as_strided_backward(Tensor<T, D>(dy.ref()), from, strides, offset, at)); }
};
template <class T, class D> struct AsStridedBackwardNode final : Node {
  Shape view_shape, strides;
  int64_t offset = 0;
  void backward(const AnyTensor& dy) override { accumulate(0, as_strided(Tensor<T, D>(dy.ref()), view_shape, strides, offset, at)); }
};
/// The elements offset + sum_d i_d strides_d of the contiguous x; no two of them the same.
template <class T, class D>
Tensor<T, D> as_strided(const Tensor<T, D>& x0, const Shape& shape, const Shape& strides, int64_t offset, Where at = Where::current()) {
  const auto x = contiguous(x0, at);
  int64_t low = offset, high = offset;
  for (int i = 0; i < shape.n && i < strides.n; ++i) (strides[i] < 0 ? low : high) += (shape[i] - 1) * strides[i];
  if (shape.n != strides.n || (shape.numel() > 0 && (low < 0 || high >= x.numel())))
    fail("as_strided", "places outside of the tensor",
         {{"x", describe(x)}, {"shape", shape.str()}, {"strides", strides.str()}, {"offset", std::to_string(offset)}},
         "as many strides as extents, and places in [0, " + std::to_string(x.numel()) + ")", at);
  Tensor<T, D> y(detail::alias(x, shape, strides, offset));
  if (detail::wants_grad(x)) {
    auto& node = detail::record<AsStridedNode<T, D>>(y, at, x);
    node.from = x.shape(), node.strides = strides, node.offset = offset;
  }
  return y;
}
template <class T, class D>
Tensor<T, D> as_strided_backward(const Tensor<T, D>& dy, const Shape& shape, const Shape& strides, int64_t offset, Where at = Where::current()) {
  Tensor<T, D> dx(shape, at);
  kernels::fill<T>(D{}, dx.data(), T(0), kernels::Loop<1>::flat(dx.numel()));
  detail::copy_values(Tensor<T, D>(detail::alias(dx, dy.shape(), strides, offset)), dy);
  if (detail::wants_grad(dy)) {
    auto& node = detail::record<AsStridedBackwardNode<T, D>>(dx, at, dy);
    node.view_shape = dy.shape(), node.strides = strides, node.offset = offset;
  }
  return dx;
}

namespace detail {

[[noreturn]] inline void fail_unrecorded_view(const char* op, const AnyTensor& x, Where at) {
  fail(op, "a recorded write through a view that was taken under NoGrad", {{"view", describe(x)}},
       "a view taken while recording is on, so that the gradient of what it is a view of sees the write; a clone(); or the write under NoGrad", at);
}
template <class T, class D> void check_writable(const char* op, const Tensor<T, D>& x, Where at) {
  for (int i = 0; i < x.rank(); ++i)
    if (x.shape()[i] > 1 && x.strides()[i] == 0 && x.numel() > 0)
      fail(op, "several elements share one place in memory", {{"x", describe(x)}}, "a tensor that is not expanded; use clone()", at);
  if (!recording) return;
  if (is_stale(x.impl())) fail_stale_view(x, at);
  if (const TensorImpl* r = view_root(x.impl()); r->unrecorded_view && r->base && r->base->requires_grad) fail_unrecorded_view(op, x, at);
  const TensorImpl* root = x.impl()->base ? x.impl()->base : x.impl();
  if (root->requires_grad && !root->grad_fn)
    fail(op, "in-place write to a leaf that requires gradients", {{"x", describe(x)}},
         "NoGrad around an update of a parameter, or a write into a clone()", at);
}

/// x holds the values of r; gives it r's history.
template <class T, class D> void adopt_history(const Tensor<T, D>& x, const Tensor<T, D>& r, Where at) {
  TensorImpl* t = x.impl();
  const auto set = [](TensorImpl* to, Node* node, uint32_t output) {
    const Ref<Node> old = Ref<Node>::adopt(to->grad_fn);
    to->grad_fn = Ref<Node>(node).release();
    to->output = output, to->requires_grad = node != nullptr;
  };
  if (!t->base) {
    if (r.requires_grad() && r.is_leaf()) return adopt_history(x, clone(r, at), at);
    set(t, r.grad_fn(), r.impl()->output);
    ++t->history;
    return;
  }
  const Tensor<T, D> base((Ref<TensorImpl>(t->base)));
  const int64_t offset = x.data() - base.data();
  Tensor<T, D> result(alias(base, base.shape(), base.strides(), 0));
  auto& write = record<WriteViewNode<T, D>>(result, at, base, r);
  write.view_shape = x.shape(), write.view_strides = x.strides(), write.offset = offset;
  set(base.impl(), &write, 0);
  ++base.impl()->history;
  Tensor<T, D> again(alias(x, x.shape(), x.strides(), 0));
  auto& view = record<AsStridedNode<T, D>>(again, at, base);
  view.from = base.shape(), view.strides = x.strides(), view.offset = offset;
  set(t, &view, 0);
  t->base_history = base.impl()->history;
}

/// x = f(x) in x's memory. `direct` writes without history, `f` computes the result with history from the old x;
/// `keeps_old`: the result depends on the old values.
template <class T, class D, class Direct, class F, class... Other>
Tensor<T, D>& write_in_place(const char* op, Tensor<T, D>& x, Where at, bool keeps_old, Direct direct, F f, const Other&... other) {
  check_writable(op, x, at);
  const bool base_recorded = x.impl()->base && x.impl()->base->requires_grad;
  if (recording && (x.requires_grad() || base_recorded || (other.requires_grad() || ...))) {
    if (TensorImpl* r = view_root(x.impl()); r->unrecorded_view) {
      if (x.impl()->storage->refs > 1 + (r != x.impl())) fail_unrecorded_view(op, x, at);   // other tensors see the write, not its gradient
      forget_base(r);
    }
    if (x.impl()->base && !x.impl()->base->contiguous)   // WriteViewNode places the view in a gradient, which is contiguous
      fail(op, "a recorded write through a view of a tensor that is not contiguous",
           {{"view", describe(x)}, {"of", describe(AnyTensor(Ref<TensorImpl>(x.impl()->base)))}}, "a base made by clone()", at);
    if (x.impl()->storage->saved > 0) {
      if (keeps_old) check_not_saved(op, x, x.grad_fn(), at);
      if (x.impl()->base) check_not_saved(op, x, x.impl()->base->grad_fn, at);
    }
    Tensor<T, D> old(alias(x, x.shape(), x.strides(), 0));
    if (x.grad_fn()) set_history(old, x.grad_fn(), x.impl()->output);
    const Tensor<T, D> r = f(old);
    if (r.shape() != x.shape()) fail_broadcast(op, x, r, at);
    copy_values(x, r);
    mark_written(x, at);
    adopt_history(x, r, at);
  } else {
    direct();
    mark_written(x, at);
  }
  return x;
}

template <class F, class T, class D> void write_binary(const char* op, const Tensor<T, D>& a, const Tensor<T, D>& b, Where at) {
  Shape shape;
  if (!broadcast_shapes(a.shape(), b.shape(), shape) || shape != a.shape()) fail_broadcast(op, a, b, at);
  const bool overlap = a.shares_storage(b) && (a.data() != b.data() || !(a.strides() == b.strides()) || !(a.shape() == b.shape()));
  const Tensor<T, D> source = overlap ? no_grad([&] { return clone(b, at); }) : b;
  kernels::binary<F, T>(D{}, {}, a.data(), source.data(), a.data(), loop_over(shape, a, a, source));
}

}  // namespace detail

template <class T, class D> Tensor<T, D>& add_(Tensor<T, D>& a, const Tensor<T, D>& b, Where at) {
  return detail::write_in_place("add_", a, at, true, [&] { detail::write_binary<kernels::Add>("add_", a, b, at); }, [&](const auto& x) { return add(x, b, at); }, b);
}
template <class T, class D> Tensor<T, D>& sub_(Tensor<T, D>& a, const Tensor<T, D>& b, Where at) {
  return detail::write_in_place("sub_", a, at, true, [&] { detail::write_binary<kernels::Sub>("sub_", a, b, at); }, [&](const auto& x) { return sub(x, b, at); }, b);
}
template <class T, class D> Tensor<T, D>& mul_(Tensor<T, D>& a, const Tensor<T, D>& b, Where at) {
  return detail::write_in_place(
      "mul_", a, at, true, [&] { detail::write_binary<kernels::Mul>("mul_", a, b, at); },
      // b's gradient needs the old values, which are about to be overwritten.
      [&](const auto& x) { return mul(b.requires_grad() ? clone(x, at) : x, b, at); }, b);
}
template <class T, class D> Tensor<T, D>& div_(Tensor<T, D>& a, const Tensor<T, D>& b, Where at) {
  return detail::write_in_place("div_", a, at, true, [&] { detail::write_binary<kernels::Div>("div_", a, b, at); }, [&](const auto& x) { return div(x, b, at); }, b);
}
template <class T, class D> Tensor<T, D>& add_(Tensor<T, D>& a, double b, Where at) {
  return detail::write_in_place(
      "add_", a, at, true, [&] { kernels::unary<kernels::Affine, T>(D{}, {1, b}, a.data(), a.data(), detail::loop_over(a.shape(), a, a)); },
      [&](const auto& x) { return add(x, b, at); });
}
template <class T, class D> Tensor<T, D>& mul_(Tensor<T, D>& a, double b, Where at) {
  return detail::write_in_place(
      "mul_", a, at, true, [&] { kernels::unary<kernels::Affine, T>(D{}, {b, 0}, a.data(), a.data(), detail::loop_over(a.shape(), a, a)); },
      [&](const auto& x) { return mul(x, b, at); });
}
/// Writes o, broadcast, into this tensor.
template <Element T, class D> Tensor<T, D>& Tensor<T, D>::copy_(const Tensor& o, Where at) {
  Shape s;
  if (!broadcast_shapes(shape(), o.shape(), s) || !(s == shape())) detail::fail_broadcast("copy_", *this, o, at);
  const bool overlap = shares_storage(o) && !is_same(o);
  const Tensor source = overlap ? gradus::clone(o, at) : o;
  return detail::write_in_place("copy_", *this, at, false, [&] { detail::copy_values(*this, source); },
                                [&](const Tensor&) { return expand(source, shape(), at); }, source);
}
/// Every element set to v.
template <Element T, class D> Tensor<T, D>& Tensor<T, D>::fill_(double v, Where at) {
  return detail::write_in_place("fill_", *this, at, false, [&] { kernels::fill<T>(D{}, data(), static_cast<T>(v), detail::loop_over(shape(), *this)); },
                                [&](const Tensor& x) { return expand(detail::scalar_like(x, v, at), x.shape(), at); });
}

template <Element T, class D> T Tensor<T, D>::item(Where at) const {
  if (numel() != 1) fail("item", "not a single value", {{"x", describe(*this)}}, "one element", at);
  if constexpr (std::is_same_v<D, Cuda>) {
    T v;
    detail::copy_to_host(&v, data(), sizeof(T));
    return v;
  } else {
    return *data();
  }
}
template <Element T, class D> std::vector<T> Tensor<T, D>::to_vector() const {
  std::vector<T> v(static_cast<std::size_t>(numel()));
  if constexpr (std::is_same_v<T, bool>) {
    const auto bytes = no_grad([&] { return cast<uint8_t>(*this).to_vector(); });
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = bytes[i] != 0;
  } else if constexpr (std::is_same_v<D, Cuda>) {
    const auto from = no_grad([&] { return gradus::contiguous(*this); });
    detail::copy_to_host(v.data(), from.data(), v.size() * sizeof(T));
  } else {
    kernels::unary<kernels::Copy, T>(D{}, {}, data(), v.data(), kernels::Loop<2>::make(shape(), {contiguous_strides(shape()), strides()}));
  }
  return v;
}

}  // namespace gradus
