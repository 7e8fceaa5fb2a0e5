// Every load and store of a kernel comes through here.
//
// .cu files are compiled with -fsanitize=thread, which makes the compiler put a call to __tsan_readN(address) or
// __tsan_writeN(address) before each access. The sanitizer's library is not linked: the functions are ours (hooks.cpp), so
// kernels use plain pointers and arrays, and everything is still seen. Host code of the same files comes here too, and leaves
// at the first line.
#include "checks.hpp"

#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "memory.hpp"

namespace gradus::emu {

constinit thread_local Thread* running_thread = nullptr;

namespace {

Cell* global_cells() {                                     // of all device memory, four bytes each; touched where it is used
  static Cell* cells = [] {
    void* p = mmap(nullptr, kDeviceBytes / 4 * sizeof(Cell), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? nullptr : static_cast<Cell*>(p);
  }();
  return cells;
}

// ---- order ----

/// Did thread t see what `a` did? By a barrier, a __syncwarp, a named barrier, or fence + atomic on both sides.
bool ordered(const Access& a, const Thread& t) {
  const Block& b = *t.block;
  const Worker& w = *b.worker;
  if (a.block != static_cast<uint32_t>(b.linear)) {
    const uint32_t released = w.released[a.block];
    return released > a.stamp && b.acquired >= released;
  }
  if (a.rank == t.rank || a.epoch != b.epoch) return true;
  const int warp = a.rank / kWarp;
  const auto lane = static_cast<std::size_t>(a.rank % kWarp);
  const WarpClocks& mine = b.warps[static_cast<std::size_t>(t.warp())];
  if (warp == t.warp()) {
    if (a.lane_clock < mine.base[lane]) return true;
    if (mine.partial && a.lane_clock < mine.known[static_cast<std::size_t>(t.lane())][lane]) return true;
  } else if (a.warp_clock < mine.named_known[static_cast<std::size_t>(warp)]) {
    return true;
  }
  const uint32_t released = b.threads[a.rank].released;
  return released > a.stamp && t.acquired >= released;
}

std::string thread_of(const Access& a, const Thread& now) {
  const dim3& d = now.block->worker->launch->info->block;
  const unsigned r = a.rank;
  std::string text = "thread (" + std::to_string(r % d.x) + ", " + std::to_string(r / d.x % d.y) + ", " + std::to_string(r / d.x / d.y) + ")";
  if (a.block != static_cast<uint32_t>(now.block->linear)) text += " of block " + std::to_string(a.block);
  return text;
}

const char* verb(Kind k) { return k == Kind::read ? "read" : k == Kind::write ? "write" : "atomic"; }

std::string line(Kind k, const Place& where, const std::string& who) {
  std::string text = std::string("\n  ") + verb(k);
  text.resize(13, ' ');
  return text + where.text() + " by " + who;
}

[[noreturn]] void report_race(Thread& t, const Access& before, Kind kind, const Place& where, const std::string& what) {
  Access now;
  now.block = static_cast<uint32_t>(t.block->linear), now.rank = static_cast<uint16_t>(t.rank);
  std::string text = "race on " + what + line(before.kind, before.place, thread_of(before, t)) + line(kind, where, thread_of(now, t));
  text += "\n  between   ";
  if (before.block != now.block) text += "different blocks, whose order is not defined (atomics, or __threadfence() and an atomic)";
  else if (before.rank / kWarp == t.warp()) text += "lanes of one warp, without __syncwarp() or __syncthreads()";
  else text += "no __syncthreads()";
  fail_thread(text);
}

// ---- one word ----

struct Word {
  Cell& cell;
  uint8_t mask;
};

void remember(Access& a, const Thread& t, Kind kind, const Place& where, uint8_t mask) {
  const Block& b = *t.block;
  const WarpClocks& w = b.warps[static_cast<std::size_t>(t.warp())];
  a.place = where;
  a.block = static_cast<uint32_t>(b.linear);
  a.epoch = b.epoch;
  a.lane_clock = w.clock[static_cast<std::size_t>(t.lane())];
  a.warp_clock = w.named_clock;
  a.stamp = b.worker->stamp;
  a.rank = static_cast<uint16_t>(t.rank);
  a.bytes = mask;
  a.kind = kind;
}

/// Null, or the earlier access that races with this one.
const Access* note(Word word, const Thread& t, Kind kind, const Place& where) {
  Cell& c = word.cell;
  const auto clash = [&](const Access& a) {
    return (a.bytes & word.mask) && !(a.kind == Kind::atomic && kind == Kind::atomic) && !ordered(a, t);
  };
  const auto same = [&](const Access& a) { return a.bytes && a.rank == t.rank && a.block == static_cast<uint32_t>(t.block->linear); };
  if (clash(c.write)) return &c.write;
  if (kind == Kind::read) {
    Access& first = c.read[0];
    if (!first.bytes || same(first) || ordered(first, t)) {
      const uint8_t before = same(first) && first.epoch == t.block->epoch ? first.bytes : uint8_t{0};
      remember(first, t, kind, where, word.mask | before);
    } else {
      remember(c.read[1], t, kind, where, word.mask);
    }
    return nullptr;
  }
  for (const Access& r : c.read)
    if (clash(r)) return &r;
  const uint8_t before = same(c.write) && c.write.epoch == t.block->epoch && c.write.kind == kind ? c.write.bytes : uint8_t{0};
  remember(c.write, t, kind, where, word.mask | before);
  return nullptr;
}

/// f(cell index, mask) for the words that [offset, offset + n) touches; stops when f returns false.
template <class F> void each_word(std::size_t offset, unsigned n, F&& f) {
  std::size_t word = offset / 4;
  unsigned skip = offset % 4;
  while (n > 0) {
    const unsigned here = std::min(4 - skip, n);
    if (!f(word, static_cast<uint8_t>(((1u << here) - 1) << skip))) return;
    n -= here, skip = 0, ++word;
  }
}

// ---- shared memory ----

std::string element(const SharedArray& a, std::size_t offset) {
  if (a.rank == 0 && a.bytes == a.element) return a.name;
  std::string text;
  std::size_t i = (offset - a.offset) / a.element;
  for (int d = a.rank - 1; d > 0; --d) {
    text = "[" + std::to_string(i % a.extent[d]) + "]" + text;
    i /= a.extent[d];
  }
  return std::string(a.name) + "[" + std::to_string(i) + "]" + text;
}

[[noreturn]] void report_shared_bounds(const Block& b, std::size_t offset, unsigned n, Kind kind, const Place& where) {
  const SharedArray* nearest = nullptr;                    // the last one that starts before
  for (const SharedArray& a : b.arrays)
    if (a.offset <= offset && (!nearest || a.offset > nearest->offset)) nearest = &a;
  std::string text = "shared memory out of bounds\n  " + std::string(verb(kind));
  text.resize(text.rfind('\n') + 13, ' ');
  text += where.text() + ", " + std::to_string(n) + " bytes";
  if (nearest)
    text += "\n  array     " + std::string(nearest->name) + " of " + std::to_string(nearest->bytes) + " bytes, declared at " +
            place(nearest->at) + "; byte " + std::to_string(offset - nearest->offset);
  fail_thread(text);
}

void shared_access(Thread& t, std::size_t offset, unsigned n, Kind kind, const Place& where) {
  Block& b = *t.block;
  const SharedArray* array = nullptr;
  for (const SharedArray& a : b.arrays)
    if (offset - a.offset < a.bytes && offset + n <= a.offset + a.bytes) array = &a;
  if (!array) report_shared_bounds(b, offset, n, kind, where);
  // An object with padding is written member by member and may be copied as a whole: then one written byte is enough.
  bool some_written = false;
  if (kind != Kind::write && array->padded && n > 4)
    each_word(offset, n, [&](std::size_t i, uint8_t mask) { return !(some_written = b.cells[i].owner == b.serial && (b.cells[i].written & mask)); });
  each_word(offset, n, [&](std::size_t i, uint8_t mask) {
    Cell& c = b.cells[i];
    if (c.owner != b.serial) c = Cell(), c.owner = b.serial;
    if (const Access* a = note({c, mask}, t, kind, where)) report_race(t, *a, kind, where, element(*array, offset));
    if (c.pending & mask)
      fail_thread(std::string("shared memory is ") + (kind == Kind::read ? "read" : "written") + " before the copy_async16 that fills it was waited for: " +
                  element(*array, offset) + "\n  " + (kind == Kind::read ? "read      " : "write     ") + where.text());
    if (kind == Kind::write) c.written |= mask;
    else if ((mask & ~c.written) && !some_written)
      fail_thread("shared memory is read before it was written: " + element(*array, offset) + "\n  read      " + where.text() +
                  "\n  array     declared at " + place(array->at) +
                  "; no thread of the block has written it (a __syncthreads() too few?)");
    return true;
  });
}

// ---- device memory, and the rest ----

[[noreturn]] void report_address(const void* p, unsigned n, Kind kind, const Place& where, const char* what) {
  std::string text = std::string(what) + "\n  " + verb(kind);
  text.resize(text.rfind('\n') + 13, ' ');
  fail_thread(text + where.text() + ", " + std::to_string(n) + " bytes\n  address   " + describe_address(p));
}

void device_access(Thread& t, const char* p, unsigned n, Kind kind, const Place& where) {
  const Allocation* a = allocation_at(p);
  if (!a || p + n > a->start + a->bytes || !a->live)
    report_address(p, n, kind, where, a && !a->live ? "device memory used after it was freed" : "device memory out of bounds");
  if (check_flags.level < 2) return;
  Cell* cells = global_cells();
  if (!cells) return;
  const uint32_t owner = t.block->worker->launch_serial;
  each_word(static_cast<std::size_t>(p - device_memory.base), n, [&](std::size_t i, uint8_t mask) {
    Cell& c = cells[i];
    if (c.owner != owner) c = Cell(), c.owner = owner;
    if (const Access* before = note({c, mask}, t, kind, where))
      report_race(t, *before, kind, where, "device memory\n  address   " + describe_address(p));
    return true;
  });
}

struct Range {
  uintptr_t begin, end;
};
/// Constants and tables of the program and its libraries: what __constant__ is here.
bool in_program(uintptr_t p) {
  static const std::vector<Range> ranges = [] {
    std::vector<Range> found;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* out) {
          for (int i = 0; i < info->dlpi_phnum; ++i)
            if (const auto& h = info->dlpi_phdr[i]; h.p_type == PT_LOAD)
              static_cast<std::vector<Range>*>(out)->push_back({info->dlpi_addr + h.p_vaddr, info->dlpi_addr + h.p_vaddr + h.p_memsz});
          return 0;
        },
        &found);
    return found;
  }();
  for (const Range& r : ranges)
    if (p - r.begin < r.end - r.begin) return true;
  return false;
}

void other_access(Thread& t, const char* p, unsigned n, Kind kind, const Place& where) {
  const Launch& l = *t.block->worker->launch;
  const auto at = reinterpret_cast<uintptr_t>(p);
  if (at - reinterpret_cast<uintptr_t>(l.parameters) < l.parameter_bytes) return;
  if (in_program(at) || on_pinned_host(p, n)) return;
  report_address(p, n, kind, where, "a kernel uses memory that is not on the device");
}

}  // namespace

void report_misaligned(const void* p, unsigned alignment, Kind kind, const Place& where) {
  const std::string n = std::to_string(alignment);
  report_address(p, alignment, kind, where, ("a " + n + "-byte access at an address that is not a multiple of " + n).c_str());
}

void check_access(Thread& t, const void* pointer, unsigned n, Kind kind, const Place& where, unsigned alignment) {
  const auto* p = static_cast<const char*>(pointer);
  if (static_cast<std::size_t>(p - t.fiber->memory) < t.fiber->bytes) return;     // its own local variables
  if (check_flags.level == 0) return;
  if (reinterpret_cast<uintptr_t>(p) & (alignment - 1)) report_misaligned(p, alignment, kind, where);
  Block& b = *t.block;
  if (check_flags.lint) lint_access(t, p, n, kind, where);
  if (const auto offset = static_cast<std::size_t>(p - b.arena); offset < kArena) {
    if (check_flags.preempt) preempt(t);
    return shared_access(t, offset, n, kind, where);
  }
  if (on_device(p)) return device_access(t, p, n, kind, where);
  other_access(t, p, n, kind, where);
}

// ---- accesses that the functions of device.hpp make themselves ----

void note_access(Thread& t, const void* p, unsigned n, Kind kind, const Site& at) {
  check_access(t, p, n, kind, Place::of(at), n <= 16 && std::has_single_bit(n) ? n : 1);
}
void note_copied(Thread& t, const void* to, unsigned n, const Site& at) {
  if (check_flags.level == 0) return;
  if (check_flags.preempt) preempt(t);
  shared_access(t, static_cast<std::size_t>(static_cast<const char*>(to) - t.block->arena), n, Kind::write, Place::of(at));
}

void set_pending(Thread& t, const void* p, unsigned n, bool pending) {
  Block& b = *t.block;
  const auto offset = static_cast<std::size_t>(static_cast<const char*>(p) - b.arena);
  if (offset >= kArena) return;
  each_word(offset, n, [&](std::size_t i, uint8_t mask) {
    Cell& c = b.cells[i];
    if (pending) c.pending |= mask;
    else c.pending &= static_cast<uint8_t>(~mask);
    return true;
  });
}

void atomic_point(const void* p, int bytes, Site at) {
  const Inside t("an atomic function", at);
  Worker& w = *t->block->worker;
  if (bytes > 0) {
    note_access(*t, p, static_cast<unsigned>(bytes), Kind::atomic, at);
    // An atomic after a fence publishes what the thread, and by barriers its block, did before the fence.
    Block& b = *t->block;
    if (t->fenced) {
      t->released = t->fenced;
      b.released = std::max(b.released, t->fenced);
      if (b.linear < static_cast<int64_t>(w.released.size())) w.released[static_cast<std::size_t>(b.linear)] = b.released;
    }
    t->acquired = b.acquired = w.stamp;
  }
  t->at = at;
  atomic_spin(*t);
}

void atomic_spin(Thread& t) {
  Worker& w = *t.block->worker;
  if (++t.spins < 64 && !(check_flags.preempt && w.scheduler.random() % 16 == 0)) return;
  t.spins = 0;
  w.yield();
}

void preempt(Thread& t) {
  Worker& w = *t.block->worker;
  if (--w.until_preempted > 0) return;
  w.until_preempted = 1 + static_cast<int>(w.scheduler.random() % 512);
  w.scheduler.demote(static_cast<int>(&t - w.threads.data()));
  w.yield();
}

void fence(int, Site at) {
  const Inside t("__threadfence()", at);
  t->fenced = ++t->block->worker->stamp;
}

}  // namespace gradus::emu
