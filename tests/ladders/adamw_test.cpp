// Every step of the ladder for AdamW's update, over several updates of many parameters of odd sizes.
#include "bench/ladders/adamw.hpp"
#include "kernels/on_device.hpp"

using namespace kernel_test;
namespace ladders = gradus::ladders;

namespace {
struct Parameter {
  OnDevice<float> p, g, m, v;
  int64_t n, shift;      // the arrays start `shift` elements in: 16-byte aligned, or not
  Parameter(int64_t n, int64_t shift, uint64_t seed)
      : p(values<float>(n + shift, seed)), g(values<float>(n + shift, seed + 1000)), m(Host<float>(static_cast<std::size_t>(n + shift))),
        v(Host<float>(static_cast<std::size_t>(n + shift))), n(n), shift(shift) {}
  ladders::AdamWTensor tensor() const { return {p + shift, g + shift, m + shift, v + shift, n}; }
};
std::vector<float> reference(const Parameter& x, const ladders::AdamWOptions& o, int64_t steps) {
  std::vector<float> result = x.p.host();
  const auto g = x.g.host();
  for (std::size_t i = static_cast<std::size_t>(x.shift); i < result.size(); ++i) {
    double p = static_cast<double>(result[i]), m = 0, v = 0;
    const double grad = static_cast<double>(g[i]), b1 = static_cast<double>(o.beta1), b2 = static_cast<double>(o.beta2), lr = static_cast<double>(o.lr);
    for (int64_t t = 1; t <= steps; ++t) {
      m = b1 * m + (1 - b1) * grad, v = b2 * v + (1 - b2) * grad * grad;
      p -= lr * static_cast<double>(o.weight_decay) * p;
      p -= lr * m / (1 - std::pow(b1, t)) / (std::sqrt(v / (1 - std::pow(b2, t))) + static_cast<double>(o.eps));
    }
    result[i] = static_cast<float>(p);
  }
  return result;
}
}  // namespace

TEST_CASE("each step of the AdamW ladder") {
  ladders::AdamWOptions o;
  o.lr = 0.05f, o.weight_decay = 0.1f;
  for (const std::string& step : ladders::adamw_steps()) {
    std::vector<std::unique_ptr<Parameter>> parameters;
    std::vector<ladders::AdamWTensor> tensors;
    std::vector<std::vector<float>> expected;
    // 70 parameters: more than one launch of "multi" takes; 9000 elements: more than one block of it.
    for (int64_t i = 0; i < 70; ++i) {
      const int64_t n = i == 3 ? 9000 : i == 5 ? 0 : 1 + i % 11;
      parameters.push_back(std::make_unique<Parameter>(n, i % 3 == 1 ? 1 : 0, static_cast<uint64_t>(i)));
      tensors.push_back(parameters.back()->tensor());
      expected.push_back(reference(*parameters.back(), o, 3));
    }
    for (o.step = 1; o.step <= 3; ++o.step) ladders::adamw(step, tensors, o);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      INFO(step << ", parameter " << i);
      CHECK(difference(parameters[i]->p.host(), expected[i], 2e-6) == "");
    }
  }
  CHECK_THROWS_WITH(ladders::adamw("fast", {}, o), Catch::Contains("adamw: no step \"fast\""));
}

TEST_CASE("the AdamW ladder under other orders of threads") {
  ladders::AdamWOptions o;
  for (const std::string& step : ladders::adamw_steps()) {
    std::vector<float> first;
    const auto run = [&] {
      const Parameter x(1037, 0, 5);
      ladders::adamw(step, {x.tensor()}, o);
      return x.p.host();
    };
    first = run();
    for_schedules([&](const std::string& schedule) {
      INFO(step << ", " << schedule);
      CHECK(run() == first);
    });
  }
}
