// Kernels without mistakes, by name, each with what plain loops give for the same input.
#pragma once
#include <string>
#include <vector>

#include "kernels.hpp"

namespace emulation_test {

struct Correct {
  const char* name;
  Floats (*run)();
  Floats (*expected)();
  double tolerance;        // relative to the largest expected value; 0: equal
};
const std::vector<Correct>& correct_kernels();
/// Some of the kernels of a second file: matrix tiles, asynchronous copies, attention, cooperative groups.
const std::vector<Correct>& correct_tile_kernels();

/// Numbers in [-1, 1) that are the same everywhere.
Floats numbers(std::size_t n, unsigned salt);

}  // namespace emulation_test
