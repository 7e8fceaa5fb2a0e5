// What optimisers share: missing gradients, stale graphs, the closed form of the simplest.
#include <gradus.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

#include "support/catch.hpp"

using namespace gradus;

namespace {
using Params = std::vector<Tensor<double>>;

}  // namespace

TEST_CASE("three steps in closed form", "[optim]") {
  // L = 2 x, so g = 2 always. Momentum 0.5: b = 2, 3, 3.5; x = 1 - 0.1 (2 + 3 + 3.5).
  Tensor<double> x{1.0};
  x.requires_grad_();
  optim::Sgd<double> sgd({x}, {.lr = 0.1, .momentum = 0.5});
  for (int k = 0; k < 3; ++k) {
    sgd.zero_grad();
    sum(x * 2).backward();
    sgd.step();
  }
  CHECK(x.item() == Approx(0.15).epsilon(1e-14));
  // Adam with a constant gradient: both corrected moments are exact, so every step is lr g / (|g| + eps).
  Tensor<double> y{1.0};
  y.requires_grad_();
  optim::Adam<double> adam({y}, {.lr = 0.1});
  for (int k = 0; k < 3; ++k) {
    adam.zero_grad();
    sum(y * 2).backward();
    adam.step();
  }
  CHECK(y.item() == Approx(1 - 3 * 0.1 * 2 / (2 + 1e-8)).epsilon(1e-12));
}

TEST_CASE("a parameter without a gradient is named", "[optim]") {
  nn::Sequential<float> net{nn::Linear{3, 2}, nn::Linear{2, 1}};
  optim::AdamW opt(net, {.lr = 0.1});
  sum(net(ones({4, 3}))).backward();
  nn::parameters(net)[2].zero_grad();
  const auto before = nn::parameters(net)[0].to_vector();
  CHECK_THROWS_WITH(opt.step(),
                    Catch::Contains("1.weight") && Catch::Contains("allow_missing_grad") && Catch::Contains("optim_test.cpp"));
  CHECK(nn::parameters(net)[0].to_vector() == before);  // nothing was half done
  optim::AdamW lenient(net, {.lr = 0.1, .allow_missing_grad = true});
  lenient.step();
  CHECK(nn::parameters(net)[0].to_vector() != before);
  CHECK_THROWS_WITH((optim::Sgd<float>({ones({2})})), Catch::Contains("not a parameter"));
  CHECK_THROWS_WITH(opt.set_lr(-1), Catch::Contains("learning rate"));
}

TEST_CASE("frozen parameters of a module are left out", "[optim]") {
  nn::Sequential<float> net{nn::Linear{3, 2}, nn::Linear{2, 1}};
  for (auto& p : nn::parameters(net))
    if (p.rank() == 1) p.requires_grad_(false);
  optim::Sgd opt(net, {.lr = 0.1});
  CHECK(opt.params().size() == 2);
  CHECK(opt.path(1) == "1.weight");
  for (auto& p : nn::parameters(net)) p.requires_grad_(false);
  CHECK_THROWS_WITH(optim::Sgd(net), Catch::Contains("no parameters"));
}

TEST_CASE("a graph that saved a weight cannot be used after a step", "[optim]") {
  Tensor<double> w{2.0};
  w.requires_grad_();
  optim::Sgd<double> opt({w}, {.lr = 0.1});
  const auto L = sum(w * w * w);
  L.backward(BackwardOptions{.retain_graph = true});
  opt.step();
  CHECK_THROWS_AS(L.backward(), Error);
}

TEST_CASE("clipping scales all gradients by one factor", "[optim]") {
  Tensor<double> a{0.0}, b{0.0};
  a.requires_grad_(), b.requires_grad_();
  (sum(a * 3) + sum(b * 4)).backward();
  CHECK(optim::clip_grad_norm(Params{a, b}, 1.0) == Approx(5));
  CHECK(a.grad().item() == Approx(0.6));
  CHECK(b.grad().item() == Approx(0.8));
}
