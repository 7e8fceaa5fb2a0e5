// Pooling layers; the formulas are in kernels/pool.hpp.
#pragma once
#include <gradus/nn/module.hpp>
#include <gradus/ops/pool.hpp>

namespace gradus::nn {

/// The largest element of each window; windows lie side by side unless options.stride says otherwise.
struct MaxPool2d {
  PerAxis kernel;
  MaxPoolOptions options;
  explicit MaxPool2d(PerAxis kernel, MaxPoolOptions o = {}) : kernel(kernel), options(o) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return max_pool2d(x, kernel, options, at);
  }
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const {
    return forward(x, at);
  }
  void visit(auto&&) {}
  std::string about() const { return kernel.list.str(); }
};
/// The mean of each window.
struct AvgPool2d {
  PerAxis kernel;
  AvgPoolOptions options;
  explicit AvgPool2d(PerAxis kernel, AvgPoolOptions o = {}) : kernel(kernel), options(o) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return avg_pool2d(x, kernel, options, at);
  }
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const {
    return forward(x, at);
  }
  void visit(auto&&) {}
  std::string about() const { return kernel.list.str(); }
};

}  // namespace gradus::nn
