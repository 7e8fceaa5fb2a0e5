// The contract for indexing. Indices are int64, in range and not negative: ops normalise them and check with
// find_out_of_range. Sums of repeated destinations are taken in the order of the index, whatever the number of threads.
//
//   gather        y[o,j,i] = x[o, index[o,j,i], i]              x : [O, R, I]   index, y : [O, J, I]
//   scatter       y[o, index[o,j,i], i] = src[o,j,i]            the last j wins; _add, _amax, _amin combine with what y holds
//   index_select  y[o,j,i] = x[o, index[j], i]                  index : [J]
//   index_add     y[o, index[j], i] += src[o,j,i]               the gradient of index_select and of an embedding table
//
// T is any element type for what only moves; sums and extremes are not for bool. bf16 and half sums pass through float.
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>

namespace gradus::kernels {

/// The first position whose index is outside [lo, hi), or -1.
int64_t find_out_of_range(Cpu, const int64_t* index, int64_t n, int64_t lo, int64_t hi);
int64_t find_out_of_range(Cuda, const int64_t* index, int64_t n, int64_t lo, int64_t hi);

template <class T> void gather(Cpu, const T* x, const int64_t* index, T* y, int64_t O, int64_t R, int64_t I, int64_t J);
template <class T> void gather(Cuda, const T* x, const int64_t* index, T* y, int64_t O, int64_t R, int64_t I, int64_t J);
/// y : [O, R, I] is read and written by the four scatters; src : [O, J, I].
template <class T> void scatter(Cpu, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J);
template <class T> void scatter(Cuda, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J);
template <class T> void scatter_add(Cpu, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J);
template <class T> void scatter_add(Cuda, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J);
template <class T> void scatter_amax(Cpu, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J);
template <class T> void scatter_amax(Cuda, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I,
                                        int64_t J);
template <class T> void scatter_amin(Cpu, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J);
template <class T> void scatter_amin(Cuda, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I,
                                        int64_t J);

template <class T> void index_select(Cpu, const T* x, const int64_t* index, T* y, int64_t O, int64_t R, int64_t I, int64_t J);
template <class T> void index_select(Cuda, const T* x, const int64_t* index, T* y, int64_t O, int64_t R, int64_t I, int64_t J);
/// Adds into y : [O, R, I].
template <class T> void index_add(Cpu, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J);
template <class T> void index_add(Cuda, T* y, const int64_t* index, const T* src, int64_t O, int64_t R, int64_t I, int64_t J);

/// y[k] = x[index[k]], and y[index[k]] = src[k] (the last k wins), over flat arrays.
template <class T> void take(Cpu, const T* x, const int64_t* index, T* y, int64_t n);
template <class T> void take(Cuda, const T* x, const int64_t* index, T* y, int64_t n);
template <class T> void put(Cpu, T* y, const int64_t* index, const T* src, int64_t n);
template <class T> void put(Cuda, T* y, const int64_t* index, const T* src, int64_t n);

/// How many of x : [n] are not 0.
template <class T> int64_t count_nonzero(Cpu, const T* x, int64_t n);
template <class T> int64_t count_nonzero(Cuda, const T* x, int64_t n);
/// Coordinates of the elements that are not 0, row-major order: y : [count, rank].
template <class T> void nonzero(Cpu, const T* x, int64_t* y, const int64_t* shape, int rank);
template <class T> void nonzero(Cuda, const T* x, int64_t* y, const int64_t* shape, int rank);
/// The elements of x where mask holds, in order: y : [count].
template <class T> void masked_select(Cpu, const T* x, const bool* mask, T* y, int64_t n);
template <class T> void masked_select(Cuda, const T* x, const bool* mask, T* y, int64_t n);
/// Its gradient: src[0], src[1], ... where mask holds, 0 elsewhere; y : [n].
template <class T> void masked_expand(Cpu, const T* src, const bool* mask, T* y, int64_t n);
template <class T> void masked_expand(Cuda, const T* src, const bool* mask, T* y, int64_t n);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include <gradus/../../cpu/index.cpp>
#endif
