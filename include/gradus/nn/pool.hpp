// Pooling layers; the formulas are in kernels/pool.hpp. Windows lie side by side unless options.stride says otherwise.
#pragma once
#include <gradus/nn/call.hpp>
#include <gradus/ops/pool.hpp>

namespace gradus::nn {

/// The largest element of each window of x [N, C, L].
struct MaxPool1d : Stateless<MaxPool1d> {
  PerAxis kernel;
  MaxPoolOptions options;
  explicit MaxPool1d(PerAxis kernel, MaxPoolOptions o = {}) : kernel(kernel), options(o) {}
  auto apply(const auto& x, Where at) const { return max_pool1d(x, kernel, options, at); }
  std::string about() const { return kernel.list.str(); }
};
/// The largest element of each window of x [N, C, H, W].
struct MaxPool2d : Stateless<MaxPool2d> {
  PerAxis kernel;
  MaxPoolOptions options;
  explicit MaxPool2d(PerAxis kernel, MaxPoolOptions o = {}) : kernel(kernel), options(o) {}
  auto apply(const auto& x, Where at) const { return max_pool2d(x, kernel, options, at); }
  std::string about() const { return kernel.list.str(); }
};
/// The largest element of each window of x [N, C, D, H, W].
struct MaxPool3d : Stateless<MaxPool3d> {
  PerAxis kernel;
  MaxPoolOptions options;
  explicit MaxPool3d(PerAxis kernel, MaxPoolOptions o = {}) : kernel(kernel), options(o) {}
  auto apply(const auto& x, Where at) const { return max_pool3d(x, kernel, options, at); }
  std::string about() const { return kernel.list.str(); }
};
/// The mean of each window.
struct AvgPool1d : Stateless<AvgPool1d> {
  PerAxis kernel;
  AvgPoolOptions options;
  explicit AvgPool1d(PerAxis kernel, AvgPoolOptions o = {}) : kernel(kernel), options(o) {}
  auto apply(const auto& x, Where at) const { return avg_pool1d(x, kernel, options, at); }
  std::string about() const { return kernel.list.str(); }
};
/// The mean of each window.
struct AvgPool2d : Stateless<AvgPool2d> {
  PerAxis kernel;
  AvgPoolOptions options;
  explicit AvgPool2d(PerAxis kernel, AvgPoolOptions o = {}) : kernel(kernel), options(o) {}
  auto apply(const auto& x, Where at) const { return avg_pool2d(x, kernel, options, at); }
  std::string about() const { return kernel.list.str(); }
};
/// The mean of each window.
struct AvgPool3d : Stateless<AvgPool3d> {
  PerAxis kernel;
  AvgPoolOptions options;
  explicit AvgPool3d(PerAxis kernel, AvgPoolOptions o = {}) : kernel(kernel), options(o) {}
  auto apply(const auto& x, Where at) const { return avg_pool3d(x, kernel, options, at); }
  std::string about() const { return kernel.list.str(); }
};
/// (sum |x|^p)^{1/p} of each window.
struct LpPool1d : Stateless<LpPool1d> {
  double p;
  PerAxis kernel;
  LpPoolOptions options;
  LpPool1d(double p, PerAxis kernel, LpPoolOptions o = {}) : p(p), kernel(kernel), options(o) {}
  auto apply(const auto& x, Where at) const { return lp_pool1d(x, p, kernel, options, at); }
  std::string about() const { return "p = " + detail::number(p) + ", " + kernel.list.str(); }
};
/// (sum |x|^p)^{1/p} of each window.
struct LpPool2d : Stateless<LpPool2d> {
  double p;
  PerAxis kernel;
  LpPoolOptions options;
  LpPool2d(double p, PerAxis kernel, LpPoolOptions o = {}) : p(p), kernel(kernel), options(o) {}
  auto apply(const auto& x, Where at) const { return lp_pool2d(x, p, kernel, options, at); }
  std::string about() const { return "p = " + detail::number(p) + ", " + kernel.list.str(); }
};
/// (sum |x|^p)^{1/p} of each window.
struct LpPool3d : Stateless<LpPool3d> {
  double p;
  PerAxis kernel;
  LpPoolOptions options;
  LpPool3d(double p, PerAxis kernel, LpPoolOptions o = {}) : p(p), kernel(kernel), options(o) {}
  auto apply(const auto& x, Where at) const { return lp_pool3d(x, p, kernel, options, at); }
  std::string about() const { return "p = " + detail::number(p) + ", " + kernel.list.str(); }
};
/// The mean of windows chosen so that the output has the extents `size`.
struct AdaptiveAvgPool1d : Stateless<AdaptiveAvgPool1d> {
  PerAxis size;
  explicit AdaptiveAvgPool1d(PerAxis size) : size(size) {}
  auto apply(const auto& x, Where at) const { return adaptive_avg_pool1d(x, size, at); }
  std::string about() const { return size.list.str(); }
};
/// The mean of windows chosen so that the output has the extents `size`.
struct AdaptiveAvgPool2d : Stateless<AdaptiveAvgPool2d> {
  PerAxis size;
  explicit AdaptiveAvgPool2d(PerAxis size) : size(size) {}
  auto apply(const auto& x, Where at) const { return adaptive_avg_pool2d(x, size, at); }
  std::string about() const { return size.list.str(); }
};
/// The mean of windows chosen so that the output has the extents `size`.
struct AdaptiveAvgPool3d : Stateless<AdaptiveAvgPool3d> {
  PerAxis size;
  explicit AdaptiveAvgPool3d(PerAxis size) : size(size) {}
  auto apply(const auto& x, Where at) const { return adaptive_avg_pool3d(x, size, at); }
  std::string about() const { return size.list.str(); }
};
/// The largest element of windows chosen so that the output has the extents `size`.
struct AdaptiveMaxPool1d : Stateless<AdaptiveMaxPool1d> {
  PerAxis size;
  explicit AdaptiveMaxPool1d(PerAxis size) : size(size) {}
  auto apply(const auto& x, Where at) const { return adaptive_max_pool1d(x, size, at); }
  std::string about() const { return size.list.str(); }
};
/// The largest element of windows chosen so that the output has the extents `size`.
struct AdaptiveMaxPool2d : Stateless<AdaptiveMaxPool2d> {
  PerAxis size;
  explicit AdaptiveMaxPool2d(PerAxis size) : size(size) {}
  auto apply(const auto& x, Where at) const { return adaptive_max_pool2d(x, size, at); }
  std::string about() const { return size.list.str(); }
};
/// The largest element of windows chosen so that the output has the extents `size`.
struct AdaptiveMaxPool3d : Stateless<AdaptiveMaxPool3d> {
  PerAxis size;
  explicit AdaptiveMaxPool3d(PerAxis size) : size(size) {}
  auto apply(const auto& x, Where at) const { return adaptive_max_pool3d(x, size, at); }
  std::string about() const { return size.list.str(); }
};
/// The mean over all space: [N, C, in...] -> [N, C]. Lin, Chen, Yan 2013.
struct GlobalAvgPool : Stateless<GlobalAvgPool> {
  static auto apply(const auto& x, Where at) { return mean(flatten(x, 2, -1, at), {-1}, false, at); }
};
/// The largest element over all space: [N, C, in...] -> [N, C].
struct GlobalMaxPool : Stateless<GlobalMaxPool> {
  static auto apply(const auto& x, Where at) { return amax(flatten(x, 2, -1, at), {-1}, false, at); }
};

}  // namespace gradus::nn
