// Networks and losses of Yang et al., "Dual-Head Knowledge Distillation", KDD 2025, in the symbols
//
//   h = f(x)                       backbone, [B, d]
//   s = W1 h + b1                  the head that is kept
//   a = g(h)                       the auxiliary head, thrown away after training
//   L = gamma CE(s, y) + alpha L_logit
//
//   CE                             gamma CE(s, y)
//   KD                             + alpha T_KD^2 KL(softmax(t / T_KD) || softmax(s / T_KD)), T_KD = 4
//   BinaryKL                       alpha BinaryKL(s, t) alone
//   CE + BinaryKL                  both on one head
//   DHKD                           gamma CE(s, y) + alpha BinaryKL-Norm(a, t): each loss has its head, the backbone gets both
#pragma once
#include <optional>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/models/resnet.hpp>
#include <gradus/nn.hpp>
#include <gradus/ops/losses.hpp>
#include <gradus/optim.hpp>

namespace dhkd {
using namespace gradus;

/// An MLP with batch norm (hidden) or a residual network for pictures of 32 x 32 (depth, filters).
struct Architecture {
  std::vector<int64_t> hidden = {};
  int64_t depth = 0;
  std::array<int64_t, 4> filters = {16, 16, 32, 64};
  int64_t features() const { return depth ? filters[3] : hidden.back(); }
  std::string name() const {
    if (depth) return "resnet" + std::to_string(depth) + (filters[1] == 64 ? "x4" : "");
    std::string s = "MLP";
    for (const int64_t n : hidden) s += (s == "MLP" ? " " : "-") + std::to_string(n);
    return s;
  }
};

enum class Aux { none, linear, nonlinear };

template <class D>
struct Net {
  using value_type = float;
  using device_type = D;
  nn::AnyModule<float, D> f;
  nn::Linear<float, D> head;     // W1, b1
  nn::Sequential<float, D> aux;  // g; empty without

  Net(const Architecture& c, int64_t inputs, int64_t K, Aux kind = Aux::none) : f(backbone(c, inputs)), head(c.features(), K) {
    const int64_t d = c.features(), hidden = 200;
    if (kind == Aux::linear) aux.add(nn::Linear<float, D>(d, K));
    if (kind == Aux::nonlinear)
      aux.add(nn::Linear<float, D>(d, hidden)).add(nn::Dropout(0.1)).add(nn::BatchNorm1d<float, D>(hidden)).add(nn::ReLU{});
    if (kind == Aux::nonlinear) aux.add(nn::Linear<float, D>(hidden, K));
  }
  Tensor<float, D> logits(const Tensor<float, D>& x) const { return head(f(x)); }
  void visit(auto&& v) {
    v("f", f), v("head", head);
    if (aux.size()) v("aux", aux);
  }

 private:
  static nn::AnyModule<float, D> backbone(const Architecture& c, int64_t in) {
    if (c.depth) return models::ResNetFeatures<float, D>(models::cifar_resnet(c.depth, 10, c.filters));
    nn::Sequential<float, D> net;
    for (const int64_t width : c.hidden) {
      net.add(nn::Linear<float, D>(in, width)).add(nn::BatchNorm1d<float, D>(width)).add(nn::ReLU{});
      in = width;
    }
    return net;
  }
};

enum class Loss { ce, kd, binary, ce_binary, dhkd };
struct Method {
  std::string name;
  Loss loss = Loss::ce;
  double alpha = 1, gamma = 1, T = 2;
  Aux aux = Aux::none;
  bool align = false;  // DHKD: the logit loss gives way where gradients conflict
};

/// The two parts of a method's loss; undefined where it has none.
template <class D>
struct Parts {
  Tensor<float, D> ce, logit;
};
template <class D>
Parts<D> losses(const Net<D>& net, const Method& m, const Tensor<float, D>& x, const Tensor<int64_t, D>& y,
                const Tensor<float, D>& t) {
  const auto h = net.f(x), s = net.head(h);
  Parts<D> p;
  if (m.loss != Loss::binary) p.ce = m.gamma * cross_entropy(s, y);
  if (m.loss == Loss::kd) p.logit = m.alpha * distillation_loss(s, t, 4);
  if (m.loss == Loss::binary || m.loss == Loss::ce_binary) p.logit = m.alpha * binary_distillation_loss(s, t, m.T);
  if (m.loss == Loss::dhkd) p.logit = m.alpha * binary_distillation_norm_loss(net.aux(h), t, m.T);
  return p;
}
/// The gradients of one batch. Says whether the logit loss gave way.
template <class D>
bool backward(const Parts<D>& p, const std::vector<Tensor<float, D>>& params, bool align) {
  if (align) return optim::align_gradients(p.ce, p.logit, params).projected;
  (!p.logit.defined() ? p.ce : !p.ce.defined() ? p.logit : p.ce + p.logit).backward();
  return false;
}

/// The cosine between the gradients of the two losses, over the head's parameters and over the backbone's.
struct Conflict {
  double head = 0, backbone = 0;
};
template <class D>
Conflict conflict(Net<D>& net, const Parts<D>& p) {
  const auto cosine = [&](auto& module) {
    const auto params = nn::parameters(module);
    double both = 0, a2 = 0, b2 = 0;
    const auto a = grad(std::vector{p.ce}, params, {.retain_graph = true}),
               b = grad(std::vector{p.logit}, params, {.retain_graph = true});
    for (std::size_t i = 0; i < params.size(); ++i) {
      both += sum(a[i] * b[i]).item(), a2 += sum(square(a[i])).item(), b2 += sum(square(b[i])).item();
    }
    return a2 > 0 && b2 > 0 ? both / std::sqrt(a2 * b2) : 0.0;
  };
  return {cosine(net.head), cosine(net.f)};
}

}  // namespace dhkd
