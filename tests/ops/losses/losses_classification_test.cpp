// Two classes, focal, tempered, ordinal, angular and long-tail losses.
#include <gradus/ops/extra.hpp>
#include <gradus/ops/losses/classification.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

namespace {
const Double x = check::uniform({3, 4}, -2, 2, 3);
const Tensor<int64_t> y{2, 0, 3};
constexpr auto none = Reduction::none;
}  // namespace

TEST_CASE("binary cross-entropy from probabilities: saturated logarithms stop at -100") {
  const auto p = from_vector<double>({0, 1, 0, 1, 0.3}), t = from_vector<double>({0, 1, 1, 0, 0.6});
  const auto v = bce_loss(p, t, {}, none).to_vector();
  CHECK((v[0] == 0 && v[1] == 0 && v[2] == 100 && v[3] == 100));
  CHECK(v[4] == Approx(-0.6 * std::log(0.3) - 0.4 * std::log(0.7)));
  const auto leaf = check::leaf(p);
  bce_loss(leaf, t, {}, Reduction::sum).backward();
  for (const double g : leaf.grad().to_vector()) CHECK(std::isfinite(g));
  const auto q = check::uniform({2, 3}, 0.1, 0.9), w = check::uniform({3}, 0.5, 2, 2);
  check::gradients([&](const check::List& l) { return bce_loss(l[0], l[1], w); },
                   check::List{q, check::uniform({2, 3}, 0, 1, 5)});
  CHECK(bce_loss(sigmoid(x), full_like(x, 0.3)).item() == Approx(bce_with_logits(x, full_like(x, 0.3)).item()));
}

TEST_CASE("focal losses: gamma 0 is cross-entropy, easy examples fade") {
  const auto t = from_vector<double>({1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 1, 0}, {3, 4});
  CHECK(check::difference(sigmoid_focal_loss(x, t, {.gamma = 0, .reduction = none}), bce_with_logits(x, t, {}, none)) == "");
  const auto p = sigmoid(x), pt = t * p + (1.0 - t) * (1.0 - p);
  CHECK(check::difference(sigmoid_focal_loss(x, t, {.gamma = 2, .alpha = 0.25, .reduction = none}),
                          (t * 0.25 + (1.0 - t) * 0.75) * square(1.0 - pt) * -log(pt)) == "");
  check::gradients([&](const Double& v) { return sigmoid_focal_loss(v, t, {.gamma = 1.5, .alpha = 0.25}); }, x);
  CHECK(check::difference(focal_loss(x, y, 0, {}, none), cross_entropy(x, y, {.reduction = none})) == "");
  const auto w = from_vector<double>({1, 2, 3, 4});
  std::vector<double> expected;
  const auto soft = softmax(x, 1).to_vector();
  for (std::size_t n = 0; n < 3; ++n) {
    const auto k = static_cast<std::size_t>(y.to_vector()[n]);
    expected.push_back(-w.to_vector()[k] * std::pow(1 - soft[4 * n + k], 3) * std::log(soft[4 * n + k]));
  }
  CHECK(check::difference(focal_loss(x, y, 3, w, none), from_vector(expected)) == "");
  check::gradients([&](const Double& v) { return focal_loss(v, y, 2, w); }, x);
}

TEST_CASE("tempered softmax sums to 1, is softmax at t = 1, and has heavy tails") {
  for (const double t : {1.0, 1.2, 2.0, 4.0})
    CHECK(check::difference(sum(tempered_softmax(x * 3, t), -1), ones<double>({3}), 1e-10, 1e-10) == "");
  CHECK(check::difference(tempered_softmax(x, 1), softmax(x, -1)) == "");
  CHECK(check::difference(tempered_softmax(x, 1 + 1e-6), softmax(x, -1), 1e-4, 1e-4) == "");
  CHECK(check::difference(tempered_softmax(x + 5, 1.5), tempered_softmax(x, 1.5), 1e-10, 1e-10) == "");
  const auto far = from_vector<double>({0, -100});
  CHECK(tempered_softmax(far, 2).to_vector()[1] > 5e-3);  // p = 1 / (1 + 100 + ...)
  check::gradients([](const Double& v) { return tempered_softmax(v, 1.4) * v; }, x);
  CHECK(check::missing(check::error_of([] { tempered_softmax(x, 0.5); }), {"tempered_softmax", "t >= 1", "0.5"}) == "");
}

TEST_CASE("the bi-tempered loss: cross-entropy at 1 and 1, bounded below t1 = 1, gradients") {
  CHECK(check::difference(bi_tempered_loss(x, y, 1, 1, 0, none), cross_entropy(x, y, {.reduction = none})) == "");
  const auto wrong = from_vector<double>({-1000, 1000}, {1, 2});
  const double worst = bi_tempered_loss(wrong, Tensor<int64_t>{0}, 0.5, 1.0).item();  // 1/(1-t1) (1) - (1 - 1)/(2 - t1) + ...
  CHECK(worst == Approx(2.0));
  CHECK(bi_tempered_loss(from_vector<double>({1000, -1000}, {1, 2}), Tensor<int64_t>{0}, 0.5, 1.0).item() ==
        Approx(0).margin(1e-9));
  check::gradients([](const Double& v) { return bi_tempered_loss(v, y, 0.7, 1.3, 0.1); }, x);
  check::gradients([](const Double& v) { return bi_tempered_loss(v, y, 1, 1.3); }, x);
}

TEST_CASE("ordinal losses: thresholds as two-class problems, probabilities that sum to 1") {
  const auto s = check::uniform({3, 3}, -2, 2, 7);
  double total = 0;
  for (std::size_t n = 0; n < 3; ++n)
    for (std::size_t k = 0; k < 3; ++k) {
      const double v = s.to_vector()[3 * n + k], target = y.to_vector()[n] > static_cast<int64_t>(k);
      total += std::log1p(std::exp(v)) - target * v;
    }
  CHECK(ordinal_loss(s, y, Reduction::sum).item() == Approx(total));
  check::gradients([](const Double& v) { return ordinal_loss(v, y); }, s);
  const auto b = from_vector<double>({-1, 0.2, 1.5}), score = from_vector<double>({0.4});
  double mass = 0;
  for (int64_t k = 0; k < 4; ++k) mass += std::exp(-cumulative_link_loss(score, Tensor<int64_t>{k}, b).item());
  CHECK(mass == Approx(1));
  CHECK(cumulative_link_loss(score, Tensor<int64_t>{1}, b).item() ==
        Approx(-std::log(1 / (1 + std::exp(0.2)) - 1 / (1 + std::exp(1.4)))));
  check::gradients([](const check::List& l) { return cumulative_link_loss(l[0], y, l[1]); },
                   check::List{check::uniform({3}), b});
}

TEST_CASE("ArcFace, CosFace, LDAM: no margin is plain cross-entropy, a margin is the angle's") {
  const auto c = check::uniform({3, 4}, -0.9, 0.9, 8);
  CHECK(arcface_loss(c, y, 5, 0).item() == Approx(cross_entropy(c * 5, y).item()));
  CHECK(cosface_loss(c, y, 5, 0).item() == Approx(cross_entropy(c * 5, y).item()));
  auto arc = c.to_vector(), shifted = c.to_vector();
  for (std::size_t n = 0; n < 3; ++n) {
    const std::size_t k = 4 * n + static_cast<std::size_t>(y.to_vector()[n]);
    const double theta = std::acos(arc[k]);
    arc[k] = theta + 0.5 < 3.14159265358979323846 ? std::cos(theta + 0.5) : arc[k] - 0.5 * std::sin(0.5);
    shifted[k] -= 0.35;
  }
  CHECK(arcface_loss(c, y, 5, 0.5).item() == Approx(cross_entropy(from_vector(arc, {3, 4}) * 5, y).item()));
  CHECK(cosface_loss(c, y, 5, 0.35).item() == Approx(cross_entropy(from_vector(shifted, {3, 4}) * 5, y).item()));
  const auto opposite = from_vector<double>({-0.99, 0.1}, {1, 2});  // theta + margin > pi
  CHECK(arcface_loss(opposite, Tensor<int64_t>{0}, 1, 0.5).item() ==
        Approx(cross_entropy(from_vector<double>({-0.99 - 0.5 * std::sin(0.5), 0.1}, {1, 2}), Tensor<int64_t>{0}).item()));
  check::gradients([](const Double& v) { return arcface_loss(v, y, 4, 0.5); }, c);
  check::gradients([](const Double& v) { return cosface_loss(v, y, 4); }, c);
  const auto counts = from_vector<double>({16, 81, 256, 1});
  auto margins = x.to_vector();
  const double m[] = {0.25, 1.0 / 6, 0.125, 0.5};  // 0.5 n^{-1/4} over the largest, that of n = 1
  for (std::size_t n = 0; n < 3; ++n) margins[4 * n + static_cast<std::size_t>(y.to_vector()[n])] -= m[y.to_vector()[n]];
  CHECK(ldam_loss(x, y, counts, 0.5, 3).item() == Approx(cross_entropy(from_vector(margins, {3, 4}) * 3, y).item()));
  check::gradients([&](const Double& v) { return ldam_loss(v, y, counts, 0.5, 3); }, x);
  CHECK(check::missing(check::error_of([&] { ldam_loss(x, y, ones<double>({3})); }),
                       {"ldam_loss", "one count a class", "float64 cpu [3]"}) == "");
}

TEST_CASE("centre loss pulls features and centres together") {
  const auto centres = check::uniform({5, 4}, -1, 1, 9);
  const auto picked = index_select(centres, 0, y);
  CHECK(center_loss(x, y, centres).item() == Approx(0.5 * sum(square(x - picked)).item() / 3));
  check::gradients([](const check::List& l) { return center_loss(l[0], y, l[1]); }, check::List{x, centres});
}

TEST_CASE("cross-entropy names the target that is no class") {
  CHECK(check::missing(check::error_of([] {
                         cross_entropy(x, Tensor<int64_t>{0, 7, 1});
                       }),
                       {"element 1 is 7", "[0, 4)", "-100", "losses_classification_test.cpp"}) == "");
  CHECK(cross_entropy(x, Tensor<int64_t>{-100, 2, 1}, {.reduction = Reduction::sum}).item() ==
        Approx(cross_entropy(narrow(x, 0, 1, 2), Tensor<int64_t>{2, 1}, {.reduction = Reduction::sum}).item()));
}
