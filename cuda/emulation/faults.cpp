// Faults of the processor that belong to the emulated device: a host access to device memory, a kernel that leaves every
// known memory without a check having seen it, the end of a thread's stack.
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>

#include "checks.hpp"
#include "memory.hpp"

namespace gradus::emu {
namespace {

struct sigaction before_segv, before_bus;

void pass_on(int signal, siginfo_t* info, void* context) {
  const struct sigaction& old = signal == SIGSEGV ? before_segv : before_bus;
  if (old.sa_flags & SA_SIGINFO && old.sa_sigaction) return old.sa_sigaction(signal, info, context);
  if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN) return old.sa_handler(signal);
  sigaction(signal, &old, nullptr);                        // the instruction faults again, and now ends the program
}

void on_fault(int signal, siginfo_t* info, void* context) {
  const auto* address = static_cast<const char*>(info->si_addr);
  if (Thread* t = running_thread) {
    Worker& w = *t->block->worker;
#if defined(__x86_64__)
    w.fault_pc = static_cast<uintptr_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
    w.fault_pc = static_cast<ucontext_t*>(context)->uc_mcontext.pc;
#endif
    const bool overflow = static_cast<std::size_t>(address - t->fiber->memory) < kPage;
    w.fault = overflow ? "the stack of a thread is full (256 KiB): deep recursion, or large local arrays"
                       : "a kernel uses an address that is not mapped";
    w.fault_address = overflow ? nullptr : address;
    w.fault_thread = t;
    running_thread = nullptr;
    w.give_up();                                           // leaves the handler, whose stack is not needed again
  }
  if (on_device(address)) {
    char text[512];
    const Allocation* a = allocation_at(address);
    const int n = std::snprintf(text, sizeof text,
                                "gradus: host code uses device memory at %p%s%s; copy it to the host first (to_host, cudaMemcpy)\n",
                                static_cast<const void*>(address), a ? ", allocated at " : "", a ? place(a->allocated).c_str() : "");
    if (n > 0 && write(STDERR_FILENO, text, static_cast<std::size_t>(n)) < 0) _exit(1);
  }
  pass_on(signal, info, context);
}

}  // namespace

// Called before each launch: test frameworks put their own handlers in and take them out again.
void install_fault_handler() {
  struct sigaction act{}, now{};
  if (sigaction(SIGSEGV, nullptr, &now) == 0 && now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_fault) return;
  act.sa_sigaction = on_fault;
  act.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGSEGV, &act, &before_segv);
  sigaction(SIGBUS, &act, &before_bus);
}

// A full stack cannot hold the handler's frame.
void use_signal_stack() {
  thread_local std::unique_ptr<char[]> memory;
  stack_t now{};
  if (sigaltstack(nullptr, &now) == 0 && !(now.ss_flags & SS_DISABLE)) return;
  constexpr std::size_t bytes = 64 * 1024;
  if (!memory) memory.reset(new char[bytes]);
  stack_t s{};
  s.ss_sp = memory.get(), s.ss_size = bytes;
  sigaltstack(&s, nullptr);
}

}  // namespace gradus::emu
