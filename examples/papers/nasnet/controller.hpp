// The controller of Zoph et al. 2018, section 3.1 and appendix A.1: a recurrent network that writes two cells as 10 B decisions
// and learns which by PPO.
//
//   for the normal and the reduction cell, for b = 0 ... B - 1:  state, state (of 2 + b), op, op (of 13), add or side by side
//   p(a) = prod_k p(a_k | a_1 ... a_{k-1})      one LSTM step a decision; its input is the embedding of the decision before
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include <gradus.hpp>
#include <gradus/models/nasnet.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

namespace nasnet {
using namespace gradus;
using models::CellBlock, models::CellOp, models::CellSpec;

/// How many choices each of the decisions has.
inline std::vector<int64_t> choices(int64_t B) {
  std::vector<int64_t> n;
  for (int cell = 0; cell < 2; ++cell)
    for (int64_t b = 0; b < B; ++b)
      for (const int64_t c : {2 + b, 2 + b, int64_t{13}, int64_t{13}, int64_t{2}}) n.push_back(c);
  return n;
}
/// The expected share of decisions that a uniform draw has right.
inline double uniform_share(int64_t B) {
  const auto n = choices(B);
  double sum = 0;
  for (const int64_t c : n) sum += 1 / static_cast<double>(c);
  return sum / static_cast<double>(n.size());
}
using Decisions = std::vector<int64_t>;

struct Cells {
  CellSpec normal, reduction;
};
inline Cells cells_of(const Decisions& a) {
  const std::size_t half = a.size() / 2;
  const auto cell = [&](std::size_t from) {
    std::vector<CellBlock> blocks;
    for (std::size_t k = from; k < from + half; k += 5)
      blocks.push_back({static_cast<CellOp>(a[k + 2]), static_cast<int>(a[k]), static_cast<CellOp>(a[k + 3]),
                        static_cast<int>(a[k + 1]), a[k + 4] == 1});
    return CellSpec::of(blocks);
  };
  return {cell(0), cell(half)};
}
inline Decisions random_decisions(int64_t B, uint64_t seed, uint64_t number) {
  data::Draws d({seed, 0x6e6173}, number);
  Decisions a;
  for (const int64_t n : choices(B)) a.push_back(d.below(n));
  return a;
}

template <class D = Cpu>
struct Controller {
  using value_type = float;
  using device_type = D;
  std::vector<int64_t> sizes;  // of the decisions
  nn::LSTMCell<float, D> lstm;
  Tensor<float, D> first;  // the first step's input
  std::vector<nn::Embedding<float, D>> embed;
  std::vector<nn::Linear<float, D>> heads;

  explicit Controller(int64_t B = 5, int64_t hidden = 100) : sizes(choices(B)), lstm(hidden, hidden) {
    first = zeros<float, D>({1, hidden}).requires_grad_();
    for (const int64_t n : sizes) embed.emplace_back(n, hidden), heads.emplace_back(hidden, n);
    embed.pop_back();  // nothing follows the last decision
    for (auto& p : nn::parameters(*this)) nn::init::uniform(p, -0.1, 0.1);
  }
  void visit(auto&& f) { f("lstm", lstm), f("first", first), f("embed", embed), f("heads", heads); }

  /// log p(a) and the sum of the decisions' entropies for n architectures: [n] each. choose(k, log p(a_k | ...) [n, choices])
  /// gives decision k: [n].
  struct Walk {
    Tensor<float, D> logp, entropy;
  };
  template <class F>
  Walk walk(int64_t n, F&& choose) const {
    Walk w;
    auto x = expand(first, {n, first.size(1)});
    nn::CellState<float, D> s;
    for (std::size_t k = 0; k < sizes.size(); ++k) {
      s = lstm.forward(x, s);
      const auto l = log_softmax(heads[k](s.h), 1);
      const Tensor<int64_t, D> a = choose(k, l);
      const auto own = squeeze(gather(l, 1, unsqueeze(a, 1)), 1), H = neg(sum(exp(l) * l, {1}));
      w.logp = k ? w.logp + own : own, w.entropy = k ? w.entropy + H : H;
      if (k < embed.size()) x = embed[k](a);
    }
    return w;
  }
  /// n architectures from the policy.
  std::vector<Decisions> sample(int64_t n) const {
    const NoGrad guard;
    std::vector<Decisions> all(static_cast<std::size_t>(n));
    walk(n, [&](std::size_t, const Tensor<float, D>& l) {
      const auto a = squeeze(multinomial(exp(l), 1), 1);
      const auto host = a.to_vector();
      for (std::size_t i = 0; i < host.size(); ++i) all[i].push_back(host[i]);
      return a;
    });
    return all;
  }
  Walk score(const std::vector<Decisions>& a) const {
    return walk(static_cast<int64_t>(a.size()), [&](std::size_t k, const Tensor<float, D>&) {
      std::vector<int64_t> column;
      for (const Decisions& d : a) column.push_back(d[k]);
      return from_vector(column).template to<D>();
    });
  }
};

struct PpoOptions {
  int64_t batch = 20;
  double lr = 3.5e-4, entropy = 1e-5, baseline = 0.95, clip = 0.2;
  int epochs = 1;  ///< passes over a batch
};

/// Proposes architectures and learns from their rewards: advantage = R - moving mean of the batches' mean rewards.
template <class D = Cpu>
struct Ppo {
  Controller<D>& controller;
  PpoOptions options;
  optim::Adam<float, D> opt;
  double baseline = NAN;

  Ppo(Controller<D>& c, PpoOptions o) : controller(c), options(o), opt(c, {.lr = o.lr}) {}
  void learn(const std::vector<Decisions>& a, const std::vector<double>& rewards) {
    const auto n = static_cast<int64_t>(a.size());
    double mean_reward = 0;
    for (const double r : rewards) mean_reward += r / static_cast<double>(n);
    if (std::isnan(baseline)) baseline = mean_reward;
    std::vector<float> advantages;
    for (const double r : rewards) advantages.push_back(static_cast<float>(r - baseline));
    const auto A = from_vector(advantages).template to<D>();
    Tensor<float, D> old;
    for (int epoch = 0; epoch < options.epochs; ++epoch) {
      opt.zero_grad();
      const auto w = controller.score(a);
      if (!old.defined()) old = w.logp.detach();
      (ppo_loss(w.logp, old, A, options.clip) - options.entropy * mean(w.entropy)).backward();
      opt.step();
    }
    baseline = options.baseline * baseline + (1 - options.baseline) * mean_reward;
  }
};

/// Mean rewards of the batches when R is the share of decisions that equal those of a hidden architecture.
template <class D>
std::vector<double> controller_selftest(uint64_t seed, int64_t batches, const PpoOptions& o,
                                        const std::function<bool()>& go_on) {
  manual_seed(seed);
  Controller<D> controller;
  Ppo<D> ppo(controller, o);
  const Decisions target = random_decisions(5, seed, ~uint64_t{0});
  std::vector<double> curve;
  for (int64_t k = 0; k < batches && go_on(); ++k) {
    const auto a = controller.sample(o.batch);
    std::vector<double> R;
    double sum = 0;
    for (const Decisions& d : a) {
      int64_t right = 0;
      for (std::size_t i = 0; i < d.size(); ++i) right += d[i] == target[i];
      R.push_back(static_cast<double>(right) / static_cast<double>(d.size())), sum += R.back();
    }
    curve.push_back(sum / static_cast<double>(a.size()));
    ppo.learn(a, R);
  }
  return curve;
}

}  // namespace nasnet
