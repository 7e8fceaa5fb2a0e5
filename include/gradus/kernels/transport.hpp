// The contract for optimal transport between histograms a [n] and b [m] at costs C [n, m], B problems at once.
//
//   sinkhorn    P_ij = e^{(f_i + g_j - C_ij) / eps} with row sums a and column sums b, the plan of least <P, C> - eps H(P):
//               f_i = eps log a_i - eps log sum_j e^{(g_j - C_ij) / eps}, and the same for g, in turn, until
//               sum_i |row sum_i - a_i| <= tol
//   assignment  the permutation c of least sum_i C[i, c_i], n = m. Kuhn and Munkres with shortest augmenting paths, O(n^3)
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>

namespace gradus::kernels {

/// C : [B, n, m], a : [B, n], b : [B, m]; plan : [B, n, m], written. At most `iterations` rounds. T: float, double.
template <class T>
void sinkhorn(Cpu, const T* C, const T* a, const T* b, T* plan, int64_t B, int64_t n, int64_t m, double eps, int64_t iterations,
              double tol);
template <class T>
void sinkhorn(Cuda, const T* C, const T* a, const T* b, T* plan, int64_t B, int64_t n, int64_t m, double eps, int64_t iterations,
              double tol);
/// C : [B, n, n]; column : [B, n], written.
template <class T>
void assignment(Cpu, const T* C, int64_t* column, int64_t B, int64_t n);
template <class T>
void assignment(Cuda, const T* C, int64_t* column, int64_t B, int64_t n);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include <gradus/../../cpu/transport.cpp>
#endif
