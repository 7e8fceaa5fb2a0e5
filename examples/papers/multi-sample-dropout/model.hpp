// The network and the loss of Inoue 2019, in the symbols
//
//   h_i = F(x_i)                           features of picture i, computed once
//   a_{i,m} = h_i * v_{i,m} / (1 - p)      v_{i,m} ~ Bernoulli(1 - p), m = 1..M, independent over i, m and unit
//   o_{i,m} = H(a_{i,m})                   the same weights for every copy m
//   L = 1 / (M B) sum_{i,m} l(o_{i,m}, y_i)
//
// The M copies are rows of one batch of M B, copy by copy: one product for all of them, and the mask of (m, i, unit) is the
// counter (m B + i) dim + unit of one random stream, so copies never share a mask.
#pragma once
#include <cmath>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/nn.hpp>

namespace msd {
using namespace gradus;

enum class Place { last, all };       // dropout before the classifier, or before every fully connected layer
enum class Average { loss, logits };  // the paper averages losses; logits is the control
enum class Diversity { none, flip };  // flip mirrors the feature map of every second copy

struct Config {
  int64_t C1 = 16, C2 = 32, hidden = 128;  // channels of the two stages, features of the hidden layer
  int convolutions = 2;                    // in each stage
  int64_t M = 1;
  double p = 0.5;  // the probability of DROPPING
  Place where = Place::all;
  Average average = Average::loss;
  Diversity diversity = Diversity::none;
  int64_t side = 28, classes = 10;

  int64_t flat() const { return C2 * (side / 4) * (side / 4); }
  /// Multiply-adds a picture in F and in H.
  double cost_F() const {
    double n = 0, area = static_cast<double>(side * side), in = 1;
    for (const int64_t c : {C1, C2}) {
      for (int k = 0; k < convolutions; ++k) n += area * in * static_cast<double>(9 * c), in = static_cast<double>(c);
      area /= 4;
    }
    return n + (where == Place::last ? static_cast<double>(flat() * hidden) : 0);
  }
  double cost_H() const {
    return static_cast<double>(hidden * classes) + (where == Place::all ? static_cast<double>(flat() * hidden) : 0);
  }
  /// Cost of a step with M copies over that with one.
  double cost_ratio() const { return (cost_F() + static_cast<double>(M) * cost_H()) / (cost_F() + cost_H()); }
};

template <class T = float, class D = Cpu>
struct Net {
  using value_type = T;
  using device_type = D;
  Config c;
  nn::Sequential<T, D> F, H;
  int64_t calls_of_F = 0;

  explicit Net(const Config& config) : c(config) {
    int64_t in = 1;
    for (const int64_t width : {c.C1, c.C2}) {
      for (int k = 0; k < c.convolutions; ++k) {
        F.add(nn::Conv2d<T, D>(in, width, 3, {.padding = 1})).add(nn::BatchNorm2d<T, D>(width)).add(nn::ReLU{});
        in = width;
      }
      F.add(nn::MaxPool2d(2));
    }
    auto& hidden = c.where == Place::all ? H : F;  // what lies before the first dropout belongs to F
    hidden.add(nn::Flatten{});
    if (c.where == Place::all) H.add(nn::Dropout(c.p));
    hidden.add(nn::Linear<T, D>(c.flat(), c.hidden)).add(nn::ReLU{});
    H.add(nn::Dropout(c.p)).add(nn::Linear<T, D>(c.hidden, c.classes));
  }
  void visit(auto&& f) { f("F", F), f("H", H); }
  Tensor<T, D>& last_weight() { return H.template at<nn::Linear<T, D>>(H.size() - 1).weight; }

  /// M copies of h along the batch, copy by copy: [M B, ...]
  Tensor<T, D> copies(const Tensor<T, D>& h, int64_t M) const {
    if (M == 1) return h;
    if (c.diversity == Diversity::flip && h.rank() == 4) {
      const Tensor<T, D> mirrored = flip(h, {3});
      std::vector<Tensor<T, D>> list;
      for (int64_t m = 0; m < M; ++m) list.push_back(m % 2 ? mirrored : h);
      return cat(list, 0);
    }
    Shape times = h.shape();
    for (int i = 0; i < times.n; ++i) times[i] = i == 0 ? M : 1;
    return repeat(h, times);
  }
  /// L for features h [B, ...] and classes y [B].
  Tensor<T, D> head_loss(const Tensor<T, D>& h, const Tensor<int64_t, D>& y, int64_t M) const {
    const Tensor<T, D> o = H(copies(h, M));  // [M B, classes]
    if (c.average == Average::logits) return cross_entropy(mean(o.reshape({M, -1, c.classes}), 0), y);
    return cross_entropy(o, M == 1 ? y : repeat(y, {M}));  // the mean over M B rows
  }
  Tensor<T, D> loss(const Tensor<T, D>& x, const Tensor<int64_t, D>& y) {
    ++calls_of_F;
    return head_loss(F(x), y, c.M);
  }
  /// Logits for evaluation: call eval(net) first; nothing is dropped, nothing is repeated.
  Tensor<T, D> logits(const Tensor<T, D>& x) const { return H(F(x)); }
};

/// R1: the largest difference between the gradients of L and those of plain dropout on the batch repeated M times with the same
/// masks, over the largest entry of each gradient. Batch norm is in training mode.
template <class T, class D>
double relation_1(Config c, const Tensor<T, D>& x, const Tensor<int64_t, D>& y, uint64_t seed) {
  manual_seed(seed);
  Net<T, D> net(c);
  const auto streams = generator();
  net.loss(x, y).backward();
  std::vector<Tensor<T, D>> multi;
  for (const auto& p : nn::parameters(net)) multi.push_back(p.grad().clone());
  nn::zero_grad(net);
  const int64_t M = net.c.M;
  net.c.M = 1;
  generator() = streams;  // the same masks
  net.loss(repeat(x, {M, 1, 1, 1}), repeat(y, {M})).backward();
  double worst = 0;
  std::size_t k = 0;
  for (const auto& [name, p] : nn::named_parameters(net)) {
    // A convolution's bias before batch norm has a gradient of exactly 0: it is compared with the size of its weight's.
    const bool bias = name.size() > 4 && name.compare(name.size() - 4, 4, "bias") == 0;
    const auto scale = static_cast<double>(std::max(amax(abs(p.grad())).item(), bias ? amax(abs(multi[k - 1])).item() : T(0)));
    worst = std::max(worst, static_cast<double>(amax(abs(p.grad() - multi[k])).item()) / std::max(scale, 1e-300));
    ++k;
  }
  return worst;
}

/// R2: over `draws` masks, the variance of dL/dW of the last layer summed over its entries, and its mean, for fixed features.
struct GradientNoise {
  double variance = 0;
  std::vector<double> mean, error;  // of each entry, and its standard error
};
template <class T, class D>
GradientNoise gradient_noise(Net<T, D>& net, const Tensor<T, D>& h, const Tensor<int64_t, D>& y, int64_t M, int draws) {
  const Tensor<T, D> W = net.last_weight();
  const auto n = static_cast<std::size_t>(W.numel());
  std::vector<double> sum(n, 0.0), squares(n, 0.0);
  for (int d = 0; d < draws; ++d) {
    const auto g = grad(net.head_loss(h, y, M), W).to_vector();
    for (std::size_t i = 0; i < n; ++i) {
      const auto v = static_cast<double>(g[i]);
      sum[i] += v, squares[i] += v * v;
    }
  }
  GradientNoise r;
  for (std::size_t i = 0; i < n; ++i) {
    const double mean = sum[i] / draws, variance = std::max(0.0, (squares[i] - draws * mean * mean) / (draws - 1));
    r.variance += variance;
    r.mean.push_back(mean), r.error.push_back(std::sqrt(variance / draws));
  }
  return r;
}
/// The distance of two mean gradients in standard errors, root mean square over the entries: about 1 when they agree.
inline double distance(const GradientNoise& a, const GradientNoise& b) {
  double d = 0, e = 0;
  for (std::size_t i = 0; i < a.mean.size(); ++i) {
    d += (a.mean[i] - b.mean[i]) * (a.mean[i] - b.mean[i]);
    e += a.error[i] * a.error[i] + b.error[i] * b.error[i];
  }
  return std::sqrt(d / std::max(e, 1e-300));
}

/// R3, a linear head with squared loss: E l = (w.h - y)^2 + p / (1 - p) sum_j w_j^2 h_j^2. The relative error of a Monte Carlo
/// mean.
inline double relation_3(double p, int64_t draws, uint64_t seed) {
  manual_seed(seed);
  const int64_t n = 16;
  const auto w = randn<double>({n, 1}), h = randn<double>({1, n});
  const double wh = matmul(h, w).item(), noise = p / (1 - p) * sum(square(h.reshape({n, 1}) * w)).item();
  const double y = wh - 2 * std::sqrt(noise);  // both terms count; the relative deviation of one draw is then below 0.9
  const double expected = (wh - y) * (wh - y) + noise;
  double total = 0;
  const int64_t chunk = 10000;
  const auto rows = repeat(h, {chunk, 1});
  for (int64_t k = 0; k < draws; k += chunk) total += sum(square(matmul(dropout(rows, p), w) - y)).item();
  return std::abs(total / static_cast<double>(draws) - expected) / expected;
}

}  // namespace msd
