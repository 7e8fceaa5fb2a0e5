// Coefficients, locality, schedules and flows of the example on NoProp.
#include "noprop/plan.hpp"

#include "support/check.hpp"
#include "support/contains.hpp"

using namespace noprop;

namespace {
const BlockOptions kSmall{.channels = {3, 4}, .side = 8, .hidden = 6, .dropout = 0};
template <class D>
Chain<D> small_chain(int64_t T, Embedding kind = Embedding::onehot, bool radial = false) {
  return {T, kSmall, Labels<D>(4, kind == Embedding::onehot ? 4 : 3, kind, radial)};
}
template <class D>
double largest_gradient(auto& module) {
  double most = 0;
  for (const auto& p : nn::parameters(module))
    if (p.grad().defined()) most = std::max(most, static_cast<double>(amax(abs(p.grad())).item()));
  return most;
}

template <class D>
void locality() {
  manual_seed(1);
  for (const Embedding kind : {Embedding::onehot, Embedding::learned}) {
    auto net = small_chain<D>(4, kind);
    const auto x = randn<float, D>({6, 1, 8, 8});
    const auto y = randint<D>(0, 4, {6});
    net.loss(3, x, y, 0.1).backward();
    for (int64_t t = 1; t <= 4; ++t) CHECK((largest_gradient<D>(net.blocks[static_cast<std::size_t>(t - 1)]) > 0) == (t == 3));
    CHECK(largest_gradient<D>(net.labels) > 0);
    CHECK(net.labels.W_E.grad().defined() == (kind == Embedding::learned));
  }
  auto net = small_chain<D>(4);
  const auto state = nn::clone_state(net);
  optim::AdamW<float, D> opt(nn::parameters(net), {.lr = 0.1, .allow_missing_grad = true});
  for (int k = 0; k < 3; ++k) {
    opt.zero_grad();
    net.loss(3, randn<float, D>({6, 1, 8, 8}), randint<D>(0, 4, {6}), 0.1).backward();
    opt.step();
  }
  bool moved = false;
  for (const auto& [name, p] : nn::named_parameters(net)) {
    const auto before = state.at(name).template as<float, D>().template to<Cpu>().to_vector(),
               after = p.detach().template to<Cpu>().to_vector();
    if (name.starts_with("blocks.2")) moved = moved || before != after;
    else if (name.starts_with("blocks")) CHECK(before == after);  // bit for bit
  }
  CHECK(moved);
}

template <class D>
void flows() {
  manual_seed(2);
  const Labels<D> labels(4, 4, Embedding::onehot, false);
  const auto z0 = randn<float, D>({5, 4});
  const auto u = labels.of(randint<D>(0, 4, {5}));
  const auto z1 = nn::integrate([&](const Tensor<float, D>&, double) { return u - z0; }, z0, {0, 1});
  CHECK(check::difference(z1.template to<Cpu>(), u.template to<Cpu>(), 1e-5, 1e-5) == "");
  // The block of FM and CT trains: a step lowers the loss on the same draws.
  for (const bool flow : {true, false}) {
    Continuous<D> net(kSmall, labels, flow, false);
    optim::Adam<float, D> opt(nn::parameters(net), {.lr = 1e-2, .allow_missing_grad = true});
    const auto x = randn<float, D>({16, 1, 8, 8});
    const auto y = randint<D>(0, 4, {16});
    const auto loss = [&] {
      manual_seed(3);
      return net.loss(x, y, 1);
    };
    const double before = loss().item();
    for (int k = 0; k < 10; ++k) opt.zero_grad(), loss().backward(), opt.step();
    CHECK(loss().item() < before);
    CHECK(net.run(x, randn<float, D>({16, 4}), 5).shape() == Shape{16, 4});
    CHECK(net.scores(randn<float, D>({16, 4})).shape() == Shape{16, 4});
  }
}
}  // namespace

TEST_CASE("noprop: coefficients keep the marginals of q, for any schedule", "[papers]") {
  manual_seed(5);
  std::vector<Schedule> all{cosine_schedule(10), cosine_schedule(3), cosine_schedule(100)};
  Schedule own;
  double level = 0.003;
  for (const double step : rand<double>({12}).to_vector()) own.abar.push_back(level), level += (0.999 - level) * 0.6 * step;
  all.push_back(own);
  for (const Schedule& s : all)
    for (int64_t t = 1; t <= s.T(); ++t) {
      CHECK(s.at(t) > s.at(t - 1));
      CHECK(s.snr(t) > s.snr(t - 1));
      CHECK(std::abs(s.a(t) + s.b(t) * std::sqrt(s.at(t - 1)) - std::sqrt(s.at(t))) < 1e-12);
      CHECK(std::abs(s.b(t) * s.b(t) * (1 - s.at(t - 1)) + s.c(t) - (1 - s.at(t))) < 1e-12);
    }
}

TEST_CASE("noprop: a chain of blocks that know the label ends in q(z_T | y)", "[papers]") {
  manual_seed(6);
  const Schedule s = cosine_schedule(10);
  const int64_t N = 40000;
  const double u = 1;
  auto z = std::sqrt(s.at(0)) * u + std::sqrt(1 - s.at(0)) * randn<double>({N});
  for (int64_t t = 1; t <= s.T(); ++t) z = s.a(t) * u + s.b(t) * z + std::sqrt(s.c(t)) * randn<double>({N});
  const double variance = 1 - s.at(s.T()), n = static_cast<double>(N), mean_z = mean(z).item();
  CHECK(std::abs(mean_z - std::sqrt(s.at(s.T()))) < 3 * std::sqrt(variance / n));
  CHECK(std::abs(mean(square(z - mean_z)).item() - variance) < 3 * variance * std::sqrt(2 / n));
}

TEST_CASE("noprop: the prior's KL is that of two normal laws", "[papers]") {
  const auto u = randn<double>({3, 5});
  const double abar = 0.3;
  const auto mu = std::sqrt(abar) * u, log_variance = full<double>({3, 5}, std::log(1 - abar));
  CHECK(check::difference(prior_kl(u, full<double>({}, abar)), gaussian_kl(mu, log_variance, Reduction::none)) == "");
}

TEST_CASE("noprop: a block's loss reaches that block and the labels alone", "[papers]") {
  locality<Cpu>();
#if GRADUS_WITH_CUDA
  locality<Cuda>();
#endif
}

TEST_CASE("noprop: answers on the way are those of the formula, and p_out by distance", "[papers]") {
  manual_seed(7);
  auto net = small_chain<Cpu>(2, Embedding::learned, true);
  nn::eval(net);
  const auto x = randn({3, 1, 8, 8});
  const std::vector<Tensor<float>> e{randn({3, 3}), randn({3, 3}), randn({3, 3})};
  std::vector<Tensor<float>> seen;
  const auto z = net.run(x, e, [&](int64_t, const auto&, const auto& z) { seen.push_back(z); });
  auto expected = e[0];
  for (int64_t t = 1; t <= 2; ++t) {
    const auto u = matmul(softmax(net.block(t).decide(net.block(t).see(x), expected), 1), net.labels.W_E);
    const auto& s = net.schedule;
    expected = u * static_cast<float>(s.a(t)) + expected * static_cast<float>(s.b(t)) +
               e[static_cast<std::size_t>(t)] * static_cast<float>(std::sqrt(s.c(t)));
    CHECK(check::difference(seen[static_cast<std::size_t>(t - 1)], expected, 1e-5, 1e-6) == "");
  }
  CHECK(check::difference(z, expected, 1e-5, 1e-6) == "");
  const auto far = cdist(z, net.labels.W_E.detach());
  CHECK(check::difference(net.labels.logits(z).detach(), -0.5f * square(far), 1e-4, 1e-5) == "");
}

TEST_CASE("noprop: the slope of the learned schedule is its derivative, and rises from 0.01 to 0.9", "[papers]") {
  manual_seed(8);
  for (const bool linear : {true, false}) {
    const NoiseNet<Cpu> net(linear);
    auto t = rand({7});
    t.requires_grad_();
    const auto p = net.at(t);
    const auto gamma = log(1 - p.abar) - log(p.abar);
    CHECK(check::difference(p.gamma_slope.detach(), grad(sum(gamma), t), 1e-3, 1e-4) == "");
    const auto ends = net.at(from_vector<float>({0, 1})).abar;
    CHECK(ends(0).item() == Approx(0.01).epsilon(1e-4));
    CHECK(ends(1).item() == Approx(0.9).epsilon(1e-4));
    CHECK(amax(p.gamma_slope).item() < 0);
  }
}

TEST_CASE("noprop: flows, and a few steps of both continuous variants", "[papers]") {
  flows<Cpu>();
#if GRADUS_WITH_CUDA
  flows<Cuda>();
#endif
}

TEST_CASE("noprop: a prototype is the picture nearest to its class", "[papers]") {
  const auto x = from_vector<float>({0, 10, 11, 13, 100, 1, 5, 6, 7.5, 50}, {10, 1, 1, 1});
  const auto y = from_vector<int64_t>({0, 0, 0, 0, 0, 1, 1, 1, 1, 1});
  CHECK(prototypes(x, y, 2).to_vector() == std::vector<float>{11, 6});
}

TEST_CASE("noprop: the paper's blocks, and pictures that are too small for them", "[papers]") {
  app::Args args;
  args.setting = app::Setting::paper;
  Options o;
  for (const std::string set : {"mnist", "cifar10", "cifar100"}) {
    o.dataset = set;
    const int64_t m = set == "cifar100" ? 100 : 10;
    o.variant = {};
    for (const Job& j : jobs(args, o)) {
      BlockOptions b = block_of(j);
      b.timed = j.variant == Variant::ct || j.variant == Variant::fm;
      Block<Cpu> block(b, dimensions(j, m), m);
      nn::eval(block);
      const auto x = randn({2, b.pictures, b.side, b.side});
      const NoGrad guard;
      CHECK(block.decide(block.see(x), randn({2, dimensions(j, m)}), b.timed ? rand({2}) : Tensor<float>()).shape() ==
            Shape{2, m});
      CHECK(j.epochs >= 100);
    }
  }
  // 28 x 28: convolutions 320 + 18496 + 73856, and linear layers with their norms; see the README.
  Block<Cpu> mnist({}, 10, 10);
  CHECK(nn::parameter_count(mnist) == 320 + 18496 + 73856 + (1152 * 256 + 3 * 256) + (10 * 256 + 3 * 256) +
                                          (256 * 256 + 3 * 256) + (512 * 256 + 3 * 256) + (256 * 128 + 3 * 128) + 1290);
  CHECK_THROWS_WITH(Block<Cpu>({.side = 4}, 10, 10),
                    contains("Block: the pictures are too small") && contains("4") && contains("2^3"));
}
