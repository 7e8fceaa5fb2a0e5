// Layers of images: resizing, borders, pixels moved to channels and back, patches, and the blocks of a U-Net.
#pragma once
#include <gradus/nn/blocks.hpp>
#include <gradus/nn/conv.hpp>
#include <gradus/ops/extra.hpp>
#include <gradus/ops/interpolate.hpp>
#include <gradus/ops/patch.hpp>

namespace gradus::nn {

/// Resized by a factor, or to a size: nn::Upsample{{.scale = 2, .mode = InterpolateMode::linear}}.
struct Upsample : Stateless<Upsample> {
  InterpolateOptions options;
  explicit Upsample(InterpolateOptions o) : options(std::move(o)) {}
  auto apply(const auto& x, Where at) const { return interpolate(x, options, at); }
};
/// [N, C r r, H, W] -> [N, C, H r, W r]. Shi et al. 2016.
struct PixelShuffle : Stateless<PixelShuffle> {
  int64_t r;
  explicit PixelShuffle(int64_t r) : r(r) {}
  auto apply(const auto& x, Where at) const { return pixel_shuffle(x, r, at); }
  std::string about() const { return std::to_string(r); }
};
/// [N, C, H r, W r] -> [N, C r r, H, W].
struct PixelUnshuffle : Stateless<PixelUnshuffle> {
  int64_t r;
  explicit PixelUnshuffle(int64_t r) : r(r) {}
  auto apply(const auto& x, Where at) const { return pixel_unshuffle(x, r, at); }
  std::string about() const { return std::to_string(r); }
};

using gradus::PadMode;
/// Borders around the last dimensions, as pad() counts them: `before` and `after` an entry a dimension.
struct Pad : Stateless<Pad> {
  Shape before, after;
  PadMode mode;
  double value;
  Pad(const Shape& before, const Shape& after, PadMode mode = PadMode::constant, double value = 0)
      : before(before), after(after), mode(mode), value(value) {}
  auto apply(const auto& x, Where at) const {
    if (mode == PadMode::constant) return pad(x, before, after, value, at);
    return pad(x, before, after, mode, at);
  }
};

/// Patches of p x p pixels as tokens of C features: [B, channels, H p, W p] -> [B, H W, C]. Dosovitskiy et al. 2020.
template <class T = float, class D = Cpu>
struct PatchEmbedding : Layer<PatchEmbedding<T, D>, T, D> {
  Linear<T, D> proj;
  int64_t p;
  PatchEmbedding(int64_t channels, int64_t p, int64_t C, bool bias = true, Where at = Where::current())
      : proj(channels * p * p, C, bias, at), p(p) {}
  template <class U, class E>
  explicit PatchEmbedding(const PatchEmbedding<U, E>& o, Where at = Where::current()) : proj(o.proj, at), p(o.p) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return proj.forward(patchify(x, p, p, PatchOrder::channels_first, at), at);
  }
  void visit(auto&& f) { f("proj", proj); }
};

/// Hu, Shen, Sun 2018: x times sigmoid(W2 relu(W1 mean of x over space)), a factor a channel of x [N, C, in...].
template <class T = float, class D = Cpu>
struct SqueezeExcitation : Layer<SqueezeExcitation<T, D>, T, D> {
  Linear<T, D> squeeze, excite;
  explicit SqueezeExcitation(int64_t C, int64_t reduction = 16, bool bias = true, Where at = Where::current())
      : squeeze(C, C / reduction > 0 ? C / reduction : 1, bias, at),
        excite(C / reduction > 0 ? C / reduction : 1, C, bias, at) {}
  template <class U, class E>
  explicit SqueezeExcitation(const SqueezeExcitation<U, E>& o, Where at = Where::current())
      : squeeze(o.squeeze, at), excite(o.excite, at) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    const auto pooled = mean(gradus::flatten(x, 2, -1, at), {-1}, false, at);
    Shape per_channel{x.size(0), x.size(1)};
    for (int i = 2; i < x.rank(); ++i) per_channel.push_back(1);
    const auto factor = sigmoid(excite.forward(relu(squeeze.forward(pooled, at), at), at), at);
    return mul(x, gradus::reshape(factor, per_channel, at), at);
  }
  void visit(auto&& f) { f("squeeze", squeeze), f("excite", excite); }
};

/// The residual block of a U-Net for diffusion, Ho, Jain, Abbeel 2020, appendix B:
/// skip(x) + conv2(dropout(silu(norm2(conv1(silu(norm1(x))) + time(silu(t)))))); x [B, in, H, W], t [B, time] -> [B, out, H,
/// W].
template <class T = float, class D = Cpu>
struct UNetBlock {
  using value_type = T;
  using device_type = D;
  GroupNorm<T, D> norm1, norm2;
  Conv2d<T, D> conv1, conv2;
  std::vector<Linear<T, D>> time;  // none or one
  std::vector<Conv2d<T, D>> skip;  // 1 x 1, where the channels change
  double p;
  bool training = true;

  /// The second convolution starts at 0: the block starts as its skip.
  UNetBlock(int64_t in, int64_t out, int64_t time_features = 0, double dropout = 0, int64_t groups = 32,
            Where at = Where::current())
      : norm1(fitting(groups, in), in, 1e-5, true, at),
        norm2(fitting(groups, out), out, 1e-5, true, at),
        conv1(in, out, 3, {.padding = 1}, true, at),
        conv2(out, out, 3, {.padding = 1}, true, at),
        p(dropout) {
    gradus::detail::check_probability("UNetBlock", dropout, at);
    if (time_features) time.emplace_back(time_features, out, true, at);
    if (in != out) skip.emplace_back(in, out, 1, ConvOptions{}, true, at);
    init::constant(conv2.weight, 0, at), init::constant(conv2.bias, 0, at);
  }
  template <class U, class E>
  explicit UNetBlock(const UNetBlock<U, E>& o, Where at = Where::current())
      : norm1(o.norm1, at), norm2(o.norm2, at), conv1(o.conv1, at), conv2(o.conv2, at), p(o.p), training(o.training) {
    for (const auto& x : o.time) time.emplace_back(x, at);
    for (const auto& x : o.skip) skip.emplace_back(x, at);
  }
  Tensor<T, D> forward(const Tensor<T, D>& x, const Tensor<T, D>& t = {}, Where at = Where::current()) const {
    if (t.defined() != !time.empty())
      fail("UNetBlock", "a time exactly when the block has time features", {{"x", describe(x)}},
           time.empty() ? "no t" : "t [B, time]", at);
    auto h = conv1.forward(silu(norm1.forward(x, at), at), at);
    if (t.defined()) h = add(h, unsqueeze(unsqueeze(time[0].forward(silu(t, at), at), -1, at), -1, at), at);
    h = conv2.forward(dropout(silu(norm2.forward(h, at), at), p, training, at), at);
    return add(skip.empty() ? x : skip[0].forward(x, at), h, at);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, const Tensor<T, D>& t = {}, Where at = Where::current()) const {
    return forward(x, t, at);
  }
  void visit(auto&& f) {
    f("norm1", norm1), f("conv1", conv1), f("time", time), f("norm2", norm2), f("conv2", conv2), f("skip", skip);
    f("training", training);
  }
  std::string about() const { return conv1.about(); }

 private:
  static int64_t fitting(int64_t groups, int64_t C) {  // the largest number of groups up to `groups` that divides C
    for (int64_t g = groups < C ? groups : C; g > 1; --g)
      if (C % g == 0) return g;
    return 1;
  }
};
/// Self-attention over the pixels of x [B, C, H, W], x + attention(norm(x)).
template <class T = float, class D = Cpu>
struct ImageAttention : Layer<ImageAttention<T, D>, T, D> {
  GroupNorm<T, D> norm;
  MultiHeadAttention<T, D> attention;
  ImageAttention(int64_t C, int64_t heads, int64_t groups = 1, Where at = Where::current())
      : norm(groups, C, 1e-5, true, at), attention(C, heads, {}, at) {}
  template <class U, class E>
  explicit ImageAttention(const ImageAttention<U, E>& o, Where at = Where::current())
      : norm(o.norm, at), attention(o.attention, at) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    const auto tokens = transpose(gradus::flatten(norm.forward(x, at), 2, -1, at), 1, 2, at);
    return add(x, gradus::reshape(transpose(attention.forward(tokens, {}, at), 1, 2, at), x.shape(), at), at);
  }
  void visit(auto&& f) { f("norm", norm), f("attention", attention); }
};
/// Half the extents by a convolution of stride 2; twice the extents by repeating pixels, then a convolution.
template <class T = float, class D = Cpu>
struct Downsample2d : Layer<Downsample2d<T, D>, T, D> {
  Conv2d<T, D> conv;
  explicit Downsample2d(int64_t C, Where at = Where::current()) : conv(C, C, 3, {.stride = 2, .padding = 1}, true, at) {}
  template <class U, class E>
  explicit Downsample2d(const Downsample2d<U, E>& o, Where at = Where::current()) : conv(o.conv, at) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const { return conv.forward(x, at); }
  void visit(auto&& f) { f("conv", conv); }
};
template <class T = float, class D = Cpu>
struct Upsample2d : Layer<Upsample2d<T, D>, T, D> {
  Conv2d<T, D> conv;
  explicit Upsample2d(int64_t C, Where at = Where::current()) : conv(C, C, 3, {.padding = 1}, true, at) {}
  template <class U, class E>
  explicit Upsample2d(const Upsample2d<U, E>& o, Where at = Where::current()) : conv(o.conv, at) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return conv.forward(interpolate(x, {.scale = 2, .mode = InterpolateMode::nearest}, at), at);
  }
  void visit(auto&& f) { f("conv", conv); }
};

}  // namespace gradus::nn
