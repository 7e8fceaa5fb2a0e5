// Access patterns whose cost is known: bank conflicts, sectors. And a kernel that shows whether the host waited.
#include "device_memory.cuh"
#include "lint.hpp"

namespace emulation_test {
namespace {

__global__ void patterns(const float* x, float* y) {
  GRADUS_SHARED(float, s, [32][32]);
  for (int r = 0; r < 32; ++r) s[r][threadIdx.x] = x[r * 32 + threadIdx.x];       // mark: rows
  __syncthreads();
  float sum = 0;
  for (int r = 0; r < 32; ++r) sum += s[threadIdx.x][r];                          // mark: columns
  y[threadIdx.x] = sum;
  sum += x[threadIdx.x * 32];                                                     // mark: strided
  y[threadIdx.x] += sum;
}
/// Half of the lanes copy; the others fill with zeros and read nothing.
__global__ void copies(const float* x, float* y) {
  GRADUS_SHARED16(float, s, [2][128]);
  for (int r = 0; r < 2; ++r)
    copy_async16(&s[r][threadIdx.x * 4], x + threadIdx.x * 4, r == 0 || threadIdx.x < 16);   // mark: copy
  copy_async_commit();
  copy_async_wait<0>();
  __syncthreads();
  y[threadIdx.x] = s[0][threadIdx.x] + s[1][threadIdx.x];
}
__global__ void set_to(float* x, float v) { x[threadIdx.x] = v; }

}  // namespace

void run_patterns() {
  const OnDevice<float> x(Floats(1024, 1.0f)), y(32);
  launch(patterns, {"patterns", 1, 32}, x, y);
  launch(copies, {"copies", 1, 32}, x, y);
}

float read_after_launch(bool wait) {
  float *device = nullptr, *host = nullptr;
  cudaStream_t stream = nullptr;
  cudaEvent_t done = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  cudaEventCreate(&done);
  cudaMalloc(&device, 32 * sizeof(float));
  cudaMallocHost(&host, 32 * sizeof(float));
  host[0] = -1;
  launch(set_to, {"set", 1, 32, 0, stream}, device, 7.0f);
  cudaMemcpyAsync(host, device, 32 * sizeof(float), cudaMemcpyDeviceToHost, stream);
  cudaEventRecord(done, stream);
  if (wait) cudaEventSynchronize(done);
  const float seen = host[0];
  cudaStreamSynchronize(stream);
  cudaEventDestroy(done);
  cudaStreamDestroy(stream);
  cudaFree(device);
  cudaFreeHost(host);
  return seen;
}

}  // namespace emulation_test
