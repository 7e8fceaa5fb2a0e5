// A row is read twice: once for its maximum, once for the exponentials; the second time it comes from the cache.
#include <gradus/core/math.hpp>
#include <gradus/core/parallel.hpp>
#include <gradus/kernels/instance.hpp>
#include <gradus/kernels/softmax.hpp>

#include "lanes.hpp"

namespace gradus::kernels {

namespace detail {
/// log sum_c e^{x_c}; an infinite maximum is not subtracted, since inf - inf is NaN.
template <class A> inline A row_logsumexp(const A* x, int64_t C) {
  A top = lane_max(x, C);
  if (std::isinf(top)) top = A(0);
  return top + m::log(lane_sum<A>(C, [&](int64_t c) { return m::exp(x[c] - top); }));
}
}  // namespace detail

template <class T> void softmax_fwd(Cpu, const T* x, T* y, int64_t N, int64_t C) {
  using A = compute_t<T>;
  parallel_for(N, detail::row_grain(C), [&](int64_t begin, int64_t end) {
    detail::RowIn<T> in(C);
    detail::RowOut<T> out(C);
    for (int64_t n = begin; n < end; ++n) {
      const A* xr = in(x + n * C, C);
      A* __restrict yr = out.at(y + n * C);
      const A top = detail::lane_max(xr, C);
      const A sum = detail::lane_sum<A>(C, [&](int64_t c) { return yr[c] = m::exp(xr[c] - top); });
      const A scale = A(1) / sum;
      for (int64_t c = 0; c < C; ++c) yr[c] *= scale;
      out.store(y + n * C, C);
    }
  });
}

template <class T> void softmax_bwd(Cpu, const T* y, const T* dy, T* dx, int64_t N, int64_t C) {
  using A = compute_t<T>;
  parallel_for(N, detail::row_grain(C), [&](int64_t begin, int64_t end) {
    detail::RowIn<T> in_y(C), in_dy(C);
    detail::RowOut<T> out(C);
    for (int64_t n = begin; n < end; ++n) {
      const A *yr = in_y(y + n * C, C), *dyr = in_dy(dy + n * C, C);
      A* __restrict dxr = out.at(dx + n * C);
      const A dot = detail::lane_sum<A>(C, [&](int64_t c) { return dyr[c] * yr[c]; });
      for (int64_t c = 0; c < C; ++c) dxr[c] = yr[c] * (dyr[c] - dot);
      out.store(dx + n * C, C);
    }
  });
}

template <class T> void log_softmax_fwd(Cpu, const T* x, T* y, int64_t N, int64_t C) {
  using A = compute_t<T>;
  parallel_for(N, detail::row_grain(C), [&](int64_t begin, int64_t end) {
    detail::RowIn<T> in(C);
    detail::RowOut<T> out(C);
    for (int64_t n = begin; n < end; ++n) {
      const A* xr = in(x + n * C, C);
      A* __restrict yr = out.at(y + n * C);
      // Subtract the maximum before the logarithm of the sum: x_c - m is exact near the maximum, x_c - l need not be.
      const A top = detail::lane_max(xr, C);
      const A rest = m::log(detail::lane_sum<A>(C, [&](int64_t c) { return m::exp(xr[c] - top); }));
      for (int64_t c = 0; c < C; ++c) yr[c] = (xr[c] - top) - rest;
      out.store(y + n * C, C);
    }
  });
}

template <class T> void log_softmax_bwd(Cpu, const T* y, const T* dy, T* dx, int64_t N, int64_t C) {
  using A = compute_t<T>;
  parallel_for(N, detail::row_grain(C), [&](int64_t begin, int64_t end) {
    detail::RowIn<T> in_y(C), in_dy(C);
    detail::RowOut<T> out(C);
    for (int64_t n = begin; n < end; ++n) {
      const A *yr = in_y(y + n * C, C), *dyr = in_dy(dy + n * C, C);
      A* __restrict dxr = out.at(dx + n * C);
      const A sum = detail::lane_sum<A>(C, [&](int64_t c) { return dyr[c]; });
      for (int64_t c = 0; c < C; ++c) dxr[c] = dyr[c] - m::exp(yr[c]) * sum;
      out.store(dx + n * C, C);
    }
  });
}

template <class T> void logsumexp_fwd(Cpu, const T* x, T* y, int64_t N, int64_t C) {
  parallel_for(N, detail::row_grain(C), [&](int64_t begin, int64_t end) {
    detail::RowIn<T> in(C);
    for (int64_t n = begin; n < end; ++n) y[n] = static_cast<T>(detail::row_logsumexp(in(x + n * C, C), C));
  });
}

template <class T> void logsumexp_bwd(Cpu, const T* x, const T* y, const T* dy, T* dx, int64_t N, int64_t C) {
  using A = compute_t<T>;
  parallel_for(N, detail::row_grain(C), [&](int64_t begin, int64_t end) {
    detail::RowIn<T> in(C);
    detail::RowOut<T> out(C);
    for (int64_t n = begin; n < end; ++n) {
      const A* xr = in(x + n * C, C);
      A* __restrict dxr = out.at(dx + n * C);
      // All -infinity: no direction makes the sum grow by more than any other; the gradient is 0, not exp(inf - inf).
      const bool nothing = static_cast<A>(y[n]) == -std::numeric_limits<A>::infinity();
      const A g = nothing ? A(0) : static_cast<A>(dy[n]), l = nothing ? A(0) : static_cast<A>(y[n]);
      for (int64_t c = 0; c < C; ++c) dxr[c] = g * m::exp(xr[c] - l);
      out.store(dx + n * C, C);
    }
  });
}

#ifndef GRADUS_HEADER_ONLY
namespace {
template <class... T> void* softmax_floating() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cpu>(&softmax_fwd<T>)..., instance<Cpu>(&softmax_bwd<T>)...,
                                instance<Cpu>(&log_softmax_fwd<T>)..., instance<Cpu>(&log_softmax_bwd<T>)...,
                                instance<Cpu>(&logsumexp_fwd<T>)..., instance<Cpu>(&logsumexp_bwd<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_softmax_instances[] = {softmax_floating<float, double, bf16, half>()};
#endif

}  // namespace gradus::kernels
