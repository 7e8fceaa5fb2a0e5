// Overlap losses of segmentation and distances between distributions.
#include <gradus/ops/losses/segmentation.hpp>
#include <gradus/ops/losses/transport.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

namespace {
constexpr auto none = Reduction::none;
const Double p = check::uniform({2, 3, 2, 4}, 0.05, 0.95, 3);
const Double g = cast<double>(check::uniform({2, 3, 2, 4}, 0, 1, 4) > 0.5);
}  // namespace

TEST_CASE("Dice, Jaccard and Tversky: formulas, bounds, what they are of each other") {
  const auto tp = sum(p * g, {2, 3}), a = sum(p, {2, 3}), b = sum(g, {2, 3});
  CHECK(check::difference(dice_loss(p, g, {.smooth = 0, .reduction = none}), 1.0 - tp * 2 / (a + b)) == "");
  CHECK(check::difference(jaccard_loss(p, g, {.smooth = 0, .reduction = none}), 1.0 - tp / (a + b - tp)) == "");
  CHECK(check::difference(tversky_loss(p, g, 0.5, 0.5, 1, {.smooth = 0, .reduction = none}),
                          dice_loss(p, g, {.smooth = 0, .reduction = none})) == "");
  CHECK(check::difference(tversky_loss(p, g, 1, 1, 1, {.smooth = 0, .reduction = none}),
                          jaccard_loss(p, g, {.smooth = 0, .reduction = none})) == "");
  CHECK(tversky_loss(p, g, 0.3, 0.7, 0.75).item() > tversky_loss(p, g, 0.3, 0.7, 1).item());  // losses are below 1
  const auto batch = 1.0 - sum(tp, 0) * 2 / (sum(a, 0) + sum(b, 0));
  CHECK(check::difference(dice_loss(p, g, {.smooth = 0, .over_batch = true, .reduction = none}), batch) == "");
  CHECK(dice_loss(g, g).item() == Approx(0).margin(1e-12));
  CHECK(dice_loss(zeros_like(g), zeros_like(g)).item() == 0);  // empty and empty
  for (const bool over_batch : {false, true}) {
    const OverlapOptions o{.over_batch = over_batch};
    check::gradients([&](const Double& v) { return dice_loss(v, g, o); }, p);
    check::gradients([&](const Double& v) { return jaccard_loss(v, g, o); }, p);
    check::gradients([&](const Double& v) { return tversky_loss(v, g, 0.3, 0.7, 0.75, o); }, p);
  }
  CHECK(check::missing(check::error_of([] {
                         dice_loss(p, ones<double>({2, 3, 2, 5}));
                       }),
                       {"dice_loss", "[2, 3, 2, 4]", "[2, 3, 2, 5]", "losses_dense_test.cpp"}) == "");
  CHECK(boundary_loss(p, g - 0.5).item() == Approx(mean(p * (g - 0.5)).item()));
}

TEST_CASE("the signed distance map, against all pairs of pixels") {
  const auto mask = check::uniform({3, 6, 5}, 0, 1, 21) >
                    full<double>({3, 1, 1}, 0.7) * from_vector<double>({1, 0.3, 2}, {3, 1, 1});  // the third is empty
  const auto phi = signed_distance_map<double>(mask).to_vector();
  const auto m = cast<double>(mask).to_vector();
  for (int64_t n = 0; n < 3; ++n)
    for (int64_t i = 0; i < 30; ++i) {
      double nearest = 1e9;
      const auto at = [&](int64_t k) { return m[static_cast<std::size_t>(30 * n + k)]; };
      for (int64_t j = 0; j < 30; ++j)
        if (at(j) != at(i))
          nearest = std::min(nearest, std::hypot(static_cast<double>(i / 5 - j / 5), static_cast<double>(i % 5 - j % 5)));
      CHECK(phi[static_cast<std::size_t>(30 * n + i)] == Approx(n == 2 ? 0 : at(i) > 0 ? 1 - nearest : nearest).margin(1e-12));
    }
}

TEST_CASE("the Lovasz extension is the Jaccard loss on hard predictions") {
  const Tensor<int64_t> y = cast<int64_t>(check::uniform({2, 5, 3}, 0, 3, 6)),
                        guess = cast<int64_t>(check::uniform({2, 5, 3}, 0, 3, 7));
  const auto hard = movedim(one_hot<double>(guess, 3), -1, 1);
  double expected = 0;
  for (int64_t c = 0; c < 3; ++c) {
    double both = 0, either = 0;
    for (std::size_t i = 0; i < 30; ++i) {
      const bool a = y.to_vector()[i] == c, b = guess.to_vector()[i] == c;
      both += a && b, either += a || b;
    }
    expected += (1 - both / either) / 3;
  }
  CHECK(lovasz_softmax_loss(hard, y).item() == Approx(expected));
  CHECK(lovasz_softmax_loss(movedim(one_hot<double>(y, 3), -1, 1), y).item() == Approx(0).margin(1e-12));
  const Tensor<int64_t> two = minimum(y, Tensor<int64_t>{1});  // class 2 is absent
  const auto soft = softmax(check::uniform({2, 3, 5, 3}, -2, 2, 8), 1);
  CHECK(lovasz_softmax_loss(soft, two).item() != Approx(lovasz_softmax_loss(soft, two, false).item()));
  const auto gm = check::uniform({2, 6}, 0, 1, 9);
  const auto truth = cast<double>(gm > 0.4), logits = check::uniform({2, 6}, -2, 2, 10);
  const auto sure = (truth * 2 - 1) * 5;
  CHECK(lovasz_hinge_loss(sure, truth).item() == 0);
  // By brute force: sort errors down, add each with the increase of the Jaccard loss.
  const auto brute = [&](std::size_t row) {
    std::vector<std::pair<double, double>> e;
    double positives = 0;
    for (std::size_t i = 0; i < 6; ++i) {
      const double t = truth.to_vector()[6 * row + i];
      e.push_back({std::max(0.0, 1 - (2 * t - 1) * logits.to_vector()[6 * row + i]), t}), positives += t;
    }
    std::sort(e.begin(), e.end(), [](auto a, auto b) { return a.first > b.first; });
    double loss = 0, before = 0, hits = positives, united = positives;
    for (const auto& [error, t] : e) {
      hits -= t, united += 1 - t;
      const double j = 1 - hits / united;
      loss += error * (j - before), before = j;
    }
    return loss;
  };
  CHECK(check::difference(lovasz_hinge_loss(logits, truth, true, none), from_vector<double>({brute(0), brute(1)})) == "");
  check::gradients([&](const Double& v) { return lovasz_hinge_loss(v, truth, false); }, logits);
  check::gradients([&](const Double& v) { return lovasz_softmax_loss(v, y); }, soft);
}

TEST_CASE("distances on a line and between ordered classes") {
  const auto a = from_vector<double>({0.7, 0.1, 0.2, 0}, {1, 4}), b = from_vector<double>({0, 0.1, 0.2, 0.7}, {1, 4});
  CHECK(ordered_emd_loss(a, b, 1).item() == Approx(0.7 * 3));
  CHECK(ordered_emd_loss(a, b, 2).item() == Approx(0.49 * 3));
  const auto x = check::uniform({2, 7}), y = check::uniform({2, 7}, 0, 2, 5);
  CHECK(wasserstein_1d(x, x + 0.3, 2).item() == Approx(0.09));
  CHECK(wasserstein_1d(x, flip(x, {1})).item() == Approx(0).margin(1e-15));
  check::gradients([](const check::List& l) { return wasserstein_1d(l[0], l[1], 3); }, check::List{x, y});
  check::gradients([](const check::List& l) { return ordered_emd_loss(softmax(l[0], -1), softmax(l[1], -1)); },
                   check::List{x, y});
}

TEST_CASE("Sinkhorn: marginals, the limits of eps, exact derivatives of first and second order") {
  const auto C = check::uniform({4, 3}, 0, 1, 11), ra = check::uniform({4}, -1, 1, 12), rb = check::uniform({3}, -1, 1, 13);
  const auto a = softmax(ra, 0), b = softmax(rb, 0);
  const auto P = sinkhorn_plan(C, a, b, {.eps = 0.1});
  CHECK(check::difference(sum(P, 1), a, 1e-10, 1e-11) == "");
  CHECK(check::difference(sum(P, 0), b, 1e-10, 1e-11) == "");
  CHECK(check::difference(sinkhorn_plan(C, a, b, {.eps = 1e4}), unsqueeze(a, 1) * b, 1e-3, 0) == "");  // independent
  const auto f = [](const check::List& l) {
    return sinkhorn_plan(l[0], softmax(l[1], 0), softmax(l[2], 0), {.eps = 0.3, .tol = 1e-15});
  };
  check::gradients(f, check::List{C, ra, rb});
  check::gradients(
      [](const check::List& l) { return sinkhorn_loss(l[0], softmax(l[1], 0), softmax(l[2], 0), {.eps = 0.3, .tol = 1e-15}); },
      check::List{C, ra, rb});
  const auto batch = sinkhorn_plan(stack(std::vector<Double>{C, C * 2}), stack(std::vector<Double>{a, a}),
                                   stack(std::vector<Double>{b, b}), {.eps = 0.1});
  CHECK(check::difference(batch(0), P, 1e-9, 1e-10) == "");
  const auto n = check::uniform({5, 5}, 0, 1, 14), even = full<double>({5}, 0.2);
  const auto best = gather(n, 1, unsqueeze(assignment(n), 1));
  CHECK(sinkhorn_loss(n, even, even, {.eps = 2e-3, .iterations = 200000}).item() ==
        Approx(mean(best).item()).epsilon(1e-3));  // eps -> 0
  CHECK(sinkhorn_plan(cast<float>(C), cast<float>(a), cast<float>(b), {.eps = 0.1}).shape() == Shape{4, 3});
  CHECK(check::missing(check::error_of([&] { sinkhorn_plan(C, b, a); }),
                       {"sinkhorn_plan", "float64 cpu [4, 3]", "float64 cpu [3]", "losses_dense_test.cpp"}) == "");
}

TEST_CASE("assignment finds the best of all permutations; the earth mover's distance uses it") {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto C = check::uniform({5, 5}, -1, 1, 100 + seed);
    const auto v = C.to_vector();
    std::vector<std::size_t> order{0, 1, 2, 3, 4};
    double best = 1e9;
    do {
      double cost = 0;
      for (std::size_t i = 0; i < 5; ++i) cost += v[5 * i + order[i]];
      best = std::min(best, cost);
    } while (std::next_permutation(order.begin(), order.end()));
    CHECK(sum(gather(C, 1, unsqueeze(assignment(C), 1))).item() == Approx(best));
  }
  const auto x = check::uniform({6, 2}), shuffled = index_select(x, 0, Tensor<int64_t>{3, 0, 5, 1, 4, 2});
  CHECK(emd_loss(x, shuffled).item() == Approx(0).margin(1e-15));
  CHECK(emd_loss(x, shuffled + 0.25, 2).item() == Approx(2 * 0.0625));  // a common shift
  check::gradients([](const check::List& l) { return emd_loss(l[0], l[1]); }, check::List{x, check::uniform({6, 2}, 1, 2, 4)});
}

TEST_CASE("divergences of samples: 0 for equal ones, positive, symmetric") {
  const auto x = check::uniform({6, 2}), y = check::uniform({5, 2}, 0, 2, 3);
  CHECK(sinkhorn_divergence(x, x, {.eps = 0.5}).item() == Approx(0).margin(1e-10));
  CHECK(sinkhorn_divergence(x, y, {.eps = 0.5}).item() > 0.1);
  CHECK(energy_distance(x, x).item() == Approx(0).margin(1e-12));
  CHECK(energy_distance(x, y).item() == Approx(energy_distance(y, x).item()));
  CHECK(mmd_loss(x, x).item() == Approx(0).margin(1e-12));
  double expected = 0;
  const auto k = [](const Double& a, const Double& b, double s) { return std::exp(-sum(square(a - b)).item() / (2 * s * s)); };
  for (int64_t i = 0; i < 6; ++i)
    for (int64_t j = 0; j < 6; ++j) expected += i == j ? 0 : (k(x(i), x(j), 0.5) + k(x(i), x(j), 2)) / 30;
  for (int64_t i = 0; i < 5; ++i)
    for (int64_t j = 0; j < 5; ++j) expected += i == j ? 0 : (k(y(i), y(j), 0.5) + k(y(i), y(j), 2)) / 20;
  for (int64_t i = 0; i < 6; ++i)
    for (int64_t j = 0; j < 5; ++j) expected -= 2 * (k(x(i), y(j), 0.5) + k(x(i), y(j), 2)) / 30;
  CHECK(mmd_loss(x, y, {0.5, 2}, true).item() == Approx(expected));
  const check::List both{x, y};
  check::gradients([](const check::List& l) { return mmd_loss(l[0], l[1], {0.5, 2}); }, both);
  check::gradients([](const check::List& l) { return energy_distance(l[0], l[1]); }, both);
  gradcheck([](const check::List& l) { return sinkhorn_divergence(l[0], l[1], {.eps = 0.5, .tol = 1e-15}); },
            check::List{narrow(x, 0, 0, 3), narrow(y, 0, 0, 3)});
}
