// Bank conflicts of what a function launches on the emulated device.
#pragma once
#ifdef GRADUS_CUDA_EMULATED
#include <algorithm>

#include "cuda/emulation/checks.hpp"
#include "cuda/emulation/lint.hpp"

namespace ladder_test {

/// The worst line's passes over the banks for each pass that the data needs; 1 is no conflict.
template <class F> double shared_conflicts(F launch) {
  namespace emu = gradus::emu;
  emu::lint_reset();
  emu::options().lint = true;
  launch();
  emu::options().lint = false;
  double worst = 0;
  for (const emu::LintLine& line : emu::lint_lines())
    if (line.shared) worst = std::max(worst, static_cast<double>(line.passes) / static_cast<double>(line.best));
  return worst;
}

}  // namespace ladder_test
#endif
