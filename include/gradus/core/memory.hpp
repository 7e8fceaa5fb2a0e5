// The caching allocator of host memory, and reference counts.
//
// Blocks up to 64 KiB come from free lists of the calling thread (size classes: steps of 64 bytes up to 1 KiB, then four
// per doubling); larger ones from a shared best-fit cache on huge pages. Freed blocks are kept for reuse: a training step
// asks for the same sizes again and again, and a fresh page costs a page fault for every 4 KiB.
// memory_report() gives the figures, empty_cache() returns what is kept to the system. After trace_memory(true) the figures
// are also kept for each operator and the line that called it.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <utility>
#include <vector>
#if defined(__has_include)
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define GRADUS_SINGLE_THREADED __libc_single_threaded
#endif
#endif
#ifndef GRADUS_SINGLE_THREADED
#define GRADUS_SINGLE_THREADED 0
#endif

#include <gradus/core/config.hpp>

namespace gradus {

/// Bytes of tensor storage on a device. `live`: in use; `peak`: the largest `live` since reset_peak_memory(); `cached`: kept for reuse.
struct MemoryStats {
  int64_t live = 0, peak = 0, cached = 0, allocations = 0, from_system = 0;
};
MemoryStats memory_stats();
/// The same as text, one line; while memory is traced, the operators that held most follow, one a line.
std::string memory_report();
/// Bytes of tensors that one operator made for one line of the program.
struct MemoryOfOp {
  std::string op, where;
  int64_t live = 0, peak = 0, allocations = 0;
};
/// From now on counts the memory of tensors for each operator and calling line, or stops to; starting forgets earlier figures. Costs
/// some 100 ns an allocation while it is on, a predicted branch when it is off.
void trace_memory(bool on);
/// The figures, largest peak first; empty unless trace_memory(true) was called.
std::vector<MemoryOfOp> memory_by_op();
void reset_peak_memory();
/// Gives cached blocks back to the system.
void empty_cache();

namespace detail {

// A count that is atomic only once the process has more than one thread.
inline void count_up(uint32_t& n) {
  if (GRADUS_SINGLE_THREADED) ++n;
  else __atomic_fetch_add(&n, 1u, __ATOMIC_RELAXED);
}
inline bool count_down(uint32_t& n) {  // true when it reaches zero
  if (GRADUS_SINGLE_THREADED) return --n == 0;
  return __atomic_sub_fetch(&n, 1u, __ATOMIC_ACQ_REL) == 0;
}

inline constexpr std::size_t kSmallest = 64, kLargestSmall = 65536;
inline constexpr int kSmallClasses = 16 + 24;

/// Index of the smallest class that holds `bytes` (1 ... 64 KiB), and that class's size.
constexpr int small_class(std::size_t bytes) {
  if (bytes <= 1024) return bytes == 0 ? 0 : static_cast<int>((bytes - 1) / 64);
  const int top = 63 - __builtin_clzll(bytes - 1);                              // 2^top <= bytes-1 < 2^(top+1)
  return 16 + (top - 10) * 4 + static_cast<int>(((bytes - 1) >> (top - 2)) & 3);
}
constexpr std::size_t class_bytes(int c) {
  if (c < 16) return static_cast<std::size_t>(c + 1) * 64;
  const int top = 10 + (c - 16) / 4, quarter = (c - 16) % 4;
  return (std::size_t{1} << top) + (static_cast<std::size_t>(quarter + 1) << (top - 2));
}

struct FreeBlock {
  FreeBlock* next;
};
struct SmallPool {
  FreeBlock* head[kSmallClasses];
  uint32_t count[kSmallClasses];
};
inline thread_local constinit SmallPool small_pool{};

void* small_refill(int c);             // slow path: the thread's list is empty
void small_flush(int c);               // slow path: the thread's list is long
void* large_alloc(std::size_t bytes);  // > 64 KiB
void large_free(void* p, std::size_t bytes);

/// `bytes` of memory aligned to 64. The same `bytes` must be given back to pool_free.
inline void* pool_alloc(std::size_t bytes) {
  if (GRADUS_ASAN) return ::operator new(bytes, std::align_val_t{64});
  if (bytes > kLargestSmall) return large_alloc(bytes);
  const int c = small_class(bytes);
  FreeBlock* b = small_pool.head[c];
  if (!b) return small_refill(c);
  small_pool.head[c] = b->next;
  --small_pool.count[c];
  return b;
}
inline void pool_free(void* p, std::size_t bytes) {
  if (GRADUS_ASAN) return ::operator delete(p, std::align_val_t{64});
  if (bytes > kLargestSmall) return large_free(p, bytes);
  const int c = small_class(bytes);
  auto* b = static_cast<FreeBlock*>(p);
  b->next = small_pool.head[c];
  small_pool.head[c] = b;
  if (++small_pool.count[c] > 64 + kLargestSmall * 16 / class_bytes(c)) small_flush(c);
}

struct LiveBytes {
  int64_t live = 0, peak = 0, allocations = 0;
  void add(int64_t n) {
    if (GRADUS_SINGLE_THREADED) {
      live += n, ++allocations;
      if (live > peak) peak = live;
      return;
    }
    const int64_t now = __atomic_add_fetch(&live, n, __ATOMIC_RELAXED);
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    if (now > __atomic_load_n(&peak, __ATOMIC_RELAXED)) __atomic_store_n(&peak, now, __ATOMIC_RELAXED);
  }
  void sub(int64_t n) {
    if (GRADUS_SINGLE_THREADED) live -= n;
    else __atomic_fetch_sub(&live, n, __ATOMIC_RELAXED);
  }
};
inline constinit LiveBytes live_bytes{};

inline constinit bool memory_traced = false;
struct TracedOp;                     // an operator at a line; never freed, so that tensors may outlive the trace
TracedOp* trace_allocation(const char* op, const char* file, uint32_t line, int64_t bytes);
void trace_free(TracedOp* op, int64_t bytes);

}  // namespace detail

/// Owning pointer to a type with `uint32_t refs` and a static `destroy(T*)`.
template <class T> class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}
  explicit Ref(T* p) : p_(p) {
    if (p_) detail::count_up(p_->refs);
  }
  static Ref adopt(T* p) {  // takes over a count that is already there
    Ref r;
    r.p_ = p;
    return r;
  }
  Ref(const Ref& o) : Ref(o.p_) {}
  Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Ref& operator=(Ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Ref() {
    if (p_ && detail::count_down(p_->refs)) T::destroy(p_);
  }
  T* get() const { return p_; }
  T* operator->() const { return p_; }
  T& operator*() const { return *p_; }
  explicit operator bool() const { return p_ != nullptr; }
  T* release() { return std::exchange(p_, nullptr); }
  friend bool operator==(const Ref& a, const Ref& b) { return a.p_ == b.p_; }

 private:
  T* p_ = nullptr;
};

}  // namespace gradus

#ifdef GRADUS_HEADER_ONLY
#include <gradus/core/memory_impl.hpp>
#endif
