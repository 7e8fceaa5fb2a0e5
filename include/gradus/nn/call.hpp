// What saves layers from repeating themselves: bases that add net(x) to a forward(x).
#pragma once
#include <gradus/nn/module.hpp>

namespace gradus::nn {

/// A layer without parameters whose Self::apply(x, at) works for any dtype and device.
template <class Self>
struct Stateless {
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return static_cast<const Self&>(*this).apply(x, at);
  }
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const {
    return forward(x, at);
  }
  void visit(auto&&) {}
};

/// A layer with parameters of T on D: names its types and adds net(x).
template <class Self, class T, class D>
struct Layer {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const {
    return static_cast<const Self&>(*this).forward(x, at);
  }
};

namespace detail {
/// "0.1" for error texts and descriptions.
inline std::string number(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", v);
  return text;
}
/// A leaf that is trained.
template <class T, class D>
Tensor<T, D> parameter(Tensor<T, D> x) {
  x.requires_grad_();
  return x;
}
}  // namespace detail

}  // namespace gradus::nn
