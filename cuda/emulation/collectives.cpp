// Barriers, warp collectives and atomics' scheduling point.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "checks.hpp"
#include "memory.hpp"

namespace gradus::emu {
namespace {

bool same_place(const Site& a, const Site& b) {
  return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

std::string hex(unsigned mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

const char* name_of(WarpKind k) {
  constexpr const char* names[] = {"__syncwarp", "__shfl_sync", "__shfl_up_sync", "__shfl_down_sync", "__shfl_xor_sync", "__ballot_sync",
                                   "__any_sync", "__all_sync", "__match_any_sync", "__match_all_sync", "__reduce_add_sync", "__reduce_min_sync",
                                   "__reduce_max_sync", "__reduce_and_sync", "__reduce_or_sync", "__reduce_xor_sync", "mma", "ldsm_x4"};
  return names[static_cast<int>(k)];
}

}  // namespace

// ---- the block barrier ----

void release_barrier_if_complete(Worker& w, Block& b) {
  if (b.waiting + b.exited < b.size || b.waiting == 0 || b.mixed) return;
  if (options().strict && b.exited > 0)
    fail_thread(std::to_string(b.exited) + " threads ended before a barrier that " + std::to_string(b.waiting) +
                " wait at (GRADUS_EMU_STRICT)\n  barrier   " + place(b.threads[b.first_waiting].at));
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
  const Inside in("__syncthreads()", at);
  Thread& t = *in;
  Worker& w = *t.block->worker;
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

// Those that waited know what all that came did before; those that only arrived learn nothing.
static void order_named(Block& b, unsigned came, unsigned waited) {
  std::array<uint32_t, kWarp> joined{};
  for (unsigned m = came; m; m &= m - 1) {
    const auto p = static_cast<std::size_t>(std::countr_zero(m));
    WarpClocks& c = b.warps[p];
    for (std::size_t v = 0; v < kWarp; ++v) joined[v] = std::max(joined[v], c.named_known[v]);
    joined[p] = ++c.named_clock;
  }
  for (unsigned m = waited; m; m &= m - 1) b.warps[static_cast<std::size_t>(std::countr_zero(m))].named_known = joined;
}

void named_barrier(int id, int threads, bool wait, Site at) {
  const Inside in("bar_sync()", at);
  Thread& t = *in;
  Worker& w = *t.block->worker;
  Block& b = *t.block;
  if (id < 0 || id >= kNamedBarriers || threads <= 0 || threads % kWarp != 0 || threads > (b.size + kWarp - 1) / kWarp * kWarp)
    fail_thread("named barrier " + std::to_string(id) + " for " + std::to_string(threads) +
                " threads: the id is 1 to 15, the number a multiple of 32 not beyond the block's\n  at        " + place(at));
  NamedBarrier& n = b.named[static_cast<std::size_t>(id)];
  n.warps |= 1u << t.warp();
  if (n.arrived > 0 && n.expected != threads)
    fail_thread("named barrier " + std::to_string(id) + " is used for " + std::to_string(n.expected) + " and for " +
                std::to_string(threads) + " threads\n  at        " + place(at));
  n.expected = threads;
  ++n.arrived;
  t.barrier_id = id;
  if (wait) t.state = State::named, t.at = at;
  if (n.arrived == n.expected) {
    n.arrived = 0;
    unsigned waiting = 0;
    for (int r = 0; r < b.size; ++r)
      if (Thread& u = b.threads[r]; u.state == State::named && u.barrier_id == id) waiting |= 1u << u.warp(), w.wake(u);
    order_named(b, n.warps, waiting);
    n.warps = 0;
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
        if (!(mask >> from & 1u))
          fail_thread("lane " + std::to_string(lane) + " reads from lane " + std::to_string(from) +
                      (any.mask >> from & 1u ? ", which has ended" : ", which is not in the mask " + hex(any.mask)) + "\n  at        " + place(op.at));
        std::memcpy(op.out, lanes[from]->op->in, static_cast<std::size_t>(op.size));
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

// What lanes of the mask did before a __syncwarp is known to all of them after it. No other collective orders memory.
void order_warp(WarpClocks& c, unsigned mask, unsigned alive) {
  if ((mask & alive) == alive) {
    for (std::size_t k = 0; k < kWarp; ++k) c.base[k] = c.clock[k] + 1;
  } else {
    if (!c.partial) {
      c.partial = true;
      for (auto& row : c.known) row.fill(0);
    }
    std::array<uint32_t, kWarp> joined{};
    for (unsigned m = mask & alive; m; m &= m - 1) {
      const auto l = static_cast<std::size_t>(std::countr_zero(m));
      for (std::size_t k = 0; k < kWarp; ++k) joined[k] = std::max(joined[k], c.known[l][k]);
    }
    for (unsigned m = mask & alive; m; m &= m - 1) {
      const auto l = static_cast<std::size_t>(std::countr_zero(m));
      joined[l] = c.clock[l] + 1;
    }
    for (unsigned m = mask & alive; m; m &= m - 1) c.known[static_cast<std::size_t>(std::countr_zero(m))] = joined;
  }
  for (unsigned m = mask & alive; m; m &= m - 1) ++c.clock[static_cast<std::size_t>(std::countr_zero(m))];
}

}  // namespace

void start_warps(Block& b, int threads) {
  b.warps.resize(static_cast<std::size_t>((threads + kWarp - 1) / kWarp));
  int left = threads;
  for (WarpClocks& c : b.warps) {
    c.clock.fill(0), c.base.fill(0), c.named_known.fill(0);
    c.partial = false;
    c.named_clock = 0;
    c.waiting = c.exited = 0;
    c.lanes = left >= kWarp ? ~0u : (1u << left) - 1;
    left -= kWarp;
  }
}

// A collective is complete when every lane of its mask that has not ended waits in it, with the same mask and kind.
void complete_warp_ops(Worker& w, Block& b, int warp) {
  WarpClocks& c = b.warps[static_cast<std::size_t>(warp)];
  const unsigned alive = c.lanes & ~c.exited;
  Thread* lanes[kWarp] = {};
  const auto at = [&](int lane) -> Thread& { return b.threads[warp * kWarp + lane]; };
  for (unsigned rest = c.waiting; rest;) {
    const WarpOp& op = *at(std::countr_zero(rest)).op;
    const unsigned need = op.mask & alive;
    rest &= ~need;
    if (need & ~c.waiting) continue;
    for (unsigned m = need; m; m &= m - 1) lanes[std::countr_zero(m)] = &at(std::countr_zero(m));
    bool complete = true;
    for (unsigned m = need; m && complete; m &= m - 1) {
      const WarpOp& other = *lanes[std::countr_zero(m)]->op;
      complete = other.mask == op.mask && other.kind == op.kind && other.size == op.size;
    }
    if (!complete) continue;
    if (options().strict && (op.mask & c.lanes) != need)
      fail_thread("the mask " + hex(op.mask) + " names lanes that have ended (GRADUS_EMU_STRICT)\n  at        " + place(op.at));
    if (op.kind == WarpKind::sync) order_warp(c, need, alive);
    else if (op.kind >= WarpKind::mma) compute_tile(lanes, need);
    else compute(lanes, need);
    for (unsigned m = need; m; m &= m - 1) w.wake(*lanes[std::countr_zero(m)]);
    c.waiting &= ~need;
  }
}

void warp_collective(WarpOp& op) {
  const Inside in("a warp collective", op.at);
  Thread& t = *in;
  Worker& w = *t.block->worker;
  WarpClocks& c = t.block->warps[static_cast<std::size_t>(t.warp())];
  const unsigned mine = 1u << t.lane();
  if (!(op.mask & mine))
    fail_thread("lane " + std::to_string(t.lane()) + " is not in the mask it gives, " + hex(op.mask) + "\n  at        " + place(op.at));
  if (op.width < 1 || op.width > kWarp || (op.width & (op.width - 1)))
    fail_thread("a shuffle of width " + std::to_string(op.width) + "; it is a power of two up to 32\n  at        " + place(op.at));
  for (unsigned m = c.waiting & op.mask; m; m &= m - 1) {        // lanes that wait for this one, in something else
    const Thread& other = t.block->threads[t.warp() * kWarp + std::countr_zero(m)];
    if (!(other.op->mask & mine) || (other.op->mask == op.mask && other.op->kind == op.kind && other.op->size == op.size)) continue;
    fail_thread(std::string(other.op->mask == op.mask ? "lanes of one warp wait for each other in different collectives"
                                                      : "lanes of one warp wait for each other with different masks") +
                "\n  lane " + std::to_string(other.lane()) + (other.lane() < 10 ? "    " : "   ") + place(other.at) + ", " + name_of(other.op->kind) +
                " with mask " + hex(other.op->mask) + "\n  lane " + std::to_string(t.lane()) + (t.lane() < 10 ? "    " : "   ") + place(op.at) +
                ", " + name_of(op.kind) + " with mask " + hex(op.mask));
  }
  t.op = &op;
  t.state = State::warp;
  t.at = op.at;
  c.waiting |= mine;
  if ((op.mask & c.lanes & ~c.exited & ~c.waiting) == 0) complete_warp_ops(w, *t.block, t.warp());
  w.park(State::warp, op.at);
}

// ---- the grid barrier of a cooperative launch ----

void grid_barrier(Site at) {
  const Inside in("a grid barrier", at);
  Thread& t = *in;
  Worker& w = *t.block->worker;
  if (!w.launch->info->cooperative) fail_thread("a grid barrier in a launch that is not cooperative\n  at        " + place(at));
  t.state = State::grid, t.at = at;
  if (++w.at_grid == w.live) {
    w.at_grid = 0;
    ++w.stamp;
    for (Block& b : w.blocks) {
      ++b.epoch;
      b.released = b.acquired = w.stamp;
      if (!w.released.empty()) w.released[static_cast<std::size_t>(b.linear)] = w.stamp;
    }
    for (Thread& u : w.threads)
      if (u.state == State::grid) w.wake(u);
  }
  w.park(State::grid, at);
}

// ---- 16 bytes at once, asynchronous copies ----

void load16(void* to, const void* p, Site at) {
  const Inside t("load16", at);
  note_access(*t, p, 16, Kind::read, at);
  std::memcpy(to, p, 16);
}
void store16(void* p, const void* from, Site at) {
  const Inside t("store16", at);
  note_access(*t, p, 16, Kind::write, at);
  std::memcpy(p, from, 16);
}

static void finish(Thread& t, const AsyncCopy& c) {
  set_pending(t, c.to, 16, false);
  note_copied(t, c.to, 16, c.at);
  if (c.from && std::memcmp(c.bytes.data(), c.from, 16) != 0)
    fail_thread("the source of a copy_async16 changed before the copy was waited for\n  copy      " + place(c.at));
  std::memcpy(c.to, c.bytes.data(), 16);
}

void copy_async(void* to, const void* from, bool valid, Site at) {
  const Inside in("copy_async16", at);
  Thread& t = *in;
  const Block& b = *t.block;
  if (static_cast<std::size_t>(static_cast<const char*>(to) - b.arena) >= kArena)
    fail_thread("copy_async16 to something else than shared memory\n  at        " + place(at));
  AsyncCopy c{to, valid ? from : nullptr, {}, t.committed, at};
  if (valid) {
    if (!on_device(from)) fail_thread("copy_async16 from something else than device memory\n  at        " + place(at));
    note_access(t, from, 16, Kind::read, at);
    std::memcpy(c.bytes.data(), from, 16);
  }
  note_access(t, to, 16, Kind::write, at);
  std::memset(to, 0xff, 16);                                     // until it is waited for
  set_pending(t, to, 16, true);
  t.copies.push_back(c);
}
void commit_copies(Site at) { ++Inside("copy_async_commit", at)->committed; }
void wait_copies(int newest, Site at) {
  const Inside in("copy_async_wait", at);
  Thread& t = *in;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < t.copies.size(); ++i)
    if (t.copies[i].group < t.committed - newest) finish(t, t.copies[i]);
    else t.copies[kept++] = t.copies[i];
  t.copies.resize(kept);
}
void finish_copies(Thread& t) {
  for (const AsyncCopy& c : t.copies) set_pending(t, c.to, 16, false), std::memcpy(c.to, c.bytes.data(), 16);
  t.copies.clear();
}

void fail_here(const char* what, Site at) {
  const Inside t(what, at);
  fail_thread(std::string(what) + "\n  at        " + place(at));
}
long long clock_now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

}  // namespace gradus::emu
