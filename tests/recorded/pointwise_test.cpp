// Functions of one tensor against PyTorch.
#include <gradus/ops/extra.hpp>

#include "recorded/table.hpp"

using namespace gradus;
using recorded::Args, recorded::Double, recorded::Names, recorded::Results, recorded::Table;

namespace {

/// A function of one tensor without attributes.
template <class F> auto of(F f) {
  return [f](const Args& x) -> Results { return f(x[0]); };
}

const double inf = std::numeric_limits<double>::infinity();

Results run_clamp(const Args& x) {
  if (x.size() == 3) return minimum(maximum(x[0], x[1]), x[2]);
  return clamp(x[0], x.number("min", -inf), x.number("max", inf));
}
Results run_nan_to_num(const Args& x) {
  if (!x.c.has("nan")) return nan_to_num(x[0]);
  return nan_to_num(x[0], x.number("nan", 0), x.number("posinf", 0), x.number("neginf", 0));
}
Results run_logit(const Args& x) {
  if (!x.c.has("eps")) return logit(x[0]);
  return logit(clamp(x[0], x.number("eps", 0), 1 - x.number("eps", 0)));
}
/// PyTorch's softplus always has a threshold (20); gradus computes the function itself unless one is given.
Results run_softplus(const Args& x) {
  if (!x.c.has("threshold")) return softplus(x[0], x.number("beta", 1));
  return softplus(x[0], x.number("beta", 1), x.number("threshold", 20));
}
Results run_gelu(const Args& x) { return x.c.has("approximate") ? gelu_tanh(x[0]) : gelu(x[0]); }
Results run_round(const Args& x) { return x.c.has("decimals") ? round(x[0], x.dim("decimals")) : round(x[0]); }

Table table() {
  return {
      {"exp", of([](const Double& v) { return exp(v); })},
      {"exp2", of([](const Double& v) { return exp2(v); })},
      {"expm1", of([](const Double& v) { return expm1(v); })},
      {"square", of([](const Double& v) { return square(v); })},
      {"neg", of([](const Double& v) { return neg(v); })},
      {"sin", of([](const Double& v) { return sin(v); })},
      {"cos", of([](const Double& v) { return cos(v); })},
      {"sinh", of([](const Double& v) { return sinh(v); })},
      {"cosh", of([](const Double& v) { return cosh(v); })},
      {"tanh", of([](const Double& v) { return tanh(v); })},
      {"asinh", of([](const Double& v) { return asinh(v); })},
      {"atan", of([](const Double& v) { return atan(v); })},
      {"erf", of([](const Double& v) { return erf(v); })},
      {"erfc", of([](const Double& v) { return erfc(v); })},
      {"sigmoid", of([](const Double& v) { return sigmoid(v); })},
      {"log", of([](const Double& v) { return log(v); })},
      {"log2", of([](const Double& v) { return log2(v); })},
      {"log10", of([](const Double& v) { return log10(v); })},
      {"sqrt", of([](const Double& v) { return sqrt(v); })},
      {"rsqrt", of([](const Double& v) { return rsqrt(v); })},
      {"reciprocal", of([](const Double& v) { return reciprocal(v); })},
      {"lgamma", of([](const Double& v) { return lgamma(v); })},
      {"digamma", of([](const Double& v) { return digamma(v); })},
      {"log1p", of([](const Double& v) { return log1p(v); })},
      {"asin", of([](const Double& v) { return asin(v); })},
      {"acos", of([](const Double& v) { return acos(v); })},
      {"atanh", of([](const Double& v) { return atanh(v); })},
      {"erfinv", of([](const Double& v) { return erfinv(v); })},
      {"tan", of([](const Double& v) { return tan(v); })},
      {"acosh", of([](const Double& v) { return acosh(v); })},
      {"floor", of([](const Double& v) { return floor(v); })},
      {"ceil", of([](const Double& v) { return ceil(v); })},
      {"trunc", of([](const Double& v) { return trunc(v); })},
      {"frac", of([](const Double& v) { return frac(v); })},
      {"abs", of([](const Double& v) { return abs(v); })},
      {"sign", of([](const Double& v) { return sign(v); })},
      {"relu", of([](const Double& v) { return relu(v); })},
      {"selu", of([](const Double& v) { return selu(v); })},
      {"softsign", of([](const Double& v) { return softsign(v); })},
      {"silu", of([](const Double& v) { return silu(v); })},
      {"mish", of([](const Double& v) { return mish(v); })},
      {"hardsigmoid", of([](const Double& v) { return hardsigmoid(v); })},
      {"hardswish", of([](const Double& v) { return hardswish(v); })},
      {"relu6", of([](const Double& v) { return relu6(v); })},
      {"tanhshrink", of([](const Double& v) { return tanhshrink(v); })},
      {"sinc", of([](const Double& v) { return sinc(v); })},
      {"isnan", of([](const Double& v) { return isnan(v); })},
      {"isinf", of([](const Double& v) { return isinf(v); })},
      {"isfinite", of([](const Double& v) { return isfinite(v); })},
      {"logsigmoid", of([](const Double& v) { return log_sigmoid(v); })},
      {"leaky_relu", [](const Args& x) { return leaky_relu(x[0], x.number("negative_slope", 0.01)); }},
      {"elu", [](const Args& x) { return elu(x[0], x.number("alpha", 1)); }},
      {"celu", [](const Args& x) { return celu(x[0], x.number("alpha", 1)); }},
      {"hardtanh", [](const Args& x) { return hardtanh(x[0], x.number("min_val", -1), x.number("max_val", 1)); }},
      {"softshrink", [](const Args& x) { return softshrink(x[0], x.number("lambd", 0.5)); }},
      {"hardshrink", [](const Args& x) { return hardshrink(x[0], x.number("lambd", 0.5)); }},
      {"clamp", run_clamp},
      {"nan_to_num", run_nan_to_num},
      {"logit", run_logit},
      {"softplus", run_softplus},
      {"gelu", run_gelu},
      {"round", run_round},
  };
}

}  // namespace

TEST_CASE("functions of one tensor give the recorded values and gradients") {
  // clamp and what is made of it have the slope 1 at both bounds, PyTorch's have 0 there.
  const Names chosen{"hardtanh.kink", "hardsigmoid.kink", "hardswish.kink", "relu6.kink", "clamp.kink"};
  const auto r = recorded::run({"pointwise.json"}, table(), chosen);
  CHECK(r.differences == Names{});
  CHECK(r.missing == Names{});
  CHECK(r.ran == 124);
}
