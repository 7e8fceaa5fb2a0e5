// Dropout in sequences: locked and variational masks, zoneout, tokens, words, patches, time steps, sources, conditions.
#include <numeric>

#include <gradus/nn/dropout/nested.hpp>
#include <gradus/nn/dropout/sequence.hpp>
#include <gradus/ops/matmul.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

namespace {
/// |share - p| in standard errors.
double errors(double share, double p, int64_t n) {
  return std::fabs(share - p) / std::sqrt(p * (1 - p) / static_cast<double>(n));
}
double zeros_in(const Double& x) { return mean(cast<double>(x == 0)).item(); }
}  // namespace

TEST_CASE("locked dropout: one mask at all times") {
  manual_seed(1);
  const auto y = nn::LockedDropout(0.4)(ones<double>({30, 9, 40}));
  CHECK(check::difference(expand(narrow(y, 1, 0, 1), y.shape()), y) == "");
  CHECK(errors(zeros_in(y), 0.4, 30 * 40) < 5);
  CHECK(amax(y).item() == Approx(1 / 0.6));
  const auto z = nn::LockedDropout(0.4, 0)(ones<double>({9, 30, 40}));
  CHECK(check::difference(expand(narrow(z, 0, 0, 1), z.shape()), z) == "");
}

TEST_CASE("variational dropout: one mask until reset") {
  manual_seed(2);
  nn::VariationalDropout d(0.5, -1);
  const auto x = ones<double>({4, 20, 3});
  const auto a = d(x), b = d(x);
  CHECK(check::difference(a, b) == "");
  CHECK(check::difference(expand(narrow(a, 2, 0, 1), a.shape()), a) == "");
  d.reset();
  CHECK(d(x).to_vector() != a.to_vector());
}

TEST_CASE("zoneout and recurrent dropout") {
  manual_seed(3);
  nn::Zoneout z(0.3);
  const auto before = full<double>({50000}, 2.0), now = full<double>({50000}, 5.0);
  const auto h = z.forward(before, now);
  CHECK(errors(mean(cast<double>(h == 2.0)).item(), 0.3, 50000) < 5);
  CHECK(errors(mean(cast<double>(h == 5.0)).item(), 0.7, 50000) < 5);
  z.training = false;
  CHECK(check::difference(z.forward(before, now), full<double>({50000}, 0.3 * 2 + 0.7 * 5)) == "");
  check::gradients(
      [](const check::List& l) {
        manual_seed(4);
        return nn::Zoneout(0.3).forward(l[0], l[1]) * l[0];
      },
      check::List{check::uniform({6}), check::uniform({6}, -1, 1, 2)});
  CHECK(std::fabs(mean(nn::RecurrentDropout(0.25)(ones<double>({40000}))).item() - 1) < 5 * std::sqrt(1.0 / 3 / 40000));
}

TEST_CASE("words, tokens, and rows of the table") {
  manual_seed(5);
  const Tensor<int64_t> tokens = randint(1, 50, {200, 40});
  const auto y = nn::WordDropout(0.2, 0).forward(tokens);
  CHECK(errors(mean(cast<double>(y == 0)).item(), 0.2, 8000) < 5);
  CHECK(all_of(logical_or(y == 0, equal(y, tokens))).item());
  const Tensor<int64_t> padded{{7, 1, 1}, {1, 1, 7}};
  const auto kept = nn::WordDropout(1.0, 0, 1).forward(padded);  // padding stays
  CHECK(kept.to_vector() == std::vector<int64_t>{0, 1, 1, 1, 1, 0});
  const auto t = nn::TokenDropout(0.25)(ones<double>({50, 60, 3}));
  CHECK(check::difference(expand(narrow(t, 2, 0, 1), t.shape()), t) == "");
  CHECK(errors(zeros_in(t), 0.25, 3000) < 5);
  CHECK(amax(t).item() == Approx(1 / 0.75));
  const auto table = ones<double>({50, 4});
  const auto e = nn::EmbeddingDropout(0.5).forward(table, tokens);  // equal words, equal fate
  std::vector<double> fate(50, -1);
  const auto ids = tokens.to_vector();
  const auto values = e.to_vector();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    double& f = fate[static_cast<std::size_t>(ids[i])];
    if (f < 0) f = values[4 * i];
    CHECK((values[4 * i] == f && values[4 * i + 3] == f));
  }
  CHECK((std::count(fate.begin(), fate.end(), 0.0) > 5 && std::count(fate.begin(), fate.end(), 2.0) > 5));
  check::gradients(
      [](const Double& table) {
        manual_seed(6);
        return nn::EmbeddingDropout(0.5).forward(table, Tensor<int64_t>{0, 2, 2, 1}) * 2;
      },
      check::uniform({3, 2}));
}

TEST_CASE("ESM's token dropout scales by what was seen in training") {
  const Tensor<int64_t> tokens{{9, 1, 2, 3}, {9, 9, 1, 9}};
  const auto y = nn::mask_token_dropout(ones<double>({2, 4, 2}), tokens, 9);
  const double a = 0.88 / 0.75, b = 0.88 / 0.25;
  CHECK(check::difference(select(y, 2, 1), from_vector<double>({0, a, a, a, 0, 0, b, 0}, {2, 4})) == "");
}

TEST_CASE("patch dropout keeps an ordered subset, another for each sample") {
  manual_seed(7);
  const nn::PatchDropout d(0.6, 1);
  CHECK(d.count(11) == 5);
  const auto index = d.chosen<Cpu>(300, 11);
  std::vector<double> seen(11, 0);
  const auto rows = index.to_vector();
  for (std::size_t b = 0; b < 300; ++b)
    for (std::size_t j = 0; j < 5; ++j) {
      const auto at = rows[5 * b + j];
      seen[static_cast<std::size_t>(at)] += 1;
      CHECK((j == 0 ? at == 0 : at > rows[5 * b + j - 1]));
    }
  for (std::size_t k = 1; k < 11; ++k) CHECK(errors(seen[k] / 300, 0.4, 300) < 5);
  const auto x = check::leaf(check::uniform({2, 11, 3}));
  const auto y = d(x);
  CHECK(y.shape() == Shape{2, 5, 3});
  sum(y).backward();
  CHECK(sum(x.grad()).item() == 30);
  auto off = d;
  off.training = false;
  CHECK(off(x).is_same(x));
}

TEST_CASE("temporal dropout: whole steps, no rescaling") {
  manual_seed(8);
  nn::TemporalDropout d(0.3);
  const auto y = d(ones<double>({100, 24, 5}));
  CHECK(check::difference(expand(narrow(y, 2, 0, 1), y.shape()), y) == "");
  CHECK(amax(y).item() == 1);
  CHECK(errors(zeros_in(y), 0.3, 2400) < 5);
  CHECK(amax(nn::TemporalDropout(0.3, true)(ones<double>({10, 24, 5}))).item() == Approx(1 / 0.7));
  d.training = false, d.monte_carlo = true;  // random at inference alone
  CHECK(zeros_in(d(ones<double>({10, 24, 5}))) > 0);
}

TEST_CASE("modality dropout never drops all sources") {
  manual_seed(9);
  const nn::ModalityDropout d(0.7);
  const auto kept = cast<double>(d.chosen<Cpu>(20000, 3));
  CHECK(amin(sum(kept, 1)).item() == 1);
  const double all_lost = 0.343, expected = 0.3 + all_lost / 3;  // the survivor is drawn evenly
  CHECK(errors(mean(kept).item(), expected, 60000) < 6);
  const auto y = nn::ModalityDropout(0.7, true).forward(std::vector<Double>{ones<double>({9, 2}), ones<double>({9, 4, 2})});
  const auto a = y[0].to_vector(), b = y[1].to_vector();
  for (std::size_t i = 0; i < 9; ++i) CHECK(a[2 * i] + b[8 * i] == 2);  // scaled by sources / kept
}

TEST_CASE("condition dropout puts the learnt null in place of a sample's condition") {
  manual_seed(10);
  nn::ConditionDropout<double> d({2, 3}, 0.3);
  const auto c = full<double>({3000, 2, 3}, 9.0);
  const auto y = d(c);
  const auto kept = cast<double>(y.detach() == 9.0);
  CHECK(check::difference(expand(amax(kept, {1, 2}, true), kept.shape()), kept) == "");
  CHECK(errors(1 - mean(kept).item(), 0.3, 3000) < 5);
  sum(y).backward();
  CHECK(d.null.grad().to_vector()[0] == Approx(3000 * (1 - mean(kept).item())));
  CHECK(check::difference(d.unconditional(c)(5), d.null) == "");
  d.training = false;
  CHECK(d(c).is_same(c));
  CHECK(check::missing(check::error_of([&] {
                         d(ones<double>({4, 3}));
                       }),
                       {"ConditionDropout", "[4, 3]", "[2, 3]", "dropout_sequence_test.cpp"}) == "");
}

TEST_CASE("SpecAugment and cutoff: widths and places") {
  manual_seed(11);
  nn::SpecAugment s;
  s.frequency_masks = 1, s.time_masks = 0, s.F0 = 4;
  const auto y = s.forward(ones<double>({5000, 10, 6}));
  CHECK(check::difference(expand(narrow(y, 2, 0, 1), y.shape()), y) == "");
  const auto width = sum(1.0 - select(y, 2, 0), 1);
  CHECK(amax(width).item() == 4);
  CHECK(amin(width).item() == 0);
  CHECK(std::fabs(mean(width).item() - 2) < 5 * std::sqrt(2.0 / 5000));
  s.time_masks = 2, s.T0 = 100, s.share = 0.5, s.frequency_masks = 0;
  CHECK(amax(sum(1.0 - select(s.forward(ones<double>({500, 3, 8})), 1, 0), 1)).item() <= 8);
  const auto count = [](nn::Cutoff::Kind kind) { return sum(1.0 - nn::Cutoff(kind, 0.3)(ones<double>({7, 10, 20})), {1, 2}); };
  CHECK(check::difference(count(nn::Cutoff::Kind::token), full<double>({7}, 3 * 20)) == "");
  CHECK(check::difference(count(nn::Cutoff::Kind::feature), full<double>({7}, 6 * 10)) == "");
  CHECK(check::difference(count(nn::Cutoff::Kind::span), full<double>({7}, 3 * 20)) == "");
  const auto span = select(nn::Cutoff(nn::Cutoff::Kind::span, 0.3)(ones<double>({50, 10, 2})), 2, 0);
  CHECK(amax(sum(abs(narrow(span, 1, 1, 9) - narrow(span, 1, 0, 9)), 1)).item() <= 2);  // one run of zeros
}

TEST_CASE("nested dropout: the laws of k") {
  using nn::PrefixLaw;
  const int64_t n = 60000, N = 8;
  std::vector<std::vector<double>> laws;
  for (const auto& law : {PrefixLaw::uniform(), PrefixLaw::pow2(), PrefixLaw::uniform_pow2(), PrefixLaw::geometric(0.6),
                          PrefixLaw::gaussian(3)}) {
    manual_seed(12);
    nn::NestedDropout<double> d(N, law);
    d.per_sample = true;
    const auto y = d(ones<double>({n, N}));
    CHECK(all_of(narrow(y, 1, 1, N - 1) <= narrow(y, 1, 0, N - 1)).item());  // a prefix
    CHECK((amax(y).item() == 1 && amin(select(y, 1, 0)).item() == 1));       // no rescaling, never empty
    const auto k = sum(y, 1);
    const auto p = law.probabilities(N);
    laws.push_back(p);
    double chi2 = 0;
    int cells = 0;
    for (int64_t j = 1; j <= N; ++j) {
      const double e = p[static_cast<std::size_t>(j - 1)] * static_cast<double>(n),
                   o = sum(cast<double>(k == static_cast<double>(j))).item();
      if (e == 0) CHECK(o == 0);
      else chi2 += (o - e) * (o - e) / e, ++cells;
    }
    CHECK(chi2 < cells - 1 + 5 * std::sqrt(2.0 * cells));
  }
  CHECK(laws[1] == std::vector<double>{0.25, 0.25, 0, 0.25, 0, 0, 0, 0.25});
  CHECK(laws[2] == std::vector<double>{0.125, 0.125, 0, 0.25, 0, 0, 0, 0.5});  // P(1) = P(2) = 1/N, P(2^m) = 2^(m-1)/N
  CHECK(laws[4][5] / laws[4][2] == Approx(std::exp(-(36.0 - 9.0) / 9)));       // exp(-(k / sigma)^2), no factor 2
  CHECK(laws[3][3] / laws[3][2] == Approx(0.6));
}

TEST_CASE("nested dropout: one k a batch, prefixes in evaluation, learnt fill") {
  manual_seed(13);
  nn::NestedDropout<double> d(6, nn::PrefixLaw::uniform());
  const auto y = d(ones<double>({50, 6}));
  CHECK(check::difference(expand(narrow(y, 0, 0, 1), y.shape()), y) == "");
  d.training = false;
  const auto x = check::uniform({3, 6});
  CHECK(d(x).is_same(x));
  d.keep = 2;
  CHECK(check::difference(d(x), where(arange<double>(6) < 2.0, x, 0.0)) == "");
  auto tokens = nn::NestedDropout<double>::tokens(5, 4, nn::PrefixLaw::pow2());
  const auto c = check::leaf(check::uniform({40, 5, 4}));
  const auto t = tokens(c);
  const auto k = sum(cast<double>(select(t, 2, 0).detach() == select(c, 2, 0).detach()), 1).to_vector();
  const auto values = t.to_vector(), inputs = c.to_vector(), fill = tokens.fill.to_vector();
  for (std::size_t b = 0; b < 40; ++b)
    for (std::size_t j = 0; j < 5; ++j)
      for (std::size_t i = 0; i < 4; ++i)
        CHECK(values[(b * 5 + j) * 4 + i] == (static_cast<double>(j) < k[b] ? inputs[(b * 5 + j) * 4 + i] : fill[i]));
  sum(t).backward();
  CHECK(tokens.fill.grad().to_vector()[0] == Approx(40 * 5 - std::accumulate(k.begin(), k.end(), 0.0)));
  CHECK(check::difference(sum(c.grad(), {1, 2}), from_vector(k) * 4) == "");
  CHECK(check::difference(tokens.first(c, 5), c) == "");
  check::gradients(
      [](const check::List& l) {
        manual_seed(14);
        auto n = nn::NestedDropout<double>::tokens(3, 2, nn::PrefixLaw::uniform());
        n.fill = l[1];
        return n(l[0]) * l[1];
      },
      check::List{check::uniform({4, 3, 2}), check::uniform({2}, -1, 1, 2)});
  Masks masks;
  manual_seed(15);
  const auto first = track_dropout_mask(masks, [&] { return tokens(c); });
  CHECK(check::difference(use_dropout_mask(masks, [&] { return tokens(c); }), first) == "");
  CHECK(check::missing(check::error_of([&] {
                         tokens(ones<double>({2, 4, 4}));
                       }),
                       {"NestedDropout", "5 units", "[2, 4, 4]"}) == "");
  for (int i = 0; i < 100; ++i) {
    const auto s = nn::draw_size({8, 16, 160});
    CHECK((s == 8 || s == 16 || s == 160));
  }
}

TEST_CASE("nested dropout: a linear layer of every prefix, and a length shared by layers") {
  const auto h = check::uniform({3, 5}), W = check::uniform({2, 5}, -1, 1, 2);
  const auto y = nn::prefix_linear(h, W);
  CHECK(y.shape() == Shape{3, 5, 2});
  const nn::NestedDropout<double> d(5, nn::PrefixLaw::gaussian(2));
  for (int64_t k = 1; k <= 5; ++k)
    CHECK(check::difference(select(y, 1, k - 1), matmul(d.first(h, k), transpose(W, 0, 1))) == "");
  check::gradients([](const check::List& l) { return nn::prefix_linear(l[0], l[1]); }, check::List{h, W});
  CHECK(check::missing(check::error_of([&] {
                         nn::prefix_linear(h, check::uniform({2, 4}));
                       }),
                       {"prefix_linear", "[3, 5]", "[2, 4]"}) == "");
  // draw() takes the next stream, as forward() does, and gives the length that forward() would.
  for (uint64_t seed = 0; seed < 20; ++seed) {
    manual_seed(seed);
    const auto k = d.draw();
    manual_seed(seed);
    CHECK(sum(d(ones<double>({1, 5}))).item() == static_cast<double>(k));
  }
#if GRADUS_WITH_CUDA
  CHECK(check::difference(nn::prefix_linear(h.to<Cuda>(), W.to<Cuda>()).to<Cpu>(), y) == "");
#endif
}
