// The two studies with networks: layer-wise training (section 3) and weight decay by layer (section 5).
#pragma once
#include <string>
#include <vector>

#include <gradus/data/batches.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

#include "model.hpp"

namespace ncp {

/// Inputs [n K, ...] whose classes take turns, 0, 1, ..., K - 1, 0, ..., and their labels [n K].
struct Samples {
  Tensor<float> x;
  Tensor<int64_t> y;
  int64_t K = 10;
};
inline Samples samples(const data::ImageSet& set, int64_t count, uint64_t seed) {
  const auto [x, y] = data::slice_batch(data::balanced_subset(set, count, seed), 0, count);
  return {reshape(x, {count, -1}), y, 10};
}
/// H [d, K n], class-major, from features [n K, d] whose classes take turns.
inline Matrix by_class(const Tensor<float>& features, int64_t K) {
  const int64_t d = features.size(1), n = features.size(0) / K;
  return cast<double>(reshape(permute(reshape(features.detach(), {n, K, d}), {2, 1, 0}), {d, K * n}));
}
inline Tensor<float> half_squares(const Tensor<float>& o, const Tensor<int64_t>& y) {
  return mse_loss(o, one_hot<float>(y, o.size(1)), Reduction::sum) * (0.5 / static_cast<double>(y.numel()));
}

struct Training {
  int64_t epochs = 30, batch = 64;
  double lr = 0.05, momentum = 0.9, decay = 5e-4;
  double lr_at(int64_t epoch, std::initializer_list<int64_t> drops) const { return optim::multi_step_lr(lr, epoch, drops); }
};
/// One epoch over the samples in an order drawn from the current generator; f(x, y) is the loss.
template <class Opt, class F>
void train_epoch(Opt& opt, const Samples& s, int64_t batch, F&& f) {
  const int64_t N = s.y.numel();
  const auto order = randperm(N);
  for (int64_t b = 0; b < N; b += batch) {
    const auto index = narrow(order, 0, b, std::min(batch, N - b));
    opt.zero_grad();
    f(index_select(s.x, 0, index), index_select(s.y, 0, index)).backward();
    opt.step();
  }
}

struct LayerStep {
  nn::Sequential<float> layer, head;
  explicit LayerStep(int64_t in, int64_t width, int64_t K) {
    layer.add(nn::Linear<float>(in, width)).add(nn::ReLU{});
    head.add(nn::Linear<float>(width, K, false));
  }
  void visit(auto&& f) { f("layer", layer), f("head", head); }
  using value_type = float;
  using device_type = Cpu;
};
/// Layer-wise training: step l trains a new layer and a new head on what the frozen layers below put out. Metrics of each layer's
/// features on the training samples; after(l) reports progress.
template <class F>
std::vector<Collapse> layer_wise(Samples s, int64_t layers, int64_t width, const Training& o, uint64_t seed, F&& after) {
  manual_seed(seed);
  std::vector<Collapse> found;
  for (int64_t l = 0; l < layers; ++l) {
    LayerStep step(s.x.size(1), width, s.K);
    optim::Sgd opt(step, {.lr = o.lr, .momentum = o.momentum, .weight_decay = o.decay});
    for (int64_t epoch = 0; epoch < o.epochs; ++epoch) {
      opt.set_lr(o.lr_at(epoch, {2 * o.epochs / 3}));
      train_epoch(opt, s, o.batch, [&](const auto& x, const auto& y) { return half_squares(step.head(step.layer(x)), y); });
    }
    s.x = no_grad([&] { return step.layer(s.x); });   // frozen: the next step's input
    found.push_back(collapse(by_class(s.x, s.K), s.K));
    after(l);
  }
  return found;
}

enum class Loss { mse, cross_entropy };
struct Variant {
  std::string name;
  double features, last;   // weight decay over the baseline's
};
inline const std::vector<Variant> kVariants{
    {"base", 1, 1}, {"2x last", 1, 2}, {"2x features", 2, 1}, {"0 last", 1, 0}, {"0 features", 0, 1}};

/// 784 - width x 3, each with batch norm and ReLU, then the last layer: without bias for MSE, with it for cross-entropy.
struct FeatureNet {
  using value_type = float;
  using device_type = Cpu;
  nn::Sequential<float> features, last;
  FeatureNet(int64_t in, int64_t width, int64_t K, Loss loss) {
    for (int k = 0; k < 3; ++k, in = width)
      features.add(nn::Linear<float>(in, width)).add(nn::BatchNorm1d<float>(width)).add(nn::ReLU{});
    last.add(nn::Linear<float>(width, K, loss == Loss::cross_entropy));
  }
  void visit(auto&& f) { f("features", features), f("last", last); }
};

struct DecayRun {
  std::vector<double> epochs, NC1, NC2;
  double train_error = 0;   // percent, at the end
};
/// Weight decay o.decay times the variant's factors on all parameters of the features, batch norm's too, and on the last layer's.
template <class F>
DecayRun decay_run(const Samples& s, Loss loss, const Variant& v, int64_t width, const Training& o, uint64_t seed, int64_t every,
                   F&& after) {
  manual_seed(seed);
  FeatureNet net(s.x.size(1), width, s.K, loss);
  optim::Sgd opt(net, {.lr = o.lr, .momentum = o.momentum, .weight_decay = o.decay * v.features});
  opt.group("last.*").weight_decay = o.decay * v.last;
  DecayRun r;
  for (int64_t epoch = 0; epoch < o.epochs; ++epoch) {
    opt.set_lr(o.lr_at(epoch, {o.epochs / 3, 2 * o.epochs / 3}));
    train_epoch(opt, s, o.batch, [&](const auto& x, const auto& y) {
      const auto z = net.last(net.features(x));
      return loss == Loss::mse ? half_squares(z, y) : cross_entropy(z, y);
    });
    if ((epoch + 1) % every == 0 || epoch + 1 == o.epochs) {   // the whole training set, batch norm with its running statistics
      nn::eval(net);
      const NoGrad guard;
      const auto h = net.features(s.x);
      const Collapse m = collapse(by_class(h, s.K), s.K);
      r.epochs.push_back(static_cast<double>(epoch + 1)), r.NC1.push_back(m.NC1), r.NC2.push_back(m.NC2);
      if (epoch + 1 == o.epochs) r.train_error = 100 * (1 - mean(cast<float>(equal(argmax(net.last(h), 1), s.y))).item());
      nn::train(net);
    }
    after();
  }
  return r;
}

}  // namespace ncp
