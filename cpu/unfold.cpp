// Unfold and fold: for every channel and tap, the output rows whose source row lies inside x, as ranges of columns.
#ifndef GRADUS_CPU_UNFOLD
#define GRADUS_CPU_UNFOLD
#include <gradus/core/dtype.hpp>
#include <gradus/core/parallel.hpp>
#include <gradus/kernels/unfold.hpp>

#include <algorithm>
#include <vector>

namespace gradus::kernels {
namespace detail {

/// row(index of the output row in the channel's columns, source row or -1, first column, last column + 1, source
/// position of column 0) for every tap and output row of a channel.
template <class F>
void unfold_rows(const ConvDims& d, F&& row) {
  const auto source = [&](int a, int64_t o, int64_t r) { return o * d.stride[a] - d.pad[a] + r * d.dilation[a]; };
  int64_t at = 0;
  for (int64_t rd = 0; rd < d.kernel[0]; ++rd)
    for (int64_t rh = 0; rh < d.kernel[1]; ++rh)
      for (int64_t rw = 0; rw < d.kernel[2]; ++rw) {
        const int64_t first = source(2, 0, rw), s = d.stride[2];
        const int64_t lo = std::min(first < 0 ? (-first + s - 1) / s : 0, d.out[2]);
        const int64_t hi = std::clamp(first < d.in[2] ? (d.in[2] - first + s - 1) / s : 0, lo, d.out[2]);
        for (int64_t od = 0; od < d.out[0]; ++od)
          for (int64_t oh = 0; oh < d.out[1]; ++oh, ++at) {
            const int64_t id = source(0, od, rd), ih = source(1, oh, rh);
            const bool inside = id >= 0 && id < d.in[0] && ih >= 0 && ih < d.in[1];
            row(at, inside ? id * d.in[1] + ih : int64_t{-1}, lo, hi, first);
          }
      }
}

template <class F>
void unfold_channels(const ConvDims& d, F&& f) {
  parallel_for(d.N * d.C, 1 + 16384 / std::max<int64_t>(d.taps() * d.out_size(), 1), [&](int64_t b, int64_t e) {
    for (int64_t c = b; c < e; ++c) f(c);
  });
}

}  // namespace detail

template <class T>
void unfold_fwd(Cpu, const T* x, T* col, const ConvDims& d) {
  const int64_t n = d.out[2], s = d.stride[2];
  detail::unfold_channels(d, [&](int64_t c) {
    const T* plane = x + c * d.in_size();
    T* columns = col + c * d.taps() * d.out_size();
    detail::unfold_rows(d, [&](int64_t at, int64_t line, int64_t lo, int64_t hi, int64_t first) {
      T* __restrict to = columns + at * n;
      if (line < 0) return std::fill_n(to, n, T(0)), void();
      const T* __restrict from = plane + line * d.in[2] + first;
      std::fill(to, to + lo, T(0));
      if (s == 1) std::copy(from + lo, from + hi, to + lo);
      else
        for (int64_t o = lo; o < hi; ++o) to[o] = from[o * s];
      std::fill(to + hi, to + n, T(0));
    });
  });
}

template <class T>
void fold_fwd(Cpu, const T* col, T* x, const ConvDims& d) {
  using A = compute_t<T>;
  const int64_t n = d.out[2], s = d.stride[2];
  detail::unfold_channels(d, [&](int64_t c) {
    T* plane = x + c * d.in_size();
    std::vector<A> wide(std::is_same_v<A, T> ? 0 : d.in_size());
    A* sum;
    if constexpr (std::is_same_v<A, T>) sum = plane;
    else sum = wide.data();
    std::fill_n(sum, d.in_size(), A(0));
    const T* columns = col + c * d.taps() * d.out_size();
    detail::unfold_rows(d, [&](int64_t at, int64_t line, int64_t lo, int64_t hi, int64_t first) {
      if (line < 0) return;
      const T* __restrict from = columns + at * n;
      A* __restrict to = sum + line * d.in[2] + first;
      if (s == 1)
        for (int64_t o = lo; o < hi; ++o) to[o] += static_cast<A>(from[o]);
      else
        for (int64_t o = lo; o < hi; ++o) to[o * s] += static_cast<A>(from[o]);
    });
    if constexpr (!std::is_same_v<A, T>)
      for (int64_t i = 0; i < d.in_size(); ++i) plane[i] = static_cast<T>(sum[i]);
  });
}

#ifndef GRADUS_HEADER_ONLY
template void unfold_fwd(Cpu, const float*, float*, const ConvDims&);
template void unfold_fwd(Cpu, const double*, double*, const ConvDims&);
template void unfold_fwd(Cpu, const bf16*, bf16*, const ConvDims&);
template void unfold_fwd(Cpu, const half*, half*, const ConvDims&);
template void fold_fwd(Cpu, const float*, float*, const ConvDims&);
template void fold_fwd(Cpu, const double*, double*, const ConvDims&);
template void fold_fwd(Cpu, const bf16*, bf16*, const ConvDims&);
template void fold_fwd(Cpu, const half*, half*, const ConvDims&);
#endif

}  // namespace gradus::kernels
#endif
