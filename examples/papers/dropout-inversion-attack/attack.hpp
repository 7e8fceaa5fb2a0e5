// A client's gradient, and three attackers who look for the image behind it.
//
//   g = grad_theta CE(F(x, Psi), y)                         shared; Psi, the sampled masks, is not
//   L = 1 - <g', g> / (|g'| |g| + 1e-8) + lambda_tv TV(x') + lambda_mask sum_l |1 - mean(psi'_l) - p|
//                                                           g' = grad_theta CE(F(x', psi'), y), over all parameters at once
//
//   IG      x' alone, dropout off                           Geiping et al. 2020
//   WIIG    x' alone, psi' = Psi
//   DIA     x' and psi' together
//   frozen  x' alone, psi' as DIA starts it                 what DIA is without its second half
#pragma once
#include <cmath>
#include <functional>
#include <limits>

#include <gradus/optim.hpp>

#include "model.hpp"

namespace dia {

enum class Attack { ig, wiig, dia, frozen };
inline const char* name_of(Attack a) {
  constexpr const char* names[] = {"IG", "WIIG", "DIA", "masks frozen"};
  return names[static_cast<int>(a)];
}

/// What is attacked: images x [B, C, H, W] in normalised pixels, their labels, and the channels' constants [1, C, 1, 1].
template <class T, class D>
struct Victim {
  Tensor<T, D> x;
  Tensor<int64_t, D> y;
  Tensor<T, D> mean, deviation;
  Tensor<T, D> pixels(const Tensor<T, D>& normalised) const { return normalised * deviation + mean; }  ///< in [0, 1]
};

template <class T, class D>
struct Shared {
  std::vector<Tensor<T, D>> g;  ///< what the server sees
  Masks psi;                    ///< what the client drew
};

/// The client's step: dropout samples, the masks are taken down.
template <class T, class D>
Shared<T, D> share_gradient(nn::Sequential<T, D>& net, const Victim<T, D>& v) {
  Shared<T, D> s;
  nn::train(net);
  const auto loss = track_dropout_mask(s.psi, [&] { return cross_entropy(net(v.x), v.y); });
  s.g = grad(std::vector<Tensor<T, D>>{loss}, nn::parameters(net));
  return s;
}

/// 1 - <a, b> / (|a| |b| + 1e-8), products and norms over all tensors together.
template <class T, class D>
Tensor<T, D> reconstruction_loss(const std::vector<Tensor<T, D>>& a, const std::vector<Tensor<T, D>>& b) {
  Tensor<T, D> ab, aa, bb;
  const auto add_to = [](Tensor<T, D>& to, const Tensor<T, D>& x) { to = to.defined() ? to + x : x; };
  for (std::size_t i = 0; i < a.size(); ++i)
    add_to(ab, sum(a[i] * b[i])), add_to(aa, sum(square(a[i]))), add_to(bb, sum(square(b[i])));
  return 1 - ab / (sqrt(aa) * sqrt(bb) + 1e-8);
}

struct Priors {
  double tv = 1e-5, mask = 1e-4;
};
/// L, differentiable in x and psi. Without psi dropout is off.
template <class T, class D>
Tensor<T, D> objective(nn::Sequential<T, D>& net, const Tensor<T, D>& x, const Masks* psi, const Tensor<int64_t, D>& y,
                       const std::vector<Tensor<T, D>>& g, double p, const Priors& lambda) {
  if (psi) nn::train(net);
  else nn::eval(net);
  const auto ce = [&] { return cross_entropy(net(x), y); };
  const Tensor<T, D> loss = psi ? use_dropout_mask(*psi, ce) : ce();
  const auto g1 = grad(std::vector<Tensor<T, D>>{loss}, nn::parameters(net), {.create_graph = true});
  auto L = reconstruction_loss(g1, g);
  if (lambda.tv > 0) L = L + lambda.tv * total_variation(x);
  if (lambda.mask > 0 && psi)
    for (const AnyTensor& m : *psi)
      if (m.requires_grad()) L = L + lambda.mask * abs((1 - p) - mean(m.template as<T, D>()));
  return L;
}

struct AttackOptions {
  int64_t iterations = 600;
  double lr = 0.1;
  Priors lambda = {};
  bool sign = true;        ///< of the image's gradient
  int64_t patience = 800;  ///< iterations without improvement, after which lr falls to a tenth
  int64_t stop_after = 4000;
  double stop_below = 1e-5;
};

template <class T, class D>
struct Recovered {
  Tensor<T, D> x;  ///< the iterate of the smallest loss
  Masks start, psi;
  double loss = std::numeric_limits<double>::infinity();
  int64_t iterations = 0;
  std::vector<double> losses;
};

/// each(iteration, x, loss) returns false to stop. The start is drawn from the current generator: x' first, then the masks.
template <class T, class D>
Recovered<T, D> attack(Attack kind, nn::Sequential<T, D>& net, const Victim<T, D>& v, const Shared<T, D>& s, double p,
                       const AttackOptions& o, const std::function<bool(int64_t, const Tensor<T, D>&, double)>& each = {}) {
  using X = Tensor<T, D>;
  Recovered<T, D> r;
  X x = randn<T, D>(v.x.shape());
  std::vector<X> leaves{x.requires_grad_()};
  Masks psi = s.psi;
  if (kind == Attack::dia || kind == Attack::frozen)
    for (AnyTensor& m : psi) {
      X start = cast<T>(keep<D>(generator().draw(), m.shape(), Shape{}, p));
      r.start.push_back(start.clone());
      if (kind == Attack::dia) leaves.push_back(start.requires_grad_());
      m = start;
    }
  const X lo = (0 - v.mean) / v.deviation, hi = (1 - v.mean) / v.deviation;
  optim::Adam<T, D> adam(leaves, {.lr = o.lr});
  optim::Plateau plateau(o.lr, {.factor = 0.1, .patience = o.patience});
  int64_t best_at = 0;
  for (int64_t i = 0; i < o.iterations; ++i) {
    const X L = objective(net, x, kind == Attack::ig ? nullptr : &psi, v.y, s.g, p, o.lambda);
    const double loss = static_cast<double>(L.item());
    r.losses.push_back(loss), r.iterations = i + 1;
    if (loss < r.loss) {
      r.loss = loss, best_at = i, r.x = x.detach().clone(), r.psi.clear();
      for (const AnyTensor& m : psi) r.psi.push_back(m.template as<T, D>().detach().clone());
    }
    if ((each && !each(i, x, loss)) || r.loss < o.stop_below || i - best_at >= o.stop_after) break;
    const auto d = grad(std::vector<X>{L}, leaves);
    for (std::size_t k = 0; k < leaves.size(); ++k) leaves[k].set_grad(k == 0 && o.sign ? sign(d[k]) : d[k]);
    adam.step();
    adam.set_lr(plateau.report(loss));
    const NoGrad guard;
    x.copy_(minimum(maximum(x, lo), hi));
    for (std::size_t k = 1; k < leaves.size(); ++k) leaves[k].copy_(clamp(leaves[k], 0, 1));
  }
  return r;
}

struct Quality {
  double mse = 0, psnr = 0, ssim = 0;  ///< mse of normalised pixels, the others of pixels in [0, 1]
};
template <class T, class D>
Quality quality(const Victim<T, D>& v, const Tensor<T, D>& x) {
  const NoGrad guard;
  const auto a = v.pixels(x), b = v.pixels(v.x);
  const int64_t window = std::min<int64_t>(11, (std::min(x.size(2), x.size(3)) - 1) / 2 * 2 + 1);
  return {static_cast<double>(mse_loss(x, v.x).item()), static_cast<double>(psnr(a, b).item()),
          static_cast<double>(ssim(a, b, {.window = window}).item())};
}

/// The share of entries of each mask on the same side of 1/2 as the client's.
template <class T, class D>
std::vector<double> mask_accuracy(const Masks& found, const Masks& psi) {
  std::vector<double> share;
  for (std::size_t l = 0; l < found.size(); ++l) {
    const auto a = found[l].template as<T, D>() > 0.5, b = psi[l].template as<T, D>() > 0.5;
    share.push_back(static_cast<double>(mean(cast<float>(a == b)).item()));
  }
  return share;
}

}  // namespace dia
