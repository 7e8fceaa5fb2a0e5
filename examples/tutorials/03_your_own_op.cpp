//| # Your own op
//|
//| An op is a function that computes, and a **node** that sends gradients back. Here is `softclip(x) = x / (1 + |x|)`, which maps
//| the reals into (−1, 1), with the derivative `1 / (1 + |x|)²`. Nothing has to be registered.
#include <cstdio>
#include <iostream>

#include <gradus.hpp>
#include <gradus/debug/gradcheck.hpp>

using namespace gradus;

//| ## The node
//| A named struct with named members: a backtrace then says `SoftclipNode::backward`, and a debugger shows `x`. `Saved` keeps a
//| tensor for the backward pass and notices when somebody overwrites it in between. The backward is written with ops, so it can be
//| differentiated again.
template <class T, class D> struct SoftclipNode final : Node {
  Saved<T, D> x{this, "x"};
  void backward(const AnyTensor& g) override {
    const auto dy = g.as<T, D>();
    accumulate(0, dy / square(abs(x.get()) + 1.0));
  }
};

//| ## The function
//| It checks, computes, and records if somebody wants a gradient. `at` is the caller's line, for error texts.
template <class T, class D> Tensor<T, D> softclip(const Tensor<T, D>& x, Where at = Where::current()) {
  const auto y = no_grad([&] { return x / (abs(x) + 1.0); });
  if (detail::wants_grad(x)) detail::record<SoftclipNode<T, D>>(y, at, x).x = x;
  return y;
}

int main() {
  const Tensor<double> x{-3, -0.5, 0.5, 1};
  std::cout << softclip(x) << "\n";
  //> tensor([  -0.75, -0.3333,  0.3333,     0.5], float64 cpu [4])

  //| ## Checking it
  //| `gradcheck` compares with finite differences in float64, along a random direction; `gradgradcheck` does the same for the
  //| gradient's own gradient. Both throw when they differ, so reaching the next line is the proof.
  const auto f = [](const Tensor<double>& v) { return softclip(v); };
  gradcheck(f, x);
  gradgradcheck(f, x);
  std::puts("first and second derivatives agree with differences");
  //> first and second derivatives agree with differences

  //| What a wrong derivative looks like: this function claims the derivative of `x²` for `x³`.
  struct WrongNode final : Node {
    Saved<double, Cpu> x{this, "x"};
    void backward(const AnyTensor& g) override { accumulate(0, g.as<double, Cpu>() * x.get() * 2.0); }
  };
  const auto wrong = [](const Tensor<double>& v) {
    const auto y = no_grad([&] { return v * v * v; });
    if (detail::wants_grad(v)) detail::record<WrongNode>(y, Where::current(), v).x = v;
    return y;
  };
  try {
    gradcheck(wrong, x, {.name = "wrong"});
  } catch (const Error& e) {
    const std::string text = e.what();
    std::cout << text.substr(0, text.find("\n  numeric")) << "\n";
  }
  //> gradus: gradcheck(wrong): the gradient differs from finite differences
  //>   argument  0 of 1, float64 cpu [4]
  //>   index     [0]
  //>   value     -3
  //>   analytic  5.39427882509

  //| ## Element-wise ops are one line
  //| For `y = f(x)` element by element, `map` derives the gradient from the formula itself, in one fused loop.
  const auto y = map([](auto v) { return v / (1.0 + abs(v)); }, x);
  std::cout << y << "\n";
  //> tensor([  -0.75, -0.3333,  0.3333,     0.5], float64 cpu [4])

  //| For ops with loops of their own, see `include/gradus/ops/ADDING_AN_OP.md`. [Next](04_training.html): a layer and a loop.
}
