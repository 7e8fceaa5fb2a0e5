// The contract for pooling in 1, 2 and 3 dimensions.
//
//   max      y[p,o] = max_r x[p, o*stride - pad + r*dilation]        argmax[p,o] = flat index of it in the input plane
//   average  y[p,o] = 1/n_o sum_r x[p, o*stride - pad + r]
//   adaptive windows [floor(o*in/out), ceil((o+1)*in/out)) along each axis instead
//
// p counts the planes, N*C. x : [P, in...]   y, argmax : [P, out...]. Positions outside the input do not take part in a
// maximum; a NaN does, and wins. Of equal values the first is taken.
// n_o is the number of input positions in the window, or, with count_include_pad, of positions in the padded input
// [-pad, in + pad); a window of ceil mode that reaches further does not count what lies beyond. `out` is given.
#pragma once
#include <cstdint>

#include <gradus/core/config.hpp>
#include <gradus/core/device.hpp>

namespace gradus::kernels {

/// Depth, height, width; unused dimensions come first, as the defaults say. Adaptive kernels read planes, in and out only.
struct PoolDims {
  int64_t planes = 0;
  int64_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1}, kernel[3] = {1, 1, 1}, stride[3] = {1, 1, 1}, pad[3] = {0, 0, 0},
          dilation[3] = {1, 1, 1};

  GRADUS_HD int64_t in_size() const { return in[0] * in[1] * in[2]; }
  GRADUS_HD int64_t out_size() const { return out[0] * out[1] * out[2]; }
};

template <class T> void max_pool_fwd(Cpu, const T* x, T* y, int64_t* argmax, const PoolDims& dims);
template <class T> void max_pool_fwd(Cuda, const T* x, T* y, int64_t* argmax, const PoolDims& dims);
template <class T> void adaptive_max_pool_fwd(Cpu, const T* x, T* y, int64_t* argmax, const PoolDims& dims);
template <class T> void adaptive_max_pool_fwd(Cuda, const T* x, T* y, int64_t* argmax, const PoolDims& dims);
/// dx[p,i] = sum over o with argmax[p,o] = i of dy[p,o]; of both maximum pools.
template <class T> void max_pool_bwd(Cpu, const T* dy, const int64_t* argmax, T* dx, const PoolDims& dims);
template <class T> void max_pool_bwd(Cuda, const T* dy, const int64_t* argmax, T* dx, const PoolDims& dims);
/// y[p,o] = v[p, argmax[p,o]]: the adjoint of max_pool_bwd, for second derivatives.
template <class T> void max_pool_gather(Cpu, const T* v, const int64_t* argmax, T* y, const PoolDims& dims);
template <class T> void max_pool_gather(Cuda, const T* v, const int64_t* argmax, T* y, const PoolDims& dims);

/// Dilation is not used. divisor > 0 replaces n_o.
template <class T> void avg_pool_fwd(Cpu, const T* x, T* y, const PoolDims& dims, bool count_include_pad, int64_t divisor);
template <class T> void avg_pool_fwd(Cuda, const T* x, T* y, const PoolDims& dims, bool count_include_pad, int64_t divisor);
/// dx[p,i] = sum over windows o that hold i of dy[p,o] / n_o
template <class T> void avg_pool_bwd(Cpu, const T* dy, T* dx, const PoolDims& dims, bool count_include_pad, int64_t divisor);
template <class T> void avg_pool_bwd(Cuda, const T* dy, T* dx, const PoolDims& dims, bool count_include_pad, int64_t divisor);
template <class T> void adaptive_avg_pool_fwd(Cpu, const T* x, T* y, const PoolDims& dims);
template <class T> void adaptive_avg_pool_fwd(Cuda, const T* x, T* y, const PoolDims& dims);
template <class T> void adaptive_avg_pool_bwd(Cpu, const T* dy, T* dx, const PoolDims& dims);
template <class T> void adaptive_avg_pool_bwd(Cuda, const T* dy, T* dx, const PoolDims& dims);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include "../../../cpu/pool.cpp"
#endif
