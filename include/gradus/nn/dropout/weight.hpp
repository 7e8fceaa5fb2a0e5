// Dropout of weights.
#pragma once
#include <gradus/nn/dropout/modes.hpp>
#include <gradus/nn/init.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/ops/sort.hpp>

namespace gradus::nn {

/// Weights themselves: W with entries 0 with probability p, else W / (1 - p). Called once a sequence it is weight-drop: every
/// time step then sees one mask. Merity, Keskar, Socher, "Regularizing and optimizing LSTM language models" (AWD-LSTM), ICLR
/// 2018.
///
///   const auto w_hh = drop(cell.weight_hh);             // once
///   for (t...) std::tie(h, c) = lstm_step(x_t, h, c, w_ih, w_hh);
struct WeightDrop : DropLayer<WeightDrop> {
  explicit WeightDrop(double p = 0.5, Where at = Where::current()) : DropLayer("WeightDrop", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& w, Where at = Where::current()) const {
    return dropout(w, p, active(), at);
  }
};

/// A linear layer that drops weights, not units: y = x (M * W)^T / (1 - p) + b, one mask a call. Wan, Zeiler, Zhang, LeCun,
/// Fergus, ICML 2013. In evaluation either the mean weights (`moments` off), or, as in the paper's section 4.2, a normal draw
/// with the mean and variance of each unit's input, averaged over `draws` after the activation (done by the caller: sample()).
template <class T = float, class D = Cpu>
struct DropConnect : DropLayer<DropConnect<T, D>> {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> weight, bias;  // [out, in], [out] or undefined

  DropConnect(int64_t in, int64_t out, double p = 0.5, bool with_bias = true, Where at = Where::current())
      : DropLayer<DropConnect<T, D>>("DropConnect", p, at) {
    if (in < 1 || out < 1)
      fail("DropConnect", "no features", {{"in", std::to_string(in)}, {"out", std::to_string(out)}}, "at least 1 of each", at);
    weight = init::fan_in_uniform<T, D>({out, in}, static_cast<double>(in), at);
    if (with_bias) bias = init::fan_in_uniform<T, D>({out}, static_cast<double>(in), at);
  }
  template <class U, class E>
  explicit DropConnect(const DropConnect<U, E>& o, Where at = Where::current())
      : DropLayer<DropConnect<T, D>>("DropConnect", o.p, at),
        weight(converted<T, D>(o.weight, at)),
        bias(converted<T, D>(o.bias, at)) {
    this->take_modes(o);
  }
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return linear(x, dropout(weight, this->p, this->active(), at), bias, at);
  }
  /// One draw of the normal that matches mean x W^T + b and variance p / (1 - p) x^2 (W^2)^T of forward's training output.
  Tensor<T, D> sample(const Tensor<T, D>& x, Where at = Where::current()) const {
    const auto mean = linear(x, weight, bias, at);
    const auto variance = mul(linear(square(x, at), square(weight, at), {}, at), this->p / (1 - this->p), at);
    return add(mean, mul(sqrt(variance, at), randn<T, D>(mean.shape(), at), at), at);
  }
  void visit(auto&& f) { Dropping::visit(f), f("weight", weight), f("bias", bias); }
};

/// Weights go back to pre-trained values: W' = (m W + (1 - m) W0 - p W0) / (1 - p), so that E W' = W. Lee, Cho, Kang, "Mixout",
/// ICLR 2020, eq. 4. W0 = 0 is dropout.
struct Mixout : Dropping {
  explicit Mixout(double p = 0.5, Where at = Where::current()) : Dropping("Mixout", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& w, const Tensor<T, D>& w0, Where at = Where::current()) const {
    if (!active() || p == 0) return w;
    if (p == 1) return w0;
    return add(dropout(sub(w, w0, at), p, true, at), w0, at);  // m (W - W0) / (1 - p) + W0: the same
  }
};

/// A share of the weights is quantised (int8 style: `bits` levels over the range), the rest passes; gradients pass through as
/// they are. Fan, Stock, Graham et al., "Training with quantization noise for extreme model compression", ICLR 2021. Blocks of
/// `block` consecutive inputs share a fate. Evaluation quantises all.
struct QuantNoise : DropLayer<QuantNoise> {
  int bits = 8;
  int64_t block = 8;
  explicit QuantNoise(double p = 0.1, int bits = 8, int64_t block = 8, Where at = Where::current())
      : DropLayer("QuantNoise", p, at), bits(bits), block(block) {
    if (bits < 1 || bits > 16 || block < 1)
      fail("QuantNoise", "parameters out of range", {{"bits", std::to_string(bits)}, {"block", std::to_string(block)}},
           "1 <= bits <= 16, block >= 1", at);
  }
  /// The nearest of 2^bits levels between the smallest and the largest weight.
  template <class T, class D>
  Tensor<T, D> quantise(const Tensor<T, D>& w, Where at = Where::current()) const {
    const NoGrad guard;
    const auto lo = amin(w, {}, false, at), range = sub(amax(w, {}, false, at), lo, at);
    const double levels = static_cast<double>((int64_t{1} << bits) - 1);
    const auto unit = where(equal(range, 0, at), 1.0, range, at);
    return add(mul(mul(round(mul(div(sub(w, lo, at), unit, at), levels, at), at), 1 / levels, at), unit, at), lo, at);
  }
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& w, Where at = Where::current()) const {
    if (w.rank() != 2 || w.shape()[1] % block != 0)
      fail("QuantNoise", "the weights do not divide into blocks", {{"w", describe(w)}, {"block", std::to_string(block)}},
           "w [out, in], in a multiple of the block", at);
    const auto q = quantise(w.detach(), at);
    if (!active()) return straight_through(w, q, at);
    const Shape blocks{w.shape()[0], w.shape()[1] / block, block};
    const auto as_is = gradus::reshape(expand(keep<D>(generator().draw(), blocks, -1, p, at), blocks, at), w.shape(), at);
    return straight_through(w, where(as_is, w.detach(), q, at), at);
  }
};

/// Of each row of W the share `targeted` with the smallest |w| may be dropped, with probability p; what stays is not scaled, so
/// a net can be pruned there afterwards. Gomez, Zhang, Swersky, Gal, Hinton, "Targeted dropout", 2018. Evaluation: W.
struct TargetedDropout : DropLayer<TargetedDropout> {
  double targeted = 0.5;
  explicit TargetedDropout(double p = 0.5, double targeted = 0.5, Where at = Where::current())
      : DropLayer("TargetedDropout", p, at), targeted(targeted) {
    gradus::detail::check_probability("TargetedDropout", targeted, at);
  }
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& w, Where at = Where::current()) const {
    if (!active()) return w;
    if (w.rank() < 1) fail("TargetedDropout", "no rows", {{"w", describe(w)}}, "w [..., in]", at);
    const auto chance = no_grad([&] {
      const auto rank = argsort(argsort(abs(w.detach(), at), -1, false, at), -1, false, at);  // 0: the smallest
      const auto small = less(rank, std::floor(targeted * static_cast<double>(w.shape().back())), at);
      return mul(cast<T>(small, at), p, at);
    });
    return drop(w, BernoulliEach<T, D>(chance), {}, at);
  }
};

/// y = x, but entries of the gradient are dropped with probability p and the others scaled by 1 / (1 - p): an unbiased, noisy
/// gradient. Neelakantan et al. 2015 add noise; Tseng et al., "Gradient dropout", ACCV 2020, drop entries.
struct GradientDropout : DropLayer<GradientDropout> {
  explicit GradientDropout(double p = 0.5, Where at = Where::current()) : DropLayer("GradientDropout", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return training && p > 0 ? straight_through(dropout(x, p, true, at), x, at) : x;  // x forward, the mask backward
  }
};

}  // namespace gradus::nn
