// unstack, the inverse of stack.
#include <gradus/ops/unstack.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::List;

TEST_CASE("unstack undoes stack") {
  const auto x = check::uniform({2, 3, 4});
  for (int dim : {0, 1, -1}) CHECK(check::difference(stack(unstack(x, dim), dim), x, 0, 0) == "");
  check::gradients([](const Tensor<double>& v) { return unstack(v, 1); }, x);
  check::gradients(
      [](const Tensor<double>& v) {  // parts that nobody uses count as zeros
        const auto p = unstack(transpose(v, 0, 2), 1);
        return p[2] * p[2] * p[0];
      },
      x);
  CHECK(unstack(zeros<double>({0, 3}), 0).empty());
  CHECK(check::contains(check::error_of([&] { unstack(x, 3); }), "no such dimension"));
}
