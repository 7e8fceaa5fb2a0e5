// Derivatives of functions of tensors: vjp, jvp, hvp, jacobian, hessian, and checkpoint.
//
// f takes and returns one Tensor<T, D>. Results carry a history when create_graph is set.
#pragma once
#include <optional>

#include <gradus/autograd/engine.hpp>
#include <gradus/core/random.hpp>
#include <gradus/ops/shape.hpp>
#include <gradus/ops/create.hpp>
#include <gradus/ops/mask_tape.hpp>

namespace gradus {

namespace detail {
template <class T, class D> Tensor<T, D> fresh_leaf(const Tensor<T, D>& x) {
  Tensor<T, D> leaf = x.detach();
  leaf.requires_grad_();
  return leaf;
}
}  // namespace detail

/// v^T J: the gradient of <v, f(x)>.
template <class F, class T, class D> Tensor<T, D> vjp(F&& f, const Tensor<T, D>& x, const Tensor<T, D>& v, Where at = Where::current()) {
  const GradMode on(true);
  const auto leaf = detail::fresh_leaf(x);
  return grad(f(leaf), leaf, {.gradients = {v}}, at);
}
/// J v: the derivative of f along v, in forward mode's sense and by reverse mode's means: u -> J^T u is linear, and the gradient of
/// <J^T u, v> with respect to u is J v. Exact, no differences. One f with recording, one recorded backward, one backward of that:
/// the time of about two gradients whatever the number of inputs, and the memory of f's graph. So there is one set of rules
/// an operator, and whatever has second derivatives has this; tests/recorded and tests/ops/table_test.cpp hold every operator to it.
template <class F, class T, class D> Tensor<T, D> jvp(F&& f, const Tensor<T, D>& x, const Tensor<T, D>& v, Where at = Where::current()) {
  const GradMode on(true);
  const auto leaf = detail::fresh_leaf(x);
  const auto y = f(leaf);
  auto u = zeros_like(y, at);
  u.requires_grad_();
  const auto g = grad(y, leaf, {.gradients = {u}, .create_graph = true}, at);
  if (!g.requires_grad()) return zeros_like(y, at);
  return grad(std::vector<Tensor<T, D>>{g}, std::vector<Tensor<T, D>>{u}, {.gradients = {v}}, at)[0];
}
/// H v for a scalar f.
template <class F, class T, class D> Tensor<T, D> hvp(F&& f, const Tensor<T, D>& x, const Tensor<T, D>& v, Where at = Where::current()) {
  const GradMode on(true);
  const auto leaf = detail::fresh_leaf(x);
  const auto g = grad(f(leaf), leaf, {.create_graph = true}, at);
  if (!g.requires_grad()) return zeros_like(x, at);
  const auto h = grad(std::vector<Tensor<T, D>>{g}, std::vector<Tensor<T, D>>{leaf}, {.gradients = {v}, .allow_unused = true}, at)[0];
  return h.defined() ? h : zeros_like(x, at);
}
/// df_i/dx_j: shape of f(x), then shape of x. One backward a row.
template <class F, class T, class D> Tensor<T, D> jacobian(F&& f, const Tensor<T, D>& x, Where at = Where::current()) {
  const GradMode on(true);
  const auto leaf = detail::fresh_leaf(x);
  const auto y = f(leaf);
  std::vector<Tensor<T, D>> rows;
  for (int64_t i = 0; i < y.numel(); ++i) {
    auto v = zeros_like(y, at);
    kernels::fill<T>(D{}, v.data() + i, T(1), kernels::Loop<1>::flat(1));
    rows.push_back(gradus::reshape(grad(y, leaf, {.gradients = {v}, .retain_graph = true}, at), {x.numel()}, at));
  }
  Shape shape = y.shape();
  for (int64_t e : x.shape()) shape.push_back(e);
  if (rows.empty()) return zeros<T, D>(shape, at);
  return gradus::reshape(stack(rows, 0, at), shape, at);
}
/// d^2 f/dx_i dx_j of a scalar f: shape of x twice.
template <class F, class T, class D> Tensor<T, D> hessian(F&& f, const Tensor<T, D>& x, Where at = Where::current()) {
  std::vector<Tensor<T, D>> rows;
  for (int64_t i = 0; i < x.numel(); ++i) {
    auto v = zeros_like(x, at);
    kernels::fill<T>(D{}, v.data() + i, T(1), kernels::Loop<1>::flat(1));
    rows.push_back(gradus::reshape(hvp(f, x, v, at), {x.numel()}, at));
  }
  Shape shape = x.shape();
  for (int64_t e : x.shape()) shape.push_back(e);
  return gradus::reshape(stack(rows, 0, at), shape, at);
}

/// Runs f again in backward instead of keeping what it saved; random numbers are replayed.
template <class F, class T, class D> struct CheckpointNode final : Node {
  std::function<Tensor<T, D>(const Tensor<T, D>&)> f;
  Saved<T, D> x{this, "x"};
  Generator random;
  std::optional<detail::MaskTape> masks;         // those that use_dropout_mask gave to the first run
  void backward(const AnyTensor& g) override {
    const bool record = grad_enabled();
    const GradMode on(true);
    const Tensor<T, D> v = x.get(), leaf = record ? v : detail::fresh_leaf(v);
    const auto y = again(leaf);
    if (record) {
      accumulate(0, grad(y, leaf, {.gradients = {g}, .create_graph = true}, at));
      return;
    }
    y.backward(BackwardOptions{.gradient = g}, at);       // parameters inside f get their gradients here
    const NoGrad off;
    if (leaf.grad().defined()) accumulate(0, leaf.grad());
  }

 private:
  Tensor<T, D> again(const Tensor<T, D>& leaf) const {
    std::optional<detail::MaskTape> tape = masks;
    const detail::MaskTapeScope scope(tape ? &*tape : nullptr);
    const Generator now = std::exchange(generator(), random);
    const auto y = f(leaf);
    generator() = now;
    return y;
  }
};
/// f(x) without keeping what f's backward needs: f runs twice, memory is that of x and y. Parameters that f uses get their
/// gradients from backward(); x must require gradients.
template <class F, class T, class D> Tensor<T, D> checkpoint(F f, const Tensor<T, D>& x, Where at = Where::current()) {
  if (!detail::wants_grad(x)) {
    if (grad_enabled()) fail("checkpoint", "the input does not require gradients", {{"x", describe(x)}}, "an input with a history, or requires_grad_()", at);
    return f(x);
  }
  const Generator random = generator();
  std::optional<detail::MaskTape> masks;
  if (detail::mask_tape && detail::mask_tape->replay) masks = *detail::mask_tape;
  const auto y = no_grad([&] { return clone(f(x.detach()), at); });
  auto& node = detail::record<CheckpointNode<F, T, D>>(y, at, x);
  node.f = f, node.x = x, node.random = random, node.masks = std::move(masks);
  return y;
}

}  // namespace gradus
