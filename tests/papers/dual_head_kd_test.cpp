// Losses, heads, aligned gradients and data of the example on dual-head distillation.
#include "dual-head-kd/plan.hpp"

#include "support/check.hpp"

using namespace dhkd;

namespace {
template <class D>
struct Setup {
  Net<D> net;
  Tensor<float, D> x, t;
  Tensor<int64_t, D> y;
  explicit Setup(Aux aux) : net({{6, 5}}, 8, 4, aux) {
    x = randn<float, D>({12, 8}), t = randn<float, D>({12, 4}) * 3, y = randint<D>(0, 4, {12});
  }
};
template <class D>
std::vector<Tensor<float>> gradients(Net<D>& net, const Parts<D>& p, bool align) {
  nn::zero_grad(net);
  for (const auto& w : nn::parameters(net)) w.set_grad(zeros_like(w));
  backward(p, nn::parameters(net), align);
  std::vector<Tensor<float>> g;
  for (const auto& w : nn::parameters(net)) g.push_back(w.grad().template to<Cpu>().clone());
  return g;
}
double inner(const std::vector<Tensor<float>>& a, const std::vector<Tensor<float>>& b) {
  double s = 0;
  for (std::size_t i = 0; i < a.size(); ++i) s += sum(cast<double>(a[i]) * cast<double>(b[i])).item();
  return s;
}

template <class D>
void heads() {
  manual_seed(1);
  Setup<D> s(Aux::linear);
  const auto only = [&](const char* which, const std::vector<Tensor<float>>& g) {  // largest entry below a name
    double most = 0;
    std::size_t i = 0;
    for (const auto& [name, p] : nn::named_parameters(s.net)) {
      if (name.starts_with(which)) most = std::max(most, static_cast<double>(amax(abs(g[i])).item()));
      ++i;
    }
    return most;
  };
  auto p = losses(s.net, method("DHKD"), s.x, s.y, s.t);
  const auto ce = gradients<D>(s.net, {p.ce, {}}, false);
  CHECK(only("aux", ce) == 0);
  CHECK(only("head", ce) > 0);
  CHECK(only("f", ce) > 0);
  p = losses(s.net, method("DHKD"), s.x, s.y, s.t);
  const auto logit = gradients<D>(s.net, {{}, p.logit}, false);
  CHECK(only("head", logit) == 0);
  CHECK(only("aux", logit) > 0);
  CHECK(only("f", logit) > 0);
}

template <class D>
void alignment() {
  bool seen[2] = {};
  for (uint64_t seed = 0; seed < 12; ++seed) {
    manual_seed(seed);
    Setup<D> s(Aux::linear);
    const auto params = nn::parameters(s.net);
    const auto again = [&] { return losses(s.net, method("DHKD"), s.x, s.y, s.t); };
    const auto g1 = gradients<D>(s.net, {again().ce, {}}, false), g2 = gradients<D>(s.net, {{}, again().logit}, false);
    const auto merged = gradients<D>(s.net, again(), true);
    const double both = inner(g1, g2), size = inner(g1, g1);
    seen[both < 0] = true;
    std::vector<Tensor<float>> moved;  // g2' = merged - g1
    for (std::size_t i = 0; i < g1.size(); ++i) moved.push_back(merged[i] - g1[i]);
    CHECK(inner(g1, moved) >= -1e-6 * std::sqrt(size * inner(g2, g2)) - (both >= 0 ? 0 : 1e-6 * size));
    std::size_t i = 0;
    for (const auto& [name, w] : nn::named_parameters(s.net)) {
      const auto expected = both < 0 ? g2[i] - g1[i] * static_cast<float>(both / size) : g2[i];
      CHECK(check::difference(moved[i], expected, 1e-3, 1e-5) == "");
      if (name.starts_with("aux")) CHECK(check::difference(merged[i], g2[i], 1e-5, 1e-7) == "");  // CE does not reach it
      if (name == "head.weight" && both < 0) CHECK(amax(abs(merged[i] - g1[i])).item() > 0);      // the projection does
      ++i;
    }
  }
  CHECK((seen[0] && seen[1]));
}
}  // namespace

TEST_CASE("dual-head-kd: each loss reaches its head and the backbone", "[papers]") {
  heads<Cpu>();
#if GRADUS_WITH_CUDA
  heads<Cuda>();
#endif
}

TEST_CASE("dual-head-kd: gradient alignment projects the logit loss alone, against the whole gradient of CE", "[papers]") {
  alignment<Cpu>();
#if GRADUS_WITH_CUDA
  alignment<Cuda>();
#endif
}

TEST_CASE("dual-head-kd: a constant added to a teacher's row changes both binary losses, not KD", "[papers]") {
  manual_seed(2);
  const auto s = randn<double>({5, 7}), t = randn<double>({5, 7}), moved = t + 4.0;
  CHECK(std::abs(distillation_loss(s, t).item() - distillation_loss(s, moved).item()) < 1e-12);
  CHECK(std::abs(binary_distillation_loss(s, t).item() - binary_distillation_loss(s, moved).item()) > 0.1);
  CHECK(std::abs(binary_distillation_norm_loss(s, t).item() - binary_distillation_norm_loss(s, moved).item()) > 0.1);
}

TEST_CASE("dual-head-kd: predictions do not depend on the auxiliary head", "[papers]") {
  manual_seed(3);
  Net<Cpu> with({{6, 5}}, 8, 4, Aux::nonlinear), without({{6, 5}}, 8, 4);
  auto state = nn::state_dict(with);
  std::erase_if(state, [](const auto& e) { return e.first.starts_with("aux"); });
  nn::load_state_dict(without, state);
  nn::eval(with), nn::eval(without);
  const auto x = randn({9, 8});
  CHECK(check::difference(with.logits(x), without.logits(x), 0.0, 0.0) == "");
}

TEST_CASE("dual-head-kd: the probe is the cosine over each part's parameters", "[papers]") {
  manual_seed(4);
  Setup<Cpu> s(Aux::none);
  const auto p = losses(s.net, method("CE + BinaryKL"), s.x, s.y, s.t);
  const Conflict c = conflict(s.net, p);
  const auto a = grad(std::vector{p.ce}, std::vector{s.net.head.weight, s.net.head.bias}, {.retain_graph = true});
  const auto b = grad(std::vector{p.logit}, std::vector{s.net.head.weight, s.net.head.bias}, {.retain_graph = true});
  CHECK(c.head == Approx(inner(a, b) / std::sqrt(inner(a, a) * inner(b, b))).epsilon(1e-5));
  const Parts<Cpu> same{p.ce, p.ce * 2};
  const Conflict one = conflict(s.net, same);
  CHECK(one.head == Approx(1).epsilon(1e-5));
  CHECK(one.backbone == Approx(1).epsilon(1e-5));
}

TEST_CASE("dual-head-kd: pairs are two halved pictures, and leave the generator as it was", "[papers]") {
  data::ImageSet set;
  set.shape = Shape{3, 28, 28};
  for (int k = 0; k < 3; ++k)
    set.pixels.insert(set.pixels.end(), 784, static_cast<uint8_t>(50 * k)), set.labels.push_back(static_cast<uint8_t>(k + 2));
  manual_seed(7);
  const auto next = randn({3}).to_vector();
  manual_seed(7);
  const Samples p = pairs(set, 20, 1);
  CHECK(randn({3}).to_vector() == next);
  CHECK(p.x.shape() == Shape{20, 392});
  bool differ = false;
  for (int64_t i = 0; i < 20; ++i) {
    const int64_t left = p.y(i).item() / 10, right = p.y(i).item() % 10;
    differ = differ || left != right;
    const auto value = [](int64_t c) { return static_cast<float>((50.0 * static_cast<double>(c - 2) / 255 - 0.286) / 0.353); };
    CHECK(p.x(i, 0).item() == Approx(value(left)).epsilon(1e-5));
    CHECK(p.x(i, 27).item() == Approx(value(right)).epsilon(1e-5));
    CHECK(p.x(i, 391).item() == Approx(value(right)).epsilon(1e-5));
  }
  CHECK(differ);
  CHECK(check::difference(pairs(set, 20, 1).x, p.x, 0.0, 0.0) == "");
}

TEST_CASE("dual-head-kd: the paper's networks", "[papers]") {
  app::Args args;
  args.setting = app::Setting::paper;
  for (const Study& s : studies(args, {})) {
    Net<Cpu> student(s.student, 0, 100, Aux::nonlinear);
    nn::eval(student);
    const NoGrad guard;
    CHECK(student.logits(randn({1, 3, 32, 32})).shape() == Shape{1, 100});
    CHECK(student.aux(student.f(randn({1, 3, 32, 32}))).shape() == Shape{1, 100});
  }
  Net<Cpu> resnet20({{}, 20}, 0, 100), resnet8x4({{}, 8, {32, 64, 128, 256}}, 0, 100);
  CHECK(resnet20.f.module_type() == "ResNetFeatures");
  CHECK(nn::parameter_count(resnet20) ==
        275572 + 2752);  // He et al.'s count with 100 classes, and two projections with their norms
  CHECK(nn::parameter_count(resnet8x4) == 1233540);
}
