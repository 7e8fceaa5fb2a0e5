// Set-based prompting on a random model: positions, mask, the theorem and its corollaries.
#include "set-based-prompting/model.hpp"

#include "support/catch.hpp"

using namespace sbp;

namespace {
struct Words {  // a token for each word and the space before it
  Ids encode(std::string_view s, bool) const {
    Ids out;
    for (const char c : s)
      if (c != ' ') out.push_back(c - 'a');
    return out;
  }
};
Parts<Ids> small() { return {{false, {{1, 2, 3}}}, {true, {{4, 5}, {6, 7, 8}}}, {false, {{9, 10}}}}; }
}  // namespace

TEST_CASE("a prompt is split at its marks; empty pieces are dropped", "[papers]") {
  const auto p = parse("q <|start_2d|>a b<|split_2d|> c<|split_2d|><|end_2d|>x<|start_2d|>d<|split_2d|>e<|end_2d|>y");
  REQUIRE(p.size() == 5);
  CHECK(p[1].set);
  CHECK(p[1].pieces == std::vector<std::string>{"a b", " c"});
  CHECK(p[3].pieces == std::vector<std::string>{"d", "e"});
  CHECK(p[4].pieces[0] == "y");
  CHECK(tokenize(p, Words())[1].pieces == std::vector<Ids>{{0, 1}, {2}});
  CHECK_THROWS(parse("a<|start_2d|>b"));
  CHECK(parse("plain").size() == 1);
  CHECK_FALSE(parse("plain")[0].set);
}

TEST_CASE("positions: D starts at a + n*", "[papers]") {
  CHECK(layout(small(), Variant::sbp).position == std::vector<double>{0, 1, 2, 3, 4, 3, 4, 5, 6, 7});
  CHECK(layout(small(), Variant::only_position).position == layout(small(), Variant::sbp).position);
  CHECK(layout(small(), Variant::normal).position == std::vector<double>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  const auto padded = layout(small(), Variant::padded, 96);
  CHECK(padded.ids == Ids{1, 2, 3, 4, 5, 96, 6, 7, 8, 9, 10});
  CHECK(padded.position == std::vector<double>{0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7});
  CHECK(padded.next == 8);
  CHECK(layout(small(), Variant::sbp).next == 8);
  CHECK(layout(small(), Variant::only_mask).next == 10);
  auto two = small();  // a second set and more text
  two.push_back({true, {{11}, {12, 13}}}), two.push_back({false, {{14}}});
  CHECK(layout(two, Variant::sbp).position == std::vector<double>{0, 1, 2, 3, 4, 3, 4, 5, 6, 7, 8, 8, 9, 10});
}

TEST_CASE("the mask, and the number of allowed pairs", "[papers]") {
  const auto l = layout(small(), Variant::sbp);
  const auto seen = [&](int64_t u, int64_t v) { return l.mask.data()[u * l.size() + v]; };
  for (int64_t u = 0; u < 10; ++u)
    for (int64_t v = 0; v < 10; ++v) {
      const bool crossed = u >= 5 && u < 8 && v >= 3 && v < 5;
      CHECK(seen(u, v) == (v <= u && !crossed));
    }
  for (const uint64_t seed : {1u, 2u}) {
    auto p = random_prompt(97, seed, {3, 5, 2, 4});
    if (seed == 2) p.push_back({true, {{1, 2}, {3}}});
    CHECK(sum(cast<int64_t>(layout(p, Variant::sbp).mask)).item() == allowed_pairs(p));
  }
  CHECK(allowed_pairs(small()) == 55 - 6);
  const auto padded = layout(small(), Variant::padded);
  for (int64_t u = 0; u < padded.size(); ++u) CHECK_FALSE(padded.mask.data()[u * padded.size() + 5]);
}

TEST_CASE("the theorem: no order of the sub-sequences changes the logits", "[papers]") {
  const auto m = random_model<double>(1, 3);
  const auto p = random_prompt(97, 2);
  CHECK(spread(m, p, Variant::sbp) < 1e-10);
  CHECK(spread(m, p, Variant::padded) < 1e-10);
  for (const auto v : {Variant::normal, Variant::only_mask, Variant::only_position}) CHECK(spread(m, p, v) > 0.1);
  CHECK(spread(models::Llama(m), p, Variant::sbp) < 5e-4);
  CHECK(spread(models::Llama(m), p, Variant::sbp, true, true) == 0);  // canonical: bit by bit
  // The padded and the plain form are one method.
  const Reading<double> a(m, layout(p, Variant::sbp), 0), b(m, layout(p, Variant::padded), 0);
  CHECK(amax(abs(sub(a.logits, b.logits))).item() < 1e-10);
  // Two sets in one prompt, the second in another order.
  auto two = p;
  two.push_back({true, {{1, 2, 3}, {4}}}), two.push_back({false, {{5, 6}}});
  const Reading<double> c(m, layout(two, Variant::sbp), 0), d(m, layout(reordered(two, {1, 0}, 1), Variant::sbp), 0);
  CHECK(amax(abs(sub(c.logits, d.logits))).item() < 1e-10);
}

TEST_CASE("corollaries: a causal run of A || s_i, one sub-sequence, equal sub-sequences, shifted positions", "[papers]") {
  const auto m = random_model<double>(3, 3);
  auto p = random_prompt(97, 4);
  CHECK(state_difference(m, p) < 1e-10);
  CHECK(single_difference(m, p) < 1e-10);
  p[1].pieces[2] = p[1].pieces[0];
  const Reading<double> r(m, layout(p, Variant::sbp), 0, true);
  for (const auto& x : r.states)  // s_1 at 6 .. 8, s_3 at 14 .. 16
    CHECK(amax(abs(sub(narrow(x, 1, 6, 3), narrow(x, 1, 14, 3)))).item() < 1e-10);
  auto moved = layout(p, Variant::sbp);
  for (double& x : moved.position) x += 100;
  CHECK(amax(abs(sub(r.logits, Reading<double>(m, moved, 0).logits))).item() < 1e-10);
}

TEST_CASE("what is generated and scored afterwards has no order either", "[papers]") {
  const auto m = random_model<double>(5, 2);
  const auto p = random_prompt(97, 6);
  const std::vector<Ids> options{{1, 2, 3}, {4}, {5, 6}};
  for (const auto v : {Variant::sbp, Variant::padded})
    for (const bool total : {false, true}) {
      Reading<double> a(m, layout(p, v), 12), b(m, layout(reordered(p, {3, 1, 0, 2}), v), 12);
      CHECK(a.generate(10, total) == b.generate(10, total));
      const auto x = a.log_likelihoods(options), y = b.log_likelihoods(options);
      const auto s = a.max_logits(options, 4, total), t = b.max_logits(options, 4, total);
      for (std::size_t i = 0; i < 3; ++i) {
        CHECK(x[i] == Approx(y[i]).epsilon(1e-9));
        CHECK(s[i] == Approx(t[i]).epsilon(1e-9));
      }
      CHECK(s[0] + s[1] + s[2] == Approx(1));
    }
}

TEST_CASE("options in one pass have what each has alone; generation is the model's own", "[papers]") {
  const auto m = random_model<double>(7, 2);
  const auto p = random_prompt(97, 8);
  const auto l = layout(p, Variant::normal);
  Reading<double> r(m, l, 12);
  CHECK(r.generate(6) == m.generate(l.ids, 6));
  const std::vector<Ids> options{{1, 2, 3}, {4}};
  const auto got = r.log_likelihoods(options);
  for (std::size_t i = 0; i < options.size(); ++i) {
    Ids joined = l.ids;
    joined.insert(joined.end(), options[i].begin(), options[i].end());
    const auto all = m.log_likelihoods(joined);
    double sum = 0;
    for (std::size_t t = all.size() - options[i].size(); t < all.size(); ++t) sum += all[t];
    CHECK(got[i] == Approx(sum / static_cast<double>(options[i].size())).epsilon(1e-9));
  }
}
