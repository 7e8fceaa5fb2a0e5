// What is exact about CutMix: the box, the pixels, the labels and the loss; plain training at p = 0; sizes of the paper's
// networks.
#include "cutmix/plan.hpp"

#include <gradus/optim.hpp>

#include "support/catch.hpp"
#include "support/check.hpp"

using namespace cutmix;

namespace {
template <class D>
Net<float, D> small_net(int64_t side = 12) {
  manual_seed(4);
  NetConfig c;
  c.channels = 4, c.side = side;
  return Net<float, D>(c);
}
data::Batch<float> batch(int64_t B = 8, int64_t side = 12) {
  manual_seed(9);
  return {randn<float>({B, 1, side, side}), randint<Cpu>(0, 10, {B})};
}
/// Losses and first weights over some steps; the emulated device takes seconds for one.
template <class D>
inline constexpr uint64_t kSteps = std::is_same_v<D, Cpu> ? 12 : 2;
template <class D>
std::vector<float> trained(Mixing mixing, const MixOptions& o, uint64_t steps = kSteps<D>) {
  auto net = small_net<D>();
  optim::Sgd<float, D> opt(net, {.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-4, .nesterov = true});
  std::vector<float> all;
  for (uint64_t step = 0; step < steps; ++step) {
    opt.zero_grad();
    const auto L = step_loss(net, {batch().x.clone(), batch().t}, mixing, o, {77, step});
    L.backward();
    opt.step();
    all.push_back(L.item());
  }
  const auto w = nn::parameters(net)[0].detach().template to<Cpu>().to_vector();
  all.insert(all.end(), w.begin(), w.end());
  return all;
}

template <class D>
void exact_properties() {
  // Outside the box x, inside x_pi, bit for bit; on the host in place and on any device as an operator.
  const auto x = batch().x;
  for (uint64_t k = 0; k < 10 * (kSteps<D> / 3 + 1); ++k) {
    const data::CutMixOptions o{1,
                                k % 3 == 0   ? data::CutMixBox::uniform
                                : k % 3 == 1 ? data::CutMixBox::gaussian
                                             : data::CutMixBox::fixed,
                                5};
    auto y = x.clone();
    const data::Mix m = data::cutmix(y, o, {3, k});
    int64_t taken = 0;
    for (int64_t b = 0; b < 8; ++b)
      for (int64_t i = 0; i < 12; ++i)
        for (int64_t j = 0; j < 12; ++j) {
          const bool inside = i >= m.y0 && i < m.y1 && j >= m.x0 && j < m.x1;
          const auto from = inside ? m.partner[static_cast<std::size_t>(b)] : b;
          if (y(b, 0, i, j).item() != x(from, 0, i, j).item()) FAIL("pixel " << b << ", " << i << ", " << j);
          taken += inside;
        }
    CHECK(1 - m.lambda == Approx(static_cast<double>(taken) / (8 * 144)).margin(1e-12));
    const auto on_device = x.template to<D>();
    const auto pasted =
        paste_box(on_device, index_select(on_device, 0, from_vector(m.partner).template to<D>()), m.y0, m.y1, m.x0, m.x1);
    CHECK(pasted.template to<Cpu>().to_vector() == y.to_vector());
    const data::Mix drawn = data::draw_cutmix(8, 12, 12, o, {3, k});
    CHECK((drawn.lambda == m.lambda && drawn.partner == m.partner && drawn.x0 == m.x0 && drawn.y1 == m.y1));
  }
  // The loss is cross-entropy with lambda e_y + (1 - lambda) e_y_pi.
  manual_seed(2);
  const auto o = randn<float>({8, 10}).template to<D>();
  const auto t = batch().t;
  data::Mix m{.lambda = 0.3, .partner = {3, 1, 0, 2, 7, 6, 5, 4}};
  const auto y = t.template to<D>();
  const auto two = mixed_loss(o, y, index_select(y, 0, from_vector(m.partner).template to<D>()), m.lambda);
  CHECK(two.item() == Approx(cross_entropy(o, data::mixed_targets(t, m, 10).template to<D>()).item()).margin(1e-6));
  // Without mixing, every method that mixes is plain training.
  MixOptions never;
  never.p = 0;
  const auto plain = trained<D>(Mixing::none, never);
  CHECK(trained<D>(Mixing::cutmix, never) == plain);
  CHECK(trained<D>(Mixing::feature, never) == plain);
  MixOptions always;
  always.p = 1;
  CHECK(trained<D>(Mixing::cutmix, always) != plain);
  CHECK(trained<D>(Mixing::cutmix, always) == trained<D>(Mixing::cutmix, always));
  for (const Mixing m : {Mixing::cutout, Mixing::mixup, Mixing::feature})
    CHECK(std::isfinite(trained<D>(m, always)[kSteps<D> - 1]));
  // A map of a class is the sum of the last maps with that class's weights, stretched to [0, 1].
  auto net = small_net<D>();
  nn::eval(net);
  const auto cam = class_activation_maps(net, x.template to<D>(), y).template to<Cpu>();
  CHECK(cam.shape() == Shape{8, 12, 12});
  CHECK((amin(cam).item() >= -1e-6f && amax(cam).item() <= 1 + 1e-6f));
  // FGSM does not lower the loss, moves no pixel by more than eps / deviation and keeps them in [0, 1].
  const Scale scale{{0.5}, {0.25}};
  const auto inside = clamp(x.template to<D>(), scale.black(0), -scale.black(0));
  const auto moved = fgsm(net, inside, y, 0.01, scale);
  CHECK(amax(abs(moved - inside)).item() <= 0.04f + 1e-6f);
  CHECK(amax(abs(moved)).item() <= 2 + 1e-6f);
  CHECK(cross_entropy(net(moved), y).item() > cross_entropy(net(inside), y).item());
}
}  // namespace

TEST_CASE("cutmix: pixels, areas, loss, maps and p = 0", "[papers]") { exact_properties<Cpu>(); }

#if GRADUS_WITH_CUDA
TEST_CASE("cutmix: pixels, areas, loss, maps and p = 0 on the device", "[papers]") { exact_properties<Cuda>(); }
TEST_CASE("cutmix: 3 steps on the device follow those on the host", "[papers]") {
  MixOptions o;
  o.p = 1;
  for (const Mixing m : {Mixing::none, Mixing::cutout, Mixing::mixup, Mixing::cutmix, Mixing::feature}) {
    const auto host = trained<Cpu>(m, o, 3), device = trained<Cuda>(m, o, 3);
    for (std::size_t i = 0; i < 3; ++i) CHECK(device[i] == Approx(host[i]).margin(1e-2));
    CHECK(device[0] == Approx(host[0]).margin(1e-5));
  }
}
#endif

TEST_CASE("cutmix: the mean of lambda is not 1/2, and few boxes are empty", "[papers]") {
  const auto s28 = box_statistics(28, 100000, 5), s32 = box_statistics(32, 100000, 6);
  CHECK(s28.lambda == Approx(0.7039).margin(0.003));
  CHECK(s32.lambda == Approx(0.7007).margin(0.003));
  CHECK(s28.empty == Approx(4.0 / 784).margin(0.0008));
  const auto fixed = data::draw_cutmix(4, 28, 28, {1, data::CutMixBox::fixed, 14}, {1, 1});
  CHECK((fixed.y1 - fixed.y0 <= 14 && fixed.x1 - fixed.x0 <= 14));
  CHECK(label_weight(Label::onehot, 0.6) == 1);
  CHECK(label_weight(Label::onehot, 0.4) == 0);
  CHECK(label_weight(Label::half, 0.9) == 0.5);
  CHECK(label_weight(Label::area, 0.9) == 0.9);
}

TEST_CASE("cutmix: the small net's stages, and a PyramidNet of 20 layers", "[papers]") {
  auto net = small_net<Cpu>(28);
  CHECK(net.stages.size() == 3);
  CHECK(net.maps(batch(2, 28).x).shape() == Shape{2, 16, 7, 7});
  NetConfig c;
  c.kind = "pyramidnet", c.depth = 20, c.widening = 12, c.in = 3, c.side = 16, c.classes = 5;
  Net<double, Cpu> pyramid(c);  // n = 2 blocks a stage, widths 18, 20, 22, 24, 26, 28
  manual_seed(1);
  const auto x = randn<double>({2, 3, 16, 16});
  CHECK(pyramid.maps(x).shape() == Shape{2, 4 * 28, 4, 4});
  CHECK(pyramid(x).shape() == Shape{2, 5});
  PyramidBlock<double, Cpu> block(3, 2, 2, true);  // 3 -> 8 channels; with a last norm of 0 it is its shortcut
  nn::init::constant(block.norms.back().weight, 0);
  const auto y = block.forward(x);
  CHECK(check::difference(narrow(y, 1, 0, 3), avg_pool2d(x, 2), 1e-12, 1e-12) == "");
  CHECK(amax(abs(narrow(y, 1, 3, 5))).item() < 1e-12);
}

TEST_CASE("cutmix: parameters of the paper's networks", "[papers]") {
  NetConfig c;
  c.kind = "pyramidnet", c.in = 3, c.side = 32, c.classes = 100;
  Net<float, Cpu> pyramid(c);
  CHECK(static_cast<double>(nn::parameter_count(pyramid)) == Approx(26.8e6).margin(0.05e6));  // Han et al., table 4: 26.8 M
  c.kind = "resnet50", c.side = 224, c.classes = 1000;
  Net<float, Cpu> resnet(c);
  CHECK(nn::parameter_count(resnet) == 25557032);
  CHECK(resnet.madds == Approx(4.1e9).margin(0.05e9));
  c.kind = "pyramidnet", c.depth = 100;
  CHECK(check::contains(check::error_of([&] { Net<float, Cpu> wrong(c); }), "9 n + 2"));
}

TEST_CASE("cutmix: boxes, components, canvases and halves", "[papers]") {
  CHECK(iou({0, 4, 0, 4}, {2, 6, 0, 4}) == Approx(1.0 / 3));
  CHECK(iou({0, 2, 0, 2}, {2, 4, 2, 4}) == 0);
  const std::vector<float> map{9, 9, 0, 0, 8,  //
                               0, 0, 0, 8, 8,  //
                               9, 0, 0, 8, 1};
  const Box b = largest_component(map.data(), 3, 5, 0.5);
  CHECK((b.y0 == 0 && b.y1 == 3 && b.x0 == 3 && b.x1 == 5));
  data::ImageSet set;
  set.shape = {1, 2, 2}, set.labels = {3}, set.pixels = {0, 200, 0, 100};
  const Canvases c = on_canvases(set, 6, 1);
  CHECK(std::count(c.set.pixels.begin(), c.set.pixels.end(), 0) == 34);
  CHECK((c.boxes[0].area() == 2 && c.boxes[0].x1 - c.boxes[0].x0 == 1));
  CHECK(c.set.pixels[static_cast<std::size_t>(c.boxes[0].y0 * 6 + c.boxes[0].x0)] == 200);
  const auto x = batch(4).x;
  const auto halves = half_and_half(x);
  CHECK(halves(1, 0, 5, 5).item() == x(1, 0, 5, 5).item());
  CHECK(halves(1, 0, 5, 6).item() == x(2, 0, 5, 6).item());
  CHECK(halves(3, 0, 5, 6).item() == x(0, 0, 5, 6).item());
  TopTwo top;
  top.add(Tensor<float>{{5, 4, 1}, {5, 1, 4}, {1, 2, 3}}, Tensor<int64_t>{0, 0, 2}, Tensor<int64_t>{1, 1, 2});
  CHECK((top.right == 1 && top.total == 2));
  const auto dark = blacked(x, {{0.5}, {0.25}}, central(4, 12, 12));
  CHECK((dark(0, 0, 4, 4).item() == -2 && dark(0, 0, 3, 4).item() == x(0, 0, 3, 4).item()));
}
