// The part of the CUDA runtime that gradus uses, for the emulated device. Same names, same values, same meaning.
#pragma once
#include <cstddef>
#include <source_location>

#include "vector_types.hpp"

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDevicePointer = 17,
  cudaErrorInvalidMemcpyDirection = 21,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchFailure = 719,
  cudaErrorCooperativeLaunchTooLarge = 720,
  cudaErrorNotSupported = 801,
};
enum cudaMemcpyKind {
  cudaMemcpyHostToHost = 0,
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3,
  cudaMemcpyDefault = 4
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8, cudaFuncAttributePreferredSharedMemoryCarveout = 9 };
enum cudaDeviceAttr {
  cudaDevAttrMaxThreadsPerBlock = 1,
  cudaDevAttrMaxSharedMemoryPerBlock = 8,
  cudaDevAttrWarpSize = 10,
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrMaxThreadsPerMultiProcessor = 39,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrCooperativeLaunch = 95,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
  cudaDevAttrMemoryPoolsSupported = 115
};
enum cudaMemoryType { cudaMemoryTypeUnregistered = 0, cudaMemoryTypeHost = 1, cudaMemoryTypeDevice = 2 };
struct cudaPointerAttributes {
  cudaMemoryType type;
  int device;
  void* devicePointer;
  void* hostPointer;
};
struct cudaDeviceProp {
  char name[256];
  std::size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerBlockOptin;
  int warpSize, maxThreadsPerBlock, multiProcessorCount, major, minor, maxThreadsPerMultiProcessor;
};
namespace gradus::emu {
struct Stream;
struct Event;
}  // namespace gradus::emu
using cudaStream_t = gradus::emu::Stream*;
using cudaEvent_t = gradus::emu::Event*;
inline constexpr unsigned cudaStreamDefault = 0, cudaStreamNonBlocking = 1, cudaEventDefault = 0, cudaEventDisableTiming = 2,
                          cudaHostAllocDefault = 0;

// ---- memory; the place of the call is kept for reports of leaks and of use after free ----
namespace gradus::emu {
cudaError_t allocate(void** p, std::size_t bytes, std::source_location at);
cudaError_t allocate_host(void** p, std::size_t bytes, std::source_location at);
cudaError_t release(void* p, std::source_location at);
}  // namespace gradus::emu
template <class T> cudaError_t cudaMalloc(T** p, std::size_t bytes, GRADUS_EMU_AT) {
  return gradus::emu::allocate(reinterpret_cast<void**>(p), bytes, at);
}
template <class T> cudaError_t cudaMallocAsync(T** p, std::size_t bytes, cudaStream_t, GRADUS_EMU_AT) {
  return gradus::emu::allocate(reinterpret_cast<void**>(p), bytes, at);
}
template <class T> cudaError_t cudaMallocHost(T** p, std::size_t bytes, GRADUS_EMU_AT) {
  return gradus::emu::allocate_host(reinterpret_cast<void**>(p), bytes, at);
}
template <class T> cudaError_t cudaHostAlloc(T** p, std::size_t bytes, unsigned, GRADUS_EMU_AT) {
  return gradus::emu::allocate_host(reinterpret_cast<void**>(p), bytes, at);
}
inline cudaError_t cudaFree(void* p, GRADUS_EMU_AT) { return gradus::emu::release(p, at); }
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream, GRADUS_EMU_AT);
cudaError_t cudaFreeHost(void* p);
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, GRADUS_EMU_AT);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream = nullptr, GRADUS_EMU_AT);
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                              std::size_t height, cudaMemcpyKind kind, cudaStream_t stream = nullptr, GRADUS_EMU_AT);
cudaError_t cudaMemset(void* p, int value, std::size_t bytes, GRADUS_EMU_AT);
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream = nullptr, GRADUS_EMU_AT);
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes);
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p);

namespace gradus::emu {
/// Lets host code read and write device memory while it lives, on this host thread.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
};
/// The same for what stands in for a library's kernels (cuBLAS): work that was asked for before is done first.
class HostAccess {
 public:
  HostAccess();

 private:
  struct Finished {
    Finished();
  } finished_;
  DeviceAccess access_;
};
}  // namespace gradus::emu

// ---- errors ----
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
const char* cudaGetErrorString(cudaError_t e);
const char* cudaGetErrorName(cudaError_t e);

// ---- streams and events ----
cudaError_t cudaStreamCreate(cudaStream_t* stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaEventCreate(cudaEvent_t* event);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to);

// ---- the device ----
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);

namespace gradus::emu {
cudaError_t allow_shared(const void* kernel, std::size_t bytes);
cudaError_t resident_blocks(int* blocks, int threads, std::size_t shared);
}  // namespace gradus::emu
template <class F> cudaError_t cudaFuncSetAttribute(F* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;       // hints have no effect here
  return gradus::emu::allow_shared(reinterpret_cast<const void*>(kernel), static_cast<std::size_t>(value));
}
template <class F>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, F*, int threads, std::size_t shared) {
  return gradus::emu::resident_blocks(blocks, threads, shared);
}
