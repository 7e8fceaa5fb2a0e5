// All parameters of a module as one vector, and back: distances, lines and planes in the space of weights.
//
//   const auto a = nn::parameter_vector(net_a), b = nn::parameter_vector(net_b);  // [P]
//   nn::set_parameter_vector(net, lerp(a, b, 0.5));                               // half way between two networks
//
// The order is that of parameters(net); shared tensors count once. Buffers, as running means, are no part of it.
#pragma once
#include <gradus/nn/module.hpp>
#include <gradus/ops/view.hpp>

namespace gradus::nn {

/// [P], a copy without a graph; P = parameter_count(net).
template <Module M>
tensor_of<M> parameter_vector(M& net, Where at = Where::current()) {
  const NoGrad guard;
  std::vector<tensor_of<M>> parts;
  for (const auto& p : parameters(net, at)) parts.push_back(gradus::reshape(p.detach(), {-1}, at));
  if (parts.empty()) fail("parameter_vector", "no parameters", {}, "a module with at least one", at);
  return cat(parts, 0, at);
}
/// Writes v [P] into the parameters.
template <Module M>
void set_parameter_vector(M& net, const tensor_of<M>& v, Where at = Where::current()) {
  const NoGrad guard;
  const int64_t P = parameter_count(net);
  if (!(v.shape() == Shape{P}))
    fail("set_parameter_vector", "the vector does not fit the module", {{"v", describe(v)}},
         "shape [" + std::to_string(P) + "]", at);
  int64_t begin = 0;
  for (auto& p : parameters(net, at)) {
    p.copy_(gradus::reshape(narrow(v.detach(), 0, begin, p.numel(), 1, at), p.shape(), at), at);
    begin += p.numel();
  }
}

}  // namespace gradus::nn
