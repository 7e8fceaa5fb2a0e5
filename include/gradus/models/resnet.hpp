// Residual networks: He et al., "Deep residual learning for image recognition", CVPR 2016.
//
//   models::ResNet<> net(models::resnet18(10));            // ImageNet's stem: 7 x 7 with stride 2, then pooling
//   models::ResNet<> small(models::cifar_resnet(20));      // 6 n + 2 layers, 16, 32 and 64 channels, a stem of 3 x 3
//
//   x -> relu(norm(conv(x))) -> stages of blocks, each but the first with stride 2 -> mean over the pixels -> linear
//   block(x) = relu(shortcut(x) + f(x))
//   f, basic:       conv 3 x 3, norm, relu, conv 3 x 3, norm
//   f, bottleneck:  conv 1 x 1, norm, relu, conv 3 x 3 with the stride, norm, relu, conv 1 x 1 to 4 times the channels, norm
//
// Parameters have the names of torchvision's networks (conv1, bn1, layer1.0.conv1, ..., layer2.0.downsample.0, fc), so that
// their weights load from a safetensors file.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <gradus/io/safetensors.hpp>
#include <gradus/nn/conv.hpp>
#include <gradus/nn/linear.hpp>
#include <gradus/nn/norm.hpp>
#include <gradus/ops/activation.hpp>
#include <gradus/ops/pool.hpp>
#include <gradus/ops/reduce.hpp>

namespace gradus::models {

struct ResNetConfig {
  std::vector<int64_t> blocks{2, 2, 2, 2};         ///< in each stage
  std::vector<int64_t> widths{64, 128, 256, 512};  ///< of each stage; a bottleneck puts out 4 times as many channels
  bool bottleneck = false;
  int64_t channels = 3, classes = 1000;
  int64_t stem = 64;            ///< channels after the first convolution
  bool imagenet_stem = true;    ///< 7 x 7 with stride 2, then max pooling 3 x 3 with stride 2; else 3 x 3 with stride 1
  bool shortcuts = true;        ///< false: the plain network of the same layers (He et al., section 4.1)
  bool zero_last_norm = false;  ///< the last norm of each block starts at 0: a block starts as its shortcut (Goyal et al. 2017)
};
inline ResNetConfig resnet18(int64_t classes = 1000) { return {.classes = classes}; }
inline ResNetConfig resnet34(int64_t classes = 1000) { return {.blocks = {3, 4, 6, 3}, .classes = classes}; }
inline ResNetConfig resnet50(int64_t classes = 1000) {
  return {.blocks = {3, 4, 6, 3}, .bottleneck = true, .classes = classes};
}
inline ResNetConfig resnet101(int64_t classes = 1000) {
  return {.blocks = {3, 4, 23, 3}, .bottleneck = true, .classes = classes};
}
inline ResNetConfig resnet152(int64_t classes = 1000) {
  return {.blocks = {3, 8, 36, 3}, .bottleneck = true, .classes = classes};
}
/// For pictures of 32 x 32: depth = 6 n + 2 layers in three stages (section 4.2), with projections where the channels change.
/// filters: of the stem and of each stage; {32, 64, 128, 256} are the "x4" networks of the literature on distillation.
inline ResNetConfig cifar_resnet(int64_t depth, int64_t classes = 10, std::array<int64_t, 4> filters = {16, 16, 32, 64},
                                 Where at = Where::current()) {
  if (depth < 8 || (depth - 2) % 6)
    fail("cifar_resnet", "no such depth", {{"depth", std::to_string(depth)}}, "6 n + 2, n >= 1", at);
  const int64_t n = (depth - 2) / 6;
  return {.blocks = {n, n, n},
          .widths = {filters[1], filters[2], filters[3]},
          .classes = classes,
          .stem = filters[0],
          .imagenet_stem = false};
}

/// [B, in, H, W] -> [B, out, ceil(H / stride), ceil(W / stride)], out = width, or 4 width of a bottleneck.
template <class T = float, class D = Cpu>
struct ResidualBlock {
  using value_type = T;
  using device_type = D;
  std::vector<nn::Conv2d<T, D>> convs;  // 2, or 3 of a bottleneck
  std::vector<nn::BatchNorm2d<T, D>> norms;
  std::vector<nn::Conv2d<T, D>> project;  // none or one: the shortcut where shapes change
  std::vector<nn::BatchNorm2d<T, D>> project_norm;
  bool shortcut;

  ResidualBlock(int64_t in, int64_t width, int64_t stride, const ResNetConfig& c, Where at = Where::current())
      : shortcut(c.shortcuts) {
    const int64_t out = c.bottleneck ? 4 * width : width;
    const auto add = [&](int64_t from, int64_t to, int64_t kernel, int64_t by) {
      convs.push_back(convolution(from, to, kernel, by, at)), norms.emplace_back(to, nn::BatchNormOptions{}, at);
    };
    if (c.bottleneck) add(in, width, 1, 1), add(width, width, 3, stride), add(width, out, 1, 1);
    else add(in, width, 3, stride), add(width, width, 3, 1);
    if (shortcut && (stride != 1 || in != out))
      project.push_back(convolution(in, out, 1, stride, at)), project_norm.emplace_back(out, nn::BatchNormOptions{}, at);
    if (c.zero_last_norm) nn::init::constant(norms.back().weight, 0, at);
  }
  template <class U, class E>
  explicit ResidualBlock(const ResidualBlock<U, E>& o, Where at = Where::current()) : shortcut(o.shortcut) {
    for (const auto& m : o.convs) convs.emplace_back(m, at);
    for (const auto& m : o.norms) norms.emplace_back(m, at);
    for (const auto& m : o.project) project.emplace_back(m, at);
    for (const auto& m : o.project_norm) project_norm.emplace_back(m, at);
  }
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    auto f = x;
    for (std::size_t k = 0; k < convs.size(); ++k) {
      if (k) f = relu(f, at);
      f = norms[k].forward(convs[k].forward(f, at), at);
    }
    if (shortcut) f = add(f, project.empty() ? x : project_norm[0].forward(project[0].forward(x, at), at), at);
    return relu(f, at);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(auto&& f) {
    for (std::size_t k = 0; k < convs.size(); ++k)
      f("conv" + std::to_string(k + 1), convs[k]), f("bn" + std::to_string(k + 1), norms[k]);
    if (!project.empty()) f("downsample.0", project[0]), f("downsample.1", project_norm[0]);
  }
  std::string about() const { return convs[0].about() + (shortcut ? "" : ", no shortcut"); }

  /// Without a bias, normal with variance 2 / (kernel^2 out).
  static nn::Conv2d<T, D> convolution(int64_t in, int64_t out, int64_t kernel, int64_t stride, Where at) {
    nn::Conv2d<T, D> m(in, out, kernel, {.stride = stride, .padding = kernel / 2}, false, at);
    nn::init::kaiming_normal(m.weight, std::sqrt(2.0), nn::init::Fan::out, at);
    return m;
  }
};

/// x [B, channels, H, W] -> logits [B, classes].
template <class T = float, class D = Cpu>
struct ResNet {
  using value_type = T;
  using device_type = D;
  using Block = ResidualBlock<T, D>;
  ResNetConfig config;
  nn::Conv2d<T, D> conv1;
  nn::BatchNorm2d<T, D> bn1;
  std::vector<std::vector<Block>> stages;
  nn::Linear<T, D> fc;

  explicit ResNet(const ResNetConfig& c, Where at = Where::current())
      : config(checked(c, at)),
        conv1(Block::convolution(c.channels, c.stem, c.imagenet_stem ? 7 : 3, c.imagenet_stem ? 2 : 1, at)),
        bn1(c.stem, {}, at),
        fc(features_of(c), c.classes, true, at) {
    int64_t in = c.stem;
    for (std::size_t s = 0; s < c.blocks.size(); ++s) {
      stages.emplace_back();
      for (int64_t k = 0; k < c.blocks[s]; ++k) {
        stages.back().emplace_back(in, c.widths[s], s > 0 && k == 0 ? 2 : 1, c, at);
        in = c.bottleneck ? 4 * c.widths[s] : c.widths[s];
      }
    }
  }
  template <class U, class E>
  explicit ResNet(const ResNet<U, E>& o, Where at = Where::current())
      : config(o.config), conv1(o.conv1, at), bn1(o.bn1, at), fc(o.fc, at) {
    for (const auto& stage : o.stages) {
      stages.emplace_back();
      for (const auto& block : stage) stages.back().emplace_back(block, at);
    }
  }
  /// From a file with torchvision's names; counts of batches, which play no part here, are left out.
  static ResNet from_safetensors(const std::filesystem::path& path, const ResNetConfig& c, Where at = Where::current()) {
    ResNet<float, Cpu> net(c, at);
    auto state = io::read_safetensors(path, at);
    std::erase_if(state, [](const auto& entry) { return entry.first.ends_with(".num_batches_tracked"); });
    nn::load_state_dict(net, state, at);
    return ResNet(net, at);
  }
  /// The last stage's maps: [B, features, H', W'].
  Tensor<T, D> maps(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (x.rank() != 4 || x.shape()[1] != config.channels)
      fail("ResNet", "not a batch of pictures", {{"x", describe(x)}}, "[B, " + std::to_string(config.channels) + ", H, W]", at);
    auto y = relu(bn1.forward(conv1.forward(x, at), at), at);
    if (config.imagenet_stem) y = max_pool2d(y, 3, {.stride = 2, .padding = 1}, at);
    for (const auto& stage : stages)
      for (const Block& block : stage) y = block.forward(y, at);
    return y;
  }
  /// Their means over the pixels: [B, features].
  Tensor<T, D> features(const Tensor<T, D>& x, Where at = Where::current()) const {
    return mean(maps(x, at), {2, 3}, false, at);
  }
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const { return fc.forward(features(x, at), at); }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(auto&& f) { visit_features(f), f("fc", fc); }
  void visit_features(auto&& f) {  // all but the last layer
    f("conv1", conv1), f("bn1", bn1);
    for (std::size_t s = 0; s < stages.size(); ++s) f("layer" + std::to_string(s + 1), stages[s]);
  }

 private:
  static int64_t features_of(const ResNetConfig& c) { return c.bottleneck ? 4 * c.widths.back() : c.widths.back(); }
  static const ResNetConfig& checked(const ResNetConfig& c, Where at) {
    bool fits = !c.blocks.empty() && c.blocks.size() == c.widths.size();
    for (const int64_t n : c.blocks) fits = fits && n >= 1;
    if (!fits)
      fail("ResNet", "no such network",
           {{"stages", std::to_string(c.blocks.size())}, {"widths", std::to_string(c.widths.size())}},
           "a width and at least one block for each of one or more stages", at);
    return c;
  }
};

/// The network without its last layer, as a module: x [B, channels, H, W] -> features [B, F].
template <class T = float, class D = Cpu>
struct ResNetFeatures {
  using value_type = T;
  using device_type = D;
  ResNet<T, D> net;
  explicit ResNetFeatures(const ResNetConfig& c, Where at = Where::current()) : net(c, at) {}
  template <class U, class E>
  explicit ResNetFeatures(const ResNetFeatures<U, E>& o, Where at = Where::current()) : net(o.net, at) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const { return net.features(x, at); }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(auto&& f) { net.visit_features(f); }
};

}  // namespace gradus::models
