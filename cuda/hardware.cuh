// nvcc's side of the macros and functions that kernels use beside plain CUDA (README.md). The only inline PTX outside
// of hopper/ is here.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <type_traits>

#if defined(__CUDA_ARCH__)
#define GRADUS_ARCH (__CUDA_ARCH__ / 10)
#else
#define GRADUS_ARCH 0
#endif

#define GRADUS_PRAGMA(x) _Pragma(#x)
#define GRADUS_UNROLL(n) GRADUS_PRAGMA(unroll n)
#define GRADUS_UNROLL_ALL _Pragma("unroll")

/// GRADUS_SHARED(float, tile, [32][33]);  GRADUS_SHARED(int, total);
#define GRADUS_SHARED(T, name, ...) __shared__ T name __VA_ARGS__
/// The same for an array that load16, store16 or copy_async16 touches: aligned to 16 bytes.
#define GRADUS_SHARED16(T, name, ...) __shared__ __align__(16) T name __VA_ARGS__
/// T* name: the dynamic shared memory of the launch, aligned to 16 bytes.
#define GRADUS_DYN_SHARED(T, name)                                      \
  extern __shared__ __align__(16) unsigned char gradus_dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(gradus_dynamic_shared)

namespace gradus {

/// 16 bytes at once, as V: float4, or any 16-byte trivially copyable type. `p` must be 16-byte aligned.
template <class V, class T> __device__ __forceinline__ V load16(const T* p) {
  static_assert(sizeof(V) == 16 && std::is_trivially_copyable_v<V>);
  union {
    uint4 bits;
    V value;
  } u{*reinterpret_cast<const uint4*>(p)};
  return u.value;
}
template <class T, class V> __device__ __forceinline__ void store16(T* p, const V& v) {
  static_assert(sizeof(V) == 16 && std::is_trivially_copyable_v<V>);
  uint4 bits;
  memcpy(&bits, &v, 16);
  *reinterpret_cast<uint4*>(p) = bits;
}

/// Barrier `id` (1 to 15) among the first `threads` that come to it, a multiple of 32; arrive counts without waiting.
__device__ __forceinline__ void bar_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void bar_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

}  // namespace gradus
