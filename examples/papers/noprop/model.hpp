// NoProp of Li, Teh, Pascanu 2025 in the symbols
//
//   u_y = W_E[y]                                        embedding of class y, [d]
//   q(z_t | y) = N(sqrt(abar_t) u_y, (1 - abar_t) I)    t = 0 noise ... t = T clean, abar rising
//   z_t = a_t u^_t(z_{t-1}, x) + b_t z_{t-1} + sqrt(c_t) eps_t          inference, from z_0 ~ N(0, I)
//   a_t = sqrt(abar_t) (1 - alpha_{t-1}) / (1 - abar_{t-1}),  b_t = sqrt(alpha_{t-1}) (1 - abar_t) / (1 - abar_{t-1})
//   c_t = (1 - abar_t) (1 - alpha_{t-1}) / (1 - abar_{t-1}),  alpha_t = abar_t / abar_{t+1},  SNR(t) = abar_t / (1 - abar_t)
//
//   DT   L_t = -log p_out(y | z_T) + KL(q(z_0 | y) || N(0, I)) + (T / 2) eta (SNR(t) - SNR(t-1)) |u^_t(z_{t-1}, x) - u_y|^2
//   CT   the same with one block u^(z, x, t), abar(t) = sigmoid(-gamma(t)) learned, and 1/2 eta SNR'(t) for the weight
//   FM   z_t = t u_y + (1 - t) z_0, |v(z_t, x, t) - (u_y - z_0)|^2
#pragma once
#include <cmath>
#include <numbers>
#include <optional>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/nn.hpp>
#include <gradus/nn/flow.hpp>
#include <gradus/ops/losses.hpp>
#include <gradus/optim.hpp>

namespace noprop {
using namespace gradus;

/// abar_0 < ... < abar_T, and what follows from it; t = 1, ..., T.
struct Schedule {
  std::vector<double> abar;
  int64_t T() const { return static_cast<int64_t>(abar.size()) - 1; }
  double at(int64_t t) const { return abar[static_cast<std::size_t>(t)]; }
  double alpha(int64_t t) const { return at(t) / at(t + 1); }
  double a(int64_t t) const { return std::sqrt(at(t)) * (1 - alpha(t - 1)) / (1 - at(t - 1)); }
  double b(int64_t t) const { return std::sqrt(alpha(t - 1)) * (1 - at(t)) / (1 - at(t - 1)); }
  double c(int64_t t) const { return (1 - at(t)) * (1 - alpha(t - 1)) / (1 - at(t - 1)); }
  double snr(int64_t t) const { return at(t) / (1 - at(t)); }
};
/// abar_t = cos^2(pi / 2 (0.98 (T - t) / T + 0.01)) within [1e-4, 0.9995].
inline Schedule cosine_schedule(int64_t T) {
  Schedule s;
  for (int64_t t = 0; t <= T; ++t) {
    const double angle = 0.98 * static_cast<double>(T - t) / static_cast<double>(T) + 0.01;
    s.abar.push_back(std::clamp(std::pow(std::cos(std::numbers::pi / 2 * angle), 2), 1e-4, 0.9995));
  }
  return s;
}
/// KL(N(sqrt(abar) u, (1 - abar) I) || N(0, I)), a number a row of u [B, d]; abar a tensor of no or one dimension.
template <class T, class D>
Tensor<T, D> prior_kl(const Tensor<T, D>& u, const Tensor<T, D>& abar) {
  return 0.5 * (abar * sum(square(u), 1) + static_cast<double>(u.size(1)) * (-abar - log1p(-abar)));
}

struct BlockOptions {
  std::vector<int64_t> channels{32, 64, 128};
  int64_t side = 28, pictures = 1, hidden = 256;  // extent and channels of the pictures
  double dropout = 0.2;
  bool timed = false;  // a third input t, and no batch norm: CT and FM
};

/// u^ or v from (z, x, t): three paths that meet in linear layers.
///   x   3 x (conv 3 x 3, ReLU, max pool 2, dropout), linear (, norm)
///   z   linear (, norm), ReLU, plus linear (, norm) of that;   t   64 sines and cosines, linear, ReLU
template <class D>
struct Block {
  using value_type = float;
  using device_type = D;
  BlockOptions options;
  nn::Sequential<float, D> x_path, z_first, z_second, t_path, joint;

  Block(const BlockOptions& o, int64_t d, int64_t outputs) : options(o) {
    int64_t in = o.pictures, side = o.side;
    for (const int64_t c : o.channels) {
      x_path.add(nn::Conv2d<float, D>(in, c, 3, {.padding = 1}))
          .add(nn::ReLU{})
          .add(nn::MaxPool2d(2))
          .add(nn::Dropout(o.dropout));
      in = c, side /= 2;
    }
    if (side < 1)
      fail("Block", "the pictures are too small for so many poolings", {{"side", std::to_string(o.side)}},
           "a side of at least 2^" + std::to_string(o.channels.size()), Where::current());
    const int64_t h = o.hidden;
    const auto linear = [&](nn::Sequential<float, D>& s, int64_t from, int64_t to) {
      s.add(nn::Linear<float, D>(from, to));
      if (!o.timed) s.add(nn::BatchNorm1d<float, D>(to));
    };
    x_path.add(nn::Flatten{});
    linear(x_path, in * side * side, h), linear(z_first, d, h), linear(z_second, h, h);
    z_first.add(nn::ReLU{});
    if (o.timed) t_path.add(nn::Linear<float, D>(64, h)).add(nn::ReLU{});
    linear(joint, (o.timed ? 3 : 2) * h, h), joint.add(nn::ReLU{});
    linear(joint, h, h / 2), joint.add(nn::ReLU{});
    joint.add(nn::Linear<float, D>(h / 2, outputs));
  }
  /// What x alone gives, [B, hidden]: of use when the same pictures meet many z.
  Tensor<float, D> see(const Tensor<float, D>& x) const { return x_path(x); }
  /// z [B, d], or undefined for a classifier of x alone; t [B] exactly for a timed block -> [B, outputs].
  Tensor<float, D> decide(const Tensor<float, D>& seen, const Tensor<float, D>& z, const Tensor<float, D>& t = {}) const {
    std::vector<Tensor<float, D>> parts{seen, zeros_like(seen)};
    if (z.defined()) {
      const auto first = z_first(z);
      parts[1] = first + z_second(first);
    }
    if (options.timed) parts.push_back(t_path(nn::time_features(t, 64, 10000, 1000)));
    return joint(cat(parts, 1));
  }
  void visit(auto&& f) { f("x", x_path), f("z1", z_first), f("z2", z_second), f("t", t_path), f("joint", joint); }
};

enum class Embedding { onehot, learned, prototype };
/// W_E [m, d] and p_out: linear and softmax, or radial, p_out(y | z) proportional to exp(-|z - u_y|^2 / (2 sigma^2)).
template <class D>
struct Labels {
  using value_type = float;
  using device_type = D;
  Tensor<float, D> W_E, log_sigma;
  std::optional<nn::Linear<float, D>> linear;
  bool learned;

  /// start: the prototypes [m, d], or undefined for one-hot (d = m) and orthogonal rows.
  Labels(int64_t m, int64_t d, Embedding kind, bool radial, const Tensor<float, D>& start = {})
      : learned(kind != Embedding::onehot) {
    W_E = start.defined() ? start.clone() : eye<float, D>(m, d);
    if (kind == Embedding::learned) nn::init::orthogonal(W_E);
    if (learned) W_E.requires_grad_();
    if (radial) log_sigma = zeros<float, D>({}), log_sigma.requires_grad_();
    else linear.emplace(d, m);
  }
  Tensor<float, D> of(const Tensor<int64_t, D>& y) const { return index_select(W_E, 0, y); }
  /// u^ from a block's logits.
  Tensor<float, D> expected(const Tensor<float, D>& logits) const { return matmul(softmax(logits, 1), W_E); }
  /// log p_out up to a constant, [B, m].
  Tensor<float, D> logits(const Tensor<float, D>& z) const {
    if (linear) return (*linear)(z);
    return -0.5 * exp(-2 * log_sigma) * sum(square(unsqueeze(z, 1) - W_E), 2);
  }
  void visit(auto&& f) {
    if (learned) f("W_E", W_E);
    else f("W_E", W_E, nn::buffer);
    if (linear) f("linear", *linear);
    else f("log_sigma", log_sigma);
  }
};
/// Of each class the picture with the smallest median distance to the others of its class: [m, d] from x [N, ...] of classes y.
inline Tensor<float> prototypes(const Tensor<float>& x, const Tensor<int64_t>& y, int64_t m) {
  std::vector<Tensor<float>> rows;
  for (int64_t k = 0; k < m; ++k) {
    const auto own = index_select(reshape(x, {x.size(0), -1}), 0, nonzero(equal(y, k)).reshape({-1}));
    rows.push_back(own(argmin(median(cdist(own, own), 1).values, 0).item()).contiguous());
  }
  return stack(rows, 0);
}

/// sqrt(abar) u_y + sqrt(1 - abar) e
template <class T, class D>
Tensor<T, D> noised(const Tensor<T, D>& u, double abar) {
  return std::sqrt(abar) * u + std::sqrt(1 - abar) * randn<T, D>(u.shape());
}

template <class D>
struct Chain {  // NoProp-DT, and the same chain for back-propagation
  using value_type = float;
  using device_type = D;
  Schedule schedule;
  std::vector<Block<D>> blocks;
  Labels<D> labels;

  Chain(int64_t T, const BlockOptions& o, const Labels<D>& l) : schedule(cosine_schedule(T)), labels(l) {
    for (int64_t t = 0; t < T; ++t) blocks.emplace_back(o, l.W_E.size(1), l.W_E.size(0));
  }
  const Block<D>& block(int64_t t) const { return blocks[static_cast<std::size_t>(t - 1)]; }
  /// L_t: no block but t takes part, and p_out only through z_T ~ q.
  Tensor<float, D> loss(int64_t t, const Tensor<float, D>& x, const Tensor<int64_t, D>& y, double eta) const {
    const auto u = labels.of(y);
    const auto z = noised(u, schedule.at(t - 1)), last = noised(u, schedule.at(schedule.T()));
    const auto miss = sum(square(labels.expected(block(t).decide(block(t).see(x), z)) - u), 1);
    const double weight = 0.5 * static_cast<double>(schedule.T()) * eta * (schedule.snr(t) - schedule.snr(t - 1));
    const auto kl = prior_kl(u, full<float, D>({}, schedule.at(0)));
    return cross_entropy(labels.logits(last), y) + mean(kl + weight * miss);
  }
  /// z_t from z_{t-1}, the block's logits and e ~ N(0, I).
  Tensor<float, D> step(int64_t t, const Tensor<float, D>& logits, const Tensor<float, D>& z, const Tensor<float, D>& e) const {
    return schedule.a(t) * labels.expected(logits) + schedule.b(t) * z + std::sqrt(schedule.c(t)) * e;
  }
  /// The whole chain from z_0 = noise[0] with e_t = noise[t]; visit(t, logits of block t, z_t).
  template <class F>
  Tensor<float, D> run(const Tensor<float, D>& x, const std::vector<Tensor<float, D>>& noise, F&& visit) const {
    auto z = noise[0];
    for (int64_t t = 1; t <= schedule.T(); ++t) {
      const auto logits = block(t).decide(block(t).see(x), z);
      z = step(t, logits, z, noise[static_cast<std::size_t>(t)]);
      visit(t, logits, z);
    }
    return z;
  }
  void visit(auto&& f) { f("blocks", blocks), f("labels", labels); }
};

/// gamma(t) = gamma_0 + (gamma_1 - gamma_0) (1 - g(t)), g rising from g(0) = 0 to g(1) = 1: a net of 64 sigmoids with positive
/// weights. abar = sigmoid(-gamma). linear: g(t) = t, nothing is learned.
template <class D>
struct NoiseNet {
  using value_type = float;
  using device_type = D;
  Tensor<float, D> gamma, w, b, v;  // [2], [64] each
  bool linear;

  explicit NoiseNet(bool linear = false, double first = 0.01, double last = 0.9) : linear(linear) {
    const auto logit = [](double p) { return std::log(p / (1 - p)); };
    gamma = from_vector<float>({static_cast<float>(-logit(last)), static_cast<float>(-logit(first))}).template to<D>();
    w = randn<float, D>({64}), b = randn<float, D>({64}), v = randn<float, D>({64});
    if (!linear)
      for (auto* p : {&gamma, &w, &b, &v}) p->requires_grad_();
  }
  struct Point {
    Tensor<float, D> abar, gamma_slope;  // [B]
  };
  Point at(const Tensor<float, D>& t) const {
    const auto low = narrow(gamma, 0, 0, 1), range = narrow(gamma, 0, 1, 1) - low;
    auto g = t, slope = ones_like(t);
    if (!linear) {
      const auto positive = softplus(w), weight = softplus(v);
      const auto raw = [&](const Tensor<float, D>& s) { return sum(weight * sigmoid(positive * unsqueeze(s, 1) + b), 1); };
      const auto start = raw(zeros<float, D>({1})), height = raw(ones<float, D>({1})) - start;
      const auto s = sigmoid(positive * unsqueeze(t, 1) + b);
      g = (sum(weight * s, 1) - start) / height;
      slope = sum(weight * positive * s * (1 - s), 1) / height;
    }
    return {sigmoid(-(low + range * (1 - g))), -range * slope};
  }
  void visit(auto&& f) { f("gamma", gamma), f("w", w), f("b", b), f("v", v); }
};

template <class D>
struct Continuous {  // NoProp-CT and NoProp-FM: one block for all t
  using value_type = float;
  using device_type = D;
  Block<D> block;
  Labels<D> labels;
  NoiseNet<D> noise;
  bool flow;

  Continuous(BlockOptions o, const Labels<D>& l, bool flow, bool linear_schedule)
      : block(timed(o), l.W_E.size(1), flow ? l.W_E.size(1) : l.W_E.size(0)), labels(l), noise(linear_schedule), flow(flow) {}
  Tensor<float, D> loss(const Tensor<float, D>& x, const Tensor<int64_t, D>& y, double eta) const {
    const auto u = labels.of(y), t = rand<float, D>({y.numel()});
    const auto e = randn<float, D>(u.shape()), seen = block.see(x);
    if (flow) {
      const auto at = unsqueeze(t, 1), z = at * u + (1 - at) * e, v = block.decide(seen, z, t);
      const auto miss = mean(sum(square(v - (u - e)), 1));
      return labels.learned ? miss + cross_entropy(labels.logits(z + (1 - at) * v), y) : miss;
    }
    const auto point = noise.at(t), ends = noise.at(from_vector<float>({0, 1}).template to<D>());
    const auto z = unsqueeze(sqrt(point.abar), 1) * u + unsqueeze(sqrt(1 - point.abar), 1) * e;
    const auto first = narrow(ends.abar, 0, 0, 1), final = narrow(ends.abar, 0, 1, 1);
    const auto last = sqrt(final) * u + sqrt(1 - final) * randn<float, D>(u.shape());
    // SNR = abar / (1 - abar) = e^-gamma, SNR' = -gamma' e^-gamma
    const auto weight = -point.gamma_slope * point.abar / (1 - point.abar);
    const auto miss = sum(square(labels.expected(block.decide(seen, z, t)) - u), 1);
    return cross_entropy(labels.logits(last), y) + mean(prior_kl(u, first)) + 0.5 * eta * mean(weight * miss);
  }
  /// dz/dt at one t: the block's v, or the probability-flow ODE, -gamma' / 2 (sqrt(abar) u^ - abar z).
  Tensor<float, D> slope(const Tensor<float, D>& seen, const Tensor<float, D>& z, double t) const {
    const auto at = full<float, D>({z.size(0)}, t), out = block.decide(seen, z, at);
    if (flow) return out;
    const auto p = noise.at(full<float, D>({1}, t));
    return -0.5 * p.gamma_slope * (sqrt(p.abar) * labels.expected(out) - p.abar * z);
  }
  /// z_1 from z_0 in `steps` steps of Euler's method.
  Tensor<float, D> run(const Tensor<float, D>& x, const Tensor<float, D>& z0, int64_t steps) const {
    const auto seen = block.see(x);
    std::vector<double> times;
    for (int64_t k = 0; k <= steps; ++k) times.push_back(static_cast<double>(k) / static_cast<double>(steps));
    return nn::integrate([&](const Tensor<float, D>& z, double t) { return slope(seen, z, t); }, z0, times);
  }
  /// Scores of the classes at z_1: p_out where it is trained, else the nearest embedding.
  Tensor<float, D> scores(const Tensor<float, D>& z) const {
    return flow && !labels.learned ? -cdist(z, labels.W_E) : labels.logits(z);
  }
  void visit(auto&& f) {
    f("block", block), f("labels", labels);
    if (!flow) f("noise", noise);
  }

 private:
  static BlockOptions timed(BlockOptions o) { return o.timed = true, o; }
};

}  // namespace noprop
