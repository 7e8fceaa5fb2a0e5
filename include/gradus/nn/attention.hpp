// Multi-head attention (Vaswani et al. 2017, section 3.2.2) with what was added since; the core is ops/attention.hpp.
//
//   head_h = attention(x Wq_h, c Wk_h, c Wv_h),  y = [head_1 ... head_nh] Wo           c = x, or a context (cross-attention)
//
//   fewer heads of keys and values    Shazeer 2019 (one), Ainslie et al. 2023 (groups)
//   q, k normalised                   Henry et al. 2020 (unit length times a learnt scale), Dehghani et al. 2023 (RMS or layer
//   norm) sinks                             a learnt score without a value (OpenAI 2025); zero: Miller 2023; a learnt key and
//   value
#pragma once
#include <gradus/nn/norm.hpp>
#include <gradus/nn/position.hpp>
#include <gradus/ops/attention.hpp>
#include <gradus/ops/rotary.hpp>

namespace gradus::nn {

enum class QkNorm { none, rms, cosine, layer };  ///< layer: without weight and bias
enum class SinkKind { none, zero, learned, key_value };

struct AttentionLayerOptions {
  int64_t kv_heads = 0;   ///< heads of keys and values; 0: as many as of queries
  int64_t head_size = 0;  ///< 0: C / nh
  int64_t context = 0;    ///< features of the context; 0: C
  bool qkv_bias = true, out_bias = true;
  bool causal = false;
  int64_t left = -1, right = -1;  ///< sliding window
  double softcap = 0;
  double dropout = 0;  ///< of the weights, in training
  QkNorm qk_norm = QkNorm::none;
  SinkKind sink = SinkKind::none;
  bool alibi = false;
  int64_t rope = 0;  ///< how many features of a head are turned; 0: none
  double rope_base = 10000;
  RopePairs rope_pairs = RopePairs::half;
  AttentionForm form = AttentionForm::flash;
  double scale = 0;  ///< of the scores; 0: 1 / sqrt(head size). muP: 8 / head size (Yang et al. 2022)
};

/// Keys and values of the tokens so far, [B, nkv, longest, hs], of one layer. Without gradients.
template <class T = float, class D = Cpu>
struct KVCache {
  Tensor<T, D> k, v;
  int64_t length = 0;

  KVCache(int64_t B, int64_t nkv, int64_t longest, int64_t hs, Where at = Where::current())
      : k(zeros<T, D>({B, nkv, longest, hs}, at)), v(zeros<T, D>({B, nkv, longest, hs}, at)) {}
  /// Adds keys and values [B, nkv, n, hs], and gives all so far.
  std::pair<Tensor<T, D>, Tensor<T, D>> append(const Tensor<T, D>& key, const Tensor<T, D>& value,
                                               Where at = Where::current()) {
    const int64_t n = key.size(2, at);
    if (gradus::detail::wants_grad(key, value))
      fail("KVCache", "a cache keeps no gradients", {{"key", describe(key)}}, "a call under NoGrad", at);
    if (length + n > k.size(2) || key.size(0) != k.size(0) || key.size(1) != k.size(1))
      fail("KVCache", "the tokens do not fit",
           {{"key", describe(key)}, {"cache", describe(k)}, {"length", std::to_string(length)}},
           "[B, nkv, n, hs] with length + n <= " + std::to_string(k.size(2)), at);
    const NoGrad guard;
    narrow(k, 2, length, n, 1, at).copy_(key, at), narrow(v, 2, length, n, 1, at).copy_(value, at);
    length += n;
    return {narrow(k, 2, 0, length, 1, at), narrow(v, 2, 0, length, 1, at)};
  }
  /// Forgets the tokens from position n on.
  void truncate(int64_t n) { length = n < length ? n : length; }
};

/// What a call may give besides x.
template <class T, class D>
struct AttentionCall {
  Tensor<T, D> context = {};       ///< [B, S, context features]: keys and values from there
  Tensor<bool, D> padding = {};    ///< [B, S]: false where a key is padding
  Tensor<bool, D> mask = {};       ///< broadcast to [B, nh, T, S]: false where nothing is attended to
  Tensor<T, D> bias = {};          ///< broadcast to [B, nh, T, S]
  KVCache<T, D>* cache = nullptr;  ///< x holds the tokens after those of the cache
  const RopeTable<T, D>* rope =
      nullptr;  ///< [T, R / 2], or [B, T, R / 2] where samples have positions of their own; made when not given
  Tensor<T, D>* probabilities = nullptr;  ///< receives the weights [B, nh, T, S]
};

template <class T = float, class D = Cpu>
struct MultiHeadAttention {
  using value_type = T;
  using device_type = D;
  Linear<T, D> q, k, v, out;
  Tensor<T, D> q_norm, k_norm;  // [hs], qk_norm = rms
  Tensor<T, D> log_scale;       // [nh], qk_norm = cosine: the logarithm of the scale, at most log 100
  Tensor<T, D> sink;            // [nh], learned
  Tensor<T, D> sink_k, sink_v;  // [nkv, hs], key_value
  int64_t nh, nkv, hs;
  AttentionLayerOptions options;
  bool training = true;

  MultiHeadAttention(int64_t C, int64_t heads, AttentionLayerOptions o = {}, Where at = Where::current())
      : q(checked(C, heads, o, at), heads * size_of_head(C, heads, o), o.qkv_bias, at),
        k(o.context ? o.context : C, kv_heads(heads, o) * size_of_head(C, heads, o), o.qkv_bias, at),
        v(o.context ? o.context : C, kv_heads(heads, o) * size_of_head(C, heads, o), o.qkv_bias, at),
        out(heads * size_of_head(C, heads, o), C, o.out_bias, at),
        nh(heads),
        nkv(kv_heads(heads, o)),
        hs(size_of_head(C, heads, o)),
        options(o) {
    if (o.qk_norm == QkNorm::rms)
      q_norm = detail::parameter(ones<T, D>({hs}, at)), k_norm = detail::parameter(ones<T, D>({hs}, at));
    if (o.qk_norm == QkNorm::cosine) log_scale = detail::parameter(full<T, D>({nh}, std::log(10.0), at));
    if (o.sink == SinkKind::learned) sink = detail::parameter(zeros<T, D>({nh}, at));
    if (o.sink == SinkKind::key_value)
      sink_k = detail::parameter(normal<T, D>({nkv, hs}, 0, 0.02, at)), sink_v = detail::parameter(zeros<T, D>({nkv, hs}, at));
  }
  template <class U, class E>
  explicit MultiHeadAttention(const MultiHeadAttention<U, E>& o, Where at = Where::current())
      : q(o.q, at),
        k(o.k, at),
        v(o.v, at),
        out(o.out, at),
        q_norm(converted<T, D>(o.q_norm, at)),
        k_norm(converted<T, D>(o.k_norm, at)),
        log_scale(converted<T, D>(o.log_scale, at)),
        sink(converted<T, D>(o.sink, at)),
        sink_k(converted<T, D>(o.sink_k, at)),
        sink_v(converted<T, D>(o.sink_v, at)),
        nh(o.nh),
        nkv(o.nkv),
        hs(o.hs),
        options(o.options),
        training(o.training) {}

  /// x [B, T, C] -> [B, T, C].
  Tensor<T, D> forward(const Tensor<T, D>& x, const AttentionCall<T, D>& call = {}, Where at = Where::current()) const {
    if (x.rank() != 3 || x.shape()[2] != q.weight.size(1))
      fail("MultiHeadAttention", "not a batch of sequences", {{"x", describe(x)}},
           "x [B, T, " + std::to_string(q.weight.size(1)) + "]", at);
    if (options.sink == SinkKind::key_value && call.context.defined() && (options.causal || options.right >= 0))
      fail("MultiHeadAttention", "a learnt key and a window over a context", {{"context", describe(call.context)}},
           "neither causal nor a window to the right", at);
    const int64_t B = x.shape()[0], length = x.shape()[1];
    const auto heads = [&](const Tensor<T, D>& y, int64_t n) {
      return transpose(gradus::reshape(y, {B, y.size(1), n, hs}, at), 1, 2, at);
    };
    const auto& from = call.context.defined() ? call.context : x;
    auto query = heads(q.forward(x, at), nh), key = heads(k.forward(from, at), nkv), value = heads(v.forward(from, at), nkv);
    AttentionOptions<T, D> o{.mask = call.mask,
                             .bias = call.bias,
                             .causal = options.causal,
                             .left = options.left,
                             .right = options.right,
                             .softcap = options.softcap,
                             .dropout = training ? options.dropout : 0.0,
                             .form = options.form};
    if (options.qk_norm == QkNorm::rms) query = rms_norm(query, q_norm, 1e-6, at), key = rms_norm(key, k_norm, 1e-6, at);
    if (options.qk_norm == QkNorm::layer) query = plain_norm(query, at), key = plain_norm(key, at);
    if (options.scale > 0) o.scale = options.scale;
    if (options.qk_norm == QkNorm::cosine) {
      const auto scale = exp(clamp(log_scale, -100, std::log(100.0), at), at);
      query = mul(normalize(query, 2, -1, 1e-12, at), gradus::reshape(scale, {nh, 1, 1}, at), at);
      key = normalize(key, 2, -1, 1e-12, at), o.scale = 1;
    }
    if (options.rope > 0) {
      const auto turn = [&](const RopeTable<T, D>& t) { query = rope(query, t, at), key = rope(key, t, at); };
      if (call.rope && call.rope->cos.rank() == 3)
        turn({unsqueeze(call.rope->cos, 1, at), unsqueeze(call.rope->sin, 1, at), call.rope->pairs});
      else if (call.rope) turn(*call.rope);
      else
        turn(rope_table<T, D>(call.cache ? call.cache->length : 0, length, options.rope, options.rope_base, options.rope_pairs,
                              1, at));
    }
    if (call.cache) std::tie(key, value) = call.cache->append(key, value, at), o.end_aligned = true;
    if (call.padding.defined()) {
      const auto seen = gradus::reshape(call.padding, {B, 1, 1, -1}, at);
      o.mask = o.mask.defined() ? logical_and(o.mask, seen, at) : seen;
    }
    if (options.alibi) o.slopes = alibi_slopes<T, D>(nh, at);
    if (options.sink == SinkKind::zero) o.sink = zeros<T, D>({nh}, at);
    if (options.sink == SinkKind::learned) o.sink = sink;
    if (options.sink == SinkKind::key_value) prepend(key, value, o, at);
    if (call.probabilities) *call.probabilities = attention_probabilities(query, key, o, at);
    const auto y = scaled_dot_product_attention(query, key, value, o, at);
    return out.forward(gradus::reshape(transpose(y, 1, 2, at), {B, length, nh * hs}, at), at);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x, const AttentionCall<T, D>& call = {}, Where at = Where::current()) const {
    return forward(x, call, at);
  }
  /// Self-attention of sequences end to end: x [rows, C], sequence b in the rows start[b] ... start[b + 1] - 1 -> [rows, C].
  /// Gives what forward gives each sequence alone. Without qk_norm = cosine and sink = key_value.
  Tensor<T, D> forward_packed(const Tensor<T, D>& x, const Tensor<int64_t, D>& start, Where at = Where::current()) const {
    if (x.rank() != 2 || x.shape()[1] != q.weight.size(1) || options.qk_norm == QkNorm::cosine ||
        options.sink == SinkKind::key_value)
      fail("MultiHeadAttention", "not packed sequences", {{"x", describe(x)}, {"start", describe(start)}},
           "x [rows, " + std::to_string(q.weight.size(1)) + "], neither cosine attention nor a learnt key", at);
    const auto heads = [&](const Tensor<T, D>& y, int64_t n) { return gradus::reshape(y, {x.shape()[0], n, hs}, at); };
    auto query = heads(q.forward(x, at), nh), key = heads(k.forward(x, at), nkv);
    if (options.qk_norm == QkNorm::rms) query = rms_norm(query, q_norm, 1e-6, at), key = rms_norm(key, k_norm, 1e-6, at);
    if (options.qk_norm == QkNorm::layer) query = plain_norm(query, at), key = plain_norm(key, at);
    if (options.rope > 0) {
      std::vector<double> position;  // from the start of each row's sequence
      const auto first = start.to_vector();
      for (std::size_t b = 0; b + 1 < first.size(); ++b)
        for (int64_t i = first[b]; i < first[b + 1]; ++i) position.push_back(static_cast<double>(i - first[b]));
      const auto table = rope_table<T>(to_device<D>(from_vector<double>(position, at), at), options.rope, options.rope_base,
                                       options.rope_pairs, 1, at);
      const auto turn = [&](const Tensor<T, D>& y) { return transpose(rope(transpose(y, 0, 1, at), table, at), 0, 1, at); };
      query = turn(query), key = turn(key);
    }
    AttentionOptions<T, D> o{.causal = options.causal,
                             .left = options.left,
                             .right = options.right,
                             .softcap = options.softcap,
                             .dropout = training ? options.dropout : 0.0,
                             .form = options.form == AttentionForm::formula ? AttentionForm::formula : AttentionForm::flash};
    if (options.scale > 0) o.scale = options.scale;
    if (options.alibi) o.slopes = alibi_slopes<T, D>(nh, at);
    if (options.sink == SinkKind::zero) o.sink = zeros<T, D>({nh}, at);
    if (options.sink == SinkKind::learned) o.sink = sink;
    const auto y = packed_attention(query, key, heads(v.forward(x, at), nkv), start, start, o, at);
    return out.forward(gradus::reshape(y, {x.shape()[0], nh * hs}, at), at);
  }
  void visit(auto&& f) {
    f("q", q), f("k", k), f("v", v), f("out", out), f("q_norm", q_norm), f("k_norm", k_norm), f("log_scale", log_scale);
    f("sink", sink), f("sink_k", sink_k), f("sink_v", sink_v), f("training", training);
  }
  std::string about() const {
    return std::to_string(nh) + " heads of " + std::to_string(hs) + (nkv != nh ? ", " + std::to_string(nkv) + " of keys" : "") +
           (options.causal ? ", causal" : "");
  }

 private:
  static Tensor<T, D> plain_norm(const Tensor<T, D>& x, Where at) {
    return layer_norm(x, Tensor<T, D>(), Tensor<T, D>(), 1e-5, at);
  }
  static int64_t kv_heads(int64_t heads, const AttentionLayerOptions& o) { return o.kv_heads ? o.kv_heads : heads; }
  static int64_t size_of_head(int64_t C, int64_t heads, const AttentionLayerOptions& o) {
    return o.head_size ? o.head_size : C / heads;
  }
  static int64_t checked(int64_t C, int64_t heads, const AttentionLayerOptions& o, Where at) {
    const int64_t n = o.kv_heads ? o.kv_heads : heads;
    if (C < 1 || heads < 1 || n < 1 || heads % n != 0 || (o.head_size == 0 && C % heads != 0))
      fail("MultiHeadAttention", "the features do not divide into heads",
           {{"C", std::to_string(C)}, {"heads", std::to_string(heads)}, {"kv_heads", std::to_string(n)}},
           "C a multiple of heads (or a head_size), heads a multiple of kv_heads", at);
    if (o.sink == SinkKind::key_value && (o.alibi || o.left >= 0))
      fail("MultiHeadAttention", "a learnt key has no position", {{"sink", "key_value"}},
           "neither alibi nor a window to the left", at);
    return C;
  }
  /// The learnt key and value before all others, always seen.
  void prepend(Tensor<T, D>& key, Tensor<T, D>& value, AttentionOptions<T, D>& o, Where at) const {
    const Shape one{key.size(0), nkv, 1, hs};
    const auto first = [&](const Tensor<T, D>& x) { return expand(gradus::reshape(x, {1, nkv, 1, hs}, at), one, at); };
    const auto join = [&](const auto& a, const auto& b, int dim) {
      return cat(std::vector<std::remove_cvref_t<decltype(b)>>{a, b}, dim, at);
    };
    key = join(first(sink_k), key, 2), value = join(first(sink_v), value, 2);
    o.end_aligned = true;
    Shape column;
    if (o.bias.defined() && o.bias.size(-1) > 1) {
      column = o.bias.shape(), column[column.n - 1] = 1;
      o.bias = join(zeros<T, D>(column, at), o.bias, -1);
    }
    if (o.mask.defined() && o.mask.size(-1) > 1) {
      column = o.mask.shape(), column[column.n - 1] = 1;
      o.mask = join(full<bool, D>(column, 1, at), o.mask, -1);
    }
  }
};

}  // namespace gradus::nn
