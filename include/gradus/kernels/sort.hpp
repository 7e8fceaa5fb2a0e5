// The contract for order: sorting and selection along the rows of x : [N, C], and what is built on sorted arrays.
//
// NaN is greater than every number (last in ascending order, first in descending), and -0 equals 0, as in NumPy and PyTorch.
// Equal elements stay in the order of their index, in every function here. C < 2^32.
// T: float, double, bf16, half, int64_t, int32_t, uint8_t.
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>

namespace gradus::kernels {

/// values, index : [N, C]; either may be nullptr (index alone is argsort).
template <class T> void sort(Cpu, const T* x, T* values, int64_t* index, int64_t N, int64_t C, bool descending);
template <class T> void sort(Cuda, const T* x, T* values, int64_t* index, int64_t N, int64_t C, bool descending);
/// The k largest (or smallest) in order, of equals the one with the lowest index; values, index : [N, k].
template <class T> void topk(Cpu, const T* x, T* values, int64_t* index, int64_t N, int64_t C, int64_t k, bool largest);
template <class T> void topk(Cuda, const T* x, T* values, int64_t* index, int64_t N, int64_t C, int64_t k, bool largest);
/// The element that ascending order puts at position k (from 0); values, index : [N].
template <class T> void kth_value(Cpu, const T* x, T* values, int64_t* index, int64_t N, int64_t C, int64_t k);
template <class T> void kth_value(Cuda, const T* x, T* values, int64_t* index, int64_t N, int64_t C, int64_t k);
/// The lower median, position (C-1)/2; the first NaN where there is one.
template <class T> void median(Cpu, const T* x, T* values, int64_t* index, int64_t N, int64_t C);
template <class T> void median(Cuda, const T* x, T* values, int64_t* index, int64_t N, int64_t C);

/// Distinct values of x : [n] in ascending order; returns their number. values and counts have room for n; inverse : [n] with
/// x[i] = values[inverse[i]]. inverse and counts may be nullptr. All NaN count as one value.
template <class T> int64_t unique(Cpu, const T* x, T* values, int64_t* inverse, int64_t* counts, int64_t n);
template <class T> int64_t unique(Cuda, const T* x, T* values, int64_t* inverse, int64_t* counts, int64_t n);

/// y[n,m] = number of elements of row n of sorted : [N, C] that are < x[n,m] (right: <=); x, y : [N, M].
template <class T> void searchsorted(Cpu, const T* sorted, const T* x, int64_t* y, int64_t N, int64_t C, int64_t M, bool right);
template <class T> void searchsorted(Cuda, const T* sorted, const T* x, int64_t* y, int64_t N, int64_t C, int64_t M,
                                        bool right);

/// y[b] = number of i with x[i] = b; 0 <= x[i] < bins.
void bincount(Cpu, const int64_t* x, int64_t* y, int64_t n, int64_t bins);
void bincount(Cuda, const int64_t* x, int64_t* y, int64_t n, int64_t bins);
/// y[b] = sum of weights[i] over i with x[i] = b; T: float, double.
template <class T> void bincount_weighted(Cpu, const int64_t* x, const T* weights, T* y, int64_t n, int64_t bins);
template <class T> void bincount_weighted(Cuda, const int64_t* x, const T* weights, T* y, int64_t n, int64_t bins);
/// Counts in `bins` equal bins of [lo, hi], the last one closed; elements outside and NaN are not counted. T: floating.
template <class T> void histogram(Cpu, const T* x, int64_t* y, int64_t n, int64_t bins, double lo, double hi);
template <class T> void histogram(Cuda, const T* x, int64_t* y, int64_t n, int64_t bins, double lo, double hi);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include <gradus/../../cpu/sort.cpp>
#endif
