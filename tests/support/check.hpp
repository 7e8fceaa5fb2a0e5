// What the tests of tensors share: inputs with random values, comparison of values, error texts.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gradus/core/random.hpp>
#include <gradus/debug/gradcheck.hpp>
#include <gradus/ops/create.hpp>

#include "support/catch.hpp"

namespace check {

using gradus::Shape;
using gradus::Tensor;
using Double = Tensor<double>;
using List = std::vector<Double>;

/// Uniform in [lo, hi); equal (seed, shape) give equal values.
template <class T = double> Tensor<T> uniform(const Shape& shape, double lo = -1, double hi = 1, uint64_t seed = 1) {
  Tensor<T> x(shape);
  for (int64_t i = 0; i < x.numel(); ++i) {
    const gradus::Philox r(seed, 0, static_cast<uint64_t>(i));
    x.data()[i] = static_cast<T>(lo + (hi - lo) * gradus::uniform01(r.w[0], r.w[1]));
  }
  return x;
}

/// A leaf that requires gradients.
template <class T> Tensor<T> leaf(const Tensor<T>& x) { return x.detach().clone().requires_grad_(); }

/// The first difference larger than atol + rtol |expected|, as text; empty when there is none. NaN equals NaN.
template <class A, class B>
std::string difference(const std::vector<A>& actual, const std::vector<B>& expected, double rtol, double atol) {
  if (actual.size() != expected.size())
    return std::to_string(actual.size()) + " elements, expected " + std::to_string(expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double a = static_cast<double>(actual[i]), e = static_cast<double>(expected[i]);
    if (a == e || (a != a && e != e) || std::fabs(a - e) <= atol + rtol * std::fabs(e)) continue;
    return "element " + std::to_string(i) + " is " + gradus::detail::digits(a) + ", expected " + gradus::detail::digits(e);
  }
  return "";
}
template <class T>
std::string difference(const Tensor<T>& actual, const Shape& shape, const std::vector<double>& expected, double rtol = 1e-12,
                       double atol = 1e-12) {
  if (!(actual.shape() == shape)) return "shape " + actual.shape().str() + ", expected " + shape.str();
  return difference(actual.to_vector(), expected, rtol, atol);
}
template <class T>
std::string difference(const Tensor<T>& actual, const Tensor<T>& expected, double rtol = 1e-12, double atol = 1e-12) {
  if (!(actual.shape() == expected.shape())) return "shape " + actual.shape().str() + ", expected " + expected.shape().str();
  return difference(actual.to_vector(), expected.to_vector(), rtol, atol);
}

/// What f throws; "no error" when it does not.
template <class F> std::string error_of(F f) {
  try {
    f();
  } catch (const gradus::Error& e) {
    return e.what();
  }
  return "no error";
}
inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Whether every part occurs in the text; the text itself is shown when one does not.
inline std::string missing(const std::string& text, const std::vector<std::string>& parts) {
  for (const auto& p : parts)
    if (!contains(text, p)) return "\"" + p + "\" is not in: " + text;
  return "";
}

/// Both checks.
template <class F, class X> void gradients(F f, const X& x, const gradus::GradcheckOptions& o = {}) {
  gradus::gradcheck(f, x, o);
  gradus::gradgradcheck(f, x, o);
}

}  // namespace check
