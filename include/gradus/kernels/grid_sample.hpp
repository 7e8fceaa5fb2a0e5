// The contract for sampling at given points, in 2 and 3 dimensions.
//
//   y[n,c,p] = sum_t w_t(g[n,p]) x[n,c,i_t(g[n,p])]
//
// x : [N, C, in...]   grid : [N, out..., d]   y : [N, C, out...]. A grid point is (x, y) or (x, y, z): width first, as
// fractions of the image in [-1, 1], where -1 and 1 are the centres of the corner pixels (align_corners) or the image's
// edges. Position along an axis of n pixels: s = (g + 1)/2 (n - 1), or ((g + 1) n - 1)/2.
//   zeros       pixels outside count as 0
//   border      s is clamped to [0, n-1]
//   reflection  s is mirrored at the corner pixels (align_corners) or the edges until it lies inside
// bilinear: the 2^d pixels around s (trilinear for d = 3). nearest: s rounded, halves to even; its gradient with respect to
// the grid is 0. bicubic (d = 2): 4 x 4 pixels, Keys' kernel with A = -0.75; padding acts on each pixel, not on s.
// A point that is not finite samples position -100. An input plane has fewer than 2^31 pixels.
#pragma once
#include <cstdint>

#include <gradus/core/config.hpp>
#include <gradus/core/device.hpp>

namespace gradus::kernels {

enum class SampleMode : uint8_t { bilinear, nearest, bicubic };
enum class SamplePadding : uint8_t { zeros, border, reflection };

/// Depth, height, width; with d = 2 the depths are 1.
struct GridSampleDims {
  int d = 2;
  int64_t N = 0, C = 0;
  int64_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1};
  SampleMode mode = SampleMode::bilinear;
  SamplePadding padding = SamplePadding::zeros;
  bool align_corners = false;

  GRADUS_HD int64_t in_size() const { return in[0] * in[1] * in[2]; }
  GRADUS_HD int64_t out_size() const { return out[0] * out[1] * out[2]; }
};

template <class T> void grid_sample_fwd(Cpu, const T* x, const T* grid, T* y, const GridSampleDims& dims);
template <class T> void grid_sample_fwd(Cuda, const T* x, const T* grid, T* y, const GridSampleDims& dims);
/// dx[n,c,i_t] += w_t dy[n,c,p], dgrid[n,p,a] = sum_{c,t} dy[n,c,p] dw_t/dg_a x[n,c,i_t]. Both are overwritten; either may
/// be nullptr.
template <class T>
void grid_sample_bwd(Cpu, const T* dy, const T* x, const T* grid, T* dx, T* dgrid, const GridSampleDims& dims);
template <class T>
void grid_sample_bwd(Cuda, const T* dy, const T* x, const T* grid, T* dx, T* dgrid, const GridSampleDims& dims);
/// Gradients of <u, dx> + <v, dgrid>, u like x and v like grid: with respect to dy, x and grid, all modes.
///   ddy[n,c,p]    = sum_t (w_t u[n,c,i_t] + v.dw_t x[n,c,i_t])          v.dw_t = sum_a v_a dw_t/dg_a
///   dx[n,c,i_t]  += v.dw_t dy[n,c,p]
///   dgrid[n,p,b]  = sum_{c,t} dy[n,c,p] (dw_t/dg_b u[n,c,i_t] + sum_a v_a d2w_t/dg_a dg_b x[n,c,i_t])
/// All are overwritten; each may be nullptr. u or v may be nullptr, which means 0.
template <class T>
void grid_sample_bwd_bwd(Cpu, const T* u, const T* v, const T* dy, const T* x, const T* grid, T* ddy, T* dx, T* dgrid,
                         const GridSampleDims& dims);
template <class T>
void grid_sample_bwd_bwd(Cuda, const T* u, const T* v, const T* dy, const T* x, const T* grid, T* ddy, T* dx, T* dgrid,
                         const GridSampleDims& dims);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include "../../../cpu/grid_sample.cpp"
#endif
