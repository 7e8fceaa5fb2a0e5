// Cross-entropy from logits and negative log-likelihood. The kernels' formulas are in kernels/loss.hpp.
#pragma once
#include <gradus/kernels/loss.hpp>
#include <gradus/ops/index.hpp>
#include <gradus/ops/losses/common.hpp>
#include <gradus/ops/softmax.hpp>

namespace gradus {

template <class T, class D>
struct CrossEntropyOptions {
  Tensor<T, D> weight = {};  ///< [C]
  int64_t ignore_index = -100;
  double label_smoothing = 0;
  Reduction reduction = Reduction::mean;
};

/// loss_n = (1 - e) w_t (l - x_t) + e/C sum_c w_c (l - x_c), l = log sum e^{x}; its gradient in one pass over the logits.
template <class T, class D>
struct CrossEntropyNode final : Node {
  Saved<T, D> x{this, "logits"};
  Saved<int64_t, D> target{this, "target"};
  Saved<T, D> weight{this, "weight"};
  Saved<compute_t<T>, D> lse{this, "lse"};
  int64_t ignore_index = -100;
  double smoothing = 0;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref()), v = x.get(), w = weight.get();
    const auto t = target.get();
    if (grad_enabled()) {  // recorded: dx = dy_n (a_n softmax(x) - q_nc), a and q do not depend on x
      const int64_t C = v.shape()[1];
      const auto ignored = equal(t, static_cast<double>(ignore_index), at);
      const auto hot = one_hot<T>(where(ignored, 0.0, t, at), C, at);
      auto q = add(mul(hot, 1 - smoothing, at), smoothing / static_cast<double>(C), at);
      if (w.defined())
        q = add(mul(mul(hot, 1 - smoothing, at), gradus::sum(mul(hot, w, at), {1}, true, at), at),
                mul(expand(w, q.shape(), at), smoothing / static_cast<double>(C), at), at);
      q = where(unsqueeze(ignored, 1, at), 0.0, q, at);
      const auto p = softmax(v, 1, at);
      accumulate(0, mul(unsqueeze(dy, 1, at), sub(mul(p, gradus::sum(q, {1}, true, at), at), q, at), at));
      return;
    }
    const auto dyc = contiguous(cast<compute_t<T>>(dy, at), at);
    Tensor<T, D> dx(v.shape(), at);
    kernels::cross_entropy_bwd<T>(D{}, v.data(), t.data(), w.defined() ? w.data() : nullptr, lse.get().data(), dyc.data(),
                                  dx.data(), v.shape()[0], v.shape()[1], ignore_index, smoothing);
    accumulate(0, dx);
  }
};

/// -log softmax(x)[target]: the loss of classification from logits x [N, C] (or [N, C, ...] with target [N, ...]).
/// With class weights the mean divides by the sum of the weights of the targets. Rows with the ignored target count nothing.
template <Floating T, class D>
Tensor<T, D> cross_entropy(const Tensor<T, D>& x0, const Tensor<int64_t, D>& target0, const CrossEntropyOptions<T, D>& o = {},
                           Where at = Where::current()) {
  Shape rows = x0.shape();
  if (rows.n >= 2) rows.erase(1);
  if (x0.rank() < 2 || !(target0.shape() == rows))
    fail("cross_entropy(x, target)", "shapes do not match", {{"x", describe(x0)}, {"target", describe(target0)}},
         "logits [N, C, ...] and targets [N, ...]", at);
  if (o.weight.defined() && !(o.weight.shape() == Shape{x0.shape()[1]}))
    fail("cross_entropy(x, target)", "one weight a class is needed", {{"x", describe(x0)}, {"weight", describe(o.weight)}},
         "shape [" + std::to_string(x0.shape()[1]) + "]", at);
  const int64_t C = x0.shape()[1];
  const auto x = contiguous(x0.rank() == 2 ? x0 : gradus::reshape(movedim(x0, 1, -1, at), {-1, C}, at), at);
  const auto target = contiguous(gradus::reshape(target0, {-1}, at), at);
  const int64_t N = x.shape()[0];
  int64_t bad = kernels::find_out_of_range(D{}, target.data(), N, 0, C);
  if (bad >= 0) {  // unless it is an ignored row
    const auto counted = where(equal(target, static_cast<double>(o.ignore_index), at), 0.0, target, at);
    bad = kernels::find_out_of_range(D{}, counted.data(), N, 0, C);
  }
  if (bad >= 0)
    fail("cross_entropy(x, target)", "a target is not a class",
         {{"x", describe(x0)},
          {"target", "element " + std::to_string(bad) + " is " + std::to_string(select(target, 0, bad, at).item(at))}},
         "classes in [0, " + std::to_string(C) + ") or the ignored index " + std::to_string(o.ignore_index), at);
  using A = compute_t<T>;
  Tensor<A, D> loss(Shape{N}, at), lse(Shape{N}, at), row_weight(Shape{N}, at);
  const auto w = o.weight.defined() ? no_grad([&] { return contiguous(o.weight, at); }) : o.weight;
  kernels::cross_entropy_fwd<T>(D{}, x.data(), target.data(), w.defined() ? w.data() : nullptr, loss.data(), lse.data(),
                                row_weight.data(), N, C, o.ignore_index, o.label_smoothing);
  Tensor<T, D> per = cast<T>(loss, at);
  if (detail::wants_grad(x)) {
    auto& node = detail::record<CrossEntropyNode<T, D>>(per, at, x);
    node.x = x, node.target = target, node.weight = w, node.lse = lse, node.ignore_index = o.ignore_index,
    node.smoothing = o.label_smoothing;
  }
  if (o.reduction == Reduction::none) return gradus::reshape(per, rows, at);
  const auto total = gradus::sum(per, {}, false, at);
  if (o.reduction == Reduction::sum) return total;
  return mul(total, 1 / static_cast<double>(gradus::sum(row_weight, {}, false, at).item()), at);
}
/// loss_n = sum_c w_c q_c (l - x_c), q = (1 - e) target + e / C: one pass over the logits each way, and only l is kept besides the
/// inputs. Targets and weights are constants here.
template <class T, class D>
struct SoftCrossEntropyNode final : Node {
  Saved<T, D> x{this, "logits"};
  Saved<T, D> target{this, "target"};
  Saved<T, D> weight{this, "weight"};
  Saved<compute_t<T>, D> lse{this, "lse"};
  double smoothing = 0;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy(g.ref()), v = x.get(), q0 = target.get(), w = weight.get();
    const int64_t C = v.shape()[1];
    if (grad_enabled()) {  // recorded: dx = dy_n (softmax(x) sum_k w_k q_nk - w_c q_nc)
      auto q = smoothing > 0 ? add(mul(q0, 1 - smoothing, at), smoothing / static_cast<double>(C), at) : q0;
      if (w.defined()) q = mul(q, w, at);
      const auto dx = sub(mul(softmax(v, 1, at), gradus::sum(q, {1}, true, at), at), q, at);
      accumulate(0, mul(unsqueeze(dy, 1, at), dx, at));
      return;
    }
    const auto dyc = contiguous(cast<compute_t<T>>(dy, at), at);
    Tensor<T, D> dx(v.shape(), at);
    kernels::soft_cross_entropy_bwd<T>(D{}, v.data(), q0.data(), w.defined() ? w.data() : nullptr, lse.get().data(), dyc.data(),
                                       dx.data(), v.shape()[0], C, smoothing);
    accumulate(0, dx);
  }
};

/// With probabilities [N, C] as targets: -sum_c w_c q_c log softmax(x)_c, q = (1 - e) target + e / C; the mean is over N. Fused for
/// [N, C] whose targets and weights need no gradient; composed otherwise.
template <Floating T, class D>
Tensor<T, D> cross_entropy(const Tensor<T, D>& x, const Tensor<T, D>& target, const CrossEntropyOptions<T, D>& o = {},
                           Where at = Where::current()) {
  if (x.rank() < 2 || !(x.shape() == target.shape()))
    fail("cross_entropy(x, target)", "shapes do not match", {{"x", describe(x)}, {"target", describe(target)}},
         "logits and target probabilities of one shape [N, C, ...]", at);
  const double C = static_cast<double>(x.shape()[1]);
  if (o.weight.defined() && !(o.weight.shape() == Shape{x.shape()[1]}))
    fail("cross_entropy(x, target)", "one weight a class is needed", {{"x", describe(x)}, {"weight", describe(o.weight)}},
         "shape [" + std::to_string(x.shape()[1]) + "]", at);
  if (x.rank() == 2 && !detail::wants_grad(target) && !(o.weight.defined() && detail::wants_grad(o.weight))) {
    using A = compute_t<T>;
    const auto xc = contiguous(x, at), qc = contiguous(target, at);
    const auto w = o.weight.defined() ? contiguous(o.weight, at) : o.weight;
    const int64_t N = x.shape()[0];
    Tensor<A, D> loss(Shape{N}, at), lse(Shape{N}, at);
    kernels::soft_cross_entropy_fwd<T>(D{}, xc.data(), qc.data(), w.defined() ? w.data() : nullptr, loss.data(), lse.data(), N,
                                       x.shape()[1], o.label_smoothing);
    Tensor<T, D> per = cast<T>(loss, at);
    if (detail::wants_grad(xc)) {
      auto& node = detail::record<SoftCrossEntropyNode<T, D>>(per, at, xc);
      node.x = xc, node.target = qc, node.weight = w, node.lse = lse, node.smoothing = o.label_smoothing;
    }
    return detail::reduce_loss(per, o.reduction, at);
  }
  auto q = o.label_smoothing > 0 ? add(mul(target, 1 - o.label_smoothing, at), o.label_smoothing / C, at) : target;
  if (o.weight.defined()) {
    Shape per_class = x.shape();
    for (int i = 0; i < x.rank(); ++i)
      if (i != 1) per_class[i] = 1;
    q = mul(q, gradus::reshape(o.weight, per_class, at), at);
  }
  const auto per = neg(gradus::sum(mul(q, log_softmax(x, 1, at), at), {1}, false, at), at);
  return detail::reduce_loss(per, o.reduction, at);
}

/// -w_t logp_t for log-probabilities [N, C]; the mean divides by the sum of the weights.
template <Floating T, class D>
Tensor<T, D> nll_loss(const Tensor<T, D>& logp, const Tensor<int64_t, D>& target, const CrossEntropyOptions<T, D>& o = {},
                      Where at = Where::current()) {
  if (logp.rank() != 2 || !(target.shape() == Shape{logp.shape()[0]}))
    fail("nll_loss(logp, target)", "shapes do not match", {{"logp", describe(logp)}, {"target", describe(target)}},
         "log-probabilities [N, C] and targets [N]", at);
  const auto ignored = equal(target, static_cast<double>(o.ignore_index), at);
  const auto column = unsqueeze(where(ignored, 0.0, target, at), 1, at);
  Tensor<T, D> w;
  if (o.weight.defined()) w = index_select(o.weight, 0, squeeze(column, 1, at), at);
  else w = detail::scalar_like(logp, 1, at);
  w = where(ignored, 0.0, expand(w, target.shape(), at), at);
  const auto per = neg(mul(w, squeeze(gather(logp, 1, column, at), 1, at), at), at);
  if (o.reduction != Reduction::mean) return detail::reduce_loss(per, o.reduction, at);
  return div(gradus::sum(per, {}, false, at), gradus::sum(w, {}, false, at), at);
}

}  // namespace gradus
