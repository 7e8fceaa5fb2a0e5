// Every function of ops/elementwise.hpp: values against <cmath>, first and second gradients against differences, float32
// against float64, on shapes and layouts that take different paths through the loops.
#include <limits>

#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::List;

namespace {
struct Row {
  const char* name;
  Double (*f64)(const Double&);
  Tensor<float> (*f32)(const Tensor<float>&);
  double (*exact)(double);
  double lo, hi;           // where the inputs of the test lie: inside the domain, with kinks unlikely to be hit
  double f32_tolerance;    // relative to the larger of 1 and |y|
};
/// f is a generic lambda; it becomes a function of double tensors and one of float tensors.
template <class F> Row row(const char* name, F f, double (*exact)(double), double lo, double hi, double f32_tolerance = 1e-6) {
  return {name,
          static_cast<Double (*)(const Double&)>(f),
          static_cast<Tensor<float> (*)(const Tensor<float>&)>(f),
          exact,
          lo,
          hi,
          f32_tolerance};
}
double logistic(double x) { return 1 / (1 + std::exp(-x)); }
double phi(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }   // of the normal distribution
double limited(double x, double lo, double hi) { return std::min(std::max(x, lo), hi); }

// clang-format off
const std::vector<Row>& rows() {
  static const std::vector<Row> all = {
    row("neg",         [](const auto& x) { return -x; },              [](double x) { return -x; },               -2, 2),
    row("x + 3",       [](const auto& x) { return x + 3; },           [](double x) { return x + 3; },            -2, 2),
    row("x - 3",       [](const auto& x) { return x - 3; },           [](double x) { return x - 3; },            -2, 2),
    row("3 - x",       [](const auto& x) { return 3 - x; },           [](double x) { return 3 - x; },            -2, 2),
    row("x * 3",       [](const auto& x) { return x * 3; },           [](double x) { return x * 3; },            -2, 2),
    row("x / 3",       [](const auto& x) { return x / 3; },           [](double x) { return x / 3; },            -2, 2),
    row("3 / x",       [](const auto& x) { return 3 / x; },           [](double x) { return 3 / x; },            0.5, 2),
    row("abs",         [](const auto& x) { return abs(x); },          [](double x) { return std::fabs(x); },     -2, 2),
    row("exp",         [](const auto& x) { return exp(x); },          [](double x) { return std::exp(x); },      -3, 3),
    row("exp2",        [](const auto& x) { return exp2(x); },         [](double x) { return std::exp2(x); },     -3, 3),
    row("expm1",       [](const auto& x) { return expm1(x); },        [](double x) { return std::expm1(x); },    -2, 2),
    row("log",         [](const auto& x) { return log(x); },          [](double x) { return std::log(x); },      0.3, 3),
    row("log2",        [](const auto& x) { return log2(x); },         [](double x) { return std::log2(x); },     0.3, 3),
    row("log10",       [](const auto& x) { return log10(x); },        [](double x) { return std::log10(x); },    0.3, 3),
    row("log1p",       [](const auto& x) { return log1p(x); },        [](double x) { return std::log1p(x); },    -0.7, 3),
    row("sqrt",        [](const auto& x) { return sqrt(x); },         [](double x) { return std::sqrt(x); },     0.3, 3),
    row("rsqrt",       [](const auto& x) { return rsqrt(x); },        [](double x) { return 1 / std::sqrt(x); }, 0.3, 3),
    row("square",      [](const auto& x) { return square(x); },       [](double x) { return x * x; },            -2, 2),
    row("reciprocal",  [](const auto& x) { return reciprocal(x); },   [](double x) { return 1 / x; },            0.4, 2),
    row("sin",         [](const auto& x) { return sin(x); },          [](double x) { return std::sin(x); },      -6, 6),
    row("cos",         [](const auto& x) { return cos(x); },          [](double x) { return std::cos(x); },      -6, 6),
    row("tan",         [](const auto& x) { return tan(x); },          [](double x) { return std::tan(x); },      -1, 1),
    row("asin",        [](const auto& x) { return asin(x); },         [](double x) { return std::asin(x); },     -0.8, 0.8),
    row("acos",        [](const auto& x) { return acos(x); },         [](double x) { return std::acos(x); },     -0.8, 0.8),
    row("atan",        [](const auto& x) { return atan(x); },         [](double x) { return std::atan(x); },     -3, 3),
    row("sinh",        [](const auto& x) { return sinh(x); },         [](double x) { return std::sinh(x); },     -2, 2),
    row("cosh",        [](const auto& x) { return cosh(x); },         [](double x) { return std::cosh(x); },     -2, 2),
    row("tanh",        [](const auto& x) { return tanh(x); },         [](double x) { return std::tanh(x); },     -2, 2),
    row("asinh",       [](const auto& x) { return asinh(x); },        [](double x) { return std::asinh(x); },    -3, 3),
    row("acosh",       [](const auto& x) { return acosh(x); },        [](double x) { return std::acosh(x); },    1.4, 4),
    row("atanh",       [](const auto& x) { return atanh(x); },        [](double x) { return std::atanh(x); },    -0.8, 0.8),
    row("erf",         [](const auto& x) { return erf(x); },          [](double x) { return std::erf(x); },      -2, 2),
    row("erfc",        [](const auto& x) { return erfc(x); },         [](double x) { return std::erfc(x); },     -2, 2),
    row("lgamma",      [](const auto& x) { return lgamma(x); },       [](double x) { return std::lgamma(x); },   0.5, 5),
    row("sigmoid",     [](const auto& x) { return sigmoid(x); },      [](double x) { return logistic(x); },      -4, 4),
    row("log_sigmoid", [](const auto& x) { return log_sigmoid(x); },  [](double x) { return std::log(logistic(x)); }, -4, 4),
    row("logit",       [](const auto& x) { return logit(x); },        [](double x) { return std::log(x) - std::log1p(-x); }, 0.2, 0.8),
    row("softplus",    [](const auto& x) { return softplus(x); },     [](double x) { return std::log1p(std::exp(x)); }, -4, 4),
    row("softplus(2)", [](const auto& x) { return softplus(x, 2); },  [](double x) { return std::log1p(std::exp(2 * x)) / 2; }, -4, 4),
    row("relu",        [](const auto& x) { return relu(x); },         [](double x) { return x > 0 ? x : 0; },    -2, 2),
    row("leaky_relu",  [](const auto& x) { return leaky_relu(x, .2);},[](double x) { return x > 0 ? x : .2 * x; }, -2, 2),
    row("elu",         [](const auto& x) { return elu(x, 1.5); },     [](double x) { return x > 0 ? x : 1.5 * std::expm1(x); }, -2, 2),
    row("celu",        [](const auto& x) { return celu(x, 0.7); },    [](double x) { return x > 0 ? x : 0.7 * std::expm1(x / 0.7); }, -2, 2),
    row("selu",        [](const auto& x) { return selu(x); },         [](double x) { return 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * std::expm1(x)); }, -2, 2),
    row("gelu",        [](const auto& x) { return gelu(x); },         [](double x) { return x * phi(x); },       -3, 3),
    row("gelu_tanh",   [](const auto& x) { return gelu_tanh(x); },    [](double x) { return x / 2 * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x))); }, -3, 3),
    row("silu",        [](const auto& x) { return silu(x); },         [](double x) { return x * logistic(x); },  -4, 4),
    row("mish",        [](const auto& x) { return mish(x); },         [](double x) { return x * std::tanh(std::log1p(std::exp(x))); }, -4, 4),
    row("softsign",    [](const auto& x) { return softsign(x); },     [](double x) { return x / (1 + std::fabs(x)); }, -3, 3),
    row("clamp",       [](const auto& x) { return clamp(x, -1, 0.5);},[](double x) { return limited(x, -1, 0.5); }, -2, 2),
    row("pow 0",       [](const auto& x) { return pow(x, 0.0); },     [](double) { return 1.0; },                -2, 2),
    row("pow 1",       [](const auto& x) { return pow(x, 1.0); },     [](double x) { return x; },                -2, 2),
    row("pow 2",       [](const auto& x) { return pow(x, 2.0); },     [](double x) { return x * x; },            -2, 2),
    row("pow 3",       [](const auto& x) { return pow(x, 3.0); },     [](double x) { return x * x * x; },        -2, 2),
    row("pow -1.5",    [](const auto& x) { return pow(x, -1.5); },    [](double x) { return std::pow(x, -1.5); },0.5, 2),
    row("relu6",       [](const auto& x) { return relu6(x); },        [](double x) { return limited(x, 0, 6); }, -4, 10),
    row("hardtanh",    [](const auto& x) { return hardtanh(x); },     [](double x) { return limited(x, -1, 1); },-2, 2),
    row("hardsigmoid", [](const auto& x) { return hardsigmoid(x); },  [](double x) { return limited(x / 6 + 0.5, 0, 1); }, -5, 5),
    row("hardswish",   [](const auto& x) { return hardswish(x); },    [](double x) { return x * limited(x / 6 + 0.5, 0, 1); }, -5, 5),
    row("frac",        [](const auto& x) { return frac(x); },         [](double x) { return x - std::trunc(x); },-3, 3),
    row("nan_to_num",  [](const auto& x) { return nan_to_num(x); },   [](double x) { return x; },                -3, 3),
    // no function of <cmath>: the exact value is the function's own, checked through its inverse or recurrence below
    row("erfinv",      [](const auto& x) { return erfinv(x); },       [](double x) { return m::erfinv(x); },     -0.8, 0.8),
    row("digamma",     [](const auto& x) { return digamma(x); },      [](double x) { return m::digamma(x); },    0.5, 5),
    row("polygamma 1", [](const auto& x) { return polygamma(1, x); }, [](double x) { return m::polygamma(1, x); }, 0.7, 5),
    row("polygamma 2", [](const auto& x) { return polygamma(2, x); }, [](double x) { return m::polygamma(2, x); }, 0.7, 5),
  };
  return all;
}
// clang-format on

/// Inputs on different paths of the loops: scalar, empty, one, a vector with a tail, a matrix, transposed, expanded, a step.
std::vector<Double> layouts(double lo, double hi) {
  return {check::uniform({}, lo, hi, 1),
          check::uniform({0}, lo, hi, 2),
          check::uniform({1}, lo, hi, 3),
          check::uniform({33}, lo, hi, 4),
          check::uniform({3, 5}, lo, hi, 5),
          transpose(check::uniform({3, 5}, lo, hi, 6), 0, 1),
          expand(check::uniform({3, 1}, lo, hi, 7), {2, 3, 4}),
          narrow(check::uniform({4, 9}, lo, hi, 8), 1, 1, 4, 2)};
}
}  // namespace

TEST_CASE("values of every function, on every layout") {
  for (const Row& r : rows())
    for (const Double& x : layouts(r.lo, r.hi)) {
      std::vector<double> expected = x.to_vector();
      for (double& v : expected) v = r.exact(v);
      INFO(r.name << " of " << x.shape().str());
      CHECK(check::difference(r.f64(x), x.shape(), expected, 1e-13, 1e-13) == "");
    }
}

TEST_CASE("first and second gradients of every function") {
  for (const Row& r : rows()) {
    INFO(r.name);
    for (const Shape& shape : {Shape{}, Shape{0}, Shape{1}, Shape{11}})
      check::gradients(r.f64, check::uniform(shape, r.lo, r.hi, 9), {.name = r.name});
    check::gradients([&](const Double& x) { return r.f64(transpose(x, 0, 1)); }, check::uniform({2, 3}, r.lo, r.hi, 10),
                     {.name = r.name});
    check::gradients(
        [&](const Double& x) {
          return r.f64(expand(x, {2, 3}));
        },
        check::uniform({3}, r.lo, r.hi, 11), {.name = r.name});
  }
}

TEST_CASE("float32 values and gradients follow float64") {
  for (const Row& r : rows()) {
    const auto x = check::uniform<float>({203}, r.lo, r.hi, 12);
    const auto leaf32 = check::leaf(x);
    const auto leaf64 = check::leaf(x.to<double>());
    const auto y32 = r.f32(leaf32);
    const auto y64 = r.f64(leaf64);
    INFO(r.name);
    CHECK(check::difference(y32.to<double>(), y64, r.f32_tolerance, r.f32_tolerance) == "");
    sum(y32).backward();
    sum(y64).backward();
    CHECK(check::difference(leaf32.grad().to<double>(), leaf64.grad(), 4e-6, 4e-6) == "");
  }
}

TEST_CASE("a recorded backward gives the same gradient as the fused one") {
  for (const Row& r : rows()) {
    const auto x = check::leaf(check::uniform({17}, r.lo, r.hi, 13));
    const auto fused = grad(sum(r.f64(x)), x), recorded = grad(sum(r.f64(x)), x, {.create_graph = true});
    INFO(r.name);
    CHECK(check::difference(fused, recorded, 1e-14, 1e-15) == "");
  }
}

TEST_CASE("piecewise constant functions have values and no gradient") {
  const Double x{-2.5, -1.5, -0.5, -0.2, 0, 0.2, 0.5, 1.5, 2.5};
  const auto leaf = check::leaf(x);
  CHECK(sign(leaf).to_vector() == std::vector<double>{-1, -1, -1, -1, 0, 1, 1, 1, 1});
  CHECK(step(leaf).to_vector() == std::vector<double>{0, 0, 0, 0, 0, 1, 1, 1, 1});
  CHECK(floor(leaf).to_vector() == std::vector<double>{-3, -2, -1, -1, 0, 0, 0, 1, 2});
  CHECK(ceil(leaf).to_vector() == std::vector<double>{-2, -1, 0, 0, 0, 1, 1, 2, 3});
  CHECK(round(leaf).to_vector() == std::vector<double>{-2, -2, 0, 0, 0, 0, 0, 2, 2});
  CHECK(trunc(leaf).to_vector() == std::vector<double>{-2, -1, 0, 0, 0, 0, 0, 1, 2});
  for (const auto& y : {sign(leaf), step(leaf), floor(leaf), ceil(leaf), round(leaf), trunc(leaf)}) CHECK(!y.requires_grad());
}

TEST_CASE("gradients at kinks are the documented ones") {
  const auto at = [](auto f, double v) {
    const auto x = check::leaf(scalar<double>(v));
    return grad(f(x), x).item();
  };
  CHECK(at([](const Double& x) { return relu(x); }, 0) == 0);
  CHECK(at([](const Double& x) { return abs(x); }, 0) == 0);
  CHECK(at([](const Double& x) { return clamp(x, -1, 1); }, 1) == 1);
  CHECK(at([](const Double& x) { return clamp(x, -1, 1); }, -1) == 1);
  CHECK(at([](const Double& x) { return clamp(x, -1, 1); }, 1.5) == 0);
}

TEST_CASE("extreme inputs neither overflow nor lose NaN") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(softplus(Double{-1000., 1000}).to_vector() == std::vector<double>{0, 1000});
  CHECK(sigmoid(Double{-1000., 1000}).to_vector() == std::vector<double>{0, 1});
  CHECK(log_sigmoid(Double{-1000., 1000}).to_vector() == std::vector<double>{-1000, 0});
  CHECK(mish(Double{1000., -1000}).to_vector() == std::vector<double>{1000, 0});
  for (auto f : {+[](const Double& x) { return relu(x); }, +[](const Double& x) { return gelu(x); },
                 +[](const Double& x) { return elu(x); }, +[](const Double& x) { return clamp(x, 0, 1); },
                 +[](const Double& x) { return tanh(x); }, +[](const Double& x) { return abs(x); }})
    CHECK(std::isnan(f(scalar<double>(nan)).item()));
  for (auto f : {+[](const Double& x) { return elu(x); }, +[](const Double& x) { return selu(x); },
                 +[](const Double& x) { return softplus(x); }, +[](const Double& x) { return gelu_tanh(x); },
                 +[](const Double& x) { return mish(x); }, +[](const Double& x) { return gelu(x); }}) {
    const auto x = check::leaf(Double{-800., 800});   // e^800 is infinity
    const auto g = grad(sum(f(x)), x, {.create_graph = true});
    CHECK(all_of(isfinite(g)).item());
    CHECK(all_of(isfinite(grad(sum(f(x)), x))).item());
  }
  const Double odd{nan, inf, -inf, 1};
  CHECK(isnan(odd).to_vector() == std::vector<bool>{true, false, false, false});
  CHECK(isinf(odd).to_vector() == std::vector<bool>{false, true, true, false});
  CHECK(isfinite(odd).to_vector() == std::vector<bool>{false, false, false, true});
  CHECK(nan_to_num(odd, 7, 8, 9).to_vector() == std::vector<double>{7, 8, 9, 1});
  const auto leaf = check::leaf(odd);
  CHECK(grad(sum(nan_to_num(leaf)), leaf).to_vector() == std::vector<double>{0, 0, 0, 1});
}

TEST_CASE("straight_through has one value and another gradient") {
  const auto x = check::leaf(Double{0.3, 1.7});
  const auto y = straight_through(x, round(x));
  CHECK(check::difference(y, {2}, {0, 2}) == "");
  CHECK(grad(sum(y * y), x).to_vector() == std::vector<double>{0, 4});
}

TEST_CASE("bf16 and half round the float result once") {
  const auto x = check::uniform<float>({100}, -2, 2);
  const auto b = x.to<bf16>();
  const auto expected = tanh(b.to<float>()).to<bf16>();
  CHECK(check::difference(tanh(b).to<float>(), expected.to<float>()) == "");
  const auto h = x.to<half>();
  CHECK(check::difference(exp(h).to<float>(), exp(h.to<float>()).to<half>().to<float>()) == "");
}

TEST_CASE("integers: abs, square, clamp, sign, arithmetic") {
  const Tensor<int64_t> x{-3, 0, 4};
  CHECK(abs(x).to_vector() == std::vector<int64_t>{3, 0, 4});
  CHECK(square(x).to_vector() == std::vector<int64_t>{9, 0, 16});
  CHECK(clamp(x, -1, 2).to_vector() == std::vector<int64_t>{-1, 0, 2});
  CHECK(sign(x).to_vector() == std::vector<int64_t>{-1, 0, 1});
  CHECK((x * 2 + 1).to_vector() == std::vector<int64_t>{-5, 1, 9});
  CHECK((x / 2).to_vector() == std::vector<int64_t>{-1, 0, 2});
}
