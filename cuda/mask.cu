// Masks with a probability for each element, and what becomes of kept and dropped elements. The masks are the Cpu's bit for bit.
#include <gradus/kernels/mask.hpp>
#include <gradus/kernels/random.hpp>

#include "pointwise.cuh"

namespace gradus::kernels {
namespace cu {

/// One thread a Philox counter, four elements.
template <class T> __global__ void mask_each_reference(const T* p, bool* keep, int64_t n, RandomStream s) {
  const int64_t counter = thread_in_grid(), first = 4 * counter;
  if (first >= n) return;
  const Philox r(s.seed, s.stream, static_cast<uint64_t>(counter));
  for (int k = 0; k < 4 && first + k < n; ++k)
    keep[first + k] = (r.w[k] >> 8) >= bernoulli_threshold(static_cast<double>(load(p[first + k])));
}
template <class T> struct MaskOf {
  compute_t<T> scale, shift;
  T fill;
  __device__ T operator()(bool kept, T x) const { return kept ? static_cast<T>(load(x) * scale + shift) : fill; }
};

}  // namespace cu

template <class T> void mask_each(Cuda, const T* p, bool* keep, int64_t n, RandomStream s) {
  cu::enqueue("mask_each", cu::mask_each_reference<T>, {cu::blocks_for(cu::blocks_for(n, 4), cu::kThreads)}, p, keep, n, s);
}

template <class T>
void mask_apply(Cuda, const bool* keep, const T* x, T* y, double scale, double shift, double fill, const Loop<3>& loop) {
  using A = compute_t<T>;
  cu::pointwise("mask_apply", cu::MaskOf<T>{static_cast<A>(scale), static_cast<A>(shift), static_cast<T>(static_cast<A>(fill))}, loop, y, keep, x);
}

namespace {
template <class... T> void* mask_floating() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cuda>(&mask_each<T>)..., instance<Cuda>(&mask_apply<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_cuda_mask_instances[] = {mask_floating<float, double, bf16, half>()};

}  // namespace gradus::kernels
