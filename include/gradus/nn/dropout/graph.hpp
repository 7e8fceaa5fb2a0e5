// Dropout of parts of a graph, and of a router's input.
#pragma once
#include <gradus/nn/dropout/modes.hpp>
#include <gradus/ops/index.hpp>

namespace gradus::nn {

/// Edges of an adjacency matrix [V, V] are removed with probability p, not scaled: normalise afterwards. `symmetric` removes
/// both directions together. Rong, Huang, Xu, Huang, "DropEdge", ICLR 2020.
struct DropEdge : DropLayer<DropEdge> {
  bool symmetric = true;
  explicit DropEdge(double p = 0.5, bool symmetric = true, Where at = Where::current())
      : DropLayer("DropEdge", p, at), symmetric(symmetric) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& a, Where at = Where::current()) const {
    if (a.rank() != 2 || a.shape()[0] != a.shape()[1])
      fail("DropEdge", "not an adjacency matrix", {{"a", describe(a)}}, "[V, V]", at);
    if (!active() || p == 0) return a;
    const auto kept = no_grad([&] {
      const auto m = keep<D>(generator().draw(), a.shape(), Shape{}, p, at);
      if (!symmetric) return m;
      const int64_t V = a.shape()[0];
      const auto i = arange<int64_t, D>(static_cast<double>(V), at);
      const auto upper = less_equal(gradus::reshape(i, {V, 1}, at), gradus::reshape(i, {1, V}, at), at);
      return logical_or(logical_and(upper, m, at),
                        logical_and(logical_not(upper, at), contiguous(transpose(m, 0, 1, at), at), at), at);
    });
    return where(kept, a, 0.0, at);
  }
};
/// Nodes' features x [V, C]: whole rows, the others scaled by 1 / (1 - p). Feng et al., "GRAND", NeurIPS 2020; Do et al. 2021.
struct DropNode : DropLayer<DropNode> {
  explicit DropNode(double p = 0.5, Where at = Where::current()) : DropLayer("DropNode", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return shared_dropout(x, p, -1, active(), at);
  }
};
/// Elements of the messages [E, C], scaled by 1 / (1 - p). Fang, Xiao, Wang, Xu, Yang, Yang, "DropMessage", AAAI 2023.
struct DropMessage : DropLayer<DropMessage> {
  explicit DropMessage(double p = 0.5, Where at = Where::current()) : DropLayer("DropMessage", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return dropout(x, p, active(), at);
  }
};
/// Nodes [V, C] keep the previous layer's features with probability p: y = (1 - d) new + d old. Lu, Zhan, Guan et al.,
/// "SkipNode", 2021, uniform sampling; evaluation takes the new ones.
struct SkipNode : Dropping {
  explicit SkipNode(double p = 0.5, Where at = Where::current()) : Dropping("SkipNode", p, at) {}
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& old, const Tensor<T, D>& now, Where at = Where::current()) const {
    if (!active() || p == 0) return now;
    return add(old, drop(sub(now, old, at), Bernoulli{p, {-1}}, {}, at), at);
  }
};

/// A router's input times uniform factors in [1 - e, 1 + e). Fedus, Zoph, Shazeer, "Switch transformers", JMLR 2022.
struct RouterJitter {
  double e = 0.01;
  bool training = true;
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return training && e > 0 ? noise(x, UniformFactor{1 - e, 1 + e}, at) : x;
  }
  void visit(auto&& f) { f("training", training); }
};

}  // namespace gradus::nn
