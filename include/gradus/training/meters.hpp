// Figures of a run: means, accuracies, confusion matrices, and when to stop. They are plain values with a state for checkpoints.
//
//   training::Mean loss;
//   training::EarlyStopping stop({.patience = 5});
//   for (...) loss.add(batch_loss.item(), batch.size());
//   if (stop.report(validation)) best = nn::clone_state(net);      // true: the best so far
//   if (stop.stop()) break;
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gradus/nn/module.hpp>
#include <gradus/ops/create.hpp>

namespace gradus::training {

namespace detail {
inline nn::StateDict numbers(const std::vector<double>& v) { return {{"", from_vector(v)}}; }
inline std::vector<double> numbers(const char* what, const nn::StateDict& dict, std::size_t n, Where at) {
  const auto found = dict.find("");
  if (dict.size() != 1 || found == dict.end() || found->second.numel() != static_cast<int64_t>(n))
    fail(what, "not its state", {{"entries", std::to_string(dict.size())}}, "one tensor float64 [" + std::to_string(n) + "]", at);
  return found->second.as<double, Cpu>(at).to_vector();
}
}  // namespace detail

/// The weighted mean of what was added.
class Mean {
 public:
  void add(double value, double weight = 1) { sum_ += value * weight, weight_ += weight; }
  /// NaN before anything was added.
  double value() const { return sum_ / weight_; }
  double weight() const { return weight_; }
  void reset() { sum_ = weight_ = 0; }
  nn::StateDict state_dict() const { return detail::numbers({sum_, weight_}); }
  void load_state_dict(const nn::StateDict& dict, Where at = Where::current()) {
    const auto v = detail::numbers("Mean", dict, 2, at);
    sum_ = v[0], weight_ = v[1];
  }

 private:
  double sum_ = 0, weight_ = 0;
};

/// An exponential mean, corrected for its start: what a progress bar shows.
class Smooth {
 public:
  explicit Smooth(double keep = 0.98) : keep_(keep) {}
  void add(double value) { sum_ = keep_ * sum_ + (1 - keep_) * value, weight_ = keep_ * weight_ + (1 - keep_); }
  double value() const { return sum_ / weight_; }
  nn::StateDict state_dict() const { return detail::numbers({sum_, weight_}); }
  void load_state_dict(const nn::StateDict& dict, Where at = Where::current()) {
    const auto v = detail::numbers("Smooth", dict, 2, at);
    sum_ = v[0], weight_ = v[1];
  }

 private:
  double keep_, sum_ = 0, weight_ = 0;
};

/// Counts of (true class, predicted class), and the figures that follow from them.
class Confusion {
 public:
  explicit Confusion(int64_t classes, Where at = Where::current()) : classes_(classes), count_(static_cast<std::size_t>(classes * classes), 0) {
    if (classes < 1) fail("Confusion", "no classes", {{"classes", std::to_string(classes)}}, "at least 1", at);
  }
  void add(int64_t truth, int64_t predicted, Where at = Where::current()) {
    for (const int64_t k : {truth, predicted})
      if (k < 0 || k >= classes_)
        fail("Confusion", "a class is out of range", {{"class", std::to_string(k)}}, "0 to " + std::to_string(classes_ - 1), at);
    ++count_[static_cast<std::size_t>(truth * classes_ + predicted)];
  }
  /// Rows of scores [N, classes] in host memory, of which the largest is the prediction (the first of equals), and targets [N].
  template <class T>
  void add(const Tensor<T>& scores, const Tensor<int64_t>& targets, Where at = Where::current()) {
    if (scores.rank() != 2 || scores.shape()[1] != classes_ || targets.numel() != scores.shape()[0])
      fail("Confusion", "shapes do not fit", {{"scores", describe(scores)}, {"targets", describe(targets)}},
           "scores [N, " + std::to_string(classes_) + "] and targets [N]", at);
    const auto s = scores.to_vector();
    const auto t = targets.to_vector();
    for (std::size_t i = 0; i < t.size(); ++i) {
      const auto row = s.begin() + static_cast<std::ptrdiff_t>(i) * classes_;
      add(t[i], std::max_element(row, row + classes_, [](T a, T b) { return static_cast<double>(a) < static_cast<double>(b); }) - row, at);
    }
  }
  int64_t count(int64_t truth, int64_t predicted) const { return count_[static_cast<std::size_t>(truth * classes_ + predicted)]; }
  int64_t total() const { return sum(-1, -1); }
  int64_t classes() const { return classes_; }
  double accuracy() const {
    int64_t right = 0;
    for (int64_t k = 0; k < classes_; ++k) right += count(k, k);
    return part(right, total());
  }
  double error() const { return 1 - accuracy(); }
  double recall(int64_t k) const { return part(count(k, k), sum(k, -1)); }
  double precision(int64_t k) const { return part(count(k, k), sum(-1, k)); }
  /// 2 TP / (2 TP + FP + FN)
  double f1(int64_t k) const { return part(2 * count(k, k), sum(k, -1) + sum(-1, k)); }
  /// The mean over classes that occur.
  double balanced_accuracy() const {
    return over_classes([&](int64_t k) { return recall(k); });
  }
  double macro_f1() const {
    return over_classes([&](int64_t k) { return f1(k); });
  }
  void reset() { std::fill(count_.begin(), count_.end(), 0); }
  nn::StateDict state_dict() const { return {{"", from_vector(count_)}}; }
  void load_state_dict(const nn::StateDict& dict, Where at = Where::current()) {
    const auto found = dict.find("");
    if (found == dict.end() || found->second.numel() != static_cast<int64_t>(count_.size()))
      fail("Confusion", "not its state", {}, "one tensor int64 [" + std::to_string(count_.size()) + "]", at);
    count_ = found->second.as<int64_t, Cpu>(at).to_vector();
  }

 private:
  static double part(int64_t a, int64_t b) { return static_cast<double>(a) / static_cast<double>(b); }
  int64_t sum(int64_t truth, int64_t predicted) const {
    int64_t n = 0;
    for (int64_t t = 0; t < classes_; ++t)
      for (int64_t p = 0; p < classes_; ++p)
        if ((truth < 0 || t == truth) && (predicted < 0 || p == predicted)) n += count(t, p);
    return n;
  }
  template <class F>
  double over_classes(F f) const {
    double s = 0;
    int64_t n = 0;
    for (int64_t k = 0; k < classes_; ++k)
      if (sum(k, -1) > 0) s += f(k), ++n;
    return s / static_cast<double>(n);
  }
  int64_t classes_;
  std::vector<int64_t> count_;
};

/// The share of rows whose target is among the k largest scores.
template <class T>
double top_k_accuracy(const Tensor<T>& scores, const Tensor<int64_t>& targets, int64_t k, Where at = Where::current()) {
  if (scores.rank() != 2 || targets.numel() != scores.shape()[0] || k < 1 || k > scores.shape()[1])
    fail("top_k_accuracy", "shapes do not fit", {{"scores", describe(scores)}, {"targets", describe(targets)}, {"k", std::to_string(k)}},
         "scores [N, C], targets [N], 1 <= k <= C", at);
  const auto s = scores.to_vector();
  const auto t = targets.to_vector();
  const auto C = static_cast<std::size_t>(scores.shape()[1]);
  int64_t right = 0;
  for (std::size_t i = 0; i < t.size(); ++i) {
    const auto target = static_cast<std::size_t>(t[i]);
    if (target >= C) fail("top_k_accuracy", "a class is out of range", {{"class", std::to_string(t[i])}}, "below " + std::to_string(C), at);
    int64_t above = 0;  // of equals, earlier classes come first
    for (std::size_t c = 0; c < C; ++c) {
      const double a = static_cast<double>(s[i * C + c]), b = static_cast<double>(s[i * C + target]);
      above += a > b || (a == b && c < target);
    }
    right += above < k;
  }
  return static_cast<double>(right) / static_cast<double>(t.size());
}

/// Rows of logits [N, C] in host memory: sum over bins of (rows in it / N) |accuracy in it - mean confidence in it|. The confidence is
/// the largest softmax probability, the bins have equal width: ((k - 1) / bins, k / bins]. Guo et al. 2017, eq. 5.
template <class T>
double expected_calibration_error(const Tensor<T>& logits, const Tensor<int64_t>& targets, int64_t bins = 15, Where at = Where::current()) {
  if (logits.rank() != 2 || logits.shape()[1] < 1 || targets.numel() != logits.shape()[0] || targets.numel() < 1 || bins < 1)
    fail("expected_calibration_error", "shapes do not fit",
         {{"logits", describe(logits)}, {"targets", describe(targets)}, {"bins", std::to_string(bins)}},
         "logits [N, C], targets [N], N and bins at least 1", at);
  const auto s = logits.to_vector();
  const auto t = targets.to_vector();
  const auto C = static_cast<std::size_t>(logits.shape()[1]);
  std::vector<double> gap(static_cast<std::size_t>(bins), 0);  // of each bin: the sum of (right - confidence)
  for (std::size_t i = 0; i < t.size(); ++i) {
    std::size_t best = 0;
    for (std::size_t c = 1; c < C; ++c)
      if (static_cast<double>(s[i * C + c]) > static_cast<double>(s[i * C + best])) best = c;
    double sum = 0;
    for (std::size_t c = 0; c < C; ++c) sum += std::exp(static_cast<double>(s[i * C + c]) - static_cast<double>(s[i * C + best]));
    const double confidence = 1 / sum;
    const auto bin = static_cast<int64_t>(std::ceil(confidence * static_cast<double>(bins))) - 1;
    gap[static_cast<std::size_t>(std::clamp<int64_t>(bin, 0, bins - 1))] += (static_cast<int64_t>(best) == t[i]) - confidence;
  }
  double error = 0;
  for (const double g : gap) error += std::abs(g) / static_cast<double>(t.size());
  return error;
}

struct EarlyStoppingOptions {
  int64_t patience = 10;  ///< reports without improvement after which to stop
  double min_delta = 0;   ///< an improvement is larger than this
  bool maximize = false;
};
class EarlyStopping {
 public:
  EarlyStoppingOptions options;
  explicit EarlyStopping(EarlyStoppingOptions o = {}, Where at = Where::current()) : options(o) {
    if (o.patience < 1 || !(o.min_delta >= 0))
      fail("EarlyStopping", "options out of range", {{"patience", std::to_string(o.patience)}, {"min_delta", std::to_string(o.min_delta)}},
           "patience >= 1, min_delta >= 0", at);
  }
  /// True when the metric is the best so far; NaN never is.
  bool report(double metric) {
    const bool better = !std::isnan(metric) && (reports_ == 0 || std::isnan(best_) ||
                                                (options.maximize ? metric > best_ + options.min_delta : metric < best_ - options.min_delta));
    if (better) best_ = metric, best_report_ = reports_, bad_ = 0;
    else ++bad_;
    ++reports_;
    return better;
  }
  bool stop() const { return bad_ >= options.patience; }
  double best() const { return best_; }
  /// Which report was the best, 0 being the first.
  int64_t best_report() const { return best_report_; }
  nn::StateDict state_dict() const {
    return detail::numbers({best_, static_cast<double>(best_report_), static_cast<double>(bad_), static_cast<double>(reports_)});
  }
  void load_state_dict(const nn::StateDict& dict, Where at = Where::current()) {
    const auto v = detail::numbers("EarlyStopping", dict, 4, at);
    best_ = v[0], best_report_ = static_cast<int64_t>(v[1]), bad_ = static_cast<int64_t>(v[2]), reports_ = static_cast<int64_t>(v[3]);
  }

 private:
  double best_ = std::numeric_limits<double>::quiet_NaN();
  int64_t best_report_ = -1, bad_ = 0, reports_ = 0;
};

}  // namespace gradus::training
