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
template <class T = float, class D = Cpu>
struct LlamaBlock {
  using value_type = T;
  using device_type = D;
  nn::RMSNorm<T, D> attention_norm, ffn_norm;
  nn::MultiHeadAttention<T, D> attention;
  nn::Linear<T, D> gate, up, down;
  explicit LlamaBlock(const LlamaConfig& c, Where at = Where::current())
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
  template <class U, class E>
  explicit LlamaBlock(const LlamaBlock<U, E>& o, Where at = Where::current())
      : attention_norm(o.attention_norm, at),
        ffn_norm(o.ffn_norm, at),
        attention(o.attention, at),
        gate(o.gate, at),
        up(o.up, at),
        down(o.down, at) {}
  /// x [B, T, width] -> the same.
  Tensor<T, D> forward(const Tensor<T, D>& x, const nn::AttentionCall<T, D>& call = {}, Where at = Where::current()) const {
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

/// What a call may give besides the tokens.
template <class T = float, class D = Cpu>
struct LlamaCall {
  std::vector<nn::KVCache<T, D>>* cache = nullptr;  ///< the tokens follow those in it
  Tensor<double, D> position = {};                  ///< [T], turn q and k; empty: one after another from the cache's length
  Tensor<bool, D> mask = {};  ///< [T, S], S with those of the cache: false where nothing is attended to, besides later tokens
  std::vector<Tensor<T, D>>* states = nullptr;  ///< receives what each layer gives, [B, T, width]
};

/// One sequence as a batch, [1, T].
template <class D = Cpu>
Tensor<int64_t, D> token_row(const std::vector<int64_t>& ids) {
  Tensor<int64_t> x(Shape{1, static_cast<int64_t>(ids.size())});
  std::copy(ids.begin(), ids.end(), x.data());
  return x.template to<D>();
}

/// The model; Llama is that in float on the CPU.
template <class T = float, class D = Cpu>
struct BasicLlama {
  using value_type = T;
  using device_type = D;
  using Cache = std::vector<nn::KVCache<T, D>>;
  LlamaConfig config;
  nn::Embedding<T, D> embedding;
  std::vector<LlamaBlock<T, D>> blocks;
  nn::RMSNorm<T, D> norm;
  Tensor<T, D> head;  ///< [V, width]; the embedding's own tensor when they are tied

  /// Fresh weights, tied.
  explicit BasicLlama(const LlamaConfig& c, Where at = Where::current())
      : config(c), embedding(c.vocabulary, c.width, at), norm(c.width, c.eps, at), head(embedding.weight) {
    for (int64_t l = 0; l < c.layers; ++l) blocks.emplace_back(c, at);
  }
  /// The same model in another type or on another device.
  template <class U, class E>
  explicit BasicLlama(const BasicLlama<U, E>& o, Where at = Where::current())
      : config(o.config), embedding(o.embedding, at), norm(o.norm, at), head(embedding.weight) {
    for (const auto& b : o.blocks) blocks.emplace_back(b, at);
    if (o.head.data() != o.embedding.weight.data()) head = nn::converted<T, D>(o.head, at);
  }
  /// The weights of a file, dequantised; ready for training too.
  static BasicLlama from_gguf(const io::GgufFile& f, Where at = Where::current()) {
    BasicLlama m(LlamaConfig::from_gguf(f, at), at);
    const auto load = [&](Tensor<T, D>& x, const std::string& name) {
      auto y = cast<T>(f.read(name, at), at).template to<D>();
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
      LlamaBlock<T, D>& b = m.blocks[l];
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
  /// What comes before the head: ids [B, T] -> [B, T, width].
  Tensor<T, D> features(const Tensor<int64_t, D>& ids, const LlamaCall<T, D>& call, Where at = Where::current()) const {
    if (ids.rank() != 2) fail("Llama", "not a batch of sequences", {{"ids", describe(ids)}}, "ids [B, T]", at);
    const int64_t n = ids.shape()[1], hs = config.width / config.heads;
    const int64_t before = call.cache && !call.cache->empty() ? call.cache->front().length : 0;
    if (call.position.defined() && call.position.shape() != Shape{n})
      fail("Llama", "not a position for each token", {{"ids", describe(ids)}, {"position", describe(call.position)}},
           "position [" + std::to_string(n) + "]", at);
    if (call.mask.defined() && call.mask.shape() != Shape{n, before + n})
      fail("Llama", "the mask does not fit", {{"ids", describe(ids)}, {"mask", describe(call.mask)}},
           "mask " + Shape{n, before + n}.str(), at);
    const auto table = call.position.defined()
                           ? rope_table<T>(call.position, hs, config.rope_base, RopePairs::adjacent, 1, at)
                           : rope_table<T, D>(before, n, hs, config.rope_base, RopePairs::adjacent, 1, at);
    Tensor<T, D> x = embedding.forward(ids, at);
    for (std::size_t l = 0; l < blocks.size(); ++l) {
      x = blocks[l].forward(x, {.mask = call.mask, .cache = call.cache ? &(*call.cache)[l] : nullptr, .rope = &table}, at);
      if (call.states) call.states->push_back(x);
    }
    return norm.forward(x, at);
  }
  Tensor<T, D> features(const Tensor<int64_t, D>& ids, Cache* cache = nullptr, Where at = Where::current()) const {
    return features(ids, LlamaCall<T, D>{.cache = cache}, at);
  }
  /// Logits [B, T, V].
  Tensor<T, D> forward(const Tensor<int64_t, D>& ids, const LlamaCall<T, D>& call, Where at = Where::current()) const {
    return linear(features(ids, call, at), head, {}, at);
  }
  Tensor<T, D> forward(const Tensor<int64_t, D>& ids, Cache* cache = nullptr, Where at = Where::current()) const {
    return linear(features(ids, cache, at), head, {}, at);
  }

  /// log p(ids[1], ids[2], ... | ids[0]), one number a token: [T - 1].
  std::vector<double> log_likelihoods(const std::vector<int64_t>& ids, Where at = Where::current()) const {
    if (ids.size() < 2)
      fail("log_likelihoods", "nothing follows", {{"tokens", std::to_string(ids.size())}}, "at least 2 tokens", at);
    const NoGrad guard;
    const auto p = log_softmax(forward(token_row<D>(ids), nullptr, at), -1, at).to_vector();
    std::vector<double> out;
    for (std::size_t t = 0; t + 1 < ids.size(); ++t)
      out.push_back(static_cast<double>(
          p[t * static_cast<std::size_t>(config.vocabulary) + static_cast<std::size_t>(ids[t + 1])]));
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
      const auto x = features(token_row<D>(next), &c, at);
      const auto logits = linear(narrow(x, 1, x.shape()[1] - 1, 1, 1, at), head, {}, at);  // of the last token alone
      const int64_t id = draw_token(cast<float>(logits, at).to_vector(), sampling, out.size(), at);
      if (id == stop) break;
      out.push_back(id);
      if (each && !each(id)) break;
      next = {id};
    }
    return out;
  }
  void visit(auto&& f) { f("token_embd", embedding), f("blk", blocks), f("output_norm", norm), f("output", head); }
};
using Llama = BasicLlama<>;

}  // namespace gradus::models
