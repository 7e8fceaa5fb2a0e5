// Reductions of a contiguous [O, R, I] array along R: y[o, i] = op over r of x[o, r, i].
//
// float, bf16 and half are summed in float in a fixed order of partial sums, so that the result does not depend on the
// number of threads and its error grows with the square root of R at most in practice.
#pragma once
#include <gradus/core/device.hpp>
#include <gradus/core/dtype.hpp>

namespace gradus::kernels {

struct SumOf {};
struct ProductOf {};
struct LargestOf {};   ///< NaN wins
struct SmallestOf {};  ///< NaN wins

/// y[O, I]; for R = 0: 0, 1, -inf/lowest, +inf/max.
template <class Op, class T> void reduce(Cpu, Op, const T* x, T* y, int64_t O, int64_t R, int64_t I);
template <class Op, class T> void reduce(Cuda, Op, const T* x, T* y, int64_t O, int64_t R, int64_t I);
/// The first position of the largest (smallest) along R; R >= 1; a NaN counts as extreme.
template <class Op, class T> void arg_reduce(Cpu, Op, const T* x, int64_t* y, int64_t O, int64_t R, int64_t I);
template <class Op, class T> void arg_reduce(Cuda, Op, const T* x, int64_t* y, int64_t O, int64_t R, int64_t I);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include "../../../cpu/reduce.cpp"
#endif
