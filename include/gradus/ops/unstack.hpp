// The slices of a dimension, for loops over time: one node for all, whose backward stacks their gradients once (slices taken
// one by one would each send zeros of the whole shape).
#pragma once
#include <gradus/ops/create.hpp>
#include <gradus/ops/shape.hpp>

namespace gradus {

template <class T, class D>
struct UnstackNode final : Node {
  int dim = 0;
  int64_t count = 0;
  Shape part;
  void backward(const AnyTensor& g) override { backward_all({g}); }
  void backward_all(const std::vector<AnyTensor>& dys) override {
    std::vector<Tensor<T, D>> parts;
    for (int64_t i = 0; i < count; ++i) {
      const auto k = static_cast<std::size_t>(i);
      parts.push_back(k < dys.size() && dys[k].defined() ? Tensor<T, D>(dys[k].ref()) : zeros<T, D>(part, at));
    }
    accumulate(0, stack(parts, dim, at));
  }
};
/// The tensors at each position of `dim`, without it; contiguous copies. The inverse of stack.
template <class T, class D>
std::vector<Tensor<T, D>> unstack(const Tensor<T, D>& x, int dim = 0, Where at = Where::current()) {
  const int d = detail::normalize_dim("unstack", dim, x.rank(), x, at);
  std::vector<Tensor<T, D>> parts = no_grad([&] {
    std::vector<Tensor<T, D>> p;
    for (int64_t i = 0; i < x.shape()[d]; ++i) p.push_back(clone(select(x, d, i, at), at));
    return p;
  });
  if constexpr (is_floating<T>) {
    if (!parts.empty() && detail::wants_grad(x)) {
      auto& node = detail::record<UnstackNode<T, D>>(parts[0], at, x);
      node.dim = d, node.count = x.shape()[d], node.part = parts[0].shape();
      for (std::size_t i = 1; i < parts.size(); ++i) detail::add_output(node, parts[i], static_cast<uint32_t>(i));
    }
  }
  return parts;
}

}  // namespace gradus
