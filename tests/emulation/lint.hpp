#pragma once
#include "kernels.hpp"

namespace emulation_test {

void run_patterns();
/// What the host sees in pinned memory after a launch and a copy to it: 7 when it waited.
float read_after_launch(bool wait);

}  // namespace emulation_test
