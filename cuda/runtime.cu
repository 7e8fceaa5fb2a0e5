// Devices, streams, events, errors, and copies between host and device.
#include <cstdlib>
#include <deque>
#include <mutex>
#include <vector>

#include <gradus/core/accesses.hpp>

#ifdef GRADUS_CUDA_EMULATED
#include "emulation/checks.hpp"                    // before the names of CUDA become macros, __noinline__ among them
#include "emulation/lint.hpp"
#endif
#include "kernel.cuh"

namespace gradus {
namespace kernels::cu {

namespace {
int selected_device = 0;
thread_local int device_of_thread = 0;
thread_local cudaStream_t stream_of_thread = nullptr;      // nullptr: the default stream
std::string last_result() {
  const auto& c = gradus::detail::device_context;
  return describe(c.dtype, DeviceKind::cuda, c.shape);
}
bool waits_after_launches() {
  static const bool on = [] {
    const char* v = std::getenv("GRADUS_CUDA_SYNC");
    return v && *v && *v != '0';
  }();
  return on;
}
}  // namespace

cudaStream_t current_stream() {
  if (device_of_thread != selected_device) {               // which device is current is each thread's own in CUDA
    check(cudaSetDevice(selected_device), "selecting the device");
    device_of_thread = selected_device;
  }
  return stream_of_thread;
}

void check(cudaError_t error, const char* op) {
  if (error == cudaSuccess) return;
  (void)cudaGetLastError();                                // an error that does not stick is forgotten; one that does stays
  const char* hint = waits_after_launches() ? "" : "; an earlier kernel may be the cause: GRADUS_CUDA_SYNC=1 checks after each";
  fail(op, std::string("the device reports ") + cudaGetErrorName(error),
       {{"error", cudaGetErrorString(error) + std::string(hint)}, {"result", last_result()}}, "",
       gradus::detail::device_context.at);
}
LaunchConfig launch_of(const char* op, const Grid& g) {
  return {op, {g.blocks, g.y, g.z}, g.threads, g.shared, current_stream(), gradus::detail::device_context.at};
}
void launched(const char* op) {
  gradus::detail::count(gradus::detail::counters.launches);
  if (waits_after_launches()) check(cudaStreamSynchronize(current_stream()), op);
}

}  // namespace kernels::cu

using kernels::cu::check;
using kernels::cu::current_stream;

// ---- staging: copies pass through pinned memory, which the device reads and writes while the host goes on -------------------

namespace {

constexpr std::size_t kStage = std::size_t{4} << 20;

/// A pinned buffer, and when the device is done with it.
struct Stage {
  void* data = nullptr;
  cudaEvent_t done = nullptr;
};
struct Stages {
  std::mutex mutex;
  std::deque<Stage> idle;               // in the order of their last use

  static Stages& get() {
    static auto* stages = new Stages;   // never destroyed: the driver may be gone before it
    return *stages;
  }
  Stage take() {
    {
      const std::lock_guard lock(mutex);
      if (!idle.empty() && (idle.size() >= 4 || cudaEventQuery(idle.front().done) == cudaSuccess)) {
        const Stage s = idle.front();
        idle.pop_front();
        check(cudaEventSynchronize(s.done), "staging");
        return s;
      }
    }
    (void)cudaGetLastError();           // cudaErrorNotReady is no error
    Stage s;
    check(cudaMallocHost(&s.data, kStage), "staging");
    check(cudaEventCreateWithFlags(&s.done, cudaEventDisableTiming), "staging");
    return s;
  }
  void give(const Stage& s) {
    check(cudaEventRecord(s.done, current_stream()), "staging");
    const std::lock_guard lock(mutex);
    idle.push_back(s);
  }
};

}  // namespace

namespace detail {

void copy_to_device(void* device, const void* host, std::size_t bytes) {
  count(counters.to_device), count(counters.to_device_bytes, static_cast<int64_t>(bytes));
  for (std::size_t at = 0; at < bytes; at += kStage) {
    const std::size_t n = bytes - at < kStage ? bytes - at : kStage;
    const Stage s = Stages::get().take();
    std::memcpy(s.data, static_cast<const char*>(host) + at, n);
    check(cudaMemcpyAsync(static_cast<char*>(device) + at, s.data, n, cudaMemcpyHostToDevice, current_stream()),
          "copy to the device");
    Stages::get().give(s);
  }
}
void copy_to_host(void* host, const void* device, std::size_t bytes) {
  count(counters.to_host), count(counters.to_host_bytes, static_cast<int64_t>(bytes)), count(counters.synchronizations);
  // Two pieces in flight: one is copied out of its buffer while the device fills the other.
  struct Piece {
    Stage stage;
    std::size_t at, n;
  };
  std::deque<Piece> flying;
  const auto land = [&] {
    const Piece p = flying.front();
    flying.pop_front();
    check(cudaEventRecord(p.stage.done, current_stream()), "copy to the host");
    check(cudaEventSynchronize(p.stage.done), "copy to the host");
    std::memcpy(static_cast<char*>(host) + p.at, p.stage.data, p.n);
    Stages::get().give(p.stage);
  };
  for (std::size_t at = 0; at < bytes; at += kStage) {
    const std::size_t n = bytes - at < kStage ? bytes - at : kStage;
    flying.push_back({Stages::get().take(), at, n});
    check(cudaMemcpyAsync(flying.back().stage.data, static_cast<const char*>(device) + at, n, cudaMemcpyDeviceToHost,
                          current_stream()),
          "copy to the host");
    if (flying.size() == 2) land();
  }
  while (!flying.empty()) land();
}

}  // namespace detail

// ---- devices
// ------------------------------------------------------------------------------------------------------------------

namespace cuda {

namespace {
cudaStream_t as_stream(void* p) { return static_cast<cudaStream_t>(p); }
cudaEvent_t as_event(void* p) { return static_cast<cudaEvent_t>(p); }
}  // namespace

int device_count() {
  int n = 0;
  if (cudaGetDeviceCount(&n) != cudaSuccess) return (void)cudaGetLastError(), 0;
  return n;
}

std::string unavailable_reason() {
  int n = 0, driver = 0, runtime = 0;
  const cudaError_t error = cudaGetDeviceCount(&n);
  if (error == cudaSuccess && n > 0) return "";
  (void)cudaGetLastError();
  (void)cudaDriverGetVersion(&driver), (void)cudaRuntimeGetVersion(&runtime);
  const auto version = [](int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); };
  const std::string emulated = "; a build with GRADUS_CUDA=EMULATED needs neither";
  if (driver == 0) return "no NVIDIA driver is loaded (nvidia-smi would show it)" + emulated;
  if (error == cudaErrorInsufficientDriver)
    return "the driver is for CUDA " + version(driver) + ", this build's toolkit is CUDA " + version(runtime) +
           ": update the driver, or build with an older toolkit" + emulated;
  if (error == cudaErrorNoDevice || n == 0)
    return "the driver finds no GPU (CUDA_VISIBLE_DEVICES hides it, or there is none)" + emulated;
  return cudaGetErrorString(error) + emulated;
}

DeviceInfo device_info(Where at) {
  cudaDeviceProp p;
  if (const std::string why = unavailable_reason(); !why.empty())
    fail("cuda::device_info", "no device", {{"why", why}}, "", at);
  check(cudaGetDeviceProperties(&p, kernels::cu::selected_device), "cuda::device_info");
  DeviceInfo d;
  d.name = p.name, d.index = kernels::cu::selected_device, d.arch = p.major * 10 + p.minor;
  d.multiprocessors = p.multiProcessorCount, d.max_shared_bytes = static_cast<int>(p.sharedMemPerBlockOptin);
  d.memory = static_cast<int64_t>(p.totalGlobalMem);
#ifdef GRADUS_CUDA_EMULATED
  d.emulated = true;
#endif
  return d;
}

std::vector<AccessCount> count_accesses(const std::function<void()>& launch, Where at) {
#ifdef GRADUS_CUDA_EMULATED
  (void)at;
  struct Counting {                    // ends also when launch() throws
    const bool before = emu::options().lint;
    Counting() { emu::lint_reset(), emu::options().lint = true; }
    ~Counting() { emu::options().lint = before; }
  };
  {
    const Counting counting;
    launch();
  }
  std::vector<AccessCount> counts;
  for (const emu::LintLine& l : emu::lint_lines()) counts.push_back({l.place, l.shared, l.kind != emu::Kind::read, l.requests, l.passes, l.best});
  return counts;
#else
  (void)launch;
  fail("cuda::count_accesses", "a GPU does not count accesses", {{"device", device_info(at).name}},
       "a build with GRADUS_CUDA=EMULATED, or a profiler: ncu --section MemoryWorkloadAnalysis", at);
#endif
}
void select_device(int index, Where at) {
  if (index == kernels::cu::selected_device) return;
  if (index < 0 || index >= device_count())
    fail("cuda::select_device", "no such device",
         {{"index", std::to_string(index)}, {"devices", std::to_string(device_count())}}, "", at);
  if (memory_stats(Cuda{}).from_system > 0)
    fail("cuda::select_device", "the device is in use", {{"index", std::to_string(index)}, {"memory", memory_report(Cuda{})}},
         "a choice before the first tensor on the device", at);
  kernels::cu::selected_device = index;
  (void)current_stream();
}

void synchronize(Where at) {
  gradus::detail::count(gradus::detail::counters.synchronizations);
  gradus::detail::device_context.at = at;
  check(cudaDeviceSynchronize(), "cuda::synchronize");
}

Stream::Stream(Where at) {
  gradus::detail::device_context.at = at;
  cudaStream_t s;
  check(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "Stream");
  handle_ = s;
}
Stream::~Stream() {
  (void)cudaStreamSynchronize(as_stream(handle_));
  gradus::detail::adopt_blocks_of(handle_);
  (void)cudaStreamDestroy(as_stream(handle_));
}
void Stream::synchronize(Where at) const {
  gradus::detail::count(gradus::detail::counters.synchronizations);
  gradus::detail::device_context.at = at;
  check(cudaStreamSynchronize(as_stream(handle_)), "Stream::synchronize");
}

Event::Event(Where at) {
  gradus::detail::device_context.at = at;
  cudaEvent_t e;
  check(cudaEventCreateWithFlags(&e, cudaEventDefault), "Event");
  handle_ = e;
}
Event::~Event() { (void)cudaEventDestroy(as_event(handle_)); }
void Event::record(Where at) {
  gradus::detail::device_context.at = at;
  check(cudaEventRecord(as_event(handle_), current_stream()), "Event::record");
}
void Event::wait(Where at) const {
  gradus::detail::device_context.at = at;
  check(cudaStreamWaitEvent(current_stream(), as_event(handle_), 0), "Event::wait");
}
void Event::synchronize(Where at) const {
  gradus::detail::count(gradus::detail::counters.synchronizations);
  gradus::detail::device_context.at = at;
  check(cudaEventSynchronize(as_event(handle_)), "Event::synchronize");
}
double Event::elapsed_since(const Event& start, Where at) const {
  gradus::detail::device_context.at = at;
  float ms = 0;
  check(cudaEventElapsedTime(&ms, as_event(start.handle_), as_event(handle_)), "Event::elapsed_since");
  return static_cast<double>(ms);
}

StreamGuard::StreamGuard(const Stream& s) : before_(kernels::cu::stream_of_thread) {
  kernels::cu::stream_of_thread = as_stream(s.handle());
}
StreamGuard::~StreamGuard() { kernels::cu::stream_of_thread = as_stream(before_); }

}  // namespace cuda
}  // namespace gradus
