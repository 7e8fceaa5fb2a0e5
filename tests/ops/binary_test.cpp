// Functions of two tensors: broadcasting, values, gradients, ties, comparisons, where, lerp.
#include <limits>

#include <gradus/core/parallel.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::List;

namespace {
struct Row {
  const char* name;
  Double (*f)(const Double&, const Double&);
  double (*exact)(double, double);
  double a_lo, a_hi, b_lo, b_hi;
};
// clang-format off
const Row rows[] = {
  {"add",       [](const Double& a, const Double& b) { return a + b; },            [](double a, double b) { return a + b; },             -2, 2, -2, 2},
  {"sub",       [](const Double& a, const Double& b) { return a - b; },            [](double a, double b) { return a - b; },             -2, 2, -2, 2},
  {"mul",       [](const Double& a, const Double& b) { return a * b; },            [](double a, double b) { return a * b; },             -2, 2, -2, 2},
  {"div",       [](const Double& a, const Double& b) { return a / b; },            [](double a, double b) { return a / b; },             -2, 2, 0.5, 2},
  {"pow",       [](const Double& a, const Double& b) { return pow(a, b); },        [](double a, double b) { return std::pow(a, b); },    0.5, 2, -2, 2},
  {"maximum",   [](const Double& a, const Double& b) { return maximum(a, b); },    [](double a, double b) { return std::max(a, b); },    -2, 2, -2, 2},
  {"minimum",   [](const Double& a, const Double& b) { return minimum(a, b); },    [](double a, double b) { return std::min(a, b); },    -2, 2, -2, 2},
  {"fmod",      [](const Double& a, const Double& b) { return fmod(a, b); },       [](double a, double b) { return std::fmod(a, b); },   -5, 5, 0.7, 2},
  {"remainder", [](const Double& a, const Double& b) { return remainder(a, b); },  [](double a, double b) { return a - std::floor(a / b) * b; }, -5, 5, 0.7, 2},
  {"atan2",     [](const Double& a, const Double& b) { return atan2(a, b); },      [](double a, double b) { return std::atan2(a, b); },  0.3, 2, -2, 2},
  {"hypot",     [](const Double& a, const Double& b) { return hypot(a, b); },      [](double a, double b) { return std::hypot(a, b); },  0.3, 2, -2, 2},
  {"logaddexp", [](const Double& a, const Double& b) { return logaddexp(a, b); },  [](double a, double b) { return std::log(std::exp(a) + std::exp(b)); }, -2, 2, -2, 2},
  {"xlogy",     [](const Double& a, const Double& b) { return xlogy(a, b); },      [](double a, double b) { return a * std::log(b); },   0.3, 2, 0.3, 2},
  {"lerp 0.3",  [](const Double& a, const Double& b) { return lerp(a, b, 0.3); },  [](double a, double b) { return a + 0.3 * (b - a); }, -2, 2, -2, 2},
  {"where",     [](const Double& a, const Double& b) { return where(a > b, a * 2, b); }, [](double a, double b) { return a > b ? a * 2 : b; }, -2, 2, -2, 2},
};
// clang-format on

struct Shapes {
  Shape a, b, y;
};
const Shapes shapes[] = {{{3, 4}, {3, 4}, {3, 4}},
                         {{3, 4}, {4}, {3, 4}},
                         {{3, 1}, {1, 4}, {3, 4}},
                         {{}, {2, 3}, {2, 3}},
                         {{2, 3}, {}, {2, 3}},
                         {{}, {}, {}},
                         {{0, 3}, {1, 3}, {0, 3}},
                         {{2, 1, 3}, {4, 1}, {2, 4, 3}},
                         {{1}, {1, 1}, {1, 1}},
                         {{5}, {1}, {5}},
                         {{2, 1, 1, 2}, {2, 2, 1}, {2, 2, 2, 2}}};

/// f by an index calculation of its own.
std::vector<double> naive(double (*f)(double, double), const Double& a, const Double& b, const Shape& y) {
  const auto va = a.to_vector(), vb = b.to_vector();
  const auto at = [&](const Shape& s, int64_t i) {
    int64_t offset = 0, step = 1;
    for (int d = y.n - 1, k = s.n - 1; d >= 0; --d, --k) {
      const int64_t index = i % y[d];
      i /= y[d];
      if (k < 0) continue;
      if (s[k] != 1) offset += index * step;
      step *= s[k];
    }
    return static_cast<std::size_t>(offset);
  };
  std::vector<double> r;
  for (int64_t i = 0; i < y.numel(); ++i) r.push_back(f(va[at(a.shape(), i)], vb[at(b.shape(), i)]));
  return r;
}
}  // namespace

TEST_CASE("values with broadcasting") {
  for (const Row& r : rows)
    for (const Shapes& s : shapes) {
      const auto a = check::uniform(s.a, r.a_lo, r.a_hi, 1), b = check::uniform(s.b, r.b_lo, r.b_hi, 2);
      INFO(r.name << " " << s.a.str() << " " << s.b.str());
      CHECK(check::difference(r.f(a, b), s.y, naive(r.exact, a, b, s.y), 1e-13, 1e-13) == "");
    }
}

TEST_CASE("values of transposed, stepped and expanded operands") {
  for (const Row& r : rows) {
    const auto a = transpose(check::uniform({4, 3}, r.a_lo, r.a_hi, 3), 0, 1);
    const auto b = narrow(check::uniform({3, 9}, r.b_lo, r.b_hi, 4), 1, 1, 4, 2);
    const auto c = expand(check::uniform({3, 1}, r.b_lo, r.b_hi, 5), {3, 4});
    INFO(r.name);
    CHECK(check::difference(r.f(a, b), {3, 4}, naive(r.exact, a, b, {3, 4}), 1e-13, 1e-13) == "");
    CHECK(check::difference(r.f(a, c), {3, 4}, naive(r.exact, a, c, {3, 4}), 1e-13, 1e-13) == "");
  }
}

TEST_CASE("first and second gradients with broadcasting") {
  for (const Row& r : rows)
    for (const Shapes& s : shapes) {
      const auto a = check::uniform(s.a, r.a_lo, r.a_hi, 6), b = check::uniform(s.b, r.b_lo, r.b_hi, 7);
      INFO(r.name << " " << s.a.str() << " " << s.b.str());
      check::gradients([&](const List& x) { return r.f(x[0], x[1]); }, List{a, b}, {.name = r.name});
    }
}

TEST_CASE("gradients where only one operand needs them, and where both are the same tensor") {
  const auto a = check::uniform({2, 3}, 0.5, 2, 8), b = check::uniform({3}, 0.5, 2, 9);
  for (const Row& r : rows) {
    INFO(r.name);
    check::gradients([&](const Double& x) { return r.f(x, b); }, a, {.name = r.name});
    check::gradients([&](const Double& x) { return r.f(a, x); }, b, {.name = r.name});
    if (std::string(r.name) != "maximum" && std::string(r.name) != "minimum" && std::string(r.name) != "fmod" &&
        std::string(r.name) != "remainder" && std::string(r.name) != "where")
      check::gradients([&](const Double& x) { return r.f(x, x); }, a, {.name = r.name});
  }
}

TEST_CASE("maximum and minimum share the gradient of ties and let NaN win") {
  const auto a = check::leaf(Double{1., 2, 3}), b = check::leaf(Double{1., 5, 0});
  for (const auto& f : {+[](const Double& x, const Double& y) { return maximum(x, y); },
                        +[](const Double& x, const Double& y) { return minimum(x, y); }}) {
    const auto g = grad(List{sum(f(a, b))}, List{a, b});
    CHECK((g[0] + g[1]).to_vector() == std::vector<double>{1, 1, 1});
    CHECK(g[0].to_vector()[0] == 0.5);
  }
  CHECK(grad(sum(maximum(a, b)), a).to_vector() == std::vector<double>{0.5, 0, 1});
  CHECK(grad(sum(minimum(a, b)), a).to_vector() == std::vector<double>{0.5, 1, 0});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(std::isnan(maximum(Double{nan}, Double{1.}).item()));
  CHECK(std::isnan(minimum(Double{1.}, Double{nan}).item()));
}

TEST_CASE("pow and xlogy at 0") {
  const auto a = check::leaf(Double{0., 0, 2}), e = check::leaf(Double{0., 2, 3});
  const auto g = grad(List{sum(pow(a, e))}, List{a, e});
  CHECK(g[0].to_vector() == std::vector<double>{0, 0, 12});
  CHECK(check::difference(g[1], {3}, {0, 0, 8 * std::log(2.0)}) == "");
  CHECK(xlogy(Double{0., 0}, Double{0., 3}).to_vector() == std::vector<double>{0, 0});
}

TEST_CASE("logaddexp does not overflow, and -inf adds nothing") {
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(logaddexp(Double{1000., -1000, 0}, Double{0., 5, 1000}).to_vector() == std::vector<double>{1000, 5, 1000});
  CHECK(logaddexp(Double{-inf, 2, -inf, inf}, Double{1, -inf, -inf, 0}).to_vector() == std::vector<double>{1, 2, -inf, inf});
}

TEST_CASE("comparisons give truth values without gradients") {
  const auto a = check::leaf(Double{1., 2, 3});
  const Double b{2., 2, 2};
  using Bools = std::vector<bool>;
  CHECK((a < b).to_vector() == Bools{true, false, false});
  CHECK((a <= b).to_vector() == Bools{true, true, false});
  CHECK((a > b).to_vector() == Bools{false, false, true});
  CHECK((a >= b).to_vector() == Bools{false, true, true});
  CHECK((a == b).to_vector() == Bools{false, true, false});
  CHECK((a != b).to_vector() == Bools{true, false, true});
  CHECK((a < 2).to_vector() == Bools{true, false, false});
  CHECK((a >= 2).to_vector() == Bools{false, true, true});
  CHECK(!(a < b).requires_grad());
  const auto t = a > 1, u = a < 3;
  CHECK(logical_and(t, u).to_vector() == Bools{false, true, false});
  CHECK(logical_or(t, u).to_vector() == Bools{true, true, true});
  CHECK(logical_xor(t, u).to_vector() == Bools{true, false, true});
  CHECK(logical_not(t).to_vector() == Bools{true, false, false});
  CHECK((b == expand(Double{2.}, {2, 3})).shape() == Shape{2, 3});
}

TEST_CASE("where broadcasts all three and sends each gradient to its side") {
  const auto c = Double{1., -1}.reshape({2, 1}) > 0;
  check::gradients([&](const List& x) { return where(c, x[0], x[1]); }, List{check::uniform({3}), check::uniform({2, 3})});
  check::gradients([&](const Double& x) { return where(c, x, 5.0); }, check::uniform({3}));
  check::gradients([&](const Double& x) { return where(c, 5.0, x); }, check::uniform({2, 1}));
  const auto x = check::leaf(Double{0., 4});
  const auto safe = where(x > 0, log(where(x > 0, x, 1.0)), 0.0);
  CHECK(grad(sum(safe), x).to_vector() == std::vector<double>{0, 0.25});
}

TEST_CASE("lerp with a tensor of weights") {
  check::gradients([](const List& x) { return lerp(x[0], x[1], x[2]); },
                   List{check::uniform({2, 3}), check::uniform({3}, -1, 1, 2), check::uniform({2, 1}, 0, 1, 3)});
}

TEST_CASE("integer division, floor division, remainders") {
  const Tensor<int64_t> a{7, -7, 7, -7, 5}, b{2, 2, -2, -2, 0};
  CHECK((a / b).to_vector() == std::vector<int64_t>{3, -3, -3, 3, 0});
  CHECK(floor_divide(a, b).to_vector() == std::vector<int64_t>{3, -4, -4, 3, 0});
  CHECK(remainder(a, b).to_vector() == std::vector<int64_t>{1, 1, -1, -1, 0});
  CHECK(fmod(a, b).to_vector() == std::vector<int64_t>{1, -1, 1, -1, 0});
  CHECK(remainder(Double{5.5, -5.5}, Double{-2., 2}).to_vector() == std::vector<double>{-0.5, 0.5});
}

TEST_CASE("float32 follows float64") {
  const auto a = check::uniform<float>({1000}, 0.5, 2, 1), b = check::uniform<float>({1000}, 0.5, 2, 2);
  const auto check_one = [&](const Tensor<float>& y, const Double& exact) {
    CHECK(check::difference(y.to<double>(), exact, 2e-7, 0) == "");
  };
  const auto x = a.to<double>(), z = b.to<double>();
  check_one(a + b, x + z), check_one(a * b, x * z), check_one(a / b, x / z), check_one(pow(a, b), pow(x, z)),
      check_one(atan2(a, b), atan2(x, z));
  check_one(hypot(a, b), hypot(x, z)), check_one(maximum(a, b), maximum(x, z));
}

TEST_CASE("shapes that do not broadcast are named") {
  const auto a = zeros({2, 3}), b = zeros({4});
  const auto text = check::error_of([&] { a + b; });
  CHECK(check::missing(text, {"gradus: add: shapes do not broadcast", "a         float32 cpu [2, 3]",
                              "b         float32 cpu [4]", "binary_test.cpp"}) == "");
  CHECK(check::contains(check::error_of([&] { where(a > 0, b, b); }), "where: shapes do not broadcast"));
}

TEST_CASE("a long flat array, at any number of threads") {
  const auto a = check::uniform<float>({300001}, 0.5, 2, 1), b = check::uniform<float>({300001}, 0.5, 2, 2);
  const int threads = num_threads();
  set_num_threads(1);
  const auto one = (exp(a) * b).to_vector();
  for (int t : {2, 3}) {
    set_num_threads(t);
    CHECK((exp(a) * b).to_vector() == one);
  }
  set_num_threads(threads);
}
