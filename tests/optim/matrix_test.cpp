// Muon, Shampoo and SOAP against loops over small matrices; LARS, LAMB and Adafactor against loops over numbers.
#include <gradus/optim/matrix.hpp>

#include "optim/matrix_twin.hpp"
#include "optim/twin.hpp"

using namespace gradus;
using namespace gradus::optim;
using twin::Loop;
using twin::Matrix;
using twin::Params;
using twin::Values;

namespace {
// Algorithm 2 of the Muon post on U S V^T: the singular values go through x (a + b x^2 + c x^4) five times.
Matrix orthogonalized(const Matrix& g) {
  const bool tall = g.m > g.n;
  Matrix x = tall ? transposed(g) : g;
  const double size = twin::norm(x.v);
  for (double& e : x.v) e /= size;
  for (int k = 0; k < 5; ++k) {
    const Matrix a = x * transposed(x), b = combine(-4.7750, a, 2.0315, a * a);
    x = combine(3.4445, x, 1, b * x);
  }
  return tall ? transposed(x) : x;
}
double power(double b, int t) { return std::pow(b, t); }
}  // namespace

TEST_CASE("Newton-Schulz makes a matrix nearly orthogonal", "[optim]") {
  const auto g = check::uniform({5, 9}), y = newton_schulz(g);
  const auto s = svd(y).s.to_vector();
  for (const double v : s) CHECK((v > 0.5 && v < 1.3));
  // the same singular vectors: y g^T is symmetric
  const auto m = matmul(y, g.t());
  CHECK(check::difference(m, m.t().contiguous(), 1e-9, 1e-9) == "");
  CHECK(check::difference(newton_schulz(g.t()), y.t().contiguous(), 1e-12, 1e-12) == "");
  CHECK(check::missing(check::error_of([&] { newton_schulz(ones<double>({3})); }), {"newton_schulz", "not a matrix", "[3]"}) == "");
}

TEST_CASE("Muon: orthogonal steps for matrices, AdamW for vectors", "[optim]") {
  const auto make = [](Params p) { return Muon<double>(p, {.lr = 0.05, .adamw_lr = 0.01}); };
  CHECK(twin::difference(make, [](const Shape& shape) -> Loop {
    if (shape.rank() == 1)
      return [m = Values(3), v = Values(3)](Values& w, const Values& g, int t) mutable {
        for (std::size_t i = 0; i < 3; ++i) {
          w[i] -= 0.01 * 0.1 * w[i];
          m[i] = 0.9 * m[i] + 0.1 * g[i], v[i] = 0.95 * v[i] + 0.05 * g[i] * g[i];
          w[i] -= 0.01 * m[i] / (1 - power(0.9, t)) / (std::sqrt(v[i] / (1 - power(0.95, t))) + 1e-10);
        }
      };
    return [shape, b = Values(static_cast<std::size_t>(shape.numel()))](Values& w, const Values& g, int) mutable {
      Values u = g;
      for (std::size_t i = 0; i < w.size(); ++i) b[i] = 0.95 * b[i] + 0.05 * g[i], u[i] = 0.05 * g[i] + 0.95 * b[i];
      const double rows = static_cast<double>(shape[0]), columns = static_cast<double>(shape.numel() / shape[0]);
      const Matrix o = orthogonalized(Matrix(shape[0], shape.numel() / shape[0], u));
      for (std::size_t i = 0; i < w.size(); ++i) w[i] = w[i] * (1 - 0.05 * 0.1) - 0.05 * std::sqrt(std::max(1.0, rows / columns)) * o.v[i];
    };
  }, {{3, 4}, {3}, {6, 2, 2, 1}}) == "");
  // one row: the step has length lr times a Newton-Schulz value of 1
  const double ns = [] {
    double x = 1;
    for (int k = 0; k < 5; ++k) x = 3.4445 * x - 4.7750 * x * x * x + 2.0315 * x * x * x * x * x;
    return x;
  }();
  auto w = ones<double>({1, 1});
  w.requires_grad_();
  Muon<double> opt({w}, {.lr = 0.1, .weight_decay = 0});
  for (int k = 0; k < 3; ++k) w.set_grad(ones<double>({1, 1}) * 2), opt.step();
  CHECK(w.item() == Approx(1 - 3 * 0.1 * ns));
}

TEST_CASE("Muon: coefficients of each step, and no scale", "[optim]") {
  const std::vector<std::array<double, 3>> schedule = {{4.01, -9.22, 5.80}, {3.49, -6.38, 3.23}};
  const auto g = check::uniform({6, 3});
  auto s = svd(g).s;
  s = s / norm(s).item();
  for (const auto& [a, b, c] : schedule) s = s * a + pow(s, 3) * b + pow(s, 5) * c;  // each singular value by itself
  const auto [u, unused, vt] = svd(g);
  const auto expected = matmul(u * unsqueeze(s, 0), vt);
  CHECK(check::difference(newton_schulz(g, schedule), expected, 1e-10, 1e-10) == "");
  auto w = zeros<double>({6, 3});
  w.requires_grad_();
  Muon<double> opt({w}, {.lr = 0.1, .momentum = 0.5, .weight_decay = 0, .nesterov = false, .schedule = schedule,
                         .scale = MuonOptions::Scale::none});
  w.set_grad(g), opt.step();  // the direction of 0.5 g is that of g
  CHECK(check::difference(w.detach() * -10, expected, 1e-10, 1e-10) == "");
}

TEST_CASE("Shampoo: each side by the inverse fourth root", "[optim]") {
  const auto make = [](Params p) { return Shampoo<double>(p, {.lr = 0.1, .momentum = 0.5, .eps = 1e-3}); };
  CHECK(twin::difference(make, [](const Shape& shape) -> Loop {
    const bool matrix = shape.rank() == 2;
    const int64_t m = shape[0], n = matrix ? shape[1] : 1;
    return [=, L = Matrix(m, m, 1e-3), R = Matrix(n, n, 1e-3), b = Values(static_cast<std::size_t>(m * n))](
               Values& w, const Values& g, int) mutable {
      const Matrix G(m, n, g);
      L = combine(1, L, 1, G * transposed(G)), R = combine(1, R, 1, transposed(G) * G);
      const Matrix u = matrix ? twin::power(L, -0.25) * G * twin::power(R, -0.25) : twin::power(L, -0.5) * G;
      for (std::size_t i = 0; i < w.size(); ++i) b[i] = 0.5 * b[i] + u.v[i], w[i] -= 0.1 * b[i];
    };
  }, {{3, 4}, {3}}, 8) == "");
  // a number: g / (eps + sum g^2)^{1/2} is Adagrad; factors of a long dimension are left out
  CHECK(twin::three_steps([](Params p) { return Shampoo<double>(p, {.lr = 0.1, .eps = 1e-12}); }) ==
        Approx(1 - 0.1 * (1 + 1 / std::sqrt(2) + 1 / std::sqrt(3))));
  const auto wide = [](Params p) { return Shampoo<double>(p, {.lr = 0.1, .eps = 1e-3, .every = 3, .max_dim = 3}); };
  CHECK(twin::difference(wide, [](const Shape&) -> Loop {
    return [L = Matrix(3, 3, 1e-3), P = Matrix(3, 3)](Values& w, const Values& g, int t) mutable {
      const Matrix G(3, 4, g);
      L = combine(1, L, 1, G * transposed(G));
      if (t % 3 == 1) P = twin::power(L, -0.25);
      const Matrix u = P * G;
      for (std::size_t i = 0; i < w.size(); ++i) w[i] -= 0.1 * u.v[i];
    };
  }, {{3, 4}}, 8) == "");
}

TEST_CASE("SOAP: Adam in the eigenbasis", "[optim]") {
  const auto make = [](Params p) { return Soap<double>(p, {.lr = 0.05, .beta2 = 0.9, .weight_decay = 0.1, .every = 2}); };
  CHECK(twin::difference(make, [](const Shape& shape) -> Loop {
    if (shape.rank() == 1)
      return [m = Values(3), v = Values(3)](Values& w, const Values& g, int t) mutable {
        for (std::size_t i = 0; i < 3; ++i) {
          m[i] = 0.95 * m[i] + 0.05 * g[i], v[i] = 0.9 * v[i] + 0.1 * g[i] * g[i];
          w[i] -= 0.05 * (m[i] / (1 - power(0.95, t)) / (std::sqrt(v[i] / (1 - power(0.9, t))) + 1e-8) + 0.1 * w[i]);
        }
      };
    return [L = Matrix(3, 3), R = Matrix(4, 4), QL = Matrix(3, 3), QR = Matrix(4, 4), M = Matrix(3, 4), V = Matrix(3, 4)](
               Values& w, const Values& g, int t) mutable {
      const Matrix G(3, 4, g);
      if (t == 1) {
        L = combine(0.05, G * transposed(G), 0, L), R = combine(0.05, transposed(G) * G, 0, R);
        QL = twin::jacobi(L).vectors, QR = twin::jacobi(R).vectors;
        return;
      }
      const int k = t - 1;
      const Matrix turned = transposed(QL) * G * QR;
      M = combine(0.95, M, 0.05, G);
      Matrix u = transposed(QL) * M * QR;
      for (std::size_t i = 0; i < u.v.size(); ++i) {
        V.v[i] = 0.9 * V.v[i] + 0.1 * turned.v[i] * turned.v[i];
        u.v[i] = u.v[i] / (1 - power(0.95, k)) / (std::sqrt(V.v[i] / (1 - power(0.9, k))) + 1e-8);
      }
      u = QL * u * transposed(QR);
      for (std::size_t i = 0; i < w.size(); ++i) w[i] -= 0.05 * (u.v[i] + 0.1 * w[i]);
      L = combine(0.95, L, 0.05, G * transposed(G)), R = combine(0.95, R, 0.05, transposed(G) * G);
      if (k % 2 == 0) QL = twin::orthonormal(L * QL), QR = twin::orthonormal(R * QR);
    };
  }, {{3, 4}, {3}}, 9) == "");
  CHECK(twin::three_steps([](Params p) { return Soap<double>(p, {.lr = 0.1, .weight_decay = 0}); }) == Approx(1 - 3 * 0.1));
  auto deep = twin::parameters({{1, 2, 1, 2, 1}});
  deep[0].set_grad(ones_like(deep[0]));
  Soap<double> opt(deep);
  CHECK(check::missing(check::error_of([&] { opt.step(); }), {"Soap", "too many dimensions", "[1, 2, 1, 2, 1]", "at most 4"}) == "");
}

TEST_CASE("LARS and LAMB: steps in proportion to the weights", "[optim]") {
  CHECK(twin::difference([](Params p) { return Lars<double>(p, {.lr = 0.5, .weight_decay = 0.1, .trust = 0.1}); },
                         [](const Shape& shape) -> Loop {
                           return [b = Values(static_cast<std::size_t>(shape.numel()))](Values& w, const Values& g, int) mutable {
                             const double l = 0.1 * twin::norm(w) / (twin::norm(g) + 0.1 * twin::norm(w));
                             for (std::size_t i = 0; i < w.size(); ++i) b[i] = 0.9 * b[i] + 0.5 * l * (g[i] + 0.1 * w[i]), w[i] -= b[i];
                           };
                         }) == "");
  CHECK(twin::difference([](Params p) { return Lamb<double>(p, {.lr = 0.02, .weight_decay = 0.1, .max_norm = 2}); },
                         [](const Shape& shape) -> Loop {
                           const auto n = static_cast<std::size_t>(shape.numel());
                           return [m = Values(n), v = Values(n), u = Values(n)](Values& w, const Values& g, int t) mutable {
                             for (std::size_t i = 0; i < w.size(); ++i) {
                               m[i] = 0.9 * m[i] + 0.1 * g[i], v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
                               u[i] = m[i] / (1 - power(0.9, t)) / (std::sqrt(v[i] / (1 - power(0.999, t))) + 1e-6) + 0.1 * w[i];
                             }
                             const double ratio = std::min(twin::norm(w), 2.0) / twin::norm(u);
                             for (std::size_t i = 0; i < w.size(); ++i) w[i] -= 0.02 * ratio * u[i];
                           };
                         }) == "");
  // A weight p with a constant sign of the gradient: LAMB takes p (1 - lr) each time; LARS takes lr trust |p|.
  CHECK(twin::three_steps([](Params p) { return Lamb<double>(p, {.lr = 0.1, .weight_decay = 0}); }) == Approx(0.9 * 0.9 * 0.9));
  CHECK(twin::three_steps([](Params p) { return Lars<double>(p, {.lr = 0.5, .momentum = 0, .weight_decay = 0, .trust = 0.2}); }) ==
        Approx(0.9 * 0.9 * 0.9));
  // A parameter of zeros has no size to go by: plain steps, no NaN.
  Tensor<double> zero{0.0};
  zero.requires_grad_();
  zero.set_grad(Tensor<double>{2.0});
  Lars<double> lars({zero}, {.lr = 0.1});
  lars.step();
  CHECK(zero.item() == Approx(-0.2));
  CHECK(twin::three_steps([](Params p) { return Lamb<double>(p, {.lr = 0.1, .weight_decay = 0, .adapt = false}); }) == Approx(0.7).epsilon(1e-5));
}

TEST_CASE("Adafactor: row and column means stand for the second moment", "[optim]") {
  CHECK(twin::difference([](Params p) { return Adafactor<double>(p, {.lr = 0.1, .eps1 = 1e-30, .weight_decay = 0.1}); },
                         [](const Shape& shape) -> Loop {
                           const int64_t m = shape[0], n = shape.rank() == 2 ? shape[1] : 1;
                           return [=, r = Values(3), c = Values(4), v = Values(3)](Values& w, const Values& g, int t) mutable {
                             const double b = 1 - std::pow(t, -0.8), size = std::sqrt(static_cast<double>(m * n));
                             const double alpha = std::max(1e-3, twin::norm(w) / size) * std::min(0.1, 1 / std::sqrt(t));
                             const Matrix G(m, n, g);
                             Matrix U = G;
                             Values row(3), column(4);
                             double total = 0;
                             for (int64_t i = 0; i < m; ++i)
                               for (int64_t j = 0; j < n; ++j) row[i] += G(i, j) * G(i, j) / n, column[j] += G(i, j) * G(i, j) / m;
                             for (int64_t i = 0; i < m; ++i) r[i] = b * r[i] + (1 - b) * row[i], total += r[i] / m;
                             for (int64_t j = 0; j < n; ++j) c[j] = b * c[j] + (1 - b) * column[j];
                             for (int64_t i = 0; i < m; ++i) v[i] = b * v[i] + (1 - b) * G(i, 0) * G(i, 0);
                             for (int64_t i = 0; i < m; ++i)
                               for (int64_t j = 0; j < n; ++j)
                                 U(i, j) /= std::sqrt(shape.rank() == 2 ? r[i] * c[j] / total : v[i]);
                             const double excess = std::max(1.0, twin::norm(U.v) / size);
                             for (std::size_t i = 0; i < w.size(); ++i) w[i] = w[i] * (1 - 0.1 * 0.1) - alpha / excess * U.v[i];
                           };
                         }) == "");
  // |u| = 1, alpha = |p| min(lr, 1 / sqrt(t)): p (1 - lr) while that is small
  CHECK(twin::three_steps([](Params p) { return Adafactor<double>(p, {.lr = 0.1}); }) == Approx(0.9 * 0.9 * 0.9));
}
