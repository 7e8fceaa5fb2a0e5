// Element-wise update rules of optimisers: one struct a method, for every device. fused_step (kernels/optim.hpp) applies a rule
// to all elements of all parameters in one pass.
//
//   rule(p, g, s)   p: the parameter, updated;  g: its gradient;  s[0 ... states - 1]: the states, updated
//
// lr is the step size, decay the coupled weight decay (g += decay p), shrink the factor of a decoupled one
// (p *= 1 - lr weight_decay). c1 = 1 - b1^t and c2 = 1 - b2^t correct averages that start from zero. Arithmetic is in A, the
// compute type of the parameter's dtype.
#pragma once
#include <cmath>

#include <gradus/core/config.hpp>

namespace gradus::kernels {

namespace detail {
template <class A> GRADUS_HD inline A sign_of(A x) { return static_cast<A>((x > A(0)) - (x < A(0))); }
template <class A> GRADUS_HD inline A mix(double b, A m, A x) { return A(b) * m + A(1 - b) * x; }   // b m + (1 - b) x
template <class A> GRADUS_HD inline A clip_to(A x, A bound) { return x > bound ? bound : x < -bound ? -bound : x; }
}  // namespace detail

// clang-format off

/// SGD with a decoupled decay: Loshchilov and Hutter 2019, algorithm 1.  s: momentum_buffer
struct SgdwRule {
  static constexpr int states = 1;
  double lr, momentum, take, now, ahead, shrink;          // b = momentum b + take g;  p = shrink p - lr (now g + ahead b)
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    s[0] = A(momentum) * s[0] + A(take) * g;
    p = A(shrink) * p - A(lr) * (A(now) * g + A(ahead) * s[0]);
  }
};
/// Duchi, Hazan, Singer 2011.  s: sum
struct AdagradRule {
  static constexpr int states = 1;
  double lr, decay, eps;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    g += A(decay) * p;
    s[0] += g * g;
    p -= A(lr) * g / (std::sqrt(s[0]) + A(eps));
  }
};
/// Zeiler 2012.  s: square_avg, acc_delta
struct AdadeltaRule {
  static constexpr int states = 2;
  double lr, decay, rho, eps;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    g += A(decay) * p;
    s[0] = detail::mix(rho, s[0], g * g);
    const A d = std::sqrt(s[1] + A(eps)) / std::sqrt(s[0] + A(eps)) * g;
    s[1] = detail::mix(rho, s[1], d * d);
    p -= A(lr) * d;
  }
};
/// Tieleman and Hinton 2012; centered: Graves 2013.  s: square_avg, then momentum_buffer and grad_avg where they are used
template <bool with_momentum, bool centered> struct RmspropRule {
  static constexpr int states = 1 + with_momentum + centered;
  double lr, decay, alpha, eps, momentum;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    g += A(decay) * p;
    s[0] = detail::mix(alpha, s[0], g * g);
    A second = s[0];
    if constexpr (centered) {
      A& mean = s[1 + with_momentum];
      mean = detail::mix(alpha, mean, g);
      second -= mean * mean;
      second = second > A(0) ? second : A(0);             // a difference that rounding can leave below zero
    }
    A step = g / (std::sqrt(second) + A(eps));
    if constexpr (with_momentum) step = s[1] = A(momentum) * s[1] + step;
    p -= A(lr) * step;
  }
};
/// Dozat 2016: p -= (now g + ahead m) / (sqrt(v / c2) + eps).  s: exp_avg, exp_avg_sq
struct NadamRule {
  static constexpr int states = 2;
  double b1, b2, eps, decay, shrink, now, ahead, c2;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    g += A(decay) * p;
    s[0] = detail::mix(b1, s[0], g), s[1] = detail::mix(b2, s[1], g * g);
    p = A(shrink) * p - (A(now) * g + A(ahead) * s[0]) / (std::sqrt(s[1] / A(c2)) + A(eps));
  }
};
/// Liu et al. 2020: p -= step m / (sqrt(v) + eps), or step m while the variance of v is not tractable.  s: exp_avg, exp_avg_sq
struct RadamRule {
  static constexpr int states = 2;
  double b1, b2, eps, decay, shrink, step;
  bool adaptive;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    g += A(decay) * p;
    s[0] = detail::mix(b1, s[0], g), s[1] = detail::mix(b2, s[1], g * g);
    p = A(shrink) * p - A(step) * s[0] / (adaptive ? std::sqrt(s[1]) + A(eps) : A(1));
  }
};
/// Kingma and Ba 2015, section 7.1.  s: exp_avg, exp_inf
struct AdamaxRule {
  static constexpr int states = 2;
  double step, b1, b2, eps, decay;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    g += A(decay) * p;
    s[0] = detail::mix(b1, s[0], g);
    const A old = A(b2) * s[1], now = std::fabs(g) + A(eps);
    s[1] = old > now ? old : now;
    p -= A(step) * s[0] / s[1];
  }
};
/// Chen et al. 2023.  s: exp_avg
struct LionRule {
  static constexpr int states = 1;
  double lr, b1, b2, shrink;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    p = A(shrink) * p - A(lr) * detail::sign_of(detail::mix(b1, s[0], g));
    s[0] = detail::mix(b2, s[0], g);
  }
};
/// Chen, Chu, Wu 2022 (Tiger): the sign of one average.  s: exp_avg
struct TigerRule {
  static constexpr int states = 1;
  double lr, b1, shrink;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    s[0] = detail::mix(b1, s[0], g);
    p = A(shrink) * p - A(lr) * detail::sign_of(s[0]);
  }
};
/// Xie et al. 2022, with b = 1 - beta of the paper.  s: exp_avg, exp_avg_diff, exp_avg_sq, previous gradient
struct AdanRule {
  static constexpr int states = 4;
  double step, step_diff, b1, b2, b3, root3, eps, before, after;   // p = after (before p - ...)
  bool first;                                                       // no previous gradient yet: no difference
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    const A diff = first ? A(0) : g - s[3], u = g + A(b2) * diff;
    s[0] = detail::mix(b1, s[0], g), s[1] = detail::mix(b2, s[1], diff), s[2] = detail::mix(b3, s[2], u * u), s[3] = g;
    p = A(after) * (A(before) * p - (A(step) * s[0] + A(step_diff) * s[1]) / (std::sqrt(s[2]) * A(root3) + A(eps)));
  }
};
/// Liu et al. 2024 (Sophia), algorithm 3: p -= lr clip(m / max(gamma h, eps), 1).  s: exp_avg, hessian (updated elsewhere)
struct SophiaRule {
  static constexpr int states = 2;
  double lr, b1, gamma, eps, shrink;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    s[0] = detail::mix(b1, s[0], g);
    const A h = A(gamma) * s[1];
    p = A(shrink) * p - A(lr) * detail::clip_to(s[0] / (h > A(eps) ? h : A(eps)), A(1));
  }
};
/// Pagliardini et al. 2024.  s: exp_avg_fast, exp_avg_slow, exp_avg_sq
struct AdemamixRule {
  static constexpr int states = 3;
  double lr, b1, b2, b3, alpha, eps, c1, c2, shrink;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    s[0] = detail::mix(b1, s[0], g), s[1] = detail::mix(b3, s[1], g), s[2] = detail::mix(b2, s[2], g * g);
    p = A(shrink) * p - A(lr) * (s[0] / A(c1) + A(alpha) * s[1]) / (std::sqrt(s[2] / A(c2)) + A(eps));
  }
};
/// Taniguchi et al. 2024: g is divided by the second moment of the steps before.  s: exp_avg, exp_avg_sq
struct AdoptRule {
  static constexpr int states = 2;
  double lr, b1, b2, eps, decay, shrink, bound;          // bound < 0: no clipping
  bool first;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    g += A(decay) * p;
    if (first) {
      s[1] = g * g;
      return;
    }
    const A root = std::sqrt(s[1]);
    A n = g / (root > A(eps) ? root : A(eps));
    if (bound >= 0) n = detail::clip_to(n, A(bound));
    s[0] = detail::mix(b1, s[0], n);
    p = A(shrink) * p - A(lr) * s[0];
    s[1] = detail::mix(b2, s[1], g * g);
  }
};
/// Zhuang et al. 2020.  s: exp_avg, exp_avg_var
struct AdabeliefRule {
  static constexpr int states = 2;
  double step, b1, b2, eps, c2, decay, shrink;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    g += A(decay) * p;
    s[0] = detail::mix(b1, s[0], g);
    const A r = g - s[0];
    s[1] = detail::mix(b2, s[1], r * r) + A(eps);
    p = A(shrink) * p - A(step) * s[0] / (std::sqrt(s[1] / A(c2)) + A(eps));
  }
};
/// Zaheer et al. 2018: v moves towards g^2 by at most (1 - b2) g^2.  s: exp_avg, exp_avg_sq
struct YogiRule {
  static constexpr int states = 2;
  double step, b1, b2, eps, c2, decay;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    g += A(decay) * p;
    const A g2 = g * g;
    s[0] = detail::mix(b1, s[0], g);
    s[1] -= A(1 - b2) * detail::sign_of(s[1] - g2) * g2;
    p -= A(step) * s[0] / (std::sqrt(s[1] / A(c2)) + A(eps));
  }
};
/// Everett et al. 2024: no eps, and the step does not change when all gradients are scaled.  s: exp_avg, exp_avg_sq
struct AdamAtan2Rule {
  static constexpr int states = 2;
  double lr, b1, b2, c1, c2, a, b, shrink;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    s[0] = detail::mix(b1, s[0], g), s[1] = detail::mix(b2, s[1], g * g);
    p = A(shrink) * p - A(lr * a) * std::atan2(s[0] / A(c1), A(b) * std::sqrt(s[1] / A(c2)));
  }
};
/// Ziyin, Wang, Ueda 2020: the momentum is of normalised gradients.  s: exp_avg, exp_avg_sq
struct LapropRule {
  static constexpr int states = 2;
  double step, b1, b2, eps, c2, shrink;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    s[1] = detail::mix(b2, s[1], g * g);
    s[0] = detail::mix(b1, s[0], g / (std::sqrt(s[1] / A(c2)) + A(eps)));
    p = A(shrink) * p - A(step) * s[0];
  }
};
/// Ma and Yarats 2019.  s: exp_avg, exp_avg_sq
struct QhadamRule {
  static constexpr int states = 2;
  double lr, b1, b2, nu1, nu2, eps, c1, c2, decay, shrink;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    g += A(decay) * p;
    s[0] = detail::mix(b1, s[0], g), s[1] = detail::mix(b2, s[1], g * g);
    const A m = detail::mix(nu1, s[0] / A(c1), g), v = detail::mix(nu2, s[1] / A(c2), g * g);
    p = A(shrink) * p - A(lr) * m / (std::sqrt(v) + A(eps));
  }
};
/// Defazio and Jelassi 2021.  s: grad_sum, grad_sum_sq, the first parameter x0
struct MadgradRule {
  static constexpr int states = 3;
  double lambda, eps, keep, decay;                        // lambda = lr sqrt(t);  p = keep p + (1 - keep) z
  bool first;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    if (first) s[2] = p;
    g += A(decay) * p;
    s[0] += A(lambda) * g, s[1] += A(lambda) * g * g;
    p = detail::mix(keep, p, s[2] - s[0] / (std::cbrt(s[1]) + A(eps)));
  }
};
/// Defazio et al. 2024 (Schedule-Free) with Adam's denominator; the parameter holds y.  s: z, exp_avg_sq
struct ScheduleFreeAdamRule {
  static constexpr int states = 2;
  double lr, b1, b2, eps, c2, decay, weight;              // weight: c of x = (1 - c) x + c z
  bool first;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    if (first) s[0] = p;
    s[1] = detail::mix(b2, s[1], g * g);
    const A n = g / (std::sqrt(s[1] / A(c2)) + A(eps)) + A(decay) * p;
    p += A(weight) * (s[0] - p) + A(lr * (b1 * (1 - weight) - 1)) * n;
    s[0] -= A(lr) * n;
  }
};
/// The same with plain gradients.  s: z
struct ScheduleFreeSgdRule {
  static constexpr int states = 1;
  double lr, b1, decay, weight;
  bool first;
  template <class A> GRADUS_HD void operator()(A& p, A g, A* s) const {
    if (first) s[0] = p;
    const A n = g + A(decay) * p;
    p += A(weight) * (s[0] - p) + A(lr * (b1 * (1 - weight) - 1)) * n;
    s[0] -= A(lr) * n;
  }
};
// clang-format on

using RmspropPlain = RmspropRule<false, false>;
using RmspropMomentum = RmspropRule<true, false>;
using RmspropCentered = RmspropRule<false, true>;
using RmspropMomentumCentered = RmspropRule<true, true>;

/// X(rule) for each rule: what a backend instantiates.
#define GRADUS_OPTIM_RULES(X)                                                                                              \
  X(SgdwRule) X(AdagradRule) X(AdadeltaRule) X(RmspropPlain) X(RmspropMomentum) X(RmspropCentered)                         \
  X(RmspropMomentumCentered) X(NadamRule) X(RadamRule) X(AdamaxRule) X(LionRule) X(TigerRule) X(AdanRule) X(SophiaRule)    \
  X(AdemamixRule) X(AdoptRule) X(AdabeliefRule) X(YogiRule) X(AdamAtan2Rule) X(LapropRule) X(QhadamRule) X(MadgradRule)    \
  X(ScheduleFreeAdamRule) X(ScheduleFreeSgdRule)

}  // namespace gradus::kernels
