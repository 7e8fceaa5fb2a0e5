// Steps scaled by layer-wise norms (LARS, LAMB), and factored second moments (Adafactor). Composed of operators; nothing is read
// back to the host.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <gradus/ops/binary.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/ops/reduce.hpp>
#include <gradus/optim/adam.hpp>

namespace gradus::optim {

namespace detail {
/// |x| over all elements, a tensor of no dimensions.
template <class C>
C norm_of(const C& x, Where at) {
  return sqrt(sum(square(x, at), {}, false, at), at);
}
/// a / b where both are positive, else 1.
template <class C>
C ratio_or_one(const C& a, const C& b, Where at) {
  const auto both = logical_and(greater(a, 0, at), greater(b, 0, at), at);
  return where(both, div(a, where(both, b, 1.0, at), at), 1.0, at);
}
/// y += x a with a tensor a of no dimensions or a number.
template <class C, class A>
void add_scaled(C& y, const C& x, const A& a, Where at) {
  add_(y, mul(x, a, at), at);
}
/// y = b y + (1 - b) x, in place.
template <class C>
void average(C& y, const C& x, double b, Where at) {
  mul_(y, b, at);
  add_(y, mul(x, 1 - b, at), at);
}
}  // namespace detail

struct LambOptions {
  static constexpr const char* name = "Lamb";
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-6, weight_decay = 1e-2, max_norm = 10;
  bool adapt = true;  ///< false for a group that takes plain AdamW steps: biases, gains of norms
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_adam(*this, at);
    detail::check_positive(name, "max_norm", max_norm, at);
  }
};
/// u = (m / c1) / (sqrt(v / c2) + eps) + weight_decay p;  p -= lr phi(|p|) / |u| u,  phi(z) = min(z, max_norm), one ratio a
/// parameter; 1 where a norm is 0.  You et al. 2020, algorithm 2.
template <class T = float, class D = Cpu>
class Lamb : public Optimizer<T, D, LambOptions> {
 public:
  using Optimizer<T, D, LambOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->each(at, [&](const LambOptions& o, double lr, std::size_t i, auto& p, auto& g, int64_t t) {
      auto &m = this->state_or_zeros(m_, i, at), &v = this->state_or_zeros(v_, i, at);
      detail::average(m, g, o.beta1, at);
      detail::average(v, square(g, at), o.beta2, at);
      const auto root = add(sqrt(div(v, 1 - std::pow(o.beta2, t), at), at), o.eps, at);
      auto u = div(div(m, 1 - std::pow(o.beta1, t), at), root, at);
      if (o.weight_decay != 0) detail::add_scaled(u, p, o.weight_decay, at);
      if (o.adapt) {
        const auto size = clamp(detail::norm_of(p, at), 0, o.max_norm, at);
        u = mul(u, detail::ratio_or_one(size, detail::norm_of(u, at), at), at);
      }
      detail::add_scaled(p, u, -lr, at);
    });
  }

 private:
  int m_ = this->slot("exp_avg"), v_ = this->slot("exp_avg_sq");
};

struct LarsOptions {
  static constexpr const char* name = "Lars";
  double lr = 1e-1, momentum = 0.9, weight_decay = 1e-4, trust = 1e-3;
  bool adapt = true;  ///< false for a group that takes plain SGD steps
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_not_negative(name, "momentum", momentum, at);
    detail::check_not_negative(name, "weight_decay", weight_decay, at);
    detail::check_positive(name, "trust", trust, at);
  }
};
/// b = momentum b + lr l (g + weight_decay p),  l = trust |p| / (|g| + weight_decay |p|);  p -= b.  You, Gitman, Ginsburg 2017,
/// algorithm 1; l = 1 where a norm is 0.
template <class T = float, class D = Cpu>
class Lars : public Optimizer<T, D, LarsOptions> {
 public:
  using Optimizer<T, D, LarsOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->each(at, [&](const LarsOptions& o, double lr, std::size_t i, auto& p, auto& g, int64_t) {
      auto& b = this->state_or_zeros(b_, i, at);
      auto u = add(g, mul(p, o.weight_decay, at), at);
      if (o.adapt) {
        const auto size = detail::norm_of(p, at), slope = detail::norm_of(g, at);
        const auto both = logical_and(greater(size, 0, at), greater(slope, 0, at), at);
        const auto below = where(both, add(slope, mul(size, o.weight_decay, at), at), 1.0, at);
        u = mul(u, where(both, div(mul(size, o.trust, at), below, at), 1.0, at), at);
      }
      mul_(b, o.momentum, at);
      detail::add_scaled(b, u, lr, at);
      sub_(p, b, at);
    });
  }

 private:
  int b_ = this->slot("momentum_buffer");
};

struct AdafactorOptions {
  static constexpr const char* name = "Adafactor";
  double lr = 1e-2, beta2_decay = -0.8, eps1 = -1, eps2 = 1e-3, clip = 1, weight_decay = 0;  // eps1 < 0: the dtype's epsilon
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_in(name, "beta2_decay", beta2_decay, -HUGE_VAL, 0, at);
    detail::check_not_negative(name, "eps2", eps2, at);
    detail::check_positive(name, "clip", clip, at);
    detail::check_not_negative(name, "weight_decay", weight_decay, at);
  }
};
/// Second moments of a matrix as the product of row and column means; no first moment.  Shazeer & Stern 2018, algorithm 5, as in
/// PyTorch: rho_t = min(lr, 1 / sqrt(t)), alpha = max(eps2, rms(p)) rho_t, beta_t = 1 - t^beta2_decay,
///     V = R C / mean(R) (matrices over the last two dimensions),  u = g / sqrt(V),  p -= alpha / max(1, rms(u) / clip) u
template <class T = float, class D = Cpu>
class Adafactor : public Optimizer<T, D, AdafactorOptions> {
 public:
  using Optimizer<T, D, AdafactorOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->each(at, [&](const AdafactorOptions& o, double lr, std::size_t i, auto& p, auto& g, int64_t t) {
      using A = compute_t<T>;
      const double eps1 = o.eps1 >= 0 ? o.eps1 : static_cast<double>(std::numeric_limits<A>::epsilon());
      const double keep = 1 - std::pow(static_cast<double>(t), o.beta2_decay), rho = std::min(lr, 1 / std::sqrt(static_cast<double>(t)));
      const double count = std::sqrt(static_cast<double>(std::max<int64_t>(p.numel(), 1)));
      const auto alpha = mul(clamp(div(detail::norm_of(p, at), count, at), o.eps2, HUGE_VAL, at), rho, at);
      if (o.weight_decay != 0) mul_(p, 1 - lr * o.weight_decay, at);
      const auto g2 = square(g, at);
      std::optional<typename Optimizer<T, D, AdafactorOptions>::Compute> estimate;
      if (p.rank() > 1) {
        Shape rows = p.shape(), columns = p.shape();
        rows[p.rank() - 1] = 1, columns[p.rank() - 2] = 1;
        auto &r = this->state_or_zeros(row_, i, rows, at), &c = this->state_or_zeros(column_, i, columns, at);
        detail::average(r, mean(g2, {-1}, true, at), keep, at);
        detail::average(c, mean(g2, {-2}, true, at), keep, at);
        estimate = div(matmul(r, c, at), clamp(mean(r, {-2}, true, at), eps1, HUGE_VAL, at), at);
      } else {
        auto& v = this->state_or_zeros(v_, i, at);
        detail::average(v, g2, keep, at);
        estimate = v;
      }
      const auto u = mul(rsqrt(clamp(*estimate, eps1 * eps1, HUGE_VAL, at), at), g, at);
      const auto excess = clamp(div(detail::norm_of(u, at), count * o.clip, at), 1, HUGE_VAL, at);
      sub_(p, mul(u, div(alpha, excess, at), at), at);
    });
  }

 private:
  int row_ = this->slot("row_var", false), column_ = this->slot("col_var", false), v_ = this->slot("variance", false);
};

// clang-format off
template <nn::Module M> Lamb(M&, LambOptions = {}, Where = {}) -> Lamb<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Lamb(std::vector<Tensor<T, D>>, LambOptions = {}, Where = {}) -> Lamb<T, D>;
template <nn::Module M> Lars(M&, LarsOptions = {}, Where = {}) -> Lars<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Lars(std::vector<Tensor<T, D>>, LarsOptions = {}, Where = {}) -> Lars<T, D>;
template <nn::Module M> Adafactor(M&, AdafactorOptions = {}, Where = {}) -> Adafactor<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Adafactor(std::vector<Tensor<T, D>>, AdafactorOptions = {}, Where = {}) -> Adafactor<T, D>;
// clang-format on

}  // namespace gradus::optim
