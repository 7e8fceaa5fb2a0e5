// Order: sorting, selection, quantiles, distinct values, counting.
//
// NaN is greater than every number, equal elements stay in the order of their index. Values that were picked out of x pass their
// gradient to where they were; integer results have none.
#pragma once
#include <cmath>
#include <vector>

#include <gradus/kernels/sort.hpp>
#include <gradus/ops/scan.hpp>

namespace gradus {

namespace detail {
/// Runs f(row values, result values, result index, N, C) on x with `dim` last and gives the results with `keep` elements in its place,
/// recorded as a gather.
template <class T, class D, class F>
ValuesIndex<T, D> pick_rows(const char* op, const Tensor<T, D>& x, int dim, int64_t keep, Where at, F f) {
  const int d = normalize_dim(op, dim, x.rank(), x, at);
  ValuesIndex<T, D> r = no_grad([&] {
    const auto rows = contiguous(movedim(x, d, -1, at), at);
    Shape shape = rows.shape();
    const int64_t C = shape.back(), N = C == 0 ? 0 : rows.numel() / C;
    shape[shape.n - 1] = keep;
    Tensor<T, D> values(shape, at);
    Tensor<int64_t, D> index(shape, at);
    f(rows.data(), values.data(), index.data(), N, C);
    if (d == x.rank() - 1) return ValuesIndex<T, D>{values, index};
    return ValuesIndex<T, D>{clone(movedim(values, -1, d, at), at), clone(movedim(index, -1, d, at), at)};
  });
  if constexpr (is_floating<T>) {
    if (wants_grad(x)) {
      auto& node = record<GatherNode<T, D>>(r.values, at, x);
      node.index = r.index, node.from = x.shape(), node.dim = d;
    }
  }
  return r;
}
template <class T, class D> ValuesIndex<T, D> drop_dim(const ValuesIndex<T, D>& r, int dim, bool keepdim, Where at) {
  return keepdim ? r : ValuesIndex<T, D>{squeeze(r.values, dim, at), squeeze(r.index, dim, at)};
}
inline int64_t extent_of(const char* op, const AnyTensor& x, int dim, Where at) { return x.shape()[normalize_dim(op, dim, x.rank(), x, at)]; }
}  // namespace detail

/// The elements along `dim` in order, and where they were.
template <class T, class D>
ValuesIndex<T, D> sort(const Tensor<T, D>& x, int dim = -1, bool descending = false, Where at = Where::current()) {
  return detail::pick_rows("sort", x, dim, detail::extent_of("sort", x, dim, at), at,
                           [&](const T* a, T* v, int64_t* i, int64_t N, int64_t C) { kernels::sort<T>(D{}, a, v, i, N, C, descending); });
}
/// The positions along `dim` that put x in order.
template <class T, class D>
Tensor<int64_t, D> argsort(const Tensor<T, D>& x, int dim = -1, bool descending = false, Where at = Where::current()) {
  return sort(x.detach(), dim, descending, at).index;
}
/// The k largest (or smallest) along `dim` in order; of equals the one with the lowest index.
template <class T, class D>
ValuesIndex<T, D> topk(const Tensor<T, D>& x, int64_t k, int dim = -1, bool largest = true, Where at = Where::current()) {
  const int64_t C = detail::extent_of("topk", x, dim, at);
  if (k < 0 || k > C)
    fail("topk", "k is out of range", {{"x", describe(x)}, {"k", std::to_string(k)}, {"dim", std::to_string(dim)}},
         "0 <= k <= " + std::to_string(C), at);
  return detail::pick_rows("topk", x, dim, k, at, [&](const T* a, T* v, int64_t* i, int64_t N, int64_t n) {
    if (k > 0) kernels::topk<T>(D{}, a, v, i, N, n, k, largest);
  });
}
/// The k-th smallest along `dim`, counted from 1.
template <class T, class D>
ValuesIndex<T, D> kth_value(const Tensor<T, D>& x, int64_t k, int dim = -1, bool keepdim = false, Where at = Where::current()) {
  const int64_t C = detail::extent_of("kth_value", x, dim, at);
  if (k < 1 || k > C)
    fail("kth_value", "k is out of range", {{"x", describe(x)}, {"k", std::to_string(k)}, {"dim", std::to_string(dim)}},
         "1 <= k <= " + std::to_string(C), at);
  const auto r = detail::pick_rows("kth_value", x, dim, 1, at, [&](const T* a, T* v, int64_t* i, int64_t N, int64_t n) {
    kernels::kth_value<T>(D{}, a, v, i, N, n, k - 1);
  });
  return detail::drop_dim(r, dim, keepdim, at);
}
/// The lower median along `dim`, position (C-1)/2 in order; NaN where there is one.
template <class T, class D> ValuesIndex<T, D> median(const Tensor<T, D>& x, int dim, bool keepdim = false, Where at = Where::current()) {
  if (detail::extent_of("median", x, dim, at) == 0)
    fail("median", "no elements along the dimension", {{"x", describe(x)}, {"dim", std::to_string(dim)}}, "at least one", at);
  const auto r = detail::pick_rows("median", x, dim, 1, at, [&](const T* a, T* v, int64_t* i, int64_t N, int64_t C) {
    kernels::median<T>(D{}, a, v, i, N, C);
  });
  return detail::drop_dim(r, dim, keepdim, at);
}
/// The lower median of all elements.
template <class T, class D> Tensor<T, D> median(const Tensor<T, D>& x, Where at = Where::current()) {
  return median(gradus::flatten(x, 0, -1, at), 0, false, at).values;
}
/// What a quantile between two elements is: the line between them, one of them, the nearer one (halves to the even position), or
/// their mean.
enum class Interpolation { linear, lower, higher, nearest, midpoint };
/// The q-quantile along `dim`: position q (C-1) in order, linear between neighbours unless said otherwise; NaN where there is one.
template <Floating T, class D>
Tensor<T, D> quantile(const Tensor<T, D>& x, double q, int dim, bool keepdim = false, Interpolation between = Interpolation::linear,
                      Where at = Where::current()) {
  const int64_t C = detail::extent_of("quantile", x, dim, at);
  if (!(q >= 0 && q <= 1) || C == 0)
    fail("quantile", C == 0 ? "no elements along the dimension" : "q is out of range",
         {{"x", describe(x)}, {"q", std::to_string(q)}, {"dim", std::to_string(dim)}},
         "0 <= q <= 1 and at least one element", at);
  double position = q * static_cast<double>(C - 1);
  if (between == Interpolation::lower) position = std::floor(position);
  if (between == Interpolation::higher) position = std::ceil(position);
  if (between == Interpolation::nearest) position = std::nearbyint(position);
  const auto low = static_cast<int64_t>(std::floor(position));
  const double w = between == Interpolation::midpoint && position != std::floor(position) ? 0.5 : position - static_cast<double>(low);
  const auto ordered = sort(x, dim, false, at).values;
  auto y = narrow(ordered, dim, low, 1, 1, at);
  if (w > 0) y = lerp(y, narrow(ordered, dim, low + 1, 1, 1, at), w, at);
  const auto last = narrow(ordered, dim, C - 1, 1, 1, at);
  y = where(isnan(last, at), last, y, at);
  return keepdim ? y : squeeze(y, dim, at);
}
/// Several quantiles, stacked at the front: [quantiles, ...].
template <Floating T, class D>
Tensor<T, D> quantile(const Tensor<T, D>& x, const std::vector<double>& q, int dim, bool keepdim = false,
                      Interpolation between = Interpolation::linear, Where at = Where::current()) {
  std::vector<Tensor<T, D>> each;
  for (const double p : q) each.push_back(quantile(x, p, dim, keepdim, between, at));
  return stack(each, 0, at);
}

/// Distinct values in ascending order; x = values[inverse]; how often each occurs.
template <class T, class D> struct Unique {
  Tensor<T, D> values;              // [count]
  Tensor<int64_t, D> inverse;       // x's shape
  Tensor<int64_t, D> counts;        // [count]
};
/// The distinct values of all elements. All NaN count as one value.
template <class T, class D> Unique<T, D> unique(const Tensor<T, D>& x0, Where at = Where::current()) {
  return no_grad([&] {
    const auto x = contiguous(x0, at);
    const int64_t n = x.numel();
    Tensor<T, D> values(Shape{n}, at);
    Tensor<int64_t, D> inverse(x.shape(), at), counts(Shape{n}, at);
    const int64_t found = n == 0 ? 0 : kernels::unique<T>(D{}, x.data(), values.data(), inverse.data(), counts.data(), n);
    return Unique<T, D>{clone(narrow(values, 0, 0, found, 1, at), at), inverse, clone(narrow(counts, 0, 0, found, 1, at), at)};
  });
}

/// The distinct slices x[..., i, ...] along `dim` in lexicographic order; inverse : [x.size(dim)]. All NaN count as one value.
/// Sorts once for each element of a slice.
template <class T, class D> Unique<T, D> unique(const Tensor<T, D>& x0, int dim, Where at = Where::current()) {
  return no_grad([&] {
    const int d = detail::normalize_dim("unique", dim, x0.rank(), x0, at);
    const auto x = contiguous(movedim(x0, d, 0, at), at);
    const int64_t R = x.shape()[0], C = R == 0 ? 0 : x.numel() / R;
    if (R == 0 || C == 0) fail("unique", "no elements", {{"x", describe(x0)}, {"dim", std::to_string(dim)}}, "at least one", at);
    const auto code = gradus::reshape(unique(x, at).inverse, {R, C}, at);   // integers in the order of the values
    auto order = arange<int64_t, D>(static_cast<double>(R), at);
    for (int64_t c = C - 1; c >= 0; --c)                                     // stable sorts, the first element last
      order = index_select(order, 0, argsort(index_select(select(code, 1, c, at), 0, order, at), 0, false, at), at);
    const auto rows = index_select(code, 0, order, at);
    const auto differs = cast<int64_t>(any(not_equal(narrow(rows, 0, 1, R - 1, 1, at), narrow(rows, 0, 0, R - 1, 1, at), at), {1}, false, at), at);
    const auto group = cumsum(cat(std::vector<Tensor<int64_t, D>>{zeros<int64_t, D>({1}, at), differs}, 0, at), 0, false, at);
    const auto inverse = scatter_add(zeros<int64_t, D>({R}, at), 0, order, group, at);
    const auto counts = bincount(group, 0, at);
    const auto first = index_select(order, 0, sub(cumsum(counts, 0, false, at), counts, at), at);
    const auto values = index_select(x, 0, first, at);
    return Unique<T, D>{contiguous(movedim(values, 0, d, at), at), inverse, counts};
  });
}

/// For each element of x the number of elements of its row of `sorted` that are smaller (`right`: smaller or equal).
/// sorted : [..., C] ascending and x : [..., M] with the same leading extents, or sorted : [C] and any x.
template <class T, class D>
Tensor<int64_t, D> searchsorted(const Tensor<T, D>& sorted0, const Tensor<T, D>& x0, bool right = false, Where at = Where::current()) {
  bool fits = sorted0.rank() == 1 || (sorted0.rank() == x0.rank() && x0.rank() > 0);
  for (int i = 0; fits && sorted0.rank() > 1 && i < x0.rank() - 1; ++i) fits = sorted0.shape()[i] == x0.shape()[i];
  if (!fits)
    fail("searchsorted", "the rows do not match", {{"sorted", describe(sorted0)}, {"x", describe(x0)}},
         "sorted [C], or sorted [..., C] and x [..., M] with equal leading extents", at);
  return no_grad([&] {
    const auto sorted = contiguous(sorted0, at), x = contiguous(x0, at);
    Tensor<int64_t, D> y(x.shape(), at);
    const int64_t C = sorted.shape().back();
    int64_t N = 1;
    for (int i = 0; i < sorted.rank() - 1; ++i) N *= sorted.shape()[i];
    if (x.numel() > 0) kernels::searchsorted<T>(D{}, sorted.data(), x.data(), y.data(), N, C, x.numel() / N, right);
    return y;
  });
}

template <class T, class D> Tensor<T, D> repeat_interleave(const Tensor<T, D>& x, const Tensor<int64_t, D>& counts, int dim, Where at) {
  const int64_t n = detail::extent_of("repeat_interleave", x, dim, at);
  if (counts.rank() != 1 || counts.numel() != n || (n > 0 && amin(counts, {}, false, at).item(at) < 0))
    fail("repeat_interleave", "the counts do not match", {{"x", describe(x)}, {"counts", describe(counts)}, {"dim", std::to_string(dim)}},
         std::to_string(n) + " counts >= 0", at);
  const auto ends = cumsum(counts, 0, false, at);
  const auto total = n == 0 ? 0 : select(ends, 0, n - 1, at).item(at);
  return index_select(x, dim, searchsorted(ends, arange<int64_t, D>(static_cast<double>(total), at), true, at), at);
}

namespace detail {
template <class D> int64_t bins_of(const char* op, const Tensor<int64_t, D>& x, int64_t at_least, Where at) {
  if (x.numel() == 0) return at_least;
  const int64_t bad = kernels::find_out_of_range(D{}, x.data(), x.numel(), 0, INT64_MAX);
  if (bad >= 0)
    fail(op, "a negative element", {{"x", describe(x) + ", element " + std::to_string(bad) + " is " + std::to_string(element_of(x, bad, at))}},
         "elements >= 0", at);
  return std::max(at_least, amax(x, {}, false, at).item(at) + 1);
}
}  // namespace detail
/// How often each of 0, 1, ... occurs; at least `at_least` entries.
template <class D> Tensor<int64_t, D> bincount(const Tensor<int64_t, D>& x0, int64_t at_least = 0, Where at = Where::current()) {
  const auto x = contiguous(x0, at);
  const int64_t bins = detail::bins_of("bincount", x, at_least, at);
  Tensor<int64_t, D> y(Shape{bins}, at);
  kernels::bincount(D{}, x.data(), y.data(), x.numel(), bins);
  return y;
}
/// y_b = sum of the weights where x is b.
template <Floating T, class D>
Tensor<T, D> bincount(const Tensor<int64_t, D>& x0, const Tensor<T, D>& weights, int64_t at_least = 0, Where at = Where::current()) {
  if (!(weights.shape() == x0.shape()))
    fail("bincount", "the weights do not match", {{"x", describe(x0)}, {"weights", describe(weights)}}, "equal shapes", at);
  const auto x = contiguous(x0, at);
  Tensor<T, D> zero(Shape{detail::bins_of("bincount", x, at_least, at)}, at);
  zero.fill_(0, at);
  return index_add(zero, 0, gradus::flatten(x, 0, -1, at), gradus::flatten(weights, 0, -1, at), at);
}
template <class T, class D> struct HistogramOptions {
  Tensor<T, D> weights = {};   ///< x's shape; what an element counts, 1 without
  bool density = false;        ///< divide by the total and by the width of the bin: the integral is 1
};
template <class T, class D> struct Histogram {
  Tensor<T, D> counts, edges;  ///< [bins], [bins + 1]
};
/// Counts between ascending edges, [edges_b, edges_{b+1}), the last bin closed; elements outside and NaN are not counted. The
/// counts are differentiable in the weights.
template <Floating T, class D>
Histogram<T, D> histogram(const Tensor<T, D>& x0, const Tensor<T, D>& edges, const HistogramOptions<T, D>& o = {}, Where at = Where::current()) {
  const int64_t bins = edges.rank() == 1 ? edges.numel() - 1 : 0;
  if (bins < 1 || (o.weights.defined() && !(o.weights.shape() == x0.shape())))
    fail("histogram", bins < 1 ? "no bins" : "the weights do not match",
         {{"x", describe(x0)}, {"edges", describe(edges)}, {"weights", describe(o.weights)}}, "edges [bins + 1], weights of x's shape", at);
  const auto x = gradus::flatten(x0.detach(), 0, -1, at), e = edges.detach();
  const auto last = narrow(e, 0, bins, 1, 1, at);
  auto bin = add(searchsorted(e, x, true, at), -1, at);                         // NaN and what lies above: bins
  bin = where(equal(x, last, at), full_like(bin, static_cast<double>(bins - 1), at), bin, at);
  const auto inside = logical_and(greater_equal(bin, 0, at), less(bin, static_cast<double>(bins), at), at);
  const auto weight = o.weights.defined() ? gradus::flatten(o.weights, 0, -1, at) : ones<T, D>(x.shape(), at);
  auto counts = index_add(zeros<T, D>({bins}, at), 0, where(inside, bin, zeros_like(bin, at), at), where(inside, weight, 0.0, at), at);
  if (o.density) counts = div(div(counts, sum(counts, {}, false, at), at), sub(narrow(e, 0, 1, bins, 1, at), narrow(e, 0, 0, bins, 1, at), at), at);
  return {counts, edges};
}
/// The same for `bins` equal bins of [lo, hi].
template <Floating T, class D>
Histogram<T, D> histogram(const Tensor<T, D>& x, int64_t bins, double lo, double hi, const HistogramOptions<T, D>& o, Where at = Where::current()) {
  if (bins < 1 || !(lo < hi))
    fail("histogram", "no bins", {{"bins", std::to_string(bins)}, {"lo", std::to_string(lo)}, {"hi", std::to_string(hi)}},
         "bins >= 1 and lo < hi", at);
  return histogram(x, linspace<T, D>(lo, hi, bins + 1, at), o, at);
}
/// Counts in `bins` equal bins of [lo, hi], the last one closed; elements outside and NaN are not counted.
template <Floating T, class D>
Tensor<int64_t, D> histogram(const Tensor<T, D>& x0, int64_t bins, double lo, double hi, Where at = Where::current()) {
  if (bins < 1 || !(lo < hi))
    fail("histogram", "no bins", {{"bins", std::to_string(bins)}, {"lo", std::to_string(lo)}, {"hi", std::to_string(hi)}},
         "bins >= 1 and lo < hi", at);
  const auto x = no_grad([&] { return contiguous(x0, at); });
  Tensor<int64_t, D> y(Shape{bins}, at);
  kernels::histogram<T>(D{}, x.data(), y.data(), x.numel(), bins, lo, hi);
  return y;
}

}  // namespace gradus
