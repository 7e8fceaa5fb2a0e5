#include "memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include "engine.hpp"

namespace gradus::emu {

constinit DeviceMemory device_memory;

namespace {

constexpr std::size_t kQuarantine = std::size_t{64} << 20;   // freed bytes that are kept from reuse
constexpr std::size_t kMaxAllocations = std::size_t{1} << 24;

struct Pool {
  std::mutex mutex;
  std::size_t used = 0;                                      // bytes of the range that were ever given out
  uint32_t count = 0;
  std::size_t live_bytes = 0, resting_bytes = 0;
  std::map<std::size_t, std::deque<uint32_t>> resting;       // freed allocations by capacity, oldest first
  std::map<const char*, std::size_t> pinned;
  int key = -1;                                              // protection key
  bool guard = true;
  int open = 0;                                              // mprotect only: how many need access now
  std::size_t opened = 0;
};
Pool& pool() {
  static Pool* s = new Pool;                               // never destroyed: static tensors are freed late
  return *s;
}
thread_local int access_depth = 0;

template <class T> T* reserve(std::size_t bytes, int protection) {
  void* p = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? nullptr : static_cast<T*>(p);
}

bool start(Pool& s) {
  if (device_memory.base) return true;
  const char* host_guard = std::getenv("GRADUS_EMU_HOST_GUARD");
  s.guard = !host_guard || std::strcmp(host_guard, "0") != 0;
  device_memory.units = reserve<uint32_t>(kDeviceBytes / kUnit * sizeof(uint32_t), PROT_READ | PROT_WRITE);
  device_memory.allocations = reserve<Allocation>(kMaxAllocations * sizeof(Allocation), PROT_READ | PROT_WRITE);
  char* base = reserve<char>(kDeviceBytes, PROT_READ | PROT_WRITE);
  if (!device_memory.units || !device_memory.allocations || !base) return false;
  if (s.guard) {
#if defined(__linux__) && defined(PKEY_DISABLE_ACCESS)
    s.key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
    if (s.key > 0 && pkey_mprotect(base, kDeviceBytes, PROT_READ | PROT_WRITE, s.key) != 0) s.key = -1;
    if (s.key > 0 && access_depth > 0) pkey_set(s.key, 0);
#endif
    if (s.key <= 0) mprotect(base, kDeviceBytes, PROT_NONE);
  }
  install_fault_handler();
  if (const char* leaks = std::getenv("GRADUS_EMU_LEAKS"); leaks && std::strcmp(leaks, "0") != 0)
    std::atexit([] { std::fputs(leak_report().c_str(), stderr); });
  device_memory.base = base;
  return true;
}

void open_more(Pool& s) {                                   // with mprotect: the part given out since
  if (!s.guard || s.key > 0 || s.open == 0) return;
  const std::size_t wanted = (s.used + 0xfffff) / 0x100000 * 0x100000;
  if (wanted > s.opened) mprotect(device_memory.base + s.opened, wanted - s.opened, PROT_READ | PROT_WRITE);
  s.opened = std::max(s.opened, wanted);
}

std::size_t capacity_of(std::size_t bytes) {
  std::size_t units = (bytes + kUnit - 1) / kUnit + 1;       // one free unit behind
  if (units > 256) {                                         // large ones in steps of an eighth, so that they fit again
    std::size_t step = 1;
    while (step * 16 < units) step *= 2;
    units = (units + step - 1) / step * step;
  }
  return units * kUnit;
}

}  // namespace

DeviceAccess::DeviceAccess() {
  if (access_depth++ > 0) return;
  Pool& s = pool();
  if (!device_memory.base || !s.guard) return;
#if defined(__linux__) && defined(PKEY_DISABLE_ACCESS)
  if (s.key > 0) {
    pkey_set(s.key, 0);
    return;
  }
#endif
  const std::lock_guard lock(s.mutex);
  ++s.open;
  open_more(s);
}
DeviceAccess::~DeviceAccess() {
  if (--access_depth > 0) return;
  Pool& s = pool();
  if (!device_memory.base || !s.guard) return;
#if defined(__linux__) && defined(PKEY_DISABLE_ACCESS)
  if (s.key > 0) {
    pkey_set(s.key, PKEY_DISABLE_ACCESS);
    return;
  }
#endif
  const std::lock_guard lock(s.mutex);
  if (s.open == 0 || --s.open > 0) return;
  mprotect(device_memory.base, s.opened, PROT_NONE);
  s.opened = 0;
}

cudaError_t allocate(void** p, std::size_t bytes, std::source_location at) {
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  Pool& s = pool();
  Allocation* a = nullptr;
  {
    const std::lock_guard lock(s.mutex);
    if (!start(s)) return keep_error(cudaErrorMemoryAllocation);
    if (bytes > kDeviceBytes) return keep_error(cudaErrorMemoryAllocation);
    const std::size_t capacity = capacity_of(bytes);
    const bool full = s.used + capacity > kDeviceBytes || s.count + 1 >= kMaxAllocations;
    auto& same = s.resting[capacity];
    if (!same.empty() && (s.resting_bytes > kQuarantine || full)) {
      a = &device_memory.allocations[same.front()];
      same.pop_front();
      s.resting_bytes -= capacity;
    } else if (!full) {
      a = &device_memory.allocations[++s.count];
      a->start = device_memory.base + s.used;
      a->capacity = capacity;
      std::fill_n(device_memory.units + s.used / kUnit, capacity / kUnit, s.count);
      s.used += capacity;
      open_more(s);
    } else {
      return keep_error(cudaErrorMemoryAllocation);
    }
    a->bytes = bytes, a->allocated = at, a->released = Site(), a->live = true;
    s.live_bytes += bytes;
  }
  const DeviceAccess access;
  std::memset(a->start, 0xff, bytes);                        // NaN, so that what is read before it is written shows
  *p = a->start;
  return cudaSuccess;
}

cudaError_t release(void* p, std::source_location at) {
  if (!p) return cudaSuccess;
  Pool& s = pool();
  const std::lock_guard lock(s.mutex);
  if (!on_device(p)) return keep_error(cudaErrorInvalidValue);
  auto* a = const_cast<Allocation*>(allocation_at(p));
  if (!a || a->start != p || !a->live) return keep_error(cudaErrorInvalidValue);
  a->live = false, a->released = at;
  s.live_bytes -= a->bytes;
  s.resting_bytes += a->capacity;
  s.resting[a->capacity].push_back(static_cast<uint32_t>(a - device_memory.allocations));
  if (a->bytes >= (std::size_t{1} << 20)) {                  // what rests does not have to hold memory
    const auto begin = (reinterpret_cast<uintptr_t>(a->start) + 4095) / 4096 * 4096;
    const auto end = reinterpret_cast<uintptr_t>(a->start + a->bytes) / 4096 * 4096;
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
  return cudaSuccess;
}

cudaError_t allocate_host(void** p, std::size_t bytes, std::source_location) {
  *p = std::aligned_alloc(256, (bytes + 255) / 256 * 256 + 256);
  if (!*p) return keep_error(cudaErrorMemoryAllocation);
  Pool& s = pool();
  const std::lock_guard lock(s.mutex);
  s.pinned[static_cast<char*>(*p)] = bytes;
  return cudaSuccess;
}
cudaError_t release_host(void* p) {
  if (!p) return cudaSuccess;
  Pool& s = pool();
  const std::lock_guard lock(s.mutex);
  if (s.pinned.erase(static_cast<const char*>(p)) == 0) return keep_error(cudaErrorInvalidValue);
  std::free(p);
  return cudaSuccess;
}

bool on_pinned_host(const void* p, std::size_t bytes) {
  Pool& s = pool();
  const std::lock_guard lock(s.mutex);
  auto after = s.pinned.upper_bound(static_cast<const char*>(p));
  if (after == s.pinned.begin()) return false;
  --after;
  return static_cast<const char*>(p) + bytes <= after->first + after->second;
}

std::string describe_address(const void* p) {
  char number[32];
  std::snprintf(number, sizeof number, "%p", p);
  if (!on_device(p)) return std::string(number) + (on_pinned_host(p, 1) ? ", pinned host memory" : ", host memory");
  const Allocation* a = allocation_at(p);
  if (!a) return std::string(number) + ", device memory that was never allocated";
  const auto offset = static_cast<const char*>(p) - a->start;
  const auto size = static_cast<std::ptrdiff_t>(a->bytes);
  std::string text = std::string(number) + ", ";
  text += offset < size ? "byte " + std::to_string(offset) + " of " : std::to_string(offset - size) + " bytes behind the end of ";
  text += "an allocation of " + std::to_string(size) + " bytes made at " + place(a->allocated);
  if (!a->live) text += ", freed at " + place(a->released);
  return text;
}

void check_range(const void* p, std::size_t bytes, const char* what, const Site& at) {
  if (!on_device(p) || bytes == 0) return;
  const Allocation* a = allocation_at(p);
  if (a && a->live && static_cast<const char*>(p) + bytes <= a->start + a->bytes) return;
  throw Error(std::string("gradus: ") + what + " of " + std::to_string(bytes) + " bytes is not inside one live allocation\n  address   " +
              describe_address(p) + "\n  at        " + place(at));
}

std::vector<Leak> live_allocations() {
  Pool& s = pool();
  const std::lock_guard lock(s.mutex);
  std::vector<Leak> leaks;
  for (uint32_t i = 1; i <= s.count; ++i)
    if (const Allocation& a = device_memory.allocations[i]; a.live) leaks.push_back({a.bytes, a.allocated});
  return leaks;
}

std::string leak_report() {
  std::map<std::string, std::pair<int, std::size_t>> by_place;
  for (const Leak& l : live_allocations()) {
    auto& [count, bytes] = by_place[place(l.allocated)];
    ++count, bytes += l.bytes;
  }
  std::string text;
  for (const auto& [where, sum] : by_place)
    text += "gradus: device memory never freed: " + std::to_string(sum.second) + " bytes in " + std::to_string(sum.first) +
            " allocations made at " + where + "\n";
  return text;
}

std::size_t live_device_bytes() {
  Pool& s = pool();
  const std::lock_guard lock(s.mutex);
  return s.live_bytes;
}

}  // namespace gradus::emu
