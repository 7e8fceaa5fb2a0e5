#include <gradus/debug/trace_nan.hpp>
#include <gradus/ops/elementwise.hpp>
#include <gradus/ops/matmul.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::error_of;
using check::missing;

TEST_CASE("the op that makes the first NaN is named, not the last of the chain") {
  auto x = Tensor<double>{4., -1, 9};
  x.set_name("x");
  x.requires_grad_();
  const debug::TraceNan guard;
  int line = 0;
  const std::string text = error_of([&] {
    line = __LINE__ + 1;
    const auto y = sqrt(x * 2.0);
    sum(y * 3.0).backward();
  });
  CHECK(missing(text, {"trace_nan, forward: UnaryNode<Sqrt> made the first bad value", "result    float64 cpu [3]", "NaN 1, the first at [1]",
                       "input 0   float64 cpu [3]: min -2 mean 8 max 18", "trace_nan_test.cpp:" + std::to_string(line)}) == "");
}

TEST_CASE("a NaN that comes from outside is found where it is used first") {
  const double nan = std::nan("");
  auto x = Tensor<double>{1, nan}, w = Tensor<double>{2., 3};
  w.requires_grad_();
  const std::string text = error_of([&] { debug::trace_nan([&] { return sum(square(w * x)); }); });
  CHECK(missing(text, {"MulNode was given a bad value", "input 0   float64 cpu [2]: min 2", "input 1   float64 cpu [2]: min 1 mean 1 max 1, NaN 1",
                       "from an op that was not recorded, or from the data"}) == "");
}

TEST_CASE("a gradient that turns bad: good values, good dy, infinite slope times zero") {
  auto x = Tensor<double>{0., 1};
  x.requires_grad_();
  const std::string text = error_of([&] {
    const debug::TraceNan guard;
    const auto y = sqrt(x);                     // slope at 0 is infinite
    sum(y * Tensor<double>{0., 1}).backward();   // and 0 * infinity is NaN
  });
  CHECK(missing(text, {"trace_nan, backward: UnaryNode<Sqrt> made the first bad gradient", "gradient  of input 0, float64 cpu [2]",
                       "dy        float64 cpu [2]: min 0 mean 0.5 max 1", "saved y"}) == "");
}

TEST_CASE("infinities are bad on request only; without NaN nothing happens; one guard ends") {
  auto x = Tensor<double>{0., 1};
  x.requires_grad_();
  CHECK(error_of([&] { debug::trace_nan([&] { return log(x); }); }) == "no error");
  CHECK(missing(error_of([&] { debug::trace_nan([&] { return log(x); }, {.infinity = true}); }), {"UnaryNode<Log>", "infinite 1, the first at [0]"}) == "");
  CHECK(error_of([&] { sum(sqrt(x - 1.0)).backward(); }) == "no error");
  CHECK(x.grad().defined());
}
