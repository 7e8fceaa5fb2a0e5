// Set-based prompting (McIlroy-Young et al. 2024) in the symbols
//
//   P = A || {s_1, ..., s_k} || D                 each part is tokenised alone, then their ids are joined
//   position   A: 0 .. a - 1;  token t of s_i: a + t for every i;  token t of D: a + n* + t,   n* = max_i |s_i|
//   M_uv = 1   iff v <= u and not (u in s_i, v in s_j, i != j) and v is no padding
//
// A token's update depends on its state, its position and the set of (state, position) that it sees; so by induction over the
// layers the states of A, of each s_i and of D are the same for every order of the s_i. A prompt may hold several sets.
#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include <gradus.hpp>
#include <gradus/models/llama.hpp>
#include <gradus/nn.hpp>

namespace sbp {
using namespace gradus;
using Ids = std::vector<int64_t>;

/// What is edited: both (set-based prompting, without or with padding of the s_i to n*), nothing, or one of the two.
enum class Variant { normal, sbp, padded, only_mask, only_position };
inline constexpr Variant kVariants[] = {Variant::normal, Variant::sbp, Variant::padded, Variant::only_mask,
                                        Variant::only_position};
inline const char* name_of(Variant v) {
  constexpr const char* names[] = {"normal", "SBP", "SBP padded", "only mask", "only position"};
  return names[static_cast<int>(v)];
}
inline bool invariant(Variant v) { return v == Variant::sbp || v == Variant::padded; }

/// Fixed text (one piece) or a set of sub-sequences.
template <class Piece>
struct Part {
  bool set = false;
  std::vector<Piece> pieces;
};
template <class Piece>
using Parts = std::vector<Part<Piece>>;

/// Splits at the authors' marks <|start_2d|>, <|split_2d|>, <|end_2d|>; empty pieces are dropped.
inline Parts<std::string> parse(std::string_view s, Where at = Where::current()) {
  constexpr std::string_view start = "<|start_2d|>", split = "<|split_2d|>", end = "<|end_2d|>";
  Parts<std::string> parts;
  const auto put = [](Part<std::string>& p, std::string_view piece) {
    if (!piece.empty()) p.pieces.emplace_back(piece);
  };
  while (!s.empty()) {
    const auto b = s.find(start);
    Part<std::string> fixed;
    put(fixed, s.substr(0, b));
    if (!fixed.pieces.empty()) parts.push_back(fixed);
    if (b == s.npos) break;
    s.remove_prefix(b + start.size());
    const auto e = s.find(end);
    if (e == s.npos || s.substr(0, e).find(start) != s.npos)
      fail("parse", "a set without an end", {{"text", std::string(s.substr(0, 40))}}, std::string(end), at);
    Part<std::string> set{true, {}};
    std::string_view inner = s.substr(0, e);
    for (auto k = inner.find(split); k != inner.npos; k = inner.find(split))
      put(set, inner.substr(0, k)), inner.remove_prefix(k + split.size());
    put(set, inner);
    if (!set.pieces.empty()) parts.push_back(set);
    s.remove_prefix(e + end.size());
  }
  return parts;
}
/// Every piece by itself, so that no token crosses a border.
template <class Tokenizer>
Parts<Ids> tokenize(const Parts<std::string>& parts, const Tokenizer& t) {
  Parts<Ids> out;
  for (const auto& p : parts) {
    out.push_back({p.set, {}});
    for (const auto& s : p.pieces) out.back().pieces.push_back(t.encode(s, false));
  }
  return out;
}
/// The pieces of set number `which` in another order.
inline Parts<Ids> reordered(Parts<Ids> parts, const std::vector<std::size_t>& order, int which = 0) {
  for (auto& p : parts)
    if (p.set && which-- == 0) {
      const auto old = p.pieces;
      for (std::size_t i = 0; i < order.size(); ++i) p.pieces[i] = old[order[i]];
    }
  return parts;
}
/// The pieces of every set sorted by their ids: then also the order of every sum is the same, and results are equal bit by bit.
inline Parts<Ids> canonical(Parts<Ids> parts) {
  for (auto& p : parts)
    if (p.set) std::sort(p.pieces.begin(), p.pieces.end());
  return parts;
}

/// What the model is given.
struct Layout {
  Ids ids;
  std::vector<double> position;
  Ids set, piece;     // numbers from 1; 0: fixed text
  Tensor<bool> real;  // [N], false: padding
  Tensor<bool> mask;  // M [N, N]
  int64_t next = 0;   // the position of the first generated token
  int64_t size() const { return static_cast<int64_t>(ids.size()); }
};
inline Layout layout(const Parts<Ids>& parts, Variant v, int64_t pad = 0) {
  const bool edit_position = v != Variant::normal && v != Variant::only_mask;
  const bool edit_mask = v != Variant::normal && v != Variant::only_position;
  Layout l;
  std::vector<bool> real;
  int64_t base = 0, sets = 0, total = 0;  // base: the position where the part begins
  for (const auto& p : parts) {
    std::size_t longest = 0;  // n*
    for (const Ids& s : p.pieces) longest = std::max(longest, s.size());
    sets += p.set;
    for (std::size_t i = 0; i < p.pieces.size(); ++i) {
      const std::size_t n = p.pieces[i].size(), stored = p.set && v == Variant::padded ? longest : n;
      for (std::size_t t = 0; t < stored; ++t) {
        l.ids.push_back(t < n ? p.pieces[i][t] : pad), real.push_back(t < n);
        l.position.push_back(static_cast<double>(edit_position ? base + static_cast<int64_t>(t) : total));
        l.set.push_back(p.set ? sets : 0), l.piece.push_back(p.set ? static_cast<int64_t>(i) + 1 : 0);
        ++total;
      }
    }
    base += static_cast<int64_t>(longest);
  }
  l.next = edit_position ? base : total;
  l.real = Tensor<bool>(Shape{total});
  std::copy(real.begin(), real.end(), l.real.data());
  const auto place = arange<int64_t>(0, static_cast<double>(total));
  l.mask = logical_and(less_equal(place, unsqueeze(place, 1)), l.real);
  if (edit_mask) {
    const auto s = from_vector<int64_t>(l.set), i = from_vector<int64_t>(l.piece);
    l.mask = logical_and(l.mask, logical_or(not_equal(s, unsqueeze(s, 1)), equal(i, unsqueeze(i, 1))));
  }
  return l;
}
/// Corollary: allowed pairs = N (N + 1) / 2 - sum_{i < j} n_i n_j over each set; without padding.
inline int64_t allowed_pairs(const Parts<Ids>& parts) {
  int64_t N = 0, crossed = 0;
  for (const auto& p : parts) {
    int64_t before = 0;
    for (const Ids& s : p.pieces) {
      const auto n = static_cast<int64_t>(s.size());
      crossed += p.set ? before * n : 0, before += n, N += n;
    }
  }
  return N * (N + 1) / 2 - crossed;
}

/// A prompt that has been read: the cache, and the logits [V] of D's last token.
template <class T = float, class D = Cpu>
struct Reading {
  using Model = models::BasicLlama<T, D>;
  const Model* model;
  Layout at;
  typename Model::Cache cache;
  Tensor<T, D> logits;
  std::vector<Tensor<T, D>> states = {};  // of every layer, [1, N, width], where they are asked for

  /// `room`: how many tokens may follow. Causal runs are those of a layout of one set or of none.
  Reading(const Model& m, const Layout& l, int64_t room, bool keep_states = false)
      : model(&m), at(l), cache(m.cache(1, l.size() + room)) {
    const NoGrad guard;
    const auto x = m.features(models::token_row<D>(l.ids), {.cache = &cache,
                                                            .position = from_vector<double>(l.position).template to<D>(),
                                                            .mask = l.mask.template to<D>(),
                                                            .states = keep_states ? &states : nullptr});
    logits = linear(narrow(x, 1, l.size() - 1, 1), m.head).reshape({-1});
  }
  /// Greedy continuation by `count` tokens, the cache left as it was. `each` gets the logits of every step. Positions go on
  /// from the prompt's, or (total) from the number of stored tokens, as the authors' code does after the first token.
  Ids generate(int64_t count, bool total = false, std::vector<Tensor<T, D>>* each = nullptr) {
    const NoGrad guard;
    Ids out;
    Tensor<T, D> now = logits;
    for (int64_t g = 0; g < count; ++g) {
      if (g > 0) {
        const double p = static_cast<double>((total ? at.size() : at.next) + g - 1);
        const auto seen = unsqueeze(cat(std::vector<Tensor<bool>>{at.real, full<bool>({g}, 1)}, 0), 0);
        const auto x = model->features(models::token_row<D>({out.back()}),
                                       {.cache = &cache, .position = Tensor<double>{p}.template to<D>(), .mask = seen.template to<D>()});
        now = linear(x, model->head).reshape({-1});
      }
      if (each) each->push_back(now);
      out.push_back(argmax(now, 0).item());
    }
    for (auto& c : cache) c.truncate(at.size());
    return out;
  }
  /// log p of each option after D over its length. The options are a set behind the prompt: one pass reads them all, and by the
  /// theorem gives each what it would have alone.
  std::vector<double> log_likelihoods(const std::vector<Ids>& options) {
    const NoGrad guard;
    const Layout o = layout({{true, options}}, Variant::sbp);
    const auto prompt = expand(at.real, {o.size(), at.size()});
    const auto seen = cat(std::vector<Tensor<bool>>{clone(prompt), o.mask}, 1);
    const auto position = add(from_vector<double>(o.position), static_cast<double>(at.next));
    const auto later = model->forward(models::token_row<D>(o.ids), {.cache = &cache,
                                                                    .position = position.template to<D>(),
                                                                    .mask = seen.template to<D>()});
    for (auto& c : cache) c.truncate(at.size());
    // Row r of `p` foretells token r of the options: their first tokens come from D's last, the others from the one before.
    const auto p = log_softmax(cat(std::vector<Tensor<T, D>>{unsqueeze(logits, 0), later.reshape({o.size(), -1})}, 0), -1);
    std::vector<double> out;
    int64_t r = 0;
    for (const Ids& s : options) {
      double sum = 0;
      for (std::size_t t = 0; t < s.size(); ++t, ++r)
        sum += static_cast<double>(select(select(p, 0, t == 0 ? 0 : r), 0, s[t]).item());
      out.push_back(sum / static_cast<double>(s.size()));
    }
    return out;
  }
  /// The authors' max_token_prob: softmax over the options of the mean over j of the logit that step j of the greedy
  /// continuation gives the option's token j.
  std::vector<double> max_logits(const std::vector<Ids>& options, int64_t steps = 10, bool total = false) {
    std::vector<Tensor<T, D>> each;
    generate(steps, total, &each);
    Tensor<double> mean(Shape{static_cast<int64_t>(options.size())});
    for (std::size_t i = 0; i < options.size(); ++i) {
      const std::size_t n = std::min(options[i].size(), each.size());
      double sum = 0;
      for (std::size_t j = 0; j < n; ++j) sum += static_cast<double>(select(each[j], 0, options[i][j]).item());
      mean.data()[i] = sum / static_cast<double>(n);
    }
    return softmax(mean, 0).to_vector();
  }
};

/// All orders of k pieces, or the given and the reversed one.
inline std::vector<std::vector<std::size_t>> orders(std::size_t k, bool all) {
  std::vector<std::size_t> o(k);
  std::iota(o.begin(), o.end(), std::size_t{0});
  std::vector<std::vector<std::size_t>> list{o};
  if (!all) return list.emplace_back(o.rbegin(), o.rend()), list;
  while (std::next_permutation(o.begin(), o.end())) list.push_back(o);
  return list;
}
/// The largest range of any logit over what was added.
template <class T, class D>
struct Spread {
  Tensor<T, D> lo, hi;
  void add(const Tensor<T, D>& x) {
    lo = lo.defined() ? minimum(lo, x) : x, hi = hi.defined() ? maximum(hi, x) : x;
  }
  double value() const { return static_cast<double>(amax(sub(hi, lo)).item()); }
};
template <class T, class D>
double spread(const models::BasicLlama<T, D>& m, const Parts<Ids>& prompt, Variant v, bool all = true, bool sorted = false) {
  std::size_t k = 0;
  for (const auto& p : prompt)
    if (p.set && k == 0) k = p.pieces.size();
  Spread<T, D> s;
  for (const auto& o : orders(k, all)) {
    const auto q = reordered(prompt, o);
    s.add(Reading<T, D>(m, layout(sorted ? canonical(q) : q, v), 0).logits);
  }
  return s.value();
}
/// Corollary 1: the largest difference between the states of any s_i (and of A) and those of a causal run of A || s_i, over all
/// layers; `scale` gets the largest state. For a prompt A {...} D.
template <class T, class D>
double state_difference(const models::BasicLlama<T, D>& m, const Parts<Ids>& prompt, double* scale = nullptr) {
  const Reading<T, D> whole(m, layout(prompt, Variant::sbp), 0, true);
  const Ids& A = prompt[0].pieces[0];
  const auto a = static_cast<int64_t>(A.size());
  double worst = 0, largest = 0;
  int64_t start = a;
  for (const Ids& s : prompt[1].pieces) {
    const auto n = static_cast<int64_t>(s.size());
    const Reading<T, D> alone(m, layout({{false, {A}}, {false, {s}}}, Variant::normal), 0, true);
    for (std::size_t l = 0; l < alone.states.size(); ++l) {
      const auto x = narrow(whole.states[l], 1, start, n), y = narrow(alone.states[l], 1, a, n);
      const auto xa = narrow(whole.states[l], 1, 0, a), ya = narrow(alone.states[l], 1, 0, a);
      worst = std::max({worst, static_cast<double>(amax(abs(sub(x, y))).item()), static_cast<double>(amax(abs(sub(xa, ya))).item())});
      largest = std::max({largest, static_cast<double>(amax(abs(y)).item()), static_cast<double>(amax(abs(ya)).item())});
    }
    start += n;
  }
  if (scale) *scale = largest;
  return worst;
}
/// Corollary 2: |logits of one sub-sequence under both edits - those of a plain causal call|.
template <class T, class D>
double single_difference(const models::BasicLlama<T, D>& m, const Parts<Ids>& prompt) {
  Parts<Ids> one = prompt;
  one[1].pieces.resize(1);
  const Reading<T, D> r(m, layout(one, Variant::sbp), 0);
  const NoGrad guard;
  const auto plain = m.forward(models::token_row<D>(r.at.ids));
  return static_cast<double>(amax(abs(sub(r.logits, select(select(plain, 0, 0), 0, r.at.size() - 1)))).item());
}

/// A random prompt with sub-sequences of unequal lengths.
inline Parts<Ids> random_prompt(int64_t vocabulary, uint64_t seed, const std::vector<int64_t>& lengths = {3, 5, 2, 4}, int64_t a = 6,
                                int64_t d = 4) {
  manual_seed(seed);
  const auto draw = [&](int64_t n) { return randint(0, vocabulary, {n}).to_vector(); };
  Parts<Ids> p{{false, {draw(a)}}, {true, {}}};
  for (const int64_t n : lengths) p[1].pieces.push_back(draw(n));
  p.push_back({false, {draw(d)}});
  return p;
}
/// A random Llama with weights large enough that orders count (logits of deviation about 4).
template <class T>
models::BasicLlama<T> random_model(uint64_t seed, int64_t layers = 2) {
  models::LlamaConfig c;
  c.vocabulary = 97, c.layers = layers, c.width = 64, c.hidden = 128, c.heads = 4, c.kv_heads = 2;
  manual_seed(seed);
  models::BasicLlama<double> m(c);
  const NoGrad guard;
  for (auto& b : m.blocks)
    for (auto* w : {&b.attention.q.weight, &b.attention.k.weight, &b.attention.v.weight, &b.attention.out.weight, &b.gate.weight,
                    &b.up.weight, &b.down.weight})
      w->copy_(mul(randn<double>(w->shape()), 1.5 / std::sqrt(static_cast<double>(w->size(1)))));
  m.head = mul(randn<double>({c.vocabulary, c.width}), 4 / std::sqrt(static_cast<double>(c.width)));
  return models::BasicLlama<T>(m);
}

}  // namespace sbp
