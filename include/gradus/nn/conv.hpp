// Convolution layers; the formula is in kernels/conv.hpp.
//
//   nn::Conv2d<> conv(16, 32, 3, {.padding = 1});        // 16 -> 32 channels, 3 x 3, the extents stay
//
// ConvTranspose is the gradient of a convolution, used forwards. DepthwiseSeparable is a convolution of each channel alone,
// then a product over channels (Chollet 2016; Howard et al. 2017).
#pragma once
#include <gradus/nn/call.hpp>
#include <gradus/nn/init.hpp>
#include <gradus/ops/conv.hpp>
#include <gradus/ops/unfold.hpp>

namespace gradus::nn {

template <int Rank, class T = float, class D = Cpu>
struct Conv {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> weight, bias;  // [out, in / groups, kernel...], [out] or undefined
  ConvOptions options;

  Conv(int64_t in, int64_t out, PerAxis kernel, ConvOptions o = {}, bool with_bias = true, Where at = Where::current())
      : options(o) {
    bool fits = in >= 1 && out >= 1 && o.groups >= 1 && in % o.groups == 0 && out % o.groups == 0 &&
                (kernel.list.n == 1 || kernel.list.n == Rank);
    for (const int64_t k : kernel.list) fits = fits && k >= 1;
    if (!fits)
      fail(module_type(), "no such convolution",
           {{"in", std::to_string(in)},
            {"out", std::to_string(out)},
            {"kernel", kernel.list.str()},
            {"groups", std::to_string(o.groups)}},
           "channels >= 1 that are multiples of groups, and 1 or " + std::to_string(Rank) + " kernel extents >= 1", at);
    Shape shape{out, in / o.groups};
    for (int i = 0; i < Rank; ++i) shape.push_back(kernel.get(i, 1));
    const double fan_in = init::fans(shape, at).in;
    weight = init::fan_in_uniform<T, D>(shape, fan_in, at);
    if (with_bias) bias = init::fan_in_uniform<T, D>({out}, fan_in, at);
  }
  template <class U, class E>
  explicit Conv(const Conv<Rank, U, E>& o, Where at = Where::current())
      : weight(converted<T, D>(o.weight, at)), bias(converted<T, D>(o.bias, at)), options(o.options) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if constexpr (Rank == 1) return conv1d(x, weight, bias, options, at);
    else if constexpr (Rank == 2) return conv2d(x, weight, bias, options, at);
    else return conv3d(x, weight, bias, options, at);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(auto&& f) { f("weight", weight), f("bias", bias); }
  std::string module_type() const { return "Conv" + std::to_string(Rank) + "d"; }
  std::string about() const {
    std::string kernel;
    for (int i = 2; i < weight.rank(); ++i) kernel += (i > 2 ? "x" : "") + std::to_string(weight.shape()[i]);
    return std::to_string(weight.size(1) * options.groups) + " -> " + std::to_string(weight.size(0)) + ", " + kernel;
  }
};
template <class T = float, class D = Cpu>
struct Conv1d : Conv<1, T, D> {
  Conv1d(int64_t in, int64_t out, PerAxis kernel, ConvOptions o = {}, bool with_bias = true, Where at = Where::current())
      : Conv<1, T, D>(in, out, kernel, o, with_bias, at) {}
  template <class U, class E>
  explicit Conv1d(const Conv1d<U, E>& o, Where at = Where::current()) : Conv<1, T, D>(o, at) {}
};
template <class T = float, class D = Cpu>
struct Conv2d : Conv<2, T, D> {
  Conv2d(int64_t in, int64_t out, PerAxis kernel, ConvOptions o = {}, bool with_bias = true, Where at = Where::current())
      : Conv<2, T, D>(in, out, kernel, o, with_bias, at) {}
  template <class U, class E>
  explicit Conv2d(const Conv2d<U, E>& o, Where at = Where::current()) : Conv<2, T, D>(o, at) {}
};
template <class T = float, class D = Cpu>
struct Conv3d : Conv<3, T, D> {
  Conv3d(int64_t in, int64_t out, PerAxis kernel, ConvOptions o = {}, bool with_bias = true, Where at = Where::current())
      : Conv<3, T, D>(in, out, kernel, o, with_bias, at) {}
  template <class U, class E>
  explicit Conv3d(const Conv3d<U, E>& o, Where at = Where::current()) : Conv<3, T, D>(o, at) {}
};

template <int Rank, class T = float, class D = Cpu>
struct ConvTranspose {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> weight, bias;  // [in, out / groups, kernel...], [out] or undefined
  ConvTransposeOptions options;

  /// Starts uniform in +-1 / sqrt(fan), fan = (out / groups) times the kernel's size, as PyTorch does.
  ConvTranspose(int64_t in, int64_t out, PerAxis kernel, ConvTransposeOptions o = {}, bool with_bias = true,
                Where at = Where::current())
      : options(o) {
    bool fits = in >= 1 && out >= 1 && o.groups >= 1 && in % o.groups == 0 && out % o.groups == 0 &&
                (kernel.list.n == 1 || kernel.list.n == Rank);
    for (const int64_t k : kernel.list) fits = fits && k >= 1;
    if (!fits)
      fail(module_type(), "no such convolution",
           {{"in", std::to_string(in)},
            {"out", std::to_string(out)},
            {"kernel", kernel.list.str()},
            {"groups", std::to_string(o.groups)}},
           "channels >= 1 that are multiples of groups, and 1 or " + std::to_string(Rank) + " kernel extents >= 1", at);
    Shape shape{in, out / o.groups};
    for (int i = 0; i < Rank; ++i) shape.push_back(kernel.get(i, 1));
    const double fan = init::fans(shape, at).in;
    weight = init::fan_in_uniform<T, D>(shape, fan, at);
    if (with_bias) bias = init::fan_in_uniform<T, D>({out}, fan, at);
  }
  template <class U, class E>
  explicit ConvTranspose(const ConvTranspose<Rank, U, E>& o, Where at = Where::current())
      : weight(converted<T, D>(o.weight, at)), bias(converted<T, D>(o.bias, at)), options(o.options) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if constexpr (Rank == 1) return conv_transpose1d(x, weight, bias, options, at);
    else if constexpr (Rank == 2) return conv_transpose2d(x, weight, bias, options, at);
    else return conv_transpose3d(x, weight, bias, options, at);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(auto&& f) { f("weight", weight), f("bias", bias); }
  std::string module_type() const { return "ConvTranspose" + std::to_string(Rank) + "d"; }
  std::string about() const {
    std::string kernel;
    for (int i = 2; i < weight.rank(); ++i) kernel += (i > 2 ? "x" : "") + std::to_string(weight.shape()[i]);
    return std::to_string(weight.size(0)) + " -> " + std::to_string(weight.size(1) * options.groups) + ", " + kernel;
  }
};
template <class T = float, class D = Cpu>
struct ConvTranspose1d : ConvTranspose<1, T, D> {
  ConvTranspose1d(int64_t in, int64_t out, PerAxis kernel, ConvTransposeOptions o = {}, bool with_bias = true,
                  Where at = Where::current())
      : ConvTranspose<1, T, D>(in, out, kernel, o, with_bias, at) {}
  template <class U, class E>
  explicit ConvTranspose1d(const ConvTranspose1d<U, E>& o, Where at = Where::current()) : ConvTranspose<1, T, D>(o, at) {}
};
template <class T = float, class D = Cpu>
struct ConvTranspose2d : ConvTranspose<2, T, D> {
  ConvTranspose2d(int64_t in, int64_t out, PerAxis kernel, ConvTransposeOptions o = {}, bool with_bias = true,
                  Where at = Where::current())
      : ConvTranspose<2, T, D>(in, out, kernel, o, with_bias, at) {}
  template <class U, class E>
  explicit ConvTranspose2d(const ConvTranspose2d<U, E>& o, Where at = Where::current()) : ConvTranspose<2, T, D>(o, at) {}
};
template <class T = float, class D = Cpu>
struct ConvTranspose3d : ConvTranspose<3, T, D> {
  ConvTranspose3d(int64_t in, int64_t out, PerAxis kernel, ConvTransposeOptions o = {}, bool with_bias = true,
                  Where at = Where::current())
      : ConvTranspose<3, T, D>(in, out, kernel, o, with_bias, at) {}
  template <class U, class E>
  explicit ConvTranspose3d(const ConvTranspose3d<U, E>& o, Where at = Where::current()) : ConvTranspose<3, T, D>(o, at) {}
};

/// pointwise(depthwise(x)): kernel-sized filters of each channel alone, then 1 x 1 over channels. [N, in, H, W] -> [N, out, H,
/// W].
template <class T = float, class D = Cpu>
struct DepthwiseSeparable : Layer<DepthwiseSeparable<T, D>, T, D> {
  Conv2d<T, D> depthwise, pointwise;
  DepthwiseSeparable(int64_t in, int64_t out, PerAxis kernel, ConvOptions o = {}, bool with_bias = true,
                     Where at = Where::current())
      : depthwise(in, in, kernel, grouped(o, in), with_bias, at), pointwise(in, out, 1, {}, with_bias, at) {}
  template <class U, class E>
  explicit DepthwiseSeparable(const DepthwiseSeparable<U, E>& o, Where at = Where::current())
      : depthwise(o.depthwise, at), pointwise(o.pointwise, at) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return pointwise.forward(depthwise.forward(x, at), at);
  }
  void visit(auto&& f) { f("depthwise", depthwise), f("pointwise", pointwise); }

 private:
  static ConvOptions grouped(ConvOptions o, int64_t in) {
    o.groups = in;
    return o;
  }
};

/// Windows as columns: [N, C, in...] -> [N, C R, L], R = the kernel's size, L windows.
struct Unfold : Stateless<Unfold> {
  PerAxis kernel;
  UnfoldOptions options;
  explicit Unfold(PerAxis kernel, UnfoldOptions o = {}) : kernel(kernel), options(o) {}
  auto apply(const auto& x, Where at) const { return unfold(x, kernel, options, at); }
  std::string about() const { return kernel.list.str(); }
};
/// Columns added back into an image of extents `size`: [N, C R, L] -> [N, C, size...].
struct Fold : Stateless<Fold> {
  Shape size;
  PerAxis kernel;
  UnfoldOptions options;
  Fold(const Shape& size, PerAxis kernel, UnfoldOptions o = {}) : size(size), kernel(kernel), options(o) {}
  auto apply(const auto& x, Where at) const { return fold(x, size, kernel, options, at); }
  std::string about() const { return kernel.list.str() + " -> " + size.str(); }
};

}  // namespace gradus::nn
