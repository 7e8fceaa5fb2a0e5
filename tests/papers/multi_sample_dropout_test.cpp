// The exact relations of multi-sample dropout, on a small network.
#include "multi-sample-dropout/model.hpp"

#include <gradus/data/batches.hpp>

#include "support/catch.hpp"

using namespace msd;

namespace {
Config small(int64_t M, Place where = Place::all) {
  return {.C1 = 4, .C2 = 4, .hidden = 16, .convolutions = 1, .M = M, .where = where, .side = 8};
}
template <class T>
Tensor<T> pictures() {
  manual_seed(7);
  return randn<T>({6, 1, 8, 8});
}
Tensor<int64_t> classes() { return Tensor<int64_t>{0, 1, 2, 3, 4, 5}; }
}  // namespace

TEST_CASE("R1: gradients equal those of plain dropout on the repeated batch", "[papers]") {
  for (const auto where : {Place::all, Place::last}) {
    CHECK(relation_1<double>(small(4, where), pictures<double>(), classes(), 11) < 1e-10);
    CHECK(relation_1<float>(small(4, where), pictures<float>(), classes(), 11) < 1e-5);
  }
}

TEST_CASE("one copy is plain dropout bit for bit", "[papers]") {
  const auto x = pictures<float>();
  manual_seed(5);
  Net<float> net(small(1));
  const auto start = generator();
  const float a = net.loss(x, classes()).item();
  generator() = start;
  const float b = cross_entropy(net.H(net.F(x)), classes()).item();
  CHECK(a == b);
}

TEST_CASE("copies have masks of their own, and one pass through F", "[papers]") {
  manual_seed(6);
  Net<double> net(small(3));
  const auto h = ones<double>({1, 4, 2, 2});
  const auto a = dropout(net.copies(h, 3).reshape({3, 16}), 0.5);
  CHECK(narrow(a, 0, 0, 1).to_vector() != narrow(a, 0, 1, 1).to_vector());
  CHECK(narrow(a, 0, 1, 1).to_vector() != narrow(a, 0, 2, 1).to_vector());
  net.loss(pictures<double>(), classes());
  CHECK(net.calls_of_F == 1);
}

TEST_CASE("a loop over copies and one batch of copies agree", "[papers]") {
  manual_seed(8);
  Net<double> net(small(4, Place::last));  // one dropout, so that a copy's mask is a slice of the batch's
  const auto h = randn<double>({6, 16});
  const RandomStream stream = {generator().seed, generator().next};
  const double batched = net.head_loss(h, classes(), 4).item();
  const auto mask = dropout(ones<double>({24, 16}), 0.5, stream);
  double looped = 0;
  for (int64_t m = 0; m < 4; ++m)
    looped +=
        cross_entropy(linear(h * narrow(mask, 0, 6 * m, 6), net.last_weight(), net.H.at<nn::Linear<double>>(1).bias), classes())
            .item() /
        4;
  CHECK(batched == Approx(looped).epsilon(1e-12));
}

TEST_CASE("R2: the variance of the gradient falls as 1 / M", "[papers]") {
  manual_seed(9);
  Net<double> net(small(1));
  const auto h = no_grad([&] { return net.F(pictures<double>()); });
  const GradientNoise one = gradient_noise(net, h, classes(), 1, 1500), four = gradient_noise(net, h, classes(), 4, 1500);
  CHECK(4 * four.variance / one.variance == Approx(1).epsilon(0.15));
  CHECK(distance(one, four) < 4);
}

TEST_CASE("R3: the expected loss of a linear head", "[papers]") { CHECK(relation_3(0.5, 400000, 1) < 5e-3); }

TEST_CASE("averaging logits is another objective, and not a larger one", "[papers]") {
  manual_seed(10);
  Net<double> net(small(8));
  const auto h = randn<double>({6, 4, 2, 2});
  const auto start = generator();
  const double losses = net.head_loss(h, classes(), 8).item();
  generator() = start;
  net.c.average = Average::logits;
  CHECK(net.head_loss(h, classes(), 8).item() < losses);
}
