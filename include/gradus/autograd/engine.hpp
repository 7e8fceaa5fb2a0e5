// The backward pass.
//
// I1  Define-by-run: one named node struct an op, with named saved members; a backtrace says SoftmaxNode::backward.
// I2  Every backward is written with gradus ops. With create_graph they are recorded like any others, so every op has
//     second derivatives. An op is differentiable or says non_differentiable; nothing silently lacks a gradient.
// I3  Saved outputs are stored without their node and re-attached when read, so that a graph never owns itself.
// I4  The engine orders the nodes once and visits each once, in a loop with one call site on one thread: a single
//     breakpoint walks the graph, and depth costs no stack. Destruction is a loop too.
// I5  Randomness is counter-based: a mask is a function of (seed, stream, index) and is made again in backward.
// I6  Results on Cpu do not depend on the number of threads; on Cuda deterministic is the default.
// I7  No hidden copies, casts or synchronisation: each is a visible call.
#pragma once
#include <gradus/autograd/node.hpp>

namespace gradus {

struct BackwardOptions {
  AnyTensor gradient = {};     ///< dL/dy for the tensor that backward() is called on; 1 for a one-element tensor
  bool create_graph = false;   ///< record the backward, so that gradients can be differentiated again
  bool retain_graph = false;   ///< keep the saved values for another backward (create_graph implies it)
};
struct GradOptions {
  std::vector<AnyTensor> gradients = {};  ///< dL/dy, one for each output; 1 for one-element outputs
  bool create_graph = false;
  bool retain_graph = false;
  bool allow_unused = false;              ///< an input that the outputs do not depend on gets an undefined gradient, not an error
};

namespace detail {
/// One run over the graph from `roots`. Without `targets`, leaves get their grad(); with them, their gradients are returned.
std::vector<AnyTensor> run_backward(const std::vector<Edge>& roots, const std::vector<AnyTensor>& gradients,
                                    const std::vector<Edge>& targets, bool create_graph, bool retain_graph, Where at);
[[noreturn]] void fail_no_graph(const char* op, const AnyTensor& y, Where at);
[[noreturn]] void fail_not_scalar(const char* op, const AnyTensor& y, Where at);
[[noreturn]] void fail_unreached(std::size_t i, const AnyTensor& x, Where at);
void check_gradient(const char* op, const AnyTensor& y, const AnyTensor& gradient, Where at);

template <class T, class D> AnyTensor root_gradient(const char* op, const Tensor<T, D>& y, const AnyTensor& gradient, Where at) {
  if (!y.requires_grad()) fail_no_graph(op, y, at);
  if (gradient.defined()) {
    check_gradient(op, y, gradient, at);
    return gradient;
  }
  if (y.numel() != 1) fail_not_scalar(op, y, at);
  Tensor<T, D> one(y.shape(), at);
  one.fill_(1, at);
  return one;
}
}  // namespace detail

template <Element T, class D> void Tensor<T, D>::backward(const BackwardOptions& o, Where at) const {
  detail::run_backward({detail::edge_to(*this, at)}, {detail::root_gradient("backward", *this, o.gradient, at)}, {}, o.create_graph,
                       o.retain_graph || o.create_graph, at);
}
template <Element T, class D> void Tensor<T, D>::backward(Where at) const { backward(BackwardOptions{}, at); }
template <Element T, class D> void Tensor<T, D>::backward(const Tensor& gradient, Where at) const {
  backward(BackwardOptions{.gradient = gradient}, at);
}

/// dL/dx for each x of `inputs`, where L = sum of <gradients[i], outputs[i]>. Leaves grad() alone.
/// Throws when an output needs a gradient and has none given, or an input is not reached (unless allow_unused).
template <class T, class D>
std::vector<Tensor<T, D>> grad(const std::vector<Tensor<T, D>>& outputs, const std::vector<Tensor<T, D>>& inputs,
                               const GradOptions& o = {}, Where at = Where::current()) {
  std::vector<Edge> roots, targets;
  std::vector<AnyTensor> gradients;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    gradients.push_back(detail::root_gradient("grad", outputs[i], i < o.gradients.size() ? o.gradients[i] : AnyTensor(), at));
    roots.push_back(detail::edge_to(outputs[i], at));
  }
  for (const auto& x : inputs) targets.push_back(detail::edge_to(x, at));
  const auto found = detail::run_backward(roots, gradients, targets, o.create_graph, o.retain_graph || o.create_graph, at);
  std::vector<Tensor<T, D>> result;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!found[i].defined() && !o.allow_unused) detail::fail_unreached(i, inputs[i], at);
    result.push_back(found[i].as<T, D>());
  }
  return result;
}
/// The same for one output and one input.
template <class T, class D>
Tensor<T, D> grad(const Tensor<T, D>& y, const Tensor<T, D>& x, const GradOptions& o = {}, Where at = Where::current()) {
  return grad(std::vector<Tensor<T, D>>{y}, std::vector<Tensor<T, D>>{x}, o, at)[0];
}

/// Throws unless the loss depends on each of the parameters: names those that it does not reach, and tells one that nothing
/// uses from one that is used where no gradient passes (detach(), NoGrad, an operator without a gradient).
void check_reached(const AnyTensor& loss, const std::vector<AnyTensor>& parameters, Where at = Where::current());
template <class T, class D>
void check_reached(const Tensor<T, D>& loss, const std::vector<Tensor<T, D>>& parameters, Where at = Where::current()) {
  check_reached(loss, std::vector<AnyTensor>(parameters.begin(), parameters.end()), at);
}

template <Element T, class D> Tensor<T, D>& Tensor<T, D>::requires_grad_(bool on, Where at) {
  static_assert(is_floating<T>, "gradus: only floating tensors can require gradients");
  if (!is_leaf())
    fail("requires_grad_", "only a leaf can be switched", {{"x", describe(*this)}}, "a tensor that no op made; use detach() first", at);
  impl_->requires_grad = on;
  return *this;
}

/// hook(g) runs when x's gradient is complete, before it is used; what it returns (if defined) replaces the gradient.
/// On a leaf it runs in backward(), before the gradient is added to grad(), each time until the tensor is gone.
template <class T, class D, class F> void register_hook(const Tensor<T, D>& x, F hook, Where at = Where::current()) {
  if (!x.requires_grad()) detail::fail_no_graph("register_hook", x, at);
  std::function<AnyTensor(const AnyTensor&)> any = [hook](const AnyTensor& g) -> AnyTensor {
    if constexpr (std::is_void_v<decltype(hook(g.as<T, D>()))>) {
      hook(g.as<T, D>());
      return {};
    } else {
      return hook(g.as<T, D>());
    }
  };
  if (!x.grad_fn()) {
    if (!x.impl()->extra) x.impl()->extra = new TensorExtra;
    x.impl()->extra->hooks.push_back(std::move(any));
    return;
  }
  Node& node = *x.grad_fn();
  if (!node.extra) node.extra.reset(new NodeExtra);
  node.extra->hooks.emplace_back(x.impl()->output, std::move(any));
}

}  // namespace gradus

#ifdef GRADUS_HEADER_ONLY
#include <gradus/autograd/engine_impl.hpp>
#endif
