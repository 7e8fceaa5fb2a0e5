// Optimizers against closed forms and against trajectories recorded from PyTorch 2 in float64:
//
//   import torch; torch.set_default_dtype(torch.float64)
//   def run(make):
//     w = torch.tensor([0.5,-1.25,2.0,0.75]).requires_grad_(); b = torch.tensor([0.1,-0.3]).requires_grad_()
//     opt = make([w, b])
//     for k in range(20):
//       opt.zero_grad()
//       L = ((w*torch.tensor([1.0,2.0,-0.5,3.0])).sum().sin() + (w**2).sum()*0.3
//            + (b*w[:2]).sum()*torch.tensor(1.0+0.1*k) + (b**4).sum())
//       L.backward(); opt.step()
//     print([float("%.17g"%v) for v in w.tolist()+b.tolist()])
//   run(lambda p: torch.optim.SGD(p, lr=0.05)) ...            # the options are those below
#include <gradus.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

#include "support/catch.hpp"

using namespace gradus;

namespace {
using Params = std::vector<Tensor<double>>;

template <class F>
std::vector<double> trajectory(F make) {
  Tensor<double> w{0.5, -1.25, 2.0, 0.75}, b{0.1, -0.3};
  w.requires_grad_(), b.requires_grad_();
  auto opt = make(Params{w, b});
  const Tensor<double> a{1.0, 2.0, -0.5, 3.0};
  for (int k = 0; k < 20; ++k) {
    opt.zero_grad();
    const auto L = sin(sum(w * a)) + sum(w * w) * 0.3 + sum(b * narrow(w, 0, 0, 2)) * (1.0 + 0.1 * k) + sum(b * b * b * b);
    L.backward();
    opt.step();
  }
  auto v = w.to_vector();
  for (const double x : b.to_vector()) v.push_back(x);
  return v;
}
void check_near(const std::vector<double>& got, const std::vector<double>& want) {
  REQUIRE(got.size() == want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    INFO("entry " << i);
    CHECK(got[i] == Approx(want[i]).epsilon(1e-10));
  }
}
}  // namespace

TEST_CASE("twenty steps end where PyTorch's do", "[optim]") {
  check_near(trajectory([](Params p) { return optim::Sgd<double>(p, {.lr = 0.05}); }),
             {0.6902375346829913, -1.6152001961475255, 1.0834153873008567, 0.4328855485108856, -0.6027852285370209,
              1.0173895295065105});
  check_near(trajectory([](Params p) {
               return optim::Sgd<double>(p, {.lr = 0.02, .momentum = 0.9, .dampening = 0.1, .weight_decay = 0.01});
             }),
             {0.9243967321045534, -1.6758221643887636, 0.07490102483475876, 0.2766284292225795, -0.7992395177800374,
              0.8384396602501428});
  check_near(trajectory([](Params p) {
               return optim::Sgd<double>(p, {.lr = 0.02, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true});
             }),
             {1.3536929600831245, -2.0330647148393246, -0.04075656931344823, 0.327998513858069, -0.9632200751288382,
              1.107000544168399});
  check_near(trajectory([](Params p) { return optim::Adam<double>(p, {.lr = 0.05, .weight_decay = 0.01}); }),
             {0.5247973330415182, -0.9977102344598839, 1.023181814129526, 0.1044313972500624, -0.7014272678104246,
              0.7161957369119272});
  check_near(
      trajectory([](Params p) { return optim::Adam<double>(p, {.lr = 0.05, .beta1 = 0.8, .beta2 = 0.95, .amsgrad = true}); }),
      {0.674481405273167, -1.1947155415817396, 1.0313035167295064, 0.15503629256002294, -0.7642544568996634,
       0.7309275573914904});
  check_near(trajectory([](Params p) { return optim::AdamW<double>(p, {.lr = 0.05, .weight_decay = 0.1}); }),
             {0.48701332323876095, -0.9478960050791411, 0.8865738770952581, 0.05736761403224813, -0.6722725000528459,
              0.6950152161611011});
}

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

TEST_CASE("schedules", "[optim]") {
  CHECK(optim::step_lr(1, 5, 2) == Approx(0.01));
  CHECK(optim::multi_step_lr(1, 9, {9, 12}) == Approx(0.1));
  CHECK(optim::cosine_lr(1, 50, 100) == Approx(0.5));
  CHECK(optim::cosine_lr(1, 0, 100, 10) == Approx(0.1));
}
