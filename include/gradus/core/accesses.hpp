// How kernels access memory, line by line, without a profiler: sectors of device memory and passes over the banks of shared memory.
//
//   for (const auto& line : cuda::count_accesses([&] { softmax(x, -1); })) std::cout << line.place << " " << line.passes << "\n";
#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include <gradus/core/error.hpp>

namespace gradus::cuda {

/// Accesses of warps at one line of a kernel.
struct AccessCount {
  std::string place;             ///< "softmax.cu:42"
  bool shared = false, write = false;
  std::size_t requests = 0;      ///< of a warp at this line
  std::size_t passes = 0;        ///< shared memory: passes over the banks; device memory: sectors of 32 bytes
  std::size_t best = 0;          ///< what dense accesses of the same lanes would take
};
/// Runs launch() and counts what its kernels access, the worst lines first. Only the emulated device counts: on a GPU an error, there a
/// profiler does it.
std::vector<AccessCount> count_accesses(const std::function<void()>& launch, Where at = Where::current());

}  // namespace gradus::cuda
