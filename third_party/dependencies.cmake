# Finds what gradus uses: the system's package first, a download from the library's own site otherwise
# (cmake -DFETCHCONTENT_FULLY_DISCONNECTED=ON forbids that). README.md beside this file says why each is here.
include_guard(GLOBAL)
include(FetchContent)

# Fetches a library that the system does not have; its tests and flags stay off.
macro(gradus_fetch name url)
  message(STATUS "gradus: ${name} is not installed, fetching ${url}")
  set(BUILD_TESTING OFF)
  set(FETCHCONTENT_QUIET ON)
  FetchContent_Declare(${name} URL ${url} ${ARGN})
  FetchContent_MakeAvailable(${name})
endmacro()

# Threads of the kernels. Without it everything runs on one thread.
macro(gradus_find_openmp)
  find_package(OpenMP QUIET COMPONENTS CXX)
  set(GRADUS_OPENMP)
  if(OpenMP_CXX_FOUND)
    set(GRADUS_OPENMP OpenMP::OpenMP_CXX)
  else()
    message(STATUS "gradus: no OpenMP, kernels run on one thread")
  endif()
endmacro()

# Matrix products and decompositions of cpu/.
macro(gradus_find_eigen)
  if(NOT TARGET Eigen3::Eigen)
    find_package(Eigen3 3.4 QUIET NO_MODULE)
  endif()
  if(NOT TARGET Eigen3::Eigen)
    # Headers only: its own CMake project (tests, BLAS, Fortran probes) is not entered.
    message(STATUS "gradus: Eigen >= 3.4 is not installed, fetching it")
    FetchContent_Declare(eigen URL https://gitlab.com/libeigen/eigen/-/archive/3.4.0/eigen-3.4.0.tar.gz
                         SOURCE_SUBDIR headers-only)
    FetchContent_MakeAvailable(eigen)
    add_library(gradus_eigen INTERFACE)
    target_include_directories(gradus_eigen SYSTEM INTERFACE $<BUILD_INTERFACE:${eigen_SOURCE_DIR}>)
    set_target_properties(gradus_eigen PROPERTIES EXPORT_NAME eigen)
    add_library(Eigen3::Eigen ALIAS gradus_eigen)
    install(TARGETS gradus_eigen EXPORT gradusTargets)
  endif()
endmacro()

# Tests. Version 2 (Debian 12) is one header, version 3 (Ubuntu 24.04) a library; tests/support/catch.hpp hides which.
macro(gradus_find_catch2)
  find_package(Catch2 QUIET)
  if(NOT TARGET Catch2::Catch2)
    gradus_fetch(Catch2 https://github.com/catchorg/Catch2/archive/refs/tags/v3.7.1.tar.gz)
  endif()
endmacro()

# Command line and repetition statistics of gradus_bench.
macro(gradus_find_benchmark)
  find_package(benchmark QUIET)
  if(NOT TARGET benchmark::benchmark)
    set(BENCHMARK_ENABLE_TESTING OFF)
    set(BENCHMARK_ENABLE_INSTALL OFF)
    gradus_fetch(benchmark https://github.com/google/benchmark/archive/refs/tags/v1.9.1.tar.gz)
  endif()
endmacro()
