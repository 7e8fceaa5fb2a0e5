#include <gradus/kernels/create.hpp>

#include "kernel.cuh"

namespace gradus::kernels {

namespace cu {
template <class T> __global__ void ramp_reference(T* y, int64_t n, double start, double span, double parts) {
  const int64_t i = thread_in_grid();
  if (i < n) y[i] = static_cast<T>(start + span * static_cast<double>(i) / parts);
}
}  // namespace cu

template <class T> void ramp(Cuda, T* y, int64_t n, double start, double span, double parts) {
  cu::enqueue("ramp", cu::ramp_reference<T>, {cu::blocks_for(n, cu::kThreads)}, y, n, start, span, parts);
}

namespace {
template <class... T> void* create_all() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cuda>(&ramp<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_cuda_create_instances[] = {create_all<float, double, bf16, half, int64_t, int32_t, uint8_t, bool>()};

}  // namespace gradus::kernels
