// The model of Tirer, Huang & Niles-Weed 2023 in the paper's symbols: K classes of n samples, H [d, K n] with columns ordered by class,
// W [K, d], Y = I_K (x) 1_n^T [K, K n], lW and lH for lambda_W and lambda_H, c = sqrt(lH lW), N = K n.
//
//   f(W, H; H0) = 1/(2Kn) |W H - Y|^2 + lW/(2K) |W|^2 + lH/(2Kn) |H|^2 + beta/(2Kn) |H - H0|^2        (2); beta = 0 is (1)
//
// vec() stacks columns. Everything here is meant for double; networks are in nets.hpp.
#pragma once
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <gradus.hpp>

namespace ncp {
using namespace gradus;
using Matrix = Tensor<double>;

struct Problem {
  int64_t K = 4, d = 10, n = 10;
  double lW = std::sqrt(2.0), lH = 0.1, beta = 100;
  int64_t N() const { return K * n; }
  double c() const { return std::sqrt(lH * lW); }
  double rho() const { return (1 - c()) * std::sqrt(lW / lH); }
  Matrix Y() const { return kron(eye<double>(K), ones<double>({1, n})); }
};

inline Matrix t(const Matrix& x) { return transpose(x, 0, 1); }
inline Matrix vec(const Matrix& x) { return reshape(t(x), {x.numel(), 1}); }
inline Matrix unvec(const Matrix& v, int64_t rows) { return t(reshape(v, {v.numel() / rows, rows})); }
inline double frobenius(const Matrix& x) { return norm(x).item(); }
inline Matrix identity(int64_t n, double scale) { return eye<double>(n) * scale; }

/// f of (2), or (1) without H0: a scalar with a history.
inline Matrix objective(const Problem& p, const Matrix& W, const Matrix& H, const Matrix& H0 = {}) {
  const auto N = static_cast<double>(p.N());
  const Matrix f = sum(square(matmul(W, H) - p.Y())) / (2 * N) + sum(square(W)) * (p.lW / (2 * static_cast<double>(p.K))) +
                   sum(square(H)) * (p.lH / (2 * N));
  return H0.defined() ? f + sum(square(H - H0)) * (p.beta / (2 * N)) : f;
}

struct Point {
  Matrix W, H;
  int64_t steps = 0;
};

/// Theorem 2.1: a minimiser of (1) for c <= 1, one for every R [d, K] with R^T R = I; here R comes from a QR of Gaussian draws.
inline Point collapsed(const Problem& p, uint64_t seed) {
  if (p.c() > 1) return {zeros<double>({p.K, p.d}), zeros<double>({p.d, p.N()})};
  manual_seed(seed);
  const Matrix Hbar = qr(randn<double>({p.d, p.K})).q * std::sqrt(p.rho());
  return {t(Hbar) * std::sqrt(p.lH / p.lW), kron(Hbar, ones<double>({1, p.n}))};
}

/// W*(H) = Y H^T (H H^T + n lW I)^-1, the minimiser over W. The n comes from 1/(2K) against 1/(2Kn).
inline Matrix best_W(const Problem& p, const Matrix& H) {
  return t(solve(matmul(H, t(H)) + identity(p.d, static_cast<double>(p.n) * p.lW), matmul(H, t(p.Y()))));
}

/// The minimiser of (2) by exact steps in turn from H = H0: W = W*(H), H = (W^T W + (lH + beta) I)^-1 (W^T Y + beta H0).
inline Point minimise(const Problem& p, const Matrix& H0, int64_t most = 100000) {
  Point z{{}, H0};
  for (double change = 1; z.steps < most && change >= 1e-13 * std::max(1.0, frobenius(z.H)); ++z.steps) {
    z.W = best_W(p, z.H);
    const Matrix H = solve(matmul(t(z.W), z.W) + identity(p.d, p.lH + p.beta), matmul(t(z.W), p.Y()) + H0 * p.beta);
    change = frobenius(H - z.H);
    z.H = H;
  }
  return z;
}

// ---- Section 2: measures of collapse ------------------------------------------------------------------------------------------------

struct Collapse {
  double trW = 0, trB = 0;                      // tr S_W, tr S_B
  double NC1t = 0, NC1 = 0, NC2 = 0;            // NC1~ = tr S_W / tr S_B; NC1 = tr(S_W S_B^+) / K; NC2
};
/// traces: only trW, trB and NC1~, which need no pseudo-inverse. H : [d, K n]
inline Collapse collapse(const Matrix& H, int64_t K, bool traces = false) {
  const NoGrad guard;
  const int64_t d = H.size(0), n = H.size(1) / K;
  const Matrix by_class = reshape(H, {d, K, n}), Hbar = mean(by_class, {2}, true);            // [d, K, 1]
  const Matrix within = reshape(by_class - Hbar, {d, K * n}), M = reshape(Hbar - mean(Hbar, {1}, true), {d, K});
  Collapse r;
  r.trW = sum(square(within)).item() / static_cast<double>(K * n);
  r.trB = sum(square(M)).item() / static_cast<double>(K);
  r.NC1t = r.trW / r.trB;
  if (traces) return r;
  const Matrix SW = matmul(within, t(within)) / static_cast<double>(K * n), SB = matmul(M, t(M)) / static_cast<double>(K);
  r.NC1 = sum(SW * pinv(SB, 1e-8)).item() / static_cast<double>(K);   // both symmetric; S_B has rank K - 1
  const Matrix G = matmul(t(M), M), simplex = identity(K, 1) - 1.0 / static_cast<double>(K);
  r.NC2 = frobenius(G / frobenius(G) - simplex / std::sqrt(static_cast<double>(K - 1)));
  return r;
}

// ---- Section 3: the central path ----------------------------------------------------------------------------------------------------

/// dH/dt = -Kn grad L(H) = -W*^T (W* H - Y) - lH H with W* = W*(H), which by the envelope theorem is not differentiated.
inline Matrix flow(const Problem& p, const Matrix& H) {
  const Matrix W = best_W(p, H);
  return matmul(t(W), p.Y() - matmul(W, H)) - H * p.lH;
}
/// One step of the classical Runge-Kutta method; W* is found anew in each of the four stages.
template <class F>
Matrix rk4(F&& velocity, const Matrix& x, double h) {
  const Matrix a = velocity(x), b = velocity(x + a * (h / 2)), c = velocity(x + b * (h / 2)), d = velocity(x + c * h);
  return x + (a + b * 2.0 + c * 2.0 + d) * (h / 6);
}
struct Path {
  std::vector<double> time, trW, trB, NC1t;     // trW, trB are times e^{2 lH t}
  int64_t NC1_rises = 0, trW_rises = 0, trB_falls = 0;
  double last_trB = 0, rate = 0;                // tr S_B at the end; d/dt log NC1~ over the last unit of time
};
/// Theorem 3.1 along the flow from H. A change counts against it when it is larger than `slack` of the value: only for rounding.
inline Path central_path(const Problem& p, Matrix H, double end, double h, double slack = 1e-13) {
  Path r;
  const auto steps = static_cast<int64_t>(std::llround(end / h)), unit = static_cast<int64_t>(std::llround(1 / h));
  for (int64_t k = 0; k <= steps; ++k) {
    if (k > 0) H = rk4([&](const Matrix& x) { return flow(p, x); }, H, h);
    const double time = h * static_cast<double>(k), grow = std::exp(2 * p.lH * time);
    const Collapse m = collapse(H, p.K, true);
    if (k > 0) {
      r.NC1_rises += !(m.NC1t < r.NC1t.back());
      r.trW_rises += grow * m.trW > r.trW.back() * (1 + slack);
      r.trB_falls += !(grow * m.trB > r.trB.back());
    }
    r.time.push_back(time), r.trW.push_back(grow * m.trW), r.trB.push_back(grow * m.trB), r.NC1t.push_back(m.NC1t);
    r.last_trB = m.trB;
  }
  if (steps >= unit) r.rate = std::log(r.NC1t.back() / r.NC1t[r.NC1t.size() - 1 - static_cast<std::size_t>(unit)]);
  return r;
}

// ---- Section 4: linear response -----------------------------------------------------------------------------------------------------

/// Second derivatives of (2) by blocks: HH [d N, d N], WW [K d, K d], HW [d N, K d].
struct Hessian {
  Matrix HH, WW, HW;
};
/// The commutation matrix: vec(X) -> vec(X^T), X : [rows, columns].
inline Matrix commutation(int64_t rows, int64_t columns) {
  const int64_t m = rows * columns;
  return reshape(permute(reshape(eye<double>(m), {columns, rows, m}), {1, 0, 2}), {m, m});
}
inline Hessian second_derivatives(const Problem& p, const Point& z) {
  const auto N = static_cast<double>(p.N());
  const Matrix E = matmul(z.W, z.H) - p.Y(), I = eye<double>(p.d);
  return {.HH = (kron(eye<double>(p.N()), matmul(t(z.W), z.W)) + identity(p.d * p.N(), p.lH + p.beta)) / N,
          .WW = (kron(matmul(z.H, t(z.H)), eye<double>(p.K)) + identity(p.K * p.d, static_cast<double>(p.n) * p.lW)) / N,
          .HW = (matmul(kron(t(E), I), commutation(p.K, p.d)) + kron(t(z.H), t(z.W))) / N};
}
/// Theorem 4.1: vec(dH) = F vec(dH0), F = beta/N (f_HH - f_HW f_WW^-1 f_WH)^-1 at the minimiser z.
inline Matrix exact_map(const Problem& p, const Point& z) {
  const Hessian f = second_derivatives(p, z);
  return inverse(f.HH - matmul(f.HW, solve(f.WW, t(f.HW)))) * (p.beta / static_cast<double>(p.N()));
}
/// Its first order in 1/beta: (1 - lH/beta) I - I_N (x) W^T W / beta + Z / beta, Z = N f_HW f_WW^-1 f_WH.
inline Matrix first_order_map(const Problem& p, const Point& z) {
  const Hessian f = second_derivatives(p, z);
  const Matrix Z = matmul(f.HW, solve(f.WW, t(f.HW))) * static_cast<double>(p.N());
  return identity(p.d * p.N(), 1 - p.lH / p.beta) + (Z - kron(eye<double>(p.N()), matmul(t(z.W), z.W))) / p.beta;
}
/// Block F_{k,l} [d n, d n] of a map [d N, d N].
inline Matrix block(const Problem& p, const Matrix& F, int64_t k, int64_t l) {
  const int64_t m = p.d * p.n;
  return narrow(narrow(F, 0, k * m, m), 1, l * m, m);
}

/// A closed-form singular value and how often it occurs.
struct Level {
  double value;
  int64_t times;
};
/// Theorem 4.2 and the rest of the spectrum: of F_{k,k} at a collapsed H0, for d > K and c < 1, at first order.
inline std::vector<Level> diagonal_spectrum(const Problem& p) {
  const double b = p.beta, between = 2 * p.lH * (1 - p.c()) / b;
  return {{1, p.d - p.K},
          {1 - p.lH / b, (p.d - p.K) * (p.n - 1)},
          {1 - std::sqrt(p.lH / p.lW) / b, p.K * (p.n - 1)},
          {1 - between, p.K - 1},
          {1 - 2 * between, 1}};
}
/// The one singular value of F_{k,l}, k != l, that is not 0.
inline double off_diagonal_value(const Problem& p) { return 2 * p.lH * (1 - p.c()) / p.beta; }
inline std::vector<double> singular_values(const Matrix& x) { return svd(contiguous(x)).s.to_vector(); }

struct Spectrum {
  std::vector<double> theory, computed, exact;  // of F_{1,1}, descending
  std::vector<int64_t> found;                   // how many computed values lie within 1e-10 of each level
  double diagonal_error = 0, off_error = 0;     // largest distance from the closed form over all blocks
  double exact_error = 0;                       // the same between the exact map's F_{1,1} and the first-order one
};
inline Spectrum spectrum(const Problem& p, const Point& z) {
  Spectrum r;
  const auto levels = diagonal_spectrum(p);
  for (const Level& l : levels) r.theory.insert(r.theory.end(), static_cast<std::size_t>(l.times), l.value);
  std::sort(r.theory.rbegin(), r.theory.rend());
  const Matrix F = first_order_map(p, z);
  const auto furthest = [](const std::vector<double>& a, const std::vector<double>& b) {
    double worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
    return worst;
  };
  std::vector<double> off(r.theory.size(), 0.0);
  off[0] = off_diagonal_value(p);
  for (int64_t k = 0; k < p.K; ++k)
    for (int64_t l = 0; l < p.K; ++l) {
      const auto s = singular_values(block(p, F, k, l));
      if (k == 0 && l == 0) r.computed = s;
      if (k == l) r.diagonal_error = std::max(r.diagonal_error, furthest(s, r.theory));
      else r.off_error = std::max(r.off_error, furthest(s, off));
    }
  r.exact = singular_values(block(p, exact_map(p, z), 0, 0));
  r.exact_error = furthest(r.exact, r.computed);
  for (const Level& l : levels)
    r.found.push_back(std::count_if(r.computed.begin(), r.computed.end(), [&](double s) { return std::abs(s - l.value) <= 1e-10; }));
  return r;
}

/// Part C: the change of the minimiser when a collapsed H0 is moved by dH0, solved and predicted; and NC1~ of H* over that of H0.
struct Response {
  double error = 0;   // |dH - F dH0| / |dH|
  double W_error = 0; // the same for dW = -f_WW^-1 f_WH dH with the solved dH
  double NC1t_ratio = 0;
};
inline Response response(const Problem& p, const Point& z, const Matrix& F, const Matrix& dH0) {
  const Point moved = minimise(p, z.H + dH0);
  const Matrix dH = moved.H - z.H, dW = moved.W - z.W, predicted = unvec(matmul(F, vec(dH0)), p.d);
  const Hessian f = second_derivatives(p, z);
  const Matrix predicted_W = unvec(solve(f.WW, matmul(t(f.HW), vec(dH))) * -1.0, p.K);
  return {.error = frobenius(dH - predicted) / frobenius(dH),
          .W_error = frobenius(dW - predicted_W) / frobenius(dW),
          .NC1t_ratio = collapse(moved.H, p.K, true).NC1t / collapse(z.H + dH0, p.K, true).NC1t};
}

/// The largest relative difference between the formulas of second_derivatives() and products with a random vector by double backward,
/// at a random point.
inline double hessian_error(const Problem& p, uint64_t seed, int vectors = 3) {
  manual_seed(seed);
  const int64_t w = p.K * p.d, h = p.d * p.N();
  const Matrix H0 = randn<double>({p.d, p.N()});
  const Point z{randn<double>({p.K, p.d}), randn<double>({p.d, p.N()})};
  const auto f = [&](const Matrix& x) {
    return objective(p, unvec(narrow(x, 0, 0, w), p.K), unvec(narrow(x, 0, w, h), p.d), H0);
  };
  const Hessian F = second_derivatives(p, z);
  const Matrix x = cat(std::vector<Matrix>{vec(z.W), vec(z.H)}, 0);
  double worst = 0;
  for (int k = 0; k < vectors; ++k) {
    const Matrix v = randn<double>({w + h, 1}), vW = narrow(v, 0, 0, w), vH = narrow(v, 0, w, h);
    const Matrix formulas = cat(
        std::vector<Matrix>{matmul(F.WW, vW) + matmul(t(F.HW), vH), matmul(F.HW, vW) + matmul(F.HH, vH)}, 0);
    worst = std::max(worst, frobenius(hvp(f, x, v) - formulas) / frobenius(formulas));
  }
  return worst;
}

/// Part A: the gradient's norm at z by backward, and f(z).
inline std::pair<double, double> gradient_and_value(const Problem& p, const Point& z) {
  Matrix W = z.W.clone(), H = z.H.clone();
  W.requires_grad_(), H.requires_grad_();
  const Matrix f = objective(p, W, H);
  const auto g = grad(std::vector<Matrix>{f}, std::vector<Matrix>{W, H});
  return {std::hypot(frobenius(g[0]), frobenius(g[1])), f.item()};
}

}  // namespace ncp
