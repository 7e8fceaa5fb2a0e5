// The CUDA runtime of the emulated device. Work is done when it is asked for: every stream is up to date at all times.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <utility>

#include "checks.hpp"
#include "memory.hpp"

namespace gradus::emu {
struct Stream {};
struct Event {
  std::chrono::steady_clock::time_point time;
  bool pending = false;
};
namespace {

thread_local cudaError_t last_error = cudaSuccess;

// GRADUS_EMU_LAZY_STREAMS: work waits here, in the order it was asked for, until the host synchronises with any stream.
// A host that forgets to finds old data.
std::mutex waiting_mutex;
std::deque<std::function<void()>> waiting;

void submit(std::function<void()> work) {
  if (!options().lazy) return work();
  const std::lock_guard lock(waiting_mutex);
  waiting.push_back(std::move(work));
}
thread_local bool draining = false;
void drain() {
  if (draining) return;                                    // asked for by work that is being done
  draining = true;
  const struct Done {
    ~Done() { draining = false; }
  } done;
  for (;;) {
    std::function<void()> work;
    {
      const std::lock_guard lock(waiting_mutex);
      if (waiting.empty()) return;
      work = std::move(waiting.front());
      waiting.pop_front();
    }
    work();
  }
}

bool direction_is_right(void* to, const void* from, cudaMemcpyKind kind) {
  switch (kind) {
    case cudaMemcpyHostToHost: return !on_device(to) && !on_device(from);
    case cudaMemcpyHostToDevice: return on_device(to) && !on_device(from);
    case cudaMemcpyDeviceToHost: return !on_device(to) && on_device(from);
    case cudaMemcpyDeviceToDevice: return on_device(to) && on_device(from);
    default: return true;
  }
}

}  // namespace

cudaError_t keep_error(cudaError_t e) {
  if (e != cudaSuccess) last_error = e;
  return e;
}
HostAccess::Finished::Finished() { drain(); }
HostAccess::HostAccess() = default;
cudaError_t launch_or_queue(const LaunchInfo& info) {
  if (!options().lazy || running_thread) return keep_error(run(info));
  if (const cudaError_t e = check_launch(info); e != cudaSuccess) return keep_error(e);
  std::vector<char> parameters(static_cast<const char*>(info.parameters), static_cast<const char*>(info.parameters) + info.parameter_bytes);
  submit([info = LaunchInfo(info), parameters = std::move(parameters)]() mutable {
    info.parameters = parameters.data();
    run(info);
  });
  return cudaSuccess;
}
}  // namespace gradus::emu

using namespace gradus::emu;

cudaError_t cudaFreeAsync(void* p, cudaStream_t, std::source_location at) {
  if (!options().lazy) return release(p, at);
  submit([=] { release(p, at); });
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* p) {
  drain();
  return release_host(p);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t, std::source_location at) {
  if (bytes == 0) return cudaSuccess;
  if (!direction_is_right(to, from, kind)) return keep_error(cudaErrorInvalidValue);
  const auto copy = [at](void* t, const void* f, std::size_t n) {
    check_range(t, n, "the destination of a copy", at);
    check_range(f, n, "the source of a copy", at);
    const DeviceAccess access;
    std::memmove(t, f, n);
  };
  if (!options().lazy) return copy(to, from, bytes), cudaSuccess;
  // From pageable host memory CUDA takes the bytes before it returns; into it, it waits.
  if (!on_device(from) && !on_pinned_host(from, bytes)) {
    std::vector<char> now(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
    submit([=, now = std::move(now)] { copy(to, now.data(), bytes); });
    return cudaSuccess;
  }
  submit([=] { copy(to, from, bytes); });
  if (!on_device(to) && !on_pinned_host(to, bytes)) drain();
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, std::source_location at) {
  const cudaError_t e = cudaMemcpyAsync(to, from, bytes, kind, nullptr, at);
  drain();
  return e;
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                              std::size_t height, cudaMemcpyKind kind, cudaStream_t stream, std::source_location at) {
  for (std::size_t r = 0; r < height; ++r)
    if (const cudaError_t e = cudaMemcpyAsync(static_cast<char*>(to) + r * to_pitch, static_cast<const char*>(from) + r * from_pitch, width, kind, stream, at);
        e != cudaSuccess)
      return e;
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t, std::source_location at) {
  if (bytes == 0) return cudaSuccess;
  if (!on_device(p)) return keep_error(cudaErrorInvalidValue);
  submit([=] {
    check_range(p, bytes, "a memset", at);
    const DeviceAccess access;
    std::memset(p, value, bytes);
  });
  return cudaSuccess;
}
cudaError_t cudaMemset(void* p, int value, std::size_t bytes, std::source_location at) {
  const cudaError_t e = cudaMemsetAsync(p, value, bytes, nullptr, at);
  drain();
  return e;
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  *total_bytes = kDeviceBytes, *free_bytes = kDeviceBytes - live_device_bytes();
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* a, const void* p) {
  void* q = const_cast<void*>(p);
  if (on_device(p)) *a = {cudaMemoryTypeDevice, 0, q, nullptr};
  else if (on_pinned_host(p, 1)) *a = {cudaMemoryTypeHost, 0, q, q};
  else *a = {cudaMemoryTypeUnregistered, 0, nullptr, q};
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
    case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
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
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
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
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  drain();
  return delete s, cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return drain(), cudaSuccess; }
cudaError_t cudaStreamQuery(cudaStream_t) {
  const std::lock_guard lock(waiting_mutex);
  return waiting.empty() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }   // all streams keep one order
cudaError_t cudaEventCreate(cudaEvent_t* e) { return *e = new Event, cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) { return cudaEventCreate(e); }
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  if (e && e->pending) drain();
  return delete e, cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t) {
  e->pending = true;
  submit([e] { e->pending = false, e->time = std::chrono::steady_clock::now(); });
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t e) { return e->pending ? cudaErrorNotReady : cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  if (e->pending) drain();
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to) {
  return *ms = std::chrono::duration<float, std::milli>(to->time - from->time).count(), cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() { return drain(), cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : keep_error(cudaErrorInvalidDevice); }
cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (device != 0) return keep_error(cudaErrorInvalidDevice);
  *p = {};
  std::snprintf(p->name, sizeof p->name, "gradus emulated device");
  p->totalGlobalMem = kDeviceBytes;
  int v = 0;
  cudaDeviceGetAttribute(&v, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
  p->sharedMemPerBlock = 48 * 1024, p->sharedMemPerBlockOptin = static_cast<std::size_t>(v);
  p->warpSize = 32, p->maxThreadsPerBlock = 1024, p->multiProcessorCount = 8, p->maxThreadsPerMultiProcessor = 2048;
  p->major = options().arch / 10, p->minor = options().arch % 10;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* v, cudaDeviceAttr a, int device) {
  if (device != 0) return keep_error(cudaErrorInvalidDevice);
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
  return keep_error(cudaErrorInvalidValue);
}
cudaError_t cudaDriverGetVersion(int* version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 13000, cudaSuccess; }
