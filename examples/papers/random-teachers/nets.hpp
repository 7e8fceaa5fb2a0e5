// The networks f = head(encoder(x)), in the paper's sizes and in one that two cores can train.
//
//   encoder   VGG: conv 3 x 3 and ReLU, pooling 2 x 2 five times, flattened; or ResNet18 with a stem of 3 x 3
//   head      z = W3 gelu(W2 gelu(W1 h)), then logits_k = <z / |z|, v_k / |v_k|>: cosines, in [-1, 1]
#pragma once
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/models/resnet.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

namespace rt {
using namespace gradus;

enum class Arch { minivgg, vgg11, resnet18 };
struct NetOptions {
  Arch arch = Arch::minivgg;
  int64_t channels = 1, side = 32, hidden = 512, bottleneck = 128, out = 4096;
  bool norm = false;    // batch normalisation in a VGG; ResNet18 always has it
  bool rownorm = true;  // the rows of the last layer have length 1

  /// Widths of the convolutions; 0 pools.
  std::vector<int64_t> widths() const {
    if (arch == Arch::minivgg) return {8, 0, 16, 0, 32, 32, 0, 64, 64, 0, 64, 64, 0};
    return {64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0};
  }
  int64_t features() const {
    return arch == Arch::resnet18 ? 512 : (arch == Arch::vgg11 ? 512 : 64) * (side / 32) * (side / 32);
  }
  bool has_norm() const { return norm || arch == Arch::resnet18; }
};

/// x [B, channels, side, side] -> [B, features]. Convolutions start from Kaiming's normal of fan_out, biases from 0.
template <class D>
nn::AnyModule<float, D> encoder(const NetOptions& o) {
  if (o.arch == Arch::resnet18) {
    auto c = models::resnet18();
    c.channels = o.channels, c.imagenet_stem = false;
    return models::ResNetFeatures<float, D>(c);
  }
  nn::Sequential<float, D> net;
  int64_t in = o.channels;
  for (const int64_t width : o.widths()) {
    if (width == 0) {
      net.add(nn::MaxPool2d(2));
      continue;
    }
    nn::Conv2d<float, D> conv(in, width, 3, {.padding = 1});
    nn::init::kaiming_normal(conv.weight, std::sqrt(2.0), nn::init::Fan::out);
    nn::init::constant(conv.bias, 0);
    net.add(conv);
    if (o.norm) net.add(nn::BatchNorm2d<float, D>(width));
    net.add(nn::ReLU{});
    in = width;
  }
  net.add(nn::Flatten{});
  return net;
}

template <class D>
struct Head {
  using value_type = float;
  using device_type = D;
  nn::Linear<float, D> W1, W2, W3;
  Tensor<float, D> V;  // [out, bottleneck]
  bool rownorm;
  explicit Head(const NetOptions& o)
      : W1(o.features(), o.hidden), W2(o.hidden, o.hidden), W3(o.hidden, o.bottleneck), rownorm(o.rownorm) {
    V = truncated_normal<float, D>({o.out, o.bottleneck}, 0, 0.02, -2, 2);
    V.requires_grad_();
    for (auto* w : {&W1, &W2, &W3}) {
      nn::init::set(w->weight, truncated_normal<float, D>(w->weight.shape(), 0, 0.02, -2, 2));
      nn::init::constant(w->bias, 0);
    }
  }
  Tensor<float, D> forward(const Tensor<float, D>& h, Where at = Where::current()) const {
    const auto z = normalize(W3.forward(gelu(W2.forward(gelu(W1.forward(h, at), at), at), at), at), 2, 1, 1e-12, at);
    return linear(z, rownorm ? normalize(V, 2, 1, 1e-12, at) : V, {}, at);
  }
  Tensor<float, D> operator()(const Tensor<float, D>& h) const { return forward(h); }
  void visit(auto&& f) { f("W1", W1), f("W2", W2), f("W3", W3), f("V", V); }
};

template <class D>
struct Net {
  using value_type = float;
  using device_type = D;
  NetOptions options;
  nn::AnyModule<float, D> encoder;
  Head<D> head;
  Net(const NetOptions& o, uint64_t seed) : options(o), encoder((manual_seed(seed), rt::encoder<D>(o))), head(o) {}
  Tensor<float, D> forward(const Tensor<float, D>& x) const { return head(encoder(x)); }
  void visit(auto&& f) { f("encoder", encoder), f("head", head); }
  /// A network of its own with the same values.
  Net copy() {
    const auto before = generator();
    Net other(options, 0);
    generator() = before;
    nn::copy_state(*this, other);
    return other;
  }
};

/// theta_S = ((1 - alpha) theta_T + alpha theta~) / sqrt(alpha^2 + (1 - alpha)^2) over all parameters; buffers are the
/// teacher's. Independent weights of one variance keep it.
template <class D>
Net<D> student_near(Net<D>& teacher, Net<D>& other, double alpha) {
  Net<D> student = teacher.copy();
  const double s = std::sqrt(alpha * alpha + (1 - alpha) * (1 - alpha));
  nn::set_parameter_vector(student,
                           nn::parameter_vector(teacher) * ((1 - alpha) / s) + nn::parameter_vector(other) * (alpha / s));
  return student;
}

/// An encoder and a linear layer, for training with labels.
template <class D>
struct Classifier {
  using value_type = float;
  using device_type = D;
  nn::AnyModule<float, D> encoder;
  nn::Linear<float, D> fc;
  /// The encoder is a copy; the linear layer is drawn by `seed`.
  Classifier(const NetOptions& o, nn::AnyModule<float, D>& from, int64_t classes, uint64_t seed)
      : encoder((manual_seed(seed), rt::encoder<D>(o))), fc(o.features(), classes) {
    nn::copy_state(from, encoder);
  }
  Tensor<float, D> forward(const Tensor<float, D>& x) const { return fc(encoder(x)); }
  void visit(auto&& f) { f("encoder", encoder), f("fc", fc); }
  /// The weights that are pruned: convolutions of the encoder.
  std::vector<Tensor<float, D>> kernels() {
    std::vector<Tensor<float, D>> list;
    for (const auto& p : nn::parameters(encoder))
      if (p.rank() == 4) list.push_back(p);
    return list;
  }
};

}  // namespace rt
