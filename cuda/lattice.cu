// CTC: one block a sample, one thread a label (or several), one time step after the other. Transducer: one block a sample, one
// thread a label, the anti-diagonals t + u = const one after the other: what a cell needs lies on the one before.
#include <gradus/core/math.hpp>
#include <gradus/kernels/lattice.hpp>

#include "kernel.cuh"

namespace gradus::kernels {
namespace cu {

template <class T> __device__ T log_zero() { return -std::numeric_limits<T>::infinity(); }
template <class T> __device__ bool is_number(T v) { return v - v == T(0); }
template <class T> __device__ T log_add(T a, T b) {
  const T hi = a > b ? a : b, lo = a > b ? b : a;
  return hi == log_zero<T>() ? hi : hi + m::log1p(m::exp(lo - hi));
}

template <class T>
__global__ void ctc_fwd_block(const T* x, const bool* skip, const int64_t* times, const int64_t* labels, T* loss, T* alpha, int64_t Tmax, int64_t N,
                              int64_t L) {
  const int64_t n = blockIdx.x, last = 2 * labels[n], time = times[n];
  const bool* jump = skip + n * L;
  T* row = alpha + n * Tmax * L;
  for (int64_t t = 0; t < time; ++t) {
    const T* before = row + (t - 1) * L;
    const T* p = x + (t * N + n) * L;
    T* a = row + t * L;
    for (int64_t s = threadIdx.x; s <= last; s += blockDim.x) {
      T sum = s <= 1 ? T(0) : log_zero<T>();
      if (t > 0) {
        sum = before[s];
        if (s >= 1) sum = log_add(sum, before[s - 1]);
        if (s >= 2 && jump[s]) sum = log_add(sum, before[s - 2]);
      }
      a[s] = sum + p[s];
    }
    __syncthreads();
  }
  if (threadIdx.x != 0) return;
  if (time == 0) {
    loss[n] = last == 0 ? T(0) : -log_zero<T>();
    return;
  }
  const T* a = row + (time - 1) * L;
  loss[n] = -(last > 0 ? log_add(a[last], a[last - 1]) : a[last]);
}

/// beta : [N, 2, L], rows t and t + 1 in turn.
template <class T>
__global__ void ctc_bwd_block(const T* x, const bool* skip, const int64_t* times, const int64_t* labels, const T* loss, const T* alpha, const T* g,
                              T* dx, T* beta, int64_t Tmax, int64_t N, int64_t L) {
  const int64_t n = blockIdx.x, last = 2 * labels[n], time = times[n];
  const bool* jump = skip + n * L;
  const T* row = alpha + n * Tmax * L;
  const bool possible = is_number(loss[n]);
  for (int64_t t = Tmax - 1; t >= 0; --t) {
    const T* p = x + (t * N + n) * L;
    T* d = dx + (t * N + n) * L;
    T* now = beta + (2 * n + t % 2) * L;
    const T* after = beta + (2 * n + (t + 1) % 2) * L;
    for (int64_t s = threadIdx.x; s < L; s += blockDim.x) {
      T slope = 0;
      if (t < time && possible && s <= last) {
        T sum = s >= last - 1 ? T(0) : log_zero<T>();
        if (t < time - 1) {
          sum = after[s];
          if (s + 1 <= last) sum = log_add(sum, after[s + 1]);
          if (s + 2 <= last && jump[s + 2]) sum = log_add(sum, after[s + 2]);
        }
        now[s] = sum + p[s];
        const T a = row[t * L + s];
        if (sum != log_zero<T>() && a != log_zero<T>()) slope = -g[n] * m::exp(a + sum + loss[n]);
      }
      d[s] = slope;
    }
    __syncthreads();
  }
}

template <class T>
__global__ void transducer_fwd_block(const T* blank, const T* emit, const int64_t* times, const int64_t* labels, T* loss, T* alpha, int64_t Tmax,
                                     int64_t U) {
  const int64_t n = blockIdx.x, time = times[n], last = labels[n];
  const T *b = blank + n * Tmax * U, *e = emit + n * Tmax * U;
  T* a = alpha + n * Tmax * U;
  for (int64_t diagonal = 0; diagonal < time + last; ++diagonal) {
    for (int64_t u = threadIdx.x; u <= last; u += blockDim.x) {
      const int64_t t = diagonal - u, i = t * U + u;
      if (t < 0 || t >= time) continue;
      const T stay = t > 0 ? a[i - U] + b[i - U] : log_zero<T>(), move = u > 0 ? a[i - 1] + e[i - 1] : log_zero<T>();
      a[i] = i == 0 ? T(0) : log_add(stay, move);
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) loss[n] = -(a[(time - 1) * U + last] + b[(time - 1) * U + last]);
}

/// beta : [N, T, U]
template <class T>
__global__ void transducer_bwd_block(const T* blank, const T* emit, const int64_t* times, const int64_t* labels, const T* loss, const T* alpha,
                                     const T* g, T* dblank, T* demit, T* beta, int64_t Tmax, int64_t U) {
  const int64_t n = blockIdx.x, time = times[n], last = labels[n], from = n * Tmax * U;
  const T *b = blank + from, *e = emit + from, *a = alpha + from;
  T *db = dblank + from, *de = demit + from, *rest = beta + from;
  for (int64_t i = threadIdx.x; i < Tmax * U; i += blockDim.x) db[i] = T(0), de[i] = T(0);
  __syncthreads();
  if (!is_number(loss[n])) return;                      // the same for the whole block
  for (int64_t diagonal = time + last - 1; diagonal >= 0; --diagonal) {
    for (int64_t u = threadIdx.x; u <= last; u += blockDim.x) {
      const int64_t t = diagonal - u, i = t * U + u;
      if (t < 0 || t >= time) continue;
      const T stay = t + 1 < time ? rest[i + U] : u == last ? T(0) : log_zero<T>(), move = u < last ? rest[i + 1] : log_zero<T>();
      if (stay != log_zero<T>() && a[i] != log_zero<T>()) db[i] = -g[n] * m::exp(a[i] + b[i] + stay + loss[n]);
      if (move != log_zero<T>() && a[i] != log_zero<T>()) de[i] = -g[n] * m::exp(a[i] + e[i] + move + loss[n]);
      rest[i] = log_add(b[i] + stay, e[i] + move);
    }
    __syncthreads();
  }
}

/// Threads for rows of n: whole warps, at most kThreads.
inline int threads_for(int64_t n) { return static_cast<int>(n >= kThreads ? kThreads : (n + kWarp - 1) / kWarp * kWarp); }

}  // namespace cu

template <class T>
void ctc_fwd(Cuda, const T* x, const bool* skip, const int64_t* times, const int64_t* labels, T* loss, T* alpha, int64_t Tmax, int64_t N, int64_t L) {
  cu::enqueue("ctc_fwd", cu::ctc_fwd_block<T>, {N, cu::threads_for(L)}, x, skip, times, labels, loss, alpha, Tmax, N, L);
}
template <class T>
void ctc_bwd(Cuda, const T* x, const bool* skip, const int64_t* times, const int64_t* labels, const T* loss, const T* alpha, const T* g, T* dx,
             int64_t Tmax, int64_t N, int64_t L) {
  cu::Scratch<T> beta(2 * N * L);
  cu::enqueue("ctc_bwd", cu::ctc_bwd_block<T>, {N, cu::threads_for(L)}, x, skip, times, labels, loss, alpha, g, dx, beta.data(), Tmax, N, L);
}
template <class T>
void transducer_fwd(Cuda, const T* blank, const T* emit, const int64_t* times, const int64_t* labels, T* loss, T* alpha, int64_t N, int64_t Tmax,
                    int64_t U) {
  cu::enqueue("transducer_fwd", cu::transducer_fwd_block<T>, {N, cu::threads_for(U)}, blank, emit, times, labels, loss, alpha, Tmax, U);
}
template <class T>
void transducer_bwd(Cuda, const T* blank, const T* emit, const int64_t* times, const int64_t* labels, const T* loss, const T* alpha, const T* g,
                    T* dblank, T* demit, int64_t N, int64_t Tmax, int64_t U) {
  cu::Scratch<T> beta(N * Tmax * U);
  cu::enqueue("transducer_bwd", cu::transducer_bwd_block<T>, {N, cu::threads_for(U)}, blank, emit, times, labels, loss, alpha, g, dblank, demit,
              beta.data(), Tmax, U);
}

namespace {
template <class... T> void* lattice_floating() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cuda>(&ctc_fwd<T>)..., instance<Cuda>(&ctc_bwd<T>)..., instance<Cuda>(&transducer_fwd<T>)...,
                                instance<Cuda>(&transducer_bwd<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_cuda_lattice_instances[] = {lattice_floating<float, double>()};

}  // namespace gradus::kernels
