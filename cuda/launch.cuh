// The one way to start a kernel, the same text for nvcc and for the emulated device:
//
//   gradus::launch(softmax_rows<T>, {"softmax", rows, 256, shared_bytes, stream}, x, y, N, C);
//
// The name is the operator's; it and the place of the call stand in every error.
#pragma once
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

#include <gradus/core/cuda.hpp>

namespace gradus {

/// Extents of a grid or a block, from integers of any type (dim3 would cut them to 32 bits silently).
struct Extent {
  int64_t x = 1, y = 1, z = 1;
  Extent(int64_t x, int64_t y = 1, int64_t z = 1) : x(x), y(y), z(z) {}
  Extent(dim3 d) : x(d.x), y(d.y), z(d.z) {}
  int64_t volume() const { return x * y * z; }
};

struct LaunchConfig {
  const char* op;
  Extent grid, block;
  std::size_t shared;                  // bytes of dynamic shared memory
  cudaStream_t stream;
  Where at;
  LaunchConfig(const char* op, Extent grid, Extent block, std::size_t shared = 0, cudaStream_t stream = nullptr,
               Where at = Where::current())
      : op(op), grid(grid), block(block), shared(shared), stream(stream), at(at) {}
};

namespace detail {
inline std::string describe(const Extent& e) {
  return "(" + std::to_string(e.x) + ", " + std::to_string(e.y) + ", " + std::to_string(e.z) + ")";
}
[[noreturn]] inline void launch_failed(const LaunchConfig& c, const std::string& why) {
  fail(c.op, "the kernel could not be launched: " + why,
       {{"grid", describe(c.grid)}, {"block", describe(c.block)}, {"shared", std::to_string(c.shared) + " bytes"},
        {"result", gradus::describe(device_context.dtype, DeviceKind::cuda, device_context.shape)}},
       "grid up to (2147483647, 65535, 65535), block up to 1024 threads, shared memory up to what the device has", c.at);
}
[[noreturn]] inline void launch_failed(const LaunchConfig& c, cudaError_t e) {
  launch_failed(c, std::string(cudaGetErrorString(e)));
}
/// False when there is nothing to do. Above 48 KiB of shared memory the kernel has to be told first.
inline bool prepare_launch(const void* kernel, const LaunchConfig& c) {
  if (c.grid.volume() == 0) return false;
  if (c.grid.x < 0 || c.grid.x > 0x7fffffff || c.grid.y < 0 || c.grid.y > 65535 || c.grid.z < 0 || c.grid.z > 65535 ||
      c.block.x < 1 || c.block.y < 1 || c.block.z < 1 || c.block.z > 64 || c.block.volume() > 1024)
    launch_failed(c, cudaErrorInvalidConfiguration);
  if (c.shared > 48 * 1024) {
    const cudaError_t e = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(c.shared));
    if (e != cudaSuccess) {
      cudaGetLastError();
      launch_failed(c, std::string("shared memory: ") + cudaGetErrorString(e));
    }
  }
  return true;
}
inline dim3 to_dim3(const Extent& e) {
  return dim3(static_cast<unsigned>(e.x), static_cast<unsigned>(e.y), static_cast<unsigned>(e.z));
}
}  // namespace detail

/// Starts kernel(args...). An empty grid is no work and no error. The launch itself is checked; what goes wrong while the
/// kernel runs shows at the next synchronisation on a GPU, and at once, as emu::Error, on the emulated device.
template <class... P> void launch(void (*kernel)(P...), const LaunchConfig& c, const std::type_identity_t<P>&... args) {
  static_assert((std::is_trivially_copyable_v<P> && ...),
                "gradus: kernel arguments are copied as bytes: pass trivially copyable ones");
  if (!detail::prepare_launch(reinterpret_cast<const void*>(kernel), c)) return;
#if defined(__CUDACC__)
  kernel<<<detail::to_dim3(c.grid), detail::to_dim3(c.block), c.shared, c.stream>>>(args...);
  const cudaError_t e = cudaGetLastError();
#else
  emu::LaunchInfo info;
  info.grid = detail::to_dim3(c.grid), info.block = detail::to_dim3(c.block), info.shared = c.shared;
  info.stream = c.stream, info.op = c.op, info.at = c.at;
  const cudaError_t e = emu::launch_kernel(kernel, info, args...);
#endif
  if (e != cudaSuccess) detail::launch_failed(c, e);
}

/// The same with all blocks resident at once, so that cooperative_groups::this_grid().sync() works.
template <class... P> void launch_cooperative(void (*kernel)(P...), const LaunchConfig& c, const std::type_identity_t<P>&... args) {
  if (!detail::prepare_launch(reinterpret_cast<const void*>(kernel), c)) return;
#if defined(__CUDACC__)
  void* pointers[] = {const_cast<void*>(static_cast<const void*>(&args))..., nullptr};
  cudaError_t e = cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(kernel), detail::to_dim3(c.grid), detail::to_dim3(c.block),
                                              pointers, c.shared, c.stream);
  if (e == cudaSuccess) e = cudaGetLastError();
#else
  emu::LaunchInfo info;
  info.grid = detail::to_dim3(c.grid), info.block = detail::to_dim3(c.block), info.shared = c.shared;
  info.stream = c.stream, info.op = c.op, info.at = c.at, info.cooperative = true;
  const cudaError_t e = emu::launch_kernel(kernel, info, args...);
#endif
  if (e != cudaSuccess) detail::launch_failed(c, e);
}

}  // namespace gradus
