#include <gradus/debug/explain.hpp>
#include <gradus/nn/linear.hpp>
#include <gradus/ops/elementwise.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::missing;

namespace {
struct Net {
  using value_type = double;
  nn::Linear<double> fc1{3, 4}, fc2{4, 2}, unused{2, 2};
  bool severed = false;
  void visit(auto&& f) { f("fc1", fc1), f("fc2", fc2), f("unused", unused); }
  Tensor<double> loss(const Tensor<double>& x) const {
    auto h = tanh(fc1(x));
    if (severed) h = h.detach();
    return mean(square(fc2(h)));
  }
};
}  // namespace

TEST_CASE("parameters that the loss does not reach, and why") {
  Net net;
  const auto x = check::uniform({5, 3});
  const auto e = debug::explain(net.loss(x), net);
  CHECK(e.wrong() == 2);
  CHECK(e.find("fc1.weight")->verdict.empty());
  CHECK(e.find("fc1.weight")->gradient > 0);
  CHECK(e.find("unused.weight")->verdict == "no gradient");
  CHECK(missing(e.str(), {"parameter", "fc2.bias", "[4, 3]", "unused.weight: no recorded op uses it", "2 of 6 parameters have something wrong"}) == "");
  CHECK(!net.fc1.weight.grad().defined());       // nothing was left behind
}

TEST_CASE("where a path ends: with a recorder the op and the line of the cut") {
  Net net;
  net.severed = true;
  const auto x = check::uniform({5, 3});
  debug::Recorder r;
  const auto loss = net.loss(x);
  const auto e = debug::explain(loss, net);
  CHECK(e.find("fc1.weight")->verdict == "no gradient");
  CHECK(missing(e.find("fc1.weight")->because, {"the path ends at UnaryNode<Tanh> [5, 4], explain_test.cpp:", "uses its result without its history"}) == "");
  CHECK(e.find("fc2.weight")->verdict.empty());
  loss.backward();                               // the graph is still there
  CHECK(net.fc2.weight.grad().defined());
}

TEST_CASE("vanishing, exploding, zero, frozen, no history") {
  Net net;
  const auto x = check::uniform({5, 3});
  net.unused.weight.requires_grad_(false);
  const auto h = tanh(net.fc1(x));
  auto e = debug::explain(mean(square(net.fc2(h))) + 1e-12 * sum(square(net.unused.bias)), net);
  CHECK(e.find("unused.weight")->because == "it does not require gradients: requires_grad_() was not called, or it was switched off");
  CHECK(e.find("unused.bias")->verdict == "vanishing");
  e = debug::explain(mean(square(net.fc2(h))) + 1e9 * sum(square(net.unused.bias)), net);
  CHECK(e.find("unused.bias")->verdict == "exploding");
  e = debug::explain(sum(net.fc2(h)) * 0.0, net);
  CHECK(e.find("fc2.weight")->verdict == "zero");
  const auto constant = no_grad([&] { return net.loss(x); });
  CHECK(missing(debug::explain(constant, net).str(), {"the loss has no history"}) == "");
}
