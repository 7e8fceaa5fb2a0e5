// Paths, layers, blocks of images, attention, graphs.
#include <gradus/nn/dropout/attention.hpp>
#include <gradus/nn/dropout/graph.hpp>
#include <gradus/nn/dropout/image.hpp>
#include <gradus/nn/dropout/path.hpp>
#include <gradus/ops/softmax.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

namespace {
double errors(double share, double p, int64_t n) {
  return std::fabs(share - p) / std::sqrt(p * (1 - p) / static_cast<double>(n));
}
double zeros_in(const Double& x) { return mean(cast<double>(x == 0)).item(); }
}  // namespace

TEST_CASE("drop path: one fate a sample, expectation kept") {
  manual_seed(1);
  const auto y = nn::DropPath(0.3)(ones<double>({20000, 2, 2}));
  CHECK(check::difference(expand(amax(y, {1, 2}, true), y.shape()), y) == "");
  CHECK(errors(zeros_in(y), 0.3, 20000) < 5);
  CHECK(amax(y).item() == Approx(1 / 0.7));
  check::gradients(
      [](const Double& x) {
        manual_seed(2);
        return nn::DropPath(0.4)(x) * x;
      },
      check::uniform({5, 3}));
}

TEST_CASE("ScheduledDropPath: the probabilities of NASNet and their frequencies") {
  manual_seed(3);
  for (const int64_t cell : {0, 4, 9})
    for (const double part : {0.0, 0.25, 0.5, 1.0, 1.5}) {
      nn::ScheduledDropPath d(cell, 10, 0.6);
      d.set_step(part * 1000, 1000);
      const double k = 1 - std::min(1.0, part) * (static_cast<double>(cell + 1) / 10 * 0.4);
      CHECK(1 - d.p == Approx(k));
      const auto y = d(ones<double>({20000, 1}));
      if (k == 1) CHECK(zeros_in(y) == 0);
      else CHECK(errors(zeros_in(y), 1 - k, 20000) < 4);
      CHECK(std::fabs(mean(y).item() - 1) <= 4 * std::sqrt((1 - k) / k / 20000));
      d.training = false;
      CHECK(check::difference(d(ones<double>({3, 1})), ones<double>({3, 1})) == "");
    }
  CHECK(check::missing(check::error_of([] { nn::ScheduledDropPath(10, 10, 0.6); }), {"ScheduledDropPath", "cell < cells"}) ==
        "");
}

TEST_CASE("stochastic depth: branches left out are not computed, evaluation takes the expectation") {
  manual_seed(4);
  nn::StochasticDepth d(nn::StochasticDepth::rate(3, 6, 0.8));
  CHECK(d.p == Approx(0.4));
  int calls = 0;
  const auto branch = [&](const Double& x) {
    ++calls;
    return x * 3;
  };
  double total = 0;
  for (int i = 0; i < 4000; ++i) {
    const int before = calls;
    const double y = d.forward(ones<double>({1}), branch).item();
    CHECK(y == (calls > before ? 4 : 1));  // not scaled in training
    total += y;
  }
  CHECK(errors(calls / 4000.0, 0.6, 4000) < 5);
  Masks masks;
  const auto y = track_dropout_mask(masks, [&] { return d.forward(ones<double>({2, 2}), branch); });
  CHECK(masks[0].shape() == Shape{1, 1});
  CHECK(check::difference(use_dropout_mask(masks, [&] { return d.forward(ones<double>({2, 2}), branch); }), y) == "");
  d.training = false;
  CHECK(d.forward(ones<double>({1}), branch).item() == Approx(1 + 0.6 * 3));
}

TEST_CASE("layer drop and its pruning") {
  manual_seed(5);
  nn::LayerDrop d(0.3);
  const std::vector<std::function<Double(const Double&)>> layers(10, [](const Double& x) { return x + 1; });
  double run = 0;
  for (int i = 0; i < 1000; ++i) run += d.forward(zeros<double>({1}), layers).item();
  CHECK(errors(run / 10000, 0.7, 10000) < 5);
  d.training = false;
  CHECK(d.forward(zeros<double>({1}), layers).item() == 10);
  CHECK(nn::LayerDrop::pruned(6, 0.5) == std::vector<int64_t>{1, 3, 5});
  CHECK(nn::LayerDrop::pruned(4, 0) == std::vector<int64_t>{0, 1, 2, 3});
}

TEST_CASE("fractal join and swapout") {
  manual_seed(6);
  nn::FractalJoin local(0.5), global(0.5, true);
  const std::vector<Double> columns{full<double>({1}, 1.0), full<double>({1}, 2.0), full<double>({1}, 4.0)};
  std::vector<double> seen(3, 0);
  for (int i = 0; i < 3000; ++i) {
    const double y = global.forward(columns).item();
    seen[y == 1 ? 0 : y == 2 ? 1 : 2] += 1;
    CHECK((y == 1 || y == 2 || y == 4));
    CHECK(local.forward(columns).item() >= 1);  // never empty
  }
  for (const double s : seen) CHECK(errors(s / 3000, 1.0 / 3, 3000) < 5);
  local.training = false;
  CHECK(local.forward(columns).item() == Approx(7.0 / 3));
  nn::Swapout s(0.3, 0.6);
  const auto x = full<double>({40000}, 1.0), f = full<double>({40000}, 10.0);
  const auto y = s.forward(x, f);
  CHECK(errors(mean(cast<double>(y == 11.0)).item(), 0.7 * 0.4, 40000) < 5);
  CHECK(errors(mean(cast<double>(y == 0.0)).item(), 0.3 * 0.6, 40000) < 5);
  s.training = false;
  CHECK(s.forward(x, f).to_vector()[0] == Approx(0.7 + 0.4 * 10));
}

TEST_CASE("shake-shake and ShakeDrop use other numbers in backward") {
  manual_seed(7);
  nn::ShakeShake s;
  const auto a = check::leaf(ones<double>({5000, 2})), b = check::leaf(zeros<double>({5000, 2}));
  const auto y = s.forward(a, b);  // alpha
  sum(y).backward();               // beta and 1 - beta
  CHECK(check::difference(a.grad() + b.grad(), ones<double>({5000, 2})) == "");
  CHECK(check::difference(select(y, 1, 0), select(y, 1, 1)) == "");
  CHECK(std::fabs(mean(y).item() - 0.5) < 5 * std::sqrt(1.0 / 12 / 5000));
  const auto u = select(y.detach(), 1, 0) - 0.5, v = select(a.grad(), 1, 0) - 0.5;
  CHECK(std::fabs(mean(u * v).item()) < 5.0 / 12 / std::sqrt(5000.0));  // independent
  s.training = false;
  CHECK(check::difference(s.forward(a, b), full<double>({5000, 2}, 0.5)) == "");
  nn::ShakeDrop d(0.4);
  const auto x = check::leaf(ones<double>({20000, 1}));
  const auto z = d(x);
  sum(z).backward();
  const auto kept = cast<double>(z.detach() == 1.0);
  CHECK(errors(mean(kept).item(), 0.6, 20000) < 5);
  CHECK(std::fabs(mean(z).item() - 0.6) < 5 * std::sqrt((0.6 + 0.4 / 3 - 0.36) / 20000));
  CHECK(check::difference(where(z.detach() == 1.0, x.grad(), 1.0), ones<double>({20000, 1})) == "");
  CHECK(std::fabs(mean(x.grad()).item() - (0.6 + 0.4 * 0.5)) < 0.02);  // E[b + beta - b beta]
  CHECK(amin(x.grad()).item() >= 0);
  CHECK(amin(z).item() < -0.9);
  d.training = false;
  CHECK(check::difference(d(x), full<double>({20000, 1}, 0.6)) == "");
}

TEST_CASE("DropBlock: squares, the gamma formula, exact rates, counted scale") {
  manual_seed(8);
  const nn::BlockFactor law{0.2, 3, 2, false};
  const double gamma = law.gamma({1, 1, 9, 8});
  CHECK(gamma == Approx(0.2 / 9 * (9.0 * 8) / (7.0 * 6)));
  const auto f = law.factor<double, Cpu>({20000, 1, 9, 8}, {3, 4}, Where::current());
  // Position (i, j) is dropped unless none of the corners that cover it is drawn.
  const auto covers = [](int64_t i, int64_t n) { return std::min<int64_t>(i, n - 3) - std::max<int64_t>(0, i - 2) + 1; };
  const auto rate = mean(cast<double>(f == 0), {0, 1}).to_vector();
  for (int64_t i = 0; i < 9; ++i)
    for (int64_t j = 0; j < 8; ++j) {
      const double p = 1 - std::pow(1 - gamma, static_cast<double>(covers(i, 9) * covers(j, 8)));
      CHECK(errors(rate[static_cast<std::size_t>(i * 8 + j)], p, 20000) < 5);
    }
  CHECK(mean(f).item() == Approx(1));  // elements / kept elements
  const auto one = nn::DropBlock2d(0.02, 4)(ones<double>({200, 3, 12, 12}));
  CHECK(zeros_in(one) > 0);
  const auto same = nn::BlockFactor{0.3, 2, 2, true}.factor<double, Cpu>({5, 4, 6, 6}, {5, 6}, Where::current());
  CHECK(same.shape() == Shape{5, 1, 6, 6});
  check::gradients(
      [](const Double& x) {
        manual_seed(9);
        return nn::DropBlock2d(0.3, 2)(x) * x;
      },
      check::uniform({1, 2, 4, 4}));
  manual_seed(10);
  CHECK(zeros_in(nn::DropBlock1d(0.3, 4)(ones<double>({40, 2, 30}))) > 0.15);
  CHECK(zeros_in(nn::DropBlock3d(0.3, 2)(ones<double>({4, 2, 6, 6, 6}))) > 0.15);
  CHECK(check::missing(check::error_of([] {
                         nn::DropBlock2d(0.1)(ones<double>({3, 4}));
                       }),
                       {"DropBlock", "[3, 4]", "2 spatial axes"}) == "");
}

TEST_CASE("cutout and random erasing: area, place, and the rest untouched") {
  manual_seed(11);
  const auto y = nn::Cutout(4)(ones<double>({20000, 2, 10, 10}));
  CHECK(check::difference(select(y, 1, 0), select(y, 1, 1)) == "");
  // One axis: of the 10 centres, 4 - 2 at one end and 1 at the other cut less; mean length of the cut is (10 * 4 - 2 - 1 - 1)
  // / 10.
  CHECK(std::fabs(zeros_in(y) - (3.6 / 10) * (3.6 / 10)) < 0.003);
  CHECK(errors(1 - mean(amin(nn::Cutout(4, 0.25)(ones<double>({8000, 1, 10, 10})), {1, 2, 3})).item(), 0.25, 8000) < 5);
  nn::RandomErasing e(0.5);
  e.noise_fill = false, e.fill = -1, e.area_lo = 0.1, e.area_hi = 0.2;
  const auto z = e(ones<double>({4000, 1, 30, 30}));
  const auto area = mean(cast<double>(z == -1.0), {1, 2, 3});
  CHECK(errors(mean(cast<double>(area > 0.0)).item(), 0.5, 4000) < 5);
  const double mean_area = sum(area).item() / sum(cast<double>(area > 0.0)).item();
  CHECK(std::fabs(mean_area - 0.15) < 0.01);
  e.training = false;
  CHECK(check::difference(e(ones<double>({1, 1, 3, 3})), ones<double>({1, 1, 3, 3})) == "");
}

TEST_CASE("attention: probabilities, keys, heads, forgetting") {
  manual_seed(12);
  const auto logits = check::uniform({4, 2, 6, 50});
  const auto a = softmax(logits, -1);
  const auto plain = nn::AttentionDropout(0.3)(a);
  CHECK(std::fabs(mean(sum(plain, -1)).item() - 1) < 0.06);
  const auto renormalised = nn::AttentionDropout(0.3, true)(a);
  CHECK(check::difference(sum(renormalised, -1), ones<double>({4, 2, 6})) == "");
  const auto columns = cast<double>(renormalised == 0);
  CHECK(check::difference(expand(narrow(columns, 2, 0, 1), columns.shape()), columns) == "");  // a key for all queries
  const auto key = softmax(nn::DropKey(0.3)(logits), -1);
  CHECK(check::difference(sum(key, -1), ones<double>({4, 2, 6})) == "");
  CHECK(errors(zeros_in(key), 0.3, key.numel()) < 5);
  CHECK(check::difference(softmax(nn::DropKey(1.0)(logits), -1), full<double>({4, 2, 6, 50}, 0.02)) == "");
  const auto heads = nn::DropHead(0.4)(ones<double>({500, 8, 3, 2}));
  CHECK(check::difference(expand(amax(heads, {2, 3}, true), heads.shape()), heads) == "");
  CHECK(errors(zeros_in(heads), 0.4, 4000) < 5);
  CHECK(amax(heads).item() == Approx(1 / 0.6));
  const auto seen = cast<double>(nn::ForgetfulCausalMask(0.3).visible(4000, 20));
  CHECK(amin(select(seen, 1, 0)).item() == 1);
  CHECK(std::fabs(1 - mean(narrow(seen, 1, 1, 19)).item() - 0.15) < 0.01);
  check::gradients(
      [](const Double& x) {
        manual_seed(13);
        return nn::AttentionDropout(0.3, true)(softmax(nn::DropKey(0.3)(x), -1)) * x;
      },
      check::uniform({1, 2, 3, 4}));
}

TEST_CASE("graphs: edges both ways, nodes, messages; router jitter") {
  manual_seed(14);
  const auto a = ones<double>({60, 60});
  const auto y = nn::DropEdge(0.3)(a);
  CHECK(check::difference(y, contiguous(y.t())) == "");
  CHECK(errors(zeros_in(y), 0.3, 1800) < 5);
  const auto d = nn::DropEdge(0.3, false)(a);
  CHECK(d.to_vector() != contiguous(d.t()).to_vector());
  const auto nodes = nn::DropNode(0.3)(ones<double>({3000, 4}));
  CHECK(check::difference(expand(amax(nodes, 1, true), nodes.shape()), nodes) == "");
  CHECK(amax(nodes).item() == Approx(1 / 0.7));
  CHECK(errors(zeros_in(nn::DropMessage(0.3)(ones<double>({3000, 4}))), 0.3, 12000) < 5);
  const auto skip = nn::SkipNode(0.3).forward(full<double>({3000, 2}, 1.0), full<double>({3000, 2}, 5.0));
  CHECK(errors(mean(cast<double>(skip == 1.0)).item(), 0.3, 3000) < 5);
  const auto jitter = nn::RouterJitter{0.1}.forward(ones<double>({50000}));
  CHECK((amin(jitter).item() >= 0.9 && amax(jitter).item() < 1.1));
  CHECK(std::fabs(mean(jitter).item() - 1) < 0.002);
}
