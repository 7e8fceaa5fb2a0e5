// What nets are put together from: perceptrons, residuals, scales, and the blocks of transformers.
//
//   Mlp         W2 f(W1 x + b1) + b2                                   GatedMlp   Wd (f(Wg x) * (Wu x)), Shazeer 2020 (f =
//   silu: SwiGLU) pre-norm    x + f(norm(x))          Xiong et al. 2020              post-norm  norm(x + f(x))         Vaswani
//   et al. 2017 LayerScale  gamma f(x), gamma small  Touvron et al. 2021
//
//   TransformerBlock   attention, then attention to a context if asked for, then Mlp or GatedMlp, each with norm and residual.
//     BERT, post-norm encoder:   {.pre = false, .attention = {...}}
//     Llama:                     {.norm = NormKind::rms, .gated = true, .activation = Activation::silu, .bias = false,
//                                 .attention = {.kv_heads = 3, .causal = true, .rope = 64}}
#pragma once
#include <gradus/nn/attention.hpp>
#include <gradus/ops/activation.hpp>
#include <gradus/ops/dropout.hpp>

namespace gradus::nn {

enum class Activation { relu, gelu, gelu_tanh, silu, relu_squared, tanh, mish };
template <class T, class D>
Tensor<T, D> activate(Activation f, const Tensor<T, D>& x, Where at = Where::current()) {
  switch (f) {
    case Activation::relu:
      return relu(x, at);
    case Activation::gelu:
      return gelu(x, at);
    case Activation::gelu_tanh:
      return gelu_tanh(x, at);
    case Activation::silu:
      return silu(x, at);
    case Activation::relu_squared:
      return relu_squared(x, at);
    case Activation::tanh:
      return gradus::tanh(x, at);
    case Activation::mish:
      return mish(x, at);
  }
  return x;
}

template <class T = float, class D = Cpu>
struct Mlp : Layer<Mlp<T, D>, T, D> {
  Linear<T, D> in, out;
  Activation activation;
  double dropout;  // after the activation
  bool training = true;
  Mlp(int64_t C, int64_t hidden, Activation f = Activation::gelu, double dropout = 0, bool bias = true,
      Where at = Where::current())
      : in(C, hidden, bias, at), out(hidden, C, bias, at), activation(f), dropout(dropout) {
    gradus::detail::check_probability("Mlp", dropout, at);
  }
  template <class U, class E>
  explicit Mlp(const Mlp<U, E>& o, Where at = Where::current())
      : in(o.in, at), out(o.out, at), activation(o.activation), dropout(o.dropout), training(o.training) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return out.forward(gradus::dropout(activate(activation, in.forward(x, at), at), dropout, training, at), at);
  }
  void visit(auto&& f) { f("in", in), f("out", out), f("training", training); }
};
template <class T = float, class D = Cpu>
struct GatedMlp : Layer<GatedMlp<T, D>, T, D> {
  Linear<T, D> gate, up, down;
  Activation activation;
  GatedMlp(int64_t C, int64_t hidden, Activation f = Activation::silu, bool bias = false, Where at = Where::current())
      : gate(C, hidden, bias, at), up(C, hidden, bias, at), down(hidden, C, bias, at), activation(f) {}
  template <class U, class E>
  explicit GatedMlp(const GatedMlp<U, E>& o, Where at = Where::current())
      : gate(o.gate, at), up(o.up, at), down(o.down, at), activation(o.activation) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return down.forward(mul(activate(activation, gate.forward(x, at), at), up.forward(x, at), at), at);
  }
  void visit(auto&& f) { f("gate", gate), f("up", up), f("down", down); }
};

/// gamma x, a factor a feature.
template <class T = float, class D = Cpu>
struct LayerScale : Layer<LayerScale<T, D>, T, D> {
  Tensor<T, D> gamma;  // [C]
  explicit LayerScale(int64_t C, double start = 1e-5, Where at = Where::current())
      : gamma(detail::parameter(full<T, D>({C}, start, at))) {}
  template <class U, class E>
  explicit LayerScale(const LayerScale<U, E>& o, Where at = Where::current()) : gamma(converted<T, D>(o.gamma, at)) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const { return mul(x, gamma, at); }
  void visit(auto&& f) { f("gamma", gamma); }
};

/// x + f(x). He et al. 2015.
template <class M>
struct Residual : Layer<Residual<M>, element_of<M>, device_type_of<M>> {
  using X = tensor_of<M>;
  M f;
  explicit Residual(M f) : f(std::move(f)) {}
  X forward(const X& x, Where at = Where::current()) const { return add(x, f.forward(x, at), at); }
  void visit(auto&& v) { v("f", f); }
};
/// x + f(norm(x)).
template <class N, class M>
struct PreNorm : Layer<PreNorm<N, M>, element_of<M>, device_type_of<M>> {
  using X = tensor_of<M>;
  N norm;
  M f;
  PreNorm(N norm, M f) : norm(std::move(norm)), f(std::move(f)) {}
  X forward(const X& x, Where at = Where::current()) const { return add(x, f.forward(norm.forward(x, at), at), at); }
  void visit(auto&& v) { v("norm", norm), v("f", f); }
};
/// norm(x + f(x)).
template <class N, class M>
struct PostNorm : Layer<PostNorm<N, M>, element_of<M>, device_type_of<M>> {
  using X = tensor_of<M>;
  N norm;
  M f;
  PostNorm(N norm, M f) : norm(std::move(norm)), f(std::move(f)) {}
  X forward(const X& x, Where at = Where::current()) const { return norm.forward(add(x, f.forward(x, at), at), at); }
  void visit(auto&& v) { v("norm", norm), v("f", f); }
};

enum class NormKind { layer, rms };
/// LayerNorm or RMSNorm, chosen at run time.
template <class T = float, class D = Cpu>
struct FeatureNorm : Layer<FeatureNorm<T, D>, T, D> {
  Tensor<T, D> weight, bias;  // [C]; bias undefined for rms
  NormKind kind;
  double eps;
  FeatureNorm(int64_t C, NormKind kind, double eps, Where at = Where::current())
      : weight(detail::parameter(ones<T, D>({C}, at))), kind(kind), eps(eps) {
    if (kind == NormKind::layer) bias = detail::parameter(zeros<T, D>({C}, at));
  }
  template <class U, class E>
  explicit FeatureNorm(const FeatureNorm<U, E>& o, Where at = Where::current())
      : weight(converted<T, D>(o.weight, at)), bias(converted<T, D>(o.bias, at)), kind(o.kind), eps(o.eps) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return kind == NormKind::layer ? layer_norm(x, weight, bias, eps, at) : rms_norm(x, weight, eps, at);
  }
  void visit(auto&& f) { f("weight", weight), f("bias", bias); }
  std::string module_type() const { return kind == NormKind::layer ? "LayerNorm" : "RMSNorm"; }
  std::string about() const { return std::to_string(weight.size(0)); }
};

struct BlockOptions {
  int64_t hidden = 0;  ///< of the perceptron; 0: 4 C
  bool pre = true;     ///< norm before each part, or after its residual
  NormKind norm = NormKind::layer;
  double eps = 1e-5;
  bool gated = false;  ///< GatedMlp
  Activation activation = Activation::gelu;
  bool bias = true;        ///< of all linear layers
  double dropout = 0;      ///< of each part's output and of the perceptron's hidden units
  double layer_scale = 0;  ///< its start; 0: none
  bool cross = false;      ///< a part that attends to a context
  AttentionLayerOptions attention = {};
};

template <class T = float, class D = Cpu>
struct TransformerBlock {
  using value_type = T;
  using device_type = D;
  BlockOptions options;
  MultiHeadAttention<T, D> attention;
  FeatureNorm<T, D> attention_norm;
  std::vector<MultiHeadAttention<T, D>> cross;  // none or one
  std::vector<FeatureNorm<T, D>> cross_norm;
  std::vector<Mlp<T, D>> mlp;         // this or
  std::vector<GatedMlp<T, D>> gated;  // that
  FeatureNorm<T, D> mlp_norm;
  std::vector<LayerScale<T, D>> scale;  // of each part, or none
  bool training = true;

  TransformerBlock(int64_t C, int64_t heads, BlockOptions o = {}, Where at = Where::current())
      : options(with_bias(o)),
        attention(C, heads, options.attention, at),
        attention_norm(C, o.norm, o.eps, at),
        mlp_norm(C, o.norm, o.eps, at) {
    const int64_t hidden = o.hidden ? o.hidden : 4 * C;
    if (o.cross) {
      AttentionLayerOptions c = options.attention;
      c.causal = false, c.rope = 0, c.alibi = false, c.left = c.right = -1;
      cross.emplace_back(C, heads, c, at), cross_norm.emplace_back(C, o.norm, o.eps, at);
    }
    if (o.gated) gated.emplace_back(C, hidden, o.activation, o.bias, at);
    else mlp.emplace_back(C, hidden, o.activation, o.dropout, o.bias, at);
    if (o.layer_scale != 0)
      for (int i = 0; i < (o.cross ? 3 : 2); ++i) scale.emplace_back(C, o.layer_scale, at);
  }
  template <class U, class E>
  explicit TransformerBlock(const TransformerBlock<U, E>& o, Where at = Where::current())
      : options(o.options),
        attention(o.attention, at),
        attention_norm(o.attention_norm, at),
        mlp_norm(o.mlp_norm, at),
        training(o.training) {
    const auto move = [at](const auto& from, auto& to) {
      for (const auto& x : from) to.emplace_back(x, at);
    };
    move(o.cross, cross), move(o.cross_norm, cross_norm), move(o.mlp, mlp), move(o.gated, gated), move(o.scale, scale);
  }

  /// x [B, T, C]; `call` goes to the self-attention; `context` [B, S, C] and its `padding` [B, S] to the cross-attention.
  Tensor<T, D> forward(const Tensor<T, D>& x0, const AttentionCall<T, D>& call = {}, const Tensor<T, D>& context = {},
                       const Tensor<bool, D>& context_padding = {}, Where at = Where::current()) const {
    if (context.defined() != options.cross)
      fail("TransformerBlock", options.cross ? "a context is missing" : "a context that nothing reads", {{"x", describe(x0)}},
           "a context exactly when options.cross is set", at);
    std::size_t part = 0;
    const auto add_part = [&](const Tensor<T, D>& x, const FeatureNorm<T, D>& norm, auto f) {
      auto y = dropout(f(options.pre ? norm.forward(x, at) : x), options.dropout, training, at);
      if (!scale.empty()) y = scale[part].forward(y, at);
      ++part;
      return options.pre ? add(x, y, at) : norm.forward(add(x, y, at), at);
    };
    auto x = add_part(x0, attention_norm, [&](const Tensor<T, D>& h) { return attention.forward(h, call, at); });
    if (options.cross)
      x = add_part(x, cross_norm[0], [&](const Tensor<T, D>& h) {
        return cross[0].forward(h, {.context = context, .padding = context_padding}, at);
      });
    return add_part(x, mlp_norm,
                    [&](const Tensor<T, D>& h) { return options.gated ? gated[0].forward(h, at) : mlp[0].forward(h, at); });
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, const AttentionCall<T, D>& call = {}, Where at = Where::current()) const {
    return forward(x, call, {}, {}, at);
  }
  void visit(auto&& f) {
    f("attention", attention), f("attention_norm", attention_norm), f("cross", cross), f("cross_norm", cross_norm);
    f("mlp", mlp), f("gated", gated), f("mlp_norm", mlp_norm), f("scale", scale), f("training", training);
  }
  std::string about() const { return options.pre ? "pre-norm" : "post-norm"; }

 private:
  static BlockOptions with_bias(BlockOptions o) {
    if (!o.bias) o.attention.qkv_bias = o.attention.out_bias = false;
    return o;
  }
};

}  // namespace gradus::nn
