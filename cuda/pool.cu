// Pooling. Forward: one thread an output, which walks its window. Backward: one thread an input, which walks the outputs whose
// windows hold it, in their order: no two threads write to one place, and the sums are the Cpu's.
#include <limits>

#include <gradus/core/dtype.hpp>
#include <gradus/kernels/pool.hpp>

#include "kernel.cuh"

namespace gradus::kernels {
namespace cu {

/// Window o of an axis: input positions begin, begin + step, ... below end; n is its share of the divisor.
struct Window {
  int64_t begin, end, step, n;
};
template <bool adaptive> __device__ Window window_of(const PoolDims& d, int a, int64_t o, bool include_pad) {
  if (adaptive) {
    const int64_t b = o * d.in[a] / d.out[a], e = ((o + 1) * d.in[a] + d.out[a] - 1) / d.out[a];
    return {b, e, 1, e - b};
  }
  const int64_t step = d.dilation[a], in = d.in[a];
  int64_t b = o * d.stride[a] - d.pad[a];
  const int64_t e = b + (d.kernel[a] - 1) * step + 1, padded = (e < in + d.pad[a] ? e : in + d.pad[a]) - b;
  if (b < 0) b += (-b + step - 1) / step * step;
  const int64_t inside = e < in ? e : in;
  return {b, inside, step, include_pad ? padded : inside - b};
}

/// The outputs of an axis whose windows hold input i, in ascending order: candidates 0 ... count-1, of which output() is -1 for
/// those that do not.
template <bool adaptive> struct Holders {
  int64_t first, count;
  __device__ Holders(const PoolDims& d, int a, int64_t i) {
    if (adaptive) {
      first = i * d.out[a] / d.in[a];
      count = ((i + 1) * d.out[a] + d.in[a] - 1) / d.in[a] - first;
    } else {
      first = i + d.pad[a] - (d.kernel[a] - 1) * d.dilation[a];      // the last tap belongs to the first output
      count = d.kernel[a];
    }
  }
  __device__ int64_t output(const PoolDims& d, int a, int64_t k) const {
    if (adaptive) return first + k;
    const int64_t t = first + k * d.dilation[a];
    return t >= 0 && t % d.stride[a] == 0 && t / d.stride[a] < d.out[a] ? t / d.stride[a] : -1;
  }
};
/// f(output index in its plane, od, oh, ow) for the outputs that hold input i of a plane.
template <bool adaptive, class F> __device__ void for_each_holder(const PoolDims& d, int64_t i, F f) {
  const int64_t w = i % d.in[2], h = i / d.in[2] % d.in[1], z = i / d.in[2] / d.in[1];
  const Holders<adaptive> zs(d, 0, z), hs(d, 1, h), ws(d, 2, w);
  for (int64_t a = 0; a < zs.count; ++a) {
    const int64_t od = zs.output(d, 0, a);
    for (int64_t b = 0; od >= 0 && b < hs.count; ++b) {
      const int64_t oh = hs.output(d, 1, b);
      for (int64_t c = 0; oh >= 0 && c < ws.count; ++c) {
        const int64_t ow = ws.output(d, 2, c);
        if (ow >= 0) f((od * d.out[1] + oh) * d.out[2] + ow, od, oh, ow);
      }
    }
  }
}

template <bool adaptive, class T>
__global__ void max_pool_reference(const T* x, T* y, int64_t* argmax, PoolDims d, int64_t size) {
  const int64_t i = thread_in_grid();
  if (i >= size) return;
  const int64_t ow = i % d.out[2], oh = i / d.out[2] % d.out[1], od = i / d.out[2] / d.out[1] % d.out[0], p = i / d.out_size();
  const Window z = window_of<adaptive>(d, 0, od, false), h = window_of<adaptive>(d, 1, oh, false),
               w = window_of<adaptive>(d, 2, ow, false);
  const T* plane = x + p * d.in_size();
  compute_t<T> best = -std::numeric_limits<compute_t<T>>::infinity();
  int64_t at = (z.begin * d.in[1] + h.begin) * d.in[2] + w.begin;
  for (int64_t a = z.begin; a < z.end; a += z.step)
    for (int64_t b = h.begin; b < h.end; b += h.step)
      for (int64_t c = w.begin; c < w.end; c += w.step) {
        const int64_t j = (a * d.in[1] + b) * d.in[2] + c;
        const compute_t<T> v = load(plane[j]);
        if (v > best || v != v) best = v, at = j;                     // a NaN is taken, and then stays
      }
  y[i] = static_cast<T>(best);
  argmax[i] = at;
}
template <bool adaptive, class T>
__global__ void max_pool_bwd_reference(const T* dy, const int64_t* argmax, T* dx, PoolDims d, int64_t size) {
  const int64_t i = thread_in_grid();
  if (i >= size) return;
  const int64_t p = i / d.in_size(), j = i % d.in_size();
  compute_t<T> sum = 0;
  for_each_holder<adaptive>(d, j, [&](int64_t o, int64_t, int64_t, int64_t) {
    if (argmax[p * d.out_size() + o] == j) sum += load(dy[p * d.out_size() + o]);
  });
  dx[i] = static_cast<T>(sum);
}
template <class T>
__global__ void max_pool_gather_reference(const T* v, const int64_t* argmax, T* y, PoolDims d, int64_t size) {
  const int64_t i = thread_in_grid();
  if (i < size) y[i] = v[i / d.out_size() * d.in_size() + argmax[i]];
}

template <bool adaptive, class T>
__global__ void avg_pool_reference(const T* x, T* y, PoolDims d, bool include_pad, int64_t divisor, int64_t size) {
  const int64_t i = thread_in_grid();
  if (i >= size) return;
  const int64_t ow = i % d.out[2], oh = i / d.out[2] % d.out[1], od = i / d.out[2] / d.out[1] % d.out[0], p = i / d.out_size();
  const Window z = window_of<adaptive>(d, 0, od, include_pad), h = window_of<adaptive>(d, 1, oh, include_pad),
               w = window_of<adaptive>(d, 2, ow, include_pad);
  const T* plane = x + p * d.in_size();
  compute_t<T> sum = 0;
  for (int64_t a = z.begin; a < z.end; ++a)
    for (int64_t b = h.begin; b < h.end; ++b)
      for (int64_t c = w.begin; c < w.end; ++c) sum += load(plane[(a * d.in[1] + b) * d.in[2] + c]);
  y[i] = static_cast<T>(sum / static_cast<compute_t<T>>(divisor > 0 ? divisor : z.n * h.n * w.n));
}
template <bool adaptive, class T>
__global__ void avg_pool_bwd_reference(const T* dy, T* dx, PoolDims d, bool include_pad, int64_t divisor, int64_t size) {
  const int64_t i = thread_in_grid();
  if (i >= size) return;
  const int64_t p = i / d.in_size();
  compute_t<T> sum = 0;
  for_each_holder<adaptive>(d, i % d.in_size(), [&](int64_t o, int64_t od, int64_t oh, int64_t ow) {
    const int64_t n = divisor > 0
                          ? divisor
                          : window_of<adaptive>(d, 0, od, include_pad).n * window_of<adaptive>(d, 1, oh, include_pad).n *
                                window_of<adaptive>(d, 2, ow, include_pad).n;
    sum += load(dy[p * d.out_size() + o]) / static_cast<compute_t<T>>(n);
  });
  dx[i] = static_cast<T>(sum);
}

/// Adaptive kernels leave kernel, stride and padding alone; a sliding pool with these values has in = out, where both agree.
inline bool is_adaptive(const PoolDims& d) {
  for (int a = 0; a < 3; ++a)
    if (d.kernel[a] != 1 || d.stride[a] != 1 || d.pad[a] != 0) return false;
  return true;
}
inline PoolDims undilated(PoolDims d) {
  for (int64_t& v : d.dilation) v = 1;
  return d;
}
inline Grid grid_for(int64_t size) { return {blocks_for(size, kThreads)}; }

}  // namespace cu

template <class T> void max_pool_fwd(Cuda, const T* x, T* y, int64_t* argmax, const PoolDims& d) {
  const int64_t size = d.planes * d.out_size();
  cu::enqueue("max_pool_fwd", cu::max_pool_reference<false, T>, cu::grid_for(size), x, y, argmax, d, size);
}

template <class T> void adaptive_max_pool_fwd(Cuda, const T* x, T* y, int64_t* argmax, const PoolDims& d) {
  const int64_t size = d.planes * d.out_size();
  cu::enqueue("adaptive_max_pool_fwd", cu::max_pool_reference<true, T>, cu::grid_for(size), x, y, argmax, d, size);
}

template <class T> void max_pool_bwd(Cuda, const T* dy, const int64_t* argmax, T* dx, const PoolDims& d) {
  const int64_t size = d.planes * d.in_size();
  cu::enqueue("max_pool_bwd", cu::is_adaptive(d) ? cu::max_pool_bwd_reference<true, T> : cu::max_pool_bwd_reference<false, T>,
              cu::grid_for(size), dy, argmax, dx, d, size);
}

template <class T> void max_pool_gather(Cuda, const T* v, const int64_t* argmax, T* y, const PoolDims& d) {
  const int64_t size = d.planes * d.out_size();
  cu::enqueue("max_pool_gather", cu::max_pool_gather_reference<T>, cu::grid_for(size), v, argmax, y, d, size);
}

template <class T> void avg_pool_fwd(Cuda, const T* x, T* y, const PoolDims& d, bool count_include_pad, int64_t divisor) {
  const int64_t size = d.planes * d.out_size();
  cu::enqueue("avg_pool_fwd", cu::avg_pool_reference<false, T>, cu::grid_for(size), x, y, cu::undilated(d), count_include_pad,
              divisor, size);
}

template <class T> void avg_pool_bwd(Cuda, const T* dy, T* dx, const PoolDims& d, bool count_include_pad, int64_t divisor) {
  const int64_t size = d.planes * d.in_size();
  cu::enqueue("avg_pool_bwd", cu::avg_pool_bwd_reference<false, T>, cu::grid_for(size), dy, dx, cu::undilated(d),
              count_include_pad, divisor, size);
}

template <class T> void adaptive_avg_pool_fwd(Cuda, const T* x, T* y, const PoolDims& d) {
  const int64_t size = d.planes * d.out_size();
  cu::enqueue("adaptive_avg_pool_fwd", cu::avg_pool_reference<true, T>, cu::grid_for(size), x, y, d, false, int64_t{0}, size);
}

template <class T> void adaptive_avg_pool_bwd(Cuda, const T* dy, T* dx, const PoolDims& d) {
  const int64_t size = d.planes * d.in_size();
  cu::enqueue("adaptive_avg_pool_bwd", cu::avg_pool_bwd_reference<true, T>, cu::grid_for(size), dy, dx, d, false, int64_t{0},
              size);
}

namespace {
template <class... T> void* pool_floating() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cuda>(&max_pool_fwd<T>)..., instance<Cuda>(&adaptive_max_pool_fwd<T>)...,
                                instance<Cuda>(&max_pool_bwd<T>)..., instance<Cuda>(&max_pool_gather<T>)...,
                                instance<Cuda>(&avg_pool_fwd<T>)..., instance<Cuda>(&avg_pool_bwd<T>)...,
                                instance<Cuda>(&adaptive_avg_pool_fwd<T>)..., instance<Cuda>(&adaptive_avg_pool_bwd<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_cuda_pool_instances[] = {pool_floating<float, double, bf16, half>()};

}  // namespace gradus::kernels
