// Attention: the three forms against each other for every variant, a plain loop, gradients, packed sequences, dropout, errors.
#include <limits>

#include <gradus/core/parallel.hpp>
#include <gradus/ops/attention.hpp>
#include <gradus/ops/index.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::List;

namespace {
using Options = AttentionOptions<double, Cpu>;

struct Inputs {
  Tensor<double> q, k, v;
};
Inputs inputs(int64_t B, int64_t nh, int64_t nkv, int64_t T, int64_t S, int64_t hs = 4, int64_t vs = 4) {
  return {check::uniform({B, nh, T, hs}, -1, 1, 1), check::uniform({B, nkv, S, hs}, -1, 1, 2),
          check::uniform({B, nkv, S, vs}, -1, 1, 3)};
}
Tensor<bool> sparse_mask(const Shape& shape, double keep, uint64_t seed) {
  return less(check::uniform(shape, 0, 1, seed), keep);
}

/// y and the gradients of <c, y> for q, k, v, bias, sink.
List everything(const Inputs& x, Options o) {
  List leaves{check::leaf(x.q), check::leaf(x.k), check::leaf(x.v)};
  if (o.bias.defined()) o.bias = check::leaf(o.bias), leaves.push_back(o.bias);
  if (o.sink.defined()) o.sink = check::leaf(o.sink), leaves.push_back(o.sink);
  const auto y = scaled_dot_product_attention(leaves[0], leaves[1], leaves[2], o);
  y.backward(check::uniform(y.shape(), -1, 1, 9));
  List r{y.detach()};
  for (const auto& l : leaves) r.push_back(l.grad());
  return r;
}
void forms_agree(const char* what, const Inputs& x, Options o) {
  INFO(what);
  o.form = AttentionForm::formula;
  const List expected = everything(x, o);
  for (const auto form : {AttentionForm::flash, AttentionForm::chunked}) {
    o.form = form, o.chunk = 7;
    const List found = everything(x, o);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      INFO((form == AttentionForm::flash ? "flash, result " : "chunked, result ") << i);
      CHECK(check::difference(found[i], expected[i], 1e-11, 1e-12) == "");
    }
  }
}
}  // namespace

TEST_CASE("attention is the weighted mean of the values") {
  const auto x = inputs(2, 2, 2, 3, 5);
  const auto y = scaled_dot_product_attention(x.q, x.k, x.v);
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t i = 0; i < 3; ++i) {
        double weight[5], total = 0;
        for (int64_t j = 0; j < 5; ++j) {
          weight[j] = std::exp(sum(x.q(b, h, i, all) * x.k(b, h, j, all)).item() / 2);
          total += weight[j];
        }
        for (int64_t c = 0; c < 4; ++c) {
          double expected = 0;
          for (int64_t j = 0; j < 5; ++j) expected += weight[j] / total * x.v(b, h, j, c).item();
          CHECK(y(b, h, i, c).item() == Approx(expected).epsilon(1e-12));
        }
      }
  CHECK(check::difference(sum(attention_probabilities(x.q, x.k), {-1}), ones<double>({2, 2, 3})) == "");
  CHECK(check::difference(matmul(attention_probabilities(x.q, x.k), x.v), y) == "");
}

TEST_CASE("the three forms agree for every variant, values and gradients") {
  const auto few = inputs(2, 4, 4, 9, 9), grouped = inputs(2, 4, 2, 9, 13, 3, 5), one_head = inputs(2, 4, 1, 9, 9);
  forms_agree("plain", few, {});
  forms_agree("cross, grouped", grouped, {});
  forms_agree("multi-query", one_head, {.causal = true});
  forms_agree("causal at the end", grouped, {.causal = true, .end_aligned = true});
  forms_agree("window", few, {.left = 2, .right = 1});
  forms_agree("causal window", few, {.causal = true, .left = 3});
  forms_agree("scale and softcap", few, {.scale = 3, .softcap = 0.8});
  forms_agree("slopes", few, {.causal = true, .slopes = check::uniform({4}, 0.1, 1, 5)});
  forms_agree("sink", few, {.causal = true, .sink = check::uniform({4}, -1, 1, 6)});
  forms_agree("bias of a head", few, {.bias = check::uniform({4, 9, 9}, -1, 1, 7), .softcap = 2});
  forms_agree("bias of keys", grouped, {.bias = check::uniform({2, 1, 1, 13}, -1, 1, 7)});
  forms_agree("bias of queries", grouped, {.bias = check::uniform({2, 4, 9, 1}, -1, 1, 7)});
  forms_agree("mask with empty rows", few, {.mask = sparse_mask({2, 1, 9, 9}, 0.15, 8)});
  forms_agree("key padding", grouped, {.mask = sparse_mask({2, 1, 1, 13}, 0.6, 8), .sink = check::uniform({4}, -1, 1, 6)});
  forms_agree("dropout", grouped, {.dropout = 0.4, .stream = RandomStream{3, 5}});
  forms_agree("everything", grouped,
              {.mask = sparse_mask({9, 13}, 0.7, 4),
               .bias = check::uniform({4, 9, 13}, -1, 1, 7),
               .causal = true,
               .end_aligned = true,
               .left = 6,
               .softcap = 3,
               .slopes = check::uniform({4}, 0, 1, 5),
               .sink = check::uniform({4}, -1, 1, 6),
               .dropout = 0.3,
               .stream = RandomStream{1, 2}});
  // Several tiles of 64, and the two backwards of the kernel: one head goes through the second.
  forms_agree("tiles", inputs(1, 2, 1, 130, 197, 8, 8),
              {.causal = true, .end_aligned = true, .left = 70, .dropout = 0.1, .stream = RandomStream{}});
  forms_agree("no key", inputs(1, 2, 2, 3, 0), {});
}

TEST_CASE("attention does not depend on the number of threads") {
  const auto x = inputs(1, 2, 1, 150, 150, 16, 16);
  const Options o{.bias = check::uniform({150}, -1, 1, 7), .causal = true};
  const int before = num_threads();
  set_num_threads(1);
  const List one = everything(x, o);
  set_num_threads(4);
  const List four = everything(x, o);
  set_num_threads(before);
  for (std::size_t i = 0; i < one.size(); ++i) CHECK(one[i].to_vector() == four[i].to_vector());
}

TEST_CASE("gradients and second gradients of attention") {
  const auto x = inputs(1, 2, 1, 3, 4, 2, 3);
  const auto bias = check::uniform({2, 3, 1}, -1, 1, 4), sink = check::uniform({2}, -1, 1, 5);
  for (const auto form : {AttentionForm::flash, AttentionForm::chunked, AttentionForm::formula}) {
    const auto f = [&](const List& v) {
      return scaled_dot_product_attention(v[0], v[1], v[2],
                                          {.bias = v[3],
                                           .causal = true,
                                           .end_aligned = true,
                                           .softcap = 2,
                                           .sink = v[4],
                                           .dropout = 0.3,
                                           .stream = RandomStream{1, 1},
                                           .form = form,
                                           .chunk = 3});
    };
    check::gradients(f, List{x.q, x.k, x.v, bias, sink});
  }
  // One tensor in three roles.
  check::gradients([](const Tensor<double>& v) { return scaled_dot_product_attention(v, v, v, {.causal = true}); },
                   check::uniform({1, 1, 3, 2}));
}

TEST_CASE("closed forms of the variants") {
  const auto x = inputs(1, 1, 1, 4, 4);
  // Equal scores: the mean over what is seen. The first query of a causal attention sees itself alone.
  const auto flat = scaled_dot_product_attention(zeros<double>({1, 1, 4, 4}), x.k, x.v, {.causal = true});
  CHECK(check::difference(flat(0, 0, 3, all), mean(x.v(0, 0, all, all), {0})) == "");
  CHECK(check::difference(flat(0, 0, 0, all), x.v(0, 0, 0, all)) == "");
  // A sink of score 0 among 4 equal scores: 4/5 of the mean (softmax with 1 added to the denominator).
  const auto sunk = scaled_dot_product_attention(zeros<double>({1, 1, 4, 4}), x.k, x.v, {.sink = zeros<double>({1})});
  CHECK(check::difference(sunk(0, 0, 1, all), mean(x.v(0, 0, all, all), {0}) * 0.8) == "");
  // Window of one: the value itself. Nothing seen: 0.
  CHECK(check::difference(scaled_dot_product_attention(x.q, x.k, x.v, {.left = 0, .right = 0}), x.v) == "");
  const auto none = scaled_dot_product_attention(x.q, x.k, x.v, {.mask = sparse_mask({4, 4}, 0, 1)});
  CHECK(check::difference(none, zeros<double>({1, 1, 4, 4})) == "");
  // end_aligned: the last of a sequence alone gives what it gave in the sequence.
  const auto whole = scaled_dot_product_attention(x.q, x.k, x.v, {.causal = true});
  const auto last = scaled_dot_product_attention(narrow(x.q, 2, 3, 1), x.k, x.v, {.causal = true, .end_aligned = true});
  CHECK(check::difference(last, narrow(whole, 2, 3, 1)) == "");
}

TEST_CASE("packed sequences give what each gives alone") {
  const std::vector<int64_t> lengths{3, 0, 70, 5};
  const auto start = from_vector<int64_t>({0, 3, 3, 73, 78});
  const auto q = check::uniform({78, 4, 3}, -1, 1, 1), k = check::uniform({78, 2, 3}, -1, 1, 2),
             v = check::uniform({78, 2, 5}, -1, 1, 3);
  const Options o{.causal = true, .left = 40, .slopes = check::uniform({4}, 0.1, 0.5, 4)};
  const auto y = packed_attention(q, k, v, start, start, o);
  int64_t at = 0;
  for (const int64_t n : lengths) {
    const auto part = [&](const Tensor<double>& x) { return unsqueeze(transpose(narrow(x, 0, at, n), 0, 1), 0); };
    const auto alone = scaled_dot_product_attention(part(q), part(k), part(v), o);
    CHECK(check::difference(narrow(y, 0, at, n), transpose(squeeze(alone, 0), 0, 1)) == "");
    at += n;
  }
  const auto run = [&](AttentionForm form) {
    Options d = o;
    d.dropout = 0.25, d.stream = RandomStream{7, 7}, d.form = form, d.bias = check::uniform({4, 1, 1, 70}, -1, 1, 8);
    const List leaf{check::leaf(q), check::leaf(k), check::leaf(v), check::leaf(d.bias)};
    d.bias = leaf[3];
    const auto out = packed_attention(leaf[0], leaf[1], leaf[2], start, start, d);
    out.backward(check::uniform(out.shape(), -1, 1, 5));
    return List{out.detach(), leaf[0].grad(), leaf[1].grad(), leaf[2].grad(), leaf[3].grad()};
  };
  const List flash = run(AttentionForm::flash), formula = run(AttentionForm::formula);
  for (std::size_t i = 0; i < flash.size(); ++i) CHECK(check::difference(flash[i], formula[i], 1e-11, 1e-12) == "");
}

TEST_CASE("dropout of weights keeps the expectation and draws a stream a call") {
  manual_seed(1);
  const auto q = zeros<double>({1, 8, 64, 1}), k = zeros<double>({1, 8, 64, 1}), v = ones<double>({1, 8, 64, 1});
  const auto once = [&] { return scaled_dot_product_attention(q, k, v, {.dropout = 0.4}); };
  const auto y = once();
  CHECK(mean(y).item() == Approx(1).margin(0.02));              // E[z] = 1
  CHECK(var(y).item() == Approx(0.4 / 0.6 / 64).epsilon(0.2));  // of the mean of 64 z
  CHECK(y.to_vector() != once().to_vector());
}

TEST_CASE("attention in float, bf16 and from strided heads") {
  const auto x = inputs(2, 3, 3, 20, 20, 8, 8);
  const auto y = scaled_dot_product_attention(x.q, x.k, x.v, {.causal = true});
  const auto f = scaled_dot_product_attention(cast<float>(x.q), cast<float>(x.k), cast<float>(x.v), {.causal = true});
  CHECK(check::difference(cast<double>(f), y, 1e-5, 1e-6) == "");
  const auto h = scaled_dot_product_attention(cast<bf16>(x.q), cast<bf16>(x.k), cast<bf16>(x.v), {.causal = true});
  CHECK(check::difference(cast<double>(h), y, 0.02, 0.01) == "");
  const auto strided = [](const Tensor<double>& t) {
    return transpose(clone(transpose(t, 1, 2)), 1, 2);
  };  // [B, T, nh, hs] in memory
  CHECK(scaled_dot_product_attention(strided(x.q), strided(x.k), strided(x.v), {.causal = true}).to_vector() == y.to_vector());
}

TEST_CASE("attention says what does not fit") {
  const auto x = inputs(1, 3, 2, 4, 4);
  CHECK(check::missing(check::error_of([&] { scaled_dot_product_attention(x.q, x.k, x.v); }),
                       {"queries, keys and values do not match", "float64 cpu [1, 3, 4, 4]", "attention_test.cpp"}) == "");
  const auto ok = inputs(1, 2, 2, 4, 4);
  CHECK(check::missing(check::error_of([&] {
                         scaled_dot_product_attention(ok.q, ok.k, ok.v, {.mask = sparse_mask({3, 4}, 1, 1)});
                       }),
                       {"the mask does not broadcast", "[1, 2, 4, 4]"}) == "");
  CHECK(check::missing(check::error_of([&] {
                         auto slopes = ones<double>({2});
                         scaled_dot_product_attention(ok.q, ok.k, ok.v, {.slopes = slopes.requires_grad_()});
                       }),
                       {"the slopes get no gradient"}) == "");
  CHECK(check::missing(check::error_of([&] {
                         const auto flat = check::uniform({4, 2, 2});
                         packed_attention(flat, flat, flat, from_vector<int64_t>({0, 3}), from_vector<int64_t>({0, 4}));
                       }),
                       {"the starts do not cut the rows", "q_start"}) == "");
}
