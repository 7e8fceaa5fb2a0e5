// Sampling at points: one thread a point, which computes its stencil once and walks the channels. The gradient of x is a
// scatter:
//
//   reference     one thread an (image, channel) plane adds its points in order
//   fixed_point   one thread a point; sums are 64-bit integers in units of max|dy| 2^-k, which add up to the same bits in every
//   order.
//                 k leaves room for every point on one pixel, so a sum is exact to max|dy| points 2^-62. Infinities and NaN in
//                 dy send the planes back to the reference, on the device
#include <cmath>

#include <gradus/core/kernel_choice.hpp>
#include <gradus/kernels/grid_sample.hpp>
#include <gradus/kernels/grid_taps.hpp>

#include "kernel.cuh"

namespace gradus::kernels {
namespace cu {

enum class Scatter { reference, fixed_point };
static KernelChoice<Scatter> scatter_by{"grid_sample_bwd", {"reference", "fixed_point"}};

template <class T> struct PointAxes {
  detail::GridAxisTaps<T> axis[3];      // x, y, z
  __device__ PointAxes(const GridSampleDims& d, const T* g) {
    for (int a = 0; a < d.d; ++a) axis[a] = detail::grid_axis(g[a], d.in[2 - a], d);
  }
  /// f(pixel, k): tap k = (x, y, z) at index `pixel` of the plane, for those inside.
  template <class F> __device__ void for_each(const GridSampleDims& d, F f) const {
    int k[3];
    for (k[2] = 0; k[2] < axis[2].n; ++k[2])
      for (k[1] = 0; k[1] < axis[1].n; ++k[1])
        for (k[0] = 0; k[0] < axis[0].n; ++k[0]) {
          const int64_t iz = axis[2].index[k[2]], iy = axis[1].index[k[1]], ix = axis[0].index[k[0]];
          if ((iz | iy | ix) >= 0) f((iz * d.in[1] + iy) * d.in[2] + ix, k);
        }
  }
  __device__ T weight(const int* k) const { return axis[0].w[k[0]] * axis[1].w[k[1]] * axis[2].w[k[2]]; }
  /// The product of the axes' factors, differentiated along a and b (-1: not).
  __device__ T product(const GridSampleDims& d, const int* k, int a, int b) const {
    T r = 1;
    for (int c = 0; c < d.d; ++c) {
      const int order = (c == a) + (c == b);
      r *= order == 0 ? axis[c].w[k[c]] : order == 1 ? axis[c].dw[k[c]] : axis[c].d2w[k[c]];
    }
    return r;
  }
  /// sum_a v_a dw/dg_a
  __device__ T slope(const GridSampleDims& d, const int* k, const T* v) const {
    T sum = 0;
    for (int a = 0; a < d.d; ++a) sum += v[a] * product(d, k, a, -1);
    return sum;
  }
};

template <class T> __global__ void sample_reference(const T* x, const T* grid, T* y, GridSampleDims d) {
  const int64_t i = thread_in_grid(), P = d.out_size();
  if (i >= d.N * P) return;
  const int64_t n = i / P, p = i % P;
  const PointAxes<T> point(d, grid + i * d.d);
  for (int64_t c = n * d.C; c < (n + 1) * d.C; ++c) {
    const T* plane = x + c * d.in_size();
    T sum = 0;
    point.for_each(d, [&](int64_t at, const int* k) { sum += point.weight(k) * plane[at]; });
    y[c * P + p] = sum;
  }
}
template <class T> __global__ void grid_gradient_reference(const T* dy, const T* x, const T* grid, T* dgrid, GridSampleDims d) {
  const int64_t i = thread_in_grid(), P = d.out_size();
  if (i >= d.N * P) return;
  const int64_t n = i / P, p = i % P;
  const PointAxes<T> point(d, grid + i * d.d);
  T sum[3] = {0, 0, 0};
  for (int64_t c = n * d.C; c < (n + 1) * d.C; ++c) {
    const T* plane = x + c * d.in_size();
    const T g = dy[c * P + p];
    point.for_each(d, [&](int64_t at, const int* k) {
      for (int a = 0; a < d.d; ++a) sum[a] += g * point.product(d, k, a, -1) * plane[at];
    });
  }
  for (int a = 0; a < d.d; ++a) dgrid[i * d.d + a] = sum[a];
}
/// ddy and dgrid of <u, dx> + <v, dgrid>; see the contract.
template <class T>
__global__ void second_reference(const T* u, const T* v, const T* dy, const T* x, const T* grid, T* ddy, T* dgrid,
                                 GridSampleDims d) {
  const int64_t i = thread_in_grid(), P = d.out_size();
  if (i >= d.N * P) return;
  const int64_t n = i / P, p = i % P;
  const PointAxes<T> point(d, grid + i * d.d);
  T sum[3] = {0, 0, 0};
  for (int64_t c = n * d.C; c < (n + 1) * d.C; ++c) {
    const T *xc = x + c * d.in_size(), *uc = u ? u + c * d.in_size() : nullptr, *vi = v ? v + i * d.d : nullptr;
    const T g = dy[c * P + p];
    T value = 0;
    point.for_each(d, [&](int64_t at, const int* k) {
      if (uc) value += point.weight(k) * uc[at];
      if (vi) value += point.slope(d, k, vi) * xc[at];
      for (int b = 0; dgrid && b < d.d; ++b) {
        if (uc) sum[b] += g * point.product(d, k, b, -1) * uc[at];
        T q = 0;
        for (int a = 0; vi && a < d.d; ++a) q += vi[a] * point.product(d, k, a, b);
        sum[b] += g * q * xc[at];
      }
    });
    if (ddy) ddy[c * P + p] = value;
  }
  for (int b = 0; dgrid && b < d.d; ++b) dgrid[i * d.d + b] = sum[b];
}

/// dx[plane] = sum over its points in order of w_t dy, or of (v.dw_t) dy where v is given.
template <class T>
__device__ void scatter_plane(const T* dy, const T* grid, const T* v, T* dx, const GridSampleDims& d, int64_t plane) {
  const int64_t P = d.out_size(), n = plane / d.C;
  T* out = dx + plane * d.in_size();
  for (int64_t j = 0; j < d.in_size(); ++j) out[j] = T(0);
  for (int64_t p = 0; p < P; ++p) {
    const int64_t i = n * P + p;
    const PointAxes<T> point(d, grid + i * d.d);
    const T g = dy[plane * P + p];
    point.for_each(d, [&](int64_t at, const int* k) { out[at] += (v ? point.slope(d, k, v + i * d.d) : point.weight(k)) * g; });
  }
}
template <class T> __global__ void scatter_reference(const T* dy, const T* grid, const T* v, T* dx, GridSampleDims d) {
  const int64_t plane = thread_in_grid();
  if (plane < d.N * d.C) scatter_plane(dy, grid, v, dx, d, plane);
}

/// The largest |contribution| of all, as the bits of a double: these order as the numbers do, and a NaN is above all of them.
template <class T>
__global__ void largest_contribution(const T* dy, const T* grid, const T* v, unsigned long long* largest, GridSampleDims d) {
  const int64_t i = thread_in_grid(), P = d.out_size();
  if (i >= d.N * P) return;
  const int64_t n = i / P, p = i % P;
  const PointAxes<T> point(d, grid + i * d.d);
  unsigned long long most = 0;
  for (int64_t c = n * d.C; c < (n + 1) * d.C; ++c) {
    const T g = dy[c * P + p];
    point.for_each(d, [&](int64_t, const int* k) {
      const double term = fabs(static_cast<double>((v ? point.slope(d, k, v + i * d.d) : point.weight(k)) * g));
      const auto bits = std::bit_cast<unsigned long long>(term);
      most = bits > most ? bits : most;
    });
  }
  atomicMax(largest, most);
}
/// Units a pixel's sum counts in: so many to 1 that 64 bits hold `terms` of the largest. 0 when the largest is not finite or 0.
__device__ inline double units_of(unsigned long long largest, int64_t terms) {
  const double most = std::bit_cast<double>(largest);
  if (!(most > 0) || !(most <= 1.7e308)) return 0;
  int exponent, more;
  frexp(most, &exponent);
  frexp(static_cast<double>(terms), &more);
  const int shift = 62 - exponent - more;
  return ldexp(1.0, shift > 1000 ? 1000 : shift);
}
template <class T>
__global__ void scatter_fixed_point(const T* dy, const T* grid, const T* v, const unsigned long long* largest,
                                    unsigned long long* sums, GridSampleDims d, int64_t terms) {
  const int64_t i = thread_in_grid(), P = d.out_size();
  const double units = units_of(*largest, terms);
  if (i >= d.N * P || units == 0) return;
  const int64_t n = i / P, p = i % P;
  const PointAxes<T> point(d, grid + i * d.d);
  for (int64_t c = n * d.C; c < (n + 1) * d.C; ++c) {
    const T g = dy[c * P + p];
    point.for_each(d, [&](int64_t at, const int* k) {
      const T term = (v ? point.slope(d, k, v + i * d.d) : point.weight(k)) * g;
      // Two's complement: adding the bits of a negative number as unsigned subtracts.
      atomicAdd(sums + c * d.in_size() + at,
                static_cast<unsigned long long>(static_cast<long long>(rint(static_cast<double>(term) * units))));
    });
  }
}
template <class T>
__global__ void from_fixed_point(const T* dy, const T* grid, const T* v, const unsigned long long* largest,
                                 const unsigned long long* sums, T* dx, GridSampleDims d, int64_t terms) {
  const int64_t i = thread_in_grid(), size = d.N * d.C * d.in_size();
  const double units = units_of(*largest, terms);
  if (units == 0 && *largest != 0) {                     // not finite: plane by plane, so that only what it touches is
    if (i < d.N * d.C) scatter_plane(dy, grid, v, dx, d, i);
    return;
  }
  if (i < size) dx[i] = units == 0 ? T(0) : static_cast<T>(static_cast<double>(static_cast<long long>(sums[i])) / units);
}

inline Grid grid_for(int64_t size) { return {blocks_for(size, kThreads)}; }
template <class T> void scatter(const char* op, const T* dy, const T* grid, const T* v, T* dx, const GridSampleDims& d) {
  const int64_t size = d.N * d.C * d.in_size(), points = d.N * d.out_size();
  if (size == 0) return;
  if (scatter_by.or_else(Scatter::fixed_point) == Scatter::reference)
    return enqueue(op, scatter_reference<T>, grid_for(d.N * d.C), dy, grid, v, dx, d);
  Scratch<unsigned long long> sums(size + 1);            // the last one is the largest contribution
  zero(sums.data(), size + 1);
  const int64_t taps = d.mode == SampleMode::nearest    ? 1
                       : d.mode == SampleMode::bilinear ? 8
                                                        : 16,
                terms = d.out_size() * taps + 1;
  enqueue(op, largest_contribution<T>, grid_for(points), dy, grid, v, sums.data() + size, d);
  enqueue(op, scatter_fixed_point<T>, grid_for(points), dy, grid, v, sums.data() + size, sums.data(), d, terms);
  enqueue(op, from_fixed_point<T>, grid_for(size), dy, grid, v, sums.data() + size, sums.data(), dx, d, terms);
}

}  // namespace cu

template <class T> void grid_sample_fwd(Cuda, const T* x, const T* grid, T* y, const GridSampleDims& d) {
  cu::enqueue("grid_sample_fwd", cu::sample_reference<T>, cu::grid_for(d.N * d.out_size()), x, grid, y, d);
}

template <class T>
void grid_sample_bwd(Cuda, const T* dy, const T* x, const T* grid, T* dx, T* dgrid, const GridSampleDims& d) {
  if (dgrid)
    cu::enqueue("grid_sample_bwd", cu::grid_gradient_reference<T>, cu::grid_for(d.N * d.out_size()), dy, x, grid, dgrid, d);
  if (dx) cu::scatter("grid_sample_bwd", dy, grid, static_cast<const T*>(nullptr), dx, d);
}

template <class T>
void grid_sample_bwd_bwd(Cuda, const T* u, const T* v, const T* dy, const T* x, const T* grid, T* ddy, T* dx, T* dgrid,
                         const GridSampleDims& d) {
  if (ddy || dgrid)
    cu::enqueue("grid_sample_bwd_bwd", cu::second_reference<T>, cu::grid_for(d.N * d.out_size()), u, v, dy, x, grid, ddy, dgrid,
                d);
  if (!dx) return;
  if (v) cu::scatter("grid_sample_bwd_bwd", dy, grid, v, dx, d);
  else cu::zero(dx, d.N * d.C * d.in_size());
}

namespace {
template <class... T> void* grid_sample_precise() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cuda>(&grid_sample_fwd<T>)..., instance<Cuda>(&grid_sample_bwd<T>)...,
                                instance<Cuda>(&grid_sample_bwd_bwd<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_cuda_grid_sample_instances[] = {grid_sample_precise<float, double>()};

}  // namespace gradus::kernels
