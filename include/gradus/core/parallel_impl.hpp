// Definitions of parallel.hpp; compiled once in cpu/gradus.cpp, or inline with GRADUS_HEADER_ONLY.
#pragma once
#include <algorithm>
#include <exception>

#include <gradus/core/parallel.hpp>
#if defined(_OPENMP)
#include <omp.h>
#endif

namespace gradus {
namespace detail {
#if defined(_OPENMP)
inline int thread_count = omp_get_max_threads();
#else
inline int thread_count = 1;
#endif
}  // namespace detail

GRADUS_FUNC int num_threads() { return detail::thread_count; }
GRADUS_FUNC void set_num_threads(int n) { detail::thread_count = n < 1 ? 1 : n; }

GRADUS_FUNC bool detail::in_parallel() {
#if defined(_OPENMP)
  return omp_in_parallel() != 0;
#else
  return false;
#endif
}

GRADUS_FUNC void detail::parallel_run(int64_t n, [[maybe_unused]] int64_t grain, void (*call)(void*, int64_t, int64_t),
                                      void* context) {
#if defined(_OPENMP)
  const int64_t pieces = std::min<int64_t>(thread_count, (n + grain - 1) / std::max<int64_t>(grain, 1));
  if (pieces > 1 && !omp_in_parallel()) {
    std::exception_ptr error;
#pragma omp parallel num_threads(static_cast<int>(pieces))
    {
      const int64_t me = omp_get_thread_num(), count = omp_get_num_threads();
      const int64_t step = (n + count - 1) / count, b = me * step, e = std::min(n, b + step);
      try {
        if (b < e) call(context, b, e);
      } catch (...) {
#pragma omp critical(gradus_parallel_error)
        error = std::current_exception();
      }
    }
    if (error) std::rethrow_exception(error);
    return;
  }
#endif
  call(context, 0, n);
}

}  // namespace gradus
