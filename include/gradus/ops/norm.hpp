// Normalisations; formulas and fused gradients in kernels/norm.hpp.
//
//   layer_norm   over the last dimension                       Ba, Kiros, Hinton 2016
//   rms_norm     the same without the mean                     Zhang & Sennrich 2019
//   batch_norm   over all dimensions but 1                     Ioffe & Szegedy 2015
//   group_norm   over groups of channels and space             Wu & He 2018; instance_norm is one channel a group
//
// A recorded backward (create_graph) differentiates the formula written with elementary ops.
#pragma once
#include <gradus/kernels/norm.hpp>
#include <gradus/ops/reduce.hpp>

namespace gradus {

namespace detail {
/// (x - mean) / sqrt(var + eps) w + b over `dims`, from elementary ops; w, b broadcast.
template <class T, class D>
Tensor<T, D> normalize_composed(const Tensor<T, D>& x, const Dims& dims, const Tensor<T, D>& w, const Tensor<T, D>& b, bool centre, double eps, Where at) {
  const auto c = centre ? sub(x, mean(x, dims, true, at), at) : x;
  auto y = mul(c, rsqrt(add(mean(square(c, at), dims, true, at), eps, at), at), at);
  if (w.defined()) y = mul(y, w, at);
  return b.defined() ? add(y, b, at) : y;
}
/// A copy with an identity of its own, so that gradients stop there: a weight may also be behind x.
template <class T, class D> void stand_in(Tensor<T, D>& x, Where at) {
  if (x.defined() && x.requires_grad()) x = clone(x, at);
}
/// Sends the gradients of a composed `y` (made from copies of the inputs, recording on) to the node's inputs, recorded.
template <class T, class D> std::vector<Tensor<T, D>> composed_gradients(const Tensor<T, D>& y, const std::vector<Tensor<T, D>>& inputs, const Tensor<T, D>& dy, Where at) {
  return grad(std::vector<Tensor<T, D>>{y}, inputs, {.gradients = {dy}, .create_graph = true, .allow_unused = true}, at);
}
}  // namespace detail

template <class T, class D> struct LayerNormNode final : Node {
  Saved<T, D> x{this, "x"}, w{this, "w"};
  Saved<compute_t<T>, D> mean_{this, "mean"}, rstd{this, "rstd"};
  double eps = 0;
  bool centre = true;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy = contiguous(Tensor<T, D>(g.ref()), at);
    Tensor<T, D> v = x.get(), weight = w.get();
    if (grad_enabled()) {
      detail::stand_in(v, at), detail::stand_in(weight, at);
      Tensor<T, D> one = weight.defined() ? weight : full<T>(v, at), zero = mul(one.detach(), 0.0, at);
      zero.requires_grad_();
      const auto y = detail::normalize_composed(v, {-1}, one, zero, centre, eps, at);
      const bool need_x = v.requires_grad(), need_w = weight.requires_grad();
      std::vector<Tensor<T, D>> in{zero};
      if (need_x) in.push_back(v);
      if (need_w) in.push_back(weight);
      const auto d = detail::composed_gradients(y, in, dy, at);
      if (wants(2)) accumulate(2, d[0]);
      if (need_x && wants(0)) accumulate(0, d[1]);
      if (need_w && wants(1)) accumulate(1, d.back());
      return;
    }
    const int64_t C = v.shape().back(), N = C ? v.numel() / C : 0;
    Tensor<T, D> dx, dw, db;
    if (wants(0)) dx = Tensor<T, D>(v.shape(), at);
    if (wants(1)) dw = Tensor<T, D>(Shape{C}, at);
    if (wants(2)) db = Tensor<T, D>(Shape{C}, at);
    const auto ptr = [](const Tensor<T, D>& t) -> T* { return t.defined() ? t.data() : nullptr; };
    if (centre) kernels::layer_norm_bwd<T>(D{}, v.data(), ptr(weight), mean_.get().data(), rstd.get().data(), dy.data(), ptr(dx), ptr(dw), ptr(db), N, C);
    else kernels::rms_norm_bwd<T>(D{}, v.data(), ptr(weight), rstd.get().data(), dy.data(), ptr(dx), ptr(dw), N, C);
    if (wants(0)) accumulate(0, dx);
    if (wants(1)) accumulate(1, dw);
    if (wants(2)) accumulate(2, db);
  }

 private:
  template <class U> static Tensor<U, D> full(const Tensor<U, D>& like, Where at) {
    Tensor<U, D> one(Shape{like.shape().back()}, at);
    one.fill_(1, at);
    return one;
  }
};

namespace detail {
template <class T, class D>
Tensor<T, D> norm_rows(const char* op, bool centre, const Tensor<T, D>& x0, const Tensor<T, D>& w, const Tensor<T, D>& b, double eps, Where at) {
  if (x0.rank() < 1) fail(op, "a scalar cannot be normalised", {{"x", describe(x0)}}, "at least 1 dimension", at);
  const int64_t C = x0.shape().back(), N = C ? x0.numel() / C : 0;
  for (const auto* p : {&w, &b})
    if (p->defined() && !(p->shape() == Shape{C}))
      fail(op, "the weight does not match the features", {{"x", describe(x0)}, {p == &w ? "weight" : "bias", describe(*p)}},
           "shape [" + std::to_string(C) + "]", at);
  const auto x = contiguous(x0, at);
  const auto wc = w.defined() ? contiguous(w, at) : w, bc = b.defined() ? contiguous(b, at) : b;
  Tensor<T, D> y(x.shape(), at);
  Tensor<compute_t<T>, D> mu(Shape{N}, at), rstd(Shape{N}, at);
  const T *pw = wc.defined() ? wc.data() : nullptr, *pb = bc.defined() ? bc.data() : nullptr;
  if (centre) kernels::layer_norm_fwd<T>(D{}, x.data(), pw, pb, y.data(), mu.data(), rstd.data(), N, C, eps);
  else kernels::rms_norm_fwd<T>(D{}, x.data(), pw, y.data(), rstd.data(), N, C, eps);
  if (wants_grad(x, wc, bc)) {
    auto& node = record<LayerNormNode<T, D>>(y, at, x, wc, bc);
    node.x = x, node.w = wc, node.mean_ = mu, node.rstd = rstd, node.eps = eps, node.centre = centre;
  }
  return y;
}
}  // namespace detail

/// (x - mean) / sqrt(var + eps) weight + bias over the last dimension; weight, bias : [C] or undefined.
template <Floating T, class D>
Tensor<T, D> layer_norm(const Tensor<T, D>& x, const Tensor<T, D>& weight = {}, const Tensor<T, D>& bias = {}, double eps = 1e-5, Where at = Where::current()) {
  return detail::norm_rows("layer_norm", true, x, weight, bias, eps, at);
}
/// x / sqrt(mean x^2 + eps) weight over the last dimension; weight : [C] or undefined.
template <Floating T, class D>
Tensor<T, D> rms_norm(const Tensor<T, D>& x, const Tensor<T, D>& weight = {}, double eps = 1e-6, Where at = Where::current()) {
  return detail::norm_rows("rms_norm", false, x, weight, Tensor<T, D>(), eps, at);
}

template <class T, class D> struct BatchNormNode final : Node {
  Saved<T, D> x{this, "x"}, w{this, "w"};
  Saved<compute_t<T>, D> mean_{this, "mean"}, var_{this, "var"};
  double eps = 0;
  bool training = true;
  void backward(const AnyTensor& g) override {
    const Tensor<T, D> dy = contiguous(Tensor<T, D>(g.ref()), at);
    Tensor<T, D> v = x.get(), weight = w.get();
    const int64_t C = v.shape()[1], N = v.shape()[0], S = v.numel() / (N * C > 0 ? N * C : 1);
    if (grad_enabled()) {
      detail::stand_in(v, at), detail::stand_in(weight, at);
      Shape per_channel = v.shape();
      Dims dims;
      for (int i = 0; i < v.rank(); ++i)
        if (i != 1) per_channel[i] = 1, dims.list.push_back(i);
      Tensor<T, D> bias(Shape{C}, at);
      bias.fill_(0, at);
      bias.requires_grad_();
      const auto wc = weight.defined() ? gradus::reshape(weight, per_channel, at) : weight, bc = gradus::reshape(bias, per_channel, at);
      Tensor<T, D> y;
      if (training) {
        y = detail::normalize_composed(v, dims, wc, bc, true, eps, at);
      } else {
        const auto mu = gradus::reshape(cast<T>(mean_.get().detach(), at), per_channel, at);
        const auto sd = rsqrt(add(gradus::reshape(cast<T>(var_.get().detach(), at), per_channel, at), eps, at), at);
        y = mul(sub(v, mu, at), sd, at);
        if (wc.defined()) y = mul(y, wc, at);
        y = add(y, bc, at);
      }
      const bool need_x = v.requires_grad(), need_w = weight.requires_grad();
      std::vector<Tensor<T, D>> in{bias};
      if (need_x) in.push_back(v);
      if (need_w) in.push_back(weight);
      const auto d = detail::composed_gradients(y, in, dy, at);
      if (wants(2)) accumulate(2, d[0]);
      if (need_x && wants(0)) accumulate(0, d[1]);
      if (need_w && wants(1)) accumulate(1, d.back());
      return;
    }
    Tensor<T, D> dx, dw, db;
    if (wants(0)) dx = Tensor<T, D>(v.shape(), at);
    if (wants(1)) dw = Tensor<T, D>(Shape{C}, at);
    if (wants(2)) db = Tensor<T, D>(Shape{C}, at);
    const auto ptr = [](const Tensor<T, D>& t) -> T* { return t.defined() ? t.data() : nullptr; };
    kernels::batch_norm_bwd<T>(D{}, v.data(), mean_.get().data(), var_.get().data(), ptr(weight), dy.data(), ptr(dx), ptr(dw), ptr(db), N, C, S, eps, training);
    if (wants(0)) accumulate(0, dx);
    if (wants(1)) accumulate(1, dw);
    if (wants(2)) accumulate(2, db);
  }
};

/// Per channel of x [N, C, ...], over all other dimensions; weight, bias, running statistics : [C] or undefined.
/// Training uses the batch's statistics and moves the running ones: r = (1 - momentum) r + momentum s, with the unbiased variance.
/// Evaluation uses the running ones.
template <Floating T, class D>
Tensor<T, D> batch_norm(const Tensor<T, D>& x0, const Tensor<T, D>& weight0, const Tensor<T, D>& bias0, const Tensor<T, D>& running_mean,
                        const Tensor<T, D>& running_var, bool training, double momentum = 0.1, double eps = 1e-5, Where at = Where::current()) {
  if (x0.rank() < 2) fail("batch_norm", "no channel dimension", {{"x", describe(x0)}}, "x [N, C, ...]", at);
  const int64_t N = x0.shape()[0], C = x0.shape()[1], S = N * C > 0 ? x0.numel() / (N * C) : 0;
  for (const auto* p : {&weight0, &bias0, &running_mean, &running_var})
    if (p->defined() && !(p->shape() == Shape{C}))
      fail("batch_norm", "a parameter does not match the channels", {{"x", describe(x0)}, {"parameter", describe(*p)}}, "shape [" + std::to_string(C) + "]", at);
  if (!training && (!running_mean.defined() || !running_var.defined()))
    fail("batch_norm", "evaluation needs running statistics", {{"x", describe(x0)}}, "running_mean and running_var of shape [" + std::to_string(C) + "]", at);
  if (training && N * S < 2) fail("batch_norm", "one value a channel has no variance", {{"x", describe(x0)}}, "at least 2 values a channel in training", at);
  using A = compute_t<T>;
  const auto x = contiguous(x0, at), weight = weight0.defined() ? contiguous(weight0, at) : weight0,
             bias = bias0.defined() ? contiguous(bias0, at) : bias0;
  Tensor<T, D> y(x.shape(), at);
  Tensor<A, D> mu, var;
  if (training) {
    mu = Tensor<A, D>(Shape{C}, at), var = Tensor<A, D>(Shape{C}, at);
    kernels::batch_norm_stats<T>(D{}, x.data(), mu.data(), var.data(), N, C, S);
    if (running_mean.defined() && running_var.defined()) {
      const NoGrad guard;
      Tensor<T, D> rm = running_mean, rv = running_var;
      const double n = static_cast<double>(N * S);
      rm.copy_(lerp(rm, cast<T>(mu, at), momentum, at), at);
      rv.copy_(add(mul(rv, 1 - momentum, at), mul(cast<T>(var, at), momentum * n / (n - 1), at), at), at);
    }
  } else {
    mu = no_grad([&] { return clone(cast<A>(running_mean, at), at); }), var = no_grad([&] { return clone(cast<A>(running_var, at), at); });
  }
  const auto ptr = [](const Tensor<T, D>& t) -> const T* { return t.defined() ? t.data() : nullptr; };
  kernels::batch_norm_apply<T>(D{}, x.data(), mu.data(), var.data(), ptr(weight), ptr(bias), y.data(), N, C, S, eps);
  if (detail::wants_grad(x, weight, bias)) {
    auto& node = detail::record<BatchNormNode<T, D>>(y, at, x, weight, bias);
    node.x = x, node.w = weight, node.mean_ = mu, node.var_ = var, node.eps = eps, node.training = training;
  }
  return y;
}

/// Per sample and group of C / groups channels of x [N, C, ...]; weight, bias : [C] or undefined.
template <Floating T, class D>
Tensor<T, D> group_norm(const Tensor<T, D>& x, int64_t groups, const Tensor<T, D>& weight = {}, const Tensor<T, D>& bias = {}, double eps = 1e-5, Where at = Where::current()) {
  if (x.rank() < 2 || groups < 1 || x.shape()[1] % groups != 0)
    fail("group_norm", "the channels do not divide into groups", {{"x", describe(x)}, {"groups", std::to_string(groups)}}, "x [N, C, ...] with C a multiple of groups", at);
  const auto rows = gradus::reshape(x, {x.shape()[0], groups, -1}, at);
  auto y = gradus::reshape(layer_norm(rows, Tensor<T, D>(), Tensor<T, D>(), eps, at), x.shape(), at);
  Shape per_channel = x.shape();
  for (int i = 0; i < x.rank(); ++i)
    if (i != 1) per_channel[i] = 1;
  if (weight.defined()) y = mul(y, gradus::reshape(weight, per_channel, at), at);
  return bias.defined() ? add(y, gradus::reshape(bias, per_channel, at), at) : y;
}

}  // namespace gradus
