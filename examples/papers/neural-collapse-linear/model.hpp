// Neural collapse of deep linear networks on unconstrained features, Dang et al. 2023, in the symbols
//
//   H [d, N]  free features, a column a sample    W_1 [d, d], ..., W_M [K, d]    P = W_M ... W_1    Y [K, N] one-hot    n_k, N = sum n_k
//
//   L = 1/(2N) ||P H (+ b 1^T) - Y||^2 + lambda_W/2 sum_j ||W_j||^2 + lambda_H/2 ||H||^2        (MSE)
//   L = mean cross-entropy of P H + b 1^T + the same regularisers                               (CE)
//
// b is not regularised; nothing is detached.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/ops/linalg.hpp>

namespace ncl {
using namespace gradus;

/// Where the class means go: orthogonal frame, general orthogonal frame (lengths differ), or simplex equiangular tight frame.
enum class Frame { of, gof, etf };

struct Problem {
  std::vector<double> n;  // samples of each class
  int64_t M = 1;          // linear layers
  double lambda_W = 5e-4, lambda_H = 5e-4;
  bool bias = false, ce = false;

  int64_t K() const { return static_cast<int64_t>(n.size()); }
  double N() const {
    double sum = 0;
    for (const double v : n) sum += v;
    return sum;
  }
  bool balanced() const { return std::all_of(n.begin(), n.end(), [&](double v) { return v == n[0]; }); }
  double Lambda() const { return std::pow(lambda_W, static_cast<double>(M)); }
};

/// The smallest b0 / n_k at which class k collapses to 0: (M-1)^{(M-1)/M} / M, 1 for M = 1.
inline double threshold(int64_t M) {
  const auto m = static_cast<double>(M);
  return M == 1 ? 1 : std::pow(m - 1, (m - 1) / m) / m;
}
/// Eq. (*): the largest root of M x^{M-1} / (1 + x^M)^2 = beta, beta = b0 / n_k; 0 where the zero solution is no worse.
inline double largest_root(int64_t M, double beta) {
  if (beta >= threshold(M)) return 0;
  if (M == 1) return std::sqrt(1 / beta) - 1;
  const auto m = static_cast<double>(M);
  double lo = std::pow((m - 1) / (m + 1), 1 / m), hi = 2 * lo;  // the left side falls from lo on
  const auto left = [m](double x) { return m * std::pow(x, m - 1) / std::pow(1 + std::pow(x, m), 2); };
  while (left(hi) > beta) hi *= 2;
  for (int i = 0; i < 200; ++i) {
    const double x = (lo + hi) / 2;
    (left(x) > beta ? lo : hi) = x;
  }
  return (lo + hi) / 2;
}

/// CE, balanced: the ETF loss at logits rho (e_k - 1/K).
inline double g(const Problem& q, double rho) {
  const auto K = static_cast<double>(q.K()), M = static_cast<double>(q.M);
  return std::log1p((K - 1) * std::exp(-rho)) +
         (K - 1) * (M + 1) / 2 * std::pow(q.lambda_H * q.Lambda() * q.n[0] * rho * rho, 1 / (M + 1));
}
/// The minimiser of g: a scan, since g has a second minimum at 0 for M > 1, then golden sections.
inline double best_rho(const Problem& q) {
  double best = 0;
  for (int i = 1; i <= 4000; ++i)
    if (g(q, 0.01 * i) < g(q, best)) best = 0.01 * i;
  if (best == 0) return 0;
  double lo = best - 0.01, hi = best + 0.01;
  const double r = (std::sqrt(5.0) - 1) / 2;
  for (int i = 0; i < 80; ++i) {
    const double a = hi - r * (hi - lo), b = lo + r * (hi - lo);
    g(q, a) < g(q, b) ? hi = b : lo = a;
  }
  return (lo + hi) / 2;
}

/// The global minimum. For an ETF: lengths of the centred means, and of its matrices' entries before the factor I - 11^T/K.
struct Solution {
  Frame frame = Frame::of;
  std::vector<double> x;    // roots of (*); empty for CE
  std::vector<double> z;    // P mu_k = z_k e_k, or z (e_k - 1/K)
  std::vector<double> mu2;  // ||mu_k||^2
  std::vector<double> w2;   // diagonal of P P^T; empty for CE
  double loss = 0;
};

inline Solution solve(const Problem& q) {
  const double N = q.N(), p = N * q.lambda_H, M = static_cast<double>(q.M), K = static_cast<double>(q.K());
  if (!q.balanced() && (q.bias || q.ce))
    fail("solve", "no closed form for a bias or cross-entropy with classes of different sizes", {}, "equal counts, or MSE without bias",
         Where::current());
  Solution s;
  s.frame = q.bias || q.ce ? Frame::etf : q.balanced() ? Frame::of : Frame::gof;
  if (q.ce) {
    const double rho = best_rho(q), n = q.n[0];
    const double share = std::pow(q.lambda_H * q.Lambda() * n * rho * rho, 1 / (M + 1));  // lambda ||factor||^2 / (K - 1), each alike
    s.z.assign(q.n.size(), rho), s.mu2.assign(q.n.size(), (K - 1) / K * share / (n * q.lambda_H));
    s.loss = g(q, rho);
    return s;
  }
  const double b0 = M * N * std::pow(N * q.Lambda() * q.lambda_H, 1 / M);
  for (const double n : q.n) {
    const double x = largest_root(q.M, b0 / n), xM = std::pow(x, M);
    s.x.push_back(x), s.z.push_back(xM / (1 + xM)), s.w2.push_back(p * xM);
    s.mu2.push_back(xM / (p * (1 + xM) * (1 + xM)) * (q.bias ? (K - 1) / K : 1));
    s.loss += (n / (1 + xM) + b0 * x) / (2 * N) * (q.bias ? (K - 1) / K : 1);
  }
  return s;
}

/// W_M ... W_from, from = 0 for all of P.
template <class T, class D>
Tensor<T, D> product(const std::vector<Tensor<T, D>>& W, std::size_t from = 0) {
  Tensor<T, D> P = W.back();
  for (std::size_t j = W.size() - 1; j-- > from;) P = matmul(P, W[j]);
  return P;
}

/// L for features H [d, N], labels y [N]; b is undefined without a bias.
template <class T, class D>
Tensor<T, D> loss(const Problem& q, const std::vector<Tensor<T, D>>& W, const Tensor<T, D>& b, const Tensor<T, D>& H,
                  const Tensor<int64_t, D>& y) {
  Tensor<T, D> out = matmul(product(W), H);
  if (b.defined()) out = out + b;
  Tensor<T, D> L = q.ce ? cross_entropy(transpose(out, 0, 1), y)
                        : sum(square(out - transpose(one_hot<T>(y, q.K()), 0, 1))) * (0.5 / static_cast<double>(y.numel()));
  for (const auto& w : W) L = L + sum(square(w)) * (0.5 * q.lambda_W);
  return L + sum(square(H)) * (0.5 * q.lambda_H);
}

/// Labels 0 ... 0 1 ... 1 ... with n_k of each.
template <class D>
Tensor<int64_t, D> labels(const Problem& q) {
  std::vector<int64_t> y;
  for (std::size_t k = 0; k < q.n.size(); ++k) y.insert(y.end(), static_cast<std::size_t>(q.n[k]), static_cast<int64_t>(k));
  return from_vector(y).template to<D>();
}

/// The unconstrained features model: H and W from N(0, 0.1^2), b = 0.
template <class T, class D>
struct Ufm {
  Tensor<T, D> H, b;
  std::vector<Tensor<T, D>> W;
  Ufm(const Problem& q, int64_t d) : H(normal<T, D>({d, static_cast<int64_t>(q.N())}, 0, 0.1)) {
    for (int64_t j = 0; j < q.M; ++j) W.push_back(normal<T, D>({j + 1 == q.M ? q.K() : d, d}, 0, 0.1));
    if (q.bias) b = zeros<T, D>({q.K(), 1});
    for (auto& p : parameters()) p.requires_grad_();
  }
  std::vector<Tensor<T, D>> parameters() const {
    std::vector<Tensor<T, D>> list = W;
    list.push_back(H);
    if (b.defined()) list.push_back(b);
    return list;
  }
};

/// The distance of two matrices of which only the direction counts: || A/||A|| - B/||B|| ||.
template <class D>
double nd(const Tensor<double, D>& A, const Tensor<double, D>& B) {
  const double a = norm(A).item(), b = norm(B).item();
  return a > 0 && b > 0 ? norm(A / a - B / b).item() : 1;
}

/// Everything about one layer's collapse: nd against the frame of the global minimum.
template <class D>
struct Collapse {
  double nc1 = 0, nc2_W = 0, nc2_H = 0, nc3 = 0, nc3_rows = 0;  // nc3_rows: NC3'
  std::vector<double> mu2, z;                                   // of the means as the frame has them, and the diagonal of P Mu
  Tensor<double, D> gram, PPt;                                  // [K, K]
};
/// Layer m = 0, ..., M-1 of the head. There P P^T ~ x_k^{M-m}, ||mu_k||^2 ~ x_k^m ||mu_k||^2 at m = 0, and P mu_k = z_k e_k still.
template <class T, class D>
Collapse<D> collapse(const Problem& q, const Solution& s, const std::vector<Tensor<T, D>>& W, const Tensor<T, D>& H0,
                     const Tensor<int64_t, D>& y, int64_t m = 0) {
  const NoGrad guard;
  const double K = static_cast<double>(q.K()), N = static_cast<double>(y.numel());
  std::vector<Tensor<double, D>> V;
  for (const auto& w : W) V.push_back(cast<double>(w));
  Tensor<double, D> H = cast<double>(H0);
  for (int64_t j = 0; j < m; ++j) H = matmul(V[static_cast<std::size_t>(j)], H);
  const auto P = product(V, static_cast<std::size_t>(m));
  const auto Y = transpose(one_hot<double>(y, q.K()), 0, 1);                         // [K, N]
  const auto raw = matmul(H, transpose(Y / sum(Y, {1}, true), 0, 1));                // [d, K], means of classes
  const auto centred = raw - mean(H, {1}, true);                                     // mu_k - mu_G, mu_G over samples
  const auto Mu = s.frame == Frame::etf ? centred : raw;
  const auto I = eye<double, D>(q.K(), q.K());
  const auto vector = [](const std::vector<double>& v) { return from_vector(v).template to<D>(); };

  Collapse<D> c;
  // NC1 = tr(Sigma_W pinv(Sigma_B)) / K with Sigma_B = A A^T / K, A = centred: tr = K/N ||pinv(A) (H - Mu Y)||^2.
  c.nc1 = sum(square(matmul(pinv(centred, 1e-8), H - matmul(raw, Y)))).item() / N;
  c.gram = matmul(transpose(Mu, 0, 1), Mu), c.PPt = matmul(P, transpose(P, 0, 1));
  c.mu2 = sum(I * c.gram, {1}).to_vector(), c.z = sum(I * matmul(P, Mu), {1}).to_vector();  // diagonals
  Tensor<double, D> target_W = I - 1 / K, target_H = target_W, target_Z = target_W, rows = transpose(Mu, 0, 1);
  if (s.frame != Frame::etf) {
    const double M = static_cast<double>(q.M), at = static_cast<double>(m);
    std::vector<double> w, h, r;
    for (std::size_t k = 0; k < s.x.size(); ++k) {
      w.push_back(std::pow(s.x[k], M - at)), h.push_back(s.mu2[k] * std::pow(s.x[k], at));
      r.push_back(h[k] > 0 ? s.z[k] / h[k] : 0);  // row k of P = z_k mu_k^T / ||mu_k||^2, which at m = 0 is (p x_k^M + p) mu_k^T
    }
    target_W = I * vector(w), target_H = I * vector(h), target_Z = I * vector(s.z);
    rows = matmul(I * vector(r), rows);
  }
  c.nc2_W = nd(c.PPt, target_W), c.nc2_H = nd(c.gram, target_H);
  c.nc3 = nd(matmul(P, Mu), target_Z), c.nc3_rows = nd(P, rows);
  return c;
}

/// Eigenvalues of P P^T above 1e-3 of the largest, the rank of P as far as training shows it.
template <class D>
int64_t rank_of(const Tensor<double, D>& PPt) {
  const auto w = eigh(PPt).values.to_vector();
  return std::count_if(w.begin(), w.end(), [&](double v) { return v > 1e-3 * w.back(); });
}

}  // namespace ncl
