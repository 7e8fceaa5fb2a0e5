// The host's side of a Cuda device: which one, streams, events, copies, and the caching allocator of its memory.
// Defined in cuda/runtime.cu and cuda/allocator.cu; nothing here needs the CUDA headers.
//
// Kernels, copies and memory are ordered by the calling thread's current stream (the default stream until a StreamGuard says
// otherwise). A freed block may be given to the next tensor of the same stream at once, because that tensor's kernels come
// later in the stream; freed while another stream is current, it waits for what that stream has been given so far.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include <gradus/core/error.hpp>
#include <gradus/core/memory.hpp>
#include <gradus/core/stats.hpp>

namespace gradus {

/// Bytes of tensors on the device, as memory_stats() for the host. `cached` is what is kept for reuse, `largest_free` its
/// largest block.
struct DeviceMemory {
  int64_t live = 0, peak = 0, cached = 0, largest_free = 0, allocations = 0, from_system = 0, device_free = 0, device_total = 0;
  /// Share of the kept bytes that no request for the largest kept block could use.
  double fragmentation() const { return cached > 0 ? 1 - static_cast<double>(largest_free) / static_cast<double>(cached) : 0; }
};
DeviceMemory memory_stats(Cuda);
/// The same as text, one line.
std::string memory_report(Cuda);
void reset_peak_memory(Cuda);
/// Gives cached blocks back to the device; waits for it.
void empty_cache(Cuda);
/// At most this many bytes of tensors and cache; 0 takes the limit away. A request beyond it is the out-of-memory error.
void set_memory_limit(Cuda, int64_t bytes);

namespace cuda {

struct DeviceInfo {
  std::string name;
  int index = 0, arch = 0;              ///< arch: 90 for compute capability 9.0
  int multiprocessors = 0, max_shared_bytes = 0;
  int64_t memory = 0;
  bool emulated = false;
};
/// Number of devices; 0 without a usable one (why: see unavailable_reason()).
int device_count();
/// Empty when a device can be used; otherwise what is missing: the driver, the device, or a toolkit that fits the driver.
std::string unavailable_reason();
DeviceInfo device_info(Where at = Where::current());
/// The device of this process; before its first use, because memory stays where it was allocated.
void select_device(int index, Where at = Where::current());
/// Whether freed memory is kept for reuse. Off, every tensor is an allocation of its own: slow on a GPU, and the emulated
/// device's default, because it then sees accesses outside of a tensor. Also: GRADUS_CUDA_CACHE=0 or 1 in the environment.
void set_caching(bool on);
/// Waits until everything given to the device is done; reports errors of kernels that ran.
void synchronize(Where at = Where::current());

/// An order of execution of its own on the device.
class Stream {
 public:
  explicit Stream(Where at = Where::current());
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  void synchronize(Where at = Where::current()) const;
  void* handle() const { return handle_; }   ///< a cudaStream_t
 private:
  void* handle_;
};
/// A point in a stream's order.
class Event {
 public:
  explicit Event(Where at = Where::current());
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  /// Marks the current stream's work so far.
  void record(Where at = Where::current());
  /// The current stream waits for the mark.
  void wait(Where at = Where::current()) const;
  /// The host waits for the mark.
  void synchronize(Where at = Where::current()) const;
  /// Milliseconds from the mark of `start` to this one, both done.
  double elapsed_since(const Event& start, Where at = Where::current()) const;
 private:
  void* handle_;
};
/// Makes `s` the thread's current stream while it lives.
class StreamGuard {
 public:
  explicit StreamGuard(const Stream& s);
  ~StreamGuard();
  StreamGuard(const StreamGuard&) = delete;
  StreamGuard& operator=(const StreamGuard&) = delete;
 private:
  void* before_;
};

}  // namespace cuda

namespace detail {

/// What the last tensor made on the device by this thread was, and where: kernels are launched without a place in the user's
/// source, and an op's first act is to allocate its result.
struct DeviceContext {
  Where at = {};
  DType dtype = DType::f32;
  Shape shape = {};
};
inline thread_local DeviceContext device_context{};

void* device_alloc(std::size_t bytes, Where at);   ///< aligned to 256; 0 bytes are 256
void device_free(void* p) noexcept;
void adopt_blocks_of(void* stream);
/// Host memory may be reused when it returns; the copy is ordered by the current stream.
void copy_to_device(void* device, const void* host, std::size_t bytes);
/// Waits for the copy.
void copy_to_host(void* host, const void* device, std::size_t bytes);

}  // namespace detail
}  // namespace gradus
