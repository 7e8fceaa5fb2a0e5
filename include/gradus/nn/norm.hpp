// Normalising layers; the formulas are in ops/norm.hpp.
//
//   BatchNorm      over N and space, a channel at a time      SyncBatchNorm: over the batches of all processes
//   LayerNorm      over the last dimension                    RMSNorm: the same without the mean
//   GroupNorm      over space and a group of channels         InstanceNorm: a channel a group
//   DyT            weight tanh(a x) + bias: no statistics at all
#pragma once
#include <functional>

#include <gradus/nn/call.hpp>
#include <gradus/ops/extra.hpp>
#include <gradus/ops/norm.hpp>

namespace gradus::nn {

struct BatchNormOptions {
  double momentum = 0.1;  ///< weight of the new batch in the running statistics
  double eps = 1e-5;
  bool affine = true;  ///< weight and bias are trained
};

/// Ioffe & Szegedy 2015. Training uses the batch's mean and variance and moves the running ones, which evaluation uses.
template <int Rank, class T = float, class D = Cpu>
struct BatchNorm {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> weight, bias, running_mean, running_var;  // [C]
  bool training = true;
  BatchNormOptions options;

  explicit BatchNorm(int64_t C, BatchNormOptions options = {}, Where at = Where::current())
      : running_mean(zeros<T, D>({C}, at)), running_var(ones<T, D>({C}, at)), options(options) {
    if (!options.affine) return;
    weight = ones<T, D>({C}, at), bias = zeros<T, D>({C}, at);
    weight.requires_grad_(), bias.requires_grad_();
  }
  template <class U, class E>
  explicit BatchNorm(const BatchNorm<Rank, U, E>& o, Where at = Where::current())
      : weight(converted<T, D>(o.weight, at)),
        bias(converted<T, D>(o.bias, at)),
        running_mean(converted<T, D>(o.running_mean, at)),
        running_var(converted<T, D>(o.running_var, at)),
        training(o.training),
        options(o.options) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    const bool fits = Rank == 1 ? x.rank() == 2 || x.rank() == 3 : x.rank() == Rank + 2;
    if (!fits)
      fail("BatchNorm" + std::to_string(Rank) + "d", "wrong number of dimensions", {{"x", describe(x)}},
           Rank == 1   ? "x [N, C] or [N, C, L]"
           : Rank == 2 ? "x [N, C, H, W]"
                       : "x [N, C, D, H, W]",
           at);
    return batch_norm(x, weight, bias, running_mean, running_var, training, options.momentum, options.eps, at);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(auto&& f) {
    f("weight", weight), f("bias", bias);
    f("running_mean", running_mean, buffer), f("running_var", running_var, buffer);
    f("training", training);
  }
  std::string module_type() const { return "BatchNorm" + std::to_string(Rank) + "d"; }
  std::string about() const { return std::to_string(running_mean.size(0)); }
};
template <class T = float, class D = Cpu>
struct BatchNorm1d : BatchNorm<1, T, D> {
  explicit BatchNorm1d(int64_t C, BatchNormOptions o = {}, Where at = Where::current()) : BatchNorm<1, T, D>(C, o, at) {}
  template <class U, class E>
  explicit BatchNorm1d(const BatchNorm1d<U, E>& o, Where at = Where::current()) : BatchNorm<1, T, D>(o, at) {}
};
template <class T = float, class D = Cpu>
struct BatchNorm2d : BatchNorm<2, T, D> {
  explicit BatchNorm2d(int64_t C, BatchNormOptions o = {}, Where at = Where::current()) : BatchNorm<2, T, D>(C, o, at) {}
  template <class U, class E>
  explicit BatchNorm2d(const BatchNorm2d<U, E>& o, Where at = Where::current()) : BatchNorm<2, T, D>(o, at) {}
};
template <class T = float, class D = Cpu>
struct BatchNorm3d : BatchNorm<3, T, D> {
  explicit BatchNorm3d(int64_t C, BatchNormOptions o = {}, Where at = Where::current()) : BatchNorm<3, T, D>(C, o, at) {}
  template <class U, class E>
  explicit BatchNorm3d(const BatchNorm3d<U, E>& o, Where at = Where::current()) : BatchNorm<3, T, D>(o, at) {}
};

/// Ba, Kiros, Hinton 2016: over the last dimension, of extent C.
template <class T = float, class D = Cpu>
struct LayerNorm {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> weight, bias;  // [C]
  double eps;

  explicit LayerNorm(int64_t C, double eps = 1e-5, bool with_bias = true, Where at = Where::current())
      : weight(ones<T, D>({C}, at)), eps(eps) {
    weight.requires_grad_();
    if (!with_bias) return;
    bias = zeros<T, D>({C}, at);
    bias.requires_grad_();
  }
  template <class U, class E>
  explicit LayerNorm(const LayerNorm<U, E>& o, Where at = Where::current())
      : weight(converted<T, D>(o.weight, at)), bias(converted<T, D>(o.bias, at)), eps(o.eps) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return layer_norm(x, weight, bias, eps, at);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(auto&& f) { f("weight", weight), f("bias", bias); }
  std::string about() const { return std::to_string(weight.size(0)); }
};

/// Zhang & Sennrich 2019: x / sqrt(mean x^2 + eps) weight over the last dimension, of extent C.
template <class T = float, class D = Cpu>
struct RMSNorm : Layer<RMSNorm<T, D>, T, D> {
  Tensor<T, D> weight;  // [C]
  double eps;
  explicit RMSNorm(int64_t C, double eps = 1e-6, Where at = Where::current())
      : weight(detail::parameter(ones<T, D>({C}, at))), eps(eps) {}
  template <class U, class E>
  explicit RMSNorm(const RMSNorm<U, E>& o, Where at = Where::current()) : weight(converted<T, D>(o.weight, at)), eps(o.eps) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const { return rms_norm(x, weight, eps, at); }
  void visit(auto&& f) { f("weight", weight); }
  std::string about() const { return std::to_string(weight.size(0)); }
};

/// Wu & He 2018: each sample and group of C / groups channels of x [N, C, ...]; then weight and bias a channel.
template <class T = float, class D = Cpu>
struct GroupNorm : Layer<GroupNorm<T, D>, T, D> {
  Tensor<T, D> weight, bias;  // [C] or undefined
  int64_t groups;
  double eps;
  GroupNorm(int64_t groups, int64_t C, double eps = 1e-5, bool affine = true, Where at = Where::current())
      : groups(groups), eps(eps) {
    if (groups < 1 || C < 1 || C % groups != 0)
      fail("GroupNorm", "the channels do not divide into groups",
           {{"groups", std::to_string(groups)}, {"C", std::to_string(C)}}, "C a multiple of groups", at);
    if (affine) weight = detail::parameter(ones<T, D>({C}, at)), bias = detail::parameter(zeros<T, D>({C}, at));
  }
  template <class U, class E>
  explicit GroupNorm(const GroupNorm<U, E>& o, Where at = Where::current())
      : weight(converted<T, D>(o.weight, at)), bias(converted<T, D>(o.bias, at)), groups(o.groups), eps(o.eps) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return group_norm(x, groups, weight, bias, eps, at);
  }
  void visit(auto&& f) { f("weight", weight), f("bias", bias); }
  std::string about() const { return std::to_string(groups) + " groups"; }
};

/// Ulyanov, Vedaldi, Lempitsky 2016: each sample and channel of x [N, C, ...] over space. Without statistics to run.
template <class T = float, class D = Cpu>
struct InstanceNorm : Layer<InstanceNorm<T, D>, T, D> {
  Tensor<T, D> weight, bias;  // [C] or undefined
  double eps;
  explicit InstanceNorm(int64_t C, double eps = 1e-5, bool affine = false, Where at = Where::current()) : eps(eps) {
    if (affine) weight = detail::parameter(ones<T, D>({C}, at)), bias = detail::parameter(zeros<T, D>({C}, at));
  }
  template <class U, class E>
  explicit InstanceNorm(const InstanceNorm<U, E>& o, Where at = Where::current())
      : weight(converted<T, D>(o.weight, at)), bias(converted<T, D>(o.bias, at)), eps(o.eps) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (x.rank() < 3) fail("InstanceNorm", "no space to normalise over", {{"x", describe(x)}}, "x [N, C, ...]", at);
    return group_norm(x, x.shape()[1], weight, bias, eps, at);
  }
  void visit(auto&& f) { f("weight", weight), f("bias", bias); }
};

/// Krizhevsky, Sutskever, Hinton 2012, section 3.3: x / (k + alpha / size sum of squares of `size` neighbouring channels)^beta.
struct LocalResponseNorm : Stateless<LocalResponseNorm> {
  int64_t size;
  double alpha, beta, k;
  explicit LocalResponseNorm(int64_t size, double alpha = 1e-4, double beta = 0.75, double k = 1)
      : size(size), alpha(alpha), beta(beta), k(k) {}
  auto apply(const auto& x, Where at) const { return local_response_norm(x, size, alpha, beta, k, at); }
  std::string about() const { return std::to_string(size); }
};

/// Zhu et al. 2025, "Transformers without normalization": weight tanh(a x) + bias, a one number.
template <class T = float, class D = Cpu>
struct DyT : Layer<DyT<T, D>, T, D> {
  Tensor<T, D> a, weight, bias;  // [1], [C], [C]
  explicit DyT(int64_t C, double a0 = 0.5, Where at = Where::current())
      : a(detail::parameter(full<T, D>({1}, a0, at))),
        weight(detail::parameter(ones<T, D>({C}, at))),
        bias(detail::parameter(zeros<T, D>({C}, at))) {}
  template <class U, class E>
  explicit DyT(const DyT<U, E>& o, Where at = Where::current())
      : a(converted<T, D>(o.a, at)), weight(converted<T, D>(o.weight, at)), bias(converted<T, D>(o.bias, at)) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return add(mul(gradus::tanh(mul(x, a, at), at), weight, at), bias, at);
  }
  void visit(auto&& f) { f("a", a), f("weight", weight), f("bias", bias); }
  std::string about() const { return std::to_string(weight.size(0)); }
};

/// The sum of a tensor over all processes; its gradient is the sum of their gradients.
template <class T, class D>
struct AllReduceNode final : Node {
  std::function<Tensor<T, D>(const Tensor<T, D>&)> sum_over_processes;
  void backward(const AnyTensor& g) override {
    const NoGrad guard;
    accumulate(0, sum_over_processes(Tensor<T, D>(g.ref())));
  }
};

/// BatchNorm over the batches of all processes: sums go through `sum_over_processes`, which gives the sum of its argument over
/// the processes (by default there is one, and this is BatchNorm). First derivatives only when there are several.
template <int Rank, class T = float, class D = Cpu>
struct SyncBatchNorm : BatchNorm<Rank, T, D> {
  using Base = BatchNorm<Rank, T, D>;
  std::function<Tensor<T, D>(const Tensor<T, D>&)> sum_over_processes;

  explicit SyncBatchNorm(int64_t C, BatchNormOptions o = {}, std::function<Tensor<T, D>(const Tensor<T, D>&)> sum = {},
                         Where at = Where::current())
      : Base(C, o, at), sum_over_processes(std::move(sum)) {}
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    if (!this->training || !sum_over_processes) return Base::forward(x, at);
    if (x.rank() < 2 || x.shape()[1] != this->running_mean.numel())
      fail(module_type(), "the channels do not match", {{"x", describe(x)}}, "x [N, C, ...]", at);
    Dims dims;
    Shape channel = x.shape();
    for (int i = 0; i < x.rank(); ++i)
      if (i != 1) dims.list.push_back(i), channel[i] = 1;
    const auto along = [&](const Tensor<T, D>& v) { return gradus::reshape(v, channel, at); };
    const double own = static_cast<double>(x.numel()) / static_cast<double>(x.shape()[1]);
    const auto count = no_grad([&] { return sum_over_processes(full<T, D>({1}, own, at)); });
    const auto mean = div(reduced(sum(x, dims, false, at), at), count, at);
    const auto centred = sub(x, along(mean), at);
    const auto var = div(reduced(sum(square(centred, at), dims, false, at), at), count, at);
    {
      const NoGrad guard;
      const double m = this->options.momentum;
      Tensor<T, D> rm = this->running_mean, rv = this->running_var;
      rm.copy_(lerp(rm, mean, m, at), at);
      rv.copy_(lerp(rv, mul(var, div(count, sub(count, 1, at), at), at), m, at), at);
    }
    auto y = mul(centred, along(rsqrt(add(var, this->options.eps, at), at)), at);
    if (this->weight.defined()) y = add(mul(y, along(this->weight), at), along(this->bias), at);
    return y;
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const { return forward(x, at); }
  std::string module_type() const { return "SyncBatchNorm" + std::to_string(Rank) + "d"; }

 private:
  Tensor<T, D> reduced(const Tensor<T, D>& x, Where at) const {
    const auto y = no_grad([&] { return clone(sum_over_processes(x.detach()), at); });
    if (gradus::detail::wants_grad(x))
      gradus::detail::record<AllReduceNode<T, D>>(y, at, x).sum_over_processes = sum_over_processes;
    return y;
  }
};

namespace detail {
struct BatchNormVisitor final : Visitor {
  bool frozen;
  int64_t found = 0;
  std::vector<bool> inside;  // of each open module: is it a batch norm?
  explicit BatchNormVisitor(bool frozen) : frozen(frozen) {}
  void enter(const std::string&, const std::string& type, const std::string&) override {
    inside.push_back(type.find("BatchNorm") != std::string::npos);
    found += inside.back();
  }
  void leave() override { inside.pop_back(); }
  void tensor(const std::string&, AnyTensor& x, bool is_buffer) override {
    if (inside.back() && !is_buffer) x.impl()->requires_grad = !frozen;
  }
  void flag(const std::string&, bool& value) override {
    if (inside.back()) value = !frozen;
  }
};
}  // namespace detail

/// Fine-tuning with fixed statistics: every batch norm of the net evaluates, and its weight and bias get no gradient; the other
/// modules stay as they are. train(net) lets the statistics move again, so call it after that. Gives how many there are.
template <Module M>
int64_t freeze_batch_norm(M& net, bool on = true) {
  detail::BatchNormVisitor v(on);
  v("", net);
  return v.found;
}

}  // namespace gradus::nn
