// CutMix, Feature CutMix, Mixup and Cutout as Yun et al. 2019 use them in a step of training.
//
//   x~ = M x + (1 - M) x_pi,  M = 0 in a box       loss = lambda CE(f(x~), y) + (1 - lambda) CE(f(x~), y_pi)       (equation 1)
//
// One box, one lambda and one permutation pi a batch; lambda is 1 - the box's part of the picture after the border has cut the
// box.
#pragma once
#include <map>
#include <string>

#include <gradus/data/augment.hpp>
#include <gradus/data/loader.hpp>
#include <gradus/training.hpp>

#include "nets.hpp"

namespace cutmix {

enum class Mixing { none, cutout, mixup, cutmix, feature };
inline const std::map<std::string, Mixing> kMethods{{"none", Mixing::none},
                                                    {"Cutout", Mixing::cutout},
                                                    {"Mixup", Mixing::mixup},
                                                    {"CutMix", Mixing::cutmix},
                                                    {"Feature CutMix", Mixing::feature}};
enum class Label {
  area,    ///< lambda: the part of the picture
  onehot,  ///< the larger part alone
  half     ///< 1/2 for both
};

struct MixOptions {
  double p = 0.5;  ///< of CutMix and Feature CutMix: the probability that a step mixes
  data::CutMixOptions box = {};
  Label label = Label::area;
  int64_t hole = 14;  ///< Cutout's side
};
inline double label_weight(Label rule, double lambda) {
  return rule == Label::half ? 0.5 : rule == Label::onehot ? (lambda >= 0.5 ? 1.0 : 0.0) : lambda;
}

/// lambda CE(o, y) + (1 - lambda) CE(o, y_pi)
template <class T, class D>
Tensor<T, D> mixed_loss(const Tensor<T, D>& o, const Tensor<int64_t, D>& y, const Tensor<int64_t, D>& y_pi, double lambda) {
  return lambda * cross_entropy(o, y) + (1 - lambda) * cross_entropy(o, y_pi);
}

/// The loss of one step. Everything random about the mixing is a function of `stream`, which no weight, no order of pictures
/// and no mirroring draws from: with p = 0 CutMix is plain training bit for bit.
template <class D>
Tensor<float, D> step_loss(const Net<float, D>& net, data::Batch<float> batch, Mixing mixing, const MixOptions& o,
                           RandomStream stream) {
  const auto y = batch.t.template to<D>();
  data::Draws draws(stream, 1);  // number 0 is the box's
  const bool mix = mixing == Mixing::mixup || ((mixing == Mixing::cutmix || mixing == Mixing::feature) && draws.chance(o.p));
  if (mixing == Mixing::cutout) data::augment(batch.x, {data::cutout(o.hole)}, stream);  // 0 is the pictures' mean
  if (!mix) return cross_entropy(net(batch.x.template to<D>()), y);
  data::Mix m;
  Tensor<float, D> logits;
  if (mixing == Mixing::feature) {
    const auto stage = static_cast<std::size_t>(draws.below(std::min<int64_t>(4, static_cast<int64_t>(net.stages.size()))));
    logits = net.classify(net.maps(batch.x.template to<D>(), stage, [&](const Tensor<float, D>& h) {
      m = data::draw_cutmix(h.size(0), h.size(2), h.size(3), o.box, stream);
      return paste_box(h, index_select(h, 0, from_vector(m.partner).template to<D>()), m.y0, m.y1, m.x0, m.x1);
    }));
  } else {
    m = mixing == Mixing::mixup ? data::mixup(batch.x, o.box.alpha, stream) : data::cutmix(batch.x, o.box, stream);
    logits = net(batch.x.template to<D>());
  }
  const auto y_pi = index_select(y, 0, from_vector(m.partner).template to<D>());
  return mixed_loss(logits, y, y_pi, mixing == Mixing::mixup ? m.lambda : label_weight(o.label, m.lambda));
}

/// The mean of lambda and the share of empty boxes over n draws for pictures of side x side, alpha = 1.
struct BoxStatistics {
  double lambda = 0, empty = 0;
};
inline BoxStatistics box_statistics(int64_t side, int64_t n, uint64_t seed) {
  BoxStatistics s;
  for (int64_t k = 0; k < n; ++k) {
    const data::Mix m = data::draw_cutmix(1, side, side, {}, {seed, static_cast<uint64_t>(k)});
    s.lambda += m.lambda / static_cast<double>(n);
    s.empty += (m.y0 == m.y1 || m.x0 == m.x1) / static_cast<double>(n);
  }
  return s;
}

// -- figures of a trained network
// ----------------------------------------------------------------------------------------------

/// Mean and deviation of each channel: normalised pictures are (value - mean) / deviation.
struct Scale {
  std::vector<double> mean{0.286}, deviation{0.353};
  double black(int64_t c) const { return -at(mean, c) / at(deviation, c); }
  double at(const std::vector<double>& v, int64_t c) const { return v[v.size() == 1 ? 0 : static_cast<std::size_t>(c)]; }
  /// `value` of each channel over its deviation, minus its mean where `shifted`: [1, C, 1, 1].
  template <class D>
  Tensor<float, D> of(double value, int64_t C, bool shifted) const {
    std::vector<float> v;
    for (int64_t c = 0; c < C; ++c) v.push_back(static_cast<float>((value - (shifted ? at(mean, c) : 0)) / at(deviation, c)));
    return from_vector(v, Shape{1, C, 1, 1}).template to<D>();
  }
};

/// x [B, C, H, W] with black pixels in the box, or everywhere else.
inline Tensor<float> blacked(const Tensor<float>& x, const Scale& scale, const Box& b, bool inside = true) {
  auto y = x.clone();
  const int64_t C = x.size(1), H = x.size(2), W = x.size(3);
  for (int64_t n = 0; n < x.size(0) * C; ++n)
    for (int64_t i = 0; i < H; ++i)
      for (int64_t j = 0; j < W; ++j)
        if ((i >= b.y0 && i < b.y1 && j >= b.x0 && j < b.x1) == inside)
          y.data()[(n * H + i) * W + j] = static_cast<float>(scale.black(n % C));
  return y;
}
inline Box central(int64_t side, int64_t H, int64_t W) {
  const int64_t y = (H - side) / 2, x = (W - side) / 2;
  return {y, y + side, x, x + side};
}
/// The left half of picture i beside the right half of picture i + 1 (of the batch, in a circle).
inline Tensor<float> half_and_half(const Tensor<float>& x) {
  return paste_box(x, roll(x, -1, 0), 0, x.size(2), x.size(3) / 2, x.size(3));
}
/// Goodfellow et al. 2015: x + eps sign(d CE / dx), pixels kept in [0, 1].
template <class D>
Tensor<float, D> fgsm(const Net<float, D>& net, const Tensor<float, D>& x0, const Tensor<int64_t, D>& t, double eps,
                      const Scale& scale) {
  const auto x = x0.detach().requires_grad_();
  const auto g = grad(cross_entropy(net(x), t), x);
  const int64_t C = x.size(1);
  const NoGrad guard;
  const auto moved = x.detach() + sign(g) * scale.of<D>(eps, C, false);
  return minimum(maximum(moved, scale.of<D>(0, C, true)), scale.of<D>(1, C, true));
}
/// Share of rows whose two largest logits are a[i] and b[i]; rows with a[i] = b[i] do not count.
struct TopTwo {
  int64_t right = 0, total = 0;
  void add(const Tensor<float>& o, const Tensor<int64_t>& a, const Tensor<int64_t>& b) {
    const int64_t C = o.size(1);
    for (int64_t i = 0; i < o.size(0); ++i) {
      const int64_t p = a.data()[i], q = b.data()[i];
      if (p == q) continue;
      const float* row = o.data() + i * C;
      const float least = std::min(row[p], row[q]);
      int64_t not_below = 0;
      for (int64_t c = 0; c < C; ++c) not_below += c != p && c != q && row[c] >= least;
      right += not_below == 0, ++total;
    }
  }
  double share() const { return static_cast<double>(right) / static_cast<double>(std::max<int64_t>(1, total)); }
};

using Pictures = data::Loader<data::Batch<float>>;

struct Figures {
  double accuracy = 0, nll = 0, ece = 0, centre = 0, border = 0, fgsm = 0, top_two = 0;
  std::vector<double> holes;  ///< accuracy with a black square of each of kHoles in the middle
};
inline const std::vector<double> kHoles{0, 4, 8, 12, 16, 20};

/// Accuracy alone, over one pass; change(x) alters the pictures.
template <class D, class F>
double accuracy(Net<float, D>& net, Pictures& pictures, F&& change) {
  nn::eval(net);
  const NoGrad guard;
  training::Mean mean;
  for (auto& [x, t] : pictures) {
    const auto o = net(Tensor<float>(change(x)).template to<D>()).template to<Cpu>();
    mean.add(training::top_k_accuracy(o, t, 1), static_cast<double>(t.numel()));
  }
  nn::train(net);
  return mean.value();
}
/// All figures; sizes of holes and borders are those of 28 x 28 pictures and grow with the side.
template <class D>
Figures figures(Net<float, D>& net, Pictures& pictures, const Scale& scale, int64_t side, int64_t classes) {
  nn::eval(net);
  const auto size = [&](double n) { return static_cast<int64_t>(std::lround(n * static_cast<double>(side) / 28)); };
  std::vector<float> logits;
  std::vector<int64_t> targets;
  training::Mean border, attacked;
  std::vector<training::Mean> holes(kHoles.size());
  TopTwo top_two;
  for (auto& [x, t] : pictures) {
    const auto n = static_cast<double>(t.numel());
    const auto scores = [&](const Tensor<float>& v) {
      return no_grad([&] { return net(v.template to<D>()).template to<Cpu>(); });
    };
    const auto o = scores(x).to_vector();
    logits.insert(logits.end(), o.begin(), o.end());
    for (const int64_t k : t.to_vector()) targets.push_back(k);
    for (std::size_t k = 0; k < kHoles.size(); ++k)
      holes[k].add(training::top_k_accuracy(scores(blacked(x, scale, central(size(kHoles[k]), side, side))), t, 1), n);
    border.add(training::top_k_accuracy(scores(blacked(x, scale, central(side - 2 * size(6), side, side), false)), t, 1), n);
    const auto adversarial = fgsm(net, x.template to<D>(), t.template to<D>(), 8.0 / 255, scale);
    attacked.add(training::top_k_accuracy(no_grad([&] { return net(adversarial).template to<Cpu>(); }), t, 1), n);
    top_two.add(scores(half_and_half(x)), t, roll(t, -1, 0));
  }
  nn::train(net);
  const auto o = from_vector(logits, {static_cast<int64_t>(targets.size()), classes});
  const auto t = from_vector(targets);
  Figures f;
  f.accuracy = training::top_k_accuracy(o, t, 1), f.nll = static_cast<double>(cross_entropy(o, t).item());
  f.ece = training::expected_calibration_error(o, t);
  for (const auto& h : holes) f.holes.push_back(h.value());
  f.centre = f.holes[3], f.border = border.value(), f.fgsm = attacked.value(), f.top_two = top_two.share();
  return f;
}

// -- weakly supervised localisation
// -----------------------------------------------------------------------------------------------

/// Pictures at random places of black canvases, and the boxes around what is brighter than black there.
struct Canvases {
  data::ImageSet set;
  std::vector<Box> boxes;
};
inline Canvases on_canvases(const data::ImageSet& from, int64_t side, uint64_t seed) {
  const int64_t N = from.size(), C = from.channels(), H = from.height(), W = from.width();
  Canvases c;
  c.set.labels = from.labels;
  c.set.shape = C == 1 ? Shape{N, side, side} : Shape{N, C, side, side};
  c.set.pixels.resize(static_cast<std::size_t>(N * C * side * side));
  for (int64_t n = 0; n < N; ++n) {
    data::Draws d({seed, 0x63616e}, static_cast<uint64_t>(n));
    const int64_t top = d.below(side - H + 1), left = d.below(side - W + 1);
    Box box{side, 0, side, 0};
    for (int64_t k = 0; k < C; ++k)
      for (int64_t i = 0; i < H; ++i)
        for (int64_t j = 0; j < W; ++j) {
          const uint8_t v = from.pixels[static_cast<std::size_t>(((n * C + k) * H + i) * W + j)];
          const int64_t y = top + i, x = left + j;
          c.set.pixels[static_cast<std::size_t>(((n * C + k) * side + y) * side + x)] = v;
          if (v > 25) box = {std::min(box.y0, y), std::max(box.y1, y + 1), std::min(box.x0, x), std::max(box.x1, x + 1)};
        }
    c.boxes.push_back(box);
  }
  return c;
}
/// Share of pictures, in the order of `boxes`, whose class is right and whose map's box has an IoU of at least 1/2 with the
/// true one.
template <class D>
double localisation(Net<float, D>& net, Pictures& pictures, const std::vector<Box>& boxes, double threshold) {
  nn::eval(net);
  const NoGrad guard;
  std::size_t n = 0;
  int64_t right = 0;
  for (auto& [x, t] : pictures) {
    const auto pixels = x.template to<D>();
    const auto guess = argmax(net(pixels), 1);
    const auto said = guess.to_vector();
    const auto cam = class_activation_maps(net, pixels, guess).template to<Cpu>().contiguous();
    const int64_t H = cam.size(1), W = cam.size(2);
    for (std::size_t i = 0; i < said.size(); ++i, ++n)
      right += said[i] == t.data()[i] &&
               iou(largest_component(cam.data() + static_cast<int64_t>(i) * H * W, H, W, threshold), boxes[n]) >= 0.5;
  }
  nn::train(net);
  return static_cast<double>(right) / static_cast<double>(n);
}

}  // namespace cutmix
