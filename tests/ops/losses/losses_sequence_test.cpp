// CTC and the transducer against the sum over all alignments, one by one; derivatives; impossible targets; errors.
#include <gradus/ops/losses/sequence.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

namespace {
/// -log of the summed probability of all C^T paths that collapse to the labels.
double ctc_by_enumeration(const std::vector<double>& logp, int64_t T, int64_t N, int64_t C, int64_t n,
                          const std::vector<int64_t>& labels, int64_t blank) {
  double total = 0;
  std::vector<int64_t> path(static_cast<std::size_t>(T), 0);
  for (;;) {
    std::vector<int64_t> seen;
    double lp = 0;
    for (int64_t t = 0; t < T; ++t) {
      const int64_t c = path[static_cast<std::size_t>(t)];
      lp += logp[static_cast<std::size_t>((t * N + n) * C + c)];
      if (c != blank && (t == 0 || c != path[static_cast<std::size_t>(t - 1)])) seen.push_back(c);
    }
    if (seen == labels) total += std::exp(lp);
    std::size_t i = 0;
    while (i < path.size() && ++path[i] == C) path[i++] = 0;
    if (i == path.size()) break;
  }
  return -std::log(total);
}
/// -log of the summed probability of all interleavings of T blanks and U labels that end with a blank.
double rnnt_by_enumeration(const Double& logp, int64_t n, int64_t T, const std::vector<int64_t>& y, int64_t blank,
                           int64_t t = 0, std::size_t u = 0, double lp = 0) {
  double p = 0;
  const auto at = [&](int64_t c) { return logp(n, t, static_cast<int64_t>(u), c).item(); };
  if (t == T - 1 && u == y.size()) p += std::exp(lp + at(blank));
  else if (t < T - 1) p += rnnt_by_enumeration(logp, n, T, y, blank, t + 1, u, lp + at(blank));
  if (u < y.size()) p += rnnt_by_enumeration(logp, n, T, y, blank, t, u + 1, lp + at(y[u]));
  return p;
}
constexpr auto none = Reduction::none;
}  // namespace

TEST_CASE("CTC is the sum over all paths, for repeats, empty labels and short inputs") {
  const auto logp = log_softmax(check::uniform({5, 4, 3}, -2, 2), -1);
  const Tensor<int64_t> labels{{1, 2, 0}, {2, 2, 0}, {-1, 9, 9}, {1, 1, 2}};  // what follows a length is not read
  const Tensor<int64_t> times{5, 4, 3, 5}, lengths{2, 2, 0, 3};
  const auto loss = ctc_loss(logp, labels, times, lengths, {.reduction = none}).to_vector();
  const std::vector<std::vector<int64_t>> words{{1, 2}, {2, 2}, {}, {1, 1, 2}};
  for (int64_t n = 0; n < 4; ++n)
    CHECK(loss[static_cast<std::size_t>(n)] ==
          Approx(ctc_by_enumeration(logp.to_vector(), times.to_vector()[static_cast<std::size_t>(n)], 4, 3, n,
                                    words[static_cast<std::size_t>(n)], 0)));
  CHECK(ctc_loss(logp, labels, times, lengths).item() == Approx((loss[0] / 2 + loss[1] / 2 + loss[2] + loss[3] / 3) / 4));
  const auto other = ctc_loss(logp, Tensor<int64_t>{{0, 1}, {1, 1}, {0, 0}, {1, 0}}, times, Tensor<int64_t>{2, 1, 0, 2},
                              {.blank = 2, .reduction = none})
                         .to_vector();
  CHECK(other[0] == Approx(ctc_by_enumeration(logp.to_vector(), 5, 4, 3, 0, {0, 1}, 2)));
}

TEST_CASE("CTC derivatives, first by the kernel and second by the composed recursion") {
  const auto x = check::uniform({4, 2, 3}, -1, 1);
  const Tensor<int64_t> labels{{1, 1}, {2, 0}}, times{4, 3}, lengths{2, 1};
  const auto f = [&](const Double& v) { return ctc_loss(log_softmax(v, -1), labels, times, lengths, {.reduction = none}); };
  check::gradients(f, x);
  check::gradients([&](const Double& v) { return ctc_loss(v, labels, times, lengths); }, x);  // not normalised: any numbers
  const auto lp = log_softmax(x, -1), leaf = check::leaf(x);
  f(leaf).backward(ones<double>({2}));
  // Graves et al. eq. 16: the gradient before the softmax is softmax - occupancy; it sums to 0 over classes, and is 0 after the
  // end.
  const auto g = leaf.grad();
  CHECK(check::difference(sum(g, -1), zeros<double>({4, 2}), 0, 1e-12) == "");
  CHECK(check::difference(g(3, 1), zeros<double>({3})) == "");
}

TEST_CASE("CTC in float, of long inputs") {
  const auto x = check::uniform<float>({300, 2, 20}, -3, 3);
  const auto y = cast<int64_t>(check::uniform<double>({2, 60}, 1, 20, 2));
  const Tensor<int64_t> times{300, 250}, lengths{60, 50};
  const double exact = ctc_loss(log_softmax(cast<double>(x), -1), y, times, lengths).item();
  const double single = ctc_loss(log_softmax(x, -1), y, times, lengths).item();
  CHECK(single == Approx(exact).epsilon(1e-5));
  CHECK(exact > 1);
}

TEST_CASE("a target that cannot fit costs infinity, or 0 when asked") {
  const auto x = check::leaf(log_softmax(check::uniform({2, 1, 3}), -1));
  const Tensor<int64_t> labels{{1, 1}}, times{2}, lengths{2};  // 1 blank 1 needs three frames
  CHECK(ctc_loss(x, labels, times, lengths).item() == std::numeric_limits<double>::infinity());
  const auto zero = ctc_loss(x, labels, times, lengths, {.zero_infinity = true});
  CHECK(zero.item() == 0);
  zero.backward();
  CHECK(check::difference(x.grad(), zeros<double>({2, 1, 3})) == "");
}

TEST_CASE("the transducer is the sum over all interleavings") {
  const auto logp = log_softmax(check::uniform({3, 4, 3, 4}, -2, 2), -1);
  const Tensor<int64_t> labels{{1, 2}, {3, 3}, {1, 9}}, times{4, 3, 2}, lengths{2, 2, 0};
  const auto loss = rnnt_loss(logp, labels, times, lengths, 0, none).to_vector();
  const std::vector<std::vector<int64_t>> words{{1, 2}, {3, 3}, {}};
  for (std::size_t n = 0; n < 3; ++n)
    CHECK(loss[n] == Approx(-std::log(rnnt_by_enumeration(logp, static_cast<int64_t>(n), times.to_vector()[n], words[n], 0))));
  CHECK(rnnt_loss(logp, Tensor<int64_t>{{0, 1}, {1, 1}, {2, 2}}, times, lengths, 3, none).to_vector()[0] ==
        Approx(-std::log(rnnt_by_enumeration(logp, 0, 4, {0, 1}, 3))));
}

TEST_CASE("transducer derivatives") {
  const auto x = check::uniform({2, 3, 3, 3}, -1, 1);
  const Tensor<int64_t> labels{{1, 2}, {2, 0}}, times{3, 2}, lengths{2, 1};
  check::gradients([&](const Double& v) { return rnnt_loss(log_softmax(v, -1), labels, times, lengths, 0, none); }, x);
  check::gradients(
      [](const Double& v) {
        return rnnt_loss(v, Tensor<int64_t>(Shape{1, 0}), Tensor<int64_t>{3}, Tensor<int64_t>{0});
      },
      check::uniform({1, 3, 1, 2}));
}

TEST_CASE("errors of alignment losses") {
  const auto x = log_softmax(check::uniform({5, 2, 3}), -1);
  const Tensor<int64_t> labels{{1, 2}, {2, 5}}, times{5, 4}, two{2, 2}, one{2, 1};
  CHECK(ctc_loss(x, labels, times, one).numel() == 1);
  CHECK(check::missing(check::error_of([&] { ctc_loss(x, labels, times, two); }),
                       {"ctc_loss", "a label is not a class", "[1, 1] is 5", "[0, 3)", "losses_sequence_test.cpp"}) == "");
  CHECK(check::missing(check::error_of([&] {
                         ctc_loss(x, labels, Tensor<int64_t>{5, 6}, one);
                       }),
                       {"input_lengths", "element 1 is 6", "[1, 5]"}) == "");
  CHECK(check::missing(check::error_of([&] { ctc_loss(x, labels, times, Tensor<int64_t>{2}); }),
                       {"label_lengths", "int64 cpu [1]", "shape [2]"}) == "");
  CHECK(check::missing(check::error_of([&] { ctc_loss(x, labels, times, one, {.blank = 3}); }),
                       {"the blank is not a class", "3"}) == "");
  CHECK(check::missing(check::error_of([&] { rnnt_loss(x, labels, times, one); }),
                       {"rnnt_loss", "float64 cpu [5, 2, 3]", "[N, T, U + 1, C]"}) == "");
}
