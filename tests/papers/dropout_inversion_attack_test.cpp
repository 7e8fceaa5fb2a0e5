// The dropout inversion attack: exact properties of shared gradients, the objective's derivatives, the models' sizes.
#include "dropout-inversion-attack/exact.hpp"
#include "dropout-inversion-attack/plan.hpp"
#include "support/catch.hpp"

using namespace dia;

namespace {
NetConfig small_vit() {
  return {
      .arch = Arch::vit, .image = {1, 6, 6}, .classes = 5, .p = 0.4, .width = 8, .depth = 1, .patch = 3, .heads = 2, .mlp = 6};
}
NetConfig small_lenet() { return {.arch = Arch::lenet, .image = {1, 8, 8}, .classes = 5, .p = 0.4, .width = 3}; }
NetConfig small_resnet() { return {.arch = Arch::resnet18, .image = {2, 8, 8}, .classes = 5, .p = 0.4, .width = 2}; }

/// Acceptance 4: float32 at the truth, float64 against differences.
template <class D>
void truth_and_differences() {
  for (const NetConfig& c : {small_mlp(0.4), small_vit(), small_lenet(), small_resnet()}) {
    INFO("arch " << static_cast<int>(c.arch));
    Small<float, D> a(c, 2, 3);
    const AtTruth t = at_truth(a.net, a.v, a.s, c.p);
    CHECK(std::abs(t.loss) <= 1e-6);
    CHECK(t.dx <= 1e-4);
    CHECK(t.dpsi <= 1e-4);
    if (c.arch == Arch::resnet18) continue;  // relu: differences across a kink
    Small<double, D> b(c, 2, 3);
    CHECK(difference_error(b.net, b.v, b.s, c.p) <= 1e-6);
  }
}
/// Acceptance 5, and the masks' shapes.
template <class D>
void zeros_of_dropped_units() {
  for (const double p : {0.1, 0.5, 0.9}) {
    Small<float, D> a(small_mlp(p), 1, 7);
    REQUIRE(a.s.psi.size() == 2);
    CHECK((a.s.psi[0].shape() == Shape{1, 12}));
    CHECK(wrong_zeros(a.s) == 0);
  }
  Small<float, D> vit(small_vit(), 2, 7);
  std::vector<std::string> shapes;
  for (const AnyTensor& m : vit.s.psi) shapes.push_back(m.shape().str());
  CHECK(shapes == std::vector<std::string>{"[2, 5, 8]", "[2, 2, 5, 5]", "[2, 5, 8]", "[2, 5, 6]", "[2, 5, 8]"});
  CHECK(Small<float, D>(small_lenet(), 2, 7).s.psi.size() == 1);
  CHECK(Small<float, D>(small_resnet(), 2, 7).s.psi.size() == 1);
}
/// Some iterations of every attack.
template <class D>
std::vector<double> losses(Attack a, double p, int64_t iterations) {
  Small<float, D> s(small_mlp(p), 1, 5);
  manual_seed(9);
  return attack<float, D>(a, s.net, s.v, s.s, p, {.iterations = iterations}).losses;
}
}  // namespace

TEST_CASE("dropout inversion: nothing is left at the truth, and L's gradient is that of differences", "[papers]") {
  truth_and_differences<Cpu>();
}
TEST_CASE("dropout inversion: a dropped unit leaves rows and columns of zeros", "[papers]") { zeros_of_dropped_units<Cpu>(); }

TEST_CASE("dropout inversion: masks that no class token reads have no gradient, whatever the attacker does", "[papers]") {
  Small<double, Cpu> a(small_vit(), 1, 3);
  Masks psi;
  std::vector<Tensor<double>> leaves;
  for (const AnyTensor& m : a.s.psi)
    leaves.push_back(uniform<double>(m.shape(), 0.1, 0.9).requires_grad_()), psi.push_back(leaves.back());
  const auto d = grad(std::vector<Tensor<double>>{objective(a.net, a.v.x, &psi, a.v.y, a.s.g, 0.4, {0, 0})}, leaves);
  for (const std::size_t l : {2, 3, 4}) {  // after the last block's attention, inside its perceptron, after it
    CHECK(amax(abs(narrow(d[l], 1, 1, 4))).item() == 0);
    CHECK(amin(abs(narrow(d[l], 1, 0, 1))).item() > 0);
  }
  CHECK(amax(abs(narrow(d[1], 2, 1, 4))).item() == 0);  // weights of its other queries
  CHECK(amin(abs(d[0])).item() > 0);
}

TEST_CASE("dropout inversion: the cosine is over all tensors together", "[papers]") {
  using X = Tensor<double>;
  const std::vector<X> a{X{1., 0.}, X{{0, 3}}}, b{X{0., 1.}, X{{0, 4}}};
  CHECK(reconstruction_loss(a, b).item() == Approx(1 - 12 / std::sqrt(10.0 * 17)).margin(1e-8));
  CHECK(reconstruction_loss(a, a).item() == Approx(0).margin(1e-8));
  CHECK(reconstruction_loss(a, std::vector<X>{a[0] * -2.0, a[1] * -2.0}).item() == Approx(2).margin(1e-8));
}

TEST_CASE("dropout inversion: the priors are total variation and the distance of each mask's mean from 1 - p", "[papers]") {
  Small<double, Cpu> a(small_mlp(0.4), 1, 3);
  Masks psi;
  for (const AnyTensor& m : a.s.psi) psi.push_back(full<double>(m.shape(), 0.9).requires_grad_());
  const auto L = [&](Priors lambda) { return objective(a.net, a.v.x, &psi, a.v.y, a.s.g, 0.4, lambda).item(); };
  CHECK(L({0, 0.01}) - L({0, 0}) == Approx(0.01 * 2 * 0.3));
  CHECK(L({0.01, 0}) - L({0, 0}) == Approx(0.01 * total_variation(a.v.x).item()));
  for (const AnyTensor& m : psi) m.impl()->requires_grad = false;  // given masks have no prior
  CHECK(L({0, 0.01}) == L({0, 0}));
}

TEST_CASE("dropout inversion: without dropout DIA, WIIG and IG are one attack, and a run can be repeated", "[papers]") {
  const auto ig = losses<Cpu>(Attack::ig, 0, 5);
  CHECK(losses<Cpu>(Attack::dia, 0, 5) == ig);
  CHECK(losses<Cpu>(Attack::wiig, 0, 5) == ig);
  CHECK(losses<Cpu>(Attack::dia, 0.4, 5) == losses<Cpu>(Attack::dia, 0.4, 5));
  CHECK(losses<Cpu>(Attack::dia, 0.4, 5) != losses<Cpu>(Attack::frozen, 0.4, 5));
}

TEST_CASE("dropout inversion: iterates stay in range, the best by loss is kept, parameters get no gradient", "[papers]") {
  Small<float, Cpu> a(small_mlp(0.4), 1, 5);
  a.v.mean = full<float>({1, 1, 1, 1}, 0.3), a.v.deviation = full<float>({1, 1, 1, 1}, 0.5);
  manual_seed(9);
  std::vector<std::vector<float>> seen;
  const auto r =
      attack<float, Cpu>(Attack::dia, a.net, a.v, a.s, 0.4, {.iterations = 40}, [&](int64_t i, const auto& x, double) {
        if (i > 0) {
          CHECK(amin(x).item() >= Approx(-0.6));
          CHECK(amax(x).item() <= Approx(1.4));
        }
        seen.push_back(x.to_vector());
        return true;
      });
  const auto best = std::min_element(r.losses.begin(), r.losses.end()) - r.losses.begin();
  CHECK(r.loss == r.losses[static_cast<std::size_t>(best)]);
  CHECK(r.x.to_vector() == seen[static_cast<std::size_t>(best)]);
  for (const AnyTensor& m : r.psi) {
    const auto psi = m.as<float, Cpu>();
    CHECK(amin(psi).item() >= 0);
    CHECK(amax(psi).item() <= 1);
  }
  for (const auto& w : nn::parameters(a.net)) CHECK(!w.grad().defined());
  CHECK(attack<float, Cpu>(Attack::dia, a.net, a.v, a.s, 0.4, {.iterations = 9, .stop_below = 10}).iterations == 1);
  CHECK(attack<float, Cpu>(Attack::wiig, a.net, a.v, a.s, 0.4, {.iterations = 90, .lr = 1e-30, .stop_after = 7}).iterations <
        20);
}

TEST_CASE("dropout inversion: DIA finds a small network's masks and image, IG does not", "[papers]") {
  const NetConfig c{.image = {1, 6, 6}, .classes = 5, .p = 0.5, .width = 64, .depth = 2};
  Small<float, Cpu> a(c, 1, 5);
  const auto error = [&](Attack kind) {
    manual_seed(9);
    a.v.mean = full<float>({1, 1, 1, 1}, 0.5), a.v.deviation = full<float>({1, 1, 1, 1}, 0.2);
    const auto r = attack<float, Cpu>(kind, a.net, a.v, a.s, c.p, {.iterations = 300});
    if (kind == Attack::dia)
      for (const double share : mask_accuracy<float, Cpu>(r.psi, a.s.psi)) CHECK(share >= 0.95);
    return mse_loss(r.x, a.v.x).item();
  };
  CHECK(error(Attack::dia) < 0.2 * error(Attack::ig));
}

TEST_CASE("dropout inversion: the networks' sizes", "[papers]") {
  const auto count = [](const NetConfig& c) {
    auto net = make_net<float, Cpu>(c);
    return nn::parameter_count(net);
  };
  CHECK(count(mlp_config(0.25)) == 784 * 512 + 2 * 512 * 512 + 5120);
  CHECK(count(vit_config(0.5)) == 1612554);  // patches 12,544; token and positions 16,896; 4 x 395,008; head 3,082
  NetConfig resnet = resnet18_config(0.5);
  resnet.image = {3, 32, 32};
  CHECK(count(resnet) == 11173962);
  resnet.image = {3, 224, 224}, resnet.classes = 1000;
  CHECK(count(resnet) == 11689512);  // He et al. 2016, with biases nowhere but in batch norm and the last layer
  NetConfig lenet = lenet_config(0.5);
  CHECK(count(lenet) == 312 + 3612 + 3612 + 12 * 49 * 10 + 10);
  CHECK(forward_macs(mlp_config(0.25)) == 784 * 512 + 2 * 512 * 512 + 5120);
  CHECK(forward_macs(resnet) == Approx(1.814e9).epsilon(1e-3));  // the published 1.8 GFLOP
}
TEST_CASE("dropout inversion: ViT-B/16 at full size", "[papers][slow]") {
  auto net = make_net<float, Cpu>(vit_b16_config(0.1));
  CHECK(nn::parameter_count(net) == 86567656 - 12 * 3 * 768);  // Dosovitskiy et al. 2021, less the biases of q, k and v
  CHECK(forward_macs(vit_b16_config(0.1)) == Approx(17.56e9).epsilon(0.01));
}

TEST_CASE("dropout inversion: victims are normalised pictures, of different classes in a batch", "[papers]") {
  Source s;
  s.image = {1, 2, 2}, s.classes = 4, s.set.shape = {8, 2, 2};
  for (int i = 0; i < 8; ++i) {
    s.set.labels.push_back(static_cast<uint8_t>(i % 4));
    for (int k = 0; k < 4; ++k) s.set.pixels.push_back(static_cast<uint8_t>(10 * i + k));
  }
  for (const uint64_t seed : {0, 1, 6}) {
    const auto v = draw_victim<float, Cpu>(s, 3, seed);
    auto labels = v.y.to_vector();
    const auto pixels = v.pixels(v.x).to_vector();
    for (std::size_t b = 0; b < 3; ++b) {
      CHECK(static_cast<int64_t>(std::lround(pixels[4 * b] * 255)) / 10 % 4 == labels[b]);
      CHECK(pixels[4 * b + 3] * 255 == Approx(pixels[4 * b] * 255 + 3).margin(1e-3));
    }
    std::sort(labels.begin(), labels.end());
    CHECK(std::unique(labels.begin(), labels.end()) == labels.end());
  }
}

#ifdef GRADUS_WITH_CUDA
TEST_CASE("dropout inversion on the device: truth, differences, zeros", "[papers]") {
  truth_and_differences<Cuda>();
  zeros_of_dropped_units<Cuda>();
}
TEST_CASE("dropout inversion on the device follows the host", "[papers]") {
  for (const Attack a : {Attack::ig, Attack::wiig, Attack::dia}) {
    const auto host = losses<Cpu>(a, 0.4, 5), device = losses<Cuda>(a, 0.4, 5);
    for (std::size_t i = 0; i < host.size(); ++i) CHECK(device[i] == Approx(host[i]).margin(1e-4));
  }
}
#endif
