// What every cuda/<op>.cu starts from: launching, indices, loads of 16 bytes, temporaries, and small copies.
//
// A kernel is launched with the name of the function of kernels/ that launches it; an error says that name, what the op's
// result was and the caller's line. Kernels take sizes as int64_t and compute their index in 64 bits: a grid may have more
// threads than an int counts.
#pragma once
#include <cstring>
#include <type_traits>

#include <gradus/core/cuda.hpp>
#include <gradus/core/dtype.hpp>
#include <gradus/kernels/instance.hpp>

#include "platform.cuh"

namespace gradus::kernels::cu {

inline constexpr int kWarp = 32;
inline constexpr int kThreads = 256;      ///< of a block, where nothing else decides

/// The thread's current stream.
cudaStream_t current_stream();
/// Throws with what `op` was doing when `error` is one.
void check(cudaError_t error, const char* op);
/// After a launch: counts it; with GRADUS_CUDA_SYNC=1 in the environment waits for the kernel and reports its error.
void launched(const char* op);

struct Grid {
  int64_t blocks;
  int threads = kThreads;
  std::size_t shared = 0;      ///< bytes of dynamic shared memory
  int64_t y = 1, z = 1;
};

/// In the current stream, for the caller of the op.
LaunchConfig launch_of(const char* op, const Grid& g);
/// Puts `kernel` into the current stream; nothing when the grid is empty.
template <class... P, class... A> void enqueue(const char* op, void (*kernel)(P...), const Grid& g, const A&... args) {
  if (g.blocks == 0 || g.y == 0 || g.z == 0) return;
  gradus::launch(kernel, launch_of(op, g), static_cast<P>(args)...);
  launched(op);
}

inline int64_t blocks_for(int64_t n, int64_t per_block) { return (n + per_block - 1) / per_block; }

__device__ inline int64_t thread_in_grid() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t threads_in_grid() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }
__device__ inline int64_t warp_in_grid() { return thread_in_grid() / kWarp; }
__device__ inline int lane() { return static_cast<int>(threadIdx.x) % kWarp; }

/// An element in the type that arithmetic on it happens in.
template <class T> GRADUS_HD inline compute_t<T> load(T x) { return static_cast<compute_t<T>>(x); }

/// Stream-ordered temporary memory.
template <class T> class Scratch {
 public:
  explicit Scratch(int64_t n)
      : p_(static_cast<T*>(
            gradus::detail::device_alloc(static_cast<std::size_t>(n) * sizeof(T), gradus::detail::device_context.at))) {}
  ~Scratch() { gradus::detail::device_free(p_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data() const { return p_; }

 private:
  T* p_;
};

/// One value on the host; waits for the stream.
template <class T> T read(const T* device) {
  T v;
  gradus::detail::copy_to_host(&v, device, sizeof(T));
  return v;
}
/// A small table of the host, which may be reused at once.
template <class T> void upload(T* device, const T* host, int64_t n) {
  gradus::detail::copy_to_device(device, host, static_cast<std::size_t>(n) * sizeof(T));
}
/// All bytes 0.
template <class T> void zero(T* device, int64_t n) {
  if (n > 0) check(cudaMemsetAsync(device, 0, static_cast<std::size_t>(n) * sizeof(T), current_stream()), "zero");
}
/// Bytes from device to device.
template <class T> void copy(T* to, const T* from, int64_t n) {
  if (n > 0)
    check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(n) * sizeof(T), cudaMemcpyDeviceToDevice, current_stream()),
          "copy");
}

}  // namespace gradus::kernels::cu
