// Kernels with one mistake each. The line of the mistake carries a mark, which the tests look for in the report.
#include <cstring>
#include <stdexcept>

#include "bugs.hpp"
#include "device_memory.cuh"

namespace emulation_test {
namespace {

constexpr unsigned kAll = 0xffffffffu;

// ---- barriers and shared memory ----

__global__ void missing_barrier_raw(float* x) {
  GRADUS_SHARED(float, s, [64]);
  s[threadIdx.x] = x[threadIdx.x];
  x[threadIdx.x] = s[63 - threadIdx.x];                                  // mark: missing_barrier_raw
}
__global__ void missing_barrier_war(float* x, int tiles) {
  GRADUS_SHARED(float, s, [64]);
  float sum = 0;
  for (int t = 0; t < tiles; ++t) {
    s[threadIdx.x] = x[t * 64 + threadIdx.x];                            // mark: missing_barrier_war
    __syncthreads();
    sum += s[(threadIdx.x + 33) % 64];
  }
  x[threadIdx.x] = sum;
}
__global__ void barrier_in_branch(float* x) {
  if (threadIdx.x < 32) {
    x[threadIdx.x] = 1;
    __syncthreads();                                                     // mark: barrier_in_branch
  } else {
    __syncthreads();
    x[threadIdx.x] = 2;
  }
}
__global__ void early_return(float* x, int n) {
  if (static_cast<int>(threadIdx.x) >= n) return;
  x[threadIdx.x] = 1;
  __syncthreads();                                                       // mark: early_return
  x[threadIdx.x] += 1;
}
__global__ void missing_syncwarp(float* x) {
  GRADUS_SHARED(float, s, [32]);
  s[threadIdx.x] = x[threadIdx.x];
  x[threadIdx.x] = s[threadIdx.x ^ 1];                                   // mark: missing_syncwarp
}
__global__ void uninitialised_shared(float* x) {
  GRADUS_SHARED(float, s, [64]);
  if (threadIdx.x < 63) s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = s[63 - threadIdx.x];                                  // mark: uninitialised_shared
}
struct Padded {
  float v;
  long long at;
};
__global__ void uninitialised_object(float* x) {
  GRADUS_SHARED(Padded, s, [64]);
  if (threadIdx.x < 63) s[threadIdx.x].v = x[threadIdx.x], s[threadIdx.x].at = 0;
  __syncthreads();
  const Padded p = s[63 - threadIdx.x];                                  // mark: uninitialised_object
  x[threadIdx.x] = p.v + static_cast<float>(p.at);
}
__global__ void shared_out_of_bounds(float* x) {
  GRADUS_SHARED(float, s, [64]);
  s[threadIdx.x + 1] = x[threadIdx.x];                                   // mark: shared_out_of_bounds
  __syncthreads();
  x[threadIdx.x] = s[threadIdx.x];
}
__global__ void stale_between_blocks(float* x) {
  GRADUS_SHARED(float, s, [32]);
  if (blockIdx.x == 0) s[threadIdx.x] = 5;
  __syncthreads();
  x[threadIdx.x] = s[threadIdx.x];                                       // mark: stale_between_blocks
}
__global__ void plain_histogram(const int* keys, int* counts) {
  GRADUS_SHARED(int, bins, [8]);
  if (threadIdx.x < 8) bins[threadIdx.x] = 0;
  __syncthreads();
  bins[keys[threadIdx.x]]++;                                             // mark: plain_histogram
  __syncthreads();
  if (threadIdx.x < 8) counts[threadIdx.x] = bins[threadIdx.x];
}

__global__ void neighbour_after_write(float* x) {
  GRADUS_SHARED(float, pair, [2]);
  if (threadIdx.x == 63) pair[1] = x[63];                                // mark: neighbour_after_write, written
  if (threadIdx.x == 0) x[0] = pair[1];                                  // mark: neighbour_after_write
}

// ---- warps ----

__global__ void wrong_mask(float* x) {
  float v = x[threadIdx.x];
  if (threadIdx.x < 16) v += __shfl_xor_sync(kAll, v, 1);                // mark: wrong_mask
  __syncthreads();
  x[threadIdx.x] = v;
}
__global__ void not_in_mask(float* x) {
  x[threadIdx.x] = __shfl_xor_sync(0xffffu, x[threadIdx.x], 1);          // mark: not_in_mask
}
__global__ void inactive_lane(float* x) {
  if (threadIdx.x < 16) x[threadIdx.x] = __shfl_down_sync(0xffffu, x[threadIdx.x], 8);   // mark: inactive_lane
}
__global__ void ended_lane(float* x) {
  if (threadIdx.x >= 24) return;
  x[threadIdx.x] = __shfl_down_sync(kAll, x[threadIdx.x], 16);           // mark: ended_lane
}
__global__ void different_masks(float* x) {
  float v = x[threadIdx.x];
  if (threadIdx.x < 16) v = __shfl_xor_sync(0x0001ffffu, v, 1);          // mark: different_masks
  else v = __shfl_xor_sync(0xffff8000u, v, 1);
  x[threadIdx.x] = v;
}
__global__ void warp_op_against_barrier(float* x) {
  if (threadIdx.x < 16) __syncwarp();                                    // mark: warp_op_against_barrier
  else __syncthreads();
  x[threadIdx.x] = 1;
}

// ---- device memory ----

__global__ void global_out_of_bounds(const float* x, float* y, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i <= n) y[i] = 2 * x[i];                                           // mark: global_out_of_bounds
}
__global__ void copy_plain(const float* x, float* y) {
  y[threadIdx.x] = x[threadIdx.x];                                       // mark: copy_plain
}
__global__ void misaligned(const float* x, float* y) {
  store16(y + 4 * threadIdx.x, load16<float4>(x + 4 * threadIdx.x + 1)); // mark: misaligned
}
__global__ void misaligned_cast(const float* x, float* y) {
  const float4* p = reinterpret_cast<const float4*>(x + 1);
  y[threadIdx.x] = p[threadIdx.x].x;                                     // mark: misaligned_cast
}
__global__ void accumulate_across_blocks(const float* x, float* sum) {
  if (threadIdx.x == 0) *sum += x[blockIdx.x];                           // mark: accumulate_across_blocks
}
__global__ void previous_block(const float* x, float* prefix) {
  const float before = blockIdx.x == 0 ? 0.0f : prefix[blockIdx.x - 1];  // mark: previous_block
  prefix[blockIdx.x] = before + x[blockIdx.x];
}
__global__ void unfenced_last_block(const float* x, float* partial, unsigned* arrived, float* sum) {
  partial[blockIdx.x] = x[blockIdx.x];
  if (atomicAdd(arrived, 1u) != gridDim.x - 1) return;
  float s = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) s += partial[b];              // mark: unfenced_last_block
  *sum = s;
}
__global__ void neighbour_in_place(float* x) {
  x[threadIdx.x] = x[(threadIdx.x + 1) % blockDim.x];                    // mark: neighbour_in_place
}
__global__ void host_struct(const Pair* pair, float* y) {
  *y = pair->first;                                                      // mark: host_struct
}

// ---- asynchronous copies ----

__global__ void wait_off_by_one(const float* x, float* y) {
  GRADUS_SHARED16(float, s, [2][128]);
  copy_async16(s[0] + 4 * threadIdx.x, x + 4 * threadIdx.x);
  copy_async_commit();
  copy_async16(s[1] + 4 * threadIdx.x, x + 128 + 4 * threadIdx.x);
  copy_async_commit();
  copy_async_wait<1>();                                                  // <0> was meant
  __syncthreads();
  y[threadIdx.x] = s[1][threadIdx.x];                                    // mark: wait_off_by_one
}
__global__ void wait_without_barrier(const float* x, float* y) {
  GRADUS_SHARED16(float, s, [128]);
  copy_async16(s + 4 * threadIdx.x, x + 4 * threadIdx.x);
  copy_async_commit();
  copy_async_wait<0>();
  y[threadIdx.x] = s[127 - threadIdx.x];                                 // mark: wait_without_barrier
}

// ---- limits ----

#if !defined(__CUDACC__)                                                 // nvcc refuses it
__global__ void much_static_shared(float* x) {
  GRADUS_SHARED(float, s, [13000]);                                      // mark: much_static_shared
  s[threadIdx.x] = 1;
  x[threadIdx.x] = s[threadIdx.x];
}
#endif
__global__ void fill(float* x) { x[threadIdx.x] = 1; }
__device__ __noinline__ int deep(int n, volatile int* out) {
  volatile int local[64];
  local[n % 64] = n;
  if (n == 0) return local[0];
  return deep(n - 1, out) + local[n % 64] + *out;
}
__global__ void endless_recursion(int* x) { x[0] = deep(1000000, x); }

}  // namespace

void run_bug(const std::string& name) {
  const Floats numbers(256, 1.0f);
  const OnDevice<float> x(numbers), y(256);
  float *px = x, *py = y;
  const auto one = [&](void (*kernel)(float*), int threads, int blocks = 1) { launch(kernel, {name.c_str(), blocks, threads}, px); };
  const auto two = [&](void (*kernel)(const float*, float*), int threads, int blocks = 1) { launch(kernel, {name.c_str(), blocks, threads}, px, py); };
  if (name == "missing_barrier_raw") one(missing_barrier_raw, 64);
  else if (name == "missing_barrier_war") launch(missing_barrier_war, {"war", 1, 64}, px, 4);
  else if (name == "barrier_in_branch") one(barrier_in_branch, 64);
  else if (name == "early_return") launch(early_return, {"early", 1, 64}, px, 40);
  else if (name == "missing_syncwarp") one(missing_syncwarp, 32);
  else if (name == "uninitialised_shared") one(uninitialised_shared, 64);
  else if (name == "uninitialised_object") one(uninitialised_object, 64);
  else if (name == "shared_out_of_bounds") one(shared_out_of_bounds, 64);
  else if (name == "stale_between_blocks") one(stale_between_blocks, 32, 2);
  else if (name == "plain_histogram") {
    const OnDevice<int> keys(std::vector<int>(64, 3)), counts(8);
    launch(plain_histogram, {"histogram", 1, 64}, keys, counts);
  }
  else if (name == "neighbour_after_write") one(neighbour_after_write, 64);
  else if (name == "wrong_mask") one(wrong_mask, 32);
  else if (name == "not_in_mask") one(not_in_mask, 32);
  else if (name == "inactive_lane") one(inactive_lane, 32);
  else if (name == "ended_lane") one(ended_lane, 32);
  else if (name == "different_masks") one(different_masks, 32);
  else if (name == "warp_op_against_barrier") one(warp_op_against_barrier, 32);
  else if (name == "global_out_of_bounds") launch(global_out_of_bounds, {"scale", 2, 256}, px, py, 256);
  else if (name == "copy_plain_after_free") {
    float* freed = nullptr;
    cudaMalloc(&freed, 256 * sizeof(float));
    cudaFree(freed);
    launch(copy_plain, {"copy", 1, 32}, freed, py);
  }
  else if (name == "copy_plain_from_host") launch(copy_plain, {"copy", 1, 32}, numbers.data(), py);
  else if (name == "misaligned") two(misaligned, 8);
  else if (name == "misaligned_cast") two(misaligned_cast, 8);
  else if (name == "accumulate_across_blocks") two(accumulate_across_blocks, 32, 8);
  else if (name == "previous_block") two(previous_block, 1, 8);
  else if (name == "unfenced_last_block") {
    const OnDevice<unsigned> arrived(std::vector<unsigned>{0});
    launch(unfenced_last_block, {"sum", 8, 1}, px, py, arrived, py + 100);
  }
  else if (name == "neighbour_in_place") one(neighbour_in_place, 64);
  else if (name == "host_struct") {
    const Pair pair{1, 2};
    launch(host_struct, {"pair", 1, 1}, &pair, py);
  }
  else if (name == "wait_off_by_one") two(wait_off_by_one, 32);
  else if (name == "wait_without_barrier") two(wait_without_barrier, 32);
#if !defined(__CUDACC__)
  else if (name == "much_static_shared") one(much_static_shared, 32);
#endif
  else if (name == "too_many_threads") one(fill, 1025);
  else if (name == "much_dynamic_shared") launch(fill, {"fill", 1, 32, 200 * 1024}, px);
  else if (name == "endless_recursion") {
    const OnDevice<int> counts(8);
    launch(endless_recursion, {"recursion", 1, 1}, counts);
  }
  else throw std::invalid_argument("no such kernel: " + name);
}

int driver_error_of_empty_grid() {
  const OnDevice<float> x(32);
#if defined(__CUDACC__)
  fill<<<0, 32>>>(x);
  return cudaGetLastError();
#else
  gradus::emu::LaunchInfo info;
  info.grid = dim3(0), info.block = dim3(32);
  return gradus::emu::launch_kernel(fill, info, static_cast<float*>(x));
#endif
}

float host_reads_device() {
  const OnDevice<float> x(Floats{1, 2, 3});
  return static_cast<float*>(x)[1];
}
void* leaked_allocation() {
  float* p = nullptr;
  cudaMalloc(&p, 1234);                                                  // mark: leaked_allocation
  return p;
}
void free_device(void* p) { cudaFree(p); }
void copy_beyond_the_end() {
  const OnDevice<float> x(8);
  const Floats source(16);
  cudaMemcpy(x, source.data(), 16 * sizeof(float), cudaMemcpyHostToDevice);   // mark: copy_beyond_the_end
}
int free_twice() {
  float* p = nullptr;
  cudaMalloc(&p, 64);
  const int first = cudaFree(p);
  const int second = cudaFree(p);
  cudaGetLastError();
  return first == 0 ? second : -1;
}

}  // namespace emulation_test
