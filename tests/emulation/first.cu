// Kernels with and without barriers, shuffles, static and dynamic shared memory.
#include <chrono>

#include "device_memory.cuh"
#include "kernels.hpp"

namespace emulation_test {
namespace {

__device__ __forceinline__ float warp_sum(float v) {
  GRADUS_UNROLL(5)
  for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
  return v;
}
__device__ __forceinline__ float warp_max(float v) {
  GRADUS_UNROLL(5)
  for (int d = 16; d > 0; d /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, d));
  return v;
}

template <class T> __global__ void __launch_bounds__(256) softmax_rows(const T* __restrict__ x, T* __restrict__ y, int64_t C) {
  GRADUS_SHARED(float, part, [8]);
  const T* xr = x + blockIdx.x * C;
  float m = -INFINITY;
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) m = fmaxf(m, xr[c]);
  m = warp_max(m);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = m;
  __syncthreads();
  for (unsigned w = 0; w < blockDim.x / 32; ++w) m = fmaxf(m, part[w]);
  __syncthreads();
  float s = 0;
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) s += __expf(xr[c] - m);
  s = warp_sum(s);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = s;
  __syncthreads();
  s = 0;
  for (unsigned w = 0; w < blockDim.x / 32; ++w) s += part[w];
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) y[blockIdx.x * C + c] = __expf(xr[c] - m) / s;
}

__global__ void scale16(const float* x, float* y, float a, int n) {
  const int i = static_cast<int>(4 * (blockIdx.x * blockDim.x + threadIdx.x));
  if (i >= n) return;
  float4 v = load16<float4>(x + i);
  v.x *= a, v.y *= a, v.z *= a, v.w *= a;
  store16(y + i, v);
}

__global__ void reverse_dynamic(float* x) {
  GRADUS_DYN_SHARED(float, s);
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = s[blockDim.x - 1 - threadIdx.x];
}

}  // namespace

Floats softmax(const Floats& x, int rows, int columns) {
  const OnDevice<float> in(x), out(x.size());
  launch(softmax_rows<float>, {"softmax", rows, 256}, in, out, columns);
  return out.host();
}
Floats scale(const Floats& x, float a) {
  const OnDevice<float> in(x), out(x.size());
  const auto n = static_cast<int>(x.size());
  launch(scale16, {"scale", (n / 4 + 255) / 256, 256}, in, out, a, n);
  return out.host();
}
Floats reverse_block(const Floats& x) {
  const OnDevice<float> in(x);
  launch(reverse_dynamic, {"reverse", 1, static_cast<int64_t>(x.size()), x.size() * sizeof(float)}, in);
  return in.host();
}
double reverse_block_seconds(const Floats& x) {
  const OnDevice<float> in(x);
  const auto before = std::chrono::steady_clock::now();
  launch(reverse_dynamic, {"reverse", 1, static_cast<int64_t>(x.size()), x.size() * sizeof(float)}, in);
  cudaDeviceSynchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
}

}  // namespace emulation_test
