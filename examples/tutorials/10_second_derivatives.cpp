//| # Second derivatives
//|
//| With `create_graph` the backward pass is recorded like any other computation, so gradients can be differentiated again. Three uses:
//| curvature, equations with derivatives in them, and penalties on gradients.
#include <cmath>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/app/plot.hpp>
#include <gradus/io/file.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

using namespace gradus;

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  //| ## Curvature without the Hessian
  //| `hvp` multiplies the Hessian with a vector at the price of two backward passes; the matrix is never formed. Power iteration
  //| then finds the largest curvature of `f(x) = Σ a_i x_i⁴ / 12`, whose Hessian at 1 is diag(a).
  const Tensor<double> a{1., 5., 2., 9., 3.};
  const auto f = [&](const Tensor<double>& x) { return sum(a * square(square(x))) / 12.0; };
  const auto at_one = ones<double>({5});
  Tensor<double> u = ones<double>({5});
  double largest = 0;
  for (int k = 0; k < 60; ++k) {
    const auto Hu = hvp(f, at_one, u);
    largest = std::sqrt(sum(square(Hu)).item());
    u = Hu / largest;
  }
  std::printf("largest curvature %.6f\n", largest);
  std::cout << hessian(f, at_one)(slice(0, 2), slice(0, 2)) << "\n";
  //> largest curvature 9.000000
  //> tensor([[1., 0.],
  //>         [0., 5.]], float64 cpu [2, 2])

  //| ## An equation with derivatives
  //| A physics-informed network: `y″ = −y`, `y(0) = 0`, `y′(0) = 1`, whose solution is the sine. The network never sees the sine; the
  //| loss is the equation itself, at random points. `grad(..., {.create_graph = true})` gives `y′` and `y″` with their history.
  manual_seed(2);
  nn::Sequential<double> net{nn::Linear<double>{1, 32}, nn::Tanh{}, nn::Linear<double>{32, 32}, nn::Tanh{},
                             nn::Linear<double>{32, 1}};
  optim::Adam<double> adam{net, {.lr = 5e-3}};
  const auto y_of = [&](const Tensor<double>& x) { return x + square(x) * net(x); };    // y(0) = 0 and y'(0) = 1 are built in
  for (int step = 0; step < 1500; ++step) {
    auto x = uniform<double>({64, 1}, 0.0, 3.2);
    x.requires_grad_();
    const auto y = y_of(x);
    const auto dy = grad(sum(y), x, {.create_graph = true});
    const auto d2y = grad(sum(dy), x, {.create_graph = true});
    if (step == 1000) adam.set_lr(5e-4);
    adam.zero_grad();
    mean(square(d2y + y)).backward();
    adam.step();
  }
  std::vector<double> px, py, exact;
  double worst = 0;
  {
    const NoGrad guard;
    const auto x = linspace<double>(0, 3.2, 81).reshape({81, 1});
    const auto y = y_of(x);
    for (int64_t i = 0; i < 81; ++i) {
      px.push_back(x.data()[i]), py.push_back(y.data()[i]), exact.push_back(std::sin(x.data()[i]));
      worst = std::max(worst, std::fabs(py.back() - exact.back()));
    }
  }
  std::printf("largest error against the sine below 0.02: %s\n", worst < 0.02 ? "yes" : "no");
  //> largest error against the sine below 0.02: yes
  app::Plot plot{.title = "y'' = -y, learned from the equation", .x_label = "x", .y_label = "y"};
  io::write_atomically(folder + "/10_pinn.svg", plot.line("network", px, py).dashed("sin x", px, exact).svg(true));
  //| ![The network and the solution.](10_pinn.svg)

  //| ## A penalty on gradients
  //| WGAN-GP and its relatives want a critic whose slope is 1: `P = mean (|dD/dx| − 1)²`. The penalty contains a gradient, so its own
  //| gradient is a second derivative. Here the critic is linear, `D(x) = w·x`, so `P = (|w| − 1)²` and `dP/dw = 2 (|w| − 1) w / |w|`.
  auto w = Tensor<double>{3., 4.}.reshape({2, 1}).clone();
  w.requires_grad_();
  auto points = randn<double>({8, 2});
  points.requires_grad_();
  const auto slope = grad(sum(matmul(points, w)), points, {.create_graph = true});      // [8, 2], each row is w
  const auto penalty = mean(square(sqrt(sum(square(slope), {1})) - 1.0));
  penalty.backward();
  std::printf("penalty %.4f, gradient %.4f %.4f, expected %.4f %.4f\n", penalty.item(), w.grad().data()[0],
              w.grad().data()[1], 2 * 4 * 3 / 5.0, 2 * 4 * 4 / 5.0);
  //> penalty 16.0000, gradient 4.8000 6.4000, expected 4.8000 6.4000

  //| [Next](12_from_pytorch.html): from PyTorch to gradus.
}
