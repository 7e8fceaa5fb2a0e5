// What a profiler would say about memory accesses, from the addresses of a warp at one line: bank conflicts of shared memory
// (32 banks of four bytes; lanes of one bank with different words go one after the other) and sectors of 32 bytes that a
// request to device memory touches. GRADUS_EMU_LINT=1 prints a table at the end of the program.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>

#include "checks.hpp"
#include "lint.hpp"
#include "memory.hpp"

namespace gradus::emu {
namespace {

struct Request {                   // the k-th time that a warp comes to a line
  unsigned lanes = 0;
  std::array<const char*, kWarp> address{};
  unsigned bytes = 0;
};
/// A copy_async16 reads device memory and writes shared memory at one line: the kind belongs to the place.
struct AccessLine {
  uintptr_t place;
  Kind kind;
  auto operator<=>(const AccessLine&) const = default;
};
struct Key {
  AccessLine access;
  int warp;
  unsigned times;
  bool operator==(const Key&) const = default;
};
struct Hash {
  std::size_t operator()(const Key& k) const { return (k.access.place + static_cast<std::size_t>(k.access.kind)) * 0x9e3779b97f4a7c15u ^ static_cast<std::size_t>(k.warp) << 20 ^ k.times; }
};

std::unordered_map<Key, Request, Hash> requests;                     // of the running block; lint uses one worker
std::map<std::pair<AccessLine, int>, unsigned> visits;                   // and by thread
std::map<AccessLine, LintLine> totals;

unsigned conflicts(const Request& r) {                                // passes that the request takes
  unsigned passes = 0;
  // 8- and 16-byte accesses are served by halves and quarters of the warp.
  const unsigned group = r.bytes <= 4 ? 32 : r.bytes == 8 ? 16 : 8;
  for (unsigned begin = 0; begin < kWarp; begin += group) {
    std::array<std::set<uintptr_t>, kWarp> words;
    for (unsigned l = begin; l < begin + group; ++l)
      if (r.lanes >> l & 1u)
        for (unsigned b = 0; b < std::max(r.bytes, 4u); b += 4) {
          const uintptr_t word = (reinterpret_cast<uintptr_t>(r.address[l]) + b) / 4;
          words[word % kWarp].insert(word);
        }
    std::size_t most = 0;
    for (const auto& w : words) most = std::max(most, w.size());
    passes += static_cast<unsigned>(most);
  }
  return passes;
}
unsigned sectors(const Request& r) {
  std::set<uintptr_t> touched;
  for (unsigned l = 0; l < kWarp; ++l)
    if (r.lanes >> l & 1u) {
      touched.insert(reinterpret_cast<uintptr_t>(r.address[l]) / 32);
      touched.insert((reinterpret_cast<uintptr_t>(r.address[l]) + r.bytes - 1) / 32);
    }
  return static_cast<unsigned>(touched.size());
}
/// What the same lanes would need at best.
unsigned best(const Request& r, bool shared) {
  const auto bytes = static_cast<unsigned>(std::popcount(r.lanes)) * r.bytes;
  return shared ? std::max(1u, (bytes + 127) / 128) : std::max(1u, (bytes + 31) / 32);
}

}  // namespace

void lint_access(Thread& t, const char* p, unsigned n, Kind kind, const Place& where) {
  const bool shared = static_cast<std::size_t>(p - t.block->arena) < kArena;
  if (!shared && !on_device(p)) return;
  static const bool printed_at_exit = [] {
    if (const char* text = std::getenv("GRADUS_EMU_LINT"); text && *text && *text != '0')
      std::atexit([] { std::fputs(lint_table().c_str(), stderr); });
    return true;
  }();
  (void)printed_at_exit;
  const AccessLine access{where.value, kind};
  Request& r = requests[{access, t.warp(), visits[{access, t.rank}]++}];
  r.lanes |= 1u << t.lane();
  r.address[static_cast<std::size_t>(t.lane())] = p;
  r.bytes = n;
}

void lint_block_ended(Block& b) {
  for (const auto& [key, r] : requests) {
    const auto* first = r.address[static_cast<std::size_t>(std::countr_zero(r.lanes))];
    const bool shared = static_cast<std::size_t>(first - b.arena) < kArena;
    LintLine& line = totals[key.access];
    line.shared = shared, line.kind = key.access.kind;
    ++line.requests;
    line.passes += shared ? conflicts(r) : sectors(r);
    line.best += best(r, shared);
  }
  requests.clear(), visits.clear();
}

std::vector<LintLine> lint_lines() {
  std::vector<LintLine> lines;
  for (auto [access, line] : totals) {
    line.place = Place{access.place}.text();
    lines.push_back(line);
  }
  std::sort(lines.begin(), lines.end(), [](const LintLine& a, const LintLine& b) { return a.passes * b.best > b.passes * a.best; });
  return lines;
}
void lint_reset() { totals.clear(); }

std::string lint_table() {
  std::string text = "gradus: accesses of warps; a factor above 1 is time lost to bank conflicts or to sectors that are read in part\n"
                     "  place                          what             requests  per request  at best  factor\n";
  for (const LintLine& l : lint_lines()) {
    char row[256];
    const auto n = static_cast<double>(l.requests);
    std::snprintf(row, sizeof row, "  %-30s %-6s %-9s %8zu  %11.2f  %7.2f  %6.2f\n", l.place.c_str(), l.shared ? "shared" : "device",
                  l.kind == Kind::read ? "read" : l.kind == Kind::write ? "write" : "atomic", l.requests, static_cast<double>(l.passes) / n,
                  static_cast<double>(l.best) / n, static_cast<double>(l.passes) / static_cast<double>(l.best));
    text += row;
  }
  return text;
}

}  // namespace gradus::emu
