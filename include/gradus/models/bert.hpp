// BERT's encoder (Devlin et al. 2019) for sentence embeddings (Reimers & Gurevych 2019): mean over the tokens, unit length.
//
//   x = norm(word + position + type);   x <- norm(x + attention(x)),   x <- norm(x + W_2 gelu(W_1 x));   e = mean_t x_t /
//   |mean_t x_t|
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <gradus/data/tokenizer.hpp>
#include <gradus/io/safetensors.hpp>
#include <gradus/nn/attention.hpp>
#include <gradus/nn/linear.hpp>
#include <gradus/nn/norm.hpp>
#include <gradus/ops/activation.hpp>
#include <gradus/ops/index.hpp>
#include <gradus/ops/reduce.hpp>

namespace gradus::models {

struct BertConfig {
  int64_t vocabulary = 30522, layers = 6, width = 384, hidden = 1536, heads = 12, positions = 512;
  double eps = 1e-12;
};

/// One layer, norms behind the residuals.
struct BertBlock {
  using value_type = float;
  nn::MultiHeadAttention<> attention;
  nn::LayerNorm<> attention_norm, output_norm;
  nn::Linear<> up, down;
  BertBlock(const BertConfig& c, Where at = Where::current())
      : attention(c.width, c.heads, {}, at),
        attention_norm(c.width, c.eps, true, at),
        output_norm(c.width, c.eps, true, at),
        up(c.width, c.hidden, true, at),
        down(c.hidden, c.width, true, at) {}
  Tensor<> forward(const Tensor<>& x, const Tensor<bool>& padding, Where at = Where::current()) const {
    const auto y = attention_norm.forward(add(x, attention.forward(x, {.padding = padding}, at), at), at);
    return output_norm.forward(add(y, down.forward(gelu(up.forward(y, at), at), at), at), at);
  }
  void visit(auto&& f) {
    f("attention", attention), f("attention_norm", attention_norm), f("up", up), f("down", down), f("output_norm", output_norm);
  }
};

struct Bert {
  using value_type = float;
  BertConfig config;
  nn::Embedding<> word, position, type;
  nn::LayerNorm<> norm;
  std::vector<BertBlock> blocks;

  explicit Bert(const BertConfig& c, Where at = Where::current())
      : config(c),
        word(c.vocabulary, c.width, at),
        position(c.positions, c.width, at),
        type(2, c.width, at),
        norm(c.width, c.eps, true, at) {
    for (int64_t l = 0; l < c.layers; ++l) blocks.emplace_back(c, at);
  }
  /// The weights of a safetensors file with Hugging Face's names; extents from there. How many heads there are no tensor says:
  /// 12 in MiniLM-L6 and BERT-base.
  static Bert from_safetensors(const std::filesystem::path& path, int64_t heads = 12, Where at = Where::current()) {
    io::SafetensorsFile f(path, at);
    const std::string e = "embeddings.", layer = "encoder.layer.";
    const auto rows = [&](const std::string& name) {
      const auto found = f.entries().find(name);
      if (found == f.entries().end() || found->second.shape.n != 2)
        fail("Bert::from_safetensors", "a matrix is missing", {{"file", path.string()}, {"tensor", name}}, "a BERT encoder",
             at);
      return found->second.shape;
    };
    const Shape words = rows(e + "word_embeddings.weight");
    BertConfig c{.vocabulary = words[0],
                 .layers = 0,
                 .width = words[1],
                 .hidden = rows(layer + "0.intermediate.dense.weight")[0],
                 .heads = heads,
                 .positions = rows(e + "position_embeddings.weight")[0]};
    while (f.contains(layer + std::to_string(c.layers) + ".intermediate.dense.weight")) ++c.layers;
    Bert m(c, at);
    const auto load = [&](Tensor<>& x, const std::string& name) {
      auto y = f.read<float>(name, at);
      if (y.shape() != x.shape())
        fail("Bert::from_safetensors", "a tensor does not fit", {{"file", path.string()}, {"tensor", describe(y)}},
             x.shape().str(), at);
      y.requires_grad_();
      x = y;
    };
    const auto both = [&](auto& l, const std::string& name) { load(l.weight, name + ".weight"), load(l.bias, name + ".bias"); };
    load(m.word.weight, e + "word_embeddings.weight"), load(m.position.weight, e + "position_embeddings.weight");
    load(m.type.weight, e + "token_type_embeddings.weight"), both(m.norm, e + "LayerNorm");
    for (std::size_t l = 0; l < m.blocks.size(); ++l) {
      const std::string p = layer + std::to_string(l) + ".";
      BertBlock& b = m.blocks[l];
      both(b.attention.q, p + "attention.self.query"), both(b.attention.k, p + "attention.self.key");
      both(b.attention.v, p + "attention.self.value"), both(b.attention.out, p + "attention.output.dense");
      both(b.attention_norm, p + "attention.output.LayerNorm"), both(b.up, p + "intermediate.dense");
      both(b.down, p + "output.dense"), both(b.output_norm, p + "output.LayerNorm");
    }
    return m;
  }

  /// ids [B, T], of type 0, and padding [B, T], false where a token is none (undefined: all are) -> [B, T, width].
  Tensor<> forward(const Tensor<int64_t>& ids, const Tensor<bool>& padding = {}, Where at = Where::current()) const {
    if (ids.rank() != 2 || ids.shape()[1] > config.positions)
      fail("Bert", "the sequences do not fit", {{"ids", describe(ids)}}, "[B, T] with T <= " + std::to_string(config.positions),
           at);
    const int64_t T = ids.shape()[1];
    auto x = add(word.forward(ids, at), narrow(position.weight, 0, 0, T, 1, at), at);
    x = norm.forward(add(x, narrow(type.weight, 0, 0, 1, 1, at), at), at);
    for (const auto& b : blocks) x = b.forward(x, padding, at);
    return x;
  }
  /// Embeddings of token sequences, [n, width], each of length 1: the dot product of two is their cosine. Shorter sequences are
  /// padded, which changes nothing.
  Tensor<> embed(const std::vector<std::vector<int64_t>>& sequences, Where at = Where::current()) const {
    const NoGrad guard;
    std::size_t longest = 0;
    for (const auto& s : sequences) {
      if (s.empty()) fail("embed", "a sequence without tokens", {}, "[CLS] and [SEP] at least", at);
      longest = std::max(longest, s.size());
    }
    const auto B = static_cast<int64_t>(sequences.size()), T = static_cast<int64_t>(longest);
    Tensor<int64_t> ids = zeros<int64_t>({B, T}, at);
    Tensor<float> share = zeros<float>({B, 1, T}, at);
    Tensor<bool> real(Shape{B, T}, at);
    for (std::size_t b = 0; b < sequences.size(); ++b)
      for (std::size_t t = 0; t < longest; ++t) {
        const bool in = t < sequences[b].size();
        real.data()[b * longest + t] = in;
        if (in)
          ids.data()[b * longest + t] = sequences[b][t],
                                   share.data()[b * longest + t] = 1 / static_cast<float>(sequences[b].size());
      }
    if (B == 0) return zeros<float>({0, config.width}, at);
    const auto mean = squeeze(matmul(share, forward(ids, real, at), at), 1, at);
    return normalize(mean, 2, -1, 1e-12, at);
  }
  void visit(auto&& f) { f("word", word), f("position", position), f("type", type), f("norm", norm), f("layer", blocks); }
};

}  // namespace gradus::models
