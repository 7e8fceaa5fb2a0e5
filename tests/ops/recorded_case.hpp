// Runs one recorded case through a function of gradus and compares outputs and gradients with PyTorch's.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "recorded/recorded.hpp"
#include "support/check.hpp"

namespace check {

/// The cases of the named operators in one file of tests/recorded.
inline std::vector<gradus::recorded::Case> recorded_cases(const char* file, const std::vector<std::string>& ops) {
  std::vector<gradus::recorded::Case> found;
  for (auto& c : gradus::recorded::load_cases(std::filesystem::path(GRADUS_TESTS_DIR) / "recorded" / file))
    if (std::find(ops.begin(), ops.end(), c.op) != ops.end()) found.push_back(std::move(c));
  return found;
}

/// An attribute as numbers an axis; empty when the case does not have it.
inline gradus::PerAxis axes(const gradus::recorded::Case& c, const char* key) { return gradus::PerAxis(c.ints(key)); }

/// f(inputs) gives output 0, its inputs in the order of the case. Returns what differs, or "".
template <class F>
std::string recorded_difference(const gradus::recorded::Case& c, F f, double rtol = 1e-11, double atol = 1e-11) {
  List x;
  for (const auto& in : c.inputs) {
    x.push_back(gradus::from_vector(in.data, in.shape));
    if (in.requires_grad) x.back().requires_grad_();
  }
  const Double y = f(x);
  if (auto d = difference(y, c.outputs[0].shape, c.outputs[0].data, rtol, atol); !d.empty()) return "output: " + d;
  if (c.cotangents[0]) y.backward(gradus::from_vector(*c.cotangents[0], c.outputs[0].shape));
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!c.grads[i]) continue;
    if (!x[i].grad().defined()) return "no gradient for " + c.inputs[i].name;
    if (auto d = difference(x[i].grad(), c.inputs[i].shape, *c.grads[i], rtol, atol); !d.empty())
      return "gradient of " + c.inputs[i].name + ": " + d;
  }
  return "";
}

}  // namespace check
