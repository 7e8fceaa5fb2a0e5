// Dropout of units and channels, and multiplicative and additive noise. Formulas and sources are at the functions in
// ops/dropout.hpp.
#pragma once
#include <gradus/nn/dropout/modes.hpp>

namespace gradus::nn {

/// 0 with probability p, else x / (1 - p); x itself in evaluation. `classic` is the form of the first papers: kept units are
/// not scaled in training, and evaluation multiplies by 1 - p. Hinton et al. 2012; Srivastava et al. 2014, section 4.
struct Dropout : DropLayer<Dropout> {
  bool classic = false;
  explicit Dropout(double p = 0.5, Where at = Where::current()) : DropLayer("Dropout", p, at) {}
  /// Scales in evaluation, not in training.
  static Dropout scaled_at_test(double p, Where at = Where::current()) {
    Dropout d(p, at);
    d.classic = true;
    return d;
  }
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (!classic) return dropout(x, p, active(), at);
    return !active() ? mul(x, 1 - p, at) : p > 0 ? drop(x, Bernoulli{p}, {}, at) : x;
  }
  std::string about() const { return Dropping::about() + (classic ? ", scaled at test" : ""); }
};

/// Whole channels of [N, C, spatial...] or [C, spatial...] with n spatial axes. Tompson, Goroshin, Jain, LeCun, Bregler, CVPR
/// 2015 ("spatial dropout").
template <int n>
struct ChannelDropout : DropLayer<ChannelDropout<n>> {
  explicit ChannelDropout(double p = 0.5, Where at = Where::current())
      : DropLayer<ChannelDropout<n>>("ChannelDropout", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (x.rank() != n + 1 && x.rank() != n + 2)
      fail("ChannelDropout", "not channels of " + std::to_string(n) + " spatial axes", {{"x", describe(x)}},
           std::to_string(n + 1) + " or " + std::to_string(n + 2) + " dimensions", at);
    Shape spatial;
    for (int i = 1; i <= n; ++i) spatial.push_back(-i);
    return shared_dropout(x, this->p, spatial, this->active(), at);
  }
  std::string module_type() const { return "Dropout" + std::to_string(n) + "d"; }
};
using Dropout1d = ChannelDropout<1>;
using Dropout2d = ChannelDropout<2>;
using Dropout3d = ChannelDropout<3>;

/// Keeps mean 0 and variance 1: dropped units take SELU's negative limit. Klambauer et al. 2017.
struct AlphaDropout : DropLayer<AlphaDropout> {
  explicit AlphaDropout(double p = 0.5, Where at = Where::current()) : DropLayer("AlphaDropout", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return alpha_dropout(x, p, active(), Dims(Shape{}), at);
  }
};
/// The same for whole channels of [N, C, ...].
struct FeatureAlphaDropout : DropLayer<FeatureAlphaDropout> {
  explicit FeatureAlphaDropout(double p = 0.5, Where at = Where::current()) : DropLayer("FeatureAlphaDropout", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (x.rank() < 2) fail("FeatureAlphaDropout", "no channels", {{"x", describe(x)}}, "x [N, C, ...]", at);
    Shape spatial;
    for (int i = 2; i < x.rank(); ++i) spatial.push_back(i);
    return alpha_dropout(x, p, active(), Dims(spatial), at);
  }
};

/// x N(1, p / (1 - p)). Srivastava et al. 2014, section 10.
struct GaussianDropout : DropLayer<GaussianDropout> {
  explicit GaussianDropout(double p = 0.5, Where at = Where::current()) : DropLayer("GaussianDropout", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return gaussian_dropout(x, p, active(), at);
  }
};
/// x U, uniform with the mean and variance of dropout. Shen et al. 2018.
struct UniformDropout : DropLayer<UniformDropout> {
  explicit UniformDropout(double p = 0.5, Where at = Where::current()) : DropLayer("UniformDropout", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return uniform_dropout(x, p, active(), at);
  }
};

/// x + N(0, deviation^2).
struct GaussianNoise {
  double deviation = 0.1;
  bool training = true, monte_carlo = false;
  explicit GaussianNoise(double deviation, Where at = Where::current()) : deviation(deviation) {
    if (!(deviation >= 0))
      fail("GaussianNoise", "not a deviation", {{"deviation", std::to_string(deviation)}}, "deviation >= 0", at);
  }
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return gaussian_noise(x, deviation, training || monte_carlo, at);
  }
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const {
    return forward(x, at);
  }
  void visit(auto&& f) { f("training", training), f("monte_carlo", monte_carlo, stays); }
  std::string about() const {
    char text[48];
    std::snprintf(text, sizeof text, "deviation = %g", deviation);
    return text;
  }
};

/// Dropout with its mask in hand: y = x psi / (1 - p) for psi of x's shape.
///   sample   psi ~ Bernoulli(1 - p), kept in `mask` (what was sampled, not where y is 0)
///   use      psi = `mask`, any real numbers; differentiable in x and in psi
///   off      y = x
/// Evaluation is `off`. Scheliga, Maeder, Seeland, "Dropout is NOT all you need to prevent gradient leakage", AAAI 2023,
/// optimise psi together with the input. For nets that use other layers: track_dropout_mask and use_dropout_mask
/// (ops/mask.hpp).
template <class T = float, class D = Cpu>
struct MaskDropout : DropLayer<MaskDropout<T, D>> {
  using value_type = T;
  using device_type = D;
  enum class Mode { sample, use, off };
  Mode mode = Mode::sample;
  mutable Tensor<T, D> mask;

  explicit MaskDropout(double p = 0.5, Where at = Where::current()) : DropLayer<MaskDropout<T, D>>("MaskDropout", p, at) {}
  template <class U, class E>
  explicit MaskDropout(const MaskDropout<U, E>& o, Where at = Where::current())
      : MaskDropout(o.p, at) {
    this->take_modes(o), mode = static_cast<Mode>(o.mode), mask = converted<T, D>(o.mask, at);
  }
  void use(const Tensor<T, D>& psi) { mask = psi, mode = Mode::use; }
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (!this->active() || mode == Mode::off) return x;
    const Outcome o{gradus::detail::keep_scale(this->p)};
    if (mode == Mode::use) {
      if (!mask.defined())
        fail("MaskDropout", "no mask to use", {{"x", describe(x)}}, "use(mask), or a run in mode sample before", at);
      return drop_with(x, mask, o, at);
    }
    const RandomStream s = generator().draw();
    mask = cast<T>(keep<D>(s, x.shape(), Shape{}, this->p, at), at);
    return drop(x, Bernoulli{this->p}, o, s, at);
  }
};

}  // namespace gradus::nn
