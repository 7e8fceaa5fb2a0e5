// CKA and RSA: known answers, invariances, ranges of size, gradients, error texts.
#include <gradus/ops/linalg.hpp>
#include <gradus/ops/losses/similarity.hpp>
#include <gradus/ops/random.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

namespace {
const Double X{{1, 0}, {0, 1}, {1, 1}, {2, 0}}, Y{{1, 2, 0}, {0, 1, 1}, {3, 0, 1}, {1, 1, 1}};

/// Sums in plain loops: HSIC of doubly centred Gram matrices.
double cka_by_hand(const Double& x, const Double& y) {
  const auto n = static_cast<std::size_t>(x.size(0));
  const auto centred_gram = [n](const Double& v) {
    const auto a = v.reshape({v.size(0), -1}).to_vector();
    const std::size_t p = a.size() / n;
    std::vector<double> K(n * n, 0.0), rows(n, 0.0);
    double all = 0;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        for (std::size_t k = 0; k < p; ++k) K[i * n + j] += a[i * p + k] * a[j * p + k];
        rows[i] += K[i * n + j] / static_cast<double>(n);
      }
    for (const double r : rows) all += r / static_cast<double>(n);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) K[i * n + j] += all - rows[i] - rows[j];
    return K;
  };
  const auto K = centred_gram(x), L = centred_gram(y);
  double kl = 0, kk = 0, ll = 0;
  for (std::size_t i = 0; i < K.size(); ++i) kl += K[i] * L[i], kk += K[i] * K[i], ll += L[i] * L[i];
  return kl / std::sqrt(kk * ll);
}
}  // namespace

TEST_CASE("CKA and RSA of two small matrices") {
  CHECK(linear_cka(X, Y).item() == Approx(0.1548203).margin(1e-6));
  CHECK(rsa(X, Y).item() == Approx(0.2071128).margin(1e-6));
  CHECK(linear_cka(cast<float>(X), cast<float>(Y)).item() == Approx(0.1548203).margin(1e-6));
  const auto x = check::leaf(X);
  const auto g = grad(1.0 - linear_cka(x, Y), x);
  const Double expected{{.0531, .1637}, {.0442, .1283}, {-.2389, -.2256}, {.1415, -.0664}};
  CHECK(check::difference(g, expected, 0.0, 1e-4) == "");
  const auto a = check::uniform({9, 4, 3}, -1, 2, 5), b = check::uniform({9, 7}, -1, 1, 6);
  CHECK(linear_cka(a, b).item() == Approx(cka_by_hand(a, b)).epsilon(1e-12));
}

TEST_CASE("CKA does not see rotations, scales and shifts; RSA not the sizes of rows") {
  const auto x = check::uniform({20, 5}, -1, 1, 1), b = check::uniform({5}, -3, 3, 2);
  const auto Q = qr(check::uniform({5, 5}, -1, 1, 3)).q;
  CHECK(linear_cka(x, x).item() == Approx(1).margin(1e-12));
  CHECK(linear_cka(x, matmul(x, Q) * -0.3 + b).item() == Approx(1).margin(1e-12));
  const auto f = cast<float>(x), moved = cast<float>(matmul(x, Q) * 7.0 + b);
  CHECK(linear_cka(f, moved).item() == Approx(1).margin(1e-5));
  CHECK(rsa(x, matmul(x, Q) * check::uniform({20, 1}, 0.1, 2, 4)).item() == Approx(1).margin(1e-12));
  CHECK(linear_cka(x, check::uniform({20, 3}, -1, 1, 7)).item() < 0.5);
}

TEST_CASE("independent features: the biased estimate rises with their number over that of samples") {
  const int64_t n = 256;
  for (const auto& [p, q] : {std::pair<int64_t, int64_t>{64, 64}, {256, 1024}}) {
    manual_seed(1);
    const double floor = std::sqrt(static_cast<double>(p * q) / static_cast<double>((n + p) * (n + q)));
    CHECK(linear_cka(randn<double>({n, p}), randn<double>({n, q})).item() == Approx(floor).epsilon(0.05));
  }
}

TEST_CASE("features of any size go through float") {
  const auto x = cast<float>(check::uniform({8, 6}, -1, 1, 8)), y = cast<float>(check::uniform({8, 3}, -1, 1, 9));
  for (const float s : {1e-30f, 1e30f}) {
    CHECK(linear_cka(x * s, y).item() == Approx(linear_cka(x, y).item()).epsilon(1e-5));
    CHECK(rsa(x * s, y).item() == Approx(rsa(x, y).item()).epsilon(1e-4));
    const auto tiny = (x * s).detach().requires_grad_();
    const auto g = grad(linear_cka(tiny, y), tiny), plain = check::leaf(x);
    CHECK(check::difference(g * s, grad(linear_cka(plain, y), plain), 1e-3, 1e-6) == "");
  }
  for (const float same : {0.0f, 3.0f}) {  // the same for all samples
    const auto flat = full<float>({8, 6}, same).requires_grad_();
    const auto c = linear_cka(flat, y);
    CHECK(c.item() == 0);
    CHECK(amax(abs(grad(c, flat))).item() == 0);
  }
  const auto none = zeros<float>({8, 6}).requires_grad_();
  CHECK(amax(abs(grad(rsa(none, y), none))).item() == 0);
}

TEST_CASE("CKA and RSA: first and second derivatives in both") {
  const auto x = check::uniform({5, 3}, 0.2, 1, 10), y = check::uniform({5, 2, 2}, 0.2, 1, 11);
  check::gradients([](const check::List& l) { return linear_cka(l[0], l[1]); }, check::List{x, y});
  check::gradients([](const check::List& l) { return rsa(l[0], l[1]); }, check::List{x, y});
}

TEST_CASE("CKA and RSA say what they need") {
  CHECK(check::missing(check::error_of([&] { linear_cka(X, Y(slice(0, 3))); }),
                       {"linear_cka", "another number of samples", "[4, 2]", "[3, 3]", "losses_similarity_test.cpp"}) == "");
  CHECK(check::missing(check::error_of([&] { rsa(X(slice(0, 1)), X); }), {"rsa_matrix", "n >= 2", "[1, 2]"}) == "");
  CHECK(check::missing(check::error_of([&] {
                         linear_cka(zeros<double>({4, 0}), X);
                       }),
                       {"cka_matrix", "at least 1 feature"}) == "");
}
