// The client's networks, as the authors have them: untrained, dropout wherever they put it.
//
//   MLP        (Linear without bias, GELU, dropout) x depth, Linear
//   LeNet      (5 x 5 convolution, sigmoid) x 3, dropout, Linear
//   ViT        dropout after the positions, on the attention weights, after the attention's projection, after the perceptron's
//              GELU and after its second Linear; pre-norm blocks, a class token
//   ResNet-18  dropout before the last Linear; batch norm with its running statistics
#pragma once
#include <string>
#include <vector>

#include <gradus/nn.hpp>
#include <gradus/ops/losses.hpp>

namespace dia {

using namespace gradus;

enum class Arch { mlp, lenet, vit, resnet18 };

struct NetConfig {
  Arch arch = Arch::mlp;
  Shape image{1, 28, 28};  ///< C, H, W
  int64_t classes = 10;
  double p = 0.5;                          ///< of dropping
  int64_t width = 512, depth = 3;          ///< MLP: hidden units and layers; ViT: features and blocks; ResNet: first channels
  int64_t patch = 4, heads = 16, mlp = 0;  ///< ViT; mlp 0: as wide as its features
  int64_t hidden() const { return mlp ? mlp : width; }
};
inline NetConfig mlp_config(double p) { return {.p = p}; }
inline NetConfig lenet_config(double p) { return {.arch = Arch::lenet, .p = p, .width = 12}; }
inline NetConfig vit_config(double p) { return {.arch = Arch::vit, .image = {3, 32, 32}, .p = p, .width = 256, .depth = 4}; }
inline NetConfig vit_small_config(double p) {
  return {.arch = Arch::vit, .p = p, .width = 64, .depth = 2, .patch = 7, .heads = 4};
}
inline NetConfig vit_b16_config(double p) {
  return {.arch = Arch::vit,
          .image = {3, 224, 224},
          .classes = 1000,
          .p = p,
          .width = 768,
          .depth = 12,
          .patch = 16,
          .heads = 12,
          .mlp = 3072};
}
inline NetConfig resnet18_config(double p) { return {.arch = Arch::resnet18, .p = p, .width = 64}; }

template <class T, class D>
struct Vit : nn::Layer<Vit<T, D>, T, D> {
  nn::PatchEmbedding<T, D> patches;
  Tensor<T, D> cls, position;  // [1, 1, C], [1, 1 + patches, C]
  nn::Dropout drop;
  std::vector<nn::TransformerBlock<T, D>> blocks;
  nn::LayerNorm<T, D> norm;
  nn::Linear<T, D> head;

  explicit Vit(const NetConfig& c)
      : patches(c.image[0], c.patch, c.width),
        cls(randn<T, D>({1, 1, c.width}).requires_grad_()),
        position(randn<T, D>({1, 1 + c.image[1] / c.patch * (c.image[2] / c.patch), c.width}).requires_grad_()),
        drop(c.p),
        norm(c.width),
        head(c.width, c.classes) {
    for (int64_t l = 0; l < c.depth; ++l)
      blocks.emplace_back(c.width, c.heads,
                          nn::BlockOptions{.hidden = c.hidden(),
                                           .dropout = c.p,
                                           .attention = {.qkv_bias = false, .dropout = c.p, .form = AttentionForm::formula}});
  }
  Tensor<T, D> forward(const Tensor<T, D>& image, Where at = Where::current()) const {
    const auto tokens = patches.forward(image, at);
    const auto first = expand(cls, {image.size(0), 1, cls.size(2)}, at);
    auto x = drop(add(cat(std::vector<Tensor<T, D>>{first, tokens}, 1, at), position, at), at);
    for (const auto& block : blocks) x = block(x, {}, at);
    return head.forward(norm.forward(select(x, 1, 0, at), at), at);
  }
  void visit(auto&& f) {
    f("patches", patches), f("cls", cls), f("position", position), f("drop", drop), f("blocks", blocks), f("norm", norm);
    f("head", head);
  }
};

/// Batch norm with its running statistics, whatever the mode: a batch of one image has none of its own, and the attacker's
/// model is in evaluation but for the masks.
template <class T, class D>
struct FixedNorm : nn::BatchNorm2d<T, D> {
  using nn::BatchNorm2d<T, D>::BatchNorm2d;
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return batch_norm(x, this->weight, this->bias, this->running_mean, this->running_var, false, 0, this->options.eps, at);
  }
};

template <class T, class D>
struct BasicBlock : nn::Layer<BasicBlock<T, D>, T, D> {
  nn::Conv2d<T, D> conv1, conv2;
  FixedNorm<T, D> norm1, norm2;
  std::vector<nn::Conv2d<T, D>> skip;  // none or one
  std::vector<FixedNorm<T, D>> skip_norm;
  BasicBlock(int64_t in, int64_t out, int64_t stride)
      : conv1(in, out, 3, {.stride = stride, .padding = 1}, false),
        conv2(out, out, 3, {.padding = 1}, false),
        norm1(out),
        norm2(out) {
    if (stride != 1 || in != out)
      skip.emplace_back(in, out, 1, ConvOptions{.stride = stride}, false), skip_norm.emplace_back(out);
  }
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    const auto y = norm2.forward(conv2.forward(relu(norm1.forward(conv1.forward(x, at), at), at), at), at);
    return relu(add(y, skip.empty() ? x : skip_norm[0].forward(skip[0].forward(x, at), at), at), at);
  }
  void visit(auto&& f) {
    f("conv1", conv1), f("norm1", norm1), f("conv2", conv2), f("norm2", norm2), f("skip", skip), f("skip_norm", skip_norm);
  }
};

template <class T, class D>
nn::Sequential<T, D> make_net(const NetConfig& c) {
  nn::Sequential<T, D> net;
  const int64_t C = c.image[0], H = c.image[1], W = c.image[2], w = c.width;
  switch (c.arch) {
    case Arch::mlp: {
      net.add(nn::Flatten{});
      for (int64_t l = 0, in = c.image.numel(); l < c.depth; ++l, in = w)
        net.add(nn::Linear<T, D>(in, w, false)).add(nn::GELU{}).add(nn::Dropout(c.p));
      net.add(nn::Linear<T, D>(w, c.classes, false));
      break;
    }
    case Arch::lenet: {
      const auto half = [](int64_t n) { return (n + 1) / 2; };
      net.add(nn::Conv2d<T, D>(C, w, 5, {.stride = 2, .padding = 2})).add(nn::Sigmoid{});
      net.add(nn::Conv2d<T, D>(w, w, 5, {.stride = 2, .padding = 2})).add(nn::Sigmoid{});
      net.add(nn::Conv2d<T, D>(w, w, 5, {.padding = 2})).add(nn::Sigmoid{}).add(nn::Flatten{}).add(nn::Dropout(c.p));
      net.add(nn::Linear<T, D>(w * half(half(H)) * half(half(W)), c.classes));
      break;
    }
    case Arch::vit:
      net.add(Vit<T, D>(c));
      break;
    case Arch::resnet18: {
      const bool large = H > 64;  // the stem of ImageNet's ResNet, or a 3 x 3 convolution
      net.add(nn::Conv2d<T, D>(C, w, large ? 7 : 3, {.stride = large ? 2 : 1, .padding = large ? 3 : 1}, false));
      net.add(FixedNorm<T, D>(w)).add(nn::ReLU{});
      if (large) net.add(nn::MaxPool2d(3, {.stride = 2, .padding = 1}));
      for (int64_t stage = 0, in = w; stage < 4; ++stage)
        for (int64_t b = 0; b < 2; ++b, in = w << stage) net.add(BasicBlock<T, D>(in, w << stage, b == 0 && stage > 0 ? 2 : 1));
      net.add(nn::GlobalAvgPool{}).add(nn::Dropout(c.p)).add(nn::Linear<T, D>(8 * w, c.classes));
      break;
    }
  }
  return net;
}

/// Multiply-adds of one image forward.
inline double forward_macs(const NetConfig& c) {
  const auto d = [](int64_t n) { return static_cast<double>(n); };
  const double C = d(c.image[0]), H = d(c.image[1]), W = d(c.image[2]), w = d(c.width), K = d(c.classes), depth = d(c.depth);
  switch (c.arch) {
    case Arch::mlp:
      return C * H * W * w + (depth - 1) * w * w + w * K;
    case Arch::lenet:
      return 25 * w * (C * H * W / 4 + 2 * w * H * W / 16) + w * H * W / 16 * K;
    case Arch::vit: {
      const double p = d(c.patch), n = H * W / p / p + 1, m = d(c.hidden());
      return (n - 1) * p * p * C * w + depth * n * (4 * w * w + 2 * n * w + 2 * w * m) + w * K;
    }
    case Arch::resnet18: {
      const bool large = H > 64;
      double area = H * W / (large ? 4 : 1), macs = area * C * w * (large ? 49 : 9);
      area /= large ? 4 : 1;
      for (int64_t stage = 0; stage < 4; ++stage) {
        const double out = w * d(int64_t{1} << stage), in = stage ? out / 2 : out;
        area /= stage ? 4 : 1;
        macs += area * (9 * (in * out + 3 * out * out) + (stage ? in * out : 0));
      }
      return macs + 8 * w * K;
    }
  }
  return 0;
}

}  // namespace dia
