// The masking primitive: rates, shared axes, rates for each element, streams, recorded and replayed masks, errors.
#include <gradus/ops/dropout.hpp>
#include <gradus/ops/functional.hpp>
#include <gradus/ops/index.hpp>
#include <gradus/ops/matmul.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;

namespace {
const RandomStream stream{11, 4};
double share(const Tensor<bool>& m) { return mean(cast<double>(m)).item(); }
/// |observed - expected| in standard errors of a share of n draws.
double errors(double observed, double p, int64_t n) {
  return std::fabs(observed - p) / std::sqrt(p * (1 - p) / static_cast<double>(n));
}
}  // namespace

TEST_CASE("keep: the rate, and one fate along shared axes") {
  for (const double p : {0.1, 0.5, 0.9}) {
    const auto m = keep(stream, {40, 50, 60}, Shape{}, p);
    CHECK(errors(share(m), 1 - p, m.numel()) < 5);
    const auto rows = keep(stream, {40000, 7}, -1, p);
    CHECK(rows.shape() == Shape{40000, 1});
    CHECK(errors(share(rows), 1 - p, 40000) < 5);
  }
  CHECK(share(keep(stream, {1000}, Shape{}, 0)) == 1);
  CHECK(share(keep(stream, {1000}, Shape{}, 1)) == 0);
  CHECK(keep(stream, {0, 3}, Shape{}, 0.5).numel() == 0);
}

TEST_CASE("keep: equal probabilities for each element give the mask of one probability") {
  for (const double p : {0.0, 0.3, 0.7, 1.0}) {
    const auto one = keep(stream, {33, 5}, Shape{}, p);
    CHECK(keep(stream, {33, 5}, Shape{}, full<double>({5}, p)).to_vector() == one.to_vector());
    CHECK(keep(stream, {33, 5}, Shape{}, full<double>({33, 1}, p)).to_vector() == one.to_vector());
  }
  const auto p = from_vector<double>({0.0, 0.2, 0.6, 1.0});
  const auto m = cast<double>(keep(stream, {50000, 4}, Shape{}, p));
  const auto rate = mean(m, 0).to_vector();
  CHECK(rate[0] == 1);
  CHECK(errors(rate[1], 0.8, 50000) < 5);
  CHECK(errors(rate[2], 0.4, 50000) < 5);
  CHECK(rate[3] == 0);
}

TEST_CASE("drop: kept, dropped, and a dropped NaN") {
  const auto x = check::uniform({50, 4}, 1, 2);
  const auto m = keep(stream, x.shape(), -1, 0.4);
  const auto y = drop(x, Bernoulli{0.4, {-1}}, {2, 0.5, -7}, stream);
  CHECK(check::difference(y, where(expand(m, x.shape()), x * 2 + 0.5, -7.0)) == "");
  CHECK(check::difference(drop(x, Bernoulli{0.4}, {1 / 0.6}, stream), dropout(x, 0.4, stream)) == "");  // the fused kernel
  const auto nan = full<double>({200}, std::nan(""));
  const auto kept = keep(stream, {200}, Shape{}, 0.5).to_vector();
  const auto z = drop(nan, Bernoulli{0.5}, {2, 0, 3}, stream).to_vector();
  for (std::size_t i = 0; i < z.size(); ++i) CHECK((kept[i] ? z[i] != z[i] : z[i] == 3));
  const Double t = transpose(check::uniform({3, 8}), 0, 1);  // a view
  CHECK(check::difference(drop(t, Bernoulli{0.4, {0}}, {2, 1, 3}, stream),
                          drop(contiguous(t), Bernoulli{0.4, {0}}, {2, 1, 3}, stream)) == "");
}

TEST_CASE("16-bit floats are scaled in float") {
  const auto x = full<bf16>({4096}, 1);
  const auto y = drop(x, Bernoulli{0.1, {}}, {1 / 0.9, 0, 0}, stream).to_vector();
  const auto z = drop(gradus::reshape(x, {64, 64}), Bernoulli{0.5, {1}}, {2, 0, 0}, stream).to_vector();
  for (const bf16 v : y) CHECK((static_cast<float>(v) == 0 || static_cast<float>(v) == static_cast<float>(bf16(1 / 0.9f))));
  for (const bf16 v : z) CHECK((static_cast<float>(v) == 0 || static_cast<float>(v) == 2));
}

TEST_CASE("gradients of drop, noise and given masks, with the mask fixed") {
  const auto x = check::uniform({4, 5});
  check::gradients([](const Double& x) { return drop(x, Bernoulli{0.4, {0}}, {1.7, 0.3, -2}, stream) * x; }, x);
  check::gradients(
      [](const Double& x) {
        manual_seed(2);
        return dropout(x, full<double>({5}, 0.4)) * x;
      },
      x);
  check::gradients([](const Double& x) { return noise(x, NormalFactor{1, 0.5, {1}}, stream) * x; }, x);
  check::gradients([](const Double& x) { return noise(x, UniformFactor{0, 2}, stream) * x; }, x);
  check::gradients(
      [](const check::List& l) {
        return drop_with(l[0], l[1], {1.5, 0.2, -1});
      },
      check::List{x, check::uniform({4, 1}, 0, 1, 2)});
}

TEST_CASE("dropout with probabilities for each element keeps the expectation") {
  manual_seed(3);
  const auto p = from_vector<double>({0.2, 0.5, 0.9, 1.0});
  const auto y = mean(dropout(ones<double>({60000, 4}), p), 0).to_vector();
  for (int i = 0; i < 3; ++i) {
    const double q = p.to_vector()[static_cast<std::size_t>(i)];
    CHECK(std::fabs(y[static_cast<std::size_t>(i)] - 1) < 5 * std::sqrt(q / (1 - q) / 60000));
  }
  CHECK(y[3] == 0);
  CHECK(dropout(p, p, false).is_same(p));
}

TEST_CASE("probabilities overwritten between the passes are noticed") {
  auto p = full<double>({5}, 0.5);
  const auto x = check::leaf(ones<double>({5}));
  const auto y = dropout(x, p);
  p.fill_(0.1);
  CHECK(check::missing(check::error_of([&] { sum(y).backward(); }), {"overwritten", "float64 cpu [5]", "mask_test.cpp"}) == "");
}

TEST_CASE("masks are taken down as sampled, and used again") {
  manual_seed(5);
  const auto x = relu(check::uniform({6, 8}));  // zeros that are not dropped
  Masks masks;
  const auto net = [](const Double& x) { return shared_dropout(gaussian_dropout(dropout(x, 0.5), 0.2), 0.3, -1); };
  const auto y = track_dropout_mask(masks, [&] { return net(x); });
  REQUIRE(masks.size() == 3);
  CHECK(masks[2].shape() == Shape{6, 1});
  const auto m = masks[0].as<double, Cpu>(), f = masks[1].as<double, Cpu>(), r = masks[2].as<double, Cpu>();
  CHECK(check::difference(x * m * 2 * f * r * (1 / 0.7), y) == "");
  CHECK(check::difference(use_dropout_mask(masks, [&] { return net(x); }), y) == "");
  CHECK(sum(m).item() != sum(cast<double>(y != 0)).item());
  const Masks given{check::uniform({6, 8}, 0, 1, 5)};  // relaxed masks, with a gradient
  check::gradients(
      [](const check::List& l) { return use_dropout_mask({l[1]}, [&] { return tanh(dropout(l[0], 0.5)) * l[0]; }); },
      check::List{check::uniform({6, 8}), given[0].as<double, Cpu>()});
  CHECK(check::missing(check::error_of([&] { use_dropout_mask(given, [&] { return net(x); }); }),
                       {"more masks", "mask_test.cpp"}) == "");
  CHECK(check::missing(check::error_of([&] {
                         use_dropout_mask({given[0], given[0]}, [&] { return dropout(x, 0.5); });
                       }),
                       {"left over", "2", "1"}) == "");
  CHECK(check::missing(check::error_of([&] { use_dropout_mask({ones<double>({7})}, [&] { return dropout(x, 0.5); }); }),
                       {"use_dropout_mask", "does not fit", "float64 cpu [6, 8]", "float64 cpu [7]"}) == "");
}

TEST_CASE("a gradient can be differentiated with respect to the masks of its forward pass") {
  manual_seed(6);
  const auto w = check::uniform({3, 4}), x = check::uniform({2, 3}, -1, 1, 2);
  const auto squared_gradient = [&](const check::List& l) {  // |dL/dw|^2 as a function of input and mask
    const auto leaf = check::leaf(w);
    const auto loss = use_dropout_mask({l[1]}, [&] { return sum(tanh(dropout(matmul(l[0], leaf), 0.5))); });
    return sum(square(grad(check::List{loss}, check::List{leaf}, {.create_graph = true})[0]));
  };
  gradcheck(squared_gradient, check::List{x, check::uniform({2, 4}, 0, 1, 3)});
}

TEST_CASE("checkpoint uses the given masks again") {
  const auto mask = from_vector<double>({1, 0, 0.5});
  const auto x = check::leaf(from_vector<double>({1, 2, 3}));
  const auto y = use_dropout_mask({mask}, [&] { return checkpoint([](const Double& v) { return dropout(v * v, 0.5); }, x); });
  sum(y).backward();
  CHECK(check::difference(x.grad(), from_vector<double>({4, 0, 6})) == "");
  Masks taken;
  const auto z = track_dropout_mask(taken, [&] {
    const auto r = checkpoint([](const Double& v) { return dropout(v * v, 0.5); }, x);
    sum(r).backward();
    return r;
  });
  CHECK(taken.size() == 1);  // the second run takes nothing down
}

TEST_CASE("errors of masks name what was given") {
  CHECK(check::missing(check::error_of([] {
                         keep(stream, {2, 3}, 2, 0.5);
                       }),
                       {"keep", "[2, 3]", "[-2, 2)", "mask_test.cpp"}) == "");
  CHECK(check::missing(check::error_of([] { keep(stream, {2, 3}, Shape{}, 1.5); }), {"keep", "1.5", "0 <= p <= 1"}) == "");
  CHECK(check::missing(check::error_of([] {
                         keep(stream, {2, 3}, Shape{}, ones<double>({4}));
                       }),
                       {"float64 cpu [4]", "[2, 3]"}) == "");
}
