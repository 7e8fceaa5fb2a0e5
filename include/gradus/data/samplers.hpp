// Which samples, how often, and with which labels: balanced and weighted draws, long tails, noisy labels, splits. All of them are
// functions of labels and a stream: the same for any number of threads.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <gradus/core/error.hpp>
#include <gradus/data/draws.hpp>

namespace gradus::data {

using Indices = std::vector<int64_t>;

namespace detail {
template <class L>
std::vector<Indices> by_class(const char* op, const std::vector<L>& labels, int64_t classes, Where at) {
  if (classes < 1) fail(op, "no classes", {{"classes", std::to_string(classes)}}, "at least 1", at);
  std::vector<Indices> of(static_cast<std::size_t>(classes));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto k = static_cast<int64_t>(labels[i]);
    if (k < 0 || k >= classes)
      fail(op, "a label is out of range", {{"sample", std::to_string(i)}, {"label", std::to_string(k)}},
           "0 to " + std::to_string(classes - 1), at);
    of[static_cast<std::size_t>(k)].push_back(static_cast<int64_t>(i));
  }
  return of;
}
inline Indices shuffled(Indices x, RandomStream s) {
  Indices order(x.size()), y(x.size());
  kernels::random_permutation(Cpu{}, order.data(), static_cast<int64_t>(x.size()), s);
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[static_cast<std::size_t>(order[i])];
  return y;
}
inline RandomStream part_of_stream(RandomStream s, uint64_t part) { return {s.seed ^ (part + 1) * 0x9e3779b97f4a7c15u, s.stream}; }
}  // namespace detail

/// n draws with replacement, each class equally likely, each sample of a class equally likely: for unbalanced sets.
template <class L>
Indices class_balanced(const std::vector<L>& labels, int64_t classes, int64_t n, RandomStream stream, Where at = Where::current()) {
  const auto of = detail::by_class("class_balanced", labels, classes, at);
  for (std::size_t k = 0; k < of.size(); ++k)
    if (of[k].empty()) fail("class_balanced", "a class without samples", {{"class", std::to_string(k)}}, "at least one of each class", at);
  Indices out;
  for (int64_t i = 0; i < n; ++i) {
    Draws d(stream, static_cast<uint64_t>(i));
    const auto& c = of[static_cast<std::size_t>(d.below(classes))];
    out.push_back(c[static_cast<std::size_t>(d.below(static_cast<int64_t>(c.size())))]);
  }
  return out;
}
/// n draws with replacement in proportion to the weights.
inline Indices weighted(const std::vector<double>& weights, int64_t n, RandomStream stream, Where at = Where::current()) {
  std::vector<double> sum(weights.size());
  double total = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (!(weights[i] >= 0) || !std::isfinite(weights[i]))
      fail("weighted", "not a weight", {{"sample", std::to_string(i)}, {"weight", std::to_string(weights[i])}}, "a finite number >= 0", at);
    sum[i] = total += weights[i];
  }
  if (!(total > 0)) fail("weighted", "no weight is positive", {{"weights", std::to_string(weights.size())}}, "at least one", at);
  Indices out;
  for (int64_t i = 0; i < n; ++i) {
    const double u = Draws(stream, static_cast<uint64_t>(i)).uniform() * total;
    const auto k = std::upper_bound(sum.begin(), sum.end(), u) - sum.begin();
    out.push_back(std::min<int64_t>(k, static_cast<int64_t>(sum.size()) - 1));
  }
  return out;
}

/// Part of a set in which class k keeps n_0 ratio^{-k / (classes - 1)} samples, n_0 the size of the smallest class at first: the
/// last class is `ratio` times rarer than class 0. Cui et al. 2019 and Cao et al. 2019, exponential profile.
template <class L>
Indices long_tail(const std::vector<L>& labels, int64_t classes, double ratio, RandomStream stream, Where at = Where::current()) {
  if (!(ratio >= 1)) fail("long_tail", "an option is out of range", {{"ratio", std::to_string(ratio)}}, "ratio >= 1", at);
  const auto of = detail::by_class("long_tail", labels, classes, at);
  std::size_t most = of[0].size();
  for (const auto& c : of) most = std::min(most, c.size());
  Indices out;
  for (int64_t k = 0; k < classes; ++k) {
    const double part = classes > 1 ? static_cast<double>(k) / static_cast<double>(classes - 1) : 0;
    const auto keep = static_cast<std::size_t>(static_cast<double>(most) * std::pow(ratio, -part));
    const Indices c = detail::shuffled(of[static_cast<std::size_t>(k)], detail::part_of_stream(stream, static_cast<uint64_t>(k)));
    out.insert(out.end(), c.begin(), c.begin() + static_cast<std::ptrdiff_t>(keep));
  }
  std::sort(out.begin(), out.end());
  return out;
}

/// Each label is wrong with probability `rate`: another class, all equally likely (with `any`: any class, also the true one, as in
/// Zhang et al. 2017). Says by the result alone which are wrong: compare with the input.
template <class L>
std::vector<L> symmetric_noise(std::vector<L> labels, int64_t classes, double rate, RandomStream stream, bool any = false,
                               Where at = Where::current()) {
  if (!(rate >= 0 && rate <= 1) || classes < 2)
    fail("symmetric_noise", "options out of range", {{"rate", std::to_string(rate)}, {"classes", std::to_string(classes)}},
         "0 <= rate <= 1, at least 2 classes", at);
  detail::by_class("symmetric_noise", labels, classes, at);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    Draws d(stream, i);
    if (!d.chance(rate)) continue;
    const auto k = static_cast<int64_t>(labels[i]);
    labels[i] = static_cast<L>(any ? d.below(classes) : (k + 1 + d.below(classes - 1)) % classes);
  }
  return labels;
}
/// Class k becomes to[k] with probability `rate`: asymmetric noise (Patrini et al. 2017).
template <class L>
std::vector<L> asymmetric_noise(std::vector<L> labels, const std::vector<int64_t>& to, double rate, RandomStream stream,
                                Where at = Where::current()) {
  if (!(rate >= 0 && rate <= 1))
    fail("asymmetric_noise", "options out of range", {{"rate", std::to_string(rate)}}, "0 <= rate <= 1", at);
  const auto classes = static_cast<int64_t>(to.size());
  detail::by_class("asymmetric_noise", labels, classes, at);
  detail::by_class("asymmetric_noise", to, classes, at);
  for (std::size_t i = 0; i < labels.size(); ++i)
    if (Draws(stream, i).chance(rate)) labels[i] = static_cast<L>(to[static_cast<std::size_t>(labels[i])]);
  return labels;
}
/// Class k becomes k + 1 (the last one 0) with probability `rate`: pair noise (Han et al. 2018).
template <class L>
std::vector<L> pair_noise(std::vector<L> labels, int64_t classes, double rate, RandomStream stream, Where at = Where::current()) {
  std::vector<int64_t> to(static_cast<std::size_t>(std::max<int64_t>(classes, 0)));
  for (std::size_t k = 0; k < to.size(); ++k) to[k] = (static_cast<int64_t>(k) + 1) % classes;
  return asymmetric_noise(std::move(labels), to, rate, stream, at);
}

/// Noise of an exact size: in each class, ceil(rate n) of its n labels, drawn at random, become to[class], or without `to` another
/// class, all equally likely. Chen et al. 2022 (compressing features); a class with to[k] = k keeps its labels.
template <class L>
std::vector<L> exact_noise(std::vector<L> labels, int64_t classes, double rate, RandomStream stream, const std::vector<int64_t>& to = {},
                           Where at = Where::current()) {
  if (!(rate >= 0 && rate <= 1) || classes < 2 || (!to.empty() && static_cast<int64_t>(to.size()) != classes))
    fail("exact_noise", "options out of range",
         {{"rate", std::to_string(rate)}, {"classes", std::to_string(classes)}, {"to", std::to_string(to.size()) + " classes"}},
         "0 <= rate <= 1, at least 2 classes, `to` empty or a class for each", at);
  if (!to.empty()) detail::by_class("exact_noise", to, classes, at);
  const auto of = detail::by_class("exact_noise", labels, classes, at);
  for (int64_t k = 0; k < classes; ++k) {
    const auto all = detail::shuffled(of[static_cast<std::size_t>(k)], detail::part_of_stream(stream, static_cast<uint64_t>(k)));
    const auto wrong = static_cast<std::size_t>(std::ceil(rate * static_cast<double>(all.size()) - 1e-9));
    for (std::size_t n = 0; n < wrong; ++n) {
      Draws d(stream, static_cast<uint64_t>(all[n]));
      labels[static_cast<std::size_t>(all[n])] =
          static_cast<L>(to.empty() ? (k + 1 + d.below(classes - 1)) % classes : to[static_cast<std::size_t>(k)]);
    }
  }
  return labels;
}

/// Two parts of 0 ... n - 1: `part` of them, and the rest; drawn at random, each in rising order.
inline std::pair<Indices, Indices> random_split(int64_t n, double part, RandomStream stream, Where at = Where::current()) {
  if (!(part >= 0 && part <= 1) || n < 0)
    fail("random_split", "options out of range", {{"n", std::to_string(n)}, {"part", std::to_string(part)}}, "n >= 0, 0 <= part <= 1", at);
  Indices all(static_cast<std::size_t>(n));
  kernels::random_permutation(Cpu{}, all.data(), n, stream);
  const auto cut = all.begin() + static_cast<std::ptrdiff_t>(static_cast<double>(n) * part);
  Indices a(all.begin(), cut), b(cut, all.end());
  std::sort(a.begin(), a.end()), std::sort(b.begin(), b.end());
  return {a, b};
}
/// The same with `part` of each class.
template <class L>
std::pair<Indices, Indices> stratified_split(const std::vector<L>& labels, int64_t classes, double part, RandomStream stream,
                                             Where at = Where::current()) {
  if (!(part >= 0 && part <= 1)) fail("stratified_split", "an option is out of range", {{"part", std::to_string(part)}}, "0 <= part <= 1", at);
  const auto of = detail::by_class("stratified_split", labels, classes, at);
  Indices a, b;
  for (std::size_t k = 0; k < of.size(); ++k) {
    const Indices c = detail::shuffled(of[k], detail::part_of_stream(stream, k));
    const auto cut = c.begin() + static_cast<std::ptrdiff_t>(std::lround(static_cast<double>(c.size()) * part));
    a.insert(a.end(), c.begin(), cut), b.insert(b.end(), cut, c.end());
  }
  std::sort(a.begin(), a.end()), std::sort(b.begin(), b.end());
  return {a, b};
}
/// Fold i of k: its test samples, and the rest. The folds' sizes differ by at most one.
inline std::pair<Indices, Indices> fold(int64_t n, int64_t k, int64_t i, RandomStream stream, Where at = Where::current()) {
  if (k < 2 || k > n || i < 0 || i >= k)
    fail("fold", "options out of range", {{"n", std::to_string(n)}, {"k", std::to_string(k)}, {"i", std::to_string(i)}}, "2 <= k <= n, 0 <= i < k", at);
  Indices all(static_cast<std::size_t>(n)), test, rest;
  kernels::random_permutation(Cpu{}, all.data(), n, stream);
  for (int64_t j = 0; j < n; ++j) (j >= n * i / k && j < n * (i + 1) / k ? test : rest).push_back(all[static_cast<std::size_t>(j)]);
  std::sort(test.begin(), test.end()), std::sort(rest.begin(), rest.end());
  return {test, rest};
}

}  // namespace gradus::data
