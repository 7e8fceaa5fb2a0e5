// The vector types of CUDA with its alignments, dim3 and the index objects of a thread.
#pragma once
#include <cstdint>
#include <source_location>

/// The last parameter of what a report can name: the place of the call.
#define GRADUS_EMU_AT std::source_location at = std::source_location::current()

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};

// T2 and T4 are aligned to their size (at most 16 bytes), T1 and T3 to their element: as in vector_types.h.
#define GRADUS_EMU_VECTOR(T, name, align2, align4)                                      \
  struct name##1 { T x; };                                                              \
  struct alignas(align2) name##2 { T x, y; };                                           \
  struct name##3 { T x, y, z; };                                                        \
  struct alignas(align4) name##4 { T x, y, z, w; };                                     \
  constexpr name##1 make_##name##1(T x) { return {x}; }                                 \
  constexpr name##2 make_##name##2(T x, T y) { return {x, y}; }                         \
  constexpr name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                 \
  constexpr name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
GRADUS_EMU_VECTOR(signed char, char, 2, 4)
GRADUS_EMU_VECTOR(unsigned char, uchar, 2, 4)
GRADUS_EMU_VECTOR(short, short, 4, 8)
GRADUS_EMU_VECTOR(unsigned short, ushort, 4, 8)
GRADUS_EMU_VECTOR(int, int, 8, 16)
GRADUS_EMU_VECTOR(float, float, 8, 16)
GRADUS_EMU_VECTOR(double, double, 16, 16)
GRADUS_EMU_VECTOR(long long, longlong, 16, 16)
GRADUS_EMU_VECTOR(unsigned long long, ulonglong, 16, 16)
#undef GRADUS_EMU_VECTOR

struct uint1 { unsigned x; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
constexpr uint1 make_uint1(unsigned x) { return {x}; }
constexpr uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
constexpr uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
constexpr uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// Set whenever a thread of a block gets the processor. Plain thread-local objects, so that `print threadIdx` works in a
// debugger; a block never leaves its host thread, so a compiler that keeps their address is right. Constant for the kernel,
// as on the device; of plain types, so that the compiler knows it and their reads need no check.
#define GRADUS_EMU_TLS extern constinit const thread_local __attribute__((tls_model("initial-exec")))
GRADUS_EMU_TLS uint3 threadIdx;
GRADUS_EMU_TLS uint3 blockIdx;
GRADUS_EMU_TLS uint3 blockDim;
GRADUS_EMU_TLS uint3 gridDim;
#undef GRADUS_EMU_TLS
inline constexpr int warpSize = 32;
