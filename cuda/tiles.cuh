// C(m, n) = sum_k A(m, k) B(k, n) for operands that are functions of their indices: matrices of any dtype and layout, and the
// windows of a convolution, which are never written out (implicit GEMM).
//
//   product_reference  one thread an element of C
//   product_tiled      a block computes 32 x 32 elements: A and B pass through shared memory in strips of 16, each element of
//   which is
//                      read once by the block and used 32 times; a thread keeps 4 sums in registers
//
// A product object has   acc_t;  M, N, K, first;  a(z, m, k), b(z, k, n): acc_t;  store(z, m, n, acc_t)   with z the batch
// index, counted from `first`.
#pragma once
#include "kernel.cuh"

namespace gradus::kernels::cu {

template <class P> __global__ void product_reference(P p) {
  const int64_t i = thread_in_grid(), z = p.first + blockIdx.z;
  if (i >= p.M * p.N) return;
  const int64_t m = i / p.N, n = i % p.N;
  typename P::acc_t sum = 0;
  for (int64_t k = 0; k < p.K; ++k) sum += p.a(z, m, k) * p.b(z, k, n);
  p.store(z, m, n, sum);
}

inline constexpr int kTile = 32, kStrip = 16;
template <class P> __global__ void product_tiled(P p) {
  using A = typename P::acc_t;
  GRADUS_SHARED(A, as, [kTile][kStrip + 1]);     // one more column: a warp reads a column without bank conflicts
  GRADUS_SHARED(A, bs, [kStrip][kTile + 1]);
  const int64_t z = p.first + blockIdx.z, tiles_n = (p.N + kTile - 1) / kTile;
  const int64_t m0 = blockIdx.x / tiles_n * kTile, n0 = blockIdx.x % tiles_n * kTile;
  const int t = static_cast<int>(threadIdx.x), column = t % kTile, row = t / kTile;     // 256 threads: rows row, row + 8, ...
  A sum[4] = {A(0), A(0), A(0), A(0)};
  for (int64_t k0 = 0; k0 < p.K; k0 += kStrip) {
    GRADUS_UNROLL(2)
    for (int j = 0; j < 2; ++j) {
      const int e = t + 256 * j, ar = e / kStrip, ak = e % kStrip, br = e / kTile, bc = e % kTile;
      as[ar][ak] = m0 + ar < p.M && k0 + ak < p.K ? p.a(z, m0 + ar, k0 + ak) : A(0);
      bs[br][bc] = k0 + br < p.K && n0 + bc < p.N ? p.b(z, k0 + br, n0 + bc) : A(0);
    }
    __syncthreads();
    GRADUS_UNROLL(16)
    for (int k = 0; k < kStrip; ++k) {
      const A b = bs[k][column];
      GRADUS_UNROLL(4)
      for (int r = 0; r < 4; ++r) sum[r] += as[row + 8 * r][k] * b;
    }
    __syncthreads();
  }
  for (int r = 0; r < 4; ++r)
    if (m0 + row + 8 * r < p.M && n0 + column < p.N) p.store(z, m0 + row + 8 * r, n0 + column, sum[r]);
}

template <class P> void product(const char* op, const P& p, int64_t batch, bool tiled) {
  if (p.M * p.N == 0) return;
  for (int64_t z0 = 0; z0 < batch; z0 += 65535) {          // the third index of a grid has 16 bits
    P part = p;
    part.first = z0;
    const int64_t layers = batch - z0 < 65535 ? batch - z0 : 65535;
    if (tiled) enqueue(op, product_tiled<P>, {blocks_for(p.M, kTile) * blocks_for(p.N, kTile), 256, 0, 1, layers}, part);
    else enqueue(op, product_reference<P>, {blocks_for(p.M * p.N, kThreads), kThreads, 0, 1, layers}, part);
  }
}

}  // namespace gradus::kernels::cu
