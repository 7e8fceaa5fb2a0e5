// The program that the scripted sessions look at: two layers, a loss, a backward pass. Compiled at -O0 and at -O2.
#include <gradus/debug/gdb.hpp>
#include <gradus/debug/trace_nan.hpp>
#include <gradus/ops/create.hpp>
#include <gradus/ops/elementwise.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/ops/reduce.hpp>
#include <gradus/ops/softmax.hpp>
#include <gradus/ops/view.hpp>

using namespace gradus;

// Where the sessions stop: what is passed is alive, at every optimisation level.
#if defined(__clang__)
__attribute__((noinline))
#else
__attribute__((noipa))
#endif
void look(const Tensor<float>& x, const Tensor<float>& w, const Tensor<float>& y, const Tensor<float>& loss) {
  asm volatile("" : : "r"(&x), "r"(&w), "r"(&y), "r"(&loss) : "memory");
}
#if defined(__clang__)
__attribute__((noinline))
#else
__attribute__((noipa))
#endif
void look_at(const AnyTensor& x) {
  asm volatile("" : : "r"(&x) : "memory");
}

int main() {
  Tensor<float> x{{1, 2, 3}, {4, 5, 6}};
  Tensor<float> w{{0.5f, -1}, {0.25f, 2}, {1, -0.125f}}, v{{1, 2}, {3, 4}};
  w.set_name("fc1.weight");
  v.set_name("fc2.weight");
  w.requires_grad_(), v.requires_grad_();
  auto h = tanh(matmul(x, w));         // the line that sessions name: target.cpp:36
  auto y = softmax(matmul(h, v));
  auto loss = mean(square(y));
  look(x, w, y, loss);                 // before the backward pass
  loss.backward();
  look(x, w, y, loss);                 // after it
  no_grad([&] { w -= 0.5f * w.grad(); });
  look_at(w);                          // written once

  look_at(transpose(x, 0, 1));
  look_at(arange<double>(0, 100));
  look_at(Tensor<float>{1, NAN, 3, INFINITY});
  look_at(cast<bf16>(x));
  look_at(cast<half>(x));
  look_at(Tensor<bool>{true, false, true});
  look_at(Tensor<int64_t>{7, 8, 9});
  look_at(AnyTensor());

  const debug::TraceNan guard;         // the debugger is attached: stops instead of throwing
  const auto bad = log(w - 10.0f);     // the user's line
  look_at(bad);
}
