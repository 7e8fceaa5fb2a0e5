#include <gradus/autograd/observer.hpp>
#include <gradus/ops/elementwise.hpp>

#include "support/check.hpp"

using namespace gradus;

extern "C" gradus::BackwardRun* gradus_backward_run;

namespace {
struct Log final : Observer {
  std::string text;
  const Observer* current = nullptr;
  void recorded(Node& node, const AnyTensor& y, std::span<const AnyTensor* const> inputs) override {
    text += "made " + node.name() + " " + y.shape().str() + " from " + std::to_string(inputs.size()) + "; ";
    current = gradus::detail::observer;
    const auto x = y.as<double, Cpu>();
    CHECK(!square(x).requires_grad());       // neither recorded nor observed
  }
  void before_backward(Node& node, std::span<const AnyTensor> dys) override {
    text += "run " + node.name() + " with " + std::to_string(dys.size()) + "; ";
    REQUIRE(gradus_backward_run != nullptr);
    const BackwardRun& run = *gradus_backward_run;
    CHECK(run.order[run.i - 1] == &node);
    CHECK(run.dys == dys.data());
    CHECK(run.i <= run.n);
  }
  void sent(Node& node, int i, const AnyTensor& g) override { text += "sent by " + node.name() + " to " + std::to_string(i) + " " + g.shape().str() + "; "; }
  void after_backward(Node&) override { text += "done; "; }
};
}  // namespace

TEST_CASE("an observer sees ops, gradients and visits in order, and no longer than it lives") {
  const auto x = check::leaf(check::uniform({2}));
  std::string text;
  {
    Log log;
    const auto y = exp(x);
    no_grad([&] { return exp(x); });
    sum(y).backward();
    text = log.text;
    CHECK(log.current == nullptr);
    CHECK(gradus::detail::observer == &log);
  }
  CHECK(text == "made UnaryNode<Exp> [2] from 1; made SumNode [] from 1; run SumNode with 1; sent by SumNode to 0 [2]; done; "
                "run UnaryNode<Exp> with 1; sent by UnaryNode<Exp> to 0 [2]; done; run AccumulateNode with 1; done; ");
  CHECK(gradus::detail::observer == nullptr);
  CHECK(gradus_backward_run == nullptr);
  sum(exp(x)).backward();
}

TEST_CASE("several observers, ended in any order; an error of one leaves the engine whole") {
  const auto x = check::leaf(check::uniform({2}));
  auto first = std::make_unique<Log>(), second = std::make_unique<Log>();
  auto y = exp(x);
  CHECK(first->text == second->text);
  first.reset();
  y = exp(x);
  CHECK(second->text == "made UnaryNode<Exp> [2] from 1; made UnaryNode<Exp> [2] from 1; ");
  second.reset();
  struct Thrower final : Observer {
    void before_backward(Node&, std::span<const AnyTensor>) override { throw Error("stop"); }
  };
  {
    const Thrower t;
    CHECK(check::error_of([&] { sum(y).backward(); }) == "stop");
  }
  CHECK(gradus_backward_run == nullptr);
  CHECK(grad_enabled());
  sum(exp(x)).backward();
  CHECK(x.grad().defined());
}
