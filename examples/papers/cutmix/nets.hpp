// The networks of Yun et al. 2019: PyramidNet for 32 x 32 pictures, ResNet-50 for ImageNet, and a small one for 28 x 28.
//
// Each is a list of stages, then the mean over the pixels and a linear layer. Feature CutMix mixes in front of one of the first
// four stages; the maps A behind the last one and the linear layer's weights w give class activation maps, CAM_k(u, v) = sum_c
// w_kc A_c(u, v).
#pragma once
#include <functional>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/models/resnet.hpp>
#include <gradus/nn.hpp>

namespace cutmix {
using namespace gradus;

/// Without a bias, weights N(0, 2 / (kernel^2 out)).
template <class T, class D>
nn::Conv2d<T, D> convolution(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1) {
  nn::Conv2d<T, D> conv(in, out, kernel, {.stride = stride, .padding = kernel / 2}, false);
  nn::init::kaiming_normal(conv.weight, std::sqrt(2.0), nn::init::Fan::out);
  return conv;
}

/// Han, Kim, Kim 2017: BN - conv - BN - ReLU - conv - ... - BN, of 3 x 3, 3 x 3 or (bottleneck) 1 x 1, 3 x 3, 1 x 1 to 4 times
/// the channels. The shortcut is a mean over 2 x 2 where the stride is 2, and zeros for the channels that are missing.
template <class T, class D>
struct PyramidBlock {
  using value_type = T;
  using device_type = D;
  std::vector<nn::Conv2d<T, D>> convs;
  std::vector<nn::BatchNorm2d<T, D>> norms;
  int64_t in, out, stride;
  PyramidBlock(int64_t in, int64_t width, int64_t stride, bool bottleneck)
      : in(in), out(bottleneck ? 4 * width : width), stride(stride) {
    norms.emplace_back(in);
    const auto add = [&](int64_t from, int64_t to, int64_t kernel, int64_t by) {
      convs.push_back(convolution<T, D>(from, to, kernel, by)), norms.emplace_back(to);
    };
    if (bottleneck) add(in, width, 1, 1), add(width, width, 3, stride), add(width, out, 1, 1);
    else add(in, width, 3, stride), add(width, width, 3, 1);
  }
  Tensor<T, D> forward(const Tensor<T, D>& x) const {
    auto y = norms[0](x);
    for (std::size_t k = 0; k < convs.size(); ++k) y = norms[k + 1](convs[k](k ? relu(y) : y));
    const auto s = stride > 1 ? avg_pool2d(x, stride) : x;
    return y + (out > in ? pad(s, {0, 0, 0}, {out - in, 0, 0}) : s);
  }
  void visit(auto&& f) { f("convs", convs), f("norms", norms); }
};

struct NetConfig {
  std::string kind = "small";           ///< small, pyramidnet or resnet50
  int64_t channels = 12;                ///< c of the small net
  int64_t depth = 200, widening = 240;  ///< of PyramidNet
  bool bottleneck = true;
  int64_t in = 1, side = 28, classes = 10;  ///< of the pictures
};

template <class T = float, class D = Cpu>
struct Net {
  using value_type = T;
  using device_type = D;
  using Mixer = std::function<Tensor<T, D>(const Tensor<T, D>&)>;
  std::vector<nn::Sequential<T, D>> stages;
  nn::Linear<T, D> fc;
  double madds = 0, activations = 0;  ///< multiply-adds and values put out by convolutions, forwards, of one picture

  explicit Net(const NetConfig& c) : fc(1, 1) {
    side_ = c.side;
    int64_t width = 0;
    if (c.kind == "small") width = small(c);
    else if (c.kind == "pyramidnet") width = pyramid(c);
    else width = resnet50(c);
    fc = nn::Linear<T, D>(width, c.classes);
    madds += static_cast<double>(width * c.classes);
  }
  /// The last stage's maps [B, C, H', W']. mix, if there is one, changes what goes into stage `at_stage`; 0 is the input.
  Tensor<T, D> maps(const Tensor<T, D>& x, std::size_t at_stage = 0, const Mixer& mix = {}) const {
    auto h = x;
    for (std::size_t s = 0; s < stages.size(); ++s) h = stages[s](mix && s == at_stage ? mix(h) : h);
    return h;
  }
  Tensor<T, D> classify(const Tensor<T, D>& A) const { return fc(mean(A, {2, 3})); }
  Tensor<T, D> forward(const Tensor<T, D>& x) const { return classify(maps(x)); }
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return forward(x); }
  void visit(auto&& f) { f("stages", stages), f("fc", fc); }

 private:
  int64_t side_ = 0;  // of the maps at the place where the net is being built
  void count(const nn::Conv2d<T, D>& conv, int64_t stride = 1) {
    side_ = (side_ + stride - 1) / stride;
    madds += static_cast<double>(conv.weight.numel() * side_ * side_);
    activations += static_cast<double>(conv.weight.size(0) * side_ * side_);
  }
  nn::Sequential<T, D> unit(int64_t in, int64_t out, int64_t kernel, int64_t stride) {  // conv - BN - ReLU
    nn::Sequential<T, D> s;
    const auto conv = convolution<T, D>(in, out, kernel, stride);
    count(conv, stride);
    s.add(conv).add(nn::BatchNorm2d<T, D>(out)).add(nn::ReLU{});
    return s;
  }
  int64_t small(const NetConfig& c) {
    const int64_t w = c.channels;
    stages.push_back(unit(c.in, w, 3, 1));
    for (const int64_t k : {1, 2}) {  // to 2 c and 4 c, with stride 2 and again with stride 1
      nn::Sequential<T, D> s;
      s.add(unit(k * w, 2 * k * w, 3, 2)).add(unit(2 * k * w, 2 * k * w, 3, 1));
      stages.push_back(s);
    }
    return 4 * w;
  }
  int64_t pyramid(const NetConfig& c) {
    const int64_t n = (c.depth - 2) / (c.bottleneck ? 9 : 6);
    const int64_t per_block = c.bottleneck ? 9 : 6;
    if (c.depth < 2 + per_block || (c.depth - 2) % per_block)
      fail("PyramidNet", "no such depth", {{"depth", std::to_string(c.depth)}}, std::to_string(per_block) + " n + 2, n >= 1",
           Where::current());
    const auto stem = convolution<T, D>(c.in, 16, 3);
    count(stem);
    stages.emplace_back();
    stages[0].add(stem).add(nn::BatchNorm2d<T, D>(16));
    double width = 16;
    int64_t in = 16;
    for (int s = 0; s < 3; ++s) {
      nn::Sequential<T, D> stage;
      for (int64_t k = 0; k < n; ++k) {
        width += static_cast<double>(c.widening) / static_cast<double>(3 * n);
        const int64_t stride = s > 0 && k == 0 ? 2 : 1;
        const PyramidBlock<T, D> block(in, std::lround(width), stride, c.bottleneck);
        for (std::size_t j = 0; j < block.convs.size(); ++j) count(block.convs[j], j == (c.bottleneck ? 1 : 0) ? stride : 1);
        stage.add(block), in = block.out;
      }
      if (s == 2) stage.add(nn::BatchNorm2d<T, D>(in)).add(nn::ReLU{});
      stages.push_back(stage);
    }
    return in;
  }
  int64_t resnet50(const NetConfig& c) {
    nn::Sequential<T, D> stem = unit(c.in, 64, 7, 2);
    stem.add(nn::MaxPool2d(3, {.stride = 2, .padding = 1}));
    side_ = (side_ + 1) / 2;
    stages.push_back(stem);
    int64_t in = 64, width = 64;
    for (const int64_t blocks : {3, 4, 6, 3}) {
      nn::Sequential<T, D> stage;
      for (int64_t k = 0; k < blocks; ++k, in = 4 * width) {
        const int64_t stride = width > 64 && k == 0 ? 2 : 1, before = side_;
        const models::ResidualBlock<T, D> block(in, width, stride, {.bottleneck = true});
        for (std::size_t j = 0; j < 3; ++j) count(block.convs[j], j == 1 ? stride : 1);
        if (!block.project.empty()) side_ = before, count(block.project[0], stride);
        stage.add(block);
      }
      stages.push_back(stage), width *= 2;
    }
    return in;
  }
};

/// Class activation maps of the given classes, one a picture: [B, H, W], stretched to [0, 1] and bilinearly to H x W.
template <class T, class D>
Tensor<T, D> class_activation_maps(const Net<T, D>& net, const Tensor<T, D>& x, const Tensor<int64_t, D>& classes) {
  const NoGrad guard;
  const auto A = net.maps(x);
  const auto w = index_select(net.fc.weight, 0, classes);  // [B, C]
  const auto cam = sum(A * reshape(w, {w.size(0), w.size(1), 1, 1}), {1}, true);
  const auto lo = amin(cam, {2, 3}, true), range = amax(cam, {2, 3}, true) - lo;
  return squeeze(interpolate((cam - lo) / (range + 1e-12), {.size = {x.size(2), x.size(3)}, .mode = InterpolateMode::linear}),
                 1);
}

/// Rows y0 ... y1 - 1 and columns x0 ... x1 - 1.
struct Box {
  int64_t y0 = 0, y1 = 0, x0 = 0, x1 = 0;
  int64_t area() const { return std::max<int64_t>(0, y1 - y0) * std::max<int64_t>(0, x1 - x0); }
};
inline double iou(const Box& a, const Box& b) {
  const Box both{std::max(a.y0, b.y0), std::min(a.y1, b.y1), std::max(a.x0, b.x0), std::min(a.x1, b.x1)};
  return static_cast<double>(both.area()) / static_cast<double>(std::max<int64_t>(1, a.area() + b.area() - both.area()));
}
/// The box around the largest part of {map >= threshold max} that hangs together (by sides).
template <class T>
Box largest_component(const T* map, int64_t H, int64_t W, double threshold) {
  const double least = threshold * static_cast<double>(*std::max_element(map, map + H * W));
  std::vector<bool> seen(static_cast<std::size_t>(H * W));
  std::vector<int64_t> part;
  std::size_t largest = 0;
  Box best;
  for (int64_t start = 0; start < H * W; ++start) {
    const auto visit = [&](int64_t i) {
      if (seen[static_cast<std::size_t>(i)] || static_cast<double>(map[i]) < least) return;
      seen[static_cast<std::size_t>(i)] = true, part.push_back(i);
    };
    part.clear();
    visit(start);
    Box box{H, 0, W, 0};
    for (std::size_t k = 0; k < part.size(); ++k) {
      const int64_t y = part[k] / W, x = part[k] % W;
      box = {std::min(box.y0, y), std::max(box.y1, y + 1), std::min(box.x0, x), std::max(box.x1, x + 1)};
      if (y > 0) visit(part[k] - W);
      if (y + 1 < H) visit(part[k] + W);
      if (x > 0) visit(part[k] - 1);
      if (x + 1 < W) visit(part[k] + 1);
    }
    if (part.size() > largest) largest = part.size(), best = box;
  }
  return best;
}

}  // namespace cutmix
