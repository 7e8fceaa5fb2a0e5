// The contract for convolution (cross-correlation) in 1, 2 and 3 dimensions.
//
//   y[n,k,o]  = bias[k] + sum_{c,r} x[n, c, o*stride - pad + r*dilation] w[k,c,r]      c runs over the group of k
//   dx[n,c,i] = sum_{k,r,o : o*stride - pad + r*dilation = i} dy[n,k,o] w[k,c,r]
//   dw[k,c,r] = sum_{n,o} dy[n,k,o] x[n, c, o*stride - pad + r*dilation]
//
// x : [N, C, in...]   w : [K, C/groups, kernel...]   y : [N, K, out...]; x is zero outside its extent. `out` is given, so
// that padding may differ at the two ends of an axis.
// A transposed convolution is the same three with the roles exchanged: its forward is conv_bwd_data, its gradient with
// respect to the input conv_fwd, and to the weight conv_bwd_weight with x and dy swapped. The second derivatives are
// these three again, because each is bilinear.
#pragma once
#include <cstdint>

#include <gradus/core/config.hpp>
#include <gradus/core/device.hpp>

namespace gradus::kernels {

/// Extents in the order depth, height, width. With d < 3 spatial dims the unused ones come first, with extent, kernel,
/// stride and dilation 1 and pad 0, which is what the defaults are.
struct ConvDims {
  int d = 2;
  int64_t N = 0, C = 0, K = 0, groups = 1;
  int64_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1}, kernel[3] = {1, 1, 1}, stride[3] = {1, 1, 1}, pad[3] = {0, 0, 0},
          dilation[3] = {1, 1, 1};

  GRADUS_HD int64_t in_size() const { return in[0] * in[1] * in[2]; }
  GRADUS_HD int64_t out_size() const { return out[0] * out[1] * out[2]; }
  GRADUS_HD int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
};

/// y = conv(x, w) + bias; bias [K] or nullptr.
template <class T> void conv_fwd(Cpu, const T* x, const T* w, const T* bias, T* y, const ConvDims& dims);
template <class T> void conv_fwd(Cuda, const T* x, const T* w, const T* bias, T* y, const ConvDims& dims);
/// dx, overwritten.
template <class T> void conv_bwd_data(Cpu, const T* dy, const T* w, T* dx, const ConvDims& dims);
template <class T> void conv_bwd_data(Cuda, const T* dy, const T* w, T* dx, const ConvDims& dims);
/// dw, overwritten.
template <class T> void conv_bwd_weight(Cpu, const T* x, const T* dy, T* dw, const ConvDims& dims);
template <class T> void conv_bwd_weight(Cuda, const T* x, const T* dy, T* dw, const ConvDims& dims);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include "../../../cpu/conv.cpp"
#endif
