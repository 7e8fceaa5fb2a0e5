// The parts of the library that are neither templates nor kernels.
#ifndef GRADUS_HEADER_ONLY
#include <gradus/autograd/engine.hpp>
#include <gradus/autograd/engine_impl.hpp>
#include <gradus/core/error_impl.hpp>
#include <gradus/core/memory_impl.hpp>
#include <gradus/core/parallel_impl.hpp>
#include <gradus/ops/print_impl.hpp>
#endif
