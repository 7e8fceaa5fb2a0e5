// Products, attention, asynchronous copies, matrix instructions, cooperative groups: correct kernels.
#include <algorithm>
#include <bit>
#include <cmath>

#include "correct.hpp"
#include "device_memory.cuh"

namespace emulation_test {

using gradus::bf16, gradus::half;

namespace {

namespace cg = cooperative_groups;
constexpr int M = 32, N = 32, K = 64;      // C (M x N) = A (M x K) B (K x N)

// ---- products ----

__global__ void gemm_tiled(const float* A, const float* B, float* C) {
  GRADUS_SHARED(float, a, [16][16]);
  GRADUS_SHARED(float, b, [16][17]);
  const int row = blockIdx.y * 16 + threadIdx.y, column = blockIdx.x * 16 + threadIdx.x;
  float sum = 0;
  for (int k0 = 0; k0 < K; k0 += 16) {
    a[threadIdx.y][threadIdx.x] = A[row * K + k0 + threadIdx.x];
    b[threadIdx.y][threadIdx.x] = B[(k0 + threadIdx.y) * N + column];
    __syncthreads();
    for (int k = 0; k < 16; ++k) sum += a[threadIdx.y][k] * b[k][threadIdx.x];
    __syncthreads();
  }
  C[row * N + column] = sum;
}
// Each thread a 4 x 4 tile in registers; 16-byte accesses.
__global__ void gemm_registers(const float* A, const float* B, float* C) {
  GRADUS_SHARED16(float, a, [8][32]);      // transposed
  GRADUS_SHARED16(float, b, [8][32]);
  const int ty = threadIdx.x / 8, tx = threadIdx.x % 8;
  float acc[4][4] = {};
  for (int k0 = 0; k0 < K; k0 += 8) {
    for (int i = threadIdx.x; i < 256; i += 64) a[i % 8][i / 8] = A[i / 8 * K + k0 + i % 8];
    store16(&b[threadIdx.x / 8][4 * tx], load16<float4>(B + (k0 + threadIdx.x / 8) * N + 4 * tx));
    __syncthreads();
    for (int k = 0; k < 8; ++k) {
      const float4 u = load16<float4>(&a[k][4 * ty]), v = load16<float4>(&b[k][4 * tx]);
      const float us[] = {u.x, u.y, u.z, u.w}, vs[] = {v.x, v.y, v.z, v.w};
      GRADUS_UNROLL(4)
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) acc[i][j] += us[i] * vs[j];
    }
    __syncthreads();
  }
  for (int i = 0; i < 4; ++i) store16(C + (4 * ty + i) * N + 4 * tx, make_float4(acc[i][0], acc[i][1], acc[i][2], acc[i][3]));
}
// Two stages of asynchronous copies, ldmatrix, mma: each warp a 16 x 8 tile of C.
template <class T> __global__ void gemm_tensor(const T* A, const T* B, float* C) {
  GRADUS_SHARED16(T, a, [2][32][24]);      // rows of 16 and padding against bank conflicts
  GRADUS_SHARED16(T, b, [2][16][40]);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, m0 = warp / 4 * 16, n0 = warp % 4 * 8;
  const auto fetch = [&](int stage, int k0) {
    if (threadIdx.x < 64) gradus::copy_async16(&a[stage][threadIdx.x / 2][threadIdx.x % 2 * 8], A + threadIdx.x / 2 * K + k0 + threadIdx.x % 2 * 8);
    else if (threadIdx.x < 128) {
      const int i = threadIdx.x - 64;
      gradus::copy_async16(&b[stage][i / 4][i % 4 * 8], B + (k0 + i / 4) * N + i % 4 * 8);
    }
    gradus::copy_async_commit();
  };
  float c[4] = {};
  fetch(0, 0);
  for (int k0 = 0, stage = 0; k0 < K; k0 += 16, stage ^= 1) {
    if (k0 + 16 < K) {
      fetch(stage ^ 1, k0 + 16);
      gradus::copy_async_wait<1>();
    } else {
      gradus::copy_async_wait<0>();
    }
    __syncthreads();
    unsigned fa[4], fb[4];
    gradus::ldsm_x4(fa, &a[stage][m0 + lane % 16][lane / 16 * 8]);
    gradus::ldsm_x4_trans(fb, &b[stage][lane % 16][lane / 16 * 8 + n0 / 16 * 16]);     // two pairs of 8 columns
    const int pair = n0 % 16 / 8;
    const unsigned two[2] = {fb[2 * pair], fb[2 * pair + 1]};
    gradus::mma_m16n8k16<T>(c, fa, two, c);
    __syncthreads();
  }
  const int g = lane / 4, t = lane % 4;
  C[(m0 + g) * N + n0 + 2 * t] = c[0], C[(m0 + g) * N + n0 + 2 * t + 1] = c[1];
  C[(m0 + g + 8) * N + n0 + 2 * t] = c[2], C[(m0 + g + 8) * N + n0 + 2 * t + 1] = c[3];
}

// ---- attention of one head: S queries and keys, D features ----

constexpr int S = 32, D = 16;

// One warp a query: running maximum and sum over tiles of 32 keys; lanes are keys, then features.
__global__ void flash_forward(const float* q, const float* k, const float* v, float* o, float* logsum) {
  GRADUS_SHARED(float, keys, [32][D + 1]);
  GRADUS_SHARED(float, values, [32][D + 1]);
  GRADUS_SHARED(float, weights, [4][32]);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, row = blockIdx.x * 4 + warp;
  float top = -INFINITY, sum = 0, out = 0;
  for (int j0 = 0; j0 < S; j0 += 32) {
    for (int i = threadIdx.x; i < 32 * D; i += blockDim.x) keys[i / D][i % D] = k[j0 * D + i], values[i / D][i % D] = v[j0 * D + i];
    __syncthreads();
    float s = 0;
    for (int d = 0; d < D; ++d) s += q[row * D + d] * keys[lane][d];
    s *= 0.25f;
    float m = s;
    for (int d = 16; d > 0; d /= 2) m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, d));
    const float before = top;
    top = fmaxf(top, m);
    const float p = __expf(s - top), rescale = __expf(before - top);
    float ps = p;
    for (int d = 16; d > 0; d /= 2) ps += __shfl_xor_sync(0xffffffffu, ps, d);
    sum = sum * rescale + ps;
    weights[warp][lane] = p;
    __syncwarp();
    if (lane < D) {
      out *= rescale;
      for (int j = 0; j < 32; ++j) out += weights[warp][j] * values[j][lane];
    }
    __syncthreads();
  }
  if (lane < D) o[row * D + lane] = out / sum;
  if (lane == 0) logsum[row] = top + __logf(sum);
}
// One block a key: dk and dv gather over the queries, so that no atomics are needed.
__global__ void flash_backward(const float* q, const float* k, const float* v, const float* o, const float* go, const float* logsum, float* dk,
                               float* dv) {
  GRADUS_SHARED(float, p, [S]);
  GRADUS_SHARED(float, ds, [S]);
  const int key = blockIdx.x, i = threadIdx.x;
  float s = 0, dp = 0, delta = 0;
  for (int d = 0; d < D; ++d) {
    s += q[i * D + d] * k[key * D + d];
    dp += go[i * D + d] * v[key * D + d];
    delta += go[i * D + d] * o[i * D + d];
  }
  p[i] = __expf(s * 0.25f - logsum[i]);
  ds[i] = p[i] * (dp - delta) * 0.25f;
  __syncthreads();
  if (i >= D) return;
  float sk = 0, sv = 0;
  for (int j = 0; j < S; ++j) sk += ds[j] * q[j * D + i], sv += p[j] * go[j * D + i];
  dk[key * D + i] = sk, dv[key * D + i] = sv;
}

// ---- cooperative groups ----

__global__ void tile_sums(const float* x, float* y) {
  const auto tile = cg::tiled_partition<8>(cg::this_thread_block());
  float v = x[threadIdx.x];
  for (unsigned d = tile.size() / 2; d > 0; d /= 2) v += tile.shfl_down(v, d);
  if (tile.thread_rank() == 0) y[tile.meta_group_rank()] = v;
}
// Blocks exchange their edges at each step.
__global__ void diffuse(float* a, float* b, int steps) {
  const auto grid = cg::this_grid();
  const int n = gridDim.x * blockDim.x, i = blockIdx.x * blockDim.x + threadIdx.x;
  for (int s = 0; s < steps; ++s) {
    const float *from = s % 2 ? b : a;
    float* to = s % 2 ? a : b;
    to[i] = 0.25f * from[i == 0 ? 0 : i - 1] + 0.5f * from[i] + 0.25f * from[i == n - 1 ? i : i + 1];
    grid.sync();
  }
}

// ---- running them, and the same with loops ----

Floats rounded(Floats x, bool to_half) {
  for (float& v : x) v = to_half ? static_cast<float>(half(v)) : static_cast<float>(bf16(v));
  return x;
}
Floats matrix(int rows, int columns, unsigned salt) { return numbers(static_cast<std::size_t>(rows * columns), salt); }
Floats product(const Floats& a, const Floats& b) {
  Floats c(M * N);
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n) {
      double s = 0;
      for (int k = 0; k < K; ++k) s += static_cast<double>(a[m * K + k]) * b[k * N + n];
      c[m * N + n] = static_cast<float>(s);
    }
  return c;
}
template <class T> Floats tensor_product() {
  std::vector<T> a, b;
  for (const float v : matrix(M, K, 2)) a.push_back(T(v));
  for (const float v : matrix(K, N, 3)) b.push_back(T(v));
  const OnDevice<T> da(a), db(b);
  const OnDevice<float> c(M * N);
  launch(gemm_tensor<T>, {"matmul", 1, 256}, da, db, c);
  return c.host();
}
struct Attention {
  Floats q = matrix(S, D, 4), k = matrix(S, D, 5), v = matrix(S, D, 6), go = matrix(S, D, 7), o = Floats(S * D), dk = Floats(S * D), dv = Floats(S * D);
  Attention() {                            // by its formula, in double
    for (int i = 0; i < S; ++i) {
      double p[S], sum = 0;
      for (int j = 0; j < S; ++j) {
        double s = 0;
        for (int d = 0; d < D; ++d) s += static_cast<double>(q[i * D + d]) * k[j * D + d];
        sum += p[j] = std::exp(s * 0.25);
      }
      double delta = 0;
      for (int d = 0; d < D; ++d) {
        double s = 0;
        for (int j = 0; j < S; ++j) s += p[j] / sum * v[j * D + d];
        o[i * D + d] = static_cast<float>(s);
        delta += s * go[i * D + d];
      }
      for (int j = 0; j < S; ++j) {
        double dp = 0;
        for (int d = 0; d < D; ++d) dp += static_cast<double>(go[i * D + d]) * v[j * D + d];
        for (int d = 0; d < D; ++d) {
          dk[j * D + d] += static_cast<float>(p[j] / sum * (dp - delta) * 0.25 * q[i * D + d]);
          dv[j * D + d] += static_cast<float>(p[j] / sum * go[i * D + d]);
        }
      }
    }
  }
};
const Attention& attention() {
  static const Attention a;
  return a;
}
Floats joined(Floats a, const Floats& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace

const std::vector<Correct>& correct_tile_kernels() {
  static const std::vector<Correct> all = {
      {"gemm_tiled",
       [] {
         const OnDevice<float> a(matrix(M, K, 2)), b(matrix(K, N, 3)), c(M * N);
         launch(gemm_tiled, {"matmul", {2, 2}, {16, 16}}, a, b, c);
         return c.host();
       },
       [] { return product(matrix(M, K, 2), matrix(K, N, 3)); }, 1e-5},
      {"gemm_registers",
       [] {
         const OnDevice<float> a(matrix(M, K, 2)), b(matrix(K, N, 3)), c(M * N);
         launch(gemm_registers, {"matmul", 1, 64}, a, b, c);
         return c.host();
       },
       [] { return product(matrix(M, K, 2), matrix(K, N, 3)); }, 1e-5},
      {"gemm_tensor_bf16", tensor_product<bf16>, [] { return product(rounded(matrix(M, K, 2), false), rounded(matrix(K, N, 3), false)); }, 1e-5},
      {"gemm_tensor_half", tensor_product<half>, [] { return product(rounded(matrix(M, K, 2), true), rounded(matrix(K, N, 3), true)); }, 1e-5},
      {"flash_forward",
       [] {
         const Attention& t = attention();
         const OnDevice<float> q(t.q), k(t.k), v(t.v), o(S * D), logsum(S);
         launch(flash_forward, {"attention", S / 4, 128}, q, k, v, o, logsum);
         return o.host();
       },
       [] { return attention().o; }, 1e-5},
      {"flash_backward",
       [] {
         const Attention& t = attention();
         const OnDevice<float> q(t.q), k(t.k), v(t.v), go(t.go), o(S * D), logsum(S), dk(S * D), dv(S * D);
         launch(flash_forward, {"attention", S / 4, 128}, q, k, v, o, logsum);
         launch(flash_backward, {"attention_bwd", S, S}, q, k, v, o, go, logsum, dk, dv);
         return joined(dk.host(), dv.host());
       },
       [] { return joined(attention().dk, attention().dv); }, 1e-5},
      {"tile_sums",
       [] {
         const OnDevice<float> x(matrix(1, 64, 8)), y(8);
         launch(tile_sums, {"tiles", 1, 64}, x, y);
         return y.host();
       },
       [] {
         Floats y(8);
         const Floats x = matrix(1, 64, 8);
         for (int i = 0; i < 64; ++i) y[i / 8] += x[i];
         return y;
       },
       1e-5},
      {"diffuse",
       [] {
         const OnDevice<float> a(matrix(1, 128, 9)), b(128);
         gradus::launch_cooperative(diffuse, {"diffuse", 4, 32}, a, b, 6);
         return a.host();
       },
       [] {
         Floats a = matrix(1, 128, 9), b(128);
         for (int s = 0; s < 6; ++s, std::swap(a, b))
           for (int i = 0; i < 128; ++i) b[i] = 0.25f * a[i == 0 ? 0 : i - 1] + 0.5f * a[i] + 0.25f * a[i == 127 ? i : i + 1];
         return a;
       },
       1e-6},
  };
  return all;
}

}  // namespace emulation_test
