// A case: a name, a shape as text, and a function that sets up inputs and returns what is timed.
#pragma once
#include <functional>
#include <string>
#include <vector>

namespace bench {

struct Work {
  std::function<void()> call;   ///< one timed call
  double ops = 1;               ///< units a call stands for: the figures are per unit
  double flops = 0, bytes = 0;  ///< of a call, by definition of the operation
  const char* unit = "call";
};
struct Case {
  std::string name, shape, dtype;
  std::function<Work()> make;
  const char* device = "cpu";
};

/// All cases, in the order of the files.
std::vector<Case>& cases();
inline bool add(std::string name, std::string shape, std::string dtype, std::function<Work()> make, const char* device = "cpu") {
  cases().push_back({std::move(name), std::move(shape), std::move(dtype), std::move(make), device});
  return true;
}

}  // namespace bench
