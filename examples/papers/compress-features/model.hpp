// The networks, the bias-variance identity and a step of each stage of Chen, Hu, Shen, Ai, Suykens 2022, in the symbols
//
//   h = F(x) in R^D,   z ~ q(z|x),   logits = W z                 W : [C, D], no bias
//   Dropout   z = h v / (1 - p), v_j ~ Bernoulli(1 - p)
//   Nested    z = (h_1, ..., h_k, 0, ..., 0), p(k) ~ exp(-(k / sigma)^2), one k a mini-batch, no rescaling
//   CE        z = h
#pragma once
#include <cmath>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/models/resnet.hpp>
#include <gradus/nn.hpp>
#include <gradus/nn/dropout/nested.hpp>
#include <gradus/optim.hpp>

namespace compressing {
using namespace gradus;

enum class Method { ce, dropout, nested };
inline const char* name_of(Method m) { return m == Method::ce ? "CE" : m == Method::dropout ? "Dropout" : "Nested"; }

struct Config {
  Method method = Method::ce;
  bool resnet = false;  ///< ResNet-18 for 32 x 32 pictures, D = 512; else two convolutions
  int64_t C1 = 16, C2 = 32, D = 256, in = 1, side = 28, classes = 10;
  double p = 0.5, sigma = 30;
  bool per_sample = false;  ///< nested: a k for each picture, not for the batch
  int64_t features() const { return resnet ? 512 : D; }
};

template <class T = float, class D = Cpu>
struct Net {
  using value_type = T;
  using device_type = D;
  Config c;
  nn::Sequential<T, D> F;
  nn::Linear<T, D> W;
  nn::Dropout drop;
  nn::NestedDropout<T, D> nested;

  explicit Net(const Config& config)
      : c(config), W(c.features(), c.classes, false), drop(c.p), nested(c.features(), nn::PrefixLaw::gaussian(c.sigma)) {
    nested.per_sample = c.per_sample;
    if (c.resnet) {
      auto r = models::resnet18(c.classes);
      r.imagenet_stem = false, r.channels = c.in;
      F.add(models::ResNetFeatures<T, D>(r));
      return;
    }
    int64_t in = c.in;
    for (const int64_t width : {c.C1, c.C2}) {
      F.add(nn::Conv2d<T, D>(in, width, 3, {.padding = 1}, false)).add(nn::BatchNorm2d<T, D>(width)).add(nn::ReLU{});
      F.add(nn::MaxPool2d(2));
      in = width;
    }
    F.add(nn::Flatten{}).add(nn::Linear<T, D>(c.C2 * (c.side / 4) * (c.side / 4), c.D)).add(nn::ReLU{});
  }
  /// z; k > 0: the first k features whatever the method.
  Tensor<T, D> compressed(const Tensor<T, D>& h, int64_t k = 0) const {
    if (k > 0) return nested.first(h, k);
    return c.method == Method::nested ? nested(h) : c.method == Method::dropout ? drop(h) : h;
  }
  Tensor<T, D> forward(const Tensor<T, D>& x, int64_t k = 0) const { return W(compressed(F(x), k)); }
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return forward(x); }
  void visit(auto&& f) { f("F", F), f("W", W), f("drop", drop), f("nested", nested); }
};

/// K* = argmax_k (accuracy(k) - 1e-5 k) of the accuracies with the first 1, 2, ... features.
inline int64_t best_prefix(const std::vector<double>& accuracy) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < accuracy.size(); ++i)
    if (accuracy[i] - 1e-5 * static_cast<double>(i) > accuracy[best] - 1e-5 * static_cast<double>(best)) best = i;
  return static_cast<int64_t>(best) + 1;
}
/// The fewest features with at least `part` of the best accuracy.
inline int64_t features_for(const std::vector<double>& accuracy, double part) {
  const double most = *std::max_element(accuracy.begin(), accuracy.end());
  std::size_t i = 0;
  while (accuracy[i] < part * most) ++i;
  return static_cast<int64_t>(i) + 1;
}

/// Accuracies with the first 1 ... D features. Several pairs (h, W): their logits are averaged (summed, which is the same
/// here).
template <class T, class D>
std::vector<double> prefix_accuracies(const std::vector<std::pair<Tensor<T, D>, Tensor<T, D>>>& nets,
                                      const Tensor<int64_t, D>& y) {
  const NoGrad guard;
  const int64_t N = y.numel(), features = nets[0].second.size(1), classes = nets[0].second.size(0);
  const int64_t rows = std::max<int64_t>(1, 2000000 / (features * classes));
  std::vector<double> right(static_cast<std::size_t>(features), 0.0);
  for (int64_t b = 0; b < N; b += rows) {
    const int64_t n = std::min(rows, N - b);
    Tensor<T, D> logits;
    for (const auto& [h, W] : nets) {
      const auto own = nn::prefix_linear(narrow(h, 0, b, n).contiguous(), W);
      logits = logits.defined() ? logits + own : own;
    }
    const auto hit = cast<float>(equal(argmax(logits, 2), unsqueeze(narrow(y, 0, b, n), 1)));
    const auto sums = sum(hit, {0}).to_vector();
    for (std::size_t k = 0; k < right.size(); ++k) right[k] += static_cast<double>(sums[k]) / static_cast<double>(N);
  }
  return right;
}

/// The identity of the theory section for a target p(y|x), decoder q(y|z) and masks z of weights w:
///   E_z[-sum_y p log q(y|z)] = KL(p || q~) + E_z KL(q~ || q(.|z)) + H(p),    q~ ~ exp(E_z log q(y|z)),
///   E_z KL(q~ || q(.|z)) = -log Z,   Z = sum_y exp(E_z log q(y|z)).
/// Means over x; the two gaps are the largest over x.
struct Decomposition {
  double risk = 0, bias = 0, variance = 0, entropy = 0, minus_log_Z = 0;
  double gap = 0, gap_Z = 0;
  double mean_gap() const { return std::abs(risk - (bias + variance + entropy)); }
  double mean_gap_Z() const { return std::abs(variance - minus_log_Z); }
};
/// logits [B, M, C] of M masks, w [M] which sums to 1, p [B, C].
template <class T, class D>
Decomposition decompose(const Tensor<T, D>& logits, const Tensor<T, D>& w, const Tensor<T, D>& p) {
  const NoGrad guard;
  const auto log_q = log_softmax(logits, 2);
  const auto weight = reshape(w, {1, w.numel(), 1});
  const auto mean_log_q = sum(log_q * weight, {1});
  const auto log_Z = logsumexp(mean_log_q, {1}, true);
  const auto log_qt = mean_log_q - log_Z;
  const auto p_log_p = where(greater(p, 0.0), p * log(p), 0.0);
  const auto entropy = neg(sum(p_log_p, {1}));
  const auto bias = sum(p_log_p - p * log_qt, {1});
  const auto variance = sum(exp(unsqueeze(log_qt, 1)) * (unsqueeze(log_qt, 1) - log_q) * weight, {1, 2});
  const auto risk = neg(sum(unsqueeze(p, 1) * log_q * weight, {1, 2}));
  const auto of = [](const Tensor<T, D>& x) { return static_cast<double>(mean(x).item()); };
  const auto worst = [](const Tensor<T, D>& x) { return static_cast<double>(amax(abs(x)).item()); };
  return {of(risk),
          of(bias),
          of(variance),
          of(entropy),
          -of(log_Z),
          worst(risk - bias - variance - entropy),
          worst(variance + squeeze(log_Z, 1))};
}
/// Logits [B, M, C] and weights [M] of the masks of a method: all D prefixes with their probabilities, `masks` draws of
/// dropout, or the one of CE.
template <class T, class D>
std::pair<Tensor<T, D>, Tensor<T, D>> mask_logits(const Config& c, const Tensor<T, D>& h, const Tensor<T, D>& W,
                                                  int64_t masks = 64) {
  const NoGrad guard;
  if (c.method == Method::nested) {
    const auto p = from_vector(nn::PrefixLaw::gaussian(c.sigma).probabilities(h.size(1)));
    return {nn::prefix_linear(h, W), cast<T>(p).template to<D>()};
  }
  std::vector<Tensor<T, D>> list;
  if (c.method == Method::ce) list.push_back(linear(h, W, {}));
  else
    for (int64_t m = 0; m < masks; ++m) list.push_back(linear(dropout(h, c.p), W, {}));
  const auto M = static_cast<int64_t>(list.size());
  return {stack(list, 1), full<T, D>({M}, 1.0 / static_cast<double>(M))};
}

/// One step of SGD on cross-entropy with the labels as they are.
template <class D>
void step(Net<float, D>& net, optim::Sgd<float, D>& opt, const Tensor<float, D>& x, const Tensor<int64_t, D>& y,
          int64_t k = 0) {
  opt.zero_grad();
  cross_entropy(net.forward(x, k), y).backward();
  opt.step();
}
/// Positions of the floor((1 - tau) B) instances of smallest loss, in evaluation with the first K features.
template <class D>
Tensor<int64_t, D> small_loss(Net<float, D>& net, const Tensor<float, D>& x, const Tensor<int64_t, D>& y, int64_t K,
                              double tau) {
  nn::eval(net);
  const NoGrad guard;
  const auto keep = static_cast<int64_t>((1 - tau) * static_cast<double>(y.numel()) + 1e-9);
  const auto loss = cross_entropy(net.forward(x, K), y, {.reduction = Reduction::none});
  return narrow(argsort(loss, 0), 0, 0, std::max<int64_t>(1, keep)).contiguous();
}
/// Dropout drops, batch norm keeps its statistics: the mode of fine-tuning. Optimisers made after it leave the norms alone.
template <class D>
void fine_tune(Net<float, D>& net) {
  nn::train(net), nn::freeze_batch_norm(net);
}

template <class D>
struct Kept {
  Tensor<int64_t, D> by1, by2;  // positions in the batch that network 1 and network 2 kept
};
/// A step of Co-teaching: network 1 sees the first half of the batch, network 2 the second (both see all with `full`), each
/// keeps what has a small loss, and the OTHER one is updated on it. Nested: one k for both.
template <class D>
Kept<D> coteach_step(Net<float, D>& f1, Net<float, D>& f2, optim::Sgd<float, D>& opt1, optim::Sgd<float, D>& opt2,
                     const Tensor<float, D>& x, const Tensor<int64_t, D>& y, int64_t K, double tau, bool full) {
  const int64_t B = y.numel(), first = full ? 0 : B / 2, n1 = full ? B : B / 2, n2 = B - first;
  const auto part = [&](const auto& t, int64_t begin, int64_t n) { return narrow(t, 0, begin, n).contiguous(); };
  Kept<D> kept;
  kept.by1 = small_loss(f1, part(x, 0, n1), part(y, 0, n1), K, tau);
  kept.by2 = small_loss(f2, part(x, first, n2), part(y, first, n2), K, tau) + first;
  fine_tune(f1), fine_tune(f2);
  const int64_t k = f1.c.method == Method::nested && !f1.c.per_sample ? f1.nested.draw() : 0;
  step(f1, opt1, index_select(x, 0, kept.by2), index_select(y, 0, kept.by2), k);
  step(f2, opt2, index_select(x, 0, kept.by1), index_select(y, 0, kept.by1), k);
  return kept;
}

/// The law of k: P(chi-square >= that of n draws), by Wilson and Hilferty's cube root; cells of fewer than 5 expected draws are
/// put together.
inline double law_p_value(double sigma, int64_t D, int64_t n, uint64_t seed) {
  manual_seed(seed);
  const nn::NestedDropout<float> nested(D, nn::PrefixLaw::gaussian(sigma));
  const auto p = nested.law.probabilities(D);
  std::vector<double> count(p.size(), 0.0);
  for (int64_t i = 0; i < n; ++i) ++count[static_cast<std::size_t>(nested.draw() - 1)];
  double chi2 = 0, df = -1, rest = 0, rest_p = 0;
  const auto cell = [&](double seen, double expected) { chi2 += (seen - expected) * (seen - expected) / expected, ++df; };
  for (std::size_t k = 0; k < p.size(); ++k) {
    if (p[k] * static_cast<double>(n) >= 5) cell(count[k], p[k] * static_cast<double>(n));
    else rest += count[k], rest_p += p[k];
  }
  if (rest_p > 0) cell(rest, rest_p * static_cast<double>(n));
  const double z = (std::cbrt(chi2 / df) - (1 - 2 / (9 * df))) / std::sqrt(2 / (9 * df));
  return 0.5 * std::erfc(z / std::sqrt(2.0));
}
/// The largest gradient of a feature beyond k and of its column of W: 0 exactly.
template <class T, class D>
double gradient_beyond(Net<T, D>& net, const Tensor<T, D>& h0, const Tensor<int64_t, D>& y, int64_t k) {
  auto h = h0.detach().clone().requires_grad_();
  nn::zero_grad(net);
  cross_entropy(net.W(net.compressed(h, k)), y).backward();
  const int64_t rest = h.size(1) - k;
  return std::max(static_cast<double>(amax(abs(narrow(h.grad(), 1, k, rest))).item()),
                  static_cast<double>(amax(abs(narrow(net.W.weight.grad(), 1, k, rest))).item()));
}
/// The largest difference between logits from the running sum and from the masked features, over all k.
template <class T, class D>
double prefix_distance(const Net<T, D>& net, const Tensor<T, D>& h) {
  const NoGrad guard;
  const auto all = nn::prefix_linear(h, net.W.weight);
  double worst = 0;
  for (int64_t k = 1; k <= h.size(1); ++k)
    worst = std::max(worst, static_cast<double>(amax(abs(select(all, 1, k - 1) - net.W(net.nested.first(h, k)))).item()));
  return worst;
}

/// The toy regression: 64 points of y = x in [0, 10] with noise N(0, 1) except at the ends; MLP 1 - D - D - 1 on the full
/// batch.
struct Toy {
  std::vector<double> x, y;
  std::vector<std::vector<double>> by_k;  // predictions with the first k features, k = 1 ... D
  /// Root mean square distance of the predictions with k features from the truth, or from the noisy points.
  double error(int64_t k, bool from_truth) const {
    double s = 0;
    for (std::size_t i = 0; i < x.size(); ++i)
      s += std::pow(by_k[static_cast<std::size_t>(k - 1)][i] - (from_truth ? x[i] : y[i]), 2);
    return std::sqrt(s / static_cast<double>(x.size()));
  }
};
template <class D, class F>
Toy toy_regression(bool nested, double sigma, int64_t width, int64_t steps, uint64_t seed, F&& after_step) {
  const int64_t n = 64;
  manual_seed(seed);
  const auto noise = randn<float>({n, 1});
  Tensor<float> x(Shape{n, 1}), y(Shape{n, 1});
  Toy toy;
  for (int64_t i = 0; i < n; ++i) {
    x.data()[i] = 10 * static_cast<float>(i) / static_cast<float>(n - 1);
    y.data()[i] = x.data()[i] + (i == 0 || i == n - 1 ? 0 : noise.data()[i]);
    toy.x.push_back(x.data()[i]), toy.y.push_back(y.data()[i]);
  }
  nn::Sequential<float, D> F1;
  F1.add(nn::Linear<float, D>(1, width)).add(nn::ReLU{}).add(nn::Linear<float, D>(width, width)).add(nn::ReLU{});
  nn::Linear<float, D> W(width, 1, false);
  const nn::NestedDropout<float, D> mask(width, nn::PrefixLaw::gaussian(sigma));
  auto params = nn::parameters(F1);
  params.push_back(W.weight);
  optim::Adam<float, D> opt(params, {.lr = 1e-3});
  const auto xd = x.template to<D>(), yd = y.template to<D>();
  for (int64_t t = 0; t < steps; ++t) {
    opt.zero_grad();
    const auto h = F1(xd);
    mse_loss(W(nested ? mask(h) : h), yd).backward();
    opt.step();
    if (!after_step()) break;
  }
  const NoGrad guard;
  const auto all = nn::prefix_linear(F1(xd), W.weight).template to<Cpu>();
  for (int64_t k = 0; k < width; ++k) {
    const auto v = select(all, 1, k).contiguous().to_vector();
    toy.by_k.emplace_back(v.begin(), v.end());
  }
  return toy;
}

}  // namespace compressing
