// A sum in six steps, a transposition in four. reduce.md tells what each one buys.
#include "bench/ladders/ladder.cuh"
#include "bench/ladders/reduce.hpp"

namespace gradus::ladders {
namespace {

__device__ inline float warp_sum(float v) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) v += __shfl_down_sync(0xffffffffu, v, distance);
  return v;                                         // in lane 0
}
/// In thread 0.
__device__ inline float block_sum(float v) {
  GRADUS_SHARED(float, of_warp, [kThreads / kWarp]);
  v = warp_sum(v);
  if (lane() == 0) of_warp[thread() / kWarp] = v;
  __syncthreads();
  return warp_sum(thread() < kThreads / kWarp ? of_warp[thread()] : 0.0f);
}

// ---- 1 serial: one thread ----
__global__ void sum_serial(const float* x, float* y, int64_t n) {
  if (thread_in_grid() != 0) return;
  float total = 0;
  for (int64_t i = 0; i < n; ++i) total += x[i];
  *y = total;
}
// ---- 2 atomic: a thread an element, all into one place ----
__global__ void sum_atomic(const float* x, float* y, int64_t n) {
  const int64_t i = thread_in_grid();
  if (i < n) atomicAdd(y, x[i]);
}
// ---- 3 tree: halves of a block's 256 elements are added in shared memory; active threads stay neighbours ----
__global__ void sum_tree(const float* x, float* part, int64_t n) {
  GRADUS_SHARED(float, s, [kThreads]);
  const int64_t i = thread_in_grid();
  s[thread()] = i < n ? x[i] : 0.0f;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (thread() < half) s[thread()] += s[thread() + half];
    __syncthreads();
  }
  if (thread() == 0) part[blockIdx.x] = s[0];
}
// ---- 4 shuffle: the last five halvings pass from register to register: one barrier instead of eight ----
__global__ void sum_shuffle(const float* x, float* part, int64_t n) {
  const int64_t i = thread_in_grid();
  const float total = block_sum(i < n ? x[i] : 0.0f);
  if (thread() == 0) part[blockIdx.x] = total;
}
// ---- 5 strided: a few blocks go over the array, so that the tree is a small part of the work ----
__global__ void sum_strided(const float* x, float* part, int64_t n) {
  float mine = 0;
  for (int64_t i = thread_in_grid(); i < n; i += threads_in_grid()) mine += x[i];
  const float total = block_sum(mine);
  if (thread() == 0) part[blockIdx.x] = total;
}
// ---- 6 vector: four elements a load, two loads in flight ----
__global__ void sum_vector(const float* x, float* part, int64_t n) {
  const int64_t quads = n / 4, step = threads_in_grid();
  float mine[2] = {0, 0};
  for (int64_t q = thread_in_grid(); q < quads; q += 2 * step) {
    const float4 u = load16<float4>(x + 4 * q);
    mine[0] += (u.x + u.y) + (u.z + u.w);
    if (q + step < quads) {
      const float4 v = load16<float4>(x + 4 * (q + step));
      mine[1] += (v.x + v.y) + (v.z + v.w);
    }
  }
  if (thread_in_grid() < n - 4 * quads) mine[0] += x[4 * quads + thread_in_grid()];
  const float total = block_sum(mine[0] + mine[1]);
  if (thread() == 0) part[blockIdx.x] = total;
}

// ---- transposition ----
/// 1 naive: reads are neighbours, writes are N apart.
__global__ void transpose_naive(const float* x, float* y, int64_t M, int64_t N) {
  const int64_t i = thread_in_grid();
  if (i < M * N) y[i % N * M + i / N] = x[i];
}
/// Where a block's 32 x 32 tile starts.
struct Corner {
  int64_t m, n;
};
__device__ inline Corner corner_of(int64_t N) {
  const int64_t across = (N + 31) / 32, b = blockIdx.x;
  return {b / across * 32, b % across * 32};
}
/// 2 tile (row 32 long) and 3 padded (33): rows of the tile come in, columns go out; both sides of global memory are neighbours. A
/// column of 32 words lies in one bank, of 33 in 32 different ones.
template <int ROW> __global__ void transpose_tile(const float* x, float* y, int64_t M, int64_t N) {
  GRADUS_SHARED(float, tile, [32][ROW]);
  const Corner at = corner_of(N);
  const int column = thread() % 32, row = thread() / 32;
  for (int r = row; r < 32; r += 8)
    if (at.m + r < M && at.n + column < N) tile[r][column] = x[(at.m + r) * N + at.n + column];
  __syncthreads();
  for (int r = row; r < 32; r += 8)
    if (at.n + r < N && at.m + column < M) y[(at.n + r) * M + at.m + column] = tile[column][r];
}
/// 4 swizzled: element (r, c) lies at column c xor r: no conflicts and no padding.
__global__ void transpose_swizzled(const float* x, float* y, int64_t M, int64_t N) {
  GRADUS_SHARED(float, tile, [32][32]);
  const Corner at = corner_of(N);
  const int column = thread() % 32, row = thread() / 32;
  for (int r = row; r < 32; r += 8)
    if (at.m + r < M && at.n + column < N) tile[r][column ^ r] = x[(at.m + r) * N + at.n + column];
  __syncthreads();
  for (int r = row; r < 32; r += 8)
    if (at.n + r < N && at.m + column < M) y[(at.n + r) * M + at.m + column] = tile[column][r ^ column];
}

}  // namespace

const std::vector<std::string>& sum_steps() {
  static const std::vector<std::string> names{"serial", "atomic", "tree", "shuffle", "strided", "vector"};
  return names;
}
void sum(const std::string& step, const float* x, float* y, int64_t n) {
  if (step == "serial") return enqueue("sum_serial", sum_serial, {1, kWarp}, x, y, n);
  if (step == "atomic") return zero(y, 1), enqueue("sum_atomic", sum_atomic, {blocks_for(n, kThreads)}, x, y, n);
  if (step == "tree" || step == "shuffle") {        // 256 elements become one, until one is left
    const auto kernel = step == "tree" ? sum_tree : sum_shuffle;
    const int64_t blocks = n > 0 ? blocks_for(n, kThreads) : 1;
    if (blocks == 1) return enqueue("sum_blocks", kernel, {1}, x, y, n);
    Scratch<float> part(blocks);
    enqueue("sum_blocks", kernel, {blocks}, x, part.data(), n);
    return sum(step, part.data(), y, blocks);
  }
  if (step != "strided" && step != "vector") no_step("sum", step);
  const bool vector = step == "vector" && reinterpret_cast<uintptr_t>(x) % 16 == 0;
  const int64_t wanted = blocks_for(n, 4 * kThreads), blocks = wanted < 1 ? 1 : wanted < 1024 ? wanted : 1024;
  Scratch<float> part(blocks);
  enqueue("sum_blocks", vector ? sum_vector : sum_strided, {blocks}, x, part.data(), n);
  enqueue("sum_blocks", sum_strided, {1}, part.data(), y, blocks);
}

const std::vector<std::string>& transpose_steps() {
  static const std::vector<std::string> names{"naive", "tile", "padded", "swizzled"};
  return names;
}
void transpose(const std::string& step, const float* x, float* y, int64_t M, int64_t N) {
  const int64_t blocks = blocks_for(M, 32) * blocks_for(N, 32);
  if (step == "naive") return enqueue("transpose_naive", transpose_naive, {blocks_for(M * N, kThreads)}, x, y, M, N);
  if (step == "tile") return enqueue("transpose_tile", transpose_tile<32>, {blocks}, x, y, M, N);
  if (step == "padded") return enqueue("transpose_padded", transpose_tile<33>, {blocks}, x, y, M, N);
  if (step == "swizzled") return enqueue("transpose_swizzled", transpose_swizzled, {blocks}, x, y, M, N);
  no_step("transpose", step);
}

}  // namespace gradus::ladders
