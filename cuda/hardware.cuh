// nvcc's side of the macros and functions that kernels use beside plain CUDA (README.md). The only inline PTX outside
// of hopper/ is here.
#pragma once
#include <cooperative_groups.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <type_traits>

#include <gradus/core/dtype.hpp>

#if defined(__CUDA_ARCH__)
#define GRADUS_ARCH (__CUDA_ARCH__ / 10)
#else
#define GRADUS_ARCH 0
#endif

#define GRADUS_PRAGMA(x) _Pragma(#x)
#define GRADUS_UNROLL(n) GRADUS_PRAGMA(unroll n)
#define GRADUS_UNROLL_ALL _Pragma("unroll")

// As bytes: nvcc takes no types with a default value in shared memory, and bf16 and half are such types.
#define GRADUS_SHARED_ALIGNED(align, T, name, ...)                                              \
  __shared__ __align__(align) unsigned char name##_bytes[sizeof(T __VA_ARGS__)];                \
  auto& name = reinterpret_cast<std::type_identity_t<T __VA_ARGS__>&>(name##_bytes)
/// GRADUS_SHARED(float, tile, [32][33]);  GRADUS_SHARED(int, total);
#define GRADUS_SHARED(T, name, ...) GRADUS_SHARED_ALIGNED(alignof(T), T, name, __VA_ARGS__)
/// The same for an array that load16, store16 or copy_async16 touches: aligned to 16 bytes.
#define GRADUS_SHARED16(T, name, ...) GRADUS_SHARED_ALIGNED(16, T, name, __VA_ARGS__)
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

/// 16 bytes from device to shared memory, both 16-byte aligned, while the thread goes on; zeros when not `valid`. They are
/// there for this thread after the wait for their group, for others after a barrier behind that.
template <class T> __device__ __forceinline__ void copy_async16(T* shared, const std::type_identity_t<T>* global, bool valid = true) {
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(valid ? 16 : 0) : "memory");
}
/// Ends a group of copies of this thread.
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most the newest N groups are on their way.
template <int N> __device__ __forceinline__ void copy_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

/// D = A B + C over the warp, 16 x 8 x 16; fragments as emulation/tiles.hpp lists them.
template <class T>
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4]) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, half>);
  if constexpr (std::is_same_v<T, bf16>) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
  } else {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
  }
}
/// Four 8 x 8 matrices of 16-bit elements from shared memory: lane i gives the address of row i % 8 of matrix i / 8.
__device__ __forceinline__ void ldsm_x4(unsigned (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row))) : "memory");
}
__device__ __forceinline__ void ldsm_x4_trans(unsigned (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row))) : "memory");
}

}  // namespace gradus
