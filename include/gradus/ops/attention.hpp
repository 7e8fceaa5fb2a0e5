// Attention in three forms with equal results; formulas and fused gradients in kernels/attention.hpp.
//
//   formula   as it is written: scores, softmax, product; holds all T x S weights
//   chunked   Rabe & Staats 2021: ops over `chunk` keys at a time, weights made again in backward; O(T chunk) memory
//   flash     Dao et al. 2022: one fused kernel over tiles, weights made again in backward; O(T) memory
//
// A recorded backward (create_graph) of any form differentiates the formula. Dropout drops the same weights in all three.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include <gradus/kernels/attention.hpp>
#include <gradus/ops/create.hpp>
#include <gradus/ops/dropout.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/ops/norm.hpp>
#include <gradus/ops/shape.hpp>

namespace gradus {

enum class AttentionForm { flash, chunked, formula };

template <class T, class D>
struct AttentionOptions {
  Tensor<bool, D> mask = {};      ///< broadcast to [B, nh, T, S]: where it is false nothing is attended to
  Tensor<T, D> bias = {};         ///< broadcast to [B, nh, T, S], added to the scores after scale and softcap
  bool causal = false;            ///< query t attends to keys s <= t
  double scale = 0;               ///< of the scores; 0 stands for 1 / sqrt(hs)
  bool end_aligned = false;       ///< the last query stands at the last key (keys from a cache), not the first at the first
  int64_t left = -1, right = -1;  ///< sliding window: keys from `left` before the query to `right` after it; -1: no limit
  double softcap = 0;             ///< c tanh(score / c), Gemma 2; 0: none
  Tensor<T, D> slopes = {};       ///< [nh], ALiBi (Press et al. 2022): slopes_h |t - s| is taken off; gets no gradient
  Tensor<T, D> sink = {};         ///< [nh]: a score of a key that has no value; zeros: softmax with 1 added to the sum
  double dropout = 0;             ///< the probability that a weight is dropped
  std::optional<RandomStream> stream = {};  ///< of the dropout; a new one when not given
  AttentionForm form = AttentionForm::flash;
  int64_t chunk = 512;  ///< keys at a time of the chunked form
};

namespace detail {

/// An attention whose shapes are checked: q [B, nh, T, hs], k [B, nkv, S, hs], v [B, nkv, S, vs]; packed: [rows, heads, width].
template <class T, class D>
struct AttentionCase {
  Tensor<T, D> q, k, v, bias, sink, slopes;
  Tensor<bool, D> mask;
  Tensor<int64_t, D> q_start, k_start;  // [B + 1] when packed
  kernels::AttentionDims g;
  AttentionForm form = AttentionForm::flash;
  int64_t chunk = 512;
};

/// x with its last dimension dense.
template <class T, class D>
Tensor<T, D> dense_rows(const Tensor<T, D>& x, Where at) {
  return x.strides().back() == 1 || x.shape().back() == 1 ? x : contiguous(x, at);
}
/// Queries that see nothing.
template <class T, class D>
Tensor<bool, D> sees_nothing(const Tensor<T, D>& l, Where at) {
  return equal(l, -std::numeric_limits<double>::infinity(), at);
}
template <class U, class X>
kernels::AttentionRows<U> attention_rows(const X& x) {  // [B, heads, rows, width] or [rows, heads, width]
  const Shape& s = x.strides();
  if (x.rank() == 4) return {x.data(), s[0], s[1], s[2]};
  return {x.data(), 0, s[1], s[0]};
}
template <class T, class D>
kernels::AttentionScores<T> attention_scores(const AttentionCase<T, D>& c) {
  kernels::AttentionScores<T> e;
  const Shape full{c.g.B, c.g.nh, c.g.T, c.g.S};
  const auto strides = [&](const AnyTensor& x, int64_t(&to)[4]) {
    const Shape s = broadcast_strides(x, full);
    for (int i = 0; i < 4; ++i) to[i] = s[i];
  };
  if (c.bias.defined()) e.bias = c.bias.data(), strides(c.bias, e.bias_stride);
  if (c.mask.defined()) e.mask = c.mask.data(), strides(c.mask, e.mask_stride);
  if (c.slopes.defined()) e.slopes = c.slopes.data();
  if (c.sink.defined()) e.sink = c.sink.data();
  return e;
}
/// Uninitialised, in the order of memory [B, rows, heads, width], so that merging the heads needs no copy.
template <class T, class D>
Tensor<T, D> attention_result(const AnyTensor& like, int64_t width, Where at) {
  Shape s = like.shape();
  s[s.n - 1] = width;
  if (s.n == 3) return Tensor<T, D>(s, at);
  const Tensor<T, D> y(Shape{s[0], s[2], s[1], s[3]}, at);
  const Shape& m = y.strides();
  return Tensor<T, D>(alias(y, s, Shape{m[0], m[2], m[1], m[3]}, 0));
}

/// Key j minus the position of query i, [T, n] for the keys j0 ... j0 + n - 1 of S.
template <class D>
Tensor<int64_t, D> key_distance(int64_t T, int64_t S, int64_t j0, int64_t n, bool end_aligned, Where at) {
  const double shift = end_aligned ? static_cast<double>(S - T) : 0.0;
  const auto key = arange<int64_t, D>(static_cast<double>(j0), static_cast<double>(j0 + n), 1, at);
  const auto query = arange<int64_t, D>(shift, static_cast<double>(T) + shift, 1, at);
  return sub(key, unsqueeze(query, 1, at), at);
}
template <class D>
Tensor<bool, D> in_window(const Tensor<int64_t, D>& distance, int64_t left, int64_t right, Where at) {
  if (left < 0) return less_equal(distance, static_cast<double>(right), at);
  const auto near = greater_equal(distance, -static_cast<double>(left), at);
  return right < 0 ? near : logical_and(near, less_equal(distance, static_cast<double>(right), at), at);
}
/// The part of x for the keys j0 ... j0 + n - 1, x itself where its last dimension is broadcast.
template <class X>
X for_keys(const X& x, int64_t j0, int64_t n, Where at) {
  return x.rank() == 0 || x.shape().back() == 1 ? x : narrow(x, -1, j0, n, 1, at);
}

/// s of kernels/attention.hpp for the keys j0 ... j0 + n - 1, [B, nh, T, n]; `fade`, when asked for, gets 1 - tanh^2.
template <class T, class D>
Tensor<T, D> masked_scores(const AttentionCase<T, D>& c, const Tensor<T, D>& q, const Tensor<T, D>& k, int64_t j0, int64_t n,
                           Tensor<T, D>* fade, Where at) {
  const auto& g = c.g;
  auto s = matmul(mul(q, g.scale, at), transpose(k, -1, -2, at), at);
  if (g.softcap > 0) {
    const auto t = tanh(mul(s, 1 / g.softcap, at), at);
    if (fade) *fade = sub(1.0, square(t, at), at);
    s = mul(t, g.softcap, at);
  }
  if (c.bias.defined()) s = add(s, for_keys(c.bias, j0, n, at), at);
  if (g.left < 0 && g.right < 0 && !c.slopes.defined() && !c.mask.defined()) return s;
  const double none = -std::numeric_limits<double>::infinity();
  const auto distance = key_distance<D>(g.T, g.S, j0, n, g.end_aligned, at);
  if (c.slopes.defined())
    s = sub(s, mul(gradus::reshape(c.slopes, {-1, 1, 1}, at), cast<T>(maximum(distance, neg(distance, at), at), at), at), at);
  if (c.mask.defined()) s = where(for_keys(c.mask, j0, n, at), s, none, at);
  return g.left < 0 && g.right < 0 ? s : where(in_window(distance, g.left, g.right, at), s, none, at);
}
/// Keys or values of the head that each query head reads.
template <class T, class D>
Tensor<T, D> per_query_head(const Tensor<T, D>& k, const kernels::AttentionDims& g, Where at) {
  return g.nh == g.nkv ? k : repeat_interleave(k, g.nh / g.nkv, 1, at);
}
template <class T, class D>
Tensor<T, D> finite_or_zero(const Tensor<T, D>& m, Where at) {
  return where(equal(m, -std::numeric_limits<double>::infinity(), at), 0.0, m, at);
}
/// p before dropout, [B, nh, T, S], from elementary ops; a row that sees nothing is 0.
template <class T, class D>
Tensor<T, D> attention_weights(const AttentionCase<T, D>& c, Where at) {
  const auto s = masked_scores<T, D>(c, c.q, per_query_head(c.k, c.g, at), 0, c.g.S, nullptr, at);
  if (c.g.S == 0) return s;
  auto top = amax(s.detach(), {-1}, true, at);
  const auto sink = c.sink.defined() ? gradus::reshape(c.sink, {-1, 1, 1}, at) : c.sink;
  if (sink.defined()) top = maximum(top, sink.detach(), at);
  top = finite_or_zero(top, at);
  const auto e = exp(sub(s, top, at), at);
  auto total = sum(e, {-1}, true, at);
  if (sink.defined()) total = add(total, exp(sub(sink, top, at), at), at);
  return div(e, where(equal(total.detach(), 0, at), 1.0, total, at), at);
}
template <class T, class D>
Tensor<T, D> attention_by_formula(const AttentionCase<T, D>& c, Where at) {
  auto p = attention_weights(c, at);
  if (c.g.dropout > 0) p = dropout(p, c.g.dropout, c.g.random, at);
  return matmul(p, per_query_head(c.v, c.g, at), at);
}

/// o and l by ops over chunks of keys; nothing is recorded.
template <class T, class D>
std::pair<Tensor<T, D>, Tensor<compute_t<T>, D>> attention_by_chunks(const AttentionCase<T, D>& c, Where at) {
  const auto& g = c.g;
  const Shape row{g.B, g.nh, g.T, 1};
  auto top = full<T, D>(row, -std::numeric_limits<double>::infinity(), at), total = zeros<T, D>(row, at);
  auto o = zeros<T, D>({g.B, g.nh, g.T, g.vs}, at);
  const auto raise = [&](const Tensor<T, D>& to) {
    const auto next = maximum(top, to, at), shift = finite_or_zero(next, at), f = exp(sub(top, shift, at), at);
    total = mul(total, f, at), o = mul(o, f, at), top = next;
    return shift;
  };
  for (int64_t j0 = 0; j0 < g.S; j0 += c.chunk) {
    const int64_t n = std::min(c.chunk, g.S - j0);
    const auto k = per_query_head(narrow(c.k, 2, j0, n, 1, at), g, at), v = per_query_head(narrow(c.v, 2, j0, n, 1, at), g, at);
    const auto s = masked_scores<T, D>(c, c.q, k, j0, n, nullptr, at);
    auto p = exp(sub(s, raise(amax(s, {-1}, true, at)), at), at);
    total = add(total, sum(p, {-1}, true, at), at);
    if (g.dropout > 0) {
      Tensor<T, D> z(p.shape(), at);
      kernels::attention_dropout<T>(D{}, z.data(), 0, g.T, j0, n, g);
      p = mul(p, z, at);
    }
    o = add(o, matmul(p, v, at), at);
  }
  if (c.sink.defined()) {
    const auto sink = gradus::reshape(c.sink, {-1, 1, 1}, at);
    const auto shift = raise(sink);
    total = add(total, exp(sub(sink, shift, at), at), at);
  }
  const auto empty = equal(total, 0, at);
  o = div(o, where(empty, 1.0, total, at), at);
  const auto l = add(finite_or_zero(top, at), log(total, at), at);  // log 0: -infinity, as the contract says
  return {o, cast<compute_t<T>>(gradus::reshape(l, {g.B, g.nh, g.T}, at), at)};
}
template <class T, class D>
struct AttentionGradients {
  Tensor<T, D> q, k, v, bias;
};
template <class T, class D>
AttentionGradients<T, D> attention_chunks_backward(const AttentionCase<T, D>& c, const Tensor<compute_t<T>, D>& l0,
                                                   const Tensor<compute_t<T>, D>& d0, const Tensor<T, D>& dy, bool want_bias,
                                                   Where at) {
  const auto& g = c.g;
  const auto l = cast<T>(unsqueeze(l0, -1, at), at), d = cast<T>(unsqueeze(d0, -1, at), at);
  const auto blind = sees_nothing(l, at);
  std::vector<Tensor<T, D>> dk, dv, dbias;
  const auto to_key_head = [&](const Tensor<T, D>& x) {  // [B, nh, n, e] summed over each group of query heads
    if (g.nh == g.nkv) return x;
    return sum(gradus::reshape(x, {g.B, g.nkv, g.nh / g.nkv, x.size(2), x.size(3)}, at), {2}, false, at);
  };
  AttentionGradients<T, D> r{zeros_like(c.q, at), zeros_like(c.k, at), zeros_like(c.v, at), {}};
  if (want_bias) r.bias = zeros<T, D>(c.bias.shape(), at);
  for (int64_t j0 = 0; j0 < g.S; j0 += c.chunk) {
    const int64_t n = std::min(c.chunk, g.S - j0);
    const auto k = per_query_head(narrow(c.k, 2, j0, n, 1, at), g, at), v = per_query_head(narrow(c.v, 2, j0, n, 1, at), g, at);
    Tensor<T, D> fade, z;
    const auto s = masked_scores<T, D>(c, c.q, k, j0, n, &fade, at);
    const auto p = where(blind, 0.0, exp(sub(s, l, at), at), at);
    auto dp = matmul(dy, transpose(v, -1, -2, at), at), pz = p;
    if (g.dropout > 0) {
      z = Tensor<T, D>(p.shape(), at);
      kernels::attention_dropout<T>(D{}, z.data(), 0, g.T, j0, n, g);
      dp = mul(dp, z, at), pz = mul(p, z, at);
    }
    auto ds = mul(p, sub(dp, d, at), at);
    if (want_bias) {
      Shape part = c.bias.shape();
      const bool whole = part.n == 0 || part[part.n - 1] == 1;
      if (!whole) part[part.n - 1] = n;
      auto into = whole ? r.bias : narrow(r.bias, -1, j0, n, 1, at);
      into += sum_to(ds, part, at);
    }
    if (fade.defined()) ds = mul(ds, fade, at);
    r.q = add(r.q, mul(matmul(ds, k, at), g.scale, at), at);
    narrow(r.k, 2, j0, n, 1, at).copy_(to_key_head(mul(matmul(transpose(ds, -1, -2, at), c.q, at), g.scale, at)), at);
    narrow(r.v, 2, j0, n, 1, at).copy_(to_key_head(matmul(transpose(pz, -1, -2, at), dy, at)), at);
  }
  return r;
}

/// One sequence of a packed case as a case of its own; used where the weights are held anyway.
template <class T, class D>
Tensor<T, D> packed_by_formula(const AttentionCase<T, D>& c, Where at) {
  const auto q_start = c.q_start.to_vector(), k_start = c.k_start.to_vector();
  const Shape full{c.g.B, c.g.nh, c.g.T, c.g.S};
  Tensor<T, D> z;
  if (c.g.dropout > 0) {
    z = Tensor<T, D>(full, at);
    kernels::attention_dropout<T>(D{}, z.data(), 0, c.g.T, 0, c.g.S, c.g);
  }
  std::vector<Tensor<T, D>> parts;
  for (int64_t b = 0; b < c.g.B; ++b) {
    const auto i = static_cast<std::size_t>(b);
    const int64_t Tb = q_start[i + 1] - q_start[i], Sb = k_start[i + 1] - k_start[i];
    const auto sequence = [&](const Tensor<T, D>& x, int64_t first, int64_t n) {
      return unsqueeze(transpose(narrow(x, 0, first, n, 1, at), 0, 1, at), 0, at);
    };
    const auto scores = [&](const auto& x) {
      return x.defined() ? narrow(narrow(narrow(expand(x, full, at), 0, b, 1, 1, at), 2, 0, Tb, 1, at), 3, 0, Sb, 1, at) : x;
    };
    AttentionCase<T, D> one = c;
    one.q = sequence(c.q, q_start[i], Tb), one.k = sequence(c.k, k_start[i], Sb), one.v = sequence(c.v, k_start[i], Sb);
    one.bias = scores(c.bias), one.mask = scores(c.mask);
    one.g.B = 1, one.g.T = Tb, one.g.S = Sb;
    auto p = attention_weights(one, at);
    if (z.defined()) p = mul(p, scores(z), at);
    parts.push_back(transpose(squeeze(matmul(p, per_query_head(one.v, one.g, at), at), 0, at), 0, 1, at));
  }
  return cat(parts, 0, at);
}

}  // namespace detail

/// flash and chunked. Keeps q, k, v, o and one number a query; the weights are made again.
template <class T, class D>
struct AttentionNode final : Node {
  using A = compute_t<T>;
  Saved<T, D> q{this, "q"}, k{this, "k"}, v{this, "v"}, bias{this, "bias"}, sink{this, "sink"}, slopes{this, "slopes"},
      o{this, "o"};
  Saved<bool, D> mask{this, "mask"};
  Saved<int64_t, D> q_start{this, "q_start"}, k_start{this, "k_start"};
  Saved<A, D> l{this, "l"};
  kernels::AttentionDims g;
  AttentionForm form = AttentionForm::flash;
  int64_t chunk = 512;

  void keep(const detail::AttentionCase<T, D>& c, const Tensor<T, D>& y, const Tensor<A, D>& stat) {
    q = c.q, k = c.k, v = c.v, bias = c.bias, sink = c.sink, slopes = c.slopes, mask = c.mask, o = y, l = stat;
    q_start = c.q_start, k_start = c.k_start, g = c.g, form = c.form, chunk = c.chunk;
  }
  detail::AttentionCase<T, D> restore() const {
    return {q.get(),    k.get(),       v.get(),       bias.get(), sink.get(), slopes.get(),
            mask.get(), q_start.get(), k_start.get(), g,          form,       chunk};
  }
  void backward(const AnyTensor& any) override {
    const Tensor<T, D> dy = detail::dense_rows(Tensor<T, D>(any.ref()), at);
    auto c = restore();
    if (grad_enabled()) return recorded(c, Tensor<T, D>(any.ref()));
    Tensor<A, D> d(Shape{g.B, g.nh, g.T}, at);
    const Tensor<T, D> out = detail::dense_rows(o.get(), at);
    kernels::attention_delta<T>(D{}, detail::attention_rows<const T>(out), detail::attention_rows<const T>(dy), d.data(), g);
    detail::AttentionGradients<T, D> r;
    if (form == AttentionForm::chunked) {
      r = detail::attention_chunks_backward(c, l.get(), d, dy, wants(3), at);
    } else {
      const auto in = [](const Tensor<T, D>& x) { return detail::attention_rows<const T>(x); };
      const auto e = detail::attention_scores(c);
      if (wants(0) || wants(1) || wants(2)) {
        r.q = detail::attention_result<T, D>(c.q, g.hs, at), r.k = detail::attention_result<T, D>(c.k, g.hs, at);
        r.v = detail::attention_result<T, D>(c.v, g.vs, at);
        if (c.q_start.defined())
          for (auto* x : {&r.q, &r.k, &r.v}) x->fill_(0, at);  // rows outside of all sequences
        kernels::attention_bwd<T>(D{}, in(c.q), in(c.k), in(c.v), e, l.get().data(), d.data(), in(dy),
                                  detail::attention_rows<T>(r.q), detail::attention_rows<T>(r.k),
                                  detail::attention_rows<T>(r.v), g);
      }
      if (wants(3)) {
        int64_t extent[4];
        for (int i = 0; i < 4; ++i) extent[i] = i < 4 - c.bias.rank() ? 1 : c.bias.shape()[i - 4 + c.bias.rank()];
        r.bias = Tensor<T, D>(c.bias.shape(), at);
        kernels::attention_bwd_bias<T>(D{}, in(c.q), in(c.k), in(c.v), e, l.get().data(), d.data(), in(dy), r.bias.data(),
                                       extent, g);
      }
    }
    if (wants(0)) accumulate(0, r.q);
    if (wants(1)) accumulate(1, r.k);
    if (wants(2)) accumulate(2, r.v);
    if (wants(3)) accumulate(3, r.bias);
    if (wants(4)) {
      const auto share = exp(sub(cast<A>(gradus::reshape(c.sink, {-1, 1}, at), at), l.get(), at), at);
      const auto part = where(detail::sees_nothing(l.get(), at), 0.0, mul(share, d, at), at);
      accumulate(4, cast<T>(neg(sum(part, {0, 2}, false, at), at), at));
    }
  }

 private:
  void recorded(detail::AttentionCase<T, D>& c, const Tensor<T, D>& dy) {
    std::vector<Tensor<T, D>> from;
    std::vector<int> which;
    Tensor<T, D>* const operand[] = {&c.q, &c.k, &c.v, &c.bias, &c.sink};
    for (int i = 0; i < 5; ++i) {
      if (!wants(i) || !operand[i]->requires_grad()) continue;
      *operand[i] = clone(*operand[i], at);  // an identity of its own: q, k and v may be one tensor
      from.push_back(*operand[i]), which.push_back(i);
    }
    const auto y = c.q_start.defined() ? detail::packed_by_formula(c, at) : detail::attention_by_formula(c, at);
    const auto found = detail::composed_gradients(y, from, dy, at);
    for (std::size_t i = 0; i < from.size(); ++i) accumulate(which[i], found[i].defined() ? found[i] : zeros_like(from[i], at));
  }
};

namespace detail {

template <class T, class D>
Tensor<T, D> run_attention(AttentionCase<T, D> c, Where at) {
  const bool packed = c.q_start.defined();
  // Masks that are taken down or given are those of all weights: only the formula has them in hand.
  if (c.form == AttentionForm::formula || (c.g.dropout > 0 && mask_tape)) return packed ? packed_by_formula(c, at) : attention_by_formula(c, at);
  using A = compute_t<T>;
  c.q = dense_rows(c.q, at), c.k = dense_rows(c.k, at), c.v = dense_rows(c.v, at);
  for (auto* x : {&c.bias, &c.sink, &c.slopes})
    if (x->defined()) *x = contiguous(*x, at);
  Tensor<T, D> o;
  Tensor<A, D> l;
  if (c.form == AttentionForm::chunked) {
    std::tie(o, l) = no_grad([&] { return attention_by_chunks(c, at); });
  } else {
    o = attention_result<T, D>(c.q, c.g.vs, at), l = Tensor<A, D>(Shape{c.g.B, c.g.nh, c.g.T}, at);
    if (packed) o.fill_(0, at);
    kernels::attention_fwd<T>(D{}, attention_rows<const T>(c.q), attention_rows<const T>(c.k), attention_rows<const T>(c.v),
                              attention_scores(c), attention_rows<T>(o), l.data(), c.g);
  }
  if (wants_grad(c.q, c.k, c.v, c.bias, c.sink)) {
    auto& node = record_list<AttentionNode<T, D>>(o, at, std::vector<Tensor<T, D>>{c.q, c.k, c.v, c.bias, c.sink});
    node.keep(c, o, l);
  }
  return o;
}

/// What both entry points check; q, k, v of equal rank 4 ([B, heads, rows, width]) or, packed, 3 ([rows, heads, width]).
template <class T, class D>
AttentionCase<T, D> attention_case(const char* op, const Tensor<T, D>& q, const Tensor<T, D>& k, const Tensor<T, D>& v,
                                   const AttentionOptions<T, D>& o, Where at) {
  AttentionCase<T, D> c;
  const int heads = 1, rows = q.rank() == 4 ? 2 : 0, last = q.rank() - 1;
  auto& g = c.g;
  g.B = q.rank() == 4 ? q.shape()[0] : 1, g.nh = q.shape()[heads], g.nkv = k.shape()[heads];
  g.T = q.shape()[rows], g.S = k.shape()[rows], g.hs = q.shape()[last], g.vs = v.shape()[last];
  const bool fits = (q.rank() == 3 || (k.shape()[0] == g.B && v.shape()[0] == g.B)) && k.shape()[last] == g.hs &&
                    v.shape()[heads] == g.nkv && v.shape()[rows] == g.S && g.nkv > 0 && g.nh % g.nkv == 0;
  if (!fits)
    fail(op, "queries, keys and values do not match", {{"q", describe(q)}, {"k", describe(k)}, {"v", describe(v)}},
         "equal batches, q and k of one width, k and v of equal length and heads, the heads of q a multiple of theirs", at);
  if (o.dropout != 0) check_probability(op, o.dropout, at);
  if (o.left < -1 || o.right < -1 || o.softcap < 0 || o.chunk < 1)
    fail(op, "no such option",
         {{"left", std::to_string(o.left)},
          {"right", std::to_string(o.right)},
          {"softcap", std::to_string(o.softcap)},
          {"chunk", std::to_string(o.chunk)}},
         "left, right >= -1, softcap >= 0, chunk >= 1", at);
  for (const auto* x : {&o.slopes, &o.sink})
    if (x->defined() && !(x->shape() == Shape{g.nh}))
      fail(op, "not one number a head", {{x == &o.sink ? "sink" : "slopes", describe(*x)}}, "[" + std::to_string(g.nh) + "]",
           at);
  if (wants_grad(o.slopes))
    fail(op, "the slopes get no gradient", {{"slopes", describe(o.slopes)}},
         "slopes without gradients; learned ones as bias = -slopes |t - s|", at);
  c.q = q, c.k = k, c.v = v, c.mask = o.mask, c.bias = o.bias, c.sink = o.sink, c.slopes = o.slopes, c.form = o.form,
  c.chunk = o.chunk;
  g.scale = o.scale != 0 ? o.scale : 1 / std::sqrt(static_cast<double>(g.hs)), g.softcap = o.softcap;
  g.left = o.left, g.right = o.causal ? 0 : o.right, g.end_aligned = o.end_aligned;
  g.dropout = o.dropout;
  if (g.dropout > 0) g.random = o.stream ? *o.stream : generator().draw();
  return c;
}
inline void check_scores_shape(const char* op, const char* name, const AnyTensor& x, const kernels::AttentionDims& g,
                               Where at) {
  if (!x.defined()) return;
  const Shape full{g.B, g.nh, g.T, g.S};
  bool fits = x.rank() <= 4;
  for (int i = 1; fits && i <= x.rank(); ++i) fits = x.shape()[x.rank() - i] == 1 || x.shape()[x.rank() - i] == full[4 - i];
  if (!fits) fail(op, std::string("the ") + name + " does not broadcast to the scores", {{name, describe(x)}}, full.str(), at);
}
/// q, k, v of rank 2 to 4 as a case of rank 4.
template <class T, class D>
AttentionCase<T, D> batched_case(const char* op, const Tensor<T, D>& q, const Tensor<T, D>& k, const Tensor<T, D>& v,
                                 AttentionOptions<T, D> o, Where at) {
  const int r = q.rank();
  if (r < 2 || r > 4 || k.rank() != r || v.rank() != r)
    fail(op, "wrong number of dimensions", {{"q", describe(q)}, {"k", describe(k)}, {"v", describe(v)}},
         "q [B, nh, T, hs], k [B, nkv, S, hs], v [B, nkv, S, vs]; or all without nh, or without B and nh", at);
  if (r == 4) {
    auto c = attention_case(op, q, k, v, o, at);
    check_scores_shape(op, "mask", o.mask, c.g, at), check_scores_shape(op, "bias", o.bias, c.g, at);
    return c;
  }
  const auto lift = [&](const Tensor<T, D>& x) { return r == 3 ? unsqueeze(x, 1, at) : unsqueeze(unsqueeze(x, 0, at), 0, at); };
  if (r == 3 && o.mask.defined() && o.mask.rank() == 3) o.mask = unsqueeze(o.mask, 1, at);
  if (r == 3 && o.bias.defined() && o.bias.rank() == 3) o.bias = unsqueeze(o.bias, 1, at);
  return batched_case(op, lift(q), lift(k), lift(v), o, at);
}
template <class T, class D>
Tensor<T, D> unbatched(const Tensor<T, D>& y, int rank, Where at) {
  return rank == 4 ? y : rank == 3 ? squeeze(y, 1, at) : squeeze(squeeze(y, 0, at), 0, at);
}

}  // namespace detail

/// softmax(scale q k^T + bias) v over the keys that mask, window and causality leave: q [B, nh, T, hs], k [B, nkv, S, hs],
/// v [B, nkv, S, vs] -> [B, nh, T, vs]; nkv divides nh (grouped-query attention; 1: multi-query). All may lack nh, or B and nh.
/// A query that sees no key gives 0.
template <Floating T, class D>
Tensor<T, D> scaled_dot_product_attention(const Tensor<T, D>& q, const Tensor<T, D>& k, const Tensor<T, D>& v,
                                          const AttentionOptions<T, D>& o = {}, Where at = Where::current()) {
  const char* op = "scaled_dot_product_attention(q, k, v)";
  return detail::unbatched(detail::run_attention(detail::batched_case(op, q, k, v, o, at), at), q.rank(), at);
}
/// The weights before dropout, [B, nh, T, S], for study; differentiable.
template <Floating T, class D>
Tensor<T, D> attention_probabilities(const Tensor<T, D>& q, const Tensor<T, D>& k, const AttentionOptions<T, D>& o = {},
                                     Where at = Where::current()) {
  const auto c = detail::batched_case("attention_probabilities(q, k)", q, k, k, o, at);
  return detail::unbatched(detail::attention_weights(c, at), q.rank(), at);
}
/// Sequences of different lengths end to end, without padding: q [rows, nh, hs], k [keys, nkv, hs], v [keys, nkv, vs]. Sequence
/// b has the rows q_start[b] ... q_start[b + 1] - 1 of q and the same of k_start in k and v. -> [rows, nh, vs].
/// bias and mask broadcast to [B, nh, longest of q, longest of k]. Forms: flash and formula. The starts are read on the host.
template <Floating T, class D>
Tensor<T, D> packed_attention(const Tensor<T, D>& q, const Tensor<T, D>& k, const Tensor<T, D>& v,
                              const Tensor<int64_t, D>& q_start, const Tensor<int64_t, D>& k_start,
                              const AttentionOptions<T, D>& o = {}, Where at = Where::current()) {
  const char* op = "packed_attention(q, k, v)";
  if (q.rank() != 3 || k.rank() != 3 || v.rank() != 3)
    fail(op, "wrong number of dimensions", {{"q", describe(q)}, {"k", describe(k)}, {"v", describe(v)}},
         "q [rows, nh, hs], k [keys, nkv, hs], v [keys, nkv, vs]", at);
  if (o.form == AttentionForm::chunked)
    fail(op, "packed sequences in chunks", {{"q", describe(q)}}, "the form flash or formula", at);
  auto c = detail::attention_case(op, q, k, v, o, at);
  const auto longest = [&](const char* name, const Tensor<int64_t, D>& start, int64_t rows) {
    const auto s = start.to_vector();
    bool fits = start.rank() == 1 && s.size() >= 2 && s.front() == 0 && s.back() == rows;
    int64_t most = 0;
    for (std::size_t i = 0; fits && i + 1 < s.size(); ++i) fits = s[i] <= s[i + 1], most = std::max(most, s[i + 1] - s[i]);
    if (!fits)
      fail(op, "the starts do not cut the rows into sequences", {{name, describe(start)}, {"rows", std::to_string(rows)}},
           "0, not decreasing, and the number of rows at the end", at);
    return most;
  };
  c.g.T = longest("q_start", q_start, c.g.T), c.g.S = longest("k_start", k_start, c.g.S);
  c.g.B = q_start.numel() - 1;
  if (k_start.numel() != q_start.numel())
    fail(op, "not equally many sequences", {{"q_start", describe(q_start)}, {"k_start", describe(k_start)}}, "equal lengths",
         at);
  detail::check_scores_shape(op, "mask", o.mask, c.g, at), detail::check_scores_shape(op, "bias", o.bias, c.g, at);
  c.q_start = contiguous(q_start, at), c.k_start = contiguous(k_start, at);
  c.g.q_start = c.q_start.data(), c.g.k_start = c.k_start.data();
  return detail::run_attention(c, at);
}

}  // namespace gradus
