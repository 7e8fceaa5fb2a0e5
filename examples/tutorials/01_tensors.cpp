//| # Tensors
//|
//| A tensor is a handle to numbers in memory with a shape. Its element type and its device are part of its C++ type,
//| `Tensor<T, Device>`; its shape is not, so one program handles any size. `Tensor<>` is `Tensor<float, Cpu>`.
#include <iostream>

#include <gradus.hpp>

using namespace gradus;

int main() {
  //| ## Making them
  //| From literals, from factories, from random numbers. Equal seeds give equal numbers, on every machine and with any number of
  //| threads.
  const Tensor<> a{{1, 2, 3}, {4, 5, 6}};
  std::cout << a << "\n" << arange<int64_t>(0, 5) << "\n";
  manual_seed(7);
  std::cout << randint(0, 10, {6}) << "\n";
  //> tensor([[1., 2., 3.],
  //>         [4., 5., 6.]], float32 cpu [2, 3])
  //> tensor([0, 1, 2, 3, 4], int64 cpu [5])
  //> tensor([9, 1, 4, 1, 0, 8], int64 cpu [6])

  //| ## Arithmetic broadcasts
  //| Shapes are aligned at the right; an extent of 1 is repeated. Here `[2, 3]` meets `[3]`, then `[2, 1]`.
  const Tensor<> row{10., 20., 30.};
  std::cout << a + row << "\n" << a * sum(a, {1}, true) << "\n";
  //> tensor([[11., 22., 33.],
  //>         [14., 25., 36.]], float32 cpu [2, 3])
  //> tensor([[ 6., 12., 18.],
  //>         [60., 75., 90.]], float32 cpu [2, 3])

  //| ## Views share memory
  //| Indexing, transposing and reshaping copy nothing. Writing through a view writes into the tensor that it looks at.
  Tensor<> m = zeros({2, 4});
  m(0, slice(1, 3)) = 7;
  auto column = m(all, 3);
  column += 1;
  std::cout << m << "\n" << transpose(m, 0, 1).shape().str() << " is a view: " << transpose(m, 0, 1).shares_storage(m) << "\n";
  //> tensor([[0., 7., 7., 1.],
  //>         [0., 0., 0., 1.]], float32 cpu [2, 4])
  //> [4, 2] is a view: 1

  //| A copy of the handle is the same tensor; `clone()` makes a new one.
  auto same = m, other = m.clone();
  same.fill_(0);
  std::cout << sum(m).item() << " " << sum(other).item() << "\n";
  //> 0 16

  //| ## Reductions and products
  std::cout << mean(a).item() << " " << amax(a, 1) << "\n";
  std::cout << matmul(a, transpose(a, 0, 1)) << "\n";
  //> 3.5 tensor([3., 6.], float32 cpu [2])
  //> tensor([[14., 32.],
  //>         [32., 77.]], float32 cpu [2, 2])

  //| ## Mistakes are errors with the facts in them
  //| Mixing element types or devices does not compile. A wrong shape says which op, what it got, what it wanted, and the line of
  //| your program (left out here).
  try {
    matmul(a, a);
  } catch (const Error& e) {
    const std::string text = e.what();
    std::cout << text.substr(0, text.rfind("\n  at")) << "\n";
  }
  //> gradus: matmul(a, b): inner dimensions differ
  //>   a         float32 cpu [2, 3]
  //>   b         float32 cpu [2, 3]
  //>   expected  b.size(-2) == a.size(-1) == 3, got 2

  //| [Next](02_gradients.html): gradients.
}
