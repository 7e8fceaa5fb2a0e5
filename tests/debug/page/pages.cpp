// Writes the pages that page.sh walks through: pages FOLDER -> mlp.html (two layers), transformer.html (six layers).
#include <string>
#include <vector>

#include <gradus/debug/record.hpp>
#include <gradus/nn/linear.hpp>
#include <gradus/nn/norm.hpp>
#include <gradus/ops/elementwise.hpp>
#include <gradus/ops/losses.hpp>
#include <gradus/ops/random.hpp>
#include <gradus/ops/softmax.hpp>

using namespace gradus;

namespace {

struct Mlp {
  nn::Linear<> fc1{4, 5}, fc2{5, 3};
  void visit(auto&& f) { f("fc1", fc1), f("fc2", fc2); }
  Tensor<float> forward(const Tensor<float>& x) const { return fc2(tanh(fc1(x))); }
};

constexpr int64_t B = 2, T = 12, C = 16, nh = 2, hs = C / nh, V = 20;

struct Attention {
  nn::Linear<> q{C, C}, k{C, C}, v{C, C}, out{C, C};
  void visit(auto&& f) { f("q", q), f("k", k), f("v", v), f("out", out); }
  Tensor<float> forward(const Tensor<float>& x) const {
    const auto heads = [](const Tensor<float>& y) { return transpose(y.reshape({B, T, nh, hs}), 1, 2); };
    const auto Q = heads(q(x)), K = heads(k(x)), V = heads(v(x));
    const auto P = softmax(matmul(Q, transpose(K, 2, 3)) * (1 / std::sqrt(static_cast<float>(hs))));
    return out(transpose(matmul(P, V), 1, 2).reshape({B, T, C}));
  }
};
struct FeedForward {
  nn::Linear<> up{C, 4 * C}, down{4 * C, C};
  void visit(auto&& f) { f("up", up), f("down", down); }
  Tensor<float> forward(const Tensor<float>& x) const { return down(gelu(up(x))); }
};
struct Block {
  nn::LayerNorm<> ln1{C}, ln2{C};
  Attention attn;
  FeedForward ffn;
  void visit(auto&& f) { f("ln1", ln1), f("attn", attn), f("ln2", ln2), f("ffn", ffn); }
  Tensor<float> forward(Tensor<float> x) const {
    x = x + attn.forward(ln1(x));
    return x + ffn.forward(ln2(x));
  }
};
struct Transformer {
  nn::Embedding<> tokens{V, C}, places{T, C};
  std::vector<Block> blocks;
  nn::LayerNorm<> ln{C};
  nn::Linear<> head{C, V};
  Transformer() {
    for (int i = 0; i < 6; ++i) blocks.push_back(Block{});
  }
  void visit(auto&& f) { f("tokens", tokens), f("places", places), f("blocks", blocks), f("ln", ln), f("head", head); }
  Tensor<float> loss(const Tensor<int64_t>& x, const Tensor<int64_t>& y) const {
    auto h = tokens(x) + places(arange<int64_t>(0, T));
    for (const Block& b : blocks) h = b.forward(h);
    return cross_entropy(head(ln(h)).reshape({-1, V}), y.reshape({-1}));
  }
};

}  // namespace

int main(int, char** argv) {
  const std::string folder = argv[1];
  manual_seed(1);
  Mlp mlp;
  nn::parameters(mlp);                           // gives the parameters their names
  const auto x = randn({3, 4});
  const Tensor<int64_t> classes{0, 2, 1};
  debug::record([&] { return cross_entropy(mlp.forward(x), classes); }, folder + "/mlp.html", "a 2-layer MLP");
  Transformer net;
  nn::parameters(net);
  const auto tokens = randint(0, V, {B, T}), next = randint(0, V, {B, T});
  debug::record([&] { return net.loss(tokens, next); }, folder + "/transformer.html", "a 6-layer transformer");
}
