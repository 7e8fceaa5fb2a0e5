// Reductions over every subset of dimensions, of contiguous and transposed tensors; special values; thread counts.
#include <functional>
#include <limits>
#include <map>

#include <gradus/core/parallel.hpp>
#include <gradus/ops/scan.hpp>
#include <gradus/ops/softmax.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::List;

namespace {
const double inf = std::numeric_limits<double>::infinity();
using Op = Double (*)(const Double&, const Dims&, bool);
struct Row {
  const char* name;
  Op f;
  std::function<double(const std::vector<double>&)> exact;   // of the elements that become one
};
double total(const std::vector<double>& v) {
  double s = 0;
  for (double x : v) s += x;
  return s;
}
double variance(const std::vector<double>& v, double correction) {
  const double m = total(v) / static_cast<double>(v.size());
  double s = 0;
  for (double x : v) s += (x - m) * (x - m);
  return s / (static_cast<double>(v.size()) - correction);
}
double product(const std::vector<double>& v) {
  double p = 1;
  for (double x : v) p *= x;
  return p;
}
double power_sum(const std::vector<double>& v, double p) {
  double s = 0;
  for (double x : v) s += std::pow(std::fabs(x), p);
  return s;
}
using Values = std::vector<double>;
// clang-format off
const std::vector<Row> rows = {
    {"sum",       [](const Double& x, const Dims& d, bool k) { return sum(x, d, k); },       total},
    {"mean",      [](const Double& x, const Dims& d, bool k) { return mean(x, d, k); },      [](const Values& v) { return total(v) / static_cast<double>(v.size()); }},
    {"prod",      [](const Double& x, const Dims& d, bool k) { return prod(x, d, k); },      product},
    {"amax",      [](const Double& x, const Dims& d, bool k) { return amax(x, d, k); },      [](const Values& v) { return *std::max_element(v.begin(), v.end()); }},
    {"amin",      [](const Double& x, const Dims& d, bool k) { return amin(x, d, k); },      [](const Values& v) { return *std::min_element(v.begin(), v.end()); }},
    {"var",       [](const Double& x, const Dims& d, bool k) { return var(x, d, 1, k); },    [](const Values& v) { return variance(v, 1); }},
    {"stddev",    [](const Double& x, const Dims& d, bool k) { return stddev(x, d, 0, k); }, [](const Values& v) { return std::sqrt(variance(v, 0)); }},
    {"logsumexp", [](const Double& x, const Dims& d, bool k) { return logsumexp(x, d, k); }, [](const Values& v) { double s = 0; for (double x : v) s += std::exp(x); return std::log(s); }},
    {"norm 2",    [](const Double& x, const Dims& d, bool k) { return norm(x, 2, d, k); },   [](const Values& v) { return std::sqrt(power_sum(v, 2)); }},
    {"norm 1",    [](const Double& x, const Dims& d, bool k) { return norm(x, 1, d, k); },   [](const Values& v) { return power_sum(v, 1); }},
    {"norm 3",    [](const Double& x, const Dims& d, bool k) { return norm(x, 3, d, k); },   [](const Values& v) { return std::cbrt(power_sum(v, 3)); }},
    {"norm inf",  [](const Double& x, const Dims& d, bool k) { return norm(x, inf, d, k); }, [](const Values& v) { double m = 0; for (double x : v) m = std::max(m, std::fabs(x)); return m; }},
    {"norm -inf", [](const Double& x, const Dims& d, bool k) { return norm(x, -inf, d, k); }, [](const Values& v) { double m = inf; for (double x : v) m = std::min(m, std::fabs(x)); return m; }},
};
// clang-format on

/// Every subset of the three dimensions but the empty one (which means all), once with negative numbers.
const std::vector<Shape> subsets = {{0}, {1}, {2}, {0, 1}, {0, 2}, {1, 2}, {0, 1, 2}, {-1}, {-3, -1}, {2, 0}, {}};

bool is_reduced(int d, const Shape& dims) { return dims.n == 0 || dims.contains(d) || dims.contains(d - 3); }

/// The reduction by collecting what becomes one.
Values naive(const std::function<double(const Values&)>& f, const Double& x, const Shape& dims) {
  std::map<int64_t, Values> groups;   // by the position in the result
  const Values v = x.to_vector();
  for (int64_t i = 0; i < x.numel(); ++i) {
    int64_t rest = i, index[3], key = 0;
    for (int d = 2; d >= 0; --d) index[d] = rest % x.shape()[d], rest /= x.shape()[d];
    for (int d = 0; d < 3; ++d)
      if (!is_reduced(d, dims)) key = key * x.shape()[d] + index[d];
    groups[key].push_back(v[static_cast<std::size_t>(i)]);
  }
  Values y;
  for (const auto& [key, values] : groups) y.push_back(f(values));
  return y;
}
Shape result_shape(const Shape& s, const Shape& dims, bool keepdim) {
  Shape r;
  for (int d = 0; d < 3; ++d) {
    if (!is_reduced(d, dims)) r.push_back(s[d]);
    else if (keepdim) r.push_back(1);
  }
  return r;
}
}  // namespace

TEST_CASE("values over every subset of dimensions, contiguous, transposed and expanded") {
  const Double inputs[] = {check::uniform({3, 4, 5}, -2, 2, 1), transpose(check::uniform({5, 4, 3}, -2, 2, 2), 0, 2),
                           permute(check::uniform({4, 5, 3}, -2, 2, 3), {2, 0, 1}),
                           narrow(check::uniform({3, 9, 5}, -2, 2, 4), 1, 1, 4, 2)};
  for (const Row& r : rows)
    for (const Double& x : inputs)
      for (const Shape& dims : subsets)
        for (bool keepdim : {false, true}) {
          INFO(r.name << " over " << dims.str());
          CHECK(check::difference(r.f(x, Dims(dims), keepdim), result_shape(x.shape(), dims, keepdim), naive(r.exact, x, dims),
                                  1e-12, 1e-13) == "");
        }
  const auto wide = expand(check::uniform({3, 1, 5}), {3, 4, 5});
  for (const Shape& dims : subsets)
    CHECK(check::difference(sum(wide, Dims(dims)), result_shape({3, 4, 5}, dims, false), naive(total, wide, dims)) == "");
}

TEST_CASE("first and second gradients over subsets of dimensions") {
  const auto x = check::uniform({2, 3, 2}, 0.5, 2, 5);
  for (const Row& r : rows)
    for (const Shape& dims : {Shape{0}, Shape{1}, Shape{2}, Shape{0, 2}, Shape{}}) {
      INFO(r.name << " over " << dims.str());
      for (bool keepdim : {false, true})
        check::gradients([&](const Double& v) { return r.f(v, Dims(dims), keepdim); }, x, {.name = r.name});
      check::gradients([&](const Double& v) { return r.f(permute(v, {2, 0, 1}), Dims(dims), false); }, x, {.name = r.name});
    }
}

TEST_CASE("prod with zeros") {
  const auto x = check::leaf(Double{{2, 3, 4}, {2, 0, 4}, {0, 3, 0}});
  CHECK(prod(x, 1).to_vector() == Values{24, 0, 0});
  CHECK(grad(sum(prod(x, 1)), x).to_vector() == Values{12, 8, 6, 0, 8, 0, 0, 0, 0});
  check::gradients([](const Double& v) { return prod(v, 1); }, x);
  check::gradients([](const Double& v) { return prod(v); }, x);
  const Double two = check::leaf(Double{0., 0, 5});                     // d2y / dx0 dx1 = 5
  const auto g = grad(prod(two), two, {.create_graph = true});
  CHECK(grad(g(0), two).to_vector() == Values{0, 5, 0});
  CHECK(prod(zeros<double>({0})).item() == 1);
}

TEST_CASE("logsumexp: large values, -inf, all -inf") {
  CHECK(logsumexp(Double{1000., 1000}, 0).item() == Approx(1000 + std::log(2.0)));
  CHECK(logsumexp(Double{-1000., -1000}, 0).item() == Approx(-1000 + std::log(2.0)));
  CHECK(logsumexp(Double{-inf, 0}, 0).item() == 0);
  CHECK(logsumexp(Double{-inf, -inf}, 0).item() == -inf);
  CHECK(logsumexp(Double{inf, 0}, 0).item() == inf);
  const auto x = check::leaf(Double{-inf, 0, 0});
  CHECK(check::difference(grad(sum(logsumexp(x, 0)), x), {3}, {0, 0.5, 0.5}) == "");
  const auto none = check::leaf(Double{-inf, -inf});
  CHECK(grad(logsumexp(none, 0), none).to_vector() == Values{0, 0});
  const auto g = grad(logsumexp(none, 0), none, {.create_graph = true});
  CHECK(grad(sum(g), none).to_vector() == Values{0, 0});
}

TEST_CASE("norm at 0 has the gradient 0, and norm 0 counts") {
  const auto x = check::leaf(Double{{0, 0}, {3, 4}});
  CHECK(norm(x, 2, 1).to_vector() == Values{0, 5});
  CHECK(check::difference(grad(sum(norm(x, 2, 1)), x), {2, 2}, {0, 0, 0.6, 0.8}) == "");
  CHECK(norm(x, 0, 1).to_vector() == Values{0, 2});
}

TEST_CASE("amax shares the gradient of ties; NaN wins") {
  const auto x = check::leaf(Double{{1, 3, 3}, {2, 2, 2}});
  CHECK(check::difference(grad(sum(amax(x, 1)), x), {2, 3}, {0, 0.5, 0.5, 1.0 / 3, 1.0 / 3, 1.0 / 3}) == "");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(std::isnan(amax(Double{1, nan, 3}).item()));
  CHECK(std::isnan(amin(Double{nan, 1, 3}).item()));
}

TEST_CASE("argmax and argmin give the first of equal elements, in the middle of long rows too") {
  CHECK(argmax(Double{{1, 3, 3}, {2, 2, 2}}).to_vector() == std::vector<int64_t>{1, 0});
  CHECK(argmin(Double{{1, 3, 1}, {2, 2, 2}}).to_vector() == std::vector<int64_t>{0, 0});
  CHECK(argmax(Double{{1, 3}, {2, 2}}, 0).to_vector() == std::vector<int64_t>{1, 0});
  CHECK(argmax(Double{{1, 3}, {2, 2}}, 0, true).shape() == Shape{1, 2});
  auto x = zeros<float>({3, 1000});
  x.data()[70] = x.data()[900] = 1, x.data()[1000 + 999] = 2, x.data()[2000] = std::numeric_limits<float>::quiet_NaN();
  CHECK(argmax(x).to_vector() == std::vector<int64_t>{70, 999, 0});
  CHECK(argmax(transpose(x, 0, 1), 0).to_vector() == std::vector<int64_t>{70, 999, 0});
}

TEST_CASE("any and all_of") {
  const auto x = Double{{1, -1}, {1, 1}, {-1, -1}} > 0;
  using Bools = std::vector<bool>;
  CHECK(any(x, 1).to_vector() == Bools{true, true, false});
  CHECK(all_of(x, 1).to_vector() == Bools{false, true, false});
  CHECK(any(x).item());
  CHECK(!all_of(x).item());
}

TEST_CASE("empty tensors: sum 0, prod 1, mean NaN, maximum an error") {
  const auto x = zeros<double>({2, 0, 3});
  CHECK(check::difference(sum(x, 1), {2, 3}, Values(6, 0)) == "");
  CHECK(sum(x).item() == 0);
  CHECK(std::isnan(mean(x).item()));
  CHECK(sum(x, 0).shape() == Shape{0, 3});
  const auto text = check::error_of([&] { amax(x, 1); });
  CHECK(check::missing(text, {"gradus: amax: nothing to reduce", "float64 cpu [2, 0, 3]", "reduce_test.cpp"}) == "");
}

TEST_CASE("scalars reduce to themselves") {
  const auto x = scalar<double>(3);
  for (const Row& r : rows)
    if (std::string(r.name) != "var") CHECK(r.f(x, Dims(), false).item() == Approx(r.exact({3})).margin(1e-15));
  check::gradients([](const Double& v) { return sum(v * v); }, x);
}

TEST_CASE("wrong dimensions are named") {
  const auto x = zeros({2, 3});
  CHECK(check::missing(check::error_of([&] { sum(x, 2); }),
                       {"gradus: sum: no such dimension", "dim       2", "[-2, 2)", "reduce_test.cpp"}) == "");
  CHECK(check::contains(check::error_of([&] { mean(x, {0, -2}); }), "the same dimension twice"));
}

TEST_CASE("long sums: error, and the same bits at any number of threads") {
  const int threads = num_threads();
  const auto x = check::uniform<float>({3000017}, 0, 1, 6), m = check::uniform<float>({7, 50021}, 0, 1, 7),
             tall = check::uniform<float>({50021, 7}, 0, 1, 8);
  const auto run = [&](int t) {
    set_num_threads(t);
    std::vector<std::vector<float>> r = {
        sum(x).to_vector(),       sum(m, 0).to_vector(),    sum(m, 1).to_vector(),
        sum(tall, 0).to_vector(), sum(tall, 1).to_vector(), prod(m, 0).to_vector(),
        amax(x).to_vector(),      var(tall, 0).to_vector(), sum(transpose(m, 0, 1), 0).to_vector()};
    return r;
  };
  const auto one = run(1);
  CHECK(run(2) == one);
  CHECK(run(3) == one);
  set_num_threads(threads);
  double exact = 0;
  for (float v : x.span()) exact += static_cast<double>(v);
  CHECK(static_cast<double>(one[0][0]) == Approx(exact).epsilon(1e-6));
}

TEST_CASE("half and bf16 accumulate in float, integers exactly") {
  CHECK(static_cast<float>(sum(ones<bf16>({3000})).item()) == 3008.0f);   // 3000 rounded once to 8 bits
  CHECK(static_cast<float>(sum(ones<half>({3000})).item()) == 3000.0f);
  CHECK(sum(arange<int64_t>(100001)).item() == 5000050000);
  CHECK(amax(Tensor<int64_t>{3, -5, 4}).item() == 4);
}

TEST_CASE("sum_to undoes broadcasting") {
  const auto x = ones<double>({2, 3, 4});
  CHECK(check::difference(sum_to(x, {3, 1}), {3, 1}, {8, 8, 8}) == "");
  CHECK(check::difference(sum_to(x, {}), Shape{}, {24}) == "");
  check::gradients([](const Double& v) { return sum_to(v, {3, 1}); }, check::uniform({2, 3, 2}));
}
