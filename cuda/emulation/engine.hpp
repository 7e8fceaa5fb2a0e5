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

#include "device.hpp"
#include "launch.hpp"

namespace gradus::emu {

inline constexpr int kWarp = 32, kMaxThreads = 1024, kNamedBarriers = 16;

enum class State : uint8_t { fresh, ready, running, barrier, warp, named, grid, exited };
const char* name_of(State s);

/// The stack of a fiber with a guard page below it, and the fiber's saved stack pointer while it does not run.
struct Fiber {
  char* memory = nullptr;
  std::size_t bytes = 0;
  void* context = nullptr;
};

struct Block;

struct Thread {
  State state = State::fresh;
  bool converged = false;          // scratch of error reports
  uint3 index{};
  int rank = 0;                    // in the block
  int slot = 0;                    // in the order of the policy, see Scheduler
  Block* block = nullptr;
  Fiber* fiber = nullptr;          // while it is started
  Site at;                         // where it waits, or waited last
  WarpOp* op = nullptr;            // of a thread that waits in a warp collective
  int predicate = 0;               // of __syncthreads_*: its own, then the block's
  int barrier_id = 0;
  int warp() const { return rank / kWarp; }
  int lane() const { return rank % kWarp; }
};

struct SharedArray {
  const void* key;
  std::size_t offset, bytes;
  const char* name;
  Site at;
};

struct NamedBarrier {
  int expected = 0, arrived = 0;
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
  Scheduler scheduler;
  Thread* running = nullptr;
  Thread* starting = nullptr;
  Fiber* leaving = nullptr;        // who jumped last; null: home
  void* home = nullptr;
  int live = 0;                    // threads that have not ended
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Fiber*> idle;
  std::string error;               // set: the block was given up

  void run_blocks(const Launch& l, int64_t first, int64_t count);
  void wake(Thread& t) {
    t.state = State::ready;
    t.op = nullptr;
    scheduler.add(static_cast<int>(&t - threads.data()));
  }
  void park(State why, Site at);   // the running thread waits; returns when it has been woken and is its turn
  Thread* next();                  // the thread to run now; null: all have ended
  void ended(Thread& t);
  void give_up();                  // jumps home, never to come back

  void fiber_loop();               // runs fresh threads, one after the other, until one that waits has to go on

 private:
  Fiber* fresh_fiber();
  void go_on(Thread* t);           // leaves the running fiber for t's; null: for home
  void jump(Fiber* to);
  void enter(Thread& t);
};
Worker& worker();
/// The thread that runs, null in host code.
Thread* current();

// collectives.cpp
void release_barrier_if_complete(Worker& w, Block& b);
void complete_warp_ops(Worker& w, Block& b, int warp);
// errors.cpp
[[noreturn]] void report_deadlock(Worker& w);
std::string place(const Site& at);
std::string symbol_name(const void* address);

}  // namespace gradus::emu
