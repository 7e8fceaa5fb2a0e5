// Modules: paths, state, training mode, error texts, starting values, and a net that learns.
#include <gradus.hpp>
#include <gradus/nn.hpp>
#include <gradus/optim.hpp>

#include "support/catch.hpp"

using namespace gradus;

namespace {
struct Mlp {
  nn::Linear<> fc1{4, 8}, fc2{8, 3};
  std::vector<nn::LayerNorm<>> norms{nn::LayerNorm<>(8)};
  Tensor<float> forward(const Tensor<float>& x) { return fc2(relu(norms[0](fc1(x)))); }
  void visit(auto&& f) { f("fc1", fc1), f("fc2", fc2), f("norms", norms); }
};
nn::Sequential<float> make_net() {
  return nn::Sequential<float>{nn::Conv2d{1, 4, 3, {.padding = 1}},
                               nn::BatchNorm2d{4},
                               nn::ReLU{},
                               nn::MaxPool2d{2},
                               nn::Flatten{},
                               nn::Dropout{0.5},
                               nn::Linear{16, 3}};
}
}  // namespace

TEST_CASE("parameters have the paths of the members", "[nn]") {
  Mlp mlp;
  std::vector<std::string> names;
  for (const auto& [name, x] : nn::named_parameters(mlp)) names.push_back(name);
  CHECK(names ==
        std::vector<std::string>{"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "norms.0.weight", "norms.0.bias"});
  CHECK(nn::parameter_count(mlp) == 4 * 8 + 8 + 8 * 3 + 3 + 16);
  auto net = make_net();
  names.clear();
  for (const auto& [name, x] : nn::state_dict(net)) names.push_back(name);
  CHECK(names == std::vector<std::string>{"0.bias", "0.weight", "1.bias", "1.running_mean", "1.running_var", "1.weight",
                                          "6.bias", "6.weight"});
  CHECK(nn::parameters(net).size() == 6);
  CHECK_THAT(nn::summary(net), Catch::Contains("Conv2d(1 -> 4, 3x3)") && Catch::Contains("99 parameters, 8 numbers of state"));
}

TEST_CASE("state goes from one net to another", "[nn]") {
  manual_seed(1);
  auto a = make_net(), b = make_net();
  const auto x = randn({2, 1, 4, 4});
  a(x);  // moves the running statistics
  nn::eval(a), nn::eval(b);
  CHECK(a(x).to_vector() != b(x).to_vector());
  nn::load_state_dict(b, nn::clone_state(a));
  CHECK(a(x).to_vector() == b(x).to_vector());
  auto state = nn::state_dict(a);
  state.erase("6.bias");
  CHECK_THROWS_WITH(nn::load_state_dict(b, state), Catch::Contains("6.bias"));
}

TEST_CASE("training mode reaches dropout and batch norm", "[nn]") {
  manual_seed(2);
  auto net = make_net();
  const auto x = randn({8, 1, 4, 4});
  CHECK(net(x).to_vector() != net(x).to_vector());
  nn::eval(net);
  CHECK(net(x).to_vector() == net(x).to_vector());
  CHECK_FALSE(net.at<nn::Dropout>(5).training);
  nn::train(net);
  CHECK(net.at<nn::Dropout>(5).training);
}

TEST_CASE("an error names the module it happened in", "[nn]") {
  auto net = make_net();
  CHECK_THROWS_WITH(net(randn({2, 1, 6, 4})), Catch::Contains("in 6:Linear") && Catch::Contains("nn_test.cpp"));
  nn::Sequential<float> outer{nn::ReLU{}, make_net()};
  CHECK_THROWS_WITH(outer(randn({2, 1, 6, 4})), Catch::Contains("in 1:Sequential.6:Linear"));
  CHECK_THROWS_WITH(nn::Linear(0, 3), Catch::Contains("Linear"));
  CHECK_THROWS_WITH(nn::Dropout(1.5), Catch::Contains("not a probability"));
  CHECK_THROWS_WITH(net.at<nn::ReLU>(0), Catch::Contains("Conv2d"));
}

TEST_CASE("starting values have the promised spread", "[nn]") {
  manual_seed(3);
  nn::Linear<> linear(400, 300);
  const double bound = 1 / std::sqrt(400.0);
  CHECK(amax(abs(linear.weight)).item() <= bound);
  CHECK(mean(square(linear.weight)).item() == Approx(bound * bound / 3).epsilon(0.02));
  auto w = zeros({300, 400});
  nn::init::kaiming_normal(w);
  CHECK(mean(square(w)).item() == Approx(2.0 / 400).epsilon(0.02));
  nn::init::xavier_uniform(w);
  CHECK(mean(square(w)).item() == Approx(2.0 / 700).epsilon(0.02));
  CHECK(nn::init::fans({8, 4, 3, 3}).in == 36);
}

TEST_CASE("a net learns exclusive or", "[nn]") {
  manual_seed(4);
  nn::Sequential<double> net{nn::Linear<double>{2, 8}, nn::Tanh{}, nn::Linear<double>{8, 1}, nn::Sigmoid{}};
  optim::Adam opt(net, {.lr = 0.05});
  const Tensor<double> x{{0, 0}, {0, 1}, {1, 0}, {1, 1}}, y = Tensor<double>{0., 1, 1, 0}.reshape({4, 1});
  double loss = 0;
  for (int k = 0; k < 400; ++k) {
    opt.zero_grad();
    const auto L = mean(square(net(x) - y));
    L.backward();
    opt.step();
    loss = L.item();
  }
  CHECK(loss < 0.01);
}
