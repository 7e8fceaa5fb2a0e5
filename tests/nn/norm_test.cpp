// Normalising layers: their statistics, gradients, and the batch norm of several processes.
#include <gradus/nn/dropout.hpp>
#include <gradus/nn/linear.hpp>
#include <gradus/nn/norm.hpp>
#include <gradus/nn/sequential.hpp>
#include <gradus/ops/index.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::List;

TEST_CASE("RMSNorm, GroupNorm, InstanceNorm, DyT") {
  const auto x = check::uniform({2, 6, 4}, -1, 2);
  nn::RMSNorm<double> rms(4, 0);
  CHECK(check::difference(mean(square(rms(x)), {-1}), ones<double>({2, 6})) == "");
  nn::GroupNorm<double> group(2, 6, 0);
  const auto y = gradus::reshape(group(x), {2, 2, 12});
  CHECK(check::difference(mean(y, {-1}), zeros<double>({2, 2})) == "");
  CHECK(check::difference(var(y, {-1}, 0), ones<double>({2, 2})) == "");
  nn::InstanceNorm<double> instance(6, 0);
  CHECK(check::difference(instance(x), nn::GroupNorm<double>(6, 6, 0)(x)) == "");
  const auto n = nn::LocalResponseNorm(3, 0.1, 0.75, 2)(x);  // channel 0 has one neighbour
  const double around = std::pow(x(0, 0, 0).item(), 2) + std::pow(x(0, 1, 0).item(), 2);
  CHECK(n(0, 0, 0).item() == Approx(x(0, 0, 0).item() / std::pow(2 + 0.1 / 3 * around, 0.75)));
  nn::DyT<double> dyt(4, 0.7);
  CHECK(check::difference(dyt(x), tanh(x * 0.7)) == "");
  check::gradients(
      [](const List& v) {
        nn::DyT<double> d(4);
        d.a = v[1], d.weight = v[2], d.bias = v[3];
        nn::GroupNorm<double> g(2, 6);
        g.weight = v[4], g.bias = v[5];
        return d(g(v[0]));
      },
      List{x, check::uniform({1}, 0.5, 1), check::uniform({4}, -1, 1, 2), check::uniform({4}, -1, 1, 3),
           check::uniform({6}, -1, 1, 4), check::uniform({6}, -1, 1, 5)},
      {.eps = 1e-5, .atol = 1e-5, .rtol = 1e-4});
  CHECK(check::missing(check::error_of([] { nn::GroupNorm<double>(4, 6); }), {"GroupNorm", "multiple of groups"}) == "");
  CHECK(check::contains(check::error_of([] { nn::InstanceNorm<double>(3)(check::uniform({2, 3})); }), "InstanceNorm"));
}

TEST_CASE("frozen batch norms: no statistics, no gradients, the rest trains") {
  nn::Sequential<double> net{nn::Linear<double>(3, 4), nn::BatchNorm1d<double>(4), nn::Dropout(0.5), nn::LayerNorm<double>(4)};
  CHECK(nn::freeze_batch_norm(net) == 1);
  CHECK(net.at<nn::Dropout>(2).training);
  auto& bn = net.at<nn::BatchNorm1d<double>>(1);
  const auto x = check::uniform({8, 3}, -1, 3);
  sum(square(net(x))).backward();
  CHECK(check::difference(bn.running_mean, zeros<double>({4})) == "");
  CHECK((!bn.training && !bn.weight.requires_grad() && !bn.bias.requires_grad()));
  CHECK((net.at<nn::Linear<double>>(0).weight.grad().defined() && net.at<nn::LayerNorm<double>>(3).weight.grad().defined()));
  CHECK(nn::parameters(net).size() - nn::trainable_parameters(net).size() == 2);
  nn::freeze_batch_norm(net, false);
  sum(net(x)).backward();
  CHECK((bn.training && bn.weight.grad().defined() && amax(abs(bn.running_mean)).item() > 0));
}

TEST_CASE("batch norm over processes") {
  const auto x = check::uniform({4, 3, 5}, -1, 3), c = check::uniform({4, 3, 5}, -1, 1, 2);
  const auto half = [](const Tensor<double>& t, int64_t i) { return narrow(t, 0, 2 * i, 2); };
  nn::BatchNorm1d<double> whole(3);
  const auto all_x = check::leaf(x);
  const auto expected = whole(all_x);
  sum(expected * c).backward();
  // One process: the identity as the sum over processes.
  nn::SyncBatchNorm<1, double> one(3, {}, [](const Tensor<double>& t) { return t; });
  const auto own = check::leaf(x);
  const auto y = one(own);
  sum(y * c).backward();
  CHECK(check::difference(y, expected, 1e-11, 1e-11) == "");
  CHECK(check::difference(own.grad(), all_x.grad(), 1e-10, 1e-11) == "");
  CHECK(check::difference(one.running_mean, whole.running_mean) == "");
  CHECK(check::difference(one.running_var, whole.running_var, 1e-11, 1e-11) == "");
  // Two processes in step: each sum of the second half is known when the first one asks, as is each gradient.
  std::vector<Tensor<double>> first, second;
  const auto run = [&](int64_t i, std::vector<Tensor<double>>* keep, const std::vector<Tensor<double>>* other) {
    std::size_t k = 0;
    nn::SyncBatchNorm<1, double> layer(3, {}, [&, keep, other](const Tensor<double>& t) {
      if (keep) keep->push_back(t.clone());
      const auto s = other && k < other->size() ? t + (*other)[k] : t;
      ++k;
      return s;
    });
    const auto leaf = check::leaf(half(x, i));
    const auto out = layer(leaf);
    sum(out * half(c, i)).backward();
    return std::pair(out.detach(), leaf.grad());
  };
  for (int round = 0; round < 6; ++round) {  // counts; then means; then variances; then the gradients agree
    std::vector<Tensor<double>> a, b;
    run(0, &a, &second), run(1, &b, &first);
    first = a, second = b;
  }
  const auto left = run(0, nullptr, &second), right = run(1, nullptr, &first);
  CHECK(check::difference(left.first, half(expected, 0), 1e-10, 1e-10) == "");
  CHECK(check::difference(right.first, half(expected, 1), 1e-10, 1e-10) == "");
}
