// The exact relations of FlexTok, on small networks: the statements 1 to 4 of its acceptance.
#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 takes the unused places of an inlined Shape and of a node's edges for used ones.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Warray-bounds"
#endif
#include "flextok/model.hpp"

#include <gradus/optim.hpp>

#include "support/catch.hpp"

using namespace flextok;

namespace {
Config small() {
  Config c;
  c.side = 16, c.D = 32, c.head = 16, c.K = 8, c.encoder_depth = 1, c.decoder_depth = 2, c.levels = {8, 5, 5, 5};
  return c;
}
template <class T>
double largest(const Tensor<T>& x) {
  return static_cast<double>(amax(abs(x)).item());
}
/// A few steps, so that gates and head are no longer zero.
template <class T>
void train_a_little(Tokenizer<T>& net, const Tensor<T>& z0, int steps = 5) {
  optim::AdamW opt(net, {.lr = 1e-2, .allow_missing_grad = true});
  for (int i = 0; i < steps; ++i) opt.zero_grad(), net.loss(z0).backward(), opt.step();
}
}  // namespace

TEST_CASE("flextok 1: every index survives, bound and rounding are the formulas", "[papers]") {
  for (const auto& levels : {std::vector<int64_t>{8, 5, 5, 5}, {8, 8, 8, 5, 5, 5}}) {
    const nn::Fsq<double> fsq(levels);
    const auto all = cast<int64_t>(arange<double>(static_cast<double>(fsq.codes())));
    const auto back = fsq.index(fsq.code(all));
    CHECK(sum(cast<double>(not_equal(all, back))).item() == 0);
  }
  const nn::Fsq<double> fsq({8, 5, 5, 5});
  manual_seed(1);
  const auto z = randn<double>({50, 4}) * 2;
  const auto q = fsq(z);
  for (int64_t i = 0; i < 50; ++i)
    for (int64_t l = 0; l < 4; ++l) {
      const double L = l == 0 ? 8 : 5, half = (L - 1) * 1.001 / 2, o = l == 0 ? 0.5 : 0, s = std::atanh(o / half);
      const double b = std::tanh(z.data()[i * 4 + l] + s) * half - o;
      CHECK(std::abs(q.data()[i * 4 + l] - std::nearbyint(b) / std::floor(L / 2)) < 1e-6);
    }
  // The straight-through gradient against finite differences of the unrounded path.
  auto x = z.clone();
  x.requires_grad_();
  const auto w = randn<double>({50, 4});
  const auto g = grad(sum(fsq(x) * w), x);
  const auto width = Tensor<double>{4., 2., 2., 2.};
  const double h = 1e-5;
  const auto numeric = w * (fsq.bound(z + h) - fsq.bound(z - h)) / (2 * h) / width;
  CHECK(largest(g - numeric) < 1e-5);
}

TEST_CASE("flextok 2: a prefix is a code of its own", "[papers]") {
  manual_seed(3);
  Tokenizer<double> net(small());
  const auto z0 = randn<double>({4, 4, 4, 4});
  nn::eval(net);
  {  // (d) zero-initialised: v = 0
    const NoGrad guard;
    const auto e = randn_like(z0), t = nn::sample_levels<double>(4);
    const auto r = net.conditions(net.encode(z0));
    CHECK(largest(net.velocity(nn::noised(z0, e, t), t, r)) == 0);
    CHECK(std::abs(net.loss_at(z0, r, e, t).item() - mean(square(e - z0)).item()) < 1e-6);
  }
  nn::train(net);
  train_a_little(net, z0);
  nn::eval(net);
  const auto e = randn_like(z0), t = nn::sample_levels<double>(4);
  const auto q = no_grad([&] { return net.encode(z0); });
  for (const int64_t k : {1, 3, 7}) {
    const NoGrad guard;  // (a)
    const auto other = cat(std::vector<Tensor<double>>{narrow(q, 1, 0, k), randn<double>({4, 8 - k, 4})}, 1);
    CHECK(largest(net.velocity(e, t, net.conditions(q, k)) - net.velocity(e, t, net.conditions(other, k))) == 0);
    CHECK(largest(net.registers_of(z0, k) - narrow(net.registers_of(z0), 1, 0, k)) < 1e-6);  // (b)
  }
  auto codes = q.clone();  // (c)
  codes.requires_grad_();
  const auto g = grad(net.loss_at(z0, net.conditions(codes, 3), e, t), codes);
  CHECK(largest(narrow(g, 1, 3, 5)) == 0);
  CHECK(largest(narrow(g, 1, 0, 3)) > 0);
}

TEST_CASE("flextok 2: with a full mask codes do depend on later registers", "[papers]") {
  manual_seed(3);
  Config c = small();
  c.causal = false;
  const Tokenizer<double> net(c);
  const NoGrad guard;
  const auto z0 = randn<double>({2, 4, 4, 4});
  CHECK(largest(net.registers_of(z0, 3) - narrow(net.registers_of(z0), 1, 0, 3)) > 1e-6);
}

TEST_CASE("flextok 3: guidance", "[papers]") {
  manual_seed(5);
  const auto c = randn<double>({3, 4, 8, 8}), u = randn<double>({3, 4, 8, 8});
  nn::ProjectedGuidance<double> plain{7.5, 0, 0, 1};
  CHECK(largest(plain(c, u) - nn::guided(c, u, 7.5)) < 1e-5);
  nn::ProjectedGuidance<double> apg{7.5, -0.5, 2.5, 0};
  for (int step = 0; step < 3; ++step) {
    const auto d = (apg(c, u + step) - c).reshape({3, -1}), cc = c.reshape({3, -1});
    const auto cosine = sum(d * cc, {1}) / sqrt(sum(d * d, {1}) * sum(cc * cc, {1}));
    CHECK(largest(cosine) < 1e-6);
  }
  nn::ProjectedGuidance<double> one{1};
  CHECK(largest(one(c, u) - c) == 0);
}

TEST_CASE("flextok 4: the sampler carries noise to a Gaussian; the laws of nested dropout", "[papers]") {
  manual_seed(7);
  for (const auto& [mu, sigma] : {std::pair{1.5, 0.5}, std::pair{0.0, 1.0}}) {
    const auto v = [mu = mu, sigma = sigma](const Tensor<double>& z, const Tensor<double>& level) {
      const double t = level.data()[0], a = 1 - t;
      return (t - a * sigma * sigma) / (a * a * sigma * sigma + t * t) * (z - a * mu) - mu;
    };
    auto noise = randn<double>({200000});
    noise = (noise - mean(noise)) / std::sqrt(mean(square(noise - mean(noise))).item());
    const auto x = nn::sample_flow<double, Cpu>(v, noise, 200);
    const double m = mean(x).item(), s = std::sqrt(mean(square(x - m)).item());
    CHECK(std::abs(m - mu) <= 0.02 * std::max(1.0, std::abs(mu)));
    CHECK(std::abs(s - sigma) <= 0.02 * sigma);
  }
  const int64_t N = 16, draws = 100000;
  for (const char* name : {"uniform", "pow2", "uniform_pow2"}) {
    auto d = nn::NestedDropout<double>::tokens(N, 1, Tokenizer<double>::law(name));
    nn::init::constant(d.fill, 0);
    const auto kept = no_grad([&] { return sum(d(ones<double>({draws, N, 1})), {1, 2}); });
    std::vector<double> count(17), p(17);
    for (int64_t i = 0; i < draws; ++i) ++count[static_cast<std::size_t>(std::lround(kept.data()[i]))];
    for (int64_t j = 1; j <= N; ++j) {  // the laws as the paper's code has them
      int64_t k = 1;
      while (k < j) k *= 2;
      if (std::string(name) == "uniform") p[static_cast<std::size_t>(j)] = 1.0 / 16;
      else if (std::string(name) == "pow2") p[static_cast<std::size_t>(k)] = 1.0 / 5;
      else p[static_cast<std::size_t>(k)] += 1.0 / 16;
    }
    double chi = 0;
    CHECK(count[0] == 0);
    for (std::size_t k = 1; k <= 16; ++k) {
      if (p[k] == 0) CHECK(count[k] == 0);
      else chi += std::pow(count[k] - p[k] * draws, 2) / (p[k] * draws);
    }
    CHECK(chi < (std::string(name) == "uniform" ? 37.70 : 18.47));  // p = 1e-3 at 15 and 4 degrees of freedom
  }
}

TEST_CASE("flextok: parameters of the paper's blocks", "[papers]") {
  CHECK(12 * block_parameters(64 * 12, false) == 84934656);
  CHECK(18 * block_parameters(64 * 18, false) == 286654464);
  Block<float> plain(128, 64, false), modulated(128, 64, true);
  CHECK(nn::parameter_count(plain) == block_parameters(128, false));
  CHECK(nn::parameter_count(modulated) == block_parameters(128, true));
}

TEST_CASE("flextok: the plan counts what is built; d18-d28", "[papers]") {
  Config c;
  Tokenizer<float> example(c);
  CHECK(flextok::plan(c).parameters == nn::parameter_count(example));
  const Plan p = flextok::plan(Config::paper(18, 28));
  CHECK(p.encoder_blocks == 286654464);
  CHECK(std::abs(static_cast<double>(p.decoder_blocks) / 1e6 - 2158) < 1);
  Block<float> widest(64 * 28, 64, true);  // one of the 28: all of them take 8.6 GB
  CHECK(28 * nn::parameter_count(widest) == p.decoder_blocks);
}

TEST_CASE("flextok: a step at 256 x 256 with 256 registers, width 64", "[papers]") {
  manual_seed(11);
  Tokenizer<float> net(Config::paper(1, 1));
  CHECK(flextok::plan(net.c).parameters == nn::parameter_count(net));
  optim::AdamW opt(net, {.lr = 1e-3, .allow_missing_grad = true});
  const auto z0 = randn<float>({1, 16, 32, 32});
  const auto L = net.loss(z0);
  CHECK(std::abs(L.item() - 2) < 0.3);  // v = 0: 1 + the mean square of z0
  L.backward();
  opt.step();
  CHECK(std::isfinite(net.loss(z0).item()));
}

TEST_CASE("flextok: REPA trains its projection and what lies before it", "[papers]") {
  manual_seed(13);
  Config c = small();
  c.repa = 0.5, c.teacher = 6;
  Tokenizer<double> net(c);
  const auto z0 = randn<double>({2, 4, 4, 4}), f = randn<double>({2, 4, 6});
  net.loss(z0, f).backward();
  CHECK(largest(net.projection[2].weight.grad()) > 0);
  CHECK(largest(net.noisy_in.weight.grad()) > 0);
}

TEST_CASE("flextok: one class cannot see later tokens", "[papers]") {
  manual_seed(9);
  Config c = small();
  c.ar_D = 32, c.ar_depth = 2;
  const Autoregressive<double> ar(c);
  const NoGrad guard;
  const auto ids = randint<Cpu>(0, 1000, {2, 8});
  const Tensor<int64_t> y{1, 2};
  const auto full = ar.logits(ids, y, ones<double>({2}));
  const auto other = cat(std::vector<Tensor<int64_t>>{narrow(ids, 1, 0, 4), narrow(ids, 1, 0, 4)}, 1);
  CHECK(largest(narrow(full - ar.logits(other, y, ones<double>({2})), 1, 0, 5)) < 1e-12);
  CHECK(ar.sample(y, 1.5).shape() == Shape{2, 8});
}
