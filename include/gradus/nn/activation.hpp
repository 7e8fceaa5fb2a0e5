// Layers without parameters, for use in Sequential: activations, dropout, flatten.
#pragma once
#include <gradus/nn/module.hpp>
#include <gradus/ops/elementwise.hpp>
#include <gradus/ops/random.hpp>

namespace gradus::nn {

/// max(x, 0)
struct ReLU {
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return relu(x, at);
  }
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const {
    return forward(x, at);
  }
  void visit(auto&&) {}
};
/// x Phi(x)
struct GELU {
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return gelu(x, at);
  }
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const {
    return forward(x, at);
  }
  void visit(auto&&) {}
};
/// x sigmoid(x)
struct SiLU {
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return silu(x, at);
  }
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const {
    return forward(x, at);
  }
  void visit(auto&&) {}
};
struct Tanh {
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return tanh(x, at);
  }
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const {
    return forward(x, at);
  }
  void visit(auto&&) {}
};
struct Sigmoid {
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return sigmoid(x, at);
  }
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const {
    return forward(x, at);
  }
  void visit(auto&&) {}
};

/// Srivastava et al. 2014: 0 with probability p, else x / (1 - p); x itself in evaluation.
struct Dropout {
  double p = 0.5;  ///< the probability of DROPPING
  bool training = true;

  explicit Dropout(double p = 0.5, Where at = Where::current()) : p(p) { gradus::detail::check_probability("Dropout", p, at); }
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return dropout(x, p, training, at);
  }
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const {
    return forward(x, at);
  }
  void visit(auto&& f) { f("training", training); }
  std::string about() const {
    char text[32];
    std::snprintf(text, sizeof text, "p = %g", p);
    return text;
  }
};

/// [B, ...] to [B, C].
struct Flatten {
  int first = 1, last = -1;
  template <class T, class D>
  Tensor<T, D> forward(const Tensor<T, D>& x, Where at = Where::current()) const {
    return flatten(x, first, last, at);
  }
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x, Where at = Where::current()) const {
    return forward(x, at);
  }
  void visit(auto&&) {}
};

}  // namespace gradus::nn
