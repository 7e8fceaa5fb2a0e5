// vjp, jvp, hvp, jacobian, hessian against closed forms; checkpoint against the plain run; a user's own operator.
#include <gradus.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::List;

TEST_CASE("jacobian, vjp and jvp of an element-wise function are diagonal") {
  const Double x{0.3, -1.2, 2.0}, v{1., 2, 3};
  const auto f = [](const Double& t) { return t * t * t; };
  const Double d = square(x) * 3;
  CHECK(check::difference(jacobian(f, x), diag_embed(d)) == "");
  CHECK(check::difference(vjp(f, x, v), d * v) == "");
  CHECK(check::difference(jvp(f, x, v), d * v) == "");
}

TEST_CASE("jvp and vjp of a matrix product are products with the matrix and its transpose") {
  const Double a = check::uniform({3, 4}), x = check::uniform({4}, -1, 1, 2), v = check::uniform({4}, -1, 1, 3), u = check::uniform({3}, -1, 1, 4);
  const auto f = [&](const Double& t) { return matmul(a, t); };
  CHECK(check::difference(jvp(f, x, v), matmul(a, v)) == "");
  CHECK(check::difference(vjp(f, x, u), matmul(a.t(), u)) == "");
  CHECK(check::difference(jacobian(f, x), a) == "");
}

TEST_CASE("hessian of a quadratic form is A + A^T, hvp its product") {
  const Double a = check::uniform({4, 4}), x = check::uniform({4}, -1, 1, 2), v = check::uniform({4}, -1, 1, 3);
  const auto f = [&](const Double& t) { return dot(t, matmul(a, t)); };
  const Double h = a + a.t();
  CHECK(check::difference(hessian(f, x), h) == "");
  CHECK(check::difference(hvp(f, x, v), matmul(h, v)) == "");
  CHECK(check::difference(hvp([](const Double& t) { return sum(t); }, x, v), zeros<double>({4})) == "");
}

TEST_CASE("checkpoint gives the gradients of the plain run, with the same random masks") {
  const Double x = check::leaf(check::uniform({5, 4})), w = check::leaf(check::uniform({4, 4}, -1, 1, 2));
  const auto block = [&](const Double& t) { return dropout(tanh(matmul(t, w)), 0.5); };
  manual_seed(3);
  sum(square(checkpoint(block, x * 2))).backward();
  const Double gx = x.grad().clone(), gw = w.grad().clone();
  x.zero_grad(), w.zero_grad();
  manual_seed(3);
  sum(square(block(x * 2))).backward();
  CHECK(check::difference(gx, x.grad()) == "");
  CHECK(check::difference(gw, w.grad()) == "");
  CHECK(check::missing(check::error_of([&] { checkpoint(block, x.detach()); }), {"checkpoint", "does not require gradients", "float64 cpu [5, 4]"}) == "");
}

// [user op]
/// y = x^3, with its own backward.
struct CubeNode final : Node {
  Saved<double, Cpu> x{this, "x"};
  void backward(const AnyTensor& dy) override { accumulate(0, dy.as<double, Cpu>() * square(x.get()) * 3); }
};
Double cube(const Double& x, Where at = Where::current()) {
  Double y(x.shape(), at);
  for (int64_t i = 0; i < x.numel(); ++i) y.data()[i] = x.data()[i] * x.data()[i] * x.data()[i];
  if (detail::wants_grad(x)) detail::record<CubeNode>(y, at, x).x = x;
  return y;
}
// [user op]

TEST_CASE("a user's operator is checked like any other, and is named in errors") {
  check::gradients([](const Double& x) { return cube(x); }, check::uniform({2, 3}));
  const Double x = check::leaf(check::uniform({2}));
  const Double h = x * 1, y = sum(cube(h));
  no_grad([&] { Double(h).fill_(0); });
  CHECK(check::missing(check::error_of([&] { y.backward(); }), {"CubeNode::backward", "saved     x float64 cpu [2]", "functional_test.cpp"}) == "");
}

TEST_CASE("a gradient of the wrong shape names the operator that sent it") {
  struct WrongNode final : Node {
    void backward(const AnyTensor&) override { accumulate(0, ones<double>({7})); }
  };
  const Double x = check::leaf(check::uniform({2}));
  Double y = x.detach().clone();
  detail::record<WrongNode>(y, Where::current(), x);
  CHECK(check::missing(check::error_of([&] { sum(y).backward(); }), {"WrongNode", "gradient of the wrong shape", "float64 cpu [7]", "the shape of the input, [2]"}) == "");
}
