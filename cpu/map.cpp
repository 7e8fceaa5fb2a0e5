// Programs run element by element: the reference for devices. map() on Cpu runs the lambda itself.
#ifndef GRADUS_CPU_MAP
#define GRADUS_CPU_MAP
#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/map.hpp>

namespace gradus::kernels {

template <class T> void map_program(Cpu, const MapStep* steps, int64_t length, const T* const* x, int operands, T* y,
                                    const Loop<1 + kMapOperands>& loop) {
  const int last = loop.rank - 1;
  for_each_run(loop, [&](const int64_t* at, int64_t n) {
    for (int64_t i = 0; i < n; ++i)
      y[at[0] + i * loop.stride[0][last]] = static_cast<T>(run_steps<compute_t<T>>(
          steps, length, [&](int k) { return k < operands ? static_cast<compute_t<T>>(x[k][at[1 + k] + i * loop.stride[1 + k][last]]) : compute_t<T>(0); }));
  });
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T> void* map_floating() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&map_program<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_map_instances[] = {map_floating<float, double, bf16, half>()};
#endif

}  // namespace gradus::kernels
#endif
