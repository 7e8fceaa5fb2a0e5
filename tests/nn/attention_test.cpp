// Multi-head attention: every option against the operator written out, the cache, gradients. tests/recorded has PyTorch's
// numbers.
#include <gradus/nn/attention.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::List;

namespace {
using Mha = nn::MultiHeadAttention<double>;
Tensor<double> heads(const Tensor<double>& y, int64_t n) {
  return transpose(gradus::reshape(y, {y.size(0), y.size(1), n, -1}), 1, 2);
}
Tensor<double> merged(const Mha& m, const Tensor<double>& y) {
  return m.out(gradus::reshape(transpose(y, 1, 2), {y.size(0), y.size(2), m.nh * m.hs}));
}
}  // namespace

TEST_CASE("options of multi-head attention") {
  manual_seed(1);
  const auto x = check::uniform({2, 5, 8});
  {
    Mha m(8, 4, {.kv_heads = 2, .qkv_bias = false, .causal = true, .softcap = 3, .rope = 2});
    const auto t = rope_table<double>(0, 5, 2);
    const auto y = scaled_dot_product_attention(rope(heads(m.q(x), 4), t), rope(heads(m.k(x), 2), t), heads(m.v(x), 2),
                                                {.causal = true, .softcap = 3});
    CHECK(check::difference(m(x), merged(m, y)) == "");
    CHECK(nn::parameter_count(m) == 8 * 8 + 2 * 4 * 8 + 8 * 8 + 8);
  }
  {
    Mha m(8, 2, {.qk_norm = nn::QkNorm::layer, .scale = 0.3});
    const Tensor<double> none;
    const auto q = layer_norm(heads(m.q(x), 2), none, none, 1e-5), k = layer_norm(heads(m.k(x), 2), none, none, 1e-5);
    CHECK(check::difference(m(x), merged(m, scaled_dot_product_attention(q, k, heads(m.v(x), 2), {.scale = 0.3}))) == "");
    CHECK(nn::parameter_count(m) == 4 * (8 * 8 + 8));
  }
  {
    Mha m(8, 2, {.left = 1, .right = 1, .qk_norm = nn::QkNorm::rms, .sink = nn::SinkKind::learned});
    nn::init::normal(m.sink, 0, 1);
    const auto q = rms_norm(heads(m.q(x), 2)), k = rms_norm(heads(m.k(x), 2));
    CHECK(check::difference(m(x), merged(m, scaled_dot_product_attention(q, k, heads(m.v(x), 2),
                                                                         {.left = 1, .right = 1, .sink = m.sink}))) == "");
  }
  {
    Mha m(8, 2, {.qk_norm = nn::QkNorm::cosine, .sink = nn::SinkKind::zero, .alibi = true});
    const auto q = normalize(heads(m.q(x), 2), 2, -1), k = normalize(heads(m.k(x), 2), 2, -1);
    const auto y = scaled_dot_product_attention(
        q, k, heads(m.v(x), 2), {.scale = 10, .slopes = nn::alibi_slopes<double>(2), .sink = zeros<double>({2})});
    CHECK(check::difference(m(x), merged(m, y), 1e-11, 1e-12) == "");
  }
  {  // A learnt key and value in front, seen by all: causal, with a mask and a bias that do not know of it.
    Mha m(8, 2, {.causal = true, .sink = nn::SinkKind::key_value});
    nn::init::normal(m.sink_k, 0, 1), nn::init::normal(m.sink_v, 0, 1);
    const auto mask = less(check::uniform({5, 5}, 0, 1, 7), 0.8);
    const auto bias = check::uniform({2, 5, 5}, -1, 1, 8);
    const auto first = [&](const Tensor<double>& s) { return expand(gradus::reshape(s, {1, 2, 1, 4}), {2, 2, 1, 4}); };
    const auto k = cat(List{first(m.sink_k), heads(m.k(x), 2)}, 2), v = cat(List{first(m.sink_v), heads(m.v(x), 2)}, 2);
    const auto wide_mask =
        cat(std::vector<Tensor<bool>>{full<bool>({5, 1}, 1), logical_and(mask, tril(ones<double>({5, 5})) == 1)}, 1);
    const auto y = scaled_dot_product_attention(heads(m.q(x), 2), k, v,
                                                {.mask = wide_mask, .bias = cat(List{zeros<double>({2, 5, 1}), bias}, 2)});
    CHECK(check::difference(m.forward(x, {.mask = mask, .bias = bias}), merged(m, y)) == "");
  }
}

TEST_CASE("a cache gives what the whole sequence gives") {
  manual_seed(2);
  Mha m(8, 4, {.kv_heads = 2, .causal = true, .left = 3, .alibi = true, .rope = 2});
  nn::eval(m);
  const NoGrad guard;
  const auto x = check::uniform({2, 7, 8}), whole = m(x);
  nn::KVCache<double> cache(2, 2, 7, 2);
  std::vector<Tensor<double>> parts;
  for (const auto& [first, n] : std::vector<std::pair<int64_t, int64_t>>{{0, 3}, {3, 1}, {4, 1}, {5, 2}})
    parts.push_back(m.forward(narrow(x, 1, first, n), {.cache = &cache}));
  CHECK(check::difference(cat(parts, 1), whole) == "");
  CHECK(check::missing(check::error_of([&] { m.forward(narrow(x, 1, 0, 1), {.cache = &cache}); }),
                       {"KVCache", "do not fit", "<= 7"}) == "");
  cache.truncate(6);
  CHECK(check::difference(m.forward(narrow(x, 1, 6, 1), {.cache = &cache}), narrow(whole, 1, 6, 1)) == "");
  const GradMode on(true);
  CHECK(check::contains(check::error_of([&] { m.forward(narrow(x, 1, 0, 1), {.cache = &cache}); }), "keeps no gradients"));
}

TEST_CASE("positions of each sample, as when parts of a prompt stand side by side") {
  manual_seed(5);
  Mha m(8, 2, {.rope = 4});
  const auto x = check::uniform({2, 3, 8});
  const auto table = rope_table<double>(Tensor<double>{{0, 1, 2}, {0, 5, 1}}, 4);
  const auto y = m.forward(x, {.rope = &table});
  CHECK(check::difference(narrow(y, 0, 0, 1), m(narrow(x, 0, 0, 1))) == "");
  // Attention without a mask does not know the order of tokens beyond their positions.
  const auto swapped = rope_table<double>(Tensor<double>{{0, 1, 5}}, 4);
  const Tensor<int64_t> order{0, 2, 1};
  const auto z = m.forward(index_select(narrow(x, 0, 1, 1), 1, order), {.rope = &swapped});
  CHECK(check::difference(index_select(z, 1, order), narrow(y, 0, 1, 1), 1e-11, 1e-12) == "");
}

TEST_CASE("packed sequences are what each is alone") {
  manual_seed(6);
  Mha m(8, 4, {.kv_heads = 2, .causal = true, .qk_norm = nn::QkNorm::rms, .sink = nn::SinkKind::learned, .rope = 2});
  const auto x = check::uniform({7, 8});
  const auto y = m.forward_packed(x, from_vector<int64_t>({0, 3, 7}));
  CHECK(check::difference(narrow(y, 0, 0, 3), squeeze(m(unsqueeze(narrow(x, 0, 0, 3), 0)), 0)) == "");
  CHECK(check::difference(narrow(y, 0, 3, 4), squeeze(m(unsqueeze(narrow(x, 0, 3, 4), 0)), 0)) == "");
  CHECK(check::contains(check::error_of([&] {
                          m.forward_packed(unsqueeze(x, 0), from_vector<int64_t>({0, 7}));
                        }),
                        "not packed sequences"));
}

TEST_CASE("gradients of multi-head attention") {
  manual_seed(3);
  Mha m(4, 2, {.kv_heads = 1, .causal = true, .qk_norm = nn::QkNorm::cosine, .sink = nn::SinkKind::learned});
  check::gradients(
      [&](const List& v) {
        Mha l = m;
        l.q.weight = v[1], l.k.weight = v[2], l.v.weight = v[3], l.log_scale = v[4], l.sink = v[5];
        return l(v[0]);
      },
      List{check::uniform({1, 3, 4}), m.q.weight, m.k.weight, m.v.weight, m.log_scale, m.sink});
}

TEST_CASE("dropout of weights in training only; errors") {
  manual_seed(4);
  Mha m(8, 2, {.dropout = 0.5});
  const auto x = check::uniform({1, 4, 8});
  CHECK(m(x).to_vector() != m(x).to_vector());
  nn::eval(m);
  CHECK(m(x).to_vector() == m(x).to_vector());
  CHECK(check::contains(check::error_of([] { Mha(8, 3); }), "C a multiple of heads"));
  CHECK(check::missing(check::error_of([&] { m(check::uniform({4, 8})); }), {"x [B, T, 8]", "attention_test.cpp"}) == "");
  CHECK(check::contains(nn::summary(m), "MultiHeadAttention(2 heads of 4)"));
  const Mha copy(nn::to<Cpu>(m));
  CHECK(copy(x).to_vector() == m(x).to_vector());
}
