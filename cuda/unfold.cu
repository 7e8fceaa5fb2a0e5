// Unfold: one thread an element of the columns. Fold: one thread a pixel, which gathers the columns that hold it, so that no
// two threads write to one place.
#include <gradus/core/dtype.hpp>
#include <gradus/kernels/unfold.hpp>

#include "kernel.cuh"

namespace gradus::kernels {
namespace cu {

template <class T> __global__ void unfold_reference(const T* x, T* col, ConvDims d, int64_t size) {
  int64_t i = thread_in_grid();
  if (i >= size) return;
  T* const to = col + i;
  int64_t position[3], tap[3];
  for (int a = 2; a >= 0; --a) position[a] = i % d.out[a], i /= d.out[a];
  for (int a = 2; a >= 0; --a) tap[a] = i % d.kernel[a], i /= d.kernel[a];
  int64_t at = i;                                          // the plane: image and channel
  for (int a = 0; a < 3; ++a) {
    const int64_t p = position[a] * d.stride[a] - d.pad[a] + tap[a] * d.dilation[a];
    if (p < 0 || p >= d.in[a]) {
      *to = T(0);
      return;
    }
    at = at * d.in[a] + p;
  }
  *to = x[at];
}

template <class T> __global__ void fold_reference(const T* col, T* x, ConvDims d, int64_t size) {
  int64_t i = thread_in_grid();
  if (i >= size) return;
  T* const to = x + i;
  int64_t position[3];
  for (int a = 2; a >= 0; --a) position[a] = i % d.in[a], i /= d.in[a];
  const T* plane = col + i * d.taps() * d.out_size();
  compute_t<T> sum = 0;
  for (int64_t r = 0; r < d.taps(); ++r) {
    int64_t rest = r, at = 0, unit = 1;
    bool read = true;
    for (int a = 2; a >= 0 && read; --a) {
      const int64_t t = position[a] + d.pad[a] - rest % d.kernel[a] * d.dilation[a];
      rest /= d.kernel[a];
      read = t >= 0 && t % d.stride[a] == 0 && t / d.stride[a] < d.out[a];
      at += t / d.stride[a] * unit, unit *= d.out[a];
    }
    if (read) sum += load(plane[r * d.out_size() + at]);
  }
  *to = static_cast<T>(sum);
}

}  // namespace cu

template <class T> void unfold_fwd(Cuda, const T* x, T* col, const ConvDims& d) {
  const int64_t size = d.N * d.C * d.taps() * d.out_size();
  cu::enqueue("unfold", cu::unfold_reference<T>, {cu::blocks_for(size, cu::kThreads)}, x, col, d, size);
}

template <class T> void fold_fwd(Cuda, const T* col, T* x, const ConvDims& d) {
  const int64_t size = d.N * d.C * d.in_size();
  cu::enqueue("fold", cu::fold_reference<T>, {cu::blocks_for(size, cu::kThreads)}, col, x, d, size);
}

namespace {
template <class... T> void* unfold_floating() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cuda>(&unfold_fwd<T>)..., instance<Cuda>(&fold_fwd<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_cuda_unfold_instances[] = {unfold_floating<float, double, bf16, half>()};

}  // namespace gradus::kernels
