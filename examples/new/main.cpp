// A network with one hidden layer learns y = sin(3 x) from 256 points.
#include <cstdio>

#include <gradus.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

using namespace gradus;

int main() {
  manual_seed(1);
  const Tensor<> x = uniform({256, 1}, -1.0, 1.0);     // [256, 1]
  const Tensor<> y = sin(3.0f * x);

  nn::Sequential<> net{nn::Linear<>{1, 64}, nn::Tanh{}, nn::Linear<>{64, 1}};
  optim::Adam adam{net, {.lr = 1e-2}};

  for (int step = 0; step <= 500; ++step) {
    adam.zero_grad();
    const Tensor<> loss = mean(square(net(x) - y));
    loss.backward();
    adam.step();
    if (step % 100 == 0) std::printf("step %3d   loss %.6f\n", step, static_cast<double>(loss.item()));
  }
}
