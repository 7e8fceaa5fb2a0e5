// One table of operators, driven through the same checks, in float64 and float32:
//
//   edge shapes: no element, one, 33, [5, 33]          layouts: transposed and expanded views give what a contiguous copy gives
//   float32 is float64 within its precision            first and second gradients against differences, with a random cotangent
//   <u, J v> = <J^T u, v>: jvp against vjp             the result requires a gradient unless the operator is non_differentiable
//
// Known answers are in the operators' own tests and in tests/recorded.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <regex>
#include <set>

#include <gradus/ops/extra.hpp>
#include <gradus/ops/functional.hpp>
#include <gradus/ops/non_differentiable.hpp>
#include <gradus/ops/norm.hpp>
#include <gradus/ops/scatter.hpp>
#include <gradus/ops/sort.hpp>

#include "support/check.hpp"

using namespace gradus;
using check::Double;
using check::List;
using Float = Tensor<float>;

namespace {

/// An operator of one tensor, for both precisions. lo ... hi: where it is defined and smooth.
struct Row {
  const char* name;
  std::function<Double(const Double&)> f64;
  std::function<Float(const Float&)> f32;
  double lo = -2, hi = 2;
  double precision = 4e-6;     // of float, relative to the largest element
  int64_t least = 0;           // extent of the last dimension
};
template <class F> Row row(const char* name, F f, double lo = -2, double hi = 2, double precision = 4e-6, int64_t least = 0) {
  return {name, f, f, lo, hi, precision, least};
}

std::vector<Row> table() {
#define GRADUS_ROW(op, ...) row(#op, [](const auto& x) { return op(x); }, ##__VA_ARGS__)
  std::vector<Row> rows = {
      GRADUS_ROW(neg), GRADUS_ROW(abs), GRADUS_ROW(exp), GRADUS_ROW(exp2), GRADUS_ROW(expm1), GRADUS_ROW(log, 0.1, 3),
      GRADUS_ROW(log2, 0.1, 3), GRADUS_ROW(log10, 0.1, 3), GRADUS_ROW(log1p, -0.8, 3), GRADUS_ROW(sqrt, 0.1, 3),
      GRADUS_ROW(rsqrt, 0.1, 3), GRADUS_ROW(square), GRADUS_ROW(reciprocal, 0.2, 3), GRADUS_ROW(sin), GRADUS_ROW(cos),
      GRADUS_ROW(tan, -1.2, 1.2), GRADUS_ROW(asin, -0.9, 0.9), GRADUS_ROW(acos, -0.9, 0.9), GRADUS_ROW(atan), GRADUS_ROW(sinh),
      GRADUS_ROW(cosh), GRADUS_ROW(tanh), GRADUS_ROW(asinh), GRADUS_ROW(acosh, 1.2, 3), GRADUS_ROW(atanh, -0.9, 0.9), GRADUS_ROW(erf),
      GRADUS_ROW(erfc), GRADUS_ROW(erfinv, -0.9, 0.9), GRADUS_ROW(lgamma, 0.3, 4, 1e-5), GRADUS_ROW(digamma, 0.3, 4), GRADUS_ROW(sigmoid),
      GRADUS_ROW(log_sigmoid), GRADUS_ROW(logit, 0.1, 0.9), GRADUS_ROW(softplus), GRADUS_ROW(relu), GRADUS_ROW(leaky_relu), GRADUS_ROW(elu),
      GRADUS_ROW(celu), GRADUS_ROW(selu), GRADUS_ROW(gelu), GRADUS_ROW(gelu_tanh), GRADUS_ROW(silu), GRADUS_ROW(mish), GRADUS_ROW(softsign),
      GRADUS_ROW(relu6), GRADUS_ROW(hardsigmoid), GRADUS_ROW(hardswish), GRADUS_ROW(tanhshrink), GRADUS_ROW(softshrink),
      GRADUS_ROW(frac, 0.1, 0.9), GRADUS_ROW(sinc), GRADUS_ROW(sign), GRADUS_ROW(step), GRADUS_ROW(floor), GRADUS_ROW(ceil), GRADUS_ROW(round),
      GRADUS_ROW(trunc), GRADUS_ROW(sum), GRADUS_ROW(mean, -2, 2, 4e-6, 1), GRADUS_ROW(prod, 0.8, 1.2, 3e-5), GRADUS_ROW(clone), GRADUS_ROW(contiguous),
      GRADUS_ROW(tril), GRADUS_ROW(triu),
  };
#undef GRADUS_ROW
  const auto add = [&](auto... r) { (rows.push_back(r), ...); };
  add(row("clamp", [](const auto& x) { return clamp(x, -1, 1.5); }), row("pow", [](const auto& x) { return pow(x, 2.5); }, 0.1, 2),
      row("polygamma", [](const auto& x) { return polygamma(1, x); }, 0.5, 4, 1e-5),
      row("var", [](const auto& x) { return var(x, -1); }, -2, 2, 1e-5, 2), row("stddev", [](const auto& x) { return stddev(x, -1); }, -2, 2, 1e-5, 2),
      row("norm", [](const auto& x) { return norm(x, 3, -1); }, 0.5, 2), row("amax", [](const auto& x) { return amax(x, -1); }, -2, 2, 0, 1),
      row("amin", [](const auto& x) { return amin(x, -1); }, -2, 2, 0, 1), row("logsumexp", [](const auto& x) { return logsumexp(x, -1); }),
      row("softmax", [](const auto& x) { return softmax(x); }), row("log_softmax", [](const auto& x) { return log_softmax(x); }),
      row("softmin", [](const auto& x) { return softmin(x, 0); }), row("cumsum", [](const auto& x) { return cumsum(x, -1); }),
      row("cumprod", [](const auto& x) { return cumprod(x, -1); }, 0.8, 1.2, 3e-5), row("logcumsumexp", [](const auto& x) { return logcumsumexp(x, -1); }),
      row("cummax", [](const auto& x) { return cummax(x, -1).values; }, -2, 2, 0), row("cummin", [](const auto& x) { return cummin(x, 0).values; }, -2, 2, 0),
      row("sort", [](const auto& x) { return sort(x).values; }, -2, 2, 0), row("topk", [](const auto& x) { return topk(x, 1).values; }, -2, 2, 0, 1),
      row("kth_value", [](const auto& x) { return kth_value(x, 1).values; }, -2, 2, 0, 1),
      row("median", [](const auto& x) { return median(x, -1).values; }, -2, 2, 0, 1),
      row("quantile", [](const auto& x) { return quantile(x, 0.3, -1); }, -2, 2, 4e-6, 1));
  add(row("flip", [](const auto& x) { return flip(x, {-1}); }, -2, 2, 0), row("roll", [](const auto& x) { return roll(x, 2, -1); }, -2, 2, 0),
      row("repeat", [](const auto& x) { return repeat(x, {2, 1, 3}); }, -2, 2, 0),
      row("repeat_interleave", [](const auto& x) { return repeat_interleave(x, 2, -1); }, -2, 2, 0),
      row("pad", [](const auto& x) { return pad(x, {1}, {2}, 0.5); }, -2, 2, 0),
      row("pad reflect", [](const auto& x) { return pad(x, {1}, {0}, PadMode::reflect); }, -2, 2, 0, 2),
      row("cat", [](const auto& x) { return cat(std::vector{x, x}, -1); }, -2, 2, 0), row("stack", [](const auto& x) { return stack(std::vector{x, x}, 0); }, -2, 2, 0),
      row("diff", [](const auto& x) { return diff(x); }), row("flatten", [](const auto& x) { return gradus::flatten(x); }, -2, 2, 0),
      row("reshape", [](const auto& x) { return gradus::reshape(x, {x.numel(), 1}); }, -2, 2, 0), row("unsqueeze", [](const auto& x) { return unsqueeze(x, 0); }, -2, 2, 0),
      row("movedim", [](const auto& x) { return movedim(x, 0, -1); }, -2, 2, 0), row("narrow", [](const auto& x) { return narrow(x, -1, 0, 1); }, -2, 2, 0, 1),
      row("prefix", [](const auto& x) { Shape s = x.shape(); return prefix(x, (--s[x.rank() - 1], s)); }, -2, 2, 0, 1),
      row("diag_embed", [](const auto& x) { return diag_embed(x, 1); }, -2, 2, 0), row("normalize", [](const auto& x) { return normalize(x, 2, -1); }, 0.3, 2),
      row("matmul", [](const auto& x) { return matmul(transpose(unsqueeze(x, 0), -1, -2), unsqueeze(x, 0)); }, -1, 1, 1e-5),
      row("layer_norm", [](const auto& x) { return layer_norm(x); }, -2, 2, 1e-4, 5), row("rms_norm", [](const auto& x) { return rms_norm(x); }, 0.5, 2, 1e-5, 1));
  return rows;
}

/// Values at least 0.06 from the kinks 0, +-0.5, +-1, +-1.5, 2 ... of what the table holds, the same for equal shapes.
Double inputs(const Row& r, const Shape& shape, uint64_t seed = 1) {
  Double x = check::uniform(shape, r.lo, r.hi, seed);
  for (int64_t i = 0; i < x.numel(); ++i) {
    double& v = x.data()[i];
    const double kink = std::round(v * 2) / 2;
    if (std::fabs(v - kink) < 0.06) v = kink + (kink + 0.06 < r.hi ? 0.06 : -0.06);
    v += 1e-4 * std::sin(static_cast<double>(i));     // and no two equal
  }
  return x;
}
bool two_dims_only(const std::string& name) { return name == "tril" || name == "triu"; }

std::vector<Shape> edge_shapes(const Row& r) {
  std::vector<Shape> list;
  for (const Shape& s : {Shape{0}, Shape{1}, Shape{33}, Shape{3, 0}, Shape{0, 6}, Shape{1, 1}, Shape{5, 33}})
    if (s.back() >= r.least && (s.n == 2 || !two_dims_only(r.name))) list.push_back(s);
  return list;
}
double largest(const std::vector<double>& v) {
  double m = 1;
  for (const double x : v)
    if (std::isfinite(x)) m = std::max(m, std::fabs(x));
  return m;
}

}  // namespace

TEST_CASE("edge shapes: every operator takes them, and float32 is float64 within its precision") {
  for (const Row& r : table())
    for (const Shape& shape : edge_shapes(r)) {
      INFO(r.name << " of " << shape.str());
      Double x = inputs(r, shape);
      const Float single = cast<float>(x);
      x = cast<double>(single);                       // the same numbers
      const Double y = r.f64(x);
      const auto z = r.f32(single);
      CHECK(z.shape() == y.shape());
      const auto exact = y.to_vector();
      CHECK(check::difference(z.to_vector(), exact, 0, r.precision * largest(exact)) == "");
    }
}

TEST_CASE("views that are not contiguous give what copies give, values and gradients") {
  for (const Row& r : table()) {
    INFO(r.name);
    const Double x = inputs(r, {5, 33}), row = inputs(r, {1, 33}, 2);
    const Double transposed = transpose(transpose(x, 0, 1).clone(), 0, 1);
    CHECK(check::difference(r.f64(transposed), r.f64(x), 1e-14, 1e-14) == "");
    const Double wide = expand(row, {5, 33});
    CHECK(check::difference(r.f64(wide), r.f64(wide.clone()), 1e-14, 1e-14) == "");
    if (!is_differentiable(r.name)) continue;
    const Double a = check::leaf(x), b = transposed.detach().requires_grad_();
    const auto u = check::uniform(r.f64(x).shape(), 0.5, 1.5, 3);
    CHECK(check::difference(grad(sum(r.f64(a) * u), a), grad(sum(r.f64(b) * u), b), 1e-13, 1e-13) == "");
  }
}

TEST_CASE("results require gradients unless the operator is non_differentiable; gradients of nothing are nothing") {
  for (const Row& r : table()) {
    INFO(r.name);
    const auto x = check::leaf(inputs(r, {3, 6}));
    CHECK(r.f64(x).requires_grad() == is_differentiable(r.name));
    const Shape none{0, 6};
    if (!is_differentiable(r.name)) continue;
    const auto e = check::leaf(inputs(r, none));
    const auto y = r.f64(e);
    if (y.requires_grad()) CHECK(grad(sum(y), e).shape() == none);
  }
}

TEST_CASE("first and second gradients of the table, and jvp against vjp") {
  for (const Row& r : table()) {
    if (!is_differentiable(r.name)) continue;
    INFO(r.name);
    const Double x = inputs(r, {2, 5}, 4);
    check::gradients(r.f64, x, {.name = r.name, .atol = 3e-6});
    const auto u = check::uniform(no_grad([&] { return r.f64(x); }).shape(), -1, 1, 5), v = check::uniform(x.shape(), -1, 1, 6);
    const double forward = sum(u * jvp(r.f64, x, v)).item(), backward = sum(vjp(r.f64, x, u) * v).item();
    CHECK(forward == Approx(backward).epsilon(1e-10).margin(1e-12));
  }
}

TEST_CASE("non_differentiable names operators that exist, and all whose results are integers or truth values") {
  std::set<std::string> listed(std::begin(non_differentiable), std::end(non_differentiable)), integer, all;
  const auto ops = std::filesystem::path(GRADUS_TESTS_DIR).parent_path() / "include/gradus/ops";
  const std::regex whole("Tensor<(bool|int64_t), D> ([a-z_]+)\\((const|int64_t)"), any("[ >]([a-z_]+)\\(");
  for (const auto& file : std::filesystem::directory_iterator(ops)) {
    std::ifstream in(file.path());
    bool inside = false;                      // namespace detail
    for (std::string line; std::getline(in, line);) {
      if (line.starts_with("namespace detail")) inside = true;
      if (line.starts_with("}")) inside = inside && !line.starts_with("}  // namespace detail");
      std::smatch m;
      if (!inside && std::regex_search(line, m, whole) && line.find_first_of("tT") == 0) integer.insert(m[2]);
      for (auto it = std::sregex_iterator(line.begin(), line.end(), any); it != std::sregex_iterator(); ++it) all.insert((*it)[1]);
    }
  }
  CHECK(integer.size() > 15);
  for (const auto& name : integer) {
    INFO(name << " has integer results and is not in ops/non_differentiable.hpp");
    CHECK(listed.count(name) == 1);
  }
  for (const auto& name : listed) {
    INFO(name << " is in ops/non_differentiable.hpp and nowhere else");
    CHECK(all.count(name) == 1);
  }
}
