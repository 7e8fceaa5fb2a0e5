// L-BFGS, Nocedal 1980 (two-loop recursion over the last steps), with a line search for the strong Wolfe conditions (Nocedal &
// Wright, algorithms 3.5 and 3.6, cubic interpolation). Decisions and constants are PyTorch's.
//
//   optim::Lbfgs opt(net, {.line_search = true});
//   opt.step([&] { opt.zero_grad(); auto loss = ...; loss.backward(); return loss; });
//
// For full-batch problems: the loss must be the same function at each call. All vectors are flat, over all parameters.
#pragma once
#include <cmath>
#include <deque>
#include <limits>

#include <gradus/ops/matmul.hpp>
#include <gradus/ops/reduce.hpp>
#include <gradus/ops/shape.hpp>
#include <gradus/optim/optimizer.hpp>

namespace gradus::optim {

struct LbfgsOptions {
  static constexpr const char* name = "Lbfgs";
  double lr = 1;
  int64_t max_iter = 20, max_eval = -1, history = 100;  ///< max_eval < 0: max_iter * 5 / 4
  double tolerance_grad = 1e-7, tolerance_change = 1e-9;
  bool line_search = false;  ///< strong Wolfe; without it each step has length lr
  bool allow_missing_grad = false;
  void check(Where at) const {
    detail::check_in(name, "max_iter", static_cast<double>(max_iter), 1, HUGE_VAL, at);
    detail::check_in(name, "history", static_cast<double>(history), 1, HUGE_VAL, at);
    detail::check_not_negative(name, "tolerance_grad", tolerance_grad, at);
    detail::check_not_negative(name, "tolerance_change", tolerance_change, at);
  }
};

namespace detail {
/// The minimum of the cubic through (x1, f1), (x2, f2) with slopes g1, g2, inside [lo, hi]; the middle when it has none.
inline double cubic_minimum(double x1, double f1, double g1, double x2, double f2, double g2, double lo, double hi) {
  const double d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2), square = d1 * d1 - g1 * g2;
  if (!(square >= 0)) return (lo + hi) / 2;
  const double d2 = std::sqrt(square);
  const double x = x1 <= x2 ? x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
                            : x1 - (x1 - x2) * ((g1 + d2 - d1) / (g1 - g2 + 2 * d2));
  return std::min(std::max(x, lo), hi);
}
}  // namespace detail

template <class T = float, class D = Cpu>
class Lbfgs : public Optimizer<T, D, LbfgsOptions> {
 public:
  using Optimizer<T, D, LbfgsOptions>::Optimizer;
  using typename Optimizer<T, D, LbfgsOptions>::Compute;

  /// At most max_iter iterations; closure() zeroes the gradients, computes the loss and calls backward(). Returns the loss before
  /// the first of them.
  template <class F>
  double step(F closure, Where at = Where::current()) {
    const LbfgsOptions& o = this->options;
    if (!this->groups().empty()) fail("Lbfgs", "parameter groups", {}, "one group: the step is one vector", at);
    o.check(at);
    const int64_t max_eval = o.max_eval < 0 ? o.max_iter * 5 / 4 : o.max_eval;
    const auto evaluate = [&] {
      const auto loss = closure();
      this->value(evals_) += 1;
      grad_ = flat_gradient(at);
      return static_cast<double>(loss.item());
    };
    const double first = evaluate();
    double loss = first;
    int64_t evals = 1;
    const NoGrad guard;
    double &t = this->value(t_), &n_iter = this->value(n_iter_), &h_diag = this->value(h_diag_);
    if (largest(grad_, at) <= o.tolerance_grad) return first;
    for (int64_t n = 1;; ++n) {
      n_iter += 1;
      if (n_iter == 1) d_ = neg(grad_, at), dirs_.clear(), steps_of_.clear(), h_diag = 1;
      else two_loops(o, t, h_diag, at);
      before_ = grad_;
      this->value(prev_loss_) = loss;
      t = n_iter == 1 ? std::min(1.0, 1 / value_of(sum(abs(grad_, at), {}, false, at))) * o.lr : o.lr;
      const double slope = value_of(dot(grad_, d_, at));
      if (slope > -o.tolerance_change) break;
      const int64_t evals_before = static_cast<int64_t>(this->value(evals_));
      if (o.line_search) {
        const auto start = flat_parameters(at);
        const auto at_length = [&](double length) {
          set_parameters(add(start, mul(d_, length, at), at), at);
          const GradMode on(true);
          const double f = evaluate();
          return f;
        };
        loss = strong_wolfe(at_length, t, loss, slope, o.tolerance_change, at);
        set_parameters(add(start, mul(d_, t, at), at), at);
      } else {
        set_parameters(add(flat_parameters(at), mul(d_, t, at), at), at);
        if (n != o.max_iter) {
          const GradMode on(true);
          loss = evaluate();
        }
      }
      evals += static_cast<int64_t>(this->value(evals_)) - evals_before;
      if (n == o.max_iter || evals >= max_eval || largest(grad_, at) <= o.tolerance_grad) break;
      if (t * largest(d_, at) <= o.tolerance_change || std::fabs(loss - this->value(prev_loss_)) < o.tolerance_change) break;
    }
    return first;
  }
  /// Evaluations of the closure so far.
  int64_t evaluations() { return static_cast<int64_t>(this->value(evals_)); }

 private:
  static double value_of(const Compute& x) { return static_cast<double>(x.item()); }
  static double largest(const Compute& x, Where at) { return value_of(amax(abs(x, at), {}, false, at)); }

  Compute flat(const std::vector<Tensor<T, D>>& xs, Where at) {
    std::vector<Compute> parts;
    for (const auto& x : xs) parts.push_back(cast<compute_t<T>>(gradus::reshape(x, Shape{x.numel()}, at), at));
    return cat(parts, 0, at);
  }
  Compute flat_gradient(Where at) {
    const NoGrad guard;
    this->begin_step(this->options.allow_missing_grad, at);
    for (std::size_t i = 0; i < this->grads_.size(); ++i)
      if (!this->grads_[i].defined()) this->grads_[i] = zeros_like(this->params_[i], at);
    auto g = flat(this->grads_, at);
    this->grads_.clear();
    return g;
  }
  Compute flat_parameters(Where at) {
    std::vector<Tensor<T, D>> xs;
    for (const auto& p : this->params_) xs.push_back(p.detach());
    return flat(xs, at);
  }
  void set_parameters(const Compute& x, Where at) {
    int64_t begin = 0;
    for (auto& p : this->params_) {
      p.copy_(cast<T>(gradus::reshape(narrow(x, 0, begin, p.numel(), 1, at), p.shape(), at), at), at);
      begin += p.numel();
    }
  }
  /// d = -H g with H from the last steps s and changes of the gradient y.
  void two_loops(const LbfgsOptions& o, double t, double& h_diag, Where at) {
    const auto y = sub(grad_, before_, at), s = mul(d_, t, at);
    const double ys = value_of(dot(y, s, at));
    if (ys > 1e-10) {
      if (static_cast<int64_t>(dirs_.size()) == o.history) dirs_.pop_front(), steps_of_.pop_front(), ro_.pop_front();
      dirs_.push_back(y), steps_of_.push_back(s), ro_.push_back(1 / ys);
      h_diag = ys / value_of(dot(y, y, at));
    }
    const std::size_t n = dirs_.size();
    std::vector<double> a(n);
    auto q = neg(grad_, at);
    for (std::size_t i = n; i-- > 0;) {
      a[i] = value_of(dot(steps_of_[i], q, at)) * ro_[i];
      sub_(q, mul(dirs_[i], a[i], at), at);
    }
    mul_(q, h_diag, at);
    for (std::size_t i = 0; i < n; ++i)
      add_(q, mul(steps_of_[i], a[i] - value_of(dot(dirs_[i], q, at)) * ro_[i], at), at);
    d_ = q;
  }
  /// Changes t to a length that fulfils the strong Wolfe conditions and grad_ to the gradient there; returns the loss there.
  template <class F>
  double strong_wolfe(F at_length, double& t, double f, double slope, double tolerance, Where at) {
    constexpr double c1 = 1e-4, c2 = 0.9;
    constexpr int max_ls = 25;
    struct Point {
      double t, f, slope;
      Compute g;
    };
    const double size = largest(d_, at);
    const auto evaluate = [&](double length) {
      const double value = at_length(length);
      return Point{length, value, value_of(dot(grad_, d_, at)), grad_};
    };
    const Point start{0, f, slope, grad_};
    Point last = start, now = evaluate(t), bracket[2] = {start, start};
    bool done = false;
    int k = 0;
    for (; k < max_ls; ++k) {
      const bool too_far = now.f > f + c1 * now.t * slope || (k > 1 && now.f >= last.f);
      done = !too_far && std::fabs(now.slope) <= -c2 * slope;
      if (too_far || done || now.slope >= 0) {
        bracket[0] = done ? now : last, bracket[1] = now;
        break;
      }
      const double next = detail::cubic_minimum(last.t, last.f, last.slope, now.t, now.f, now.slope,
                                                now.t + 0.01 * (now.t - last.t), now.t * 10);
      last = now;
      now = evaluate(next);
    }
    if (k == max_ls) bracket[0] = start, bracket[1] = now;
    bool stuck = false;
    int low = bracket[0].f <= bracket[1].f ? 0 : 1;
    while (!done && k < max_ls) {
      const double lo = std::min(bracket[0].t, bracket[1].t), hi = std::max(bracket[0].t, bracket[1].t);
      if ((hi - lo) * size < tolerance) break;
      double x = detail::cubic_minimum(bracket[0].t, bracket[0].f, bracket[0].slope, bracket[1].t, bracket[1].f, bracket[1].slope,
                                       lo, hi);
      const double margin = 0.1 * (hi - lo);
      if (std::min(hi - x, x - lo) < margin) {
        if (stuck || x >= hi || x <= lo) {
          x = std::fabs(x - hi) < std::fabs(x - lo) ? hi - margin : lo + margin;
          stuck = false;
        } else {
          stuck = true;
        }
      } else {
        stuck = false;
      }
      now = evaluate(x);
      ++k;
      if (now.f > f + c1 * now.t * slope || now.f >= bracket[low].f) {
        bracket[1 - low] = now;
        low = bracket[0].f <= bracket[1].f ? 0 : 1;
      } else {
        if (std::fabs(now.slope) <= -c2 * slope) done = true;
        else if (now.slope * (bracket[1 - low].t - bracket[low].t) >= 0) bracket[1 - low] = bracket[low];
        bracket[low] = now;
      }
    }
    t = bracket[low].t;
    grad_ = bracket[low].g;
    return bracket[low].f;
  }

  void save_more(nn::StateDict& dict) override {
    if (d_.defined()) dict["d"] = d_, dict["prev_flat_grad"] = before_;
    for (std::size_t i = 0; i < dirs_.size(); ++i) {
      const std::string k = "." + std::to_string(i);
      dict["old_dirs" + k] = dirs_[i], dict["old_stps" + k] = steps_of_[i], dict["ro" + k] = scalar<double>(ro_[i]);
    }
  }
  std::size_t load_more(const nn::StateDict& dict, Where at) override {
    std::size_t used = 0;
    const auto take = [&](const std::string& name, Compute& x) {
      const auto found = dict.find(name);
      if (found == dict.end()) return false;
      x = Compute(found->second.shape(), at);
      detail::assign(x, found->second, at);
      return ++used, true;
    };
    dirs_.clear(), steps_of_.clear(), ro_.clear();
    if (!take("d", d_)) d_ = {};
    if (!take("prev_flat_grad", before_)) before_ = {};
    for (Compute y, s;;) {
      const std::string k = "." + std::to_string(dirs_.size());
      const auto ro = dict.find("ro" + k);
      if (ro == dict.end() || !take("old_dirs" + k, y) || !take("old_stps" + k, s)) break;
      dirs_.push_back(y), steps_of_.push_back(s);
      ro_.push_back(ro->second.template as<double, Cpu>(at).item());
      ++used;
    }
    return used;
  }

  Compute d_, grad_, before_;
  std::deque<Compute> dirs_, steps_of_;
  std::deque<double> ro_;
  int t_ = this->value_slot("t", 0), n_iter_ = this->value_slot("n_iter", 0), h_diag_ = this->value_slot("H_diag", 1);
  int evals_ = this->value_slot("func_evals", 0), prev_loss_ = this->value_slot("prev_loss", 0);
};
template <nn::Module M>
Lbfgs(M&, LbfgsOptions = {}, Where = {}) -> Lbfgs<nn::element_of<M>, nn::device_type_of<M>>;
template <class T, class D>
Lbfgs(std::vector<Tensor<T, D>>, LbfgsOptions = {}, Where = {}) -> Lbfgs<T, D>;

}  // namespace gradus::optim
