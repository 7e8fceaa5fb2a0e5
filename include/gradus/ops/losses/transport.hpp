// Distances between distributions: of ordered classes, of samples on a line, optimal transport, energy distance, MMD.
#pragma once
#include <gradus/kernels/transport.hpp>
#include <gradus/ops/create.hpp>
#include <gradus/ops/extra.hpp>
#include <gradus/ops/linalg.hpp>
#include <gradus/ops/losses/common.hpp>
#include <gradus/ops/scan.hpp>
#include <gradus/ops/sort.hpp>

namespace gradus {

/// sum_k |P_k - Q_k|^power over cumulative sums of p and q [..., K], ordered classes one step apart: power 1 is the earth
/// mover's distance, 2 its square form. Hou, Yu, Samaras, "Squared earth mover's distance-based loss", 2016, eq. 3.
template <Floating T, class D>
Tensor<T, D> ordered_emd_loss(const Tensor<T, D>& p, const Tensor<T, D>& q, int power = 2, Reduction r = Reduction::mean,
                              Where at = Where::current()) {
  if (p.rank() < 1 || !(p.shape() == q.shape()) || (power != 1 && power != 2))
    fail("ordered_emd_loss", "the arguments do not match",
         {{"p", describe(p)}, {"q", describe(q)}, {"power", std::to_string(power)}}, "equal shapes [..., K], power 1 or 2", at);
  const auto d = cumsum(sub(p, q, at), -1, false, at);
  return detail::reduce_loss(sum(power == 1 ? abs(d, at) : square(d, at), {-1}, false, at), r, at);
}
/// mean_i |x_(i) - y_(i)|^p of sorted samples [..., N] on a line: the p-th power of the Wasserstein distance.
template <Floating T, class D>
Tensor<T, D> wasserstein_1d(const Tensor<T, D>& x, const Tensor<T, D>& y, double p = 1, Reduction r = Reduction::mean,
                            Where at = Where::current()) {
  detail::check_same("wasserstein_1d", "x", x, "y", y, at);
  if (x.rank() < 1 || !(p >= 1))
    fail("wasserstein_1d", "out of range", {{"x", describe(x)}, {"p", std::to_string(p)}}, "samples [..., N], p >= 1", at);
  const auto sorted = [&](const Tensor<T, D>& v) { return gather(v, -1, argsort(v.detach(), -1, false, at), at); };
  const auto d = abs(sub(sorted(x), sorted(y), at), at);
  return detail::reduce_loss(mean(p == 1 ? d : pow(d, p, at), {-1}, false, at), r, at);
}

// -- entropic optimal transport -----------------------------------------------------------------------------------------------

struct SinkhornOptions {
  double eps = 0.05;          ///< weight of the entropy, in units of the cost
  int64_t iterations = 5000;  ///< at most
  double tol = 1e-12;         ///< of the marginals, summed; float reaches about 1e-6 and stops there
};

/// P = sinkhorn_plan(C, a, b). With W = dy * P, u and v its row and column sums, r and c those of P, and x, y from
///
///   [diag r   P     ] [x]   [u]
///   [P^T      diag c] [y] = [v]       (one column's y is 0: adding a constant to x and taking it from y changes nothing)
///
/// dC = (P * (x_i + y_j) - W) / eps, da = x, db = y: the derivative of the solution, not of the iterations. It holds for
/// changes of a and b that keep their sums equal.
template <class T, class D>
struct SinkhornNode final : Node {
  Saved<T, D> plan{this, "plan"};
  double eps = 1;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref()), P = plan.get(), W = mul(dy, P, at);  // [B, n, m]
    const int64_t m = P.shape()[2];
    const auto rows = [&](const Tensor<T, D>& x) { return sum(x, {2}, true, at); };                          // [B, n, 1]
    const auto columns = [&](const Tensor<T, D>& x) { return transpose(sum(x, {1}, true, at), 1, 2, at); };  // [B, m, 1]
    const auto first = [&](const Tensor<T, D>& x) { return narrow(x, 1, 0, m - 1, 1, at); };
    // Eliminate x: (diag c - P^T diag(1/r) P) y = v - P^T (u / r), the last y being 0.
    const auto r = rows(P), c = columns(P), u = rows(W), v = columns(W), Pt = transpose(P, 1, 2, at);
    Tensor<T, D> y = mul(c, 0, at);
    if (m > 1) {
      const auto eye_m = eye<T, D>(m - 1, -1, at);
      const auto schur = sub(mul(first(c), eye_m, at),
                             narrow(narrow(matmul(Pt, div(P, r, at), at), 1, 0, m - 1, 1, at), 2, 0, m - 1, 1, at), at);
      const auto right = first(sub(v, matmul(Pt, div(u, r, at), at), at));
      y = cat(std::vector<Tensor<T, D>>{solve(schur, right, at), narrow(y, 1, m - 1, 1, 1, at)}, 1, at);
    }
    const auto x = div(sub(u, matmul(P, y, at), at), r, at);
    if (wants(0)) accumulate(0, mul(sub(mul(P, add(x, transpose(y, 1, 2, at), at), at), W, at), 1 / eps, at));
    if (wants(1)) accumulate(1, squeeze(x, 2, at));
    if (wants(2)) accumulate(2, squeeze(y, 2, at));
  }
};
/// The plan [..., n, m] with row sums a [..., n] and column sums b [..., m] (positive, equal totals) of least <P, C> - eps
/// H(P). Cuturi, NeurIPS 2013, in the log domain; no batch or one batch dimension. Backward is exact at the solution, whatever
/// the number of iterations.
template <LinalgElement T, class D>
Tensor<T, D> sinkhorn_plan(const Tensor<T, D>& cost, const Tensor<T, D>& a, const Tensor<T, D>& b,
                           const SinkhornOptions& o = {}, Where at = Where::current()) {
  const int rank = cost.rank();
  Shape left = cost.shape(), right = cost.shape();
  if (rank >= 2) left.erase(rank - 1), right.erase(rank - 2);
  if ((rank != 2 && rank != 3) || !(a.shape() == left) || !(b.shape() == right) || !(o.eps > 0) || cost.numel() == 0)
    fail("sinkhorn_plan", "the arguments do not match",
         {{"cost", describe(cost)}, {"a", describe(a)}, {"b", describe(b)}, {"eps", std::to_string(o.eps)}},
         "cost [n, m], a [n], b [m], or all with a batch in front; eps > 0", at);
  if (rank == 2) return squeeze(sinkhorn_plan(unsqueeze(cost, 0, at), unsqueeze(a, 0, at), unsqueeze(b, 0, at), o, at), 0, at);
  const auto C = contiguous(cost, at), ac = contiguous(a, at), bc = contiguous(b, at);
  Tensor<T, D> P(C.shape(), at);
  kernels::sinkhorn<T>(D{}, C.data(), ac.data(), bc.data(), P.data(), C.shape()[0], C.shape()[1], C.shape()[2], o.eps,
                       o.iterations, std::is_same_v<T, float> ? std::max(o.tol, 1e-6) : o.tol);
  if (detail::wants_grad(C, ac, bc)) {
    auto& node = detail::record<SinkhornNode<T, D>>(P, at, C, ac, bc);
    node.plan = P, node.eps = o.eps;
  }
  return P;
}
/// <P, C>, the cost of the entropic plan ("sharp Sinkhorn"), one a problem.
template <LinalgElement T, class D>
Tensor<T, D> sinkhorn_loss(const Tensor<T, D>& cost, const Tensor<T, D>& a, const Tensor<T, D>& b,
                           const SinkhornOptions& o = {}, Where at = Where::current()) {
  return sum(mul(sinkhorn_plan(cost, a, b, o, at), cost, at), {-2, -1}, false, at);
}
namespace detail {
/// <P, C> + eps KL(P || a b^T), the value that the plan minimises.
template <class T, class D>
Tensor<T, D> entropic_value(const Tensor<T, D>& cost, const Tensor<T, D>& a, const Tensor<T, D>& b, const SinkhornOptions& o,
                            Where at) {
  const auto P = sinkhorn_plan(cost, a, b, o, at);
  const auto independent = add(log(unsqueeze(a, -1, at), at), log(unsqueeze(b, -2, at), at), at);
  const auto divergence = sub(xlogy(P, P, at), mul(P, independent, at), at);
  return sum(add(mul(P, cost, at), mul(divergence, o.eps, at), at), {-2, -1}, false, at);
}
template <class T, class D>
Tensor<T, D> squared_distances(const Tensor<T, D>& x, const Tensor<T, D>& y, Where at) {  // [n, C], [m, C] -> [n, m]
  return sum(square(sub(unsqueeze(x, -2, at), unsqueeze(y, -3, at), at), at), {-1}, false, at);
}
template <class T, class D>
void check_clouds(const char* op, const Tensor<T, D>& x, const Tensor<T, D>& y, Where at) {
  if (x.rank() != 2 || y.rank() != 2 || x.shape()[1] != y.shape()[1] || x.shape()[0] < 1 || y.shape()[0] < 1)
    fail(op, "the samples do not match", {{"x", describe(x)}, {"y", describe(y)}}, "x [n, C], y [m, C]", at);
}
}  // namespace detail
/// OT(x, y) - OT(x, x)/2 - OT(y, y)/2 with costs |x - y|^2 / 2 and even weights: 0 for equal samples, positive otherwise. Feydy
/// et al., AISTATS 2019, eq. 3.
template <LinalgElement T, class D>
Tensor<T, D> sinkhorn_divergence(const Tensor<T, D>& x, const Tensor<T, D>& y, const SinkhornOptions& o = {},
                                 Where at = Where::current()) {
  detail::check_clouds("sinkhorn_divergence", x, y, at);
  const auto even = [&](int64_t n) { return full<T, D>({n}, 1 / static_cast<double>(n), at); };
  const auto value = [&](const Tensor<T, D>& u, const Tensor<T, D>& v) {
    return detail::entropic_value(mul(detail::squared_distances(u, v, at), 0.5, at), even(u.shape()[0]), even(v.shape()[0]), o,
                                  at);
  };
  return sub(value(x, y), mul(add(value(x, x), value(y, y), at), 0.5, at), at);
}
/// The permutation of least sum_i C[i, c_i]: [..., n, n] -> [..., n]. Kuhn 1955, Munkres 1957. No gradient; use the costs it
/// picks.
template <LinalgElement T, class D>
Tensor<int64_t, D> assignment(const Tensor<T, D>& cost, Where at = Where::current()) {
  const int rank = cost.rank();
  if (rank < 2 || cost.shape()[rank - 1] != cost.shape()[rank - 2])
    fail("assignment", "the costs are not square", {{"cost", describe(cost)}}, "[..., n, n]", at);
  const auto C = no_grad([&] { return contiguous(cost.detach(), at); });
  Shape shape = C.shape();
  shape.n -= 1;
  Tensor<int64_t, D> column(shape, at);
  const int64_t n = C.shape()[rank - 1];
  kernels::assignment<T>(D{}, C.data(), column.data(), n > 0 ? C.numel() / (n * n) : 0, n);
  return column;
}
/// The earth mover's distance between two clouds of n points, mean |x_i - y_{c_i}|^p over the best matching c: x, y [n, C].
/// Rubner, Tomasi, Guibas 2000.
template <LinalgElement T, class D>
Tensor<T, D> emd_loss(const Tensor<T, D>& x, const Tensor<T, D>& y, double p = 1, Where at = Where::current()) {
  detail::check_clouds("emd_loss", x, y, at);
  detail::check_same("emd_loss", "x", x, "y", y, at);
  const auto length = [&](const Tensor<T, D>& square_of) {  // |.|^p from the square; the gradient at 0 is 0
    if (p == 2) return square_of;
    const auto zero = equal(square_of.detach(), 0, at);
    return where(zero, 0.0, pow(where(zero, 1.0, square_of, at), p / 2, at), at);
  };
  const auto c = no_grad([&] { return assignment(length(detail::squared_distances(x.detach(), y.detach(), at)), at); });
  return mean(length(sum(square(sub(x, index_select(y, 0, c, at), at), at), {1}, false, at)), {}, false, at);
}

// -- two samples --------------------------------------------------------------------------------------------------------------

/// 2 E|x - y| - E|x - x'| - E|y - y'| over all pairs, zero pairs included: at least 0. Szekely & Rizzo 2004.
template <Floating T, class D>
Tensor<T, D> energy_distance(const Tensor<T, D>& x, const Tensor<T, D>& y, Where at = Where::current()) {
  detail::check_clouds("energy_distance", x, y, at);
  const auto e = [&](const Tensor<T, D>& u, const Tensor<T, D>& v) { return mean(cdist(u, v, 2, at), {}, false, at); };
  return sub(mul(e(x, y), 2, at), add(e(x, x), e(y, y), at), at);
}
/// |E k(x, .) - E k(y, .)|^2 for k = sum over the widths s of e^{-|u - v|^2 / (2 s^2)}: of all pairs, or, unbiased, without an
/// element's pair with itself. Gretton et al., JMLR 2012, eq. 5 and 3.
template <Floating T, class D>
Tensor<T, D> mmd_loss(const Tensor<T, D>& x, const Tensor<T, D>& y, const std::vector<double>& widths = {1},
                      bool unbiased = false, Where at = Where::current()) {
  detail::check_clouds("mmd_loss", x, y, at);
  const auto kernel = [&](const Tensor<T, D>& u, const Tensor<T, D>& v) {
    const auto d = detail::squared_distances(u, v, at);
    Tensor<T, D> k = mul(d, 0, at);
    for (const double s : widths) {
      detail::check_positive("mmd_loss", "width", s, at);
      k = add(k, exp(mul(d, -1 / (2 * s * s), at), at), at);
    }
    return sum(k, {}, false, at);
  };
  const auto within = [&](const Tensor<T, D>& u) {
    const double n = static_cast<double>(u.shape()[0]), itself = static_cast<double>(widths.size()) * n;
    if (!unbiased) return mul(kernel(u, u), 1 / (n * n), at);
    if (n < 2) fail("mmd_loss", "no other element", {{"sample", describe(u)}}, "at least 2 for the unbiased form", at);
    return mul(sub(kernel(u, u), itself, at), 1 / (n * (n - 1)), at);
  };
  const double pairs = static_cast<double>(x.shape()[0]) * static_cast<double>(y.shape()[0]);
  return sub(add(within(x), within(y), at), mul(kernel(x, y), 2 / pairs, at), at);
}

}  // namespace gradus
