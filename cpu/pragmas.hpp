// What a loop's compiler is told, in the words of each compiler.
#ifndef GRADUS_CPU_PRAGMAS
#define GRADUS_CPU_PRAGMAS

#define GRADUS_PRAGMA(words) _Pragma(#words)
#if defined(__clang__)
#define GRADUS_UNROLL(n) GRADUS_PRAGMA(clang loop unroll_count(n))
#define GRADUS_IVDEP GRADUS_PRAGMA(clang loop vectorize(assume_safety))
#else
#define GRADUS_UNROLL(n) GRADUS_PRAGMA(GCC unroll n)
#define GRADUS_IVDEP GRADUS_PRAGMA(GCC ivdep)
#endif
#endif
