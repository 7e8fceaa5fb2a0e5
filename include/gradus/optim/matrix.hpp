// Optimisers that see a parameter as a matrix: Muon (orthogonal steps), Shampoo and SOAP (Kronecker-factored preconditioners).
#pragma once
#include <array>
#include <cmath>
#include <vector>

#include <gradus/ops/linalg.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/optim/layerwise.hpp>

namespace gradus::optim {

/// The matrix nearest to g's orthogonal factor U V^T, by `steps` Newton-Schulz steps X = a X + (b A + c A^2) X, A = X X^T, from
/// X = g / max(|g|, eps). Jordan et al. 2024: their coefficients take all singular values to about [0.7, 1.2] in five steps
/// rather than to 1. g : [M, N], computed in g's dtype (the authors use bfloat16).
/// `schedule` holds an (a, b, c) of its own for each step.
template <class T, class D>
Tensor<T, D> newton_schulz(const Tensor<T, D>& g, const std::vector<std::array<double, 3>>& schedule, double eps = 1e-7,
                           Where at = Where::current()) {
  if (g.rank() != 2) fail("newton_schulz", "not a matrix", {{"g", describe(g)}}, "[M, N]", at);
  const bool tall = g.shape()[0] > g.shape()[1];
  auto x = tall ? transpose(g, 0, 1, at) : g;  // the smaller Gram matrix
  x = div(x, clamp(detail::norm_of(x, at), eps, HUGE_VAL, at), at);
  for (const auto& abc : schedule) {
    const auto a = matmul(x, transpose(x, 0, 1, at), at);
    const auto b = add(mul(a, abc[1], at), mul(matmul(a, a, at), abc[2], at), at);
    x = add(mul(x, abc[0], at), matmul(b, x, at), at);
  }
  return tall ? transpose(x, 0, 1, at) : x;
}
/// The same (a, b, c) in all steps.
template <class T, class D>
Tensor<T, D> newton_schulz(const Tensor<T, D>& g, int steps = 5, std::array<double, 3> abc = {3.4445, -4.7750, 2.0315},
                           double eps = 1e-7, Where at = Where::current()) {
  return newton_schulz(g, std::vector<std::array<double, 3>>(static_cast<std::size_t>(steps), abc), eps, at);
}

struct MuonOptions {
  static constexpr const char* name = "Muon";
  double lr = 1e-3, momentum = 0.95, weight_decay = 0.1, eps = 1e-7;
  bool nesterov = true;
  int steps = 5;
  std::array<double, 3> coefficients = {3.4445, -4.7750, 2.0315};
  std::vector<std::array<double, 3>> schedule = {};  ///< not empty: (a, b, c) of each step, instead of `steps` and `coefficients`
  enum class Scale { original, match_rms_adamw, none } scale = Scale::original;
  /// Parameters that are no matrices take AdamW steps with these; so does a group whose `adamw` is set (embeddings, heads).
  bool adamw = false;
  double adamw_lr = 3e-4, beta1 = 0.9, beta2 = 0.95, adamw_eps = 1e-10;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_beta(name, "momentum", momentum, at);
    detail::check_beta(name, "beta1", beta1, at);
    detail::check_beta(name, "beta2", beta2, at);
    detail::check_not_negative(name, "weight_decay", weight_decay, at);
    detail::check_not_negative(name, "adamw_lr", adamw_lr, at);
    detail::check_in(name, "steps", steps, 1, 99, at);
  }
};
/// b = momentum b + (1 - momentum) g;  p -= lr s NS(nesterov ? momentum b + (1 - momentum) g : b), where NS makes the step
/// orthogonal and s = sqrt(max(1, M / N)) (original), 0.2 sqrt(max(M, N)) (as large as AdamW's, Liu et al. 2025) or 1 (none).
/// Jordan et al. 2024 (kellerjordan.github.io/posts/muon). Convolutions are matrices [out, in kh kw]; vectors and scalars take
/// AdamW steps, whose rate follows set_lr(): adamw_lr is the rate at the learning rate the optimiser began with.
template <class T = float, class D = Cpu>
class Muon : public Optimizer<T, D, MuonOptions> {
 public:
  using Optimizer<T, D, MuonOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->each(at, [&](const MuonOptions& o, double lr, std::size_t i, auto& p, auto& g, int64_t t) {
      if (o.adamw || p.rank() < 2) return adamw(o, lr, i, p, g, t, at);
      mul_(p, 1 - lr * o.weight_decay, at);
      auto& b = this->state_or_zeros(b_, i, at);
      detail::average(b, g, o.momentum, at);
      const auto u = o.nesterov ? lerp(g, b, o.momentum, at) : b;
      const int64_t M = p.shape()[0], N = M > 0 ? p.numel() / M : 0;
      if (p.numel() == 0) return;
      const auto matrix = gradus::reshape(u, Shape{M, N}, at);
      const auto step = o.schedule.empty() ? newton_schulz(matrix, o.steps, o.coefficients, o.eps, at)
                                           : newton_schulz(matrix, o.schedule, o.eps, at);
      const double rows = static_cast<double>(M), columns = static_cast<double>(N);
      const double s = o.scale == MuonOptions::Scale::none       ? 1
                       : o.scale == MuonOptions::Scale::original ? std::sqrt(std::max(1.0, rows / columns))
                                                                 : 0.2 * std::sqrt(std::max(rows, columns));
      detail::add_scaled(p, gradus::reshape(contiguous(step, at), p.shape(), at), -lr * s, at);
    });
  }

 private:
  template <class P>
  void adamw(const MuonOptions& o, double lr, std::size_t i, P& p, const P& g, int64_t t, Where at) {
    const double rate = first_lr_ > 0 ? o.adamw_lr * lr / first_lr_ : o.adamw_lr;
    auto &m = this->state_or_zeros(m_, i, at), &v = this->state_or_zeros(v_, i, at);
    mul_(p, 1 - rate * o.weight_decay, at);
    detail::average(m, g, o.beta1, at);
    detail::average(v, square(g, at), o.beta2, at);
    const auto root = add(sqrt(div(v, 1 - std::pow(o.beta2, t), at), at), o.adamw_eps, at);
    detail::add_scaled(p, div(m, root, at), -rate / (1 - std::pow(o.beta1, t)), at);
  }
  int b_ = this->slot("momentum_buffer"), m_ = this->slot("exp_avg"), v_ = this->slot("exp_avg_sq");
  double first_lr_ = this->options.lr;
};

namespace detail {
/// x : [d0, d1, ...] as a matrix [d_k, the rest].
template <class C>
C unfold_at(const C& x, int k, Where at) {
  const int64_t n = x.shape()[k];
  return gradus::reshape(contiguous(movedim(x, k, 0, at), at), Shape{n, n > 0 ? x.numel() / n : 0}, at);
}
/// Multiplies dimension k of x by m : [d_k, d_k] from the left.
template <class C>
C multiply_at(const C& x, const C& m, int k, Where at) {
  Shape moved = x.shape();
  moved.erase(k);
  moved.insert(0, m.shape()[0]);
  const auto y = gradus::reshape(matmul(m, unfold_at(x, k, at), at), moved, at);
  return contiguous(movedim(y, 0, k, at), at);
}
inline constexpr int kMaxFactors = 4;
inline void check_factors(const char* op, const AnyTensor& p, Where at) {
  if (p.rank() > kMaxFactors)
    fail(op, "a parameter of too many dimensions", {{p.name().empty() ? "parameter" : p.name(), describe(p)}},
         "at most " + std::to_string(kMaxFactors) + " dimensions", at);
}
}  // namespace detail

struct ShampooOptions {
  static constexpr const char* name = "Shampoo";
  double lr = 1e-1, momentum = 0, weight_decay = 0, eps = 1e-4;
  int64_t every = 1;        ///< steps between new inverse roots
  int64_t max_dim = 8192;   ///< a longer dimension gets no factor
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_beta(name, "momentum", momentum, at);
    detail::check_not_negative(name, "weight_decay", weight_decay, at);
    detail::check_positive(name, "eps", eps, at);
    detail::check_in(name, "every", static_cast<double>(every), 1, HUGE_VAL, at);
  }
};
/// For each of a parameter's k dimensions a matrix H_d = eps I + sum of G_d G_d^T, with G_d the gradient unfolded along d;
/// the step is the gradient multiplied along each d by H_d^{-1/(2k)}.  Gupta, Koren, Singer 2018, algorithm 2 (for matrices
/// L^{-1/4} G R^{-1/4}, algorithm 1).
template <class T = float, class D = Cpu>
class Shampoo : public Optimizer<T, D, ShampooOptions> {
 public:
  using Optimizer<T, D, ShampooOptions>::Optimizer;

  void step(Where at = Where::current()) {
    for (const auto& p : this->params_) detail::check_factors("Shampoo", p, at);
    this->each(at, [&](const ShampooOptions& o, double lr, std::size_t i, auto& p, auto& g, int64_t t) {
      if (p.numel() == 0) return;
      if (o.weight_decay != 0) detail::add_scaled(g = g.clone(at), p, o.weight_decay, at);
      auto u = p.rank() == 0 ? gradus::reshape(g, Shape{1}, at) : g;
      const auto whole = u;
      for (int d = 0; d < u.rank(); ++d) {
        const int64_t n = whole.shape()[d];
        if (n > o.max_dim) continue;
        auto& h = this->state(factor_[static_cast<std::size_t>(d)], i);
        auto& root = this->state(root_[static_cast<std::size_t>(d)], i);
        if (!h.defined()) h = mul(eye<compute_t<T>, D>(n, n, at), o.eps, at);
        const auto f = detail::unfold_at(whole, d, at);
        add_(h, matmul(f, transpose(f, 0, 1, at), at), at);
        if (!root.defined() || (t - 1) % o.every == 0) {
          const auto [w, v] = eigh(h, at);  // h >= eps I; what rounding takes away is given back
          const auto powers = pow(clamp(w, o.eps, HUGE_VAL, at), -1.0 / (2 * whole.rank()), at);
          root = matmul(mul(v, unsqueeze(powers, 0, at), at), transpose(v, 0, 1, at), at);
        }
        u = detail::multiply_at(u, root, d, at);
      }
      u = gradus::reshape(u, p.shape(), at);
      if (o.momentum > 0) {
        auto& b = this->state_or_zeros(b_, i, at);
        mul_(b, o.momentum, at);
        add_(b, u, at);
        u = b;
      }
      detail::add_scaled(p, u, -lr, at);
    });
  }

 private:
  int b_ = this->slot("momentum_buffer");
  std::array<int, detail::kMaxFactors> factor_ = {this->slot("precond_0", false), this->slot("precond_1", false),
                                                  this->slot("precond_2", false), this->slot("precond_3", false)};
  std::array<int, detail::kMaxFactors> root_ = {this->slot("inv_precond_0", false), this->slot("inv_precond_1", false),
                                                this->slot("inv_precond_2", false), this->slot("inv_precond_3", false)};
};

struct SoapOptions {
  static constexpr const char* name = "Soap";
  double lr = 3e-3, beta1 = 0.95, beta2 = 0.95, shampoo_beta = 0.95, eps = 1e-8, weight_decay = 1e-2;
  int64_t every = 10;        ///< steps between new eigenbases
  int64_t max_dim = 10000;   ///< a longer dimension keeps its own basis
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_adam(*this, at);
    detail::check_beta(name, "shampoo_beta", shampoo_beta, at);
    detail::check_in(name, "every", static_cast<double>(every), 1, HUGE_VAL, at);
  }
};
/// Adam in the eigenbasis of Shampoo's factors.  Vyas et al. 2024, algorithm 3, with Adam's bias corrections: for a matrix
///     G' = QL^T G QR;  M = beta1 M + (1 - beta1) G;  V = beta2 V + (1 - beta2) G'^2;  p -= lr QL (M' / (sqrt(V) + eps)) QR^T
///     L = shampoo_beta L + (1 - shampoo_beta) G G^T; every `every` steps QL, _ = qr(L QL), one power iteration
/// The first step finds the bases by an eigendecomposition and leaves the parameter alone. Vectors and scalars take plain Adam.
template <class T = float, class D = Cpu>
class Soap : public Optimizer<T, D, SoapOptions> {
 public:
  using Optimizer<T, D, SoapOptions>::Optimizer;

  void step(Where at = Where::current()) {
    for (const auto& p : this->params_) detail::check_factors("Soap", p, at);
    this->each(at, [&](const SoapOptions& o, double lr, std::size_t i, auto& p, auto& g, int64_t t) {
      const bool factored = p.rank() >= 2 && p.numel() > 0;
      if (factored && t == 1) return first_step(o, i, g, at);
      const int64_t k = factored ? t - 1 : t;  // steps that have moved the parameter, this one included
      auto &m = this->state_or_zeros(m_, i, at), &v = this->state_or_zeros(v_, i, at);
      const auto turned = factored ? turn(o, i, g, true, at) : g;
      detail::average(m, g, o.beta1, at);
      detail::average(v, square(turned, at), o.beta2, at);
      auto u = div(factored ? turn(o, i, m, true, at) : m,
                   add(sqrt(div(v, 1 - std::pow(o.beta2, k), at), at), o.eps, at), at);
      if (factored) u = turn(o, i, u, false, at);
      mul_(p, 1 - lr * o.weight_decay, at);
      detail::add_scaled(p, u, -lr / (1 - std::pow(o.beta1, k)), at);
      if (!factored) return;
      for (int d = 0; d < p.rank(); ++d) {
        if (p.shape()[d] > o.max_dim) continue;
        auto &h = this->state(factor_[static_cast<std::size_t>(d)], i), &q = this->state(basis_[static_cast<std::size_t>(d)], i);
        const auto f = detail::unfold_at(g, d, at);
        detail::average(h, matmul(f, transpose(f, 0, 1, at), at), o.shampoo_beta, at);
        if (k % o.every == 0) q = qr(matmul(h, q, at), at).q;
      }
    });
  }

 private:
  template <class P>
  void first_step(const SoapOptions& o, std::size_t i, const P& g, Where at) {
    for (int d = 0; d < g.rank(); ++d) {
      if (g.shape()[d] > o.max_dim) continue;
      auto &h = this->state(factor_[static_cast<std::size_t>(d)], i), &q = this->state(basis_[static_cast<std::size_t>(d)], i);
      const auto f = detail::unfold_at(g, d, at);
      h = mul(matmul(f, transpose(f, 0, 1, at), at), 1 - o.shampoo_beta, at);
      q = eigh(h, at).vectors;
    }
  }
  /// Into the eigenbases, or back.
  template <class P>
  P turn(const SoapOptions& o, std::size_t i, P x, bool into, Where at) {
    for (int d = 0; d < x.rank(); ++d) {
      if (x.shape()[d] > o.max_dim) continue;
      const auto& q = this->state(basis_[static_cast<std::size_t>(d)], i);
      x = detail::multiply_at(x, into ? P(transpose(q, 0, 1, at)) : q, d, at);
    }
    return x;
  }
  int m_ = this->slot("exp_avg"), v_ = this->slot("exp_avg_sq");
  std::array<int, detail::kMaxFactors> factor_ = {this->slot("GG_0", false), this->slot("GG_1", false),
                                                  this->slot("GG_2", false), this->slot("GG_3", false)};
  std::array<int, detail::kMaxFactors> basis_ = {this->slot("Q_0", false), this->slot("Q_1", false), this->slot("Q_2", false),
                                                 this->slot("Q_3", false)};
};

// clang-format off
template <nn::Module M> Muon(M&, MuonOptions = {}, Where = {}) -> Muon<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Muon(std::vector<Tensor<T, D>>, MuonOptions = {}, Where = {}) -> Muon<T, D>;
template <nn::Module M> Shampoo(M&, ShampooOptions = {}, Where = {}) -> Shampoo<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Shampoo(std::vector<Tensor<T, D>>, ShampooOptions = {}, Where = {}) -> Shampoo<T, D>;
template <nn::Module M> Soap(M&, SoapOptions = {}, Where = {}) -> Soap<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Soap(std::vector<Tensor<T, D>>, SoapOptions = {}, Where = {}) -> Soap<T, D>;
// clang-format on

}  // namespace gradus::optim
