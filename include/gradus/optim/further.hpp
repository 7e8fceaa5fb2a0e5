// Further methods, composed of operators: NovoGrad, SM3, AggMo, MARS, PNM, Kate, Adam-mini, CAME, AdaHessian, GaLore, Scion.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <gradus/ops/linalg.hpp>
#include <gradus/optim/matrix.hpp>

namespace gradus::optim {

struct NovogradOptions {
  static constexpr const char* name = "Novograd";
  double lr = 1e-3, beta1 = 0.95, beta2 = 0.98, eps = 1e-8, weight_decay = 0;
  bool allow_missing_grad = false;
  void check(Where at) const { detail::check_adam(*this, at); }
};
/// One second moment a parameter: v = beta2 v + (1 - beta2) |g|^2 (|g|^2 at first);  m = beta1 m + g / (sqrt(v) + eps) + weight_decay p;
/// p -= lr m.  Ginsburg et al. 2019, algorithm 1.
template <class T = float, class D = Cpu>
class Novograd : public Optimizer<T, D, NovogradOptions> {
 public:
  using Optimizer<T, D, NovogradOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->each(at, [&](const NovogradOptions& o, double lr, std::size_t i, auto& p, auto& g, int64_t t) {
      auto &m = this->state_or_zeros(m_, i, at), &v = this->state_or_zeros(v_, i, Shape{}, at);
      detail::average(v, sum(square(g, at), {}, false, at), t == 1 ? 0 : o.beta2, at);
      mul_(m, o.beta1, at);
      add_(m, add(div(g, add(sqrt(v, at), o.eps, at), at), mul(p, o.weight_decay, at), at), at);
      detail::add_scaled(p, m, -lr, at);
    });
  }

 private:
  int m_ = this->slot("exp_avg"), v_ = this->slot("exp_avg_sq", false);
};

struct Sm3Options {
  static constexpr const char* name = "Sm3";
  double lr = 1e-1, momentum = 0, eps = 1e-30;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_beta(name, "momentum", momentum, at);
    detail::check_not_negative(name, "eps", eps, at);
  }
};
/// Adagrad whose sums are kept by row and column only: v_ij = min(r_i, c_j) + g_ij^2;  r_i = max_j v_ij, c_j = max_i v_ij;
/// p -= lr g / sqrt(v); momentum averages the steps.  Anil et al. 2019, SM3-II. Other ranks: matrices [d0, the rest].
template <class T = float, class D = Cpu>
class Sm3 : public Optimizer<T, D, Sm3Options> {
 public:
  using Optimizer<T, D, Sm3Options>::Optimizer;

  void step(Where at = Where::current()) {
    this->each(at, [&](const Sm3Options& o, double lr, std::size_t i, auto& p, auto& g0, int64_t) {
      if (p.numel() == 0) return;
      const int64_t M = p.rank() > 0 ? p.shape()[0] : 1, N = p.numel() / M;
      const auto g = gradus::reshape(g0, Shape{M, N}, at);
      auto &r = this->state_or_zeros(r_, i, Shape{M, 1}, at), &c = this->state_or_zeros(c_, i, Shape{1, N}, at);
      const auto v = add(minimum(r, c, at), square(g, at), at);
      r = amax(v, {1}, true, at), c = amax(v, {0}, true, at);
      auto u = gradus::reshape(div(g, sqrt(add(v, o.eps, at), at), at), p.shape(), at);
      if (o.momentum > 0) {
        auto& b = this->state_or_zeros(b_, i, at);
        detail::average(b, u, o.momentum, at);
        u = b;
      }
      detail::add_scaled(p, u, -lr, at);
    });
  }

 private:
  int r_ = this->slot("accumulator_0", false), c_ = this->slot("accumulator_1", false), b_ = this->slot("momentum_buffer");
};

struct AggmoOptions {
  static constexpr const char* name = "Aggmo";
  double lr = 1e-1, weight_decay = 0;
  std::array<double, 3> betas = {0, 0.9, 0.99};
  bool allow_missing_grad = false;
  void check(Where at) const {
    for (const double b : betas) detail::check_beta(name, "betas", b, at);
    detail::check_not_negative(name, "weight_decay", weight_decay, at);
  }
};
/// Three velocities at once: b_k = beta_k b_k + g;  p -= lr / 3 sum b_k.  Lucas et al. 2019, eq. 3.
template <class T = float, class D = Cpu>
class Aggmo : public Optimizer<T, D, AggmoOptions> {
 public:
  using Optimizer<T, D, AggmoOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->each(at, [&](const AggmoOptions& o, double lr, std::size_t i, auto& p, auto& g0, int64_t) {
      const auto g = o.weight_decay != 0 ? add(g0, mul(p, o.weight_decay, at), at) : g0;
      for (std::size_t k = 0; k < 3; ++k) {
        auto& b = this->state_or_zeros(b_[k], i, at);
        mul_(b, o.betas[k], at);
        add_(b, g, at);
        detail::add_scaled(p, b, -lr / 3, at);
      }
    });
  }

 private:
  std::array<int, 3> b_ = {this->slot("momentum_buffer_0"), this->slot("momentum_buffer_1"), this->slot("momentum_buffer_2")};
};

struct MarsOptions {
  static constexpr const char* name = "Mars";
  double lr = 3e-3, beta1 = 0.95, beta2 = 0.99, gamma = 0.025, eps = 1e-8, weight_decay = 0;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_adam(*this, at);
    detail::check_not_negative(name, "gamma", gamma, at);
  }
};
/// AdamW on c = g + gamma beta1 / (1 - beta1) (g - g_before), scaled down to length 1 where it is longer: a variance-reduced gradient.
/// Yuan et al. 2024, algorithm 2 with the last gradient in place of one on the new batch (their MARS-approx).
template <class T = float, class D = Cpu>
class Mars : public Optimizer<T, D, MarsOptions> {
 public:
  using Optimizer<T, D, MarsOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->each(at, [&](const MarsOptions& o, double lr, std::size_t i, auto& p, auto& g, int64_t t) {
      auto &m = this->state_or_zeros(m_, i, at), &v = this->state_or_zeros(v_, i, at), &before = this->state(before_, i);
      auto c = before.defined() ? add(g, mul(sub(g, before, at), o.gamma * o.beta1 / (1 - o.beta1), at), at) : g;
      before = g.clone(at);
      c = div(c, clamp(detail::norm_of(c, at), 1, HUGE_VAL, at), at);
      detail::average(m, c, o.beta1, at);
      detail::average(v, square(c, at), o.beta2, at);
      mul_(p, 1 - lr * o.weight_decay, at);
      const auto root = add(sqrt(div(v, 1 - std::pow(o.beta2, t), at), at), o.eps, at);
      detail::add_scaled(p, div(m, root, at), -lr / (1 - std::pow(o.beta1, t)), at);
    });
  }

 private:
  int m_ = this->slot("exp_avg"), v_ = this->slot("exp_avg_sq"), before_ = this->slot("last_grad");
};

struct PnmOptions {
  static constexpr const char* name = "Pnm";
  double lr = 1e-2, beta0 = 1, beta1 = 0.9, weight_decay = 0;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_beta(name, "beta1", beta1, at);
    detail::check_not_negative(name, "beta0", beta0, at);
    detail::check_not_negative(name, "weight_decay", weight_decay, at);
  }
};
/// Positive-negative momentum: two averages in turns, m_t = beta1^2 m_{t-2} + (1 - beta1^2) g;
/// p -= lr ((1 + beta0) m_t - beta0 m_{t-1}) / sqrt((1 + beta0)^2 + beta0^2).  Xie et al. 2021, algorithm 1; decoupled decay.
template <class T = float, class D = Cpu>
class Pnm : public Optimizer<T, D, PnmOptions> {
 public:
  using Optimizer<T, D, PnmOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->each(at, [&](const PnmOptions& o, double lr, std::size_t i, auto& p, auto& g, int64_t t) {
      auto &now = this->state_or_zeros(t % 2 ? odd_ : even_, i, at), &last = this->state_or_zeros(t % 2 ? even_ : odd_, i, at);
      detail::average(now, g, o.beta1 * o.beta1, at);
      mul_(p, 1 - lr * o.weight_decay, at);
      const double scale = lr / std::sqrt((1 + o.beta0) * (1 + o.beta0) + o.beta0 * o.beta0);
      detail::add_scaled(p, now, -scale * (1 + o.beta0), at);
      detail::add_scaled(p, last, scale * o.beta0, at);
    });
  }

 private:
  int odd_ = this->slot("pos_momentum"), even_ = this->slot("neg_momentum");
};

struct KateOptions {
  static constexpr const char* name = "Kate";
  double lr = 1e-3, eta = 1e-1, eps = 1e-8;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_not_negative(name, "eta", eta, at);
    detail::check_not_negative(name, "eps", eps, at);
  }
};
/// Scale-invariant Adagrad without a root below: b = b + g^2;  m = m + eta g^2 + g^2 / b;  p -= lr sqrt(m) g / (b + eps).
/// Choudhury et al. 2024, algorithm 1.
template <class T = float, class D = Cpu>
class Kate : public Optimizer<T, D, KateOptions> {
 public:
  using Optimizer<T, D, KateOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->each(at, [&](const KateOptions& o, double lr, std::size_t i, auto& p, auto& g, int64_t) {
      auto &m = this->state_or_zeros(m_, i, at), &b = this->state_or_zeros(b_, i, at);
      const auto g2 = square(g, at);
      add_(b, g2, at);
      const auto below = add(b, o.eps, at);
      add_(m, add(mul(g2, o.eta, at), div(g2, below, at), at), at);
      detail::add_scaled(p, div(mul(sqrt(m, at), g, at), below, at), -lr, at);
    });
  }

 private:
  int m_ = this->slot("m"), b_ = this->slot("b");
};

struct AdamMiniOptions {
  static constexpr const char* name = "AdamMini";
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool whole = false;  ///< one block a parameter, not one a row
  bool allow_missing_grad = false;
  void check(Where at) const { detail::check_adam(*this, at); }
};
/// AdamW with one second moment for each output unit: v = beta2 v + (1 - beta2) mean of g^2 over a block, which is a row [out, ...]
/// or a whole vector.  Zhang et al. 2024, algorithm 1.
template <class T = float, class D = Cpu>
class AdamMini : public Optimizer<T, D, AdamMiniOptions> {
 public:
  using Optimizer<T, D, AdamMiniOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->each(at, [&](const AdamMiniOptions& o, double lr, std::size_t i, auto& p, auto& g, int64_t t) {
      if (p.numel() == 0) return;
      Shape dims, block = p.shape();
      for (int d = o.whole || p.rank() < 2 ? 0 : 1; d < p.rank(); ++d) dims.push_back(d), block[d] = 1;
      auto &m = this->state_or_zeros(m_, i, at), &v = this->state_or_zeros(v_, i, block, at);
      detail::average(m, g, o.beta1, at);
      detail::average(v, dims.rank() > 0 ? mean(square(g, at), dims, true, at) : square(g, at), o.beta2, at);
      mul_(p, 1 - lr * o.weight_decay, at);
      const auto root = add(sqrt(div(v, 1 - std::pow(o.beta2, t), at), at), o.eps, at);
      detail::add_scaled(p, div(m, root, at), -lr / (1 - std::pow(o.beta1, t)), at);
    });
  }

 private:
  int m_ = this->slot("exp_avg"), v_ = this->slot("exp_avg_sq", false);
};

struct CameOptions {
  static constexpr const char* name = "Came";
  double lr = 2e-4, beta1 = 0.9, beta2 = 0.999, beta3 = 0.9999, eps = 1e-30, eps2 = 1e-16, clip = 1, weight_decay = 0;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_adam(*this, at);
    detail::check_beta(name, "beta3", beta3, at);
    detail::check_positive(name, "clip", clip, at);
  }
};
/// Adafactor with momentum and a factored confidence: u = g / sqrt(factors of g^2 + eps), scaled to rms <= clip;  m = beta1 m + (1 - beta1) u;
/// p -= lr m / sqrt(factors of (u - m)^2 + eps2). Vectors: p -= lr m.  Luo et al. 2023, algorithm 2.
template <class T = float, class D = Cpu>
class Came : public Optimizer<T, D, CameOptions> {
 public:
  using Optimizer<T, D, CameOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->each(at, [&](const CameOptions& o, double lr, std::size_t i, auto& p, auto& g, int64_t) {
      if (p.numel() == 0) return;
      const bool factored = p.rank() > 1;
      const auto g2 = add(square(g, at), o.eps, at);
      auto u = mul(g, rsqrt(factored ? product(row_, column_, i, g2, o.beta2, at) : full(i, g2, o.beta2, at), at), at);
      const double size = std::sqrt(static_cast<double>(p.numel())) * o.clip;
      u = div(u, clamp(div(detail::norm_of(u, at), size, at), 1, HUGE_VAL, at), at);
      auto& m = this->state_or_zeros(m_, i, at);
      detail::average(m, u, o.beta1, at);
      if (o.weight_decay != 0) mul_(p, 1 - lr * o.weight_decay, at);
      if (!factored) return detail::add_scaled(p, m, -lr, at);
      const auto doubt = add(square(sub(u, m, at), at), o.eps2, at);
      detail::add_scaled(p, mul(m, rsqrt(product(doubt_row_, doubt_column_, i, doubt, o.beta3, at), at), at), -lr, at);
    });
  }

 private:
  /// Averages of row and column means of x, and the matrix they stand for.
  template <class P>
  P product(int rows, int columns, std::size_t i, const P& x, double beta, Where at) {
    Shape r = x.shape(), c = x.shape();
    r[x.rank() - 1] = 1, c[x.rank() - 2] = 1;
    auto &row = this->state_or_zeros(rows, i, r, at), &column = this->state_or_zeros(columns, i, c, at);
    detail::average(row, mean(x, {-1}, true, at), beta, at);
    detail::average(column, mean(x, {-2}, true, at), beta, at);
    return mul(div(row, mean(row, {-2}, true, at), at), column, at);
  }
  template <class P>
  P full(std::size_t i, const P& x, double beta, Where at) {
    auto& v = this->state_or_zeros(v_, i, at);
    detail::average(v, x, beta, at);
    return v;
  }
  int m_ = this->slot("exp_avg"), v_ = this->slot("exp_avg_sq", false);
  int row_ = this->slot("exp_avg_sq_row", false), column_ = this->slot("exp_avg_sq_col", false);
  int doubt_row_ = this->slot("exp_avg_res_row", false), doubt_column_ = this->slot("exp_avg_res_col", false);
};

struct AdahessianOptions {
  static constexpr const char* name = "Adahessian";
  double lr = 1e-1, beta1 = 0.9, beta2 = 0.999, eps = 1e-4, weight_decay = 0, power = 1;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_adam(*this, at);
    detail::check_in(name, "power", power, 0, 1, at);
  }
};
/// Adam with the Hessian's diagonal h in place of the gradient below: v = beta2 v + (1 - beta2) h^2;
/// p -= lr (m / c1) / ((v / c2)^{power / 2} + eps). Kernels of convolutions [out, in, ...] take the mean of |h| over their window.
/// Yao et al. 2021, algorithm 1.     opt.step(optim::hutchinson(loss, opt.params()));
template <class T = float, class D = Cpu>
class Adahessian : public Optimizer<T, D, AdahessianOptions> {
 public:
  using Optimizer<T, D, AdahessianOptions>::Optimizer;

  /// The gradients must be there as for any step; `diagonal` has a tensor for each parameter.
  void step(const std::vector<Tensor<T, D>>& diagonal, Where at = Where::current()) {
    if (diagonal.size() != this->params_.size())
      fail("Adahessian", "one diagonal for each parameter", {{"diagonals", std::to_string(diagonal.size())}},
           std::to_string(this->params_.size()), at);
    this->each(at, [&](const AdahessianOptions& o, double lr, std::size_t i, auto& p, auto& g, int64_t t) {
      auto h = cast<compute_t<T>>(diagonal[i], at);
      if (h.rank() > 2) {
        Shape window;
        for (int d = 2; d < h.rank(); ++d) window.push_back(d);
        h = mean(abs(h, at), window, true, at);
      }
      auto &m = this->state_or_zeros(m_, i, at), &v = this->state_or_zeros(v_, i, h.shape(), at);
      detail::average(m, g, o.beta1, at);
      detail::average(v, square(h, at), o.beta2, at);
      mul_(p, 1 - lr * o.weight_decay, at);
      const auto below = add(pow(div(v, 1 - std::pow(o.beta2, t), at), o.power / 2, at), o.eps, at);
      detail::add_scaled(p, div(m, below, at), -lr / (1 - std::pow(o.beta1, t)), at);
    });
  }

 private:
  int m_ = this->slot("exp_avg"), v_ = this->slot("exp_hessian_diag_sq", false);
};

struct GaloreOptions {
  static constexpr const char* name = "Galore";
  double lr = 1e-2, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0, scale = 0.25;
  int64_t rank = 128, every = 200;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_adam(*this, at);
    detail::check_in(name, "rank", static_cast<double>(rank), 1, HUGE_VAL, at);
    detail::check_in(name, "every", static_cast<double>(every), 1, HUGE_VAL, at);
  }
};
/// Adam on the gradient's projection onto its `rank` first singular vectors, which are found anew every `every` steps; the step is
/// projected back and scaled. Matrices with a smaller side above `rank`; others take plain Adam.  Zhao et al. 2024, algorithm 2.
template <class T = float, class D = Cpu>
class Galore : public Optimizer<T, D, GaloreOptions> {
 public:
  using Optimizer<T, D, GaloreOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->each(at, [&](const GaloreOptions& o, double lr, std::size_t i, auto& p, auto& g0, int64_t t) {
      const bool low = p.rank() == 2 && std::min(p.shape()[0], p.shape()[1]) > o.rank;
      auto g = g0;
      const bool left = low && p.shape()[0] <= p.shape()[1];
      if (low) {
        auto& q = this->state(q_, i);  // [M, r] or [N, r]
        if (!q.defined() || (t - 1) % o.every == 0)
          q = contiguous(narrow(svd(left ? g : contiguous(transpose(g, 0, 1, at), at), at).u, 1, 0, o.rank, 1, at), at);
        g = left ? matmul(transpose(q, 0, 1, at), g, at) : matmul(g, q, at);
      }
      auto &m = this->state_or_zeros(m_, i, g.shape(), at), &v = this->state_or_zeros(v_, i, g.shape(), at);
      detail::average(m, g, o.beta1, at);
      detail::average(v, square(g, at), o.beta2, at);
      auto u = div(div(m, 1 - std::pow(o.beta1, t), at), add(sqrt(div(v, 1 - std::pow(o.beta2, t), at), at), o.eps, at), at);
      if (low) {
        const auto& q = this->state(q_, i);
        u = mul(left ? matmul(q, u, at) : matmul(u, transpose(q, 0, 1, at), at), o.scale, at);
      }
      mul_(p, 1 - lr * o.weight_decay, at);
      detail::add_scaled(p, u, -lr, at);
    });
  }

 private:
  int m_ = this->slot("exp_avg", false), v_ = this->slot("exp_avg_sq", false), q_ = this->slot("ortho_matrix", false);
};

struct ScionOptions {
  static constexpr const char* name = "Scion";
  double lr = 1e-3, alpha = 0.1, radius = 50;
  bool sign = false;         ///< the ball of the largest entry in place of the spectral one: for a last layer
  bool constrained = true;   ///< stay inside the ball; false: no decay
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_in(name, "alpha", alpha, 0, 1, at);
    detail::check_positive(name, "radius", radius, at);
  }
};
/// Steps to the corner of a norm ball that the averaged gradient points to: m = (1 - alpha) m + alpha g;  p = (1 - lr) p - lr radius u, with
/// u = sqrt(M / N) NS(m) for matrices [M, N] (spectral), m / rms(m) for vectors, sign(m) / N with `sign`.  Pethick et al. 2025, algorithms 1 and 2.
template <class T = float, class D = Cpu>
class Scion : public Optimizer<T, D, ScionOptions> {
 public:
  using Optimizer<T, D, ScionOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->each(at, [&](const ScionOptions& o, double lr, std::size_t i, auto& p, auto& g, int64_t t) {
      if (p.numel() == 0) return;
      auto& m = this->state_or_zeros(m_, i, at);
      detail::average(m, g, t == 1 ? 0 : 1 - o.alpha, at);
      const int64_t M = p.rank() > 0 ? p.shape()[0] : 1, N = p.numel() / M;
      auto u = m;
      if (o.sign) u = mul(sign(m, at), 1 / static_cast<double>(N), at);
      else if (p.rank() < 2) u = div(m, clamp(div(detail::norm_of(m, at), std::sqrt(static_cast<double>(p.numel())), at), 1e-12, HUGE_VAL, at), at);
      else
        u = gradus::reshape(contiguous(mul(newton_schulz(gradus::reshape(m, Shape{M, N}, at), 5, {3.4445, -4.7750, 2.0315}, 1e-7, at),
                                           std::sqrt(static_cast<double>(M) / static_cast<double>(N)), at), at),
                            p.shape(), at);
      if (o.constrained) mul_(p, 1 - lr, at);
      detail::add_scaled(p, u, -lr * o.radius, at);
    });
  }

 private:
  int m_ = this->slot("momentum_buffer");
};

// clang-format off
template <nn::Module M> Novograd(M&, NovogradOptions = {}, Where = {}) -> Novograd<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Novograd(std::vector<Tensor<T, D>>, NovogradOptions = {}, Where = {}) -> Novograd<T, D>;
template <nn::Module M> Sm3(M&, Sm3Options = {}, Where = {}) -> Sm3<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Sm3(std::vector<Tensor<T, D>>, Sm3Options = {}, Where = {}) -> Sm3<T, D>;
template <nn::Module M> Aggmo(M&, AggmoOptions = {}, Where = {}) -> Aggmo<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Aggmo(std::vector<Tensor<T, D>>, AggmoOptions = {}, Where = {}) -> Aggmo<T, D>;
template <nn::Module M> Mars(M&, MarsOptions = {}, Where = {}) -> Mars<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Mars(std::vector<Tensor<T, D>>, MarsOptions = {}, Where = {}) -> Mars<T, D>;
template <nn::Module M> Pnm(M&, PnmOptions = {}, Where = {}) -> Pnm<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Pnm(std::vector<Tensor<T, D>>, PnmOptions = {}, Where = {}) -> Pnm<T, D>;
template <nn::Module M> Kate(M&, KateOptions = {}, Where = {}) -> Kate<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Kate(std::vector<Tensor<T, D>>, KateOptions = {}, Where = {}) -> Kate<T, D>;
template <nn::Module M> AdamMini(M&, AdamMiniOptions = {}, Where = {}) -> AdamMini<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> AdamMini(std::vector<Tensor<T, D>>, AdamMiniOptions = {}, Where = {}) -> AdamMini<T, D>;
template <nn::Module M> Came(M&, CameOptions = {}, Where = {}) -> Came<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Came(std::vector<Tensor<T, D>>, CameOptions = {}, Where = {}) -> Came<T, D>;
template <nn::Module M> Adahessian(M&, AdahessianOptions = {}, Where = {}) -> Adahessian<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Adahessian(std::vector<Tensor<T, D>>, AdahessianOptions = {}, Where = {}) -> Adahessian<T, D>;
template <nn::Module M> Galore(M&, GaloreOptions = {}, Where = {}) -> Galore<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Galore(std::vector<Tensor<T, D>>, GaloreOptions = {}, Where = {}) -> Galore<T, D>;
template <nn::Module M> Scion(M&, ScionOptions = {}, Where = {}) -> Scion<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Scion(std::vector<Tensor<T, D>>, ScionOptions = {}, Where = {}) -> Scion<T, D>;
// clang-format on
}  // namespace gradus::optim
