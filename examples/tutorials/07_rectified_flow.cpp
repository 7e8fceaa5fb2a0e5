//| # Rectified flow in one page
//|
//| Rectified flow (Liu, Gong & Liu 2022) learns to carry noise to data along straight lines. Draw noise `x₀` and data `x₁`, a time
//| `t` in [0, 1], stand at `x_t = (1 − t) x₀ + t x₁`, and learn the velocity: `L = E |v(x_t, t) − (x₁ − x₀)|²`. To sample, start at
//| noise and follow `dx/dt = v(x, t)`.
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/app/plot.hpp>
#include <gradus/io/file.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

using namespace gradus;

//| ## The data
//| Two half moons with a little noise.
Tensor<> moons(int64_t n) {
  const auto angle = uniform({n}, 0.0, M_PI);
  const auto side = bernoulli<float>({n}, 0.5);                       // which moon: 0 or 1
  const auto sign = 1.0f - 2.0f * side;
  const auto x = cos(angle) * sign + (side - 0.5f);
  const auto y = sin(angle) * sign + (0.5f * side - 0.25f);
  return stack(std::vector<Tensor<>>{x, y}, 1) + 0.06f * randn({n, 2});
}

//| ## The velocity
//| A small network of the point and the time.
struct Velocity {
  nn::Linear<> a{3, 64}, b{64, 64}, c{64, 2};
  Tensor<> operator()(const Tensor<>& x, const Tensor<>& t) const {
    return c(silu(b(silu(a(cat(std::vector<Tensor<>>{x, t}, 1))))));
  }
  void visit(auto&& f) { f("a", a), f("b", b), f("c", c); }
};

std::vector<double> column(const Tensor<>& x, int64_t k) {
  std::vector<double> v;
  for (int64_t i = 0; i < x.size(0); ++i) v.push_back(static_cast<double>(x.data()[2 * i + k]));
  return v;
}

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  manual_seed(5);
  Velocity v;
  optim::Adam adam{v, {.lr = 3e-3}};

  //| ## Training
  //| Four lines are the method.
  constexpr int64_t N = 256;
  for (int step = 0; step < 1200; ++step) {
    const Tensor<> x1 = moons(N), x0 = randn({N, 2}), t = uniform({N, 1}, 0.0, 1.0);
    const Tensor<> xt = (1.0f - t) * x0 + t * x1;
    adam.zero_grad();
    const auto loss = mean(square(v(xt, t) - (x1 - x0)));
    loss.backward();
    adam.step();
  }
  //| The loss does not go to 0: where two lines cross, the velocity is their mean. What counts is where the flow arrives.

  //| ## Sampling
  //| Euler's method, here in 20 steps; the paths are kept for the drawing.
  const NoGrad guard;
  const int steps = 20;
  Tensor<> x = randn({400, 2});
  std::vector<Tensor<>> path{x.clone()};
  for (int k = 0; k < steps; ++k) {
    const auto t = full<float>({400, 1}, static_cast<float>(k) / steps);
    x = x + v(x, t) * (1.0f / steps);
    path.push_back(x.clone());
  }

  //| ## How good it is
  //| The mean distance from a sample to the nearest of 2,000 data points, beside that of the noise that it came from.
  const Tensor<> data = moons(2000);
  const auto distance = [&](const Tensor<>& s) {
    const auto d = unsqueeze(s, 1) - unsqueeze(data, 0);                 // [400, 2000, 2]
    return static_cast<double>(mean(amin(sqrt(sum(square(d), {2})), 1)).item());
  };
  const double noise = distance(path[0]), samples = distance(x);
  std::printf("samples are more than 5 times nearer to the data than noise is: %s\n", noise / samples > 5 ? "yes" : "no");
  //> samples are more than 5 times nearer to the data than noise is: yes

  app::Plot flow{.title = "From noise to two moons", .x_label = "x", .y_label = "y", .width = 680, .height = 520};
  std::vector<double> px, py;                                           // some of the paths; NaN lifts the pen
  for (int64_t i = 0; i < 24; ++i) {
    for (const auto& p : path) {
      px.push_back(static_cast<double>(p.data()[2 * i]));
      py.push_back(static_cast<double>(p.data()[2 * i + 1]));
    }
    px.push_back(NAN), py.push_back(NAN);
  }
  flow.points("noise", column(path[0], 0), column(path[0], 1)).points("samples", column(x, 0), column(x, 1));
  flow.line("paths", px, py);
  io::write_atomically(folder + "/07_flow.svg", flow.svg(true));
  //| ![Noise, samples, and the paths of some of them.](07_flow.svg)

  //| [Next](08_first_cuda_kernel.html): kernels.
}
