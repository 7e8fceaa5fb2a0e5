#include <gradus/debug/compare.hpp>
#include <gradus/debug/memory.hpp>
#include <gradus/debug/profile.hpp>
#include <gradus/debug/summary.hpp>
#include <gradus/nn/linear.hpp>
#include <gradus/ops/elementwise.hpp>

#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "support/check.hpp"
#include "support/temp_dir.hpp"

using namespace gradus;
using check::missing;

namespace {
template <class T> struct Net {
  using value_type = T;
  nn::Linear<T> fc1{8, 16}, fc2{16, 4};
  double slope = 1;
  void visit(auto&& f) { f("fc1", fc1), f("fc2", fc2); }
  Tensor<T> forward(const Tensor<T>& x) const { return fc2(tanh(fc1(x)) * slope); }
  Tensor<T> loss(const Tensor<T>& x) const { return mean(square(forward(x))); }
};
std::string text_of(const std::filesystem::path& p) {
  std::ostringstream s;
  s << std::ifstream(p).rdbuf();
  return s.str();
}
}  // namespace

TEST_CASE("time by op and by module, and a trace that a browser reads") {
  Net<float> net;
  nn::parameters(net);
  const auto x = check::uniform<float>({32, 8});
  debug::Profiler p;
  for (int i = 0; i < 2; ++i) net.loss(x).backward();
  int64_t calls = 0;
  double flops = 0;
  for (const auto& row : p.by_op()) {
    calls += row.calls;
    if (row.name != "matmul") continue;
    flops = row.flops;
    CHECK((row.calls == 4 && row.forward_us > 0 && row.backward_us > 0));
  }
  CHECK(calls == static_cast<int64_t>(p.ops.size()));
  CHECK(flops == 2 * (2.0 * 32 * 8 * 16 + 2.0 * 32 * 16 * 4));
  bool fc1 = false;
  for (const auto& row : p.by_module()) fc1 |= row.name == "fc1";
  CHECK(fc1);
  CHECK(missing(p.table(), {"op ", "calls", "matmul", "share", "sum"}) == "");
  const TempDir dir;
  p.write_trace((dir / "trace.json").string());
  const auto trace = nlohmann::json::parse(text_of(dir / "trace.json"));
  CHECK(trace["traceEvents"].size() == 2 * p.ops.size());
  double last = -1;
  for (const auto& e : trace["traceEvents"]) {
    if (e["cat"] != "forward") continue;
    CHECK(e["ts"].get<double>() >= last);
    last = e["ts"].get<double>() + e["dur"].get<double>() - 0.002;         // rounded to a nanosecond
  }
  CHECK(trace["traceEvents"][0]["args"]["module"] == "fc1");
}

TEST_CASE("a model as a table") {
  Net<float> net;
  const auto x = check::uniform<float>({32, 8});
  const auto rows = debug::summary_rows(net, x);
  REQUIRE(rows.size() == 3);
  CHECK((rows[0].path.empty() && rows[0].type == "Net" && rows[0].shape == "[32, 4]" && rows[0].parameters == 8 * 16 + 16 + 16 * 4 + 4));
  CHECK((rows[1].path == "fc1" && rows[1].shape == "[32, 16]" && rows[1].parameters == 144));
  CHECK(rows[1].flops == 2.0 * 32 * 8 * 16 + 32 * 16);                    // product and bias
  CHECK(rows[0].flops > rows[1].flops + rows[2].flops);                   // tanh is the model's own
  CHECK(rows[1].bytes == 2 * 32 * 16 * 4);
  CHECK(missing(debug::summary(net, x), {"module", "parameters", "Net", "  fc1  Linear(8 -> 16)", "[32, 16]", "8.7 k"}) == "");
}

TEST_CASE("who holds memory: parameters, results, gradients, and when they end") {
  Net<float> net;
  nn::parameters(net);
  const auto x = check::uniform<float>({256, 8});
  debug::MemoryTimeline m;
  std::size_t forward = 0;
  {
    const auto loss = net.loss(x);
    forward = m.moments().size();
    loss.backward();
  }
  const auto& end = m.moments().back();
  const int64_t parameters = 4 * (8 * 16 + 16 + 16 * 4 + 4);
  CHECK(end.by_kind[0] == parameters);
  CHECK(end.by_kind[1] == parameters);                                    // every parameter has a gradient of its size
  CHECK(m.moments()[forward - 1].by_kind[1] == 0);
  CHECK(m.moments()[forward - 1].by_kind[2] >= 4 * 256 * (16 + 4));
  CHECK(end.by_kind[2] < m.moments()[forward - 1].by_kind[2]);            // the backward pass freed results
  CHECK(m.moments()[m.peak()].live >= m.moments()[forward - 1].live);
  CHECK(missing(m.str(), {"peak ", "kind", "parameters", "gradients on their way", "held at the peak", "results: tanh, profile_test.cpp:"}) == "");
  for (const auto& moment : m.moments()) {
    int64_t sum = 0;
    for (const int64_t b : moment.by_kind) sum += b;
    CHECK(sum == moment.live);
  }
  int alive = 0;
  for (const auto& b : m.blocks()) alive += b.alive && b.kind == debug::MemoryKind::result;
  CHECK(alive == 0);                                                      // the loss is gone
  const std::string svg = m.svg();
  CHECK(std::count(svg.begin(), svg.end(), '\n') > 15);
  CHECK(missing(svg, {"<polygon", "peak: ", "</svg>"}) == "");
}

TEST_CASE("two runs are compared op by op: precision passes, a change is found where it is") {
  Net<double> b;
  Net<float> a;
  const auto copy = [](auto& to, const auto& from) {
    const NoGrad off;
    to.copy_(from.template to<float>());
  };
  copy(a.fc1.weight, b.fc1.weight), copy(a.fc1.bias, b.fc1.bias), copy(a.fc2.weight, b.fc2.weight), copy(a.fc2.bias, b.fc2.bias);
  const auto x = check::uniform({5, 8});
  const auto xf = x.to<float>();
  const auto run = [&] { return debug::compare([&] { return a.loss(xf); }, [&] { return b.loss(x); }); };
  const auto same = run();
  INFO(same.str());
  CHECK(same.equal());
  CHECK(same.rows.size() > 10);
  CHECK(missing(same.str(), {"tensors agree within the tolerance"}) == "");

  nn::zero_grad(a), nn::zero_grad(b);
  a.slope = 1.01;
  const auto other = run();
  REQUIRE(other.first());
  CHECK(missing(other.first()->what, {"AffineNode at profile_test.cpp:"}) == "");
  CHECK(!other.first()->backward);
  CHECK(other.first()->error / other.first()->size == Approx(0.01).epsilon(0.01));
  CHECK(missing(other.str(), {"first difference: AffineNode", "* AffineNode", "beyond the tolerance"}) == "");

  const auto shapes = debug::compare([&] { return a.loss(xf); }, [&] { return b.loss(check::uniform({6, 8})); });
  CHECK(missing(shapes.str(), {"[5, 16] in the first run, [6, 16] in the second"}) == "");
  const auto ops = debug::compare([&] { return a.loss(xf); }, [&] { return sum(b.forward(x)); });
  CHECK(missing(ops.structure, {"op ", "UnaryNode<Square>", "SumNode"}) == "");
}
