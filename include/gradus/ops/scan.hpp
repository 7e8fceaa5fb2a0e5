// Running reductions along a dimension: y has x's shape.
//
//   cumsum        y_r = sum_{q<=r} x_q             dx_q = sum_{r>=q} dy_r
//   cumprod       y_r = prod_{q<=r} x_q            dx_q = sum_{r>=q} dy_r prod_{s<=r, s != q} x_s
//   prod          y = prod_q x_q                   dx_q = dy prod_{s<q} x_s prod_{s>q} x_s
//   logcumsumexp  y_r = log sum_{q<=r} e^{x_q}     dx_q = sum_{r>=q} dy_r e^{x_q - y_r}
//   cummax        y_r = max_{q<=r} x_q = x[index_r], and the index; the gradient goes to x[index_r]
#pragma once
#include <limits>

#include <gradus/kernels/scan.hpp>
#include <gradus/ops/index.hpp>
#include <gradus/ops/shape.hpp>
#include <gradus/ops/create.hpp>

namespace gradus {

/// Elements of a tensor, and where along the dimension they were found.
template <class T, class D> struct ValuesIndex {
  Tensor<T, D> values;
  Tensor<int64_t, D> index;
};

namespace detail {
template <class T, class D> struct ScanView {
  Tensor<T, D> x;   // contiguous
  int dim = 0;
  Split3 s;         // x as [O, R, I]
};
template <class T, class D> ScanView<T, D> scan_view(const char* op, const Tensor<T, D>& x, int dim, Where at) {
  ScanView<T, D> v;
  v.dim = normalize_dim(op, dim, x.rank(), x, at);
  v.x = no_grad([&] { return contiguous(x, at); });
  v.s = split_at(x.shape(), v.dim);
  return v;
}
}  // namespace detail

template <class T, class D> Tensor<T, D> cumsum(const Tensor<T, D>& x, int dim, bool reverse = false, Where at = Where::current());

template <class T, class D> struct CumsumNode final : Node {
  int dim = 0;
  bool reverse = false;
  void backward(const AnyTensor& dy) override { accumulate(0, cumsum(Tensor<T, D>(dy.ref()), dim, !reverse, at)); }
};
/// y_r = sum of x_q for q <= r along `dim`; for q >= r if `reverse`.
template <class T, class D> Tensor<T, D> cumsum(const Tensor<T, D>& x, int dim, bool reverse, Where at) {
  const auto v = detail::scan_view("cumsum", x, dim, at);
  Tensor<T, D> y(x.shape(), at);
  kernels::cumsum<T>(D{}, v.x.data(), y.data(), v.s.O, v.s.R, v.s.I, reverse);
  if constexpr (is_floating<T>) {
    if (detail::wants_grad(x)) {
      auto& node = detail::record<CumsumNode<T, D>>(y, at, x);
      node.dim = v.dim, node.reverse = reverse;
    }
  }
  return y;
}

template <class T, class D> Tensor<T, D> cumprod(const Tensor<T, D>& x, int dim, Where at = Where::current());

template <class T, class D> struct CumprodNode final : Node {
  Saved<T, D> x{this, "x"}, y{this, "y"};
  int dim = 0;
  bool zeros = false;   // some x is 0: dividing by it would not do
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref());
    if (!zeros) return accumulate(0, div(cumsum(mul(dy, y.get(), at), dim, true, at), x.get(), at));
    // p[q, r] = prod_{s<=r, s != q} x_s: R running products, the q-th with a 1 for x_q.
    const auto rows = movedim(x.get(), dim, -1, at);
    const int64_t n = rows.shape().back();
    const auto self = equal(eye<T, D>(n, n, at), 1.0, at);
    const auto p = cumprod(where(self, 1.0, unsqueeze(rows, -2, at), at), -1, at);
    const auto kept = where(detail::triangle<D>(n, n, -1, true, at), 0.0, mul(p, unsqueeze(movedim(dy, dim, -1, at), -2, at), at), at);
    accumulate(0, movedim(sum(kept, -1, false, at), -1, dim, at));
  }
};
/// y_r = product of x_q for q <= r along `dim`. Zeros in x have gradients too, at the cost of R running products.
template <class T, class D> Tensor<T, D> cumprod(const Tensor<T, D>& x, int dim, Where at) {
  const auto v = detail::scan_view("cumprod", x, dim, at);
  Tensor<T, D> y(x.shape(), at);
  kernels::cumprod<T>(D{}, v.x.data(), y.data(), v.s.O, v.s.R, v.s.I, false);
  if constexpr (is_floating<T>) {
    if (detail::wants_grad(x)) {
      auto& node = detail::record<CumprodNode<T, D>>(y, at, x);
      node.x = x, node.y = y, node.dim = v.dim;
      node.zeros = kernels::count_nonzero<T>(D{}, v.x.data(), v.x.numel()) < v.x.numel();
    }
  }
  return y;
}

template <class T, class D> struct ProdNode final : Node {
  Saved<T, D> x{this, "x"};
  Shape order, rows, back, moved;   // dimensions with the reduced ones last; x as [..., R]; and the way back
  void backward(const AnyTensor& g) override {
    const auto v = gradus::reshape(permute(x.get(), order, at), rows, at);
    const int last = rows.n - 1;
    // prod_{s != r} x_s = (product before r) (product after r): no division, so that zeros are nothing special.
    const auto before = [&](const Tensor<T, D>& t) {
      Shape one = rows;
      one[last] = 1;
      return cat(std::vector<Tensor<T, D>>{ones<T, D>(one, at), narrow(cumprod(t, -1, at), -1, 0, rows[last] - 1, 1, at)}, -1, at);
    };
    const auto others = mul(before(v), flip(before(flip(v, {last}, at)), {last}, at), at);
    const auto dy = unsqueeze(gradus::reshape(Tensor<T, D>(g.ref()), Shape(rows.begin(), static_cast<std::size_t>(last)), at), -1, at);
    accumulate(0, permute(gradus::reshape(mul(others, dy, at), moved, at), back, at));
  }
};
/// The product over `dims` (all by default). Gradients of every order are exact, also where elements are 0.
template <class T, class D> Tensor<T, D> prod(const Tensor<T, D>& x, const Dims& dims = {}, bool keepdim = false, Where at = Where::current()) {
  const auto v = detail::reduce_view("prod", x, dims, at);
  Tensor<T, D> y = detail::raw_reduce<kernels::ProductOf>(v, keepdim, at);
  if constexpr (is_floating<T>) {
    if (detail::wants_grad(x) && v.R > 0) {
      auto& node = detail::record<ProdNode<T, D>>(y, at, x);
      node.x = x, node.rows = v.kept;
      node.rows.n = 0;
      for (int pass = 0; pass < 2; ++pass)                       // kept dimensions first
        for (int i = 0; i < x.rank(); ++i) {
          bool reduced = dims.list.n == 0;
          for (const int64_t d : dims.list) reduced |= (d < 0 ? d + x.rank() : d) == i;
          if (reduced != (pass == 1)) continue;
          node.order.push_back(i), node.moved.push_back(x.shape()[i]);
          if (!reduced) node.rows.push_back(x.shape()[i]);
        }
      node.rows.push_back(v.R);
      node.back = node.order;
      for (int i = 0; i < x.rank(); ++i) node.back[static_cast<int>(node.order[i])] = i;
    }
  }
  return y;
}

template <class T, class D> struct LogcumsumexpNode final : Node {
  Saved<T, D> x{this, "x"}, y{this, "y"};
  int dim = 0;
  bool far = false;   // y moves so far along the dimension that e^(y_last - y_r) may overflow
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref()), a = x.get(), b = y.get();
    if (!far) {       // e^{x_q - c} sum_{r>=q} dy_r e^{c - y_r} with c the last y, which is the largest
      const auto c = b.detach();
      const auto last = narrow(c, dim, c.size(dim) - 1, 1, 1, at);
      return accumulate(0, mul(exp(sub(a, last, at), at), cumsum(mul(dy, exp(sub(last, b, at), at), at), dim, true, at), at));
    }
    const auto finite = where(less(b, std::numeric_limits<double>::lowest(), at), 0.0, b, at);   // all x so far are -infinity
    const auto q = unsqueeze(movedim(a, dim, -1, at), -1, at), r = unsqueeze(movedim(finite, dim, -1, at), -2, at);
    const int64_t n = q.size(-2);
    const auto w = exp(where(detail::triangle<D>(n, n, -1, true, at), -std::numeric_limits<double>::infinity(), sub(q, r, at), at), at);
    accumulate(0, movedim(sum(mul(w, unsqueeze(movedim(dy, dim, -1, at), -2, at), at), -1, false, at), -1, dim, at));
  }
};
/// y_r = log of the sum of e^{x_q} for q <= r along `dim`; does not overflow.
template <Floating T, class D> Tensor<T, D> logcumsumexp(const Tensor<T, D>& x, int dim, Where at = Where::current()) {
  const auto v = detail::scan_view("logcumsumexp", x, dim, at);
  Tensor<T, D> y(x.shape(), at);
  kernels::logcumsumexp<T>(D{}, v.x.data(), y.data(), v.s.O, v.s.R, v.s.I, false);
  if (detail::wants_grad(x) && x.numel() > 0) {
    auto& node = detail::record<LogcumsumexpNode<T, D>>(y, at, x);
    node.x = x, node.y = y, node.dim = v.dim;
    const auto row = [&](int64_t r) { return no_grad([&] { return narrow(gradus::reshape(y.detach(), {v.s.O, v.s.R, v.s.I}, at), 1, r, 1, 1, at).to_vector(); }); };
    const auto first = row(0), last = row(v.s.R - 1);
    for (std::size_t j = 0; j < first.size(); ++j)
      node.far |= !(static_cast<double>(last[j]) - static_cast<double>(first[j]) < 60);   // also where a value is infinite
  }
  return y;
}

/// The running maximum along `dim` and where it is, the last one of equals. NaN wins and stays.
template <class T, class D> ValuesIndex<T, D> cummax(const Tensor<T, D>& x, int dim, Where at = Where::current()) {
  const auto v = detail::scan_view("cummax", x, dim, at);
  Tensor<T, D> y(x.shape(), at);
  Tensor<int64_t, D> index(x.shape(), at);
  kernels::cummax<T>(D{}, v.x.data(), y.data(), index.data(), v.s.O, v.s.R, v.s.I);
  if constexpr (is_floating<T>) {
    if (detail::wants_grad(x)) {
      auto& node = detail::record<GatherNode<T, D>>(y, at, x);
      node.index = index, node.from = x.shape(), node.dim = v.dim;
    }
  }
  return {y, index};
}
/// The running minimum along `dim` and where it is, the last one of equals. NaN wins and stays.
template <class T, class D> ValuesIndex<T, D> cummin(const Tensor<T, D>& x, int dim, Where at = Where::current()) {
  const auto v = detail::scan_view("cummin", x, dim, at);
  Tensor<T, D> y(x.shape(), at);
  Tensor<int64_t, D> index(x.shape(), at);
  kernels::cummin<T>(D{}, v.x.data(), y.data(), index.data(), v.s.O, v.s.R, v.s.I);
  if constexpr (is_floating<T>) {
    if (detail::wants_grad(x)) {
      auto& node = detail::record<GatherNode<T, D>>(y, at, x);
      node.index = index, node.from = x.shape(), node.dim = v.dim;
    }
  }
  return {y, index};
}

}  // namespace gradus
