// Training with a guide, and what is measured on the way.
#pragma once
#include <algorithm>
#include <bit>

#include <gradus/app/progress.hpp>
#include <gradus/app/table.hpp>
#include <gradus/optim.hpp>

#include "tasks.hpp"

namespace guidance {

struct FitOptions {
  int64_t epochs = 8;
  double lr = 1e-3, alpha = 1;  // lr: a tenth every 30 epochs
  int64_t guide_steps = -1;     // guidance for so many steps; -1: for all, 0: the distance is measured, not trained
  std::vector<Pair> pairs = {};
  bool by_token = false;
  bool decoupled = false;     // AdamW
  double clip = 0;            // of the gradient's norm; 0: none
  bool score_at_end = false;  // not after each epoch
};
struct Score {
  double loss = 0, accuracy = 0;  // accuracy in percent
};
/// After each epoch.
struct Curve {
  std::vector<double> distance, ce;  // means over the epoch's steps, in training mode
  std::vector<double> similarity;    // of each pair, mean over the last epoch's steps; empty by_token
  std::vector<Score> train, test;    // in evaluation mode
};

template <class D>
Tensor<float, D> noise_like(const Tensor<float, D>& x) {
  return clamp(randn<float, D>(x.shape()), -1.0, 1.0);
}
template <class D>
Tokens<D> noise_like(const Tokens<D>& x) {
  fail("--guide noise", "tokens have no noise", {{"x", describe(x.x)}}, "--task image", Where::current());
}

template <class D>
Tensor<float, D> cross_entropy_of(const Tensor<float, D>& logits, const Tensor<int64_t, D>& y, int64_t ignored) {
  return cross_entropy(logits.reshape({-1, logits.size(-1)}), y.reshape({-1}), {.ignore_index = ignored});
}
template <class D, class In>
Score score(Network<float, D, In>& net, const Task<D, In>& task,
            const std::function<void(const typename Task<D, In>::Use&)>& set) {
  nn::eval(net);
  const NoGrad guard;
  double loss = 0, right = 0, n = 0;
  set([&](const In& x, const Tensor<int64_t, D>& y) {
    const auto logits = net(x);
    const auto counted = cast<float>(not_equal(y, static_cast<double>(task.ignored)));
    const double here = sum(counted).item();
    loss += cross_entropy_of(logits, y, task.ignored).item() * here, n += here;
    right += sum(cast<float>(equal(argmax(logits, -1), y)) * counted).item();
    return true;
  });
  nn::train(net);
  return {loss / n, 100 * right / n};
}

/// A frozen network and what its layers say of a batch. keep: the matrices of step k are those of the first run's step k, for
/// runs that see the same batches in the same order.
template <class D, class In>
struct Guide {
  Network<float, D, In>& net;
  Metric metric = Metric::cka;
  bool noise = false;  // it sees clipped Gaussian noise instead of the pictures
  bool keep = false;
  std::vector<Features<float, D>> kept = {};

  Features<float, D> see(const In& x) {
    Features<float, D> a;
    no_grad([&] { return net(noise ? noise_like(x) : x, &a); });
    return a;
  }
  Features<float, D> see(const In& x, std::size_t step) {
    if (step < kept.size()) return kept[step];
    auto L = no_grad([&] { return matrices(see(x), metric); });
    if (keep && step == kept.size()) kept.push_back(L);
    return L;
  }
};

/// Trains the target; after(step, loss) returns false to stop. Without a guide this is plain training.
template <class D, class In, class After>
Curve fit(Network<float, D, In>& target, Guide<D, In>* guide, const Task<D, In>& task, const FitOptions& o, After after) {
  Curve curve;
  const auto train = [&](auto opt) {
    int64_t step = 0;
    bool on = true;
    if (guide) nn::freeze(guide->net), nn::eval(guide->net);
    nn::train(target);
    for (int64_t epoch = 0; epoch < o.epochs && on; ++epoch) {
      opt.set_lr(o.lr * std::pow(0.1, static_cast<double>(epoch / 30)));
      double ce = 0, distance_sum = 0, count = 0;
      std::vector<double> similarity(o.by_token ? 0 : o.pairs.size(), 0.0);
      task.train(epoch, [&](const In& x, const Tensor<int64_t, D>& y) {
        opt.zero_grad();
        Features<float, D> A;
        const auto CE = cross_entropy_of(target(x, guide ? &A : nullptr), y, task.ignored);
        auto L = CE;
        if (guide) {
          const bool guided = o.guide_steps < 0 || step < o.guide_steps;
          const auto compare = [&] {
            if (o.by_token) return distance(A, guide->see(x), o.pairs, guide->metric, true);
            const auto s = similarities_to(A, guide->see(x, static_cast<std::size_t>(step)), o.pairs, guide->metric);
            const auto values = s.detach().template to<Cpu>().to_vector();
            for (std::size_t k = 0; k < values.size(); ++k) similarity[k] += static_cast<double>(values[k]);
            return sum(1.0 - s);
          };
          const auto d = guided ? compare() : no_grad(compare);
          if (guided) L = CE + d * o.alpha;
          distance_sum += d.item();
        }
        L.backward();
        if (o.clip > 0) optim::clip_grad_norm(nn::parameters(target), o.clip);
        opt.step();
        ce += CE.item(), ++count, ++step;
        return on = after(step, ce / count);
      });
      curve.ce.push_back(ce / count), curve.distance.push_back(distance_sum / count);
      curve.similarity = similarity;
      for (double& v : curve.similarity) v /= count;
      if (o.score_at_end && epoch + 1 < o.epochs && on) continue;
      curve.train.push_back(score(target, task, task.train_set)), curve.test.push_back(score(target, task, task.test_set));
    }
  };
  if (o.decoupled) train(optim::AdamW(target, {.lr = o.lr}));
  else train(optim::Adam(target, {.lr = o.lr}));
  return curve;
}

/// All features of a batch in evaluation mode.
template <class D, class In>
Features<float, D> features(Network<float, D, In>& net, const In& x) {
  nn::eval(net);
  Features<float, D> a;
  no_grad([&] { return net(x, &a); });
  nn::train(net);
  return a;
}
/// How many numbers of two states differ, bit for bit: parameters and buffers.
template <class D>
int64_t changed(const nn::StateDict& before, const nn::StateDict& after) {
  int64_t n = 0;
  for (const auto& [path, x] : before) {
    const auto a = x.template as<float, D>().detach().template to<Cpu>().to_vector();
    const auto b = after.at(path).template as<float, D>().detach().template to<Cpu>().to_vector();
    for (std::size_t i = 0; i < a.size(); ++i) n += std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i]);
  }
  return n;
}

struct Result {
  Curve curve;
  std::vector<Pair> pairs;
  std::vector<double> before, after;  // similarities [target layers, guide layers] on held-out samples
  std::size_t layers = 0, guide_layers = 0;
  int64_t changed = 0;  // numbers of the guide that training touched
  double held_out() const { return mean_over(pairs); }
  double mean_over(const std::vector<Pair>& list) const {
    double sum = 0;
    for (const auto& [i, j] : list) sum += after[static_cast<std::size_t>(i) * guide_layers + static_cast<std::size_t>(j)];
    return sum / static_cast<double>(list.size());
  }
  /// sum of 1 - CKA over some of the pairs, in the last epoch.
  double last_distance(const std::vector<Pair>& list) const {
    double sum = 0;
    for (std::size_t k = 0; k < pairs.size(); ++k)
      if (std::find(list.begin(), list.end(), pairs[k]) != list.end()) sum += 1 - curve.similarity[k];
    return sum;
  }
};

/// Trains a target with a guide and compares their layers on held-out samples before and after.
template <class D, class In>
Result run_arm(Network<float, D, In>& target, Guide<D, In>& guide, const Task<D, In>& task, FitOptions f, Pairs which,
               const std::string& label, app::Progress& progress) {
  Result r;
  In held_out;
  task.test_set([&](const In& x, const auto&) { return held_out = x, false; });
  const auto G = features(guide.net, held_out);
  const auto A = features(target, held_out);
  r.layers = A.size(), r.guide_layers = G.size();
  r.pairs = f.pairs = pairs_of(static_cast<int64_t>(G.size()), static_cast<int64_t>(A.size()), which);
  r.before = similarity_table(A, G, guide.metric);
  const auto state = nn::clone_state(guide.net);
  r.curve = fit(target, &guide, task, f, [&](int64_t, double loss) {
    progress.step(label + ", loss " + app::figure(loss, 3));
    return !app::interrupted();
  });
  r.changed = changed<D>(state, nn::state_dict(guide.net));
  r.after = similarity_table(features(target, held_out), G, guide.metric);
  return r;
}

}  // namespace guidance
