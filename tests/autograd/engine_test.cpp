// The backward pass: depth, fan-out, reuse, hooks, higher derivatives, grad(), errors, and what is freed when.
#include <chrono>

#include <gradus/ops/attention.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/ops/norm.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::List;
using check::leaf;

namespace {
Double number(double v) { return scalar<double>(v); }
double ms_since(std::chrono::steady_clock::time_point t) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - t).count();
}
}  // namespace

TEST_CASE("a chain of a million nodes runs and is destroyed without recursion") {
  const auto x = leaf(number(1));
  {
    auto y = x + 0;
    for (int i = 1; i < 1000000; ++i) y = y + 1e-6;
    CHECK(y.item() == Approx(2).epsilon(1e-5));
    y.backward();
    CHECK(x.grad().item() == 1);
  }
  {
    auto y = x * 1;
    for (int i = 1; i < 1000000; ++i) y = y * x;   // every node has saved values and two inputs
    CHECK(y.item() == 1);
    CHECK(grad(y, x).item() == 1000000);
  }
}

TEST_CASE("a ladder of depth 60 with fan-out 2 visits each node once") {
  const auto start = std::chrono::steady_clock::now();
  const auto x = leaf(number(1));
  auto y = x * 1;
  for (int i = 0; i < 60; ++i) y = y + y;          // 2^60 paths
  y.backward();
  CHECK(x.grad().item() == std::ldexp(1.0, 60));
  CHECK(ms_since(start) < 1000);                   // 2^60 visits would not end
}

TEST_CASE("an input that is used several times gets the sum") {
  const auto x = leaf(Double{1., 2, 3});
  auto y = x * x + x * 2 + x;
  sum(y * x).backward();                           // x^3 + 3 x^2
  CHECK(check::difference(x.grad(), {3}, {3 + 6, 12 + 12, 27 + 18}) == "");
}

TEST_CASE("backward adds to grad(), grad() leaves it alone") {
  const auto x = leaf(Double{1., 2});
  sum(x * x).backward();
  sum(x * 3).backward();
  CHECK(x.grad().to_vector() == std::vector<double>{5, 7});
  CHECK(grad(sum(x * x), x).to_vector() == std::vector<double>{2, 4});
  CHECK(x.grad().to_vector() == std::vector<double>{5, 7});
  x.zero_grad();
  CHECK(!x.grad().defined());
}

TEST_CASE("grad() equals backward(), for leaves and inner tensors") {
  const auto a = leaf(check::uniform({3, 4})), b = leaf(check::uniform({4, 2}, -1, 1, 2));
  const auto inner = matmul(a, b);
  const auto y = sum(tanh(inner) * inner);
  const auto g = grad(List{y}, List{a, b, inner}, {.retain_graph = true});
  y.backward();
  CHECK(g[0].to_vector() == a.grad().to_vector());
  CHECK(g[1].to_vector() == b.grad().to_vector());
  CHECK(check::difference(matmul(transpose(a, 0, 1), g[2]), g[1]) == "");
}

TEST_CASE("grad() of an output with respect to itself is the cotangent") {
  const auto x = leaf(Double{1., 2});
  const auto y = x * 2;
  CHECK(grad(List{y}, List{y}, {.gradients = {Double{5., 6}}})[0].to_vector() == std::vector<double>{5, 6});
}

TEST_CASE("backward and grad take a cotangent, and several outputs add up") {
  const auto x = leaf(Double{1., 2, 3});
  (x * x).backward(Double{1., 10, 100});
  CHECK(x.grad().to_vector() == std::vector<double>{2, 40, 600});
  const auto g = grad(List{x * 2, x * x}, List{x}, {.gradients = {Double{1., 1, 1}, Double{0., 1, 0}}})[0];
  CHECK(g.to_vector() == std::vector<double>{2, 6, 2});
}

TEST_CASE("unused inputs are an error unless allowed") {
  const auto x = leaf(number(2)), z = leaf(number(3));
  const auto y = x * x;
  const auto text = check::error_of([&] { grad(List{y}, List{x, z}, {.retain_graph = true}); });
  CHECK(check::missing(text, {"gradus: grad: the outputs do not depend on input 1", "allow_unused", "engine_test.cpp"}) == "");
  const auto g = grad(List{y}, List{x, z}, {.allow_unused = true});
  CHECK(g[0].item() == 4);
  CHECK(!g[1].defined());
}

TEST_CASE("create_graph: derivatives of derivatives") {
  const auto x = leaf(number(1.5));
  const auto y = pow(x, 5.0);
  const auto d1 = grad(y, x, {.create_graph = true});
  const auto d2 = grad(d1, x, {.create_graph = true});
  const auto d3 = grad(d2, x, {.create_graph = true});
  const auto d4 = grad(d3, x);
  CHECK(d1.item() == Approx(5 * std::pow(1.5, 4)));
  CHECK(d2.item() == Approx(20 * std::pow(1.5, 3)));
  CHECK(d3.item() == Approx(60 * std::pow(1.5, 2)));
  CHECK(d4.item() == Approx(120 * 1.5));
  CHECK(!d4.requires_grad());
}

TEST_CASE("create_graph through a product of functions: third derivative of exp(x) sin(x)") {
  const auto x = leaf(number(0.7));
  auto y = exp(x) * sin(x);
  for (int i = 0; i < 3; ++i) y = grad(y, x, {.create_graph = true});
  CHECK(y.item() == Approx(2 * std::exp(0.7) * (std::cos(0.7) - std::sin(0.7))));
}

TEST_CASE("a gradient penalty trains: backward through grad()") {
  const auto x = leaf(check::uniform({4})), w = leaf(check::uniform({4}, -1, 1, 2));
  const auto g = grad(sum(tanh(x * w)), x, {.create_graph = true});
  sum(g * g).backward();
  const auto f = [&](const List& v) {
    const auto inner = grad(sum(tanh(v[0] * v[1])), v[0], {.create_graph = true});
    return sum(inner * inner);
  };
  gradcheck(f, List{x, w});
  CHECK(w.grad().defined());
}

TEST_CASE("hooks see the complete gradient and may replace it: leaf") {
  const auto x = leaf(Double{1., 2});
  int calls = 0;
  std::vector<double> seen;
  register_hook(x, [&](const Double& g) { ++calls, seen = g.to_vector(); });
  register_hook(x, [](const Double& g) { return g * 10; });
  sum(x * x + x).backward();
  CHECK(calls == 1);
  CHECK(seen == std::vector<double>{3, 5});
  CHECK(x.grad().to_vector() == std::vector<double>{30, 50});
}

TEST_CASE("hooks see the complete gradient and may replace it: inner tensor") {
  const auto x = leaf(Double{1., 2});
  const auto y = x * 2;
  std::vector<double> seen;
  register_hook(y, [&](const Double& g) {
    seen = g.to_vector();
    return g * 0.5;
  });
  sum(y * y + y).backward();
  CHECK(seen == std::vector<double>{5, 9});
  CHECK(x.grad().to_vector() == std::vector<double>{5, 9});
}

TEST_CASE("no_grad, GradMode and detach stop recording") {
  const auto x = leaf(number(3));
  const auto y = no_grad([&] { return x * x; });
  CHECK(!y.requires_grad());
  {
    const NoGrad off;
    CHECK(!grad_enabled());
    const GradMode on(true);
    CHECK((x * x).requires_grad());
  }
  CHECK(grad_enabled());
  const auto z = (x * x).detach() * x;
  CHECK(grad(z, x).item() == 9);
  CHECK(x.detach().shares_storage(x));
}

TEST_CASE("errors: no graph, not a scalar, wrong cotangent, non-leaf switch") {
  const auto x = leaf(Double{1., 2});
  CHECK(check::missing(check::error_of([] { number(1).backward(); }),
                       {"backward: this tensor does not require gradients", "engine_test.cpp"}) == "");
  CHECK(check::missing(check::error_of([&] { (x * 2).backward(); }),
                       {"more than one element", "float64 cpu [2]", "engine_test.cpp"}) == "");
  CHECK(check::contains(check::error_of([&] { (x * 2).backward(Double{1., 2, 3}); }), "the gradient does not match the output"));
  auto y = x * 2;
  CHECK(check::contains(check::error_of([&] { y.requires_grad_(); }), "only a leaf can be switched"));
}

TEST_CASE("check_reached names the parameters that a loss does not depend on") {
  auto w = leaf(Double{1., 2}), cut = leaf(Double{3., 4}), idle = leaf(Double{5.});
  w.set_name("w"), cut.set_name("cut"), idle.set_name("idle");
  const auto hidden = cut * 2;
  const auto loss = sum(w * hidden.detach());
  check_reached(loss, std::vector<Double>{w});
  const auto text = check::error_of([&] { check_reached(loss, std::vector<Double>{w, cut, idle}); });
  CHECK(check::missing(text, {"gradus: check_reached: the loss does not depend on 2 of 3 parameters", "parameter 1",
                              "float64 cpu [2] \"cut\": used, but not on the way to the loss", "\"idle\": no recorded op uses it",
                              "engine_test.cpp"}) == "");
  CHECK(check::contains(check::error_of([&] { check_reached(loss.detach(), std::vector<Double>{w}); }), "does not require gradients"));
}

TEST_CASE("a second backward is an error unless the graph was retained") {
  const auto x = leaf(number(2));
  const auto y = x * x;
  y.backward();
  const auto text = check::error_of([&] { y.backward(); });
  CHECK(check::missing(text, {"second backward through a freed graph", "MulNode float64 cpu []", "retain_graph",
                              "engine_test.cpp"}) == "");
  const auto z = x * x;
  z.backward(BackwardOptions{.retain_graph = true});
  z.backward();
  CHECK(x.grad().item() == 12);
}

TEST_CASE("an error inside backward leaves no gradients waiting") {
  const auto x = leaf(number(2));
  auto inner = x * x;
  const auto y = inner * inner * x;
  bool raise = true;
  register_hook(inner, [&](const Double&) {
    if (raise) fail("hook", "raised", {}, "", Where{});
  });
  CHECK_THROWS_AS(y.backward(BackwardOptions{.retain_graph = true}), Error);
  raise = false;
  y.backward();
  CHECK(x.grad().item() == 5 * 16);
}

TEST_CASE("a run inside a backward leaves the gradients of the outer one waiting") {
  const auto x = leaf(number(2)), unused = leaf(number(1));
  const auto a = x * x, other = a * 7, b = a * 3, y = b + a * 5 + unused;  // when b's turn comes, 5 waits at a
  double inside = 0;
  register_hook(b, [&](const Double&) { inside = grad(other, x, {.retain_graph = true}).item(); });
  CHECK(grad(y, x, {.retain_graph = true}).item() == 8 * 4);  // and what the outer run needs is not what the inner one needs
  CHECK(inside == 7 * 4);
  y.backward();
  CHECK(x.grad().item() == 8 * 4);
  CHECK(unused.grad().item() == 1);
}

TEST_CASE("a recorded backward gives what an unrecorded one gives, through residuals and shared weights") {
  const auto x = leaf(check::uniform({2, 4, 3, 4})), w = leaf(check::uniform({4}, 0.5, 1.5, 2)), zero = leaf(zeros<double>({4}));
  const auto mean = check::uniform({4}), var = check::uniform({4}, 0.5, 1.5);
  using F = std::function<Double(const Double&)>;
  const std::vector<std::pair<const char*, F>> list{
      {"layer_norm", [&](const Double& v) { return layer_norm(v, w, zero); }},
      {"rms_norm", [&](const Double& v) { return rms_norm(v, w); }},
      {"group_norm", [&](const Double& v) { return group_norm(v, 2, w, zero); }},
      {"batch_norm, training", [&](const Double& v) { return batch_norm(v, w, zero, Double(), Double(), true); }},
      {"batch_norm, evaluation", [&](const Double& v) { return batch_norm(v, w, zero, mean, var, false); }},
      {"attention", [&](const Double& v) { return scaled_dot_product_attention(v, v, v * w); }},
  };
  for (const auto& [name, f] : list) {
    INFO(name);
    const auto gradients = [&, f = f](bool recorded) {
      const auto a = tanh(x), y = f(f(a) + a) + a;
      return grad(List{sum(square(y))}, List{x, w}, {.create_graph = recorded});
    };
    const auto plain = gradients(false), recorded = gradients(true);
    CHECK(check::difference(recorded[0], plain[0], 1e-9, 1e-10) == "");
    CHECK(check::difference(recorded[1], plain[1], 1e-9, 1e-10) == "");
  }
}

TEST_CASE("the graph is freed with the last result") {
  const int64_t before = memory_stats().live;
  {
    const auto x = leaf(check::uniform({100}));
    const int64_t with_leaf = memory_stats().live;
    {
      const auto y = sum(exp(x) * x);
      CHECK(memory_stats().live > with_leaf + 800);
    }
    CHECK(memory_stats().live == with_leaf);
    const auto y = sum(exp(tanh(x)));               // nodes that save their own outputs
    const auto g = grad(y, x, {.create_graph = true});
    CHECK(g.requires_grad());
  }
  CHECK(memory_stats().live == before);
}

TEST_CASE("backward frees what nodes saved") {
  const auto x = leaf(check::uniform({1000}));
  const int64_t before = memory_stats().live;
  const auto y = sum(exp(sin(x)) * 2);
  CHECK(memory_stats().live >= before + 8000);
  y.backward();
  CHECK(memory_stats().live == before + 8 + 8000);  // y and x.grad()
}

TEST_CASE("a thousand training steps do not grow memory") {
  const auto x = check::uniform({16, 8});
  auto w = leaf(check::uniform({8, 4}));
  int64_t after_first = 0;
  for (int step = 0; step < 1000; ++step) {
    const auto h = tanh(matmul(x, w));
    const auto loss = mean(h * h);
    loss.backward();
    {
      const NoGrad guard;
      w -= w.grad() * 0.01;
    }
    w.zero_grad();
    if (step == 0) after_first = memory_stats().live;
  }
  CHECK(memory_stats().live <= after_first);
}

TEST_CASE("nodes know their name and the user's line") {
  const auto x = leaf(number(2));
  const auto y = exp(x);
  const int line = __LINE__ - 1;
  CHECK(y.grad_fn()->name() == "UnaryNode<Exp>");
  CHECK((x * x).grad_fn()->name() == "MulNode");
  CHECK(static_cast<int>(y.grad_fn()->at.line()) == line);
}

TEST_CASE("tensors that require no gradient cost no nodes") {
  const auto x = check::uniform({3});
  CHECK((x * x).is_leaf());
  CHECK(!(x * x).requires_grad());
  CHECK(sign(leaf(x)).is_leaf());
}
