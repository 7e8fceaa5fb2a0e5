// Layers whose weight is computed from other parameters at each call.
//
//   WeightNorm     w = g v / |v|, a length g for each output         Salimans & Kingma 2016, eq. 2
//   SpectralNorm   w = v / sigma, sigma = a^T V b the largest singular value of V = v as [out, rest]; a, b by power
//                  iteration, once a call in training                Miyato, Kataoka, Koyama, Yoshida 2018, algorithm 1
//
//   nn::WeightNorm<nn::Linear<>> layer(nn::Linear<>(128, 10));
#pragma once
#include <gradus/nn/linear.hpp>
#include <gradus/ops/extra.hpp>

namespace gradus::nn {

/// M: a layer with `weight` [out, ...] and `bias`. Starts as the layer was.
template <class M>
struct WeightNorm {
  using value_type = element_of<M>;
  using device_type = device_type_of<M>;
  using X = tensor_of<M>;
  M layer;  // without a weight of its own
  X g, v;   // [out, 1, ...], [out, ...]

  explicit WeightNorm(M m, Where at = Where::current()) : layer(std::move(m)), v(layer.weight), text_(layer.about()) {
    g = detail::parameter(no_grad([&] { return length(v, at); }));
    layer.weight = X();
  }
  /// g v / |v|
  X weight(Where at = Where::current()) const { return mul(v, div(g, length(v, at), at), at); }
  X forward(const X& x, Where at = Where::current()) const {
    M with = layer;
    with.weight = weight(at);
    return with.forward(x, at);
  }
  X operator()(const X& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(auto&& f) { f("g", g), f("v", v), f("bias", layer.bias); }
  std::string about() const { return detail::type_name(typeid(M)) + " " + text_; }

 private:
  static X length(const X& v, Where at) {
    Shape s = v.shape();
    for (int i = 1; i < s.n; ++i) s[i] = 1;
    return gradus::reshape(norm(gradus::flatten(v, 1, -1, at), 2, {1}, false, at), s, at);
  }
  std::string text_;
};

/// M: a layer with `weight` [out, ...] and `bias`. a and b are state: they are saved, not trained.
template <class M>
struct SpectralNorm {
  using value_type = element_of<M>;
  using device_type = device_type_of<M>;
  using X = tensor_of<M>;
  M layer;    // without a weight of its own
  X v, a, b;  // [out, ...], [out], [rest]
  int iterations;
  double eps;
  bool training = true;

  explicit SpectralNorm(M m, int iterations = 1, double eps = 1e-12, Where at = Where::current())
      : layer(std::move(m)), v(layer.weight), iterations(iterations), eps(eps), text_(layer.about()) {
    layer.weight = X();
    const NoGrad guard;
    const auto V = gradus::flatten(v, 1, -1, at);
    a = normalize(randn<value_type, device_type>({V.size(0)}, at), 2, 0, eps, at);
    b = normalize(randn<value_type, device_type>({V.size(1)}, at), 2, 0, eps, at);
    iterate(15, at);
  }
  /// v / sigma; sigma's gradient passes through v, not through a and b.
  X weight(Where at = Where::current()) const {
    if (training) iterate(iterations, at);
    const auto left = clone(a, at), right = clone(b, at);  // a later call overwrites a and b
    const auto sigma = sum(mul(left, matmul(gradus::flatten(v, 1, -1, at), right, at), at), {}, false, at);
    return div(v, sigma, at);
  }
  X forward(const X& x, Where at = Where::current()) const {
    M with = layer;
    with.weight = weight(at);
    return with.forward(x, at);
  }
  X operator()(const X& x, Where at = Where::current()) const { return forward(x, at); }
  void visit(auto&& f) {
    f("v", v), f("bias", layer.bias), f("a", a, buffer), f("b", b, buffer);
    f("training", training);
  }
  std::string about() const { return detail::type_name(typeid(M)) + " " + text_; }

 private:
  void iterate(int times, Where at) const {
    const NoGrad guard;
    const auto V = gradus::flatten(v, 1, -1, at);
    X left = a, right = b;  // handles: the members' memory is written
    for (int i = 0; i < times; ++i) {
      right.copy_(normalize(matmul(transpose(V, 0, 1, at), left, at), 2, 0, eps, at), at);
      left.copy_(normalize(matmul(V, right, at), 2, 0, eps, at), at);
    }
  }
  std::string text_;
};

}  // namespace gradus::nn
