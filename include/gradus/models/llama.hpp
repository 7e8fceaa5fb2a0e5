// Llama (Touvron et al. 2023) as GGUF files hold it: a decoder of RMS norm, rotary attention with grouped queries, and SwiGLU.
//
//   x <- x + attention(norm(x)),   x <- x + W_down (silu(W_gate n) * W_up n),  n = norm(x);   logits = norm(x) W_out^T
//
// GGUF keeps the rows of W_q and W_k in the order in which rotary pairs are adjacent features (2 i, 2 i + 1), as in the paper;
// Hugging Face's files have the halves (i, i + hs / 2) instead. Without "output.weight" the head is the embedding (tied).
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gradus/core/random.hpp>
#include <gradus/io/gguf.hpp>
#include <gradus/nn/attention.hpp>
#include <gradus/nn/linear.hpp>
#include <gradus/nn/norm.hpp>
#include <gradus/ops/activation.hpp>
#include <gradus/ops/index.hpp>
#include <gradus/ops/softmax.hpp>

namespace gradus::models {

struct LlamaConfig {
  int64_t vocabulary = 0, layers = 0, width = 0, hidden = 0;
  int64_t heads = 0, kv_heads = 0;
  int64_t context = 2048;  ///< tokens the model was trained for
  double rope_base = 10000, eps = 1e-5;

  /// From "llama.*" of the metadata.
  static LlamaConfig from_gguf(const io::GgufFile& f, Where at = Where::current()) {
    if (const auto& a = f.get<std::string>("general.architecture", at); a != "llama")
      fail("LlamaConfig", "a model of another architecture", {{"file", f.path()}, {"general.architecture", a}}, "llama", at);
    const auto whole = [&](const char* key) { return static_cast<int64_t>(f.number(std::string("llama.") + key, at)); };
    LlamaConfig c;
    c.layers = whole("block_count"), c.width = whole("embedding_length"), c.hidden = whole("feed_forward_length");
    c.heads = whole("attention.head_count"), c.context = whole("context_length");
    c.kv_heads = static_cast<int64_t>(f.number_or("llama.attention.head_count_kv", static_cast<double>(c.heads), at));
    c.rope_base = f.number_or("llama.rope.freq_base", 10000, at);
    c.eps = f.number("llama.attention.layer_norm_rms_epsilon", at);
    const auto found = f.entries().find("token_embd.weight");
    c.vocabulary = found == f.entries().end() || found->second.shape.n != 2 ? 0 : found->second.shape[0];
    if (c.layers < 1 || c.heads < 1 || c.width % c.heads != 0 || c.kv_heads < 1 || c.heads % c.kv_heads != 0 ||
        c.vocabulary < 1)
      fail("LlamaConfig", "the figures do not go together",
           {{"file", f.path()},
            {"width", std::to_string(c.width)},
            {"heads", std::to_string(c.heads)},
            {"kv_heads", std::to_string(c.kv_heads)},
            {"vocabulary", std::to_string(c.vocabulary)}},
           "kv_heads that divide heads that divide width, and a matrix token_embd.weight", at);
    if (const auto turned = f.number_or("llama.rope.dimension_count", static_cast<double>(c.width / c.heads), at);
        turned != static_cast<double>(c.width / c.heads) || f.has("llama.rope.scaling.type"))
      fail("LlamaConfig", "a rotary embedding of another kind",
           {{"file", f.path()}, {"rope.dimension_count", std::to_string(turned)}}, "whole heads turned, no scaling", at);
    return c;
  }
};

/// One layer: attention and a gated perceptron, each after a norm and around a residual.
struct LlamaBlock {
  using value_type = float;
  nn::RMSNorm<> attention_norm, ffn_norm;
  nn::MultiHeadAttention<> attention;
  nn::Linear<> gate, up, down;
  LlamaBlock(const LlamaConfig& c, Where at = Where::current())
      : attention_norm(c.width, c.eps, at),
        ffn_norm(c.width, c.eps, at),
        attention(c.width, c.heads,
                  {.kv_heads = c.kv_heads,
                   .qkv_bias = false,
                   .out_bias = false,
                   .causal = true,
                   .rope = c.width / c.heads,
                   .rope_base = c.rope_base,
                   .rope_pairs = RopePairs::adjacent},
                  at),
        gate(c.width, c.hidden, false, at),
        up(c.width, c.hidden, false, at),
        down(c.hidden, c.width, false, at) {}
  /// x [B, T, width] -> the same.
  Tensor<> forward(const Tensor<>& x, const nn::AttentionCall<float, Cpu>& call = {}, Where at = Where::current()) const {
    const auto y = add(x, attention.forward(attention_norm.forward(x, at), call, at), at), n = ffn_norm.forward(y, at);
    return add(y, down.forward(mul(silu(gate.forward(n, at), at), up.forward(n, at), at), at), at);
  }
  void visit(auto&& f) {
    f("attn_norm", attention_norm), f("attn", attention), f("ffn_norm", ffn_norm), f("ffn_gate", gate), f("ffn_up", up),
        f("ffn_down", down);
  }
};

/// How tokens are drawn.
struct Sampling {
  double temperature = 0;  ///< 0: the likeliest token always
  int64_t top_k = 0;       ///< only from the k likeliest; 0: from all
  uint64_t seed = 0;
};

/// The number that `sampling` draws from logits [V]; `step` is its place in the stream of random numbers.
inline int64_t draw_token(std::span<const float> logits, const Sampling& s, uint64_t step, Where at = Where::current()) {
  if (logits.empty() || s.temperature < 0 || s.top_k < 0)
    fail("draw_token", "nothing to draw from",
         {{"logits", std::to_string(logits.size())},
          {"temperature", std::to_string(s.temperature)},
          {"top_k", std::to_string(s.top_k)}},
         "at least one logit, temperature >= 0, top_k >= 0", at);
  if (s.temperature == 0) return std::max_element(logits.begin(), logits.end()) - logits.begin();
  std::vector<std::pair<float, int64_t>> list;
  for (std::size_t i = 0; i < logits.size(); ++i) list.emplace_back(-logits[i], static_cast<int64_t>(i));
  const std::size_t k = s.top_k == 0 ? list.size() : std::min(list.size(), static_cast<std::size_t>(s.top_k));
  std::partial_sort(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(k), list.end());
  std::vector<double> upto;
  double total = 0;
  for (std::size_t i = 0; i < k; ++i)
    upto.push_back(total += std::exp(static_cast<double>(list[0].first - list[i].first) / s.temperature));
  // splitmix64 of seed and step: one number a token, whatever was drawn before.
  uint64_t z = s.seed * 0x9e3779b97f4a7c15u + (step + 1) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u, z = (z ^ z >> 27) * 0x94d049bb133111ebu, z ^= z >> 31;
  const double u = static_cast<double>(z >> 11) * 0x1p-53 * total;
  const auto i = std::min(static_cast<std::size_t>(std::upper_bound(upto.begin(), upto.end(), u) - upto.begin()), k - 1);
  return list[i].second;
}

/// The model, in float on the CPU.
struct Llama {
  using value_type = float;
  using Cache = std::vector<nn::KVCache<>>;
  LlamaConfig config;
  nn::Embedding<> embedding;
  std::vector<LlamaBlock> blocks;
  nn::RMSNorm<> norm;
  Tensor<> head;  ///< [V, width]; the embedding's own tensor when they are tied

  /// Fresh weights, tied.
  explicit Llama(const LlamaConfig& c, Where at = Where::current())
      : config(c), embedding(c.vocabulary, c.width, at), norm(c.width, c.eps, at), head(embedding.weight) {
    for (int64_t l = 0; l < c.layers; ++l) blocks.emplace_back(c, at);
  }
  /// The weights of a file, dequantised; ready for training too.
  static Llama from_gguf(const io::GgufFile& f, Where at = Where::current()) {
    Llama m(LlamaConfig::from_gguf(f, at), at);
    const auto load = [&](Tensor<>& x, const std::string& name) {
      auto y = f.read(name, at);
      if (y.shape() != x.shape())
        fail("Llama::from_gguf", "a tensor does not fit", {{"file", f.path()}, {"tensor", describe(y)}}, x.shape().str(), at);
      y.requires_grad_();
      x = y;
    };
    load(m.embedding.weight, "token_embd.weight"), load(m.norm.weight, "output_norm.weight");
    m.head = m.embedding.weight;
    if (f.contains("output.weight")) load(m.head, "output.weight");
    for (std::size_t l = 0; l < m.blocks.size(); ++l) {
      const std::string p = "blk." + std::to_string(l) + ".";
      LlamaBlock& b = m.blocks[l];
      load(b.attention_norm.weight, p + "attn_norm.weight"), load(b.ffn_norm.weight, p + "ffn_norm.weight");
      load(b.attention.q.weight, p + "attn_q.weight"), load(b.attention.k.weight, p + "attn_k.weight");
      load(b.attention.v.weight, p + "attn_v.weight"), load(b.attention.out.weight, p + "attn_output.weight");
      load(b.gate.weight, p + "ffn_gate.weight"), load(b.up.weight, p + "ffn_up.weight"),
          load(b.down.weight, p + "ffn_down.weight");
    }
    return m;
  }

  /// Room for `longest` tokens of B sequences.
  Cache cache(int64_t B, int64_t longest, Where at = Where::current()) const {
    Cache c;
    for (int64_t l = 0; l < config.layers; ++l) c.emplace_back(B, config.kv_heads, longest, config.width / config.heads, at);
    return c;
  }
  /// What comes before the head: ids [B, T] -> [B, T, width]. With a cache the tokens follow those in it.
  Tensor<> features(const Tensor<int64_t>& ids, Cache* cache = nullptr, Where at = Where::current()) const {
    if (ids.rank() != 2) fail("Llama", "not a batch of sequences", {{"ids", describe(ids)}}, "ids [B, T]", at);
    const auto table = rope_table<float>(cache && !cache->empty() ? cache->front().length : 0, ids.shape()[1],
                                         config.width / config.heads, config.rope_base, RopePairs::adjacent, 1, at);
    Tensor<> x = embedding.forward(ids, at);
    for (std::size_t l = 0; l < blocks.size(); ++l)
      x = blocks[l].forward(x, {.cache = cache ? &(*cache)[l] : nullptr, .rope = &table}, at);
    return norm.forward(x, at);
  }
  /// Logits [B, T, V].
  Tensor<> forward(const Tensor<int64_t>& ids, Cache* cache = nullptr, Where at = Where::current()) const {
    return linear(features(ids, cache, at), head, {}, at);
  }

  /// log p(ids[1], ids[2], ... | ids[0]), one number a token: [T - 1].
  std::vector<double> log_likelihoods(const std::vector<int64_t>& ids, Where at = Where::current()) const {
    if (ids.size() < 2)
      fail("log_likelihoods", "nothing follows", {{"tokens", std::to_string(ids.size())}}, "at least 2 tokens", at);
    const NoGrad guard;
    const auto p = log_softmax(forward(row(ids), nullptr, at), -1, at);
    std::vector<double> out;
    for (std::size_t t = 0; t + 1 < ids.size(); ++t)
      out.push_back(static_cast<double>(
          p.data()[t * static_cast<std::size_t>(config.vocabulary) + static_cast<std::size_t>(ids[t + 1])]));
    return out;
  }
  /// Goes on from `prompt` by at most `count` tokens, which are returned; ends before token `stop`. `each` sees every token as
  /// it is made and ends the text by returning false.
  std::vector<int64_t> generate(const std::vector<int64_t>& prompt, int64_t count, const Sampling& sampling = {},
                                int64_t stop = -1, const std::function<bool(int64_t)>& each = {},
                                Where at = Where::current()) const {
    if (prompt.empty() || count < 0)
      fail("generate", "nothing to go on from", {{"tokens", std::to_string(prompt.size())}}, "a prompt", at);
    const NoGrad guard;
    Cache c = cache(1, static_cast<int64_t>(prompt.size()) + count, at);
    std::vector<int64_t> out, next = prompt;
    while (static_cast<int64_t>(out.size()) < count) {
      const auto x = features(row(next), &c, at);
      const auto logits = linear(narrow(x, 1, x.shape()[1] - 1, 1, 1, at), head, {}, at);  // of the last token alone
      const int64_t id = draw_token(logits.span(), sampling, out.size(), at);
      if (id == stop) break;
      out.push_back(id);
      if (each && !each(id)) break;
      next = {id};
    }
    return out;
  }
  void visit(auto&& f) { f("token_embd", embedding), f("blk", blocks), f("output_norm", norm), f("output", head); }

 private:
  static Tensor<int64_t> row(const std::vector<int64_t>& ids) {
    Tensor<int64_t> x(Shape{1, static_cast<int64_t>(ids.size())});
    std::copy(ids.begin(), ids.end(), x.data());
    return x;
  }
};

}  // namespace gradus::models
