#include <cmath>

#include <gradus/ops/linalg.hpp>
#include <gradus/ops/spatial.hpp>

#include "ops/recorded_case.hpp"

using namespace gradus;
using check::Double;
using check::List;
using check::uniform;

namespace {
Double t(const Double& x) { return transpose(x, -1, -2); }
/// Symmetric, and positive definite matrices, as functions of any matrix.
Double symmetric(const Double& x) { return add(x, t(x)); }
Double definite(const Double& x) { return add(matmul(x, t(x)), eye<double>(x.size(-1))); }
std::string near(const Double& a, const Double& b) { return check::difference(a, b, 1e-12, 1e-12); }
const GradcheckOptions loose{.atol = 1e-5, .rtol = 1e-4};   // differences of small gaps
}  // namespace

TEST_CASE("linalg: the factors give the matrix back") {
  for (const Shape& shape : {Shape{4, 4}, Shape{2, 5, 3}, Shape{2, 3, 5}, Shape{1, 1}}) {
    const Double a = uniform(shape);
    const auto f = qr(a);
    CHECK(near(matmul(f.q, f.r), a) == "");
    CHECK(near(triu(f.r), f.r) == "");
    const auto s = svd(a);
    CHECK(near(matmul(mul(s.u, unsqueeze(s.s, -2)), s.vt), a) == "");
    const auto p = pinv(a);
    CHECK(near(matmul(matmul(a, p), a), a) == "");
  }
  const Double a = uniform({2, 4, 4});
  const auto e = eigh(symmetric(a));
  CHECK(near(matmul(mul(e.vectors, unsqueeze(e.values, -2)), t(e.vectors)), symmetric(a)) == "");
  const auto l = cholesky(definite(a));
  CHECK(near(matmul(l, t(l)), definite(a)) == "");
  CHECK(near(tril(l), l) == "");
  CHECK(near(matmul(inverse(a), a), clone(expand(eye<double>(4), {2, 4, 4}))) == "");
  CHECK(near(exp(slogdet(a).logabs), abs(det(a))) == "");
  CHECK(near(mul(slogdet(a).sign, exp(slogdet(a).logabs)), det(a)) == "");
  CHECK(slogdet(zeros<double>({2, 2})).sign.item() == 0);
  CHECK(near(logdet(definite(a)), log(det(definite(a)))) == "");
}

TEST_CASE("linalg: solving, with broadcast batches and vectors") {
  const Double a = uniform({2, 3, 3}), b = uniform({3, 2}, -1, 1, 2);
  const Double x = solve(a, b);
  CHECK(x.shape() == Shape{2, 3, 2});
  CHECK(near(matmul(a, x), clone(expand(b, {2, 3, 2}))) == "");
  CHECK(solve(Double{{2, 0}, {0, 4}}, Double{2., 2}).to_vector() == std::vector<double>{1, 0.5});
  const Double l = add(tril(a), eye<double>(3)), u = t(l);
  CHECK(near(matmul(l, triangular_solve(l, b)), clone(expand(b, {2, 3, 2}))) == "");
  CHECK(near(triangular_solve(u, b, true, true), triangular_solve(l, b)) == "");
  CHECK(triangular_solve(Double{{9, 9}, {2, 9}}, Double{1., 5}.reshape({2, 1}), false, false, true).to_vector() == std::vector<double>{1, 3});
  CHECK(near(matrix_power(a, 3), matmul(a, matmul(a, a))) == "");
  CHECK(near(matrix_power(a, 0), clone(expand(eye<double>(3), {2, 3, 3}))) == "");
  CHECK(near(matrix_power(a, -2), inverse(matmul(a, a))) == "");
}

TEST_CASE("linalg: recorded outputs and gradients") {
  const auto cases = check::recorded_cases("linalg.json", {"inverse", "det", "pinv", "matrix_power", "svdvals"});
  REQUIRE(cases.size() == 13);
  for (const auto& c : cases) {
    INFO(c.name);
    if (c.name == "matrix_power.0") continue;   // a constant: no gradient, where the record has zeros
    CHECK(check::recorded_difference(c, [&](const List& x) -> Double {
            if (c.op == "inverse") return inverse(x[0]);
            if (c.op == "det") return det(x[0]);
            if (c.op == "svdvals") return svd(x[0]).s;
            if (c.op == "pinv") return pinv(x[0]);
            return matrix_power(x[0], c.attrs.at("n").template get<int64_t>());
          }, 1e-9, 1e-9) == "");
  }
}

TEST_CASE("linalg: first and second derivatives") {
  const Double a = uniform({2, 3, 3}), b = uniform({2, 3, 2}, -1, 1, 2);
  check::gradients([](const List& x) { return solve(x[0], x[1]); }, List{definite(a), b}, loose);
  check::gradients([](const List& x) { return solve(x[0], x[1]); }, List{definite(a), uniform({3, 2})}, loose);
  check::gradients([](const Double& x) { return inverse(x); }, definite(a), loose);
  check::gradients([](const Double& x) { return det(x); }, a, loose);
  check::gradients([](const Double& x) { return slogdet(x).logabs; }, definite(a), loose);
  check::gradients([](const Double& x) { return logdet(definite(x)); }, a, loose);
  check::gradients([](const Double& x) { return cholesky(definite(x)); }, a, loose);
  check::gradients([](const Double& x) { return matrix_power(x, 3); }, a, loose);
  check::gradients([](const Double& x) { return matrix_power(x, -1); }, definite(a), loose);
  check::gradients([](const Double& x) { return pinv(x); }, uniform({4, 2}), loose);
  check::gradients([](const Double& x) { return pinv(x); }, uniform({2, 4}), loose);
  for (int k = 0; k < 8; ++k)
    check::gradients([k](const List& x) { return triangular_solve(x[0], x[1], k & 1, k & 2, k & 4); }, List{definite(a), b}, loose);
}

TEST_CASE("det: a singular matrix has a gradient") {
  check::gradients([](const Double& x) { return det(x); }, Double{{1, 2, 3}, {2, 4, 6}, {0, 1, 1}}, loose);
  check::gradients([](const Double& x) { return det(x); }, zeros<double>({2, 2}), loose);
  check::gradients([](const Double& x) { return det(x); }, zeros<double>({1, 1}), loose);
}

TEST_CASE("eigh, qr, svd: first and second derivatives") {   // squares: the signs of the vectors are free
  const Double a = uniform({3, 3});
  check::gradients([](const Double& x) { return eigh(symmetric(x)).values; }, a, loose);
  check::gradients([](const Double& x) { return square(eigh(symmetric(x)).vectors); }, a, loose);
  check::gradients([](const Double& x) {
    const auto e = eigh(symmetric(x));
    return matmul(mul(e.vectors, unsqueeze(exp(e.values), -2)), t(e.vectors));
  }, a, loose);
  for (const Shape& shape : {Shape{3, 3}, Shape{4, 2}, Shape{2, 4}, Shape{2, 3, 2}}) {
    INFO(shape.str());
    const Double x0 = uniform(shape, -1, 1, 5);
    check::gradients([](const Double& x) { return qr(x).r; }, x0, loose);
    check::gradients([](const Double& x) {
      const auto f = qr(x);
      return List{f.q, f.r};
    }, x0, loose);
    check::gradients([](const Double& x) { return svd(x).s; }, x0, loose);
    check::gradients([](const Double& x) {
      const auto f = svd(x);
      return List{square(f.u), f.s, square(f.vt), matmul(f.u, f.vt)};
    }, x0, loose);
  }
}

TEST_CASE("matrix_exp: closed forms, large norms, derivatives") {
  const double c = std::cos(9.0), s = std::sin(9.0);
  CHECK(check::difference(matrix_exp(Double{{0, -9}, {9, 0}}), {2, 2}, {c, -s, s, c}, 1e-12, 1e-12) == "");
  CHECK(check::difference(matrix_exp(diag_embed(Double{-2, 0.5, 3})), diag_embed(exp(Double{-2, 0.5, 3})), 1e-13, 1e-13) == "");
  CHECK(check::difference(matrix_exp(Double{{0, 1}, {0, 0}}), {2, 2}, {1, 1, 0, 1}) == "");
  const Double a = uniform({2, 3, 3}, -2, 2, 7);
  CHECK(check::difference(matmul(matrix_exp(a), matrix_exp(neg(a))), expand(eye<double>(3), {2, 3, 3}).clone(), 1e-10, 1e-10) == "");
  check::gradients([](const Double& x) { return matrix_exp(x); }, a);
  CHECK(check::contains(check::error_of([&] { matrix_exp(Double{{0, 1.0 / 0.0}, {0, 0}}); }), "matrix_exp: the matrix is not finite"));
}

TEST_CASE("linalg: error texts") {
  const Double wide = uniform({2, 3}), singular{{1, 2}, {2, 4}}, two = stack(List{eye<double>(2), singular});
  CHECK(check::missing(check::error_of([&] { inverse(wide); }), {"gradus: inverse: the matrix is not square", "float64 cpu [2, 3]", "linalg_test.cpp:"}) == "");
  CHECK(check::missing(check::error_of([&] { det(Double{1., 2}); }), {"det: not a matrix", "at least 2 dimensions"}) == "");
  CHECK(check::missing(check::error_of([&] { inverse(two); }), {"inverse: the matrix is singular", "batch", "1"}) == "");
  CHECK(check::missing(check::error_of([&] { solve(two, uniform({2, 1})); }), {"solve(a, b): the matrix is singular"}) == "");
  CHECK(check::missing(check::error_of([&] { solve(two, uniform({3, 1})); }), {"the right-hand side does not match", "b.size(-2) == a.size(-1) == 2, got 3"}) == "");
  CHECK(check::missing(check::error_of([&] { cholesky(Double{{1, 0}, {0, -1}}); }), {"cholesky: the matrix is not positive definite", "pivot", "pivots > 0"}) == "");
}
