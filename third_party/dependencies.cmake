# Finds what gradus uses: the system's package first, a download from the library's own site otherwise
# (cmake -DFETCHCONTENT_FULLY_DISCONNECTED=ON forbids that). README.md beside this file says why each is here.
include_guard(GLOBAL)
include(FetchContent)

# Fetches a library that the system does not have; its own tests and installation stay off.
macro(gradus_fetch name url)
  message(STATUS "gradus: ${name} is not installed, fetching ${url}")
  set(BUILD_TESTING OFF)
  FetchContent_Declare(${name} URL ${url} DOWNLOAD_EXTRACT_TIMESTAMP ON ${ARGN})
  FetchContent_MakeAvailable(${name})
  set(GRADUS_FETCHED ${GRADUS_FETCHED} ${name})
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

# Matrix products and decompositions of cpu/. Headers only: Eigen's own CMake project is not entered.
macro(gradus_find_eigen)
  if(NOT TARGET Eigen3::Eigen)
    find_package(Eigen3 3.4 QUIET NO_MODULE)
  endif()
  if(NOT TARGET Eigen3::Eigen)
    gradus_fetch(eigen https://gitlab.com/libeigen/eigen/-/archive/3.4.0/eigen-3.4.0.tar.gz SOURCE_SUBDIR headers-only)
    add_library(gradus_eigen INTERFACE)
    target_include_directories(gradus_eigen SYSTEM INTERFACE ${eigen_SOURCE_DIR})
    add_library(Eigen3::Eigen ALIAS gradus_eigen)
  endif()
endmacro()

# Stacks of the emulated device's threads. Boost.Context alone, which is a small compiled library.
macro(gradus_find_boost_context)
  find_package(Boost QUIET COMPONENTS context)
  if(NOT TARGET Boost::context)
    message(FATAL_ERROR "gradus: the emulated device needs Boost.Context (Debian, Ubuntu: libboost-context-dev); "
                        "install it or configure with -DGRADUS_CUDA=OFF")
  endif()
endmacro()

# Command lines of <gradus/app/args.hpp>, .gz, .png and .jpg files of <gradus/io/...>. `required`: fetch what is missing.
macro(gradus_find_app required)
  find_package(CLI11 QUIET)
  find_package(ZLIB QUIET)
  if(${required} AND NOT TARGET CLI11::CLI11)
    gradus_fetch(CLI11 https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.4.2.tar.gz)
  endif()
  if(${required} AND NOT TARGET ZLIB::ZLIB)
    gradus_fetch(zlib https://github.com/madler/zlib/releases/download/v1.3.1/zlib-1.3.1.tar.gz)
    add_library(gradus_zlib INTERFACE)
    target_link_libraries(gradus_zlib INTERFACE zlibstatic)
    target_include_directories(gradus_zlib SYSTEM INTERFACE ${zlib_SOURCE_DIR} ${zlib_BINARY_DIR})
    add_library(ZLIB::ZLIB ALIAS gradus_zlib)
  endif()
  # stb_image, one header: /usr/include/stb is found by the compiler itself, other places are named to it.
  find_path(GRADUS_STB_INCLUDE_DIR stb_image.h PATH_SUFFIXES stb)
  mark_as_advanced(GRADUS_STB_INCLUDE_DIR)
  set(GRADUS_STB_DIR)
  if(GRADUS_STB_INCLUDE_DIR)
    if(NOT GRADUS_STB_INCLUDE_DIR STREQUAL "/usr/include/stb")
      set(GRADUS_STB_DIR ${GRADUS_STB_INCLUDE_DIR})
    endif()
  elseif(${required})
    gradus_fetch(stb https://github.com/nothings/stb/archive/31c1ad37456438565541f4919958214b6e762fb4.tar.gz)
    set(GRADUS_STB_DIR ${stb_SOURCE_DIR})
  endif()
  set(GRADUS_APP_LIBRARIES)
  if(TARGET CLI11::CLI11 AND TARGET ZLIB::ZLIB)
    set(GRADUS_APP_LIBRARIES CLI11::CLI11 ZLIB::ZLIB)
  endif()
endmacro()

# Tests. Version 2 (Debian 12) is one header, version 3 (Ubuntu 24.04) a library; tests/support/catch.hpp hides which.
macro(gradus_find_catch2)
  find_package(Catch2 QUIET)
  if(NOT TARGET Catch2::Catch2)
    gradus_fetch(Catch2 https://github.com/catchorg/Catch2/archive/refs/tags/v3.7.1.tar.gz)
  endif()
endmacro()

# The tables of recorded values that tests read, and the figures that `./gradus reproduce` does.
macro(gradus_find_json)
  find_package(nlohmann_json QUIET)
  if(NOT TARGET nlohmann_json::nlohmann_json)
    set(JSON_Install OFF)
    gradus_fetch(nlohmann_json https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz)
  endif()
endmacro()

# gradus_bench.
macro(gradus_find_benchmark)
  find_package(benchmark QUIET)
  if(NOT TARGET benchmark::benchmark)
    set(BENCHMARK_ENABLE_TESTING OFF)
    set(BENCHMARK_ENABLE_INSTALL OFF)
    gradus_fetch(benchmark https://github.com/google/benchmark/archive/refs/tags/v1.9.1.tar.gz)
  endif()
endmacro()

# <gradus/dist.hpp>: several processes. Never fetched: an MPI belongs to the machine that it runs on.
macro(gradus_find_mpi)
  set(MPI_CXX_SKIP_MPICXX ON)
  find_package(MPI QUIET COMPONENTS CXX)
  # Of tests: one thread a process, as root, more processes than cores, no copies that containers forbid.
  set(GRADUS_MPI_ENVIRONMENT OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
      OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl_vader_single_copy_mechanism=none)
endmacro()
