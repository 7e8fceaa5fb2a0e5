# Chooses the second backend: ${GRADUS_CUDA_MODE} is ON, EMULATED or OFF.
#
#   ON         nvcc compiles cuda/*.cu for this machine's GPU; cuBLAS
#   EMULATED   the C++ compiler compiles the same files for the device of cuda/emulation/, which needs no GPU; Boost.Context
#   OFF        Tensor<T, Cuda> does not compile
#   AUTO       ON where nvcc and a GPU are, else EMULATED, else OFF; inside another project, ON or OFF
if(NOT GRADUS_CUDA MATCHES "^(AUTO|ON|EMULATED|OFF)$")
  message(FATAL_ERROR "gradus: GRADUS_CUDA=${GRADUS_CUDA}: use AUTO, ON, EMULATED or OFF")
endif()

find_program(GRADUS_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
find_program(GRADUS_NVIDIA_SMI nvidia-smi)
mark_as_advanced(GRADUS_NVCC GRADUS_NVIDIA_SMI)

# Architecture of the first GPU (90 for compute capability 9.0), or empty: nvidia-smi comes with the driver.
set(gradus_device)
if(GRADUS_NVIDIA_SMI)
  execute_process(COMMAND ${GRADUS_NVIDIA_SMI} --query-gpu=compute_cap --format=csv,noheader
    OUTPUT_VARIABLE capability ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed AND capability MATCHES "^([0-9]+)\\.([0-9]+)")
    set(gradus_device ${CMAKE_MATCH_1}${CMAKE_MATCH_2})
  endif()
endif()

set(GRADUS_CUDA_MODE ${GRADUS_CUDA})
if(GRADUS_HEADER_ONLY)
  set(GRADUS_CUDA_MODE OFF)                                  # kernels of a device have to be linked
elseif(GRADUS_CUDA STREQUAL "AUTO")
  find_package(Boost QUIET COMPONENTS context)
  if(GRADUS_NVCC AND gradus_device)
    set(GRADUS_CUDA_MODE ON)
  elseif(Boost_FOUND AND PROJECT_IS_TOP_LEVEL)
    set(GRADUS_CUDA_MODE EMULATED)
  else()
    set(GRADUS_CUDA_MODE OFF)
  endif()
elseif(GRADUS_CUDA STREQUAL "EMULATED")
  gradus_find_boost_context()
elseif(GRADUS_CUDA STREQUAL "ON" AND NOT GRADUS_NVCC)
  message(FATAL_ERROR "gradus: GRADUS_CUDA=ON, but there is no nvcc on the PATH, in CUDA_HOME or in /usr/local/cuda: install the CUDA "
                      "toolkit, or configure with -DGRADUS_CUDA=EMULATED, which needs neither it nor a GPU")
endif()
message(STATUS "gradus: Tensor<T, Cuda> is ${GRADUS_CUDA_MODE} (nvcc: ${GRADUS_NVCC}; GPU: ${gradus_device})")

if(GRADUS_CUDA_MODE STREQUAL "ON")
  if(NOT CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_COMPILER ${GRADUS_NVCC})
  endif()
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    if(gradus_device STREQUAL "90")
      set(CMAKE_CUDA_ARCHITECTURES 90a)                      # wgmma and TMA are in the architecture-specific set only
    elseif(gradus_device)
      set(CMAKE_CUDA_ARCHITECTURES ${gradus_device})
    else()
      set(CMAKE_CUDA_ARCHITECTURES 80)                       # no GPU here: for another machine
    endif()
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
endif()
