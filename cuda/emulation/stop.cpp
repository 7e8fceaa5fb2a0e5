// GRADUS_EMU_BREAK=kernel:bB:tT stops in the debugger when that CUDA thread is about to start: `step` goes into the kernel.
// gdb/gradus_emu.py reads the variable itself and stops on the first line of the kernel instead.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "engine.hpp"

/// For debuggers: the workers that have run blocks, by address; gdb/gradus_emu.py reads it.
extern "C" {
gradus::emu::Worker* gradus_emu_workers[64];
}

namespace gradus::emu {

constinit Stop stop_at;

namespace {
struct Wanted {
  std::string kernel;
  long long block = -1;
  int thread = -1;
};
const Wanted& wanted() {
  static const Wanted w = [] {
    Wanted found;
    const char* text = std::getenv("GRADUS_EMU_BREAK");
    if (!text || !*text) return found;
    const char* block = std::strstr(text, ":b");
    if (!block || std::sscanf(block, ":b%lld:t%d", &found.block, &found.thread) != 2) {
      std::fprintf(stderr, "gradus: GRADUS_EMU_BREAK=%s; it is written kernel:b2:t17\n", text);
      return Wanted();
    }
    found.kernel.assign(text, block);
    return found;
  }();
  return w;
}
}  // namespace

void prepare_stop(const Launch& l) {
  stop_at.wanted = false;
  const Wanted& w = wanted();
  if (w.kernel.empty()) return;
  const std::string name = l.kernel_name();
  std::string bare = name.substr(0, name.find('<'));
  if (const auto colon = bare.rfind("::"); colon != bare.npos) bare.erase(0, colon + 2);
  stop_at = {bare == w.kernel || name == w.kernel, w.block, w.thread};
}

void stop_if_wanted(const Thread& t) {
  if (t.block->linear != stop_at.block || t.rank != stop_at.thread) return;
  stop_at.wanted = false;
  std::fprintf(stderr, "gradus: block %lld, thread %d of %s is about to start: finish, then step\n", static_cast<long long>(t.block->linear), t.rank,
               t.block->worker->launch->kernel_name().c_str());
  std::raise(SIGTRAP);
}

}  // namespace gradus::emu
