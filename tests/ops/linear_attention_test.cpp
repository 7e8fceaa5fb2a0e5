// Efficient and linear attention against the T x S weights that they never form.
#include <gradus/ops/extra.hpp>
#include <gradus/ops/linear_attention.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::List;

TEST_CASE("efficient and linear attention are weighted means") {
  const auto q = check::uniform({2, 5, 3}, -2, 2), k = check::uniform({2, 5, 3}, -2, 2, 2),
             v = check::uniform({2, 5, 4}, -1, 1, 3);
  const auto kt = [](const Tensor<double>& x) { return transpose(x, -1, -2); };
  const auto weights = matmul(softmax(q, -1), kt(softmax(k, -2)));
  CHECK(check::difference(efficient_attention(q, k, v), matmul(weights, v)) == "");
  CHECK(check::difference(sum(weights, {-1}), ones<double>({2, 5})) == "");
  const auto w = matmul(elu(q) + 1.0, kt(elu(k) + 1.0));
  CHECK(check::difference(linear_attention(q, k, v), matmul(w / sum(w, {-1}, true), v)) == "");
  const auto c = tril(w);
  CHECK(check::difference(linear_attention(q, k, v, true), matmul(c / sum(c, {-1}, true), v)) == "");
  const List x{check::uniform({1, 3, 2}), check::uniform({1, 3, 2}, -1, 1, 2), check::uniform({1, 3, 2}, -1, 1, 3)};
  check::gradients([](const List& a) { return linear_attention(a[0], a[1], a[2], true); }, x);
  check::gradients([](const List& a) { return efficient_attention(a[0], a[1], a[2]); }, x);
  CHECK(check::missing(check::error_of([&] { linear_attention(narrow(q, 1, 0, 2), k, v, true); }), {"causal", "T = S"}) == "");
  CHECK(check::contains(check::error_of([&] { efficient_attention(v, k, v); }), "do not match"));
}
