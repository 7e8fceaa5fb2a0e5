// What is done to gradients between backward() and step(): clipping by value, by norm, by unit-wise norms (AGC), centring.
#pragma once
#include <cmath>
#include <vector>

#include <gradus/kernels/optim.hpp>
#include <gradus/nn/module.hpp>
#include <gradus/ops/reduce.hpp>

namespace gradus::optim {

/// sqrt of the sum of squares of all gradients; gradients are scaled down to max_norm if it is larger. Pascanu et al. 2013.
template <class T, class D>
double clip_grad_norm(const std::vector<Tensor<T, D>>& params, double max_norm, Where at = Where::current()) {
  if (!(max_norm > 0)) fail("clip_grad_norm", "not a norm", {{"max_norm", std::to_string(max_norm)}}, "a number > 0", at);
  const NoGrad guard;
  std::vector<Tensor<T, D>> grads;
  std::vector<kernels::ParamRef<T>> refs;
  for (const auto& p : params) {
    if (!p.impl()->grad) continue;
    if (!p.grad().is_contiguous()) p.set_grad(p.grad().contiguous(at));
    grads.push_back(p.grad());
    refs.push_back({nullptr, grads.back().data(), nullptr, nullptr, nullptr, p.numel()});
  }
  const double norm = std::sqrt(kernels::grad_square_sum<T>(D{}, refs.data(), static_cast<int64_t>(refs.size())));
  if (!std::isfinite(norm))
    fail("clip_grad_norm", "the norm of the gradients is not finite", {{"norm", std::to_string(norm)}},
         "finite gradients; a LossScaler leaves out steps that overflow", at);
  if (norm > max_norm)
    for (auto& g : grads) g *= ScalarArg(max_norm / norm, at);
  return norm;
}

/// Each entry of each gradient is clamped to [-limit, limit].
template <class T, class D>
void clip_grad_value(const std::vector<Tensor<T, D>>& params, double limit, Where at = Where::current()) {
  if (!(limit > 0)) fail("clip_grad_value", "not a limit", {{"limit", std::to_string(limit)}}, "a number > 0", at);
  const NoGrad guard;
  for (const auto& p : params)
    if (p.impl()->grad) p.set_grad(clamp(p.grad(), -limit, limit, at));
}

namespace detail {
/// Norms over all dimensions but the first ([out, ...] : one an output unit), kept for broadcasting; |x| for vectors.
template <class T, class D>
Tensor<T, D> unit_norm(const Tensor<T, D>& x, Where at) {
  if (x.rank() <= 1) return abs(x, at);
  Shape dims;
  for (int d = 1; d < x.rank(); ++d) dims.push_back(d);
  return sqrt(sum(square(x, at), dims, true, at), at);
}
}  // namespace detail

/// Adaptive gradient clipping, Brock et al. 2021 (NFNets), eq. 3: for each output unit i of a parameter W
///     G_i *= min(1, clip max(|W_i|, eps) / |G_i|)
template <class T, class D>
void clip_grad_adaptive(const std::vector<Tensor<T, D>>& params, double clip = 0.01, double eps = 1e-3,
                        Where at = Where::current()) {
  if (!(clip > 0) || !(eps > 0))
    fail("clip_grad_adaptive", "an option is out of range", {{"clip", std::to_string(clip)}, {"eps", std::to_string(eps)}},
         "numbers > 0", at);
  const NoGrad guard;
  for (const auto& p : params) {
    if (!p.impl()->grad) continue;
    const auto g = p.grad(), limit = mul(clamp(detail::unit_norm(p.detach(), at), eps, HUGE_VAL, at), clip, at);
    // |G| below the smallest number that 1 / x can take is below any limit: the factor is 1 there.
    const auto factor = clamp(div(limit, clamp(detail::unit_norm(g, at), 1e-6, HUGE_VAL, at), at), 0, 1, at);
    p.set_grad(mul(g, factor, at));
  }
}

/// Gradient centralisation, Yong et al. 2020, eq. 1: each output unit's gradient loses its mean. Vectors stay as they are.
template <class T, class D>
void centralize_gradients(const std::vector<Tensor<T, D>>& params, Where at = Where::current()) {
  const NoGrad guard;
  for (const auto& p : params) {
    if (!p.impl()->grad || p.rank() < 2) continue;
    Shape dims;
    for (int d = 1; d < p.rank(); ++d) dims.push_back(d);
    p.set_grad(sub(p.grad(), mean(p.grad(), dims, true, at), at));
  }
}

}  // namespace gradus::optim
