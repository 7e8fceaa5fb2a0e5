// Runs recorded cases through a table of functions and compares outputs and gradients with PyTorch's. The tests beside this
// file take all files of cases but conv, pool and resample, which tests/ops runs beside its other tests of these operators.
//
// Each case runs three times more: with the inputs as views that are not contiguous, which must change nothing; forward,
// where <c, jvp(v)> must be <vjp(c), v>; and, where the function is smooth, through gradgradcheck.
#pragma once
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gradus/ops/elementwise.hpp>
#include <gradus/ops/functional.hpp>
#include <gradus/ops/view.hpp>

#include "recorded/recorded.hpp"
#include "support/check.hpp"

namespace gradus::recorded {

using Double = Tensor<double>;
using Names = std::vector<std::string>;

/// The inputs of a case. Doubles are made once, in the order of the case, and require gradients as recorded.
struct Args {
  const Case& c;
  std::vector<Double> list;

  explicit Args(const Case& c, bool views = false) : c(c) {
    for (const Array& a : c.inputs) {
      list.push_back(from_vector(a.data, a.shape));
      if (views) list.back() = scattered(list.back());
      if (a.requires_grad) list.back().requires_grad_();
    }
  }
  Args(const Case& c, std::vector<Double> inputs) : c(c), list(std::move(inputs)) {}
  /// The same values with other strides: the first two dimensions exchanged in memory, or every second element of a vector.
  static Double scattered(const Double& x) {
    if (x.rank() == 0) return x;
    if (x.rank() > 1) return transpose(transpose(x, 0, 1).clone(), 0, 1).detach();
    const auto wide = zeros<double>({x.numel(), 2});
    select(wide, 1, 1).copy_(x);
    return select(wide, 1, 1).detach();
  }
  const Double& operator[](std::size_t i) const { return list.at(i); }
  std::size_t size() const { return list.size(); }
  /// The input of that name; undefined when the case has none.
  Double get(std::string_view name) const {
    for (std::size_t i = 0; i < list.size(); ++i)
      if (c.inputs[i].name == name) return list[i];
    return {};
  }
  Tensor<int64_t> integers(std::string_view name) const {
    return cast<int64_t>(from_vector(c.at(name).data, c.at(name).shape));
  }
  Tensor<bool> mask(std::string_view name) const { return cast<bool>(from_vector(c.at(name).data, c.at(name).shape)); }
  bool is(const char* dtype, std::size_t i = 0) const { return c.inputs.at(i).dtype == dtype; }
  double number(const char* key, double otherwise) const { return c.attr(key, otherwise); }
  int dim(const char* key = "dim", int otherwise = -1) const { return c.attr(key, otherwise); }
  bool flag(const char* key, bool otherwise = false) const { return c.attr(key, otherwise); }
};

/// What a function gives: tensors of any element type, as doubles. Nothing: gradus has no function for this case.
struct Results {
  std::vector<Double> list;
  Names dtypes;
  Results() = default;
  template <class T>
  Results(const Tensor<T>& y) {
    append(y);
  }
  template <class T>
  Results(const std::vector<Tensor<T>>& ys) {
    for (const auto& y : ys) append(y);
  }
  template <class A, class B, class... C>
  Results(const Tensor<A>& a, const Tensor<B>& b, const Tensor<C>&... c) {
    append(a), append(b), (append(c), ...);
  }

 private:
  template <class T>
  void append(const Tensor<T>& y) {
    list.push_back(cast<double>(y));
    dtypes.push_back(std::is_same_v<T, bool> ? "bool" : std::is_same_v<T, int64_t> ? "int64" : "float64");
  }
};

using Table = std::map<std::string, std::function<Results(const Args&)>>;

/// Differences beyond these are failures: |a - e| <= tolerance (1 + |e|).
inline constexpr double kValueTolerance = 1e-9, kGradientTolerance = 1e-8;

struct Report {
  int ran = 0;
  Names differences;  // "case: what differs"
  Names missing;      // operators without a function, and cases whose function gives nothing
};

namespace detail {

/// "" when the results and their gradients are the recorded ones.
inline std::string compare(const Args& x, const Results& y) {
  const Case& c = x.c;
  if (y.list.size() != c.outputs.size())
    return std::to_string(y.list.size()) + " outputs, expected " + std::to_string(c.outputs.size());
  for (std::size_t i = 0; i < y.list.size(); ++i) {
    const std::string which = "output " + std::to_string(i);
    if (y.dtypes[i] != c.outputs[i].dtype) return which + " is " + y.dtypes[i] + ", expected " + c.outputs[i].dtype;
    const auto d = check::difference(y.list[i], c.outputs[i].shape, c.outputs[i].data, kValueTolerance, kValueTolerance);
    if (!d.empty()) return which + ": " + d;
  }
  if (!c.has_grads()) return "";
  std::vector<Double> roots, leaves;
  GradOptions o{.allow_unused = true};
  for (std::size_t i = 0; i < y.list.size(); ++i)
    if (c.cotangents[i] && y.list[i].requires_grad()) {  // a piecewise constant result has none: its gradient is 0
      roots.push_back(y.list[i]);
      o.gradients.push_back(from_vector(*c.cotangents[i], c.outputs[i].shape));
    }
  for (std::size_t i = 0; i < x.size(); ++i)
    if (c.grads[i]) leaves.push_back(x[i]);
  std::vector<Double> dx(leaves.size());
  if (!roots.empty()) dx = grad(roots, leaves, o);
  std::size_t k = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!c.grads[i]) continue;
    const Double g = dx[k].defined() ? dx[k] : zeros_like(x[i]);
    const auto d = check::difference(g, c.inputs[i].shape, *c.grads[i], kGradientTolerance, kGradientTolerance);
    if (!d.empty()) return "gradient of " + c.inputs[i].name + ": " + d;
    ++k;
  }
  return "";
}

using Function = std::function<Results(const Args&)>;

inline double dot(const Double& a, const Double& b) { return sum(mul(a, b)).item(); }

/// "" when the derivative along a direction is the one that the recorded gradient has. For cases with one result.
inline std::string compare_forward(const Case& c, const Function& f) {
  if (c.outputs.size() != 1 || !c.cotangents[0]) return "";
  const Args x(c);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!c.grads[i]) continue;
    const auto along = [&](const Double& t) {
      std::vector<Double> in;
      for (std::size_t k = 0; k < x.size(); ++k) in.push_back(k == i ? t : x[k].detach());
      return f(Args(c, in)).list[0];
    };
    if (no_grad([&] { return along(x[i]); }).numel() == 0 || x[i].numel() == 0) continue;
    {
      const auto leaf = x[i].detach().requires_grad_();
      if (!along(leaf).requires_grad()) continue;   // piecewise constant
    }
    const auto v = check::uniform(x[i].shape(), -1, 1, 77 + i);
    const double forward = dot(jvp(along, x[i], v), from_vector(*c.cotangents[0], c.outputs[0].shape));
    const double backward = dot(v, from_vector(*c.grads[i], c.inputs[i].shape));
    if (!(std::fabs(forward - backward) <= 10 * kGradientTolerance * (1 + std::fabs(backward))))
      return "jvp of " + c.inputs[i].name + ": " + gradus::detail::digits(forward) + ", expected " + gradus::detail::digits(backward);
  }
  return "";
}
/// Throws where the gradient's gradient differs from differences. Steps of 1e-6 say nothing about large or infinite numbers.
inline void check_second(const Case& c, const Function& f) {
  const auto moderate = [](const std::vector<double>& v) {
    return std::all_of(v.begin(), v.end(), [](double e) { return std::fabs(e) <= 100; });
  };
  for (const Array& a : c.inputs)
    if (!moderate(a.data)) return;
  for (const auto& g : c.grads)
    if (g && !moderate(*g)) return;
  const Args x(c);
  std::vector<Double> leaves;
  std::vector<std::size_t> place;
  for (std::size_t i = 0; i < x.size(); ++i)
    if (c.grads[i] && x[i].numel() > 0) leaves.push_back(x[i].detach()), place.push_back(i);
  if (leaves.empty()) return;
  gradgradcheck(
      [&](const std::vector<Double>& in) {
        std::vector<Double> all;
        for (const auto& t : x.list) all.push_back(t.detach());
        for (std::size_t k = 0; k < place.size(); ++k) all[place[k]] = in[k];
        std::vector<Double> smooth;
        const auto y = f(Args(c, all));
        for (std::size_t i = 0; i < y.list.size(); ++i)
          if (y.dtypes[i] == "float64") smooth.push_back(y.list[i]);
        return smooth;
      },
      leaves, {.name = c.name.c_str()});
}

}  // namespace detail

/// All cases of some files of this folder, each through the table's function for its operator. `chosen` are the cases at a
/// kink or tie where gradus takes another subgradient than PyTorch: of those the values are compared. Of the cases in `once` the
/// second derivative is not checked.
inline Report run(const std::vector<const char*>& files, const Table& table, const Names& chosen = {}, const Names& once = {}) {
  Report r;
  std::set<std::string> without;
  for (const char* file : files)
    for (const Case& c : load_cases(std::filesystem::path(GRADUS_TESTS_DIR) / "recorded" / file)) {
      const auto f = table.find(c.op);
      if (f == table.end()) {
        if (without.insert(c.op).second) r.missing.push_back(c.op);
        continue;
      }
      try {
        const Args x(c);
        const Results y = f->second(x);
        if (y.list.empty()) {
          r.missing.push_back(c.name);
          continue;
        }
        ++r.ran;
        auto d = detail::compare(x, y);
        if (std::find(chosen.begin(), chosen.end(), c.name) != chosen.end())
          d = !c.smooth && d.starts_with("gradient") ? "" : d.empty() ? "agrees, though it is listed as chosen otherwise" : d;
        if (!d.empty()) r.differences.push_back(c.name + ": " + d);
        if (!d.empty() || std::find(chosen.begin(), chosen.end(), c.name) != chosen.end()) continue;
        const Args v(c, true);
        if (d = detail::compare(v, f->second(v)); !d.empty()) r.differences.push_back(c.name + " of views: " + d);
        if (!c.has_grads()) continue;
        if (d = detail::compare_forward(c, f->second); !d.empty()) r.differences.push_back(c.name + ": " + d);
        if (c.smooth && std::find(once.begin(), once.end(), c.name) == once.end()) detail::check_second(c, f->second);
      } catch (const std::exception& e) {
        r.differences.push_back(c.name + " throws " + e.what());
      }
    }
  return r;
}

}  // namespace gradus::recorded
