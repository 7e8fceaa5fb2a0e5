// The first include of every .cu file. Under nvcc: CUDA itself and the macros of README.md. Under the host compiler: the
// emulated device, on which the same kernels run, are checked and can be stepped through.
#pragma once

#if defined(__CUDACC__)
#include "hardware.cuh"
#else
#include "emulation/cuda_emulation.hpp"
#endif

#include "launch.cuh"
