#include <gradus/debug/modules.hpp>
#include <gradus/nn/activation.hpp>
#include <gradus/nn/linear.hpp>
#include <gradus/nn/norm.hpp>
#include <gradus/nn/sequential.hpp>
#include <gradus/ops/elementwise.hpp>

#include "support/check.hpp"

using namespace gradus;

namespace {
struct Block {
  nn::LayerNorm<> ln1{4}, ln2{4};
  nn::Linear<> a{4, 4}, b{4, 4};
  void visit(auto&& f) { f("ln1", ln1), f("ln2", ln2), f("a", a), f("b", b); }
  static Tensor<float> helper(const Tensor<float>& x) { return tanh(x); }
  Tensor<float> forward(Tensor<float> x) const {
    x = x + a(ln1(x));
    return x + b(helper(ln2(x)));
  }
};
struct Net {
  nn::Linear<> in{3, 4}, out{4, 2};
  std::vector<Block> blocks;
  nn::Sequential<> tail{nn::Linear{2, 2}, nn::ReLU{}, nn::Linear{2, 1}};
  void visit(auto&& f) { f("in", in), f("blocks", blocks), f("out", out), f("tail", tail); }
  Tensor<float> forward(const Tensor<float>& x) const {
    auto h = relu(in(x));
    for (const Block& b : blocks) h = b.forward(h);
    return mean(square(tail(out(h))));
  }
};
}  // namespace

TEST_CASE("ops find their modules: by parameters, call, function, neighbours and Sequential") {
  Net net;
  for (int i = 0; i < 2; ++i) net.blocks.push_back(Block{});
  nn::parameters(net);
  debug::Recorder r;
  net.forward(randn({5, 3})).backward();
  r.infer_modules();
  std::vector<std::string> seen;
  for (const auto& op : r.ops) {
    const std::string s = op.module + " " + op.name;
    if (seen.empty() || seen.back() != s) seen.push_back(s);
  }
  const auto count = [&](const std::string& s) { return std::count(seen.begin(), seen.end(), s); };
  for (const char* block : {"blocks.0", "blocks.1"}) {
    INFO(block);
    const std::string b = block;
    CHECK(count(b + ".ln1 LayerNormNode") == 1);
    CHECK(count(b + ".a MatmulNode") == 1);
    CHECK(count(b + ".b AddNode") == 1);
    CHECK(count(b + " AddNode") == 2);             // both residual sums, the second stands before the next block
    CHECK(count(b + " UnaryNode<Tanh>") == 1);     // of the helper
  }
  CHECK(count("in MatmulNode") == 1);
  CHECK(count(" UnaryNode<Relu>") == 1);
  CHECK(count("tail.0 MatmulNode") == 1);
  CHECK(count("tail.1 UnaryNode<Relu>") == 1);
  CHECK(count("tail.2 AddNode") == 1);
  CHECK(count(" UnaryNode<Square>") == 1);
}

TEST_CASE("what is recorded: inputs, values, gradients, visits") {
  auto w = Tensor<double>{3., -2};
  w.set_name("w");
  w.requires_grad_();
  const auto x = Tensor<double>{1., 2};
  debug::Recorder r;
  sum(square(w * x)).backward();
  REQUIRE(r.ops.size() == 3);
  CHECK(r.ops[0].name == "MulNode");
  CHECK(r.ops[0].value.values == std::vector<double>{3, -4});
  CHECK(r.ops[0].gradient.values == std::vector<double>{6, -8});        // 2 w x
  CHECK(r.ops[0].inputs[0].gradient.values == std::vector<double>{6, -16});
  CHECK(!r.ops[0].inputs[1].gradient.defined());
  CHECK(r.ops[0].saved == std::vector<std::string>{"a", "b"});
  CHECK(r.ops[1].inputs[0].op == 0);
  REQUIRE(r.sources.size() == 2);
  CHECK(r.sources[0].name == "w");
  CHECK((r.sources[0].leaf && !r.sources[1].leaf));
  CHECK(r.sources[0].gradient.values == std::vector<double>{6, -16});
  REQUIRE(r.visits.size() == 4);
  CHECK((r.visits[0].op == 2 && r.visits[2].op == 0 && r.visits[3].source == 0));
  CHECK(r.ops[0].value.range.norm == 5);
  CHECK(r.ops[0].value.picture == std::vector<float>{3, -4});
  CHECK(r.ops[0].backward_us >= 0);
}
