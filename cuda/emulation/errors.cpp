// Texts of errors, and the options of the environment.
#include <cxxabi.h>
#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "engine.hpp"

namespace gradus::emu {

const char* name_of(State s) {
  constexpr const char* names[] = {"not started", "ready", "running", "at a barrier", "in a warp collective", "at a named barrier", "at the grid barrier", "ended"};
  return names[static_cast<int>(s)];
}

std::string place(const Site& at) {
  std::string_view file = at.file_name();
  if (const auto slash = file.rfind('/'); slash != file.npos) file.remove_prefix(slash + 1);
  return std::string(file) + ":" + std::to_string(at.line());
}

std::string symbol_name(const void* address) {
  Dl_info info;
  if (!dladdr(address, &info) || !info.dli_sname) return "kernel";
  int status = 0;
  char* text = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
  std::string name = status == 0 ? text : info.dli_sname;
  std::free(text);
  return name;
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
  if (const char* text = std::getenv("GRADUS_EMU_SCHED"); text && *text) o.policy = policy_named(text);
  return o;
}
std::string index(const uint3& i) {
  return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
}
}  // namespace

Options& options() {
  static Options o = from_environment();
  return o;
}

std::string replay_line() {
  return "GRADUS_EMU_SEED=" + std::to_string(options().seed) + " GRADUS_EMU_SCHED=" + name_of(options().policy);
}

void fail_thread(const std::string& text) {
  Worker& w = worker();
  const LaunchInfo& info = *w.launch->info;
  w.error = std::string("gradus: ") + (*info.op ? std::string(info.op) + ": " : "") + text;
  w.error += "\n  kernel    " + w.launch->kernel_name() + " launched at " + place(info.at);
  if (w.running) w.error += "\n  block     " + index(w.running->block->index) + " thread " + index(w.running->index);
  w.error += "\n  again     " + replay_line();
  w.give_up();
  std::abort();
}

void report_deadlock(Worker& w) {
  std::string text = "the threads of a block wait for each other";
  for (const Thread& t : w.threads)
    if (t.state != State::exited) text += "\n  thread " + index(t.index) + " " + name_of(t.state) + " at " + place(t.at);
  fail_thread(text);
}

}  // namespace gradus::emu
