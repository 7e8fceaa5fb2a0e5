// What is remembered of accesses to shared and global memory, and when two of them are ordered.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "device.hpp"

namespace gradus::emu {

/// A place in the source: a return address, which addr2line turns into a line, or a source location.
struct Place {
  uintptr_t value = 0;
  static constexpr uintptr_t kSite = uintptr_t{1} << 63;
  static Place of(uintptr_t pc) { return {pc}; }
  static Place of(const Site& at) {
    static_assert(sizeof(Site) == sizeof(uintptr_t), "gradus: std::source_location is one pointer in libstdc++ and libc++");
    return {std::bit_cast<uintptr_t>(at) | kSite};
  }
  std::string text() const;
};

enum class Kind : uint8_t { read, write, atomic };

/// One access, with the clocks of its thread at the time.
struct Access {
  Place place;
  uint32_t block = 0;            // linear index in the grid
  uint32_t epoch = 0;            // __syncthreads of the block so far
  uint32_t lane_clock = 0;       // __syncwarp of the thread so far
  uint32_t warp_clock = 0;       // named barriers of the warp so far
  uint32_t stamp = 0;            // fences of the launch so far
  uint16_t rank = 0;             // of the thread in the block
  uint8_t bytes = 0;             // bit i: byte i of the word; 0: there was no access
  Kind kind = Kind::read;
};

/// What is known about four bytes.
struct Cell {
  uint32_t owner = 0;            // block run or launch that the rest belongs to
  uint8_t written = 0;           // bytes written since the block started
  uint8_t pending = 0;           // bytes an asynchronous copy will write
  Access write, read[2];         // the last write; the first reader since, and the last other one
};

/// Clocks of a warp. A thread knows what lane k did before its clock k was base[k], and, after collectives of a part of the
/// warp, known[lane][k].
struct WarpClocks {
  std::array<uint32_t, 32> clock, base;
  std::array<std::array<uint32_t, 32>, 32> known;
  bool partial = false;          // `known` is in use
  uint32_t named_clock = 0;      // named barriers
  std::array<uint32_t, 32> named_known;
  unsigned waiting = 0, exited = 0, lanes = 0;
};

}  // namespace gradus::emu
