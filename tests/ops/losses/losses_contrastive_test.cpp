// Losses of representations, of policies and of preferences, against their formulas in plain loops.
#include <gradus/ops/losses/contrastive.hpp>
#include <gradus/ops/losses/preference.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

namespace {
const Double a = check::uniform({4, 3}, -1, 1, 2), b = check::uniform({4, 3}, -1, 1, 3);
const check::List both{a, b};
constexpr auto none = Reduction::none;

double cosine(const Double& u, const Double& v) { return sum(u * v).item() / std::sqrt(sum(u * u).item() * sum(v * v).item()); }
/// -log(e^{s_k} / sum_j e^{s_j}), j != skip
double nll(const std::vector<double>& s, std::size_t k, std::size_t skip = 1000) {
  double total = 0;
  for (std::size_t j = 0; j < s.size(); ++j) total += j == skip ? 0 : std::exp(s[j]);
  return std::log(total) - s[k];
}
}  // namespace

TEST_CASE("InfoNCE, NT-Xent, supervised contrastive, CLIP, SigLIP") {
  double nce = 0, back = 0, sig = 0;
  for (int64_t i = 0; i < 4; ++i) {
    std::vector<double> row, column;
    for (int64_t j = 0; j < 4; ++j) {
      row.push_back(cosine(a(i), b(j)) / 0.2), column.push_back(cosine(a(j), b(i)) / 0.2);
      const double z = cosine(a(i), b(j)) * 3 - 1;
      sig += std::log1p(std::exp(i == j ? -z : z)) / 4;
    }
    nce += nll(row, static_cast<std::size_t>(i)) / 4, back += nll(column, static_cast<std::size_t>(i)) / 4;
  }
  CHECK(info_nce_loss(a, b, 0.2).item() == Approx(nce));
  const auto log_scale = full<double>(Shape{}, std::log(5.0));
  CHECK(clip_loss(a, b, log_scale).item() == Approx((nce + back) / 2));
  CHECK(siglip_loss(a, b, full<double>(Shape{}, std::log(3.0)), full<double>(Shape{}, -1.0)).item() == Approx(sig));
  const auto z = cat(std::vector<Double>{a, b}, 0);
  double xent = 0, sup = 0;
  const Tensor<int64_t> labels{0, 1, 0, 2, 0, 1, 0, 5};  // 2 and 5 have no partner
  double anchors = 0;
  for (int64_t i = 0; i < 8; ++i) {
    std::vector<double> s, t;
    for (int64_t j = 0; j < 8; ++j) s.push_back(cosine(z(i), z(j)) / 0.5), t.push_back(cosine(z(i), z(j)) / 0.3);
    xent += nll(s, static_cast<std::size_t>((i + 4) % 8), static_cast<std::size_t>(i)) / 8;
    double mine = 0, count = 0;
    for (int64_t j = 0; j < 8; ++j)
      if (j != i && labels.to_vector()[static_cast<std::size_t>(j)] == labels.to_vector()[static_cast<std::size_t>(i)])
        mine += nll(t, static_cast<std::size_t>(j), static_cast<std::size_t>(i)), count += 1;
    if (count > 0) sup += mine / count, anchors += 1;
  }
  CHECK(nt_xent_loss(a, b, 0.5).item() == Approx(xent));
  CHECK(sup_con_loss(z, labels, 0.3).item() == Approx(sup / anchors));
  CHECK(anchors == 6);
  check::gradients([](const check::List& l) { return info_nce_loss(l[0], l[1], 0.3); }, both);
  check::gradients([](const check::List& l) { return nt_xent_loss(l[0], l[1]); }, both);
  check::gradients([&](const Double& v) { return sup_con_loss(v, labels, 0.5); }, z);
  check::gradients([](const check::List& l) { return clip_loss(l[0], l[1], l[2]); },
                   check::List{a, b, full<double>(Shape{}, 0.5)});
  check::gradients([](const check::List& l) { return siglip_loss(l[0], l[1], l[2], l[3]); },
                   check::List{a, b, full<double>(Shape{}, 0.5), full<double>(Shape{}, -0.5)});
  CHECK(check::missing(check::error_of([] {
                         clip_loss(a, ones<double>({4, 2}), ones<double>(Shape{}));
                       }),
                       {"clip_loss", "float64 cpu [4, 3]", "float64 cpu [4, 2]", "losses_contrastive_test.cpp"}) == "");
}

TEST_CASE("Barlow twins and VICReg: equal decorrelated views cost nothing") {
  const auto h = from_vector<double>({1, 1, 1, -1, -1, 1, -1, -1}, {4, 2});  // orthogonal features of variance 1
  CHECK(barlow_twins_loss(h, h).item() == Approx(0).margin(1e-9));
  CHECK(barlow_twins_loss(h, h * -1).item() == Approx(8).epsilon(1e-4));
  CHECK(vicreg_loss(h * 2, h * 2).item() == Approx(0).margin(1e-9));
  const auto flat = ones<double>({4, 2});
  CHECK(vicreg_loss(flat, flat).item() == Approx(25 * (1 - 0.01)));  // collapsed: only the variance term
  const auto c = a - mean(a, 0, true), d = b - mean(b, 0, true);
  double expected = 25 * mean(square(a - b)).item();
  for (const auto& v : {c, d}) {
    const auto cov = matmul(v.t(), v) / 3;
    for (int64_t i = 0; i < 3; ++i) {
      expected += 25.0 / 2 / 3 * std::max(0.0, 1 - std::sqrt(cov(i, i).item() + 1e-4));
      for (int64_t j = 0; j < 3; ++j) expected += i == j ? 0 : std::pow(cov(i, j).item(), 2) / 3;
    }
  }
  CHECK(vicreg_loss(a, b).item() == Approx(expected));
  check::gradients([](const check::List& l) { return barlow_twins_loss(l[0], l[1]); }, both);
  check::gradients([](const check::List& l) { return vicreg_loss(l[0], l[1]); }, both);
}

TEST_CASE("BYOL, DINO and JEPA: no gradient reaches the teacher") {
  double byol = 0;
  for (int64_t i = 0; i < 4; ++i) byol += (2 - 2 * cosine(a(i), b(i))) / 4;
  CHECK(byol_loss(a, b).item() == Approx(byol));
  const auto centre = mean(b, 0);
  CHECK(dino_loss(a, b, centre, 0.2, 0.1).item() ==
        Approx(-mean(sum(softmax((b - centre) * 10, -1) * log_softmax(a * 5, -1), -1)).item()));
  CHECK(check::difference(dino_centre(zeros<double>({3}), b, 0.9), centre * 0.1) == "");
  CHECK(jepa_loss(a, b).item() == Approx(mean(square(a - b)).item()));
  CHECK(jepa_loss(a, b, 1).item() == Approx(mean(abs(a - b)).item()));
  const auto student = check::leaf(a), teacher = check::leaf(b);
  for (const auto& loss : {byol_loss(student, teacher), dino_loss(student, teacher, centre), jepa_loss(student, teacher)}) {
    const auto g = grad(check::List{loss}, check::List{student, teacher}, {.allow_unused = true});
    CHECK(g[0].defined());
    CHECK_FALSE(g[1].defined());
  }
  check::gradients([](const Double& v) { return byol_loss(v, b); }, a);
  check::gradients([&](const Double& v) { return dino_loss(v, b, centre, 0.5, 0.5); }, a);
  check::gradients([](const Double& v) { return jepa_loss(v, b); }, a);
}

TEST_CASE("policies: REINFORCE, PPO, GRPO") {
  const auto logp = from_vector<double>({-1, -2, -0.5, -1.5}), old = from_vector<double>({-1.5, -1.9, -0.6, -0.9}),
             A = from_vector<double>({1, 2, -1, -2});
  CHECK(reinforce_loss(logp, A, 0.5).item() == Approx(-(-1 * 0.5 - 2 * 1.5 + 0.5 * 1.5 + 1.5 * 2.5) / 4));
  std::vector<double> expected;
  for (std::size_t i = 0; i < 4; ++i) {
    const double r = std::exp(logp.to_vector()[i] - old.to_vector()[i]), v = A.to_vector()[i];
    expected.push_back(-std::min(r * v, std::clamp(r, 0.8, 1.2) * v));
  }
  CHECK(check::difference(ppo_loss(logp, old, A, 0.2, none), from_vector(expected)) == "");
  check::gradients([&](const Double& v) { return ppo_loss(v, old, A); }, logp);
  const auto rewards = from_vector<double>({1, 0, 0, 1, 3, 3}, {2, 3});
  const auto adv = group_advantages(rewards, 0).to_vector();
  CHECK(adv[0] == Approx((1 - 1.0 / 3) / std::sqrt(1.0 / 3)));
  CHECK(adv[0] + adv[1] + adv[2] == Approx(0).margin(1e-12));
  const auto lp = check::uniform({2, 3}, -2, 0, 5), olp = check::uniform({2, 3}, -2, 0, 6),
             ref = check::uniform({2, 3}, -2, 0, 7);
  const auto mask = cast<bool>(from_vector<double>({1, 1, 0, 1, 1, 1}, {2, 3}));
  const auto advantage = from_vector<double>({0.7, -1.2});
  std::vector<double> token;
  for (std::size_t i = 0; i < 6; ++i) {
    const double r = std::exp(lp.to_vector()[i] - olp.to_vector()[i]), v = advantage.to_vector()[i / 3],
                 d = ref.to_vector()[i] - lp.to_vector()[i];
    token.push_back(-std::min(r * v, std::clamp(r, 0.8, 1.2) * v) + 0.04 * (std::exp(d) - d - 1));
  }
  CHECK(grpo_loss(lp, olp, ref, advantage, mask).item() ==
        Approx(((token[0] + token[1]) / 2 + (token[3] + token[4] + token[5]) / 3) / 2));
  CHECK(grpo_loss(lp, olp, ref, advantage, mask, {.mean_of_answers = false}).item() ==
        Approx((token[0] + token[1] + token[3] + token[4] + token[5]) / 5));
  check::gradients([&](const Double& v) { return grpo_loss(v, olp, ref, advantage, mask); }, lp);
}

TEST_CASE("preferences: DPO and its kin by their formulas, and their gradients") {
  const auto c = from_vector<double>({-5, -9}), r = from_vector<double>({-7, -4}), rc = from_vector<double>({-6, -8}),
             rr = from_vector<double>({-6.5, -5});
  const auto s = [](double v) { return 1 / (1 + std::exp(-v)); };
  const double h[] = {1 + 0.5, -1 - 1};
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(dpo_loss(c, r, rc, rr, 0.5, 0.1, none).to_vector()[i] ==
          Approx(-0.9 * std::log(s(0.5 * h[i])) - 0.1 * std::log(s(-0.5 * h[i]))));
    CHECK(ipo_loss(c, r, rc, rr, 0.2, none).to_vector()[i] == Approx(std::pow(h[i] - 2.5, 2)));
    const double mc = c.to_vector()[i] / 10, mr = r.to_vector()[i] / 10;
    const double odds = std::log(std::exp(mc) / (1 - std::exp(mc))) - std::log(std::exp(mr) / (1 - std::exp(mr)));
    CHECK(orpo_loss(c * 0.1, r * 0.1, 0.3, none).to_vector()[i] == Approx(-mc - 0.3 * std::log(s(odds))));
    CHECK(simpo_loss(c, r, 2, 1, none).to_vector()[i] == Approx(-std::log(s(2 * (c.to_vector()[i] - r.to_vector()[i]) - 1))));
    CHECK(cpo_loss(c, r, 0.1, 0.5, none).to_vector()[i] ==
          Approx(-std::log(s(0.1 * (c.to_vector()[i] - r.to_vector()[i]))) - 0.5 * c.to_vector()[i]));
    CHECK(npo_loss(c, rc, 0.5, none).to_vector()[i] ==
          Approx(4 * std::log1p(std::exp(0.5 * (c.to_vector()[i] - rc.to_vector()[i])))));
  }
  CHECK(dpo_loss(c, r, c, r).item() == Approx(std::log(2.0)));  // the reference itself
  const auto good = cast<bool>(from_vector<double>({1, 0}));
  const auto kto =
      kto_loss(c, rc, good, full<double>({1}, 0.3), {.beta = 0.5, .undesirable = 2, .reduction = none}).to_vector();
  CHECK(kto[0] == Approx(1 - s(0.5 * (1 - 0.3))));
  CHECK(kto[1] == Approx(2 * (1 - s(0.5 * (0.3 + 1)))));
  const check::List four{c, r, rc, rr}, pair{c * 0.1, r * 0.1};
  check::gradients([](const check::List& l) { return dpo_loss(l[0], l[1], l[2], l[3], 0.3, 0.1); }, four);
  check::gradients([](const check::List& l) { return ipo_loss(l[0], l[1], l[2], l[3]); }, four);
  check::gradients([](const check::List& l) { return orpo_loss(l[0], l[1]); }, pair);
  check::gradients([](const check::List& l) { return simpo_loss(l[0], l[1]); }, pair);
  check::gradients([](const check::List& l) { return cpo_loss(l[0], l[1]); }, pair);
  check::gradients([](const check::List& l) { return npo_loss(l[0], l[1]); }, pair);
  check::gradients([&](const check::List& l) { return kto_loss(l[0], l[1], good, full<double>({1}, 0.3)); }, pair);
  const auto logits = check::uniform({2, 3, 4});
  const Tensor<int64_t> tokens{{1, 0, 3}, {2, 2, 0}};
  const auto mask = cast<bool>(from_vector<double>({1, 1, 0, 1, 0, 0}, {2, 3}));
  const auto lp = log_softmax(logits, -1);
  CHECK(sequence_logp(logits, tokens, mask).to_vector()[0] == Approx(lp(0, 0, 1).item() + lp(0, 1, 0).item()));
  CHECK(sequence_logp(logits, tokens, mask, true).to_vector()[0] == Approx((lp(0, 0, 1).item() + lp(0, 1, 0).item()) / 2));
  CHECK(sequence_logp(logits, tokens).to_vector()[1] == Approx(lp(1, 0, 2).item() + lp(1, 1, 2).item() + lp(1, 2, 0).item()));
  CHECK(check::missing(check::error_of([&] { dpo_loss(c, ones<double>({3}), rc, rr); }),
                       {"dpo_loss", "chosen", "rejected", "float64 cpu [3]"}) == "");
}
