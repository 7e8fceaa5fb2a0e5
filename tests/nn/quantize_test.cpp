// Finite scalar quantisation, vector quantisation.
#include <gradus/nn/init.hpp>
#include <gradus/nn/quantize.hpp>
#include <gradus/ops/sort.hpp>

#include "support/check.hpp"

using namespace gradus;

TEST_CASE("codes of FSQ and their indices are the same thing") {
  nn::Fsq<double> fsq({8, 5, 3});
  CHECK(fsq.codes() == 120);
  const auto index = arange<int64_t>(0, 120);
  const auto code = fsq.code(index);
  CHECK(fsq.index(code).to_vector() == index.to_vector());
  CHECK(amin(code).item() == -1);
  CHECK(check::difference(unique(code(all, 0)).values, Tensor<double>{-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75}, 0, 0) == "");
  CHECK(check::difference(unique(code(all, 1)).values, Tensor<double>{-1, -0.5, 0, 0.5, 1}, 0, 0) == "");
  // All codes occur for wide z, none other; 0 goes to 0.
  manual_seed(1);
  const auto z = normal<double>({40000, 3}, 0, 2), c = fsq(z);
  CHECK(unique(fsq.index(c)).values.numel() == 120);
  CHECK(check::difference(fsq.code(fsq.index(c)), c, 0, 0) == "");
  CHECK(amax(abs(fsq(zeros<double>({1, 3})))).item() == 0);
}

TEST_CASE("FSQ's gradient is that of the bound") {
  nn::Fsq<double> fsq({8, 5, 3});
  const auto z = check::leaf(check::uniform({4, 3}, -2, 2)), w = check::uniform({4, 3}, -1, 1, 2);
  sum(fsq(z) * w).backward();
  const auto v = check::leaf(z);
  sum(fsq.bound(v) / Tensor<double>{4., 2, 1} * w).backward();
  CHECK(check::difference(z.grad(), v.grad()) == "");
  check::gradients([&](const Tensor<double>& x) { return fsq.bound(x); }, check::uniform({4, 3}, -2, 2));
  const double half = 7 * 1.001 / 2, shift = std::atanh(0.5 / half);
  CHECK(fsq.bound(Tensor<double>{{0.3, 0, 0}})(0, 0).item() == Approx(std::tanh(0.3 + shift) * half - 0.5));
  CHECK(check::contains(check::error_of([&] { fsq(check::uniform({2, 2})); }), "z [..., 3]"));
  CHECK(check::contains(check::error_of([] { nn::Fsq<double>({4, 1}); }), "at least 2 levels"));
}

TEST_CASE("vector quantiser: nearest rows, losses, straight-through") {
  manual_seed(2);
  nn::VectorQuantizer<double> vq(5, 3);
  nn::init::normal(vq.table, 0, 1);
  const auto z = check::leaf(check::uniform({2, 4, 3}, -2, 2));
  const auto r = vq(z);
  const auto flat = gradus::reshape(z.detach(), {8, 3});
  const auto distance = sum(square(unsqueeze(flat, 1) - vq.table.detach()), {2});
  CHECK(r.index.to_vector() == argmin(distance, 1).to_vector());
  const auto e = vq.table(r.index).detach();
  CHECK(check::difference(r.codes, e, 0, 0) == "");
  CHECK(r.loss.item() == Approx(1.25 * mean(square(z.detach() - e)).item()));
  const auto w = check::uniform({2, 4, 3}, -1, 1, 5);
  (sum(r.codes * w) + r.loss).backward();
  CHECK(check::difference(z.grad(), w + (z.detach() - e) * (0.25 * 2 / 24)) == "");  // straight through, and the commitment
  auto expected = zeros<double>({5, 3});
  expected = index_add(expected, 0, gradus::reshape(r.index, {8}), gradus::reshape((e - z.detach()) * (2.0 / 24), {8, 3}));
  CHECK(check::difference(vq.table.grad(), expected) == "");
  CHECK(check::contains(check::error_of([&] { vq(check::uniform({2, 2})); }), "do not match the table"));
}

TEST_CASE("a table of running means finds the clusters") {
  manual_seed(3);
  nn::VectorQuantizer<double> vq(2, 2, {.decay = 0.9});
  const Tensor<double> centre{{3, 0}, {-2, 1}};
  for (int i = 0; i < 200; ++i) {
    const auto pick = randint(0, 2, {32});
    vq(centre(pick) + randn<double>({32, 2}) * 0.05);
  }
  const auto found = sort(vq.table, 0).values;
  CHECK(check::difference(found, Tensor<double>{{-2, 0}, {3, 1}}, 0, 0.05) == "");
  CHECK(nn::parameters(vq).empty());
  CHECK(nn::state_dict(vq).size() == 3);
  nn::eval(vq);
  const auto before = vq.table.clone();
  vq(centre);
  CHECK(vq.table.to_vector() == before.to_vector());
  CHECK(nn::perplexity(Tensor<int64_t>{0, 1, 0, 1}, 4) == Approx(2));
}
