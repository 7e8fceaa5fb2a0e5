// What all dropout layers share: a rate, three modes, and functions that set them for a whole net.
//
//   training              drops                               train(net), eval(net)
//   evaluation            the identity (or the expectation)
//   monte_carlo           drops in evaluation too             monte_carlo(net), for Gal & Ghahramani, ICML 2016
//
// Schedules on p: set_dropout(net, value) in the training loop, with value from
//
//   linear_rate        from one value to another      ScheduledDropPath: Zoph et al., CVPR 2018; DropBlock: Ghiasi et al. 2018
//   curriculum_rate    p (1 - e^{-gamma t})           Morerio et al., "Curriculum dropout", ICCV 2017
//   annealed_rate      p max(0, 1 - t / T)            Rennie et al., "Annealed dropout training", SLT 2014
//   early_rate         p before t0, then 0            Liu et al., "Dropout reduces underfitting", ICML 2023
//   late_rate          0 before t0, then p            the same paper
#pragma once
#include <algorithm>
#include <cmath>

#include <gradus/nn/module.hpp>
#include <gradus/ops/dropout.hpp>

namespace gradus::nn {

/// The members of a dropout layer.
struct Dropping {
  double p = 0.5;  ///< the probability of DROPPING
  bool training = true;
  bool monte_carlo = false;  ///< stays random in evaluation; train() and eval() leave it alone

  bool active() const { return training || monte_carlo; }
  void visit(auto&& f) { f("training", training), f("monte_carlo", monte_carlo, stays), f("p", p, rate); }
  std::string about() const {
    char text[32];
    std::snprintf(text, sizeof text, "p = %g", p);
    return text;
  }

 protected:
  /// Rate and switches of another layer: for the constructors that change <T, D>.
  void take_modes(const Dropping& o) { p = o.p, training = o.training, monte_carlo = o.monte_carlo; }
  Dropping(const char* layer, double rate, Where at) : p(rate) { gradus::detail::check_probability(layer, rate, at); }
};

/// A dropout layer Self with forward(x, at): gives it operator().
template <class Self>
struct DropLayer : Dropping {
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const {
    return static_cast<const Self&>(*this).forward(x, at);
  }

 protected:
  using Dropping::Dropping;
};

namespace detail {
struct RateVisitor final : Visitor {
  std::function<double(const std::string&, double)> f;
  Where at;
  int64_t found = 0;
  void tensor(const std::string&, AnyTensor&, bool) override {}
  void number(const std::string& path, double& value) override {
    const double p = f(path, value);
    gradus::detail::check_probability("set_dropout", p, at);
    value = p, ++found;
  }
};
struct StaysVisitor final : Visitor {
  bool on = true;
  int64_t found = 0;
  void tensor(const std::string&, AnyTensor&, bool) override {}
  void stays_random(const std::string&, bool& value) override { value = on, ++found; }
};
/// A number in [0, 1) drawn on the host, from the next stream.
inline double host_uniform() {
  const RandomStream s = generator().draw();
  const Philox r(s.seed, s.stream, 0);
  return uniform01(r.w[0], r.w[1]);
}
}  // namespace detail

/// p = f(path, p now) for every dropout of the net, path as in "blocks.3.drop.p"; how many there are. Throws when there is
/// none: a schedule without effect is a mistake.
template <Module M, class F>
requires std::invocable<F&, const std::string&, double> int64_t set_dropout(M& net, F f, Where at = Where::current()) {
  detail::RateVisitor v;
  v.f = f, v.at = at;
  v("", net);
  if (v.found == 0)
    fail("set_dropout", "the net has no dropout", {{"net", detail::type_name(typeid(M))}}, "a layer with a rate", at);
  return v.found;
}
/// p of every dropout in the net.
template <Module M>
int64_t set_dropout(M& net, double p, Where at = Where::current()) {
  return set_dropout(
      net, [p](const std::string&, double) { return p; }, at);
}
/// Whether dropout layers stay random in evaluation; how many there are. Batch norm and the like follow eval() alone.
template <Module M>
int64_t monte_carlo(M& net, bool on = true) {
  detail::StaysVisitor v;
  v.on = on;
  v("", net);
  return v.found;
}

// -- schedules: t counts steps or epochs --------------------------------------------------------------------------------------

/// From `first` at t = 0 to `last` at t = T, `last` after.
inline double linear_rate(double first, double last, double t, double T) {
  return first + (last - first) * std::clamp(T > 0 ? t / T : 1.0, 0.0, 1.0);
}
inline double curriculum_rate(double p, double gamma, double t) { return p * -std::expm1(-gamma * t); }
inline double annealed_rate(double p, double t, double T) { return p * std::max(0.0, 1 - (T > 0 ? t / T : 1.0)); }
inline double early_rate(double p, double t, double t0) { return t < t0 ? p : 0; }
inline double late_rate(double p, double t, double t0) { return t < t0 ? 0 : p; }

// -- Monte Carlo --------------------------------------------------------------------------------------------------------------

/// Mean and variance of `passes` results, element by element; the variance divides by `passes`.
template <class T, class D>
struct MonteCarlo {
  Tensor<T, D> mean, variance;
  int64_t passes = 0;
};
/// f() many times without recording: the predictive mean, and the variance that is the model's uncertainty. Gal & Ghahramani
/// 2016, eq. 6 and the sum in eq. 7. Two tensors are kept, whatever the number of passes (Welford 1962).
template <class F>
auto monte_carlo_predict(F f, int64_t passes, Where at = Where::current()) {
  const NoGrad guard;
  using Y = std::remove_cvref_t<decltype(f())>;
  using T = typename Y::value_type;
  using D = typename Y::device_type;
  if (passes < 1) fail("monte_carlo_predict", "no passes", {{"passes", std::to_string(passes)}}, "at least 1", at);
  Tensor<T, D> mean, squares;
  for (int64_t i = 1; i <= passes; ++i) {
    const Tensor<T, D> y = f();
    if (i == 1) {
      mean = clone(y, at), squares = zeros_like(y, at);
      continue;
    }
    const auto before = sub(y, mean, at);
    mean = add(mean, mul(before, 1 / static_cast<double>(i), at), at);
    squares = add(squares, mul(before, sub(y, mean, at), at), at);
  }
  return MonteCarlo<T, D>{mean, mul(squares, 1 / static_cast<double>(passes), at), passes};
}

/// Of class probabilities [S, ..., C] from S passes: the entropy of their mean, the mean of their entropies, and the
/// difference, the mutual information of class and weights (Houlsby et al. 2011, "BALD"); each [...], in nats.
template <class T, class D>
struct ClassUncertainty {
  Tensor<T, D> total, within, mutual;
};
template <Floating T, class D>
ClassUncertainty<T, D> class_uncertainty(const Tensor<T, D>& probabilities, Where at = Where::current()) {
  const auto entropy = [&](const Tensor<T, D>& p) {
    return neg(sum(mul(p, log(maximum(p, gradus::detail::scalar_like(p, 1e-38, at), at), at), at), {-1}, false, at), at);
  };
  const auto total = entropy(mean(probabilities, 0, false, at)), within = mean(entropy(probabilities), 0, false, at);
  return {total, within, sub(total, within, at)};
}

}  // namespace gradus::nn
