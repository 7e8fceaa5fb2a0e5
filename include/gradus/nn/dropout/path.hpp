// Dropping of residual branches, layers and paths, and random mixes of branches.
#pragma once
#include <functional>

#include <gradus/nn/dropout/modes.hpp>

namespace gradus::nn {

namespace detail {
inline Shape all_but_first(const AnyTensor& x) {
  Shape s;
  for (int i = 1; i < x.rank(); ++i) s.push_back(i);
  return s;
}
}  // namespace detail

/// The branch of a residual block, one fate a sample: y_b = 0 with probability p, else x_b / (1 - p), x [B, ...]. Larsson et
/// al. 2017; the residual form of Touvron et al. 2021 and timm. EfficientNet code calls this "drop connect": DropConnect is
/// another thing (nn/dropout/weight.hpp).
struct DropPath : DropLayer<DropPath> {
  explicit DropPath(double p = 0.1, Where at = Where::current()) : DropLayer("DropPath", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (x.rank() < 1) fail("DropPath", "no batch", {{"x", describe(x)}}, "x [B, ...]", at);
    return shared_dropout(x, p, detail::all_but_first(x), active(), at);
  }
};

/// DropPath whose keep probability falls with depth and with time. Zoph, Vasudevan, Shlens, Le, CVPR 2018 (NASNet):
///
///   k_layer = 1 - (c + 1) / C (1 - k_final)          c = 0 ... C - 1 counts all cells
///   k = 1 - min(1, t / T) (1 - k_layer)              t in steps
struct ScheduledDropPath : DropLayer<ScheduledDropPath> {
  int64_t cell, cells;
  double final_keep;
  ScheduledDropPath(int64_t cell, int64_t cells, double final_keep, Where at = Where::current())
      : DropLayer("ScheduledDropPath", 0, at), cell(cell), cells(cells), final_keep(final_keep) {
    if (!(cell >= 0 && cell < cells && final_keep > 0 && final_keep <= 1))
      fail("ScheduledDropPath", "no such cell or keep probability",
           {{"cell", std::to_string(cell)}, {"cells", std::to_string(cells)}, {"final_keep", std::to_string(final_keep)}},
           "0 <= cell < cells, 0 < final_keep <= 1", at);
  }
  double keep_at(double t, double T) const {
    const double layer = 1 - static_cast<double>(cell + 1) / static_cast<double>(cells) * (1 - final_keep);
    return 1 - std::min(1.0, t / T) * (1 - layer);
  }
  /// p for step t of T.
  void set_step(double t, double T) { p = 1 - keep_at(t, T); }
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return shared_dropout(x, p, detail::all_but_first(x), active(), at);
  }
};

/// A residual block whose branch is left out for a whole batch: y = x + b f(x), b ~ Bernoulli(1 - p); evaluation y = x + (1 -
/// p) f(x). A dropped branch is not computed. Huang, Sun, Liu, Sedra, Weinberger, ECCV 2016; p rises linearly with depth, eq.
/// 4: StochasticDepth::rate(l, L, p_L) = l / L p_L for blocks l = 1 ... L.
struct StochasticDepth : Dropping {
  explicit StochasticDepth(double p, Where at = Where::current()) : Dropping("StochasticDepth", p, at) {}
  static double rate(int64_t l, int64_t L, double last) { return static_cast<double>(l) / static_cast<double>(L) * last; }
  template <class F, class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, F&& branch, Where at = Where::current()) const {
    if (!active()) return add(x, mul(branch(x), 1 - p, at), at);
    if (gradus::detail::mask_tape) {  // masks are taken down or given: the branch is needed
      const Tensor<T, D> y = branch(x);
      Shape everything;
      for (int i = 0; i < y.rank(); ++i) everything.push_back(i);
      return add(x, drop(y, Bernoulli{p, everything}, {}, at), at);
    }
    const RandomStream s = generator().draw();
    const bool kept = (Philox(s.seed, s.stream, 0).w[0] >> 8) >= static_cast<uint32_t>(std::ceil(p * 0x1p24));
    return kept ? add(x, branch(x), at) : x;
  }
};

/// Leaves layers out, each for a whole batch with probability p; evaluation runs all, or those that pruned() names. Fan, Grave,
/// Joulin, "Reducing transformer depth on demand with structured dropout", ICLR 2020.
struct LayerDrop : Dropping {
  explicit LayerDrop(double p, Where at = Where::current()) : Dropping("LayerDrop", p, at) {}
  /// Runs x through `layers` (modules or functions from tensor to tensor).
  template <class L, class T, class D>
  Tensor<T, D> forward(Tensor<T, D> x, const std::vector<L>& layers, Where = Where::current()) const {
    for (const auto& layer : layers)
      if (!active() || detail::host_uniform() >= p) x = layer(x);
    return x;
  }
  /// The layers of L that remain when a share `rate` is taken out evenly ("every other", section 3.2): d with
  /// d mod floor(1 / rate) != 0, counted from 0.
  static std::vector<int64_t> pruned(int64_t L, double rate) {
    std::vector<int64_t> stay;
    const int64_t every = rate > 0 ? static_cast<int64_t>(std::floor(1 / rate)) : 0;
    for (int64_t d = 0; d < L; ++d)
      if (every == 0 || d % every != 0) stay.push_back(d);
    return stay;
  }
};

/// The join of a fractal block: the mean of the inputs that are not dropped. Larsson, Maire, Shakhnarovich, ICLR 2017, section
/// 3.1. local: each input with probability p, at least one stays; global: one column for the whole batch, drawn evenly.
struct FractalJoin : Dropping {
  bool global = false;
  explicit FractalJoin(double p = 0.15, bool global = false, Where at = Where::current())
      : Dropping("FractalJoin", p, at), global(global) {}
  template <class T, class D>
  Tensor<T, D> forward(const std::vector<Tensor<T, D>>& columns, Where at = Where::current()) const {
    const std::size_t n = columns.size();
    if (n == 0) fail("FractalJoin", "nothing to join", {}, "at least one column", at);
    std::vector<bool> stays(n, true);
    if (active()) {
      const auto any = static_cast<std::size_t>(detail::host_uniform() * static_cast<double>(n));  // global's, or the survivor
      std::size_t kept = 0;
      for (std::size_t i = 0; i < n; ++i) kept += stays[i] = global ? i == any : detail::host_uniform() >= p;
      if (kept == 0) stays[any] = true;
    }
    Tensor<T, D> y;
    int64_t count = 0;
    for (std::size_t i = 0; i < n; ++i)
      if (stays[i]) y = count++ ? add(y, columns[i], at) : columns[i];
    return count > 1 ? mul(y, 1 / static_cast<double>(count), at) : y;
  }
};

/// theta_1 x + theta_2 f, each unit of each with its own fate, kept with 1 - p and 1 - p_branch; evaluation takes the
/// expectation. Singh, Hoiem, Forsyth, "Swapout", NeurIPS 2016, eq. 3.
struct Swapout : Dropping {
  double p_branch;
  Swapout(double p_skip, double p_branch, Where at = Where::current()) : Dropping("Swapout", p_skip, at), p_branch(p_branch) {
    gradus::detail::check_probability("Swapout", p_branch, at);
  }
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, const Tensor<T, D>& branch, Where at = Where::current()) const {
    if (!active()) return add(mul(x, 1 - p, at), mul(branch, 1 - p_branch, at), at);
    return add(drop(x, Bernoulli{p}, {}, at), drop(branch, Bernoulli{p_branch}, {}, at), at);
  }
};

// -- another factor in backward than in forward: G x + stop((F - G) x) --------------------------------------------------------

namespace detail {
template <class T, class D>
Tensor<T, D> shake(const Tensor<T, D>& x, const Tensor<T, D>& ahead, const Tensor<T, D>& back, Where at) {
  return add(mul(x, back, at), no_grad([&] { return mul(x.detach(), sub(ahead, back, at), at); }), at);
}
/// Numbers in [lo, hi), one a sample: [B, 1, ...].
template <class T, class D>
Tensor<T, D> one_a_sample(const Tensor<T, D>& x, double lo, double hi, Where at) {
  return UniformFactor{lo, hi, all_but_first(x)}.template factor<T, D>(x.shape(), generator().draw(), at);
}
}  // namespace detail

/// y = alpha a + (1 - alpha) b, alpha uniform, one a sample; backward uses another number beta in alpha's place; evaluation
/// takes 1/2. Gastaldi, "Shake-shake regularization", 2017 ("shake-shake-image"). Its gradient is not that of y, by design.
struct ShakeShake {
  bool training = true;
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& a, const Tensor<T, D>& b, Where at = Where::current()) const {
    if (!training) return mul(add(a, b, at), 0.5, at);
    const auto alpha = detail::one_a_sample(a, 0, 1, at), beta = detail::one_a_sample(a, 0, 1, at);
    return add(detail::shake(a, alpha, beta, at), detail::shake(b, sub(1.0, alpha, at), sub(1.0, beta, at), at), at);
  }
  void visit(auto&& f) { f("training", training); }
};

/// The branch of a residual block times b + alpha - b alpha, b ~ Bernoulli(1 - p), alpha uniform in [-1, 1], one each a sample;
/// backward has b + beta - b beta with beta uniform in [0, 1]; evaluation takes the expectation 1 - p. Yamada, Iwamura, Akiba,
/// Kise, "ShakeDrop regularization for deep residual learning", 2018, eq. 6. p rises linearly with depth.
struct ShakeDrop : DropLayer<ShakeDrop> {
  explicit ShakeDrop(double p = 0.5, Where at = Where::current()) : DropLayer("ShakeDrop", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (!training) return mul(x, 1 - p, at);
    const auto b = keep<D>(generator().draw(), x.shape(), detail::all_but_first(x), p, at);
    const auto alpha = detail::one_a_sample(x, -1, 1, at), beta = detail::one_a_sample(x, 0, 1, at);
    return detail::shake(x, where(b, 1.0, alpha, at), where(b, 1.0, beta, at), at);
  }
};

}  // namespace gradus::nn
