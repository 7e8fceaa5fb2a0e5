// Dropout layers of units; modes, schedules, Monte Carlo; MaskDropout.
#include <gradus/nn/dropout/unit.hpp>
#include <gradus/nn/linear.hpp>
#include <gradus/nn/sequential.hpp>
#include <gradus/ops/shape.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

TEST_CASE("the classic form scales in evaluation") {
  manual_seed(1);
  auto d = nn::Dropout::scaled_at_test(0.3);
  const auto y = d(ones<double>({100000}));
  CHECK(amax(y).item() == 1);
  CHECK(std::fabs(mean(y).item() - 0.7) < 5 * std::sqrt(0.21 / 100000));
  d.training = false;
  CHECK(check::difference(d(ones<double>({3})), full<double>({3}, 0.7)) == "");
  nn::Dropout modern(0.3);
  CHECK(amax(modern(ones<double>({100}))).item() == Approx(1 / 0.7));
  modern.training = false;
  CHECK(check::difference(modern(ones<double>({3})), ones<double>({3})) == "");
}

TEST_CASE("channel dropout takes batches and single examples") {
  manual_seed(2);
  const auto check_channels = [](const Double& y, const Shape& spatial) {
    const auto one = amax(y, spatial, true);
    CHECK(check::difference(expand(one, y.shape()), y) == "");
    CHECK(amax(y).item() == 2);
    CHECK(amin(y).item() == 0);
  };
  check_channels(nn::Dropout1d(0.5)(ones<double>({20, 9, 4})), {2});
  check_channels(nn::Dropout1d(0.5)(ones<double>({100, 4})), {1});
  check_channels(nn::Dropout2d(0.5)(ones<double>({20, 9, 3, 4})), {2, 3});
  check_channels(nn::Dropout3d(0.5)(ones<double>({20, 9, 2, 3, 4})), {2, 3, 4});
  CHECK(check::missing(check::error_of([] {
                         nn::Dropout2d(0.5)(ones<double>({3, 4}));
                       }),
                       {"2 spatial axes", "float64 cpu [3, 4]", "3 or 4", "dropout_unit_test.cpp"}) == "");
}

TEST_CASE("feature alpha dropout: whole channels, mean 0 and variance 1 over many") {
  manual_seed(3);
  const auto y = nn::FeatureAlphaDropout(0.3)(randn<double>({400, 500, 1, 1}));
  CHECK(std::fabs(mean(y).item()) < 0.02);
  CHECK(std::fabs(var(y).item() - 1) < 0.03);
  const auto c = nn::FeatureAlphaDropout(0.3)(ones<double>({6, 7, 4, 5}));
  CHECK(check::difference(expand(amax(c, {2, 3}, true), c.shape()), c) == "");
}

TEST_CASE("one pass of every layer has its gradient") {
  const auto x = check::uniform({3, 4, 2});
  const auto fixed = [](auto layer) {
    return [layer](const Double& x) {
      manual_seed(9);
      return layer(x) * x;
    };
  };
  check::gradients(fixed(nn::Dropout(0.4)), x);
  check::gradients(fixed(nn::Dropout::scaled_at_test(0.4)), x);
  check::gradients(fixed(nn::Dropout1d(0.4)), x);
  check::gradients(fixed(nn::AlphaDropout(0.4)), x);
  check::gradients(fixed(nn::FeatureAlphaDropout(0.4)), x);
  check::gradients(fixed(nn::GaussianDropout(0.4)), x);
  check::gradients(fixed(nn::UniformDropout(0.4)), x);
  check::gradients(fixed(nn::GaussianNoise(0.4)), x);
}

TEST_CASE("modes: training, evaluation, Monte Carlo") {
  manual_seed(4);
  nn::Sequential<double> net{nn::Linear<double>(4, 50), nn::Dropout(0.5), nn::GaussianNoise(0.1), nn::Linear<double>(50, 1)};
  const auto x = check::uniform({3, 4});
  const auto differs = [&] { return net(x).to_vector() != net(x).to_vector(); };
  CHECK(differs());
  nn::eval(net);
  CHECK_FALSE(differs());
  CHECK(nn::monte_carlo(net) == 2);
  CHECK(differs());
  nn::train(net), nn::eval(net);  // leave Monte Carlo alone
  CHECK(differs());
  nn::monte_carlo(net, false);
  CHECK_FALSE(differs());
}

TEST_CASE("the rate of a net is set by schedules") {
  nn::Sequential<double> net{nn::Linear<double>(4, 4), nn::Dropout(0.5), nn::Sequential<double>{nn::Dropout1d(0.2)}};
  CHECK(nn::set_dropout(net, 0.25) == 2);
  std::vector<std::string> paths;
  nn::set_dropout(net, [&](const std::string& path, double p) {
    CHECK(p == 0.25);
    paths.push_back(path);
    return nn::linear_rate(0, 0.4, 5, 10);
  });
  CHECK(paths == std::vector<std::string>{"1.p", "2.0.p"});
  CHECK(net[1].as<nn::Dropout>().p == Approx(0.2));
  nn::Linear<> bare(2, 2);
  CHECK(check::missing(check::error_of([&] { nn::set_dropout(bare, 0.5); }), {"set_dropout", "no dropout", "Linear"}) == "");
  CHECK(check::missing(check::error_of([&] { nn::set_dropout(net, 1.5); }), {"1.5", "0 <= p <= 1", "dropout_unit_test.cpp"}) ==
        "");
  CHECK(nn::linear_rate(0.1, 0.5, 20, 10) == 0.5);
  CHECK(nn::curriculum_rate(0.5, 0.1, 10) == Approx(0.5 * (1 - std::exp(-1.0))));
  CHECK(nn::annealed_rate(0.5, 3, 10) == Approx(0.35));
  CHECK(nn::annealed_rate(0.5, 30, 10) == 0);
  CHECK((nn::early_rate(0.3, 4, 5) == 0.3 && nn::early_rate(0.3, 5, 5) == 0));
  CHECK((nn::late_rate(0.3, 4, 5) == 0 && nn::late_rate(0.3, 5, 5) == 0.3));
}

TEST_CASE("Monte Carlo mean and variance are those of the passes") {
  manual_seed(5);
  const auto start = generator();
  const auto f = [] { return dropout(from_vector<double>({1, -2, 3}), 0.4); };
  const auto mc = nn::monte_carlo_predict(f, 7);
  generator() = start;
  std::vector<Double> all;
  for (int i = 0; i < 7; ++i) all.push_back(f());
  CHECK(check::difference(mc.mean, mean(stack(all), 0)) == "");
  CHECK(check::difference(mc.variance, var(stack(all), 0, 0)) == "");
  const auto many = nn::monte_carlo_predict(f, 40000);  // E = x, Var = x^2 p / (1 - p)
  CHECK(check::difference(many.mean, from_vector<double>({1, -2, 3}), 0.03, 0) == "");
  CHECK(check::difference(many.variance, from_vector<double>({2. / 3, 8. / 3, 6}), 0.03, 0) == "");
  // Two passes over two samples: for the first they disagree with certainty, for the second they agree on not knowing.
  const auto u = nn::class_uncertainty(from_vector<double>({1, 0, 0.5, 0.5, 0, 1, 0.5, 0.5}, {2, 2, 2}));
  CHECK(check::difference(u.total, full<double>({2}, std::log(2.0))) == "");
  CHECK(check::difference(u.within, from_vector<double>({0, std::log(2.0)})) == "");
  CHECK(check::difference(u.mutual, from_vector<double>({std::log(2.0), 0})) == "");
}

TEST_CASE("MaskDropout records what it sampled, and uses what it is given") {
  manual_seed(6);
  nn::MaskDropout<double> d(0.25);
  const auto x = relu(check::uniform({4, 50}));
  const auto y = d(x);
  REQUIRE(d.mask.defined());
  CHECK(check::difference(x * d.mask / 0.75, y) == "");
  CHECK(sum(d.mask).item() > sum(cast<double>(y != 0)).item());  // zeros of x are not taken for dropped
  const auto recorded = d.mask;
  d.use(recorded);
  CHECK(check::difference(d(x), y) == "");
  check::gradients(
      [](const check::List& l) {
        nn::MaskDropout<double> m(0.25);
        m.use(l[1]);
        return m(l[0]) * l[0];
      },
      check::List{check::uniform({2, 3}), check::uniform({2, 3}, 0, 1, 2)});
  d.mode = nn::MaskDropout<double>::Mode::off;
  CHECK(d(x).is_same(x));
  d.mode = nn::MaskDropout<double>::Mode::use, d.training = false;
  CHECK(d(x).is_same(x));
  nn::MaskDropout<double> empty(0.25);
  empty.mode = nn::MaskDropout<double>::Mode::use;
  CHECK(check::missing(check::error_of([&] { empty(x); }), {"MaskDropout", "no mask", "dropout_unit_test.cpp"}) == "");
}

TEST_CASE("rows of incoming weights of a dropped unit have no gradient") {
  manual_seed(7);
  nn::Linear<double> in(5, 8, false), out(8, 3, false);
  Masks masks;
  const auto y = track_dropout_mask(masks, [&] { return sum(tanh(out(dropout(in(check::uniform({1, 5})), 0.5)))); });
  y.backward();
  const auto m = masks[0].as<double, Cpu>().to_vector();
  const auto rows = amax(abs(in.weight.grad()), 1).to_vector(), columns = amax(abs(out.weight.grad()), 0).to_vector();
  for (std::size_t j = 0; j < m.size(); ++j) CHECK((m[j] == 0) == (rows[j] == 0 && columns[j] == 0));
}
