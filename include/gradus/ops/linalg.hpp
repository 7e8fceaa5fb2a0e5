// Linear algebra over the last two dimensions; the others are a batch. float and double.
//
//   solve      a x = b            db = a^-T dx          da = -db x^T
//   inverse    y = a^-1           da = -y^T dy y^T
//   det        y = |a|            da = dy y a^-T        (the cofactors where a is singular)
//   slogdet    l = log |det a|    da = dl a^-T
//   cholesky   a = l l^T          da = sym(l^-T P l^-1),  P = low(l^T dl)
//   eigh       a v = v diag(w)    da = sym(v (diag(dw) + F * (v^T dv)) v^T),  F_ij = 1 / (w_j - w_i), F_ii = 0
//   qr, svd    at their functions
//
// low() keeps the lower triangle with half the diagonal and sym() is (m + m^T) / 2. Every gradient is written with operators, so it
// has derivatives itself.
#pragma once
#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <vector>

#include <gradus/kernels/index.hpp>
#include <gradus/kernels/linalg.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/ops/shape.hpp>
#include <gradus/ops/create.hpp>

namespace gradus {

template <class T> concept LinalgElement = std::same_as<T, float> || std::same_as<T, double>;

namespace detail {
struct Batch {
  Shape lead;                      // [...]
  int64_t B = 1, m = 0, n = 0;     // matrices, rows, columns
  Shape with(std::initializer_list<int64_t> rest) const {
    Shape s = lead;
    for (const int64_t e : rest) s.push_back(e);
    return s;
  }
};
inline Batch batch_of(const char* op, const AnyTensor& a, bool square, Where at) {
  if (a.rank() < 2) fail(op, "not a matrix", {{"a", describe(a)}}, "at least 2 dimensions", at);
  Batch b;
  b.lead = Shape(a.shape().begin(), static_cast<std::size_t>(a.rank() - 2));
  b.B = b.lead.numel(), b.m = a.shape()[a.rank() - 2], b.n = a.shape()[a.rank() - 1];
  if (square && b.m != b.n) fail(op, "the matrix is not square", {{"a", describe(a)}}, "equal extents in the last two dimensions", at);
  return b;
}
template <class T, class D> Tensor<T, D> mt(const Tensor<T, D>& x, Where at) { return transpose(x, -1, -2, at); }
template <class T, class D> Tensor<T, D> packed(const Tensor<T, D>& x, Where at) {
  return no_grad([&] { return contiguous(x, at); });
}
[[noreturn]] inline void fail_singular(const char* op, const AnyTensor& a, int64_t batch, Where at) {
  fail(op, "the matrix is singular", {{"a", describe(a)}, {"batch", std::to_string(batch)}}, "a pivot that is neither 0 nor NaN", at);
}
/// (m + m^T) / 2
template <class T, class D> Tensor<T, D> symmetric_part(const Tensor<T, D>& m, Where at) { return mul(add(m, mt(m, at), at), 0.5, at); }
/// The lower triangle with half the diagonal.
template <class T, class D> Tensor<T, D> half_lower(const Tensor<T, D>& m, Where at) {
  return sub(tril(m, 0, at), mul(diag_embed(diagonal(m, 0, at), at), 0.5, at), at);
}
/// x [..., n] as a column that scales rows, and as a row that scales columns.
template <class T, class D> Tensor<T, D> rows_by(const Tensor<T, D>& x, Where at) { return unsqueeze(x, -1, at); }
template <class T, class D> Tensor<T, D> columns_by(const Tensor<T, D>& x, Where at) { return unsqueeze(x, -2, at); }
/// 1 / d off the diagonal, 0 on it.
template <class T, class D> Tensor<T, D> inverse_off_diagonal(const Tensor<T, D>& d, Where at) {
  const int64_t n = d.shape().back();
  const auto self = equal(eye<T, D>(n, n, at), 1.0, at);
  return where(self, 0.0, div(1.0, where(self, 1.0, d, at), at), at);
}
/// Brings a matrix and a right-hand side to the same batch.
template <class T, class D> void match_batches(const char* op, Tensor<T, D>& a, Tensor<T, D>& b, Where at) {
  const Batch x = batch_of(op, a, true, at), y = batch_of(op, b, false, at);
  if (x.n != y.m)
    fail(op, "the right-hand side does not match", {{"a", describe(a)}, {"b", describe(b)}},
         "b.size(-2) == a.size(-1) == " + std::to_string(x.n) + ", got " + std::to_string(y.m), at);
  Shape lead;
  if (!broadcast_shapes(x.lead, y.lead, lead)) fail_broadcast(op, a, b, at);
  Batch full;
  full.lead = lead;
  if (!(x.lead == lead)) a = expand(a, full.with({x.m, x.n}), at);
  if (!(y.lead == lead)) b = expand(b, full.with({y.m, y.n}), at);
}
}  // namespace detail

// -- triangular systems -----------------------------------------------------------------------------------------------------

template <LinalgElement T, class D>
Tensor<T, D> triangular_solve(const Tensor<T, D>& a, const Tensor<T, D>& b, bool upper = false, bool transposed = false, bool unit = false,
                              Where at = Where::current());

template <class T, class D> struct TriangularSolveNode final : Node {
  Saved<T, D> a{this, "a"}, x{this, "x"};
  bool upper = false, transposed = false, unit = false;
  void backward(const AnyTensor& g) override {
    const auto db = triangular_solve(a.get(), Tensor<T, D>(g.ref()), upper, !transposed, unit, at);
    if (wants(1)) accumulate(1, db);
    if (!wants(0)) return;
    const auto da = neg(transposed ? matmul(x.get(), detail::mt(db, at), at) : matmul(db, detail::mt(x.get(), at), at), at);
    accumulate(0, upper ? triu(da, unit ? 1 : 0, at) : tril(da, unit ? -1 : 0, at));
  }
};
/// x with op(a) x = b; a : [..., n, n] is lower (or upper) triangular, its other triangle is not read; op transposes if `transposed`,
/// `unit` takes ones for the diagonal. b : [..., n, k], batches broadcast.
template <LinalgElement T, class D>
Tensor<T, D> triangular_solve(const Tensor<T, D>& a0, const Tensor<T, D>& b0, bool upper, bool transposed, bool unit, Where at) {
  auto a = a0, b = b0;
  detail::match_batches("triangular_solve(a, b)", a, b, at);
  const auto s = detail::batch_of("triangular_solve(a, b)", b, false, at);
  Tensor<T, D> x(b.shape(), at);
  if (x.numel() > 0)
    kernels::triangular_solve<T>(D{}, detail::packed(a, at).data(), detail::packed(b, at).data(), x.data(), s.B, s.m, s.n, upper,
                                 transposed, unit);
  if (detail::wants_grad(a, b)) {
    auto& node = detail::record<TriangularSolveNode<T, D>>(x, at, a, b);
    node.a = a, node.x = x, node.upper = upper, node.transposed = transposed, node.unit = unit;
  }
  return x;
}

// -- general systems --------------------------------------------------------------------------------------------------------

template <LinalgElement T, class D> Tensor<T, D> solve(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current());

template <class T, class D> struct SolveNode final : Node {
  Saved<T, D> a{this, "a"}, x{this, "x"};
  void backward(const AnyTensor& g) override {
    const auto db = solve(detail::mt(a.get(), at), Tensor<T, D>(g.ref()), at);
    if (wants(1)) accumulate(1, db);
    if (wants(0)) accumulate(0, neg(matmul(db, detail::mt(x.get(), at), at), at));
  }
};
/// x with a x = b; a : [..., n, n], b : [..., n, k], batches broadcast, or b : [n].
template <LinalgElement T, class D> Tensor<T, D> solve(const Tensor<T, D>& a0, const Tensor<T, D>& b0, Where at) {
  if (b0.rank() == 1) return squeeze(solve(a0, unsqueeze(b0, 1, at), at), -1, at);
  auto a = a0, b = b0;
  detail::match_batches("solve(a, b)", a, b, at);
  const auto s = detail::batch_of("solve(a, b)", b, false, at);
  Tensor<T, D> x(b.shape(), at);
  if (x.numel() > 0) {
    const int64_t bad = kernels::lu_solve<T>(D{}, detail::packed(a, at).data(), detail::packed(b, at).data(), x.data(), s.B, s.m, s.n);
    if (bad >= 0) detail::fail_singular("solve(a, b)", a, bad, at);
  }
  if (detail::wants_grad(a, b)) {
    auto& node = detail::record<SolveNode<T, D>>(x, at, a, b);
    node.a = a, node.x = x;
  }
  return x;
}

template <class T, class D> struct InverseNode final : Node {
  Saved<T, D> y{this, "y"};
  void backward(const AnyTensor& g) override {
    const auto yt = detail::mt(y.get(), at);
    accumulate(0, neg(matmul(matmul(yt, Tensor<T, D>(g.ref()), at), yt, at), at));
  }
};
/// a^-1; a : [..., n, n].
template <LinalgElement T, class D> Tensor<T, D> inverse(const Tensor<T, D>& a, Where at = Where::current()) {
  const auto s = detail::batch_of("inverse", a, true, at);
  Tensor<T, D> y(a.shape(), at);
  if (y.numel() > 0) {
    const int64_t bad = kernels::inverse<T>(D{}, detail::packed(a, at).data(), y.data(), s.B, s.n);
    if (bad >= 0) detail::fail_singular("inverse", a, bad, at);
  }
  if (detail::wants_grad(a)) detail::record<InverseNode<T, D>>(y, at, a).y = y;
  return y;
}

// -- determinants -----------------------------------------------------------------------------------------------------------

template <LinalgElement T, class D> Tensor<T, D> det(const Tensor<T, D>& a, Where at = Where::current());

namespace detail {
/// C_ij = (-1)^{i+j} det(a without row i and column j), which is det(a) a^-T also where a is singular; n^2 determinants.
template <class T, class D> Tensor<T, D> cofactors(const Tensor<T, D>& a, Where at) {
  const int64_t n = a.shape().back();
  const auto without = [&](const Tensor<T, D>& x, int dim, int64_t i) {
    return cat(std::vector<Tensor<T, D>>{narrow(x, dim, 0, i, 1, at), narrow(x, dim, i + 1, n - i - 1, 1, at)}, dim, at);
  };
  std::vector<Tensor<T, D>> entries;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      const auto minor = det(without(without(a, -2, i), -1, j), at);
      entries.push_back((i + j) % 2 ? neg(minor, at) : minor);
    }
  return gradus::reshape(stack(entries, -1, at), a.shape(), at);
}
}  // namespace detail

template <class T, class D> struct DetNode final : Node {
  Saved<T, D> a{this, "a"}, y{this, "y"};
  bool singular = false;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref());
    const auto scale = [&](const Tensor<T, D>& d) { return unsqueeze(unsqueeze(d, -1, at), -1, at); };
    if (singular) return accumulate(0, mul(scale(dy), detail::cofactors(a.get(), at), at));
    accumulate(0, mul(scale(mul(dy, y.get(), at)), detail::mt(inverse(a.get(), at), at), at));
  }
};
/// The determinant of a : [..., n, n]; 1 for n = 0. Its gradient exists for singular matrices too, at the cost of n^2 determinants.
template <LinalgElement T, class D> Tensor<T, D> det(const Tensor<T, D>& a, Where at) {
  const auto s = detail::batch_of("det", a, true, at);
  Tensor<T, D> y(s.lead, at);
  if (s.B > 0) kernels::det<T>(D{}, detail::packed(a, at).data(), y.data(), s.B, s.n);
  if (detail::wants_grad(a)) {
    auto& node = detail::record<DetNode<T, D>>(y, at, a);
    node.a = a, node.y = y;
    node.singular = kernels::count_nonzero<T>(D{}, y.data(), y.numel()) < y.numel();
  }
  return y;
}

template <class T, class D> struct SlogdetNode final : Node {
  Saved<T, D> a{this, "a"};
  void backward(const AnyTensor& g) override {
    const auto dl = unsqueeze(unsqueeze(Tensor<T, D>(g.ref()), -1, at), -1, at);
    accumulate(0, mul(dl, detail::mt(inverse(a.get(), at), at), at));
  }
};
/// det a = sign e^logabs; for a singular matrix sign is 0 and logabs -infinity.
template <class T, class D> struct SignLogdet {
  Tensor<T, D> sign, logabs;
};
/// Sign (which has no gradient) and logarithm of the absolute value of the determinant of a : [..., n, n].
template <LinalgElement T, class D> SignLogdet<T, D> slogdet(const Tensor<T, D>& a, Where at = Where::current()) {
  const auto s = detail::batch_of("slogdet", a, true, at);
  Tensor<T, D> sign(s.lead, at), l(s.lead, at);
  if (s.B > 0) kernels::slogdet<T>(D{}, detail::packed(a, at).data(), sign.data(), l.data(), s.B, s.n);
  if (detail::wants_grad(a)) detail::record<SlogdetNode<T, D>>(l, at, a).a = a;
  return {sign, l};
}
/// log det a; NaN where the determinant is negative.
template <LinalgElement T, class D> Tensor<T, D> logdet(const Tensor<T, D>& a, Where at = Where::current()) {
  const auto r = slogdet(a, at);
  return where(less(r.sign, 0.0, at), std::numeric_limits<double>::quiet_NaN(), r.logabs, at);
}

// -- factorisations ---------------------------------------------------------------------------------------------------------

template <class T, class D> struct CholeskyNode final : Node {
  Saved<T, D> l{this, "l"};
  void backward(const AnyTensor& g) override {
    const auto f = l.get();
    const auto p = detail::half_lower(matmul(detail::mt(f, at), Tensor<T, D>(g.ref()), at), at);
    const auto left = triangular_solve(f, p, false, true, false, at);                               // l^-T p
    const auto both = triangular_solve(f, detail::mt(left, at), false, true, false, at);            // l^-T (l^-T p)^T = (l^-T p l^-1)^T
    accumulate(0, detail::symmetric_part(both, at));
  }
};
/// Lower triangular l with a = l l^T; a : [..., n, n] symmetric and positive definite, only its lower triangle is read. The gradient is
/// symmetric.
template <LinalgElement T, class D> Tensor<T, D> cholesky(const Tensor<T, D>& a, Where at = Where::current()) {
  const auto s = detail::batch_of("cholesky", a, true, at);
  Tensor<T, D> l(a.shape(), at);
  if (l.numel() > 0) {
    const int64_t bad = kernels::cholesky<T>(D{}, detail::packed(a, at).data(), l.data(), s.B, s.n);
    if (bad >= 0)
      fail("cholesky", "the matrix is not positive definite",
           {{"a", describe(a)}, {"batch", std::to_string(bad / s.n)}, {"pivot", std::to_string(bad % s.n)}},
           "pivots > 0", at);
  }
  if (detail::wants_grad(a)) detail::record<CholeskyNode<T, D>>(l, at, a).l = l;
  return l;
}

template <class T, class D> struct Eigh {
  Tensor<T, D> values;     // [..., n] ascending
  Tensor<T, D> vectors;    // [..., n, n], in columns
};
template <class T, class D> struct EighNode final : Node {
  Saved<T, D> w{this, "w"}, v{this, "v"};
  void backward(const AnyTensor& g) override { backward_all({g}); }
  void backward_all(const std::vector<AnyTensor>& dys) override {
    const auto u = v.get(), ut = detail::mt(u, at);
    Tensor<T, D> inner;
    if (dys[0].defined()) inner = diag_embed(Tensor<T, D>(dys[0].ref()), at);
    if (dys.size() > 1 && dys[1].defined()) {
      const auto e = w.get();
      const auto f = detail::inverse_off_diagonal(sub(detail::columns_by(e, at), detail::rows_by(e, at), at), at);
      const auto m = mul(f, matmul(ut, Tensor<T, D>(dys[1].ref()), at), at);
      inner = inner.defined() ? add(inner, m, at) : m;
    }
    accumulate(0, detail::symmetric_part(matmul(matmul(u, inner, at), ut, at), at));
  }
};
/// Eigenvalues and eigenvectors of symmetric a : [..., n, n], of which the lower triangle is read. The gradient is symmetric; through
/// the vectors it is infinite where eigenvalues repeat.
template <LinalgElement T, class D> Eigh<T, D> eigh(const Tensor<T, D>& a, Where at = Where::current()) {
  const auto s = detail::batch_of("eigh", a, true, at);
  Tensor<T, D> w(s.with({s.n}), at), v(a.shape(), at);
  if (v.numel() > 0) {
    const int64_t bad = kernels::eigh<T>(D{}, detail::packed(a, at).data(), w.data(), v.data(), s.B, s.n);
    if (bad >= 0) fail("eigh", "no convergence", {{"a", describe(a)}, {"batch", std::to_string(bad)}}, "finite elements", at);
  }
  if (detail::wants_grad(a)) {
    auto& node = detail::record<EighNode<T, D>>(w, at, a);
    detail::add_output(node, v, 1);
    node.w = w, node.v = v;
  }
  return {w, v};
}

template <class T, class D> struct Qr {
  Tensor<T, D> q;    // [..., m, j], orthonormal columns, j = min(m, n)
  Tensor<T, D> r;    // [..., j, n], upper triangular
};
/// With m >= n:  da = (dq + q copy(r dr^T - dq^T q)) r^-T,  copy(x) = tril(x) + tril(x, -1)^T.
template <class T, class D> struct QrNode final : Node {
  Saved<T, D> q{this, "q"}, r{this, "r"};
  void backward(const AnyTensor& g) override { backward_all({g}); }
  void backward_all(const std::vector<AnyTensor>& dys) override {
    const auto Q = q.get(), R = r.get();
    const bool has_q = dys[0].defined(), has_r = dys.size() > 1 && dys[1].defined();
    Tensor<T, D> m;
    if (has_r) m = matmul(R, detail::mt(Tensor<T, D>(dys[1].ref()), at), at);
    if (has_q) {
      const auto t = matmul(detail::mt(Tensor<T, D>(dys[0].ref()), at), Q, at);
      m = has_r ? sub(m, t, at) : neg(t, at);
    }
    auto b = matmul(Q, add(tril(m, 0, at), detail::mt(tril(m, -1, at), at), at), at);
    if (has_q) b = add(b, Tensor<T, D>(dys[0].ref()), at);
    // b r^-T = (r^-1 b^T)^T
    accumulate(0, detail::mt(triangular_solve(R, detail::mt(b, at), true, false, false, at), at));
  }
};
/// a = q r with a : [..., m, n], reduced; the diagonal of r may be negative. For m < n the gradient goes through the first m columns.
template <LinalgElement T, class D> Qr<T, D> qr(const Tensor<T, D>& a, Where at = Where::current()) {
  const auto s = detail::batch_of("qr", a, false, at);
  if (s.m < s.n && detail::wants_grad(a)) {      // a = [x y]: x = q u, r = [u q^T y]
    const auto first = qr(narrow(a, -1, 0, s.m, 1, at), at);
    const auto rest = matmul(detail::mt(first.q, at), narrow(a, -1, s.m, s.n - s.m, 1, at), at);
    return {first.q, cat(std::vector<Tensor<T, D>>{first.r, rest}, -1, at)};
  }
  const int64_t j = std::min(s.m, s.n);
  Tensor<T, D> q(s.with({s.m, j}), at), r(s.with({j, s.n}), at);
  if (a.numel() > 0) kernels::qr<T>(D{}, detail::packed(a, at).data(), q.data(), r.data(), s.B, s.m, s.n, false);
  if (detail::wants_grad(a)) {
    auto& node = detail::record<QrNode<T, D>>(q, at, a);
    detail::add_output(node, r, 1);
    node.q = q, node.r = r;
  }
  return {q, r};
}

template <class T, class D> struct Svd {
  Tensor<T, D> u;     // [..., m, j], j = min(m, n)
  Tensor<T, D> s;     // [..., j] descending
  Tensor<T, D> vt;    // [..., j, n]
};
/// With E_ij = s_j^2 - s_i^2, F = 1/E off the diagonal, 0 on it, U = u^T du, V = v^T dv, and P = u u^T, Q = v v^T:
///   da = u (diag(ds) + (F * (U - U^T)) s + s (F * (V - V^T))) v^T + (1 - P) du s^-1 v^T + u s^-1 dv^T (1 - Q)
template <class T, class D> struct SvdNode final : Node {
  Saved<T, D> u{this, "u"}, s{this, "s"}, vt{this, "vt"};
  void backward(const AnyTensor& g) override { backward_all({g}); }
  void backward_all(const std::vector<AnyTensor>& dys) override {
    const auto U = u.get(), S = s.get(), Vt = vt.get();
    const bool has_u = dys[0].defined(), has_s = dys.size() > 1 && dys[1].defined(), has_v = dys.size() > 2 && dys[2].defined();
    const int64_t m = U.size(-2), j = S.size(-1), n = Vt.size(-1);
    Tensor<T, D> inner = has_s ? diag_embed(Tensor<T, D>(dys[1].ref()), at) : Tensor<T, D>(), outer;
    const auto join = [&](Tensor<T, D>& sum, const Tensor<T, D>& x) { sum = sum.defined() ? add(sum, x, at) : x; };
    if (has_u || has_v) {
      const auto rows = detail::rows_by(S, at), columns = detail::columns_by(S, at);
      const auto f = detail::inverse_off_diagonal(mul(sub(columns, rows, at), add(columns, rows, at), at), at);
      if (has_u) {
        const Tensor<T, D> du(dys[0].ref());
        const auto w = matmul(detail::mt(U, at), du, at);
        join(inner, mul(mul(f, sub(w, detail::mt(w, at), at), at), columns, at));
        if (m > j) join(outer, matmul(div(sub(du, matmul(U, w, at), at), columns, at), Vt, at));
      }
      if (has_v) {
        const Tensor<T, D> dvt(dys[2].ref());
        const auto w = matmul(Vt, detail::mt(dvt, at), at);
        join(inner, mul(rows, mul(f, sub(w, detail::mt(w, at), at), at), at));
        if (n > j) join(outer, matmul(U, div(sub(dvt, matmul(detail::mt(w, at), Vt, at), at), rows, at), at));
      }
    }
    const auto da = matmul(matmul(U, inner, at), Vt, at);
    accumulate(0, outer.defined() ? add(da, outer, at) : da);
  }
};
/// a = u diag(s) vt, thin; a : [..., m, n]. Gradients through u and vt need singular values that differ and are not 0.
template <LinalgElement T, class D> Svd<T, D> svd(const Tensor<T, D>& a, Where at = Where::current()) {
  const auto b = detail::batch_of("svd", a, false, at);
  const int64_t j = std::min(b.m, b.n);
  Tensor<T, D> u(b.with({b.m, j}), at), s(b.with({j}), at), vt(b.with({j, b.n}), at);
  if (a.numel() > 0) {
    const int64_t bad = kernels::svd<T>(D{}, detail::packed(a, at).data(), u.data(), s.data(), vt.data(), b.B, b.m, b.n);
    if (bad >= 0) fail("svd", "no convergence", {{"a", describe(a)}, {"batch", std::to_string(bad)}}, "finite elements", at);
  }
  if (detail::wants_grad(a)) {
    auto& node = detail::record<SvdNode<T, D>>(u, at, a);
    detail::add_output(node, s, 1);
    detail::add_output(node, vt, 2);
    node.u = u, node.s = s, node.vt = vt;
  }
  return {u, s, vt};
}

// -- composed ---------------------------------------------------------------------------------------------------------------

/// da = -p^T dp p^T + (1 - a p) dp^T p p^T + p^T p dp^T (1 - p a), for changes of a that keep its rank.
template <class T, class D> struct PinvNode final : Node {
  Saved<T, D> a{this, "a"}, p{this, "p"};
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dp(g.ref());
    const auto x = a.get(), y = p.get(), yt = detail::mt(y, at), gt = detail::mt(dp, at);
    const auto left = matmul(matmul(gt, y, at), yt, at), right = matmul(matmul(yt, y, at), gt, at);
    const auto plane = add(sub(left, matmul(x, matmul(y, left, at), at), at), sub(right, matmul(matmul(right, y, at), x, at), at), at);
    accumulate(0, sub(plane, matmul(matmul(yt, dp, at), yt, at), at));
  }
};
/// The pseudo-inverse v s^+ u^T : [..., n, m] of a : [..., m, n]; singular values up to rcond times the largest count as 0, rcond < 0
/// stands for eps max(m, n).
template <LinalgElement T, class D> Tensor<T, D> pinv(const Tensor<T, D>& a, double rcond = -1, Where at = Where::current()) {
  const auto b = detail::batch_of("pinv", a, false, at);
  if (rcond < 0) rcond = static_cast<double>(std::numeric_limits<T>::epsilon()) * static_cast<double>(std::max(b.m, b.n));
  const auto p = no_grad([&] {
    if (a.numel() == 0) return zeros<T, D>(b.with({b.n, b.m}), at);
    const auto f = svd(a, at);
    const auto kept = less(mul(amax(f.s, -1, true, at), rcond, at), f.s, at);
    const auto inverted = where(kept, div(1.0, f.s, at), 0.0, at);
    return matmul(detail::mt(f.vt, at), mul(detail::rows_by(inverted, at), detail::mt(f.u, at), at), at);
  });
  if (detail::wants_grad(a)) {
    auto& node = detail::record<PinvNode<T, D>>(p, at, a);
    node.a = a, node.p = p;
  }
  return p;
}
/// a^n by squaring; a negative n takes powers of the inverse.
template <LinalgElement T, class D> Tensor<T, D> matrix_power(const Tensor<T, D>& a, int64_t n, Where at = Where::current()) {
  const auto s = detail::batch_of("matrix_power", a, true, at);
  if (n == 0) return clone(expand(eye<T, D>(s.n, s.n, at), a.shape(), at), at);
  auto power = n < 0 ? inverse(a, at) : a;
  Tensor<T, D> y;
  for (uint64_t k = n < 0 ? uint64_t{0} - static_cast<uint64_t>(n) : static_cast<uint64_t>(n); k > 0; k >>= 1) {
    if (k & 1) y = y.defined() ? matmul(y, power, at) : power;
    if (k > 1) power = matmul(power, power, at);
  }
  return y;
}

/// e^a = sum a^k / k!, by scaling, the [13/13] Pade approximant and squaring. Higham 2005, alg. 2.3, without the lower degrees;
/// one scaling for the whole batch. The gradient is that of these steps.
template <LinalgElement T, class D> Tensor<T, D> matrix_exp(const Tensor<T, D>& a, Where at = Where::current()) {
  const auto s = detail::batch_of("matrix_exp", a, true, at);
  if (a.numel() == 0) return a;
  const double norm1 = static_cast<double>(amax(sum(abs(a.detach(), at), {-2}, false, at), {}, false, at).item(at));
  if (!(norm1 < std::numeric_limits<double>::infinity()))
    fail("matrix_exp", "the matrix is not finite", {{"a", describe(a)}}, "finite elements", at);
  int squarings = 0;
  for (double n = norm1; n > 5.371920351148152; n /= 2) ++squarings;   // theta_13
  constexpr double b[] = {64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600,
                          670442572800,      33522128640,       1323241920,       40840800,         960960,          16380,
                          182,               1};
  const auto I = expand(eye<T, D>(s.n, s.n, at), a.shape(), at);
  const auto x = mul(a, std::ldexp(1.0, -squarings), at), x2 = matmul(x, x, at), x4 = matmul(x2, x2, at), x6 = matmul(x4, x2, at);
  // Divided by b_0, so that float does not lose range.
  const auto three = [&](int i) { return add(add(mul(x6, b[i] / b[0], at), mul(x4, b[i - 2] / b[0], at), at), mul(x2, b[i - 4] / b[0], at), at); };
  const auto u = matmul(x, add(add(matmul(x6, three(13), at), three(7), at), mul(I, b[1] / b[0], at), at), at);
  const auto v = add(add(matmul(x6, three(12), at), three(6), at), I, at);
  auto y = solve(sub(v, u, at), add(v, u, at), at);
  for (int i = 0; i < squarings; ++i) y = matmul(y, y, at);
  return y;
}

}  // namespace gradus
