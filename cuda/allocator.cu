// The caching allocator of device memory.
//
// Memory comes from the device in segments: 2 MiB for requests up to 1 MiB, 20 MiB for those up to 10 MiB, and as much as asked
// for (in steps of 2 MiB) above. A segment is cut into blocks, which belong to the stream they were allocated in; a freed block
// joins its free neighbours, and the smallest block that fits serves the next request of that stream, without waiting, because
// the stream orders the new use after the old one. Only when the device has no more are segments that are free as a whole given
// back.
//
// With set_caching(false) (the default of the emulated device) every request goes to the device, which then notices an access
// one element beyond a tensor, and uses after the end of its life.
#include "kernel.cuh"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>
#include <unordered_map>

namespace gradus {
namespace {

using kernels::cu::check;
using kernels::cu::current_stream;

constexpr int64_t kMiB = int64_t{1} << 20, kAlign = 512;

struct Block {
  char* data;
  int64_t bytes;
  cudaStream_t stream;
  Block *before = nullptr, *after = nullptr;    // neighbours in the segment
  bool free = false;
};
struct Smaller {
  bool operator()(const Block* a, const Block* b) const {
    if (a->stream != b->stream) return std::less<>{}(a->stream, b->stream);
    if (a->bytes != b->bytes) return a->bytes < b->bytes;
    return std::less<>{}(a->data, b->data);
  }
};

struct Pool {
  std::mutex mutex;
  std::set<Block*, Smaller> free;
  std::unordered_map<void*, Block*> used;       // by address
  DeviceMemory figures;
  int64_t limit = 0;
  bool caching = [] {
    const char* v = std::getenv("GRADUS_CUDA_CACHE");
    if (v && *v) return *v != '0';
#ifdef GRADUS_CUDA_EMULATED
    return false;
#else
    return true;
#endif
  }();

  static Pool& get() {
    static auto* pool = new Pool;               // never destroyed: tensors with static lifetime may outlive everything
    return *pool;
  }

  /// A segment of the device, or nullptr when there is none.
  Block* from_device(int64_t bytes) {
    if (limit > 0 && figures.from_system + bytes > limit) return nullptr;
    void* p = nullptr;
    if (const cudaError_t error = cudaMalloc(&p, static_cast<std::size_t>(bytes)); error != cudaSuccess) {
      if (error == cudaErrorMemoryAllocation) return (void)cudaGetLastError(), nullptr;
      check(error, "allocation");
    }
    figures.from_system += bytes;
    return new Block{static_cast<char*>(p), bytes, current_stream()};
  }
  void to_device(Block* b) {
    (void)cudaFree(b->data);
    figures.from_system -= b->bytes;
    delete b;
  }
  /// Gives back the segments that are free as a whole; cudaFree waits for the device.
  void release() {
    for (auto it = free.begin(); it != free.end();) {
      Block* b = *it;
      if (b->before || b->after) {
        ++it;
        continue;
      }
      it = free.erase(it);
      figures.cached -= b->bytes;
      to_device(b);
    }
  }

  Block* take(int64_t bytes) {
    const int64_t segment = bytes <= kMiB        ? 2 * kMiB
                            : bytes <= 10 * kMiB ? 20 * kMiB
                                                 : (bytes + 2 * kMiB - 1) / (2 * kMiB) * (2 * kMiB);
    Block want{nullptr, bytes, current_stream()};
    auto it = free.lower_bound(&want);
    Block* b = nullptr;
    // A small request does not break up a block that a large one could use whole.
    if (it != free.end() && (*it)->stream == want.stream && (bytes > kMiB || (*it)->bytes <= 2 * kMiB)) {
      b = *it;
      free.erase(it);
      b->free = false;
      figures.cached -= b->bytes;
    } else {
      b = from_device(segment);
      if (!b) release(), b = from_device(segment);
      if (!b && segment > bytes) b = from_device(bytes);
      if (!b) return nullptr;
    }
    if (const int64_t rest = b->bytes - bytes; rest >= (bytes > kMiB ? kMiB : kAlign)) {
      auto* tail = new Block{b->data + bytes, rest, b->stream, b, b->after, true};
      if (b->after) b->after->before = tail;
      b->after = tail;
      b->bytes = bytes;
      free.insert(tail);
      figures.cached += rest;
    }
    return b;
  }
  void give(Block* b) {
    const auto join = [this](Block* left, Block* right) {     // right disappears
      left->bytes += right->bytes;
      left->after = right->after;
      if (right->after) right->after->before = left;
      delete right;
      return left;
    };
    figures.cached += b->bytes;
    if (Block* l = b->before; l && l->free) free.erase(l), b = join(l, b);
    if (Block* r = b->after; r && r->free) free.erase(r), b = join(b, r);
    b->free = true;
    free.insert(b);
  }
};

std::string in_mb(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}
std::string report_of(const DeviceMemory& m) {
  char share[16];
  std::snprintf(share, sizeof share, "%.0f %%", 100 * m.fragmentation());
  return "cuda: " + in_mb(m.live) + " live, " + in_mb(m.peak) + " peak, " + in_mb(m.cached) + " cached (largest block " +
         in_mb(m.largest_free) + ", " + share + " fragmented), " + in_mb(m.from_system) + " from the device, of whose " +
         in_mb(m.device_total) + " " + in_mb(m.device_free) + " are free, " + std::to_string(m.allocations) + " allocations";
}
DeviceMemory figures_of(Pool& pool) {            // with the lock held
  DeviceMemory m = pool.figures;
  for (const Block* b : pool.free) m.largest_free = b->bytes > m.largest_free ? b->bytes : m.largest_free;
  std::size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) (void)cudaGetLastError();
  m.device_free = static_cast<int64_t>(free), m.device_total = static_cast<int64_t>(total);
  return m;
}

}  // namespace

namespace detail {

void* device_alloc(std::size_t bytes, Where at) {
  Pool& pool = Pool::get();
  const int64_t exact = bytes > 0 ? static_cast<int64_t>(bytes) : 1,
                size = pool.caching ? (exact + kAlign - 1) / kAlign * kAlign : exact;
  std::unique_lock lock(pool.mutex);
  Block* b = pool.caching ? pool.take(size) : pool.from_device(size);
  if (!b) {
    pool.release();
    b = pool.from_device(size);
  }
  if (!b) {
    const DeviceMemory m = figures_of(pool);
    const int64_t limit = pool.limit;
    lock.unlock();
    if (const std::string why = cuda::unavailable_reason(); !why.empty())
      fail("allocation", "no device", {{"why", why}}, "", at);
    fail("allocation", "the device is out of memory",
         {{"asked for", in_mb(exact)},
          {"tensor", describe(device_context.dtype, DeviceKind::cuda, device_context.shape)},
          {"memory", report_of(m)},
          {"limit", limit > 0 ? in_mb(limit) + " (set_memory_limit)" : std::string("none set")}},
         "a smaller batch, checkpoint(), or fewer live tensors", at);
  }
  pool.used.emplace(b->data, b);
  DeviceMemory& m = pool.figures;
  m.live += b->bytes, ++m.allocations;
  m.peak = m.live > m.peak ? m.live : m.peak;
  return b->data;
}

void device_free(void* p) noexcept {
  Pool& pool = Pool::get();
  const std::lock_guard lock(pool.mutex);
  const auto it = pool.used.find(p);
  if (it == pool.used.end()) return;
  Block* b = it->second;
  pool.used.erase(it);
  pool.figures.live -= b->bytes;
  if (!pool.caching && !b->before && !b->after) return pool.to_device(b);
  if (const cudaStream_t last = current_stream(); last != b->stream) {    // the block's stream waits for its last user
    cudaEvent_t e;
    if (cudaEventCreateWithFlags(&e, cudaEventDisableTiming) == cudaSuccess) {
      (void)cudaEventRecord(e, last);
      (void)cudaStreamWaitEvent(b->stream, e, 0);
      (void)cudaEventDestroy(e);
    }
  }
  pool.give(b);
}

/// Blocks of a stream that is gone, and idle, serve the default stream.
void adopt_blocks_of(void* stream) {
  Pool& pool = Pool::get();
  const std::lock_guard lock(pool.mutex);
  std::set<Block*, Smaller> all;
  all.swap(pool.free);
  for (auto& [address, b] : pool.used)
    if (b->stream == static_cast<cudaStream_t>(stream)) b->stream = nullptr;
  for (Block* b : all) {
    if (b->stream == static_cast<cudaStream_t>(stream)) b->stream = nullptr;
    pool.free.insert(b);
  }
}

}  // namespace detail

DeviceMemory memory_stats(Cuda) {
  Pool& pool = Pool::get();
  const std::lock_guard lock(pool.mutex);
  return figures_of(pool);
}
std::string memory_report(Cuda) { return report_of(memory_stats(Cuda{})); }
void reset_peak_memory(Cuda) {
  Pool& pool = Pool::get();
  const std::lock_guard lock(pool.mutex);
  pool.figures.peak = pool.figures.live;
}
void empty_cache(Cuda) {
  Pool& pool = Pool::get();
  const std::lock_guard lock(pool.mutex);
  pool.release();
}
void set_memory_limit(Cuda, int64_t bytes) {
  Pool& pool = Pool::get();
  const std::lock_guard lock(pool.mutex);
  pool.limit = bytes;
}
void cuda::set_caching(bool on) {
  Pool& pool = Pool::get();
  const std::lock_guard lock(pool.mutex);
  pool.caching = on;
}

}  // namespace gradus
