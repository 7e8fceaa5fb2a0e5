// Guidance: the mapping of layers, the loss, guides that stay as they are, the networks of the paper, the tasks.
#include "training-untrainable/plan.hpp"

#include "support/check.hpp"

using namespace guidance;

namespace {
template <class D>
using Image = Tensor<float, D>;
template <class D>
using Net = Network<float, D, Image<D>>;

/// 64 random pictures of 8 x 8 in four classes, as a task of four steps an epoch.
std::shared_ptr<const Pictures> pictures() {
  Pictures p;
  for (auto* set : {&p.train, &p.test}) {
    set->shape = Shape{64, 8, 8};
    for (int64_t n = 0; n < 64; ++n) {
      data::Draws d({3, set == &p.train ? uint64_t{1} : uint64_t{2}}, static_cast<uint64_t>(n));
      for (int64_t k = 0; k < 64; ++k) set->pixels.push_back(static_cast<uint8_t>(d.below(128) + (k / 16 == n % 4 ? 100 : 0)));
      set->labels.push_back(static_cast<uint8_t>(n % 4));
    }
  }
  p.norm = data::normalisation_of(p.train);
  return std::make_shared<const Pictures>(p);
}
ResNetConfig small_guide() { return {.side = 8, .classes = 4, .widths = {4, 6}, .blocks = {1, 1}}; }
FcnConfig small_fcn() { return {64, 4, {12, 10, 8}}; }
template <class D>
Net<D> fcn(uint64_t seed) {
  manual_seed(seed);
  return {Fcn<float, D>(small_fcn())};
}
template <class D>
Net<D> resnet(uint64_t seed) {
  manual_seed(seed);
  return {ResNet<float, D>(small_guide())};
}
const auto go_on = [](int64_t, double) { return true; };

/// The losses of two epochs with a trained guide, and how many of the guide's numbers changed.
template <class D>
std::pair<std::vector<double>, int64_t> guided_losses(FitOptions f, bool noise = false) {
  const auto task = picture_task<D>(pictures(), 16, 5);
  auto teacher = resnet<D>(1);
  fit<D, Image<D>>(teacher, nullptr, task, {.epochs = 1, .lr = 2e-3}, go_on);
  Guide<D, Image<D>> guide{teacher, Metric::cka, noise};
  auto net = fcn<D>(2);
  f.epochs = 2, f.pairs = pairs_of(7, 3, Pairs::all);
  const auto before = nn::clone_state(teacher);
  const Curve c = fit(net, &guide, task, f, go_on);
  std::vector<double> losses = c.ce;
  losses.insert(losses.end(), c.distance.begin(), c.distance.end());
  return {losses, changed<D>(before, nn::state_dict(teacher))};
}
}  // namespace

TEST_CASE("training-untrainable: which guide layer goes to which target layer", "[papers]") {
  CHECK(mapping(21, 48) == std::vector<int64_t>{0, 2, 5, 7, 9, 12, 14, 16, 19, 21, 24, 26, 28, 31, 33, 35, 38, 40, 42, 45, 47});
  CHECK(mapping(5, 3) == std::vector<int64_t>{0, 0, 1, 2, 2});
  CHECK(mapping(9, 5) == std::vector<int64_t>{0, 0, 1, 2, 2, 2, 3, 4, 4});
  CHECK(mapping(3, 6) == std::vector<int64_t>{0, 2, 5});
  CHECK(mapping(1, 6) == std::vector<int64_t>{0});
  CHECK(pairs_of(5, 3, Pairs::last) == std::vector<Pair>{{0, 1}, {1, 2}, {2, 4}});
  CHECK(pairs_of(5, 3, Pairs::all).size() == 5);
  CHECK(pairs_of(21, 48, Pairs::last).size() == 21);
}

TEST_CASE("training-untrainable: the distance sums over pairs, and its gradient reaches the target alone", "[papers]") {
  const auto x = check::uniform<float>({6, 4}, -1, 1, 1), y = check::uniform<float>({6, 3, 2}, -1, 1, 2),
             z = check::uniform<float>({6, 5}, -1, 1, 3);
  const Features<float, Cpu> A{check::leaf(x), check::leaf(y)}, G{z, x};
  for (const auto metric : {Metric::cka, Metric::rsa}) {
    const auto by = [&](const auto& a, const auto& b) { return metric == Metric::cka ? linear_cka(a, b) : rsa(a, b); };
    const auto d = distance(A, G, {{0, 0}, {0, 1}, {1, 1}}, metric);
    CHECK(d.item() == Approx(3 - by(x, z).item() - 1 - by(y, x).item()).epsilon(1e-5));
  }
  distance(A, G, {{1, 0}}, Metric::cka).backward();
  CHECK(!A[0].grad().defined());
  CHECK(amax(abs(A[1].grad())).item() > 0);
  // by token: one similarity for each place
  const auto a = check::uniform<float>({6, 3, 2}, -1, 1, 4), b = check::uniform<float>({6, 3, 4}, -1, 1, 5);
  double expected = 0;
  for (int64_t t = 0; t < 3; ++t) expected += 1 - linear_cka(select(a, 1, t), select(b, 1, t)).item();
  CHECK(distance(Features<float, Cpu>{a}, Features<float, Cpu>{b}, {{0, 0}}, Metric::cka, true).item() ==
        Approx(expected).epsilon(1e-5));
}

TEST_CASE("training-untrainable: a guide stays as it is, parameters and buffers, bit for bit", "[papers]") {
  for (const bool noise : {false, true}) {
    const auto [losses, touched] = guided_losses<Cpu>({}, noise);
    CHECK(touched == 0);
    CHECK(losses[1] < losses[0]);
    if (!noise) CHECK(losses[3] < losses[2]);
  }
  // in evaluation mode its features of a picture do not depend on the batch
  auto guide = resnet<Cpu>(1);
  const auto x = check::uniform<float>({4, 1, 8, 8});
  const auto all_of_them = features(guide, x), two = features(guide, x(slice(0, 2)).contiguous());
  CHECK(all_of_them.size() == 7);  // stem, 2, 3, pool
  for (std::size_t l = 0; l < two.size(); ++l) {
    CHECK(check::difference(all_of_them[l](slice(0, 2)).contiguous(), two[l], 1e-5, 1e-5) == "");
    CHECK(!two[l].requires_grad());
  }
}

TEST_CASE("training-untrainable: measured guidance is unguided training bit for bit", "[papers]") {
  const auto task = picture_task<Cpu>(pictures(), 16, 5);
  auto teacher = resnet<Cpu>(1), first = fcn<Cpu>(2), second = fcn<Cpu>(2), third = fcn<Cpu>(2), fourth = fcn<Cpu>(2);
  Guide<Cpu, Image<Cpu>> guide{teacher, Metric::cka, false, true};
  const Curve plain = fit<Cpu, Image<Cpu>>(first, nullptr, task, {.epochs = 2}, go_on);
  const Curve measured = fit(second, &guide, task, {.epochs = 2, .guide_steps = 0, .pairs = pairs_of(7, 3, Pairs::all)}, go_on);
  CHECK(plain.ce == measured.ce);
  CHECK(changed<Cpu>(nn::state_dict(first), nn::state_dict(second)) == 0);
  CHECK(measured.distance[0] > 0);
  // for two steps: the third and fourth steps of the first epoch add nothing, but their start differs
  const Curve early = fit(third, &guide, task, {.epochs = 1, .guide_steps = 2, .pairs = pairs_of(7, 3, Pairs::all)}, go_on);
  CHECK(early.ce[0] != plain.ce[0]);
  // matrices that were kept are those that would be computed
  CHECK(guide.kept.size() == 8);
  Guide<Cpu, Image<Cpu>> fresh{teacher};
  const Curve again = fit(fourth, &fresh, task, {.epochs = 1, .guide_steps = 2, .pairs = pairs_of(7, 3, Pairs::all)}, go_on);
  CHECK((again.ce == early.ce && again.distance == early.distance));
  CHECK(plain.ce[1] < plain.ce[0]);
}

TEST_CASE("training-untrainable: the networks of the paper", "[papers]") {
  CHECK(resnet18().cost().parameters == 11689512);
  CHECK(resnet50().cost().parameters == 25557032);
  CHECK(resnet18().cost().multiply_adds == Approx(1.814e9).epsilon(1e-3));
  CHECK(resnet50().cost().multiply_adds == Approx(4.089e9).epsilon(1e-3));
  // without shortcuts four projections are gone: 64 -> 256, 256 -> 512, 512 -> 1024, 1024 -> 2048, with batch norm
  CHECK(deep_convnet_paper().cost().parameters ==
        25557032 - (64 * 256 + 256 * 512 + 512 * 1024 + 1024 * 2048) - 2 * (256 + 512 + 1024 + 2048));
  CHECK(deep_fcn_paper().widths.size() == 48);
  CHECK(deep_fcn_paper().cost().parameters ==
        150529ll * 2048 + 2049 * 1024 + 46 * 1025 * 1024 + 1025 * 1000 + 2 * (2048 + 47 * 1024));
  CHECK(wide_fcn_paper().cost().parameters == 150529ll * 8192 + 2 * 8193 * 8192ll + 8193 * 1000 + 6 * 8192);
  for (const auto& c : {resnet18(), deep_convnet_paper()}) {
    Net<Cpu> net{ResNet<float, Cpu>(c)};
    CHECK(nn::parameter_count(net) == c.cost().parameters);
  }
  // the same formulas and features on small inputs
  ResNetConfig c = resnet18(7);
  c.widths = {4, 4, 8, 8}, c.side = 32;
  Net<Cpu> eighteen{ResNet<float, Cpu>(c)};
  CHECK(nn::parameter_count(eighteen) == c.cost().parameters);
  const auto a = features(eighteen, check::uniform<float>({2, 3, 32, 32}));
  CHECK(a.size() == 21);
  CHECK((a.back().shape() == Shape{2, 8}));
  CHECK((a[0].shape() == Shape{2, 4, 16, 16}));
  FcnConfig f = deep_fcn_paper();
  f.inputs = 12, f.classes = 5;
  for (auto& w : f.widths) w /= 64;
  Net<Cpu> deep{Fcn<float, Cpu>(f)};
  CHECK(nn::parameter_count(deep) == f.cost().parameters);
  CHECK(features(deep, check::uniform<float>({3, 3, 2, 2})).size() == 48);
}

TEST_CASE("training-untrainable: without a shortcut a block is its convolutions", "[papers]") {
  manual_seed(1);
  ResNetConfig c = small_guide();
  c.shortcuts = false;
  ResidualBlock<float, Cpu> plain(4, 6, 6, 2, c);
  CHECK(plain.down.empty());
  nn::eval(plain);
  const auto x = check::uniform<float>({2, 4, 8, 8});
  const auto y = no_grad([&] { return relu(plain.norm[1](plain.conv[1](relu(plain.norm[0](plain.conv[0](x)))))); });
  CHECK(check::difference(no_grad([&] { return plain.forward(x, static_cast<Features<float, Cpu>*>(nullptr)); }), y, 1e-6,
                          1e-6) == "");
  c.shortcuts = true;
  ResidualBlock<float, Cpu> residual(4, 4, 4, 1, c);
  nn::eval(residual);
  no_grad([&] { nn::init::constant(residual.norm[1].weight, 0); });
  CHECK(check::difference(no_grad([&] { return residual.forward(x, static_cast<Features<float, Cpu>*>(nullptr)); }), relu(x),
                          1e-6, 1e-6) == "");
}

TEST_CASE("training-untrainable: pictures move as a whole, each by its own shift", "[papers]") {
  data::ImageSet one;
  one.shape = Shape{40, 9, 9}, one.pixels.assign(40 * 81, 0), one.labels.assign(40, 0);
  for (std::size_t n = 0; n < 40; ++n) one.pixels[n * 81 + 40] = 200;  // the middle
  const auto moved = shifted(one, 2, {1, 1});
  std::vector<int> seen(81, 0);
  for (std::size_t n = 0; n < 40; ++n)
    for (std::size_t k = 0; k < 81; ++k) seen[k] += moved.pixels[n * 81 + k] == 200;
  int total = 0, places = 0;
  for (std::size_t k = 0; k < 81; ++k) {
    total += seen[k], places += seen[k] > 0;
    if (seen[k]) CHECK((std::abs(static_cast<int>(k / 9) - 4) <= 2 && std::abs(static_cast<int>(k % 9) - 4) <= 2));
  }
  CHECK(total == 40);
  CHECK(places > 12);  // of 25
  CHECK(shifted(one, 2, {1, 1}).pixels == moved.pixels);
  CHECK(shifted(one, 0, {1, 1}).pixels == one.pixels);
}

TEST_CASE("training-untrainable: copy and parity sequences", "[papers]") {
  const auto s = copy_sequences(50, 2, 5, {4, 1});
  for (int64_t i = 0; i < 50; ++i) {
    const auto x = s.x(i).to_vector(), y = s.y(i).to_vector();
    const auto n = static_cast<std::size_t>(std::find(x.begin(), x.end(), kCopy) - x.begin());
    CHECK((n >= 2 && n <= 5));
    for (std::size_t k = 0; k < n; ++k) CHECK((x[k] >= 1 && x[k] <= kSymbols && y[n + 1 + k] == x[k] && x[n + 1 + k] == 0));
    for (std::size_t k = 0; k <= n; ++k) CHECK(y[k] == 0);
    CHECK((x[2 * n + 1] == kEos && y[2 * n + 1] == kEos));
    CHECK(sum(cast<int64_t>(s.valid(i))).item() == static_cast<int64_t>(2 * n + 2));
  }
  const auto p = parity_sequences(50, 2, 9, {4, 1});
  for (int64_t i = 0; i < 50; ++i) {
    int64_t ones = 0;
    for (const int64_t bit : p.x(i).to_vector()) ones += bit == 2;
    CHECK(p.y(i).item() == ones % 2);
  }
}

TEST_CASE("training-untrainable: states pass from layer to layer, and padding changes nothing", "[papers]") {
  const SequenceConfig c{.embedding = 6, .hidden = 6, .layers = 3, .heads = 2, .longest = 9, .causal = true};
  manual_seed(1);
  StackedRnn<float, Cpu> rnn(c);
  Transformer<float, Cpu> transformer(c);
  CHECK(nn::parameter_count(rnn) == c.rnn_cost(1).parameters);
  CHECK(nn::parameter_count(transformer) == c.transformer_cost(1).parameters);
  const Tensor<int64_t> x{{3, 1, 4, 1, 5}, {2, 7, 11, 0, 0}};
  const Tokens<Cpu> both{x, x > 0}, alone{x(slice(1, 2), slice(0, 3)).contiguous(), ones<bool>({1, 3})};
  const auto guard = NoGrad();
  const auto same = [&](auto& net, std::size_t layers) {
    Features<float, Cpu> a, b;
    const auto y = net.forward(both, &a), z = net.forward(alone, &b);
    CHECK(a.size() == layers);
    CHECK(check::difference(y(slice(1, 2), slice(0, 3)).contiguous(), z, 1e-5, 1e-5) == "");
    for (std::size_t l = 0; l < layers; ++l) {
      CHECK(check::difference(a[l](slice(1, 2), slice(0, 3)).contiguous(), b[l], 1e-5, 1e-5) == "");
      CHECK(amax(abs(a[l](1, slice(3, 5)))).item() == 0);
    }
    return b;
  };
  same(transformer, 15);
  const auto h = same(rnn, 3);
  auto s = nn::CellState<float, Cpu>{h[0](all, 2).contiguous(), {}};  // the last state of the first layer
  s = rnn.layers[1].cells[0].forward(h[0](all, 0).contiguous(), s);
  CHECK(check::difference(s.h, h[1](all, 0).contiguous(), 1e-5, 1e-6) == "");
}

TEST_CASE("training-untrainable: with a pooled read-out the score counts answers, else symbols", "[papers]") {
  SequenceConfig c{
      .vocabulary = 3, .classes = 2, .embedding = 4, .hidden = 4, .layers = 1, .heads = 2, .longest = 6, .pooled = true};
  manual_seed(2);
  Network<float, Cpu, Tokens<Cpu>> net{Transformer<float, Cpu>(c)};
  const auto s = std::make_shared<const Sequences>(parity_sequences(20, 2, 6, {1, 1}));
  const auto task = sequence_task<Cpu>(s, s, 10, 1, -100);
  CHECK(task.steps == 2);
  const double accuracy = score(net, task, task.test_set).accuracy;
  CHECK(std::abs(accuracy / 5 - std::round(accuracy / 5)) < 1e-9);  // of 20
  int64_t seen = 0;
  task.train(0, [&](const Tokens<Cpu>& x, const Tensor<int64_t>& y) {
    CHECK((x.x.shape() == Shape{10, 6} && y.shape() == Shape{10}));
    return ++seen, true;
  });
  CHECK(seen == 2);
}

#if GRADUS_WITH_CUDA
TEST_CASE("training-untrainable: guidance on the device follows the host's, and leaves the guide alone", "[papers]") {
  const auto host = guided_losses<Cpu>({}), device = guided_losses<Cuda>({});
  CHECK(device.second == 0);
  REQUIRE(host.first.size() == device.first.size());
  for (std::size_t i = 0; i < host.first.size(); ++i) CHECK(device.first[i] == Approx(host.first[i]).epsilon(1e-3));
  const SequenceConfig c{.embedding = 6, .hidden = 6, .layers = 2, .heads = 2, .longest = 5};
  const Tensor<int64_t> x{{3, 1, 4, 1, 5}, {2, 7, 11, 0, 0}};
  const auto logits = [&]<class D>(D) {
    manual_seed(1);
    const NoGrad guard;
    const Tokens<D> in{x.to<D>(), (x > 0).template to<D>()};
    Features<float, D> a;
    auto y = StackedRnn<float, D>(c).forward(in, &a);
    y = y + Transformer<float, D>(c).forward(in, &a);
    return (y + distance(Features<float, D>{a[0]}, Features<float, D>{a[1]}, {{0, 0}}, Metric::rsa)).template to<Cpu>();
  };
  CHECK(check::difference(logits(Cuda{}), logits(Cpu{}), 1e-4, 1e-4) == "");
}
#endif
