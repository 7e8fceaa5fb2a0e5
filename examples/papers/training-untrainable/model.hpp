// Guidance of Subramaniam et al. 2024, in the symbols
//
//   L = CE(f_T(x), y) + alpha sum_{(i, j)} (1 - CKA(A_T^i, A_G^j))     i a layer of the target T, j a layer of the guide G
//
// The guide is frozen, in evaluation mode and without a graph. A layer's activations A are what a convolution, a linear layer,
// the last pooling, a recurrent layer, an attention or a layer norm puts out, before batch norm and ReLU; logits are not among
// them.
#pragma once
#include <cmath>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/nn.hpp>
#include <gradus/ops/losses/similarity.hpp>

namespace guidance {
using namespace gradus;

enum class Metric { cka, rsa };
enum class Pairs { last, all };

struct Pair {
  int64_t target, guide;
  bool operator==(const Pair&) const = default;
};
/// The target's layer for each of the guide's s layers: the step (t - 1) / (s - 1), rounded half to even.
inline std::vector<int64_t> mapping(int64_t s, int64_t t) {
  const double step = s > 1 ? static_cast<double>(t - 1) / static_cast<double>(s - 1) : 0;
  std::vector<int64_t> to;
  for (int64_t i = 0; i < s; ++i)
    to.push_back(std::min(static_cast<int64_t>(std::nearbyint(static_cast<double>(i) * step)), t - 1));
  return to;
}
/// Pairs::last: of several guide layers on one target layer the last alone counts, as where a dictionary's entry is
/// overwritten.
inline std::vector<Pair> pairs_of(int64_t s, int64_t t, Pairs which) {
  std::vector<Pair> list;
  const auto to = mapping(s, t);
  for (std::size_t i = 0; i < to.size(); ++i)
    if (which == Pairs::all || i + 1 == to.size() || to[i + 1] != to[i]) list.push_back({to[i], static_cast<int64_t>(i)});
  return list;
}

template <class T, class D>
using Features = std::vector<Tensor<T, D>>;
template <class T, class D>
Tensor<T, D> tap(Features<T, D>* a, Tensor<T, D> y) {
  if (a) a->push_back(y);
  return y;
}

template <class T, class D>
Tensor<T, D> matrix(const Tensor<T, D>& x, Metric m) {
  return m == Metric::cka ? cka_matrix(x) : rsa_matrix(x);
}
/// The similarity of each pair, [pairs]: layers of the target against matrices of the guide.
template <class T, class D>
Tensor<T, D> similarities_to(const Features<T, D>& target, const Features<T, D>& L, const std::vector<Pair>& pairs, Metric m) {
  Features<T, D> K(target.size()), each;  // a layer's matrix is made once
  for (const auto& [i, j] : pairs) {
    auto& k = K[static_cast<std::size_t>(i)];
    if (!k.defined()) k = matrix(target[static_cast<std::size_t>(i)], m);
    each.push_back(sum(k * L[static_cast<std::size_t>(j)]));
  }
  return stack(each, 0);
}
template <class T, class D>
Features<T, D> matrices(const Features<T, D>& a, Metric m) {
  Features<T, D> L;
  for (const auto& x : a) L.push_back(matrix(x, m));
  return L;
}
template <class T, class D>
Tensor<T, D> similarities(const Features<T, D>& target, const Features<T, D>& guide, const std::vector<Pair>& pairs, Metric m) {
  return similarities_to(target, matrices(guide, m), pairs, m);
}
/// sum over pairs of 1 - similarity. by_token: features are [B, length, C] and each place has a similarity of its own; the sum
/// runs over places too.
template <class T, class D>
Tensor<T, D> distance(const Features<T, D>& target, const Features<T, D>& guide, const std::vector<Pair>& pairs, Metric m,
                      bool by_token = false) {
  if (!by_token) return sum(1.0 - similarities(target, guide, pairs, m));
  Features<T, D> each;
  for (int64_t t = 0; t < target.front().size(1); ++t) {
    const auto at = [t](const Features<T, D>& a) {
      Features<T, D> b;
      for (const auto& x : a) b.push_back(select(x, 1, t));
      return b;
    };
    each.push_back(distance(at(target), at(guide), pairs, m));
  }
  return sum(stack(each, 0));
}
/// A matrix [target layers, guide layers] of similarities, row by row.
template <class T, class D>
std::vector<double> similarity_table(const Features<T, D>& target, const Features<T, D>& guide, Metric m) {
  std::vector<Pair> every;
  for (std::size_t i = 0; i < target.size(); ++i)
    for (std::size_t j = 0; j < guide.size(); ++j) every.push_back({static_cast<int64_t>(i), static_cast<int64_t>(j)});
  return cast<double>(similarities(target, guide, every, m)).template to<Cpu>().to_vector();
}

/// Parameters, and multiply-adds and numbers of activations for one sample.
struct Cost {
  int64_t parameters = 0;
  double multiply_adds = 0, activations = 0;
  void linear(int64_t in, int64_t out, double times = 1) {
    parameters += (in + 1) * out, multiply_adds += times * static_cast<double>(in * out),
        activations += times * static_cast<double>(out);
  }
  void norm(int64_t C) { parameters += 2 * C; }
};

/// Any network from In to logits that writes down its features when asked.
template <class T, class D, class In>
struct Network {
  using value_type = T;
  using device_type = D;
  nn::Any<Tensor<T, D>(const In&, Features<T, D>*)> net;
  Tensor<T, D> operator()(const In& x, Features<T, D>* a = nullptr) const { return net(x, a); }
  void visit(auto&& f) { f("net", net); }
};

// -- images -------------------------------------------------------------------------------------------------------------------

struct FcnConfig {
  int64_t inputs = 784, classes = 10;
  std::vector<int64_t> widths = {256, 256, 256};
  double dropout = 0;
  Cost cost() const {
    Cost c;
    int64_t in = inputs;
    for (const int64_t w : widths) c.linear(in, w), c.norm(w), in = w;
    c.linear(in, classes);
    return c;
  }
};
/// Linear, batch norm, ReLU, dropout for each width, then a linear layer. Features: all linear layers but the last.
template <class T = float, class D = Cpu>
struct Fcn {
  std::vector<nn::Linear<T, D>> fc;
  std::vector<nn::BatchNorm1d<T, D>> norm;
  nn::Linear<T, D> out;
  double p;
  bool training = true;
  explicit Fcn(const FcnConfig& c) : out(c.widths.back(), c.classes), p(c.dropout) {
    int64_t in = c.inputs;
    for (const int64_t w : c.widths) fc.emplace_back(in, w), norm.emplace_back(w), in = w;
  }
  Tensor<T, D> forward(const Tensor<T, D>& image, Features<T, D>* a) const {
    auto x = flatten(image, 1, -1);
    for (std::size_t l = 0; l < fc.size(); ++l) x = dropout(relu(norm[l](tap(a, fc[l](x)))), p, training);
    return out(x);
  }
  void visit(auto&& f) { f("fc", fc), f("norm", norm), f("out", out), f("training", training); }
};

struct ResNetConfig {
  int64_t channels = 1, side = 28, classes = 10;
  std::vector<int64_t> widths = {12, 24, 48}, blocks = {1, 1, 1};
  bool bottleneck = false;  // 1 x 1, 3 x 3, 1 x 1 with four times the width, instead of 3 x 3, 3 x 3
  bool shortcuts = true;    // false: the same convolutions one after the other
  bool large_stem = false;  // 7 x 7 of stride 2 and max pooling, instead of 3 x 3
  int64_t stem() const { return widths[0]; }
  int64_t out(std::size_t stage) const { return widths[stage] * (bottleneck ? 4 : 1); }
  Cost cost() const {
    Cost c;
    const auto conv = [&](int64_t in, int64_t to, int64_t k, int64_t extent) {
      const double area = static_cast<double>(extent * extent);
      c.parameters += in * to * k * k, c.multiply_adds += area * static_cast<double>(in * to * k * k);
      c.activations += area * static_cast<double>(to);
      c.norm(to);
    };
    int64_t extent = large_stem ? (side + 1) / 2 : side, in = stem();
    conv(channels, in, large_stem ? 7 : 3, extent);
    if (large_stem) extent = (extent + 1) / 2;
    for (std::size_t s = 0; s < widths.size(); ++s)
      for (int64_t b = 0; b < blocks[s]; ++b) {
        const int64_t before = extent, w = widths[s], to = out(s);
        if (s > 0 && b == 0) extent = (extent + 1) / 2;
        if (bottleneck) conv(in, w, 1, before), conv(w, w, 3, extent), conv(w, to, 1, extent);
        else conv(in, w, 3, extent), conv(w, w, 3, extent);
        if (shortcuts && (extent != before || in != to)) conv(in, to, 1, extent);
        in = to;
      }
    c.linear(in, classes);
    return c;
  }
};
inline ResNetConfig resnet18(int64_t classes = 1000) {
  return {3, 224, classes, {64, 128, 256, 512}, {2, 2, 2, 2}, false, true, true};
}
inline ResNetConfig resnet50(int64_t classes = 1000) {
  return {3, 224, classes, {64, 128, 256, 512}, {3, 4, 6, 3}, true, true, true};
}

template <class T, class D>
nn::Conv2d<T, D> convolution(int64_t in, int64_t out, int64_t k, int64_t stride) {
  nn::Conv2d<T, D> conv(in, out, k, {.stride = stride, .padding = k / 2}, false);
  nn::init::kaiming_normal(conv.weight, std::sqrt(2.0), nn::init::Fan::out);
  return conv;
}
/// He et al. 2015. The stride is that of the 3 x 3 convolution, the first where there are two.
template <class T, class D>
struct ResidualBlock {
  std::vector<nn::Conv2d<T, D>> conv, down;  // down: none or one
  std::vector<nn::BatchNorm2d<T, D>> norm, down_norm;
  bool shortcut;
  ResidualBlock(int64_t in, int64_t width, int64_t out, int64_t stride, const ResNetConfig& c) : shortcut(c.shortcuts) {
    const auto add = [&](int64_t from, int64_t to, int64_t k, int64_t s) {
      conv.push_back(convolution<T, D>(from, to, k, s)), norm.emplace_back(to);
    };
    if (c.bottleneck) add(in, width, 1, 1), add(width, width, 3, stride), add(width, out, 1, 1);
    else add(in, width, 3, stride), add(width, width, 3, 1);
    if (!shortcut || (stride == 1 && in == out)) return;
    down.push_back(convolution<T, D>(in, out, 1, stride)), down_norm.emplace_back(out);
  }
  Tensor<T, D> forward(const Tensor<T, D>& x, Features<T, D>* a) const {
    auto y = x;
    for (std::size_t k = 0; k < conv.size(); ++k) {
      y = norm[k](tap(a, conv[k](y)));
      if (k + 1 < conv.size()) y = relu(y);
    }
    if (!shortcut) return relu(y);
    return relu(y + (down.empty() ? x : down_norm[0](tap(a, down[0](x)))));
  }
  void visit(auto&& f) { f("conv", conv), f("norm", norm), f("down", down), f("down_norm", down_norm); }
};
/// Features: every convolution in the order of execution, then the pooled ones.
template <class T = float, class D = Cpu>
struct ResNet {
  nn::Conv2d<T, D> stem;
  nn::BatchNorm2d<T, D> norm;
  std::vector<ResidualBlock<T, D>> blocks;
  nn::Linear<T, D> out;
  bool pool;
  explicit ResNet(const ResNetConfig& c)
      : stem(convolution<T, D>(c.channels, c.stem(), c.large_stem ? 7 : 3, c.large_stem ? 2 : 1)),
        norm(c.stem()),
        out(c.out(c.widths.size() - 1), c.classes),
        pool(c.large_stem) {
    int64_t in = c.stem();
    for (std::size_t s = 0; s < c.widths.size(); ++s)
      for (int64_t b = 0; b < c.blocks[s]; ++b)
        blocks.emplace_back(in, c.widths[s], c.out(s), s > 0 && b == 0 ? 2 : 1, c), in = c.out(s);
  }
  Tensor<T, D> forward(const Tensor<T, D>& image, Features<T, D>* a) const {
    auto x = relu(norm(tap(a, stem(image))));
    if (pool) x = max_pool2d(x, 3, {.stride = 2, .padding = 1});
    for (const auto& block : blocks) x = block.forward(x, a);
    return out(tap(a, nn::GlobalAvgPool{}(x)));
  }
  void visit(auto&& f) { f("stem", stem), f("norm", norm), f("blocks", blocks), f("out", out); }
};

// -- sequences ----------------------------------------------------------------------------------------------------------------

/// Tokens [B, length]; valid is false after a sequence's end, where all features are 0.
template <class D>
struct Tokens {
  Tensor<int64_t, D> x;
  Tensor<bool, D> valid;
};
template <class T, class D>
Tensor<T, D> masked(const Tensor<T, D>& y, const Tensor<bool, D>& valid) {
  return where(unsqueeze(valid, 2), y, 0.0);
}
/// Logits at each place, or of the mean over a sequence's places.
template <class T, class D>
Tensor<T, D> read_out(const nn::Linear<T, D>& out, const Tensor<T, D>& y, const Tensor<bool, D>& valid, bool pooled) {
  if (!pooled) return out(y);
  return out(sum(masked(y, valid), {1}) / sum(cast<T>(valid), {1}, true));
}
struct SequenceConfig {
  int64_t vocabulary = 13, classes = 13, embedding = 64, hidden = 64, layers = 4, heads = 4, longest = 64;
  bool pooled = false;  // parity: one answer a sequence
  bool causal = false;
  Cost rnn_cost(double length) const {
    Cost c;
    c.parameters = vocabulary * embedding;
    for (int64_t l = 0, in = embedding; l < layers; ++l, in = hidden)
      c.linear(in, hidden, length), c.linear(hidden, hidden, length);
    c.linear(hidden, classes, pooled ? 1 : length);
    return c;
  }
  Cost transformer_cost(double length) const {
    Cost c;
    c.parameters = vocabulary * hidden;
    for (int64_t l = 0; l < layers; ++l) {
      for (int k = 0; k < 4; ++k) c.linear(hidden, hidden, length);
      c.multiply_adds += 2 * length * length * static_cast<double>(hidden);
      c.linear(hidden, 4 * hidden, length), c.linear(4 * hidden, hidden, length), c.norm(hidden), c.norm(hidden);
    }
    c.linear(hidden, classes, pooled ? 1 : length);
    return c;
  }
};
/// Layers of tanh units; the last state of each is the first of the next, and that of the first layer is 0.
template <class T = float, class D = Cpu>
struct StackedRnn {
  nn::Embedding<T, D> embedding;
  std::vector<nn::RNN<T, D>> layers;
  nn::Linear<T, D> out;
  bool pooled;
  explicit StackedRnn(const SequenceConfig& c)
      : embedding(c.vocabulary, c.embedding), out(c.hidden, c.classes), pooled(c.pooled) {
    for (int64_t l = 0; l < c.layers; ++l) layers.emplace_back(l ? c.hidden : c.embedding, c.hidden);
  }
  Tensor<T, D> forward(const Tokens<D>& in, Features<T, D>* a) const {
    auto x = embedding(in.x);
    std::vector<nn::CellState<T, D>> state;
    for (const auto& layer : layers) {
      auto r = layer.forward(x, state, in.valid);
      x = tap(a, r.y), state = r.last;
    }
    return read_out(out, x, in.valid, pooled);
  }
  void visit(auto&& f) { f("embedding", embedding), f("layers", layers), f("out", out); }
};
/// Vaswani et al. 2017: norm(x + attention(x)), norm(x + W2 relu(W1 x)).
template <class T, class D>
struct EncoderLayer {
  nn::MultiHeadAttention<T, D> attention;
  nn::LayerNorm<T, D> norm1, norm2;
  nn::Linear<T, D> fc1, fc2;
  EncoderLayer(const SequenceConfig& c)
      : attention(c.hidden, c.heads, {.causal = c.causal}),
        norm1(c.hidden),
        norm2(c.hidden),
        fc1(c.hidden, 4 * c.hidden),
        fc2(4 * c.hidden, c.hidden) {}
  Tensor<T, D> forward(const Tensor<T, D>& x0, const Tensor<bool, D>& valid, Features<T, D>* a) const {
    const auto keep = [&](const Tensor<T, D>& y) {
      if (a) a->push_back(masked(y, valid));
      return y;
    };
    const auto x = keep(norm1(x0 + keep(attention.forward(x0, {.padding = valid}))));
    return keep(norm2(x + keep(fc2(relu(keep(fc1(x)))))));
  }
  void visit(auto&& f) { f("attention", attention), f("norm1", norm1), f("fc1", fc1), f("fc2", fc2), f("norm2", norm2); }
};
template <class T = float, class D = Cpu>
struct Transformer {
  nn::Embedding<T, D> embedding;
  nn::SinusoidalPosition<T, D> position;
  std::vector<EncoderLayer<T, D>> layers;
  nn::Linear<T, D> out;
  bool pooled;
  explicit Transformer(const SequenceConfig& c)
      : embedding(c.vocabulary, c.hidden), position(c.longest, c.hidden), out(c.hidden, c.classes), pooled(c.pooled) {
    for (int64_t l = 0; l < c.layers; ++l) layers.emplace_back(c);
  }
  Tensor<T, D> forward(const Tokens<D>& in, Features<T, D>* a) const {
    auto x = position(embedding(in.x));
    for (const auto& layer : layers) x = layer.forward(x, in.valid, a);
    return read_out(out, x, in.valid, pooled);
  }
  void visit(auto&& f) { f("embedding", embedding), f("layers", layers), f("out", out); }
};

}  // namespace guidance
