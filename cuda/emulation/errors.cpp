// Texts of errors, and the options of the environment.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>

#include "checks.hpp"
#include "memory.hpp"

namespace gradus::emu {

constinit CheckFlags check_flags;

const char* name_of(State s) {
  constexpr const char* names[] = {"not started", "ready", "running", "at a barrier", "in a warp collective", "at a named barrier",
                                   "at the grid barrier", "ended"};
  return names[static_cast<int>(s)];
}

std::string place(const Site& at) {
  std::string_view file = at.file_name();
  if (const auto slash = file.rfind('/'); slash != file.npos) file.remove_prefix(slash + 1);
  return std::string(file) + ":" + std::to_string(at.line());
}

namespace {
constexpr const char* kPolicies[] = {"forward", "reverse", "random", "warp-lag", "prio"};
}  // namespace

const char* name_of(Policy p) { return kPolicies[static_cast<int>(p)]; }
Policy policy_named(const std::string& name) {
  for (int i = 0; i < 5; ++i)
    if (name == kPolicies[i]) return static_cast<Policy>(i);
  throw std::invalid_argument("gradus: GRADUS_EMU_SCHED=" + name + "; known: forward, reverse, random, warp-lag, prio");
}

namespace {

Options from_environment() {
  Options o;
  const auto number = [](const char* name, uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text && *text ? std::strtoull(text, nullptr, 0) : otherwise;
  };
  o.seed = number("GRADUS_EMU_SEED", 0);
  o.workers = static_cast<int>(number("GRADUS_EMU_WORKERS", 0));
  o.strict = number("GRADUS_EMU_STRICT", 0) != 0;
  o.arch = static_cast<int>(number("GRADUS_EMU_ARCH", 80));
  o.check = static_cast<int>(number("GRADUS_EMU_CHECK", 1));
  o.lint = number("GRADUS_EMU_LINT", 0) != 0;
  o.lazy = number("GRADUS_EMU_LAZY_STREAMS", 0) != 0;
  if (const char* text = std::getenv("GRADUS_EMU_SCHED"); text && *text) o.policy = policy_named(text);
  if (const char* text = std::getenv("GRADUS_EMU_BACKEND"); text && *text) {
    if (std::strcmp(text, "threads") != 0 && std::strcmp(text, "fibers") != 0)
      throw std::invalid_argument(std::string("gradus: GRADUS_EMU_BACKEND=") + text + "; known: fibers, threads");
    o.native = std::strcmp(text, "threads") == 0;
  }
  return o;
}

std::string index(const uint3& i) {
  return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
}

bool traced() {                                            // by a debugger
  std::FILE* f = std::fopen("/proc/self/status", "r");
  if (!f) return false;
  char line[128];
  int pid = 0;
  while (std::fgets(line, sizeof line, f))
    if (std::sscanf(line, "TracerPid: %d", &pid) == 1) break;
  std::fclose(f);
  return pid != 0;
}

/// "0-31, 64" from a list of ranks in order.
std::string ranges(const std::vector<int>& ranks) {
  std::string text;
  for (std::size_t i = 0; i < ranks.size();) {
    std::size_t j = i;
    while (j + 1 < ranks.size() && ranks[j + 1] == ranks[j] + 1) ++j;
    text += (text.empty() ? "" : ", ") + std::to_string(ranks[i]) + (j > i ? "-" + std::to_string(ranks[j]) : "");
    i = j + 1;
  }
  return text;
}

std::string full_text(Worker& w, const std::string& text, const Thread* t) {
  const LaunchInfo& info = *w.launch->info;
  std::string all = std::string("gradus: ") + (*info.op ? std::string(info.op) + ": " : "") + text;
  all += "\n  kernel    " + w.launch->kernel_name() + " launched at " + place(info.at);
  if (t) all += "\n  block     " + index(t->block->index) + ", thread " + index(t->index);
  return all + "\n  again     " + replay_line();
}

}  // namespace

Options& options() {
  static Options o = from_environment();
  return o;
}

std::string replay_line() {
  return "GRADUS_EMU_SEED=" + std::to_string(options().seed) + " GRADUS_EMU_SCHED=" + name_of(options().policy);
}

Inside::Inside(const char* what, const Site& at) : thread_(running_thread) {
  running_thread = nullptr;
  if (!thread_) throw Error(std::string("gradus: ") + what + " outside of a kernel\n  at        " + place(at));
}

void fail_thread(const std::string& text) {
  Worker& w = worker();
  Thread* t = w.running;
  if (!t) throw Error("gradus: " + text);                  // in host code
  w.error = full_text(w, text, t);
  if (traced()) {
    std::fprintf(stderr, "%s\n", w.error.c_str());
    std::raise(SIGTRAP);                                   // the kernel's line is a few frames up
  }
  w.give_up();
  std::abort();
}

std::string Worker::fault_text() {
  std::string text = fault;
  text += "\n  at        " + source_line(fault_pc);
  if (fault_address) text += "\n  address   " + describe_address(fault_address);
  return full_text(*this, text, fault_thread);
}

// Nothing can run. Threads that wait at the same place are named together.
void report_deadlock(Worker& w) {
  std::map<std::string, std::vector<int>> groups;
  bool barrier = false, warp = false, other = false;
  const Block* block = nullptr;
  for (const Thread& t : w.threads) {
    if (t.state == State::exited) continue;
    if (!block) block = t.block;
    if (t.block != block) continue;                        // the first block that waits stands for all
    barrier |= t.state == State::barrier, warp |= t.state == State::warp, other |= t.state == State::named || t.state == State::grid;
    groups[place(t.at) + ", " + name_of(t.state)].push_back(t.rank);
  }
  std::string text = barrier && !warp && !other ? "barrier divergence: the threads of a block wait at different __syncthreads()"
                     : warp && !barrier && !other ? "lanes wait in a warp collective for lanes that do not come"
                                                  : "the threads of a block wait for each other";
  for (const auto& [where, ranks] : groups) text += "\n  threads   " + ranges(ranks) + " at " + where;
  const Block& b = *block;
  std::vector<int> ended;
  for (int r = 0; r < b.size; ++r)
    if (b.threads[r].state == State::exited) ended.push_back(r);
  if (!ended.empty()) text += "\n  threads   " + ranges(ended) + " have ended";
  Worker& mine = *b.worker;
  mine.error = full_text(mine, text, nullptr);
  mine.error.insert(mine.error.rfind("\n  again"), "\n  block     " + index(b.index));
  if (traced()) {
    std::fprintf(stderr, "%s\n", mine.error.c_str());
    std::raise(SIGTRAP);
  }
  mine.give_up();
  std::abort();
}

}  // namespace gradus::emu
