// Definitions of memory.hpp; compiled once in cpu/gradus.cpp, or inline with GRADUS_HEADER_ONLY.
#pragma once
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <gradus/core/memory.hpp>

namespace gradus {
namespace detail {

/// What all threads share: lists of small blocks that threads gave up, and large blocks by size.
struct SharedCache {
  std::mutex mutex;
  FreeBlock* small[kSmallClasses] = {};
  std::multimap<std::size_t, void*> large;  // capacity -> block
  int64_t cached_large = 0, from_system = 0;
  static SharedCache& get() {
    static auto* cache = new SharedCache;   // never destroyed: tensors with static lifetime may outlive everything
    return *cache;
  }
};

/// Hands a finished thread's lists to the shared cache.
struct ThreadExit {
  ~ThreadExit() {
    for (int c = 0; c < kSmallClasses; ++c)
      while (small_pool.head[c]) small_flush(c);
  }
};

inline std::size_t large_capacity(std::size_t bytes) {  // eight sizes per doubling, whole pages
  const int top = 63 - __builtin_clzll(bytes - 1);
  const std::size_t step = std::size_t{1} << (top > 15 ? top - 3 : 12);
  return (bytes + step - 1) / step * step;
}
inline constexpr std::size_t kHuge = std::size_t{2} << 20;

inline void* from_system(std::size_t capacity) {
#if defined(__linux__)
  if (capacity >= kHuge) {
    const std::size_t mapped = capacity + kHuge;
    void* p = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return nullptr;
    auto base = reinterpret_cast<uintptr_t>(p), aligned = (base + kHuge - 1) / kHuge * kHuge;
    if (aligned > base) munmap(p, aligned - base);
    if (base + mapped > aligned + capacity) munmap(reinterpret_cast<void*>(aligned + capacity), base + mapped - aligned - capacity);
    madvise(reinterpret_cast<void*>(aligned), capacity, MADV_HUGEPAGE);
    return reinterpret_cast<void*>(aligned);
  }
#endif
  return std::aligned_alloc(4096, capacity);
}
inline void to_system(void* p, std::size_t capacity) {
#if defined(__linux__)
  if (capacity >= kHuge) {
    munmap(p, capacity);
    return;
  }
#endif
  std::free(p);
}
inline void release_large(SharedCache& s) {  // with the lock held
  for (auto& [capacity, p] : s.large) to_system(p, capacity), s.from_system -= static_cast<int64_t>(capacity);
  s.large.clear();
  s.cached_large = 0;
}

GRADUS_FUNC void* small_refill(int c) {
  static thread_local ThreadExit at_exit;
  (void)at_exit;
  auto& s = SharedCache::get();
  const std::lock_guard lock(s.mutex);
  if (FreeBlock* b = s.small[c]) {
    s.small[c] = b->next;
    return b;
  }
  const std::size_t size = class_bytes(c), chunk = size <= 4096 ? 64 * 1024 : 256 * 1024, n = chunk / size;
  auto* p = static_cast<char*>(std::aligned_alloc(4096, chunk));
  if (!p) throw std::bad_alloc();
  s.from_system += static_cast<int64_t>(chunk);
  for (std::size_t i = n; i-- > 1;) {
    auto* b = reinterpret_cast<FreeBlock*>(p + i * size);
    b->next = small_pool.head[c];
    small_pool.head[c] = b;
  }
  small_pool.count[c] += static_cast<uint32_t>(n - 1);
  return p;
}

GRADUS_FUNC void small_flush(int c) {  // half of the list goes to the shared cache
  auto& s = SharedCache::get();
  const std::lock_guard lock(s.mutex);
  for (uint32_t n = small_pool.count[c] / 2 + 1; n-- && small_pool.head[c];) {
    FreeBlock* b = small_pool.head[c];
    small_pool.head[c] = b->next;
    --small_pool.count[c];
    b->next = s.small[c];
    s.small[c] = b;
  }
}

GRADUS_FUNC void* large_alloc(std::size_t bytes) {
  const std::size_t capacity = large_capacity(bytes);
  auto& s = SharedCache::get();
  const std::lock_guard lock(s.mutex);
  if (auto it = s.large.find(capacity); it != s.large.end()) {
    void* p = it->second;
    s.large.erase(it);
    s.cached_large -= static_cast<int64_t>(capacity);
    return p;
  }
  // Keep no more than a quarter of the live bytes, and 256 MiB, in blocks that did not fit.
  if (s.cached_large > live_bytes.live / 4 + (int64_t{256} << 20)) release_large(s);
  void* p = from_system(capacity);
  if (!p) {
    release_large(s);
    p = from_system(capacity);
  }
  if (!p) throw std::bad_alloc();
  s.from_system += static_cast<int64_t>(capacity);
  return p;
}

GRADUS_FUNC void large_free(void* p, std::size_t bytes) {
  const std::size_t capacity = large_capacity(bytes);
  auto& s = SharedCache::get();
  const std::lock_guard lock(s.mutex);
  s.large.emplace(capacity, p);
  s.cached_large += static_cast<int64_t>(capacity);
}

struct TracedOp {
  MemoryOfOp figures;
};
/// All operators seen, under one lock: tracing is for looking, not for speed.
struct MemoryTrace {
  std::mutex mutex;
  std::map<std::pair<std::string, std::string>, TracedOp*> ops;
  static MemoryTrace& get() {
    static auto* trace = new MemoryTrace;
    return *trace;
  }
};
GRADUS_FUNC TracedOp* trace_allocation(const char* op, const char* file, uint32_t line, int64_t bytes) {
  auto& t = MemoryTrace::get();
  const std::lock_guard lock(t.mutex);
  std::string where = std::string(file) + ":" + std::to_string(line);
  const std::string name(op, std::strcspn(op, "<"));   // exp, not exp<float, gradus::Cpu>
  TracedOp*& entry = t.ops[{name, where}];
  if (!entry) entry = new TracedOp{{name, where}};
  MemoryOfOp& m = entry->figures;
  m.live += bytes, ++m.allocations;
  if (m.live > m.peak) m.peak = m.live;
  return entry;
}
GRADUS_FUNC void trace_free(TracedOp* op, int64_t bytes) {
  const std::lock_guard lock(MemoryTrace::get().mutex);
  op->figures.live -= bytes;
}
}  // namespace detail

GRADUS_FUNC void trace_memory(bool on) {
  auto& t = detail::MemoryTrace::get();
  const std::lock_guard lock(t.mutex);
  if (on) t.ops.clear();   // what was traced before keeps its own entry until it is freed
  detail::memory_traced = on;
}
GRADUS_FUNC std::vector<MemoryOfOp> memory_by_op() {
  auto& t = detail::MemoryTrace::get();
  const std::lock_guard lock(t.mutex);
  std::vector<MemoryOfOp> list;
  for (const auto& [key, op] : t.ops) list.push_back(op->figures);
  std::stable_sort(list.begin(), list.end(), [](const MemoryOfOp& a, const MemoryOfOp& b) { return a.peak > b.peak; });
  return list;
}

GRADUS_FUNC MemoryStats memory_stats() {
  auto& s = detail::SharedCache::get();
  const std::lock_guard lock(s.mutex);
  return {detail::live_bytes.live, detail::live_bytes.peak, s.cached_large, detail::live_bytes.allocations, s.from_system};
}
GRADUS_FUNC std::string memory_report() {
  const auto m = memory_stats();
  const auto mb = [](int64_t b) {
    char text[32];
    snprintf(text, sizeof text, "%.1f MB", static_cast<double>(b) / 1e6);
    return std::string(text);
  };
  std::string text = "cpu: " + mb(m.live) + " live, " + mb(m.peak) + " peak, " + mb(m.cached) + " cached, " + mb(m.from_system) +
                     " from the system, " + std::to_string(m.allocations) + " allocations";
  auto ops = memory_by_op();
  if (ops.size() > 20) ops.resize(20);
  for (const auto& op : ops)
    text += "\n  " + op.op + " at " + op.where + ": " + mb(op.live) + " live, " + mb(op.peak) + " peak, " + std::to_string(op.allocations) +
            " allocations";
  return text;
}
GRADUS_FUNC void reset_peak_memory() { detail::live_bytes.peak = detail::live_bytes.live; }
GRADUS_FUNC void empty_cache() {
  auto& s = detail::SharedCache::get();
  const std::lock_guard lock(s.mutex);
  detail::release_large(s);
}

}  // namespace gradus
