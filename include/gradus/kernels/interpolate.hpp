// The contract for resizing in 1, 2 and 3 dimensions.
//
// Every mode is a product of one-dimensional stencils: along an axis, y[o] = sum_t w[o,t] x[i[o,t]]. With scale = in/out,
// or 1/factor where a scale factor is given, source position s(o):
//   align_corners   s = o (in-1)/(out-1)                     linear, cubic only
//   otherwise       s = (o + 0.5) scale - 0.5                linear clamps it to s >= 0
//   nearest         i = floor(o scale)                       nearest_exact: i = floor((o + 0.5) scale)
//   linear          floor(s) and its right neighbour, weights 1-f and f, f = s - floor(s)
//   cubic           four taps around s, Keys' kernel with A = -0.75; indices clamped to the axis, s not
//   area            the mean over [floor(o in/out), ceil((o+1) in/out))
//
// x : [P, in...]   y : [P, out...]; P = N*C planes. The second derivative is interpolate_fwd again: the map is linear.
#pragma once
#include <cstdint>

#include <gradus/core/config.hpp>
#include <gradus/core/device.hpp>

namespace gradus::kernels {

enum class InterpolateMode : uint8_t { nearest, nearest_exact, linear, cubic, area };

/// Depth, height, width; unused dimensions come first, as the defaults say, and are copied in every mode.
/// factor: the caller's scale factor of an axis, or 0 where the output extent was given.
struct InterpolateDims {
  int64_t planes = 0;
  int64_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1};
  double factor[3] = {0, 0, 0};
  bool align_corners = false;

  GRADUS_HD int64_t in_size() const { return in[0] * in[1] * in[2]; }
  GRADUS_HD int64_t out_size() const { return out[0] * out[1] * out[2]; }
};

template <class T> void interpolate_fwd(Cpu, const T* x, T* y, const InterpolateDims& dims, InterpolateMode mode);
template <class T> void interpolate_fwd(Cuda, const T* x, T* y, const InterpolateDims& dims, InterpolateMode mode);
/// dx[i] = sum over o, t with i[o,t] = i of w[o,t] dy[o]; overwritten.
template <class T> void interpolate_bwd(Cpu, const T* dy, T* dx, const InterpolateDims& dims, InterpolateMode mode);
template <class T> void interpolate_bwd(Cuda, const T* dy, T* dx, const InterpolateDims& dims, InterpolateMode mode);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include "../../../cpu/interpolate.cpp"
#endif
