// Counters of what costs time without being asked for by name (I7): copies, conversions, and waiting for the device.
#pragma once
#include <cstdint>
#include <initializer_list>

namespace gradus {

/// Counts since the start of the program, or since reset_stats().
struct Stats {
  int64_t contiguous_copies = 0;   ///< tensors that an op had to copy because a kernel needs them contiguous
  int64_t conversions = 0;         ///< casts to another dtype
  int64_t to_device = 0, to_device_bytes = 0;   ///< copies from the host to a device
  int64_t to_host = 0, to_host_bytes = 0;       ///< copies from a device to the host; each waits for the device
  int64_t synchronizations = 0;    ///< times the host waited for a device, those copies included
  int64_t launches = 0;            ///< kernels started on a device
};

namespace detail {
inline constinit Stats counters{};
inline void count(int64_t& counter, int64_t n = 1) { __atomic_fetch_add(&counter, n, __ATOMIC_RELAXED); }
}  // namespace detail

inline Stats stats() {
  const auto read = [](const int64_t& n) { return __atomic_load_n(&n, __ATOMIC_RELAXED); };
  const Stats& c = detail::counters;
  return {read(c.contiguous_copies), read(c.conversions),   read(c.to_device),        read(c.to_device_bytes),
          read(c.to_host),           read(c.to_host_bytes), read(c.synchronizations), read(c.launches)};
}
inline void reset_stats() {
  Stats& c = detail::counters;
  for (int64_t* n : {&c.contiguous_copies, &c.conversions, &c.to_device, &c.to_device_bytes, &c.to_host, &c.to_host_bytes,
                     &c.synchronizations, &c.launches})
    __atomic_store_n(n, int64_t{0}, __ATOMIC_RELAXED);
}

}  // namespace gradus
