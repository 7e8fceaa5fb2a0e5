// The contract for dense linear algebra over batches of B row-major matrices. T: float, double.
//
// Functions that can meet a matrix they cannot treat return -1 when all went well, otherwise where the first failure is.
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>

namespace gradus::kernels {

/// a = L L^T, L lower with zeros above the diagonal; only the lower triangle of a : [B, n, n] is read.
/// Returns -1, or b * n + (index of the first pivot that is not positive) for the first b that fails.
template <class T> int64_t cholesky(Cpu, const T* a, T* l, int64_t B, int64_t n);
template <class T> int64_t cholesky(Cuda, const T* a, T* l, int64_t B, int64_t n);

/// op(a) x = b with a : [B, n, n] triangular (the other triangle is not read), b, x : [B, n, k]; op transposes if `transposed`,
/// a diagonal of ones is assumed if `unit`. A zero on the diagonal gives infinities.
template <class T> void triangular_solve(Cpu, const T* a, const T* b, T* x, int64_t B, int64_t n, int64_t k, bool upper,
                                         bool transposed, bool unit);
template <class T> void triangular_solve(Cuda, const T* a, const T* b, T* x, int64_t B, int64_t n, int64_t k, bool upper,
                                         bool transposed, bool unit);

/// a x = b by LU with partial pivoting; a : [B, n, n], b, x : [B, n, k]. Returns -1, or the first b whose pivot is 0 or NaN.
template <class T> int64_t lu_solve(Cpu, const T* a, const T* b, T* x, int64_t B, int64_t n, int64_t k);
template <class T> int64_t lu_solve(Cuda, const T* a, const T* b, T* x, int64_t B, int64_t n, int64_t k);
/// y = a^-1; returns as lu_solve.
template <class T> int64_t inverse(Cpu, const T* a, T* y, int64_t B, int64_t n);
template <class T> int64_t inverse(Cuda, const T* a, T* y, int64_t B, int64_t n);

/// y : [B]; 1 for n = 0.
template <class T> void det(Cpu, const T* a, T* y, int64_t B, int64_t n);
template <class T> void det(Cuda, const T* a, T* y, int64_t B, int64_t n);
/// det = sign e^logabs; sign 0 and logabs -infinity for a singular matrix.
template <class T> void slogdet(Cpu, const T* a, T* sign, T* logabs, int64_t B, int64_t n);
template <class T> void slogdet(Cuda, const T* a, T* sign, T* logabs, int64_t B, int64_t n);

/// a = q r by Householder reflections, a : [B, m, n], j = min(m, n). Reduced: q [B, m, j], r [B, j, n]; complete: q [B, m, m],
/// r [B, m, n]. The diagonal of r may be negative.
template <class T> void qr(Cpu, const T* a, T* q, T* r, int64_t B, int64_t m, int64_t n, bool complete);
template <class T> void qr(Cuda, const T* a, T* q, T* r, int64_t B, int64_t m, int64_t n, bool complete);

/// a = u diag(s) vt, s descending; a : [B, m, n], u : [B, m, j], s : [B, j], vt : [B, j, n], j = min(m, n).
/// Returns -1, or the first b that did not converge.
template <class T> int64_t svd(Cpu, const T* a, T* u, T* s, T* vt, int64_t B, int64_t m, int64_t n);
template <class T> int64_t svd(Cuda, const T* a, T* u, T* s, T* vt, int64_t B, int64_t m, int64_t n);

/// a v = v diag(w) for symmetric a : [B, n, n] (the lower triangle is read), w : [B, n] ascending, eigenvectors in the columns
/// of v : [B, n, n]. Returns as svd.
template <class T> int64_t eigh(Cpu, const T* a, T* w, T* v, int64_t B, int64_t n);
template <class T> int64_t eigh(Cuda, const T* a, T* w, T* v, int64_t B, int64_t n);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include <gradus/../../cpu/linalg.cpp>
#endif
