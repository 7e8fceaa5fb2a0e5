// Resizing, one output row at a time: the source rows of its depth and height taps are combined into one row of the input's
// width, which the width stencil then reads. The gradient goes the same way back. Planes are shared between threads.
#ifndef GRADUS_CPU_INTERPOLATE
#define GRADUS_CPU_INTERPOLATE
#include <gradus/core/dtype.hpp>
#include <gradus/core/parallel.hpp>
#include <gradus/kernels/interpolate.hpp>
#include <gradus/kernels/interpolate_axis.hpp>

#include <algorithm>
#include <vector>

namespace gradus::kernels {
namespace detail {

/// y[o] = sum_t w[o,t] row[i[o,t]], Taps of them
template <int Taps, class A, class T>
void interpolate_row(const InterpolateAxis<A>& x, const A* __restrict row, T* __restrict y, int64_t n) {
  const int64_t* index = x.index.data();
  const A* weight = x.weight.data();
  for (int64_t o = 0; o < n; ++o) {
    A sum = 0;
    const int64_t b = Taps ? o * Taps : x.first[o], count = Taps ? Taps : x.first[o + 1] - b;
    for (int64_t t = 0; t < count; ++t) sum += weight[b + t] * row[index[b + t]];
    y[o] = static_cast<T>(sum);
  }
}

/// f(source row, weight) for the depth and height taps of output row (od, oh).
template <class A, class F>
void interpolate_rows(const InterpolateAxis<A>& D, const InterpolateAxis<A>& H, int64_t height, int64_t od, int64_t oh, F&& f) {
  for (int64_t a = D.first[od]; a < D.first[od + 1]; ++a)
    for (int64_t b = H.first[oh]; b < H.first[oh + 1]; ++b) f(D.index[a] * height + H.index[b], D.weight[a] * H.weight[b]);
}

template <class F>
void interpolate_planes(const InterpolateDims& d, F&& f) {
  parallel_for(d.planes, 1 + 16384 / (d.in_size() + d.out_size()), [&](int64_t b, int64_t e) {
    for (int64_t p = b; p < e; ++p) f(p);
  });
}

}  // namespace detail

template <class T>
void interpolate_fwd(Cpu, const T* x, T* y, const InterpolateDims& d, InterpolateMode mode) {
  using namespace detail;
  using A = compute_t<T>;
  const auto D = interpolate_axis<A>(d, 0, mode), H = interpolate_axis<A>(d, 1, mode), W = interpolate_axis<A>(d, 2, mode);
  const int64_t w = d.in[2], n = d.out[2];
  const auto resize = W.taps == 1   ? interpolate_row<1, A, T>
                      : W.taps == 2 ? interpolate_row<2, A, T>
                      : W.taps == 4 ? interpolate_row<4, A, T>
                                    : interpolate_row<0, A, T>;
  interpolate_planes(d, [&](int64_t p) {
    const T* plane = x + p * d.in_size();
    T* out = y + p * d.out_size();
    std::vector<A> row(w);
    for (int64_t od = 0; od < d.out[0]; ++od)
      for (int64_t oh = 0; oh < d.out[1]; ++oh, out += n) {
        if (D.copies && H.copies && W.copies) {
          const T* from = plane + (D.index[od] * d.in[1] + H.index[oh]) * w;
          for (int64_t o = 0; o < n; ++o) out[o] = from[W.index[o]];
          continue;
        }
        bool fresh = true;
        interpolate_rows(D, H, d.in[1], od, oh, [&](int64_t r, A weight) {
          const T* __restrict from = plane + r * w;
          A* __restrict to = row.data();
          if (fresh)
            for (int64_t i = 0; i < w; ++i) to[i] = weight * static_cast<A>(from[i]);
          else
            for (int64_t i = 0; i < w; ++i) to[i] += weight * static_cast<A>(from[i]);
          fresh = false;
        });
        resize(W, row.data(), out, n);
      }
  });
}

template <class T>
void interpolate_bwd(Cpu, const T* dy, T* dx, const InterpolateDims& d, InterpolateMode mode) {
  using namespace detail;
  using A = compute_t<T>;
  const auto D = interpolate_axis<A>(d, 0, mode), H = interpolate_axis<A>(d, 1, mode), W = interpolate_axis<A>(d, 2, mode);
  const int64_t w = d.in[2], n = d.out[2];
  interpolate_planes(d, [&](int64_t p) {
    const T* g = dy + p * d.out_size();
    T* out = dx + p * d.in_size();
    std::vector<A> wide(std::is_same_v<A, T> ? 0 : d.in_size()), row(w);
    A* sum;
    if constexpr (std::is_same_v<A, T>) sum = out;
    else sum = wide.data();
    std::fill_n(sum, d.in_size(), A(0));
    for (int64_t od = 0; od < d.out[0]; ++od)
      for (int64_t oh = 0; oh < d.out[1]; ++oh, g += n) {
        if (D.copies && H.copies && W.copies) {
          A* to = sum + (D.index[od] * d.in[1] + H.index[oh]) * w;
          for (int64_t o = 0; o < n; ++o) to[W.index[o]] += static_cast<A>(g[o]);
          continue;
        }
        std::fill(row.begin(), row.end(), A(0));
        for (int64_t o = 0; o < n; ++o)
          for (int64_t t = W.first[o]; t < W.first[o + 1]; ++t) row[W.index[t]] += W.weight[t] * static_cast<A>(g[o]);
        interpolate_rows(D, H, d.in[1], od, oh, [&](int64_t r, A weight) {
          A* __restrict to = sum + r * w;
          const A* __restrict from = row.data();
          for (int64_t i = 0; i < w; ++i) to[i] += weight * from[i];
        });
      }
    if constexpr (!std::is_same_v<A, T>)
      for (int64_t i = 0; i < d.in_size(); ++i) out[i] = static_cast<T>(sum[i]);
  });
}

#ifndef GRADUS_HEADER_ONLY
template void interpolate_fwd(Cpu, const float*, float*, const InterpolateDims&, InterpolateMode);
template void interpolate_fwd(Cpu, const double*, double*, const InterpolateDims&, InterpolateMode);
template void interpolate_fwd(Cpu, const bf16*, bf16*, const InterpolateDims&, InterpolateMode);
template void interpolate_fwd(Cpu, const half*, half*, const InterpolateDims&, InterpolateMode);
template void interpolate_bwd(Cpu, const float*, float*, const InterpolateDims&, InterpolateMode);
template void interpolate_bwd(Cpu, const double*, double*, const InterpolateDims&, InterpolateMode);
template void interpolate_bwd(Cpu, const bf16*, bf16*, const InterpolateDims&, InterpolateMode);
template void interpolate_bwd(Cpu, const half*, half*, const InterpolateDims&, InterpolateMode);
#endif

}  // namespace gradus::kernels
#endif
