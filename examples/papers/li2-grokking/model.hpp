// The task, the network and the energy of Tian 2025, in the symbols
//
//   x = [e_a; e_b] in R^{2M}, label c = a b in a group of order M      X [n, 2M], Y [n, M] one-hot
//   F = sigma(X W^T) [n, K],  o = F V^T [n, M],  sigma(u) = u^2
//   F~ = P F, Y~ = P Y, P = I - 11^T / n                               columns centred over the samples
//   E(w) = 1/2 |Y~^T sigma(X w)|^2                                     the energy each node climbs in stage II
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <numbers>
#include <numeric>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

namespace li2 {
using namespace gradus;

/// A non-trivial irreducible character, with its conjugate where it is complex: a real invariant subspace of functions on G.
struct Irrep {
  std::string name;
  int64_t d;                // d_k
  bool complex;             // a pair k, k*
  std::vector<double> chi;  // [M], of the pair the sum
};

struct Group {
  std::string name;
  int64_t M = 0;
  std::vector<int64_t> table, inverse;  // [M, M]: a b; [M]
  std::vector<Irrep> irreps;            // none for a group read from a file
  int64_t d_max = 1;

  int64_t times(int64_t a, int64_t b) const { return table[static_cast<std::size_t>(a * M + b)]; }
  /// The sample size of the repository's "critical ratio".
  double critical() const {
    const double m = static_cast<double>(M);
    return 2.7482 * m * std::log(m) * (d_max > 1 ? static_cast<double>(d_max) / 2 : 1);
  }
  /// The maximum of E in an irrep for sigma(u) = u^2 and all pairs.
  double energy(const Irrep& k) const { return static_cast<double>(M) / static_cast<double>((k.complex ? 4 : 2) * k.d); }
  void finish(Where at = Where::current()) {
    inverse.assign(static_cast<std::size_t>(M), -1);
    int64_t e = -1;
    for (int64_t a = 0; a < M; ++a)
      if (times(a, a) == a) e = a;
    for (int64_t a = 0; a < M; ++a)
      for (int64_t b = 0; b < M; ++b)
        if (times(a, b) == e) inverse[static_cast<std::size_t>(a)] = b;
    for (const int64_t b : inverse)
      if (b < 0) fail("Group", "an element has no inverse", {{"group", name}}, "a Cayley table of numbers 0..M-1", at);
    for (const Irrep& k : irreps) d_max = std::max(d_max, k.d);
  }
};

/// Z_m1 x Z_m2 x ...; its characters are cos(2 pi sum_i k_i a_i / m_i).
inline Group cyclic(const std::vector<int64_t>& m) {
  Group g;
  g.M = std::accumulate(m.begin(), m.end(), int64_t{1}, std::multiplies<>());
  const auto digits = [&](int64_t a) {
    std::vector<int64_t> r;
    for (const int64_t n : m) r.push_back(a % n), a /= n;
    return r;
  };
  const auto number = [&](const std::vector<int64_t>& r) {
    int64_t a = 0;
    for (std::size_t i = m.size(); i-- > 0;) a = a * m[i] + (r[i] % m[i] + m[i]) % m[i];
    return a;
  };
  for (const int64_t n : m) g.name += (g.name.empty() ? "Z" : "x") + std::to_string(n);
  for (int64_t a = 0; a < g.M; ++a)
    for (int64_t b = 0; b < g.M; ++b) {
      auto r = digits(a);
      const auto s = digits(b);
      for (std::size_t i = 0; i < r.size(); ++i) r[i] += s[i];
      g.table.push_back(number(r));
    }
  for (int64_t k = 1; k < g.M; ++k) {
    auto minus = digits(k);
    for (auto& x : minus) x = -x;
    if (number(minus) < k) continue;  // the conjugate is there
    const bool complex = number(minus) != k;
    Irrep irrep{std::to_string(k), 1, complex, {}};
    for (int64_t a = 0; a < g.M; ++a) {
      double turn = 0;
      const auto r = digits(a), f = digits(k);
      for (std::size_t i = 0; i < m.size(); ++i) turn += static_cast<double>(r[i] * f[i]) / static_cast<double>(m[i]);
      irrep.chi.push_back((complex ? 2 : 1) * std::cos(2 * std::numbers::pi * turn));
    }
    g.irreps.push_back(irrep);
  }
  g.finish();
  return g;
}

/// S_n, n = 3 or 4, with the characters of sign, standard, standard x sign and, for S_4, the 2-dimensional one.
inline Group symmetric(int n, Where at = Where::current()) {
  if (n != 3 && n != 4) fail("symmetric", "no characters are known here", {{"n", std::to_string(n)}}, "3 or 4", at);
  std::vector<int> p(static_cast<std::size_t>(n));
  std::iota(p.begin(), p.end(), 0);
  std::vector<std::vector<int>> all;
  do all.push_back(p);
  while (std::next_permutation(p.begin(), p.end()));
  Group g;
  g.name = "S" + std::to_string(n), g.M = static_cast<int64_t>(all.size());
  for (const auto& a : all)
    for (const auto& b : all) {
      for (std::size_t i = 0; i < p.size(); ++i) p[i] = a[static_cast<std::size_t>(b[i])];
      g.table.push_back(std::find(all.begin(), all.end(), p) - all.begin());
    }
  Irrep sign{"sign", 1, false, {}}, standard{"standard", n - 1, false, {}}, other{"standard x sign", n - 1, false, {}},
      two{"2-dim", 2, false, {}};
  for (const auto& a : all) {
    int inversions = 0, fixed = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      fixed += a[i] == static_cast<int>(i);
      for (std::size_t j = i + 1; j < a.size(); ++j) inversions += a[i] > a[j];
    }
    const double s = inversions % 2 ? -1 : 1;
    sign.chi.push_back(s), standard.chi.push_back(fixed - 1), other.chi.push_back(s * (fixed - 1));
    two.chi.push_back(fixed == 1 ? -1 : s > 0 ? 2 : 0);  // 3-cycles; identity and double transpositions; odd ones
  }
  g.irreps = n == 3 ? std::vector{sign, standard} : std::vector{sign, two, standard, other};
  g.finish();
  return g;
}

/// "Z23", "2x3x4", "S4", "table:FILE" (M, then M x M numbers).
inline Group parse_group(const std::string& s, Where at = Where::current()) {
  if (s.starts_with("S") && s.size() == 2) return symmetric(s[1] - '0', at);
  if (s.starts_with("table:")) {
    std::ifstream f(s.substr(6));
    Group g;
    g.name = s;
    f >> g.M;
    for (int64_t x = 0; f >> x;) g.table.push_back(x);
    bool good = g.M > 0 && static_cast<int64_t>(g.table.size()) == g.M * g.M;
    for (const int64_t x : g.table) good = good && x >= 0 && x < g.M;
    if (!good) fail("--group", "not a Cayley table", {{"file", s.substr(6)}}, "M, then M x M numbers 0..M-1", at);
    g.finish(at);
    return g;
  }
  std::vector<int64_t> m;
  std::string digits;
  for (const char c : (s.starts_with("Z") ? s.substr(1) : s) + "x") {
    if (c >= '0' && c <= '9' && digits.size() < 4) {
      digits += c;
      continue;
    }
    if (c != 'x' || digits.empty() || std::stoll(digits) < 2)
      fail("--group", "not a group", {{"group", s}}, "Z23, 2x3x4, S3, S4 or table:FILE", at);
    m.push_back(std::stoll(digits)), digits.clear();
  }
  return cyclic(m);
}

/// Pairs of the group, in the order of one permutation.
template <class T, class D>
struct Pairs {
  Tensor<T, D> X, Y;       // [n, 2M], [n, M], one-hot
  Tensor<int64_t, D> c;    // [n]
  int64_t size() const { return c.numel(); }
  Pairs part(int64_t from, int64_t n) const { return {narrow(X, 0, from, n), narrow(Y, 0, from, n), narrow(c, 0, from, n)}; }
};
template <class T, class D>
Pairs<T, D> pairs(const Group& g, const Tensor<int64_t>& order) {
  std::vector<int64_t> a, b, c;
  for (const int64_t i : order.to_vector()) a.push_back(i / g.M), b.push_back(i % g.M), c.push_back(g.table[static_cast<std::size_t>(i)]);
  const auto hot = [&](const std::vector<int64_t>& v) { return one_hot<T>(from_vector(v).template to<D>(), g.M); };
  return {cat(std::vector{hot(a), hot(b)}, 1), hot(c), from_vector(c).template to<D>()};
}
template <class T, class D>
Pairs<T, D> all_pairs(const Group& g) {
  return pairs<T, D>(g, arange<int64_t>(static_cast<double>(g.M * g.M)));
}

template <class T, class D>
Tensor<T, D> act(const std::string& name, const Tensor<T, D>& u) {
  return name == "square" ? square(u) : name == "relu" ? relu(u) : name == "silu" ? silu(u) : square(relu(u));
}
/// P x: columns centred over the samples.
template <class T, class D>
Tensor<T, D> centred(const Tensor<T, D>& x) {
  return x - mean(x, 0, true);
}

template <class T = float, class D = Cpu>
struct Net {
  using value_type = T;
  using device_type = D;
  std::string sigma = "square";
  nn::Linear<T, D> W, V;                  // [K, 2M], [M, K]: uniform in +-1/sqrt(fan_in), no biases
  std::vector<nn::Linear<T, D>> deeper;   // x <- sigma(x + L x), [K, K]

  Net(int64_t M, int64_t K, std::string act = "square", int layers = 0)
      : sigma(std::move(act)), W(2 * M, K, false), V(K, M, false) {
    for (int l = 0; l < layers; ++l) deeper.emplace_back(K, K, false);
  }
  void visit(auto&& f) {
    f("W", W), f("V", V);
    for (std::size_t l = 0; l < deeper.size(); ++l) f("L" + std::to_string(l), deeper[l]);
  }
  Tensor<T, D> features(const Tensor<T, D>& X) const {
    auto F = act(sigma, W(X));
    for (const auto& L : deeper) F = act(sigma, F + L(F));
    return F;
  }
};

/// L = mean_i (sum_m o'_im^2 - 2 o'_{i,c_i}) + 1 - 1/M, with o' = o - mean over classes: |o' - (y - 1/M)|^2.
template <class T, class D>
Tensor<T, D> zero_mean_squares(const Tensor<T, D>& o, const Tensor<T, D>& Y) {
  const auto centre = o - mean(o, 1, true);
  return mean(sum(square(centre) - 2 * (centre * Y), 1)) + (1 - 1.0 / static_cast<double>(o.shape()[1]));
}

template <class T, class D>
Tensor<T, D> ridge_inverse(const Tensor<T, D>& S, double eta) {
  return inverse(S + eta * eye<T, D>(S.shape()[0]));
}
/// V_r = (F~^T F~ + eta I)^-1 F~^T Y~ = F~^T (F~ F~^T + eta I)^-1 Y~, the smaller system of the two: [K, M].
template <class T, class D>
Tensor<T, D> ridge(const Tensor<T, D>& F, const Tensor<T, D>& Y, double eta) {
  const auto f = centred(F), y = centred(Y), ft = transpose(f, 0, 1);
  const int64_t n = f.shape()[0], K = f.shape()[1];
  if (n < K) return matmul(ft, solve(matmul(f, ft) + eta * eye<T, D>(n), y));
  return solve(matmul(ft, f) + eta * eye<T, D>(K), matmul(ft, y));
}
/// (L1), right side: eta A Y~ Y~^T A F~ with A = (F~ F~^T + eta I)^-1: [n, K].
template <class T, class D>
Tensor<T, D> G_F(const Tensor<T, D>& F, const Tensor<T, D>& Y, double eta) {
  const auto f = centred(F), y = centred(Y);
  const auto A = matmul(f, transpose(f, 0, 1)) + eta * eye<T, D>(f.shape()[0]);
  return eta * matmul(solve(A, y), matmul(transpose(y, 0, 1), solve(A, f)));
}
/// (L1), left side: -dJ/dF by autograd, J = 1/2 |P (Y - F V_r)|^2 with V_r held fixed.
template <class T, class D>
Tensor<T, D> G_F_by_autograd(const Tensor<T, D>& F0, const Tensor<T, D>& Y, double eta) {
  auto F = F0.clone();
  F.requires_grad_();
  const auto V = ridge(F0, Y, eta);
  return grad(0.5 * sum(square(centred(Y - matmul(F, V)))), F) * -1.0;
}

/// E(w) for each row of W [K, 2M]: [K].
template <class T, class D>
Tensor<T, D> energy(const Tensor<T, D>& W, const Pairs<T, D>& p) {
  return 0.5 * sum(square(matmul(transpose(centred(p.Y), 0, 1), square(linear(p.X, W)))), 0);
}
template <class T, class D>
Tensor<T, D> unit_rows(const Tensor<T, D>& W) {
  return W / sqrt(sum(square(W), 1, true));
}
/// Projected gradient ascent w <- unit(w + step dE/dw): at a maximum |dE/dw| = 4 E, at most 2 M.
template <class T, class D>
Tensor<T, D> ascend(Tensor<T, D> W, const Pairs<T, D>& p, int steps) {
  const double step = 2.0 / static_cast<double>(p.Y.shape()[1]);
  W = unit_rows(W);
  for (int k = 0; k < steps; ++k) {
    auto w = W.detach();
    w.requires_grad_();
    const auto g = grad(sum(energy(w, p)), w);
    W = unit_rows(W + step * g);
  }
  return W;
}
/// The repository's Newton-Schulz coefficients, one triple a step.
inline const std::vector<std::array<double, 3>> kNewtonSchulz = {
    {4.01, -9.22, 5.80}, {3.49, -6.38, 3.23}, {3.34, -6.21, 3.20}, {3.64, -7.48, 4.43}, {3.46, -5.35, 2.85}};
inline optim::MuonOptions muon_options(double lr, double decay) {
  return {.lr = lr, .momentum = 0.99, .weight_decay = decay, .nesterov = false, .schedule = kNewtonSchulz,
          .scale = optim::MuonOptions::Scale::none};
}
/// The same ascent with Muon's step, rows brought back to length 1.
template <class T, class D>
Tensor<T, D> ascend_muon(const Tensor<T, D>& start, const Pairs<T, D>& p, int steps, double lr) {
  auto W = unit_rows(start).detach();
  W.requires_grad_();
  optim::Muon<T, D> opt(std::vector{W}, muon_options(lr, 0));
  for (int k = 0; k < steps; ++k) {
    opt.zero_grad();
    (sum(energy(W, p)) * -1.0).backward();
    opt.step();
    const NoGrad guard;
    W.copy_(unit_rows(W));
  }
  return W.detach();
}

/// |P_k u|^2 for every irrep k of both halves of each row, P_k(a, b) = d_k / M chi_k(a^-1 b): [K, irreps].
template <class T, class D>
Tensor<T, D> spectrum(const Tensor<T, D>& W, const Group& g) {
  const int64_t K = W.shape()[0], R = static_cast<int64_t>(g.irreps.size());
  std::vector<T> P;  // [M, R, M]
  for (int64_t a = 0; a < g.M; ++a)
    for (const Irrep& k : g.irreps)
      for (int64_t b = 0; b < g.M; ++b)
        P.push_back(static_cast<T>(static_cast<double>(k.d) / static_cast<double>(g.M) *
                                   k.chi[static_cast<std::size_t>(g.times(g.inverse[static_cast<std::size_t>(a)], b))]));
  const auto projected = matmul(W.reshape({2 * K, g.M}), from_vector(P, {g.M, R * g.M}).template to<D>());
  return sum(sum(square(projected).reshape({K, 2, R, g.M}), 3), 1);
}
struct Coverage {
  int64_t irreps = 0, active = 0;  // distinct dominant irreps of nodes with |w| > 0.05 and purity > 0.7; nodes with |w| > 0.05
  double purity = 0, least = 1;    // mean and least of the active nodes
  std::vector<int64_t> dominant;   // of every node
};
template <class T, class D>
Coverage coverage(const Tensor<T, D>& W, const Group& g) {
  Coverage r;
  if (g.irreps.empty()) return r;
  const auto s = spectrum(W, g);
  const auto best = amax(s, 1).to_vector(), total = sum(s, 1).to_vector(), length = sum(square(W), 1).to_vector();
  r.dominant = argmax(s, 1).to_vector();
  std::vector<bool> seen(g.irreps.size(), false);
  for (std::size_t j = 0; j < best.size(); ++j) {
    if (length[j] <= T(0.05 * 0.05)) continue;
    const double purity = static_cast<double>(best[j] / total[j]);
    ++r.active, r.purity += purity, r.least = std::min(r.least, purity);
    if (purity > 0.7) seen[static_cast<std::size_t>(r.dominant[j])] = true;
  }
  r.purity /= static_cast<double>(std::max<int64_t>(r.active, 1));
  r.irreps = std::count(seen.begin(), seen.end(), true);
  return r;
}
/// Distinct ones of m in K uniform draws.
inline double coupons(double m, double K) { return m * (1 - std::pow(1 - 1 / m, K)); }

/// Stage III: for all pairs of nodes the share with sign(B_jl) = -sign(s_jl), s_jl = f~_j^T R_jl f~_l, and the largest relative
/// distance of B_jl from -s_jl / ((s_jj + eta) (s_ll + eta) - s_jl^2), B = (F~^T F~ + eta I)^-1.
struct Repulsion {
  double share = 0, error = 0;
};
template <class T, class D>
Repulsion repulsion(const Tensor<T, D>& F, double eta) {
  const auto f = centred(F);
  const int64_t n = f.shape()[0], K = f.shape()[1];
  const auto B = ridge_inverse(matmul(transpose(f, 0, 1), f), eta);
  Repulsion r;
  double pairs = 0;
  for (int64_t j = 0; j < K; ++j)
    for (int64_t l = j + 1; l < K; ++l) {
      std::vector<int64_t> others;
      for (int64_t k = 0; k < K; ++k)
        if (k != j && k != l) others.push_back(k);
      const auto fr = index_select(f, 1, from_vector(others).template to<D>()), frt = transpose(fr, 0, 1);
      const auto R = eye<T, D>(n) - matmul(matmul(fr, ridge_inverse(matmul(frt, fr), eta)), frt);
      const auto two = index_select(f, 1, from_vector(std::vector<int64_t>{j, l}).template to<D>());
      const auto s = matmul(transpose(two, 0, 1), matmul(R, two)).to_vector();
      const double b = static_cast<double>(select(select(B, 0, j), 0, l).item()), sjl = static_cast<double>(s[1]);
      const double expected = -sjl / ((static_cast<double>(s[0]) + eta) * (static_cast<double>(s[3]) + eta) - sjl * sjl);
      r.share += (b > 0) == (sjl < 0), pairs += 1;
      r.error = std::max(r.error, std::abs(b - expected) / std::abs(expected));
    }
  r.share /= pairs;
  return r;
}
/// Mean |off-diagonal| over mean diagonal of a square matrix.
template <class T, class D>
double off_diagonal(const Tensor<T, D>& S) {
  const double n = static_cast<double>(S.shape()[0]), d = static_cast<double>(sum(abs(diagonal(S))).item());
  return n > 1 ? (static_cast<double>(sum(abs(S)).item()) - d) / (n - 1) / d : 0;
}

}  // namespace li2
