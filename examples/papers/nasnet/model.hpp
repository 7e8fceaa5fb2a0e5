// Training and measuring NASNets: ScheduledDropPath step by step, its self-test, and the search's children.
//
//   k_layer = 1 - (c + 1) / C (1 - k_final)      k = 1 - min(1, t / T) (1 - k_layer)      y = x / k floor(k + U), one U a
//   sample
#pragma once
#include <cmath>
#include <string>
#include <variant>
#include <vector>

#include <gradus/data/augment.hpp>
#include <gradus/data/loader.hpp>
#include <gradus/training.hpp>

#include "controller.hpp"

namespace nasnet {

using Pictures = data::Loader<data::Batch<float>>;
template <class D>
using Net = models::NASNet<float, D>;

/// "none", "fixed": final_keep in every cell from the first step on, "scheduled".
template <class D>
void set_drop(Net<D>& net, const std::string& drop, int64_t step, int64_t steps) {
  if (drop == "scheduled") net.set_step(static_cast<double>(step), static_cast<double>(steps));
  else net.set_keep(drop == "fixed" ? net.config.final_keep : 1);
}

struct Training {
  int64_t epochs = 3, batch = 32;
  double lr = 0.025, momentum = 0.9, decay = 5e-4, clip = 5, smoothing = 0, aux = 0.4;
  bool rmsprop = false;  ///< of ImageNet, with 0.97 times the rate every 2.4 epochs; else SGD and one half cosine
};
struct Epoch {
  double loss = 0, train = 0;
};

/// Trains net; after(epoch) ends each epoch, tick() each step; false when it was interrupted.
template <class D, class Opt, class Tick, class After>
bool fit(Net<D>& net, Opt& opt, Pictures& pictures, int64_t images, const std::string& drop, const Training& o, Tick&& tick,
         After&& after) {
  const int64_t each = (images + o.batch - 1) / o.batch, steps = each * o.epochs;
  const auto params = nn::parameters(net);
  int64_t step = 0;
  for (int64_t epoch = 0; epoch < o.epochs; ++epoch) {
    training::Mean loss, right;
    for (auto& [pixels, targets] : pictures) {
      if (!tick()) return false;
      const double t = static_cast<double>(step), per_epoch = static_cast<double>(each);
      opt.set_lr(o.rmsprop ? o.lr * std::pow(0.97, std::floor(t / per_epoch / 2.4)) : optim::cosine_lr(o.lr, step, steps));
      set_drop(net, drop, step++, steps);
      opt.zero_grad();
      const auto x = pixels.template to<D>();
      const auto y = targets.template to<D>();
      const auto out = net.logits(x);
      const CrossEntropyOptions<float, D> ce{.label_smoothing = o.smoothing};
      auto L = cross_entropy(out.main, y, ce);
      if (out.aux.defined()) L = L + o.aux * cross_entropy(out.aux, y, ce);
      L.backward();
      optim::clip_grad_norm(params, o.clip);
      opt.step();
      const auto n = static_cast<double>(targets.numel());
      loss.add(static_cast<double>(L.item()), n);
      right.add(training::top_k_accuracy(out.main.detach().template to<Cpu>(), targets, 1), n);
    }
    after(epoch, Epoch{loss.value(), right.value()});
  }
  return true;
}
template <class D, class Tick, class After>
bool fit(Net<D>& net, Pictures& pictures, int64_t images, const std::string& drop, const Training& o, Tick&& tick,
         After&& after) {
  if (o.rmsprop) {
    optim::Rmsprop<float, D> opt(net, {.lr = o.lr, .alpha = 0.9, .eps = 1, .weight_decay = o.decay, .momentum = o.momentum});
    return fit(net, opt, pictures, images, drop, o, tick, after);
  }
  optim::Sgd<float, D> opt(net, {.lr = o.lr, .momentum = o.momentum, .weight_decay = o.decay});
  return fit(net, opt, pictures, images, drop, o, tick, after);
}

/// The classes that net gives all pictures, and the share that is right.
struct Guesses {
  std::vector<int64_t> classes;
  double accuracy = 0;
};
template <class D>
Guesses guesses(Net<D>& net, Pictures& pictures) {
  nn::eval(net);
  const NoGrad guard;
  Guesses g;
  int64_t right = 0;
  for (auto& [x, t] : pictures) {
    const auto said = argmax(net(x.template to<D>()), 1).to_vector();
    for (std::size_t i = 0; i < said.size(); ++i) right += said[i] == t.data()[i];
    g.classes.insert(g.classes.end(), said.begin(), said.end());
  }
  nn::train(net);
  g.accuracy = static_cast<double>(right) / static_cast<double>(g.classes.size());
  return g;
}

/// The share of n masks of a cell that drop, and the mean of what they make of x = 1.
struct Masks {
  double dropped = 0, mean = 0;
};
template <class D>
Masks masks(const nn::ScheduledDropPath& drop, int64_t n) {
  const auto y = drop(ones<float, D>({n, 1, 1, 1})).to_vector();
  Masks m;
  for (const float v : y) m.dropped += v == 0, m.mean += static_cast<double>(v);
  m.dropped /= static_cast<double>(n), m.mean /= static_cast<double>(n);
  return m;
}
/// The largest deviations over all cells and five times, in standard errors; where nothing is dropped any deviation is
/// infinite.
struct DropDeviation {
  double dropped = 0, mean = 0;
};
template <class D>
DropDeviation drop_deviation(int64_t cells, double final_keep, int64_t n) {
  DropDeviation worst;
  for (int64_t c = 0; c < cells; ++c) {
    nn::ScheduledDropPath drop(c, cells, final_keep);
    for (const double t : {0.0, 0.25, 0.5, 0.75, 1.0}) {
      drop.set_step(t, 1);
      const double p = t * static_cast<double>(c + 1) / static_cast<double>(cells) * (1 - final_keep);
      const Masks m = masks<D>(drop, n);
      const auto in_errors = [](double off, double error) { return off == 0 ? 0 : std::abs(off) / error; };
      const double error = std::sqrt(p * (1 - p) / static_cast<double>(n));
      worst.dropped = std::max(worst.dropped, in_errors(m.dropped - p, error));
      const double off = m.mean - 1;  // y is rounded to float
      worst.mean = std::max(worst.mean, p == 0 ? in_errors(off, 0) : in_errors(off, error / (1 - p)));
    }
  }
  return worst;
}
/// How many logits change in evaluation when paths are dropped in every cell.
template <class D>
int64_t changed_in_evaluation(uint64_t seed) {
  manual_seed(seed);
  Net<D> net({.normal_cells = 1, .filters = 4, .stem = 12, .channels = 1});
  const auto x = randn<float, D>({8, 1, 12, 12});
  net(x);  // running statistics
  nn::eval(net);
  const NoGrad guard;
  std::vector<float> y[2];
  for (const bool drops : {false, true}) net.set_keep(drops ? 0.5 : 1), y[drops] = net(x).to_vector();
  int64_t n = 0;
  for (std::size_t i = 0; i < y[0].size(); ++i) n += std::memcmp(&y[0][i], &y[1][i], sizeof(float)) != 0;
  return n;
}

struct Count {
  std::string name;
  models::NASNetConfig config;
  int64_t side, trainable, statistics, multiply_adds;  // as published, or 0: not said
};
inline std::vector<Count> published() {
  return {{"NASNet-A (4 @ 1056), 224 x 224", models::nasnet_mobile(), 224, 5289978, 36738, 563638816},
          {"NASNet-A (6 @ 4032), 331 x 331", models::nasnet_large(), 331, 88753150, 196668, 23783414658},
          {"NASNet-A (6 @ 768), 32 x 32", models::nasnet_cifar(), 32, 3346538, 0, 544333312}};
}
inline int64_t statistics_of(auto& net) {
  int64_t n = -nn::parameter_count(net);
  for (const auto& [name, t] : nn::state_dict(net)) n += t.numel();
  return n;
}

}  // namespace nasnet
