// Barriers, warp collectives and atomics' scheduling point.
#include <chrono>
#include <cstring>

#include "engine.hpp"

namespace gradus::emu {
namespace {

bool same_place(const Site& a, const Site& b) {
  return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

Thread& me(const char* what, const Site& at) {
  Thread* t = current();
  if (!t) throw Error(std::string("gradus: ") + what + " outside of a kernel\n  at        " + place(at));
  return *t;
}

}  // namespace

// ---- the block barrier ----

void release_barrier_if_complete(Worker& w, Block& b) {
  if (b.waiting + b.exited < b.size || b.waiting == 0 || b.mixed) return;
  int count = 0;
  if (b.reduce != Reduce::none)
    for (int r = 0; r < b.size; ++r)
      if (b.threads[r].state == State::barrier) count += b.threads[r].predicate != 0;
  const int result = b.reduce == Reduce::all ? count == b.waiting : b.reduce == Reduce::any ? count > 0 : count;
  for (int r = 0; r < b.size; ++r)
    if (Thread& t = b.threads[r]; t.state == State::barrier) {
      t.predicate = result;
      w.wake(t);
    }
  b.waiting = 0, b.first_waiting = -1;
  ++b.epoch;
}

int sync_threads(Reduce kind, int predicate, Site at) {
  Thread& t = me("__syncthreads()", at);
  Worker& w = worker();
  Block& b = *t.block;
  if (b.first_waiting < 0) b.first_waiting = t.rank, b.reduce = kind, b.mixed = false;
  else if (!same_place(b.threads[b.first_waiting].at, at)) b.mixed = true;
  t.predicate = predicate;
  t.state = State::barrier;
  t.at = at;
  ++b.waiting;
  release_barrier_if_complete(w, b);
  w.park(State::barrier, at);
  return t.predicate;
}

void named_barrier(int id, int threads, bool wait, Site at) {
  Thread& t = me("bar_sync()", at);
  Worker& w = worker();
  Block& b = *t.block;
  if (id < 0 || id >= kNamedBarriers || threads <= 0 || threads % kWarp != 0 || threads > (b.size + kWarp - 1) / kWarp * kWarp)
    fail_thread("named barrier " + std::to_string(id) + " for " + std::to_string(threads) +
                " threads: the id is 1 to 15, the number a multiple of 32 not beyond the block's\n  at        " + place(at));
  NamedBarrier& n = b.named[static_cast<std::size_t>(id)];
  if (n.arrived > 0 && n.expected != threads)
    fail_thread("named barrier " + std::to_string(id) + " is used for " + std::to_string(n.expected) + " and for " +
                std::to_string(threads) + " threads\n  at        " + place(at));
  n.expected = threads;
  ++n.arrived;
  t.barrier_id = id;
  if (wait) t.state = State::named, t.at = at;
  if (n.arrived == n.expected) {
    n.arrived = 0;
    for (int r = 0; r < b.size; ++r)
      if (Thread& u = b.threads[r]; u.state == State::named && u.barrier_id == id) w.wake(u);
  }
  if (wait) w.park(State::named, at);
}

// ---- warp collectives ----

namespace {

uint64_t bits_of(const WarpOp& op) {
  uint64_t v = 0;
  std::memcpy(&v, op.in, static_cast<std::size_t>(op.size < 8 ? op.size : 8));
  return v;
}

/// The lane whose value `lane` gets.
int source_of(const WarpOp& op, int lane) {
  const int first = lane / op.width * op.width;                          // of the segment
  switch (op.kind) {
    case WarpKind::shfl: return first + (op.arg & (op.width - 1));
    case WarpKind::shfl_up: return lane - op.arg >= first ? lane - op.arg : lane;
    case WarpKind::shfl_down: return lane + op.arg < first + op.width ? lane + op.arg : lane;
    default: {                                                           // xor reads an earlier segment, not a later one
      const int from = lane ^ op.arg;
      return from < first + op.width && from < kWarp ? from : lane;
    }
  }
}

void compute(Thread* const* lanes, unsigned mask) {
  const WarpOp& any = *lanes[std::countr_zero(mask)]->op;
  const auto each = [&](auto&& f) {
    for (unsigned m = mask; m; m &= m - 1) f(std::countr_zero(m), *lanes[std::countr_zero(m)]->op);
  };
  const auto give = [&](auto value) { each([&](int, const WarpOp& op) { std::memcpy(op.out, &value, sizeof value); }); };
  switch (any.kind) {
    case WarpKind::sync: return;
    case WarpKind::shfl:
    case WarpKind::shfl_up:
    case WarpKind::shfl_down:
    case WarpKind::shfl_xor:
      each([&](int lane, const WarpOp& op) {
        const int from = source_of(op, lane);
        if (from == lane) return;                                        // `out` holds the lane's own value
        if (mask >> from & 1u) std::memcpy(op.out, lanes[from]->op->in, static_cast<std::size_t>(op.size));
        else std::memset(op.out, 0xff, static_cast<std::size_t>(op.size));
      });
      return;
    case WarpKind::ballot:
    case WarpKind::any:
    case WarpKind::all: {
      unsigned votes = 0;
      each([&](int lane, const WarpOp& op) { votes |= (bits_of(op) != 0 ? 1u : 0u) << lane; });
      if (any.kind == WarpKind::ballot) give(votes);
      else give(any.kind == WarpKind::any ? static_cast<int>(votes != 0) : static_cast<int>(votes == mask));
      return;
    }
    case WarpKind::match_any:
    case WarpKind::match_all: {
      std::array<unsigned, kWarp> same{};
      each([&](int lane, const WarpOp& op) {
        each([&](int other, const WarpOp& o) { same[static_cast<std::size_t>(lane)] |= (bits_of(o) == bits_of(op) ? 1u : 0u) << other; });
      });
      each([&](int lane, const WarpOp& op) {
        unsigned r = same[static_cast<std::size_t>(lane)];
        if (any.kind == WarpKind::match_all && r != mask) r = 0;
        std::memcpy(op.out, &r, 4);
      });
      return;
    }
    default: {
      unsigned r = static_cast<unsigned>(bits_of(any));
      bool first = true;
      each([&](int, const WarpOp& op) {
        const unsigned v = static_cast<unsigned>(bits_of(op));
        if (first) {
          first = false;
          return;
        }
        const bool less = op.arg ? static_cast<int>(v) < static_cast<int>(r) : v < r;
        switch (op.kind) {
          case WarpKind::add: r += v; break;
          case WarpKind::min_: r = less ? v : r; break;
          case WarpKind::max_: r = less ? r : v; break;
          case WarpKind::and_: r &= v; break;
          case WarpKind::or_: r |= v; break;
          default: r ^= v;
        }
      });
      give(r);
    }
  }
}

}  // namespace

// A collective is complete when every lane of its mask that has not ended waits in it, with the same mask and kind.
void complete_warp_ops(Worker& w, Block& b, int warp) {
  Thread* lanes[kWarp] = {};
  unsigned waiting = 0, alive = 0;
  for (int lane = 0; lane < kWarp && warp * kWarp + lane < b.size; ++lane) {
    Thread& t = b.threads[warp * kWarp + lane];
    lanes[lane] = &t;
    if (t.state == State::warp) waiting |= 1u << lane;
    if (t.state != State::exited) alive |= 1u << lane;
  }
  for (unsigned rest = waiting; rest;) {
    const WarpOp& op = *lanes[std::countr_zero(rest)]->op;
    const unsigned need = op.mask & alive;
    bool complete = (need & ~waiting) == 0;
    for (unsigned m = need & waiting; m && complete; m &= m - 1) {
      const WarpOp& other = *lanes[std::countr_zero(m)]->op;
      complete = other.mask == op.mask && other.kind == op.kind && other.size == op.size;
    }
    rest &= ~need;
    if (!complete) continue;
    compute(lanes, need);
    for (unsigned m = need; m; m &= m - 1) w.wake(*lanes[std::countr_zero(m)]);
  }
}

void warp_collective(WarpOp& op) {
  Thread& t = me("a warp collective", op.at);
  Worker& w = worker();
  if (!(op.mask >> t.lane() & 1u)) fail_thread("lane " + std::to_string(t.lane()) + " is not in the mask it gives\n  at        " + place(op.at));
  t.op = &op;
  t.state = State::warp;
  t.at = op.at;
  complete_warp_ops(w, *t.block, t.warp());
  w.park(State::warp, op.at);
}

unsigned active_lanes() { return 1u << current()->lane(); }
unsigned lane_mask_of(int which) {
  const unsigned bit = 1u << current()->lane();
  const unsigned masks[] = {bit, bit - 1, bit | (bit - 1), ~(bit | (bit - 1)), ~(bit - 1)};
  return masks[which];
}

// ---- memory order, time ----

void fence(int, Site at) { me("__threadfence()", at); }
void atomic_point(const void*, int, Site) {}
void check_aligned(const void* p, std::size_t align, Site at) {
  if (reinterpret_cast<uintptr_t>(p) % align == 0) return;
  char text[96];
  std::snprintf(text, sizeof text, "a %zu-byte access at %p, which is not a multiple of %zu\n  at        ", align, p, align);
  if (!current()) throw Error(std::string("gradus: ") + text + place(at));
  fail_thread(text + place(at));
}
void fail_here(const char* what, Site at) { fail_thread(std::string(what) + "\n  at        " + place(at)); }
long long clock_now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

}  // namespace gradus::emu
