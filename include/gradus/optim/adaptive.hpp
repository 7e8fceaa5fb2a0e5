// Optimisers whose step is an element-wise rule of kernels/optim_rules.hpp, one fused pass over all parameters: Adagrad,
// Adadelta, RMSprop, NAdam, RAdam, Adamax, Adan, AdEMAMix, ADOPT, Lion, Tiger, AdaBelief, Yogi, Adam-atan2, LaProp, QHAdam,
// MADGRAD. Options say what the rule's factors are at step t = 1, 2, ...; states have PyTorch's names where it has the method.
#pragma once
#include <array>
#include <cmath>

#include <gradus/optim/adam.hpp>

namespace gradus::optim {

/// O has `states`, the names of the rule's states, and rule(lr, t), the rule at step t.
template <class T, class D, class O>
class RuleOptimizer : public Optimizer<T, D, O> {
 public:
  using Optimizer<T, D, O>::Optimizer;

  void step(Where at = Where::current()) {
    this->fused(slots_, at, [](const O& o, double lr, int64_t t) { return o.rule(lr, t); });
  }

 protected:
  Slots slots_ = make_slots();

 private:
  Slots make_slots() {
    Slots s;
    int* place[] = {&s.s0, &s.s1, &s.s2, &s.s3};
    for (std::size_t i = 0; i < O::states.size(); ++i) *place[i] = this->slot(O::states[i]);
    return s;
  }
};

struct AdagradOptions {
  static constexpr const char* name = "Adagrad";
  static constexpr std::array states{"sum"};
  double lr = 1e-2, lr_decay = 0, weight_decay = 0, eps = 1e-10;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_not_negative(name, "lr_decay", lr_decay, at);
    detail::check_not_negative(name, "weight_decay", weight_decay, at);
    detail::check_not_negative(name, "eps", eps, at);
  }
  kernels::AdagradRule rule(double lr, int64_t t) const {
    return {lr / (1 + static_cast<double>(t - 1) * lr_decay), weight_decay, eps};
  }
};
/// s += g^2;  p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps).  Duchi, Hazan, Singer 2011.
template <class T = float, class D = Cpu>
class Adagrad : public RuleOptimizer<T, D, AdagradOptions> {
 public:
  using RuleOptimizer<T, D, AdagradOptions>::RuleOptimizer;
};

struct AdadeltaOptions {
  static constexpr const char* name = "Adadelta";
  static constexpr std::array states{"square_avg", "acc_delta"};
  double lr = 1, rho = 0.9, eps = 1e-6, weight_decay = 0;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_beta(name, "rho", rho, at);
    detail::check_positive(name, "eps", eps, at);
    detail::check_not_negative(name, "weight_decay", weight_decay, at);
  }
  kernels::AdadeltaRule rule(double lr, int64_t) const { return {lr, weight_decay, rho, eps}; }
};
/// v = rho v + (1 - rho) g^2;  d = sqrt(u + eps) / sqrt(v + eps) g;  u = rho u + (1 - rho) d^2;  p -= lr d.  Zeiler 2012.
template <class T = float, class D = Cpu>
class Adadelta : public RuleOptimizer<T, D, AdadeltaOptions> {
 public:
  using RuleOptimizer<T, D, AdadeltaOptions>::RuleOptimizer;
};

struct RmspropOptions {
  static constexpr const char* name = "Rmsprop";
  double lr = 1e-2, alpha = 0.99, eps = 1e-8, weight_decay = 0, momentum = 0;
  bool centered = false;  ///< divide by the deviation instead of the root of the second moment
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_beta(name, "alpha", alpha, at);
    detail::check_not_negative(name, "eps", eps, at);
    detail::check_not_negative(name, "weight_decay", weight_decay, at);
    detail::check_not_negative(name, "momentum", momentum, at);
  }
};
/// v = alpha v + (1 - alpha) g^2;  p -= lr g / (sqrt(v) + eps).  Tieleman & Hinton 2012 (lecture 6.5); with momentum, the
/// normalised gradients are added up: b = momentum b + g / (sqrt(v) + eps), p -= lr b; centered: Graves 2013.
template <class T = float, class D = Cpu>
class Rmsprop : public Optimizer<T, D, RmspropOptions> {
 public:
  using Optimizer<T, D, RmspropOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->update(
        [&](const RmspropOptions& o) {
          if (o.momentum > 0) return Slots{v_, b_, o.centered ? mean_ : -1};
          return Slots{v_, o.centered ? mean_ : -1};
        },
        at, [&](const RmspropOptions& o, double lr, const auto& refs, const auto&, int64_t) {
          const auto run = [&](auto rule) {
            kernels::fused_step<decltype(rule), T>(D{}, refs.data(), static_cast<int64_t>(refs.size()), rule);
          };
          if (o.momentum > 0 && o.centered)
            run(kernels::RmspropMomentumCentered{lr, o.weight_decay, o.alpha, o.eps, o.momentum});
          else if (o.momentum > 0) run(kernels::RmspropMomentum{lr, o.weight_decay, o.alpha, o.eps, o.momentum});
          else if (o.centered) run(kernels::RmspropCentered{lr, o.weight_decay, o.alpha, o.eps, 0});
          else run(kernels::RmspropPlain{lr, o.weight_decay, o.alpha, o.eps, 0});
        });
  }

 private:
  int v_ = this->slot("square_avg"), b_ = this->slot("momentum_buffer"), mean_ = this->slot("grad_avg");
};

struct NadamOptions {
  static constexpr const char* name = "Nadam";
  double lr = 2e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0, momentum_decay = 4e-3;
  bool decoupled = false;  ///< weight decay as in AdamW
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_adam(*this, at);
    detail::check_not_negative(name, "momentum_decay", momentum_decay, at);
  }
};
/// Adam with Nesterov's look ahead: mu_t = beta1 (1 - 0.96^{t momentum_decay} / 2) grows to beta1.  Dozat 2016.
///     p -= lr ((1 - mu_t) g / (1 - prod_{i <= t} mu_i) + mu_{t+1} m / (1 - prod_{i <= t+1} mu_i)) / (sqrt(v / c2) + eps)
template <class T = float, class D = Cpu>
class Nadam : public Optimizer<T, D, NadamOptions> {
 public:
  using Optimizer<T, D, NadamOptions>::Optimizer;

  void step(Where at = Where::current()) {
    this->update(
        [&](const NadamOptions&) { return Slots{m_, v_}; }, at,
        [&](const NadamOptions& o, double lr, const auto& refs, const auto& who, int64_t t) {
          const auto mu = [&](int64_t k) {
            return o.beta1 * (1 - 0.5 * std::pow(0.96, static_cast<double>(k) * o.momentum_decay));
          };
          const double product = this->number(mu_, who[0]) * mu(t), next = mu(t + 1);
          for (const std::size_t i : who) this->number(mu_, i) = product;
          const kernels::NadamRule rule{o.beta1,
                                        o.beta2,
                                        o.eps,
                                        o.decoupled ? 0 : o.weight_decay,
                                        o.decoupled ? 1 - lr * o.weight_decay : 1,
                                        lr * (1 - mu(t)) / (1 - product),
                                        lr * next / (1 - product * next),
                                        1 - std::pow(o.beta2, t)};
          kernels::fused_step<kernels::NadamRule, T>(D{}, refs.data(), static_cast<int64_t>(refs.size()), rule);
        },
        [&](std::size_t i) { return this->number(mu_, i); });
  }

 private:
  int m_ = this->slot("exp_avg"), v_ = this->slot("exp_avg_sq"), mu_ = this->number_slot("mu_product", 1);
};

struct RadamOptions {
  static constexpr const char* name = "Radam";
  static constexpr std::array states{"exp_avg", "exp_avg_sq"};
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool decoupled = false;
  bool allow_missing_grad = false;
  void check(Where at) const { detail::check_adam(*this, at); }
  kernels::RadamRule rule(double lr, int64_t t) const {
    const double c1 = 1 - std::pow(beta1, t), c2 = 1 - std::pow(beta2, t), longest = 2 / (1 - beta2) - 1;
    const double length = longest - 2 * static_cast<double>(t) * std::pow(beta2, t) / c2;  // rho_t
    const bool adaptive = length > 5;
    const double rectify = adaptive ? std::sqrt((length - 4) * (length - 2) * longest /
                                                ((longest - 4) * (longest - 2) * length)) * std::sqrt(c2)
                                    : 1;
    return {beta1,  beta2, eps, decoupled ? 0 : weight_decay, decoupled ? 1 - lr * weight_decay : 1, lr / c1 * rectify,
            adaptive};
  }
};
/// Adam whose step is rectified by the variance of v; while that is not tractable, momentum alone.  Liu et al. 2020, algorithm 2.
template <class T = float, class D = Cpu>
class Radam : public RuleOptimizer<T, D, RadamOptions> {
 public:
  using RuleOptimizer<T, D, RadamOptions>::RuleOptimizer;
};

struct AdamaxOptions {
  static constexpr const char* name = "Adamax";
  static constexpr std::array states{"exp_avg", "exp_inf"};
  double lr = 2e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool allow_missing_grad = false;
  void check(Where at) const { detail::check_adam(*this, at); }
  kernels::AdamaxRule rule(double lr, int64_t t) const { return {lr / (1 - std::pow(beta1, t)), beta1, beta2, eps, weight_decay}; }
};
/// u = max(beta2 u, |g| + eps);  p -= lr / (1 - beta1^t) m / u.  Kingma & Ba 2015, section 7.1.
template <class T = float, class D = Cpu>
class Adamax : public RuleOptimizer<T, D, AdamaxOptions> {
 public:
  using RuleOptimizer<T, D, AdamaxOptions>::RuleOptimizer;
};

struct AdanOptions {
  static constexpr const char* name = "Adan";
  static constexpr std::array states{"exp_avg", "exp_avg_diff", "exp_avg_sq", "pre_grad"};
  double lr = 1e-3, beta1 = 0.98, beta2 = 0.92, beta3 = 0.99, eps = 1e-8, weight_decay = 0;
  bool proximal = true;  ///< p = (p - step) / (1 + lr weight_decay); false: as AdamW
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_adam(*this, at);
    detail::check_beta(name, "beta3", beta3, at);
  }
  kernels::AdanRule rule(double lr, int64_t t) const {
    return {lr / (1 - std::pow(beta1, t)),
            lr * beta2 / (1 - std::pow(beta2, t)),
            beta1,
            beta2,
            beta3,
            1 / std::sqrt(1 - std::pow(beta3, t)),
            eps,
            proximal ? 1 : 1 - lr * weight_decay,
            proximal ? 1 / (1 + lr * weight_decay) : 1,
            t == 1};
  }
};
/// Adaptive Nesterov momentum: averages of g, of its change d = g - g_before, and of (g + beta2 d)^2.  Xie et al. 2022, algorithm 1
/// (its beta is 1 - ours), with the bias corrections of the authors' code.
template <class T = float, class D = Cpu>
class Adan : public RuleOptimizer<T, D, AdanOptions> {
 public:
  using RuleOptimizer<T, D, AdanOptions>::RuleOptimizer;
};

struct AdemamixOptions {
  static constexpr const char* name = "Ademamix";
  static constexpr std::array states{"exp_avg_fast", "exp_avg_slow", "exp_avg_sq"};
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, beta3 = 0.9999, alpha = 5, eps = 1e-8, weight_decay = 0;
  int64_t alpha_warmup = 0, beta3_warmup = 0;  ///< steps over which alpha and beta3 grow; the paper takes the whole run
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_adam(*this, at);
    detail::check_beta(name, "beta3", beta3, at);
    detail::check_not_negative(name, "alpha", alpha, at);
    if (beta3_warmup > 0) detail::check_in(name, "beta1", beta1, 1e-12, 1, at);
  }
  kernels::AdemamixRule rule(double lr, int64_t t) const {
    const double part = t < beta3_warmup ? static_cast<double>(t) / static_cast<double>(beta3_warmup) : 1;
    const double l1 = std::log(beta1), l3 = std::log(beta3);
    return {lr,
            beta1,
            beta2,
            part < 1 ? std::exp(l1 * l3 / ((1 - part) * l3 + part * l1)) : beta3,  // linear in the half-life
            alpha * (t < alpha_warmup ? static_cast<double>(t) / static_cast<double>(alpha_warmup) : 1),
            eps,
            1 - std::pow(beta1, t),
            1 - std::pow(beta2, t),
            1 - lr * weight_decay};
  }
};
/// p -= lr ((m1 / c1 + alpha m2) / (sqrt(v / c2) + eps) + weight_decay p), m2 a slow average.  Pagliardini, Ablin, Grangier 2024.
template <class T = float, class D = Cpu>
class Ademamix : public RuleOptimizer<T, D, AdemamixOptions> {
 public:
  using RuleOptimizer<T, D, AdemamixOptions>::RuleOptimizer;
};

struct AdoptOptions {
  static constexpr const char* name = "Adopt";
  static constexpr std::array states{"exp_avg", "exp_avg_sq"};
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.9999, eps = 1e-6, weight_decay = 0;
  bool decoupled = false;
  bool clip = true;  ///< normalised gradients to (t - 1)^{1/4}
  bool allow_missing_grad = false;
  void check(Where at) const { detail::check_adam(*this, at); }
  kernels::AdoptRule rule(double lr, int64_t t) const {
    return {lr,
            beta1,
            beta2,
            eps,
            decoupled ? 0 : weight_decay,
            decoupled ? 1 - lr * weight_decay : 1,
            clip ? std::pow(static_cast<double>(t - 1), 0.25) : -1,
            t == 1};
  }
};
/// m = beta1 m + (1 - beta1) g / max(sqrt(v), eps) with the v of the step before; p -= lr m; then v takes g^2. The first step only
/// sets v.  Taniguchi et al. 2024, algorithm 2: converges for any beta2.
template <class T = float, class D = Cpu>
class Adopt : public RuleOptimizer<T, D, AdoptOptions> {
 public:
  using RuleOptimizer<T, D, AdoptOptions>::RuleOptimizer;
};

struct LionOptions {
  static constexpr const char* name = "Lion";
  static constexpr std::array states{"exp_avg"};
  double lr = 1e-4, beta1 = 0.9, beta2 = 0.99, eps = 0, weight_decay = 0;
  bool allow_missing_grad = false;
  void check(Where at) const { detail::check_adam(*this, at); }
  kernels::LionRule rule(double lr, int64_t) const { return {lr, beta1, beta2, 1 - lr * weight_decay}; }
};
/// p -= lr (sign(beta1 m + (1 - beta1) g) + weight_decay p);  m = beta2 m + (1 - beta2) g.  Chen et al. 2023, algorithm 2.
template <class T = float, class D = Cpu>
class Lion : public RuleOptimizer<T, D, LionOptions> {
 public:
  using RuleOptimizer<T, D, LionOptions>::RuleOptimizer;
};

struct TigerOptions {
  static constexpr const char* name = "Tiger";
  static constexpr std::array states{"exp_avg"};
  double lr = 1e-3, beta = 0.965, weight_decay = 1e-2;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_beta(name, "beta", beta, at);
    detail::check_not_negative(name, "weight_decay", weight_decay, at);
  }
  kernels::TigerRule rule(double lr, int64_t) const { return {lr, beta, 1 - lr * weight_decay}; }
};
/// m = beta m + (1 - beta) g;  p -= lr (sign(m) + weight_decay p).  Su 2023 (kexue.fm/archives/9512).
template <class T = float, class D = Cpu>
class Tiger : public RuleOptimizer<T, D, TigerOptions> {
 public:
  using RuleOptimizer<T, D, TigerOptions>::RuleOptimizer;
};

struct AdabeliefOptions {
  static constexpr const char* name = "Adabelief";
  static constexpr std::array states{"exp_avg", "exp_avg_var"};
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-16, weight_decay = 0;
  bool decoupled = true;
  bool allow_missing_grad = false;
  void check(Where at) const { detail::check_adam(*this, at); }
  kernels::AdabeliefRule rule(double lr, int64_t t) const {
    return {lr / (1 - std::pow(beta1, t)),      beta1, beta2, eps, 1 - std::pow(beta2, t), decoupled ? 0 : weight_decay,
            decoupled ? 1 - lr * weight_decay : 1};
  }
};
/// s = beta2 s + (1 - beta2) (g - m)^2 + eps;  p -= lr (m / c1) / (sqrt(s / c2) + eps).  Zhuang et al. 2020, algorithm 2.
template <class T = float, class D = Cpu>
class Adabelief : public RuleOptimizer<T, D, AdabeliefOptions> {
 public:
  using RuleOptimizer<T, D, AdabeliefOptions>::RuleOptimizer;
};

struct YogiOptions {
  static constexpr const char* name = "Yogi";
  static constexpr std::array states{"exp_avg", "exp_avg_sq"};
  double lr = 1e-2, beta1 = 0.9, beta2 = 0.999, eps = 1e-3, weight_decay = 0;
  bool allow_missing_grad = false;
  void check(Where at) const { detail::check_adam(*this, at); }
  kernels::YogiRule rule(double lr, int64_t) const { return {lr, beta1, beta2, eps, 1, weight_decay}; }
};
/// v -= (1 - beta2) sign(v - g^2) g^2;  p -= lr m / (sqrt(v) + eps).  Zaheer et al. 2018, algorithm 2.
template <class T = float, class D = Cpu>
class Yogi : public RuleOptimizer<T, D, YogiOptions> {
 public:
  using RuleOptimizer<T, D, YogiOptions>::RuleOptimizer;
};

struct AdamAtan2Options {
  static constexpr const char* name = "AdamAtan2";
  static constexpr std::array states{"exp_avg", "exp_avg_sq"};
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, a = 1.2732395447351628, b = 1, eps = 0, weight_decay = 0;  // a = 4 / pi
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_adam(*this, at);
    detail::check_positive(name, "b", b, at);
  }
  kernels::AdamAtan2Rule rule(double lr, int64_t t) const {
    return {lr, beta1, beta2, 1 - std::pow(beta1, t), 1 - std::pow(beta2, t), a, b, 1 - lr * weight_decay};
  }
};
/// p -= lr a atan2(m / c1, b sqrt(v / c2)): Adam without eps.  Everett et al. 2024.
template <class T = float, class D = Cpu>
class AdamAtan2 : public RuleOptimizer<T, D, AdamAtan2Options> {
 public:
  using RuleOptimizer<T, D, AdamAtan2Options>::RuleOptimizer;
};

struct LapropOptions {
  static constexpr const char* name = "Laprop";
  static constexpr std::array states{"exp_avg", "exp_avg_sq"};
  double lr = 4e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-15, weight_decay = 0;
  bool allow_missing_grad = false;
  void check(Where at) const { detail::check_adam(*this, at); }
  kernels::LapropRule rule(double lr, int64_t t) const {
    return {lr / (1 - std::pow(beta1, t)), beta1, beta2, eps, 1 - std::pow(beta2, t), 1 - lr * weight_decay};
  }
};
/// m = beta1 m + (1 - beta1) g / (sqrt(v / c2) + eps);  p -= lr m / c1.  Ziyin, Wang, Ueda 2020.
template <class T = float, class D = Cpu>
class Laprop : public RuleOptimizer<T, D, LapropOptions> {
 public:
  using RuleOptimizer<T, D, LapropOptions>::RuleOptimizer;
};

struct QhadamOptions {
  static constexpr const char* name = "Qhadam";
  static constexpr std::array states{"exp_avg", "exp_avg_sq"};
  double lr = 1e-3, beta1 = 0.995, beta2 = 0.999, nu1 = 0.7, nu2 = 1, eps = 1e-8, weight_decay = 0;
  bool decoupled = false;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_adam(*this, at);
    detail::check_in(name, "nu1", nu1, 0, 1, at);
    detail::check_in(name, "nu2", nu2, 0, 1, at);
  }
  kernels::QhadamRule rule(double lr, int64_t t) const {
    return {lr,  beta1, beta2, nu1, nu2, eps, 1 - std::pow(beta1, t), 1 - std::pow(beta2, t), decoupled ? 0 : weight_decay,
            decoupled ? 1 - lr * weight_decay : 1};
  }
};
/// Quasi-hyperbolic: ((1 - nu1) g + nu1 m / c1) / (sqrt((1 - nu2) g^2 + nu2 v / c2) + eps).  Ma & Yarats 2019, eq. 12.
template <class T = float, class D = Cpu>
class Qhadam : public RuleOptimizer<T, D, QhadamOptions> {
 public:
  using RuleOptimizer<T, D, QhadamOptions>::RuleOptimizer;
};

struct MadgradOptions {
  static constexpr const char* name = "Madgrad";
  static constexpr std::array states{"s", "grad_sum_sq", "x0"};
  double lr = 1e-2, momentum = 0.9, weight_decay = 0, eps = 1e-6;
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_beta(name, "momentum", momentum, at);
    detail::check_not_negative(name, "weight_decay", weight_decay, at);
    detail::check_positive(name, "eps", eps, at);
  }
  kernels::MadgradRule rule(double lr, int64_t t) const {
    return {lr * std::sqrt(static_cast<double>(t)), eps, momentum, weight_decay, t == 1};
  }
};
/// Dual averaging with a cube root: s += l g, v += l g^2 with l = lr sqrt(t); z = x0 - s / (cbrt(v) + eps); p moves towards z.
/// Defazio & Jelassi 2021, algorithm 1.
template <class T = float, class D = Cpu>
class Madgrad : public RuleOptimizer<T, D, MadgradOptions> {
 public:
  using RuleOptimizer<T, D, MadgradOptions>::RuleOptimizer;
};

// clang-format off
// optim::Adagrad opt(net); optim::Adagrad opt(nn::parameters(net), {...});
template <nn::Module M> Adagrad(M&, AdagradOptions = {}, Where = {}) -> Adagrad<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Adagrad(std::vector<Tensor<T, D>>, AdagradOptions = {}, Where = {}) -> Adagrad<T, D>;
template <nn::Module M> Adadelta(M&, AdadeltaOptions = {}, Where = {}) -> Adadelta<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Adadelta(std::vector<Tensor<T, D>>, AdadeltaOptions = {}, Where = {}) -> Adadelta<T, D>;
template <nn::Module M> Rmsprop(M&, RmspropOptions = {}, Where = {}) -> Rmsprop<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Rmsprop(std::vector<Tensor<T, D>>, RmspropOptions = {}, Where = {}) -> Rmsprop<T, D>;
template <nn::Module M> Nadam(M&, NadamOptions = {}, Where = {}) -> Nadam<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Nadam(std::vector<Tensor<T, D>>, NadamOptions = {}, Where = {}) -> Nadam<T, D>;
template <nn::Module M> Radam(M&, RadamOptions = {}, Where = {}) -> Radam<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Radam(std::vector<Tensor<T, D>>, RadamOptions = {}, Where = {}) -> Radam<T, D>;
template <nn::Module M> Adamax(M&, AdamaxOptions = {}, Where = {}) -> Adamax<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Adamax(std::vector<Tensor<T, D>>, AdamaxOptions = {}, Where = {}) -> Adamax<T, D>;
template <nn::Module M> Adan(M&, AdanOptions = {}, Where = {}) -> Adan<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Adan(std::vector<Tensor<T, D>>, AdanOptions = {}, Where = {}) -> Adan<T, D>;
template <nn::Module M> Ademamix(M&, AdemamixOptions = {}, Where = {}) -> Ademamix<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Ademamix(std::vector<Tensor<T, D>>, AdemamixOptions = {}, Where = {}) -> Ademamix<T, D>;
template <nn::Module M> Adopt(M&, AdoptOptions = {}, Where = {}) -> Adopt<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Adopt(std::vector<Tensor<T, D>>, AdoptOptions = {}, Where = {}) -> Adopt<T, D>;
template <nn::Module M> Lion(M&, LionOptions = {}, Where = {}) -> Lion<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Lion(std::vector<Tensor<T, D>>, LionOptions = {}, Where = {}) -> Lion<T, D>;
template <nn::Module M> Tiger(M&, TigerOptions = {}, Where = {}) -> Tiger<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Tiger(std::vector<Tensor<T, D>>, TigerOptions = {}, Where = {}) -> Tiger<T, D>;
template <nn::Module M> Adabelief(M&, AdabeliefOptions = {}, Where = {}) -> Adabelief<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Adabelief(std::vector<Tensor<T, D>>, AdabeliefOptions = {}, Where = {}) -> Adabelief<T, D>;
template <nn::Module M> Yogi(M&, YogiOptions = {}, Where = {}) -> Yogi<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Yogi(std::vector<Tensor<T, D>>, YogiOptions = {}, Where = {}) -> Yogi<T, D>;
template <nn::Module M> AdamAtan2(M&, AdamAtan2Options = {}, Where = {}) -> AdamAtan2<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> AdamAtan2(std::vector<Tensor<T, D>>, AdamAtan2Options = {}, Where = {}) -> AdamAtan2<T, D>;
template <nn::Module M> Laprop(M&, LapropOptions = {}, Where = {}) -> Laprop<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Laprop(std::vector<Tensor<T, D>>, LapropOptions = {}, Where = {}) -> Laprop<T, D>;
template <nn::Module M> Qhadam(M&, QhadamOptions = {}, Where = {}) -> Qhadam<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Qhadam(std::vector<Tensor<T, D>>, QhadamOptions = {}, Where = {}) -> Qhadam<T, D>;
template <nn::Module M> Madgrad(M&, MadgradOptions = {}, Where = {}) -> Madgrad<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D> Madgrad(std::vector<Tensor<T, D>>, MadgradOptions = {}, Where = {}) -> Madgrad<T, D>;
// clang-format on
}  // namespace gradus::optim
