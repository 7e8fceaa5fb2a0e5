// Each method against a loop written from its paper, and in closed form for a constant gradient.
#include <array>

#include <gradus/optim/further.hpp>

#include "optim/matrix_twin.hpp"
#include "optim/twin.hpp"

using namespace gradus;
using namespace gradus::optim;
using twin::elementwise;
using twin::Loop;
using twin::Matrix;
using twin::Params;
using twin::three_steps;
using twin::Values;
using State = std::array<double, 4>;

namespace {
double power(double b, int t) { return std::pow(b, t); }
std::size_t size_of(const Shape& s) { return static_cast<std::size_t>(s.numel()); }
double square_sum(const Values& v) { return twin::norm(v) * twin::norm(v); }
}  // namespace

TEST_CASE("NovoGrad, SM3, AggMo", "[optim]") {
  CHECK(twin::difference([](Params p) { return Novograd<double>(p, {.lr = 0.02, .weight_decay = 0.1}); }, [](const Shape& s) -> Loop {
    return [m = Values(size_of(s)), v = 0.0](Values& w, const Values& g, int t) mutable {
      v = t == 1 ? square_sum(g) : 0.98 * v + 0.02 * square_sum(g);
      for (std::size_t i = 0; i < w.size(); ++i) m[i] = 0.95 * m[i] + g[i] / (std::sqrt(v) + 1e-8) + 0.1 * w[i], w[i] -= 0.02 * m[i];
    };
  }) == "");
  CHECK(twin::difference([](Params p) { return Sm3<double>(p, {.lr = 0.05, .momentum = 0.5}); }, [](const Shape& s) -> Loop {
    const int64_t M = s[0], N = s.numel() / s[0];
    return [=, r = Values(static_cast<std::size_t>(M)), c = Values(static_cast<std::size_t>(N)), b = Values(size_of(s))](Values& w, const Values& g, int) mutable {
      Values nr(r.size()), nc(c.size());
      for (std::size_t i = 0; i < r.size(); ++i)
        for (std::size_t j = 0; j < c.size(); ++j) {
          const std::size_t k = i * c.size() + j;
          const double v = std::min(r[i], c[j]) + g[k] * g[k];
          nr[i] = std::max(nr[i], v), nc[j] = std::max(nc[j], v);
          b[k] = 0.5 * b[k] + 0.5 * g[k] / std::sqrt(v);
          w[k] -= 0.05 * b[k];
        }
      r = nr, c = nc;
    };
  }) == "");
  CHECK(elementwise([](Params p) { return Aggmo<double>(p, {.lr = 0.02}); },
                    [](double& w, double g, int, State& s) {
                      const double beta[] = {0, 0.9, 0.99};
                      for (std::size_t k = 0; k < 3; ++k) s[k] = beta[k] * s[k] + g, w -= 0.02 / 3 * s[k];
                    }) == "");
}

TEST_CASE("MARS, PNM, Kate, Adam-mini", "[optim]") {
  CHECK(twin::difference([](Params p) { return Mars<double>(p, {.lr = 0.02, .gamma = 0.5, .weight_decay = 0.1}); }, [](const Shape& s) -> Loop {
    const std::size_t n = size_of(s);
    return [m = Values(n), v = Values(n), before = Values(n)](Values& w, const Values& g, int t) mutable {
      Values c = g;
      for (std::size_t i = 0; i < w.size() && t > 1; ++i) c[i] += 0.5 * 0.95 / 0.05 * (g[i] - before[i]);
      before = g;
      const double length = std::max(1.0, twin::norm(c));
      for (std::size_t i = 0; i < w.size(); ++i) {
        c[i] /= length;
        m[i] = 0.95 * m[i] + 0.05 * c[i], v[i] = 0.99 * v[i] + 0.01 * c[i] * c[i];
        w[i] -= 0.02 * (m[i] / (1 - power(0.95, t)) / (std::sqrt(v[i] / (1 - power(0.99, t))) + 1e-8) + 0.1 * w[i]);
      }
    };
  }) == "");
  CHECK(elementwise([](Params p) { return Pnm<double>(p, {.lr = 0.05, .beta0 = 0.5}); },
                    [](double& w, double g, int t, State& s) {
                      double &now = s[static_cast<std::size_t>(t % 2)], last = s[static_cast<std::size_t>(1 - t % 2)];
                      now = 0.81 * now + 0.19 * g;
                      w -= 0.05 * (1.5 * now - 0.5 * last) / std::sqrt(1.5 * 1.5 + 0.25);
                    }) == "");
  CHECK(elementwise([](Params p) { return Kate<double>(p, {.lr = 0.1, .eps = 0}); },
                    [](double& w, double g, int, State& s) {
                      s[0] += g * g;
                      s[1] += 0.1 * g * g + g * g / s[0];
                      w -= 0.1 * std::sqrt(s[1]) / s[0] * g;
                    }) == "");
  CHECK(twin::difference([](Params p) { return AdamMini<double>(p, {.lr = 0.02}); }, [](const Shape& s) -> Loop {
    const std::size_t n = size_of(s), rows = s.rank() == 2 ? static_cast<std::size_t>(s[0]) : 1;
    return [=, m = Values(n), v = Values(rows)](Values& w, const Values& g, int t) mutable {
      const std::size_t width = n / rows;
      for (std::size_t r = 0; r < rows; ++r) {
        double mean = 0;
        for (std::size_t k = r * width; k < (r + 1) * width; ++k) mean += g[k] * g[k] / static_cast<double>(width);
        v[r] = 0.999 * v[r] + 0.001 * mean;
        for (std::size_t k = r * width; k < (r + 1) * width; ++k) {
          m[k] = 0.9 * m[k] + 0.1 * g[k];
          w[k] -= 0.02 * m[k] / (1 - power(0.9, t)) / (std::sqrt(v[r] / (1 - power(0.999, t))) + 1e-8);
        }
      }
    };
  }) == "");
}

TEST_CASE("CAME, GaLore, Scion", "[optim]") {
  CHECK(twin::difference([](Params p) { return Came<double>(p, {.lr = 0.02, .beta2 = 0.9, .beta3 = 0.95}); }, [](const Shape& s) -> Loop {
    const bool matrix = s.rank() == 2;
    return [=, m = Values(size_of(s)), v = Values(3), r = Values(3), c = Values(4), dr = Values(3), dc = Values(4)](Values& w, const Values& g, int) mutable {
      const auto factors = [](Values& row, Values& column, const Values& x, double b) {
        Values out(12);
        double mean = 0;
        for (std::size_t i = 0; i < 3; ++i) {
          double sum = 0;
          for (std::size_t j = 0; j < 4; ++j) sum += x[4 * i + j] / 4;
          row[i] = b * row[i] + (1 - b) * sum, mean += row[i] / 3;
        }
        for (std::size_t j = 0; j < 4; ++j) column[j] = b * column[j] + (1 - b) * (x[j] + x[4 + j] + x[8 + j]) / 3;
        for (std::size_t k = 0; k < 12; ++k) out[k] = row[k / 4] * column[k % 4] / mean;
        return out;
      };
      Values g2 = g, u = g;
      for (double& x : g2) x = x * x + 1e-30;
      if (matrix) {
        const Values f = factors(r, c, g2, 0.9);
        for (std::size_t k = 0; k < 12; ++k) u[k] /= std::sqrt(f[k]);
      } else {
        for (std::size_t k = 0; k < 3; ++k) v[k] = 0.9 * v[k] + 0.1 * g2[k], u[k] /= std::sqrt(v[k]);
      }
      const double rms = std::max(1.0, twin::norm(u) / std::sqrt(static_cast<double>(u.size())));
      Values doubt = u;
      for (std::size_t k = 0; k < u.size(); ++k) {
        m[k] = 0.9 * m[k] + 0.1 * u[k] / rms;
        doubt[k] = (u[k] / rms - m[k]) * (u[k] / rms - m[k]) + 1e-16;
      }
      const Values f = matrix ? factors(dr, dc, doubt, 0.95) : Values(3, 1.0);
      for (std::size_t k = 0; k < u.size(); ++k) w[k] -= 0.02 * m[k] / std::sqrt(f[k]);
    };
  }) == "");
  // The singular vectors of G with the largest values are those of G G^T; their signs cancel.
  CHECK(twin::difference([](Params p) { return Galore<double>(p, {.lr = 0.05, .beta2 = 0.9, .rank = 2, .every = 3}); }, [](const Shape&) -> Loop {
    return [Q = Matrix(3, 2), m = Values(8), v = Values(8)](Values& w, const Values& g, int t) mutable {
      const Matrix G(3, 4, g);
      if (t % 3 == 1) {
        const auto e = twin::jacobi(G * transposed(G));
        for (int64_t i = 0; i < 3; ++i)
          for (int64_t k = 0; k < 2; ++k) Q(i, k) = e.vectors(i, 2 - k);
      }
      Matrix R = transposed(Q) * G;
      for (std::size_t k = 0; k < 8; ++k) {
        m[k] = 0.9 * m[k] + 0.1 * R.v[k], v[k] = 0.9 * v[k] + 0.1 * R.v[k] * R.v[k];
        R.v[k] = m[k] / (1 - power(0.9, t)) / (std::sqrt(v[k] / (1 - power(0.9, t))) + 1e-8);
      }
      const Matrix u = Q * R;
      for (std::size_t k = 0; k < 12; ++k) w[k] -= 0.05 * 0.25 * u.v[k];
    };
  }, {{3, 4}}, 3) == "");
  const auto scion = [](bool sign) {
    return twin::difference([=](Params p) { return Scion<double>(p, {.lr = 0.01, .radius = 2, .sign = sign}); }, [=](const Shape& s) -> Loop {
      return [=, m = Values(size_of(s))](Values& w, const Values& g, int t) mutable {
        for (std::size_t k = 0; k < w.size(); ++k) m[k] = t == 1 ? g[k] : 0.9 * m[k] + 0.1 * g[k];
        Values u = m;
        if (sign) {
          for (double& x : u) x = ((x > 0) - (x < 0)) / (s.rank() == 2 ? 4.0 : 1.0);
        } else if (s.rank() == 1) {
          for (double& x : u) x /= twin::norm(m) / std::sqrt(3.0);
        } else {
          u = newton_schulz(from_vector(m, {3, 4})).to_vector();
          for (double& x : u) x *= std::sqrt(3.0 / 4);
        }
        for (std::size_t k = 0; k < w.size(); ++k) w[k] = 0.99 * w[k] - 0.01 * 2 * u[k];
      };
    });
  };
  CHECK(scion(false) == "");
  CHECK(scion(true) == "");
}

TEST_CASE("AdaHessian divides by the curvature", "[optim]") {
  auto params = twin::parameters({{2}, {1, 1, 2, 2}});
  Adahessian<double> opt(params, {.lr = 0.1, .eps = 1e-12});
  Values w = twin::values(params);
  const Values h{2, 5, 1, 2, 3, 4};  // the window's mean is 2.5
  for (int k = 0; k < 3; ++k) {
    for (auto& p : params) p.set_grad(full_like(p, 1));
    opt.step({Tensor<double>{2.0, 5.0}, from_vector(Values{1, 2, 3, 4}, {1, 1, 2, 2})});
  }
  for (std::size_t i = 0; i < 6; ++i) w[i] -= 3 * 0.1 / (i < 2 ? h[i] : 2.5);
  CHECK(check::difference(twin::values(params), w, 1e-9, 0) == "");
  CHECK(check::missing(check::error_of([&] { opt.step({}); }), {"Adahessian", "one diagonal", "2"}) == "");
}

TEST_CASE("three steps of the further methods, in closed form", "[optim]") {
  const auto near = [](double x, double expected) { CHECK(x == Approx(expected).epsilon(1e-6)); };
  near(three_steps([](Params p) { return Novograd<double>(p, {.lr = 0.1, .beta1 = 0.5}); }), 1 - 0.1 * (1 + 1.5 + 1.75));
  near(three_steps([](Params p) { return Sm3<double>(p, {.lr = 0.1}); }), 1 - 0.1 * (1 + 1 / std::sqrt(2) + 1 / std::sqrt(3)));
  near(three_steps([](Params p) { return Aggmo<double>(p, {.lr = 0.1, .betas = {0, 0.5, 0.5}}); }), 1 - 0.1 / 3 * 2 * (3 + 2 * (1 + 1.5 + 1.75)));
  near(three_steps([](Params p) { return Mars<double>(p, {.lr = 0.1}); }), 0.7);
  near(three_steps([](Params p) { return AdamMini<double>(p, {.lr = 0.1}); }), 0.7);
  near(three_steps([](Params p) { return Galore<double>(p, {.lr = 0.1}); }), 0.7);
  near(three_steps([](Params p) { return Scion<double>(p, {.lr = 0.1, .radius = 1, .constrained = false}); }), 0.7);
  near(three_steps([](Params p) { return Pnm<double>(p, {.lr = 0.1, .beta0 = 0, .beta1 = 0.5}); }), 1 - 0.1 * 2 * (0.75 + 0.75 + 0.75 * 1.25));
  // b = 4, 8, 12 and m = 0.1 b + 1 + 1/2 + 1/3
  near(three_steps([](Params p) { return Kate<double>(p, {.lr = 0.1}); }),
       1 - 0.1 * 2 * (std::sqrt(1.4) / 4 + std::sqrt(2.3) / 8 + std::sqrt(1.2 + 11.0 / 6) / 12));
  near(three_steps([](Params p) { return Came<double>(p, {.lr = 0.1, .beta1 = 0, .beta2 = 0}); }), 0.7);
}
