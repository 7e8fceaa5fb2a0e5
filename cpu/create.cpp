#ifndef GRADUS_CPU_CREATE
#define GRADUS_CPU_CREATE
#include <gradus/core/parallel.hpp>
#include <gradus/kernels/create.hpp>
#include <gradus/kernels/instance.hpp>

namespace gradus::kernels {

template <class T> void ramp(Cpu, T* y, int64_t n, double start, double span, double parts) {
  parallel_for(n, 32768, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = static_cast<T>(start + span * static_cast<double>(i) / parts);
  });
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T> void* create_all() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&ramp<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_create_instances[] = {create_all<float, double, bf16, half, int64_t, int32_t, uint8_t, bool>()};
#endif

}  // namespace gradus::kernels
#endif
