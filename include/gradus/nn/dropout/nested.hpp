// Nested dropout: a prefix of ordered units is kept, its length k drawn from a law; there is no rescaling.
//
//   geometric      p(k) ~ rho^{k-1}, cut at N         Rippel, Gelbart, Adams, ICML 2014
//   gaussian       p(k) ~ exp(-(k / sigma)^2)         Chen, Hu, Shen, Ai, Suykens, "Compressing features for learning with noisy
//                                                     labels", IEEE TNNLS 2022: no factor 2, k drawn once a mini-batch
//   uniform        k in 1 ... N                       Bachmann et al., "FlexTok", ICML 2025, k drawn for each sample
//   pow2           k in 1, 2, 4, ..., N
//   uniform_pow2   j uniform in 1 ... N, k = j rounded up to a power of two
#pragma once
#include <gradus/nn/dropout/modes.hpp>
#include <gradus/ops/scan.hpp>
#include <gradus/ops/shape.hpp>
#include <gradus/ops/upload.hpp>

namespace gradus::nn {

/// How many of N units are kept.
struct PrefixLaw {
  enum class Kind { uniform, pow2, uniform_pow2, geometric, gaussian };
  Kind kind = Kind::uniform;
  double parameter = 0;  ///< rho or sigma

  static PrefixLaw uniform() { return {}; }
  static PrefixLaw pow2() { return {Kind::pow2}; }
  static PrefixLaw uniform_pow2() { return {Kind::uniform_pow2}; }
  static PrefixLaw geometric(double rho, Where at = Where::current()) {
    if (!(rho > 0 && rho < 1)) fail("PrefixLaw::geometric", "not a ratio", {{"rho", std::to_string(rho)}}, "0 < rho < 1", at);
    return {Kind::geometric, rho};
  }
  static PrefixLaw gaussian(double sigma, Where at = Where::current()) {
    if (!(sigma > 0)) fail("PrefixLaw::gaussian", "not a width", {{"sigma", std::to_string(sigma)}}, "sigma > 0", at);
    return {Kind::gaussian, sigma};
  }

  /// p(1) ... p(N).
  std::vector<double> probabilities(int64_t N) const {
    std::vector<double> w(static_cast<std::size_t>(N), 0.0);
    for (int64_t k = 1; k <= N; ++k) {
      double& v = w[static_cast<std::size_t>(k - 1)];
      if (kind == Kind::uniform) v = 1;
      if (kind == Kind::geometric) v = std::pow(parameter, static_cast<double>(k - 1));
      if (kind == Kind::gaussian) v = std::exp(-std::pow(static_cast<double>(k) / parameter, 2));
      if (kind == Kind::pow2 || kind == Kind::uniform_pow2) {
        int64_t power = 1;
        while (power < k) power *= 2;
        if (kind == Kind::pow2) v = power == k || k == N ? 1 : 0;
        else w[static_cast<std::size_t>(std::min(power, N) - 1)] += 1;
      }
    }
    double total = 0;
    for (const double v : w) total += v;
    for (double& v : w) v /= total;
    return w;
  }
};

/// The law of masks that are true for the first k units along `axis`; one k for all, or one an element of axis 0.
struct PrefixMask {
  std::vector<double> below;  // P(length <= j) for unit j = 0 ... N - 1
  int axis = -1;
  bool per_sample = false;

  /// Unit j is kept when k > j, that is when u >= P(length <= j), one u for all units.
  template <class D>
  Tensor<bool, D> keep(const Shape& shape, RandomStream s, Where at) const {
    const NoGrad guard;
    Shape draws = shape, units = shape;
    for (int i = 0; i < shape.n; ++i) {
      if (i != 0 || !per_sample) draws[i] = 1;
      if (i != axis) units[i] = 1;
    }
    Tensor<double, D> u(draws, at);
    kernels::random_uniform(D{}, u.data(), u.numel(), s);
    return greater_equal(u, gradus::detail::upload<D>(below, units, at), at);
  }
};

/// Keeps the first k of the N units of `axis` and sets the others to 0, or, where `fill` is a vector [C] over the last
/// dimension, overwrites them with it (a learnt mask vector: tokens that are dropped carry nothing of the input, nor of their
/// position). Evaluation keeps all, or `keep` units when that is set. p is not used: the law says how many are dropped.
template <class T = float, class D = Cpu>
struct NestedDropout {
  using value_type = T;
  using device_type = D;
  int64_t N;
  PrefixLaw law;
  int axis = -1;
  bool per_sample = false;  ///< one k an element of axis 0, not one for the batch
  int64_t keep = 0;         ///< of evaluation; 0: all
  Tensor<T, D> fill;        ///< a parameter, or undefined
  bool training = true, monte_carlo = false;

  NestedDropout(int64_t N, PrefixLaw law, Where at = Where::current()) : N(N), law(law) {
    if (N < 1) fail("NestedDropout", "no units", {{"N", std::to_string(N)}}, "N >= 1", at);
    below_ = law.probabilities(N);
    double sum = 0;
    for (double& p : below_) sum += std::exchange(p, sum);
  }
  template <class U, class E>
  explicit NestedDropout(const NestedDropout<U, E>& o, Where at = Where::current())
      : NestedDropout(o.N, o.law, at) {
    axis = o.axis, per_sample = o.per_sample, keep = o.keep, fill = converted<T, D>(o.fill, at);
    training = o.training, monte_carlo = o.monte_carlo;
  }
  /// FlexTok's form: x [B, N, C], one k a sample, dropped tokens overwritten by a learnt vector [C], started from N(0, 0.02^2).
  static NestedDropout tokens(int64_t N, int64_t C, PrefixLaw law, Where at = Where::current()) {
    NestedDropout d(N, law, at);
    d.axis = 1, d.per_sample = true;
    d.fill = normal<T, D>({C}, 0, 0.02, at);
    d.fill.requires_grad_();
    return d;
  }

  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    const int a = gradus::detail::normalize_dim("NestedDropout", axis, x.rank(), x, at);
    if (x.shape()[a] != N || (per_sample && a == 0))
      fail("NestedDropout", "the units do not match", {{"x", describe(x)}, {"axis", std::to_string(axis)}},
           std::to_string(N) + " units along the axis" + (per_sample ? ", which is not that of the samples" : ""), at);
    if (!training && !monte_carlo) return keep > 0 && keep < N ? first(x, keep, at) : x;
    const PrefixMask mask{below_, a, per_sample};
    const RandomStream s = generator().draw();
    const auto kept = drop(x, mask, {}, s, at);  // first: drop_rest asks for the mask that this took down or used
    return fill.defined() ? add(kept, drop_rest(x, mask, s, at), at) : kept;
  }
  /// One k from the law, drawn on the host: for layers that share it, each with first(x, k).
  int64_t draw() const {
    const double u = detail::host_uniform();
    return std::upper_bound(below_.begin(), below_.end(), u) - below_.begin();  // unit j is kept where P(length <= j) <= u
  }
  /// The first k units as they are, the others dropped: what evaluation with `keep` = k gives.
  Tensor<T, D> first(const Tensor<T, D>& x, int64_t k, Where at = Where::current()) const {
    const int a = gradus::detail::normalize_dim("NestedDropout", axis, x.rank(), x, at);
    if (k < 0 || k > x.shape()[a])
      fail("NestedDropout", "no such prefix", {{"x", describe(x)}, {"k", std::to_string(k)}}, "0 <= k <= N", at);
    Shape rest;
    for (int i = 0; i < x.rank(); ++i) rest.push_back(x.shape()[i] - (i == a ? k : 0));
    const auto tail = fill.defined() ? expand(fill, rest, at) : zeros<T, D>(rest, at);
    return cat(std::vector<Tensor<T, D>>{narrow(x, a, 0, k, 1, at), tail}, a, at);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(auto&& f) { f("training", training), f("monte_carlo", monte_carlo, stays), f("fill", fill); }
  std::string about() const { return std::to_string(N) + " units"; }

 private:
  /// (1 - m) fill for the mask of the same stream.
  Tensor<T, D> drop_rest(const Tensor<T, D>& x, const PrefixMask& mask, RandomStream s, Where at) const {
    if (auto* tape = gradus::detail::mask_tape) {
      const auto m = tape->masks[tape->replay ? tape->next - 1 : tape->masks.size() - 1].template as<T, D>(at);
      return mul(sub(1.0, m, at), fill, at);
    }
    const auto dropped = no_grad([&] { return logical_not(mask.template keep<D>(x.shape(), s, at), at); });
    return where(dropped, fill, 0.0, at);
  }
  std::vector<double> below_;
};

/// What a linear layer W [C, N] without a bias makes of each prefix of h [B, N]: y_bkc = sum_{j <= k} h_bj W_cj, in [B, N, C].
/// One running sum instead of N products: O(N C) a row.
template <Floating T, class D>
Tensor<T, D> prefix_linear(const Tensor<T, D>& h, const Tensor<T, D>& W, Where at = Where::current()) {
  if (h.rank() != 2 || W.rank() != 2 || h.shape()[1] != W.shape()[1])
    fail("prefix_linear", "shapes do not match", {{"h", describe(h)}, {"W", describe(W)}}, "h [B, N], W [C, N]", at);
  return cumsum(mul(unsqueeze(h, 2, at), unsqueeze(transpose(W, 0, 1, at), 0, at), at), 1, false, at);
}

/// One size for a whole step, each equally likely: a number of `sizes`. Valipour et al., "SortedNet", 2023: the first units are
/// used as they are, nothing is rescaled.
inline int64_t draw_size(const std::vector<int64_t>& sizes, Where at = Where::current()) {
  if (sizes.empty()) fail("draw_size", "no sizes", {}, "at least one", at);
  return sizes[static_cast<std::size_t>(detail::host_uniform() * static_cast<double>(sizes.size()))];
}

}  // namespace gradus::nn
