// Schedules: values over time, for a learning rate, weight decay, momentum, a dropout probability, a temperature or a loss weight.
// A schedule is a value that maps a step 0, 1, 2, ... (or an epoch) to a number; it has no state, so that a resumed run needs
// nothing but its step.
//
//   const auto lr = optim::warmup(100, optim::cosine(3e-4, 3e-5, 10000));
//   const auto p = optim::linear(0.5, 0.1, 10000);
//   for (int64_t step = 0; ...) {
//     opt.set_lr(lr(step));
//     opt.options.weight_decay = decay(step);
//     drop.p = p(step);
//
// lr * factor, a + b and lr.delayed(n) make new ones. Plateau, which looks at a metric, is the one with a state.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gradus/core/error.hpp>
#include <gradus/ops/create.hpp>
#include <gradus/nn/module.hpp>

namespace gradus::optim {

class Schedule {
 public:
  /// A constant.
  Schedule(double value) : f_([value](int64_t) { return value; }) {}
  /// Any function of the step.
  template <class F>
  requires(std::invocable<const F&, int64_t> && !std::same_as<F, Schedule>) Schedule(F f) : f_(std::move(f)) {}

  double operator()(int64_t step) const { return f_(step); }
  /// The same, n steps later; its first value until then.
  Schedule delayed(int64_t n) const {
    return Schedule([f = f_, n](int64_t t) { return f(std::max<int64_t>(0, t - n)); });
  }
  /// Within [lo, hi].
  Schedule clamped(double lo, double hi) const {
    return Schedule([f = f_, lo, hi](int64_t t) { return std::min(std::max(f(t), lo), hi); });
  }
  /// The product, e.g. of a base value and factors: PyTorch's ChainedScheduler.
  friend Schedule operator*(const Schedule& a, const Schedule& b) {
    return Schedule([f = a.f_, g = b.f_](int64_t t) { return f(t) * g(t); });
  }
  friend Schedule operator+(const Schedule& a, const Schedule& b) {
    return Schedule([f = a.f_, g = b.f_](int64_t t) { return f(t) + g(t); });
  }
  /// The first n values, for a plot.
  std::vector<double> values(int64_t n) const {
    std::vector<double> v;
    for (int64_t t = 0; t < n; ++t) v.push_back(f_(t));
    return v;
  }

 private:
  std::function<double(int64_t)> f_;
};

namespace detail {
inline void check_steps(const char* op, const char* name, int64_t n, Where at) {
  if (n < 1) fail(op, "a schedule of no length", {{name, std::to_string(n)}}, "at least 1 step", at);
}
/// How far t is in [0, total], as a number in [0, 1].
inline double part_of(int64_t t, int64_t total) {
  return std::min(1.0, std::max(0.0, static_cast<double>(t) / static_cast<double>(total)));
}
/// From a to b along half a cosine.
inline double half_cosine(double a, double b, double part) { return b + (a - b) * 0.5 * (1 + std::cos(3.14159265358979323846 * part)); }
}  // namespace detail

inline Schedule constant(double v) { return Schedule(v); }

/// v factor^floor(t / every)
inline Schedule step_decay(double v, int64_t every, double factor = 0.1, Where at = Where::current()) {
  detail::check_steps("step_decay", "every", every, at);
  return Schedule([=](int64_t t) { return v * std::pow(factor, static_cast<double>(t / every)); });
}
/// v factor^n, n the number of milestones that are reached.
inline Schedule multi_step(double v, std::vector<int64_t> milestones, double factor = 0.1) {
  return Schedule([=](int64_t t) {
    return v * std::pow(factor, static_cast<double>(std::count_if(milestones.begin(), milestones.end(), [t](int64_t m) { return t >= m; })));
  });
}
/// v factor^t
inline Schedule exponential(double v, double factor) {
  return Schedule([=](int64_t t) { return v * std::pow(factor, static_cast<double>(t)); });
}
/// From `from` to `to` over `total` steps: to + (from - to) (1 - t / total)^power.
inline Schedule polynomial(double from, double to, int64_t total, double power = 1, Where at = Where::current()) {
  detail::check_steps("polynomial", "total", total, at);
  return Schedule([=](int64_t t) { return to + (from - to) * std::pow(1 - detail::part_of(t, total), power); });
}
/// A straight line from `from` to `to`, which it reaches at step `total`.
inline Schedule linear(double from, double to, int64_t total, Where at = Where::current()) {
  return polynomial(from, to, total, 1, at);
}
/// Half a cosine from `from` to `to`, which it reaches at step `total` and keeps. Loshchilov & Hutter 2017.
inline Schedule cosine(double from, double to, int64_t total, Where at = Where::current()) {
  detail::check_steps("cosine", "total", total, at);
  return Schedule([=](int64_t t) { return detail::half_cosine(from, to, detail::part_of(t, total)); });
}
/// SGDR: half cosines of lengths first, first * mult, first * mult^2, ..., each begun at `from` * decay^i. Loshchilov & Hutter
/// 2017, eq. 5.
inline Schedule cosine_restarts(double from, double to, int64_t first, int64_t mult = 1, double decay = 1,
                                Where at = Where::current()) {
  detail::check_steps("cosine_restarts", "first", first, at);
  detail::check_steps("cosine_restarts", "mult", mult, at);
  return Schedule([=](int64_t t) {
    int64_t length = first, i = 0;
    if (mult == 1) i = t / first, t %= first;
    else
      for (; t >= length; length *= mult, ++i) t -= length;
    return detail::half_cosine(from * std::pow(decay, static_cast<double>(i)), to, detail::part_of(t, length));
  });
}
/// A linear rise over n steps to the first value of `then`, which follows: value(t) = then(0) (t + 1) / n for t < n.
inline Schedule warmup(int64_t n, const Schedule& then, double from = 0, Where at = Where::current()) {
  if (n < 0) fail("warmup", "a negative length", {{"n", std::to_string(n)}}, "0 or more steps", at);
  return Schedule([=](int64_t t) {
    if (t >= n) return then(t - n);
    return from + (then(0) - from) * static_cast<double>(t + 1) / static_cast<double>(n);
  });
}

struct OneCycleOptions {
  double start = 0.3;        ///< the part of the run in which the value rises
  double div = 25;           ///< it begins at max / div ...
  double final_div = 1e4;    ///< ... and ends at max / div / final_div
  bool linear = false;       ///< straight lines instead of half cosines
  bool three_phase = false;  ///< back to max / div first, then down
};
/// Up to `max` and down again in `total` steps. Smith & Topin 2018; as in PyTorch.
inline Schedule one_cycle(double max, int64_t total, OneCycleOptions o = {}, Where at = Where::current()) {
  detail::check_steps("one_cycle", "total", total, at);
  if (!(o.start >= 0 && o.start <= 1)) fail("one_cycle", "not a part", {{"start", std::to_string(o.start)}}, "a number in [0, 1]", at);
  const double low = max / o.div, end = low / o.final_div, rise = o.start * static_cast<double>(total) - 1;
  std::vector<double> until{rise}, value{low, max};
  if (o.three_phase) until.push_back(2 * rise), value.push_back(low);
  until.push_back(static_cast<double>(total - 1)), value.push_back(end);
  return Schedule([=](int64_t step) {
    const double t = std::min(static_cast<double>(step), static_cast<double>(total - 1));
    double begin = 0;
    for (std::size_t k = 0;; begin = until[k++]) {
      if (t > until[k] && k + 1 < until.size()) continue;
      const double part = until[k] > begin ? (t - begin) / (until[k] - begin) : 1;
      return o.linear ? value[k] + (value[k + 1] - value[k]) * part : detail::half_cosine(value[k], value[k + 1], part);
    }
  });
}

/// scale d^{-1/2} min(s^{-1/2}, s warmup^{-3/2}) with s = t + 1. Vaswani et al. 2017, eq. 3.
inline Schedule noam(int64_t d_model, int64_t warmup, double scale = 1, Where at = Where::current()) {
  detail::check_steps("noam", "d_model", d_model, at);
  detail::check_steps("noam", "warmup", warmup, at);
  return Schedule([=](int64_t t) {
    const double s = static_cast<double>(t + 1), w = static_cast<double>(warmup);
    return scale / std::sqrt(static_cast<double>(d_model)) * std::min(1 / std::sqrt(s), s / (w * std::sqrt(w)));
  });
}
/// A linear rise to v over `warmup` steps, then v sqrt(warmup / (t + 1)). Raffel et al. 2020, and fairseq.
inline Schedule inverse_sqrt(double v, int64_t warmup, Where at = Where::current()) {
  detail::check_steps("inverse_sqrt", "warmup", warmup, at);
  return Schedule([=](int64_t t) {
    const double s = static_cast<double>(t + 1), w = static_cast<double>(warmup);
    return s < w ? v * s / w : v * std::sqrt(w / s);
  });
}
/// Warm-up, stable, decay: a linear rise over `warmup` steps, v, and over the last `decay` of `total` steps down to `end`.
enum class WsdDecay {
  linear,   ///< Zhai et al. 2022
  cosine,
  sqrt,     ///< end + (v - end) (1 - sqrt(part)): Haegele et al. 2024, eq. 1
  halving   ///< v 0.5^{10 part}: Hu et al. 2024 (MiniCPM)
};
inline Schedule wsd(double v, int64_t warmup, int64_t decay, int64_t total, double end = 0, WsdDecay kind = WsdDecay::linear,
                    Where at = Where::current()) {
  detail::check_steps("wsd", "total", total, at);
  if (warmup < 0 || decay < 1 || warmup + decay > total)
    fail("wsd", "the parts do not fit", {{"warmup", std::to_string(warmup)}, {"decay", std::to_string(decay)}, {"total", std::to_string(total)}},
         "warmup >= 0, decay >= 1, warmup + decay <= total", at);
  return Schedule([=](int64_t t) {
    if (t < warmup) return v * static_cast<double>(t + 1) / static_cast<double>(warmup);
    const double part = detail::part_of(t - (total - decay), decay);
    switch (kind) {
      case WsdDecay::linear: return v + (end - v) * part;
      case WsdDecay::cosine: return detail::half_cosine(v, end, part);
      case WsdDecay::sqrt: return end + (v - end) * (1 - std::sqrt(part));
      case WsdDecay::halving: break;
    }
    return v * std::pow(0.5, 10 * part);
  });
}
/// v (1 - t / total) / (1/2 + (1 - t / total) / 2). Chen, Wolfe, Kyrillidis 2022.
inline Schedule rex(double v, int64_t total, Where at = Where::current()) {
  detail::check_steps("rex", "total", total, at);
  return Schedule([=](int64_t t) {
    const double left = 1 - detail::part_of(t, total);
    return v * left / (0.5 + 0.5 * left);
  });
}

enum class Cycle {
  triangular,   ///< the same peak each time
  triangular2,  ///< half as high each time
  exponential   ///< times gamma^t
};
/// From `low` up to `high` in `up` steps and back in `down` steps (0: as many), again and again. Smith 2017.
inline Schedule cyclic(double low, double high, int64_t up, int64_t down = 0, Cycle kind = Cycle::triangular, double gamma = 1,
                       Where at = Where::current()) {
  detail::check_steps("cyclic", "up", up, at);
  if (down < 0) fail("cyclic", "a negative length", {{"down", std::to_string(down)}}, "0 or more steps", at);
  const int64_t back = down == 0 ? up : down;
  return Schedule([=](int64_t t) {
    const int64_t round = t / (up + back), x = t % (up + back);
    const double part = x <= up ? static_cast<double>(x) / static_cast<double>(up)
                                : 1 - static_cast<double>(x - up) / static_cast<double>(back);
    double scale = 1;
    if (kind == Cycle::triangular2) scale = std::pow(0.5, static_cast<double>(round));
    if (kind == Cycle::exponential) scale = std::pow(gamma, static_cast<double>(t));
    return low + (high - low) * part * scale;
  });
}

/// The steps of Chebyshev's method on curvatures in [smallest, largest], in the fractal order that keeps it stable, again and
/// again: 1 / (c - r cos((2 i + 1) pi / (2 n))), c and r the middle and half the width. n is a power of two. Agarwal, Goel,
/// Zhang 2021, eq. 3 and definition 3.
inline Schedule chebyshev(double smallest, double largest, int64_t n, Where at = Where::current()) {
  if (!(smallest > 0 && largest > smallest) || n < 1 || (n & (n - 1)) != 0)
    fail("chebyshev", "options out of range",
         {{"smallest", std::to_string(smallest)}, {"largest", std::to_string(largest)}, {"n", std::to_string(n)}},
         "0 < smallest < largest, n a power of two", at);
  std::vector<int64_t> order{0};
  while (static_cast<int64_t>(order.size()) < n) {
    std::vector<int64_t> next;
    for (const int64_t i : order) next.push_back(i), next.push_back(2 * static_cast<int64_t>(order.size()) - 1 - i);
    order = std::move(next);
  }
  return Schedule([=](int64_t t) {
    const double i = static_cast<double>(order[static_cast<std::size_t>(t % n)]);
    return 1 / ((largest + smallest) / 2 - (largest - smallest) / 2 * std::cos(3.14159265358979323846 * (2 * i + 1) / static_cast<double>(2 * n)));
  });
}

/// Schedules one after the other: parts[0] until step starts[0], then parts[1], ...; each begins at its own step 0.
inline Schedule sequential(std::vector<Schedule> parts, std::vector<int64_t> starts, Where at = Where::current()) {
  if (parts.empty() || starts.size() + 1 != parts.size() || !std::is_sorted(starts.begin(), starts.end()))
    fail("sequential", "parts and starts do not fit", {{"parts", std::to_string(parts.size())}, {"starts", std::to_string(starts.size())}},
         "one start less than parts, in rising order", at);
  return Schedule([=](int64_t t) {
    std::size_t k = 0;
    while (k < starts.size() && t >= starts[k]) ++k;
    return parts[k](k == 0 ? t : t - starts[k - 1]);
  });
}

struct PlateauOptions {
  double factor = 0.1;     ///< the value times this ...
  int64_t patience = 10;   ///< ... after more than so many reports without improvement
  double threshold = 1e-4; ///< what counts as improvement
  bool relative = true;    ///< threshold is a part of the best metric
  bool maximize = false;   ///< the metric should rise
  int64_t cooldown = 0;    ///< reports after a change during which none is counted
  double min = 0;
};
/// A value that shrinks when a metric stops improving.
///     optim::Plateau lr(0.1, {.patience = 3});   ... opt.set_lr(lr.report(validation_loss)); ...
class Plateau {
 public:
  PlateauOptions options;
  explicit Plateau(double value, PlateauOptions o = {}, Where at = Where::current()) : options(o), value_(value) {
    if (!(o.factor > 0 && o.factor < 1) || o.patience < 0 || o.cooldown < 0)
      fail("Plateau", "options out of range", {{"factor", std::to_string(o.factor)}, {"patience", std::to_string(o.patience)}, {"cooldown", std::to_string(o.cooldown)}},
           "0 < factor < 1, patience and cooldown >= 0", at);
    best_ = worst();
  }
  double value() const { return value_; }
  double report(double metric) {
    const double margin = options.relative ? options.threshold * std::fabs(best_) : options.threshold;
    const bool first = best_ == worst();
    const bool better = first ? metric == metric : options.maximize ? metric > best_ + margin : metric < best_ - margin;
    if (better) best_ = metric, bad_ = 0;
    else ++bad_;
    if (cooling_ > 0) --cooling_, bad_ = 0;
    if (bad_ > options.patience) {
      const double next = std::max(value_ * options.factor, options.min);
      if (value_ - next > 1e-8) value_ = next;
      cooling_ = options.cooldown, bad_ = 0;
    }
    return value_;
  }
  nn::StateDict state_dict() const {
    return {{"", from_vector(std::vector<double>{value_, best_, static_cast<double>(bad_), static_cast<double>(cooling_)})}};
  }
  void load_state_dict(const nn::StateDict& dict, Where at = Where::current()) {
    const auto found = dict.find("");
    if (found == dict.end() || found->second.numel() != 4)
      fail("Plateau", "not the state of a plateau", {}, "one tensor float64 [4]", at);
    const auto v = found->second.as<double, Cpu>(at).to_vector();
    value_ = v[0], best_ = v[1], bad_ = static_cast<int64_t>(v[2]), cooling_ = static_cast<int64_t>(v[3]);
  }

 private:
  double worst() const { return options.maximize ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity(); }
  double value_, best_ = 0;
  int64_t bad_ = 0, cooling_ = 0;
};

// -- plain functions of the step ------------------------------------------------------------------------------------------

/// lr * factor^floor(epoch / every)
inline double step_lr(double lr, int64_t epoch, int64_t every, double factor = 0.1) {
  return lr * std::pow(factor, static_cast<double>(epoch / every));
}
/// lr * factor for each milestone that is reached.
inline double multi_step_lr(double lr, int64_t epoch, std::initializer_list<int64_t> milestones, double factor = 0.1) {
  for (const int64_t m : milestones) lr *= epoch >= m ? factor : 1;
  return lr;
}
/// From lr at step 0 to `end` at step `total` along half a cosine, after a linear rise over `warmup` steps. Loshchilov & Hutter
/// 2017.
inline double cosine_lr(double lr, int64_t step, int64_t total, int64_t warmup = 0, double end = 0) {
  if (step < warmup) return lr * static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (step >= total) return end;
  const double part = static_cast<double>(step - warmup) / static_cast<double>(total - warmup);
  return end + (lr - end) * 0.5 * (1 + std::cos(3.14159265358979323846 * part));
}

}  // namespace gradus::optim
