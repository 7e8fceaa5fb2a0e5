// Sums, means or maxima of bags of embeddings, without a tensor of all rows for the sum: Mikolov et al. 2013 average so.
//
//   y_b = sum_{l in bag b} w_l W[index_l]       mean: divided by the size of the bag       max: element by element
#pragma once
#include <gradus/nn/linear.hpp>
#include <gradus/ops/scatter.hpp>
#include <gradus/ops/sort.hpp>

namespace gradus::nn {

enum class BagMode { sum, mean, max };

/// A table [V, C]; index [B, L]: B bags of L rows; or index [n] with the offsets [B] where each bag begins. -> [B, C].
/// An empty bag gives 0. Weights (of index's shape) go with sums only.
template <class T = float, class D = Cpu>
struct EmbeddingBag {
  using value_type = T;
  using device_type = D;
  Tensor<T, D> weight;
  BagMode mode;

  EmbeddingBag(int64_t V, int64_t C, BagMode mode = BagMode::mean, Where at = Where::current())
      : weight(detail::parameter(randn<T, D>({V, C}, at))), mode(mode) {}
  template <class U, class E>
  explicit EmbeddingBag(const EmbeddingBag<U, E>& o, Where at = Where::current())
      : weight(converted<T, D>(o.weight, at)), mode(o.mode) {}

  Tensor<T, D> forward(const Tensor<int64_t, D>& index, const Tensor<T, D>& weights = {}, Where at = Where::current()) const {
    if (index.rank() != 2)
      fail("EmbeddingBag", "not bags of equal length", {{"index", describe(index)}}, "[B, L]; or offsets", at);
    const auto rows = weighted(index, weights, at);
    if (index.shape()[1] == 0) return zeros<T, D>({index.shape()[0], weight.size(1)}, at);
    return mode == BagMode::sum    ? sum(rows, {1}, false, at)
           : mode == BagMode::mean ? mean(rows, {1}, false, at)
                                   : amax(rows, {1}, false, at);
  }
  Tensor<T, D> forward(const Tensor<int64_t, D>& index, const Tensor<int64_t, D>& offsets, const Tensor<T, D>& weights = {},
                       Where at = Where::current()) const {
    if (index.rank() != 1 || offsets.rank() != 1 || offsets.numel() == 0)
      fail("EmbeddingBag", "not a list and its offsets", {{"index", describe(index)}, {"offsets", describe(offsets)}},
           "index [n], offsets [B], B >= 1", at);
    const int64_t n = index.numel(), B = offsets.numel(), C = weight.size(1);
    const auto rows = weighted(index, weights, at);
    const auto bag = sub(searchsorted(offsets, arange<int64_t, D>(0, static_cast<double>(n), 1, at), true, at), 1, at);
    const auto count = no_grad([&] { return index_add(zeros<T, D>({B}, at), 0, bag, ones<T, D>({n}, at), at); });
    if (mode == BagMode::max) {
      const auto low = full<T, D>({B, C}, -std::numeric_limits<double>::infinity(), at);
      const auto y = scatter_amax(low, 0, expand(unsqueeze(bag, 1, at), {n, C}, at), rows, at);
      return where(equal(unsqueeze(count, 1, at), 0, at), 0.0, y, at);
    }
    const auto y = index_add(zeros<T, D>({B, C}, at), 0, bag, rows, at);
    return mode == BagMode::sum ? y : div(y, unsqueeze(maximum(count, ones_like(count, at), at), 1, at), at);
  }
  template <class... A>
  Tensor<T, D> operator()(const A&... a) const {
    return forward(a...);
  }
  void visit(auto&& f) { f("weight", weight); }
  std::string about() const { return std::to_string(weight.size(0)) + " rows of " + std::to_string(weight.size(1)); }

 private:
  Tensor<T, D> weighted(const Tensor<int64_t, D>& index, const Tensor<T, D>& weights, Where at) const {
    const auto rows = embedding(weight, index, at);
    if (!weights.defined()) return rows;
    if (mode != BagMode::sum || !(weights.shape() == index.shape()))
      fail("EmbeddingBag", "weights that do not fit", {{"index", describe(index)}, {"weights", describe(weights)}},
           "the mode sum, and weights of index's shape", at);
    return mul(rows, unsqueeze(weights, -1, at), at);
  }
};

}  // namespace gradus::nn
