// Regression, divergences, margins: values by their formulas in plain loops, limits, gradients, error texts.
#include <gradus/ops/losses/divergence.hpp>
#include <gradus/ops/losses/margin.hpp>
#include <gradus/ops/losses/regression.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

namespace {
/// f(x_i, t_i) for all i.
template <class F>
Double each(F f, const Double& x, const Double& t) {
  std::vector<double> y;
  const auto a = x.to_vector(), b = t.to_vector();
  for (std::size_t i = 0; i < a.size(); ++i) y.push_back(f(a[i], b[i]));
  return from_vector(y, x.shape());
}
const Double x = check::uniform({3, 4}, -2, 2, 3), t = check::uniform({3, 4}, -2, 2, 4);
const Double signs = from_vector<double>({1, -1, 1, -1, -1, 1, 1, 1, -1, 1, -1, -1}, {3, 4});
constexpr auto none = Reduction::none;

/// Value against a formula, the three reductions, first and second derivatives in x and t.
template <class Loss, class Formula>
void loss_is(Loss loss, Formula f, const Double& a, const Double& b, bool target_has_gradient = true) {
  const auto per = each(f, a, b);
  CHECK(check::difference(loss(a, b, none), per) == "");
  CHECK(loss(a, b, Reduction::mean).item() == Approx(mean(per).item()));
  CHECK(loss(a, b, Reduction::sum).item() == Approx(sum(per).item()));
  if (target_has_gradient) check::gradients([&](const check::List& l) { return loss(l[0], l[1], none); }, check::List{a, b});
  else check::gradients([&](const Double& v) { return loss(v, b, none); }, a);
}
}  // namespace

TEST_CASE("regression losses are their formulas") {
  loss_is([](auto a, auto b, auto r) { return mse_loss(a, b, r); }, [](double a, double b) { return (a - b) * (a - b); }, x, t);
  loss_is([](auto a, auto b, auto r) { return l1_loss(a, b, r); }, [](double a, double b) { return std::fabs(a - b); }, x, t);
  loss_is([](auto a, auto b, auto r) { return huber_loss(a, b, 0.7, r); },
          [](double a, double b) {
            const double d = std::fabs(a - b);
            return d <= 0.7 ? d * d / 2 : 0.7 * (d - 0.35);
          },
          x, t);
  loss_is([](auto a, auto b, auto r) { return smooth_l1_loss(a, b, 0.7, r); },
          [](double a, double b) {
            const double d = std::fabs(a - b);
            return d < 0.7 ? d * d / 1.4 : d - 0.35;
          },
          x, t);
  loss_is([](auto a, auto b, auto r) { return log_cosh_loss(a, b, r); },
          [](double a, double b) { return std::log(std::cosh(a - b)); }, x, t);
  loss_is([](auto a, auto b, auto r) { return quantile_loss(a, b, 0.3, r); },
          [](double a, double b) { return std::max(0.3 * (b - a), -0.7 * (b - a)); }, x, t);
  CHECK(smooth_l1_loss(x, t, 0).item() == l1_loss(x, t).item());
  CHECK(log_cosh_loss(full<double>({1}, 2000.0), full<double>({1}, -2000.0)).item() == Approx(4000 - std::log(2.0)));
  CHECK(log_cosh_loss(full<double>({1}, -2000.0), full<double>({1}, 2000.0)).item() == Approx(4000 - std::log(2.0)));
}

TEST_CASE("the pinball loss is least at the quantile") {
  const auto sample = linspace<double>(0, 1, 1001);
  double best = 1e9, at = 0;
  for (double c = 0; c <= 1; c += 0.005) {
    const double loss = quantile_loss(full_like(sample, c), sample, 0.8).item();
    if (loss < best) best = loss, at = c;
  }
  CHECK(at == Approx(0.8).margin(0.006));
}

TEST_CASE("Poisson and Gaussian likelihoods") {
  const auto rate = exp(x), count = floor(exp(t));
  loss_is([](auto a, auto b, auto r) { return poisson_nll_loss(a, b, {.reduction = r}); },
          [](double a, double b) { return std::exp(a) - a * b; }, x, count, false);
  loss_is([](auto a, auto b, auto r) { return poisson_nll_loss(a, b, {.log_input = false, .reduction = r}); },
          [](double a, double b) { return a - b * std::log(a + 1e-8); }, rate, count, false);
  const auto full_loss = poisson_nll_loss(x, full_like(x, 30), {.full = true, .reduction = none}).to_vector();
  for (std::size_t i = 0; i < 12; ++i) {  // Stirling: the whole -log P up to 1 / (12 t)
    const double l = x.to_vector()[i];
    CHECK(full_loss[i] == Approx(std::exp(l) - 30 * l + std::lgamma(31.0)).margin(1.0 / 300));
  }
  const auto v = check::uniform({3, 4}, 0.3, 2, 5);
  const auto g = gaussian_nll_loss(x, t, v, {.full = true, .reduction = none}).to_vector();
  for (std::size_t i = 0; i < 12; ++i) {
    const double d = x.to_vector()[i] - t.to_vector()[i], s2 = v.to_vector()[i];
    CHECK(g[i] == Approx(-std::log(std::exp(-d * d / (2 * s2)) / std::sqrt(2 * 3.14159265358979323846 * s2))));
  }
  check::gradients([](const check::List& l) { return gaussian_nll_loss(l[0], l[1], l[2]); },
                   check::List{x, t, check::uniform({3, 1}, 0.3, 2, 6)});
  CHECK(gaussian_nll_loss(x, x, full_like(x, 0), {.eps = 1e-2}).item() == Approx(0.5 * std::log(1e-2)));
  CHECK(check::missing(check::error_of([] { gaussian_nll_loss(x, t, ones<double>({3})); }),
                       {"gaussian_nll_loss", "[3, 4]", "float64 cpu [3]", "losses_regression_test.cpp"}) == "");
}

TEST_CASE("a prediction [N] against a target [N, 1] is an error, not a broadcast") {
  const auto a = ones<double>({4}), b = ones<double>({4, 1});
  for (const auto& text : {check::error_of([&] { mse_loss(a, b); }), check::error_of([&] { huber_loss(a, b); }),
                           check::error_of([&] { kl_div(a, b); }), check::error_of([&] { hinge_loss(a, b); })})
    CHECK(check::missing(text, {"shapes differ", "float64 cpu [4]", "float64 cpu [4, 1]", "equal shapes",
                                "losses_regression_test.cpp"}) == "");
  CHECK(check::missing(check::error_of([&] { huber_loss(a, a, -1); }), {"huber_loss", "delta > 0", "-1"}) == "");
  CHECK(check::missing(check::error_of([&] { quantile_loss(a, a, 1); }), {"quantile_loss", "0 < q < 1"}) == "");
}

TEST_CASE("divergences of logits: formulas, symmetry, bounds") {
  const auto p = softmax(x, -1), q = softmax(t, -1), m = (p + q) * 0.5;
  const auto kl = [](const Double& a, const Double& b) { return sum(a * log(a / b), -1); };
  CHECK(check::difference(kl_logits(x, t, none), kl(p, q)) == "");
  CHECK(check::difference(reverse_kl_logits(x, t, none), kl(q, p)) == "");
  CHECK(check::difference(js_logits(x, t, none), (kl(p, m) + kl(q, m)) * 0.5) == "");
  CHECK(check::difference(js_logits(x, t, none), js_logits(t, x, none)) == "");
  CHECK(check::difference(tv_logits(x, t, none), sum(abs(p - q), -1) * 0.5) == "");
  const auto a = from_vector<double>({500, -500}), b = from_vector<double>({-500, 500});  // disjoint
  CHECK(js_logits(a, b).item() == Approx(std::log(2.0)));
  CHECK(tv_logits(a, b).item() == Approx(1));
  CHECK(check::difference(distillation_loss(x, t, 3, none), kl(softmax(t / 3, -1), softmax(x / 3, -1)) * 9) == "");
  const auto bernoulli = [](const Double& u, const Double& v) { return sum(u * log(u / v) + (1 - u) * log((1 - u) / (1 - v)), -1); };
  CHECK(check::difference(binary_distillation_loss(x, t, 3, none), bernoulli(sigmoid(t / 3), sigmoid(x / 3)) * 9) == "");
  CHECK(check::difference(binary_distillation_norm_loss(x, t, 3, none), bernoulli(full_like(x, 0.5), sigmoid((x - t) / 3)) * 9) ==
        "");
  const auto far = from_vector<double>({900, -900}, {1, 2}), zero = zeros<double>({1, 2});  // where probabilities are 0 and 1
  CHECK(binary_distillation_loss(far, zero, 1).item() == Approx(2 * (450 - std::log(2.0))));
  CHECK(binary_distillation_norm_loss(far, zero, 1).item() == Approx(2 * (450 - std::log(2.0))));
  const auto of = [](const Double& s, const Double& t, auto loss) {  // the gradient of the sum over rows
    auto leaf = s.clone();
    leaf.requires_grad_();
    return grad(loss(leaf, t, 3, Reduction::sum, Where::current()), leaf);
  };
  const auto plain = of(x, t, binary_distillation_loss<double, Cpu>), norm = of(x, t, binary_distillation_norm_loss<double, Cpu>);
  CHECK(check::difference(plain, 3 * (sigmoid(x / 3) - sigmoid(t / 3))) == "");
  CHECK(check::difference(norm, 3 * (sigmoid((x - t) / 3) - 0.5)) == "");
  CHECK(check::difference(gaussian_kl(zeros<double>({2, 3}), zeros<double>({2, 3}), none), zeros<double>({2})) == "");
  CHECK(gaussian_kl(full<double>({1, 1}, 0.7), full<double>({1, 1}, std::log(0.4))).item() ==
        Approx(0.5 * (0.4 + 0.49 - 1 - std::log(0.4))));
  const check::List both{x, t};
  check::gradients([](const check::List& l) { return kl_logits(l[0], l[1]); }, both);
  check::gradients([](const check::List& l) { return js_logits(l[0], l[1]); }, both);
  check::gradients([](const check::List& l) { return tv_logits(l[0], l[1]); }, both);
  check::gradients([](const check::List& l) { return distillation_loss(l[0], l[1]); }, both);
  check::gradients([](const check::List& l) { return binary_distillation_loss(l[0], l[1]); }, both);
  check::gradients([](const check::List& l) { return binary_distillation_norm_loss(l[0], l[1]); }, both);
  check::gradients([](const check::List& l) { return gaussian_kl(l[0], l[1]); }, both);
  check::gradients([](const check::List& l) { return kl_div(log_softmax(l[0], -1), softmax(l[1], -1)); }, both);
}

TEST_CASE("margin losses are their formulas") {
  loss_is([](auto a, auto b, auto r) { return hinge_loss(a, b, r); },
          [](double a, double b) { return std::max(0.0, 1 - a * b); }, x, signs, false);
  loss_is([](auto a, auto b, auto r) { return squared_hinge_loss(a, b, r); },
          [](double a, double b) { return std::pow(std::max(0.0, 1 - a * b), 2); }, x, signs, false);
  loss_is([](auto a, auto b, auto r) { return soft_margin_loss(a, b, r); },
          [](double a, double b) { return std::log1p(std::exp(-a * b)); }, x, signs, false);
  loss_is([](auto a, auto b, auto r) { return hinge_embedding_loss(a, b, 1.3, r); },
          [](double a, double b) { return b > 0 ? a : std::max(0.0, 1.3 - a); }, x, signs, false);
  CHECK(check::difference(margin_ranking_loss(x, t, signs, 0.5, none), relu(0.5 - signs * (x - t))) == "");
  CHECK(soft_margin_loss(full<double>({1}, -800.0), ones<double>({1})).item() == 800);
  const auto y01 = (signs + 1) * 0.5;
  CHECK(check::difference(multilabel_soft_margin_loss(x, y01, none), mean(soft_margin_loss(x, signs, none), -1)) == "");
}

TEST_CASE("multi-margin, triplet, cosine and contrastive losses") {
  const Tensor<int64_t> y{1, 0, 3};
  const auto w = from_vector<double>({0.5, 2, 1, 3});
  for (const int p : {1, 2}) {
    std::vector<double> expected;
    for (std::size_t n = 0; n < 3; ++n) {
      double total = 0;
      const auto k = static_cast<std::size_t>(y.to_vector()[n]);
      for (std::size_t c = 0; c < 4; ++c)
        if (c != k) total += std::pow(std::max(0.0, 0.8 - x.to_vector()[4 * n + k] + x.to_vector()[4 * n + c]), p);
      expected.push_back(w.to_vector()[k] * total / 4);
    }
    CHECK(check::difference(multi_margin_loss(x, y, {p, 0.8, none}, w), from_vector(expected)) == "");
    check::gradients([&](const Double& v) { return multi_margin_loss(v, y, {p, 0.8}, w); }, x);
  }
  const auto n = check::uniform({3, 4}, -2, 2, 9);
  const auto distance = [](const Double& a, const Double& b) { return sqrt(sum(square(a - b + 1e-6), -1)); };
  CHECK(check::difference(triplet_margin_loss(x, t, n, {.margin = 3, .reduction = none}),
                          relu(distance(x, t) - distance(x, n) + 3.0)) == "");
  CHECK(check::difference(triplet_margin_loss(x, t, n, {.margin = 3, .swap = true, .reduction = none}),
                          relu(distance(x, t) - minimum(distance(x, n), distance(t, n)) + 3.0)) == "");
  check::gradients([](const check::List& l) { return triplet_margin_loss(l[0], l[1], l[2], {.margin = 3, .swap = true}); },
                   check::List{x, t, n});
  const auto s = from_vector<double>({1, -1, -1});
  const auto cosine = sum(x * t, -1) / sqrt(sum(x * x, -1) * sum(t * t, -1));
  CHECK(check::difference(cosine_embedding_loss(x, t, s, -0.4, none), where(s > 0.0, 1.0 - cosine, relu(cosine + 0.4)), 1e-10,
                          1e-10) == "");
  check::gradients([&](const check::List& l) { return cosine_embedding_loss(l[0], l[1], s, -0.4); }, check::List{x, t});
  const auto similar = from_vector<double>({1, 0, 0});
  const auto d = sqrt(sum(square(x - t), -1));
  CHECK(check::difference(contrastive_loss(x, t, similar, 5, none),
                          (similar * square(d) + (1.0 - similar) * square(relu(5.0 - d))) * 0.5) == "");
  check::gradients([&](const check::List& l) { return contrastive_loss(l[0], l[1], similar, 5); }, check::List{x, t});
  CHECK(check::missing(check::error_of([&] {
                         multi_margin_loss(x, Tensor<int64_t>{1, 2});
                       }),
                       {"multi_margin_loss", "[3, 4]", "int64 cpu [2]"}) == "");
}
