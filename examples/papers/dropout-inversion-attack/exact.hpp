// What holds exactly, measured: the attack at the truth, its gradient against differences, and what a dropped unit leaves.
#pragma once
#include <algorithm>

#include "attack.hpp"

namespace dia {

/// A victim of noise on a small MLP, for the exact statements.
template <class T, class D>
struct Small {
  NetConfig config;
  nn::Sequential<T, D> net;
  Victim<T, D> v;
  Shared<T, D> s;
  explicit Small(NetConfig c, int64_t B, uint64_t seed) : config(c) {
    manual_seed(seed);
    net = make_net<T, D>(c);
    v.x = randn<T, D>({B, c.image[0], c.image[1], c.image[2]}), v.y = randint<D>(0, c.classes, {B});
    v.mean = zeros<T, D>({1, 1, 1, 1}), v.deviation = ones<T, D>({1, 1, 1, 1});
    s = share_gradient(net, v);
  }
};
inline NetConfig small_mlp(double p) { return {.image = {1, 6, 6}, .classes = 5, .p = p, .width = 12, .depth = 2}; }

struct AtTruth {
  double loss = 0, dx = 0, dpsi = 0;  ///< L_rec and the norms of its gradients for x' = x, psi' = Psi
};
template <class T, class D>
AtTruth at_truth(nn::Sequential<T, D>& net, const Victim<T, D>& v, const Shared<T, D>& s, double p) {
  std::vector<Tensor<T, D>> leaves{v.x.detach().clone().requires_grad_()};
  Masks psi;
  for (const AnyTensor& m : s.psi) {
    leaves.push_back(m.template as<T, D>().clone().requires_grad_());
    psi.push_back(leaves.back());
  }
  const auto L = objective(net, leaves[0], &psi, v.y, s.g, p, {0, 0});
  const auto d = grad(std::vector<Tensor<T, D>>{L}, leaves);
  AtTruth r{static_cast<double>(L.item())};
  for (std::size_t k = 0; k < d.size(); ++k) {
    const double n = static_cast<double>(norm(d[k]).item());
    k == 0 ? r.dx = n : r.dpsi = std::hypot(r.dpsi, n);
  }
  return r;
}

/// The gradient of L in x' and in each mask, against central differences of every element: the largest |a - n| / |n|.
template <class D>
double difference_error(nn::Sequential<double, D>& net, const Victim<double, D>& v, const Shared<double, D>& s, double p) {
  using X = Tensor<double, D>;
  std::vector<X> leaves{randn<double, D>(v.x.shape()).requires_grad_()};
  Masks psi;
  for (const AnyTensor& m : s.psi) {
    leaves.push_back(uniform<double, D>(m.shape(), 0.1, 0.9).requires_grad_());
    psi.push_back(leaves.back());
  }
  const auto L = [&] { return objective(net, leaves[0], &psi, v.y, s.g, p, Priors{}); };
  const auto d = grad(std::vector<X>{L()}, leaves);
  double worst = 0;
  for (std::size_t k = 0; k < leaves.size(); ++k) {
    const X at = leaves[k].detach().clone();
    std::vector<double> numeric;
    for (int64_t i = 0; i < at.numel(); ++i) {
      const auto moved = [&](double by) {
        auto values = at.to_vector();
        values[static_cast<std::size_t>(i)] += by;
        no_grad([&] { leaves[k].copy_(from_vector(values, at.shape()).template to<D>()); });
        return L().item();
      };
      numeric.push_back((moved(1e-5) - moved(-1e-5)) / 2e-5);
    }
    no_grad([&] { leaves[k].copy_(at); });
    const auto n = from_vector(numeric, at.shape());
    worst = std::max(worst, (norm(d[k].detach().template to<Cpu>() - n) / norm(n)).item());
  }
  return worst;
}

/// Of an MLP and one image: units of hidden layer l whose row of the incoming weights' gradient, or column of the outgoing
/// weights', is 0 although they were kept, or is not although they were dropped. Summed over layers.
template <class T, class D>
int64_t wrong_zeros(const Shared<T, D>& s) {
  int64_t wrong = 0;
  for (std::size_t l = 0; l < s.psi.size(); ++l) {
    const auto dropped = (s.psi[l].template as<T, D>() == 0).to_vector();
    const auto row = (amax(abs(s.g[l]), {1}) == 0).to_vector(), column = (amax(abs(s.g[l + 1]), {0}) == 0).to_vector();
    for (std::size_t j = 0; j < dropped.size(); ++j) wrong += (row[j] != dropped[j]) + (column[j] != dropped[j]);
  }
  return wrong;
}

}  // namespace dia
