// Indexing: x(i, all, slice(0, 8), ellipsis, newaxis, mask, rows), gather, scatter and their relatives.
//
// Integers, slices, ellipsis and newaxis make views. Index tensors and masks make copies; as in NumPy, index tensors
// broadcast with each other, and their dimensions stand where the first one stood (at the front when they are apart).
#pragma once
#include <gradus/kernels/index.hpp>
#include <gradus/ops/reduce.hpp>
#include <gradus/ops/shape.hpp>

namespace gradus {

/// Elements start, start + step, ... below stop; negative bounds count from the end, open ones reach it.
struct Slice {
  static constexpr int64_t kOpen = INT64_MAX;
  int64_t start = 0, stop = kOpen, step = 1;
};
inline Slice slice(int64_t start, int64_t stop = Slice::kOpen, int64_t step = 1) { return {start, stop, step}; }
struct All {};
struct Ellipsis {};
struct NewAxis {};
inline constexpr All all{};              ///< a whole dimension
inline constexpr Ellipsis ellipsis{};    ///< as many whole dimensions as are not named
inline constexpr NewAxis newaxis{};      ///< a new dimension of extent 1

/// One entry of x(...), with the place where it was written.
struct Index {
  enum class Kind { integer, slice, ellipsis, newaxis, positions, mask } kind;
  int64_t i = 0;
  Slice s;
  AnyTensor tensor;
  Where at;
  template <std::integral I>
    requires(!std::is_same_v<I, bool>)
  Index(I i, Where at = Where::current()) : kind(Kind::integer), i(static_cast<int64_t>(i)), at(at) {}
  Index(All, Where at = Where::current()) : kind(Kind::slice), at(at) {}
  Index(Slice s, Where at = Where::current()) : kind(Kind::slice), s(s), at(at) {}
  Index(Ellipsis, Where at = Where::current()) : kind(Kind::ellipsis), at(at) {}
  Index(NewAxis, Where at = Where::current()) : kind(Kind::newaxis), at(at) {}
  template <class D> Index(const Tensor<int64_t, D>& t, Where at = Where::current()) : kind(Kind::positions), tensor(t), at(at) {}
  template <class D> Index(const Tensor<bool, D>& t, Where at = Where::current()) : kind(Kind::mask), tensor(t), at(at) {}
};

namespace detail {

/// Element i in row-major order, on the host: for error texts.
template <class T, class D> T element_of(const Tensor<T, D>& x, int64_t i, Where at) {
  return no_grad([&] { return narrow(gradus::reshape(x, {-1}, at), 0, i, 1, 1, at).item(at); });
}
/// The index with negative entries counted from the end. Entries in [0, extent), the usual case, cost one pass.
template <class D> Tensor<int64_t, D> checked_index(const char* op, const Tensor<int64_t, D>& index, int64_t extent, const AnyTensor& x, int dim, Where at) {
  const auto idx = contiguous(index, at);
  if (kernels::find_out_of_range(D{}, idx.data(), idx.numel(), 0, extent) < 0) return idx;
  const int64_t bad = kernels::find_out_of_range(D{}, idx.data(), idx.numel(), -extent, extent);
  if (bad >= 0)
    fail(op, "index out of range",
         {{"x", describe(x)}, {"index", describe(index) + ", element " + std::to_string(bad) + " is " + std::to_string(element_of(idx, bad, at))}, {"dim", std::to_string(dim)}},
         "indices in [" + std::to_string(-extent) + ", " + std::to_string(extent) + ")", at);
  return where(less(idx, 0.0, at), add(idx, static_cast<double>(extent), at), idx, at);
}
struct Split3 {
  int64_t O = 1, R = 1, I = 1;
};
inline Split3 split_at(const Shape& s, int d) {
  Split3 v;
  for (int i = 0; i < d; ++i) v.O *= s[i];
  v.R = s[d];
  for (int i = d + 1; i < s.n; ++i) v.I *= s[i];
  return v;
}

}  // namespace detail

template <class T, class D> Tensor<T, D> index_add(const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, const Tensor<T, D>& source, Where at = Where::current());
template <class T, class D> Tensor<T, D> index_select(const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, Where at = Where::current());

template <class T, class D> struct IndexSelectNode final : Node {
  Saved<int64_t, D> index{this, "index"};
  Shape from;
  int dim = 0;
  void backward(const AnyTensor& dy) override {
    Tensor<T, D> zero(from, at);
    zero.fill_(0, at);
    accumulate(0, index_add(zero, dim, index.get(), Tensor<T, D>(dy.ref()), at));
  }
};
/// y[..., j, ...] = x[..., index[j], ...] along `dim`; index : [J]; negative indices count from the end.
template <class T, class D> Tensor<T, D> index_select(const Tensor<T, D>& x0, int dim, const Tensor<int64_t, D>& index, Where at) {
  const int d = detail::normalize_dim("index_select", dim, x0.rank(), x0, at);
  if (index.rank() != 1) fail("index_select", "the index is not a vector", {{"x", describe(x0)}, {"index", describe(index)}}, "1 dimension", at);
  const auto idx = detail::checked_index("index_select", index, x0.shape()[d], x0, d, at);
  const auto x = contiguous(x0, at);
  Shape shape = x.shape();
  shape[d] = idx.numel();
  Tensor<T, D> y(shape, at);
  const auto s = detail::split_at(x.shape(), d);
  kernels::index_select<T>(D{}, x.data(), idx.data(), y.data(), s.O, s.R, s.I, idx.numel());
  if constexpr (is_floating<T>) {
    if (detail::wants_grad(x)) {
      auto& node = detail::record<IndexSelectNode<T, D>>(y, at, x);
      node.index = idx, node.from = x.shape(), node.dim = d;
    }
  }
  return y;
}
template <class T, class D> struct IndexAddNode final : Node {  // d(source) = dy at the indices
  Saved<int64_t, D> index{this, "index"};
  int dim = 0;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref());
    if (wants(0)) accumulate(0, dy);
    if (wants(1)) accumulate(1, index_select(dy, dim, index.get(), at));
  }
};
/// x with source[..., j, ...] added at index[j] along `dim`; repeated indices add up, in index order.
template <class T, class D>
Tensor<T, D> index_add(const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, const Tensor<T, D>& source0, Where at) {
  const int d = detail::normalize_dim("index_add", dim, x.rank(), x, at);
  Shape want = x.shape();
  if (index.rank() == 1) want[d] = index.numel();
  if (index.rank() != 1 || !(source0.shape() == want))
    fail("index_add", "the source does not match the index", {{"x", describe(x)}, {"index", describe(index)}, {"source", describe(source0)}}, "index [J] and source " + want.str(), at);
  const auto idx = detail::checked_index("index_add", index, x.shape()[d], x, d, at);
  const auto source = contiguous(source0, at);
  Tensor<T, D> y = detail::map_unary(kernels::Copy{}, x, at);
  const auto s = detail::split_at(x.shape(), d);
  kernels::index_add<T>(D{}, y.data(), idx.data(), source.data(), s.O, s.R, s.I, idx.numel());
  if constexpr (is_floating<T>) {
    if (detail::wants_grad(x, source)) {
      auto& node = detail::record<IndexAddNode<T, D>>(y, at, x, source);
      node.index = idx, node.dim = d;
    }
  }
  return y;
}

template <class T, class D> Tensor<T, D> gather(const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, Where at = Where::current());
template <class T, class D> Tensor<T, D> scatter_add(const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, const Tensor<T, D>& source, Where at = Where::current());

namespace detail {
/// Whether the index has smaller extents than x outside of `dim`, where larger ones are an error.
inline bool index_is_part(const char* op, const AnyTensor& x, int dim, const AnyTensor& index, Where at) {
  const int d = normalize_dim(op, dim, x.rank(), x, at);
  bool fits = index.rank() == x.rank(), part = false;
  for (int i = 0; fits && i < x.rank(); ++i) fits = i == d || index.shape()[i] <= x.shape()[i], part |= i != d && index.shape()[i] < x.shape()[i];
  if (!fits)
    fail(op, "the index does not match", {{"x", describe(x)}, {"index", describe(index)}, {"dim", std::to_string(d)}},
         "the extents of x, or smaller ones, except along dimension " + std::to_string(d), at);
  return part;
}
inline bool index_is_part(const char* op, const AnyTensor& x, int dim, const AnyTensor& index, const AnyTensor& source, Where at) {
  if (!(source.shape() == index.shape()))
    fail(op, "source and index differ", {{"index", describe(index)}, {"source", describe(source)}}, "equal shapes", at);
  return index_is_part(op, x, dim, index, at);
}
/// The part of x that an index with smaller extents can name. A view.
template <class T, class D> Tensor<T, D> named_part(const Tensor<T, D>& x, int dim, const AnyTensor& index, Where at) {
  const int d = normalize_dim("index", dim, x.rank(), x, at);
  Tensor<T, D> part = x;
  for (int i = 0; i < x.rank(); ++i)
    if (i != d) part = narrow(part, i, 0, index.shape()[i], 1, at);
  return part;
}
/// x with f of that part in its place.
template <class T, class D, class F> Tensor<T, D> on_part(const Tensor<T, D>& x, int dim, const AnyTensor& index, Where at, F f) {
  const auto y = clone(x, at);
  named_part(y, dim, index, at).copy_(f(named_part(x, dim, index, at)), at);
  return y;
}
}  // namespace detail

template <class T, class D> struct GatherNode final : Node {
  Saved<int64_t, D> index{this, "index"};
  Shape from;
  int dim = 0;
  void backward(const AnyTensor& dy) override {
    Tensor<T, D> zero(from, at);
    zero.fill_(0, at);
    accumulate(0, scatter_add(zero, dim, index.get(), Tensor<T, D>(dy.ref()), at));
  }
};
/// y[i][j][k] = x[i][index[i][j][k]][k] for dim = 1. Also known as take_along.
template <class T, class D> Tensor<T, D> gather(const Tensor<T, D>& x0, int dim, const Tensor<int64_t, D>& index, Where at) {
  if (detail::index_is_part("gather", x0, dim, index, at)) return gather(detail::named_part(x0, dim, index, at), dim, index, at);
  const int d = detail::normalize_dim("gather", dim, x0.rank(), x0, at);
  const auto idx = detail::checked_index("gather", index, x0.shape()[d], x0, d, at);
  const auto x = contiguous(x0, at);
  Tensor<T, D> y(idx.shape(), at);
  const auto s = detail::split_at(x.shape(), d);
  kernels::gather<T>(D{}, x.data(), idx.data(), y.data(), s.O, s.R, s.I, idx.shape()[d]);
  if constexpr (is_floating<T>) {
    if (detail::wants_grad(x)) {
      auto& node = detail::record<GatherNode<T, D>>(y, at, x);
      node.index = idx, node.from = x.shape(), node.dim = d;
    }
  }
  return y;
}
template <class T, class D> struct ScatterAddNode final : Node {
  Saved<int64_t, D> index{this, "index"};
  int dim = 0;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref());
    if (wants(0)) accumulate(0, dy);
    if (wants(1)) accumulate(1, gather(dy, dim, index.get(), at));
  }
};
/// x with source[i][j][k] added at [i][index[i][j][k]][k] for dim = 1; the gradient of gather.
template <class T, class D>
Tensor<T, D> scatter_add(const Tensor<T, D>& x, int dim, const Tensor<int64_t, D>& index, const Tensor<T, D>& source0, Where at) {
  if (detail::index_is_part("scatter_add", x, dim, index, source0, at))
    return detail::on_part(x, dim, index, at, [&](const auto& part) { return scatter_add(part, dim, index, source0, at); });
  const int d = detail::normalize_dim("scatter_add", dim, x.rank(), x, at);
  const auto idx = detail::checked_index("scatter_add", index, x.shape()[d], x, d, at);
  const auto source = contiguous(source0, at);
  Tensor<T, D> y = detail::map_unary(kernels::Copy{}, x, at);
  const auto s = detail::split_at(x.shape(), d);
  kernels::scatter_add<T>(D{}, y.data(), idx.data(), source.data(), s.O, s.R, s.I, idx.shape()[d]);
  if constexpr (is_floating<T>) {
    if (detail::wants_grad(x, source)) {
      auto& node = detail::record<ScatterAddNode<T, D>>(y, at, x, source);
      node.index = idx, node.dim = d;
    }
  }
  return y;
}
/// One row of the identity for each index: [...] -> [..., classes].
template <class T = float, class D> Tensor<T, D> one_hot(const Tensor<int64_t, D>& index, int64_t classes, Where at = Where::current()) {
  Shape shape = index.shape();
  shape.push_back(classes);
  Tensor<T, D> zero(shape, at), one(Shape{}, at);
  zero.fill_(0, at), one.fill_(1, at);
  const auto column = unsqueeze(index, -1, at);
  return no_grad([&] { return scatter_add(zero, -1, column, clone(expand(one, column.shape(), at), at), at); });
}
/// Rows of a table [V, C] for indices [...]: [..., C]. Lookup of an embedding.
template <class T, class D> Tensor<T, D> embedding(const Tensor<T, D>& table, const Tensor<int64_t, D>& index, Where at = Where::current()) {
  if (table.rank() != 2) fail("embedding", "the table is not a matrix", {{"table", describe(table)}}, "[V, C]", at);
  Shape shape = index.shape();
  shape.push_back(table.shape()[1]);
  return gradus::reshape(index_select(table, 0, gradus::reshape(index, {-1}, at), at), shape, at);
}
/// The same; row `padding` of the table gets no gradient.
template <class T, class D>
Tensor<T, D> embedding(const Tensor<T, D>& table, const Tensor<int64_t, D>& index, int64_t padding, Where at = Where::current()) {
  if (table.rank() != 2 || padding < 0 || padding >= table.shape()[0])
    fail("embedding", "no such padding row", {{"table", describe(table)}, {"padding", std::to_string(padding)}}, "a row of the table [V, C]", at);
  const auto rows = embedding(table, index, at);
  return where(unsqueeze(equal(index, static_cast<double>(padding), at), -1, at), rows.detach(), rows, at);
}
/// The elements of x where the mask, broadcast, is false; v elsewhere.
template <class T, class D> Tensor<T, D> masked_fill(const Tensor<T, D>& x, const Tensor<bool, D>& mask, double v, Where at = Where::current()) {
  return where(mask, v, x, at);
}
/// The positions of the true elements: [count, rank].
template <class D> Tensor<int64_t, D> nonzero(const Tensor<bool, D>& mask0, Where at = Where::current()) {
  const auto mask = contiguous(mask0, at);
  Tensor<int64_t, D> y(Shape{kernels::count_nonzero<bool>(D{}, mask.data(), mask.numel()), mask.rank()}, at);
  kernels::nonzero<bool>(D{}, mask.data(), y.data(), mask.shape().begin(), mask.rank());
  return y;
}

namespace detail {

template <class T, class D> struct Indexed {
  Tensor<T, D> view;                                 // after integers, slices and new axes
  std::vector<std::pair<int, Tensor<int64_t, D>>> at;  // dimension of `view`, positions
};
template <class T, class D> Indexed<T, D> basic_index(const Tensor<T, D>& x, const std::vector<Index>& list) {
  const Where at = list.empty() ? Where{} : list[0].at;
  int named = 0;
  bool dots = false;
  for (const Index& e : list) {
    if (e.kind == Index::Kind::ellipsis) {
      if (dots) fail("index", "two ellipses", {{"x", describe(x)}}, "one at most", e.at);
      dots = true;
    } else if (e.kind == Index::Kind::mask) {
      named += e.tensor.rank();
    } else if (e.kind != Index::Kind::newaxis) {
      ++named;
    }
  }
  if (named > x.rank())
    fail("index", "too many indices", {{"x", describe(x)}, {"indices", std::to_string(named)}}, std::to_string(x.rank()) + " at most", at);
  Indexed<T, D> r;
  r.view = x;
  int d = 0;
  for (const Index& e : list) {
    switch (e.kind) {
      case Index::Kind::integer: r.view = select(r.view, d, e.i, e.at); break;
      case Index::Kind::newaxis: r.view = unsqueeze(r.view, d++, e.at); break;
      case Index::Kind::ellipsis: d += x.rank() - named; break;
      case Index::Kind::positions: r.at.emplace_back(d++, e.tensor.template as<int64_t, D>(e.at)); break;
      case Index::Kind::mask: {
        const auto mask = e.tensor.template as<bool, D>(e.at);
        for (int k = 0; k < mask.rank(); ++k)
          if (mask.shape()[k] != r.view.shape()[d + k])
            fail("index", "the mask does not match", {{"x", describe(x)}, {"mask", describe(mask)}}, "the extents of the dimensions it stands for", e.at);
        const auto where_true = nonzero(mask, e.at);
        for (int k = 0; k < mask.rank(); ++k) r.at.emplace_back(d++, clone(select(where_true, 1, k, e.at), e.at));
        break;
      }
      case Index::Kind::slice: {
        const int64_t n = r.view.shape()[d];
        if (e.s.step < 1) fail("index", "a slice with a step below 1", {{"x", describe(x)}, {"step", std::to_string(e.s.step)}}, "step >= 1; flip() reverses", e.at);
        const auto bound = [n](int64_t b) { return b == Slice::kOpen ? n : (b < 0 ? (b + n < 0 ? 0 : b + n) : (b > n ? n : b)); };
        const int64_t b = bound(e.s.start), s = bound(e.s.stop), count = s > b ? (s - b + e.s.step - 1) / e.s.step : 0;
        if (b != 0 || count != n) r.view = narrow(r.view, d, count ? b : 0, count, e.s.step, e.at);
        ++d;
      }
    }
  }
  return r;
}

/// Index tensors brought to one flat index into the indexed dimensions of `view`, moved to the front.
template <class T, class D> struct FlatIndex {
  Tensor<T, D> front;            // [R, rest...]
  Tensor<int64_t, D> flat;       // [J]
  Shape index_shape, rest;
  int place = 0;                 // where the index's dimensions go
};
template <class T, class D> FlatIndex<T, D> flat_index(const Indexed<T, D>& r, Where at) {
  FlatIndex<T, D> f;
  f.index_shape = r.at[0].second.shape();
  for (const auto& [d, t] : r.at) {
    Shape s;
    if (!broadcast_shapes(f.index_shape, t.shape(), s)) fail_broadcast("index", r.at[0].second, t, at);
    f.index_shape = s;
  }
  Shape order;
  bool taken[kMaxRank] = {}, adjacent = true;
  for (std::size_t i = 0; i < r.at.size(); ++i) {
    taken[r.at[i].first] = true, order.push_back(r.at[i].first);
    adjacent &= i == 0 || r.at[i].first == r.at[i - 1].first + 1;
  }
  f.place = adjacent ? r.at[0].first : 0;
  int64_t R = 1;
  for (int i = 0; i < r.view.rank(); ++i)
    if (!taken[i]) order.push_back(i), f.rest.push_back(r.view.shape()[i]);
  for (const auto& [d, t] : r.at) {
    const int64_t extent = r.view.shape()[d];
    const auto idx = expand(checked_index("index", t, extent, r.view, d, at), f.index_shape, at);
    f.flat = f.flat.defined() ? add(mul(f.flat, static_cast<double>(extent), at), idx, at) : clone(idx, at);
    R *= extent;
  }
  Shape front = f.rest;
  front.insert(0, R);
  f.front = gradus::reshape(permute(r.view, order, at), front, at);
  f.flat = gradus::reshape(f.flat, {-1}, at);
  return f;
}

template <class T, class D> Tensor<T, D> index(const Tensor<T, D>& x, const std::vector<Index>& list) {
  const auto r = basic_index(x, list);
  if (r.at.empty()) return r.view;
  const Where at = list[0].at;
  const auto f = flat_index(r, at);
  Shape shape = f.rest;
  for (int i = 0; i < f.index_shape.n; ++i) shape.insert(i, f.index_shape[i]);
  auto y = gradus::reshape(index_select(f.front, 0, f.flat, at), shape, at);
  if (f.place == 0) return y;
  Shape order;                                        // [index..., rest...] -> rest before `place`, index, rest after
  for (int i = 0; i < f.place; ++i) order.push_back(f.index_shape.n + i);
  for (int i = 0; i < f.index_shape.n; ++i) order.push_back(i);
  for (int i = f.place; i < f.rest.n; ++i) order.push_back(f.index_shape.n + i);
  return permute(y, order, at);
}

}  // namespace detail

// x(i, all, slice(0, 8), ...): up to six entries, each of which knows the caller's line.
template <Element T, class D> Tensor<T, D> Tensor<T, D>::operator()(const Index& a) const { return detail::index(*this, {a}); }
template <Element T, class D> Tensor<T, D> Tensor<T, D>::operator()(const Index& a, const Index& b) const { return detail::index(*this, {a, b}); }
template <Element T, class D> Tensor<T, D> Tensor<T, D>::operator()(const Index& a, const Index& b, const Index& c) const {
  return detail::index(*this, {a, b, c});
}
template <Element T, class D> Tensor<T, D> Tensor<T, D>::operator()(const Index& a, const Index& b, const Index& c, const Index& d) const {
  return detail::index(*this, {a, b, c, d});
}
template <Element T, class D>
Tensor<T, D> Tensor<T, D>::operator()(const Index& a, const Index& b, const Index& c, const Index& d, const Index& e) const {
  return detail::index(*this, {a, b, c, d, e});
}
template <Element T, class D>
Tensor<T, D> Tensor<T, D>::operator()(const Index& a, const Index& b, const Index& c, const Index& d, const Index& e, const Index& f) const {
  return detail::index(*this, {a, b, c, d, e, f});
}

/// The elements of x where the mask (of x's leading extents) is true, one after another.
template <class T, class D> Tensor<T, D> masked_select(const Tensor<T, D>& x, const Tensor<bool, D>& mask, Where at = Where::current()) {
  return detail::index(x, {Index(mask, at)});
}

}  // namespace gradus
