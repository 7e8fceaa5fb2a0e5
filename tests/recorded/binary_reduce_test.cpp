// Functions of two tensors and reductions against PyTorch.
#include <gradus/ops/extra.hpp>
#include <gradus/ops/scan.hpp>
#include <gradus/ops/softmax.hpp>
#include <gradus/ops/sort.hpp>

#include "recorded/table.hpp"

using namespace gradus;
using recorded::Args, recorded::Double, recorded::Names, recorded::Results, recorded::Table;

namespace {

template <class F> auto of_two(F f) {
  return [f](const Args& x) -> Results { return f(x[0], x[1]); };
}
/// Of doubles, or of integers where the case holds them; the second operand may be the attribute `other`.
template <class F> auto of_numbers(F f) {
  return [f](const Args& x) -> Results {
    if (x.is("int64")) return f(x.integers("input"), x.integers("other"));
    return f(x[0], x.size() > 1 ? x[1] : scalar<double>(x.number("other", 0)));
  };
}
template <class F> auto of_masks(F f) {
  return [f](const Args& x) -> Results { return f(x.mask("input"), x.mask("other")); };
}

Results run_div(const Args& x) { return x.c.attr("rounding_mode", "") == "trunc" ? trunc(div(x[0], x[1])) : div(x[0], x[1]); }
Results run_pow(const Args& x) { return x.size() > 1 ? pow(x[0], x[1]) : pow(x[0], x.number("exponent", 1)); }
Results run_lerp(const Args& x) { return x.size() > 2 ? lerp(x[0], x[1], x[2]) : lerp(x[0], x[1], x.number("weight", 0)); }

Table binary_table() {
  return {
      {"add", [](const Args& x) { return add(x[0], mul(x[1], x.number("alpha", 1))); }},
      {"sub", of_two([](auto& a, auto& b) { return sub(a, b); })},
      {"mul", of_two([](auto& a, auto& b) { return mul(a, b); })},
      {"div", run_div},
      {"pow", run_pow},
      {"maximum", of_two([](auto& a, auto& b) { return maximum(a, b); })},
      {"minimum", of_two([](auto& a, auto& b) { return minimum(a, b); })},
      {"fmax", of_two([](auto& a, auto& b) { return fmax(a, b); })},
      {"fmin", of_two([](auto& a, auto& b) { return fmin(a, b); })},
      {"fmod", of_numbers([](auto a, auto b) { return fmod(a, b); })},
      {"remainder", of_numbers([](auto a, auto b) { return remainder(a, b); })},
      {"floor_divide", of_numbers([](auto a, auto b) { return floor_divide(a, b); })},
      {"atan2", of_two([](auto& a, auto& b) { return atan2(a, b); })},
      {"hypot", of_two([](auto& a, auto& b) { return hypot(a, b); })},
      {"lerp", run_lerp},
      {"where", [](const Args& x) { return where(x.mask("condition"), x[1], x[2]); }},
      {"xlogy", of_two([](auto& a, auto& b) { return xlogy(a, b); })},
      {"logaddexp", of_two([](auto& a, auto& b) { return logaddexp(a, b); })},
      {"addcmul", [](const Args& x) { return addcmul(x[0], x[1], x[2], x.number("value", 1)); }},
      {"addcdiv", [](const Args& x) { return addcdiv(x[0], x[1], x[2], x.number("value", 1)); }},
      {"eq", of_two([](auto& a, auto& b) { return a == b; })},
      {"ne", of_two([](auto& a, auto& b) { return a != b; })},
      {"lt", of_two([](auto& a, auto& b) { return a < b; })},
      {"le", of_two([](auto& a, auto& b) { return a <= b; })},
      {"gt", of_two([](auto& a, auto& b) { return a > b; })},
      {"ge", of_two([](auto& a, auto& b) { return a >= b; })},
      {"logical_and", of_masks([](auto a, auto b) { return logical_and(a, b); })},
      {"logical_or", of_masks([](auto a, auto b) { return logical_or(a, b); })},
      {"logical_xor", of_masks([](auto a, auto b) { return logical_xor(a, b); })},
      {"logical_not", [](const Args& x) { return logical_not(x.mask("input")); }},
  };
}

Dims dims(const Args& x) { return Shape(x.c.ints("dim")); }
bool keepdim(const Args& x) { return x.flag("keepdim"); }

/// f(x, dims, keepdim)
template <class F> auto reduction(F f) {
  return [f](const Args& x) -> Results { return f(x[0], dims(x), keepdim(x)); };
}
Results run_sum(const Args& x) {
  if (x.is("int64")) return sum(x.integers("input"), dims(x), keepdim(x));
  return sum(x[0], dims(x), keepdim(x));
}
/// The position along a dimension, or, without one, among all elements.
template <class F> auto position(F f) {
  return [f](const Args& x) -> Results {
    if (!x.c.has("dim")) return f(gradus::reshape(x[0], {-1}), 0, false);
    return f(x[0], x.dim(), keepdim(x));
  };
}
/// The extremum along a dimension with its position: PyTorch's max and min.
template <class F> auto with_position(F f) {
  return [f](const Args& x) -> Results {
    const auto i = f(x[0], x.dim(), true);
    return {squeeze(gather(x[0], x.dim(), i), x.dim()), squeeze(i, x.dim())};
  };
}

Results both(const ValuesIndex<double, Cpu>& r) { return {r.values, r.index}; }

Results run_median(const Args& x) {
  if (!x.c.has("dim")) return median(x[0]);
  return both(median(x[0], x.dim(), x.flag("keepdim")));
}
Interpolation between(const Args& x) {
  const std::string i = x.c.attr("interpolation", "linear");
  return i == "lower"      ? Interpolation::lower
         : i == "higher"   ? Interpolation::higher
         : i == "nearest"  ? Interpolation::nearest
         : i == "midpoint" ? Interpolation::midpoint
                           : Interpolation::linear;
}
Results run_quantile(const Args& x) {
  if (x.size() > 1) return quantile(x[0], x[1].to_vector(), x.dim(), x.flag("keepdim"), between(x));
  if (!x.c.has("dim")) return quantile(gradus::reshape(x[0], {-1}), x.number("q", 0), 0, false, between(x));
  return quantile(x[0], x.number("q", 0), x.dim(), x.flag("keepdim"), between(x));
}

Table reduce_table() {
  return {
      {"sum", run_sum},
      {"mean", reduction([](auto& v, auto d, bool k) { return mean(v, d, k); })},
      {"amax", reduction([](auto& v, auto d, bool k) { return amax(v, d, k); })},
      {"amin", reduction([](auto& v, auto d, bool k) { return amin(v, d, k); })},
      {"prod", reduction([](auto& v, auto d, bool k) { return prod(v, d, k); })},
      {"logsumexp", reduction([](auto& v, auto d, bool k) { return logsumexp(v, d, k); })},
      {"count_nonzero", reduction([](auto& v, auto d, bool k) { return count_nonzero(v, d, k); })},
      {"var", [](const Args& x) { return var(x[0], dims(x), x.number("correction", 1), keepdim(x)); }},
      {"std", [](const Args& x) { return stddev(x[0], dims(x), x.number("correction", 1), keepdim(x)); }},
      {"norm", [](const Args& x) { return norm(x[0], x.number("p", 2), dims(x), keepdim(x)); }},
      {"any", [](const Args& x) { return any(x.mask("input"), dims(x), keepdim(x)); }},
      {"all", [](const Args& x) { return all_of(x.mask("input"), dims(x), keepdim(x)); }},
      {"argmax", position([](auto v, int d, bool k) { return argmax(v, d, k); })},
      {"argmin", position([](auto v, int d, bool k) { return argmin(v, d, k); })},
      {"max", with_position([](auto& v, int d, bool k) { return argmax(v, d, k); })},
      {"min", with_position([](auto& v, int d, bool k) { return argmin(v, d, k); })},
      {"median", run_median},
      {"quantile", run_quantile},
      {"cumsum", [](const Args& x) { return cumsum(x[0], x.dim()); }},
      {"cumprod", [](const Args& x) { return cumprod(x[0], x.dim()); }},
      {"logcumsumexp", [](const Args& x) { return logcumsumexp(x[0], x.dim()); }},
      {"cummax", [](const Args& x) { return both(cummax(x[0], x.dim())); }},
      {"cummin", [](const Args& x) { return both(cummin(x[0], x.dim())); }},
  };
}

}  // namespace

TEST_CASE("functions of two tensors give the recorded values and gradients") {
  const auto r = recorded::run({"binary.json"}, binary_table());
  CHECK(r.differences == Names{});
  CHECK(r.missing == Names{});
  CHECK(r.ran == 64);
}

TEST_CASE("reductions give the recorded values and gradients") {
  const auto r = recorded::run({"reduce.json"}, reduce_table());
  CHECK(r.differences == Names{});
  CHECK(r.missing == Names{});
  CHECK(r.ran == 108);
}
