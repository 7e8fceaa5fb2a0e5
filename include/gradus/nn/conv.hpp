// Convolution layers; the formula is in kernels/conv.hpp.
//
//   nn::Conv2d<> conv(16, 32, 3, {.padding = 1});        // 16 -> 32 channels, 3 x 3, the extents stay
#pragma once
#include <gradus/nn/init.hpp>
#include <gradus/nn/module.hpp>
#include <gradus/ops/conv.hpp>

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
};
template <class T = float, class D = Cpu>
struct Conv2d : Conv<2, T, D> {
  Conv2d(int64_t in, int64_t out, PerAxis kernel, ConvOptions o = {}, bool with_bias = true, Where at = Where::current())
      : Conv<2, T, D>(in, out, kernel, o, with_bias, at) {}
};
template <class T = float, class D = Cpu>
struct Conv3d : Conv<3, T, D> {
  Conv3d(int64_t in, int64_t out, PerAxis kernel, ConvOptions o = {}, bool with_bias = true, Where at = Where::current())
      : Conv<3, T, D>(in, out, kernel, o, with_bias, at) {}
};

}  // namespace gradus::nn
