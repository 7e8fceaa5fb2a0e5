// Kernels with one mistake each, by name; tests call them and look at the report.
#pragma once
#include <string>

#include "kernels.hpp"

namespace emulation_test {

struct Pair {
  float first, second;
};

void run_bug(const std::string& name);
int driver_error_of_empty_grid();
float host_reads_device();               // ends the program
void* leaked_allocation();
void free_device(void* p);
void copy_beyond_the_end();
int free_twice();

}  // namespace emulation_test
