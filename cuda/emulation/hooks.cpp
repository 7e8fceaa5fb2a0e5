// The functions that code compiled with -fsanitize=thread calls (see checks.cpp), under the names the compilers use.
// In a program that links the sanitizer's own library this file is left out: kernels then run unchecked.
#if !defined(__SANITIZE_THREAD__)
#include "checks.hpp"

namespace gradus::emu {
namespace {

// GCC calls the function of 16 bytes for any object of that size aligned to 8: what is aligned to more, the compiler's own
// check tells (__ubsan_handle_type_mismatch_v1).
inline unsigned alignment_of(unsigned n) { return n < 8 ? n : 8; }

inline void access(const void* p, unsigned n, Kind kind, const void* pc, unsigned alignment) {
  Thread* t = running_thread;
  if (!t) return;
  running_thread = nullptr;                                // as Inside does
  check_access(*t, p, n, kind, Place::of(reinterpret_cast<uintptr_t>(pc) - 1), alignment);
  running_thread = t;
}
/// Volatile accesses are how a kernel says that threads talk through memory: treated as atomic.
inline void atomic_access(const void* p, unsigned n, const void* pc) {
  Thread* t = running_thread;
  if (!t) return;
  running_thread = nullptr;
  check_access(*t, p, n, Kind::atomic, Place::of(reinterpret_cast<uintptr_t>(pc) - 1), alignment_of(n));
  atomic_spin(*t);
  running_thread = t;
}

}  // namespace
}  // namespace gradus::emu

using gradus::emu::access;
using gradus::emu::alignment_of;
using gradus::emu::atomic_access;
using gradus::emu::Kind;
#define PC __builtin_return_address(0)

extern "C" {
void __tsan_init() { gradus::emu::check_flags.instrumented = true; }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_read_range(void* p, std::size_t n) { access(p, static_cast<unsigned>(n), Kind::read, PC, 1); }
void __tsan_write_range(void* p, std::size_t n) { access(p, static_cast<unsigned>(n), Kind::write, PC, 1); }

#define GRADUS_HOOKS(n)                                                                                                                 \
  void __tsan_read##n(void* p) { access(p, n, Kind::read, PC, alignment_of(n)); }                                                       \
  void __tsan_write##n(void* p) { access(p, n, Kind::write, PC, alignment_of(n)); }                                                     \
  void __tsan_unaligned_read##n(void* p) { access(p, n, Kind::read, PC, 1); }                                                           \
  void __tsan_unaligned_write##n(void* p) { access(p, n, Kind::write, PC, 1); }                                                         \
  void __tsan_read_write##n(void* p) { access(p, n, Kind::read, PC, alignment_of(n)), access(p, n, Kind::write, PC, alignment_of(n)); } \
  void __tsan_unaligned_read_write##n(void* p) { access(p, n, Kind::read, PC, 1), access(p, n, Kind::write, PC, 1); }                   \
  void __tsan_volatile_read##n(void* p) { atomic_access(p, n, PC); }                                                                    \
  void __tsan_volatile_write##n(void* p) { atomic_access(p, n, PC); }                                                                   \
  void __tsan_unaligned_volatile_read##n(void* p) { atomic_access(p, n, PC); }                                                          \
  void __tsan_unaligned_volatile_write##n(void* p) { atomic_access(p, n, PC); }
GRADUS_HOOKS(1)
GRADUS_HOOKS(2)
GRADUS_HOOKS(4)
GRADUS_HOOKS(8)
GRADUS_HOOKS(16)
#undef GRADUS_HOOKS

// Atomic built-ins of instrumented code (std::atomic in host code, mostly): the operation itself, sequentially consistent.
#define GRADUS_ATOMICS(bits, T)                                                                                     \
  T __tsan_atomic##bits##_load(const volatile T* p, int) {                                                          \
    atomic_access(const_cast<const T*>(p), bits / 8, PC);                                                           \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                                    \
  }                                                                                                                 \
  void __tsan_atomic##bits##_store(volatile T* p, T v, int) {                                                       \
    atomic_access(const_cast<const T*>(p), bits / 8, PC);                                                           \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                                       \
  }                                                                                                                 \
  GRADUS_ATOMIC_OP(bits, T, exchange, __atomic_exchange_n)                                                          \
  GRADUS_ATOMIC_OP(bits, T, fetch_add, __atomic_fetch_add)                                                          \
  GRADUS_ATOMIC_OP(bits, T, fetch_sub, __atomic_fetch_sub)                                                          \
  GRADUS_ATOMIC_OP(bits, T, fetch_and, __atomic_fetch_and)                                                          \
  GRADUS_ATOMIC_OP(bits, T, fetch_or, __atomic_fetch_or)                                                            \
  GRADUS_ATOMIC_OP(bits, T, fetch_xor, __atomic_fetch_xor)                                                          \
  GRADUS_ATOMIC_OP(bits, T, fetch_nand, __atomic_fetch_nand)                                                        \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile T* p, T* expected, T v, int, int) {                    \
    atomic_access(const_cast<const T*>(p), bits / 8, PC);                                                           \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                  \
  }                                                                                                                 \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile T* p, T* expected, T v, int, int) {                      \
    atomic_access(const_cast<const T*>(p), bits / 8, PC);                                                           \
    return __atomic_compare_exchange_n(p, expected, v, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                   \
  }                                                                                                                 \
  T __tsan_atomic##bits##_compare_exchange_val(volatile T* p, T expected, T v, int, int) {                          \
    atomic_access(const_cast<const T*>(p), bits / 8, PC);                                                           \
    __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                        \
    return expected;                                                                                                \
  }
#define GRADUS_ATOMIC_OP(bits, T, name, builtin)                                                                    \
  T __tsan_atomic##bits##_##name(volatile T* p, T v, int) {                                                         \
    atomic_access(const_cast<const T*>(p), bits / 8, PC);                                                           \
    return builtin(p, v, __ATOMIC_SEQ_CST);                                                                         \
  }
GRADUS_ATOMICS(8, unsigned char)
GRADUS_ATOMICS(16, unsigned short)
GRADUS_ATOMICS(32, unsigned)
GRADUS_ATOMICS(64, unsigned long)
#undef GRADUS_ATOMIC_OP
#undef GRADUS_ATOMICS
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) {}

#ifdef GRADUS_KERNEL_CHECKS
// -fsanitize=alignment: called where the address is no multiple of what the type asks for. The layout is the compilers'.
struct TypeMismatch {
  const char* file;
  uint32_t line, column;
  const void* type;
  uint8_t log_alignment, kind;                             // kind 1: a store
};
void __ubsan_handle_type_mismatch_v1(const TypeMismatch* m, uintptr_t p) {
  gradus::emu::Thread* t = gradus::emu::running_thread;
  if (!t) return;
  gradus::emu::running_thread = nullptr;
  if (gradus::emu::check_flags.level > 0)
    gradus::emu::report_misaligned(reinterpret_cast<const void*>(p), 1u << m->log_alignment, m->kind == 1 ? Kind::write : Kind::read,
                                   gradus::emu::Place::of(reinterpret_cast<uintptr_t>(PC) - 1));
  gradus::emu::running_thread = t;
}
#endif
}
#undef PC
#endif
