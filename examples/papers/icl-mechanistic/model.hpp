// The two-layer attention-only network, its progress measures, the reduced induction head and the three nested logits.
#pragma once
#include <gradus/nn.hpp>

#include "data.hpp"

namespace icl {

/// Attention of one forward: p1 [n, T, T] or, where it is the same for all sequences, [T, T]; p2 [n, T], of the target.
template <class T, class D>
struct Maps {
  Tensor<T, D> p1, p2;
};

struct Start {
  double s = 0;            // deviation of Q, K, V; 0: 1 / sqrt(D)
  bool biases = false;     // b ~ N(0, 1/width), else 0
  bool unit_bias = false;  // a bias for each unit, not one for each layer
};

/// h <- relu(W h + b) three times, b one number a layer; logits = W_out h.
template <class T, class D>
struct Mlp {
  using value_type = T;
  using device_type = D;
  std::vector<Tensor<T, D>> W, b;  // 3 x [width, width], 3 x [1] or [width]
  Tensor<T, D> W_out;              // [L, width]

  Mlp(int64_t width, int64_t L, const Start& start) {
    const double w = static_cast<double>(width);
    for (int k = 0; k < 3; ++k) {
      W.push_back(normal<T, D>({width, width}, 0, std::sqrt(2 / w)));
      const Shape one{start.unit_bias ? width : 1};
      b.push_back(start.biases ? normal<T, D>(one, 0, std::sqrt(1 / w)) : zeros<T, D>(one));
      W.back().requires_grad_(), b.back().requires_grad_();
    }
    W_out = normal<T, D>({L, width}, 0, std::sqrt(1 / w));
    W_out.requires_grad_();
  }
  Tensor<T, D> operator()(Tensor<T, D> h) const {
    for (std::size_t k = 0; k < W.size(); ++k) h = relu(linear(h, W[k]) + b[k]);
    return linear(h, W_out);
  }
  void visit(auto&& f) {
    for (std::size_t k = 0; k < W.size(); ++k) f("W" + std::to_string(k + 1), W[k]), f("b" + std::to_string(k + 1), b[k]);
    f("W_out", W_out);
  }
};

/// [T, T]: 0 where query j may attend to key i <= j, else -infinity.
template <class T, class D>
Tensor<T, D> causal(int64_t n) {
  std::vector<T> v;
  for (int64_t j = 0; j < n; ++j)
    for (int64_t i = 0; i < n; ++i) v.push_back(i <= j ? T(0) : -std::numeric_limits<T>::infinity());
  return from_vector(v, {n, n}).template to<D>();
}
/// [T, T]: 1 at (j, j - 1), every `step`-th row from row 1 on.
template <class T, class D>
Tensor<T, D> previous(int64_t n, int64_t step = 1) {
  std::vector<T> v;
  for (int64_t j = 0; j < n; ++j)
    for (int64_t i = 0; i < n; ++i) v.push_back(j == i + 1 && i % step == 0 ? T(1) : T(0));
  return from_vector(v, {n, n}).template to<D>();
}

/// u <- u + softmax(q k^T) v in two layers, one head, no scale, no norm; then the MLP on the target.
template <class T = float, class D = Cpu>
struct Network {
  using value_type = T;
  using device_type = D;
  std::vector<Tensor<T, D>> Q, K, V;  // two of [d, d] each
  Mlp<T, D> mlp;
  Tensor<T, D> mask;  // [T, T]

  explicit Network(const Mixture& m, const Start& start = {}) : mlp(m.d(), m.L, start), mask(causal<T, D>(m.T())) {
    const double s = start.s > 0 ? start.s : 1 / std::sqrt(static_cast<double>(m.D));
    for (int layer = 0; layer < 2; ++layer)
      for (auto* list : {&Q, &K, &V}) {
        list->push_back(normal<T, D>({m.d(), m.d()}, 0, s));
        list->back().requires_grad_();
      }
  }
  /// [n, T, d] -> [n, L]
  Tensor<T, D> operator()(const Tensor<T, D>& u, Maps<T, D>* maps = nullptr) const {
    const int64_t n = u.size(0), last = u.size(1) - 1;
    const auto keys = [](const Tensor<T, D>& x, const Tensor<T, D>& w) { return transpose(linear(x, w), -1, -2); };
    const auto p1 = softmax(matmul(linear(u, Q[0]), keys(u, K[0])) + mask);
    const auto h = u + matmul(p1, linear(u, V[0]));
    const auto target = narrow(h, 1, last, 1);  // nothing else of the second layer is read; it sees all tokens
    const auto p2 = softmax(matmul(linear(target, Q[1]), keys(h, K[1])));
    if (maps) *maps = {p1, p2.reshape({n, last + 1})};
    return mlp((target + matmul(p2, linear(h, V[1]))).reshape({n, u.size(2)}));
  }
  void visit(auto&& f) {
    for (std::size_t k = 0; k < 2; ++k) {
      const std::string layer = std::to_string(k + 1);
      f("Q" + layer, Q[k]), f("K" + layer, K[k]), f("V" + layer, V[k]);
    }
    f("mlp", mlp);
  }
};

/// The induction head with two learned numbers, on contents c only: p1[j, i] = softmax_i(beta1 [i = j - 1]), s_j = sum_i p1[j,
/// i] c_i, p2[j] = softmax_j(beta2 c_T . s_j), o = sum_j p2[j] c_j; the MLP reads [c_T ; o].
template <class T = float, class D = Cpu>
struct ReducedHead {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> beta1, beta2;  // [1]
  Mlp<T, D> mlp;
  Tensor<T, D> mask, before;  // [T, T]
  int64_t P, content;

  explicit ReducedHead(const Mixture& m, const Start& start = {})
      : beta1(full<T, D>({1}, 0.1)),
        beta2(full<T, D>({1}, 0.1)),
        mlp(2 * m.D, m.L, start),
        mask(causal<T, D>(m.T())),
        before(previous<T, D>(m.T())),
        P(m.P()),
        content(m.D) {
    beta1.requires_grad_(), beta2.requires_grad_();
  }
  Tensor<T, D> operator()(const Tensor<T, D>& u, Maps<T, D>* maps = nullptr) const {
    const int64_t n = u.size(0), last = u.size(1) - 1;
    const auto c = narrow(u, 2, P, content).contiguous(), c_T = narrow(c, 1, last, 1);
    const auto p1 = softmax(beta1 * before + mask);
    const auto p2 = softmax(beta2 * matmul(c_T, transpose(matmul(p1, c), 1, 2)));
    if (maps) *maps = {p1, p2.reshape({n, last + 1})};
    return mlp(cat(std::vector{c_T, matmul(p2, c)}, 2).reshape({n, 2 * content}));
  }
  void visit(auto&& f) { f("beta1", beta1), f("beta2", beta2), f("mlp", mlp); }
};

/// Means over the sequences of one set.
struct Measures {
  double loss = 0, accuracy = 0;
  double CLA = 0;   // share of answers that are some label of the context
  double ILA = 0;   // layer 1: a label token's attention to the item before it
  double TLA = 0;   // layer 2: the target's attention to all label tokens
  double TILA = 0;  // layer 2: the target's attention to the label tokens with the right label
};
template <class Net, class T, class D>
Measures measure(const Net& net, const Sequences<T, D>& s, Maps<T, D>* kept = nullptr) {
  const NoGrad guard;
  Maps<T, D> maps;
  const auto logits = net(s.u, &maps);
  if (kept) *kept = maps;
  const auto said = argmax(logits, 1);
  const auto average = [](const auto& x) { return static_cast<double>(mean(x.template to<T>()).item()); };
  const int64_t N = s.context.size(1), tokens = s.u.size(1);
  const auto to_labels = narrow(maps.p2, 1, 1, N, 2);  // tokens 1, 3, ..., 2N - 1
  const auto right = equal(s.context, unsqueeze(s.answer, 1)).template to<T>();
  Measures r;
  r.loss = static_cast<double>(cross_entropy(logits, s.answer).item());
  r.accuracy = average(equal(said, s.answer));
  r.CLA = average(amax(equal(s.context, unsqueeze(said, 1)).template to<T>(), 1));
  r.ILA = average(sum(maps.p1 * previous<T, D>(tokens, 2), {-1, -2})) / static_cast<double>(N);
  r.TLA = average(sum(to_labels, 1));
  r.TILA = average(sum(to_labels * right, 1));
  return r;
}

/// Three nested logits, theta = (b1, b2, xi) of shape [3, n] for n label counts L [n]: the loss of each, [n].
///   q1 = e^b1 / (e^b1 + N),  q2 = e^{b2 q1} / (e^{b2 q1} + N - 1)
///   loss = -xi q2 + log(e^{xi q2} + (N - 1) e^{xi (1 - q2) / (N - 1)} + L - N)
template <class T, class D>
Tensor<T, D> nested_logits(const Tensor<T, D>& theta, int64_t N, const Tensor<T, D>& L) {
  const auto b1 = select(theta, 0, 0), b2 = select(theta, 0, 1), xi = select(theta, 0, 2);
  const double n = static_cast<double>(N);
  const auto q1 = exp(b1) / (exp(b1) + n);
  const auto q2 = exp(b2 * q1) / (exp(b2 * q1) + (n - 1));
  return log(exp(xi * q2) + (n - 1) * exp(xi * (1.0 - q2) / (n - 1)) + (L - n)) - xi * q2;
}
/// d loss / d theta, [3, n].
template <class T, class D>
Tensor<T, D> nested_gradient(const Tensor<T, D>& theta, int64_t N, const Tensor<T, D>& L) {
  auto x = theta.detach();
  x.requires_grad_();
  return grad(sum(nested_logits(x, N, L)), x);
}

/// Plain gradient descent of the nested logits, all L at once. Index [l] is the label count.
struct Descent {
  std::vector<std::vector<double>> loss, b1, b2, xi;  // [l][step]
  std::vector<int64_t> jump;                          // first step with loss < 0.5 log N, -1: none
};
template <class D>
Descent descend(int64_t N, const std::vector<double>& labels, int64_t steps, const std::vector<double>& from,
                double step = 0.05) {
  const auto n = labels.size();
  Descent r;
  r.loss = r.b1 = r.b2 = r.xi = std::vector<std::vector<double>>(n), r.jump.assign(n, -1);
  const auto L = from_vector(labels).template to<D>();
  std::vector<double> start;
  for (const double x : from) start.insert(start.end(), n, x);
  auto theta = from_vector(start, {3, static_cast<int64_t>(n)}).template to<D>();
  for (int64_t t = 0; t <= steps; ++t) {
    const auto loss = no_grad([&] { return nested_logits(theta, N, L); }).to_vector(), now = theta.to_vector();
    for (std::size_t l = 0; l < n; ++l) {
      r.loss[l].push_back(loss[l]), r.b1[l].push_back(now[l]), r.b2[l].push_back(now[n + l]), r.xi[l].push_back(now[2 * n + l]);
      if (r.jump[l] < 0 && loss[l] < 0.5 * std::log(static_cast<double>(N))) r.jump[l] = t;
    }
    if (t < steps) theta = theta - step * nested_gradient(theta, N, L);
  }
  return r;
}

}  // namespace icl
