// Loaders, samplers and generated data.
#include <map>
#include <set>

#include <gradus/data/loader.hpp>
#include <gradus/data/synthetic.hpp>

#include "support/check.hpp"

using namespace gradus;
using data::Indices;

namespace {
struct Made {
  int64_t epoch, number;
  Indices index;
  double noise;
  bool operator==(const Made&) const = default;
};
Made make(const data::BatchPlan& plan) {
  double noise = 0;
  for (const int64_t i : plan.index) noise += data::Draws(plan.stream, static_cast<uint64_t>(i)).uniform();
  return {plan.epoch, plan.number, plan.index, noise};
}
std::vector<Made> epochs(data::Loader<Made>& loader, int64_t until) {
  std::vector<Made> all;
  while (loader.epoch() < until)
    for (const auto& b : loader) all.push_back(b);
  return all;
}
std::vector<int64_t> counts(const std::vector<int>& labels, const Indices& index, int64_t classes) {
  std::vector<int64_t> n(static_cast<std::size_t>(classes), 0);
  for (const int64_t i : index) ++n[static_cast<std::size_t>(labels[static_cast<std::size_t>(i)])];
  return n;
}
}  // namespace

TEST_CASE("a loader gives the same batches for any number of threads", "[data]") {
  std::vector<std::vector<Made>> runs;
  for (const int threads : {0, 1, 3}) {
    data::Loader<Made> loader(23, {.batch = 5, .seed = 4, .threads = threads, .ahead = 2}, make);
    CHECK(loader.size() == 5);
    runs.push_back(epochs(loader, 3));
  }
  CHECK(runs[0].size() == 15);
  CHECK(runs[0] == runs[1]);
  CHECK(runs[0] == runs[2]);
  std::multiset<int64_t> seen;
  for (std::size_t b = 5; b < 10; ++b) seen.insert(runs[0][b].index.begin(), runs[0][b].index.end());
  CHECK(seen.size() == 23);
  for (int64_t i = 0; i < 23; ++i) CHECK(seen.count(i) == 1);
  CHECK(runs[0][0].index != runs[0][5].index);  // each epoch has its own order
  CHECK(runs[0][4].index.size() == 3);
  data::Loader<Made> full(23, {.batch = 5, .drop_last = true}, make);
  CHECK(full.size() == 4);
}

TEST_CASE("a loader goes on in the middle of an epoch", "[data]") {
  data::Loader whole(23, {.batch = 4, .seed = 4}, make);
  const auto all = epochs(whole, 3);
  data::Loader<Made> first(23, {.batch = 4, .seed = 4, .threads = 2}, make), second(23, {.batch = 4, .seed = 4, .threads = 1}, make);
  std::vector<Made> parts;
  for (int epoch = 0; epoch < 2; ++epoch)
    for (const auto& b : first) {
      parts.push_back(b);
      if (parts.size() == 9) break;  // in the second epoch
    }
  CHECK(parts.size() == 9);
  second.load_state_dict(first.state_dict());
  CHECK(second.epoch() == 1);
  CHECK(second.next_batch() == 3);
  for (const auto& b : epochs(second, 3)) parts.push_back(b);
  CHECK(parts == all);
  data::Loader<Made> other(23, {.batch = 4, .seed = 5}, make);
  CHECK(check::missing(check::error_of([&] { other.load_state_dict(first.state_dict()); }), {"Loader", "another order", "4", "5"}) == "");
}

TEST_CASE("what make() throws arrives in the loop; orders can be given", "[data]") {
  data::Loader<int> loader(8, {.batch = 2, .threads = 2}, [](const data::BatchPlan& p) {
    if (p.number == 2) throw std::runtime_error("batch 2");
    return static_cast<int>(p.number);
  });
  int seen = 0;
  CHECK_THROWS_WITH([&] { for (const int b : loader) seen += b + 1; }(), "batch 2");
  CHECK(seen == 3);
  data::Loader<Made> given([](int64_t epoch) { return Indices{epoch, epoch + 1, 7}; }, {.batch = 2}, make);
  const auto all = epochs(given, 2);
  CHECK(all[0].index == Indices{0, 1});
  CHECK(all[3].index == Indices{7});
  CHECK(check::missing(check::error_of([] { data::Loader<Made>(3, {.batch = 0}, make); }), {"Loader", "batch", "loader_test.cpp"}) == "");
}

TEST_CASE("balanced, weighted and long-tailed samples", "[data]") {
  std::vector<int> labels;
  for (int i = 0; i < 1000; ++i) labels.push_back(i < 900 ? 0 : i < 990 ? 1 : 2);
  const auto balanced = counts(labels, data::class_balanced(labels, 3, 6000, {1, 0}), 3);
  for (const int64_t n : balanced) CHECK(std::abs(n - 2000) < 200);  // 5 deviations
  const auto drawn = data::weighted({1, 0, 3}, 4000, {1, 1});
  CHECK(std::count(drawn.begin(), drawn.end(), 1) == 0);
  CHECK(std::abs(std::count(drawn.begin(), drawn.end(), 2) - 3000) < 150);
  std::vector<int> even;
  for (int i = 0; i < 1000; ++i) even.push_back(i % 5);
  const auto tail = data::long_tail(even, 5, 100, {2, 0});
  CHECK(counts(even, tail, 5) == std::vector<int64_t>{200, 63, 20, 6, 2});  // 200 * 100^{-k/4}
  CHECK(std::set<int64_t>(tail.begin(), tail.end()).size() == tail.size());
  CHECK(tail == data::long_tail(even, 5, 100, {2, 0}));
  CHECK(tail != data::long_tail(even, 5, 100, {3, 0}));
  CHECK(check::missing(check::error_of([&] { data::class_balanced(labels, 4, 1, {1, 0}); }), {"class_balanced", "without samples", "3"}) == "");
  CHECK(check::missing(check::error_of([&] { data::long_tail(labels, 2, 10, {1, 0}); }), {"long_tail", "out of range", "990", "0 to 1"}) == "");
  CHECK(check::missing(check::error_of([&] { data::weighted({0, 0}, 1, {1, 0}); }), {"weighted", "no weight"}) == "");
}

TEST_CASE("label noise: rates and where labels go", "[data]") {
  const std::vector<int> clean(4000, 1);
  const auto symmetric = data::symmetric_noise(clean, 4, 0.4, {5, 0});
  const auto n = [](const std::vector<int>& v, int k) { return std::count(v.begin(), v.end(), k); };
  CHECK(std::abs(n(symmetric, 1) - 2400) < 160);
  for (const int k : {0, 2, 3}) CHECK(std::abs(n(symmetric, k) - 533) < 120);
  CHECK(std::abs(n(data::symmetric_noise(clean, 4, 0.4, {5, 0}, true), 1) - 2800) < 160);
  const auto pair = data::pair_noise(clean, 4, 0.25, {5, 1});
  CHECK(std::abs(n(pair, 2) - 1000) < 140);
  CHECK(n(pair, 1) + n(pair, 2) == 4000);
  CHECK(data::pair_noise(std::vector<int>{3, 3}, 4, 1, {1, 0}) == std::vector<int>{0, 0});
  CHECK(n(data::asymmetric_noise(clean, {0, 3, 2, 3}, 1, {5, 2}), 3) == 4000);
  CHECK(check::missing(check::error_of([&] { data::symmetric_noise(clean, 1, 0.5, {1, 0}); }), {"symmetric_noise", "2 classes"}) == "");
}

TEST_CASE("exact noise: counts in each class", "[data]") {
  std::vector<int> clean;
  for (int i = 0; i < 1000; ++i) clean.push_back(i % 10 == 0 ? 0 : 1 + i % 3);  // 100 of class 0, 300 of each of the others
  const auto wrong = [&](const std::vector<int>& noisy, int k) {
    int n = 0;
    for (std::size_t i = 0; i < clean.size(); ++i) n += clean[i] == k && noisy[i] != k;
    return n;
  };
  const auto a = data::exact_noise(clean, 4, 0.333, {5, 0});
  CHECK((wrong(a, 0) == 34 && wrong(a, 1) == 100 && wrong(a, 2) == 100 && wrong(a, 3) == 100));  // ceil, never the true class
  int to_two = 0;
  for (std::size_t i = 0; i < clean.size(); ++i) to_two += clean[i] == 1 && a[i] == 2;
  CHECK(std::abs(to_two - 33) < 20);
  CHECK(data::exact_noise(clean, 4, 0.333, {5, 0}) == a);
  CHECK(data::exact_noise(clean, 4, 0.333, {6, 0}) != a);
  CHECK(data::exact_noise(clean, 4, 0, {5, 0}) == clean);
  const auto b = data::exact_noise(clean, 4, 0.5, {5, 0}, {3, 1, 1, 3});
  CHECK((wrong(b, 0) == 50 && wrong(b, 1) == 0 && wrong(b, 2) == 150 && wrong(b, 3) == 0));
  for (std::size_t i = 0; i < clean.size(); ++i) CHECK((b[i] == clean[i] || b[i] == (clean[i] == 0 ? 3 : 1)));
  CHECK(check::missing(check::error_of([&] {
                         data::exact_noise(clean, 4, 1.5, {1, 0});
                       }),
                       {"exact_noise", "rate", "<= 1"}) == "");
  CHECK(check::missing(check::error_of([&] {
                         data::exact_noise(clean, 4, 0.5, {1, 0}, {0, 1});
                       }),
                       {"exact_noise", "2 classes"}) == "");
  CHECK(check::missing(check::error_of([&] {
                         data::exact_noise(clean, 3, 0.5, {1, 0});
                       }),
                       {"exact_noise", "label is out of range"}) == "");
}

TEST_CASE("splits and folds", "[data]") {
  std::vector<int> labels;
  for (int i = 0; i < 100; ++i) labels.push_back(i < 80 ? 0 : 1);
  const auto [a, b] = data::stratified_split(labels, 2, 0.25, {1, 0});
  CHECK(counts(labels, a, 2) == std::vector<int64_t>{20, 5});
  CHECK(counts(labels, b, 2) == std::vector<int64_t>{60, 15});
  const auto [c, d] = data::random_split(10, 0.3, {1, 0});
  CHECK((c.size() == 3 && d.size() == 7));
  std::multiset<int64_t> all;
  for (int64_t i = 0; i < 3; ++i) {
    const auto [test, rest] = data::fold(10, 3, i, {1, 0});
    CHECK(test.size() + rest.size() == 10);
    CHECK((test.size() == 3 || test.size() == 4));
    all.insert(test.begin(), test.end());
  }
  CHECK(std::set<int64_t>(all.begin(), all.end()).size() == 10);
  CHECK(all.size() == 10);
  CHECK(check::missing(check::error_of([] { data::fold(3, 5, 0, {1, 0}); }), {"fold", "k <= n"}) == "");
}

TEST_CASE("modular arithmetic, mixtures, moons and spirals", "[data]") {
  const auto sum = data::modular_arithmetic(7);
  CHECK(sum.size() == 49);
  CHECK(sum.t.to_vector()[6 * 7 + 5] == 4);
  const auto quotient = data::modular_arithmetic(7, data::Modular::divide);
  CHECK(quotient.size() == 42);
  for (int64_t i = 0; i < 42; ++i) CHECK(quotient.t.data()[i] * quotient.x.data()[2 * i + 1] % 7 == quotient.x.data()[2 * i]);
  CHECK(data::modular_arithmetic(5, data::Modular::subtract).t.to_vector()[1] == 4);
  CHECK(data::modular_arithmetic(5, data::Modular::square_sum).t.to_vector()[24] == 2);
  CHECK(check::missing(check::error_of([] { data::modular_arithmetic(8, data::Modular::divide); }), {"modular_arithmetic", "8", "prime"}) == "");
  const auto mix = data::gaussian_mixture(4000, {{0, 0}, {10, 0}}, 0.5, {3, 0}, {1, 3});
  double n = 0, x = 0, xx = 0;
  for (int64_t i = 0; i < 4000; ++i)
    if (mix.t.data()[i] == 1) n += 1, x += mix.x.data()[2 * i], xx += mix.x.data()[2 * i] * mix.x.data()[2 * i];
  CHECK(std::abs(n - 3000) < 150);
  CHECK(x / n == Approx(10).margin(0.05));
  CHECK(xx / n - x / n * x / n == Approx(0.25).margin(0.04));
  CHECK(data::ring_means(4, 2)[1][1] == Approx(2));
  const auto moons = data::moons(10, 0, {1, 0});
  for (int64_t i = 0; i < 10; ++i) {  // on one of the two half circles
    const double u = moons.x.data()[2 * i], v = moons.x.data()[2 * i + 1];
    CHECK((i % 2 ? std::hypot(u - 1, v - 0.5) : std::hypot(u, v)) == Approx(1).margin(1e-5));
  }
  const auto arms = data::spirals(30, 3, 1, 0, {1, 0});
  for (int64_t i = 0; i < 30; ++i) {
    const double u = arms.x.data()[2 * i], v = arms.x.data()[2 * i + 1], turn = std::hypot(u, v) + static_cast<double>(i % 3) / 3;
    CHECK(std::remainder(std::atan2(v, u) / 6.283185307179586 - turn, 1.0) == Approx(0).margin(1e-5));
  }
}

TEST_CASE("a grammar of templates", "[data]") {
  const data::Grammar g({{"S", {"the {N} {V} the {N}"}}, {"N", {"cat", "dog", "big {N}"}}, {"V", {"sees", "likes"}}});
  std::map<std::string, int> first;
  for (uint64_t i = 0; i < 300; ++i) {
    std::vector<std::pair<std::string, std::string>> parts;
    const auto text = g.text("S", {1, 0}, i, parts);
    CHECK(text == g.text("S", {1, 0}, i));
    REQUIRE(parts.size() >= 4);
    CHECK(parts[0] == std::pair<std::string, std::string>("S", text));
    CHECK(text == "the " + parts[1].second + text.substr(4 + parts[1].second.size()));
    ++first[parts[1].second.substr(0, 3)];
  }
  for (const char* w : {"cat", "dog", "big"}) CHECK(std::abs(first[w] - 100) < 45);
  CHECK(check::missing(check::error_of([] { data::Grammar(data::Grammar::Rules{{"S", {"a {B}"}}}); }), {"Grammar", "without a rule", "B", "a {B}"}) == "");
  CHECK(check::missing(check::error_of([] { data::Grammar(data::Grammar::Rules{{"S", {"a {S"}}}); }), {"Grammar", "does not close"}) == "");
  const data::Grammar endless(data::Grammar::Rules{{"S", {"{S} {S}"}}});
  CHECK(check::missing(check::error_of([&] { endless.text("S", {1, 0}, 0); }), {"nests too deeply", "40 levels"}) == "");
}
