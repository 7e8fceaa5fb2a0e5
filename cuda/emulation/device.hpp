// What a kernel may call: barriers, warp collectives, shared memory, fences, 16-byte accesses.
//
// Each collective takes the place of its call as a defaulted argument, so that an error can name it. Everything that blocks
// is a call into the engine (engine.cpp): the thread parks there and another thread of the block runs.
#pragma once
#include <cassert>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "vector_types.hpp"

namespace gradus::emu {

using Site = std::source_location;

enum class Reduce : uint8_t { none, count, all, any };                 // of __syncthreads_*
enum class WarpKind : uint8_t { sync, shfl, shfl_up, shfl_down, shfl_xor, ballot, any, all, match_any, match_all,
                                add, min_, max_, and_, or_, xor_, mma, ldsm };

/// A lane's part in a warp collective. `in` and `out` point into the lane's stack, which stays as it is while it waits.
struct WarpOp {
  WarpKind kind;
  unsigned mask;
  int size;                  // bytes of a value
  const void* in;
  void* out;
  int arg = 0;               // source lane, distance or xor mask of a shuffle; signedness of a reduction
  int width = 32;
  Site at;
};

int sync_threads(Reduce kind, int predicate, Site at);
void warp_collective(WarpOp& op);
void named_barrier(int id, int threads, bool wait, Site at);
void fence(int scope, Site at);                                        // 0 block, 1 device, 2 system
void atomic_point(const void* p, int bytes, Site at);                  // another thread may run before an atomic
struct SharedShape {
  const void* key;
  const char* name;
  std::size_t bytes, element;
  int rank;
  const std::size_t* extent;
  bool padded;                       // elements may hold bytes that no member covers
};
void* shared_array(const SharedShape& shape, std::size_t align, Site at);
void* dynamic_shared(const char* name, std::size_t element, Site at);
void load16(void* to, const void* p, Site at);                         // with their checks
void store16(void* p, const void* from, Site at);
[[noreturn]] void fail_here(const char* what, Site at);                // ends the block
void grid_barrier(Site at);
void copy_async(void* to, const void* from, bool valid, Site at);
void commit_copies(Site at);
void wait_copies(int newest, Site at);
long long clock_now();

template <class T> T shuffle(WarpKind kind, unsigned mask, T value, int arg, int width, Site at) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 16);
  T result = value;
  WarpOp op{kind, mask, sizeof(T), &value, &result, arg, width, at};
  warp_collective(op);
  return result;
}
template <class T, class R = T> R vote(WarpKind kind, unsigned mask, T value, Site at, int arg = 0) {
  R result{};
  WarpOp op{kind, mask, sizeof(T), &value, &result, arg, 32, at};
  warp_collective(op);
  return result;
}

}  // namespace gradus::emu

// ---- barriers ----
inline void __syncthreads(GRADUS_EMU_AT) { gradus::emu::sync_threads(gradus::emu::Reduce::none, 0, at); }
inline int __syncthreads_count(int p, GRADUS_EMU_AT) { return gradus::emu::sync_threads(gradus::emu::Reduce::count, p, at); }
inline int __syncthreads_and(int p, GRADUS_EMU_AT) { return gradus::emu::sync_threads(gradus::emu::Reduce::all, p, at); }
inline int __syncthreads_or(int p, GRADUS_EMU_AT) { return gradus::emu::sync_threads(gradus::emu::Reduce::any, p, at); }
inline void __syncwarp(unsigned mask = 0xffffffffu, GRADUS_EMU_AT) {
  gradus::emu::WarpOp op{gradus::emu::WarpKind::sync, mask, 0, nullptr, nullptr, 0, 32, at};
  gradus::emu::warp_collective(op);
}
inline void __threadfence_block(GRADUS_EMU_AT) { gradus::emu::fence(0, at); }
inline void __threadfence(GRADUS_EMU_AT) { gradus::emu::fence(1, at); }
inline void __threadfence_system(GRADUS_EMU_AT) { gradus::emu::fence(2, at); }

// ---- shuffles and votes ----
template <class T> T __shfl_sync(unsigned mask, T v, int lane, int width = 32, GRADUS_EMU_AT) {
  return gradus::emu::shuffle(gradus::emu::WarpKind::shfl, mask, v, lane, width, at);
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned d, int width = 32, GRADUS_EMU_AT) {
  return gradus::emu::shuffle(gradus::emu::WarpKind::shfl_up, mask, v, static_cast<int>(d), width, at);
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned d, int width = 32, GRADUS_EMU_AT) {
  return gradus::emu::shuffle(gradus::emu::WarpKind::shfl_down, mask, v, static_cast<int>(d), width, at);
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int x, int width = 32, GRADUS_EMU_AT) {
  return gradus::emu::shuffle(gradus::emu::WarpKind::shfl_xor, mask, v, x, width, at);
}
inline unsigned __ballot_sync(unsigned mask, int p, GRADUS_EMU_AT) {
  return gradus::emu::vote<int, unsigned>(gradus::emu::WarpKind::ballot, mask, p, at);
}
inline int __any_sync(unsigned mask, int p, GRADUS_EMU_AT) { return gradus::emu::vote<int>(gradus::emu::WarpKind::any, mask, p, at); }
inline int __all_sync(unsigned mask, int p, GRADUS_EMU_AT) { return gradus::emu::vote<int>(gradus::emu::WarpKind::all, mask, p, at); }
template <class T> unsigned __match_any_sync(unsigned mask, T v, GRADUS_EMU_AT) {
  return gradus::emu::vote<T, unsigned>(gradus::emu::WarpKind::match_any, mask, v, at);
}
template <class T> unsigned __match_all_sync(unsigned mask, T v, int* all_equal, GRADUS_EMU_AT) {
  const unsigned same = gradus::emu::vote<T, unsigned>(gradus::emu::WarpKind::match_all, mask, v, at);
  *all_equal = same != 0;
  return same;
}
#define GRADUS_EMU_REDUCE(name, kind)                                                                      \
  inline unsigned name(unsigned mask, unsigned v, GRADUS_EMU_AT) {                                         \
    return gradus::emu::vote<unsigned>(gradus::emu::WarpKind::kind, mask, v, at);                          \
  }                                                                                                        \
  inline int name(unsigned mask, int v, GRADUS_EMU_AT) {                                                   \
    return gradus::emu::vote<int>(gradus::emu::WarpKind::kind, mask, v, at, 1);                            \
  }
GRADUS_EMU_REDUCE(__reduce_add_sync, add)
GRADUS_EMU_REDUCE(__reduce_min_sync, min_)
GRADUS_EMU_REDUCE(__reduce_max_sync, max_)
#undef GRADUS_EMU_REDUCE
#define GRADUS_EMU_REDUCE(name, kind)                                                                      \
  inline unsigned name(unsigned mask, unsigned v, GRADUS_EMU_AT) {                                         \
    return gradus::emu::vote<unsigned>(gradus::emu::WarpKind::kind, mask, v, at);                          \
  }
GRADUS_EMU_REDUCE(__reduce_and_sync, and_)
GRADUS_EMU_REDUCE(__reduce_or_sync, or_)
GRADUS_EMU_REDUCE(__reduce_xor_sync, xor_)
#undef GRADUS_EMU_REDUCE

// ---- cached accesses: plain here ----
template <class T> T __ldg(const T* p) { return *p; }
template <class T> T __ldcs(const T* p) { return *p; }
template <class T> T __ldca(const T* p) { return *p; }
template <class T> T __ldcg(const T* p) { return *p; }
template <class T> void __stcs(T* p, T v) { *p = v; }
template <class T> void __stcg(T* p, T v) { *p = v; }

inline long long clock64() { return gradus::emu::clock_now(); }
inline void __nanosleep(unsigned, GRADUS_EMU_AT) { gradus::emu::atomic_point(nullptr, 0, at); }
inline void __trap(GRADUS_EMU_AT) { gradus::emu::fail_here("__trap()", at); }

namespace gradus {

/// 16 bytes at once, as V: float4, or any 16-byte trivially copyable type. `p` must be 16-byte aligned.
template <class V, class T> V load16(const T* p, GRADUS_EMU_AT) {
  static_assert(sizeof(V) == 16 && std::is_trivially_copyable_v<V>);
  V v;
  emu::load16(&v, p, at);
  return v;
}
template <class T, class V> void store16(T* p, const V& v, GRADUS_EMU_AT) {
  static_assert(sizeof(V) == 16 && std::is_trivially_copyable_v<V>);
  emu::store16(p, &v, at);
}

/// Barrier `id` (1 to 15) among the first `threads` that come to it, a multiple of 32; arrive counts without waiting.
inline void bar_sync(int id, int threads, GRADUS_EMU_AT) { emu::named_barrier(id, threads, true, at); }
inline void bar_arrive(int id, int threads, GRADUS_EMU_AT) { emu::named_barrier(id, threads, false, at); }

/// 16 bytes from device to shared memory, both 16-byte aligned, while the thread goes on; zeros when not `valid`. They are
/// there for this thread after the wait for their group, for others after a barrier behind that.
template <class T> void copy_async16(T* shared, const std::type_identity_t<T>* global, bool valid = true, GRADUS_EMU_AT) {
  emu::copy_async(shared, global, valid, at);
}
/// Ends a group of copies of this thread.
inline void copy_async_commit(GRADUS_EMU_AT) { emu::commit_copies(at); }
/// Waits until at most the newest N groups are on their way.
template <int N> void copy_async_wait(GRADUS_EMU_AT) { emu::wait_copies(N, at); }

}  // namespace gradus
