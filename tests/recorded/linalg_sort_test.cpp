// Factorisations, solves, determinants and sorting against PyTorch.
#include <gradus/ops/linalg.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/ops/sort.hpp>

#include "recorded/table.hpp"

using namespace gradus;
using recorded::Args, recorded::Double, recorded::Names, recorded::Results, recorded::Table;

namespace {

Double t(const Double& x) { return transpose(x, -1, -2); }
Double identity(const Double& x) { return eye<double>(x.shape().back()); }
/// x x^T + 1: symmetric and positive definite whatever x is.
Double definite(const Double& x) { return add(matmul(x, t(x)), identity(x)); }

Results run_cholesky(const Args& x) {
  const auto l = cholesky(definite(x[0]));
  return x.flag("upper") ? t(l) : l;
}
Results run_cholesky_solve(const Args& x) {
  const auto l = cholesky(definite(x[0]));
  return triangular_solve(l, triangular_solve(l, x[1]), false, true);
}
/// The factorisation with a positive diagonal of r.
Results run_qr(const Args& x) {
  const auto f = qr(x[0]);
  const auto s = sign(diagonal(f.r).detach());
  return {mul(f.q, unsqueeze(s, -2)), mul(f.r, unsqueeze(s, -1))};
}
/// What does not depend on the signs of the vectors.
Results run_svd(const Args& x) {
  const auto f = svd(x[0]);
  return {f.s, square(f.u), square(f.vt), matmul(f.u, f.vt)};
}
Results run_eigh(const Args& x) {
  const auto f = eigh(mul(add(x[0], t(x[0])), 0.5));
  return {f.values, square(f.vectors), matmul(mul(f.vectors, unsqueeze(exp(f.values), -2)), t(f.vectors))};
}
/// From the right, x a = b is a^T x^T = b^T.
Results run_solve(const Args& x) { return x.flag("left", true) ? solve(x[0], x[1]) : t(solve(t(x[0]), t(x[1]))); }
Results run_solve_triangular(const Args& x) {
  const bool upper = x.flag("upper"), unit = x.flag("unitriangular");
  if (x.flag("left", true)) return triangular_solve(x[0], x[1], upper, false, unit);
  return t(triangular_solve(x[0], t(x[1]), upper, true, unit));
}
Results run_slogdet(const Args& x) {
  const auto r = slogdet(x[0]);
  return {r.sign, r.logabs};
}
Results run_matrix_norm(const Args& x) { return x.c.attr("ord", "fro") == "nuc" ? sum(svd(x[0]).s) : norm(x[0]); }

Table linalg_table() {
  return {
      {"cholesky", run_cholesky},
      {"cholesky_solve", run_cholesky_solve},
      {"qr", run_qr},
      {"svd", run_svd},
      {"svdvals", [](const Args& x) { return svd(x[0]).s; }},
      {"eigh", run_eigh},
      {"solve", run_solve},
      {"inverse", [](const Args& x) { return inverse(x[0]); }},
      {"det", [](const Args& x) { return det(x[0]); }},
      {"logdet", [](const Args& x) { return logdet(x[0]); }},
      {"logdet_spd", [](const Args& x) { return logdet(definite(x[0])); }},
      {"slogdet", run_slogdet},
      {"pinv", [](const Args& x) { return pinv(x[0]); }},
      {"matrix_power", [](const Args& x) { return matrix_power(x[0], x.dim("n")); }},
      {"solve_triangular", run_solve_triangular},
      {"matrix_norm", run_matrix_norm},
      {"matrix_exp", [](const Args& x) { return matrix_exp(x[0]); }},
  };
}

Results both(const ValuesIndex<double, Cpu>& r) { return {r.values, r.index}; }
Results all_three(const auto& u) { return {u.values, u.inverse, u.counts}; }

Results run_unique(const Args& x) {
  if (x.c.has("dim")) return all_three(unique(x.integers("input"), x.dim()));
  return x.is("int64") ? all_three(unique(x.integers("input"))) : all_three(unique(x[0]));
}
Results run_bincount(const Args& x) {
  if (x.size() > 1) return bincount(x.integers("input"), x.get("weights"), x.c.attr<int64_t>("minlength", 0));
  return bincount(x.integers("input"), x.c.attr<int64_t>("minlength", 0));
}
Results run_histogram(const Args& x) {
  HistogramOptions<double, Cpu> o{.weights = x.get("weight"), .density = x.flag("density")};
  const auto range = x.c.has("range") ? x.c.attrs.at("range").get<std::vector<double>>() : std::vector<double>();
  const auto h = range.empty() ? histogram(x[0], x.get("bins"), o) : histogram(x[0], x.dim("bins"), range[0], range[1], o);
  return {h.counts, h.edges};
}
/// PyTorch's counts are floating.
Results run_histc(const Args& x) {
  return cast<double>(histogram(x[0], x.dim("bins"), x.number("min", 0), x.number("max", 0)));
}
Table sort_table() {
  return {
      {"sort", [](const Args& x) { return both(sort(x[0], x.dim(), x.flag("descending"))); }},
      {"argsort", [](const Args& x) { return argsort(x[0], x.dim(), x.flag("descending")); }},
      {"topk", [](const Args& x) { return both(topk(x[0], x.dim("k"), x.dim(), x.flag("largest", true))); }},
      {"kthvalue", [](const Args& x) { return both(kth_value(x[0], x.dim("k"), x.dim())); }},
      {"unique", run_unique},
      {"bincount", run_bincount},
      {"histc", run_histc},
      {"histogram", run_histogram},
      {"searchsorted", [](const Args& x) { return searchsorted(x[0], x[1], x.flag("right")); }},
  };
}

}  // namespace

TEST_CASE("linear algebra gives the recorded values and gradients") {
  const auto r = recorded::run({"linalg.json"}, linalg_table());
  CHECK(r.differences == Names{});
  CHECK(r.missing == Names{});
  CHECK(r.ran == 44);
}

TEST_CASE("sorting and counting give the recorded values and gradients") {
  const auto r = recorded::run({"sort.json"}, sort_table());
  CHECK(r.differences == Names{});
  CHECK(r.missing == Names{});
  CHECK(r.ran == 22);
}
