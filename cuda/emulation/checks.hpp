// Entry points of the access checks.
#pragma once
#include "access.hpp"
#include "engine.hpp"

namespace gradus::emu {

/// How much is checked; set from the options before a launch.
struct CheckFlags {
  int level = 1;             // 0 nothing, 1 bounds and shared memory, 2 races in device memory too
  bool lint = false;
  bool preempt = false;      // the policy `prio` may switch threads at an access
  bool instrumented = false; // a .cu file was compiled with the hooks
};
extern constinit CheckFlags check_flags;

/// n bytes at p, which has to be a multiple of `alignment`.
void check_access(Thread& t, const void* p, unsigned n, Kind kind, const Place& place, unsigned alignment);
/// `p` is no multiple of `alignment`: throws the report.
[[noreturn]] void report_misaligned(const void* p, unsigned alignment, Kind kind, const Place& place);
void note_access(Thread& t, const void* p, unsigned n, Kind kind, const Site& at);
/// The end of a copy into shared memory: checked like a write, and counted when the copy began.
void note_copied(Thread& t, const void* to, unsigned n, const Site& at);
void set_pending(Thread& t, const void* p, unsigned n, bool pending);
void preempt(Thread& t);
void atomic_spin(Thread& t);   // a thread that polls must let the others come to run
void lint_access(Thread& t, const char* p, unsigned n, Kind kind, const Place& place);
void lint_block_ended(Block& b);

}  // namespace gradus::emu
