// What the stages of FlexTok share: pictures in [-1, 1], a resumable training loop, and the figures of a tokenizer.
#pragma once
#include <array>
#include <filesystem>
#include <functional>

#include <gradus/app/progress.hpp>
#include <gradus/data/fashion_mnist.hpp>
#include <gradus/optim.hpp>
#include <gradus/training/checkpoint.hpp>

#include "model.hpp"

namespace flextok {
namespace fs = std::filesystem;

struct Interrupted {};  ///< after Ctrl-C, when the stage is saved

/// Pictures [n, 1, 32, 32] in [-1, 1], padded with -1, and their classes.
template <class D>
std::pair<Tensor<float, D>, Tensor<int64_t, D>> pictures(const data::ImageSet& set, const std::vector<int64_t>& index) {
  const auto b = data::gather_batch(set, index.data(), static_cast<int64_t>(index.size()), {.mean = 0.5, .deviation = 0.5});
  const int64_t a = (32 - set.shape[1]) / 2, w = (32 - set.shape[2]) / 2;
  return {to_device<D>(pad(b.x, {0, 0, a, w}, {0, 0, 32 - set.shape[1] - a, 32 - set.shape[2] - w}, -1)), to_device<D>(b.t)};
}
inline std::vector<int64_t> range(int64_t begin, int64_t end) {
  std::vector<int64_t> v;
  for (int64_t i = begin; i < end; ++i) v.push_back(i);
  return v;
}
/// The pictures of a step: a function of (seed, step, place), so that a resumed run draws the same.
inline std::vector<int64_t> draw_pictures(uint64_t seed, int64_t step, int64_t batch, int64_t n) {
  std::vector<int64_t> v;
  for (int64_t i = 0; i < batch; ++i) {
    const Philox r(seed, 0x666c6578, static_cast<uint64_t>(step * batch + i));
    v.push_back(static_cast<int64_t>(r.w[0] % static_cast<uint64_t>(n)));
  }
  return v;
}

struct Schedule {
  int64_t steps = 1000, batch = 64, warmup = 50;
  double lr = 2e-3, ema = 0;
};
struct Place {
  fs::path directory;  ///< of the stages' files
  std::string key;     ///< of the settings that a stage's file belongs to
  bool fresh = false;  ///< train although there is a file
};

/// Trains net by AdamW (0.9, 0.99), decay 0.02, cosine to 5 %, norm clipped to 1: loss(step) is a tensor. A stage that is
/// complete on disk is read back; one that was interrupted goes on, bit for bit.
template <class M, class F>
void train_stage(const Place& place, const std::string& name, M& net, const Schedule& s, F loss) {
  fs::create_directories(place.directory);
  optim::AdamW opt(net, {.lr = s.lr, .beta2 = 0.99, .weight_decay = 0.02, .allow_missing_grad = true});
  optim::Ema ema(net, {.decay = s.ema > 0 ? s.ema : 0.5});
  int64_t step = 0;
  training::Checkpoint file(place.directory / (name + "-" + place.key + ".safetensors"));
  file("net", net)("optimizer", opt)("ema", ema)("random", generator())("step", step);
  if (!place.fresh) file.load();
  nn::train(net);
  if (step < s.steps) {
    app::Progress progress(s.steps - step, name);
    double shown = 0;
    for (; step < s.steps;) {
      opt.set_lr(optim::cosine_lr(s.lr, step, s.steps, s.warmup, 0.05 * s.lr));
      opt.zero_grad();
      const auto L = loss(step);
      L.backward();
      optim::clip_grad_norm(nn::parameters(net), 1);
      opt.step();
      if (s.ema > 0) ema.update();
      if (step++ % 50 == 0) shown = static_cast<double>(L.item());
      progress.step("loss " + app::figure(shown, 3));
      if (file.save_every(60)) throw Interrupted{};
    }
    file.save();
  }
  if (s.ema > 0) ema.swap();
  nn::eval(net);
}

/// Figures of reconstructions from the first k tokens.
struct Quality {
  double flow = 0, mse = 0, fid = 0, agreement = 0, sharpness = 0;
};
/// mean |x[.., j + 1] - x[.., j]|
inline double sharpness(const Tensor<float>& x) {
  return static_cast<double>(mean(abs(narrow(x, 3, 1, x.size(3) - 1) - narrow(x, 3, 0, x.size(3) - 1))).item());
}
template <class D>
double agreement(const Classifier<float, D>& net, const Tensor<float, D>& x, const Tensor<int64_t, D>& y) {
  const NoGrad guard;
  return static_cast<double>(mean(cast<float>(equal(argmax(net.logits(x), 1), y))).item());
}
template <class D>
Tensor<double> features(const Classifier<float, D>& net, const Tensor<float, D>& x) {
  const NoGrad guard;
  return cast<double>(to_device<Cpu>(net.features(x)));
}
/// The flow loss of z0 from the first k tokens (k < 0: the null condition) at noise and levels that depend on the seed alone.
template <class D>
double flow_loss(const Tokenizer<float, D>& net, const Tensor<float, D>& z0, int64_t k, uint64_t seed) {
  const NoGrad guard;
  const auto streams = generator();
  manual_seed(seed);
  const auto e = randn_like(z0);
  const auto t = nn::sample_levels<float, D>(z0.size(0), {.stratified = true});
  const auto r = k < 0 ? net.null_conditions(z0.size(0)) : net.conditions(net.encode(z0), k);
  generator() = streams;
  return static_cast<double>(net.loss_at(z0, r, e, t).item());
}
/// Pictures from codes, in parts of 200, from noise of the seed.
template <class D>
Tensor<float, D> decode(const Vae<float, D>& vae, const Tokenizer<float, D>& net, const Tensor<float, D>& q,
                        const typename Tokenizer<float, D>::Sampling& s, uint64_t seed) {
  const NoGrad guard;
  const auto streams = generator();
  manual_seed(seed);
  const int64_t side = net.c.side / net.c.factor;
  std::vector<Tensor<float, D>> parts;
  for (int64_t b = 0; b < q.size(0); b += 200) {
    const int64_t n = std::min<int64_t>(200, q.size(0) - b);
    const auto z1 = randn<float, D>({n, net.c.latent, side, side});
    parts.push_back(vae.decode(net.detokenise(narrow(q, 0, b, n), z1, s)));
  }
  generator() = streams;
  return cat(parts, 0);
}

}  // namespace flextok
