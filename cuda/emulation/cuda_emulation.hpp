// CUDA for a machine without a GPU: included by cuda/platform.cuh when the host compiler compiles a .cu file.
// ../README.md says which part of CUDA a kernel may use; engine.hpp how it runs.
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#ifndef __restrict__
#define __restrict__ __restrict
#endif

#include "vector_types.hpp"

#include "device.hpp"

#include "atomics.hpp"
#include "cooperative_groups.hpp"
#include "launch.hpp"
#include "math.hpp"
#include "runtime_api.hpp"
#include "shared.hpp"
#include "tiles.hpp"

#ifndef GRADUS_EMU_ARCH
#define GRADUS_EMU_ARCH 80
#endif
#define GRADUS_ARCH GRADUS_EMU_ARCH

// Loops stay loops here: a debugger steps through them, and a file of element-wise kernels compiles in a third of the time.
#define GRADUS_UNROLL(n)
#define GRADUS_UNROLL_ALL
