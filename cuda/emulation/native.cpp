// GRADUS_EMU_BACKEND=threads: every CUDA thread is a host thread with a name such as b2.t17, so that a debugger's own thread
// commands work. Only the one that holds the baton runs, in the order of the policy: results are those of the fibers.
#include <pthread.h>
#include <semaphore.h>

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "checks.hpp"

namespace gradus::emu {

constinit thread_local Worker* adopted_worker = nullptr;

struct Native {
  sem_t turn;
  Worker* worker = nullptr;
  Fiber* fiber = nullptr;
  bool abandoned = false;
  std::jmp_buf start;
};

namespace {

// The home of a worker is a host thread of its own; it gets its turn here.
struct Home {
  sem_t turn;
  Home() { sem_init(&turn, 0, 0); }
};
Home& home_of(Worker& w) {
  static std::mutex mutex;
  static std::vector<std::pair<Worker*, Home*>>* homes = new std::vector<std::pair<Worker*, Home*>>;
  const std::lock_guard lock(mutex);
  for (const auto& [worker, home] : *homes)
    if (worker == &w) return *home;
  homes->emplace_back(&w, new Home);
  return *homes->back().second;
}

void wait(sem_t& s) {
  while (sem_wait(&s) != 0) {}                             // a signal came
}

void* native_main(void* p) {
  auto& n = *static_cast<Native*>(p);
  adopted_worker = n.worker;
  use_signal_stack();
  if (setjmp(n.start) != 0) {                              // given up in the middle of a kernel: as after its end
    n.abandoned = false;
    sem_post(&home_of(*n.worker).turn);
  }
  wait(n.turn);
  n.worker->fiber_loop();
  return nullptr;
}

}  // namespace

void start_native(Worker& w, Fiber* f) {
  static std::mutex mutex;
  static auto* all = new std::vector<Fiber*>;              // they live until the program ends
  auto* n = new Native;
  sem_init(&n->turn, 0, 0);
  n->worker = &w, n->fiber = f;
  f->native = n;
  {
    const std::lock_guard lock(mutex);
    all->push_back(f);
  }
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstack(&attributes, f->memory + kPage, f->bytes - kPage);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t id;
  if (pthread_create(&id, &attributes, native_main, n) != 0) {
    std::fputs("gradus: no more threads for GRADUS_EMU_BACKEND=threads\n", stderr);
    std::abort();
  }
  pthread_attr_destroy(&attributes);
}

void switch_native(Worker& w, Fiber* from, Fiber* to) {
  sem_t& mine = from ? from->native->turn : home_of(w).turn;
  sem_post(to ? &to->native->turn : &home_of(w).turn);
  wait(mine);
  if (from && from->native->abandoned) std::longjmp(from->native->start, 1);
}

void abandon_native(Worker& w, Fiber* f) {
  f->native->abandoned = true;
  sem_post(&f->native->turn);
  wait(home_of(w).turn);
}

void name_native(const Thread& t) {
  char name[16];
  std::snprintf(name, sizeof name, "b%lld.t%d", static_cast<long long>(t.block->linear), t.rank);
  pthread_setname_np(pthread_self(), name);
}

}  // namespace gradus::emu
