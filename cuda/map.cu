// One thread an element runs the program, whose steps all threads of a warp read at once.
#include <gradus/kernels/map.hpp>

#include "pointwise.cuh"

namespace gradus::kernels {
namespace cu {

template <class T> struct MapInputs {
  const T* x[kMapOperands];
};
template <class T>
__global__ void map_reference(const MapStep* steps, int64_t length, const __grid_constant__ MapInputs<T> in, T* y,
                              const __grid_constant__ Nest<1 + kMapOperands> nest) {
  const int64_t i = thread_in_grid();
  if (i >= nest.n) return;
  const auto o = offsets_of(nest, i);
  y[o.at[0]] = static_cast<T>(run_steps<compute_t<T>>(steps, length, [&](int k) { return load(in.x[k][o.at[1 + k]]); }));
}

}  // namespace cu

template <class T> void map_program(Cuda, const MapStep* steps, int64_t length, const T* const* x, int operands, T* y,
                                    const Loop<1 + kMapOperands>& loop) {
  using namespace cu;
  if (loop.n == 0) return;
  const Scratch<MapStep> program(length);
  upload(program.data(), steps, length);
  MapInputs<T> in{};
  for (int k = 0; k < operands; ++k) in.x[k] = x[k];
  enqueue("map", map_reference<T>, {blocks_for(loop.n, kThreads)}, program.data(), length, in, y, nest_of(loop));
}

namespace {
template <class... T> void* map_floating() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cuda>(&map_program<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_cuda_map_instances[] = {map_floating<float, double, bf16, half>()};

}  // namespace gradus::kernels
