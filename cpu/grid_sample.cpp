// Sampling at points. The pixels and weights of a point do not depend on the channel, so they are tabulated for a block of
// points (GridStencil) and then used for every channel; the loops over the block's points run in vectors.
// Forward and the grid's gradient are shared by points, the gradient of x by (image, channel), each of which sums its
// points in order.
#ifndef GRADUS_CPU_GRID_SAMPLE
#define GRADUS_CPU_GRID_SAMPLE
#include <gradus/core/parallel.hpp>
#include <gradus/kernels/grid_sample.hpp>
#include <gradus/kernels/grid_taps.hpp>

#include <algorithm>
#include <vector>

#include "pragmas.hpp"

namespace gradus::kernels {
namespace detail {

/// Stencils of up to `block` points; entry [t * block + i] is tap t of point i.
template <class T>
struct GridStencil {
  static constexpr int64_t block = 256;
  int64_t taps = 0;
  std::vector<int32_t> index;
  std::vector<T> w;      // weights
  std::vector<T> dw[3];  // with derivatives: dw/dg_a
  std::vector<T> s;      // with v: v.dw
  std::vector<T> q[3];   // with v: sum_a v_a d2w/dg_a dg_b

  /// Points [p, p + n) of grid [.., d]; v like grid, or nullptr.
  void set(const GridSampleDims& d, const T* grid, const T* v, int64_t p, int64_t n, bool derivatives) {
    const int per_axis = d.mode == SampleMode::nearest ? 1 : d.mode == SampleMode::bilinear ? 2 : 4;
    taps = d.d == 3 ? per_axis * per_axis * per_axis : per_axis * per_axis;
    const std::size_t size = static_cast<std::size_t>(taps * block);
    index.resize(size), w.resize(size);
    if (derivatives)
      for (int a = 0; a < d.d; ++a) dw[a].resize(size);
    if (v) {
      s.resize(size);
      for (int a = 0; a < d.d; ++a) q[a].resize(size);
    }
    for (int64_t i = 0; i < n; ++i) {
      const T* g = grid + (p + i) * d.d;
      GridAxisTaps<T> axis[3];  // x, y, z
      for (int a = 0; a < d.d; ++a) axis[a] = grid_axis(g[a], d.in[2 - a], d);
      int64_t at = i;
      for (int z = 0; z < axis[2].n; ++z)
        for (int y = 0; y < axis[1].n; ++y)
          for (int x = 0; x < axis[0].n; ++x, at += block) {
            const int k[3] = {x, y, z};
            const int64_t iz = axis[2].index[z], iy = axis[1].index[y], ix = axis[0].index[x];
            index[at] = (iz | iy | ix) < 0 ? -1 : static_cast<int32_t>((iz * d.in[1] + iy) * d.in[2] + ix);
            w[at] = axis[0].w[x] * axis[1].w[y] * axis[2].w[z];
            if (!derivatives && !v) continue;
            // Product of the axes' factors, differentiated along a and b (-1: not).
            const auto product = [&](int a, int b) {
              T r = 1;
              for (int c = 0; c < d.d; ++c) {
                const int order = (c == a) + (c == b);
                r *= order == 0 ? axis[c].w[k[c]] : order == 1 ? axis[c].dw[k[c]] : axis[c].d2w[k[c]];
              }
              return r;
            };
            if (derivatives)
              for (int a = 0; a < d.d; ++a) dw[a][at] = product(a, -1);
            if (!v) continue;
            const T* va = v + (p + i) * d.d;
            T sum = 0;
            for (int a = 0; a < d.d; ++a) sum += va[a] * product(a, -1);
            s[at] = sum;
            for (int b = 0; b < d.d; ++b) {
              sum = 0;
              for (int a = 0; a < d.d; ++a) sum += va[a] * product(a, b);
              q[b][at] = sum;
            }
          }
    }
  }
  /// out[k][i] += sum_t weight_k,t x[i_t], K sums at once from one reading of x
  template <int K>
  void gather(const T* const (&weight)[K], const T* x, int64_t n, T* const (&out)[K]) const {
    int64_t t = 0;
    for (; t + 4 <= taps; t += 4) gather_taps<K, 4>(weight, x, t, n, out);
    for (; t < taps; ++t) gather_taps<K, 1>(weight, x, t, n, out);
  }
  template <int K, int Taps>
  void gather_taps(const T* const (&weight)[K], const T* __restrict x, int64_t t0, int64_t n, T* const (&out)[K]) const {
    const int32_t* __restrict at = index.data() + t0 * block;
    T value[Taps][block];
    GRADUS_UNROLL(4)
    for (int t = 0; t < Taps; ++t)
      for (int64_t i = 0; i < n; ++i) {
        const int32_t j = at[t * block + i];
        const T v = x[j < 0 ? 0 : j];
        value[t][i] = j < 0 ? T(0) : v;
      }
    GRADUS_UNROLL(4)
    for (int k = 0; k < K; ++k) {
      const T* __restrict w = weight[k] + t0 * block;
      T* __restrict o = out[k];
      for (int64_t i = 0; i < n; ++i) {
        T sum = o[i];
        GRADUS_UNROLL(4)
        for (int t = 0; t < Taps; ++t) sum += w[t * block + i] * value[t][i];
        o[i] = sum;
      }
    }
  }
  void gather(const std::vector<T>& weight, const T* x, int64_t n, T* out) const { gather<1>({weight.data()}, x, n, {out}); }
  void gather(const std::vector<T> (&weight)[3], int d, const T* x, int64_t n, T (&out)[3][block]) const {
    if (d == 2) gather<2>({weight[0].data(), weight[1].data()}, x, n, {out[0], out[1]});
    else gather<3>({weight[0].data(), weight[1].data(), weight[2].data()}, x, n, {out[0], out[1], out[2]});
  }
  /// out[i_t] += weight_t dy[i]. Tap by tap: neighbouring points often share a pixel, but rarely as the same tap.
  void scatter(const std::vector<T>& weight, const T* __restrict dy, int64_t n, T* __restrict out) const {
    for (int64_t t = 0; t < taps; ++t) {
      const int32_t* __restrict at = index.data() + t * block;
      const T* __restrict w = weight.data() + t * block;
      for (int64_t i = 0; i < n; ++i)
        if (at[i] >= 0) out[at[i]] += w[i] * dy[i];
    }
  }
};

/// f(stencil, image, first point, points) for blocks of points, blocks shared between threads.
template <class T, class F>
void grid_points(const GridSampleDims& d, const T* grid, const T* v, bool derivatives, F&& f) {
  constexpr int64_t block = GridStencil<T>::block;
  const int64_t blocks = (d.out_size() + block - 1) / block;
  parallel_for(d.N * blocks, 1 + 512 / (d.C + 8), [&](int64_t b, int64_t e) {
    GridStencil<T> stencil;
    for (int64_t k = b; k < e; ++k) {
      const int64_t image = k / blocks, p = k % blocks * block, n = std::min(block, d.out_size() - p);
      stencil.set(d, grid, v, image * d.out_size() + p, n, derivatives);
      f(stencil, image, p, n);
    }
  });
}
/// f(stencil, plane, first point, points) for every block of points in order; planes (image, channel) shared between threads.
template <class T, class F>
void grid_planes(const GridSampleDims& d, const T* grid, const T* v, F&& f) {
  constexpr int64_t block = GridStencil<T>::block;
  parallel_for(d.N * d.C, 1 + 16384 / (d.out_size() + 1), [&](int64_t begin, int64_t end) {
    GridStencil<T> stencil;
    for (int64_t image = begin / d.C; image * d.C < end; ++image)
      for (int64_t p = 0; p < d.out_size(); p += block) {
        const int64_t n = std::min(block, d.out_size() - p);
        stencil.set(d, grid, v, image * d.out_size() + p, n, false);
        for (int64_t plane = std::max(begin, image * d.C); plane < std::min(end, (image + 1) * d.C); ++plane)
          f(stencil, plane, p, n);
      }
  });
}

}  // namespace detail

template <class T>
void grid_sample_fwd(Cpu, const T* x, const T* grid, T* y, const GridSampleDims& d) {
  detail::grid_points<T>(d, grid, nullptr, false, [&](const auto& stencil, int64_t image, int64_t p, int64_t n) {
    for (int64_t c = image * d.C; c < (image + 1) * d.C; ++c) {
      T* out = y + c * d.out_size() + p;
      std::fill_n(out, n, T(0));
      stencil.gather(stencil.w, x + c * d.in_size(), n, out);
    }
  });
}

template <class T>
void grid_sample_bwd(Cpu, const T* dy, const T* x, const T* grid, T* dx, T* dgrid, const GridSampleDims& d) {
  using detail::GridStencil;
  if (dgrid) {
    detail::grid_points<T>(d, grid, nullptr, true, [&](const auto& stencil, int64_t image, int64_t p, int64_t n) {
      T slope[3][GridStencil<T>::block], sum[3][GridStencil<T>::block] = {};
      for (int64_t c = image * d.C; c < (image + 1) * d.C; ++c) {
        for (int a = 0; a < d.d; ++a) std::fill_n(slope[a], n, T(0));
        stencil.gather(stencil.dw, d.d, x + c * d.in_size(), n, slope);
        for (int a = 0; a < d.d; ++a)
          for (int64_t i = 0; i < n; ++i) sum[a][i] += dy[c * d.out_size() + p + i] * slope[a][i];
      }
      for (int64_t i = 0; i < n; ++i)
        for (int a = 0; a < d.d; ++a) dgrid[(image * d.out_size() + p + i) * d.d + a] = sum[a][i];
    });
  }
  if (dx) {
    std::fill_n(dx, d.N * d.C * d.in_size(), T(0));
    detail::grid_planes<T>(d, grid, nullptr, [&](const auto& stencil, int64_t plane, int64_t p, int64_t n) {
      stencil.scatter(stencil.w, dy + plane * d.out_size() + p, n, dx + plane * d.in_size());
    });
  }
}

template <class T>
void grid_sample_bwd_bwd(Cpu, const T* u, const T* v, const T* dy, const T* x, const T* grid, T* ddy, T* dx, T* dgrid,
                         const GridSampleDims& d) {
  using detail::GridStencil;
  if (ddy || dgrid) {
    detail::grid_points<T>(d, grid, v, true, [&](const auto& stencil, int64_t image, int64_t p, int64_t n) {
      T slope[3][GridStencil<T>::block], sum[3][GridStencil<T>::block] = {};
      for (int64_t c = image * d.C; c < (image + 1) * d.C; ++c) {
        const T *xc = x + c * d.in_size(), *uc = u ? u + c * d.in_size() : nullptr;
        if (ddy) {
          T* out = ddy + c * d.out_size() + p;
          std::fill_n(out, n, T(0));
          if (u) stencil.gather(stencil.w, uc, n, out);
          if (v) stencil.gather(stencil.s, xc, n, out);
        }
        if (!dgrid) continue;
        for (int b = 0; b < d.d; ++b) std::fill_n(slope[b], n, T(0));
        if (u) stencil.gather(stencil.dw, d.d, uc, n, slope);
        if (v) stencil.gather(stencil.q, d.d, xc, n, slope);
        for (int b = 0; b < d.d; ++b)
          for (int64_t i = 0; i < n; ++i) sum[b][i] += dy[c * d.out_size() + p + i] * slope[b][i];
      }
      for (int64_t i = 0; dgrid && i < n; ++i)
        for (int b = 0; b < d.d; ++b) dgrid[(image * d.out_size() + p + i) * d.d + b] = sum[b][i];
    });
  }
  if (dx) {
    std::fill_n(dx, d.N * d.C * d.in_size(), T(0));
    if (!v) return;
    detail::grid_planes<T>(d, grid, v, [&](const auto& stencil, int64_t plane, int64_t p, int64_t n) {
      stencil.scatter(stencil.s, dy + plane * d.out_size() + p, n, dx + plane * d.in_size());
    });
  }
}

#ifndef GRADUS_HEADER_ONLY
template void grid_sample_fwd(Cpu, const float*, const float*, float*, const GridSampleDims&);
template void grid_sample_fwd(Cpu, const double*, const double*, double*, const GridSampleDims&);
template void grid_sample_bwd(Cpu, const float*, const float*, const float*, float*, float*, const GridSampleDims&);
template void grid_sample_bwd(Cpu, const double*, const double*, const double*, double*, double*, const GridSampleDims&);
template void grid_sample_bwd_bwd(Cpu, const float*, const float*, const float*, const float*, const float*, float*, float*,
                                  float*, const GridSampleDims&);
template void grid_sample_bwd_bwd(Cpu, const double*, const double*, const double*, const double*, const double*, double*,
                                  double*, double*, const GridSampleDims&);
#endif

}  // namespace gradus::kernels
#endif
