// What the ladders' kernels share.
#pragma once
#include <stdexcept>
#include <string>

#include "cuda/reduce.cuh"

namespace gradus::ladders {

using namespace kernels::cu;

__device__ inline int thread() { return static_cast<int>(threadIdx.x); }
/// Two neighbouring elements as mma takes them.
__device__ inline unsigned pair(bf16 low, bf16 high) { return low.bits | static_cast<unsigned>(high.bits) << 16; }

/// A 16-byte chunk into shared memory, zeros where it is not `inside`: at once, and while the thread goes on.
struct AtOnce {
  __device__ void operator()(bf16* to, const bf16* from, bool inside) const { store16(to, inside ? load16<uint4>(from) : make_uint4(0, 0, 0, 0)); }
};
struct Later {
  __device__ void operator()(bf16* to, const bf16* from, bool inside) const { copy_async16(to, from, inside); }
};

/// `of`: " for float" where steps depend on the type.
[[noreturn]] inline void no_step(const std::string& op, const std::string& step, const std::string& of = "") {
  throw std::invalid_argument(op + ": no step \"" + step + "\"" + of);
}

}  // namespace gradus::ladders
