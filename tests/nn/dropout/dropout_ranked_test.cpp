// Sensitive-neuron dropout, ranked units, adversarial masks; multi-sample dropout and R-Drop.
#include <gradus/nn/dropout/ranked.hpp>
#include <gradus/nn/dropout/training.hpp>
#include <gradus/ops/matmul.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

TEST_CASE("sensitive neurons: V by brute force, exact zeros, lifted again") {
  nn::SensitiveNeuronDropout<double> d(0.25, 3);
  std::vector<std::vector<double>> e;
  for (uint64_t t = 0; t < 5; ++t) {
    const auto x = check::uniform({3, 8}, -1, 1, 20 + t);
    e.push_back(x.to_vector());
    d.record(x);
  }
  std::vector<double> V(8, 0);
  for (std::size_t text = 0; text < 3; ++text)
    for (std::size_t i = 0; i < 8; ++i) {
      const double a = e[2][text * 8 + i], b = e[3][text * 8 + i], c = e[4][text * 8 + i], m = (a + b + c) / 3;
      V[i] += ((a - m) * (a - m) + (b - m) * (b - m) + (c - m) * (c - m)) / 3 * (std::fabs(b - a) + std::fabs(c - b)) / 3;
    }
  CHECK(check::difference(d.sensitivity(), from_vector(V)) == "");
  const auto S = d.select().to_vector();
  REQUIRE(S.size() == 2);
  for (std::size_t i = 0; i < 8; ++i)
    if (static_cast<int64_t>(i) != S[0] && static_cast<int64_t>(i) != S[1])
      CHECK((V[i] <= V[static_cast<std::size_t>(S[0])] && V[i] <= V[static_cast<std::size_t>(S[1])]));
  const auto h = check::leaf(check::uniform({5, 8}, 1, 2));
  const auto y = d(h);
  sum(y).backward();
  for (std::size_t k = 0; k < 40; ++k) {
    const auto unit = static_cast<int64_t>(k % 8);
    const bool dropped = unit == S[0] || unit == S[1];
    CHECK(y.to_vector()[k] == (dropped ? 0 : h.to_vector()[k]));  // no rescaling
    CHECK(h.grad().to_vector()[k] == (dropped ? 0 : 1));
  }
  d.training = false;
  CHECK(d(h).is_same(h));
  d.in_evaluation = true;
  CHECK(check::difference(d(h), y) == "");
  d.lift();
  CHECK(d(h).is_same(h));
  const auto states = check::uniform({4, 3});
  CHECK(check::difference(d.sentence_embedding(states), (mean(states, 0) + states(3)) * 0.5) == "");
  nn::SensitiveNeuronDropout<double> young(0.25, 3);
  CHECK(check::missing(check::error_of([&] { young.select(); }),
                       {"too few checkpoints", "0", "3 of them", "dropout_ranked_test.cpp"}) == "");
}

TEST_CASE("PyramidDrop: counts of the paper, the best tokens in their order") {
  const nn::PyramidDrop d;
  for (const int64_t V : {576, 2880}) {
    const std::vector<int64_t> expected{V, V / 2, V / 4, V / 8};
    for (int64_t s = 0; s < 4; ++s) CHECK(d.count(V, s) == expected[static_cast<std::size_t>(s)]);
  }
  CHECK(nn::PyramidDrop{4, 0.5}.count(65, 1) == 32);  // rounded down
  const auto scores = from_vector<double>({0.9, 0.1, 0.5, 0.3, 0.5, 0.8, 0.9, 0.2, 0.2, 0.2, 0.2, 0.0}, {2, 6});
  const auto kept = d.positions(scores, 1, 4, 2);
  CHECK(kept.to_vector() == std::vector<int64_t>{0, 2, 4, 5, 0, 1, 2, 5});  // ties: the lower index
  const auto x = check::leaf(check::uniform({2, 6, 3}));
  const auto y = d.at_positions(x, kept);
  CHECK(y.shape() == Shape{2, 4, 3});
  CHECK(check::difference(y(0, 1), x(0, 2)) == "");
  sum(y).backward();
  CHECK(sum(x.grad()).item() == 24);
  const auto q = check::uniform({1, 2, 4}), k = check::uniform({1, 2, 5, 4}, -1, 1, 2);
  const auto s = d.scores(q, k, cast<bool>(from_vector<double>({1, 1, 0, 1, 1}, {1, 5}))).to_vector();
  CHECK(s[2] == 0);
  CHECK(s[0] + s[1] + s[3] + s[4] == Approx(1));
  std::vector<double> e(5, 0);
  double total = 0;
  for (const int64_t t : {0, 1, 3, 4}) total += e[static_cast<std::size_t>(t)] = std::exp(sum(q(0, 0) * k(0, 0, t)).item() / 2);
  double other = 0, first = 0;
  for (const int64_t t : {0, 1, 3, 4}) other += std::exp(sum(q(0, 1) * k(0, 1, t)).item() / 2);
  first = std::exp(sum(q(0, 1) * k(0, 1, 0)).item() / 2);
  CHECK(s[0] == Approx((e[0] / total + first / other) / 2));
}

TEST_CASE("ranked dropout touches the largest units only; jumpout draws its rate") {
  manual_seed(2);
  const nn::RankedDropout r(0.5, 0.25);
  const auto x = from_vector<double>({4, 9, 1, 2, -1, 3, 0, 5}, {2, 4});
  double dropped = 0;
  for (int i = 0; i < 600; ++i) {
    const auto y = r(x).to_vector();
    for (const std::size_t k : {0u, 2u, 3u, 4u, 5u, 6u}) CHECK(y[k] == x.to_vector()[k]);
    dropped += (y[1] == 0) + (y[7] == 0);
  }
  CHECK(std::fabs(dropped / 1200 - 0.5) < 5 * 0.5 / std::sqrt(1200.0));
  const nn::JumpDropout jump(0.2, 0.3);
  double lowest = 1, highest = 0;
  for (int i = 0; i < 200; ++i) {
    const double rate = 1 - 1 / amax(jump(ones<double>({200}))).item();
    lowest = std::min(lowest, rate), highest = std::max(highest, rate);
  }
  CHECK(highest == Approx(0.3));
  CHECK(lowest < 0.05);
}

TEST_CASE("an adversarial mask raises the loss most within its budget") {
  manual_seed(3);
  const auto h = check::uniform({3, 10}), w = check::uniform({10}, -1, 1, 4);
  const auto loss = [&](const Double& x) { return sum(x * w); };  // linear: the first order is exact
  const auto start = generator();
  const auto m = nn::adversarial_mask(h, 0.5, 0.2, loss);
  generator() = start;
  const auto before = cast<double>(keep(generator().draw(), h.shape(), Shape{}, 0.5));
  const auto flips = sum(abs(m - before), 1).to_vector();
  for (const double f : flips) CHECK((f >= 1 && f <= 2));
  // The best two flips of each row, by trying all.
  const auto hv = h.to_vector(), wv = w.to_vector(), mv = before.to_vector();
  double best = loss(h * before).item();
  for (std::size_t row = 0; row < 3; ++row) {
    std::vector<double> gain;
    for (std::size_t i = 0; i < 10; ++i) gain.push_back((1 - 2 * mv[row * 10 + i]) * hv[row * 10 + i] * wv[i]);
    std::sort(gain.rbegin(), gain.rend());
    best += std::max(0.0, gain[0]) + std::max(0.0, gain[1]);
  }
  CHECK(loss(h * m).item() == Approx(best));
}

TEST_CASE("multi-sample dropout: a mean of losses over independent masks, one mask is plain dropout") {
  manual_seed(4);
  const auto h = check::uniform({5, 6}), w = check::uniform({3, 6}, -1, 1, 3);
  const Tensor<int64_t> y{0, 1, 2, 0, 1};
  const auto head = [&](const Double& a) { return linear(a, w); };
  const auto ce = [](const Double& o, const Tensor<int64_t>& t) { return cross_entropy(o, t); };
  const auto start = generator();
  nn::MultiSampleDropout four(0.5, 4), one(0.5, 1);
  const double together = four.loss(h, y, head, ce).item();
  generator() = start;
  const auto copies = four.copies(h);
  double apart = 0;
  for (int64_t m = 0; m < 4; ++m) apart += cross_entropy(head(narrow(copies, 0, 5 * m, 5)), y).item() / 4;
  CHECK(together == Approx(apart));
  CHECK(narrow(copies, 0, 0, 5).to_vector() != narrow(copies, 0, 5, 5).to_vector());
  generator() = start;
  const double single = one.loss(h, y, head, ce).item();
  generator() = start;
  CHECK(single == cross_entropy(head(dropout(h, 0.5)), y).item());
  four.training = false;
  CHECK(four.loss(h, y, head, ce).item() == cross_entropy(head(h), y).item());
  check::gradients(
      [&](const Double& h) {
        manual_seed(5);
        return nn::MultiSampleDropout(0.5, 3).loss(h, y, head, ce);
      },
      h);
}

TEST_CASE("R-Drop: its formula, and equal passes cost nothing more") {
  const auto a = check::uniform({3, 4}), b = check::uniform({3, 4}, -1, 1, 2);
  const Tensor<int64_t> y{0, 3, 1};
  const auto pa = softmax(a, 1), pb = softmax(b, 1);
  const double kl = (sum(pa * log(pa / pb)).item() + sum(pb * log(pb / pa)).item()) / 3;
  CHECK(nn::r_drop_loss(a, b, y, 0.7).item() == Approx(cross_entropy(a, y).item() + cross_entropy(b, y).item() + 0.35 * kl));
  CHECK(nn::r_drop_loss(a, a, y, 5).item() == Approx(2 * cross_entropy(a, y).item()));
  check::gradients([&](const check::List& l) { return nn::r_drop_loss(l[0], l[1], y, 0.7); }, check::List{a, b});
}
