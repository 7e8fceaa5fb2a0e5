// The gradient checker: passes right gradients, reports wrong and missing ones.
#include <gradus/ops/matmul.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::List;

namespace {
/// y = x^2 whose backward forgets the factor 2.
struct WrongSquareNode final : Node {
  Saved<double, Cpu> x{this, "x"};
  void backward(const AnyTensor& g) override { accumulate(0, mul(g.as<double, Cpu>(), x.get(), at)); }
};
Double wrong_square(const Double& x, Where at = Where::current()) {
  Double y = no_grad([&] { return square(x, at); });
  if (x.requires_grad()) detail::record<WrongSquareNode>(y, at, x).x = x;
  return y;
}
/// y = x^2; dx = 2 x dy, but the backward hides from a recorded backward that it depends on x.
struct OnceNode final : Node {
  Saved<double, Cpu> x{this, "x"};
  void backward(const AnyTensor& g) override { accumulate(0, mul(g.as<double, Cpu>(), mul(x.get().detach(), 2, at), at)); }
};
Double once(const Double& x, Where at = Where::current()) {
  Double y = no_grad([&] { return square(x, at); });
  if (x.requires_grad()) detail::record<OnceNode>(y, at, x).x = x;
  return y;
}
}  // namespace

TEST_CASE("gradcheck passes right gradients") {
  const auto a = check::uniform({3, 4}), b = check::uniform({4, 2}, -1, 1, 2);
  gradcheck([](const auto& x) { return tanh(matmul(x[0], x[1])); }, List{a, b});
  gradgradcheck([](const auto& x) { return tanh(matmul(x[0], x[1])); }, List{a, b});
  gradcheck([](const auto& x) { return exp(x); }, a);
  gradgradcheck([](const auto& x) { return exp(x); }, a);
}

TEST_CASE("gradcheck takes functions with several results and unused arguments") {
  const auto a = check::uniform({3}), b = check::uniform({3}, -1, 1, 2);
  const auto f = [](const List& x) { return List{x[0] * x[1], sin(x[0])}; };
  gradcheck(f, List{a, b});
  gradgradcheck(f, List{a, b});
  const auto unused = [](const List& x) { return x[0] * 3; };
  gradcheck(unused, List{a, b});
  gradgradcheck(unused, List{a, b});
}

TEST_CASE("gradcheck names function, argument, index and both values of a wrong gradient") {
  const auto x = check::uniform({2, 3}, 0.5, 1);
  const std::string text =
      check::error_of([&] { gradcheck([](const auto& v) { return wrong_square(v); }, x, {.name = "wrong", .seed = 7}); });
  CHECK(check::missing(text, {"gradus: gradcheck(wrong): the gradient differs from finite differences",
                              "argument  0 of 1, float64 cpu [2, 3]", "index     [0, 0]", "analytic  ", "numeric   ",
                              "seed      7", "at most", "gradcheck_test.cpp:"}) == "");
}

TEST_CASE("gradcheck reports a missing gradient") {
  const auto x = check::uniform({2}, 0.5, 1);
  const std::string text = check::error_of([&] { gradcheck([](const auto& v) { return v.detach() * 2; }, x); });
  CHECK(check::contains(text, "f has no gradient for this argument"));
}

TEST_CASE("gradgradcheck reports a second derivative that is lost") {
  const auto x = check::uniform({2}, 0.5, 1);
  gradcheck([](const auto& v) { return once(v); }, x);
  CHECK(check::contains(check::error_of([&] { gradgradcheck([](const auto& v) { return once(v); }, x); }),
                        "gradus: gradgradcheck(f)"));
}

TEST_CASE("gradcheck leaves its inputs alone") {
  const auto x = check::uniform({4});
  const auto before = x.to_vector();
  gradcheck([](const auto& v) { return sin(v); }, x);
  CHECK(x.to_vector() == before);
  CHECK(!x.requires_grad());
  CHECK(!x.grad().defined());
}
