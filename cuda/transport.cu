// Sinkhorn: one block a problem; a thread sums a row for f and a column for g, so that a result does not depend on the number of
// threads. Assignment: one thread a problem.
#include <gradus/core/math.hpp>
#include <gradus/kernels/transport.hpp>

#include "kernel.cuh"

namespace gradus::kernels {
namespace cu {

/// f : [B, n], g : [B, m], error : [B, n]
template <class T>
__global__ void sinkhorn_block(const T* C, const T* a, const T* b, T* plan, T* f_all, T* g_all, T* error_all, int64_t n, int64_t m, T eps,
                               int64_t iterations, double tol) {
  GRADUS_SHARED(int, done);
  const int64_t k = blockIdx.x;
  const T *cost = C + k * n * m, *left = a + k * n, *right = b + k * m, inverse = T(1) / eps;
  T *P = plan + k * n * m, *f = f_all + k * n, *g = g_all + k * m, *error = error_all + k * n;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) f[i] = T(0);
  for (int64_t j = threadIdx.x; j < m; j += blockDim.x) g[j] = T(0);
  __syncthreads();
  for (int64_t round = 0; round < iterations; ++round) {
    for (int64_t r = threadIdx.x; r < n; r += blockDim.x) {
      T top = -std::numeric_limits<T>::infinity(), s = 0;
      for (int64_t j = 0; j < m; ++j) top = max(top, (g[j] - cost[r * m + j]) * inverse);
      for (int64_t j = 0; j < m; ++j) s += gradus::m::exp((g[j] - cost[r * m + j]) * inverse - top);
      const T next = eps * (gradus::m::log(left[r]) - top - gradus::m::log(s));
      error[r] = left[r] > T(0) ? left[r] * fabs(gradus::m::expm1((f[r] - next) * inverse)) : T(0);
      f[r] = next;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      double total = 0;
      for (int64_t r = 0; r < n; ++r) total += static_cast<double>(error[r]);
      done = round > 0 && total <= tol;
    }
    __syncthreads();
    if (done) break;
    for (int64_t j = threadIdx.x; j < m; j += blockDim.x) {
      T top = -std::numeric_limits<T>::infinity(), s = 0;
      for (int64_t r = 0; r < n; ++r) top = max(top, (f[r] - cost[r * m + j]) * inverse);
      for (int64_t r = 0; r < n; ++r) s += gradus::m::exp((f[r] - cost[r * m + j]) * inverse - top);
      g[j] = eps * (gradus::m::log(right[j]) - top - gradus::m::log(s));
    }
    __syncthreads();
  }
  for (int64_t i = threadIdx.x; i < n * m; i += blockDim.x) P[i] = gradus::m::exp((f[i / m] + g[i % m] - cost[i]) * inverse);
}

/// numbers : [B, 3, n + 1], columns : [B, 3, n + 1]
template <class T> __global__ void assignment_reference(const T* C, int64_t* column, double* numbers, int64_t* columns, int64_t B, int64_t n) {
  const int64_t k = thread_in_grid(), size = n + 1;
  if (k >= B) return;
  const T* cost = C + k * n * n;
  double *u = numbers + 3 * k * size, *v = u + size, *least = v + size;
  int64_t *row = columns + 3 * k * size, *from = row + size, *seen = from + size;
  for (int64_t j = 0; j <= n; ++j) u[j] = 0, v[j] = 0, row[j] = 0, from[j] = 0;
  for (int64_t i = 1; i <= n; ++i) {
    for (int64_t j = 0; j <= n; ++j) least[j] = std::numeric_limits<double>::infinity(), seen[j] = 0;
    int64_t j = 0;
    row[0] = i;
    do {
      seen[j] = 1;
      const int64_t r = row[j];
      double step = std::numeric_limits<double>::infinity();
      int64_t next = 0;
      for (int64_t c = 1; c <= n; ++c) {
        if (seen[c]) continue;
        const double reduced = static_cast<double>(cost[(r - 1) * n + c - 1]) - u[r] - v[c];
        if (reduced < least[c]) least[c] = reduced, from[c] = j;
        if (least[c] < step || next == 0) step = least[c], next = c;
      }
      for (int64_t c = 0; c <= n; ++c) {
        if (seen[c]) u[row[c]] += step, v[c] -= step;
        else least[c] -= step;
      }
      j = next;
    } while (row[j] != 0);
    for (; j != 0; j = from[j]) row[j] = row[from[j]];
  }
  for (int64_t j = 1; j <= n; ++j) column[k * n + row[j] - 1] = j - 1;
}

}  // namespace cu

template <class T>
void sinkhorn(Cuda, const T* C, const T* a, const T* b, T* plan, int64_t B, int64_t n, int64_t m, double eps, int64_t iterations, double tol) {
  cu::Scratch<T> f(B * n), g(B * m), error(B * n);
  cu::enqueue("sinkhorn", cu::sinkhorn_block<T>, {B}, C, a, b, plan, f.data(), g.data(), error.data(), n, m, static_cast<T>(eps), iterations, tol);
}
template <class T> void assignment(Cuda, const T* C, int64_t* column, int64_t B, int64_t n) {
  cu::Scratch<double> numbers(3 * B * (n + 1));
  cu::Scratch<int64_t> columns(3 * B * (n + 1));
  cu::enqueue("assignment", cu::assignment_reference<T>, {cu::blocks_for(B, cu::kWarp), cu::kWarp}, C, column, numbers.data(), columns.data(), B, n);
}

namespace {
template <class... T> void* transport_floating() {   // taking the addresses instantiates the kernels
  static void* const table[] = {instance<Cuda>(&sinkhorn<T>)..., instance<Cuda>(&assignment<T>)...};
  return const_cast<void*>(static_cast<const void*>(table));
}
}  // namespace
extern void* const gradus_cuda_transport_instances[] = {transport_floating<float, double>()};

}  // namespace gradus::kernels
