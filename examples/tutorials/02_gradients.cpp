//| # A gradient by hand and by machine
//|
//| The smallest learning problem: one weight `w`, inputs `x`, targets `t`, the loss `L = mean (w x − t)²`. We write its gradient
//| by hand, then let the machine find it, then look at how the machine did it.
#include <cstdio>

#include <gradus.hpp>
#include <gradus/debug/graph.hpp>

using namespace gradus;

int main() {
  const Tensor<double> x{1., 2, 3}, t{2., 4, 7};

  //| ## By hand
  //| With `e = w x − t`, the chain rule gives `dL/dw = mean 2 e x`.
  const double w0 = 1.5;
  double by_hand = 0;
  for (int64_t i = 0; i < 3; ++i) by_hand += 2 * (w0 * x.data()[i] - t.data()[i]) * x.data()[i] / 3;
  std::printf("by hand     %.6f\n", by_hand);
  //> by hand     -6.666667

  //| ## By differences
  //| Any gradient can be checked against its definition, with two evaluations for each number. That is what `gradcheck` does.
  const auto loss_at = [&](double w) { return mean(square(x * w - t)).item(); };
  std::printf("differences %.6f\n", (loss_at(w0 + 1e-5) - loss_at(w0 - 1e-5)) / 2e-5);
  //> differences -6.666667

  //| ## By machine
  //| `requires_grad_()` marks a tensor as something to differentiate by. Every op on it leaves a **node** that knows how to send a
  //| gradient back; `backward()` walks the nodes from the loss to the leaves. The gradient arrives in `grad()`.
  auto w = Tensor<double>{w0};
  w.requires_grad_();
  const auto loss = mean(square(w * x - t));
  std::printf("loss        %.6f\n", loss.item());

  //| Before it runs, here is the graph: each line is a node with the shape of its result, the line of this file that made it, and
  //| the nodes it sends gradients to. A mean is a sum times a number.
  std::printf("%s", debug::Graph::of(loss).text().c_str());
  loss.backward();
  std::printf("by machine  %.6f\n", w.grad().item());
  //> loss        2.500000
  //> #0  AffineNode         []   02_gradients.cpp:34  <- #1
  //> #1  SumNode            []   02_gradients.cpp:34  <- #2
  //> #2  UnaryNode<Square>  [3]  02_gradients.cpp:34  <- #3
  //> #3  SubNode            [3]  02_gradients.cpp:34  <- #4 -
  //> #4  MulNode            [3]  02_gradients.cpp:34  <- #5 -
  //> #5  leaf               [1]
  //> by machine  -6.666667

  //| ## Gradients add up
  //| A second backward pass adds to `grad()`; so training loops clear it each step.
  mean(square(w * x - t)).backward();
  std::printf("twice       %.6f\n", w.grad().item());
  w.zero_grad();
  //> twice       -13.333333

  //| ## Descent
  //| Ten steps against the gradient. The update itself is not recorded: `no_grad`.
  for (int step = 1; step <= 10; ++step) {
    w.zero_grad();
    const auto L = mean(square(w * x - t));
    L.backward();
    no_grad([&] { w -= 0.05 * w.grad(); });
    if (step % 5 == 0) std::printf("step %2d: w = %.4f, L = %.4f\n", step, w.item(), L.item());
  }
  //> step  5: w = 2.1835, L = 0.1346
  //> step 10: w = 2.2130, L = 0.1191

  //| The best `w` is `Σ x t / Σ x²`:
  std::printf("exact:   w = %.4f\n", (sum(x * t) / sum(x * x)).item());
  //> exact:   w = 2.2143

  //| To watch a backward pass node by node, run `./gradus debug multi-sample-dropout` and type `gradus next-grad`.
  //|
  //| [Next](03_your_own_op.html): your own op.
}
