// Bank conflicts and coalescing, line by line; see lint.cpp.
#pragma once
#include <string>
#include <vector>

#include "access.hpp"

namespace gradus::emu {

struct LintLine {
  std::string place;
  Kind kind = Kind::read;
  bool shared = false;
  std::size_t requests = 0;        // of warps
  std::size_t passes = 0;          // shared: passes over the banks; device: 32-byte sectors
  std::size_t best = 0;            // what dense accesses of the same lanes would take
};
/// The worst lines first.
std::vector<LintLine> lint_lines();
std::string lint_table();
void lint_reset();

}  // namespace gradus::emu
