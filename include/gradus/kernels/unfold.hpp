// The contract for unfold (im2col) and fold (col2im) in 1, 2 and 3 dimensions.
//
//   unfold  col[n, c*R + r, o] = x[n, c, o*stride - pad + r*dilation]      0 outside x
//   fold    x[n,c,i] = sum of col[n, c*R + r, o] over r, o with o*stride - pad + r*dilation = i
//
// x : [N, C, in...]   col : [N, C*R, out...], R the number of taps. Each is the other's adjoint, hence its gradient.
// K and groups of the geometry are not used.
#pragma once
#include <gradus/kernels/conv.hpp>

namespace gradus::kernels {

template <class T> void unfold_fwd(Cpu, const T* x, T* col, const ConvDims& dims);
template <class T> void unfold_fwd(Cuda, const T* x, T* col, const ConvDims& dims);
/// x, overwritten.
template <class T> void fold_fwd(Cpu, const T* col, T* x, const ConvDims& dims);
template <class T> void fold_fwd(Cuda, const T* col, T* x, const ConvDims& dims);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include "../../../cpu/unfold.cpp"
#endif
