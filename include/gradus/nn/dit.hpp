// Diffusion transformer blocks with adaptive layer norm, Peebles & Xie 2023, figure 3 (adaLN-Zero).
//
//   (s1, c1, g1, s2, c2, g2) = W silu(condition) + b,  W = 0 at the start: every block starts as the identity
//   x <- x + g1 attention(norm(x) (1 + c1) + s1)
//   x <- x + g2 mlp(norm(x) (1 + c2) + s2)                    norm: LayerNorm without weight and bias
#pragma once
#include <gradus/nn/blocks.hpp>

namespace gradus::nn {

/// x (1 + scale) + shift with shift, scale [B, C] for x [B, T, C].
template <class T, class D>
Tensor<T, D> modulate(const Tensor<T, D>& x, const Tensor<T, D>& shift, const Tensor<T, D>& scale,
                      Where at = Where::current()) {
  return add(mul(x, add(unsqueeze(scale, 1, at), 1, at), at), unsqueeze(shift, 1, at), at);
}

template <class T = float, class D = Cpu>
struct DiTBlock {
  using value_type = T;
  using device_type = D;
  MultiHeadAttention<T, D> attention;
  Mlp<T, D> mlp;
  Linear<T, D> modulation;  // condition -> 6 C, zeros at the start
  double eps = 1e-6;

  DiTBlock(int64_t C, int64_t heads, int64_t condition, int64_t hidden = 0, AttentionLayerOptions o = {},
           Where at = Where::current())
      : attention(C, heads, o, at),
        mlp(C, hidden ? hidden : 4 * C, Activation::gelu_tanh, 0, true, at),
        modulation(condition, 6 * C, true, at) {
    init::constant(modulation.weight, 0, at), init::constant(modulation.bias, 0, at);
  }
  template <class U, class E>
  explicit DiTBlock(const DiTBlock<U, E>& o, Where at = Where::current())
      : attention(o.attention, at), mlp(o.mlp, at), modulation(o.modulation, at), eps(o.eps) {}
  /// x [B, T, C], condition [B, condition] -> [B, T, C].
  Tensor<T, D> forward(const Tensor<T, D>& x0, const Tensor<T, D>& condition, const AttentionCall<T, D>& call = {},
                       Where at = Where::current()) const {
    if (x0.rank() != 3 || condition.rank() != 2 || condition.shape()[0] != x0.shape()[0])
      fail("DiTBlock", "tokens and condition do not match", {{"x", describe(x0)}, {"condition", describe(condition)}},
           "x [B, T, C], condition [B, features]", at);
    const auto m = chunk(modulation.forward(silu(condition, at), at), 6, -1, at);
    const auto normed = [&](const Tensor<T, D>& x) { return layer_norm(x, Tensor<T, D>(), Tensor<T, D>(), eps, at); };
    const auto x =
        add(x0, mul(unsqueeze(m[2], 1, at), attention.forward(modulate(normed(x0), m[0], m[1], at), call, at), at), at);
    return add(x, mul(unsqueeze(m[5], 1, at), mlp.forward(modulate(normed(x), m[3], m[4], at), at), at), at);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, const Tensor<T, D>& condition, Where at = Where::current()) const {
    return forward(x, condition, {}, at);
  }
  void visit(auto&& f) { f("attention", attention), f("mlp", mlp), f("modulation", modulation); }
};

/// The last layer: Linear(norm(x) (1 + c) + s), zeros at the start. x [B, T, C], condition [B, condition] -> [B, T, out].
template <class T = float, class D = Cpu>
struct DiTFinal {
  using value_type = T;
  using device_type = D;
  Linear<T, D> modulation, out;
  double eps = 1e-6;
  DiTFinal(int64_t C, int64_t condition, int64_t out_features, Where at = Where::current())
      : modulation(condition, 2 * C, true, at), out(C, out_features, true, at) {
    for (auto* x : {&modulation.weight, &modulation.bias, &out.weight, &out.bias}) init::constant(*x, 0, at);
  }
  template <class U, class E>
  explicit DiTFinal(const DiTFinal<U, E>& o, Where at = Where::current())
      : modulation(o.modulation, at), out(o.out, at), eps(o.eps) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, const Tensor<T, D>& condition, Where at = Where::current()) const {
    const auto m = chunk(modulation.forward(silu(condition, at), at), 2, -1, at);
    return out.forward(modulate(layer_norm(x, Tensor<T, D>(), Tensor<T, D>(), eps, at), m[0], m[1], at), at);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, const Tensor<T, D>& condition, Where at = Where::current()) const {
    return forward(x, condition, at);
  }
  void visit(auto&& f) { f("modulation", modulation), f("out", out); }
};

}  // namespace gradus::nn
