// Device memory: one reserved range, in which each allocation has its own units of 256 bytes and at least one free unit behind
// it. A table from unit to allocation lets every access of a kernel be checked to the byte. Host code cannot read the range
// (protection keys where the processor has them, mprotect otherwise), so that a forgotten copy faults at its line.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "device.hpp"
#include "runtime_api.hpp"

namespace gradus::emu {

inline constexpr std::size_t kUnit = 256, kDeviceBytes = std::size_t{16} << 30;

struct Allocation {
  char* start;
  std::size_t bytes, capacity;
  Site allocated, released;
  bool live;
};

struct DeviceMemory {
  char* base = nullptr;              // null until the first allocation
  uint32_t* units = nullptr;         // the allocation that owns a unit, 0: none ever did
  Allocation* allocations = nullptr;
};
extern constinit DeviceMemory device_memory;

inline bool on_device(const void* p) {
  return reinterpret_cast<uintptr_t>(p) - reinterpret_cast<uintptr_t>(device_memory.base) < kDeviceBytes && device_memory.base;
}
/// The allocation whose units hold p, null when there never was one.
inline const Allocation* allocation_at(const void* p) {
  const std::size_t offset = reinterpret_cast<uintptr_t>(p) - reinterpret_cast<uintptr_t>(device_memory.base);
  const uint32_t id = device_memory.units[offset / kUnit];
  return id ? &device_memory.allocations[id] : nullptr;
}
bool on_pinned_host(const void* p, std::size_t bytes);
/// "4 bytes behind the end of an allocation of 400 bytes made at softmax.cu:12"
std::string describe_address(const void* p);
/// Throws Error when p points to the device and [p, p + bytes) is not inside one live allocation.
void check_range(const void* p, std::size_t bytes, const char* what, const Site& at);

struct Leak {
  std::size_t bytes;
  Site allocated;
};
std::vector<Leak> live_allocations();
std::string leak_report();             // a line for each place that allocated what still lives
std::size_t live_device_bytes();
cudaError_t release_host(void* p);
cudaError_t keep_error(cudaError_t e); // for cudaGetLastError
void install_fault_handler();          // faults.cpp

}  // namespace gradus::emu
