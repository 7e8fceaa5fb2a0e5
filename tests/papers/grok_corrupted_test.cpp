// The closed form of modular addition, IPR, data and pruning of the example on corrupted labels.
#include "grok-corrupted/model.hpp"

#include "support/catch.hpp"

using namespace grok;

TEST_CASE("grok-corrupted: the closed form adds, and its neurons are single waves", "[papers]") {
  manual_seed(3);
  for (const auto& [p, N] : {std::pair<int64_t, int64_t>{23, 440}, {97, 240}}) {  // small p needs more neurons a frequency
    const Data<Cpu> every = make_data<Cpu>({p, 1, 0});
    CHECK(every.train.size() == p * p);
    Mlp<double, Cpu> net({p, N});
    make_analytic(net);
    const auto f = no_grad([&] { return net.forward(every.train.m, every.train.n); });
    CHECK(share(argmax(f, 1), every.train.truth) == 1);
    CHECK(std::abs(mean(sum(f * one_hot<double>(every.train.truth, p), {1})).item() - 1) < 1e-4);
    for (const double v : ipr_of(net)) CHECK(std::abs(v - 1) < 1e-5);
  }
}

TEST_CASE("grok-corrupted: IPR of a wave, of two, of one element, of noise", "[papers]") {
  const int64_t p = 97;
  std::vector<double> x;
  for (int64_t t = 0; t < p; ++t) {
    const double turn = 2 * std::numbers::pi * static_cast<double>(t) / static_cast<double>(p);
    x.insert(x.end(), {std::cos(7 * turn + 0.3), std::cos(7 * turn) + std::sin(11 * turn), t == 5 ? 1.0 : 0.0, 1.0});
  }
  const auto ipr = ipr_of_columns(from_vector(x, {p, 4})).to_vector();
  CHECK(ipr[0] == Approx(1).margin(1e-12));
  CHECK(ipr[1] == Approx(0.5).margin(1e-12));
  CHECK(ipr[2] == Approx(1.0 / 49).margin(1e-12));  // all 49 bins alike
  CHECK(ipr[3] == Approx(1).margin(1e-12));
  manual_seed(1);
  CHECK(mean_of(ipr_of_columns(randn({97, 2000})).to_vector()) == Approx(0.040).margin(0.002));
  CHECK(mean_of(ipr_of_columns(randn({53, 2000})).to_vector()) == Approx(0.073).margin(0.003));
}

TEST_CASE("grok-corrupted: data, of which only training labels are drawn anew", "[papers]") {
  manual_seed(5);
  const Task task{53, 0.75, 0.25};
  const auto d = make_data<Cpu>(task);
  CHECK(d.train.size() == 2106);
  CHECK(d.test.size() == 53 * 53 - 2106);
  CHECK(d.corrupted == 526);
  CHECK(share(d.test.label, d.test.truth) == 1);
  CHECK(share(d.clean().label, d.clean().truth) == 1);
  const double by_chance = share(d.noisy().label, d.noisy().truth);
  CHECK((by_chance > 0 && by_chance < 0.06));  // 1 / 53, not forced to differ
  for (int64_t i = 0; i < 50; ++i) CHECK(d.test.truth(i).item() == (d.test.m(i).item() + d.test.n(i).item()) % 53);
  const auto times = make_data<Cpu>({53, 0.5, 0, true});
  for (int64_t i = 0; i < 50; ++i) CHECK(times.train.truth(i).item() == times.train.m(i).item() * times.train.n(i).item() % 53);
}

TEST_CASE("grok-corrupted: the network is the product with two one-hot vectors, dropped before the square", "[papers]") {
  manual_seed(2);
  Mlp<double, Cpu> net({11, 16});
  const auto d = make_data<Cpu>({11, 0.5, 0.2});
  const auto h = matmul(one_hot<double>(d.train.m, 11), net.U) + matmul(one_hot<double>(d.train.n, 11), net.V);
  CHECK(amax(abs(net.forward(d.train.m, d.train.n) - matmul(square(h), net.W))).item() < 1e-14);
  // E[(z h)^2] = h^2 / (1 - rate): the square of a kept unit is scaled twice, and is kept with probability 1 - rate.
  Mlp<double, Cpu> dropped({11, 16, 0.5});
  no_grad([&] { dropped.U.copy_(net.U), dropped.V.copy_(net.V), dropped.W.copy_(net.W); });
  auto mean_output = zeros<double>({d.train.size(), 11});
  for (int i = 0; i < 4000; ++i) mean_output += no_grad([&] { return dropped.forward(d.train.m, d.train.n); }) / 4000.0;
  const auto expected = no_grad([&] { return matmul(square(h) * 2.0, net.W); });
  CHECK((norm(mean_output - expected) / norm(expected)).item() < 0.05);
  nn::eval(dropped);
  CHECK(amax(abs(dropped.forward(d.train.m, d.train.n) - net.forward(d.train.m, d.train.n))).item() == 0);
}

TEST_CASE("grok-corrupted: pruning takes the neurons of the lowest or highest IPR and leaves the network as it was",
          "[papers]") {
  manual_seed(4);
  const Mlp<float, Cpu> net({11, 8});
  const auto before = net.U.to_vector();
  const std::vector<double> ipr{0.5, 0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.6};
  const auto gone = [](const Mlp<float, Cpu>& x) {
    std::vector<int> list;
    for (int k = 0; k < 8; ++k)
      if (sum(abs(x.U(all, k))).item() == 0 && sum(abs(x.V(all, k))).item() == 0 && sum(abs(x.W(k))).item() == 0)
        list.push_back(k);
    return list;
  };
  CHECK(gone(pruned(net, ipr, 0.25, true)) == std::vector<int>{1, 3});
  CHECK(gone(pruned(net, ipr, 0.25, false)) == std::vector<int>{2, 4});
  CHECK(gone(net).empty());
  CHECK(net.U.to_vector() == before);
}

namespace {
/// Writes down which pairs it is given.
struct Counting {
  using value_type = double;
  Tensor<double> w = zeros<double>({1}).requires_grad_();
  std::vector<int64_t> seen;
  Tensor<double> forward(const Tensor<int64_t>& m, const Tensor<int64_t>& n) {
    for (const int64_t v : (m * 11 + n).to_vector()) seen.push_back(v);
    return w + zeros<double>({m.size(0), 11});
  }
};
}  // namespace

TEST_CASE("grok-corrupted: small batches see every pair once an epoch, and rates follow the authors' rule", "[papers]") {
  manual_seed(6);
  const auto d = make_data<Cpu>({11, 0.5, 0});
  Counting net;
  optim::Sgd<double, Cpu> opt(std::vector{net.w}, {.lr = 0.1});
  train(net, d.train, opt, {.steps = 6, .batch = 10}, [](int64_t) { return true; });
  CHECK(net.seen.size() == 60);  // 60 pairs: one epoch of six batches
  std::sort(net.seen.begin(), net.seen.end());
  CHECK(std::unique(net.seen.begin(), net.seen.end()) == net.seen.end());
  CHECK(scaled_rate(1e-2, 64) == 5e-3);
  CHECK(scaled_rate(1e-2, 512) == 1e-2);
  CHECK(scaled_rate(1e-2, 0) == 1e-2);
}
