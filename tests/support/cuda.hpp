// What the tests of tests/cuda share: an op on the device against the same op on the host.
#pragma once
#include <functional>

#include <gradus/core/kernel_choice.hpp>
#include <gradus/ops/view.hpp>

#include "support/check.hpp"

namespace check {

using gradus::Cpu;
using gradus::Cuda;

/// Same shape, same values bit for bit (NaN equals NaN): masks, integers, values that are moved.
template <class T> std::string unequal(const Tensor<T, Cuda>& actual, const Tensor<T, Cpu>& expected) {
  return difference(actual.template to<Cpu>(), expected, 0.0, 0.0);
}
/// Same shape, values within atol + rtol |expected|.
template <class T>
std::string distant(const Tensor<T, Cuda>& actual, const Tensor<T, Cpu>& expected, double rtol, double atol) {
  return difference(actual.template to<Cpu>(), expected, rtol, atol);
}

namespace detail {
template <class D>
Tensor<double, D> cotangent(const Shape& shape, uint64_t seed) {
  return uniform(shape, 0.5, 1.5, seed).to<D>();
}

/// y, its gradients for a fixed cotangent, and the gradients of those for further ones; undefined where there is no dependence.
template <class D> using Function = std::function<Tensor<double, D>(const std::vector<Tensor<double, D>>&)>;
template <class D> List everything(const Function<D>& f, const List& inputs, bool second) {
  std::vector<Tensor<double, D>> x;
  for (const auto& t : inputs) x.push_back(t.to<D>().detach().requires_grad_());
  const Tensor<double, D> y = f(x);
  List all{y.detach().template to<Cpu>()};
  const auto keep = [&](const std::vector<Tensor<double, D>>& g) {
    for (const auto& t : g) all.push_back(t.defined() ? t.detach().template to<Cpu>() : Double());
  };
  auto c = cotangent<D>(y.shape(), 101);
  c.requires_grad_();
  const auto dx =
      gradus::grad(std::vector<Tensor<double, D>>{y}, x, {.gradients = {c}, .create_graph = second, .allow_unused = true});
  keep(dx);
  if (!second) return all;
  std::vector<Tensor<double, D>> roots;
  std::vector<gradus::AnyTensor> weights;
  for (std::size_t i = 0; i < dx.size(); ++i)
    if (dx[i].defined() && dx[i].requires_grad() &&
        std::none_of(roots.begin(), roots.end(), [&](const auto& r) { return r.is_same(dx[i]); })) {   // a + b: both are dy
      roots.push_back(dx[i]);
      weights.push_back(cotangent<D>(dx[i].shape(), 102 + i));
    }
  x.push_back(c);
  if (!roots.empty()) keep(gradus::grad(roots, x, {.gradients = weights, .allow_unused = true}));
  return all;
}
}  // namespace detail

struct BothOptions {
  double rtol = 1e-11, atol = 1e-11;   ///< float64 on both; the order of sums differs
  bool second = true;
};
namespace detail {
inline std::string compare(const Function<Cpu>& on_host, const Function<Cuda>& on_device, const List& x, const BothOptions& o) {
  const List host = everything<Cpu>(on_host, x, o.second), device = everything<Cuda>(on_device, x, o.second);
  if (host.size() != device.size()) return std::to_string(device.size()) + " results, expected " + std::to_string(host.size());
  for (std::size_t i = 0; i < host.size(); ++i) {
    const std::string which = i == 0          ? "value"
                              : i <= x.size() ? "gradient " + std::to_string(i - 1)
                                              : "second gradient " + std::to_string(i - 1 - x.size());
    if (host[i].defined() != device[i].defined())
      return which + " is " + (host[i].defined() ? "missing on the device" : "there on the device only");
    if (!host[i].defined()) continue;
    if (const std::string d = difference(device[i], host[i], o.rtol, o.atol); !d.empty()) return which + ": " + d;
  }
  return "";
}
}  // namespace detail

/// The first difference between f on Cuda and f on Cpu, in float64: values, gradients, gradients of gradients. f takes a vector
/// of tensors and has to be generic. Empty when there is none.
template <class F> std::string on_both(F f, const List& x, const BothOptions& o = {}) { return detail::compare(f, f, x, o); }

}  // namespace check
