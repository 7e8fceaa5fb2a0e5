// Joining, splitting, padding and repeating.
#pragma once
#include <gradus/kernels/create.hpp>
#include <gradus/ops/view.hpp>

namespace gradus {

template <class T, class D> struct CatNode final : Node {
  int dim = 0;
  std::vector<int64_t> sizes;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref());
    int64_t start = 0;
    for (int i = 0; i < inputs_n; ++i) {
      const int64_t n = sizes[static_cast<std::size_t>(i)];
      if (wants(i)) accumulate(i, narrow(dy, dim, start, n, 1, at));
      start += n;
    }
  }
};
/// Tensors that agree in all other extents, one after another along `dim`.
template <class T, class D> Tensor<T, D> cat(const std::vector<Tensor<T, D>>& xs, int dim = 0, Where at = Where::current()) {
  if (xs.empty()) fail("cat", "no tensors", {}, "at least one", at);
  const int d = detail::normalize_dim("cat", dim, xs[0].rank(), xs[0], at);
  Shape shape = xs[0].shape();
  shape[d] = 0;
  bool record = false;
  for (std::size_t i = 0; i < xs.size(); ++i) {
    bool ok = xs[i].rank() == shape.n;
    for (int k = 0; ok && k < shape.n; ++k) ok = k == d || xs[i].shape()[k] == shape[k];
    if (!ok)
      fail("cat", "tensor " + std::to_string(i) + " does not fit", {{"first", describe(xs[0])}, {"tensor " + std::to_string(i), describe(xs[i])}},
           "equal extents except along dimension " + std::to_string(d), at);
    shape[d] += xs[i].shape()[d];
    record |= detail::wants_grad(xs[i]);
  }
  Tensor<T, D> y(shape, at);
  {
    const NoGrad guard;
    int64_t start = 0;
    for (const auto& x : xs) {
      detail::copy_values(narrow(y, d, start, x.shape()[d], 1, at), x);
      start += x.shape()[d];
    }
  }
  if constexpr (is_floating<T>) {
    if (record) {
      auto& node = detail::record_list<CatNode<T, D>>(y, at, xs);
      node.dim = d;
      for (const auto& x : xs) node.sizes.push_back(x.shape()[d]);
    }
  }
  return y;
}
/// Tensors of one shape along a new dimension.
template <class T, class D> Tensor<T, D> stack(const std::vector<Tensor<T, D>>& xs, int dim = 0, Where at = Where::current()) {
  std::vector<Tensor<T, D>> rows;
  for (const auto& x : xs) rows.push_back(unsqueeze(x, dim, at));
  return cat(rows, dim, at);
}
/// Views of `sizes` elements each along `dim`; the sizes add up to its extent.
template <class T, class D> std::vector<Tensor<T, D>> split(const Tensor<T, D>& x, const std::vector<int64_t>& sizes, int dim = 0, Where at = Where::current()) {
  int64_t total = 0;
  for (int64_t n : sizes) total += n;
  if (total != x.size(dim, at))
    fail("split", "the sizes do not add up", {{"x", describe(x)}, {"sizes", std::to_string(total) + " in all"}}, std::to_string(x.size(dim, at)), at);
  std::vector<Tensor<T, D>> parts;
  int64_t start = 0;
  for (int64_t n : sizes) parts.push_back(narrow(x, dim, start, n, 1, at)), start += n;
  return parts;
}
/// Views of `size` elements along `dim`; the last may be shorter.
template <class T, class D> std::vector<Tensor<T, D>> split(const Tensor<T, D>& x, int64_t size, int dim = 0, Where at = Where::current()) {
  if (size < 1) fail("split", "parts without elements", {{"size", std::to_string(size)}}, "size >= 1", at);
  std::vector<int64_t> sizes;
  const int64_t n = x.size(dim, at);
  for (int64_t start = 0; start < n; start += size) sizes.push_back(n - start < size ? n - start : size);
  return split(x, sizes, dim, at);
}
/// `n` views along `dim`, of equal size but for the last.
template <class T, class D> std::vector<Tensor<T, D>> chunk(const Tensor<T, D>& x, int64_t n, int dim = 0, Where at = Where::current()) {
  if (n < 1) fail("chunk", "no parts", {{"n", std::to_string(n)}}, "n >= 1", at);
  const int64_t e = x.size(dim, at);
  return split(x, e == 0 ? 1 : (e + n - 1) / n, dim, at);
}

template <class T, class D> Tensor<T, D> flip(const Tensor<T, D>& x, const Shape& dims, Where at = Where::current());
template <class T, class D> struct FlipNode final : Node {
  Shape dims;
  void backward(const AnyTensor& dy) override { accumulate(0, flip(Tensor<T, D>(dy.ref()), dims, at)); }
};
/// The order of the elements reversed along each of `dims`; a copy.
template <class T, class D> Tensor<T, D> flip(const Tensor<T, D>& x, const Shape& dims, Where at) {
  Shape strides = x.strides();
  int64_t offset = 0;
  for (int64_t e : dims) {
    const int d = detail::normalize_dim("flip", static_cast<int>(e), x.rank(), x, at);
    if (x.shape()[d] > 0) offset += (x.shape()[d] - 1) * strides[d];
    strides[d] = -strides[d];
  }
  Tensor<T, D> reversed(detail::alias(x, x.shape(), strides, offset));
  Tensor<T, D> y = detail::map_unary(kernels::Copy{}, reversed, at);
  if (detail::wants_grad(x)) detail::record<FlipNode<T, D>>(y, at, x).dims = dims;
  return y;
}
/// Elements moved by `shift` places along `dim`; those that leave come in at the other end.
template <class T, class D> Tensor<T, D> roll(const Tensor<T, D>& x, int64_t shift, int dim, Where at = Where::current()) {
  const int64_t n = x.size(dim, at);
  if (n == 0) return x;
  const int64_t k = ((shift % n) + n) % n;
  return cat(std::vector<Tensor<T, D>>{narrow(x, dim, n - k, k, 1, at), narrow(x, dim, 0, n - k, 1, at)}, dim, at);
}
/// x laid out times[i] times along each dimension; further dimensions come at the left.
template <class T, class D> Tensor<T, D> repeat(const Tensor<T, D>& x, const Shape& times, Where at = Where::current()) {
  if (times.n < x.rank()) fail("repeat", "too few counts", {{"x", describe(x)}, {"times", times.str()}}, "one count for each dimension at least", at);
  Tensor<T, D> y = x;
  for (int i = 0; i < times.n; ++i) {
    if (i < times.n - x.rank()) y = unsqueeze(y, 0, at);
  }
  for (int i = 0; i < times.n; ++i) {
    if (times[i] == 1) continue;
    Shape wide = y.shape(), merged = y.shape();
    wide.insert(i, times[i]);
    merged[i] *= times[i];
    y = gradus::reshape(expand(unsqueeze(y, i, at), wide, at), merged, at);
  }
  return y;
}
/// Each element `times` times in a row along `dim`.
template <class T, class D> Tensor<T, D> repeat_interleave(const Tensor<T, D>& x, int64_t times, int dim, Where at = Where::current()) {
  const int d = detail::normalize_dim("repeat_interleave", dim, x.rank(), x, at);
  Shape wide = x.shape(), merged = x.shape();
  wide.insert(d + 1, times);
  merged[d] *= times;
  return gradus::reshape(expand(unsqueeze(x, d + 1, at), wide, at), merged, at);
}

/// Element i counts[i] times in a row along `dim`. counts : [x.size(dim)], >= 0. Defined in sort.hpp.
template <class T, class D>
Tensor<T, D> repeat_interleave(const Tensor<T, D>& x, const Tensor<int64_t, D>& counts, int dim, Where at = Where::current());

template <class T, class D> struct PadNode final : Node {
  Shape starts, sizes, steps;
  void backward(const AnyTensor& dy) override { accumulate(0, slices(Tensor<T, D>(dy.ref()), starts, sizes, steps, at)); }
};
/// `before` and `after` elements of `value` around the last dimensions; both lists have one entry a dimension, the last for the last.
/// Negative counts cut.
template <class T, class D>
Tensor<T, D> pad(const Tensor<T, D>& x0, const Shape& before, const Shape& after, double value = 0, Where at = Where::current()) {
  if (before.n != after.n || before.n > x0.rank())
    fail("pad", "the counts do not match the dimensions", {{"x", describe(x0)}, {"before", before.str()}, {"after", after.str()}},
         "two lists of equal length, at most the rank", at);
  Tensor<T, D> x = x0;
  Shape shape = x.shape(), starts, steps;
  for (int i = 0; i < x.rank(); ++i) starts.push_back(0), steps.push_back(1);
  for (int i = 0; i < before.n; ++i) {
    const int d = x.rank() - before.n + i;
    if (before[i] < 0 || after[i] < 0) {
      const int64_t lo = before[i] < 0 ? -before[i] : 0, hi = after[i] < 0 ? -after[i] : 0;
      if (x.shape()[d] - lo - hi < 0) fail("pad", "cuts more than there is", {{"x", describe(x0)}, {"before", before.str()}, {"after", after.str()}}, "a result of extent >= 0", at);
      x = narrow(x, d, lo, x.shape()[d] - lo - hi, 1, at);
    }
    shape[d] = x.shape()[d] + (before[i] > 0 ? before[i] : 0) + (after[i] > 0 ? after[i] : 0);
    starts[d] = before[i] > 0 ? before[i] : 0;
  }
  Tensor<T, D> y(shape, at);
  kernels::fill<T>(D{}, y.data(), static_cast<T>(value), kernels::Loop<1>::flat(y.numel()));
  {
    const NoGrad guard;
    detail::copy_values(detail::raw_slices(y, starts, x.shape(), steps), x);
  }
  if (detail::wants_grad(x)) {
    auto& node = detail::record<PadNode<T, D>>(y, at, x);
    node.starts = starts, node.sizes = x.shape(), node.steps = steps;
  }
  return y;
}

namespace detail {
template <class D> Tensor<bool, D> triangle(int64_t n, int64_t m, int64_t k, bool lower, Where at) {
  Tensor<int64_t, D> i(Shape{n, 1}, at), j(Shape{1, m}, at);
  kernels::ramp<int64_t>(D{}, i.data(), n, 0, 1, 1);
  kernels::ramp<int64_t>(D{}, j.data(), m, 0, 1, 1);
  const auto diagonal = sub(j, i, at);
  return lower ? less_equal(diagonal, static_cast<double>(k), at) : greater_equal(diagonal, static_cast<double>(k), at);
}
}  // namespace detail
/// The lower triangle of the last two dimensions, up to diagonal k; zeros elsewhere.
template <class T, class D> Tensor<T, D> tril(const Tensor<T, D>& x, int64_t k = 0, Where at = Where::current()) {
  return where(detail::triangle<D>(x.size(-2, at), x.size(-1, at), k, true, at), x, 0.0, at);
}
/// The upper triangle of the last two dimensions, from diagonal k on; zeros elsewhere.
template <class T, class D> Tensor<T, D> triu(const Tensor<T, D>& x, int64_t k = 0, Where at = Where::current()) {
  return where(detail::triangle<D>(x.size(-2, at), x.size(-1, at), k, false, at), x, 0.0, at);
}

}  // namespace gradus
