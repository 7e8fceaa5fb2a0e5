// Softmax over many classes, the rare ones in clusters of fewer features: Grave, Joulin, Cisse, Grangier, Jegou 2017.
//
//   classes 0 ... cutoffs[0] - 1 are in the head, cutoffs[i - 1] ... cutoffs[i] - 1 in cluster i (frequent classes first)
//   log p(c) = head_c                              for c in the head
//            = head_{cluster i} + tail_i,c         else;  the head is a log-softmax over its classes and the clusters
//   tail i: log-softmax of W2 W1 x with in / div^i features between
#pragma once
#include <gradus/nn/linear.hpp>
#include <gradus/ops/softmax.hpp>

namespace gradus::nn {

template <class T = float, class D = Cpu>
struct AdaptiveLogSoftmax {
  using value_type = T;
  using device_type = D;
  Linear<T, D> head;
  std::vector<Linear<T, D>> narrow_, wide;  // W1 and W2 of each tail
  std::vector<int64_t> cutoffs;             // the last one is the number of classes

  AdaptiveLogSoftmax(int64_t in, int64_t classes, std::vector<int64_t> inner_cutoffs, double div = 4, bool head_bias = false,
                     Where at = Where::current())
      : head(in, checked(classes, inner_cutoffs, div, at) + static_cast<int64_t>(inner_cutoffs.size()), head_bias, at),
        cutoffs(std::move(inner_cutoffs)) {
    cutoffs.push_back(classes);
    double between = static_cast<double>(in);
    for (std::size_t i = 0; i + 1 < cutoffs.size(); ++i) {
      between /= div;
      const int64_t features = between < 1 ? 1 : static_cast<int64_t>(between);
      narrow_.emplace_back(in, features, false, at), wide.emplace_back(features, cutoffs[i + 1] - cutoffs[i], false, at);
    }
  }
  template <class U, class E>
  explicit AdaptiveLogSoftmax(const AdaptiveLogSoftmax<U, E>& o, Where at = Where::current())
      : head(o.head, at), cutoffs(o.cutoffs) {
    for (const auto& x : o.narrow_) narrow_.emplace_back(x, at);
    for (const auto& x : o.wide) wide.emplace_back(x, at);
  }

  /// log p(target) for each row: x [N, in], target [N] -> [N]. Each tail works on the rows that need it alone. The loss is
  /// the mean of its negative.
  Tensor<T, D> forward(const Tensor<T, D>& x, const Tensor<int64_t, D>& target, Where at = Where::current()) const {
    if (x.rank() != 2 || target.rank() != 1 || target.shape()[0] != x.shape()[0])
      fail("AdaptiveLogSoftmax", "not rows and their classes", {{"x", describe(x)}, {"target", describe(target)}},
           "x [N, in], target [N]", at);
    if (target.numel() > 0 && (amin(target, {}, false, at).item() < 0 || amax(target, {}, false, at).item() >= cutoffs.back()))
      fail("AdaptiveLogSoftmax", "a class that there is not", {{"target", describe(target)}},
           "0 ... " + std::to_string(cutoffs.back() - 1), at);
    const auto first = log_softmax(head.forward(x, at), -1, at);
    auto place = target;  // column of the head
    std::vector<std::pair<Tensor<int64_t, D>, Tensor<T, D>>> parts;
    for (std::size_t i = 0; i + 1 < cutoffs.size(); ++i) {
      const double lo = static_cast<double>(cutoffs[i]), hi = static_cast<double>(cutoffs[i + 1]);
      const auto here = logical_and(greater_equal(target, lo, at), less(target, hi, at), at);
      place = where(here, static_cast<double>(cutoffs[0]) + static_cast<double>(i), place, at);
      const auto rows = gradus::reshape(nonzero(here, at), {-1}, at);
      if (rows.numel() == 0) continue;
      const auto p = tail(i, index_select(x, 0, rows, at), at);
      const auto column = unsqueeze(sub(index_select(target, 0, rows, at), lo, at), 1, at);
      parts.emplace_back(rows, squeeze(gather(p, 1, column, at), 1, at));
    }
    auto y = squeeze(gather(first, 1, unsqueeze(place, 1, at), at), 1, at);
    for (const auto& [rows, p] : parts) y = index_add(y, 0, rows, p, at);
    return y;
  }
  /// log p of every class: [N, in] -> [N, classes].
  Tensor<T, D> log_prob(const Tensor<T, D>& x, Where at = Where::current()) const {
    const auto first = log_softmax(head.forward(x, at), -1, at);
    std::vector<Tensor<T, D>> all{gradus::narrow(first, 1, 0, cutoffs[0], 1, at)};
    for (std::size_t i = 0; i + 1 < cutoffs.size(); ++i)
      all.push_back(add(tail(i, x, at), gradus::narrow(first, 1, cutoffs[0] + static_cast<int64_t>(i), 1, 1, at), at));
    return cat(all, 1, at);
  }
  /// The most probable class: [N, in] -> [N].
  Tensor<int64_t, D> predict(const Tensor<T, D>& x, Where at = Where::current()) const {
    return argmax(no_grad([&] { return log_prob(x, at); }), 1, false, at);
  }
  void visit(auto&& f) { f("head", head), f("narrow", narrow_), f("wide", wide); }
  std::string about() const {
    return std::to_string(head.weight.size(1)) + " -> " + std::to_string(cutoffs.back()) + " classes";
  }

 private:
  Tensor<T, D> tail(std::size_t i, const Tensor<T, D>& x, Where at) const {
    return log_softmax(wide[i].forward(narrow_[i].forward(x, at), at), -1, at);
  }
  static int64_t checked(int64_t classes, const std::vector<int64_t>& cutoffs, double div, Where at) {
    bool fits = !cutoffs.empty() && div > 0;
    int64_t before = 0;
    for (const int64_t c : cutoffs) fits = fits && c > before && c < classes, before = c;
    if (!fits)
      fail("AdaptiveLogSoftmax", "no such clusters", {{"classes", std::to_string(classes)}, {"div", std::to_string(div)}},
           "cutoffs that rise from 1 to below the number of classes, div > 0", at);
    return cutoffs[0];
  }
};

}  // namespace gradus::nn
