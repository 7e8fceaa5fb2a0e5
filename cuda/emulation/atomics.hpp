// Atomic functions on global and shared memory. Relaxed, as on the device: order comes from __threadfence() and barriers.
#pragma once
#include <bit>

#include "device.hpp"

namespace gradus::emu {

// Not instrumented: the access is reported to the engine as an atomic one by atomic_point.
#define GRADUS_EMU_ATOMIC(name, ...)                                                                       \
  template <class T> __attribute__((no_sanitize("thread"))) T name(T* p, T v, Site at) {                   \
    atomic_point(p, sizeof(T), at);                                                                        \
    __VA_ARGS__                                                                                            \
  }
GRADUS_EMU_ATOMIC(atomic_add, if constexpr (std::is_floating_point_v<T>) {
  using B = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  B* bits = reinterpret_cast<B*>(p);
  B old = __atomic_load_n(bits, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(bits, &old, std::bit_cast<B>(static_cast<T>(std::bit_cast<T>(old) + v)), true,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
  return std::bit_cast<T>(old);
} else return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);)
GRADUS_EMU_ATOMIC(atomic_sub, return __atomic_fetch_sub(p, v, __ATOMIC_RELAXED);)
GRADUS_EMU_ATOMIC(atomic_and, return __atomic_fetch_and(p, v, __ATOMIC_RELAXED);)
GRADUS_EMU_ATOMIC(atomic_or, return __atomic_fetch_or(p, v, __ATOMIC_RELAXED);)
GRADUS_EMU_ATOMIC(atomic_xor, return __atomic_fetch_xor(p, v, __ATOMIC_RELAXED);)
GRADUS_EMU_ATOMIC(atomic_exchange, T old; __atomic_exchange(p, &v, &old, __ATOMIC_RELAXED); return old;)
GRADUS_EMU_ATOMIC(atomic_min, T old = __atomic_load_n(p, __ATOMIC_RELAXED);
                  while (v < old && !__atomic_compare_exchange_n(p, &old, v, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
                  return old;)
GRADUS_EMU_ATOMIC(atomic_max, T old = __atomic_load_n(p, __ATOMIC_RELAXED);
                  while (old < v && !__atomic_compare_exchange_n(p, &old, v, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
                  return old;)
GRADUS_EMU_ATOMIC(atomic_inc, T old = __atomic_load_n(p, __ATOMIC_RELAXED);
                  while (!__atomic_compare_exchange_n(p, &old, old >= v ? T(0) : T(old + 1), true, __ATOMIC_RELAXED,
                                                      __ATOMIC_RELAXED)) {}
                  return old;)
#undef GRADUS_EMU_ATOMIC
template <class T> __attribute__((no_sanitize("thread"))) T atomic_cas(T* p, T expected, T v, Site at) {
  atomic_point(p, sizeof(T), at);
  __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}

template <class T> concept AtomicInt = std::is_same_v<T, int> || std::is_same_v<T, unsigned> || (std::is_integral_v<T> && sizeof(T) == 8);
template <class T> concept AtomicNumber = AtomicInt<T> || std::is_same_v<T, float> || std::is_same_v<T, double>;

}  // namespace gradus::emu

// The value is not deduced, as with CUDA's overloads: atomicAdd(float_pointer, 1) converts.
#define GRADUS_EMU_ATOMIC(Name, name, Concept)                                                             \
  template <gradus::emu::Concept T> T Name(T* p, std::type_identity_t<T> v, GRADUS_EMU_AT) {               \
    return gradus::emu::name<T>(p, v, at);                                                                 \
  }
GRADUS_EMU_ATOMIC(atomicAdd, atomic_add, AtomicNumber)
GRADUS_EMU_ATOMIC(atomicSub, atomic_sub, AtomicInt)
GRADUS_EMU_ATOMIC(atomicMin, atomic_min, AtomicInt)
GRADUS_EMU_ATOMIC(atomicMax, atomic_max, AtomicInt)
GRADUS_EMU_ATOMIC(atomicAnd, atomic_and, AtomicInt)
GRADUS_EMU_ATOMIC(atomicOr, atomic_or, AtomicInt)
GRADUS_EMU_ATOMIC(atomicXor, atomic_xor, AtomicInt)
GRADUS_EMU_ATOMIC(atomicExch, atomic_exchange, AtomicNumber)
#undef GRADUS_EMU_ATOMIC
inline unsigned atomicInc(unsigned* p, unsigned limit, GRADUS_EMU_AT) { return gradus::emu::atomic_inc<unsigned>(p, limit, at); }
template <class T>
  requires gradus::emu::AtomicInt<T> || std::is_same_v<T, unsigned short>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v, GRADUS_EMU_AT) {
  return gradus::emu::atomic_cas<T>(p, expected, v, at);
}
