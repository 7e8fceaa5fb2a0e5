// What is exact about compressing features: the identity, prefixes and their gradients, the law of k, who teaches whom in
// Co-teaching, frozen norms; sizes of the paper's network.
#include "compress-features/stages.hpp"

#include "support/catch.hpp"
#include "support/check.hpp"

using namespace compressing;

namespace {
Config small(Method m) {
  Config c;
  c.method = m, c.C1 = 3, c.C2 = 4, c.D = 24, c.side = 8, c.sigma = 6;
  return c;
}
struct Toys {
  Tensor<float> x;
  Tensor<int64_t> y;
};
Toys toys(int64_t B) {
  manual_seed(9);
  return {randn<float>({B, 1, 8, 8}), randint<Cpu>(0, 10, {B})};
}
template <class D>
std::vector<std::vector<float>> weights(Net<float, D>& net) {
  std::vector<std::vector<float>> w;
  for (auto& [path, x] : nn::clone_state(net)) w.push_back(x.template as<float, D>().template to<Cpu>().to_vector());
  return w;
}

template <class T, class D>
void identity(double bound) {
  manual_seed(5);
  const auto h = randn<T>({40, 24}).template to<D>(), W = (randn<T>({10, 24}) * 0.5).template to<D>();
  const auto p = softmax(randn<T>({40, 10}), 1).template to<D>();
  const auto hot = one_hot<T>(randint<Cpu>(0, 10, {40}).template to<D>(), 10);
  for (const Method m : {Method::ce, Method::dropout, Method::nested}) {
    const auto [logits, w] = mask_logits(small(m), h, W, 16);
    CHECK(logits.shape() == Shape{40, m == Method::ce ? 1 : m == Method::dropout ? 16 : 24, 10});
    CHECK(sum(w).item() == Approx(1).margin(1e-5));
    for (const auto& target : {p, hot}) {
      const Decomposition d = decompose(logits, w, target);
      CHECK(std::max({d.gap, d.gap_Z, d.mean_gap(), d.mean_gap_Z()}) < bound);
      CHECK(d.bias > 0);
      if (m == Method::ce) CHECK(std::abs(d.variance) < bound);
      else CHECK(d.variance > 0.01);
    }
    CHECK(decompose(logits, w, hot).entropy == 0);
  }
}

template <class D>
void both_stages() {
  const auto [x, y] = toys(16);
  const auto xd = x.template to<D>();
  const auto yd = y.template to<D>();
  // Prefixes: the running sum, the masked features, gradients of what is dropped.
  manual_seed(1);
  Net<float, D> net(small(Method::nested));
  nn::eval(net);
  const auto h = no_grad([&] { return net.F(xd); });
  CHECK(prefix_distance(net, h) < 1e-5);
  for (const int64_t k : {1, 7, 23}) CHECK(gradient_beyond(net, h, yd, k) == 0);
  CHECK(check::difference(net.forward(xd, 24).template to<Cpu>(), net(xd).template to<Cpu>(), 1e-6, 1e-6) == "");
  const auto by_k = prefix_accuracies<float, D>({{h, net.W.weight}}, yd);
  for (const int64_t k : {1, 5, 24}) {
    const auto hit = equal(argmax(net.forward(xd, k), 1), yd).template to<Cpu>().to_vector();
    CHECK(by_k[static_cast<std::size_t>(k - 1)] == Approx(static_cast<double>(std::count(hit.begin(), hit.end(), true)) / 16));
  }
  // One k a batch: with the host's draw of the same stream, training equals the prefix.
  nn::train(net.nested);
  manual_seed(3);
  const int64_t k = net.nested.draw();
  manual_seed(3);
  CHECK(check::difference(net.compressed(h).template to<Cpu>(), net.nested.first(h, k).template to<Cpu>()) == "");

  // Small losses: those of the smallest values, without dropping and without moving statistics.
  for (const Method m : {Method::dropout, Method::nested}) {
    manual_seed(2);
    Net<float, D> f1(small(m)), f2(small(m));
    fine_tune(f1), fine_tune(f2);
    CHECK((f1.drop.training && f1.nested.training));
    optim::Sgd<float, D> opt1(f1, {.lr = 0.05, .momentum = 0.9}), opt2(f2, {.lr = 0.05, .momentum = 0.9});
    CHECK(opt1.params().size() == nn::parameters(f1).size() - 4);  // weight and bias of two norms
    nn::eval(f2);
    const auto losses = no_grad([&] {
      return cross_entropy(f2.forward(narrow(xd, 0, 8, 8).contiguous(), 9), narrow(yd, 0, 8, 8).contiguous(),
                           {.reduction = Reduction::none})
          .template to<Cpu>()
          .to_vector();
    });
    // Each network is updated on what the OTHER kept: f1's new weights are those of a step on f2's instances.
    Net<float, D> by_hand(small(m));
    nn::load_state_dict(by_hand, nn::clone_state(f1));
    const auto before = weights(f1);
    manual_seed(4);
    const auto kept = coteach_step(f1, f2, opt1, opt2, xd, yd, 9, 0.5, false);
    const auto by1 = kept.by1.template to<Cpu>().to_vector(), by2 = kept.by2.template to<Cpu>().to_vector();
    CHECK((by1.size() == 4 && by2.size() == 4));
    for (const int64_t i : by1) CHECK((i >= 0 && i < 8));
    auto sorted = losses;
    std::sort(sorted.begin(), sorted.end());
    for (const int64_t i : by2) CHECK((i >= 8 && losses[static_cast<std::size_t>(i - 8)] <= sorted[3] + 1e-6f));
    manual_seed(4);
    fine_tune(by_hand);
    optim::Sgd<float, D> opt(by_hand, {.lr = 0.05, .momentum = 0.9});
    const int64_t k2 = m == Method::nested ? by_hand.nested.draw() : 0;
    step(by_hand, opt, index_select(xd, 0, kept.by2), index_select(yd, 0, kept.by2), k2);
    CHECK(weights(by_hand) == weights(f1));
    // Statistics and affine parameters of the norms stay.
    std::size_t n = 0;
    for (const auto& [path, tensor] : nn::state_dict(f1)) {
      const bool norm = path.find("F.1.") == 0 || path.find("F.5.") == 0;
      CHECK((weights(f1)[n] == before[n]) == norm);
      ++n;
    }
    const auto all = coteach_step(f1, f2, opt1, opt2, xd, yd, 24, 0.25, true);
    CHECK((all.by1.numel() == 12 && all.by2.numel() == 12));
  }
}
}  // namespace

TEST_CASE("compress-features: risk = bias + variance + entropy", "[papers]") {
  identity<double, Cpu>(1e-12);
  identity<float, Cpu>(1e-5);
}
TEST_CASE("compress-features: prefixes, small losses, the other network's instances, frozen norms", "[papers]") {
  both_stages<Cpu>();
}
#if GRADUS_WITH_CUDA
TEST_CASE("compress-features: risk = bias + variance + entropy on the device", "[papers]") {
  identity<double, Cuda>(1e-12);
  identity<float, Cuda>(1e-5);
}
TEST_CASE("compress-features: prefixes, small losses, the other network's instances, frozen norms on the device", "[papers]") {
  both_stages<Cuda>();
}
#endif

TEST_CASE("compress-features: the law of k", "[papers]") {
  CHECK(law_p_value(10, 512, 100000, 1) > 1e-3);
  CHECK(law_p_value(100, 512, 20000, 2) > 1e-3);
  const auto p = nn::PrefixLaw::gaussian(10).probabilities(512);
  CHECK(p[19] / p[9] == Approx(std::exp(-3.0)));  // exp(-(20 / 10)^2) / exp(-(10 / 10)^2), no factor 2
}

TEST_CASE("compress-features: K* and shares of the best", "[papers]") {
  CHECK(best_prefix({0.1, 0.5, 0.5, 0.50001, 0.4}) == 2);  // 2 more features for 1e-5 are not worth it
  CHECK(best_prefix({0.1, 0.5, 0.5, 0.51}) == 4);
  CHECK(features_for({0.1, 0.94, 0.95, 1, 0.9}, 0.95) == 3);
  manual_seed(1);  // an ensemble: logits are averaged
  const auto a = randn<float>({30, 6}), b = randn<float>({30, 6}), V = randn<float>({4, 6}), W = randn<float>({4, 6});
  const auto y = randint<Cpu>(0, 4, {30});
  const auto hit = equal(argmax(linear(a, V, {}) + linear(b, W, {}), 1), y).to_vector();
  CHECK(prefix_accuracies<float, Cpu>({{a, V}, {b, W}}, y)[5] ==
        Approx(static_cast<double>(std::count(hit.begin(), hit.end(), true)) / 30));
}

TEST_CASE("compress-features: noisy labels of a split", "[papers]") {
  Source s;
  s.set.train.shape = {400, 2, 2}, s.to = {6, 1, 4, 3, 2, 7, 6, 9, 8, 9};
  for (int i = 0; i < 400; ++i) {
    s.set.train.labels.push_back(static_cast<uint8_t>(i % 10));
    for (int k = 0; k < 4; ++k) s.set.train.pixels.push_back(static_cast<uint8_t>(i % 10));
  }
  Plan p;
  p.images = 300, p.validation = 100;
  for (const bool asymmetric : {false, true}) {
    p.asymmetric = asymmetric;
    const Split r = split(s, p, 0.4, 3);
    CHECK((r.train.size() == 300 && r.validation.size() == 100));
    int wrong = 0;
    for (std::size_t i = 0; i < 300; ++i) {
      CHECK(r.truth[i] == r.train.pixels[4 * i]);
      wrong += r.train.labels[i] != r.truth[i];
      if (asymmetric && r.train.labels[i] != r.truth[i]) CHECK(r.train.labels[i] == s.to[r.truth[i]]);
    }
    CHECK(wrong == (asymmetric ? 60 : 120));  // 12 of 30 in each class; asymmetric: 5 classes
    for (std::size_t i = 0; i < 100; ++i) CHECK(r.validation.labels[i] == r.validation.pixels[4 * i]);
    CHECK(split(s, p, 0.4, 3).train.labels == r.train.labels);
    CHECK(split(s, p, 0.4, 4).train.labels != r.train.labels);
  }
  const Fit f = fit_of(Tensor<float>{{0, 1}, {1, 0}, {1, 0}}, {{{}, {3}, {1, 1, 0}}, {}, {0, 1, 0}});
  CHECK((f.memorised == 1 && f.clean == 0.5));
}

TEST_CASE("compress-features: the toy's first feature is a straighter line", "[papers][slow]") {
  const Toy plain = toy_regression<Cpu>(false, 200, 256, 2000, 1, [] { return true; });
  const Toy nested = toy_regression<Cpu>(true, 200, 256, 2000, 1, [] { return true; });
  CHECK(nested.error(1, true) < 0.8 * plain.error(256, true));
  CHECK(plain.error(256, false) < nested.error(1, false));
}

TEST_CASE("compress-features: the paper's network", "[papers]") {
  Config c;
  c.resnet = true, c.in = 3, c.side = 32;
  Net<float, Cpu> net(c);
  CHECK(nn::parameter_count(net) == 11168832 + 5120);  // ResNet-18 for 32 x 32 pictures without its classifier; W has no bias
  CHECK(nn::freeze_batch_norm(net) == 20);
  nn::eval(net);
  CHECK(no_grad([&] { return net(randn<float>({1, 3, 32, 32})); }).shape() == Shape{1, 10});
}
