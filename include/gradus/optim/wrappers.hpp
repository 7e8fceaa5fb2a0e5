// Methods around an optimiser: Lookahead, cautious steps, weight decay of three kinds, SAM and its relatives; and filters of
// gradients between backward() and step(): Grokfast, orthogonal gradients, PCGrad, aligned gradients. A wrapper refers to its
// optimiser, which must outlive it, and has its own state_dict() for checkpoints.
//
//   optim::Adam adam(net, {.lr = 1e-3});
//   optim::Lookahead opt(adam, {.k = 5});
//   ... adam.zero_grad(); loss.backward(); opt.step(); ...
#pragma once
#include <cmath>
#include <deque>
#include <string>
#include <vector>

#include <gradus/autograd/engine.hpp>
#include <gradus/ops/random.hpp>
#include <gradus/optim/layerwise.hpp>

namespace gradus::optim {

namespace detail {
template <class P>
std::vector<P> clones(const std::vector<P>& xs, Where at) {
  const NoGrad guard;
  std::vector<P> ys;
  for (const auto& x : xs) ys.push_back(x.detach().clone(at));
  return ys;
}
/// The gradients, which all must be there.
template <class P>
std::vector<P> gradients(const char* op, const std::vector<P>& params, Where at) {
  std::vector<P> gs;
  for (std::size_t i = 0; i < params.size(); ++i) {
    if (!params[i].impl()->grad)
      fail(op, "a parameter without a gradient", {{params[i].name().empty() ? std::to_string(i) : params[i].name(), describe(params[i])}},
           "backward() of a loss that depends on it", at);
    gs.push_back(params[i].grad());
  }
  return gs;
}
/// Sum over all tensors of x y, in double on the host.
template <class P>
double inner(const std::vector<P>& xs, const std::vector<P>& ys, Where at) {
  const NoGrad guard;
  double total = 0;
  for (std::size_t i = 0; i < xs.size(); ++i) total += static_cast<double>(sum(mul(xs[i], ys[i], at), {}, false, at).item());
  return total;
}
/// d loss / d p of each parameter; 0 where the loss does not reach it. The graph stays.
template <class T, class D>
std::vector<Tensor<T, D>> gradients_or_zeros(const Tensor<T, D>& loss, const std::vector<Tensor<T, D>>& params, Where at) {
  auto g = grad(std::vector<Tensor<T, D>>{loss}, params, GradOptions{.retain_graph = true, .allow_unused = true}, at);
  for (std::size_t i = 0; i < params.size(); ++i)
    if (!g[i].defined()) g[i] = zeros_like(params[i], at);
  return g;
}
template <class P>
void save_list(nn::StateDict& dict, const std::string& name, const std::vector<P>& xs) {
  for (std::size_t i = 0; i < xs.size(); ++i) dict[name + "." + std::to_string(i)] = xs[i];
}
/// Reads what save_list wrote: a list of `like`'s length and shapes, or of none.
template <class P>
void load_list(const nn::StateDict& dict, const std::string& name, std::vector<P>& xs, const std::vector<P>& like, Where at) {
  xs.clear();
  if (!dict.contains(name + ".0")) return;
  for (std::size_t i = 0; i < like.size(); ++i) {
    const auto found = dict.find(name + "." + std::to_string(i));
    if (found == dict.end() || !(found->second.shape() == like[i].shape()))
      fail("load_state_dict", "a state is missing or does not fit", {{"parameter", describe(like[i])}},
           "\"" + name + "." + std::to_string(i) + "\" of its shape", at);
    xs.push_back(P(like[i].shape(), at));
    assign(xs.back(), found->second, at);
  }
}
inline double load_number(const nn::StateDict& dict, const std::string& name, Where at) {
  const auto found = dict.find(name);
  if (found == dict.end()) fail("load_state_dict", "an entry is missing", {}, "\"" + name + "\"", at);
  return found->second.as<double, Cpu>(at).item(at);
}
}  // namespace detail

// -- Lookahead ------------------------------------------------------------------------------------------------------------

struct LookaheadOptions {
  int64_t k = 5;       ///< fast steps for a slow one
  double alpha = 0.5;  ///< slow += alpha (fast - slow)
};
/// Every k steps the slow weights move towards the fast ones, which go on from there.  Zhang et al. 2019, algorithm 1.
template <class Opt>
class Lookahead {
 public:
  LookaheadOptions options;
  explicit Lookahead(Opt& opt, LookaheadOptions o = {}, Where at = Where::current())
      : options(o), opt_(&opt), slow_(detail::clones(opt.params(), at)) {
    detail::check_in("Lookahead", "k", static_cast<double>(o.k), 1, HUGE_VAL, at);
    detail::check_in("Lookahead", "alpha", o.alpha, 0, 1, at);
  }
  void zero_grad() const { opt_->zero_grad(); }
  void step(Where at = Where::current()) {
    opt_->step(at);
    if (++steps_ % options.k != 0) return;
    const NoGrad guard;
    for (std::size_t i = 0; i < slow_.size(); ++i) {
      auto p = opt_->params()[i];
      slow_[i] = lerp(slow_[i], p.detach(), options.alpha, at);
      p.copy_(slow_[i], at);
    }
  }
  nn::StateDict state_dict() const {
    nn::StateDict dict{{"steps", scalar<double>(static_cast<double>(steps_))}};
    detail::save_list(dict, "slow", slow_);
    return dict;
  }
  void load_state_dict(const nn::StateDict& dict, Where at = Where::current()) {
    steps_ = static_cast<int64_t>(detail::load_number(dict, "steps", at));
    detail::load_list(dict, "slow", slow_, opt_->params(), at);
  }

 private:
  Opt* opt_;
  typename Opt::Params slow_;
  int64_t steps_ = 0;
};

// -- cautious steps and weight decay ----------------------------------------------------------------------------------------

/// Of a step u = p_before - p_after only the entries that agree with the gradient's sign are made, and these are scaled by
/// d / (d_agreeing + 1): Liang et al. 2024, algorithm 1. The optimiser's own decoupled decay would be part of u: leave it 0 and
/// put WeightDecay around this.
template <class Opt>
class Cautious {
 public:
  using Params = typename Opt::Params;
  explicit Cautious(Opt& opt) : opt_(&opt) {}
  void zero_grad() const { opt_->zero_grad(); }
  const Params& params() const { return opt_->params(); }
  double lr() const { return opt_->lr(); }
  void step(Where at = Where::current()) {
    const auto before = detail::clones(params(), at);
    opt_->step(at);
    const NoGrad guard;
    for (std::size_t i = 0; i < before.size(); ++i) {
      auto p = params()[i];
      if (!p.impl()->grad || p.numel() == 0) continue;
      const auto u = sub(before[i], p.detach(), at);
      const auto agree = greater(mul(u, p.grad(), at), 0, at);
      const auto mask = where(agree, ones_like(u, at), 0.0, at);
      const auto scale = div(static_cast<double>(p.numel()), add(sum(mask, {}, false, at), 1, at), at);
      p.copy_(sub(before[i], mul(mul(u, mask, at), scale, at), at), at);
    }
  }

 private:
  Opt* opt_;
};

enum class Decay {
  coupled,    ///< g += lambda p, before the step: L2 regularisation
  decoupled,  ///< p -= lr lambda p, before the step: Loshchilov & Hutter 2019
  cautious    ///< the same where the step u does not point away from 0 (u p >= 0): Chen et al. 2025, eq. 3
};
/// Weight decay for any optimiser; `skip_vectors` leaves parameters of fewer than two dimensions alone.
template <class Opt>
class WeightDecay {
 public:
  using Params = typename Opt::Params;
  double lambda;
  Decay kind;
  bool skip_vectors;
  WeightDecay(Opt& opt, double lambda, Decay kind = Decay::decoupled, bool skip_vectors = false, Where at = Where::current())
      : lambda(lambda), kind(kind), skip_vectors(skip_vectors), opt_(&opt) {
    detail::check_not_negative("WeightDecay", "lambda", lambda, at);
  }
  void zero_grad() const { opt_->zero_grad(); }
  const Params& params() const { return opt_->params(); }
  double lr() const { return opt_->lr(); }
  void step(Where at = Where::current()) {
    const NoGrad guard;
    const auto each = [&](auto f) {
      for (std::size_t i = 0; i < params().size(); ++i) {
        auto p = params()[i];
        if (p.impl()->grad && !(skip_vectors && p.rank() < 2)) f(i, p);
      }
    };
    if (kind == Decay::coupled) each([&](std::size_t, auto& p) { p.set_grad(add(p.grad(), mul(p.detach(), lambda, at), at)); });
    if (kind == Decay::decoupled) each([&](std::size_t, auto& p) { mul_(p, 1 - lr() * lambda, at); });
    if (kind != Decay::cautious) return opt_->step(at);
    const auto before = detail::clones(params(), at);
    opt_->step(at);
    each([&](std::size_t i, auto& p) {
      const auto towards = greater_equal(mul(sub(before[i], p.detach(), at), before[i], at), 0, at);
      sub_(p, where(towards, mul(before[i], lr() * lambda, at), 0.0, at), at);
    });
  }

 private:
  Opt* opt_;
};

// -- SAM --------------------------------------------------------------------------------------------------------------------

struct SamOptions {
  double rho = 0.05;      ///< how far the ascent goes
  bool adaptive = false;  ///< ASAM: distances relative to |w|
  double eta = 0.01;      ///< of ASAM: |w| + eta
  double alpha = 0;       ///< GSAM: how much of the part of g that is orthogonal to the perturbed gradient is gone against
  int64_t every = 1;      ///< LookSAM: the ascent is made every `every` steps, its direction kept in between ...
  double look = 0.7;      ///< ... and added with this weight
};
/// Sharpness-aware minimisation: the step takes the gradient at w + e, where the loss nearby is highest.
///     SAM      e = rho g / |g|                                     Foret et al. 2021, eq. 2
///     ASAM     e = rho T^2 g / |T g|, T = |w| + eta                 Kwon et al. 2021, eq. 9
///     GSAM     g_s - alpha (g - <g, g_s> / |g_s|^2 g_s)             Zhuang et al. 2022, algorithm 1
///     LookSAM  g + look |g| / |v| v, v = g_s - <g, g_s> / |g|^2 g   Liu et al. 2022, algorithm 1
/// step(closure): the closure zeroes the gradients, computes the loss, calls backward() and returns the loss.
template <class Opt>
class Sam {
 public:
  using Params = typename Opt::Params;
  SamOptions options;
  explicit Sam(Opt& opt, SamOptions o = {}, Where at = Where::current()) : options(o), opt_(&opt) {
    detail::check_positive("Sam", "rho", o.rho, at);
    detail::check_in("Sam", "every", static_cast<double>(o.every), 1, HUGE_VAL, at);
    if (o.adaptive) detail::check_not_negative("Sam", "eta", o.eta, at);
  }
  /// Returns the loss at w.
  template <class F>
  double step(F closure, Where at = Where::current()) {
    const double loss = static_cast<double>(closure().item());
    const Params& params = opt_->params();
    auto g = detail::clones(detail::gradients("Sam", params, at), at);
    const bool ascend = steps_++ % options.every == 0;
    const NoGrad guard;
    if (!ascend) {
      const double size = std::sqrt(detail::inner(v_, v_, at));
      if (size > 0) {
        const double scale = options.look * std::sqrt(detail::inner(g, g, at)) / size;
        for (std::size_t i = 0; i < g.size(); ++i) params[i].set_grad(add(g[i], mul(v_[i], scale, at), at));
      }
      opt_->step(at);
      return loss;
    }
    auto e = g;
    if (options.adaptive)  // T g; e = T (T g)
      for (std::size_t i = 0; i < g.size(); ++i) e[i] = mul(g[i], add(abs(params[i].detach(), at), options.eta, at), at);
    const double size = std::sqrt(detail::inner(e, e, at));
    const auto w = detail::clones(params, at);
    for (std::size_t i = 0; i < g.size(); ++i) {
      if (options.adaptive) e[i] = mul(e[i], add(abs(w[i], at), options.eta, at), at);
      auto p = params[i];
      if (size > 0) p.copy_(add(w[i], mul(e[i], options.rho / size, at), at), at);
    }
    {
      const GradMode on(true);
      closure();
    }
    for (std::size_t i = 0; i < g.size(); ++i) {
      auto p = params[i];
      p.copy_(w[i], at);  // the old bits, not w + e - e
    }
    const auto gs = detail::clones(detail::gradients("Sam", params, at), at);
    const double both = options.alpha != 0 || options.every > 1 ? detail::inner(g, gs, at) : 0;
    if (options.alpha != 0) {
      const double gs2 = detail::inner(gs, gs, at);
      for (std::size_t i = 0; i < g.size() && gs2 > 0; ++i) {
        const auto across = sub(g[i], mul(gs[i], both / gs2, at), at);
        params[i].set_grad(sub(gs[i], mul(across, options.alpha, at), at));
      }
    }
    if (options.every > 1) {
      const double g2 = detail::inner(g, g, at);
      v_.clear();
      for (std::size_t i = 0; i < g.size(); ++i) v_.push_back(g2 > 0 ? sub(gs[i], mul(g[i], both / g2, at), at) : gs[i]);
    }
    opt_->step(at);
    return loss;
  }
  nn::StateDict state_dict() const {
    nn::StateDict dict{{"steps", scalar<double>(static_cast<double>(steps_))}};
    detail::save_list(dict, "direction", v_);
    return dict;
  }
  void load_state_dict(const nn::StateDict& dict, Where at = Where::current()) {
    steps_ = static_cast<int64_t>(detail::load_number(dict, "steps", at));
    detail::load_list(dict, "direction", v_, opt_->params(), at);
  }

 private:
  Opt* opt_;
  Params v_;
  int64_t steps_ = 0;
};

// -- filters of gradients -----------------------------------------------------------------------------------------------------

struct GrokfastOptions {
  double alpha = 0.98, lambda = 2;  ///< of the average, and how much of it is added
  int64_t window = 0;               ///< > 0: the mean of the last `window` gradients, once there are so many (Grokfast-MA)
};
/// Amplifies slow gradients: h = alpha h + (1 - alpha) g (h = g at first);  g += lambda h.  Lee et al. 2024, algorithms 1 (MA), 2.
///     loss.backward(); grokfast.filter(); opt.step();
template <class T = float, class D = Cpu>
class Grokfast {
 public:
  GrokfastOptions options;
  explicit Grokfast(std::vector<Tensor<T, D>> params, GrokfastOptions o = {}, Where at = Where::current())
      : options(o), params_(std::move(params)) {
    detail::check_in("Grokfast", "alpha", o.alpha, 0, 1, at);
    detail::check_in("Grokfast", "window", static_cast<double>(o.window), 0, HUGE_VAL, at);
  }
  template <nn::Module M>
  explicit Grokfast(M& net, GrokfastOptions o = {}, Where at = Where::current()) : Grokfast(nn::parameters(net, at), o, at) {}

  void filter(Where at = Where::current()) {
    const auto g = detail::clones(detail::gradients("Grokfast", params_, at), at);
    const NoGrad guard;
    if (options.window == 0) {
      if (mean_.empty()) mean_ = g;
      for (std::size_t i = 0; i < g.size(); ++i) mean_[i] = lerp(g[i], mean_[i], options.alpha, at);
    } else {
      last_.push_back(g);
      if (static_cast<int64_t>(last_.size()) > options.window) last_.pop_front();
      if (static_cast<int64_t>(last_.size()) < options.window) return;
      mean_ = detail::clones(last_[0], at);
      for (std::size_t k = 1; k < last_.size(); ++k)
        for (std::size_t i = 0; i < g.size(); ++i) add_(mean_[i], last_[k][i], at);
      for (auto& m : mean_) mul_(m, 1 / static_cast<double>(options.window), at);
    }
    for (std::size_t i = 0; i < g.size(); ++i) params_[i].set_grad(add(g[i], mul(mean_[i], options.lambda, at), at));
  }
  nn::StateDict state_dict() const {
    nn::StateDict dict{{"kept", scalar<double>(static_cast<double>(last_.size()))}};
    detail::save_list(dict, "mean", mean_);
    for (std::size_t k = 0; k < last_.size(); ++k) detail::save_list(dict, "last." + std::to_string(k), last_[k]);
    return dict;
  }
  void load_state_dict(const nn::StateDict& dict, Where at = Where::current()) {
    detail::load_list(dict, "mean", mean_, params_, at);
    last_.assign(static_cast<std::size_t>(detail::load_number(dict, "kept", at)), {});
    for (std::size_t k = 0; k < last_.size(); ++k) detail::load_list(dict, "last." + std::to_string(k), last_[k], params_, at);
  }

 private:
  std::vector<Tensor<T, D>> params_, mean_;
  std::deque<std::vector<Tensor<T, D>>> last_;
};
template <nn::Module M>
Grokfast(M&, GrokfastOptions = {}, Where = {}) -> Grokfast<nn::element_of<M>, nn::device_type_of<M>>;

/// OrthoGrad: each gradient loses its part along its parameter and gets its length back, so that a step cannot scale the
/// weights up.  Prieto et al. 2025, eq. 13.   g' = g - <w, g> / <w, w> w;  g = |g| / |g'| g'
template <class T, class D>
void orthogonalize_gradients(const std::vector<Tensor<T, D>>& params, Where at = Where::current()) {
  const NoGrad guard;
  for (const auto& p : params) {
    if (!p.impl()->grad) continue;
    const auto w = p.detach(), g = p.grad();
    const auto along = div(sum(mul(w, g, at), {}, false, at), add(sum(square(w, at), {}, false, at), 1e-30, at), at);
    const auto across = sub(g, mul(w, along, at), at);
    p.set_grad(mul(across, div(detail::norm_of(g, at), add(detail::norm_of(across, at), 1e-30, at), at), at));
  }
}

/// What align_gradients found.
struct Alignment {
  double cosine = 0;       ///< of the two gradients over all parameters; 0 when one is 0
  bool projected = false;  ///< they conflicted
};
/// Gradient surgery in which one loss gives way: if g = d main / d p and a = d auxiliary / d p conflict, <g, a> < 0, then a loses its
/// part along g, a <- a - <g, a> / |g|^2 g; the parameters' gradients become g + a.  Yang et al., "Dual-head knowledge distillation",
/// KDD 2025. Both gradients come from one graph; a parameter that a loss does not reach counts as 0 there.
template <class T, class D>
Alignment align_gradients(const Tensor<T, D>& main, const Tensor<T, D>& auxiliary, const std::vector<Tensor<T, D>>& params,
                          Where at = Where::current()) {
  const auto g = detail::gradients_or_zeros(main, params, at);
  auto a = detail::gradients_or_zeros(auxiliary, params, at);
  const NoGrad guard;
  const double both = detail::inner(g, a, at), g2 = detail::inner(g, g, at), a2 = detail::inner(a, a, at);
  const Alignment found{g2 > 0 && a2 > 0 ? both / std::sqrt(g2 * a2) : 0, both < 0};
  for (std::size_t p = 0; p < params.size(); ++p) {
    if (found.projected) sub_(a[p], mul(g[p], both / g2, at), at);
    params[p].set_grad(add_(a[p], g[p], at));
  }
  return found;
}

/// Gradient surgery for several losses: each task's gradient loses its part along every other task's gradient that it conflicts
/// with (negative inner product), in random order; the parameters' gradients become the sum.  Yu et al. 2020, algorithm 1.
/// The losses may share their graph; a parameter that a loss does not reach counts as 0 there.
template <class T, class D>
void pcgrad(const std::vector<Tensor<T, D>>& losses, const std::vector<Tensor<T, D>>& params, Where at = Where::current()) {
  if (losses.empty()) fail("pcgrad", "no losses", {}, "at least one", at);
  std::vector<std::vector<Tensor<T, D>>> g;
  for (const auto& loss : losses) g.push_back(detail::gradients_or_zeros(loss, params, at));
  const NoGrad guard;
  const auto stream = generator().draw();
  std::vector<Tensor<T, D>> total;
  std::vector<int64_t> order(losses.size());
  for (std::size_t i = 0; i < losses.size(); ++i) {
    auto gi = detail::clones(g[i], at);
    kernels::random_permutation(Cpu{}, order.data(), static_cast<int64_t>(order.size()),
                                {stream.seed, stream.stream + (static_cast<uint64_t>(i) << 40)});
    for (const int64_t k : order) {
      const auto& gk = g[static_cast<std::size_t>(k)];
      if (static_cast<std::size_t>(k) == i) continue;
      const double both = detail::inner(gi, gk, at);
      if (both >= 0) continue;
      const double size = detail::inner(gk, gk, at);
      for (std::size_t p = 0; p < gi.size(); ++p) sub_(gi[p], mul(gk[p], both / size, at), at);
    }
    if (total.empty()) total = gi;
    else
      for (std::size_t p = 0; p < gi.size(); ++p) add_(total[p], gi[p], at);
  }
  for (std::size_t p = 0; p < params.size(); ++p) params[p].set_grad(total[p]);
}

}  // namespace gradus::optim
