// The task, the networks and the measures of Doshi et al. 2023.
//
//   h(m, n) = U_m + V_n [N],   f(m, n) = W phi(h) [p],   phi(x) = x^2                  the quadratic MLP; U, V [p, N], W [N, p]
//   IPR(v) = sum_j (F_j / |F|)^4,   F = |rfft(v)|                                      1 for a pure wave, near 0 for noise
//   IPR_k = (IPR(U_.k) + IPR(V_.k) + IPR(W_k.)) / 3                                    of neuron k
#pragma once
#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

namespace grok {
using namespace gradus;

struct Task {
  int64_t p = 97;
  double alpha = 0.5, xi = 0.35;  ///< share of pairs that are trained on; share of these whose label is drawn anew
  bool multiply = false;          ///< m n mod p instead of m + n
};

/// Pairs with their labels.
template <class D>
struct Pairs {
  Tensor<int64_t, D> m, n, label, truth;  // [size]
  int64_t size() const { return m.size(0); }
  Pairs at(const Tensor<int64_t, D>& index) const {
    return {index_select(m, 0, index), index_select(n, 0, index), index_select(label, 0, index), index_select(truth, 0, index)};
  }
  Pairs part(int64_t begin, int64_t end) const {
    return {m(slice(begin, end)), n(slice(begin, end)), label(slice(begin, end)), truth(slice(begin, end))};
  }
};

/// The corrupted labels come first in `train`; a drawn label may be the true one, with probability 1 / p.
template <class D>
struct Data {
  Pairs<D> train, test;
  int64_t corrupted = 0;
  Pairs<D> noisy() const { return train.part(0, corrupted); }
  Pairs<D> clean() const { return train.part(corrupted, train.size()); }
};

/// From the current generator.
template <class D>
Data<D> make_data(const Task& task) {
  const int64_t p = task.p, all = p * p;
  const std::vector<int64_t> order = randperm(all).to_vector();
  const auto train = static_cast<int64_t>(task.alpha * static_cast<double>(all)),
             noisy = static_cast<int64_t>(task.xi * static_cast<double>(train));
  const std::vector<int64_t> drawn = randint(0, p, {std::max<int64_t>(noisy, 1)}).to_vector();
  const auto part = [&](int64_t begin, int64_t end, int64_t corrupted) {
    std::vector<int64_t> m, n, label, truth;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t pair = order[static_cast<std::size_t>(i)];
      m.push_back(pair / p), n.push_back(pair % p);
      truth.push_back((task.multiply ? m.back() * n.back() : m.back() + n.back()) % p);
      label.push_back(i < corrupted ? drawn[static_cast<std::size_t>(i)] : truth.back());
    }
    const auto put = [](const std::vector<int64_t>& v) { return from_vector(v).template to<D>(); };
    return Pairs<D>{put(m), put(n), put(label), put(truth)};
  };
  return {part(0, train, noisy), part(train, all, 0), noisy};
}

enum class Norm { none, batch, layer };

struct MlpOptions {
  int64_t p = 97, width = 500;
  double dropout = 0;  ///< of h, before the square
  Norm norm = Norm::none;
};

/// linear -> dropout -> square -> norm -> linear
template <class T, class D>
struct Mlp {
  using value_type = T;
  using device_type = D;
  MlpOptions options;
  Tensor<T, D> U, V, W;
  nn::Dropout drop;
  std::optional<nn::BatchNorm1d<T, D>> bn;
  std::optional<nn::LayerNorm<T, D>> ln;

  /// Every weight is N(0, sigma^2), sigma = 0.5 / (2 N)^{1/3}.
  explicit Mlp(MlpOptions o) : options(o), drop(o.dropout) {
    const double sigma = 0.5 / std::cbrt(2.0 * static_cast<double>(o.width));
    const auto weight = [&](int64_t rows, int64_t columns) { return normal<T, D>({rows, columns}, 0, sigma).requires_grad_(); };
    U = weight(o.p, o.width), V = weight(o.p, o.width), W = weight(o.width, o.p);
    if (o.norm == Norm::batch) bn.emplace(o.width);
    if (o.norm == Norm::layer) ln.emplace(o.width);
  }
  void visit(auto&& f) {
    f("U", U), f("V", V), f("W", W), f("drop", drop);
    if (bn) f("bn", *bn);
    if (ln) f("ln", *ln);
  }
  Tensor<T, D> forward(const Tensor<int64_t, D>& m, const Tensor<int64_t, D>& n) {
    const auto h = index_select(U, 0, m) + index_select(V, 0, n);  // the product with two one-hot vectors
    auto phi = square(options.dropout > 0 ? drop(h) : h);
    if (bn) phi = (*bn)(phi);
    if (ln) phi = (*ln)(phi);
    return matmul(phi, W);
  }
};

/// Gromov 2023: the trained network in closed form. Frequencies 1 ... (p - 1) / 2 in turn, phases from the current generator;
/// f_q(m, n) -> 1 where q = m + n mod p, else 0, as N grows.
template <class T, class D>
void make_analytic(Mlp<T, D>& net) {
  const int64_t p = net.options.p, N = net.options.width, half = (p - 1) / 2;
  const double A = std::cbrt(2.0 / static_cast<double>(N)), turn = 2 * std::numbers::pi / static_cast<double>(p);
  const auto a = uniform<double>({N}, -std::numbers::pi, std::numbers::pi).to_vector(),
             b = uniform<double>({N}, -std::numbers::pi, std::numbers::pi).to_vector();
  std::vector<T> u, v, w(static_cast<std::size_t>(N * p));
  for (int64_t j = 0; j < p; ++j)
    for (int64_t k = 0; k < N; ++k) {
      const auto i = static_cast<std::size_t>(k);
      const double angle = turn * static_cast<double>((1 + k % half) * j);
      u.push_back(static_cast<T>(A * std::cos(angle + a[i]))), v.push_back(static_cast<T>(A * std::cos(angle + b[i])));
      w[static_cast<std::size_t>(k * p + j)] = static_cast<T>(A * std::cos(angle + a[i] + b[i]));
    }
  no_grad([&] {
    net.U.copy_(from_vector(u, Shape{p, N}).template to<D>()), net.V.copy_(from_vector(v, Shape{p, N}).template to<D>());
    net.W.copy_(from_vector(w, Shape{N, p}).template to<D>());
  });
}

/// IPR of the columns of x [p, N] -> [N], float64 on the host. The transform of real rows of length p, as a product with
/// cosines and sines.
template <class T, class D>
Tensor<double> ipr_of_columns(const Tensor<T, D>& x) {
  return no_grad([&] {
    const int64_t p = x.size(0), bins = p / 2 + 1;
    std::vector<double> c, s;
    for (int64_t j = 0; j < bins; ++j)
      for (int64_t t = 0; t < p; ++t) {
        const double angle = 2 * std::numbers::pi * static_cast<double>(j * t % p) / static_cast<double>(p);
        c.push_back(std::cos(angle)), s.push_back(std::sin(angle));
      }
    const auto host = x.detach().template to<Cpu>().template to<double>();
    const auto power =
        square(matmul(from_vector(c, Shape{bins, p}), host)) + square(matmul(from_vector(s, Shape{bins, p}), host));
    return sum(square(power), {0}) / square(sum(power, {0}));
  });
}
/// IPR_k of each neuron.
template <class T, class D>
std::vector<double> ipr_of(const Mlp<T, D>& net) {
  return ((ipr_of_columns(net.U) + ipr_of_columns(net.V) + ipr_of_columns(net.W.t().contiguous())) / 3.0).to_vector();
}
inline double mean_of(const std::vector<double>& v) {
  return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
}
inline double pearson(const std::vector<double>& x, const std::vector<double>& y) {
  const double mx = mean_of(x), my = mean_of(y);
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    xy += (x[i] - mx) * (y[i] - my), xx += (x[i] - mx) * (x[i] - mx), yy += (y[i] - my) * (y[i] - my);
  return xy / std::sqrt(xx * yy);
}

/// One block of an encoder over two tokens m, n, read at the last; no norms, no biases, no causal mask. Scores are divided by
/// d_head, not by its root, and logits by d = sqrt(d^{1 + s}), s = 1.
template <class T, class D>
struct Transformer {
  using value_type = T;
  using device_type = D;
  int64_t d, heads;
  Tensor<T, D> E, P, Q, K, V, O, up, down, head;

  explicit Transformer(int64_t p, int64_t d = 128, int64_t heads = 4) : d(d), heads(heads) {
    const auto linear = [](int64_t in, int64_t out) {
      return normal<T, D>({in, out}, 0, 1 / std::sqrt(static_cast<double>(in))).requires_grad_();
    };
    E = randn<T, D>({p, d}).requires_grad_(), P = randn<T, D>({2, d}).requires_grad_();
    Q = linear(d, d), K = linear(d, d), V = linear(d, d), O = linear(d, d), up = linear(d, 4 * d), down = linear(4 * d, d),
    head = linear(d, p);
  }
  void visit(auto&& f) {
    f("E", E), f("P", P);
    for (auto& [name, w] : weights()) f(name, *w);
  }
  std::vector<std::pair<const char*, Tensor<T, D>*>> weights() {
    return {{"Q", &Q}, {"K", &K}, {"V", &V}, {"O", &O}, {"up", &up}, {"down", &down}, {"head", &head}};
  }
  Tensor<T, D> forward(const Tensor<int64_t, D>& m, const Tensor<int64_t, D>& n) {
    const int64_t B = m.size(0), size = d / heads;
    auto x = stack(std::vector{index_select(E, 0, m), index_select(E, 0, n)}, 1) + P;  // [B, 2, d]
    const auto split = [&](const Tensor<T, D>& w) { return transpose(reshape(matmul(x, w), {B, 2, heads, size}), 1, 2); };
    const auto y = scaled_dot_product_attention(split(Q), split(K), split(V), {.scale = 1 / static_cast<double>(size)});
    x = x + matmul(reshape(transpose(y, 1, 2), {B, 2, d}), O);
    x = x + matmul(relu(matmul(x, up)), down);
    return matmul(x(all, 1), head) / static_cast<T>(d);
  }
};

/// Shares of pairs whose largest output is the label; against the truth for `recovered`.
struct Accuracy {
  double train = 0, test = 0, noisy = 0, clean = 0, recovered = 0;
};
template <class D, class Net>
Tensor<int64_t, D> answers(Net& net, const Pairs<D>& x) {
  return no_grad([&] { return argmax(net.forward(x.m, x.n), 1); });
}
template <class D>
double share(const Tensor<int64_t, D>& answer, const Tensor<int64_t, D>& label) {
  return answer.numel() == 0 ? NAN : mean((answer == label).template to<double>()).item();
}
/// In evaluation mode, which it leaves as it was.
template <class D, class Net>
Accuracy accuracy(Net& net, const Data<D>& data) {
  nn::eval(net);
  const auto train = answers(net, data.train), test = answers(net, data.test);
  nn::train(net);
  const auto noisy = train(slice(0, data.corrupted)), clean = train(slice(data.corrupted, data.train.size()));
  return {share(train, data.train.label), share(test, data.test.label), share(noisy, data.noisy().label),
          share(clean, data.clean().label), share(noisy, data.noisy().truth)};
}

/// A copy without `fraction` of its neurons, those of the lowest (or highest) IPR.
template <class T, class D>
Mlp<T, D> pruned(const Mlp<T, D>& net, const std::vector<double>& ipr, double fraction, bool lowest) {
  std::vector<std::size_t> order(ipr.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return lowest ? ipr[a] < ipr[b] : ipr[a] > ipr[b]; });
  std::vector<T> keep(ipr.size(), T(1));
  for (std::size_t i = 0; i < static_cast<std::size_t>(std::llround(fraction * static_cast<double>(ipr.size()))); ++i)
    keep[order[i]] = T(0);
  const auto n = static_cast<int64_t>(keep.size());
  const auto mask = from_vector(keep, Shape{1, n}).template to<D>();
  Mlp<T, D> copy = net;
  no_grad([&] {
    copy.U = net.U.detach() * mask, copy.V = net.V.detach() * mask, copy.W = net.W.detach() * reshape(mask, {n, 1});
  });
  return copy;
}

struct TrainOptions {
  int64_t steps = 500, batch = 0;  ///< 0: all pairs
  double lr = 1e-2, weight_decay = 0;
  bool cross_entropy = false;
};
/// The rate of the authors' small batches: lr sqrt(batch / 256) below 256.
inline double scaled_rate(double lr, int64_t batch) {
  return batch > 0 && batch < 256 ? lr * std::sqrt(static_cast<double>(batch) / 256) : lr;
}

/// AdamW (0.9, 0.98) on the mean squared distance from one-hot labels, over pairs and outputs. Small batches go through the
/// pairs in a new order each epoch; a last one that is not full is left out. each(step) comes before step `step`, and after the
/// last one; false ends it.
template <class D, class Net, class Opt, class Each>
void train(Net& net, const Pairs<D>& pairs, Opt& opt, const TrainOptions& o, Each each) {
  using T = typename Net::value_type;
  const int64_t batch = o.batch > 0 && o.batch < pairs.size() ? o.batch : pairs.size();
  Tensor<int64_t, D> order;
  Pairs<D> x = pairs;
  int64_t next = pairs.size();
  for (int64_t step = 0; each(step) && step < o.steps; ++step) {
    if (batch < pairs.size()) {
      if (next + batch > pairs.size()) order = randperm<D>(pairs.size()), next = 0;
      x = pairs.at(order(slice(next, next + batch))), next += batch;
    }
    opt.zero_grad();
    const auto f = net.forward(x.m, x.n);
    const auto loss = o.cross_entropy ? cross_entropy(f, x.label) : mse_loss(f, one_hot<T>(x.label, f.size(1)));
    loss.backward();
    opt.step();
  }
}

}  // namespace grok
