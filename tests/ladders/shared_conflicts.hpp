// Bank conflicts of what a function launches on the emulated device.
#pragma once
#include <algorithm>

#include <gradus/core/accesses.hpp>

namespace ladder_test {

/// The worst line's passes over the banks for each pass that the data needs; 1 is no conflict.
template <class F> double shared_conflicts(F launch) {
  double worst = 0;
  for (const auto& line : gradus::cuda::count_accesses(launch))
    if (line.shared) worst = std::max(worst, static_cast<double>(line.passes) / static_cast<double>(line.best));
  return worst;
}

}  // namespace ladder_test
