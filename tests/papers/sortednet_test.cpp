// What is exact about SortedNet: prefixes are networks of their own, nothing outside them counts, sizes and their costs, the
// steps of the methods, and the decoder's exits.
#include "sortednet/plan.hpp"

#include <gradus/optim.hpp>

#include "support/catch.hpp"
#include "support/check.hpp"

using namespace sortednet;

namespace {
Config small_mlp() { return {.full = {12, 3}, .side = 6}; }
Config small_resnet(bool batch = false) {
  return {.conv = true, .full = {3, 2}, .channels = 2, .side = 8, .batch_norm = batch};
}

template <class Net>
Net made(const Config& c) {
  manual_seed(3);
  Net net(c);
  const NoGrad guard;
  for (auto& p : nn::parameters(net)) p += randn<float, typename Net::device_type>(p.shape()) * 0.1;  // no bias is 0, no gain 1
  return net;
}
template <class D>
std::pair<Tensor<float, D>, Tensor<int64_t, D>> batch(const Config& c, int64_t B = 5) {
  manual_seed(8);
  return {randn<float>({B, c.channels, c.side, c.side}).template to<D>(), randint<Cpu>(0, c.classes, {B}).template to<D>()};
}
template <class D>
std::vector<float> host(const Tensor<float, D>& x) {
  return x.detach().template to<Cpu>().to_vector();
}

template <class Net>
void prefixes(const Config& c) {
  using D = typename Net::device_type;
  auto net = made<Net>(c);
  const auto [x, y] = batch<D>(c);
  for (const Size b : {Size{1, 1}, Size{c.full.w - 1, 1}, Size{2, c.full.d}, c.full}) {
    INFO("w " << b.w << ", d " << b.d);
    const Exact e = exact(net, b, x, y);
    CHECK(e.distance <= 1e-6);
    CHECK(e.gradients <= 1e-5);
    CHECK(e.alone);
    CHECK(e.outside == 0);
    CHECK(e.counted);
  }
  // Subsets are not prefixes: the same numbers of units and layers, gradients at the drawn ones alone.
  data::Draws draws({5, 0}, 0);
  const Size b{2, 1};
  const auto any = any_of<D>(b, c.full, c.conv, draws);
  CHECK((any.w == 2 && any.layers.size() == 1 && any.units.numel() == 2));
  nn::zero_grad(net);
  cross_entropy(net(x, any), y).backward();
  const auto units = any.units.template to<Cpu>().to_vector();
  const auto g = [&] {
    if constexpr (requires { net.Win; }) return net.Win.grad();
    else return net.stem.grad();
  }();
  const int64_t each = g.size(0) / c.full.w;
  const auto rows = sum(abs(g.reshape({g.size(0), -1})), {1}).template to<Cpu>().to_vector();
  for (int64_t r = 0; r < g.size(0); ++r)
    CHECK((rows[static_cast<std::size_t>(r)] > 0) == (std::find(units.begin(), units.end(), r / each) != units.end()));
  // All units at random in ascending order are the whole network.
  const auto all = any_of<D>(c.full, c.full, c.conv, draws);
  const NoGrad guard;
  CHECK(amax(abs(net(x, all) - net(x, first<D>(c.full)))).item() <= 1e-5f);
}

template <class D>
void steps() {
  const Config c = small_mlp();
  const Space space{{4, 8, 12}, {1, 2, 3}};
  const auto [x, y] = batch<D>(c);
  // g_acc passes leave the mean of their gradients; what no pass reached is 0, and decay still acts on it.
  auto net = made<Mlp<float, D>>(c);
  const auto gradient = [&](std::vector<Part<D>> parts, int64_t g_acc) {
    nn::zero_grad(net);
    for (const auto& p : parts) pass(net, std::vector<Part<D>>{p}, x, y, g_acc);
    const auto params = nn::parameters(net);
    complete_gradients(params);
    std::vector<float> all;
    for (const auto& p : params)
      for (const float v : host(p.grad())) all.push_back(v);
    return all;
  };
  const auto a = gradient({first<D>({4, 1})}, 1), b = gradient({first<D>({8, 2})}, 1),
             both = gradient({first<D>({4, 1}), first<D>({8, 2})}, 2);
  double worst = 0, last = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::abs(0.5 * (a[i] + b[i]) - static_cast<double>(both[i])));
  CHECK(worst <= 1e-6);
  for (const float v : host(net.blocks[2].W1.grad())) last = std::max(last, static_cast<double>(std::abs(v)));
  CHECK(last == 0);
  const auto before = host(net.blocks[2].W1);
  optim::Sgd<float, D> opt(net, {.lr = 0.5, .weight_decay = 0.1});
  opt.step();
  const auto after = host(net.blocks[2].W1);
  for (std::size_t i = 0; i < before.size(); ++i) CHECK(after[i] == Approx(0.95f * before[i]).margin(1e-6));
  // Sizes are a function of the stream, uniform over both lists, and those of each method.
  std::map<int64_t, int> widths, depths;
  for (uint64_t k = 0; k < 3000; ++k) {
    data::Draws one({9, 0}, k), again({9, 0}, k);
    const Size s = space.draw(one);
    CHECK(s == space.draw(again));
    ++widths[s.w], ++depths[s.d];
  }
  for (const int64_t w : space.widths) CHECK(std::abs(widths[w] - 1000) < 110);  // four deviations
  for (const int64_t d : space.depths) CHECK(std::abs(depths[d] - 1000) < 110);
  data::Draws draws({9, 1}, 0);
  const auto four = draw_parts<D>(Method::sandwich, space, c, draws);
  REQUIRE(four.size() == 4);
  CHECK((four[0].w == 12 && four[0].layers.size() == 3 && four[1].w == 4 && four[1].layers.size() == 1));
  CHECK(!draw_parts<D>(Method::sorted, space, c, draws)[0].units.defined());
  CHECK(draw_parts<D>(Method::unsorted, space, c, draws)[0].units.defined());
  CHECK(draw_parts<D>(Method::full, space, c, draws)[0].w == 12);
}

template <class D>
void exits() {
  manual_seed(6);
  const DecoderConfig c{16, 3, 2, 12, {1, 2, 3}};
  Decoder<float, D> net(c);
  const std::string text = "one network, many depths; each exit reads the same head. ";
  std::string longer;
  for (int k = 0; k < 8; ++k) longer += text;
  const Text halves = split(longer);
  CHECK(halves.train.size() + halves.validation.size() == longer.size());
  CHECK(halves.validation.size() == longer.size() / 10);
  const data::TokenWindows windows(halves.train, 12, 1);
  const auto [ids0, next0] = windows.batch({0, 7, 30});
  const auto ids = ids0.template to<D>(), next = next0.template to<D>();
  // An exit is what a run that ends there gives, and blocks behind it do not count.
  const auto all = net(ids, c.exits);
  CHECK(host(all[1]) == host(net(ids, {2})[0]));
  data::Draws draws({1, 0}, 0);
  nn::zero_grad(net);
  const auto loss = tuning_loss(net, Tuning::all, ids, next, draws);
  double mean = 0;
  for (const auto& logits : all) mean += static_cast<double>(cross_entropy(logits, next.reshape({-1})).item()) / 3;
  CHECK(static_cast<double>(loss.item()) == Approx(mean).margin(1e-5));
  CHECK(tuning_loss(net, Tuning::standard, ids, next, draws).item() ==
        Approx(cross_entropy(all[2], next.reshape({-1})).item()).margin(1e-6));
  CHECK(std::isfinite(tuning_loss(net, Tuning::sample, ids, next, draws).item()));
  // A byte does not see those behind it.
  auto changed = ids0.clone();
  changed.data()[11] = 65;
  const auto other = net(changed.template to<D>(), {3})[0];
  const auto same = host(narrow(other, 0, 0, 11)), was = host(narrow(all[2], 0, 0, 11));
  for (std::size_t i = 0; i < was.size(); ++i) CHECK(same[i] == Approx(was[i]).margin(1e-6));
  const data::TokenWindows validation(halves.validation, 12);
  const auto bits = bits_per_byte(net, validation, 2);
  REQUIRE(bits.size() == 3);
  for (const double v : bits) CHECK(std::abs(v - 8) < 2);  // of 256 bytes before any training
}
}  // namespace

TEST_CASE("sortednet: prefixes of the MLP and of the ResNet", "[papers]") {
  prefixes<Mlp<float, Cpu>>(small_mlp());
  prefixes<ResNet<float, Cpu>>(small_resnet());
}
TEST_CASE("sortednet: gradients, sizes and methods of a step", "[papers]") { steps<Cpu>(); }
TEST_CASE("sortednet: exits of a decoder", "[papers]") { exits<Cpu>(); }

#if GRADUS_WITH_CUDA
TEST_CASE("sortednet: prefixes of the MLP and of the ResNet on the device", "[papers]") {
  prefixes<Mlp<float, Cuda>>(small_mlp());
  prefixes<ResNet<float, Cuda>>(small_resnet());
}
TEST_CASE("sortednet: gradients, sizes and methods of a step on the device", "[papers]") { steps<Cuda>(); }
TEST_CASE("sortednet: exits of a decoder on the device", "[papers]") { exits<Cuda>(); }
#endif

TEST_CASE("sortednet: batch norm's statistics are those of the sub-network", "[papers]") {
  const Config c = small_resnet(true);
  auto net = made<ResNet<float, Cpu>>(c);
  const auto [x, y] = batch<Cpu>(c, 12);
  const auto part = first<Cpu>({2, 1});
  recalibrate(net, part, x, 12);
  // One batch: evaluation with its statistics is training mode, up to the unbiased variance.
  const auto evaluated = net(x, part);
  nn::train(net);
  CHECK(amax(abs(net(x, part) - evaluated)).item() < 0.05f);
  nn::eval(net);
  auto small = exported(net, {2, 1});
  recalibrate(small, part, x, 12);
  CHECK(amax(abs(small(x, part) - evaluated)).item() <= 1e-5f);
  recalibrate(net, first<Cpu>(c.full), x, 12);
  CHECK(amax(abs(net(x, part) - evaluated)).item() > 1e-3f);  // statistics of another size are of no use
}

TEST_CASE("sortednet: sizes of the networks and the selection", "[papers]") {
  const Config mlp;
  CHECK((cost(mlp, {160, 8}).parameters == 542250 && cost(mlp, {8, 1}).parameters == 6546));
  for (const Size b : {Size{8, 1}, Size{80, 3}, Size{160, 8}})
    CHECK(cost(mlp, b).macs == 784 * b.w + 2 * b.d * b.w * b.w + 10 * b.w);
  Mlp<> whole(mlp);
  CHECK(nn::parameter_count(whole) == 542250);
  app::Args paper;
  paper.setting = app::Setting::paper;
  const Plan p = make_plan(paper, {});
  CHECK(p.space.widths.size() * p.space.depths.size() == 160);
  CHECK(make_plan({}, {}).space.widths.size() * make_plan({}, {}).space.depths.size() == 160);
  ResNet<> resnet(p.config);
  CHECK(nn::parameter_count(resnet) == cost(p.config, p.config.full).parameters);
  CHECK(nn::parameter_count(resnet) == 7427146);
  Decoder<> decoder(p.decoder);
  CHECK(decoder.blocks.size() == static_cast<std::size_t>(p.decoder.exits.back()));
  // A hand count for one size: stem 1 x 4, blocks 4-4, 4-8, 8-16 channels, 10 classes, 8 x 8 pixels.
  const Config conv{.conv = true, .full = {2, 1}, .side = 8};
  const int64_t macs =
      9 * 4 * 64 + 2 * 9 * 4 * 4 * 64 + (9 * 4 * 8 + 9 * 8 * 8 + 4 * 8) * 16 + (9 * 8 * 16 + 9 * 16 * 16 + 8 * 16) * 4 + 160;
  CHECK(cost(conv, {2, 1}).macs == macs);

  const Space space = make_plan({}, {}).space;
  CHECK(space.select(mlp, cost(mlp, {160, 8}).macs) == Size{160, 8});
  CHECK(space.select(mlp, cost(mlp, {8, 1}).macs) == Size{8, 1});
  CHECK(space.select(mlp, 6000).w == 0);
  for (const int64_t budget : {20000, 60000, 100000, 300000}) {
    const Size b = space.select(mlp, budget);
    CHECK(cost(mlp, b).macs <= budget);
    for (const int64_t w : space.widths)
      for (const int64_t d : space.depths)
        if (const int64_t n = cost(mlp, {w, d}).macs; n <= budget)
          CHECK((n < cost(mlp, b).macs || (n == cost(mlp, b).macs && d <= b.d)));
  }
}

TEST_CASE("sortednet: a prefix that is larger than the network says so", "[papers]") {
  auto net = made<Mlp<float, Cpu>>(small_mlp());
  const auto [x, y] = batch<Cpu>(small_mlp());
  std::string said;
  try {
    net(x, first<Cpu>({13, 1}));
  } catch (const Error& e) {
    said = e.what();
  }
  CHECK(check::missing(said, {"prefix", "no such prefix", "[13]", "within [12]"}) == "");
}
