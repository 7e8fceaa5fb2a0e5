// The CUDA runtime of the emulated device. Work is done when it is asked for: every stream is up to date at all times.
#include <sys/mman.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "engine.hpp"

namespace gradus::emu {
struct Stream {};
struct Event {
  std::chrono::steady_clock::time_point time;
};
namespace {
thread_local cudaError_t last_error = cudaSuccess;
cudaError_t keep(cudaError_t e) {
  if (e != cudaSuccess) last_error = e;
  return e;
}
std::mutex memory_mutex;
std::map<char*, std::size_t> allocations;
}  // namespace

cudaError_t allocate(void** p, std::size_t bytes, std::source_location) {
  if (bytes == 0) return *p = nullptr, cudaSuccess;
  *p = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (!*p) return keep(cudaErrorMemoryAllocation);
  std::memset(*p, 0xff, bytes);
  const std::lock_guard lock(memory_mutex);
  allocations[static_cast<char*>(*p)] = bytes;
  return cudaSuccess;
}
cudaError_t allocate_host(void** p, std::size_t bytes, std::source_location) {
  *p = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  return *p ? cudaSuccess : keep(cudaErrorMemoryAllocation);
}
HostAccess::HostAccess() {}
HostAccess::~HostAccess() {}
cudaError_t release(void* p, std::source_location) {
  if (!p) return cudaSuccess;
  const std::lock_guard lock(memory_mutex);
  if (allocations.erase(static_cast<char*>(p)) == 0) return keep(cudaErrorInvalidValue);
  std::free(p);
  return cudaSuccess;
}
}  // namespace gradus::emu

using namespace gradus::emu;

cudaError_t cudaFreeAsync(void* p, cudaStream_t, std::source_location at) { return release(p, at); }
cudaError_t cudaFreeHost(void* p) { return std::free(p), cudaSuccess; }
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  if (bytes) std::memmove(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  return cudaMemcpy(to, from, bytes, kind);
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                              std::size_t height, cudaMemcpyKind kind, cudaStream_t) {
  for (std::size_t r = 0; r < height; ++r)
    cudaMemcpy(static_cast<char*>(to) + r * to_pitch, static_cast<const char*>(from) + r * from_pitch, width, kind);
  return cudaSuccess;
}
cudaError_t cudaMemset(void* p, int value, std::size_t bytes) {
  if (bytes) std::memset(p, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t) { return cudaMemset(p, value, bytes); }
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  return *free_bytes = *total_bytes = std::size_t{16} << 30, cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* a, const void* p) {
  *a = {cudaMemoryTypeUnregistered, 0, nullptr, const_cast<void*>(p)};
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }
const char* cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDevicePointer: return "cudaErrorInvalidDevicePointer";
    case cudaErrorInvalidMemcpyDirection: return "cudaErrorInvalidMemcpyDirection";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle: return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady: return "cudaErrorNotReady";
    case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
    case cudaErrorCooperativeLaunchTooLarge: return "cudaErrorCooperativeLaunchTooLarge";
    case cudaErrorNotSupported: return "cudaErrorNotSupported";
  }
  return "unknown error";
}
const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInvalidDevicePointer: return "invalid device pointer";
    case cudaErrorInvalidMemcpyDirection: return "invalid copy direction for memcpy";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
    case cudaErrorCooperativeLaunchTooLarge: return "too many blocks in cooperative launch";
    case cudaErrorNotSupported: return "operation not supported";
  }
  return "unrecognized error code";
}

cudaError_t cudaStreamCreate(cudaStream_t* s) { return *s = new Stream, cudaSuccess; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) { return cudaStreamCreate(s); }
cudaError_t cudaStreamDestroy(cudaStream_t s) { return delete s, cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamQuery(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaEventCreate(cudaEvent_t* e) { return *e = new Event, cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) { return cudaEventCreate(e); }
cudaError_t cudaEventDestroy(cudaEvent_t e) { return delete e, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t) { return e->time = std::chrono::steady_clock::now(), cudaSuccess; }
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to) {
  return *ms = std::chrono::duration<float, std::milli>(to->time - from->time).count(), cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : keep(cudaErrorInvalidDevice); }
cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (device != 0) return keep(cudaErrorInvalidDevice);
  *p = {};
  std::snprintf(p->name, sizeof p->name, "gradus emulated device");
  p->totalGlobalMem = std::size_t{16} << 30;
  int v = 0;
  cudaDeviceGetAttribute(&v, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
  p->sharedMemPerBlock = 48 * 1024, p->sharedMemPerBlockOptin = static_cast<std::size_t>(v);
  p->warpSize = 32, p->maxThreadsPerBlock = 1024, p->multiProcessorCount = 8, p->maxThreadsPerMultiProcessor = 2048;
  p->major = options().arch / 10, p->minor = options().arch % 10;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* v, cudaDeviceAttr a, int device) {
  if (device != 0) return keep(cudaErrorInvalidDevice);
  const int arch = options().arch;
  switch (a) {
    case cudaDevAttrMaxThreadsPerBlock: return *v = 1024, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock: return *v = 48 * 1024, cudaSuccess;
    case cudaDevAttrWarpSize: return *v = 32, cudaSuccess;
    case cudaDevAttrMultiProcessorCount: return *v = 8, cudaSuccess;
    case cudaDevAttrMaxThreadsPerMultiProcessor: return *v = 2048, cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor: return *v = arch / 10, cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: return *v = arch % 10, cudaSuccess;
    case cudaDevAttrCooperativeLaunch: return *v = 1, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: return *v = (arch >= 90 ? 227 : arch >= 80 ? 163 : 96) * 1024, cudaSuccess;
    case cudaDevAttrMemoryPoolsSupported: return *v = 1, cudaSuccess;
  }
  return keep(cudaErrorInvalidValue);
}
cudaError_t cudaDriverGetVersion(int* version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 13000, cudaSuccess; }
