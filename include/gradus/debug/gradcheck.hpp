// Checks gradients against finite differences in float64.
//
//   gradcheck([](const auto& x) { return tanh(x[0] * x[1]); }, {a, b});
//
// With y = f(x) and a random cotangent c, L(x) = <c, y>. The backward pass gives dL/dx; the check is, for every element,
//
//   dL/dx_i  =  <c, f(x + eps e_i) - f(x - eps e_i)> / (2 eps)      within  atol + rtol |dL/dx_i|
//
// gradgradcheck does the same for (x, c) -> dL/dx, which the backward pass computes when it is recorded (create_graph).
// Both throw Error at the first element that differs. f must be smooth within eps of the inputs.
#pragma once
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gradus/autograd/engine.hpp>
#include <gradus/core/random.hpp>
#include <gradus/ops/reduce.hpp>

namespace gradus {

struct GradcheckOptions {
  const char* name = "f";   ///< of the function, for the error text
  double eps = 1e-6;        ///< the step of the differences
  double atol = 1e-6;
  double rtol = 1e-5;
  uint64_t seed = 0;        ///< of the cotangent
};

namespace detail {

using Doubles = std::vector<Tensor<double>>;
using DoublesFunction = std::function<Doubles(const Doubles&)>;

/// Leaves with the values of xs: what f is called with.
inline Doubles fresh_leaves(const Doubles& xs, Where at) {
  Doubles leaves;
  for (const auto& x : xs) leaves.push_back(no_grad([&] { return clone(x, at); }).requires_grad_());
  return leaves;
}

/// 0.5 <= |c_i| < 1.5 with random signs: no element of y weighs nothing.
inline Tensor<double> random_cotangent(const Shape& shape, RandomStream from, Where at) {
  Tensor<double> c(shape, at);
  for (int64_t i = 0; i < c.numel(); ++i) {
    const Philox r(from.seed, from.stream, static_cast<uint64_t>(i));
    c.data()[i] = (r.w[2] & 1 ? 1 : -1) * (0.5 + uniform01(r.w[0], r.w[1]));
  }
  return c;
}

/// Copies: a result may share memory with the inputs, which are about to change.
inline std::vector<std::vector<double>> values_of(const Doubles& y) {
  std::vector<std::vector<double>> values;
  for (const auto& t : y) values.push_back(t.to_vector());
  return values;
}

inline std::string digits(double v) {
  char text[32];
  snprintf(text, sizeof text, "%.12g", v);
  return text;
}
inline std::string index_text(int64_t i, const Shape& shape) {
  Shape index = shape;
  for (int d = shape.n - 1; d >= 0; --d) index[d] = i % shape[d], i /= shape[d];
  return index.str();
}

inline void compare_gradients(const char* check, const DoublesFunction& f, const Doubles& inputs, const GradcheckOptions& o,
                              Where at) {
  const GradMode recorded(true);
  const Doubles x = fresh_leaves(inputs, at);
  const Doubles y = f(x);
  Doubles cotangents, reached, analytic(x.size());
  std::vector<AnyTensor> reached_cotangents;
  for (std::size_t k = 0; k < y.size(); ++k) {
    cotangents.push_back(random_cotangent(y[k].shape(), {o.seed, k}, at));
    if (!y[k].requires_grad()) continue;         // counts as gradient 0, which the differences must confirm
    reached.push_back(clone(y[k], at));          // so that the same tensor may be there twice
    reached_cotangents.push_back(cotangents.back());
  }
  if (!reached.empty()) analytic = grad(reached, x, {.gradients = reached_cotangents, .allow_unused = true}, at);

  for (std::size_t k = 0; k < x.size(); ++k) {
    const std::vector<double> g = analytic[k].defined() ? analytic[k].to_vector() : std::vector<double>();
    for (int64_t i = 0; i < x[k].numel(); ++i) {
      double& xi = x[k].data()[i];               // straight into memory: f records a new graph each time
      const double before = xi, up = before + o.eps, down = before - o.eps;
      xi = up;
      const auto above = values_of(f(x));
      xi = down;
      const auto below = values_of(f(x));
      xi = before;
      double numeric = 0;
      for (std::size_t m = 0; m < y.size(); ++m)
        for (std::size_t j = 0; j < above[m].size(); ++j) numeric += cotangents[m].data()[j] * (above[m][j] - below[m][j]);
      numeric /= up - down;
      const double exact = g.empty() ? 0 : g[static_cast<std::size_t>(i)], tolerance = o.atol + o.rtol * std::fabs(numeric);
      if (std::fabs(exact - numeric) <= tolerance) continue;  // NaN does not pass
      fail(std::string(check) + "(" + o.name + ")", "the gradient differs from finite differences",
           {{"argument", std::to_string(k) + " of " + std::to_string(x.size()) + ", " + describe(x[k])},
            {"index", index_text(i, x[k].shape())},
            {"value", digits(before)},
            {"analytic", digits(exact) + (analytic[k].defined() ? "" : " (f has no gradient for this argument)")},
            {"numeric", digits(numeric)},
            {"seed", std::to_string(o.seed)}},
           "a difference of at most " + digits(tolerance) + ", got " + digits(std::fabs(exact - numeric)), at);
    }
  }
}

/// What f gives, as a list: f gives a tensor or a list of tensors.
inline Doubles as_list(Tensor<double> y) { return {std::move(y)}; }
inline Doubles as_list(Doubles y) { return y; }

}  // namespace detail

/// Throws Error unless f's gradients agree with central differences at `inputs`, for every element of every input.
/// f takes a const std::vector<Tensor<double>>& (contiguous leaves with the values of `inputs`) and gives a tensor or a list.
template <class F>
void gradcheck(F f, const std::vector<Tensor<double>>& inputs, const GradcheckOptions& o = {}, Where at = Where::current()) {
  detail::compare_gradients("gradcheck", [&f](const detail::Doubles& x) { return detail::as_list(f(x)); }, inputs, o, at);
}
/// The same for an f of one tensor.
template <class F>
void gradcheck(F f, const Tensor<double>& input, const GradcheckOptions& o = {}, Where at = Where::current()) {
  detail::compare_gradients("gradcheck", [&f](const detail::Doubles& x) { return detail::as_list(f(x[0])); }, {input}, o, at);
}

namespace detail {
inline void compare_second_gradients(const DoublesFunction& f, const Doubles& inputs, const GradcheckOptions& o, Where at) {
  const std::size_t n = inputs.size();
  Doubles all = inputs;
  const Doubles y = no_grad([&] { return f(inputs); });
  for (std::size_t k = 0; k < y.size(); ++k) all.push_back(random_cotangent(y[k].shape(), {o.seed, 1000 + k}, at));
  compare_gradients(
      "gradgradcheck",
      [&f, n, at](const Doubles& x_and_c) {
        const Doubles x(x_and_c.begin(), x_and_c.begin() + static_cast<std::ptrdiff_t>(n)), y = f(x);
        Doubles reached, found;
        std::vector<AnyTensor> cotangents;
        for (std::size_t k = 0; k < y.size(); ++k)
          if (y[k].requires_grad()) reached.push_back(clone(y[k], at)), cotangents.push_back(x_and_c[n + k]);
        if (reached.empty()) return found;
        for (auto& g : grad(reached, x, {.gradients = cotangents, .create_graph = true, .allow_unused = true}, at))
          if (g.defined()) found.push_back(std::move(g));
        return found;
      },
      all, o, at);
}
}  // namespace detail

/// Throws Error unless the gradients of f's gradients agree with central differences: gradcheck of (x, c) -> dL/dx.
template <class F>
void gradgradcheck(F f, const std::vector<Tensor<double>>& inputs, const GradcheckOptions& o = {},
                   Where at = Where::current()) {
  detail::compare_second_gradients([&f](const detail::Doubles& x) { return detail::as_list(f(x)); }, inputs, o, at);
}
/// The same for an f of one tensor.
template <class F>
void gradgradcheck(F f, const Tensor<double>& input, const GradcheckOptions& o = {}, Where at = Where::current()) {
  detail::compare_second_gradients([&f](const detail::Doubles& x) { return detail::as_list(f(x[0])); }, {input}, o, at);
}

}  // namespace gradus
