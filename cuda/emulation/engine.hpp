// The emulated device: how blocks and threads run. Included by the files of this folder only, never by kernels.
//
// A CUDA thread runs on a stack of its own (a fiber). A block stays on one host thread, blocks are spread over OpenMP
// threads. A thread runs until it waits (barrier, warp collective) or ends; then the policy picks the next one that can run.
// A new thread starts on the stack of one that has ended: a kernel without collectives switches no stacks at all.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "access.hpp"
#include "device.hpp"
#include "launch.hpp"

namespace gradus::emu {

inline constexpr int kWarp = 32, kMaxThreads = 1024, kNamedBarriers = 16;
inline constexpr std::size_t kStack = 256 * 1024, kPage = 4096;        // of a thread, with one guard page
inline constexpr std::size_t kRedZone = 64, kArena = 320 * 1024;       // between shared arrays; all shared memory of a block

enum class State : uint8_t { fresh, ready, running, barrier, warp, named, grid, exited };
const char* name_of(State s);

/// The stack of a fiber with a guard page below it, and the fiber's saved stack pointer while it does not run.
struct Native;
struct Fiber {
  char* memory = nullptr;
  std::size_t bytes = 0;
  void* context = nullptr;
  Native* native = nullptr;        // the host thread whose stack it is, with GRADUS_EMU_BACKEND=threads
  void* fake = nullptr;            // AddressSanitizer's shadow of the stack
};

struct Block;
struct Worker;

/// copy_async16: the bytes move when the thread waits for the group, as late as the device may move them.
struct AsyncCopy {
  void* to;
  const void* from;
  std::array<unsigned char, 16> bytes;   // of the source when it was issued
  int group;
  Site at;
};

struct Thread {
  State state = State::fresh;
  uint3 index{};
  int rank = 0;                    // in the block
  int slot = 0;                    // in the order of the policy, see Scheduler
  Block* block = nullptr;
  Fiber* fiber = nullptr;          // while it is started
  Site at;                         // where it waits, or waited last
  WarpOp* op = nullptr;            // of a thread that waits in a warp collective
  int predicate = 0;               // of __syncthreads_*: its own, then the block's
  int barrier_id = 0;
  int spins = 0;                   // atomics since it last gave way
  uint32_t fenced = 0, released = 0, acquired = 0;   // stamps of its last fence, publishing atomic, atomic
  std::vector<AsyncCopy> copies;   // copy_async16 not yet waited for
  int committed = 0;               // groups of them
  int warp() const { return rank / kWarp; }
  int lane() const { return rank % kWarp; }
};

struct SharedArray {
  const void* key;
  std::size_t offset, bytes;
  const char* name;
  Site at;
  std::size_t element = 1;
  int rank = 1;                    // of the array type; 0: a scalar
  const std::size_t* extent = nullptr;
  bool padded = false;             // elements may hold bytes that no member covers
};

struct NamedBarrier {
  int expected = 0, arrived = 0;
  unsigned warps = 0;              // that came
};

struct Block {
  uint3 index{};
  int64_t linear = 0;
  Thread* threads = nullptr;
  int size = 0;
  int exited = 0;
  int waiting = 0;                 // at the block barrier
  int first_waiting = -1;          // rank of the thread that came to it first
  bool mixed = false;              // not all came to the same barrier
  uint32_t epoch = 0;              // of the block barrier
  Reduce reduce = Reduce::none;
  std::array<NamedBarrier, kNamedBarriers> named;
  Worker* worker = nullptr;
  std::vector<WarpClocks> warps;
  uint32_t released = 0, acquired = 0;   // stamps, see Thread
  uint32_t serial = 0;             // of this run of a block, marks its cells
  Cell* cells = nullptr;           // of the arena, four bytes each
  char* arena = nullptr;
  std::size_t arena_used = 0, dynamic_offset = 0, static_used = 0;
  std::vector<SharedArray> arrays;
};

/// What is the same for all blocks of a launch.
struct Launch {
  const LaunchInfo* info;
  int64_t number = 0;              // of this process, part of the random stream
  int block_size = 0;
  int64_t blocks = 0;
  const void* parameters = nullptr;    // the copy that threads see
  std::size_t parameter_bytes = 0;
  bool native = false;
  std::string kernel_name() const;
};

enum class Policy : uint8_t { forward, reverse, random, warp_lag, prio };

/// Read once from the environment, changeable by tests.
struct Options {
  Policy policy = Policy::forward;
  uint64_t seed = 0;
  int workers = 0;                 // 0: OpenMP's number
  bool strict = false;             // threads may not end while others go on to a barrier
  bool native = false;             // a native thread for each CUDA thread, for debuggers
  int arch = 80;
  int check = 1;                   // 0 nothing, 1 bounds and shared memory, 2 races in device memory too (one worker)
  bool lint = false;               // count bank conflicts and sectors, see lint.cpp
  bool lazy = false;               // work waits until the host synchronises
};
Options& options();
const char* name_of(Policy p);
Policy policy_named(const std::string& name);     // throws std::invalid_argument
std::string replay_line();         // "GRADUS_EMU_SEED=7 GRADUS_EMU_SCHED=random"

/// Reports the text with kernel, block, thread and seed, and ends the block: does not come back to the kernel.
[[noreturn]] void fail_thread(const std::string& text);

/// Which threads can run, and which of them is next. Threads sit in slots; the policy is an order of the slots or a random
/// choice among the occupied ones.
class Scheduler {
 public:
  void start(int threads, Policy policy, uint64_t seed);
  int slot_of(int thread) const { return slots_[static_cast<std::size_t>(thread)]; }
  void add(int thread) {
    const auto s = static_cast<unsigned>(slots_[static_cast<std::size_t>(thread)]);
    bits_[s / 64] |= uint64_t{1} << (s % 64);
    ++count_;
  }
  int take();                      // the next thread, -1 when none can run
  void demote(int thread);         // to the slot that comes last
  uint64_t random();
  Policy policy() const { return policy_; }

 private:
  std::vector<uint64_t> bits_;
  std::vector<int> slots_, threads_;
  int count_ = 0;
  Policy policy_ = Policy::forward;
  uint64_t state_ = 0;
};

/// What a host thread needs to run blocks. Its `home` is the launch; a jump to it ends the block or gives it up.
struct Worker {
  const Launch* launch = nullptr;
  std::vector<Block> blocks;       // one, or all of a cooperative launch
  std::vector<Thread> threads;
  std::vector<char> arena;         // the shared memory of the blocks
  std::vector<Cell> cells;
  uint32_t serial = 0, launch_serial = 0;
  uint32_t stamp = 1;              // of fences
  std::vector<uint32_t> released;  // by block, when races in device memory are looked for
  int until_preempted = 64;
  bool listed = false;             // for debuggers
  int at_grid = 0;                 // threads at the grid barrier
  Scheduler scheduler;
  Thread* running = nullptr;
  Thread* starting = nullptr;
  Fiber* leaving = nullptr;        // who jumped last; null: home
  void* home = nullptr;
  Fiber home_stack;                // for AddressSanitizer
  int live = 0;                    // threads that have not ended
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Fiber*> idle, idle_native;
  std::string error;               // set: the block was given up
  const char* fault = nullptr;     // the same, by a signal handler, which may not make strings
  uintptr_t fault_pc = 0;
  const void* fault_address = nullptr;
  const Thread* fault_thread = nullptr;
  std::string fault_text();

  void start_launch(const Launch& l);
  void run_blocks(const Launch& l, int64_t first, int64_t count);
  void wake(Thread& t) {
    t.state = State::ready;
    t.op = nullptr;
    scheduler.add(static_cast<int>(&t - threads.data()));
  }
  void park(State why, Site at);   // the running thread waits; returns when it has been woken and is its turn
  Thread* next();                  // the thread to run now; null: all have ended
  void ended(Thread& t);
  void yield();                    // the running thread can go on, others first
  void give_up();                  // jumps home, never to come back

  void fiber_loop();               // runs fresh threads, one after the other, until one that waits has to go on

 private:
  Fiber* fresh_fiber();
  void go_on(Thread* t);           // leaves the running fiber for t's; null: for home
  void jump(Fiber* to, bool gone = false);
  void enter(Thread& t);
};
Worker& worker();
/// On a native thread of a CUDA thread: the worker it runs for.
extern constinit thread_local Worker* adopted_worker;

// native.cpp: a host thread for each CUDA thread, of which one runs at a time
void start_native(Worker& w, Fiber* f);
void switch_native(Worker& w, Fiber* from, Fiber* to);
void abandon_native(Worker& w, Fiber* f);
void name_native(const Thread& t);

// stop.cpp: GRADUS_EMU_BREAK=kernel:bB:tT
struct Stop {
  bool wanted = false;             // in the launch that runs
  int64_t block = 0;
  int thread = 0;
};
extern constinit Stop stop_at;
void prepare_stop(const Launch& l);
void stop_if_wanted(const Thread& t);
/// The thread whose kernel code runs; null in host code, and while the thread is inside of the emulated device.
extern constinit thread_local __attribute__((tls_model("initial-exec"))) Thread* running_thread;
/// From kernel code into the emulated device and back. Without it, functions of the standard library that the linker took
/// from a .cu file would have their accesses checked as if the kernel had made them.
class Inside {
 public:
  Inside(const char* what, const Site& at);      // throws in host code
  ~Inside() { running_thread = thread_; }
  Inside(const Inside&) = delete;
  Thread* operator->() const { return thread_; }
  Thread& operator*() const { return *thread_; }

 private:
  Thread* thread_;
};

// collectives.cpp
void release_barrier_if_complete(Worker& w, Block& b);
void compute_tile(Thread* const* lanes, unsigned mask);     // tiles.cpp: mma and ldsm
void start_warps(Block& b, int threads);
void finish_copies(Thread& t);     // of a thread that ended without waiting for them
void complete_warp_ops(Worker& w, Block& b, int warp);
// errors.cpp
[[noreturn]] void report_deadlock(Worker& w);
void use_signal_stack();           // faults.cpp: of this host thread
std::string place(const Site& at);
std::string symbol_name(const void* address);
std::string source_line(uintptr_t pc);          // "softmax.cu:42", or the function and offset

}  // namespace gradus::emu
