//| # A layer and a training loop
//|
//| A layer is a plain struct: parameters as members, `forward`, and one line that names the members. There is no base class.
#include <cstdio>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/app/plot.hpp>
#include <gradus/debug/summary.hpp>
#include <gradus/io/file.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

using namespace gradus;

//| ## The layer
//| A residual block: `y = x + W₂ tanh(W₁ x)`. `visit` names the sub-layers; parameters, saving, printing and moving between
//| devices are functions over it.
struct Residual {
  nn::Linear<> in, out;
  Residual(int64_t width, int64_t hidden) : in(width, hidden), out(hidden, width) {}
  Tensor<> forward(const Tensor<>& x) const { return x + out(tanh(in(x))); }
  Tensor<> operator()(const Tensor<>& x) const { return forward(x); }
  void visit(auto&& f) { f("in", in), f("out", out); }
};
struct Net {
  nn::Linear<> first{1, 16};
  Residual block{16, 32};
  nn::Linear<> last{16, 1};
  Tensor<> forward(const Tensor<>& x) const { return last(block(tanh(first(x)))); }
  void visit(auto&& f) { f("first", first), f("block", block), f("last", last); }
};

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  manual_seed(1);
  const auto x = uniform({256, 1}, -1.0, 1.0), t = sin(4.0f * x);

  //| ## The model as a table
  //| One run tells the shape of each result and what it costs. (The times are left out here, as they differ from run to run.)
  Net net;
  for (const auto& row : debug::summary_rows(net, x))
    std::printf("%-10s %-17s %-10s %5lld parameters %8.0f FLOP\n", row.path.c_str(), row.type.c_str(),
                row.shape.c_str(), static_cast<long long>(row.parameters), row.flops);
  //>            Net               [256, 1]    1121 parameters   573696 FLOP
  //> first      Linear(1 -> 16)   [256, 16]     32 parameters    12288 FLOP
  //> block      Residual          [256, 16]   1072 parameters   548864 FLOP
  //> block.in   Linear(16 -> 32)  [256, 32]    544 parameters   270336 FLOP
  //> block.out  Linear(32 -> 16)  [256, 16]    528 parameters   266240 FLOP
  //> last       Linear(16 -> 1)   [256, 1]      17 parameters     8448 FLOP

  //| ## The loop
  //| Written out, because it is yours: clear the gradients, compute the loss, go back, step.
  optim::Adam adam{net, {.lr = 5e-3}};
  std::vector<double> steps, losses;
  for (int step = 0; step <= 400; ++step) {
    adam.zero_grad();
    const auto loss = mean(square(net.forward(x) - t));
    loss.backward();
    adam.step();
    steps.push_back(step), losses.push_back(static_cast<double>(loss.item()));
  }
  std::printf("the loss is below 2 %% of what it was: %s\n", losses.back() < 0.02 * losses.front() ? "yes" : "no");
  //> the loss is below 2 % of what it was: yes
  app::Plot curve{.title = "Training loss", .x_label = "step", .y_label = "mean squared error", .log_y = true};
  io::write_atomically(folder + "/04_loss.svg", curve.line("loss", steps, losses).svg(true));
  //| ![The loss over 400 steps of Adam.](04_loss.svg)

  //| ## Without recording
  //| To use the net, switch recording off: nothing is kept for a backward pass. Modules that behave differently while training
  //| (dropout, batch norm) are switched by `nn::eval(net)`.
  nn::eval(net);
  const NoGrad guard;
  const Tensor<> grid = linspace<float>(-1, 1, 101).reshape({101, 1});
  const auto y = net.forward(grid), exact = sin(4.0f * grid);
  std::vector<double> gx, gy, ge;
  for (int64_t i = 0; i < 101; ++i)
    gx.push_back(grid.data()[i]), gy.push_back(y.data()[i]), ge.push_back(exact.data()[i]);
  app::Plot fit{.title = "What it learned", .x_label = "x", .y_label = "y"};
  io::write_atomically(folder + "/04_fit.svg", fit.line("network", gx, gy).dashed("sin 4x", gx, ge).svg(true));
  //| ![The function that it learned, and the one it was shown.](04_fit.svg)

  //| [Next](05_dropout.html): dropout as masks.
}
