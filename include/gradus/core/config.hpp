// Build switches and the few macros that the library has.
//
//   GRADUS_HEADER_ONLY   define it before the first include: the kernels of cpu/ are compiled into this
//                        translation unit and nothing has to be linked (Eigen must be on the include path).
//   GRADUS_HD            marks scalar functions that a CUDA kernel may call too.
//   GRADUS_FUNC          marks definitions that live in *_impl.hpp: inline when header-only, plain otherwise.
#pragma once

#define GRADUS_VERSION_MAJOR 0
#define GRADUS_VERSION_MINOR 1
#define GRADUS_VERSION_PATCH 0
#define GRADUS_VERSION_STRING "0.1.0"

#if defined(__CUDACC__)
#define GRADUS_HD __host__ __device__
#else
#define GRADUS_HD
#endif

#if defined(GRADUS_HEADER_ONLY)
#define GRADUS_FUNC inline
#else
#define GRADUS_FUNC
#endif

#if defined(__SANITIZE_ADDRESS__)
#define GRADUS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GRADUS_ASAN 1
#endif
#endif
#ifndef GRADUS_ASAN
#define GRADUS_ASAN 0
#endif
