// Threads of the CPU backend. Results must not depend on how many there are (I6): a chunk may be any
// sub-range of [0, n), so each index has to be computed alone, or partial results combined in a fixed order.
#pragma once
#include <cstdint>
#include <type_traits>

#include <gradus/core/config.hpp>

namespace gradus {

/// Number of threads kernels may use; from OMP_NUM_THREADS or the cores at first. Serial without OpenMP.
int num_threads();
void set_num_threads(int n);

namespace detail {
/// Runs call(context, begin, end) over a partition of [0, n) whose pieces have at least `grain` indices.
void parallel_run(int64_t n, int64_t grain, void (*call)(void*, int64_t, int64_t), void* context);
bool in_parallel();
}  // namespace detail

/// f(begin, end) over a partition of [0, n). Below `grain` indices, or inside another parallel_for, one call on this thread.
template <class F> void parallel_for(int64_t n, int64_t grain, F&& f) {
  if (n <= 0) return;
  if (n <= grain || num_threads() == 1) return f(int64_t{0}, n);
  using G = std::remove_reference_t<F>;
  detail::parallel_run(
      n, grain, [](void* p, int64_t b, int64_t e) { (*static_cast<G*>(p))(b, e); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

}  // namespace gradus

#ifdef GRADUS_HEADER_ONLY
#include <gradus/core/parallel_impl.hpp>
#endif
