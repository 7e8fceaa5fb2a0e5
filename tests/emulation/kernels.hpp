// What the kernel files of this folder offer to the tests. Everything takes and returns host memory.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace emulation_test {

using Floats = std::vector<float>;

Floats softmax(const Floats& x, int rows, int columns);
Floats scale(const Floats& x, float a);
Floats reverse_block(const Floats& x);
double reverse_block_seconds(const Floats& x);     // of the launch alone

/// Runs what follows under this order of threads; back to what it was at the end.
struct Schedule {
  explicit Schedule(const std::string& policy, uint64_t seed = 0, int workers = 0);
  ~Schedule();
  Schedule(const Schedule&) = delete;

 private:
  std::string saved_policy_;
  uint64_t saved_seed_;
  int saved_workers_;
};

}  // namespace emulation_test
