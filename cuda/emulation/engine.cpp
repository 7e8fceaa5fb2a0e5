// Blocks, threads and the switch between their stacks.
#include "checks.hpp"
#include "memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <boost/context/detail/fcontext.hpp>
#include <cstring>
#include <mutex>
#include <numeric>
#ifdef _OPENMP
#include <omp.h>
#endif

constinit const thread_local uint3 threadIdx{};
constinit const thread_local uint3 blockIdx{};
constinit const thread_local uint3 blockDim{};
constinit const thread_local uint3 gridDim{};

#if GRADUS_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

extern "C" gradus::emu::Worker* gradus_emu_workers[64];    // stop.cpp

namespace gradus::emu {
namespace bc = boost::context::detail;

namespace {

// AddressSanitizer has to know which stack is in use. `gone`: the stack that is left will not be come back to.
void announce(Worker& w, [[maybe_unused]] Fiber* to, [[maybe_unused]] bool gone) {
#if GRADUS_ASAN
  void** save = gone ? nullptr : w.leaving ? &w.leaving->fake : &w.home_stack.fake;
  const Fiber& target = to ? *to : w.home_stack;
  __sanitizer_start_switch_fiber(save, target.memory, target.bytes);
#else
  (void)w;
#endif
}
void arrived([[maybe_unused]] Worker& w, [[maybe_unused]] Fiber* me) {
#if GRADUS_ASAN
  const void* memory = nullptr;
  std::size_t bytes = 0;
  __sanitizer_finish_switch_fiber(me ? me->fake : w.home_stack.fake, &memory, &bytes);
  if (!w.leaving) w.home_stack.memory = static_cast<char*>(const_cast<void*>(memory)), w.home_stack.bytes = bytes;
#endif
}

uint64_t mix(uint64_t x) {                                 // splitmix64
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// Kernels see the index objects as constants, which spares their checks; thread-local storage is writable all the same.
template <class T> void set(const T& object, const T& value) {
  T* p = const_cast<T*>(&object);
  __asm__("" : "+r"(p));                                   // the compiler must not conclude anything from the const
  *p = value;
}

uint3 unravel(int64_t i, const dim3& d) {
  return {static_cast<unsigned>(i % d.x), static_cast<unsigned>(i / d.x % d.y), static_cast<unsigned>(i / d.x / d.y)};
}

void fiber_entry(bc::transfer_t from) {
#if defined(__x86_64__)
  __asm__ volatile(".cfi_undefined %rip");                 // the outermost frame: debuggers stop unwinding here
#endif
  Worker& w = worker();
  arrived(w, w.starting->fiber);
  if (w.leaving) w.leaving->context = from.fctx;
  else w.home = from.fctx;
  w.fiber_loop();
}

}  // namespace

Worker& worker() {
  if (adopted_worker) return *adopted_worker;
  thread_local Worker w;
  return w;
}

// ---- the order of threads ----

void Scheduler::start(int threads, Policy policy, uint64_t seed) {
  policy_ = policy, state_ = seed, count_ = 0;
  const auto n = static_cast<std::size_t>(threads);
  bits_.assign((n + 63) / 64, 0);
  slots_.resize(n), threads_.resize(n);
  std::iota(threads_.begin(), threads_.end(), 0);
  if (policy == Policy::reverse) std::reverse(threads_.begin(), threads_.end());
  if (policy == Policy::prio)
    for (std::size_t i = n; i > 1; --i) std::swap(threads_[i - 1], threads_[random() % i]);
  if (policy == Policy::warp_lag) {                        // warps in a random order: the first hurries, the last starves
    const int warps = (threads + kWarp - 1) / kWarp;
    std::vector<int> order(static_cast<std::size_t>(warps));
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
    std::size_t slot = 0;
    for (const int warp : order)
      for (int lane = 0; lane < kWarp && warp * kWarp + lane < threads; ++lane) threads_[slot++] = warp * kWarp + lane;
  }
  for (std::size_t s = 0; s < n; ++s) slots_[static_cast<std::size_t>(threads_[s])] = static_cast<int>(s);
}

uint64_t Scheduler::random() { return mix(state_ += 0x632be59bd9b4e019u); }

void Scheduler::demote(int thread) {
  const auto last = slots_.size() - 1;
  const auto mine = static_cast<std::size_t>(slots_[static_cast<std::size_t>(thread)]);
  if (mine == last) return;
  const int other = threads_[last];
  const auto bit = [](std::size_t s) { return uint64_t{1} << (s % 64); };
  if (bits_[last / 64] & bit(last)) bits_[last / 64] &= ~bit(last), bits_[mine / 64] |= bit(mine);   // the demoted one runs: its bit is clear
  std::swap(threads_[mine], threads_[last]);
  slots_[static_cast<std::size_t>(thread)] = static_cast<int>(last), slots_[static_cast<std::size_t>(other)] = static_cast<int>(mine);
}

int Scheduler::take() {
  if (count_ == 0) return -1;
  --count_;
  const std::size_t words = bits_.size();
  std::size_t at = 0;
  uint64_t first = ~uint64_t{0};
  if (policy_ == Policy::random) {                         // the first occupied slot from a random one on
    const std::size_t s = random() % slots_.size();
    at = s / 64, first <<= s % 64;
  }
  uint64_t word = bits_[at] & first;
  while (word == 0) {
    at = at + 1 == words ? 0 : at + 1;
    word = bits_[at];
  }
  const auto bit = static_cast<std::size_t>(std::countr_zero(word));
  bits_[at] &= ~(uint64_t{1} << bit);
  return threads_[at * 64 + bit];
}

// ---- stacks ----

Fiber* Worker::fresh_fiber() {
  auto& idle = launch->native ? idle_native : this->idle;
  if (idle.empty()) {
    auto f = std::make_unique<Fiber>();
    f->bytes = kStack;
    void* m = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (m == MAP_FAILED) throw std::bad_alloc();
    f->memory = static_cast<char*>(m);
    mprotect(f->memory, kPage, PROT_NONE);
    idle.push_back(f.get());
    if (launch->native) start_native(*this, f.release());
    else fibers.push_back(std::move(f));
  }
  Fiber* f = idle.back();
  idle.pop_back();
  if (launch->native) return f;
  if (!f->context) {
    // Stacks start at different cache lines of a page: the same frames of all threads would fall into one set of the cache.
    const std::size_t colour = fibers.size() * 7 % 61 * 64;
    f->context = bc::make_fcontext(f->memory + f->bytes - colour, f->bytes - kPage - colour, fiber_entry);
  }
  return f;
}

void Worker::enter(Thread& t) {
  t.state = State::running;
  running = &t;
  set(threadIdx, t.index);
  set(blockIdx, t.block->index);
  if (launch->native) set<uint3>(blockDim, launch->info->block), set<uint3>(gridDim, launch->info->grid);
}

void Worker::jump(Fiber* to, bool gone) {
  Fiber* me = leaving;
  if (launch->native) return switch_native(*this, me, to);
  announce(*this, to, gone);
  const bc::transfer_t from = bc::jump_fcontext(to ? to->context : home, nullptr);
  arrived(*this, me);
  if (leaving) leaving->context = from.fctx;
  else home = from.fctx;
}

void Worker::go_on(Thread* t) {
  if (!t) {
    running = nullptr;
    return jump(nullptr);
  }
  if (!t->fiber) {
    t->fiber = fresh_fiber();
    starting = t;
  }
  jump(t->fiber);
}

void Worker::fiber_loop() {
  for (;;) {
    Thread* t = starting;
    for (;;) {
      enter(*t);
      if (launch->native) name_native(*t);
      if (stop_at.wanted) stop_if_wanted(*t);
      running_thread = t;
      launch->info->body(launch->parameters);
      running_thread = nullptr;
      Fiber* mine = t->fiber;
      t->fiber = nullptr;
      ended(*t);
      t = next();
      if (t && !t->fiber && !launch->native) {
        t->fiber = mine;
        continue;
      }
      (launch->native ? idle_native : idle).push_back(mine);
      leaving = mine;
      break;
    }
    go_on(t);
  }
}

Thread* Worker::next() {
  const int i = scheduler.take();
  if (i >= 0) return &threads[static_cast<std::size_t>(i)];
  if (live > 0) report_deadlock(*this);
  return nullptr;
}

void Worker::park(State why, Site at) {
  Thread& t = *running;
  if (t.state == State::running) {                         // otherwise it has been woken by its own arrival
    t.state = why;
    t.at = at;
  }
  Thread* n = next();
  if (n == &t) return enter(t);
  leaving = t.fiber;
  go_on(n);
  enter(t);
}

void Worker::yield() {
  Thread& t = *running;
  t.state = State::ready;
  scheduler.add(static_cast<int>(&t - threads.data()));
  park(State::ready, t.at);
}

void Worker::give_up() {
  leaving = running ? running->fiber : nullptr;
  running = nullptr;
  jump(nullptr, true);
  __builtin_unreachable();
}

void Worker::ended(Thread& t) {
  t.state = State::exited;
  --live;
  Block& b = *t.block;
  ++b.exited;
  b.warps[static_cast<std::size_t>(t.warp())].exited |= 1u << t.lane();
  if (!t.copies.empty()) finish_copies(t);
  if (b.waiting > 0) release_barrier_if_complete(*this, b);
  if (b.warps[static_cast<std::size_t>(t.warp())].waiting) complete_warp_ops(*this, b, t.warp());
}

void Worker::start_launch(const Launch& l) {
  use_signal_stack();
  at_grid = 0;
  if (!listed) {
    listed = true;
    static std::atomic<int> count{0};
    if (const int i = count++; i < 64) gradus_emu_workers[i] = this;
  }
  launch_serial = static_cast<uint32_t>(l.number) + 1;
  stamp = 1;
  if (check_flags.level >= 2) released.assign(static_cast<std::size_t>(l.blocks), 0);
}

// ---- a block, or all blocks of a cooperative launch ----

void Worker::run_blocks(const Launch& l, int64_t first, int64_t count) {
  const LaunchInfo& info = *l.info;
  launch = &l;
  const int size = l.block_size, total = size * static_cast<int>(count);
  threads.resize(static_cast<std::size_t>(total));
  blocks.resize(static_cast<std::size_t>(count));
  if (arena.size() < kArena * static_cast<std::size_t>(count)) {
    arena.assign(kArena * static_cast<std::size_t>(count), static_cast<char>(0xff));
    cells.assign(arena.size() / 4, Cell{});
  }
  until_preempted = 64;
  scheduler.start(total, options().policy, mix(options().seed) ^ mix(static_cast<uint64_t>(l.number) << 32 | static_cast<uint64_t>(first)));
  set<uint3>(blockDim, info.block), set<uint3>(gridDim, info.grid);
  live = total;
  for (int64_t i = 0; i < count; ++i) {
    Block& b = blocks[static_cast<std::size_t>(i)];
    char* memory = arena.data() + kArena * static_cast<std::size_t>(i);
    std::memset(memory, 0xff, b.arena_used);               // what the last block used
    auto arrays = std::move(b.arrays);
    auto warps = std::move(b.warps);
    arrays.clear();
    b = Block{};
    b.arrays = std::move(arrays);
    b.warps = std::move(warps);
    start_warps(b, size);
    b.worker = this;
    b.serial = ++serial;
    b.cells = cells.data() + kArena / 4 * static_cast<std::size_t>(i);
    b.arena = memory;
    if (info.shared > 0) b.arrays.push_back({nullptr, 0, info.shared, "dynamic shared memory", info.at});
    b.arena_used = (info.shared + 15) / 16 * 16 + kRedZone;
    b.linear = first + i;
    b.index = unravel(b.linear, info.grid);
    b.size = size;
    b.threads = threads.data() + i * size;
    for (int r = 0; r < size; ++r) {
      Thread& t = b.threads[r];
      t.state = State::fresh;
      t.index = unravel(r, info.block);
      t.rank = r;
      t.block = &b;
      t.fiber = nullptr;
      t.op = nullptr;
      t.at = info.at;
      t.spins = 0, t.committed = 0;
      t.fenced = t.released = t.acquired = 0;
      t.copies.clear();
      scheduler.add(static_cast<int>(i) * size + r);
    }
  }
  Thread* t = next();
  leaving = nullptr;
  go_on(t);
  running = nullptr;
  if (fault) {
    error = fault_text();
    fault = nullptr;
  }
  if (check_flags.lint)
    for (Block& b : blocks) lint_block_ended(b);
  if (error.empty()) return;
  for (Thread& u : threads)                                // their frames are dropped as they are
    if (u.fiber && launch->native) {
      abandon_native(*this, u.fiber);
      idle_native.push_back(u.fiber);
      u.fiber = nullptr;
    } else if (u.fiber) {
      u.fiber->context = nullptr;
      u.fiber->fake = nullptr;
#if GRADUS_ASAN
      __asan_unpoison_memory_region(u.fiber->memory + kPage, u.fiber->bytes - kPage);
#endif
      idle.push_back(u.fiber);
      u.fiber = nullptr;
    }
}

// ---- shared memory ----

void* shared_array(const SharedShape& s, std::size_t align, Site at) {
  const Inside t("shared memory", at);
  const std::size_t bytes = s.bytes;
  Block& b = *t->block;
  for (const SharedArray& a : b.arrays)
    if (a.key == s.key) return b.arena + a.offset;
  // Not better aligned than asked for, so that a 16-byte access to an array of floats is noticed here too.
  const std::size_t offset = (b.arena_used + 15) / 16 * 16 + (align < 16 ? align : 0);
  b.static_used += bytes;
  const std::size_t dynamic = b.worker->launch->info->shared;
  if (b.static_used > 48 * 1024 || offset + bytes + kRedZone > kArena)
    fail_thread("shared arrays of " + std::to_string(b.static_used) + " bytes; a kernel may declare 49152, and ask for more as dynamic shared memory (" +
                std::to_string(dynamic) + " bytes here)\n  at        " + place(at));
  b.arena_used = offset + bytes + kRedZone;
  b.arrays.push_back({s.key, offset, bytes, s.name, at, s.element, s.rank, s.extent, s.padded});
  return b.arena + offset;
}

void* dynamic_shared(const char* name, std::size_t element, Site at) {
  const Inside t("dynamic shared memory", at);
  Block& b = *t->block;
  if (b.worker->launch->info->shared == 0)
    fail_thread(std::string("dynamic shared memory ") + name + ", but the launch gives none\n  at        " + place(at));
  SharedArray& a = b.arrays.front();                       // known before any thread runs
  a.name = name, a.element = element, a.at = at;
  return b.arena;
}

// ---- launching ----

namespace {
std::atomic<int64_t> launches{0};
std::mutex kernel_limits_mutex;
std::vector<std::pair<const void*, std::size_t>> kernel_limits;   // of cudaFuncSetAttribute
std::size_t shared_limit(int arch) { return (arch >= 90 ? 227 : arch >= 80 ? 163 : 96) * std::size_t{1024}; }
}  // namespace

cudaError_t allow_shared(const void* kernel, std::size_t bytes) {
  if (bytes > shared_limit(options().arch)) return cudaErrorInvalidValue;
  const std::lock_guard lock(kernel_limits_mutex);
  for (auto& [k, limit] : kernel_limits)
    if (k == kernel) return limit = bytes, cudaSuccess;
  kernel_limits.emplace_back(kernel, bytes);
  return cudaSuccess;
}

cudaError_t resident_blocks(int* blocks, int threads, std::size_t shared) {
  if (threads < 1 || threads > kMaxThreads) return cudaErrorInvalidValue;
  const std::size_t by_shared = shared_limit(options().arch) / std::max<std::size_t>(shared, 1024);
  *blocks = static_cast<int>(std::min<std::size_t>(by_shared, static_cast<std::size_t>(2048 / threads)));
  return cudaSuccess;
}

std::string Launch::kernel_name() const { return symbol_name(info->kernel); }

cudaError_t check_launch(const LaunchInfo& info) {
  const auto volume = [](const dim3& d) { return static_cast<uint64_t>(d.x) * d.y * d.z; };
  const uint64_t threads = volume(info.block), blocks = volume(info.grid);
  if (threads == 0 || threads > kMaxThreads || info.block.z > 64 || blocks == 0 || info.grid.x > 0x7fffffffu ||
      info.grid.y > 65535 || info.grid.z > 65535)
    return cudaErrorInvalidConfiguration;
  if (info.cooperative && threads * blocks > 4096) return cudaErrorCooperativeLaunchTooLarge;
  std::size_t limit = 48 * 1024;
  if (info.shared > limit) {
    const std::lock_guard lock(kernel_limits_mutex);
    for (const auto& [k, l] : kernel_limits)
      if (k == info.kernel) limit = l;
  }
  return info.shared > limit ? cudaErrorInvalidValue : cudaSuccess;
}

cudaError_t run(const LaunchInfo& info) {
  if (running_thread) {
    const Inside t("a launch", info.at);
    fail_thread("a kernel launched another kernel\n  at        " + place(info.at));
  }
  if (const cudaError_t e = check_launch(info); e != cudaSuccess) return e;
  const uint64_t threads = static_cast<uint64_t>(info.block.x) * info.block.y * info.block.z;
  const uint64_t blocks = static_cast<uint64_t>(info.grid.x) * info.grid.y * info.grid.z;
  const std::vector<char> parameters(static_cast<const char*>(info.parameters), static_cast<const char*>(info.parameters) + info.parameter_bytes);
  const Options& o = options();
  Launch l{&info, launches++, static_cast<int>(threads), static_cast<int64_t>(blocks), parameters.data(), parameters.size(), o.native};
  prepare_stop(l);
  install_fault_handler();
  check_flags.level = o.check, check_flags.lint = o.lint, check_flags.preempt = o.policy == Policy::prio;
  std::string error;
  const DeviceAccess access;
  if (info.cooperative) {
    Worker& w = worker();
    w.start_launch(l);
    w.run_blocks(l, 0, l.blocks);
    error = std::move(w.error);
    w.error.clear();
  } else {
    int workers = o.check >= 2 || o.lint || o.native ? 1 : o.workers;
#ifdef _OPENMP
    if (workers == 0) workers = omp_in_parallel() || threads * blocks < 2048 ? 1 : omp_get_max_threads();
#else
    workers = 1;
#endif
    workers = static_cast<int>(std::min<int64_t>(workers, l.blocks));
    // Block i of the schedule is block (start + i * step) mod blocks; step and blocks have no common factor.
    int64_t start = 0, step = 1;
    const Policy policy = options().policy;
    if (policy == Policy::reverse) start = l.blocks - 1, step = l.blocks > 1 ? l.blocks - 1 : 1;
    if (policy != Policy::reverse && policy != Policy::forward) {
      const uint64_t r = mix(options().seed ^ mix(static_cast<uint64_t>(l.number)));
      start = static_cast<int64_t>(r % blocks);
      step = static_cast<int64_t>(mix(r) % blocks);
      while (std::gcd(step, l.blocks) != 1) ++step;
    }
    std::atomic<int64_t> taken{0};
    std::atomic<bool> stop{false};
    std::mutex error_mutex;
    const auto work = [&] {
      Worker& w = worker();
      const DeviceAccess on_this_thread;
      w.start_launch(l);
      for (int64_t i; !stop.load(std::memory_order_relaxed) && (i = taken++) < l.blocks;) {
        w.run_blocks(l, static_cast<int64_t>((static_cast<unsigned __int128>(step) * static_cast<uint64_t>(i) + static_cast<uint64_t>(start)) % blocks), 1);
        if (w.error.empty()) continue;
        stop = true;
        const std::lock_guard lock(error_mutex);
        if (error.empty()) error = std::move(w.error);
        w.error.clear();
      }
    };
    if (workers <= 1) work();
    else {
#ifdef _OPENMP
#pragma omp parallel num_threads(workers)
      work();
#endif
    }
  }
  if (!error.empty()) throw Error(error);
  return cudaSuccess;
}

}  // namespace gradus::emu
