// The contract for losses over alignments: sums over all paths of a lattice, in the log domain. Everything is in compute_t<T>
// terms of float and double; every sample n is computed alone.
//
//   ctc         x [T, N, L]: log-probability of extended label s (blank, y_1, blank, ..., y_S, blank; L = 2 S + 1) at time t
//               alpha_t(s) = x_t(s) + log sum of e^alpha_{t-1} over s, s - 1 and, where skip_n(s), s - 2
//               loss = -log(e^{alpha_T(2 S_n)} + e^{alpha_T(2 S_n - 1)})            dx_t(s) = -g e^{alpha + beta - x + loss}
//   transducer  blank, emit [N, T, U], U one more than the longest label sequence:
//               alpha(t, u) = log(e^{alpha(t-1, u) + blank(t-1, u)} + e^{alpha(t, u-1) + emit(t, u-1)})
//               loss = -alpha(T_n - 1, U_n) - blank(T_n - 1, U_n)                   d of an edge = -g P(edge is used)
//
// A sample without a path has the loss infinity and the gradient 0.
#pragma once
#include <cstdint>

#include <gradus/core/device.hpp>

namespace gradus::kernels {

/// times, labels : [N], T_n <= T and S_n with 2 S_n + 1 <= L. skip : [N, L]. loss : [N]; alpha : [N, T, L], kept for backward.
template <class T>
void ctc_fwd(Cpu, const T* x, const bool* skip, const int64_t* times, const int64_t* labels, T* loss, T* alpha, int64_t Tmax,
             int64_t N, int64_t L);
template <class T>
void ctc_fwd(Cuda, const T* x, const bool* skip, const int64_t* times, const int64_t* labels, T* loss, T* alpha, int64_t Tmax,
             int64_t N, int64_t L);
/// g : [N]; dx : [T, N, L], written everywhere.
template <class T>
void ctc_bwd(Cpu, const T* x, const bool* skip, const int64_t* times, const int64_t* labels, const T* loss, const T* alpha,
             const T* g, T* dx, int64_t Tmax, int64_t N, int64_t L);
template <class T>
void ctc_bwd(Cuda, const T* x, const bool* skip, const int64_t* times, const int64_t* labels, const T* loss, const T* alpha,
             const T* g, T* dx, int64_t Tmax, int64_t N, int64_t L);

/// times, labels : [N], 1 <= T_n <= T, U_n < U. loss : [N]; alpha : [N, T, U], kept for backward.
template <class T>
void transducer_fwd(Cpu, const T* blank, const T* emit, const int64_t* times, const int64_t* labels, T* loss, T* alpha,
                    int64_t N, int64_t Tmax, int64_t U);
template <class T>
void transducer_fwd(Cuda, const T* blank, const T* emit, const int64_t* times, const int64_t* labels, T* loss, T* alpha,
                    int64_t N, int64_t Tmax, int64_t U);
/// dblank, demit : [N, T, U], written everywhere.
template <class T>
void transducer_bwd(Cpu, const T* blank, const T* emit, const int64_t* times, const int64_t* labels, const T* loss,
                    const T* alpha, const T* g, T* dblank, T* demit, int64_t N, int64_t Tmax, int64_t U);
template <class T>
void transducer_bwd(Cuda, const T* blank, const T* emit, const int64_t* times, const int64_t* labels, const T* loss,
                    const T* alpha, const T* g, T* dblank, T* demit, int64_t N, int64_t Tmax, int64_t U);

}  // namespace gradus::kernels

#ifdef GRADUS_HEADER_ONLY
#include <gradus/../../cpu/lattice.cpp>
#endif
